/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What protection costs while nothing fails, and what a fault costs under the virtual clock.
 *
 * Price: the same launch with no protection, with retry and isolated, in turn, on each device alone. "over none" is the ratio
 * where nothing has to be saved. Where bytes are copied, the time of copying them (memcpy between warm pages, one thread,
 * timed in the same rounds) is taken off first, so that what is compared is all else. Controls in the same rounds: "none over
 * none" with its resolution; "saved by hand", "isolate by hand" and "replicated by hand" (isolate_hand.h, replicate_hand.h),
 * which show what no library can save; "both in turn", two unprotected launches. Faults: a device that is lost in the middle
 * of its chunk, against the survivors' ideal plus the lost chunk; and a hang, against its deadline. Checkpoint: a device
 * computes on the bytes that are saved for the interval that is advised if it failed once a minute, with a checkpoint begun at
 * its start and without one.
 */
#include "harness.h"
#include "isolate_hand.h"
#include "replicate_hand.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ITEMS = 1 << 20,
    SHORT_ITEMS = 6144, /* for launches of a few hundred microseconds, the shortest that the bar is for */
    SHORT_BATCH = 20,
    SHORT_ROUNDS = 61,
    GROUP = 64, /* of items, by pel and by hand */
    WORK = 200
};

static const char source[] =
    "kernel void pure(global const uint *x, global uint *y) { size_t i = get_global_id(0); uint v = x[i];\n"
    "    for (int k = 0; k < 200; k++) v = v * 1664525u + 1013904223u; y[i] = v; }\n"
    "kernel void place(global const uint *x, global uint *y) { size_t i = get_global_id(0); uint v = x[i] ^ y[i];\n"
    "    for (int k = 0; k < 200; k++) v = v * 1664525u + 1013904223u; y[i] = v; }\n";

static uint32_t mix(uint32_t v) {
    for (int k = 0; k < WORK; k++) {
        v = v * 1664525u + 1013904223u;
    }
    return v;
}

static pel_status pure(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = mix(x[i]);
    }
    return PEL_OK;
}

static pel_status place(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = mix(x[i] ^ y[i]);
    }
    return PEL_OK;
}

typedef struct run_of {
    pel_queue *queue;
    pel_kernel *kernel;
    pel_arg args[2];
    pel_share share;
    pel_protection protection;
    const pel_verification *verification;
    void *from, *to;         /* a copy instead of a launch; or before it */
    bool launches_too;
    uint32_t items, batch;   /* of a launch, each waited for; 0: ITEMS, once */
    pel_isolate_hand *hand;  /* instead of a launch: x `from`, y `to` */
    bool keep;
    pel_replicate_hand *twice_by_hand;
    pel_replicate_parts parts;
    const pel_device *then;  /* the same launch once more, there */
} run_of;

static bool launch_on(const run_of *r, const pel_share *share) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = r->items ? r->items : ITEMS;
    desc.local[0] = GROUP;
    desc.shares = share;
    desc.share_count = 1;
    desc.protection = r->protection;
    desc.verification = r->verification;
    return pel_launch(r->queue, r->kernel, &desc, r->args, 2, NULL) == PEL_OK && pel_queue_finish(r->queue) == PEL_OK;
}

static bool run_once(const run_of *r) {
    const uint32_t items = r->items ? r->items : ITEMS;
    if (r->hand) {
        return pel_isolate_hand_run(r->hand, r->from, r->to, items, r->keep);
    }
    if (r->from) {
        memcpy(r->to, r->from, items * sizeof(uint32_t));
        if (!r->launches_too) {
            return true;
        }
    }
    if (r->twice_by_hand) {
        return pel_replicate_hand_run(r->twice_by_hand, r->parts);
    }
    const pel_share then = {r->then, 1};
    return launch_on(r, &r->share) && (!r->then || launch_on(r, &then));
}

static bool run(void *context) {
    const run_of *r = context;
    bool fine = true;
    for (uint32_t i = 0; i < (r->batch ? r->batch : 1) && fine; i++) {
        fine = run_once(r);
    }
    return fine;
}

