/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The campaign: every OpenCL call that the six kernels of the catalogue make, times every error code that the specification
 * documents for it, once and for ever, times {host + PoCL, PoCL only, and for some of the kernels a PoCL with memory of its own
 * that is too small, so that each transfer of each step fails in turn}; commands whose events fail; the device that vanishes at
 * every call. Each time: the right result or a clean error with a story; no crash, no hang, and no memory, OpenCL object, thread
 * or descriptor left over.
 *
 *     test_calls_opencl                     a seeded sample (what ctest runs)
 *     test_calls_opencl --all               everything: tests/fault/campaign
 *     test_calls_opencl --kernel NAME --devices LIST --script TEXT       one case, as printed for a failure
 *                                           (--repeat N: so many times more)
 *
 * A worker process runs case after case in one process, because a life takes milliseconds there and a tenth of a second in a
 * process of its own. The parent never touches OpenCL; it watches the clock, and goes on behind a case that crashed or hung with
 * a new worker.
 */
#include "fault/layer.h"
#include "fault/life.h"
#include "support/random.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>

extern char **environ;

enum {
    SAMPLE = 16,             /* cases of each kernel and device list in the sample */
    AGAIN_LIMIT_MS = 120000, /* the second time */
    CASE_LIMIT_MS = 30000,   /* a case takes 10 ms, or a second where commands are waited for in vain */
    START_LIMIT_MS = 100000, /* a driver compiles, perhaps under a sanitizer, perhaps beside other tests */
    POLLED_TIMES = 4,        /* of a call that is polled, only so many are failed one by one: its number depends on time */
    CASES = 100000
};

static const char *const kernels[] = {"triad", "dot", "gaussian", "matmul", "mandelbrot", "nbody"};
/* The first works where the process may use the first two cores; else both devices share what there is. */
static const char *const device_lists[] = {"host@0,opencl:0@1", "opencl:0", "opencl:0[own;memory=3k]",
                                           "opencl:0[own;memory=5k;staging=256]"};

/* The third has less memory than a launch needs: windows and steps, so that every transfer of them fails in turn; the last
 * does that through pinned memory. */
enum { STREAMS = 2, PINNED = 3 };
static bool is_tried(const char *kernel, size_t list, bool all) {
    if (list == PINNED) {
        return all && strcmp(kernel, "triad") == 0;
    }
    return list < STREAMS || strcmp(kernel, "triad") == 0 || (all && strcmp(kernel, "gaussian") == 0);
}

typedef enum verdict { RIGHT, CLEAN, DEFECT, UNTOUCHED } verdict;

/* From the worker to its parent; small enough to be written at once. */
typedef struct report {
    enum { REPORT_TOTAL, REPORT_BEGIN, REPORT_END } kind;
    verdict verdict;
    uint32_t index, total;
    char script[160], text[640];
} report;

/* ---- the worker ---- */

typedef struct one_case {
    uint32_t call;
    uint64_t number;
    int32_t code;
    enum { CASE_ONCE, CASE_FOR_EVER, CASE_EVENT, CASE_VANISH } kind;
} one_case;

static one_case cases[CASES];
static uint32_t case_count;

static void add_case(uint32_t call, uint64_t number, int32_t code, int kind) {
    if (case_count < CASES) {
        cases[case_count++] = (one_case){call, number, code,
                                         kind == CASE_ONCE       ? CASE_ONCE
                                         : kind == CASE_FOR_EVER ? CASE_FOR_EVER
                                         : kind == CASE_EVENT    ? CASE_EVENT
                                                                 : CASE_VANISH};
    }
}

/* Lists the cases from the counts of the life before. */
static void list_cases(const pel_faults_control *faults) {
    case_count = 0;
    for (uint32_t call = 0; call < faults->call_count(); call++) {
        const char *name = faults->call_name(call);
        uint64_t times = faults->call_times(call);
        uint32_t codes;
        const int32_t *code = faults->call_codes(call, &codes);
        if (strcmp(name, "clGetEventInfo") == 0 && times > POLLED_TIMES) {
            times = POLLED_TIMES;
        }
        for (uint64_t number = 1; number <= times; number++) {
            for (uint32_t i = 0; i < codes; i++) {
                add_case(call, number, code[i], CASE_ONCE);
                add_case(call, number, code[i], CASE_FOR_EVER);
            }
            if (strncmp(name, "clEnqueue", 9) == 0) {
                add_case(call, number, CL_OUT_OF_RESOURCES, CASE_EVENT);
                add_case(call, number, CL_DEVICE_NOT_AVAILABLE, CASE_EVENT);
                add_case(call, number, -9999, CASE_EVENT); /* a code of the vendor's */
            }
            if (strncmp(name, "clRe", 4) != 0) {
                add_case(call, number, 0, CASE_VANISH);
            }
        }
    }
}

