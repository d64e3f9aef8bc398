/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data that stays where it is used, against data that comes from host memory and goes back with every launch. On a device of the
 * host's memory the two differ by a few microseconds; on a card by the link. Per kernel and device: time per launch of a chain of
 * eight on buffers that pel owns, and of eight launches on wrapped memory, each finished before the next. The chain's result is
 * read back and verified.
 */
#include "harness.h"
#include <string.h>

enum { CHAIN = 8 };

typedef struct place {
    pel_bench_session *session;
    pel_kernel *kernel;
    const pel_case *c;
    pel_case_binding *binding;
    pel_share share;
    uint32_t share_count;
    bool resident;
} place;

static bool run_chain(void *context) {
    const place *p = (const place *)context;
    pel_launch_desc launch = p->binding->launch;
    launch.shares = p->share_count ? &p->share : NULL;
    launch.share_count = p->share_count;
    pel_status status = PEL_OK;
    for (int i = 0; status == PEL_OK && i < CHAIN; i++) {
        status = pel_launch(p->session->queue, p->kernel, &launch, p->binding->args, p->c->arg_count, NULL);
        if (status == PEL_OK && (!p->resident || i == CHAIN - 1)) {
            status = pel_queue_finish(p->session->queue);
        }
    }
    return status == PEL_OK;
}

/* The same arguments on buffers that pel owns, inputs written. */
static pel_status bind_owned(pel_bench_session *session, const pel_case *c, pel_case_binding *binding) {
    pel_status status = PEL_OK;
    *binding = (pel_case_binding){.launch = PEL_LAUNCH_DESC_INIT};
    memcpy(binding->launch.global, c->global, sizeof c->global);
    memcpy(binding->launch.local, c->local, sizeof c->local);
    for (uint32_t i = 0; status == PEL_OK && i < c->array_count; i++) {
        status = pel_buffer_create(session->runtime, c->arrays[i].bytes, &binding->buffers[i], NULL);
        if (status == PEL_OK) {
            status = pel_write(session->queue, binding->buffers[i], 0, c->arrays[i].bytes, c->arrays[i].data, NULL, NULL);
        }
    }
    for (uint32_t i = 0; i < c->arg_count; i++) {
        const pel_case_arg *arg = &c->args[i];
        binding->args[i] = arg->kind == PEL_CASE_ARRAY   ? pel_buf(binding->buffers[arg->array])
                           : arg->kind == PEL_CASE_LOCAL ? pel_local(arg->bytes)
                                                         : pel_arg_value_(arg->value, arg->bytes);
    }
    return status == PEL_OK ? pel_queue_finish(session->queue) : status;
}

static bool read_back(pel_bench_session *session, pel_case *c, pel_case_binding *binding) {
    pel_status status = PEL_OK;
    pel_case_poison(c);
    for (uint32_t i = 0; status == PEL_OK && i < c->array_count; i++) {
        if (c->arrays[i].output) {
            status = pel_read(session->queue, binding->buffers[i], 0, c->arrays[i].bytes, c->arrays[i].data, NULL, NULL);
        }
    }
    return status == PEL_OK && pel_queue_finish(session->queue) == PEL_OK;
}

static void add(pel_results *results, const char *row, const char *subject, const pel_bench_subject *timed, const char *why) {
    double ms[PEL_BENCH_RUNS];
    for (uint32_t i = 0; i < timed->count; i++) {
        ms[i] = timed->ns[i] * 1e-6 / CHAIN;
    }
    pel_results_add(results, row, subject, "ms", ms, timed->count, why);
}

/* One device, or the planner's choice for NULL. */
static void one_place(pel_results *results, pel_bench_session *session, pel_kernel *kernel, pel_case *c,
                      const pel_device *device) {
    pel_case_binding wrapped, owned;
    pel_case_verdict verdict = {.passed = false, .story = "it did not run"};
    char row[64];
    snprintf(row, sizeof row, "%s %s", c->kernel->name, device ? pel_device_get_info(device)->id : "all");
    bool fine = pel_case_bind(session->runtime, c, &wrapped) == PEL_OK;
    fine = bind_owned(session, c, &owned) == PEL_OK && fine;
    place places[2] = {{session, kernel, c, &wrapped, {device, 1.0}, device ? 1 : 0, false},
                       {session, kernel, c, &owned, {device, 1.0}, device ? 1 : 0, true}};
    pel_bench_subject subjects[2] = {{.name = "host", .run = run_chain, .context = &places[0]},
                                     {.name = "resident", .run = run_chain, .context = &places[1]}};
    fine = fine && run_chain(&places[0]) && run_chain(&places[1]); /* compilations, and the planner's first steps */
    fine = fine && pel_bench_rounds(subjects, 2, results->quick ? 3 : 9);
    if (fine && read_back(session, c, &owned)) {
        pel_case_verify(c, 1e7, &verdict);
    }
    const char *why = verdict.passed ? NULL : verdict.story;
    results->missed += !verdict.passed;
    add(results, row, "from and to the host", &subjects[0], why);
    add(results, row, "resident", &subjects[1], why);
    pel_case_unbind(&wrapped);
    pel_case_unbind(&owned);
}

static void one_kernel(pel_results *results, pel_bench_session *session, const pel_catalogue_kernel *what) {
    static const uint64_t sizes[] = {0, UINT64_C(1) << 22, 1024, 512};
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_case c;
    if (!pel_results_wants(results, what->name) ||
        pel_case_setup(what, sizes[what->exponent] / (results->quick ? 4 : 1), 1, &c) != PEL_OK) {
        return;
    }
    if (pel_catalogue_create(session->runtime, what, false, &program, &kernel, NULL) == PEL_OK) {
        for (uint32_t d = 0; d < session->device_count; d++) {
            one_place(results, session, kernel, &c, session->devices[d]);
        }
        one_place(results, session, kernel, &c, NULL);
    } else {
        pel_results_skip(results, what->name, "it does not build");
        results->missed++;
    }
    (void)pel_kernel_destroy(kernel);
    (void)pel_program_destroy(program);
    pel_case_teardown(&c);
}

int main(int argc, char **argv) {
    pel_results results;
    pel_bench_session session;
    if (!pel_results_open(&results, "resident", argc, argv)) {
        return 2;
    }
    const pel_bench_options options = pel_results_options(&results, 5e6);
    if (!pel_bench_open(&session, "resident", NULL, &options)) {
        (void)pel_results_close(&results);
        return 1;
    }
    for (size_t i = 0; pel_catalogue[i]; i++) {
        one_kernel(&results, &session, pel_catalogue[i]);
    }
    pel_bench_close(&session);
    return pel_results_close(&results);
}