/* One that is not timed: whose threads sleep depends on whose turn it was before. */
static void warm_up(void *context) { (void)run_once(context); }

enum { NONE, RETRY, ISOLATE, COPY, AGAIN, SAVED, SUBJECTS = 13 }; /* the others' places: see prices_of */

typedef struct prices_of {
    run_of runs[SUBJECTS];
    pel_bench_subject subjects[SUBJECTS];
    uint32_t count, by_hand; /* the latter, and the other places: 0: not there */
    uint32_t replicated, other, in_turn, twice_by_hand, host_by_hand, device_by_hand;
    bool in_place;
} prices_of;

static uint32_t add_run(prices_of *p, const char *name, const run_of *r) {
    p->runs[p->count] = *r;
    p->subjects[p->count] = (pel_bench_subject){.name = name, .run = run, .before = warm_up, .context = &p->runs[p->count]};
    return p->count++;
}

static void list_replicated(prices_of *p, const run_of *none, const pel_device *other, pel_replicate_hand *hand) {
    static const pel_verification all = {.share = 1};
    run_of r = *none;
    r.verification = &all;
    p->replicated = add_run(p, "replicated", &r);
    r = *none;
    r.share.device = other;
    p->other = add_run(p, "none on the other", &r);
    r = *none;
    r.then = other;
    p->in_turn = add_run(p, "both in turn", &r);
    if (hand) {
        r = *none;
        r.twice_by_hand = hand;
        p->twice_by_hand = add_run(p, "replicated by hand", &r);
        r.parts = PEL_REPLICATE_HOST;
        p->host_by_hand = add_run(p, "the host by hand", &r);
        r.parts = PEL_REPLICATE_DEVICE;
        p->device_by_hand = add_run(p, "the device by hand", &r);
    }
}

static void list_runs(prices_of *p, const run_of *none, uint32_t *memory, pel_isolate_hand *hand) {
    run_of r = *none;
    (void)add_run(p, "none", &r);
    r.protection = PEL_PROTECT_RETRY;
    (void)add_run(p, "retry", &r);
    r.protection = PEL_PROTECT_ISOLATE;
    (void)add_run(p, "isolate", &r);
    r.from = memory;
    r.to = memory + (size_t)2 * ITEMS;
    (void)add_run(p, "copy", &r);
    (void)add_run(p, "none again", none);
    run_of saved = *none;
    saved.from = memory + ITEMS;
    saved.to = r.to;
    saved.launches_too = true;
    (void)add_run(p, "saved by hand", &saved);
    if (hand) {
        r.hand = hand;
        r.to = memory + ITEMS;
        r.keep = p->in_place;
        p->by_hand = add_run(p, "isolate by hand", &r);
    }
}

/* One subject's times over those without protection, less so many copies. */
static void report_ratio(pel_results *results, const char *row, const char *subject, const prices_of *p, uint32_t place,
                         double copies) {
    double ratio[PEL_BENCH_RUNS];
    const uint32_t rounds = p->subjects[NONE].count;
    for (uint32_t i = 0; i < rounds; i++) {
        ratio[i] = (p->subjects[place].ns[i] - copies * p->subjects[COPY].ns[i]) / p->subjects[NONE].ns[i];
    }
    pel_results_add(results, row, subject, "x", ratio, rounds, NULL);
}

