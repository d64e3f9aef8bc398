/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors with their story, memory in its three kinds (coherent, shared, own), and failing allocations. */
#include "backend/opencl/internal.h"
#include "fixture.h"
#include "topology/core_set.h"
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char source[] =
    "kernel void scale(global float *x, float f, uint n) { size_t i = get_global_id(0); if (i < n) x[i] *= f; }\n"
    "kernel void vectors(global float4 *x) { x[get_global_id(0)] += 1.0f; }\n"
    "kernel void shared(global int *x, local int *l) { l[get_local_id(0)] = x[get_global_id(0)]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    x[get_global_id(0)] = l[get_local_size(0) - 1 - get_local_id(0)]; }\n"
    "kernel __attribute__((reqd_work_group_size(8, 1, 1))) void eight(global int *x) { x[get_global_id(0)] = "
    "(int)get_local_size(0); }\n"
    "kernel void roomy(global int *x) { local int l[1 << 22]; l[get_local_id(0)] = x[0]; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    x[get_global_id(0)] = l[get_local_size(0) - 1 - get_local_id(0)]; }\n"
    "kernel void table(constant int *t, global int *x) { x[get_global_id(0)] = t ? t[0] : -1; }\n"
    "kernel void picture(read_only image2d_t p, global int *x) { x[0] = get_image_width(p); }\n";

static fixture f;
static pel_program_image program;

static int set_up(void **state) {
    (void)fixture_set_up(&f, state);
    program = fixture_program(source);
    return 0;
}

/* The message of a declaration that must be refused. */
static void refused(const char *entry, const pel_param *params, uint32_t count, pel_status status, const char *word) {
    pel_kernel_image kernel = fixture_kernel(&program, entry, params, count);
    pel_error *error = NULL;
    assert_int_equal(f.device->backend->prepare(f.device, &program, &kernel, &error), status);
    assert_non_null(error);
    if (!strstr(pel_error_message(error), word)) {
        fail_msg("no \"%s\" in: %s", word, pel_error_message(error));
    }
    assert_true(strncmp(pel_error_device(error), "opencl:0 (", 10) == 0);
    pel_error_destroy(error);
    f.device->backend->kernel_forget(f.device, &kernel);
}

static void declarations(void **state) {
    (void)state;
    fixture_start(&f);
    const pel_param good[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(float), PEL_PARAM_VALUE(uint32_t)};
    const pel_param swapped[] = {PEL_PARAM_VALUE(float), PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(uint32_t)};
    const pel_param wide[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(double), PEL_PARAM_VALUE(uint32_t)};
    const pel_param local[] = {PEL_PARAM_LOCAL, PEL_PARAM_LOCAL};
    refused("scales", good, 3, PEL_NOT_FOUND, "scale;vectors");
    refused("scale", good, 2, PEL_INVALID_ARGUMENT, "3 arguments");
    refused("scale", swapped, 3, PEL_INVALID_ARGUMENT, "parameter 0 (float* x)");
    refused("scale", wide, 3, PEL_INVALID_ARGUMENT, "parameter 1 (float f)");
    const pel_param narrow[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 2, 1, 1), PEL_PARAM_VALUE(float),
                                PEL_PARAM_VALUE(uint32_t)};
    const pel_param row[] = {PEL_PARAM_BLOCK(PEL_READ_WRITE, 1, 0, 0, 0), PEL_PARAM_VALUE(float), PEL_PARAM_VALUE(uint32_t)};
    refused("scale", narrow, 3, PEL_INVALID_ARGUMENT, "has elements of 4 bytes and is declared with 2");
    refused("scale", row, 3, PEL_INVALID_ARGUMENT, "has elements of 4 bytes and is declared with 1");
    refused("shared", local, 2, PEL_INVALID_ARGUMENT, "parameter 0 (int* x)");
    refused("picture", good, 2, PEL_UNSUPPORTED, "image");
    pel_program_image empty = fixture_program("");
    empty.source = NULL;
    pel_error *error = NULL;
    assert_int_equal(f.device->backend->prepare(f.device, &empty, NULL, &error), PEL_UNSUPPORTED);
    pel_error_destroy(error);
    fixture_stop(&f);
}

