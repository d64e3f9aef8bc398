/* SPDX-License-Identifier: BSD-3-Clause */
#include "contest.h"
#include "contest_figures.h"
#include "peers/workload.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Quick rounds are tests: they judge no figure, and wait for a machine that others use. */
enum { PROGRAMS = 16, LINE = 512, ROUNDS = 3, QUICK_ROUNDS = 1, SECONDS = 90, QUICK_SECONDS = 300, TRIES = 3 };

/*
 * A virtual machine that does not get its cores measures its neighbours: with 5 % of two cores taken away, the tiled Cholesky
 * lost 10 to 50 %. Such a turn is taken again, for PATIENCE nanoseconds a row at most.
 */
#define STOLEN_AT_MOST 0.02
#define PATIENCE 10e9

/* What contestants are asked for; a contestant answers with any number of rows, or none. */
static const char *const asked[] = {"tasks", "memory", "ranges", "chain", "wavefront", "fork-join", "wait",
                                    "wake", "launch", "small", "idle", "triad", "cholesky"};

typedef struct runner {
    const pel_contest *contest;
    char folder[1024], work[32];
    const char *programs[PROGRAMS];
    unsigned count;
    double repeated; /* nanoseconds that this row's repetitions took */
    double stolen;   /* the largest share of the cores' time that a turn whose figures count did not get */
} runner;

/* Contestants lie beside the running program. */
static bool find_folder(runner *r) {
    const ssize_t length = readlink("/proc/self/exe", r->folder, sizeof r->folder - 1);
    if (length <= 0) {
        return false;
    }
    r->folder[length] = '\0';
    char *slash = strrchr(r->folder, '/');
    if (slash) {
        *slash = '\0';
    }
    return slash != NULL;
}

static void program_path(const runner *r, const char *program, char *path, size_t size) {
    snprintf(path, size, "%s/%s", r->folder, program);
}

static bool find_programs(runner *r) {
    for (size_t i = 0; r->contest->programs[i] && r->count < PROGRAMS; i++) {
        char path[1200];
        program_path(r, r->contest->programs[i], path, sizeof path);
        if (access(path, X_OK) == 0) {
            r->programs[r->count++] = r->contest->programs[i];
        } else {
            pel_results_skip(r->contest->results, r->contest->programs[i], "not built here");
        }
    }
    return r->count > 0;
}

static pid_t start(const runner *r, const char *program, const char *row, int *output) {
    char path[1200];
    const pel_results *results = r->contest->results;
    const char *arguments[8] = {program, row, "--work", r->work};
    int ends[2], count = 4;
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    if (results->quick) {
        arguments[count++] = "--quick";
    }
    if (results->full) {
        arguments[count++] = "--full";
    }
    program_path(r, program, path, sizeof path);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    if (posix_spawn_file_actions_init(&actions) == 0) {
        if (posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) != 0 ||
            posix_spawn(&child, path, &actions, NULL, (char *const *)(uintptr_t)arguments, environ) != 0) {
            child = -1;
        }
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
    }
    *output = ends[0];
    return child;
}

/* Hands each line to the figures. False when the contestant was still talking at the deadline. */
static bool listen_to(figures *all, int output, double deadline) {
    char text[LINE];
    size_t held = 0;
    for (;;) {
        const double left = (deadline - workload_now()) * 1e-6;
        struct pollfd ready = {output, POLLIN, 0};
        if (left <= 0.0 || poll(&ready, 1, (int)left + 1) == 0) {
            return false;
        }
        const ssize_t got = read(output, text + held, sizeof text - 1 - held);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return true;
        }
        held += (size_t)got;
        text[held] = '\0';
        char *begin = text;
        for (char *end; (end = strchr(begin, '\n')); begin = end + 1) {
            *end = '\0';
            figures_read(all, begin);
        }
        held -= (size_t)(begin - text);
        memmove(text, begin, held);
        if (held == sizeof text - 1) {
            held = 0; /* no line of ours is that long */
        }
    }
}

