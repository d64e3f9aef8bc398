/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What devices give together: pairs that share nothing but memory, and two ways to use the same cores. Each pair is measured by a
 * process of its own, because drivers read their environment once.
 *
 * In each round of a row every contestant runs once, and over the rounds each follows each other one equally often (who follows
 * whom decides what is in caches and which threads are awake): each device alone, the planner's choice, and three divisions by
 * hand (coexec_hand.h) that a search found best. On a virtual machine cores are taken away for milliseconds; a run counts only
 * when the process got the time that its devices were at work for (CPU time against the chunks' times), and is repeated until it
 * does. And a round counts only when two plain threads reach 0.95 of their sum at its end (cli/bench_cores.h). The same for all
 * contestants; a row without enough such rounds is void. Devices on the same cores are compared with themselves instead: each
 * runs twice in a round, and the second one's ratio to the first is what the planner's ratio can be compared with.
 * PEL_BENCH_PLANS=1 prints a line a launch, and at the end of a row where its contestants' time went (coexec_times.h).
 */
#include "base/hash.h"
#include "cli/bench_disjoint.h"
#include "coexec_hand.h"
#include "coexec_times.h"
#include "harness.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define PAIR "PEL_BENCH_PAIR"
#define STOLEN_AT_MOST 0.03
#define SAME 0.015 /* a device against itself */
#define ENOUGH_SECONDS 8.0 /* short launches have more rounds in them: 11 leave 4 % of chance in a ratio */

enum { HANDS = 3, CANDIDATES = 9, EVENINGS = 2, CONTESTANTS = 2 + 2 + 1 + HANDS, RUNS_AGAIN = 5, CONTROLS_AGAIN = 3 };
enum { VARIABLES = 2, SIZES = 4 };

typedef struct variable {
    const char *name, *value;
} variable;

typedef struct pair {
    const char *name; /* in rows; "": the first */
    const char *list; /* %u: the two cores */
    variable environment[VARIABLES];
    const char *kernels;
    double sizes[SIZES]; /* ms of the fastest device; kernels of the first pair beyond the common ones have the first size only */
    bool by_hand;
} pair;

#define COMMON "mandelbrot nbody gaussian triad"

static const pair pairs[] = {
    {"", "host@%u,opencl:0@%u", {{"POCL_MAX_PTHREAD_COUNT", "1"}}, COMMON " matmul dot", {30.0, 3.0}, true},
    {"PoCL halves",
     "opencl:0@%u,opencl:0@%u",
     {{"POCL_MAX_PTHREAD_COUNT", "2"}, {"POCL_AFFINITY", "1"}},
     COMMON,
     {30.0, 3.0},
     true},
    {"basic + PoCL",
     "opencl:0@%u,opencl:1@%u",
     {{"POCL_MAX_PTHREAD_COUNT", "1"}, {"POCL_DEVICES", "pthread basic"}},
     COMMON,
     {30.0, 3.0},
     true},
    {"PoCL + llvmpipe",
     "opencl:0@%u,opencl:1@%u",
     {{"RUSTICL_ENABLE", "llvmpipe"}, {"LP_NUM_THREADS", "1"}},
     "mandelbrot triad",
     {30.0},
     false},
    {"overlapping", "host,opencl:0", {{NULL, NULL}}, COMMON " matmul dot", {1.0, 3.0, 10.0, 30.0}, false}};

enum { PAIRS = sizeof pairs / sizeof *pairs, EMULATED = 3 };

typedef struct scene {
    pel_results *results;
    pel_bench_session session;
    const pair *pair;
    bool disjoint;
    double seconds; /* a row may take */
    const pel_catalogue_kernel *what;
    char row[64];
    pel_program *program;
    pel_kernel *kernel;
    pel_case c;
    pel_case_binding binding;
    pel_hand *hand;
    char story[256];
} scene;

typedef struct contestant {
    enum { ALONE, ALL, HAND } kind;
    uint32_t device;
    double share; /* HAND: of the first device */
    double pending;
    pel_times pending_times;
    pel_bench_subject taken;
    pel_times_table times;
} contestant;

/* ---- one run ---- */

static double process_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Where the time of a run went: until it began, each chunk's begin and length (and what was predicted), and from the last end
 * until the caller knew. */
static void tell_times(const scene *s, const pel_plan *plan, const pel_event *event, double begin, double ns) {
    pel_event_timing timing;
    double ended = 0.0;
    pel_event_get_timing(event, &timing);
    printf("# %s, at %.6f s: %.0f us, begins after %.0f", s->row, begin * 1e-9, ns * 1e-3,
           ((double)timing.began - begin) * 1e-3);
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        if (pel_plan_get_chunk(plan, i, &chunk) == PEL_OK) {
            printf("; %s %.3f at %.0f took %.0f predicted %.0f%s", chunk.device, chunk.share, chunk.began_ns * 1e-3,
                   chunk.actual_ns * 1e-3, chunk.predicted_ns * 1e-3, chunk.cold ? " compiled" : "");
            ended = fmax(ended, (double)timing.began + chunk.began_ns + chunk.actual_ns);
        }
    }
    printf("; known after %.0f: %s\n", (begin + ns - ended) * 1e-3, pel_plan_reason(plan));
}

