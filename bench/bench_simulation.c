/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Simulation against reality, on two devices that share nothing but memory: host@0 and PoCL with one thread on core 1.
 *
 * Each kernel is really run in a few divisions. Some of them make the description: start cost, speed and contention of both
 * devices, those that explain the chunks' times best, how much they scatter, and how much later than the other each begins.
 * Then the described machine is simulated, and what it says about the *other* divisions, and about what the planner chooses there
 * when it may, is compared with what really happened. All divisions take turns, so that a machine that slows down does so for
 * all. Times are lower quartiles: a description says what the devices do,
 * not what else the machine does. A launch whose devices lost their cores for a while (they were at work for longer than the
 * process got processors) is repeated: a description knows no thieves. The control compares every other round with those
 * between: reality against itself. Regular kernels only: a description has no profile of items.
 */
#include "cli/bench_cores.h"
#include "cli/bench_disjoint.h"
#include "harness.h"

#include <math.h>
#include <pel/pel.h>
#include <pel/simulated.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    DIVISIONS = 8,
    CALIBRATING = 4,
    DEVICES = 2,
    ROUNDS = 40,
    QUICK_ROUNDS = 4,
    KERNELS = 16,
    WARM_UPS = 24,
    PARAMETERS = 6,
    AGAIN = 6
};

#define STOLEN_AT_MOST 0.03 /* of the devices' time, as in bench/coexec */

#define CONTROL 3.0 /* % */
#define QUARTILE 0.6745 /* of a normal distribution, in its deviations */

/* Share of the first device. The first four calibrate; the last is the planner's choice. */
static const double divisions[DIVISIONS - 1] = {1.0, 0.0, 0.25, 0.75, 0.5, 0.35, 0.62};

typedef struct figures {
    double units[DIVISIONS][DEVICES], chunk[DIVISIONS][DEVICES], makespan[DIVISIONS];
    double scatter[DEVICES], late[DEVICES]; /* of the calibrating divisions: relative; ns after the other */
    bool calm;                  /* the devices had their cores often enough; else the rest means nothing */
    double cores;               /* what both cores gave together, of their sum; median over the rounds; 0: not looked at */
    double repeated[DIVISIONS]; /* the other half of the rounds over this one, minus 1: what reality says about itself */
} figures;

typedef struct place {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    const pel_device *devices[DEVICES];
    pel_launch_desc launch;
    const pel_arg *args;
    uint32_t arg_count;
    pel_bench_cores *cores; /* NULL: nothing real to watch */
} place;

static double process_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* What a launch took: each device's part, how much later than the other it began, and the whole; ns. */
typedef struct taken {
    double units[DEVICES], chunk[DEVICES], late[DEVICES], makespan;
} taken;

static bool launch(place *p, uint32_t division, taken *t) {
    pel_launch_desc desc = p->launch;
    pel_share shares[DEVICES];
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    if (division + 1 < DIVISIONS) {
        double first = divisions[division];
        shares[0] = (pel_share){p->devices[0], first};
        shares[1] = (pel_share){p->devices[1], 1.0 - first};
        desc.shares = first > 0.0 ? shares : shares + 1;
        desc.share_count = first > 0.0 && first < 1.0 ? 2 : 1;
    }
    pel_status status = pel_launch(p->queue, p->kernel, &desc, p->args, p->arg_count, &event);
    status = status == PEL_OK ? pel_queue_finish(p->queue) : status;
    status = status == PEL_OK ? pel_event_get_plan(event, &plan) : status;
    pel_event_release(event);
    if (status != PEL_OK) {
        return false;
    }
    double began[DEVICES] = {INFINITY, INFINITY};
    *t = (taken){.makespan = pel_plan_actual_ns(plan)};
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk part;
        (void)pel_plan_get_chunk(plan, i, &part);
        int d = strcmp(part.device, pel_device_get_info(p->devices[0])->id) == 0 ? 0 : 1;
        t->units[d] += (double)(part.hi - part.lo);
        t->chunk[d] += part.actual_ns;
        began[d] = fmin(began[d], part.began_ns);
    }
    for (int d = 0; d < DEVICES && isfinite(began[0] + began[1]); d++) {
        t->late[d] = fmax(0.0, began[d] - began[1 - d]);
    }
    pel_plan_destroy(plan);
    return true;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The lower quartile of every `step`th value from `first` on. */
