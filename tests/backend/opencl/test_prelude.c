/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addressing contract on a real device: every id and size function, called from a user's helper function with a non-constant
 * dimension, tells in any part of a launch what the whole launch would tell.
 */
#include "backend/addressing.h"
#include "backend/opencl/internal.h"
#include "fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIELDS 32 /* per item: 7 functions x 4 dimensions, work_dim, sizeof(get_global_size(0)), count of visits, spare */

static const char source[] =
    "#define DIMENSION(x) (x)\n"
    "static ulong ask(int what, uint d) {\n"
    "    switch (what) {\n"
    "    case 0: return get_global_id(d);\n"
    "    case 1: return get_global_size(d);\n"
    "    case 2: return get_global_offset(d);\n"
    "    case 3: return get_group_id(d);\n"
    "    case 4: return get_num_groups(d);\n"
    "    case 5: return get_local_id(d);\n"
    "    default: return get_local_size(d);\n"
    "    }\n"
    "}\n"
    "kernel void tell(global ulong *out) {\n"
    "    ulong x = get_global_id(0) - get_global_offset(0), y = get_global_id(DIMENSION(1)) - get_global_offset(1);\n"
    "    ulong z = get_global_id(2) - get_global_offset(2);\n"
    "    ulong i = (z * get_global_size(1) + y) * get_global_size(0) + x;\n"
    "    global ulong *item = out + 32 * i;\n"
    "    for (int what = 0; what < 7; what++)\n"
    "        for (uint d = 0; d < 4; d++) item[4 * what + d] = ask(what, d);\n"
    "    item[28] = get_work_dim();\n"
    "    item[29] = sizeof(get_global_size(0)) + sizeof(get_group_id(0));\n"
    "    item[30] += 1;\n"
    "    item[31] = __LINE__;\n"
    "}\n";

static const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};

typedef struct world {
    fixture f;
    pel_program_image program;
    pel_kernel_image kernel;
} world;

static int set_up(void **state) {
    world *w = calloc(1, sizeof *w);
    *state = w;
    if (!fixture_discover(&w->f)) {
        exit(77);
    }
    fixture_start(&w->f);
    w->program = fixture_program(source);
    w->kernel = fixture_kernel(&w->program, "tell", params, 1);
    return 0;
}

static int tear_down(void **state) {
    world *w = *state;
    w->f.device->backend->kernel_forget(w->f.device, &w->kernel);
    w->f.device->backend->program_forget(w->f.device, &w->program);
    fixture_end(&w->f);
    free(w);
    return 0;
}

/* Runs the part [lo, hi) along the split dimension. */
static pel_status run_part(world *w, pel_mem *mem, const pel_span *whole, uint64_t lo, uint64_t hi, bool chunked) {
    pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = mem->host, .bytes = mem->bytes};
    pel_transfer all = {.mem = mem, .bytes = mem->bytes};
    pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &w->kernel, .args = &arg, .span = *whole, .chunked = chunked, .in = &all,
                     .in_count = 1, .out = &all, .out_count = 1};
    work.span.lo[whole->split] = lo;
    work.span.hi[whole->split] = hi;
    fixture_run(&w->f, &work);
    if (work.error) {
        print_message("%s\n", pel_error_story(work.error));
    }
    pel_error_destroy(work.error);
    return work.status;
}

/* Whole-launch facts that every item must have seen. `local` zero: only the identities are checked. */
static void check_items(const uint64_t *out, const pel_span *span) {
    uint64_t extent[4] = {1, 1, 1, 1};
    for (uint32_t d = 0; d < span->dims; d++) {
        extent[d] = span->global[d];
    }
    for (uint64_t i = 0; i < extent[0] * extent[1] * extent[2]; i++) {
        const uint64_t *item = out + FIELDS * i;
        const uint64_t at[4] = {i % extent[0], i / extent[0] % extent[1], i / (extent[0] * extent[1]), 0};
        assert_int_equal(item[30], 1);
        assert_int_equal(item[28], span->dims);
        assert_int_equal(item[29], 2 * sizeof(size_t));
        assert_int_equal(item[31], 23);
        for (uint32_t d = 0; d < 3; d++) { /* beyond dimension 2, PoCL 3.1 itself answers 0 for sizes */
            uint64_t offset = d < span->dims ? span->offset[d] : 0, local = item[24 + d];
            assert_int_equal(item[0 + d], at[d] + offset);
            assert_int_equal(item[4 + d], extent[d]);
            assert_int_equal(item[8 + d], offset);
            assert_int_equal(item[12 + d] * local + item[20 + d] + offset, item[0 + d]);
            assert_int_equal(item[16 + d], (extent[d] + local - 1) / local);
            if (d < span->dims && span->local[d] != 0) {
                assert_int_equal(local, span->local[d]);
            }
        }
    }
}

