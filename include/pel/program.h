/* SPDX-License-Identifier: BSD-3-Clause */
/* A program is OpenCL C source with its options; it yields kernels. Built once per device and form, binaries cached on disk. */
#ifndef PEL_PROGRAM_H
#define PEL_PROGRAM_H

#include <pel/export.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_program pel_program;

typedef struct pel_program_desc {
    size_t size;                     /* sizeof(pel_program_desc); 0: the layout of the first release */
    const char *name;                /* for messages and traces; NULL: "program" */
    const char *source;              /* OpenCL C text, or NULL for a program of host functions only */
    size_t source_bytes;             /* 0: source ends with NUL */
    const char *options;             /* compiler options ("-cl-fast-relaxed-math"), or NULL */
    const char *const *defines;      /* "NAME" or "NAME=VALUE" */
    uint32_t define_count;
    uint32_t include_path_count;
    const char *const *include_paths;
} pel_program_desc;

#define PEL_PROGRAM_DESC_INIT {sizeof(pel_program_desc), NULL, NULL, 0, NULL, NULL, 0, 0, NULL}

/*
 * Builds the source on every OpenCL device of the runtime. Any thread. Blocks (seconds when cold, milliseconds from the cache).
 * Everything is copied. On a build error: BUILD_FAILED, the error carries the compiler's log with the caller's own line numbers.
 * If some devices build it and others do not, the program works and the latter are left out (logged; the plan says so). Errors:
 * INVALID_ARGUMENT, BUILD_FAILED, OUT_OF_MEMORY, AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_program_create(pel_runtime *runtime, const pel_program_desc *desc, pel_program **program,
                                                     pel_error **error);

/* Releases the caller's hold; kernels made from it keep what they need. Any thread; never waits for commands. NULL: OK.
 * AFTER_FORK. */
PEL_API pel_status pel_program_destroy(pel_program *program);

PEL_END_DECLS
#endif