static double quartile(const double *values, uint32_t count, uint32_t first, uint32_t step) {
    double sorted[PEL_BENCH_RUNS];
    uint32_t n = 0;
    for (uint32_t i = first; i < count; i += step) {
        sorted[n++] = values[i];
    }
    qsort(sorted, n, sizeof *sorted, ascending);
    return sorted[n / 4];
}

typedef struct rounds {
    double ns[DIVISIONS][2 * DEVICES + 1][PEL_BENCH_RUNS]; /* both parts, their late begins, and the whole */
    uint32_t count;
} rounds;

/* A launch whose devices had their cores; after some tries one that had not, and *calm is false. */
static bool launch_calmly(place *p, uint32_t division, taken *t, bool *calm) {
    *calm = false;
    for (int i = 0; i < AGAIN && !*calm; i++) {
        const double before = process_time();
        if (!launch(p, division, t)) {
            return false;
        }
        *calm = !p->cores || process_time() - before >= (1.0 - STOLEN_AT_MOST) * (t->chunk[0] + t->chunk[1]);
    }
    return true;
}

static bool one_round(place *p, bool backwards, rounds *all, figures *out, bool *calm) {
    taken t;
    *calm = true;
    for (uint32_t i = 0; i < DIVISIONS && *calm; i++) {
        uint32_t division = backwards ? DIVISIONS - 1 - i : i;
        if (!launch_calmly(p, division, &t, calm)) {
            return false;
        }
        for (int d = 0; d < DEVICES; d++) {
            out->units[division][d] = t.units[d];
            all->ns[division][d][all->count] = t.chunk[d];
            all->ns[division][DEVICES + d][all->count] = t.late[d];
        }
        all->ns[division][2 * DEVICES][all->count] = t.makespan;
    }
    return true;
}

/* The deviation that lies between quartile and median: accidents, which are far beyond, are no scatter. */
static double deviation(const double *values, uint32_t count) {
    return fmax(0.0, pel_bench_median(values, count) - quartile(values, count, 0, 1)) / QUARTILE;
}

/*
 * Of the divisions that calibrate: how much the logarithms of the parts' times scatter, and how much later than the other each
 * part began. What scatters for both at once (the memory's luck) makes no part later than the other, so only so much is described
 * as their ratio shows.
 */
static void describe_luck(const rounds *all, figures *out) {
    double own[DEVICES] = {0.0, 0.0}, apart = 0.0, divided = 0.0, values[PEL_BENCH_RUNS];
    for (uint32_t i = 0; i < CALIBRATING; i++) {
        const bool both = out->chunk[i][0] > 0.0 && out->chunk[i][1] > 0.0;
        for (int d = 0; d < DEVICES && both; d++) {
            for (uint32_t k = 0; k < all->count; k++) {
                values[k] = log(all->ns[i][d][k]);
            }
            own[d] += pow(deviation(values, all->count), 2.0);
            out->late[d] += pel_bench_median(all->ns[i][DEVICES + d], all->count);
        }
        for (uint32_t k = 0; k < all->count && both; k++) {
            values[k] = log(all->ns[i][0][k] / all->ns[i][1][k]);
        }
        apart += both ? pow(deviation(values, all->count), 2.0) : 0.0;
        divided += both ? 1.0 : 0.0;
    }
    const double part = own[0] + own[1] > apart ? apart / (own[0] + own[1]) : 1.0;
    for (int d = 0; d < DEVICES && divided > 0.0; d++) {
        out->scatter[d] = sqrt(part * own[d] / divided);
        out->late[d] /= divided;
    }
}