/* Runs a launch in parts at `cuts` and checks it. */
static void check_split(world *w, const pel_span *whole, const uint64_t *cuts, unsigned parts, bool chunked) {
    uint64_t items = whole->global[0] * (whole->dims > 1 ? whole->global[1] : 1) * (whole->dims > 2 ? whole->global[2] : 1);
    uint64_t *out = calloc(items * FIELDS, sizeof *out);
    pel_mem *mem = NULL;
    assert_non_null(out);
    assert_int_equal(w->f.device->backend->mem_create(w->f.device, out, items * FIELDS * sizeof *out, &mem, NULL), PEL_OK);
    for (unsigned i = 0; i < parts; i++) {
        assert_int_equal(run_part(w, mem, whole, cuts[i], cuts[i + 1], chunked), PEL_OK);
    }
    check_items(out, whole);
    w->f.device->backend->mem_destroy(w->f.device, mem);
    free(out);
}

static void whole_launches(void **state) {
    world *w = *state;
    const uint64_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pel_span span = fixture_span(1, sizes[i], 0, 0);
        check_split(w, &span, (const uint64_t[]){0, sizes[i]}, 1, false);
        span.offset[0] = 7;
        check_split(w, &span, (const uint64_t[]){0, sizes[i]}, 1, false);
    }
    pel_span plane = fixture_span(2, 37, 5, 0), wide = fixture_span(2, 131, 3, 0), box = fixture_span(3, 6, 5, 4);
    check_split(w, &plane, (const uint64_t[]){0, 5}, 1, false);
    check_split(w, &wide, (const uint64_t[]){0, 3}, 1, false); /* 131 is prime: strips */
    check_split(w, &box, (const uint64_t[]){0, 4}, 1, false);
    plane.offset[0] = 3;
    plane.offset[1] = 4;
    check_split(w, &plane, (const uint64_t[]){0, 5}, 1, false);
}

static void parts_1d(void **state) {
    world *w = *state;
    pel_span span = fixture_span(1, 1000, 0, 0);
    check_split(w, &span, (const uint64_t[]){0, 64, 640, 1000}, 3, true);
    check_split(w, &span, (const uint64_t[]){0, 1, 130, 999, 1000}, 4, true); /* cuts that no binder would make */
    span.offset[0] = (1ull << 32) + 5;
    check_split(w, &span, (const uint64_t[]){0, 128, 1000}, 2, true);
    span = fixture_span(1, 960, 0, 0);
    span.local[0] = 32;
    span.offset[0] = 3;
    check_split(w, &span, (const uint64_t[]){0, 320, 960}, 2, true);
}

static void parts_2d(void **state) {
    world *w = *state;
    pel_span span = fixture_span(2, 131, 9, 0);
    check_split(w, &span, (const uint64_t[]){0, 2, 7, 9}, 3, true);
    span = fixture_span(2, 64, 9, 0);
    check_split(w, &span, (const uint64_t[]){0, 4, 9}, 2, true);
    span.split = 0;
    check_split(w, &span, (const uint64_t[]){0, 16, 30, 64}, 3, true);
    span = fixture_span(2, 24, 12, 0);
    span.local[0] = 8;
    span.local[1] = 3;
    check_split(w, &span, (const uint64_t[]){0, 6, 12}, 2, true);
    span = fixture_span(2, 3, 50, 0);
    check_split(w, &span, (const uint64_t[]){0, 16, 33, 50}, 3, true);
}

