/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Teams: a thread forks, workers that are awake come, and it joins them; in less time than a task takes to be submitted.
 *
 * A region is announced in one of a few places of the device, which workers look at when they look for work. A place is one word,
 * the gate: whether it is open, how many may still come, how many are inside. One compare-and-swap is to come and to have a
 * number, one subtraction to leave, and whoever opened it shuts the gate and waits until nobody is inside. So what a region needs
 * may lie on its owner's stack, and nobody can come late. The owner never waits for somebody to come: what no worker has begun it
 * does itself.
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

typedef struct pel_host_team {
    _Alignas(64) atomic_uint gate;
    uint32_t wanted;                             /* how many may come */
    void (*run)(void *region, uint32_t member);  /* members are numbered from 1; the owner is 0 */
    void *region;
    _Alignas(64) atomic_bool taken;
    atomic_bool outside;                             /* opened by a thread that is no worker, in the reserve's place */
    pthread_mutex_t lock;                        /* for an owner that sleeps until all have left */
    pthread_cond_t left;
} pel_host_team;

#define PEL_HOST_TEAM_OPEN 0x80000000u
#define PEL_HOST_TEAM_SLEEPS 0x40000000u
#define PEL_HOST_TEAM_ROOM 0x400u /* one of those who may still come; below it, those who are inside */

static inline bool pel_host_team_may_come(const pel_host_team *team) {
    const unsigned gate = atomic_load_explicit(&((pel_host_team *)(uintptr_t)team)->gate, memory_order_relaxed);
    return (gate & PEL_HOST_TEAM_OPEN) != 0 && (gate & ~PEL_HOST_TEAM_OPEN) >= PEL_HOST_TEAM_ROOM;
}

void pel_host_teams_init(pel_host_team *teams);
void pel_host_teams_destroy(pel_host_team *teams);

/* Announces a region to up to `wanted` > 0 workers. NULL: all places are taken. */
pel_host_team *pel_host_team_open(pel_host_team *teams, uint32_t wanted, bool outside, void (*run)(void *region, uint32_t member),
                                  void *region);
/* How many have come so far. */
static inline uint32_t pel_host_team_came(const pel_host_team *team) {
    const unsigned gate = atomic_load_explicit(&((pel_host_team *)(uintptr_t)team)->gate, memory_order_relaxed);
    return team->wanted - (gate & ~(PEL_HOST_TEAM_OPEN | PEL_HOST_TEAM_SLEEPS)) / PEL_HOST_TEAM_ROOM;
}
/* Nobody comes any more; returns how many came. */
uint32_t pel_host_team_shut(pel_host_team *team);
/* Waits until all have left, looking for up to spin_ns; the place is free for others after that. */
void pel_host_team_join(pel_host_team *team, int64_t spin_ns);

/* Comes, if there is room; 0: there was not. Then call run, then leave. */
uint32_t pel_host_team_come(pel_host_team *team);
void pel_host_team_leave(pel_host_team *team);

#endif
