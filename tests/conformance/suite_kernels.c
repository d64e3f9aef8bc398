/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The suite's kernels, twice: OpenCL C and host functions that give the same bits. All arithmetic is on unsigned integers, so
 * that they can.
 */
#include "suite_internal.h"

#include <string.h>

const char suite_source[] =
    "typedef struct { ulong a; uint b; float c; ulong d[2]; } record;\n"
    "kernel void scale(uint a, global const uint *x, global uint *y) {\n"
    "    size_t i = get_global_id(0);\n"
    "    y[i] = a * x[i] + (uint)i;\n"
    "}\n"
    "kernel void chain(uint k, global uint *x) {\n"
    "    size_t i = get_global_id(0);\n"
    "    x[i] = x[i] * 3u + k;\n"
    "}\n"
    "size_t position(void) {\n"
    "    size_t x = get_global_id(0) - get_global_offset(0), y = get_global_id(1) - get_global_offset(1);\n"
    "    return ((get_global_id(2) - get_global_offset(2)) * get_global_size(1) + y) * get_global_size(0) + x;\n"
    "}\n"
    "kernel void ids(global ulong *out) {\n"
    "    global ulong *to = out + position() * 16;\n"
    "    for (uint d = 0; d < 3; d++) {\n"
    "        to[d] = get_global_id(d);\n"
    "        to[3 + d] = get_global_size(d);\n"
    "        to[6 + d] = get_global_offset(d);\n"
    "        to[9 + d] = get_group_id(d);\n"
    "        to[12 + d] = get_num_groups(d);\n"
    "    }\n"
    "    to[15] = get_work_dim();\n"
    "}\n"
    "kernel void mixed(record r, uchar c, global const uint *maybe, global uint *out) {\n"
    "    size_t i = get_global_id(0);\n"
    "    out[i] = (uint)(r.a + r.d[1]) + r.b + (uint)r.c + c + (maybe ? maybe[0] : 7u) + (uint)i;\n"
    "}\n"
    "kernel void reverse(global const uint *x, global uint *y, local uint *t) {\n"
    "    size_t l = get_local_id(0), n = get_local_size(0), i = get_global_id(0);\n"
    "    t[l] = x[i];\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    y[i] = t[n - 1 - l];\n"
    "}\n"
    "kernel void total(global const uint *x, global uint *sums) {\n"
    "    size_t i = get_global_id(0);\n"
    "    atomic_add(sums + i % 3, x[i]);\n"
    "}\n"
    "kernel void slow(uint rounds, global uint *out) {\n"
    "    size_t i = get_global_id(0);\n"
    "    uint v = (uint)i;\n"
    "    for (uint k = 0; k < rounds; k++) v = v * 1664525u + 1013904223u;\n"
    "    out[i] = v;\n"
    "}\n"
    "kernel void fails(global uint *out) { out[get_global_id(0)] = 1; }\n";

static const uint32_t *in_u32(const void *pointer) {
    return pointer;
}
static uint32_t *out_u32(void *pointer) {
    return pointer;
}
static uint32_t value_u32(const void *pointer) {
    uint32_t value;
    memcpy(&value, pointer, sizeof value);
    return value;
}

static pel_status host_scale(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    uint32_t a = value_u32(arguments[0]);
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out_u32(arguments[2])[i] = a * in_u32(arguments[1])[i] + (uint32_t)i;
    }
    return PEL_OK;
}

static pel_status host_chain(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    uint32_t k = value_u32(arguments[0]);
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out_u32(arguments[1])[i] = out_u32(arguments[1])[i] * 3u + k;
    }
    return PEL_OK;
}

static pel_status host_ids(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    uint64_t *out = arguments[0], at[3];
    for (at[2] = span->lo[2]; at[2] < span->hi[2]; at[2]++) {
        for (at[1] = span->lo[1]; at[1] < span->hi[1]; at[1]++) {
            for (at[0] = span->lo[0]; at[0] < span->hi[0]; at[0]++) {
                uint64_t *to = out + ((at[2] * span->global[1] + at[1]) * span->global[0] + at[0]) * IDS_FIELDS;
                for (uint32_t d = 0; d < 3; d++) {
                    to[IDS_ID + d] = at[d] + span->offset[d];
                    to[IDS_SIZE + d] = span->global[d];
                    to[IDS_OFFSET + d] = span->offset[d];
                    to[IDS_GROUP + d] = at[d] / span->local[d];
                    to[IDS_GROUPS + d] = (span->global[d] + span->local[d] - 1) / span->local[d];
                    if (to[IDS_GROUP + d] < span->group_lo[d] || to[IDS_GROUP + d] >= span->group_hi[d]) {
                        return PEL_INTERNAL;
                    }
                }
                to[IDS_DIMS] = span->dims;
            }
        }
    }
    return PEL_OK;
}

