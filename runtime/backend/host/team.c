/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/team.h"
#include "base/thread_local.h"

#include "backend/host/host.h"

enum { LOOKS_PER_CLOCK = 64 };

static PEL_THREAD_LOCAL uint32_t preferred; /* its lines are likely to be here still */

void pel_host_teams_init(pel_host_team *teams) {
    for (int i = 0; i < PEL_HOST_TEAMS; i++) {
        pthread_mutex_init(&teams[i].lock, NULL); /* default attributes: these cannot fail on Linux */
        pthread_cond_init(&teams[i].some_left, NULL);
    }
}

void pel_host_teams_destroy(pel_host_team *teams) {
    for (int i = 0; i < PEL_HOST_TEAMS; i++) {
        pthread_mutex_destroy(&teams[i].lock);
        pthread_cond_destroy(&teams[i].some_left);
    }
}

pel_host_team *pel_host_team_open(pel_host_team *teams, uint32_t wanted, bool outside, pel_host_team_fn run, void *region) {
    for (uint32_t i = 0; i < PEL_HOST_TEAMS; i++) {
        pel_host_team *team = &teams[(preferred + i) % PEL_HOST_TEAMS];
        if (atomic_load_explicit(&team->taken, memory_order_relaxed) ||
            atomic_exchange_explicit(&team->taken, true, memory_order_acquire)) {
            continue;
        }
        preferred = (preferred + i) % PEL_HOST_TEAMS;
        atomic_store_explicit(&team->outside, outside, memory_order_relaxed);
        team->wanted = wanted;
        team->before = atomic_load_explicit(&team->left, memory_order_relaxed);
        team->run = run;
        team->region = region;
        atomic_store_explicit(&team->gate, PEL_HOST_TEAM_OPEN | wanted, memory_order_release);
        return team;
    }
    return NULL;
}

/* Where all have left already there is nothing to shut. */
uint32_t pel_host_team_shut(pel_host_team *team) {
    team->came = team->wanted;
    if (pel_host_team_gone(team) < team->wanted) {
        team->came -= atomic_exchange_explicit(&team->gate, 0, memory_order_acq_rel) & ~PEL_HOST_TEAM_OPEN;
    }
    return team->came;
}

static void sleep_until_left(pel_host_team *team) {
    pthread_mutex_lock(&team->lock);
    atomic_fetch_or_explicit(&team->left, PEL_HOST_TEAM_SLEEPS, memory_order_acq_rel);
    while (pel_host_team_gone(team) < team->came) {
        pthread_cond_wait(&team->some_left, &team->lock);
    }
    atomic_fetch_and_explicit(&team->left, ~PEL_HOST_TEAM_SLEEPS, memory_order_relaxed);
    pthread_mutex_unlock(&team->lock);
}

void pel_host_team_join(pel_host_team *team, int64_t spin_ns) {
    int64_t until = 0;
    for (unsigned look = 1; pel_host_team_gone(team) < team->came; look++) {
        pel_pause();
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
        if (gate <= PEL_HOST_TEAM_OPEN) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(&team->gate, &gate, gate - 1, memory_order_acq_rel, memory_order_relaxed));
    return team->wanted + 1 - (gate & ~PEL_HOST_TEAM_OPEN);
}

/* The owner may be gone once it is counted; the place is not, as long as the device is there. */
void pel_host_team_leave(pel_host_team *team) {
    if ((atomic_fetch_add_explicit(&team->left, 2, memory_order_acq_rel) & PEL_HOST_TEAM_SLEEPS) != 0) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_broadcast(&team->some_left);
        pthread_mutex_unlock(&team->lock);
    }
}
