/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starvation, told from a hang.
 *
 * A chunk that computes on a crowded core may take twenty times what it should; it does not hang. The kernel knows the
 * difference: for each thread it counts how long it ran and how long it waited for a core although it could run
 * (/proc/self/task/N/schedstat, everywhere but in odd kernels; throttling by a cgroup's quota is in it). Which thread computes a
 * chunk is the driver's secret, so the one that fared worst speaks for all: a deadline may come late for that, never early. What
 * a hypervisor takes is in none of these figures; /proc/stat has it for the machine as a whole. The watchdog looks only while a
 * chunk is old (isolate.c), so usual launches do not pay for this. Rejected: the process's CPU time instead of the clock's; a
 * driver that waits for a device uses none.
 */
#include "resilience/starvation.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool read_thread(const char *root, const char *name, pel_starved_thread *thread) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/proc/self/task/%s/schedstat", root, name);
    FILE *file = fopen(path, "re");
    if (!file) {
        return false; /* it has just ended */
    }
    thread->id = strtoll(name, NULL, 10);
    const bool whole = fscanf(file, "%" SCNu64 " %" SCNu64, &thread->ran_ns, &thread->waited_ns) == 2;
    (void)fclose(file);
    return whole;
}

static uint32_t read_threads(const char *root, pel_starved_thread *threads) {
    char path[512];
    uint32_t count = 0;
    (void)snprintf(path, sizeof path, "%s/proc/self/task", root);
    DIR *folder = opendir(path);
    for (const struct dirent *entry; folder && count < PEL_STARVATION_THREADS && (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.' && read_thread(root, entry->d_name, &threads[count]) ? 1u : 0u;
    }
    if (folder) {
        (void)closedir(folder);
    }
    return count;
}

/* Ticks in which the cores did something or were taken away, and the latter alone. */
static void read_machine(const char *root, uint64_t *busy, uint64_t *stolen) {
    uint64_t user = 0, nice = 0, kernel = 0, idle = 0, waiting = 0, hard = 0, soft = 0;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/proc/stat", root);
    FILE *file = fopen(path, "re");
    *busy = *stolen = 0;
    if (file) {
        if (fscanf(file, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                   &user, &nice, &kernel, &idle, &waiting, &hard, &soft, stolen) == 8) {
            *busy = user + nice + kernel + hard + soft + *stolen;
        } else {
            *stolen = 0;
        }
        (void)fclose(file);
    }
}

static const pel_starved_thread *earlier(const pel_starvation *starvation, uint32_t at, int64_t id) {
    if (at < starvation->count && starvation->threads[at].id == id) { /* the usual: none came or went before it */
        return &starvation->threads[at];
    }
    for (uint32_t i = 0; i < starvation->count; i++) {
        if (starvation->threads[i].id == id) {
            return &starvation->threads[i];
        }
    }
    return NULL;
}

int64_t pel_starvation_look(pel_starvation *starvation, const char *root, int64_t now) {
    pel_starvation fresh = {.at = now};
    uint64_t worst = 0, ran = 0;
    fresh.count = read_threads(root, fresh.threads);
    read_machine(root, &fresh.busy, &fresh.stolen);
    for (uint32_t i = 0; i < fresh.count; i++) {
        const pel_starved_thread *thread = &fresh.threads[i], *before = earlier(starvation, i, thread->id);
        if (before && (thread->waited_ns < before->waited_ns || thread->ran_ns < before->ran_ns)) {
            before = NULL; /* another one, that was given the same id */
        }
        const uint64_t waited = thread->waited_ns - (before ? before->waited_ns : 0),
                       did = thread->ran_ns - (before ? before->ran_ns : 0);
        worst = waited > worst && (before || starvation->at != 0) ? waited : worst;
        ran = did > ran ? did : ran;
    }
    const int64_t passed = starvation->at != 0 ? now - starvation->at : 0;
    double lost = (double)worst;
    if (fresh.busy > starvation->busy && fresh.stolen > starvation->stolen &&
        (double)ran > (double)passed / 20) { /* of one that waits for a device nothing is stolen */
        lost += (double)passed * (double)(fresh.stolen - starvation->stolen) / (double)(fresh.busy - starvation->busy);
    }
    *starvation = fresh;
    /* one that could not be seen the last time tells of its whole life */
    return passed <= 0 ? 0 : lost < (double)passed ? (int64_t)lost : passed;
}
