/* SPDX-License-Identifier: BSD-3-Clause */
#include "coexec_hand.h"
#include "cli/bench_measure.h"
#include "cli/bench_raw.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <stdio.h>

typedef struct side {
    pel_hand *hand;
    const pel_device *device;
    pel_bench_raw *raw; /* NULL: the host variant */
    pthread_t thread;
    sem_t go;
    bool started, good;
    uint64_t lo, hi; /* lo > hi: end */
    pel_hand_part part;
} side;

struct pel_hand {
    pel_case *c;
    uint32_t split;
    uint64_t grain, extent; /* along the split dimension */
    sem_t done;
    side sides[2];
};

static bool run_host(side *me) {
    const pel_case *c = me->hand->c;
    const uint32_t s = me->hand->split;
    pel_span span = {.dims = s + 1, .split = s};
    void *arguments[PEL_CASE_ARGS];
    for (uint32_t d = 0; d <= s; d++) {
        span.global[d] = span.hi[d] = c->global[d];
        span.local[d] = c->local[d] ? c->local[d] : 1;
        span.group_hi[d] = c->global[d] / span.local[d];
    }
    span.lo[s] = me->lo;
    span.hi[s] = me->hi;
    span.group_lo[s] = me->lo / span.local[s];
    span.group_hi[s] = me->hi / span.local[s];
    for (uint32_t i = 0; i < c->arg_count; i++) {
        pel_case_arg *arg = &me->hand->c->args[i];
        arguments[i] = arg->kind == PEL_CASE_ARRAY ? c->arrays[arg->array].data : arg->kind == PEL_CASE_VALUE ? arg->value : NULL;
    }
    return c->kernel->host(&span, arguments, NULL, NULL) == PEL_OK;
}

static void *work(void *context) {
    side *me = (side *)context;
    for (;;) {
        sem_wait(&me->go);
        if (me->lo > me->hi) {
            return NULL;
        }
        me->part.began = pel_bench_now();
        me->good = me->raw ? pel_bench_raw_run_part(me->raw, me->lo, me->hi) : run_host(me);
        me->part.ended = pel_bench_now();
        sem_post(&me->hand->done);
    }
}

static bool start(side *me) {
    const pel_core_set *cores = &pel_device_get_info(me->device)->cores;
    pthread_attr_t attributes;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t core = 0; core < PEL_CORE_LIMIT && core < CPU_SETSIZE; core++) {
        if (cores->bits[core / 64] >> (core % 64) & 1) {
            CPU_SET(core, &set);
        }
    }
    sem_init(&me->go, 0, 0);
    pthread_attr_init(&attributes);
    me->started = pthread_attr_setaffinity_np(&attributes, sizeof set, &set) == 0 &&
                  pthread_create(&me->thread, &attributes, work, me) == 0;
    pthread_attr_destroy(&attributes);
    return me->started;
}

pel_hand *pel_hand_open(const pel_device *first, const pel_device *second, pel_case *c, char why[128]) {
    const pel_device *devices[] = {first, second};
    pel_hand *hand = calloc(1, sizeof *hand);
    if (!hand || c->kernel->fold) {
        snprintf(why, 128, "%s", hand ? "its parts are merged after the launch" : "no memory");
        free(hand);
        return NULL;
    }
    hand->c = c;
    hand->split = c->global[1] == 0 ? 0 : c->global[2] == 0 ? 1 : 2;
    hand->grain = c->local[hand->split] > 1 ? c->local[hand->split] : hand->split > 0 ? 1 : 64;
    hand->extent = c->global[hand->split];
    sem_init(&hand->done, 0, 0);
    for (int i = 0; i < 2; i++) {
        side *me = &hand->sides[i];
        me->hand = hand;
        me->device = devices[i];
        bool good = pel_device_get_info(devices[i])->kind == PEL_DEVICE_HOST ||
                    pel_bench_raw_open(devices[i], c, &me->raw, why) == PEL_OK;
        if (!good || !start(me)) {
            pel_hand_close(hand);
            return NULL;
        }
    }
    return hand;
}

void pel_hand_close(pel_hand *hand) {
    for (int i = 0; hand && i < 2; i++) {
        side *me = &hand->sides[i];
        if (me->started) {
            me->lo = 1;
            me->hi = 0;
            sem_post(&me->go);
            pthread_join(me->thread, NULL);
        }
        pel_bench_raw_close(me->raw);
    }
    free(hand);
}

bool pel_hand_run(pel_hand *hand, double share, pel_hand_part parts[2]) {
    const uint64_t groups = hand->extent / hand->grain;
    const uint64_t cut = (uint64_t)(share * (double)groups + 0.5) * hand->grain;
    const uint64_t bounds[] = {0, cut < hand->extent && groups > 0 ? cut : hand->extent, hand->extent};
    uint32_t running = 0;
    bool good = true;
    for (int i = 0; i < 2; i++) {
        side *me = &hand->sides[i];
        me->lo = bounds[i];
        me->hi = bounds[i + 1];
        me->part = (pel_hand_part){0.0, 0.0};
        me->good = true;
        if (me->hi > me->lo) {
            sem_post(&me->go);
            running++;
        }
    }
    while (running-- > 0) {
        sem_wait(&hand->done);
    }
    for (int i = 0; i < 2; i++) {
        parts[i] = hand->sides[i].part;
        good = good && hand->sides[i].good;
    }
    return good;
}

double pel_hand_grain(const pel_hand *hand) {
    return (double)hand->grain / (double)hand->extent;
}
