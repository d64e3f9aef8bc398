/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Heat on a plate: a 2-D range split into blocks of rows. Each row reads one row above and one below (the halo). Two buffers
 * take turns; the order of the launches follows from what they read and write, nothing else is said.
 */
#include "check.h"
#include <math.h>
#include <string.h>

enum { WIDTH = 256, HEIGHT = 200, STEPS = 20 };
static float plate[2][HEIGHT * WIDTH], expected[2][HEIGHT * WIDTH];

static const char source[] =
    "kernel void heat(global const float *t, global float *next) {\n"
    "    int w = get_global_size(0), h = get_global_size(1), x = get_global_id(0), y = get_global_id(1);\n"
    "    int up = max(y - 1, 0) * w, down = min(y + 1, h - 1) * w, here = y * w;\n"
    "    next[here + x] = 0.25f * (t[up + x] + t[down + x] + t[here + max(x - 1, 0)] + t[here + min(x + 1, w - 1)]);\n"
    "}\n";

static void heat_rows(const float *t, float *next, int width, int height, int from, int to) {
    for (int y = from; y < to; y++)
        for (int x = 0; x < width; x++) {
            int up = (y > 0 ? y - 1 : 0) * width, down = (y < height - 1 ? y + 1 : y) * width, here = y * width;
            next[here + x] =
                0.25f * (t[up + x] + t[down + x] + t[here + (x > 0 ? x - 1 : 0)] + t[here + (x < width - 1 ? x + 1 : x)]);
        }
}

static pel_status heat_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    heat_rows(arguments[0], arguments[1], (int)span->global[0], (int)span->global[1], (int)span->lo[1], (int)span->hi[1]);
    return PEL_OK;
}

static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(float), 0, 1, 1),
                                   PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), 0, 0, 0)};

int main(void) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *buffers[2];
    plate[0][HEIGHT / 2 * WIDTH + WIDTH / 2] = 1000.0f;
    memcpy(expected[0], plate[0], sizeof plate[0]);
    check(pel_runtime_create(NULL, &runtime, &error), "runtime", &error);
    check(pel_program_create(runtime, &(pel_program_desc){.source = source}, &program, &error), "program", &error);
    pel_kernel_desc desc = {.entry = "heat", .host = heat_host, .params = params, .param_count = 2};
    check(pel_kernel_create(program, &desc, &kernel, &error), "kernel", &error);
    check(pel_queue_create(runtime, NULL, &queue, &error), "queue", &error);
    for (int i = 0; i < 2; i++)
        check(pel_buffer_wrap(runtime, plate[i], sizeof plate[i], &buffers[i]), "buffer", NULL);

    pel_launch_desc launch = {.global = {WIDTH, HEIGHT}};
    for (int step = 0; step < STEPS; step++) {
        pel_arg args[] = {pel_buf(buffers[step % 2]), pel_buf(buffers[1 - step % 2])};
        check_queue(pel_launch(queue, kernel, &launch, args, 2, NULL), "launch", queue);
        heat_rows(expected[step % 2], expected[1 - step % 2], WIDTH, HEIGHT, 0, HEIGHT);
    }
    check_queue(pel_queue_finish(queue), "finish", queue);
    float worst = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        worst = fmaxf(worst, fabsf(plate[STEPS % 2][i] - expected[STEPS % 2][i]));
    printf("%d steps on %d x %d; largest difference to a plain loop: %g\n", STEPS, WIDTH, HEIGHT, (double)worst);

    pel_buffer_destroy(buffers[0]);
    pel_buffer_destroy(buffers[1]);
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_runtime_destroy(runtime);
    return worst > 1e-4f;
}