static bool launch(scene *s, const contestant *who, double *ns, pel_times *times) {
    pel_launch_desc desc = s->binding.launch;
    pel_share share = {s->session.devices[who->device], 1.0};
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    desc.shares = who->kind == ALONE ? &share : NULL;
    desc.share_count = who->kind == ALONE;
    const double begin = pel_bench_now();
    pel_status status = pel_launch(s->session.queue, s->kernel, &desc, s->binding.args, s->c.arg_count, &event);
    status = status == PEL_OK ? pel_queue_finish(s->session.queue) : status;
    *ns = pel_bench_now() - begin;
    status = status == PEL_OK ? pel_event_get_plan(event, &plan) : status;
    if (status == PEL_OK) {
        pel_times_of_plan(plan, event, begin, begin + *ns, pel_device_get_info(s->session.devices[0])->id, times);
    }
    if (getenv("PEL_BENCH_PLANS") && plan) {
        tell_times(s, plan, event, begin, *ns);
    }
    pel_plan_destroy(plan);
    pel_event_release(event);
    if (status != PEL_OK) {
        pel_error *error = pel_queue_error(s->session.queue);
        snprintf(s->story, sizeof s->story, "%s", error ? pel_error_message(error) : pel_status_text(status));
        pel_error_destroy(error);
        (void)pel_queue_reset(s->session.queue);
    }
    return status == PEL_OK;
}

/* One run, and the part of its devices' time in which its threads did not run. */
static bool run(scene *s, const contestant *who, double *ns, pel_times *times, double *stolen) {
    pel_hand_part parts[2];
    const double before = process_time(), begin = pel_bench_now();
    *times = (pel_times){0};
    const bool good = who->kind == HAND ? pel_hand_run(s->hand, who->share, parts) : launch(s, who, ns, times);
    const double end = pel_bench_now();
    if (who->kind == HAND) {
        *ns = end - begin;
        pel_times_of_hand(parts, begin, end, who->share, times);
    }
    const double ran = process_time() - before, busy = times->values[PEL_TIMES_WORK];
    *stolen = busy > 0.0 ? 1.0 - ran / busy : 0.0;
    if (getenv("PEL_BENCH_PLANS")) {
        printf("# %s, %s: %.0f us, at work %.0f, on processors %.0f: %.1f %% stolen\n", s->row,
               who->kind == HAND ? "by hand" : who->kind == ALL ? "all" : "alone", *ns * 1e-3, busy * 1e-3, ran * 1e-3,
               100.0 * *stolen);
    }
    return good;
}

/* A run that got its cores; after some tries, one that did not, and *calm is false. */
static bool run_calmly(scene *s, const contestant *who, double *ns, pel_times *times, bool *calm) {
    double stolen = 1.0;
    *calm = false;
    for (int i = 0; i < RUNS_AGAIN && !*calm; i++) {
        if (!run(s, who, ns, times, &stolen)) {
            return false;
        }
        *calm = !s->disjoint || stolen <= STOLEN_AT_MOST;
    }
    return true;
}