static void parts_3d(void **state) {
    world *w = *state;
    pel_span span = fixture_span(3, 7, 6, 10);
    check_split(w, &span, (const uint64_t[]){0, 1, 6, 10}, 3, true);
    span.local[0] = 7;
    span.local[1] = 2;
    span.local[2] = 2;
    check_split(w, &span, (const uint64_t[]){0, 2, 10}, 2, true);
}

/* A part far beyond 2^32 of a launch of more than 2^33 items: ids are checked through an output that is indexed relative to
 * the part. */
static const char far_source[] =
    "kernel void far_off(global ulong *out, ulong first) {\n"
    "    ulong i = get_global_id(0) - first;\n"
    "    out[3 * i] = get_global_id(0); out[3 * i + 1] = get_global_size(0); out[3 * i + 2] = get_group_id(0);\n"
    "}\n";

static void beyond_32_bits(void **state) {
    world *w = *state;
    static const pel_param far_params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(uint64_t)};
    pel_program_image program = fixture_program(far_source);
    pel_kernel_image kernel = fixture_kernel(&program, "far_off", far_params, 2);
    uint64_t out[3 * 128] = {0}, first = (1ull << 33) + 128;
    pel_mem *mem = NULL;
    assert_int_equal(w->f.device->backend->mem_create(w->f.device, out, sizeof out, &mem, NULL), PEL_OK);
    pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = out, .bytes = sizeof out},
                           {.kind = PEL_WORK_ARG_VALUE, .host = &first, .bytes = sizeof first}};
    pel_transfer all = {.mem = mem, .bytes = sizeof out};
    pel_span span = fixture_span(1, (1ull << 34) + 77, 0, 0);
    span.lo[0] = first;
    span.hi[0] = first + 128;
    pel_work work = {
        .kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = span, .chunked = true, .out = &all, .out_count = 1};
    fixture_run(&w->f, &work);
    assert_int_equal(work.status, PEL_OK);
    for (uint64_t i = 0; i < 128; i++) {
        assert_int_equal(out[3 * i], first + i);
        assert_int_equal(out[3 * i + 1], span.global[0]);
        assert_int_equal(out[3 * i + 2], (first + i) / 64);
    }
    w->f.device->backend->mem_destroy(w->f.device, mem);
    w->f.device->backend->kernel_forget(w->f.device, &kernel);
    w->f.device->backend->program_forget(w->f.device, &program);
}

/* A device that takes few work-groups at once gets several enqueues, more than are kept in flight among them; ids stay those
 * of the whole launch. */
static void few_groups_at_once(void **state) {
    world *w = *state;
    pel_cl_device *device = (pel_cl_device *)w->f.device;
    const uint64_t before = device->max_groups, limits[] = {1, 2, 5, 100};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        device->max_groups = limits[i];
        pel_span span = fixture_span(1, 402, 0, 0);
        span.local[0] = 2; /* 201 groups */
        check_split(w, &span, (const uint64_t[]){0, 402}, 1, false);
        check_split(w, &span, (const uint64_t[]){0, 130, 402}, 2, true);
        span.offset[0] = 5;
        check_split(w, &span, (const uint64_t[]){0, 402}, 1, false);
        span = fixture_span(1, 1000, 0, 0); /* a bulk and a tail */
        check_split(w, &span, (const uint64_t[]){0, 1000}, 1, false);
        span = fixture_span(2, 24, 12, 0);
        span.local[0] = 8;
        span.local[1] = 3;
        check_split(w, &span, (const uint64_t[]){0, 12}, 1, false);
        check_split(w, &span, (const uint64_t[]){0, 6, 12}, 2, true);
        span = fixture_span(3, 4, 3, 40);
        span.local[0] = 4;
        span.local[1] = 3;
        span.local[2] = 2;
        check_split(w, &span, (const uint64_t[]){0, 40}, 1, false);
    }
    device->max_groups = 1;
    uint64_t out[64 * FIELDS];
    pel_mem *mem = NULL;
    assert_int_equal(w->f.device->backend->mem_create(w->f.device, out, sizeof out, &mem, NULL), PEL_OK);
    /* cannot be cut so finely; cannot be cut at all */
    pel_span slab = fixture_span(3, 4, 4, 4), moved = fixture_span(2, 8, 8, 0);
    slab.local[0] = slab.local[1] = slab.local[2] = 2;
    moved.local[0] = moved.local[1] = 4;
    moved.offset[1] = 1;
    assert_int_equal(run_part(w, mem, &slab, 0, 4, false), PEL_TOO_LARGE);
    assert_int_equal(run_part(w, mem, &moved, 0, 8, false), PEL_TOO_LARGE);
    w->f.device->backend->mem_destroy(w->f.device, mem);
    device->max_groups = before;
}