static void write_script(const pel_faults_control *faults, const one_case *c, char *script, size_t bytes) {
    const char *name = faults->call_name(c->call);
    unsigned long long number = c->number;
    switch (c->kind) {
    case CASE_ONCE:
        (void)snprintf(script, bytes, "%s@%llu:%d", name, number, (int)c->code);
        break;
    case CASE_FOR_EVER:
        (void)snprintf(script, bytes, "%s@%llu+:%d", name, number, (int)c->code);
        break;
    case CASE_EVENT:
        (void)snprintf(script, bytes, "%s@%llu:event(%d)", name, number, (int)c->code);
        break;
    case CASE_VANISH:
        (void)snprintf(script, bytes, "%s@%llu:vanish", name, number);
        break;
    }
}

static uint32_t count_entries(const char *path) {
    uint32_t count = 0;
    DIR *directory = opendir(path);
    while (directory && readdir(directory)) {
        count++;
    }
    if (directory) {
        (void)closedir(directory);
    }
    return count;
}

static void send(int to, const report *r) {
    if (to >= 0 && write(to, r, sizeof *r) != (ssize_t)sizeof *r) {
        exit(3);
    }
}

/* One life under a script; fills verdict and text. */
static void try_script(const pel_faults_control *faults, pel_case *c, const char *devices, const char *script, report *r) {
    life_result result;
    layer_script(faults, "%s", script);
    int64_t objects = faults->objects();
    uint32_t threads = count_entries("/proc/self/task"), descriptors = count_entries("/proc/self/fd");
    life_run(c, devices, &result);
    uint64_t fired = faults->fired();
    layer_script(faults, "%s", "");
    int64_t left = faults->objects() - objects;
    r->verdict = fired == 0 ? UNTOUCHED : result.status == PEL_OK ? RIGHT : CLEAN;
    (void)snprintf(r->text, sizeof r->text, "%s: %.500s", pel_status_name(result.status), result.story);
    if (fired == 0 && result.status != PEL_OK) {
        (void)snprintf(result.defect, sizeof result.defect, "without a fault: %.300s", result.story);
    }
    if (result.defect[0] == '\0' && left != 0) {
        (void)snprintf(result.defect, sizeof result.defect, "%lld references to OpenCL objects left", (long long)left);
    }
    /* A thread that has been joined may stay in the list for a moment. */
    for (int i = 0; i < 500 && count_entries("/proc/self/task") > threads; i++) {
        (void)usleep(1000);
    }
    if (result.defect[0] == '\0' && count_entries("/proc/self/task") > threads) {
        (void)snprintf(result.defect, sizeof result.defect, "%u threads left", count_entries("/proc/self/task") - threads);
    }
    if (result.defect[0] == '\0' && count_entries("/proc/self/fd") > descriptors) {
        (void)snprintf(result.defect, sizeof result.defect, "%u descriptors left", count_entries("/proc/self/fd") - descriptors);
    }
    if (result.defect[0] != '\0') {
        r->verdict = DEFECT;
        (void)snprintf(r->text, sizeof r->text, "%s (%.200s)", result.defect, result.story);
    }
}

/* Whether a case belongs to the sample: decided by its number alone, so that a new worker draws the same. */
static bool in_sample(uint32_t index, uint32_t total, uint64_t seed, bool all, const char *devices) {
    const bool streams = strstr(devices, "memory=3k") != NULL; /* a failed step is waited for in vain more often */
    return all || test_mix(test_mix(seed) + index) % total < (streams ? SAMPLE / 3 : SAMPLE);
}