/* ---- divisions by hand ---- */

/* After a planned launch each: in a row of divisions by hand PoCL's two halves took their parts one after the other. */
static double best_of_three(scene *s, double share, pel_times *best_times) {
    double best = INFINITY;
    for (int i = 0; i < 3; i++) {
        const contestant who = {.kind = HAND, .share = share};
        double ns = INFINITY;
        pel_times times;
        double stolen;
        bool calm;
        if (run(s, &(contestant){.kind = ALL}, &ns, &times, &stolen) && run_calmly(s, &who, &ns, &times, &calm) && ns < best) {
            best = ns;
            *best_times = times;
        }
    }
    return best;
}

/* The share at which both parts would have ended together, by what they took beside each other. */
static double evened(const pel_times *times, double share) {
    const double first = times->values[PEL_TIMES_WORK_FIRST], second = times->values[PEL_TIMES_WORK] - first;
    return first > 0.0 && second > 0.0 ? share * second / (share * second + (1.0 - share) * first) : share;
}

/*
 * The best of CANDIDATES shares around what both devices' times suggest, alone and then together (alone one may have been
 * disturbed); its neighbours compete beside it.
 */
static uint32_t search(scene *s, contestant *list) {
    pel_times times = {0};
    const double first = best_of_three(s, 1.0, &times), second = best_of_three(s, 0.0, &times);
    double middle = second / (first + second), least = INFINITY;
    if (!isfinite(first + second)) {
        return 0;
    }
    for (int i = 0; i < EVENINGS; i++) {
        middle = isfinite(best_of_three(s, middle, &times)) ? evened(&times, middle) : middle;
    }
    const double step = fmax(0.05 * fmin(middle, 1.0 - middle), pel_hand_grain(s->hand));
    double found = middle;
    for (int i = 0; i < CANDIDATES; i++) {
        const double share = middle + (i - CANDIDATES / 2) * step,
                     ns = share > 0.0 && share < 1.0 ? best_of_three(s, share, &times) : INFINITY;
        found = ns < least ? share : found;
        least = ns < least ? ns : least;
    }
    for (int i = 0; i < HANDS; i++) {
        list[i] = (contestant){.kind = HAND, .share = found + (i - HANDS / 2) * 0.5 * step};
    }
    return HANDS;
}

/* ---- two drivers on one core each ---- */

static int threads_name(const char *id, char name[32]) {
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", id);
    FILE *file = fopen(path, "r");
    *name = '\0';
    if (file) {
        (void)!fgets(name, 32, file);
        fclose(file);
    }
    return (int)strtol(id, NULL, 10);
}

/*
 * The loader starts all drivers in its first call, so the threads of both inherit one mask: without this every second run was two
 * threads on one core, or waited there for a turn. Who is whose is told by Mesa's names and by the order: llvmpipe's begin with
 * "llvmpipe-0" and end with its disk cache, PoCL's come before, rusticl's queue has a name; the rest is the runtime's.
 */
static void part_drivers(const pel_bench_session *session) {
    int emulated = 0, last = 0;
    for (int pass = 0; pass < 2; pass++) {
        DIR *tasks = opendir("/proc/self/task");
        for (struct dirent *task; tasks && (task = readdir(tasks));) {
            char name[32];
            const int id = threads_name(task->d_name, name);
            const bool queue = strncmp(name, "rusticl queue", 13) == 0;
            emulated = strncmp(name, "llvmpipe-0", 10) == 0 ? id : emulated;
            last = strstr(name, "disk$") && (last == 0 || id < last) ? id : last;
            if (pass == 1 && emulated > 0 && id > (int)getpid() && (id <= last || queue)) {
                const pel_core_set *cores = &pel_device_get_info(session->devices[queue || id >= emulated])->cores;
                (void)syscall(SYS_sched_setaffinity, id, sizeof cores->bits, cores->bits);
            }
        }
        if (tasks) {
            closedir(tasks);
        }
    }
}

