/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_cores.h"
#include "cli/bench_measure.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>

#define ALONE_NS 12e6

typedef struct side {
    pel_bench_cores *all;
    pthread_t thread;
    sem_t go;
    unsigned core;
    uint64_t steps; /* 0: end */
    double result;
} side;

struct pel_bench_cores {
    side sides[2];
    uint32_t started;
    sem_t done;
    uint64_t steps; /* of ALONE_NS on one core */
};

/* A chain of multiplications: its time is its length, whatever else the core could do beside it. */
static double arithmetic(uint64_t steps) {
    double x = 1.0;
    for (uint64_t i = 0; i < steps; i++) {
        x = x * 1.0000001 + 1e-9;
    }
    return x;
}

static void *run_side(void *context) {
    side *me = (side *)context;
    for (;;) {
        sem_wait(&me->go);
        if (me->steps == 0) {
            return NULL;
        }
        me->result += arithmetic(me->steps);
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

static double run(pel_bench_cores *cores, uint64_t first, uint64_t second) {
    const uint64_t steps[] = {first, second};
    const double begin = pel_bench_now();
    for (uint32_t i = 0; i < 2; i++) {
        if (steps[i] > 0) {
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
    const uint64_t probe = 1000000;
    double fastest = run(cores, probe, 0);
    for (int i = 0; i < 4; i++) {
        const double again = run(cores, probe, 0);
        fastest = again < fastest ? again : fastest;
    }
    cores->steps = (uint64_t)((double)probe * ALONE_NS / (fastest > 1.0 ? fastest : 1.0));
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
    const double first = run(cores, cores->steps, 0), second = run(cores, 0, cores->steps);
    const double together = run(cores, cores->steps / 2, cores->steps - cores->steps / 2);
    return 1.0 / (together * (1.0 / first + 1.0 / second));
}