static pel_status host_mixed(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)user;
    suite_record record;
    memcpy(&record, arguments[0], sizeof record);
    memset(scratch, 0xab, 1000); /* scratch_bytes */
    if ((uintptr_t)scratch % 64 != 0) {
        return PEL_INTERNAL;
    }
    uint32_t maybe = arguments[2] != NULL ? in_u32(arguments[2])[0] : 7u, base = (uint32_t)(record.a + record.d[1]);
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out_u32(arguments[3])[i] =
            base + record.b + (uint32_t)record.c + *(const unsigned char *)arguments[1] + maybe + (uint32_t)i;
    }
    return PEL_OK;
}

static pel_status host_reverse(const pel_group *group, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    uint64_t n = group->hi[0] - group->lo[0];
    uint32_t *local = arguments[2];
    if (n != group->local[0] || group->lo[0] != group->id[0] * n) {
        return PEL_INTERNAL;
    }
    for (uint64_t l = 0; l < n; l++) {
        local[l] = in_u32(arguments[0])[group->lo[0] + l];
    }
    for (uint64_t l = 0; l < n; l++) {
        out_u32(arguments[1])[group->lo[0] + l] = local[n - 1 - l];
    }
    return PEL_OK;
}

static pel_status host_total(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out_u32(arguments[1])[i % 3] += in_u32(arguments[0])[i];
    }
    return PEL_OK;
}

static pel_status host_slow(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    uint32_t rounds = value_u32(arguments[0]);
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        uint32_t v = (uint32_t)i;
        for (uint32_t k = 0; k < rounds; k++) {
            v = v * 1664525u + 1013904223u;
        }
        out_u32(arguments[1])[i] = v;
    }
    return PEL_OK;
}

static pel_status host_fails(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)arguments, (void)scratch, (void)user;
    return PEL_MISMATCH;
}

static const pel_param scale_params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 1),
                                         PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1)};
static const pel_param chain_params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 4, 1, 1)};
static const pel_param ids_params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, 8, IDS_FIELDS, 1)};
static const pel_param mixed_params[] = {PEL_PARAM_VALUE(suite_record), PEL_PARAM_VALUE(unsigned char), PEL_PARAM_WHOLE(PEL_READ),
                                         PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1)};
static const pel_param reverse_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 1), PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1),
                                           PEL_PARAM_LOCAL};
static const pel_param total_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 1),
                                         PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, 4, 3)};
static const pel_param slow_params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1)};
static const pel_param fails_params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1)};

#define KERNEL(title, parameters)                                                                                                \
    .entry = title, .name = title, .params = parameters, .param_count = sizeof parameters / sizeof parameters[0], .cost_hint = 1.0

void suite_describe_program(suite *self) {
    static const pel_kernel_image kernels[KERNEL_COUNT] = {
        [KERNEL_SCALE] = {KERNEL("scale", scale_params), .host = host_scale},
        [KERNEL_CHAIN] = {KERNEL("chain", chain_params), .host = host_chain},
        [KERNEL_IDS] = {KERNEL("ids", ids_params), .host = host_ids},
        [KERNEL_MIXED] = {KERNEL("mixed", mixed_params), .host = host_mixed, .scratch_bytes = 1000},
        [KERNEL_REVERSE] = {KERNEL("reverse", reverse_params), .host_group = host_reverse},
        [KERNEL_TOTAL] = {KERNEL("total", total_params), .host = host_total, .flags = PEL_KERNEL_IRREGULAR},
        [KERNEL_SLOW] = {KERNEL("slow", slow_params), .host = host_slow},
        [KERNEL_FAILS] = {KERNEL("fails", fails_params), .host = host_fails}};
    static atomic_ullong next_id = 1;
    self->program = (pel_program_image){.id = atomic_fetch_add(&next_id, 1),
                                        .name = "conformance",
                                        .source = suite_source,
                                        .source_bytes = strlen(suite_source),
                                        .options = "",
                                        .cacheable = false};
    for (int i = 0; i < KERNEL_COUNT; i++) {
        self->kernels[i] = kernels[i];
        self->kernels[i].id = atomic_fetch_add(&next_id, 1);
        self->kernels[i].program = &self->program;
    }
}