/* ---- rounds ---- */

typedef struct outcome {
    contestant list[CONTESTANTS];
    uint32_t count, rounds, void_rounds;
    double controls[PEL_BENCH_RUNS];
    uint32_t control_count;
    bool one_only; /* the second device does not run this kernel */
} outcome;

static bool cores_are_there(scene *s, outcome *o) {
    double reached = 0.0;
    for (int i = 0; s->disjoint && i < CONTROLS_AGAIN && reached < PEL_BENCH_BOTH_CORES; i++) {
        reached = pel_bench_cores_efficiency(s->session.cores);
    }
    if (s->disjoint && o->control_count < PEL_BENCH_RUNS) {
        o->controls[o->control_count++] = reached;
    }
    return !s->disjoint || reached >= PEL_BENCH_BOTH_CORES;
}

/* 0 .. count - 1 in an order that the seed and the number decide. */
static void draw_order(uint64_t seed, uint32_t number, uint32_t *order, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        seed = pel_mix_u64(seed, number);
        const uint32_t at = (uint32_t)(seed % (i + 1));
        order[i] = order[at];
        order[at] = i;
    }
}

/*
 * Who runs after whom: a round's order is a row of Williams' square, forwards or backwards, so in 2 count rounds each contestant
 * follows each other one twice. Names are drawn anew after each square. Orders that were drawn alone had the planner's launch
 * follow PoCL's, after which the host's worker sleeps, in 62 to 66 rounds of a hundred, and the host's own in 45: 0.8 % of 1 ms.
 */
static void order_of_round(uint64_t seed, uint32_t round, uint32_t *order, uint32_t count) {
    uint32_t names[CONTESTANTS] = {0};
    const uint32_t row = round % (2 * count), shift = row / 2;
    draw_order(seed, round / (2 * count), names, count);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t step = i % 2 == 1 ? (i + 1) / 2 : count - i / 2; /* 0, 1, -1, 2, -2, ... */
        order[row % 2 == 1 ? count - 1 - i : i] = names[(step + shift) % count];
    }
}

static bool one_round(scene *s, outcome *o, uint32_t round, bool *counts) {
    uint32_t order[CONTESTANTS] = {0};
    order_of_round(s->session.options.seed, round, order, o->count);
    *counts = true;
    for (uint32_t i = 0; i < o->count && *counts; i++) {
        contestant *who = &o->list[order[i]];
        if (!run_calmly(s, who, &who->pending, &who->pending_times, counts)) {
            return false;
        }
    }
    *counts = *counts && cores_are_there(s, o);
    for (uint32_t i = 0; i < o->count && *counts; i++) {
        pel_bench_subject *taken = &o->list[i].taken;
        if (taken->count < PEL_BENCH_RUNS) {
            taken->ns[taken->count++] = o->list[i].pending;
            pel_times_note(&o->list[i].times, &o->list[i].pending_times);
        }
    }
    return true;
}

static double median(const contestant *who) {
    return pel_bench_median(who->taken.ns, who->taken.count);
}

/* Alone, twice in each round where devices overlap: the second run of the faster one over its first. */
static double against_itself(const outcome *o) {
    const int best = median(&o->list[0]) <= median(&o->list[1]) ? 0 : 1;
    return pel_bench_ratio(&o->list[best].taken, &o->list[o->count - 2 + (uint32_t)best].taken);
}

