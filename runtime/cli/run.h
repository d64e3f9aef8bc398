/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel run`: any OpenCL C file on real data, without host code. Four steps, a file each: words (the text of --arg becomes a
 * description), resolve (the description meets the kernel's parameter, the range and the file: type, shape, memory,
 * declaration), execute (runtime, launches) and report. Everything that can be wrong with the request is found in the first
 * two, before a device is touched; files appear only after the last launch has succeeded.
 */
#ifndef PEL_CLI_RUN_H
#define PEL_CLI_RUN_H

#include "cli/array.h"
#include "cli/signature.h"
#include <pel/pel.h>

typedef enum pel_run_pattern {
    PEL_RUN_UNDECLARED = 0,
    PEL_RUN_ELEMENTWISE,
    PEL_RUN_BLOCK,
    PEL_RUN_WHOLE,
    PEL_RUN_PER_GROUP,
    PEL_RUN_REDUCE
} pel_run_pattern;

/* One --arg NAME=VALUE[:WORD...]. Pointers go into `text`; zero means "not said". */
typedef struct pel_run_argument {
    char *text;
    const char *name;
    const char *value; /* a number, a file, "zeros", "null" or "local" */
    pel_access_mode mode;
    pel_run_pattern pattern;
    uint64_t num, den; /* elementwise */
    uint64_t halo_lo, halo_hi;
    bool has_halo;
    const char *pitch;     /* bytes, or the name of an argument that holds elements */
    uint64_t count, bytes; /* elements per group, of a reduction or of local memory; bytes of local memory */
    pel_reduce_op op;
    const char *type, *like, *save, *format;
    uint64_t shape[3]; /* fastest first, as --range */
    uint32_t shape_dims;
    uint32_t channels, bits;

    /* Found by pel_run_resolve. */
    const pel_parameter *parameter;
    pel_element element; /* what the pointer points to, or the value's type */
    pel_array array;     /* memory of buffer arguments */
    bool channelled;     /* the array's last dimension lies within an item: a vector, colours */
    uint64_t item_bytes; /* of one item's data */
    pel_param declaration;
    unsigned char value_bytes[128]; /* values up to double16 */
    uint64_t value_size;
    bool is_null;

    /* Of pel_run_execute. */
    pel_buffer *buffer;
    void *initial; /* contents before the first launch, when launches are repeated and change them */
} pel_run_argument;

typedef struct pel_run_share {
    char device[64];
    double weight;
} pel_run_share;

typedef struct pel_run {
    const char *path; /* the .cl file */
    char *source;
    size_t source_bytes;
    const pel_signature *kernel;
    pel_run_argument *arguments; /* in the order of the command line until resolved, then of the parameters */
    uint32_t argument_count;
    uint64_t range[3], local[3], offset[3];
    uint32_t dims;
    const char *devices, *options;
    const char **defines, **includes;
    uint32_t define_count, include_count;
    pel_run_share *shares;
    uint32_t share_count;
    uint64_t repeat;
    bool dry, quiet;

    /* Results. */
    pel_plan *plan;
    double *times_ns; /* one per launch */
    uint64_t times_count;
    pel_device_info devices_used[16];
    uint32_t device_count;
} pel_run;

/* words: false with a message that starts with "argument NAME: " or names the text. Nothing to free on failure. */
bool pel_run_read_argument(const char *text, pel_run_argument *argument, char message[PEL_MESSAGE_BYTES]);
const char *pel_run_access_text(const pel_run_argument *argument, char text[160]); /* "read, block, halo 2" */

/* resolve: matches, loads, checks. False with a message. */
bool pel_run_resolve(pel_run *run, char message[PEL_MESSAGE_BYTES]);
uint64_t pel_run_groups(const pel_run *run); /* work-groups of the launch; 0 without a local size */

/* The declaration of one resolved buffer argument (called by resolve). */
bool pel_run_declare(pel_run *run, pel_run_argument *argument, char message[PEL_MESSAGE_BYTES]);
/* Nothing is declared of it, and it holds fewer elements than the range has items. */
bool pel_run_is_short(const pel_run *run, const pel_run_argument *argument);

/* execute: false after it has printed an error. */
bool pel_run_execute(pel_run *run);

/* report */
void pel_run_print(const pel_run *run);
bool pel_run_write_json(const pel_run *run, const char *path);

/* Writes all output files, or none. False after an error message. */
bool pel_run_save(pel_run *run);
bool pel_run_probe_outputs(const pel_run *run);

void pel_run_argument_free(pel_run_argument *argument);

#endif
