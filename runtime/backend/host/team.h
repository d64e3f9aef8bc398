/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Teams: a thread forks, workers that are awake come, and it joins them; in less time than a task takes to be submitted.
 *
 * A region is announced in one of a few places of the device, which workers look at when they look for work. A place is one word,
 * the gate: whether it is open, and how many may still come. One compare-and-swap is to come and to have a number, one addition
 * on another line is to leave, and whoever opened it shuts the gate and waits until as many have left as came. So what a region
 * needs may lie on its owner's stack, and nobody can come late. The owner never waits for somebody to come: what no worker has
 * begun it does itself. It looks only at the line of those who leave: looking at the gate would take it from who is about to
 * come.
 *
 * So whoever becomes free may come. Where the members are known from the start, static parts for workers that spin, each is
 * called by its own mailbox (mailbox.h), which is two journeys of a line instead of four.
 *
 * Rejected: tasks in deques (three times as dear: a node, a push, a steal, an end, each with a line that changes owner), and a
 * barrier over fixed threads (one that sleeps or runs a task would keep all others waiting).
 */
#ifndef PEL_BACKEND_HOST_TEAM_H
#define PEL_BACKEND_HOST_TEAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEL_HOST_TEAMS = 4, PEL_HOST_TEAM_MOST = 1000 };

/* Members are numbered from 1; the owner is 0. */
typedef void (*pel_host_team_fn)(void *region, uint32_t member);

typedef struct pel_host_team {
    _Alignas(64) atomic_uint gate;
    uint32_t wanted;                             /* how many may come */
    pel_host_team_fn run;
    void *region;
    _Alignas(64) atomic_uint left;               /* two for each that has left, ever; and PEL_HOST_TEAM_SLEEPS */
    _Alignas(64) atomic_bool taken;
    atomic_bool outside;                             /* opened by a thread that is no worker, in the reserve's place */
    unsigned before;                             /* `left` when it was opened */
    uint32_t came;                               /* once it is shut */
    pthread_mutex_t lock;                        /* for an owner that sleeps until all have left */
    pthread_cond_t some_left;
} pel_host_team;

#define PEL_HOST_TEAM_OPEN 0x80000000u
#define PEL_HOST_TEAM_SLEEPS 1u

/* A gate is OPEN and how many may still come; one by which nobody can is 0 or OPEN. */
static inline bool pel_host_team_may_come(const pel_host_team *team) {
    return atomic_load_explicit(&((pel_host_team *)(uintptr_t)team)->gate, memory_order_relaxed) > PEL_HOST_TEAM_OPEN;
}

void pel_host_teams_init(pel_host_team *teams);
void pel_host_teams_destroy(pel_host_team *teams);

/* Announces a region to up to `wanted` > 0 workers. NULL: all places are taken. */
pel_host_team *pel_host_team_open(pel_host_team *teams, uint32_t wanted, bool outside, pel_host_team_fn run, void *region);
/* How many have left so far. What they wrote is seen. */
static inline uint32_t pel_host_team_gone(const pel_host_team *team) {
    const unsigned left = atomic_load_explicit(&((pel_host_team *)(uintptr_t)team)->left, memory_order_acquire);
    return ((left & ~PEL_HOST_TEAM_SLEEPS) - team->before) / 2;
}
/* Nobody comes any more; returns how many came. */
uint32_t pel_host_team_shut(pel_host_team *team);
/* Waits until all have left, looking for up to spin_ns; the place is free for others after that. */
void pel_host_team_join(pel_host_team *team, int64_t spin_ns);

/* Comes, if there is room; 0: there was not. Then call run, then leave. */
uint32_t pel_host_team_come(pel_host_team *team);
void pel_host_team_leave(pel_host_team *team);

#endif
