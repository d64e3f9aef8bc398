/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every OpenCL call may fail. The functions below stand in front of the loader's: they count calls, make the nth one fail, and
 * count what is made and released. Whatever fails, the result is right or the error is clean, and nothing is left over.
 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#include "fixture.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static atomic_long calls, alive;
static long fail_at = -1;      /* which call fails; -1: none */
static bool fail_for_ever;     /* and all after it */
static cl_int fail_code;
static bool fail_events;       /* event states fail instead of calls */
static const char *failed_call;
static atomic_long first_map;  /* number of the call that maps pinned memory first; -1: none did */

static bool fails(const char *name) {
    long call = atomic_fetch_add(&calls, 1);
    bool now = fail_at >= 0 && (call == fail_at || (fail_for_ever && call > fail_at));
    if (now && !failed_call) {
        failed_call = name;
    }
    return now;
}

static void *real(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) {
        abort();
    }
    return function;
}

/* X(name, parameters, arguments): functions that return a code. */
#define CODE_CALLS(X)                                                                                                            \
    X(clGetPlatformInfo, (cl_platform_id a, cl_platform_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))                  \
    X(clGetProgramInfo, (cl_program a, cl_program_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))                        \
    X(clGetProgramBuildInfo, (cl_program a, cl_device_id b, cl_program_build_info c, size_t d, void *e, size_t *f),              \
      (a, b, c, d, e, f))                                                                                                        \
    X(clGetKernelInfo, (cl_kernel a, cl_kernel_info b, size_t c, void *d, size_t *e), (a, b, c, d, e))                           \
    X(clGetKernelArgInfo, (cl_kernel a, cl_uint b, cl_kernel_arg_info c, size_t d, void *e, size_t *f), (a, b, c, d, e, f))      \
    X(clGetKernelWorkGroupInfo, (cl_kernel a, cl_device_id b, cl_kernel_work_group_info c, size_t d, void *e, size_t *f),        \
      (a, b, c, d, e, f))                                                                                                        \
    X(clSetKernelArg, (cl_kernel a, cl_uint b, size_t c, const void *d), (a, b, c, d))                                           \
    X(clBuildProgram,                                                                                                            \
      (cl_program a, cl_uint b, const cl_device_id *c, const char *d, void(CL_CALLBACK * e)(cl_program, void *), void *f),       \
      (a, b, c, d, e, f))                                                                                                        \
    X(clFlush, (cl_command_queue a), (a))                                                                                        \
    X(clFinish, (cl_command_queue a), (a))