static int work(const char *kernel, const char *devices, uint32_t from, uint64_t seed, bool all, const char *script, int to) {
    if (to >= 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody watches any more */
    }
    const pel_faults_control *faults = layer_load();
    report r = {.kind = REPORT_TOTAL};
    pel_case c;
    if (!faults || !life_case(kernel, &c)) {
        return 77;
    }
    for (int warm = 0; warm < 3; warm++) { /* compiles, starts the driver's threads, then counts */
        try_script(faults, &c, devices, warm == 2 ? "clFlush@1000000:-5" : "", &r);
        if (warm == 2 && r.verdict == DEFECT) {
            fprintf(stderr, "%s on %s: %s\n", kernel, devices, r.text);
            pel_case_teardown(&c);
            return 77;
        }
    }
    if (script) {
        for (uint32_t i = 0; i < from + 1 && r.verdict != DEFECT; i++) {
            try_script(faults, &c, devices, script, &r);
        }
        printf("%s\n%s\n",
               r.verdict == RIGHT    ? "right"
               : r.verdict == CLEAN  ? "clean error"
               : r.verdict == DEFECT ? "DEFECT"
                                     : "no fault happened",
               r.text);
        pel_case_teardown(&c);
        return r.verdict == DEFECT;
    }
    life_result result;
    life_run(&c, devices, &result); /* try_script ends with an empty script: these are the counts */
    list_cases(faults);
    r = (report){.kind = REPORT_TOTAL, .total = case_count};
    send(to, &r);
    for (uint32_t i = from; i < case_count; i++) {
        /* Always: a driver that does not tell any more how commands are. It found memory freed under a running kernel. */
        bool mute = cases[i].kind == CASE_FOR_EVER && cases[i].number == 1 &&
                    strcmp(faults->call_name(cases[i].call), "clGetEventInfo") == 0;
        if (!mute && !in_sample(i, case_count, seed, all, devices)) {
            continue;
        }
        memset(&r, 0, sizeof r);
        r = (report){.kind = REPORT_BEGIN, .index = i};
        write_script(faults, &cases[i], r.script, sizeof r.script);
        send(to, &r);
        try_script(faults, &c, devices, r.script, &r);
        r.kind = REPORT_END;
        send(to, &r);
    }
    pel_case_teardown(&c);
    return 0;
}

/* ---- the parent ---- */

typedef struct tally {
    uint32_t total, ran, right, clean, untouched, defects;
    uint32_t again, late; /* 1 + the case that took too long and runs a second time; how many did */
} tally;

typedef struct worker {
    pid_t pid;
    int from; /* its reports */
} worker;

static bool start_worker(const char *program, const char *kernel, const char *devices, uint32_t from, uint64_t seed, bool all,
                         worker *w) {
    char from_text[16], seed_text[24], to_text[16];
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    (void)snprintf(from_text, sizeof from_text, "%u", from);
    (void)snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    (void)snprintf(to_text, sizeof to_text, "%d", ends[1]);
    const char *arguments[] = {program, "--worker", to_text,   "--kernel", kernel,    "--devices",
                               devices, "--from",   from_text, "--seed",   seed_text, all ? "--all" : "--sample",
                               NULL};
    char *copies[sizeof arguments / sizeof *arguments];
    memcpy(copies, arguments, sizeof copies);
    int code = posix_spawn(&w->pid, program, NULL, NULL, copies, environ);
    close(ends[1]);
    w->from = ends[0];
    if (code != 0) {
        close(ends[0]);
    }
    return code == 0;
}

/* False: the end of the stream, or nothing for too long (*late). */
static bool receive(int from, int limit_ms, report *r, bool *late) {
    size_t got = 0;
    *late = false;
    while (got < sizeof *r) {
        struct pollfd wait = {.fd = from, .events = POLLIN};
        /* Asked twice: when everything was stopped for a while, the first answer says nothing about the worker. */
        if (poll(&wait, 1, limit_ms / 2) == 0 && poll(&wait, 1, limit_ms / 2) == 0) {
            *late = true;
            return false;
        }
        ssize_t count = read(from, (char *)r + got, sizeof *r - got);
        if (count <= 0) {
            return false;
        }
        got += (size_t)count;
    }
    return true;
}

static void note_defect(tally *t, const char *kernel, const char *devices, const char *script, const char *text) {
    t->defects++;
    printf("DEFECT %s\n    test_calls_opencl --kernel %s --devices %s --script '%s'\n", text, kernel, devices, script);
    fflush(stdout);
}

