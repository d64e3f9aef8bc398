/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches of a host function that are nothing but their price, beside tasks that do the same on the same bytes. */
#include "peer_pel.h"

typedef struct small {
    peer_pel p;
    pel_buffer *buffer;
    pel_kernel *kernel;
} small;

static pel_status small_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    workload_small(arguments[0], span->lo[0], span->hi[0]);
    return PEL_OK;
}

static pel_status small_task(void *context) {
    workload_small(context, 0, WORKLOAD_SMALL);
    return PEL_OK;
}

static void launch(void *context, double *sums, unsigned count) {
    small *s = context;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(s->buffer)};
    (void)sums;
    desc.global[0] = WORKLOAD_SMALL;
    for (unsigned i = 0; i < count; i++) {
        peer_pel_must(&s->p, pel_launch(s->p.queue, s->kernel, &desc, args, 1, NULL), "launch");
    }
    peer_pel_finish(&s->p);
}

static void submit(void *context, double *sums, unsigned count) {
    small *s = context;
    const pel_access access = PEL_ACCESS(s->buffer, 0, WORKLOAD_SMALL * sizeof *sums, PEL_READ_WRITE);
    for (unsigned i = 0; i < count; i++) {
        peer_pel_must(&s->p, pel_task(s->p.queue, small_task, sums, &access, 1, NULL, NULL), "task");
    }
    peer_pel_finish(&s->p);
}

void peer_pel_small(const contestant_run *run) {
    static double sums[WORKLOAD_SMALL];
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(double), 1, 1)};
    small s = {.p = peer_pel_open("host", 0, NULL)};
    pel_program *program;
    pel_program_desc described = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    desc.name = "small";
    desc.params = params;
    desc.param_count = 1;
    desc.host = small_host;
    peer_pel_must(&s.p, pel_program_create(s.p.runtime, &described, &program, NULL), "program");
    peer_pel_must(&s.p, pel_kernel_create(program, &desc, &s.kernel, NULL), "kernel");
    peer_pel_must(&s.p, pel_buffer_wrap(s.p.runtime, sums, sizeof sums, &s.buffer), "buffer");
    contestant_small(run, contestant_name, sums, launch, &s);
    contestant_small(run, "pel, task", sums, submit, &s);
    (void)pel_buffer_destroy(s.buffer);
    (void)pel_kernel_destroy(s.kernel);
    (void)pel_program_destroy(program);
    peer_pel_close(&s.p);
}
