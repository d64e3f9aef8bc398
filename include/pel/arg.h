/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of a launch: a fixed-size tagged union, copied at submission. */
#ifndef PEL_ARG_H
#define PEL_ARG_H

#include <pel/buffer.h>
#include <pel/export.h>
#include <stdint.h>
#include <string.h>

PEL_BEGIN_DECLS

typedef enum pel_arg_kind {
    PEL_ARG_NULL = 0,     /* a null pointer for a buffer parameter */
    PEL_ARG_VALUE = 1,    /* up to 32 bytes, inline */
    PEL_ARG_STRUCT = 2,   /* larger values: copied from `pointer` at submission */
    PEL_ARG_BUFFER = 3,
    PEL_ARG_RANGE = 4,    /* bytes [offset, offset + bytes) of a buffer */
    PEL_ARG_LOCAL = 5,
    PEL_ARG_IMAGE = 6,    /* reserved */
    PEL_ARG_SAMPLER = 7   /* reserved */
} pel_arg_kind;

typedef struct pel_arg {
    uint32_t kind;        /* pel_arg_kind */
    uint32_t reserved;
    uint64_t bytes;       /* size of the value, the range or the local memory */
    union {
        unsigned char value[32];
        const void *pointer;
        struct {
            pel_buffer *buffer;
            uint64_t offset;
        } range;
    } u;
} pel_arg;

static inline pel_arg pel_arg_make_(pel_arg_kind kind, uint64_t bytes) {
    pel_arg arg;
    memset(&arg, 0, sizeof arg);
    arg.kind = (uint32_t)kind;
    arg.bytes = bytes;
    return arg;
}
static inline pel_arg pel_arg_value_(const void *value, uint64_t bytes) {
    pel_arg arg = pel_arg_make_(PEL_ARG_VALUE, bytes);
    memcpy(arg.u.value, value, (size_t)bytes);
    return arg;
}
static inline pel_arg pel_i8(int8_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_u8(uint8_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_i16(int16_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_u16(uint16_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_i32(int32_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_u32(uint32_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_i64(int64_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_u64(uint64_t v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_f32(float v) { return pel_arg_value_(&v, sizeof v); }
static inline pel_arg pel_f64(double v) { return pel_arg_value_(&v, sizeof v); }
/* A value of any size (a struct, a float4); `pointer` must be valid until the submitting call returns. */
static inline pel_arg pel_struct(const void *pointer, uint64_t bytes) {
    pel_arg arg = pel_arg_make_(PEL_ARG_STRUCT, bytes);
    arg.u.pointer = pointer;
    return arg;
}
/* A whole buffer. */
static inline pel_arg pel_buf(pel_buffer *buffer) {
    pel_arg arg = pel_arg_make_(PEL_ARG_BUFFER, 0);
    arg.u.range.buffer = buffer;
    return arg;
}
/* Bytes [offset, offset + bytes) of a buffer: the kernel's pointer points to `offset`. */
static inline pel_arg pel_buf_range(pel_buffer *buffer, uint64_t offset, uint64_t bytes) {
    pel_arg arg = pel_arg_make_(PEL_ARG_RANGE, bytes);
    arg.u.range.buffer = buffer;
    arg.u.range.offset = offset;
    return arg;
}
/* Local memory of a work-group. */
static inline pel_arg pel_local(uint64_t bytes) { return pel_arg_make_(PEL_ARG_LOCAL, bytes); }
static inline pel_arg pel_null(void) { return pel_arg_make_(PEL_ARG_NULL, 0); }

PEL_END_DECLS
#endif
