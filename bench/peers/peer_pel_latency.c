/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of one task at a time: fork and join, submit and wait, submit to sleeping workers. */
#include "futex.h"
#include "peer_pel.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static pel_status half_loop(const pel_range *part, void *context) {
    (void)context;
    for (uint64_t i = part->lo[0]; i < part->hi[0]; i++) {
        workload_half((unsigned)i);
    }
    return PEL_OK;
}

void peer_pel_fork_join(const contestant_run *run) {
    peer_pel p = peer_pel_open("host", 2, NULL);
    const unsigned rounds = run->quick ? 500 : 10000;
    const pel_range range = PEL_RANGE_1D(2);
    pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
    desc.partition = PEL_PARTITION_STATIC;
    for (unsigned s = 0; contestant_more(run, s); s++) {
        unsigned both = 0, lost = 0;
        const double began = workload_now();
        for (unsigned i = 0; i < rounds; i++) {
            peer_pel_must(&p, pel_parallel_for(p.runtime, &range, half_loop, NULL, &desc), "loop");
            lost += !workload_halves_ran();
            both += workload_halves_differ();
        }
        const double ended = workload_now();
        if (s > 0) {
            contestant_fork_join(ended - began, rounds, both, lost);
        }
    }
    peer_pel_close(&p);
}

static pthread_t caller;
static bool by_caller;
static int ran_on;

static pel_status who_task(void *context) {
    (void)context;
    by_caller = pthread_equal(caller, pthread_self());
    ran_on = sched_getcpu();
    return PEL_OK;
}

/* One task, waited for by sleeping (pel_event_wait, which may run it) or by looking until it is complete. */
static double one_task(peer_pel *p, bool look) {
    pel_event *event;
    const double began = workload_now();
    peer_pel_must(p, pel_task(p->queue, who_task, NULL, NULL, 0, NULL, &event), "task");
    if (look) {
        while (pel_event_status(event) == PEL_BUSY) { /* not get_state: see event.h */
            workload_pause();
        }
    }
    const pel_status status = pel_event_wait(event);
    const double spent = workload_now() - began;
    peer_pel_must(p, status, "wait");
    pel_event_release(event);
    return spent;
}

/* Who ran the task decides the cost: figures of one kind only, and only where that kind is at least a tenth. */
static void report_wait(const char *row, const char *why, double *values, unsigned count, unsigned of) {
    if (count * 10 < of) {
        contestant_absent(row, why);
    } else {
        contestant_latencies(row, contestant_name, "ns", values, count);
    }
}

void peer_pel_wait(const contestant_run *run) {
    /* The caller occupies a core: with one worker less than cores, nobody shares one. */
    const unsigned cores = workload_cores(), count = contestant_waits(run);
    peer_pel p = peer_pel_open("host", cores > 1 ? cores - 1 : 1, NULL);
    double *mine = malloc(2 * count * sizeof *mine), *others = mine + count;
    if (!mine) {
        exit(1);
    }
    caller = pthread_self();
    for (unsigned look = 0; look < 2; look++) {
        unsigned by_me = 0, by_others = 0;
        for (unsigned i = 0; i < count + 100; i++) {
            const double spent = one_task(&p, look == 1);
            if (i >= 100) {
                *(by_caller ? &mine[by_me++] : &others[by_others++]) = spent;
            }
        }
        if (look == 0) {
            report_wait("wait, by caller", "a waiting caller does not run the task", mine, by_me, count);
        } else {
            report_wait("wait, by worker", "no worker ran it", others, by_others, count);
        }
    }
    free(mine);
    peer_pel_close(&p);
}

/* Only wake-ups of another core: those on the caller's are of another kind, and the kernel chooses. */
static void report_wake(const char *subject, double *values, unsigned count, unsigned of) {
    if (count * 10 < of) {
        contestant_void("wake", subject, "the woken thread ran on the caller's core");
    } else {
        contestant_latencies("wake", subject, "us", values, count);
    }
}

void peer_pel_wake(const contestant_run *run) {
    enum { MOST = 400 };
    const unsigned cores = workload_cores(), count = run->quick ? 20 : MOST;
    double asleep[MOST], waited[MOST], raw[MOST];
    unsigned kept = 0, raw_kept = 0;
    peer_pel p = peer_pel_open("host", cores > 1 ? cores - 1 : 1, NULL);
    caller = pthread_self();
    if (!futex_sleeper_start()) {
        exit(1);
    }
    for (unsigned i = 0; i < count; i++) {
        bool other_core;
        workload_busy(1e6);
        raw[raw_kept] = futex_sleeper_call(&other_core);
        raw_kept += other_core;
        workload_busy(1e6);
        asleep[kept] = one_task(&p, true);
        kept += !by_caller && ran_on != sched_getcpu();
        workload_busy(1e6);
        waited[i] = one_task(&p, false);
    }
    futex_sleeper_stop();
    report_wake("raw", raw, raw_kept, count);
    report_wake(contestant_name, asleep, kept, count);
    contestant_latencies("wake or run", contestant_name, "us", waited, count);
    peer_pel_close(&p);
}