/* Reproducible: a * b + c is rounded twice, as C does on the host, and not contracted to one fused operation; in both forms. */
static void reproducible(void **state) {
    (void)state;
    static const char text[] =
        "kernel void madd(global float *x, float b, float c) { x[get_global_id(0)] = x[get_global_id(0)] * b + c; }\n";
    const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(float), PEL_PARAM_VALUE(float)};
    pel_program_image madd = fixture_program(text);
    pel_kernel_image kernel = fixture_kernel(&madd, "madd", params, 3);
    const float b = 1.0f + 1.0f / 4096, c = -1.0f;
    f.env.runtime_flags = PEL_RUNTIME_REPRODUCIBLE;
    fixture_start(&f);
    for (int chunked = 0; chunked < 2; chunked++) {
        float x[128];
        pel_mem *mem = NULL;
        for (int i = 0; i < 128; i++) {
            x[i] = b;
        }
        assert_int_equal(f.device->backend->mem_create(f.device, x, sizeof x, &mem, NULL), PEL_OK);
        pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = sizeof x},
                               {.kind = PEL_WORK_ARG_VALUE, .host = (void *)(uintptr_t)&b, .bytes = sizeof b},
                               {.kind = PEL_WORK_ARG_VALUE, .host = (void *)(uintptr_t)&c, .bytes = sizeof c}};
        pel_work work = {
            .kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = fixture_span(1, 128, 0, 0), .chunked = chunked};
        fixture_run(&f, &work);
        assert_int_equal(work.status, PEL_OK);
        for (int i = 0; i < 128; i++) {
            assert_true(x[i] == 1.0f / 2048); /* fused: 1/2048 + 2^-24 */
        }
        f.device->backend->mem_destroy(f.device, mem);
    }
    fixture_stop(&f);
    f.env.runtime_flags = 0;
}

static pel_span part_of(uint64_t items, uint64_t local, uint64_t lo, uint64_t hi) {
    pel_span span = fixture_span(1, items, 0, 0);
    span.local[0] = local;
    span.lo[0] = lo;
    span.hi[0] = hi;
    span.group_lo[0] = local > 0 ? lo / local : 0;
    span.group_hi[0] = local > 0 ? hi / local : 0;
    return span;
}

/* Whoever submits may begin another part of a launch that was here, because nothing is compiled for it; nothing else. */
static void parts_are_usual(void **state) {
    (void)state;
    static uint32_t x[4096];
    const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_program_image adder = fixture_program("kernel void add(global uint *x) { x[get_global_id(0)]++; }\n");
    pel_kernel_image kernel = fixture_kernel(&adder, "add", params, 1);
    pel_mem *mem = NULL;
    fixture_start(&f);
    assert_int_equal(f.device->backend->mem_create(f.device, x, sizeof x, &mem, NULL), PEL_OK);
    pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = sizeof x};
    pel_work work = {
        .kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = &arg, .chunked = true, .span = part_of(4096, 64, 1024, 4096)};
    pel_cl_device *device = (pel_cl_device *)f.device; /* nothing is under way: the baton is anybody's */
    assert_false(pel_cl_is_usual(device, &work));
    fixture_run(&f, &work);
    assert_int_equal(work.status, PEL_OK);
    const struct {
        pel_span span;
        bool chunked, usual;
    } cases[] = {{part_of(4096, 64, 1024, 4096), true, true},   {part_of(4096, 64, 1088, 4096), true, true},
                 {part_of(4096, 64, 64, 2048), true, true},     {part_of(4096, 64, 0, 1024), true, false},
                 {part_of(4096, 128, 1024, 4096), true, false}, {part_of(8192, 64, 1024, 4096), true, false},
                 {part_of(4096, 64, 1024, 4096), false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pel_work other = {
            .kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = &arg, .chunked = cases[i].chunked, .span = cases[i].span};
        assert_int_equal(pel_cl_is_usual(device, &other), cases[i].usual);
    }
    pel_work other = work; /* nobody asks for a size: it depends on where a part begins */
    work.span = part_of(4096, 0, 1024, 4096);
    fixture_run(&f, &work);
    assert_int_equal(work.status, PEL_OK);
    other.span = part_of(4096, 0, 2048, 4096);
    assert_true(pel_cl_is_usual(device, &other));
    other.span = part_of(4096, 0, 1032, 3080);
    assert_false(pel_cl_is_usual(device, &other));
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
}

