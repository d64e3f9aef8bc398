/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access declarations: which bytes of an argument a span of work-items reads and may write. They decide whether a launch may be
 * split. Unsafe is never implicit: PEL_PARAM_POINTER with write access keeps the kernel on one device.
 *
 * "Unit" below is one step along the split dimension: an item of a 1-D launch, a row of a 2-D one, a slab of a 3-D one.
 */
#ifndef PEL_ACCESS_H
#define PEL_ACCESS_H

#include <pel/export.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef enum pel_access_mode {
    PEL_READ = 1,
    PEL_WRITE = 2,      /* every declared byte is written; nothing is read */
    PEL_READ_WRITE = 3  /* read, or written only in part */
} pel_access_mode;

typedef enum pel_param_kind {
    PEL_PARAM_KIND_VALUE = 1,
    PEL_PARAM_KIND_LOCAL = 2,
    PEL_PARAM_KIND_POINTER = 3,     /* undeclared: READ means read-whole, anything else means one device */
    PEL_PARAM_KIND_ELEMENTWISE = 4,
    PEL_PARAM_KIND_BLOCK = 5,
    PEL_PARAM_KIND_WHOLE = 6,
    PEL_PARAM_KIND_PER_GROUP = 7,
    PEL_PARAM_KIND_REDUCE_PRIVATE = 8,
    PEL_PARAM_KIND_CUSTOM = 9,
    PEL_PARAM_KIND_CANCEL = 10
} pel_param_kind;

typedef enum pel_reduce_op {
    PEL_REDUCE_NONE = 0,
    PEL_REDUCE_SUM = 1,
    PEL_REDUCE_MIN = 2,
    PEL_REDUCE_MAX = 3,
    PEL_REDUCE_AND = 4,
    PEL_REDUCE_OR = 5,
    PEL_REDUCE_XOR = 6
} pel_reduce_op;

typedef enum pel_scalar {
    PEL_I32 = 1, PEL_U32 = 2, PEL_I64 = 3, PEL_U64 = 4, PEL_F32 = 5, PEL_F64 = 6
} pel_scalar;

/*
 * A part of a launch. lo/hi are global ids in every dimension ([lo, hi), without the launch's offset); group_lo/group_hi the
 * work-groups that cover it. global and local are the whole launch's. offset is the launch's global offset.
 */
typedef struct pel_span {
    uint32_t dims;             /* 1, 2 or 3 */
    uint32_t split;            /* dimension along which launches of this kernel are split */
    uint64_t lo[3], hi[3];
    uint64_t global[3], local[3], offset[3];
    uint64_t group_lo[3], group_hi[3];
} pel_span;

typedef struct pel_interval {
    uint64_t lo, hi;           /* bytes [lo, hi) of the argument */
} pel_interval;

/*
 * Custom access: fills up to `capacity` intervals of bytes that `span` reads and may write, and returns how many there are (more
 * than capacity: called again with more room). Pure: same span, same answer; called from any thread. `arguments` are the launch's
 * values as host pointers (NULL for buffers and local memory).
 */
typedef uint32_t (*pel_access_fn)(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                                  uint32_t capacity);

/* One parameter of a kernel. Use the macros; all fields not named by a macro are zero. */
typedef struct pel_param {
    pel_param_kind kind;
    pel_access_mode mode;
    uint64_t bytes;            /* value or element size */
    /* elementwise: num elements per den items (of the flattened launch); per-group: num = elements per group */
    uint64_t num, den;
    uint64_t pitch;            /* block: bytes per unit; 0: element size x items per unit, or from pitch_argument */
    uint64_t halo_lo, halo_hi; /* block: units read before and after the span; clipped at the ends */
    int32_t pitch_argument;    /* block: 1 + index of an integer value argument that holds elements per unit; 0: none */
    pel_reduce_op op;
    pel_scalar scalar;
    pel_access_fn custom;
    void *user;
} pel_param;

/* By value; the argument's size must be sizeof(type). */
#define PEL_PARAM_VALUE(type)                                                                                                    \
    { PEL_PARAM_KIND_VALUE, PEL_READ, sizeof(type), 0, 0, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_U32, NULL, NULL }
