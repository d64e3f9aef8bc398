/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * OpenMP as a contestant: the compiler's own tasks and loops, with their default settings. libgomp queues at most 64 tasks a
 * thread and runs what goes beyond at once on the producer, so it has no figure for tasks that wait behind a gate, nor for their
 * memory.
 */
#include "cholesky.h"
#include "triad_openmp.h"
#include <stdatomic.h>
#include <stdlib.h>

const char contestant_name[] = "OpenMP";

#ifdef PEL_HAVE_OPENMP
#include <omp.h>

static const char not_queued[] = "libgomp runs tasks beyond 64 a thread at once instead of queueing them";

static int threads(void) {
    return (int)workload_cores();
}

static void tasks(const contestant_run *run) {
    const uint64_t count = 5 * contestant_tasks(run);
    contestant_absent("tasks gated", not_queued);
#pragma omp parallel num_threads(threads())
#pragma omp single
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < count; i++) {
#pragma omp task
            workload_count();
        }
#pragma omp taskwait
        const double ended = workload_now();
        if (workload_total() != count) {
            contestant_wrong("tasks", "not every task ran once");
        } else if (s > 0) {
            contestant_sample("tasks", "ns/task", (ended - began) / (double)count);
        }
    }
}

static void memory(const contestant_run *run) {
    (void)run;
    contestant_absent("memory", not_queued);
}

static void ranges_round(uint64_t first, uint64_t count, uint64_t slots, bool random, const char *read, char *written) {
    for (uint64_t i = first; i < first + count; i++) {
        const uint64_t at = random ? workload_random_slot(i, slots) : i % slots;
        (void)at, (void)read, (void)written;
#pragma omp task depend(in : read[at]) depend(inout : written[at])
        workload_count();
    }
#pragma omp taskwait
}

static void ranges(const contestant_run *run) {
    const uint64_t count = contestant_tasks(run), slots = contestant_slots(run);
    char *memory_of_slots = calloc(2, slots);
    if (!memory_of_slots) {
        exit(1);
    }
#pragma omp parallel num_threads(threads())
#pragma omp single
    for (unsigned random = 0; random < 2; random++) {
        const char *row = random ? "ranges random" : "ranges ascending";
        for (unsigned s = 0; contestant_more(run, s); s++) {
            workload_reset();
            const double began = workload_now();
            ranges_round(s * count, count, slots, random, memory_of_slots, memory_of_slots + slots);
            const double ended = workload_now();
            if (workload_total() != count) {
                contestant_wrong(row, "not every task ran once");
            } else if (s > 0) {
                contestant_sample(row, "ns/task", (ended - began) / (double)count);
            }
        }
    }
    free(memory_of_slots);
}

static void chain(const contestant_run *run) {
    const uint64_t links = contestant_links(run);
    char link = 0;
    contestant_absent("chain replay", "GCC has no task graphs");
#pragma omp parallel num_threads(threads())
#pragma omp single
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < links; i++) {
#pragma omp task depend(inout : link) firstprivate(i)
            workload_chain_link(i);
        }
#pragma omp taskwait
        const double ended = workload_now();
        if (!workload_chain_holds(links)) {
            contestant_wrong("chain", "links ran out of order");
        } else if (s > 0) {
            contestant_sample("chain", "ns/task", (ended - began) / (double)links);
        }
    }
    (void)link;
}

static char cells[WORKLOAD_SIDE + 1][WORKLOAD_SIDE + 1];

static void wave_round(unsigned side) {
    for (unsigned i = 0; i < side; i++) {
        for (unsigned j = 0; j < side; j++) {
#pragma omp task depend(in : cells[i][j + 1], cells[i + 1][j]) depend(out : cells[i + 1][j + 1]) firstprivate(i, j)
            workload_wave_cell(i, j);
        }
    }
#pragma omp taskwait
}

static void wavefront(const contestant_run *run) {
    const unsigned side = contestant_side(run);
    const double serial = workload_wave_serial(side, run->work);
#pragma omp parallel num_threads(threads())
#pragma omp single
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        const double began = workload_now();
        wave_round(side);
        const double ended = workload_now();
        if (s > 0) {
            contestant_wave("wavefront", ended - began, serial);
        }
    }
}

static void fork_join(const contestant_run *run) {
    const unsigned rounds = run->quick ? 500 : 10000;
    for (unsigned s = 0; contestant_more(run, s); s++) {
        unsigned both = 0, lost = 0;
        const double began = workload_now();
        for (unsigned i = 0; i < rounds; i++) {
#pragma omp parallel num_threads(2)
            workload_half((unsigned)omp_get_thread_num());
            lost += !workload_halves_ran();
            both += workload_halves_differ();
        }
        const double ended = workload_now();
        if (s > 0) {
            contestant_fork_join(ended - began, rounds, both, lost);
        }
    }
}

static _Atomic int ran_by;

