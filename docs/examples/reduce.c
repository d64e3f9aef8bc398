/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sum of a million numbers. Each work-group writes one partial sum; the library folds the partial sums in a fixed order, so
 * the bits of the result do not depend on how the launch was split. The host variant works group by group, as the kernel does.
 */
#include "check.h"

enum { N = 1 << 20, LOCAL = 64 };
static float xs[N];

static const char source[] = "kernel void total(global const float *x, global float *partial, local float *tmp) {\n"
                             "    size_t l = get_local_id(0);\n"
                             "    tmp[l] = x[get_global_id(0)];\n"
                             "    for (size_t s = get_local_size(0) / 2; s > 0; s /= 2) {\n"
                             "        barrier(CLK_LOCAL_MEM_FENCE);\n"
                             "        if (l < s) tmp[l] += tmp[l + s];\n"
                             "    }\n"
                             "    if (l == 0) partial[get_group_id(0)] = tmp[0];\n"
                             "}\n";

static pel_status total_host(const pel_group *group, void *const *arguments, void *scratch, void *user) {
    const float *x = arguments[0];
    float *partial = arguments[1], *tmp = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t l = 0; l < group->local[0]; l++)
        tmp[l] = x[group->lo[0] + l];
    for (uint64_t s = group->local[0] / 2; s > 0; s /= 2)
        for (uint64_t l = 0; l < s; l++)
            tmp[l] += tmp[l + s];
    partial[group->id[0]] = tmp[0];
    return PEL_OK;
}

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1),
                                   PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F32, sizeof(float), 1), PEL_PARAM_LOCAL};

int main(void) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *x, *partial;
    for (int i = 0; i < N; i++)
        xs[i] = (float)(i % 7);
    check(pel_runtime_create(NULL, &runtime, &error), "runtime", &error);
    check(pel_program_create(runtime, &(pel_program_desc){.source = source}, &program, &error), "program", &error);
    pel_kernel_desc desc = {.entry = "total", .host_group = total_host, .params = params, .param_count = 3};
    check(pel_kernel_create(program, &desc, &kernel, &error), "kernel", &error);
    check(pel_queue_create(runtime, NULL, &queue, &error), "queue", &error);
    check(pel_buffer_wrap(runtime, xs, sizeof xs, &x), "x", NULL);
    check(pel_buffer_create(runtime, N / LOCAL * sizeof(float), &partial, &error), "partial", &error);

    pel_launch_desc launch = {.global = {N}, .local = {LOCAL}}; /* the number of groups is part of the result, so it is fixed */
    pel_arg args[] = {pel_buf(x), pel_buf(partial), pel_local(LOCAL * sizeof(float))};
    float first = 0;
    int different = 0;
    for (int i = 0; i < 5; i++) { /* while the planner still tries devices, the splits differ; the bits do not */
        check_queue(pel_launch(queue, kernel, &launch, args, 3, NULL), "launch", queue);
        check_queue(pel_buffer_sync(partial), "sync", queue);
        float sum = *(const float *)pel_buffer_data(partial);
        first = i == 0 ? sum : first;
        different += sum != first;
    }
    double expected = 0;
    for (int i = 0; i < N; i++)
        expected += xs[i];
    printf("sum %.0f, expected %.0f, %d of 5 runs differ in a bit\n", (double)first, expected, different);

    pel_buffer_destroy(x);
    pel_buffer_destroy(partial);
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_runtime_destroy(runtime);
    return different != 0 || (double)first != expected;
}