/* Rounds in which all divisions take turns. */
static bool measure(place *p, uint32_t wanted, figures *out) {
    static rounds all;
    double cores[PEL_BENCH_RUNS];
    taken t;
    for (uint32_t i = 0; i < DIVISIONS + WARM_UPS; i++) {
        if (!launch(p, i < DIVISIONS ? i : DIVISIONS - 1, &t)) {
            return false;
        }
    }
    all.count = 0;
    for (uint32_t round = 0; all.count < wanted && round < 2 * wanted; round++) {
        bool calm;
        if (!one_round(p, round % 2 == 1, &all, out, &calm)) {
            return false;
        }
        if (calm) {
            cores[all.count++] = p->cores ? pel_bench_cores_efficiency(p->cores) : 0.0;
        }
    }
    out->calm = all.count >= wanted;
    out->cores = pel_bench_median(cores, all.count);
    if (!out->calm) {
        return true;
    }
    memset(out->late, 0, sizeof out->late);
    memset(out->scatter, 0, sizeof out->scatter);
    for (uint32_t i = 0; i < DIVISIONS; i++) {
        out->chunk[i][0] = quartile(all.ns[i][0], all.count, 0, 1);
        out->chunk[i][1] = quartile(all.ns[i][1], all.count, 0, 1);
        const double *whole = all.ns[i][2 * DEVICES];
        out->makespan[i] = quartile(whole, all.count, 0, 1);
        out->repeated[i] = quartile(whole, all.count, 1, 2) / quartile(whole, all.count, 0, 2) - 1.0;
    }
    describe_luck(&all, out);
    return true;
}

/* When both are over, begun together: parameters are start, ns per unit and contention of each. */
static void model(const double *p, const double units[DEVICES], double end[DEVICES]) {
    double alone[DEVICES];
    for (int d = 0; d < DEVICES; d++) {
        alone[d] = units[d] > 0.0 ? p[3 * d] + p[3 * d + 1] * units[d] : 0.0;
        end[d] = alone[d];
    }
    if (alone[0] > 0.0 && alone[1] > 0.0) {
        int first = alone[0] * (1.0 + p[2]) <= alone[1] * (1.0 + p[5]) ? 0 : 1;
        end[first] = alone[first] * (1.0 + p[3 * first + 2]);
        double left = alone[1 - first] - end[first] / (1.0 + p[3 * (1 - first) + 2]);
        end[1 - first] = end[first] + fmax(0.0, left);
    }
}

static double misfit(const double *p, const figures *real) {
    double sum = 0.0;
    for (int i = 0; i < CALIBRATING; i++) {
        double end[DEVICES];
        model(p, real->units[i], end);
        for (int d = 0; d < DEVICES; d++) {
            if (real->units[i][d] > 0.0) {
                double off = log(fmax(end[d], 1.0) / real->chunk[i][d]);
                sum += off * off;
            }
        }
    }
    return sum;
}

/* Pattern search: six smooth parameters, eight data. */
static void fit(const figures *real, double *p) {
    double step[PARAMETERS];
    for (int d = 0; d < DEVICES; d++) {
        p[3 * d] = 0.01 * real->chunk[d][d];
        p[3 * d + 1] = 0.99 * real->chunk[d][d] / real->units[d][d];
        p[3 * d + 2] = 0.02;
        step[3 * d] = p[3 * d];
        step[3 * d + 1] = 0.1 * p[3 * d + 1];
        step[3 * d + 2] = 0.05;
    }
    double best = misfit(p, real);
    for (int pass = 0; pass < 3000; pass++) {
        int i = pass % PARAMETERS;
        bool better = false;
        for (int sign = -1; sign <= 1 && !better; sign += 2) {
            double old = p[i];
            p[i] = fmax(i % 3 == 1 ? 1e-9 : 0.0, old + sign * step[i]);
            double now = misfit(p, real);
            better = now < best;
            p[i] = better ? p[i] : old;
            best = better ? now : best;
        }
        step[i] *= better ? 1.3 : 0.7;
    }
}

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

