/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_case.h"
#include "cli/bench_openmp.h"
#include "cli/bench_raw.h"
#include "cli/options.h"
#include "cli/output.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* A kernel at one size on a session, with everything that its contestants need. */
typedef struct bench {
    pel_bench_session *session;
    pel_program *program;
    pel_kernel *kernel;
    pel_case c;
    pel_case_binding binding;
    bool bound;
} bench;

/* A contestant: pel with fixed shares (one device) or without (the planner's choice). */
typedef struct library {
    bench *bench;
    pel_share share;
    uint32_t share_count;
    pel_event *event; /* of the last run */
    char story[256];
} library;

enum { ROUNDS_AGAIN = 6 };

typedef struct openmp {
    pel_case *c;
    unsigned threads;
} openmp;

static void copy_story(char story[256], pel_error *error, pel_status status) {
    snprintf(story, 256, "%s", error ? pel_error_message(error) : pel_status_text(status));
    pel_error_destroy(error);
}

/* ---- contestants ---- */

static bool run_library(void *context) {
    library *run = (library *)context;
    bench *b = run->bench;
    pel_launch_desc launch = b->binding.launch;
    launch.shares = run->share_count ? &run->share : NULL;
    launch.share_count = run->share_count;
    pel_event_release(run->event);
    run->event = NULL;
    pel_status status = pel_launch(b->session->queue, b->kernel, &launch, b->binding.args, b->c.arg_count, &run->event);
    if (status == PEL_OK) {
        status = pel_queue_finish(b->session->queue);
    }
    if (status != PEL_OK) {
        copy_story(run->story, pel_queue_error(b->session->queue), status);
        (void)pel_queue_reset(b->session->queue);
    }
    return status == PEL_OK;
}

/*
 * Wakes the host workers, as before_openmp wakes its team: both contestants begin with threads that are awake. Each part waits a
 * moment for the others, so that one worker does not do them all.
 */
enum { MEETING_NS = 300000 };
typedef struct meeting {
    atomic_uint present;
    unsigned wanted;
} meeting;

static pel_status attend(uint64_t begin, uint64_t end, void *context) {
    meeting *all = (meeting *)context;
    const double until = pel_bench_now() + MEETING_NS;
    atomic_fetch_add(&all->present, (unsigned)(end - begin));
    while (atomic_load(&all->present) < all->wanted && pel_bench_now() < until) {
    }
    return PEL_OK;
}

static void before_library(void *context) {
    const library *run = (const library *)context;
    pel_queue *queue = run->bench->session->queue;
    meeting all = {.wanted = pel_device_get_info(run->share.device)->compute_units};
    if (pel_loop(queue, all.wanted, 1, attend, &all, NULL, 0, NULL, NULL) != PEL_OK || pel_queue_finish(queue) != PEL_OK) {
        (void)pel_queue_reset(queue); /* the run itself will tell */
    }
}

static bool run_raw(void *context) {
    return pel_bench_raw_run((pel_bench_raw *)context);
}

static bool run_openmp(void *context) {
    const openmp *run = (const openmp *)context;
    return pel_bench_openmp_run(run->c, run->threads);
}
static void before_openmp(void *context) {
    pel_bench_openmp_begin(((const openmp *)context)->threads);
}
static void after_openmp(void *context) {
    (void)context;
    pel_bench_openmp_end();
}

static pel_bench_subject library_subject(library *run) {
    return (pel_bench_subject){.name = "pel", .run = run_library, .context = run};
}

/* ---- sizes ---- */

/* Runs of a device while a size is looked for: short ones are repeated, because one that lost its core makes a row too small. */
enum { SIZING_RUNS = 8 };
#define SIZING_NS 20e6

static bool fits(const pel_bench_session *session, const pel_catalogue_kernel *kernel, uint64_t n) {
    pel_case c = {.kernel = kernel, .n = n};
    uint64_t total = 0, largest = 0;
    if (n > kernel->largest) {
        return false;
    }
    kernel->shape(&c);
    for (uint32_t i = 0; i < c.array_count; i++) {
        total += c.arrays[i].bytes;
        largest = c.arrays[i].bytes > largest ? c.arrays[i].bytes : largest;
    }
    for (uint32_t i = 0; i < session->device_count; i++) {
        const pel_device_info *info = pel_device_get_info(session->devices[i]);
        if (total > info->memory_bytes / 3 || (info->max_allocation_bytes > 0 && largest > info->max_allocation_bytes)) {
            return false;
        }
    }
    return true;
}

