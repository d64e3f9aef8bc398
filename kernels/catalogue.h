/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel catalogue: for each kernel its OpenCL C, its host variant, its access declaration, inputs that depend on a seed
 * only, and an independent reference in double precision that gives one output at a time.
 *
 * A *case* is one kernel at one size: memory, arguments and range as plain data, so that pel, a raw OpenCL program and an OpenMP
 * loop run exactly the same thing. Outputs are poisoned before a run: an output that nobody wrote is found whether or not it is
 * among those compared. The reference is asked per output rather than for the whole result because a GPU computes in 30 ms what a
 * reference needs minutes for; then a sample is compared, spread over the whole range.
 */
#ifndef PEL_KERNELS_CATALOGUE_H
#define PEL_KERNELS_CATALOGUE_H

#include <pel/pel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEL_CASE_ARRAYS = 4, PEL_CASE_ARGS = 8 };

typedef enum pel_case_arg_kind { PEL_CASE_ARRAY = 1, PEL_CASE_VALUE = 2, PEL_CASE_LOCAL = 3 } pel_case_arg_kind;

typedef struct pel_case_arg {
    pel_case_arg_kind kind;
    uint32_t array; /* ARRAY: which one */
    uint64_t bytes; /* VALUE: its size; LOCAL: bytes of local memory */
    unsigned char value[8];
} pel_case_arg;

typedef struct pel_case_array {
    void *data; /* page-aligned */
    uint64_t bytes;
    bool output;
} pel_case_array;

struct pel_catalogue_kernel;

typedef struct pel_case {
    const struct pel_catalogue_kernel *kernel;
    uint64_t n, seed;
    uint64_t global[3], local[3]; /* local all zero: the library chooses */
    pel_case_array arrays[PEL_CASE_ARRAYS];
    uint32_t array_count;
    pel_case_arg args[PEL_CASE_ARGS];
    uint32_t arg_count;
} pel_case;

typedef struct pel_catalogue_kernel {
    const char *name, *about;
    const char *source, *entry; /* OpenCL C and its kernel function */
    const pel_param *params;
    uint32_t param_count;
    uint32_t flags;   /* PEL_KERNEL_* */
    double cost_hint; /* multiply-adds per work-item at a middling size */
    pel_host_fn host;
    uint64_t largest;  /* greatest n */
    uint64_t step;     /* a multiple of this gives an explicit local size and no padding */
    uint32_t exponent; /* work grows as n to this power */
    double tolerance;  /* |result - reference| <= tolerance * scale, the scale being the reference's sum of magnitudes */
    double outliers;   /* share of outputs that may miss it (chaotic kernels) */

    void (*shape)(pel_case *c);             /* range, arguments, sizes of arrays; no memory yet */
    void (*fill)(pel_case *c);              /* inputs */
    uint64_t (*outputs)(const pel_case *c); /* how many results there are */
    uint64_t (*word)(const pel_case *c,
                     uint64_t i); /* which 32-bit word of the output array holds result i (its first, when there are several) */
    double (*result)(const pel_case *c, uint64_t i);
    double (*reference)(const pel_case *c, uint64_t i, double *scale);
    void (*fold)(pel_case *c);   /* what a program without pel must do after the launch; NULL: nothing */
    double (*flops)(uint64_t n); /* of one launch */
    double (*bytes)(uint64_t n); /* that have to move at least once */
    pel_check_fn check; /* of results, cheaper than computing them again; NULL: none */
} pel_catalogue_kernel;

/* All kernels; ends with NULL. */
extern const pel_catalogue_kernel *const pel_catalogue[];
const pel_catalogue_kernel *pel_catalogue_find(const char *name); /* NULL: no such kernel */

/*
 * Makes a case with memory and inputs. On failure `c` is empty and may be torn down: INVALID_ARGUMENT (n is 0 or beyond
 * kernel->largest) or OUT_OF_MEMORY. pel_case_memory: how many bytes it would take.
 */
pel_status pel_case_setup(const pel_catalogue_kernel *kernel, uint64_t n, uint64_t seed, pel_case *c);
uint64_t pel_case_memory(const pel_catalogue_kernel *kernel, uint64_t n);
void pel_case_teardown(pel_case *c);

/* Fills the outputs with a pattern that no kernel writes. */
void pel_case_poison(pel_case *c);

typedef struct pel_case_verdict {
    bool passed;
    uint64_t outputs, checked, wrong, missing; /* missing: still poisoned */
    double worst;                              /* greatest |result - reference| / scale */
    char story[160];                           /* the first wrong output, in words; "" when passed */
} pel_case_verdict;

/* Compares with the reference. `work` bounds the reference's multiply-adds (at least 64 outputs are compared); 0: all outputs
 * are. */
void pel_case_verify(const pel_case *c, double work, pel_case_verdict *verdict);

/* The outputs' bytes, as one hash: equal when two runs gave the same bits. Only bytes that hold results count. */
uint64_t pel_case_digest(const pel_case *c);

/* A catalogue kernel on a runtime; source is left out when `host_only`. Both are the caller's to destroy. */
pel_status pel_catalogue_create(pel_runtime *runtime, const pel_catalogue_kernel *kernel, bool host_only, pel_program **program,
                                pel_kernel **handle, pel_error **error);

/* A case's arrays wrapped in a runtime, and its arguments. */
typedef struct pel_case_binding {
    pel_buffer *buffers[PEL_CASE_ARRAYS];
    pel_arg args[PEL_CASE_ARGS];
    pel_launch_desc launch;
} pel_case_binding;
pel_status pel_case_bind(pel_runtime *runtime, const pel_case *c, pel_case_binding *binding);
void pel_case_unbind(pel_case_binding *binding);

/* Helpers for the kernels' own files. */
void pel_case_add_array(pel_case *c, uint64_t bytes, bool output); /* an array and the argument that is it */
void pel_case_add_u32(pel_case *c, uint32_t value);
void pel_case_add_u64(pel_case *c, uint64_t value);
void pel_case_add_f32(pel_case *c, float value);
void pel_case_add_local(pel_case *c, uint64_t bytes);

static inline uint64_t pel_round_up(uint64_t value, uint64_t step) {
    return (value + step - 1) / step * step;
}

/* SplitMix64 (Steele, Lea, Flood 2014): number i of stream `seed`, uniform in [0, 1). Random access, so inputs never depend on an
 * order. */
static inline float pel_uniform(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)((z ^ (z >> 31)) >> 40) * 0x1p-24f;
}

#endif