static void memory_limits(void **state) {
    (void)state;
    fixture_start(&f);
    char byte[64] = {0};
    pel_mem *mem = NULL, *view = NULL;
    pel_error *error = NULL;
    assert_int_equal(f.device->backend->mem_create(f.device, byte, 0, &mem, &error), PEL_INVALID_ARGUMENT);
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(f.device->backend->mem_create(f.device, byte, 1ull << 60, &mem, &error), PEL_TOO_LARGE);
    assert_non_null(strstr(pel_error_message(error), "1152921504606846976"));
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(f.device->backend->mem_create(f.device, byte, sizeof byte, &mem, &error), PEL_OK);
    assert_int_equal(f.device->backend->mem_view(f.device, mem, 60, 5, &view, &error), PEL_INVALID_ARGUMENT);
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(f.device->backend->mem_view(f.device, mem, 0, 0, &view, &error), PEL_INVALID_ARGUMENT);
    pel_error_destroy(error);
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
}

/* Works that must fail, each with a word of its story, and after each the device still works. */
static pel_status launch(const pel_kernel_image *kernel, const pel_work_arg *args, uint64_t items, uint64_t local,
                         const char *word) {
    pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = kernel, .args = args, .span = fixture_span(1, items, 0, 0)};
    work.span.local[0] = local;
    fixture_run(&f, &work);
    if (word) {
        assert_non_null(work.error);
        if (!strstr(pel_error_message(work.error), word)) {
            fail_msg("no \"%s\" in: %s", word, pel_error_message(work.error));
        }
    } else {
        assert_null(work.error);
    }
    pel_error_destroy(work.error);
    return work.status;
}