static bool prepare(bench *b, const pel_catalogue_kernel *kernel, uint64_t n, char story[256]) {
    pel_status status = pel_case_setup(kernel, n, b->session->options.seed, &b->c);
    if (status == PEL_OK) {
        status = pel_case_bind(b->session->runtime, &b->c, &b->binding);
        b->bound = status == PEL_OK;
    }
    if (status != PEL_OK) {
        snprintf(story, 256, "%s n=%llu: %s", kernel->name, (unsigned long long)n, pel_status_text(status));
    }
    return status == PEL_OK;
}

static void unprepare(bench *b) {
    if (b->bound) {
        pel_case_unbind(&b->binding);
        b->bound = false;
    }
    pel_case_teardown(&b->c);
}

/* Time of one warm launch on the fastest device; negative when none works. */
static double fastest(bench *b, char story[256]) {
    double best = -1.0;
    for (uint32_t d = 0; d < b->session->device_count; d++) {
        library run = {.bench = b, .share = {b->session->devices[d], 1.0}, .share_count = 1};
        const pel_bench_subject subject = library_subject(&run);
        double ns = pel_bench_time(&subject), spent = ns;
        for (int again = 0; ns >= 0.0 && (again < 2 || (again < SIZING_RUNS && spent < SIZING_NS)); again++) {
            const double next = pel_bench_time(&subject);
            ns = next >= 0.0 && next < ns ? next : ns;
            spent += next;
        }
        pel_event_release(run.event);
        if (ns >= 0.0 && (best < 0.0 || ns < best)) {
            best = ns;
        } else if (ns < 0.0) {
            snprintf(story, 256, "%s", run.story);
        }
    }
    return best;
}

/*
 * Grows from a small size by the measured time until the last step is a small one: what a short launch takes is half its start,
 * and a scaling of ten from there made "3 ms" of 1.7. 0 when nothing works.
 */
static uint64_t size_for(bench *b, const pel_catalogue_kernel *kernel, char story[256]) {
    static const uint64_t first[] = {0, UINT64_C(1) << 18, 512, 256};
    const pel_bench_session *session = b->session;
    uint64_t n = pel_round_up(first[kernel->exponent], kernel->step);
    while (n > kernel->step && !fits(session, kernel, n)) {
        n = pel_round_up(n / 2, kernel->step);
    }
    for (int i = 0; i < 8; i++) {
        double ns = -1.0;
        if (prepare(b, kernel, n, story)) {
            ns = fastest(b, story);
        }
        unprepare(b);
        if (ns < 0.0) {
            return 0;
        }
        double growth = session->options.target_ns / (ns > 1.0 ? ns : 1.0);
        const bool last = growth < 1.2;
        growth = growth > 30.0 ? 30.0 : growth;
        uint64_t next = (uint64_t)((double)n * pow(growth, 1.0 / kernel->exponent));
        next = next < kernel->step ? kernel->step : next / kernel->step * kernel->step;
        while (next > n && !fits(session, kernel, next)) {
            next = (next - (next - n) / 4) / kernel->step * kernel->step;
            next = next - kernel->step;
        }
        if (last || next <= n) {
            return next;
        }
        n = next;
    }
    return n;
}

uint64_t pel_bench_size(pel_bench_session *session, const pel_catalogue_kernel *kernel, pel_kernel *handle, char story[256]) {
    bench b = {.session = session, .kernel = handle};
    return size_for(&b, kernel, story);
}

/* ---- figures ---- */

static void fill_figure(pel_bench_figure *figure, const pel_bench_subject *subject) {
    figure->ran = subject->count > 0;
    figure->runs = subject->count;
    figure->median_ns = pel_bench_median(subject->ns, subject->count);
    for (uint32_t i = 0; i < subject->count; i++) {
        figure->min_ns = i == 0 || subject->ns[i] < figure->min_ns ? subject->ns[i] : figure->min_ns;
        figure->max_ns = subject->ns[i] > figure->max_ns ? subject->ns[i] : figure->max_ns;
    }
}