/* Follows one worker to its end. Returns the case to go on with; UINT32_MAX: all done; *skip: there is nothing to test here. */
static uint32_t follow(worker *w, const char *kernel, const char *devices, tally *t, bool *skip) {
    report r = {.kind = REPORT_TOTAL}, last = r;
    bool late = false, busy = false;
    while (receive(w->from, !busy ? START_LIMIT_MS : last.index + 1 == t->again ? AGAIN_LIMIT_MS : CASE_LIMIT_MS, &r, &late)) {
        busy = r.kind == REPORT_BEGIN;
        last = r;
        if (r.kind == REPORT_TOTAL) {
            t->total = r.total;
        } else if (r.kind == REPORT_END) {
            t->ran++;
            t->right += r.verdict == RIGHT;
            t->clean += r.verdict == CLEAN;
            t->untouched += r.verdict == UNTOUCHED;
            if (r.verdict == DEFECT) {
                note_defect(t, kernel, devices, r.script, r.text);
            }
        }
    }
    int status = 0;
    if (late) {
        (void)kill(w->pid, SIGKILL);
    }
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(w->from);
    *skip = WIFEXITED(status) && WEXITSTATUS(status) == 77;
    if (busy && late && last.index + 1 != t->again) { /* a crowded machine, perhaps: a hang of the library's hangs again */
        t->again = last.index + 1;
        t->late++;
        return last.index;
    }
    if (busy) {
        char text[64];
        (void)snprintf(text, sizeof text,
                       late                  ? "HANG"
                       : WIFSIGNALED(status) ? "CRASH by signal %d"
                                             : "the process ended with %d",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        t->ran++;
        note_defect(t, kernel, devices, last.script, text);
        return last.index + 1;
    }
    if (!*skip && (late || !WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        note_defect(t, kernel, devices, "", "the worker ended between cases");
    }
    return UINT32_MAX;
}

static int campaign(const char *program, uint64_t seed, bool all, const char *only) {
    tally sum = {0};
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        for (size_t d = 0; d < sizeof device_lists / sizeof *device_lists; d++) {
            tally t = {0};
            bool skip = false;
            struct timespec began, ended;
            if ((only && strcmp(only, kernels[k]) != 0) || !is_tried(kernels[k], d, all)) {
                continue;
            }
            clock_gettime(CLOCK_MONOTONIC, &began);
            for (uint32_t from = 0; from != UINT32_MAX && t.defects < 50;) {
                worker w;
                if (!start_worker(program, kernels[k], device_lists[d], from, seed, all, &w)) {
                    return 1;
                }
                from = follow(&w, kernels[k], device_lists[d], &t, &skip);
            }
            clock_gettime(CLOCK_MONOTONIC, &ended);
            if (skip) {
                printf("%-10s %-18s skipped: no such devices here\n", kernels[k], device_lists[d]);
                continue;
            }
            printf("%-10s %-18s %6u cases, %6u run: %6u right, %6u clean errors, %4u not reached, %u late once, "
                   "%3u DEFECTS; %.1f s\n",
                   kernels[k], device_lists[d], t.total, t.ran, t.right, t.clean, t.untouched, t.late, t.defects,
                   (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec));
            fflush(stdout);
            sum.total += t.total;
            sum.ran += t.ran;
            sum.right += t.right;
            sum.clean += t.clean;
            sum.untouched += t.untouched;
            sum.defects += t.defects;
        }
    }
    printf("seed %llu: %u cases, %u run: %u right, %u clean errors, %u not reached, %u defects\n", (unsigned long long)seed,
           sum.total, sum.ran, sum.right, sum.clean, sum.untouched, sum.defects);
    return sum.ran == 0 ? 77 : sum.defects > 0;
}

int main(int argc, char **argv) {
    const char *kernel = NULL, *devices = NULL, *script = NULL;
    uint64_t seed = 1;
    uint32_t from = 0;
    int to = -1;
    bool all = false;
    if (!getenv("PEL_FAULTS_LAYER")) {
        fprintf(stderr, "PEL_FAULTS_LAYER names libpel-faults.so; ctest sets it\n");
        return 77;
    }
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--all") == 0) {
            all = true;
        } else if (strcmp(argv[i], "--sample") == 0) {
            all = false;
        } else if (more && strcmp(argv[i], "--kernel") == 0) {
            kernel = argv[++i];
        } else if (more && strcmp(argv[i], "--devices") == 0) {
            devices = argv[++i];
        } else if (more && strcmp(argv[i], "--script") == 0) {
            script = argv[++i];
        } else if (more && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (more && (strcmp(argv[i], "--from") == 0 || strcmp(argv[i], "--repeat") == 0)) {
            from = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (more && strcmp(argv[i], "--worker") == 0) {
            to = (int)strtol(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "%s [--all] [--seed N] [--kernel NAME] | --kernel NAME --devices LIST --script TEXT\n", argv[0]);
            return 2;
        }
    }
    return kernel && devices ? work(kernel, devices, from, seed, all, script, to) : campaign(argv[0], seed, all, kernel);
}