static void bad_launches(void **state) {
    (void)state;
    fixture_start(&f);
    const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_LOCAL};
    pel_kernel_image shared = fixture_kernel(&program, "shared", params, 2), eight = fixture_kernel(&program, "eight", params, 1);
    pel_kernel_image vectors = fixture_kernel(&program, "vectors", params, 1),
                     table = fixture_kernel(&program, "table", params, 2);
    pel_kernel_image roomy = fixture_kernel(&program, "roomy", params, 1);
    _Alignas(64) int data[132] = {0};
    pel_mem *mem = NULL, *odd = NULL;
    assert_int_equal(f.device->backend->mem_create(f.device, data, sizeof data, &mem, NULL), PEL_OK);
    assert_int_equal(f.device->backend->prepare(f.device, &program, &vectors, NULL), PEL_OK);
    pel_work_arg args[2] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = data, .bytes = sizeof data},
                            {.kind = PEL_WORK_ARG_LOCAL, .bytes = f.facts.info.local_memory_bytes + 1}};

    assert_int_equal(launch(&shared, args, 128, 16, "local memory"), PEL_TOO_LARGE); /* PoCL itself would abort */
    args[1].bytes = UINT64_MAX;
    assert_int_equal(launch(&shared, args, 128, 16, "local memory"), PEL_TOO_LARGE);
    assert_int_equal(launch(&roomy, args, 128, 16, "local memory"), PEL_TOO_LARGE); /* 16 MiB of the kernel's own */
    args[1].bytes = 16 * sizeof(int);
    assert_int_equal(launch(&shared, args, 128, 1u << 20, "local size does not divide"), PEL_INVALID_ARGUMENT);
    assert_int_equal(launch(&shared, args, 1ull << 40, 1u << 20, "work-group"), PEL_UNSUPPORTED);
    program.plain_only = true; /* else it would be cut into several enqueues */
    assert_int_equal(launch(&shared, args, 1ull << 36, 16, "work-groups"), PEL_TOO_LARGE); /* PoCL itself would divide by zero */
    assert_int_equal(launch(&shared, args, UINT64_MAX - 15, 16, "work-groups"), PEL_TOO_LARGE); /* or abort */
    program.plain_only = false;
    assert_int_equal(launch(&eight, args, 128, 16, "reqd_work_group_size"), PEL_INVALID_ARGUMENT);
    assert_int_equal(launch(&eight, args, 4, 0, "local size"), PEL_INVALID_ARGUMENT);
    assert_int_equal(launch(&shared, args, 0, 0, NULL), PEL_OK); /* nothing to do is not a failure, and not a launch either */

    if (f.facts.host_coherent) { /* a float4 at an address that is not a multiple of 16 would be a crash */
        assert_int_equal(f.device->backend->mem_view(f.device, mem, 4, 64, &odd, NULL), PEL_OK);
        pel_work_arg bad = {.kind = PEL_WORK_ARG_MEM, .mem = odd, .host = odd->host, .bytes = 64};
        assert_int_equal(launch(&vectors, &bad, 4, 0, "aligned"), PEL_INVALID_ARGUMENT);
        f.device->backend->mem_destroy(f.device, odd);
    }
    pel_work task = {.kind = PEL_WORK_TASK};
    fixture_run(&f, &task);
    assert_int_equal(task.status, PEL_UNSUPPORTED);
    pel_error_destroy(task.error);

    for (int i = 0; i < 128; i++) {
        data[i] = i;
    }
    assert_int_equal(launch(&shared, args, 128, 16, NULL), PEL_OK);
    assert_int_equal(data[0], 15);
    assert_int_equal(data[127], 112);
    assert_int_equal(launch(&eight, args, 128, 0, NULL), PEL_OK);
    assert_int_equal(data[127], 8);
    pel_work_arg with_null[2] = {{.kind = PEL_WORK_ARG_NULL}, args[0]};
    assert_int_equal(launch(&table, with_null, 8, 0, NULL), PEL_OK);
    assert_int_equal(data[7], -1);
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
}

