/* SPDX-License-Identifier: BSD-3-Clause */
/* The smallest complete program: y = a * x + y on every processor that helps. */
#include "check.h"

enum { N = 1 << 20 };
static float xs[N], ys[N];

static const char source[] = "kernel void saxpy(float a, global const float *x, global float *y) {\n"
                             "    size_t i = get_global_id(0);\n"
                             "    y[i] = a * x[i] + y[i];\n"
                             "}\n";

/* The same in C, for the host's cores. It gets a part of the range, and pointers that are indexed with global ids. */
static pel_status saxpy_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const float a = *(const float *)arguments[0], *x = arguments[1];
    float *y = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++)
        y[i] = a * x[i] + y[i];
    return PEL_OK;
}

/* Item i touches element i of x and y: so the library may split the launch. */
static const pel_param params[] = {PEL_PARAM_VALUE(float), PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(float), 1, 1)};

int main(void) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *x, *y;
    for (int i = 0; i < N; i++) {
        xs[i] = (float)i;
        ys[i] = 1.0f;
    }
    check(pel_runtime_create(NULL, &runtime, &error), "runtime", &error);
    check(pel_program_create(runtime, &(pel_program_desc){.source = source}, &program, &error), "program", &error);
    pel_kernel_desc desc = {.entry = "saxpy", .host = saxpy_host, .params = params, .param_count = 3};
    check(pel_kernel_create(program, &desc, &kernel, &error), "kernel", &error);
    check(pel_queue_create(runtime, NULL, &queue, &error), "queue", &error);
    check(pel_buffer_wrap(runtime, xs, sizeof xs, &x), "x", NULL);
    check(pel_buffer_wrap(runtime, ys, sizeof ys, &y), "y", NULL);

    pel_arg args[] = {pel_f32(2.0f), pel_buf(x), pel_buf(y)};
    pel_launch_desc launch = {.global = {N}};
    pel_event *event;
    check_queue(pel_launch(queue, kernel, &launch, args, 3, &event), "launch", queue);
    check_queue(pel_queue_finish(queue), "finish", queue); /* now ys holds the result */

    pel_plan *plan;
    check(pel_event_get_plan(event, &plan), "plan", NULL);
    printf("%s", pel_plan_text(plan));
    int wrong = 0;
    for (int i = 0; i < N; i++)
        wrong += ys[i] != 2.0f * (float)i + 1.0f;
    printf("%d of %d results are wrong\n", wrong, N);

    pel_plan_destroy(plan);
    pel_event_release(event);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_runtime_destroy(runtime);
    return wrong != 0;
}