#define CODE_CALL(name, parameters, arguments)                                  \
    CL_API_ENTRY cl_int CL_API_CALL name parameters {                           \
        static _Atomic(void *) function;                                        \
        if (!function) {                                                        \
            function = real(#name);                                             \
        }                                                                       \
        return fails(#name) ? fail_code : ((cl_int(CL_API_CALL *) parameters)function)arguments; \
    }
CODE_CALLS(CODE_CALL)

/* X(type, name, parameters, arguments, code pointer): functions that make something. */
#define MAKING_CALLS(X)                                                                                                          \
    X(cl_context, clCreateContext,                                                                                               \
      (const cl_context_properties *a, cl_uint b, const cl_device_id *c,                                                         \
       void(CL_CALLBACK * d)(const char *, const void *, size_t, void *), void *e, cl_int *f),                                   \
      (a, b, c, d, e, f), f)                                                                                                     \
    X(cl_command_queue, clCreateCommandQueue, (cl_context a, cl_device_id b, cl_command_queue_properties c, cl_int * d),         \
      (a, b, c, d), d)                                                                                                           \
    X(cl_mem, clCreateBuffer, (cl_context a, cl_mem_flags b, size_t c, void *d, cl_int *e), (a, b, c, d, e), e)                  \
    X(cl_mem, clCreateSubBuffer, (cl_mem a, cl_mem_flags b, cl_buffer_create_type c, const void *d, cl_int *e), (a, b, c, d, e), \
      e)                                                                                                                         \
    X(cl_program, clCreateProgramWithSource, (cl_context a, cl_uint b, const char **c, const size_t *d, cl_int *e),              \
      (a, b, c, d, e), e)                                                                                                        \
    X(cl_kernel, clCreateKernel, (cl_program a, const char *b, cl_int *c), (a, b, c), c)

#define MAKING_CALL(type, name, parameters, arguments, code)                    \
    CL_API_ENTRY type CL_API_CALL name parameters {                             \
        if (fails(#name)) {                                                     \
            *code = fail_code;                                                  \
            return NULL;                                                        \
        }                                                                       \
        type made = ((type(CL_API_CALL *) parameters)real(#name))arguments;     \
        alive += made != NULL;                                                  \
        return made;                                                            \
    }
MAKING_CALLS(MAKING_CALL)

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithBinary(cl_context a, cl_uint b, const cl_device_id *c, const size_t *d,
                                                              const unsigned char **e, cl_int *f, cl_int *g) {
    if (fails("clCreateProgramWithBinary")) {
        *g = fail_code;
        return NULL;
    }
    cl_program made =
        ((cl_program(CL_API_CALL *)(cl_context, cl_uint, const cl_device_id *, const size_t *, const unsigned char **, cl_int *,
                                    cl_int *))real("clCreateProgramWithBinary"))(a, b, c, d, e, f, g);
    alive += made != NULL;
    return made;
}

/* X(name, parameters, arguments, event pointer): commands. */
#define COMMANDS(X)                                                                                                              \
    X(clEnqueueNDRangeKernel,                                                                                                    \
      (cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d, const size_t *e, const size_t *f, cl_uint g,                 \
       const cl_event *h, cl_event *i),                                                                                          \
      (a, b, c, d, e, f, g, h, i), i)                                                                                            \
    X(clEnqueueReadBuffer,                                                                                                       \
      (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, void *f, cl_uint g, const cl_event *h, cl_event *i),         \
      (a, b, c, d, e, f, g, h, i), i)                                                                                            \
    X(clEnqueueWriteBuffer,                                                                                                      \
      (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f, cl_uint g, const cl_event *h, cl_event *i),   \
      (a, b, c, d, e, f, g, h, i), i)
#define COMMAND(name, parameters, arguments, event)                             \
    CL_API_ENTRY cl_int CL_API_CALL name parameters {                           \
        if (fails(#name)) {                                                     \
            return fail_code;                                                   \
        }                                                                       \
        cl_int code = ((cl_int(CL_API_CALL *) parameters)real(#name))arguments; \
        alive += code == CL_SUCCESS && event != NULL;                           \
        return code;                                                            \
    }
COMMANDS(COMMAND)

/* Pinned memory, which may be refused: then transfers go without. */
CL_API_ENTRY void *CL_API_CALL clEnqueueMapBuffer(cl_command_queue a, cl_mem b, cl_bool c, cl_map_flags d, size_t e, size_t f,
                                                  cl_uint g, const cl_event *h, cl_event *i, cl_int *j) {
    first_map = first_map < 0 ? atomic_load(&calls) : first_map;
    if (fails("clEnqueueMapBuffer")) {
        *j = fail_code;
        return NULL;
    }
    return ((void *(CL_API_CALL *)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t, cl_uint, const cl_event *,
                                   cl_event *, cl_int *))real("clEnqueueMapBuffer"))(a, b, c, d, e, f, g, h, i, j);
}

#define RELEASES(X)                                                                                                     \
    X(clReleaseContext, cl_context) X(clReleaseCommandQueue, cl_command_queue) X(clReleaseMemObject, cl_mem)            \
    X(clReleaseProgram, cl_program) X(clReleaseKernel, cl_kernel) X(clReleaseEvent, cl_event)
#define RELEASE(name, type)                                                     \
    CL_API_ENTRY cl_int CL_API_CALL name(type thing) {                          \
        alive--;                                                                \
        return ((cl_int(CL_API_CALL *)(type))real(#name))(thing);               \
    }
RELEASES(RELEASE)

/* An event that has failed tells a negative state through a successful call. */
CL_API_ENTRY cl_int CL_API_CALL clGetEventInfo(cl_event a, cl_event_info b, size_t c, void *d, size_t *e) {
    cl_int code =
        ((cl_int(CL_API_CALL *)(cl_event, cl_event_info, size_t, void *, size_t *))real("clGetEventInfo"))(a, b, c, d, e);
    if (fails("clGetEventInfo")) {
        if (!fail_events) {
            return fail_code;
        }
        memcpy(d, &fail_code, sizeof fail_code);
    }
    return code;
}

/* ---- a life with one fault ---- */

static fixture f;
static pel_program_image program;
static const char source[] = "kernel void add(global int *x, int a) { x[get_global_id(0)] += a; }\n";
static const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE), PEL_PARAM_VALUE(int)};

enum { ITEMS = 100, LIVES = 4096 };
static bool hints; /* the second half of the results is a hint */
static long lost_hints;

/* Whole device life: prepare, memory, two launches (the second chunked), of which any step may fail. Returns the first
 * failure. */
static pel_status live(bool *right) {
    pel_kernel_image kernel = fixture_kernel(&program, "add", params, 2);
    /* Memory of its own for each life: when a driver answers nothing any more (DEVICE_LOST), commands under way may still
     * write late. */
    _Alignas(128) static int memory[LIVES][ITEMS + 60];
    static unsigned lives;
    int *x = memory[lives++ % LIVES];
    int a = 5;
    pel_mem *mem = NULL, *view = NULL;
    pel_error *error = NULL;

    memset(x, 0, sizeof memory[0]);
    *right = true;
    fixture_start(&f);
    pel_status status = f.device->backend->prepare(f.device, &program, &kernel, &error);
    if (status == PEL_OK) {
        status = f.device->backend->mem_create(f.device, x, sizeof memory[0], &mem, &error);
    }
    if (status == PEL_OK) {
        status = f.device->backend->mem_view(f.device, mem, 128, ITEMS * sizeof *x, &view, &error);
    }
    for (int i = 0; i < 2 && status == PEL_OK; i++) {
        pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = view, .host = view->host, .bytes = view->bytes},
                               {.kind = PEL_WORK_ARG_VALUE, .host = &a, .bytes = sizeof a}};
        pel_transfer all = {.mem = mem, .bytes = mem->bytes},
                     halves[] = {{.mem = mem, .bytes = mem->bytes / 2},
                                 {.mem = mem, .offset = mem->bytes / 2, .bytes = mem->bytes / 2}};
        pel_work work = {.kind = PEL_WORK_LAUNCH,
                         .kernel = &kernel,
                         .args = args,
                         .span = fixture_span(1, ITEMS, 0, 0),
                         .chunked = i == 1,
                         .in = &all,
                         .in_count = 1,
                         .out = hints ? halves : &all,
                         .out_count = hints ? 2 : 1,
                         .hint_count = hints ? 1 : 0};
        fixture_run(&f, &work);
        status = work.status;
        error = work.error;
        for (int k = 0; k < (work.hint_lost ? (ITEMS + 60) / 2 - 32 : ITEMS) && status == PEL_OK; k++) {
            *right &= x[32 + k] == 5 * (i + 1);
        }
        if (status == PEL_OK && work.hint_lost) { /* it is still on the device */
            pel_work fetch = {.kind = PEL_WORK_TRANSFER, .out = &halves[1], .out_count = 1};
            fixture_run(&f, &fetch);
            status = fetch.status;
            error = fetch.error;
            lost_hints++;
            for (int k = (ITEMS + 60) / 2 - 32; k < ITEMS && status == PEL_OK; k++) {
                *right &= x[32 + k] == 5 * (i + 1);
            }
        }
    }
    assert_true((status == PEL_OK) == (error == NULL));
    if (error) {
        assert_int_equal(pel_error_status(error), status);
        assert_true(pel_error_message(error)[0] != '\0');
    }
    pel_error_destroy(error);
    f.device->backend->mem_destroy(f.device, view);
    f.device->backend->mem_destroy(f.device, mem);
    f.device->backend->kernel_forget(f.device, &kernel);
    f.device->backend->program_forget(f.device, &program);
    fixture_stop(&f);
    return status;
}

/* Fails each call in turn, or every so many from one of them on; afterwards a life without faults must work. */
static void calls_from(long at, long step, cl_int code, bool for_ever, bool events) {
    bool right;
    fail_code = code;
    fail_for_ever = for_ever;
    fail_events = events;
    do {
        calls = 0;
        fail_at = at;
        at += step;
        failed_call = NULL;
        long before = alive;
        pel_status status = live(&right);
        if (!right || alive != before) {
            fail_msg("call %ld (%s) with %d: status %d, %s, %ld objects left", fail_at, failed_call, (int)code, (int)status,
                     right ? "right" : "WRONG RESULT", alive - before);
        }
    } while (failed_call && at < 2000);
    fail_at = -1;
    assert_in_range(at, 20, 1999);
    assert_int_equal(live(&right), PEL_OK);
    assert_true(right);
    print_message("%ld calls, code %d%s%s: each right or clean\n", at, (int)code, for_ever ? " from then on" : "",
                  events ? " in events" : "");
}

static void each_call(cl_int code, bool for_ever, bool events) { calls_from(0, 1, code, for_ever, events); }

static void coherent_device(void **state) {
    (void)state;
    const char *cache = f.env.cache_directory;
    each_call(CL_OUT_OF_HOST_MEMORY, true, false);
    each_call(CL_OUT_OF_RESOURCES, false, true);
    f.env.cache_directory = NULL; /* always from source */
    each_call(CL_OUT_OF_RESOURCES, false, false);
    f.env.cache_directory = cache;
}

static void own_memory(void **state) {
    (void)state;
    bool coherent = f.facts.host_coherent;
    f.facts.host_coherent = false;
    f.facts.info.shares_host_memory = 0;
    hints = true;
    each_call(CL_DEVICE_NOT_AVAILABLE, true, false);
    each_call(CL_OUT_OF_RESOURCES, false, true);
    hints = false;
    assert_true(lost_hints > 0);
    f.facts.host_coherent = coherent;
}

/* Through pinned memory in five pieces, so that slots are used again. */
static void staged(void **state) {
    (void)state;
    bool coherent = f.facts.host_coherent;
    f.facts.host_coherent = false;
    f.facts.info.shares_host_memory = 0;
    f.facts.staging_bytes = 128;
    bool right;
    first_map = -1;
    calls = 0;
    assert_int_equal(live(&right), PEL_OK);
    assert_true(right && first_map > 0);
    const long from = first_map - 2; /* its queue and its buffer come before it */
    calls_from(from, 3, CL_OUT_OF_RESOURCES, false, false);
    calls_from(from, 23, CL_DEVICE_NOT_AVAILABLE, true, false);
    calls_from(from, 11, CL_OUT_OF_RESOURCES, false, true);
    f.facts.staging_bytes = 0;
    f.facts.host_coherent = coherent;
}

static void status_of_codes(void **state) {
    (void)state;
    bool right;
    fail_events = false;
    fail_for_ever = true;
    calls = 0;
    fail_at = 0;
    fail_code = CL_DEVICE_NOT_AVAILABLE;
    assert_int_equal(live(&right), PEL_DEVICE_LOST);
    fail_code = CL_OUT_OF_HOST_MEMORY;
    assert_int_equal(live(&right), PEL_OUT_OF_MEMORY);
    fail_code = -9999; /* unknown to us */
    assert_int_equal(live(&right), PEL_DEVICE_FAILED);
    fail_at = -1;
}

static int set_up(void **state) {
    (void)fixture_set_up(&f, state);
    program = fixture_program(source);
    f.env.cache_directory = getenv("PEL_CACHE_DIR"); /* so that the calls around cached binaries fail too */
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(coherent_device), cmocka_unit_test(own_memory), cmocka_unit_test(staged),
                                       cmocka_unit_test(status_of_codes)};
    return cmocka_run_group_tests(tests, set_up, fixture_tear_down);
}