/* Transfers move exactly what they say; more of them than fit in one flight; views. */
static void transfers(void) {
    enum { FLOATS = 4096, PARTS = 150 };
    const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(float), PEL_PARAM_VALUE(uint32_t)};
    pel_kernel_image kernel = fixture_kernel(&program, "scale", params, 3);
    _Alignas(4096) static float x[FLOATS];
    pel_transfer in[PARTS], out[PARTS];
    pel_mem *mem = NULL, *view = NULL;
    float factor = 2.0f;
    uint32_t n = 1024;

    fixture_start(&f);
    assert_int_equal(f.device->backend->mem_create(f.device, x, sizeof x, &mem, NULL), PEL_OK);
    assert_int_equal(f.device->backend->mem_view(f.device, mem, 4096, 8192, &view, NULL), PEL_OK);
    for (unsigned i = 0; i < FLOATS; i++) {
        x[i] = (float)i;
    }
    for (unsigned i = 0; i < PARTS; i++) { /* 150 parts of 64 bytes from the beginning of the view */
        in[i] = (pel_transfer){.mem = mem, .offset = 4096 + 64 * i, .bytes = 64};
        out[i] = (pel_transfer){.mem = view, .offset = 64 * i, .bytes = i % 2 == 0 ? 64 : 0};
    }
    pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = view, .host = view->host, .bytes = 8192},
                           {.kind = PEL_WORK_ARG_VALUE, .host = &factor, .bytes = sizeof factor},
                           {.kind = PEL_WORK_ARG_VALUE, .host = &n, .bytes = sizeof n}};
    pel_work work = {.kind = PEL_WORK_LAUNCH,
                     .kernel = &kernel,
                     .args = args,
                     .span = fixture_span(1, 1024, 0, 0),
                     .in = in,
                     .in_count = PARTS,
                     .out = out,
                     .out_count = 128,
                     .predicted_ns = 200000};
    fixture_run(&f, &work);
    assert_int_equal(work.status, PEL_OK);
    assert_true(work.began <= work.launch_began && work.launch_began <= work.launch_ended && work.launch_ended <= work.ended);
    for (unsigned i = 0; i < FLOATS; i++) {
        bool scaled =
            i >= 1024 && i < 2048 && (f.facts.host_coherent || f.facts.info.shares_host_memory || (i - 1024) / 16 % 2 == 0);
        if (!f.facts.info.shares_host_memory || f.facts.host_coherent || !scaled) {
            assert_true(x[i] == (scaled ? 2.0f : 1.0f) * (float)i);
        }
    }
    /* Bytes that changed in host memory and were not sent must not reach the device, those that were sent must. */
    x[1024] = 7;
    pel_transfer first = {.mem = view, .offset = 0, .bytes = 4}, all = {.mem = mem, .offset = 4096, .bytes = 4096};
    pel_work again = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = fixture_span(1, 1024, 0, 0), .in = &first,
                      .in_count = 1, .out = &all, .out_count = 1};
    fixture_run(&f, &again);
    assert_int_equal(again.status, PEL_OK);
    assert_true(x[1024] == 14);
    assert_true(x[1024 + 16] == 4 * 1040.0f);
    pel_work fetch = {.kind = PEL_WORK_TRANSFER, .out = &all, .out_count = 1};
    x[1025] = f.facts.host_coherent ? x[1025] : 0;
    fixture_run(&f, &fetch);
    assert_int_equal(fetch.status, PEL_OK);
    assert_true(f.facts.info.shares_host_memory || x[1025] == 4 * 1025.0f);
    f.device->backend->mem_destroy(f.device, view);
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
}

static void coherent_memory(void **state) {
    (void)state;
    transfers();
}

static void shared_memory(void **state) {
    (void)state;
    bool coherent = f.facts.host_coherent;
    f.facts.host_coherent = false;
    f.facts.info.shares_host_memory = 1;
    transfers();
    f.facts.host_coherent = coherent;
}

static void own_memory(void **state) {
    (void)state;
    bool coherent = f.facts.host_coherent;
    char bytes[256];
    pel_mem *mem = NULL, *view = NULL;
    pel_error *error = NULL;
    f.facts.host_coherent = false;
    f.facts.info.shares_host_memory = 0;
    transfers();
    f.facts.staging_bytes = 1000; /* the same through pinned memory, in uneven pieces */
    transfers();
    f.facts.staging_bytes = 0;
    fixture_start(&f);
    assert_int_equal(f.device->backend->mem_create(f.device, bytes, sizeof bytes, &mem, NULL), PEL_OK);
    assert_int_equal(f.device->backend->mem_view(f.device, mem, 4, 8, &view, &error), PEL_UNSUPPORTED);
    assert_non_null(strstr(pel_error_message(error), "multiples of"));
    pel_error_destroy(error);
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
    f.facts.host_coherent = coherent;
}

/* ---- the nth allocation fails ---- */

static long allowed;

static void *limited(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return allowed-- > 0 ? realloc(pointer, bytes) : NULL;
}

