/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/team.h"
#include "base/thread_local.h"

#include "backend/host/host.h"

enum { LOOKS_PER_CLOCK = 64 };

static PEL_THREAD_LOCAL uint32_t preferred; /* its lines are likely to be here still */

void pel_host_teams_init(pel_host_team *teams) {
    for (int i = 0; i < PEL_HOST_TEAMS; i++) {
        pthread_mutex_init(&teams[i].lock, NULL); /* default attributes: these cannot fail on Linux */
        pthread_cond_init(&teams[i].left, NULL);
    }
}

void pel_host_teams_destroy(pel_host_team *teams) {
    for (int i = 0; i < PEL_HOST_TEAMS; i++) {
        pthread_mutex_destroy(&teams[i].lock);
        pthread_cond_destroy(&teams[i].left);
    }
}

pel_host_team *pel_host_team_open(pel_host_team *teams, uint32_t wanted, bool outside, void (*run)(void *region, uint32_t member),
                                  void *region) {
    for (uint32_t i = 0; i < PEL_HOST_TEAMS; i++) {
        pel_host_team *team = &teams[(preferred + i) % PEL_HOST_TEAMS];
        if (atomic_load_explicit(&team->taken, memory_order_relaxed) ||
            atomic_exchange_explicit(&team->taken, true, memory_order_acquire)) {
            continue;
        }
        preferred = (preferred + i) % PEL_HOST_TEAMS;
        atomic_store_explicit(&team->outside, outside, memory_order_relaxed);
        team->wanted = wanted;
        team->run = run;
        team->region = region;
        atomic_store_explicit(&team->gate, PEL_HOST_TEAM_OPEN | wanted * PEL_HOST_TEAM_ROOM, memory_order_release);
        return team;
    }
    return NULL;
}

uint32_t pel_host_team_shut(pel_host_team *team) {
    atomic_fetch_and_explicit(&team->gate, ~PEL_HOST_TEAM_OPEN, memory_order_acq_rel);
    return pel_host_team_came(team);
}

static unsigned inside(const pel_host_team *team) {
    return atomic_load_explicit(&((pel_host_team *)(uintptr_t)team)->gate, memory_order_acquire) % PEL_HOST_TEAM_ROOM;
}

static void sleep_until_left(pel_host_team *team) {
    pthread_mutex_lock(&team->lock);
    if (atomic_fetch_or_explicit(&team->gate, PEL_HOST_TEAM_SLEEPS, memory_order_acq_rel) % PEL_HOST_TEAM_ROOM != 0) {
        while (inside(team) != 0) {
            pthread_cond_wait(&team->left, &team->lock);
        }
    }
    pthread_mutex_unlock(&team->lock);
}

void pel_host_team_join(pel_host_team *team, int64_t spin_ns) {
    int64_t until = 0;
    for (unsigned look = 1; inside(team) != 0; look++) {
        pel_host_pause_once();
        if (look % LOOKS_PER_CLOCK == 0) {
            const int64_t now = pel_clock_now(&pel_clock_monotonic);
            until = until == 0 ? now + spin_ns : until;
            if (now >= until) {
                sleep_until_left(team);
            }
        }
    }
    atomic_store_explicit(&team->taken, false, memory_order_release);
}

uint32_t pel_host_team_come(pel_host_team *team) {
    unsigned gate = atomic_load_explicit(&team->gate, memory_order_relaxed);
    do {
        if ((gate & PEL_HOST_TEAM_OPEN) == 0 || (gate & ~PEL_HOST_TEAM_OPEN) < PEL_HOST_TEAM_ROOM) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(&team->gate, &gate, gate - PEL_HOST_TEAM_ROOM + 1, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return team->wanted + 1 - (gate & ~PEL_HOST_TEAM_OPEN) / PEL_HOST_TEAM_ROOM;
}

/* The owner may be gone once nobody is inside; the place is not, as long as the device is there. */
void pel_host_team_leave(pel_host_team *team) {
    const unsigned gate = atomic_fetch_sub_explicit(&team->gate, 1, memory_order_acq_rel);
    if ((gate & PEL_HOST_TEAM_SLEEPS) != 0 && gate % PEL_HOST_TEAM_ROOM == 1) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_broadcast(&team->left);
        pthread_mutex_unlock(&team->lock);
    }
}