/* Poisons, runs once more and compares. */
static void verify(bench *b, pel_bench_subject *subject, pel_bench_figure *figure) {
    pel_case_verdict verdict;
    const library *run = (const library *)subject->context;
    pel_case_poison(&b->c);
    if (pel_bench_time(subject) < 0.0) {
        snprintf(figure->story, sizeof figure->story, "%s", run->story);
        return;
    }
    pel_case_verify(&b->c, b->session->options.verify_work, &verdict);
    figure->verified = verdict.passed;
    figure->checked = (double)verdict.checked / (double)verdict.outputs;
    snprintf(figure->story, sizeof figure->story, "%s", verdict.story);
}

static void keep_plan(const library *run, pel_bench_row *row) {
    pel_plan *plan = NULL;
    if (!run->event || pel_event_get_plan(run->event, &plan) != PEL_OK) {
        return;
    }
    row->plan_count = 0;
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        uint32_t at = 0;
        if (pel_plan_get_chunk(plan, i, &chunk) != PEL_OK) {
            continue;
        }
        while (at < row->plan_count && strcmp(row->plan[at].device, chunk.device) != 0) {
            at++;
        }
        if (at == row->plan_count && at < PEL_BENCH_DEVICES) {
            snprintf(row->plan[row->plan_count++].device, sizeof row->plan[0].device, "%s", chunk.device);
            row->plan[at].share = 0.0;
        }
        if (at < row->plan_count) {
            row->plan[at].share += chunk.share;
        }
    }
    const char *restriction = pel_plan_restriction(plan);
    snprintf(row->plan_reason, sizeof row->plan_reason, "%s", *restriction ? restriction : pel_plan_reason(plan));
    pel_plan_destroy(plan);
}

static bool share_cores(const pel_device *a, const pel_device *b) {
    const pel_core_set *x = &pel_device_get_info(a)->cores, *y = &pel_device_get_info(b)->cores;
    for (size_t i = 0; i < PEL_CORE_LIMIT / 64; i++) {
        if ((x->bits[i] & y->bits[i]) != 0) {
            return true;
        }
    }
    return false;
}

/* S_max counts devices that may run at once: the fastest first, and of those that share cores with it none. */
static void rate(const pel_bench_session *session, pel_bench_row *row) {
    bool used[PEL_BENCH_DEVICES] = {false};
    row->best_ns = 0.0;
    row->ideal = 0.0;
    for (;;) {
        uint32_t next = row->device_count;
        for (uint32_t d = 0; d < row->device_count; d++) {
            bool free = row->alone[d].ran && !used[d];
            for (uint32_t e = 0; free && e < row->device_count; e++) {
                free = !used[e] || !share_cores(session->devices[d], session->devices[e]);
            }
            if (free && (next == row->device_count || row->alone[d].median_ns < row->alone[next].median_ns)) {
                next = d;
            }
        }
        if (next == row->device_count) {
            break;
        }
        used[next] = true;
        row->best_ns = row->best_ns > 0.0 ? row->best_ns : row->alone[next].median_ns;
        row->ideal += row->best_ns / row->alone[next].median_ns;
    }
    if (row->best_ns > 0.0 && row->hybrid.ran && row->hybrid.median_ns > 0.0) {
        row->speedup = row->best_ns / row->hybrid.median_ns;
        row->efficiency = row->speedup / row->ideal;
    }
}

/* ---- comparison with programs without pel ---- */

static bool out_of_patience(const pel_bench_session *session) {
    return pel_bench_now() - session->opened_ns > session->options.patience_ns;
}

/* `other` twice around pel in each round, until the control holds or the tries are used up. The last try stands. */
static void compare(bench *b, const pel_device *device, pel_bench_subject other, pel_bench_comparison *result) {
    library run = {.bench = b, .share = {device, 1.0}, .share_count = 1};
    const pel_bench_options *options = &b->session->options;
    snprintf(result->device, sizeof result->device, "%s", pel_device_get_info(device)->id);
    result->tried = true;
    pel_case_verdict verdict;
    pel_case_poison(&b->c);
    if (pel_bench_time(&other) < 0.0) {
        snprintf(result->story, sizeof result->story, "%s failed", other.name);
        return;
    }
    pel_case_verify(&b->c, options->verify_work / 4.0, &verdict);
    if (!verdict.passed) {
        snprintf(result->story, sizeof result->story, "%s is wrong: %.200s", other.name, verdict.story);
        return;
    }
    while (result->tries < options->tries && !result->valid && (result->tries == 0 || !out_of_patience(b->session))) {
        pel_bench_subject subjects[] = {other, library_subject(&run), other};
        subjects[1].before = other.before ? before_library : NULL;
        result->tries++;
        if (!pel_bench_rounds(subjects, 3, options->rounds + 4 * (result->tries - 1))) {
            snprintf(result->story, sizeof result->story, "a run failed: %.200s", run.story);
            break;
        }
        result->ratio = pel_bench_ratio_to_pair(&subjects[1], &subjects[0], &subjects[2]);
        result->control = pel_bench_ratio(&subjects[0], &subjects[2]);
        result->valid = fabs(result->control - 1.0) <= PEL_BENCH_CONTROL;
    }
    if (!result->valid && !*result->story) {
        snprintf(result->story, sizeof result->story, "void: %s differs from itself by more than %.1f %%", other.name,
                 100.0 * PEL_BENCH_CONTROL);
    }
    pel_event_release(run.event);
}

