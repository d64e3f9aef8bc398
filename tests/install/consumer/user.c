/* SPDX-License-Identifier: BSD-3-Clause */
/* A user's program: doubles an array by a kernel that has a host function, through nothing but the public headers. Compiled as
 * C and as C++. */
#include <pel/pel.h>

#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
static pel_status twice(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    float *values = (float *)arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++)
        values[i] *= 2.0f;
    return PEL_OK;
}
#ifdef __cplusplus
}
#endif

static int failed(const char *what, pel_status status, pel_error *error) {
    fprintf(stderr, "%s: %s\n%s\n", what, pel_status_text(status), pel_error_story(error));
    pel_error_destroy(error);
    return 1;
}

static float values[1000];
static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(float), 1, 1)};

static int launch(pel_runtime *runtime, pel_kernel *kernel) {
    pel_queue *queue = NULL;
    pel_buffer *buffer = NULL;
    pel_error *error = NULL;
    pel_status status = pel_queue_create(runtime, NULL, &queue, &error);
    if (status)
        return failed("queue", status, error);
    status = pel_buffer_wrap(runtime, values, sizeof values, &buffer);
    if (status)
        return failed("buffer", status, NULL);
    pel_launch_desc range = PEL_LAUNCH_DESC_INIT;
    range.global[0] = sizeof values / sizeof values[0];
    pel_arg args[1];
    args[0] = pel_buf(buffer);
    status = pel_launch(queue, kernel, &range, args, 1, NULL);
    if (!status)
        status = pel_queue_finish(queue);
    if (status)
        return failed("launch", status, pel_queue_error(queue));
    if ((status = pel_buffer_destroy(buffer)) != PEL_OK || (status = pel_queue_destroy(queue)) != PEL_OK)
        return failed("destroy", status, NULL);
    return 0;
}

int main(void) {
    if (strcmp(pel_version_string(), PEL_VERSION_STRING) != 0)
        return failed("version", PEL_MISMATCH, NULL);
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        values[i] = (float)i;

    pel_error *error = NULL;
    pel_runtime *runtime = NULL;
    pel_runtime_desc machine = PEL_RUNTIME_DESC_INIT;
    machine.devices = "host";
    pel_status status = pel_runtime_create(&machine, &runtime, &error);
    if (status)
        return failed("runtime", status, error);
    pel_program *program = NULL;
    pel_program_desc source = PEL_PROGRAM_DESC_INIT;
    if ((status = pel_program_create(runtime, &source, &program, &error)) != PEL_OK)
        return failed("program", status, error);
    pel_kernel *kernel = NULL;
    pel_kernel_desc description = PEL_KERNEL_DESC_INIT;
    description.name = "twice";
    description.params = params;
    description.param_count = 1;
    description.host = twice;
    if ((status = pel_kernel_create(program, &description, &kernel, &error)) != PEL_OK)
        return failed("kernel", status, error);
    if (launch(runtime, kernel))
        return 1;
    if ((status = pel_kernel_destroy(kernel)) != PEL_OK || (status = pel_program_destroy(program)) != PEL_OK ||
        (status = pel_runtime_destroy(runtime)) != PEL_OK)
        return failed("destroy", status, NULL);

    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        if (values[i] != 2.0f * (float)i)
            return failed("result", PEL_MISMATCH, NULL);
    printf("pel %s works\n", pel_version_string());
    return 0;
}
