/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernels and host work in one queue. A task writes a report of each frame while the next frame is computed: the declared
 * accesses say what waits for what, there is no lock and no callback.
 */
#include "check.h"

enum { N = 1 << 16, FRAMES = 4 };
static float frames[2][N];

typedef struct report {
    const float *frame;
    int number;
    double mean;
} report;
static report reports[FRAMES];

static pel_status fill_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    float *out = arguments[0];
    const int number = *(const int *)arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++)
        out[i] = (float)number + (float)(i % 2);
    return PEL_OK;
}

static pel_status measure(void *context) {
    report *r = context;
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)r->frame[i];
    r->mean = sum / N;
    return PEL_OK;
}

static const char source[] = "kernel void fill(global float *out, int number) {\n"
                             "    out[get_global_id(0)] = (float)number + (float)(get_global_id(0) % 2);\n"
                             "}\n";
static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(float), 1, 1), PEL_PARAM_VALUE(int)};

int main(void) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *buffers[2];
    check(pel_runtime_create(NULL, &runtime, &error), "runtime", &error);
    check(pel_program_create(runtime, &(pel_program_desc){.source = source}, &program, &error), "program", &error);
    pel_kernel_desc desc = {.entry = "fill", .host = fill_host, .params = params, .param_count = 2};
    check(pel_kernel_create(program, &desc, &kernel, &error), "kernel", &error);
    check(pel_queue_create(runtime, NULL, &queue, &error), "queue", &error);
    for (int i = 0; i < 2; i++)
        check(pel_buffer_wrap(runtime, frames[i], sizeof frames[i], &buffers[i]), "buffer", NULL);

    pel_launch_desc launch = {.global = {N}};
    for (int i = 0; i < FRAMES; i++) {
        pel_buffer *frame = buffers[i % 2];
        pel_arg args[] = {pel_buf(frame), pel_i32(i)};
        pel_access reads = PEL_ACCESS(frame, 0, 0, PEL_READ);
        reports[i] = (report){frames[i % 2], i, 0};
        check_queue(pel_launch(queue, kernel, &launch, args, 2, NULL), "launch", queue); /* waits for the report of frame i - 2 */
        check_queue(pel_task(queue, measure, &reports[i], &reads, 1, NULL, NULL), "task", queue); /* waits for this launch */
    }
    check_queue(pel_queue_finish(queue), "finish", queue);
    int wrong = 0;
    for (int i = 0; i < FRAMES; i++) {
        printf("frame %d: mean %.1f\n", i, reports[i].mean);
        wrong += reports[i].mean != i + 0.5;
    }
    pel_buffer_destroy(buffers[0]);
    pel_buffer_destroy(buffers[1]);
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_runtime_destroy(runtime);
    return wrong != 0;
}