static void compare_with_raw(bench *b, pel_bench_row *row) {
    for (uint32_t d = 0; d < b->session->device_count; d++) {
        if (pel_device_get_info(b->session->devices[d])->kind == PEL_DEVICE_OPENCL && row->alone[d].ran) {
            pel_bench_raw *raw = NULL;
            char why[128];
            if (pel_bench_raw_open(b->session->devices[d], &b->c, &raw, why) != PEL_OK) {
                row->raw.tried = true;
                snprintf(row->raw.story, sizeof row->raw.story, "%s", why);
                return;
            }
            compare(b, b->session->devices[d], (pel_bench_subject){.name = "raw OpenCL", .run = run_raw, .context = raw},
                    &row->raw);
            pel_bench_raw_close(raw);
            return;
        }
    }
}

static void compare_with_openmp(bench *b, pel_bench_row *row) {
    for (uint32_t d = 0; d < b->session->device_count; d++) {
        const pel_device_info *info = pel_device_get_info(b->session->devices[d]);
        if (info->kind == PEL_DEVICE_HOST && row->alone[d].ran && pel_bench_openmp_available()) {
            openmp run = {&b->c, info->compute_units};
            compare(b, b->session->devices[d],
                    (pel_bench_subject){.name = "the OpenMP loop",
                                        .run = run_openmp,
                                        .before = before_openmp,
                                        .after = after_openmp,
                                        .context = &run},
                    &row->openmp);
            return;
        }
    }
}

/* ---- one kernel ---- */

/* The rounds. With a control, one that the machine disturbed is taken back and run again, a bounded number of times. */
static void measure_rounds(const pel_bench_session *session, pel_bench_subject *subjects, uint32_t count, pel_bench_row *row) {
    const uint32_t wanted = session->options.rounds;
    if (!session->cores) {
        (void)pel_bench_rounds(subjects, count, wanted);
        return;
    }
    double controls[PEL_BENCH_RUNS];
    uint32_t control_count = 0, good = 0;
    double before = pel_bench_cores_efficiency(session->cores);
    for (uint32_t r = 0; good < wanted && r < wanted * ROUNDS_AGAIN && pel_bench_rounds(subjects, count, 1); r++) {
        const double after = pel_bench_cores_efficiency(session->cores);
        const bool calm = before >= PEL_BENCH_BOTH_CORES && after >= PEL_BENCH_BOTH_CORES;
        if (control_count < PEL_BENCH_RUNS) {
            controls[control_count++] = after;
        }
        good += calm;
        for (uint32_t i = 0; !calm && i < count; i++) {
            subjects[i].count--;
        }
        row->void_rounds += !calm;
        before = after;
    }
    row->both_cores = pel_bench_median(controls, control_count);
    if (good < wanted) {
        snprintf(row->void_story, sizeof row->void_story,
                 "void: the machine gave both cores in %u of %u rounds (two plain threads reach %.2f of their sum)", good,
                 good + row->void_rounds, row->both_cores);
    }
    if (good == 0) { /* something to look at, marked as void */
        (void)pel_bench_rounds(subjects, count, wanted);
    }
}