static bool measure(scene *s, outcome *o) {
    const uint32_t wanted = s->session.options.rounds;
    const contestant all = {.kind = ALL};
    double ns;
    o->list[0] = (contestant){.kind = ALONE, .device = 0};
    o->list[1] = (contestant){.kind = ALONE, .device = 1};
    o->list[2] = all;
    o->count = 3;
    for (uint32_t i = 0; i < s->session.options.warm_ups; i++) {
        double stolen;
        pel_times times;
        if (s->pair == &pairs[EMULATED] && i <= 2) { /* the queue's thread comes with the first launch */
            part_drivers(&s->session);
        }
        if (!run(s, &all, &ns, &times, &stolen) || (i < 2 && !run(s, &o->list[0], &ns, &times, &stolen))) {
            return false;
        }
        if (i < 2 && !run(s, &o->list[1], &ns, &times, &stolen)) {
            pel_results_skip(s->results, s->row, s->story);
            o->list[1] = o->list[0]; /* left out, and so it should be by the planner */
            o->one_only = true;
        }
    }
    if (s->hand) { /* when all is warm: before, what still compiled took a core from one device */
        o->count += search(s, &o->list[o->count]);
    } else if (!s->disjoint) {
        o->list[o->count++] = o->list[0];
        o->list[o->count++] = o->list[1];
    }
    const double began = pel_bench_now();
    for (uint32_t round = 0; o->rounds < PEL_BENCH_RUNS; round++) {
        const double seconds = (pel_bench_now() - began) * 1e-9;
        bool counts;
        if (seconds > s->seconds || (o->rounds >= wanted && (s->results->quick || seconds > ENOUGH_SECONDS))) {
            break;
        }
        if (!one_round(s, o, round, &counts)) {
            return false;
        }
        o->rounds += counts;
        o->void_rounds += !counts;
    }
    return true;
}

/* ---- rows ---- */

static void report(scene *s, const outcome *o, bool verified) {
    pel_results *results = s->results;
    const uint32_t best = median(&o->list[0]) <= median(&o->list[1]) ? 0 : 1;
    const double single = median(&o->list[best]), other = median(&o->list[1 - best]), together = median(&o->list[2]);
    char why[200] = "";
    if (!verified) {
        snprintf(why, sizeof why, "wrong: %.180s", s->story);
        results->missed++;
    } else if (o->rounds < s->session.options.rounds) {
        snprintf(why, sizeof why, "void: the machine gave both cores in %u of %u rounds", o->rounds, o->rounds + o->void_rounds);
    } else if (!s->disjoint && fabs(against_itself(o) - 1.0) > SAME) {
        snprintf(why, sizeof why, "void: one device differs from itself by more than %.1f %%", 100.0 * SAME);
    }
    const char *void_story = *why ? why : NULL;
    for (uint32_t d = 0; d < 2u - o->one_only; d++) {
        pel_results_add_one(results, s->row, pel_device_get_info(s->session.devices[d])->id, "ms", median(&o->list[d]) * 1e-6,
                            o->rounds, NULL);
    }
    if (s->disjoint) {
        pel_results_add_one(results, s->row, "control two threads", "ratio", pel_bench_median(o->controls, o->control_count),
                            o->control_count, NULL);
    } else {
        pel_results_add_one(results, s->row, "control", "ratio", against_itself(o), o->rounds, NULL);
    }
    pel_results_add_one(results, s->row, "all", "ms", together * 1e-6, o->rounds, void_story);
    if (together <= 0.0) {
        return;
    }
    if (s->disjoint && !o->one_only) {
        pel_results_add_one(results, s->row, "speed-up", "ratio", single / together, o->rounds, void_story);
        const double efficiency = single / together / (1.0 + single / other);
        pel_results_add_one(results, s->row, "efficiency", "ratio", efficiency, o->rounds, void_story);
        if (!strchr(s->row, ',')) { /* host + PoCL at 30 ms: the older, lower bar is shown beside the present one */
            pel_results_add_one(results, s->row, "efficiency, first bar", "ratio", efficiency, o->rounds, void_story);
        }
    }
    pel_results_add_one(results, s->row, "over best single", "ratio", pel_bench_ratio(&o->list[2].taken, &o->list[best].taken),
                        o->rounds, void_story);
    const contestant *hand = NULL;
    for (uint32_t i = 3; i < o->count; i++) {
        if (o->list[i].kind == HAND && (!hand || median(&o->list[i]) < median(hand))) {
            hand = &o->list[i];
        }
    }
    if (hand) {
        pel_results_add_one(results, s->row, "by hand", "ms", median(hand) * 1e-6, o->rounds, void_story);
        pel_results_add_one(results, s->row, "efficiency by hand", "ratio", single / median(hand) / (1.0 + single / other),
                            o->rounds, void_story);
        pel_results_add_one(results, s->row, "of the best by hand", "ratio", pel_bench_ratio(&hand->taken, &o->list[2].taken),
                            o->rounds, void_story);
    }
}