static bool life_with_few_allocations(long count) {
    const pel_allocator allocator = {.reallocate = limited};
    const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(float), PEL_PARAM_VALUE(uint32_t)};
    pel_kernel_image kernel = fixture_kernel(&program, "scale", params, 3);
    pel_backend_device *device = NULL;
    pel_mem *mem = NULL;
    pel_error *error = NULL;
    float x[100] = {1}, factor = 3;
    uint32_t n = 100;

    allowed = count;
    f.env.allocator = &allocator;
    pel_status status = pel_backend_opencl.open(&f.env, &f.facts, &device, &error);
    if (status == PEL_OK) {
        f.device = device;
        status = device->backend->prepare(device, &program, &kernel, &error);
    }
    if (status == PEL_OK) {
        status = device->backend->mem_create(device, x, sizeof x, &mem, &error);
    }
    if (status == PEL_OK) {
        pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = sizeof x},
                               {.kind = PEL_WORK_ARG_VALUE, .host = &factor, .bytes = sizeof factor},
                               {.kind = PEL_WORK_ARG_VALUE, .host = &n, .bytes = sizeof n}};
        pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = fixture_span(1, 100, 0, 0)};
        fixture_run(&f, &work);
        status = work.status;
        error = work.error;
        assert_true(status != PEL_OK || x[0] == 3);
    }
    assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
    assert_true((status == PEL_OK) == (error == NULL));
    pel_error_destroy(error);
    if (device) {
        device->backend->mem_destroy(device, mem);
        fixture_stop(&f);
    }
    f.env.allocator = &pel_allocator_default;
    return status == PEL_OK && allowed >= 0;
}

static void failing_allocations(void **state) {
    (void)state;
    long count = 0;
    while (!life_with_few_allocations(count)) {
        assert_in_range(++count, 1, 1000);
    }
    print_message("%ld allocations\n", count);
}

static void many_lives(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        fixture_start(&f);
        if (i % 10 == 0) {
            pel_error *error = NULL;
            assert_int_equal(f.device->backend->prepare(f.device, &program, NULL, &error), PEL_OK);
        }
        fixture_stop(&f);
    }
}

static void note_end(pel_work *work) { *(atomic_bool *)work->context = true; }

/* What waits behind others is expected to take what such launches took, not what one takes that is waited for. */
static void one_more_takes_its_pace(void **state) {
    pel_cl_device *device;
    atomic_bool over = false;
    _Alignas(64) int data[16] = {0};
    const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};
    pel_kernel_image kernel = fixture_kernel(&program, "eight", params, 1);
    pel_mem *mem = NULL;
    (void)state;
    fixture_start(&f);
    device = (pel_cl_device *)f.device;
    assert_int_equal(f.device->backend->mem_create(f.device, data, sizeof data, &mem, NULL), PEL_OK);
    const pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = data, .bytes = sizeof data}};
    pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = fixture_span(1, 16, 0, 0),
                     .predicted_ns = 60000, .soon = true, .complete = note_end, .context = &over};
    work.span.local[0] = 8;
    pthread_mutex_lock(&device->lock);
    device->running = true; /* nobody begins it meanwhile */
    device->pace_of = kernel.id;
    device->pace_ns = 5000;
    pthread_mutex_unlock(&device->lock);
    f.device->backend->submit(f.device, &work);
    const bool grows = f.device->backend->again(f.device, &work, 32);
    if (grows) {
        assert_true(work.predicted_ns == 65000);
        device->pace_ns = 50000; /* slower than it is predicted alone: the prediction counts */
        assert_true(f.device->backend->again(f.device, &work, 32) && work.predicted_ns == 97500);
        device->pace_of = kernel.id + 1;
        assert_true(f.device->backend->again(f.device, &work, 32) && work.predicted_ns == 130000);
        assert_int_equal(work.times, 4);
    }
    pthread_mutex_lock(&device->lock);
    device->running = false;
    pthread_mutex_unlock(&device->lock);
    while (!atomic_load(&over)) {
        (void)f.device->backend->help(f.device);
    }
    assert_int_equal(work.status, PEL_OK);
    assert_int_equal(data[0], 8);
    f.device->backend->mem_destroy(f.device, mem);
    f.device->backend->kernel_forget(f.device, &kernel);
    fixture_stop(&f);
}