static void talk(const runner *r, figures *turn, unsigned program, const char *row) {
    int output, status = 0;
    const char *name = r->programs[program];
    char why[96] = "";
    const pid_t child = start(r, name, row, &output);
    if (child < 0) {
        figures_wrong(turn, row, name, "it could not be started");
        return;
    }
    const double seconds = r->contest->results->quick ? QUICK_SECONDS : SECONDS;
    if (!listen_to(turn, output, workload_now() + seconds * 1e9)) {
        kill(child, SIGKILL);
        snprintf(why, sizeof why, "it took longer than %g s", seconds);
    }
    close(output);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!*why && WIFSIGNALED(status)) {
        snprintf(why, sizeof why, "it died of signal %d", WTERMSIG(status));
    } else if (!*why && WEXITSTATUS(status) != 0) {
        snprintf(why, sizeof why, "it ended with status %d", WEXITSTATUS(status));
    }
    if (*why) {
        figures_wrong(turn, row, name, why);
    }
}

/* Nanoseconds, over all cores, in which the hypervisor ran somebody else. 0 where the system does not say. */
static double stolen_so_far(void) {
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (file) {
        if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks) != 1) {
            ticks = 0;
        }
        fclose(file);
    }
    return (double)ticks * 1e9 / (double)sysconf(_SC_CLK_TCK);
}

/* Of up to TRIES turns, the one from which the least was taken away. */
static void one_turn(runner *r, figures *all, unsigned program, const char *row) {
    figures *turns = calloc(2, sizeof *turns), *best = &turns[0], *turn = &turns[1];
    double least = INFINITY; /* the clock of stolen time ticks every 10 ms: the share of a short turn may be far above 1 */
    if (!turns) {
        figures_wrong(all, row, r->programs[program], "no memory");
        return;
    }
    for (unsigned i = 0; i < TRIES; i++) {
        const double began = workload_now(), before = stolen_so_far();
        turn->count = 0;
        memset(turn->list, 0, sizeof turn->list);
        talk(r, turn, program, row);
        const double spent = workload_now() - began, share = fmin((stolen_so_far() - before) / spent / workload_cores(), 1.0);
        r->repeated += i > 0 ? spent : 0.0;
        if (share < least) {
            figures *other = best;
            best = turn;
            turn = other;
            least = share;
        }
        if (least <= STOLEN_AT_MOST || r->contest->results->quick || r->repeated > PATIENCE) {
            break;
        }
    }
    r->stolen = least > r->stolen ? least : r->stolen;
    figures_merge(all, best);
    free(turns);
}

static void one_row(runner *r, figures *all, const char *row) {
    const pel_results *results = r->contest->results;
    const unsigned rounds = results->quick ? QUICK_ROUNDS : strcmp(row, "cholesky") == 0 ? ROUNDS - 1 : ROUNDS; /* the longest */
    const size_t before = all->count;
    r->repeated = 0.0;
    if (!pel_results_wants(results, row)) {
        return;
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < r->count; i++) {
            one_turn(r, all, round % 2 ? r->count - 1 - i : i, row);
        }
    }
    figures_report(all, before, r->contest->results, r->contest->table);
}

bool pel_contest_run(const pel_contest *contest) {
    runner r = {.contest = contest};
    figures *all = calloc(1, sizeof *all);
    if (!all || !find_folder(&r) || !find_programs(&r)) {
        fprintf(stderr, "bench %s: no contestant can be run\n", contest->results->bench);
        free(all);
        return false;
    }
    /* One thread for each tile operation: tasks are what runs at once. */
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    (void)setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    snprintf(r.work, sizeof r.work, "%llu", (unsigned long long)workload_calibrate(1000.0));
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        one_row(&r, all, asked[i]);
    }
    if (r.stolen > 0.0) {
        pel_results_add_one(contest->results, "machine", "stolen", "%", r.stolen * 100.0, 1, NULL);
    }
    if (contest->table) {
        figures_table(all);
    }
    free(all);
    return true;
}