/* Where the time went: of every contestant. */
static void tell_table(const scene *s, const outcome *o) {
    for (uint32_t i = 0; i < o->count; i++) {
        const contestant *who = &o->list[i];
        pel_times_tell(&who->times, s->row,
                       who->kind == HAND  ? "by hand"
                       : who->kind == ALL ? "all"
                                          : pel_device_get_info(s->session.devices[who->device])->id);
    }
}

static bool verify(scene *s) {
    pel_case_verdict verdict;
    const contestant all = {.kind = ALL};
    double ns, stolen;
    pel_times times;
    pel_case_poison(&s->c);
    if (!run(s, &all, &ns, &times, &stolen)) {
        return false;
    }
    pel_case_verify(&s->c, s->session.options.verify_work, &verdict);
    snprintf(s->story, sizeof s->story, "%s", verdict.story);
    return verdict.passed;
}

static bool measure_case(scene *s, double target_ns) {
    static outcome o;
    char why[128] = "";
    memset(&o, 0, sizeof o);
    s->session.options.target_ns = target_ns;
    const uint64_t n = pel_bench_size(&s->session, s->what, s->kernel, s->story);
    if (n == 0 || pel_case_setup(s->what, n, s->session.options.seed, &s->c) != PEL_OK) {
        return false;
    }
    bool good = pel_case_bind(s->session.runtime, &s->c, &s->binding) == PEL_OK;
    if (good && s->pair->by_hand && !(s->hand = pel_hand_open(s->session.devices[0], s->session.devices[1], &s->c, why))) {
        printf("%-9s %-22s no division by hand: %s\n", "coexec", s->row, why);
    }
    good = good && measure(s, &o);
    if (good) {
        report(s, &o, verify(s));
        if (getenv("PEL_BENCH_PLANS")) {
            tell_table(s, &o);
        }
    }
    pel_hand_close(s->hand);
    s->hand = NULL;
    pel_case_unbind(&s->binding);
    pel_case_teardown(&s->c);
    return good;
}

static void one_row(scene *s, double ms) {
    const pair *p = s->pair;
    pel_error *error = NULL;
    char size[24] = "";
    if (ms != 30.0 || !s->disjoint) {
        snprintf(size, sizeof size, ", %g ms", ms);
    }
    snprintf(s->row, sizeof s->row, "%s%s%s%s", s->what->name, *p->name ? ", " : "", p->name, size);
    if (!pel_results_wants(s->results, s->row)) {
        return;
    }
    *s->story = '\0';
    /* A kernel and queue of its own: what was learned about it at another size is nothing that a first user would have. */
    bool good = pel_catalogue_create(s->session.runtime, s->what, false, &s->program, &s->kernel, &error) == PEL_OK &&
                measure_case(s, ms * 1e6 / (s->results->quick ? 20.0 : 1.0));
    if (!good) {
        pel_results_add_one(s->results, s->row, "ran", "", 0.0, 0,
                            error       ? pel_error_message(error)
                            : *s->story ? s->story
                                        : "it did not run");
        s->results->missed++;
    }
    pel_error_destroy(error);
    (void)pel_kernel_destroy(s->kernel);
    (void)pel_program_destroy(s->program);
    s->kernel = NULL;
    s->program = NULL;
}

static int run_pair(pel_results *results, const pair *p, const char *list) {
    scene s = {.results = results, .pair = p, .disjoint = strchr(p->list, '@') != NULL, .seconds = results->quick ? 1.5 : 25.0};
    pel_bench_options options = pel_results_options(results, 30e6);
    options.compare = false;
    options.both_cores = s.disjoint;
    if (!pel_bench_open(&s.session, "coexec", list, &options)) {
        pel_results_skip(results, *p->name ? p->name : "*", "these devices are not here");
        return pel_results_close(results);
    }
    if (s.session.device_count == 2 && (s.session.cores || !s.disjoint)) {
        for (size_t i = 0; pel_catalogue[i]; i++) {
            s.what = pel_catalogue[i];
            const char *found = strstr(p->kernels, s.what->name);
            for (int k = 0; found && k < SIZES && p->sizes[k] > 0.0; k++) {
                one_row(&s, p->sizes[k]);
            }
        }
    }
    pel_bench_close(&s.session);
    return pel_results_close(results);
}