/* What computes all of it twice, over the mean of two that compute it once. */
static void report_twice(pel_results *results, const char *row, const char *subject, const prices_of *p, uint32_t place,
                         uint32_t once, uint32_t other) {
    double ratio[PEL_BENCH_RUNS];
    const uint32_t rounds = p->subjects[NONE].count;
    for (uint32_t i = 0; i < rounds; i++) {
        ratio[i] = 2 * p->subjects[place].ns[i] / (p->subjects[once].ns[i] + p->subjects[other].ns[i]);
    }
    pel_results_add(results, row, subject, "x", ratio, rounds, NULL);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/*
 * Two standard errors of a median of so many ratios, as the ratios of equal things are spread: what a figure can tell from 1. (A
 * standard deviation is 0.741 of the distance of the quartiles, a median's error 1.253 of it over sqrt(n).)
 */
static double resolution(const double *ratios, uint32_t count) {
    double sorted[PEL_BENCH_RUNS];
    memcpy(sorted, ratios, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    return 2 * 1.253 * 0.741 * (sorted[3 * count / 4] - sorted[count / 4]) / sqrt(count);
}

/*
 * Launches with retry and without differ by little, and use the same threads; so they take turns launch by launch, and what
 * disturbs the machine for longer than a launch does the same to both. Beside them a third kind, again without: what that one
 * differs by is the machine's. And a fourth: without, after a copy of what is written by the caller. It is dearer than the copy
 * alone, because the bytes are in the caches of those who wrote them and will write them again.
 */
enum { KINDS = 4 };

static bool interleave(const prices_of *p, uint32_t rounds, double ratio[KINDS][PEL_BENCH_RUNS]) {
    const uint32_t batch = p->runs[NONE].batch ? p->runs[NONE].batch : 1;
    const run_of *kinds[KINDS] = {&p->runs[NONE], &p->runs[AGAIN], &p->runs[RETRY], &p->runs[SAVED]};
    for (uint32_t r = 0; r < rounds; r++) {
        double ns[KINDS] = {0};
        for (uint32_t i = 0; i < KINDS * batch; i++) {
            const uint32_t turn = (r + i / KINDS + i) % KINDS, kind = (r / KINDS + i / KINDS) % 2 ? KINDS - 1 - turn : turn;
            const double began = pel_bench_now();
            if (!run_once(kinds[kind])) {
                return false;
            }
            ns[kind] += pel_bench_now() - began;
        }
        for (uint32_t k = 0; k < KINDS; k++) {
            ratio[k][r] = ns[k] / ns[0];
        }
    }
    return true;
}

static bool report_retry(pel_results *results, const char *row, const prices_of *p) {
    double ratio[KINDS][PEL_BENCH_RUNS], copied[PEL_BENCH_RUNS];
    const uint32_t rounds = p->subjects[NONE].count;
    if (!interleave(p, rounds, ratio)) {
        return false;
    }
    const double copy = pel_bench_ratio(&p->subjects[COPY], &p->subjects[NONE]);
    for (uint32_t r = 0; r < rounds; r++) {
        copied[r] = ratio[2][r] / ratio[3][r];
        ratio[2][r] -= p->in_place ? copy : 0;
    }
    pel_results_add(results, row, "none over none", "x", ratio[1], rounds, NULL);
    pel_results_add_one(results, row, "resolution", "x", resolution(ratio[1], rounds), rounds, NULL);
    pel_results_add(results, row, "retry over none", "x", ratio[2], rounds, NULL);
    if (p->in_place) {
        pel_results_add(results, row, "saved by hand over none", "x", ratio[3], rounds, NULL);
        pel_results_add(results, row, "retry over saved by hand", "x", copied, rounds, NULL);
    }
    return true;
}

/* Kinds that take turns batch by batch, because each wants other threads awake. */
static void report_turns(pel_results *results, const char *row, const prices_of *p) {
    double again[PEL_BENCH_RUNS];
    const uint32_t rounds = p->subjects[NONE].count;
    for (uint32_t i = 0; i < rounds; i++) {
        again[i] = p->subjects[AGAIN].ns[i] / p->subjects[NONE].ns[i];
    }
    pel_results_add(results, row, "none over none, batches", "x", again, rounds, NULL);
    pel_results_add_one(results, row, "resolution, batches", "x", resolution(again, rounds), rounds, NULL);
    report_ratio(results, row, "isolate over none", p, ISOLATE, p->in_place ? 2 : 1); /* in place: the inputs come in, too */
    if (p->by_hand) {
        report_ratio(results, row, "isolate by hand over none", p, p->by_hand, p->in_place ? 2 : 1);
    }
}

static bool report_prices(pel_results *results, const char *row, const prices_of *p) {
    const uint32_t rounds = p->subjects[NONE].count, launches = p->runs[NONE].batch ? p->runs[NONE].batch : 1;
    const double none_ns = pel_bench_median(p->subjects[NONE].ns, rounds) / launches;
    pel_results_add_one(results, row, "none", "us", none_ns * 1e-3, rounds, NULL);
    report_ratio(results, row, "a copy over none", p, COPY, 0);
    if (!report_retry(results, row, p)) {
        return false;
    }
    report_turns(results, row, p);
    if (p->other) {
        report_twice(results, row, "replicated over none", p, p->replicated, NONE, p->other);
        report_twice(results, row, "both in turn over none", p, p->in_turn, NONE, p->other);
    }
    if (p->twice_by_hand) {
        report_twice(results, row, "replicated by hand over none", p, p->twice_by_hand, NONE, p->other);
        report_twice(results, row, "by hand, twice over once", p, p->twice_by_hand, p->host_by_hand, p->device_by_hand);
    }
    return true;
}

static pel_replicate_hand *open_twice(const pel_bench_session *session, const pel_device *device, const pel_device *other,
                                      bool in_place, uint32_t items, uint32_t *memory) {
    const bool host = pel_device_get_info(device)->kind == PEL_DEVICE_HOST;
    const pel_replicate_hand_desc desc = {.device = host ? other : device,
                                          .source = source,
                                          .entry = in_place ? "place" : "pure",
                                          .function = in_place ? place : pure,
                                          .threads = pel_runtime_get_workers(session->runtime),
                                          .items = items,
                                          .group = GROUP,
                                          .x = memory,
                                          .y = memory + ITEMS,
                                          .keep = in_place,
                                          .device_first = !host};
    return other && host != (pel_device_get_info(other)->kind == PEL_DEVICE_HOST) ? pel_replicate_hand_open(&desc) : NULL;
}

static void price_on(pel_results *results, pel_bench_session *session, pel_kernel *kernel, const pel_device *device,
                     bool in_place, bool short_launch, uint32_t *memory) {
    const char *id = pel_device_get_info(device)->id;
    pel_buffer *x = NULL, *y = NULL;
    char row[64];
    (void)snprintf(row, sizeof row, "%s %s%s", in_place ? "in place" : "pure", short_launch ? "short " : "", id);
    if (!pel_results_wants(results, row) || pel_buffer_wrap(session->runtime, memory, ITEMS * sizeof *memory, &x) != PEL_OK) {
        return;
    }
    bool fine = pel_buffer_wrap(session->runtime, memory + ITEMS, ITEMS * sizeof *memory, &y) == PEL_OK;
    const pel_device *other = NULL;
    for (uint32_t i = 0; i < session->device_count; i++) {
        other = session->devices[i] != device ? session->devices[i] : other;
    }
    pel_isolate_hand *hand = NULL;
    if (strcmp(id, "host") == 0) {
        hand = pel_isolate_hand_open(pel_runtime_get_workers(session->runtime), in_place ? place : pure, ITEMS, false);
    }
    pel_replicate_hand *twice =
        open_twice(session, device, other, in_place, short_launch ? SHORT_ITEMS : ITEMS, memory);
    const run_of none = {.queue = session->queue,
                         .kernel = kernel,
                         .args = {pel_buf(x), pel_buf(y)},
                         .share = {device, 1},
                         .protection = PEL_PROTECT_NONE,
                         .items = short_launch ? SHORT_ITEMS : 0,
                         .batch = short_launch ? SHORT_BATCH : 0};
    prices_of p = {.in_place = in_place};
    list_runs(&p, &none, memory, hand);
    if (other) {
        list_replicated(&p, &none, other, twice);
    }
    for (uint32_t i = 0; i < 3 * p.count; i++) { /* compilations, models */
        fine = fine && run(&p.runs[i % p.count]);
    }
    fine = fine && pel_bench_rounds(p.subjects, p.count, results->quick ? 5 : short_launch ? SHORT_ROUNDS : 31);
    if (!fine || !report_prices(results, row, &p)) {
        pel_results_skip(results, row, "it failed");
        results->missed++;
    }
    pel_replicate_hand_close(twice);
    pel_isolate_hand_close(hand);
    (void)pel_buffer_destroy(x);
    (void)pel_buffer_destroy(y);
}

/* ---- checkpoints ---- */

#define MTBF_S 60.0
#define LONGEST_S 1.0 /* of an interval here: what is shorter than advised costs more */

typedef struct stretch {
    run_of launch;
    pel_runtime *runtime;
    pel_buffer *saved;
    pel_checkpoint *checkpoint; /* NULL: without */
    uint64_t launches, step;
} stretch;

static bool work_on(void *context) {
    stretch *s = context;
    const pel_checkpoint_item item = {"y", s->saved};
    bool fine = !s->checkpoint || pel_checkpoint_begin(s->checkpoint, s->launch.queue, &item, 1, ++s->step, NULL) == PEL_OK;
    for (uint64_t i = 0; i < s->launches && fine; i++) {
        fine = run(&s->launch);
    }
    return fine && (!s->checkpoint || pel_checkpoint_wait(s->checkpoint, NULL) == PEL_OK);
}

/* Launches in the interval that is advised. 0: something failed. */
static uint64_t launches_between(stretch *s, double *cost_s) {
    pel_checkpoint_advice advice;
    s->launches = 20;
    bool fine = work_on(s);
    const int64_t began = pel_runtime_now(s->runtime);
    for (int i = 0; i < 3; i++) {
        fine = fine && work_on(s);
    }
    const double launch_s = (double)(pel_runtime_now(s->runtime) - began) * 1e-9 / 60;
    *cost_s = pel_checkpoint_cost(s->checkpoint);
    fine = fine && pel_checkpoint_advise(*cost_s, MTBF_S, &advice);
    return fine ? 1 + (uint64_t)((advice.interval_s < LONGEST_S ? advice.interval_s : LONGEST_S) / launch_s) : 0;
}

static void checkpoint_on(pel_results *results, const pel_bench_session *session, pel_kernel *kernel, const pel_device *device,
                          pel_buffer *x, pel_buffer *y, pel_checkpoint *checkpoint) {
    char row[64];
    double ratio[PEL_BENCH_RUNS], cost_s = 0;
    stretch with = {
        .launch = {.queue = session->queue,
                   .kernel = kernel,
                   .args = {pel_buf(x), pel_buf(y)},
                   .share = {device, 1},
                   .protection = PEL_PROTECT_NONE},
        .runtime = session->runtime,
        .saved = y,
        .checkpoint = checkpoint};
    (void)snprintf(row, sizeof row, "checkpoint %s", pel_device_get_info(device)->id);
    if (!pel_results_wants(results, row)) {
        return;
    }
    with.launches = launches_between(&with, &cost_s);
    stretch without = with;
    without.checkpoint = NULL;
    pel_bench_subject subjects[2] = {{.name = "with", .run = work_on, .context = &with},
                                     {.name = "without", .run = work_on, .context = &without}};
    if (with.launches == 0 || !pel_bench_rounds(subjects, 2, results->quick ? 5 : 15)) {
        pel_results_skip(results, row, "it failed");
        results->missed++;
        return;
    }
    for (uint32_t i = 0; i < subjects[0].count; i++) {
        ratio[i] = subjects[0].ns[i] / subjects[1].ns[i];
    }
    pel_results_add(results, row, "at the advised interval, over none", "x", ratio, subjects[0].count, NULL);
    pel_results_add_one(results, row, "what is waited for one", "ms", cost_s * 1e3, 1, NULL);
}

/* All files of a checkpoint. */
static void remove_files(const char *folder) {
    static const char *const names[] = {"c.0", "c.1", "c.0.log", "c.1.log", "c.lock", "c.tmp"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

/* In $PWD, which is on a disk more often than /tmp is. */
static void checkpoints(pel_results *results, pel_bench_session *session, pel_kernel *kernel, uint32_t *memory) {
    char folder[] = "pel-checkpoint.XXXXXX", path[64];
    pel_checkpoint_desc desc = PEL_CHECKPOINT_DESC_INIT;
    pel_checkpoint *checkpoint = NULL;
    pel_buffer *x = NULL, *y = NULL;
    bool fine = mkdtemp(folder) != NULL;
    (void)snprintf(path, sizeof path, "%s/c", folder);
    desc.path = path;
    fine = fine && pel_checkpoint_open(session->runtime, &desc, &checkpoint, NULL) == PEL_OK &&
           pel_buffer_wrap(session->runtime, memory, ITEMS * sizeof *memory, &x) == PEL_OK &&
           pel_buffer_wrap(session->runtime, memory + ITEMS, ITEMS * sizeof *memory, &y) == PEL_OK;
    for (uint32_t d = 0; d < session->device_count && fine; d++) {
        checkpoint_on(results, session, kernel, session->devices[d], x, y, checkpoint);
    }
    if (!fine) {
        pel_results_skip(results, "checkpoint", "no file can be made here");
    }
    pel_checkpoint_close(checkpoint);
    (void)pel_buffer_destroy(x);
    (void)pel_buffer_destroy(y);
    remove_files(folder);
}

static void prices(pel_results *results) {
    static const pel_param params[2][2] = {
        {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1)},
        {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)}};
    pel_bench_session session;
    const pel_bench_options options = pel_results_options(results, 5e6);
    if (!pel_bench_open(&session, "resilience", NULL, &options)) {
        results->missed++;
        return;
    }
    uint32_t *memory = aligned_alloc(4096, (size_t)3 * ITEMS * sizeof *memory);
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program = NULL;
    program_desc.source = source;
    bool fine = memory && pel_program_create(session.runtime, &program_desc, &program, NULL) == PEL_OK;
    if (fine) {
        memset(memory, 1, (size_t)3 * ITEMS * sizeof *memory);
    }
    for (int k = 0; k < 2 && fine; k++) {
        pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
        pel_kernel *kernel = NULL;
        desc.entry = desc.name = k == 0 ? "pure" : "place";
        desc.params = params[k];
        desc.param_count = 2;
        desc.host = k == 0 ? pure : place;
        fine = pel_kernel_create(program, &desc, &kernel, NULL) == PEL_OK;
        for (uint32_t d = 0; d < session.device_count && fine; d++) {
            price_on(results, &session, kernel, session.devices[d], k == 1, false, memory);
            price_on(results, &session, kernel, session.devices[d], k == 1, true, memory);
        }
        if (k == 1 && fine) {
            checkpoints(results, &session, kernel, memory);
        }
        (void)pel_kernel_destroy(kernel);
    }
    if (!fine) {
        pel_results_skip(results, "prices", "the kernels do not build");
        results->missed++;
    }
    (void)pel_program_destroy(program);
    free(memory);
    pel_bench_close(&session);
}


/* ---- faults, under the virtual clock ---- */

typedef struct world {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *x, *y;
} world;

static bool make_world(world *w, pel_simulated_device *devices, uint32_t count, uint32_t *memory) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    memset(w, 0, sizeof *w);
    simulation.seed = 1;
    simulation.devices = devices;
    simulation.device_count = count;
    desc.simulation = &simulation;
    kernel_desc.name = "place";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    kernel_desc.host = place;
    return pel_runtime_create(&desc, &w->runtime, NULL) == PEL_OK &&
           pel_queue_create(w->runtime, NULL, &w->queue, NULL) == PEL_OK &&
           pel_program_create(w->runtime, &program_desc, &w->program, NULL) == PEL_OK &&
           pel_kernel_create(w->program, &kernel_desc, &w->kernel, NULL) == PEL_OK &&
           pel_buffer_wrap(w->runtime, memory, ITEMS / 4 * sizeof *memory, &w->x) == PEL_OK &&
           pel_buffer_wrap(w->runtime, memory + ITEMS / 4, ITEMS / 4 * sizeof *memory, &w->y) == PEL_OK;
}

static void unmake_world(world *w) {
    (void)pel_kernel_destroy(w->kernel);
    (void)pel_program_destroy(w->program);
    (void)pel_queue_destroy(w->queue);
    (void)pel_buffer_destroy(w->x);
    (void)pel_buffer_destroy(w->y);
    (void)pel_runtime_destroy(w->runtime);
}

/* Times of a launch on all devices by their rates, in ns; < 0: it failed. */
static double fault_launch(world *w, const double *rates, pel_protection protection) {
    pel_share shares[4];
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(w->x), pel_buf(w->y)};
    for (uint32_t i = 0; i < 4; i++) {
        shares[i] = (pel_share){pel_runtime_device(w->runtime, i), rates[i]};
    }
    desc.global[0] = ITEMS / 4;
    desc.shares = shares;
    desc.share_count = 4;
    desc.protection = protection;
    const int64_t began = pel_runtime_now(w->runtime);
    const bool fine = pel_launch(w->queue, w->kernel, &desc, args, 2, NULL) == PEL_OK && pel_queue_finish(w->queue) == PEL_OK;
    return fine ? (double)(pel_runtime_now(w->runtime) - began) : -1;
}

