/* SPDX-License-Identifier: BSD-3-Clause */
/* pel/opencl.h: the handles behind a device, and a context of the caller's in which the runtime works. */
#include <pel/opencl.h>
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char source[] = "kernel void fill(global int *x, int v) { x[get_global_id(0)] = v; }\n";

static const pel_device *opencl_device(const pel_runtime *runtime) {
    for (uint32_t i = 0; i < pel_runtime_device_count(runtime); i++) {
        if (pel_device_get_info(pel_runtime_device(runtime, i))->kind == PEL_DEVICE_OPENCL) {
            return pel_runtime_device(runtime, i);
        }
    }
    return NULL;
}

static pel_runtime *make_runtime(const pel_opencl_adoption *adoption) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = "host,opencl:0";
    desc.opencl = adoption;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        print_message("%s\n", pel_error_story(error));
    }
    pel_error_destroy(error);
    return runtime;
}

static cl_uint references(cl_context context) {
    cl_uint count = 0;
    assert_int_equal(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL), CL_SUCCESS);
    return count;
}

/* Fills a buffer on the OpenCL device alone. */
static void use(pel_runtime *runtime) {
    int values[1000] = {0};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1), PEL_PARAM_VALUE(int32_t)};
    const pel_share share = {.device = opencl_device(runtime), .weight = 1};
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_buffer *buffer = NULL;
    pel_queue *queue = NULL;

    program_desc.source = source;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    kernel_desc.entry = "fill";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, values, sizeof values, &buffer), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    const pel_arg args[] = {pel_buf(buffer), pel_i32(42)};
    launch.global[0] = 1000;
    launch.share_count = 1;
    launch.shares = &share;
    assert_int_equal(pel_launch(queue, kernel, &launch, args, 2, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(values[i], 42);
    }
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
}

static void handles(void **state) {
    (void)state;
    pel_runtime *runtime = make_runtime(NULL);
    if (!runtime) {
        skip();
    }
    const pel_device *device = opencl_device(runtime);
    assert_non_null(pel_opencl_device_id(device));
    assert_non_null(pel_opencl_context(device));
    assert_ptr_equal(pel_opencl_context(device), pel_opencl_context(device));
    assert_null(pel_opencl_device_id(NULL));
    assert_null(pel_opencl_context(NULL));
    assert_null(pel_opencl_device_id(pel_runtime_find_device(runtime, "host")));
    assert_null(pel_opencl_context(pel_runtime_find_device(runtime, "host")));
    use(runtime);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void adoption(void **state) {
    (void)state;
    pel_runtime *runtime = make_runtime(NULL);
    if (!runtime) {
        skip();
    }
    cl_device_id id = pel_opencl_device_id(opencl_device(runtime));
    cl_int code;
    cl_context context = clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);

    cl_uint before = references(context);
    pel_opencl_adoption adopted = PEL_OPENCL_ADOPTION_INIT;
    adopted.contexts = &context;
    adopted.context_count = 1;
    runtime = make_runtime(&adopted);
    assert_non_null(runtime);
    assert_ptr_equal(pel_opencl_context(opencl_device(runtime)), context);
    use(runtime);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    assert_int_equal(references(context), before);
    clReleaseContext(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(handles), cmocka_unit_test(adoption)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