/* ---- a process for each pair ---- */

static int spawn_pair(uint32_t index, char **argv) {
    char text[8];
    pid_t child;
    int status = 0;
    snprintf(text, sizeof text, "%u", index);
    (void)setenv(PAIR, text, 1);
    for (int i = 0; i < VARIABLES && pairs[index].environment[i].name; i++) {
        (void)setenv(pairs[index].environment[i].name, pairs[index].environment[i].value, 1);
    }
    const int failed = posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ);
    for (int i = 0; i < VARIABLES && pairs[index].environment[i].name; i++) {
        (void)unsetenv(pairs[index].environment[i].name);
    }
    if (failed) {
        fprintf(stderr, "bench coexec: a process for a pair of devices cannot be started: %s\n", strerror(failed));
        return 2;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status)) {
        fprintf(stderr, "bench coexec: the process for %s died of signal %d\n",
                *pairs[index].name ? pairs[index].name : "the first pair", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        return 1;
    }
    return WEXITSTATUS(status);
}

/* Whether any row of a pair is wanted: a process costs a driver's start. */
static bool wanted(const pel_results *results, const pair *p) {
    char row[64];
    for (size_t i = 0; pel_catalogue[i]; i++) {
        for (int k = 0; strstr(p->kernels, pel_catalogue[i]->name) && k < SIZES && p->sizes[k] > 0.0; k++) {
            snprintf(row, sizeof row, "%s%s%s, %g ms", pel_catalogue[i]->name, *p->name ? ", " : "", p->name, p->sizes[k]);
            if (pel_results_wants(results, row)) {
                return true;
            }
        }
    }
    return false;
}

int main(int argc, char **argv) {
    pel_results results;
    char disjoint[PEL_BENCH_DISJOINT_LIST], list[PEL_BENCH_DISJOINT_LIST];
    unsigned first = 0, second = 1;
    int worst = 0;
    if (!pel_results_open(&results, "coexec", argc, argv)) {
        return 2;
    }
    const char *chosen = getenv(PAIR), *threads = getenv("POCL_MAX_PTHREAD_COUNT");
    char kept[16] = "";
    snprintf(kept, sizeof kept, "%s", threads ? threads : "");
    if (!pel_bench_disjoint("coexec", disjoint)) {
        pel_results_skip(&results, "*", "it takes two cores");
        return pel_results_close(&results);
    }
    (void)sscanf(disjoint, "host@%u,opencl:0@%u", &first, &second);
    if (!chosen) {
        (void)unsetenv("POCL_MAX_PTHREAD_COUNT");
        (void)unsetenv("POCL_CPU_MAX_CU_COUNT");
        for (uint32_t i = 0; i < PAIRS && worst < 2; i++) {
            const int status = wanted(&results, &pairs[i]) ? spawn_pair(i, argv) : 0;
            worst = status > worst ? status : worst;
        }
        (void)pel_results_close(&results);
        return worst;
    }
    const pair *p = &pairs[(uint32_t)strtoul(chosen, NULL, 10) % PAIRS];
    /* What was set for this pair, in the names that older and newer drivers read. */
    (void)(*kept ? setenv("POCL_MAX_PTHREAD_COUNT", kept, 1) : unsetenv("POCL_MAX_PTHREAD_COUNT"));
    (void)(*kept ? setenv("POCL_CPU_MAX_CU_COUNT", kept, 1) : unsetenv("POCL_CPU_MAX_CU_COUNT"));
    snprintf(list, sizeof list, p->list, first, second);
    return run_pair(&results, p, list);
}