/* Submits a task and waits for it, running it, or looking until somebody else has. Who ran it is left in ran_by. */
static double one_task(bool look) {
    atomic_store_explicit(&ran_by, -1, memory_order_relaxed);
    const double began = workload_now();
#pragma omp task
    atomic_store_explicit(&ran_by, omp_get_thread_num(), memory_order_release);
    if (look) {
        while (atomic_load_explicit(&ran_by, memory_order_acquire) < 0) {
            workload_pause();
        }
    } else {
#pragma omp taskwait
    }
    return workload_now() - began;
}

static void wait_for(const contestant_run *run) {
    const unsigned count = contestant_waits(run);
    double *spent = malloc(count * sizeof *spent);
    if (!spent) {
        exit(1);
    }
    for (int look = 0; look < 2; look++) {
        unsigned kept = 0;
#pragma omp parallel num_threads(2)
#pragma omp single
        for (unsigned i = 0; i < count + 100; i++) {
            const double ns = one_task(look == 1);
            const bool mine = atomic_load(&ran_by) == omp_get_thread_num();
            if (i >= 100 && mine == (look == 0)) {
                spent[kept++] = ns;
            }
        }
        const char *row = look ? "wait, by worker" : "wait, by caller";
        if (kept * 10 < count) {
            contestant_absent(row, "it hardly ever happened");
        } else {
            contestant_latencies(row, contestant_name, "ns", spent, kept);
        }
    }
    free(spent);
}

static void wake(const contestant_run *run) {
    const unsigned count = run->quick ? 20 : 200;
    double spent[200];
#pragma omp parallel num_threads(2)
#pragma omp single
    for (unsigned i = 0; i < count; i++) {
        workload_busy(1e6);
        spent[i] = one_task(true);
    }
    contestant_latencies("wake", contestant_name, "us", spent, count);
}

static void idle(const contestant_run *run) {
#pragma omp parallel num_threads(threads())
    workload_count();
    contestant_idle(run);
}

static void small_loop(void *context, double *sums, unsigned count) {
    (void)context;
    for (unsigned i = 0; i < count; i++) {
#pragma omp parallel for num_threads(threads()) schedule(static)
        for (int half = 0; half < 2; half++) {
            workload_small(sums, (uint64_t)half * (WORKLOAD_SMALL / 2), (uint64_t)(half + 1) * (WORKLOAD_SMALL / 2));
        }
    }
}

static void small(const contestant_run *run) {
    static double sums[WORKLOAD_SMALL];
    contestant_small(run, contestant_name, sums, small_loop, NULL);
}

static void triad(const contestant_run *run) {
    const uint64_t count = run->quick ? 4u << 20 : 64u << 20;
    double *a = aligned_alloc(4096, 3 * count * sizeof *a);
    if (!a) {
        contestant_absent("triad", "not enough memory");
        return;
    }
    for (uint64_t i = 0; i < 3 * count; i++) {
        a[i] = (double)(i % 1024);
    }
    for (unsigned s = 0; contestant_more(run, s); s++) {
        const double began = workload_now();
        triad_openmp_run(a, a + count, a + 2 * count, count, workload_cores());
        const double spent = workload_now() - began;
        if (!workload_triad_holds(a, a + count, a + 2 * count, count)) {
            contestant_wrong("triad alone", "wrong sums");
        } else if (s > 0) {
            contestant_sample("triad alone", "GB/s", 3.0 * sizeof(double) * (double)count / spent);
        }
    }
    free(a);
}

static bool factorise(cholesky *matrix) {
    char *done = calloc(matrix->tiles, matrix->tiles);
    if (!done) {
        return false;
    }
#pragma omp parallel num_threads(threads())
#pragma omp single
    for (unsigned i = 0; i < matrix->step_count; i++) {
        const cholesky_step *step = &matrix->steps[i];
        const char *first = &done[step->in_count > 0 ? step->in_index[0] : step->out_index],
                   *second = &done[step->in_count > 1 ? step->in_index[1] : step->out_index];
        char *out = &done[step->out_index];
        (void)first, (void)second;
        if (step->in_count == 2) {
#pragma omp task depend(inout : *out) depend(in : *first, *second) firstprivate(step)
            cholesky_step_run(step);
        } else if (step->in_count == 1) {
#pragma omp task depend(inout : *out) depend(in : *first) firstprivate(step)
            cholesky_step_run(step);
        } else {
#pragma omp task depend(inout : *out) firstprivate(step)
            cholesky_step_run(step);
        }
    }
    free(done);
    return true;
}

static void tiled_cholesky(const contestant_run *run) {
    const cholesky_contestant contestant = {NULL, factorise, NULL, NULL};
    cholesky_measure(run, &contestant);
}

const contestant_row contestant_rows[] = {
    {"tasks", tasks},         {"memory", memory},       {"ranges", ranges},           {"chain", chain},
    {"wavefront", wavefront}, {"fork-join", fork_join}, {"wait", wait_for},           {"wake", wake},
    {"idle", idle},           {"triad", triad},         {"small", small},             {"cholesky", tiled_cholesky},
    {NULL, NULL}};
#else
const contestant_row contestant_rows[] = {{NULL, NULL}};
#endif