static void refused(world *w, const pel_span *span) {
    uint64_t word = 0;
    pel_mem *mem = NULL;
    const char *why = pel_addressing_refusal(span);
    assert_non_null(why);
    assert_int_equal(w->f.device->backend->mem_create(w->f.device, &word, sizeof word, &mem, NULL), PEL_OK);
    pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = &word, .bytes = sizeof word};
    pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &w->kernel, .args = &arg, .span = *span, .chunked = true};
    fixture_run(&w->f, &work);
    assert_int_equal(work.status, PEL_UNSUPPORTED);
    assert_non_null(strstr(pel_error_message(work.error), why));
    pel_error_destroy(work.error);
    w->f.device->backend->mem_destroy(w->f.device, mem);
}

static void refusals(void **state) {
    world *w = *state;
    pel_span span = fixture_span(2, 1ull << 32, 4, 0);
    refused(w, &span);
    span = fixture_span(2, 4, 1ull << 32, 0);
    refused(w, &span);
    span = fixture_span(2, 4, 4, 0);
    span.offset[1] = 1;
    refused(w, &span);
    span = fixture_span(3, 4, 4, 1ull << 32);
    refused(w, &span);
    span = fixture_span(3, 4, 4, 4);
    span.split = 1;
    refused(w, &span);
    span = fixture_span(3, 4, 4, 4);
    span.offset[2] = 1;
    refused(w, &span);

    w->program.plain_only = true;
    uint64_t out[64 * FIELDS];
    pel_mem *mem = NULL;
    assert_int_equal(w->f.device->backend->mem_create(w->f.device, out, sizeof out, &mem, NULL), PEL_OK);
    span = fixture_span(1, 64, 0, 0);
    assert_int_equal(run_part(w, mem, &span, 0, 64, true), PEL_UNSUPPORTED);
    w->f.device->backend->mem_destroy(w->f.device, mem);
    span = fixture_span(1, 100, 0, 0); /* whole, it runs in the plain form with a divisor */
    check_split(w, &span, (const uint64_t[]){0, 100}, 1, false);
    w->program.plain_only = false;
}

static void build_log_lines(void **state) {
    world *w = *state;
    pel_program_image program = fixture_program(
        "kernel void good(global int *x) { x[get_global_id(0)] = 1; }\n\nkernel void bad() { no_such_thing(); int }\n");
    pel_error *error = NULL;
    assert_int_equal(w->f.device->backend->prepare(w->f.device, &program, NULL, &error), PEL_BUILD_FAILED);
    assert_non_null(strstr(pel_error_build_log(error), ":3:"));
    pel_error_destroy(error);
    error = NULL; /* the answer is remembered, and the same */
    assert_int_equal(w->f.device->backend->prepare(w->f.device, &program, NULL, &error), PEL_BUILD_FAILED);
    assert_non_null(strstr(pel_error_build_log(error), ":3:"));
    pel_error_destroy(error);
    w->f.device->backend->program_forget(w->f.device, &program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_launches), cmocka_unit_test(parts_1d), cmocka_unit_test(parts_2d), cmocka_unit_test(parts_3d),
        cmocka_unit_test(beyond_32_bits), cmocka_unit_test(few_groups_at_once),
        cmocka_unit_test(refusals), cmocka_unit_test(build_log_lines),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