static void measure_devices(bench *b, pel_bench_row *row) {
    const pel_bench_session *session = b->session;
    library runs[PEL_BENCH_DEVICES + 1];
    pel_bench_subject subjects[PEL_BENCH_DEVICES + 1];
    pel_bench_figure *figures[PEL_BENCH_DEVICES + 1];
    uint32_t count = 0;
    for (uint32_t d = 0; d <= session->device_count; d++) {
        const bool all = d == session->device_count;
        pel_bench_figure *figure = all ? &row->hybrid : &row->alone[d];
        library *run = &runs[count];
        *run = (library){.bench = b};
        if (!all) {
            run->share = (pel_share){session->devices[d], 1.0};
            run->share_count = 1;
        }
        figure->device = all ? "all" : pel_device_get_info(session->devices[d])->id;
        subjects[count] = library_subject(run);
        figures[count] = figure;
        bool works = true;
        for (uint32_t w = 0; works && w < (all ? session->options.warm_ups : 2); w++) {
            works = run_library(run);
        }
        if (!works) {
            snprintf(figure->story, sizeof figure->story, "%s", run->story);
            pel_event_release(run->event);
            continue;
        }
        count++;
    }
    measure_rounds(session, subjects, count, row);
    for (uint32_t i = 0; i < count; i++) {
        fill_figure(figures[i], &subjects[i]);
        if (figures[i] == &row->hybrid) {
            keep_plan(&runs[i], row);
        }
    }
    row->verified = count > 0;
    for (uint32_t i = 0; i < count; i++) {
        verify(b, &subjects[i], figures[i]);
        row->verified = row->verified && figures[i]->verified;
        pel_event_release(runs[i].event);
    }
}

bool pel_bench_measure(pel_bench_session *session, const pel_catalogue_kernel *kernel, uint64_t n, pel_bench_row *row) {
    *row = (pel_bench_row){.kernel = kernel, .device_count = session->device_count};
    bench b = {.session = session};
    pel_error *error = NULL;
    char *story = row->hybrid.story;
    row->hybrid.device = "all";
    pel_status status = pel_catalogue_create(session->runtime, kernel, false, &b.program, &b.kernel, &error);
    if (status != PEL_OK) {
        copy_story(story, error, status);
        return false;
    }
    row->n = n ? n : size_for(&b, kernel, story);
    bool ready = row->n > 0 && prepare(&b, kernel, row->n, story);
    if (ready) {
        *story = '\0';
        measure_devices(&b, row);
        rate(session, row);
        if (session->options.compare) {
            compare_with_raw(&b, row);
            compare_with_openmp(&b, row);
        }
    }
    unprepare(&b);
    (void)pel_kernel_destroy(b.kernel);
    (void)pel_program_destroy(b.program);
    return ready;
}

/* ---- the session ---- */

static unsigned first_core(const pel_device *device) {
    const pel_core_set *cores = &pel_device_get_info(device)->cores;
    unsigned core = 0;
    while (core < PEL_CORE_LIMIT && (cores->bits[core / 64] >> (core % 64) & 1) == 0) {
        core++;
    }
    return core;
}

bool pel_bench_open(pel_bench_session *session, const char *command, const char *devices, const pel_bench_options *options) {
    *session = (pel_bench_session){.options = *options};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.flags = PEL_RUNTIME_PROBE;
    desc.log = pel_cli_warn;
    desc.log_user = (void *)(uintptr_t)command;
    desc.log_level = PEL_LOG_WARNING;
    pel_status status = pel_runtime_create(&desc, &session->runtime, &error);
    if (status == PEL_OK) {
        status = pel_queue_create(session->runtime, NULL, &session->queue, &error);
    }
    if (status != PEL_OK) {
        pel_cli_error(command, "%s", error ? pel_error_story(error) : pel_status_text(status));
        pel_error_destroy(error);
        pel_bench_close(session);
        return false;
    }
    session->opened_ns = pel_bench_now();
    session->device_count = pel_runtime_device_count(session->runtime);
    if (session->device_count > PEL_BENCH_DEVICES) {
        session->device_count = PEL_BENCH_DEVICES;
    }
    for (uint32_t i = 0; i < session->device_count; i++) {
        session->devices[i] = pel_runtime_device(session->runtime, i);
    }
    if (options->both_cores && session->device_count >= 2) {
        session->cores = pel_bench_cores_open(first_core(session->devices[0]), first_core(session->devices[1]));
    }
    return true;
}

void pel_bench_close(pel_bench_session *session) {
    pel_bench_cores_close(session->cores);
    session->cores = NULL;
    (void)pel_queue_destroy(session->queue);
    (void)pel_runtime_destroy(session->runtime);
    session->queue = NULL;
    session->runtime = NULL;
}
