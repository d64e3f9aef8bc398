/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A run that may be killed at any moment and goes on where it was: 400 steps of a logistic map on many values, with a checkpoint
 * every 100 steps that is written while the next steps are computed.
 *
 *     checkpoint [PATH [STEPS]]      stops after STEPS, as if it had been killed; called again it goes on
 *
 * Without PATH it does both in a row, in a directory of its own under $TMPDIR, and compares with an uninterrupted run.
 */
#include "check.h"
#include <string.h>
#include <unistd.h>

enum { VALUES = 10000, STEPS = 400, EVERY = 100 };

static const char source[] = "kernel void advance(global uint *x) {\n"
                             "    size_t i = get_global_id(0);\n"
                             "    x[i] = x[i] * 1664525u + (x[i] >> 7) + 1013904223u;\n"
                             "}\n";

static pel_status advance_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint32_t *x = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++)
        x[i] = x[i] * 1664525u + (x[i] >> 7) + 1013904223u;
    return PEL_OK;
}

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};

/* Runs from the last checkpoint, or from the beginning, to step `until`. Returns the sum of the values. */
static uint64_t run(const char *path, uint64_t until) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *values;
    pel_checkpoint *checkpoint = NULL;
    check(pel_runtime_create(NULL, &runtime, &error), "runtime", &error);
    check(pel_program_create(runtime, &(pel_program_desc){.source = source}, &program, &error), "program", &error);
    pel_kernel_desc desc = {.entry = "advance", .host = advance_host, .params = params, .param_count = 1};
    check(pel_kernel_create(program, &desc, &kernel, &error), "kernel", &error);
    check(pel_queue_create(runtime, NULL, &queue, &error), "queue", &error);
    check(pel_buffer_create(runtime, VALUES * sizeof(uint32_t), &values, &error), "buffer", &error);
    uint32_t *x = pel_buffer_data(values);
    for (uint32_t i = 0; i < VALUES; i++)
        x[i] = i;

    pel_checkpoint_item items[] = {{"values", values}};
    pel_checkpoint_state state = {0};
    if (path) {
        check(pel_checkpoint_open(runtime, &(pel_checkpoint_desc){.path = path}, &checkpoint, &error), "checkpoint", &error);
        pel_status found = pel_checkpoint_read(checkpoint, queue, items, 1, &state, &error);
        if (found != PEL_NOT_FOUND)
            check(found, "reading the checkpoint", &error);
        pel_error_destroy(error); /* there is none: from the beginning */
        error = NULL;
        printf("from step %llu\n", (unsigned long long)state.step);
    }
    const pel_arg args[] = {pel_buf(values)};
    const pel_launch_desc launch = {.global = {VALUES}};
    for (uint64_t step = state.step; step < until; step++) {
        if (checkpoint && step > state.step && step % EVERY == 0)
            check(pel_checkpoint_begin(checkpoint, queue, items, 1, step, &error), "writing the checkpoint", &error);
        check_queue(pel_launch(queue, kernel, &launch, args, 1, NULL), "launch", queue);
    }
    check_queue(pel_queue_finish(queue), "finish", queue);
    if (checkpoint)
        check(pel_checkpoint_wait(checkpoint, &error), "the last checkpoint", &error);

    uint64_t sum = 0;
    for (uint32_t i = 0; i < VALUES; i++)
        sum += x[i];
    pel_checkpoint_close(checkpoint);
    pel_buffer_destroy(values);
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_runtime_destroy(runtime);
    return sum;
}

/* Stops in between, goes on, and ends with the sum of a run that was never stopped. */
static int demonstrate(void) {
    const char *temporary = getenv("TMPDIR");
    static const char *const suffixes[] = {".0", ".1", ".0.log", ".1.log", ".lock"};
    char directory[512], path[600], file[620];
    snprintf(directory, sizeof directory, "%s/pel-example-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(directory)) {
        perror(directory);
        return 1;
    }
    snprintf(path, sizeof path, "%s/run", directory);
    run(path, STEPS / 2 + 7);
    const uint64_t sum = run(path, STEPS), expected = run(NULL, STEPS);
    printf("the sum is %llu, and %llu without a stop\n", (unsigned long long)sum, (unsigned long long)expected);
    for (int i = 0; i < 5; i++) {
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        unlink(file);
    }
    rmdir(directory);
    return sum != expected;
}

int main(int argc, char **argv) {
    char *end = "";
    const unsigned long long steps = argc > 2 ? strtoull(argv[2], &end, 10) : STEPS;
    if (argc > 3 || (argc > 2 && (end == argv[2] || *end != '\0')) || steps > STEPS) {
        fprintf(stderr, "usage: checkpoint [PATH [STEPS]], at most %d steps\n", STEPS);
        return 2;
    }
    if (argc < 2)
        return demonstrate();
    printf("the sum is %llu\n", (unsigned long long)run(argv[1], steps));
    return 0;
}