/* __local memory; its size comes with the argument (pel_local). */
#define PEL_PARAM_LOCAL {PEL_PARAM_KIND_LOCAL, PEL_READ_WRITE, 0, 0, 0, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_U32, NULL, NULL}
/* A pointer about which nothing is said. */
#define PEL_PARAM_POINTER(mode) {PEL_PARAM_KIND_POINTER, mode, 1, 0, 0, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_U32, NULL, NULL}
/* Item i touches elements [i * num / den, (i + 1) * num / den), rounded outwards; i counts the flattened launch. */
#define PEL_PARAM_ELEMENTWISE(mode, element_bytes, num, den) \
    {PEL_PARAM_KIND_ELEMENTWISE, mode, element_bytes, num, den, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_U32, NULL, NULL}
/* Unit u touches bytes [(u - halo_lo) * pitch, (u + 1 + halo_hi) * pitch); halos are read only, the middle has `mode`. pitch
 * 0: see pel_param. */
#define PEL_PARAM_BLOCK(mode, element_bytes, pitch_bytes, halo_lo, halo_hi) \
    {PEL_PARAM_KIND_BLOCK, mode, element_bytes, 0, 0, pitch_bytes, halo_lo, halo_hi, 0, PEL_REDUCE_NONE, PEL_U32, NULL, NULL}
/* The same with the pitch, in elements, taken from value argument `argument`. */
#define PEL_PARAM_BLOCK_BY(mode, element_bytes, argument, halo_lo, halo_hi) \
    {PEL_PARAM_KIND_BLOCK, mode, element_bytes, 0, 0, 0, halo_lo, halo_hi, 1 + (argument), PEL_REDUCE_NONE, PEL_U32, NULL, NULL}
/* Every item may touch everything. Written: one device. */
#define PEL_PARAM_WHOLE(mode) {PEL_PARAM_KIND_WHOLE, mode, 1, 0, 0, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_U32, NULL, NULL}
/*
 * Work-group g (numbered over the whole launch) writes `count` elements at g * count. With an op, they are folded after the
 * launch in a fixed binary tree (pairwise, by group number) into elements [0, count): any split gives the same bits. Needs a
 * local size.
 */
#define PEL_PARAM_PER_GROUP(op, scalar, element_bytes, count) \
    {PEL_PARAM_KIND_PER_GROUP, PEL_WRITE, element_bytes, count, 1, 0, 0, 0, 0, op, scalar, NULL, NULL}
/*
 * `count` elements into which every item may accumulate with `op` (atomics in OpenCL C, plain code in host functions). Each
 * device works on a private copy that starts at the op's identity; the copies are folded into the buffer, whose old contents take
 * part. Exact operations only: integers, or MIN and MAX.
 */
#define PEL_PARAM_REDUCE_PRIVATE(op, scalar, element_bytes, count) \
    {PEL_PARAM_KIND_REDUCE_PRIVATE, PEL_READ_WRITE, element_bytes, count, 1, 0, 0, 0, 0, op, scalar, NULL, NULL}
/* Bytes given by a function. PEL_WRITE promises that all of them are written. */
#define PEL_PARAM_CUSTOM(mode, function, user) \
    {PEL_PARAM_KIND_CUSTOM, mode, 1, 0, 0, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_U32, function, user}

/*
 * A flag that a long kernel may poll, `global const volatile int *` in OpenCL C, `const volatile int *` in host variants; its
 * argument is pel_null(). It is 0 until the chunk is to end early: its launch was cancelled while it ran (pel_event_cancel), or
 * the watchdog gave the chunk up (PEL_PROTECT_ISOLATE); whatever it computes then is not used. It reaches devices that compute in
 * host memory; on others it stays 0.
 */
#define PEL_PARAM_CANCEL {PEL_PARAM_KIND_CANCEL, PEL_READ, sizeof(int), 1, 1, 0, 0, 0, 0, PEL_REDUCE_NONE, PEL_I32, NULL, NULL}

PEL_END_DECLS
#endif