static void go_to(size_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    assert_int_equal(sched_setaffinity(0, sizeof set, &set), 0);
}

/* As a device whose enqueue computes, on cores of its own: `work` waits there, and nobody but help() begins it. */
static void leave_waiting(pel_cl_device *device, pel_work *work) {
    pthread_mutex_lock(&device->lock);
    device->running = true;
    pthread_mutex_unlock(&device->lock);
    device->may_begin = false;
    f.device->backend->submit(f.device, work);
    for (bool asleep = false; !asleep; (void)sched_yield()) {
        pthread_mutex_lock(&device->lock);
        asleep = device->sleeps_long;
        device->running = !asleep;
        pthread_mutex_unlock(&device->lock);
    }
}

/* A guest computes a part of a launch on the device's cores only; what is not divided, anywhere. */
static void guests_and_cores(void **state) {
    cpu_set_t before;
    size_t cpus[2], count = 0;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && cpu < PEL_CORE_LIMIT && count < 2; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            cpus[count++] = cpu;
        }
    }
    const pel_topology_device facts = f.facts;
    if (count == 2 && strcmp(facts.info.platform, "Portable Computing Language") == 0) {
        memset(&f.facts.info.cores, 0, sizeof f.facts.info.cores);
        pel_core_set_add(&f.facts.info.cores, (uint32_t)cpus[1]);
        f.facts.info.cores_count = 1;
        f.facts.core_set_declared = true;
        static const struct {
            bool chunked, at_home, helps;
        } cases[] = {{true, false, false}, {true, true, true}, {false, false, true}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            atomic_bool over = false;
            _Alignas(64) int data[16] = {0};
            const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};
            pel_kernel_image kernel = fixture_kernel(&program, "eight", params, 1);
            pel_mem *mem = NULL;
            fixture_start(&f);
            assert_int_equal(f.device->backend->mem_create(f.device, data, sizeof data, &mem, NULL), PEL_OK);
            const pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = data, .bytes = sizeof data}};
            pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = fixture_span(1, 16, 0, 0),
                             .chunked = cases[i].chunked, .soon = true, .complete = note_end, .context = &over};
            work.span.local[0] = 8;
            work.span.group_hi[0] = 2;
            pel_cl_device *device = (pel_cl_device *)f.device;
            leave_waiting(device, &work);
            go_to(cpus[cases[i].at_home]);
            pthread_mutex_lock(&device->lock);
            device->touched = true; /* a guest was there just now, so its own thread leaves it alone for a tick */
            pthread_mutex_unlock(&device->lock);
            assert_int_equal(f.device->backend->help(f.device), cases[i].helps);
            assert_int_equal(atomic_load(&over), cases[i].helps);
            pthread_mutex_lock(&device->lock);
            assert_int_equal(device->touched, cases[i].helps); /* but not with a part that no guest takes */
            pthread_mutex_unlock(&device->lock);
            f.device->backend->begin(f.device); /* the device's own thread does it, where nobody has */
            while (!atomic_load(&over)) {
                (void)sched_yield();
            }
            assert_int_equal(work.status, PEL_OK);
            assert_int_equal(data[15], 8);
            f.device->backend->mem_destroy(f.device, mem);
            f.device->backend->kernel_forget(f.device, &kernel);
            fixture_stop(&f);
        }
        assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    }
    f.facts = facts;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_usual),
        cmocka_unit_test(declarations), cmocka_unit_test(reproducible),        cmocka_unit_test(memory_limits),
        cmocka_unit_test(bad_launches), cmocka_unit_test(coherent_memory),     cmocka_unit_test(shared_memory),
        cmocka_unit_test(own_memory),   cmocka_unit_test(failing_allocations), cmocka_unit_test(many_lives),
        cmocka_unit_test(one_more_takes_its_pace), cmocka_unit_test(guests_and_cores),
    };
    return cmocka_run_group_tests(tests, set_up, fixture_tear_down);
}
