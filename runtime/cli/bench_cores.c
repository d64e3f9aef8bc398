/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_cores.h"
#include "cli/bench_measure.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>

#define ALONE_NS 5e6

typedef enum load { LATENCY, THROUGHPUT, LOADS } load;

typedef struct side {
    pel_bench_cores *all;
    pthread_t thread;
    sem_t go;
    unsigned core;
    load kind;
    uint64_t steps; /* 0: end */
    double result;
} side;

struct pel_bench_cores {
    side sides[2];
    uint32_t started;
    sem_t done;
    uint64_t steps[LOADS]; /* of ALONE_NS on one core */
};

/* A chain of multiplications: its time is its length, whatever else the core could do beside it. */
static double arithmetic(uint64_t steps) {
    double x = 1.0;
    for (uint64_t i = 0; i < steps; i++) {
        x = x * 1.0000001 + 1e-9;
    }
    return x;
}

/* Independent divisions: the divider is busy without a pause, and two threads on one core have one divider. */
static double divisions(uint64_t steps) {
    double x[8], sum = 0.0;
    for (int k = 0; k < 8; k++) {
        x[k] = 1.5 + k;
    }
    for (uint64_t i = 0; i < steps; i++) {
        for (int k = 0; k < 8; k++) {
            x[k] = 2.0 / (x[k] + 0.5);
        }
    }
    for (int k = 0; k < 8; k++) {
        sum += x[k];
    }
    return sum;
}

static void *run_side(void *context) {
    side *me = (side *)context;
    for (;;) {
        sem_wait(&me->go);
        if (me->steps == 0) {
            return NULL;
        }
        me->result += me->kind == LATENCY ? arithmetic(me->steps) : divisions(me->steps);
        sem_post(&me->all->done);
    }
}

static bool start_side(pel_bench_cores *cores, side *me) {
    pthread_attr_t attributes;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(me->core, &set);
    me->all = cores;
    sem_init(&me->go, 0, 0);
    pthread_attr_init(&attributes);
    const bool started = pthread_attr_setaffinity_np(&attributes, sizeof set, &set) == 0 &&
                         pthread_create(&me->thread, &attributes, run_side, me) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

static double run(pel_bench_cores *cores, load kind, uint64_t first, uint64_t second) {
    const uint64_t steps[] = {first, second};
    const double begin = pel_bench_now();
    for (uint32_t i = 0; i < 2; i++) {
        if (steps[i] > 0) {
            cores->sides[i].kind = kind;
            cores->sides[i].steps = steps[i];
            sem_post(&cores->sides[i].go);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (steps[i] > 0) {
            sem_wait(&cores->done);
        }
    }
    return pel_bench_now() - begin;
}

pel_bench_cores *pel_bench_cores_open(unsigned first, unsigned second) {
    pel_bench_cores *cores = calloc(1, sizeof *cores);
    const unsigned wanted[] = {first, second};
    if (!cores || first >= CPU_SETSIZE || second >= CPU_SETSIZE) {
        free(cores);
        return NULL;
    }
    sem_init(&cores->done, 0, 0);
    for (; cores->started < 2; cores->started++) {
        cores->sides[cores->started].core = wanted[cores->started];
        if (!start_side(cores, &cores->sides[cores->started])) {
            pel_bench_cores_close(cores);
            return NULL;
        }
    }
    for (load kind = 0; kind < LOADS; kind++) {
        const uint64_t probe = 200000;
        double fastest = run(cores, kind, probe, 0);
        for (int i = 0; i < 4; i++) {
            const double again = run(cores, kind, probe, 0);
            fastest = again < fastest ? again : fastest;
        }
        cores->steps[kind] = (uint64_t)((double)probe * ALONE_NS / (fastest > 1.0 ? fastest : 1.0));
    }
    return cores;
}

void pel_bench_cores_close(pel_bench_cores *cores) {
    for (uint32_t i = 0; cores && i < cores->started; i++) {
        cores->sides[i].steps = 0;
        sem_post(&cores->sides[i].go);
        pthread_join(cores->sides[i].thread, NULL);
    }
    free(cores);
}

double pel_bench_cores_efficiency(pel_bench_cores *cores) {
    double least = 2.0;
    for (load kind = 0; kind < LOADS; kind++) {
        const uint64_t steps = cores->steps[kind];
        const double first = run(cores, kind, steps, 0), second = run(cores, kind, 0, steps);
        const double together = run(cores, kind, steps / 2, steps - steps / 2);
        const double reached = 1.0 / (together * (1.0 / first + 1.0 / second));
        least = reached < least ? reached : least;
    }
    return least;
}
