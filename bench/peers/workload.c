/* SPDX-License-Identifier: BSD-3-Clause */
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 256 };
typedef struct slot {
    _Alignas(64) _Atomic uint64_t count; /* one writer; atomic for the reader only */
} slot;
static slot slots[SLOTS];
static _Atomic unsigned slots_taken;
static _Thread_local slot *own;

double workload_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

unsigned workload_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1u;
}

double workload_cpu_seconds(void) {
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

uint64_t workload_resident(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%*u %llu", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static slot *take_slot(void) {
    const unsigned mine = atomic_fetch_add(&slots_taken, 1);
    if (mine >= SLOTS) {
        fprintf(stderr, "more than %d threads ran bodies\n", SLOTS);
        exit(1);
    }
    return own = &slots[mine];
}

void workload_reset(void) {
    for (unsigned i = 0; i < SLOTS; i++) {
        atomic_store(&slots[i].count, 0);
    }
}

void workload_count(void) {
    slot *s = own ? own : take_slot();
    atomic_store_explicit(&s->count, atomic_load_explicit(&s->count, memory_order_relaxed) + 1, memory_order_relaxed);
}

uint64_t workload_total(void) {
    uint64_t total = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        total += atomic_load(&slots[i].count);
    }
    return total;
}

unsigned workload_threads(void) {
    unsigned threads = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        threads += atomic_load(&slots[i].count) > 0;
    }
    return threads;
}

void workload_spin(uint64_t iterations) {
    double x = 1.0;
    for (uint64_t i = 0; i < iterations; i++) {
        x = x * 0.999999 + 1e-6;
        __asm__ volatile("" : "+x"(x)); /* every step is kept, and depends on the one before */
    }
}

uint64_t workload_calibrate(double nanoseconds) {
    enum { ITERATIONS = 200000 };
    double best = 1e30;
    for (int i = 0; i < 20; i++) {
        const double begin = workload_now();
        workload_spin(ITERATIONS);
        const double spent = workload_now() - begin;
        best = spent < best ? spent : best;
    }
    const double iterations = nanoseconds / best * ITERATIONS;
    return iterations < 1.0 ? 1 : (uint64_t)iterations;
}

void workload_busy(double nanoseconds) {
    const double until = workload_now() + nanoseconds;
    while (workload_now() < until) {
        workload_pause();
    }
}

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static bool gate_is_open;
static unsigned gate_sleepers;

void workload_gate_close(void) {
    pthread_mutex_lock(&gate_lock);
    gate_is_open = false;
    gate_sleepers = 0;
    pthread_mutex_unlock(&gate_lock);
}

void workload_gate_pass(void) {
    pthread_mutex_lock(&gate_lock);
    gate_sleepers++;
    pthread_cond_broadcast(&gate_changed);
    while (!gate_is_open) {
        pthread_cond_wait(&gate_changed, &gate_lock);
    }
    pthread_mutex_unlock(&gate_lock);
}

bool workload_gate_wait(unsigned threads) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&gate_lock);
    while (gate_sleepers < threads && pthread_cond_timedwait(&gate_changed, &gate_lock, &until) == 0) {
    }
    const bool enough = gate_sleepers >= threads;
    pthread_mutex_unlock(&gate_lock);
    return enough;
}

void workload_gate_open(void) {
    pthread_mutex_lock(&gate_lock);
    gate_is_open = true;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate_lock);
}

static _Atomic uint64_t chain_next;
static _Atomic bool chain_broken;

void workload_chain_reset(void) {
    atomic_store(&chain_next, 0);
    atomic_store(&chain_broken, false);
}

void workload_chain_link(uint64_t i) {
    if (atomic_load_explicit(&chain_next, memory_order_relaxed) != i) {
        atomic_store(&chain_broken, true);
    }
    atomic_store_explicit(&chain_next, i + 1, memory_order_relaxed);
}

bool workload_chain_holds(uint64_t links) {
    return atomic_load(&chain_next) == links && !atomic_load(&chain_broken);
}

static _Atomic unsigned char wave_done[WORKLOAD_SIDE][WORKLOAD_SIDE];
static _Atomic bool wave_broken;
static unsigned wave_side;
static uint64_t wave_work;

