/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No false alarm: real isolated launches under the watchdog, on the host and OpenCL, without any fault. A sample in ctest; an
 * hour of it is a part of tests/fault/campaign.
 *
 * --seconds N [--seed S]: for so long. From 60 s on others torment the process: it is stopped and continued at random moments,
 * for up to 8 s, and busy loops take its cores for a third of the time. Costs of launches follow the data (1 to 10 of what is
 * usual), which no model foretells. Every result must be right at once: no device may be accused, no chunk be run again.
 */
#include "support/random.h"
#include "support/update.h"

#include <errno.h>
#include <inttypes.h>
#include <pel/pel.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 65536, LIVES = 20 };

static const char source[] =
    "kernel void update(uint rounds, global const uint *x, global uint *y) { size_t i = get_global_id(0);\n"
    "    uint v = y[i] ^ x[i]; for (uint k = 0; k < rounds; k++) v = v * 1664525u + 1013904223u; y[i] = v; }\n";

static uint32_t churned(uint32_t v, uint32_t rounds) {
    for (uint32_t k = 0; k < rounds; k++) {
        v = v * 1664525u + 1013904223u;
    }
    return v;
}

static pel_status churn(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *rounds = arguments[0], *x = arguments[1];
    uint32_t *y = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = churned(y[i] ^ x[i], *rounds);
    }
    return PEL_OK;
}

static atomic_uint alarms;

static void heed(void *user, pel_log_level level, const char *message) {
    (void)user, (void)level;
    if (strstr(message, "did not end") != NULL) {
        atomic_fetch_add(&alarms, 1);
        fprintf(stderr, "%s\n", message);
    }
}

static bool begin(update_scene *l, const char *devices) {
    static const pel_param params[] = {PEL_PARAM_VALUE(uint32_t), UPDATE_PARAMS};
    static const update_variant variant = {source, params, 3, churn};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.history = "off";
    desc.log = heed;
    desc.log_level = PEL_LOG_WARNING;
    const bool well = update_begin(l, &desc, &variant, N, &error) == PEL_OK;
    if (!well) {
        fprintf(stderr, "%s: %s\n", devices, pel_error_story(error));
    }
    pel_error_destroy(error);
    return well;
}

/* Every device as well as on its first day. */
static bool end(update_scene *l) {
    bool well = true;
    for (uint32_t i = 0; i < pel_runtime_device_count(l->runtime); i++) {
        const pel_device *device = pel_runtime_device(l->runtime, i);
        pel_device_health health;
        pel_device_get_health(device, &health);
        if (health.state != PEL_DEVICE_WELL || health.failures > 0) {
            fprintf(stderr, "%s: %s\n", pel_device_get_info(device)->id, health.reason);
            well = false;
        }
    }
    (void)update_end(l);
    update_free(l);
    return well;
}

static bool launch(update_scene *l, uint64_t *random) {
    const uint32_t usual = 16 + (uint32_t)(test_random(random) % 64);
    const uint32_t rounds = test_random(random) % 50 == 0 ? 10 * usual : usual;
    const uint32_t items = 64 * (1 + (uint32_t)(test_random(random) % (N / 64)));
    const pel_arg args[] = {pel_u32(rounds), pel_buf(l->x), pel_buf(l->y)};
    pel_launch_desc how = PEL_LAUNCH_DESC_INIT;
    how.global[0] = items;
    how.protection = PEL_PROTECT_ISOLATE;
    for (uint32_t i = 0; i < items; i++) {
        l->expected[i] = churned(l->expected[i] ^ l->xs[i], rounds);
    }
    if (pel_launch(l->queue, l->kernel, &how, args, 3, NULL) != PEL_OK || pel_queue_finish(l->queue) != PEL_OK) {
        fprintf(stderr, "a launch failed: %s\n", pel_error_story(pel_queue_error(l->queue)));
        return false;
    }
    if (memcmp(l->ys, l->expected, items * sizeof(uint32_t)) != 0) {
        fprintf(stderr, "OK, but the bytes are wrong\n");
        return false;
    }
    return true;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void nap(double seconds) {
    struct timespec rest = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

/* Children of the process, from before it has threads; they go when it goes. `stops` counts in memory that is shared. */
static void stopper(pid_t victim, uint64_t seed, _Atomic uint32_t *count) {
    while (true) {
        nap(2 + 30 * test_uniform(&seed));
        if (kill(victim, SIGSTOP) != 0) {
            _exit(0);
        }
        nap(test_random(&seed) % 4 == 0 ? 8 * test_uniform(&seed) : 1.5 * test_uniform(&seed));
        (void)kill(victim, SIGCONT);
        atomic_fetch_add(count, 1);
    }
}

static void burner(void) {
    while (true) {
        const double until = seconds_now() + 20;
        while (seconds_now() < until) {
        }
        nap(40);
    }
}

static void torment(pid_t *children, uint32_t count, uint64_t seed, _Atomic uint32_t *stops) {
    const pid_t parent = getpid();
    for (uint32_t i = 0; i < count; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (i == 0) {
                stopper(parent, seed, stops);
            }
            burner();
        }
    }
}

static bool watch(double length, uint64_t seed, const _Atomic uint32_t *stops) {
    update_scene l;
    static const char *const lists[] = {"host@0,opencl:0@1", "host,opencl:0", "opencl:0", "host,opencl:0[own]"};
    const double began = seconds_now();
    uint64_t launches = 0, lives = 0;
    double said = began;
    bool well = true;
    while (well && (lives == 0 || seconds_now() - began < length)) {
        if (!begin(&l, lists[lives++ % 4])) {
            return false;
        }
        const double until = seconds_now() + (length < 4.0 * LIVES ? length / 4 : length / LIVES);
        while (well && seconds_now() < until) {
            well = launch(&l, &seed);
            launches++;
            if (seconds_now() - said > 60) {
                said = seconds_now();
                printf("%.0f s: %" PRIu64 " launches, stopped %u times, %u alarms\n", said - began, launches, stops ? *stops : 0,
                       atomic_load(&alarms));
                fflush(stdout);
            }
        }
        well = end(&l) && well && atomic_load(&alarms) == 0;
    }
    printf("alarms: %.0f s, %" PRIu64 " runtimes, %" PRIu64 " isolated launches, stopped %u times: %s\n", seconds_now() - began,
           lives, launches, stops ? *stops : 0, well ? "0 false alarms" : "A FALSE ALARM");
    return well;
}

int main(int argc, char **argv) {
    double length = 0.4;
    uint64_t seed = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seconds") == 0) {
            length = strtod(argv[i + 1], NULL);
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        } else {
            fprintf(stderr, "%s [--seconds N] [--seed S]\n", argv[0]);
            return 2;
        }
    }
    pid_t children[3] = {0};
    _Atomic uint32_t *stops = NULL;
    if (length >= 60) {
        stops = mmap(NULL, sizeof *stops, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (stops == MAP_FAILED) {
            return 2;
        }
        torment(children, 3, seed, stops);
    }
    const bool well = watch(length, seed, stops);
    for (uint32_t i = 0; i < 3; i++) {
        if (children[i] > 0) {
            (void)kill(children[i], SIGKILL);
            (void)waitpid(children[i], NULL, 0);
        }
    }
    return well ? 0 : 1;
}
