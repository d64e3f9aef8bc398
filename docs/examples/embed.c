/* SPDX-License-Identifier: BSD-3-Clause */
#include <pel/pel.h>
#include <stdio.h>

enum { N = 1000000 };
static float xs[N], ys[N];

static const char source[] = "kernel void saxpy(float a, global const float *x, global float *y) {"
                             "    size_t i = get_global_id(0); y[i] += a * x[i]; }";

static pel_status saxpy(const pel_span *span, void *const *arguments, void *scratch, void *user) { /* for the host's cores */
    const float a = *(const float *)arguments[0], *x = arguments[1];
    float *y = arguments[2];
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++)
        y[i] += a * x[i];
    return (void)scratch, (void)user, PEL_OK;
}

static const pel_param params[] = {PEL_PARAM_VALUE(float), PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(float), 1, 1)};

int main(void) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *x, *y;
    if (pel_runtime_create(NULL, &runtime, &error) ||
        pel_program_create(runtime, &(pel_program_desc){.source = source}, &program, &error) ||
        pel_kernel_create(program, &(pel_kernel_desc){.entry = "saxpy", .host = saxpy, .params = params, .param_count = 3},
                          &kernel, &error) ||
        pel_queue_create(runtime, NULL, &queue, &error) || pel_buffer_wrap(runtime, xs, sizeof xs, &x) ||
        pel_buffer_wrap(runtime, ys, sizeof ys, &y))
        return fprintf(stderr, "%s\n", pel_error_story(error)), 1;
    for (int i = 0; i < N; i++)
        xs[i] = (float)i;
    pel_arg args[] = {pel_f32(2.0f), pel_buf(x), pel_buf(y)};
    if (pel_launch(queue, kernel, &(pel_launch_desc){.global = {N}}, args, 3, NULL) || pel_queue_finish(queue))
        return fprintf(stderr, "%s\n", pel_error_story(pel_queue_error(queue))), 1;
    printf("y[10] = %g\n", (double)ys[10]);
    pel_buffer_destroy(x), pel_buffer_destroy(y), pel_queue_destroy(queue), pel_kernel_destroy(kernel),
        pel_program_destroy(program);
    return pel_runtime_destroy(runtime) || ys[10] != 20.0f;
}