void workload_wave_begin(unsigned side, uint64_t work) {
    for (unsigned i = 0; i < side; i++) {
        for (unsigned j = 0; j < side; j++) {
            atomic_store_explicit(&wave_done[i][j], 0, memory_order_relaxed);
        }
    }
    atomic_store(&wave_broken, false);
    wave_side = side;
    wave_work = work;
    workload_reset();
}

void workload_wave_cell(unsigned i, unsigned j) {
    const bool ready = (i == 0 || atomic_load_explicit(&wave_done[i - 1][j], memory_order_relaxed) == 1) &&
                       (j == 0 || atomic_load_explicit(&wave_done[i][j - 1], memory_order_relaxed) == 1);
    workload_spin(wave_work);
    if (!ready || atomic_load_explicit(&wave_done[i][j], memory_order_relaxed) != 0) {
        atomic_store(&wave_broken, true);
    }
    atomic_store_explicit(&wave_done[i][j], 1, memory_order_relaxed);
    workload_count();
}

bool workload_wave_holds(void) {
    return !atomic_load(&wave_broken) && workload_total() == (uint64_t)wave_side * wave_side;
}

static double serial_once(unsigned side, uint64_t work) {
    workload_wave_begin(side, work);
    const double begin = workload_now();
    for (unsigned i = 0; i < side; i++) {
        for (unsigned j = 0; j < side; j++) {
            workload_wave_cell(i, j);
        }
    }
    return workload_now() - begin;
}

double workload_wave_serial(unsigned side, uint64_t work) {
    double best = serial_once(side, work);
    for (unsigned i = 0; i < 2; i++) {
        const double again = serial_once(side, work);
        best = again < best ? again : best;
    }
    return best;
}

typedef struct half {
    _Alignas(64) _Atomic uintptr_t thread;
} half;
static half halves[2];

void workload_half(unsigned index) {
    if (!own) {
        take_slot();
    }
    atomic_store_explicit(&halves[index].thread, (uintptr_t)own, memory_order_relaxed);
}

bool workload_halves_ran(void) {
    return atomic_load_explicit(&halves[0].thread, memory_order_relaxed) != 0 &&
           atomic_load_explicit(&halves[1].thread, memory_order_relaxed) != 0;
}

bool workload_halves_differ(void) {
    const uintptr_t a = atomic_load_explicit(&halves[0].thread, memory_order_relaxed),
                    b = atomic_load_explicit(&halves[1].thread, memory_order_relaxed);
    atomic_store_explicit(&halves[0].thread, 0, memory_order_relaxed);
    atomic_store_explicit(&halves[1].thread, 0, memory_order_relaxed);
    return a != 0 && b != 0 && a != b;
}

uint64_t workload_random_slot(uint64_t n, uint64_t slots_count) {
    uint64_t x = n + 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (x ^ (x >> 31)) % slots_count;
}

void workload_triad(double *a, const double *b, const double *c, uint64_t begin, uint64_t end) {
    double *restrict out = a;
    for (uint64_t i = begin; i < end; i++) {
        out[i] = b[i] + 3.0 * c[i];
    }
}

bool workload_triad_holds(const double *out, const double *b, const double *c, uint64_t count) {
    for (uint64_t i = 0; i < count; i += 997) {
        const double difference = out[i] - (b[i] + 3.0 * c[i]);
        if (difference > 1e-9 || difference < -1e-9) {
            return false;
        }
    }
    return true;
}

void workload_small(double *sums, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) {
        sums[i] += 1.0;
    }
}

bool workload_small_holds(const double *sums, uint64_t launches) {
    bool holds = true;
    for (unsigned i = 0; i < WORKLOAD_SMALL; i++) {
        const double difference = sums[i] - (double)launches;
        holds = holds && difference < 0.5 && difference > -0.5;
    }
    return holds;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double workload_quantile(double *values, size_t count, double q) {
    if (count == 0) {
        return 0.0;
    }
    qsort(values, count, sizeof *values, compare);
    const size_t at = (size_t)(q * (double)(count - 1) + 0.5);
    return values[at < count ? at : count - 1];
}

double workload_median(double *values, size_t count) {
    return workload_quantile(values, count, 0.5);
}