static void faults(pel_results *results) {
    static const double rates[] = {1, 4, 2, 1};
    double over[9], late[3];
    uint32_t *memory = calloc(ITEMS / 2, sizeof *memory);
    const char *why = memory ? NULL : "out of memory";
    for (uint32_t k = 0; k < 12 && !why; k++) { /* three devices, lost at the begin, in the middle, at the end; then each hangs */
        const uint32_t victim = 1 + k % 3;
        pel_simulated_device devices[] = {{.name = "host", .start_ns = 5000, .rate = rates[0]},
                                          {.name = "a", .start_ns = 5000, .rate = rates[1]},
                                          {.name = "b", .start_ns = 5000, .rate = rates[2]},
                                          {.name = "c", .start_ns = 5000, .rate = rates[3]}};
        world w;
        devices[victim].lost_at = k < 9 ? 4 : 0;
        devices[victim].lost_part = k / 3 == 0 ? 1e-9 : k / 3 == 1 ? 0.5 : 1.0;
        devices[victim].hang_at = k < 9 ? 0 : 4;
        if (!make_world(&w, devices, 4, memory)) {
            why = "no simulated machine";
        }
        double usual = 0, took = 0;
        for (int i = 0; i < 4 && !why; i++) {
            usual = took > 0 ? took : usual;
            took = fault_launch(&w, rates, k < 9 ? PEL_PROTECT_RETRY : PEL_PROTECT_ISOLATE);
            why = took < 0 ? "a launch failed" : NULL;
        }
        const double ideal = 5000 + ITEMS / 4 * 1e3 / (8 - rates[victim]);
        if (k < 9) {
            over[k] = took / (ideal + usual * (devices[victim].lost_part < 0.1 ? 0 : devices[victim].lost_part));
        } else {
            const double again = 5000 + ITEMS / 4 * 1e3 / 8 * rates[victim] / (8 - rates[victim]);
            const double deadline = 30 * usual > 1e9 ? 30 * usual : 1e9;
            late[k - 9] = (took - deadline - again) * 1e-6;
        }
        unmake_world(&w);
    }
    free(memory);
    pel_results_add(results, "device lost", "over the survivors' ideal and the lost chunk", "x", over, why ? 0 : 9, why);
    pel_results_add(results, "hang", "found after the deadline", "ms", late, why ? 0 : 3, why);
    results->missed += why != NULL;
}

int main(int argc, char **argv) {
    pel_results results;
    if (!pel_results_open(&results, "resilience", argc, argv)) {
        return 2;
    }
    prices(&results);
    if (pel_results_wants(&results, "device lost") || pel_results_wants(&results, "hang")) {
        faults(&results);
    }
    return pel_results_close(&results);
}