/* The described machine does the same. The parameters tell quartiles; a description tells means. */
static bool simulate(const double *p, const figures *real, uint64_t granularity, figures *out) {
    pel_simulated_device devices[DEVICES] = {{.name = "host"}, {.name = "other"}};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    place s = {.launch = PEL_LAUNCH_DESC_INIT};
    for (int d = 0; d < DEVICES; d++) {
        const double scatter = real->scatter[d], mean = exp(QUARTILE * scatter + 0.5 * scatter * scatter);
        devices[d].start_ns = p[3 * d] * mean;
        devices[d].rate = 1e3 / (p[3 * d + 1] * mean);
        devices[d].contention = p[3 * d + 2];
        devices[d].noise = scatter;
        devices[d].begins_late_ns = real->late[d];
    }
    simulation.devices = devices;
    simulation.device_count = DEVICES;
    desc.simulation = &simulation;
    kernel_desc.name = "kernel";
    kernel_desc.host = nothing;
    kernel_desc.granularity = granularity;
    s.launch.global[0] = (uint64_t)real->units[0][0];
    s.launch.local[0] = 1; /* a group chosen for large ranges would make the grain coarser than the real one */
    bool good = pel_runtime_create(&desc, &s.runtime, NULL) == PEL_OK &&
                pel_queue_create(s.runtime, NULL, &s.queue, NULL) == PEL_OK &&
                pel_program_create(s.runtime, &program_desc, &program, NULL) == PEL_OK &&
                pel_kernel_create(program, &kernel_desc, &s.kernel, NULL) == PEL_OK;
    if (good) {
        s.devices[0] = pel_runtime_find_device(s.runtime, "host");
        s.devices[1] = pel_runtime_find_device(s.runtime, "sim:other");
        good = measure(&s, ROUNDS, out);
    }
    (void)pel_program_destroy(program);
    (void)pel_queue_destroy(s.queue);
    (void)pel_kernel_destroy(s.kernel);
    (void)pel_runtime_destroy(s.runtime);
    return good;
}

/* Adds the errors of the divisions that did not calibrate; in %. */
static void judge(pel_results *results, const char *kernel, const double *p, const figures *real, const figures *simulated,
                  double *errors, double *control, uint32_t *count) {
    double own[DIVISIONS];
    uint32_t n = 0;
    for (uint32_t i = CALIBRATING; i < DIVISIONS; i++) {
        own[n] = 100.0 * fabs(simulated->makespan[i] / real->makespan[i] - 1.0);
        control[*count] = 100.0 * fabs(real->repeated[i]);
        errors[(*count)++] = own[n++];
    }
    printf("# %s: host %.3g us + %.4g ns, contention %.1f %%; OpenCL %.3g us + %.4g ns, contention %.1f %%\n", kernel,
           p[0] * 1e-3, p[1], 100.0 * p[2], p[3] * 1e-3, p[4], 100.0 * p[5]);
    printf("#   scatter %.1f %%, %.1f %%; begin %.0f us, %.0f us after the other\n", 100.0 * real->scatter[0],
           100.0 * real->scatter[1], real->late[0] * 1e-3, real->late[1] * 1e-3);
    for (uint32_t i = 0; i < DIVISIONS; i++) {
        printf("#   %-9s host %5.1f %%: really %8.3f ms (parts %8.3f and %8.3f), simulated %8.3f ms\n",
               i + 1 < DIVISIONS ? "division" : "planned", 100.0 * real->units[i][0] / (real->units[i][0] + real->units[i][1]),
               real->makespan[i] * 1e-6, real->chunk[i][0] * 1e-6, real->chunk[i][1] * 1e-6, simulated->makespan[i] * 1e-6);
    }
    pel_results_add_one(results, kernel, "planned, real", "ms", real->makespan[DIVISIONS - 1] * 1e-6, 1, NULL);
    pel_results_add_one(results, kernel, "planned, simulated", "ms", simulated->makespan[DIVISIONS - 1] * 1e-6, 1, NULL);
    pel_results_add_one(results, kernel, "both cores", "ratio", real->cores, 1, NULL);
    pel_results_add(results, kernel, "error", "%", own, n, NULL);
}

/* The grain of the real divisions. */
static uint64_t grain_of(const figures *real) {
    uint64_t grain = 0;
    for (int i = 0; i < DIVISIONS * DEVICES; i++) {
        uint64_t rest = (uint64_t)real->units[i / DEVICES][i % DEVICES];
        while (rest != 0) {
            uint64_t next = grain % rest;
            grain = rest;
            rest = next;
        }
    }
    return grain > 0 ? grain : 1;
}

static bool one_size(pel_results *results, pel_bench_session *session, const pel_catalogue_kernel *what, uint64_t n,
                     double least_ns, double *errors, double *control, uint32_t *count, bool *large) {
    pel_program *program = NULL;
    pel_case c;
    pel_case_binding binding;
    figures real, simulated;
    double p[PARAMETERS];
    taken t = {.makespan = 0.0};
    place r = {.runtime = session->runtime,
               .queue = session->queue,
               .devices = {session->devices[0], session->devices[1]},
               .cores = session->cores};
    if (pel_case_setup(what, n, 1, &c) != PEL_OK) {
        return false;
    }
    bool good = pel_case_bind(session->runtime, &c, &binding) == PEL_OK;
    r.launch = binding.launch;
    r.args = binding.args;
    r.arg_count = c.arg_count;
    good = good && pel_catalogue_create(session->runtime, what, false, &program, &r.kernel, NULL) == PEL_OK;
    for (int i = 0; i < 3 && good; i++) {
        good = launch(&r, 0, &t);
    }
    *large = t.makespan >= least_ns;
    if (good && *large) {
        good = measure(&r, results->quick ? QUICK_ROUNDS : ROUNDS, &real);
        if (good && !real.calm) {
            pel_results_skip(results, what->name, "void: the devices did not have their cores");
        } else if (good) {
            fit(&real, p);
            good = simulate(p, &real, grain_of(&real), &simulated);
        }
        if (good && real.calm) {
            judge(results, what->name, p, &real, &simulated, errors, control, count);
        }
    }
    (void)pel_kernel_destroy(r.kernel);
    (void)pel_program_destroy(program);
    pel_case_unbind(&binding);
    pel_case_teardown(&c);
    return good;
}

int main(int argc, char **argv) {
    pel_results results;
    pel_bench_session session;
    char list[PEL_BENCH_DISJOINT_LIST];
    double errors[KERNELS * DIVISIONS], control[KERNELS * DIVISIONS];
    uint32_t count = 0;
    if (!pel_results_open(&results, "simulation", argc, argv)) {
        return 2;
    }
    pel_bench_options options = pel_results_options(&results, 5e6);
    options.compare = false;
    options.both_cores = true;
    if (!pel_bench_disjoint("simulation", list) || !pel_bench_open(&session, "simulation", list, &options)) {
        pel_results_skip(&results, "*", "it takes two cores, and the host and an OpenCL device on them, such as PoCL");
        return pel_results_close(&results);
    }
    for (size_t i = 0; pel_catalogue[i] && i < KERNELS && session.device_count >= DEVICES; i++) {
        static const uint64_t first[] = {0, UINT64_C(1) << 16, 256, 128};
        const pel_catalogue_kernel *what = pel_catalogue[i];
        bool large = false, good = true;
        if ((what->flags & PEL_KERNEL_IRREGULAR) != 0 || strcmp(what->name, "mandelbrot") == 0 ||
            !pel_results_wants(&results, what->name)) {
            continue;
        }
        for (uint64_t n = pel_round_up(first[what->exponent], what->step); good && !large;
             n = pel_round_up(n + n / 2, what->step)) {
            good = one_size(&results, &session, what, n, results.quick ? 2e6 : 6e6, errors, control, &count, &large);
        }
        if (!good) {
            pel_results_skip(&results, what->name, "it did not run");
            results.missed++;
        }
    }
    if (count == 0) {
        pel_results_add_one(&results, "all", "error", "%", 0.0, 0, "no kernel could be compared");
    } else {
        pel_results_add(&results, "all", "control", "%", control, count, NULL);
        pel_results_add(&results, "all", "error", "%", errors, count,
                        pel_bench_median(control, count) > CONTROL ? "reality does not repeat itself: the machine is not quiet"
                                                                   : NULL);
    }
    pel_bench_close(&session);
    return pel_results_close(&results);
}
