/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of real work: triad in turns with OpenMP on the same arrays, tiled Cholesky with OpenBLAS's tiles. */
#include "cholesky.h"
#include "peer_pel.h"
#include "triad_openmp.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct triad {
    double *a, *b, *c;
    uint64_t count;
} triad;

static pel_status triad_loop(uint64_t begin, uint64_t end, void *context) {
    const triad *t = context;
    workload_triad(t->a, t->b, t->c, begin, end);
    return PEL_OK;
}

static double triad_pel(peer_pel *p, triad *t) {
    const double began = workload_now();
    peer_pel_must(p, pel_loop(p->queue, t->count, 0, triad_loop, t, NULL, 0, NULL, NULL), "loop");
    peer_pel_finish(p);
    return workload_now() - began;
}

static double triad_openmp(const triad *t) {
    triad_openmp_wake(workload_cores());
    const double began = workload_now();
    triad_openmp_run(t->a, t->b, t->c, t->count, workload_cores());
    const double spent = workload_now() - began;
    triad_openmp_rest();
    return spent;
}

/* Alternates who goes first, and clears the result in between so that each must compute it. */
static void triad_pairs(const contestant_run *run, peer_pel *p, triad *t) {
    const double gigabytes = 3.0 * sizeof(double) * (double)t->count; /* over nanoseconds: GB/s */
    const unsigned pairs = run->quick ? 3 : 9;
    for (unsigned s = 0; s < pairs + 1; s++) {
        double spent[2] = {0.0, 0.0};
        for (unsigned turn = 0; turn < 2; turn++) {
            const bool openmp = (turn + s) % 2 == 1;
            if (openmp && !triad_openmp_available()) {
                continue;
            }
            for (uint64_t i = 0; i < t->count; i += 997) {
                t->a[i] = -1.0;
            }
            spent[openmp] = openmp ? triad_openmp(t) : triad_pel(p, t);
            if (!workload_triad_holds(t->a, t->b, t->c, t->count)) {
                contestant_wrong("triad", "wrong sums");
            }
        }
        if (s > 0) {
            contestant_sample("triad", "GB/s", gigabytes / spent[0]);
            if (spent[1] > 0.0) {
                contestant_floor("triad", "OpenMP", "GB/s", gigabytes / spent[1]);
            }
        }
    }
}

void peer_pel_triad(const contestant_run *run) {
    triad t = {.count = run->quick ? 4u << 20 : 64u << 20};
    t.a = aligned_alloc(4096, 3 * t.count * sizeof(double));
    if (!t.a) {
        contestant_absent("triad", "not enough memory");
        return;
    }
    t.b = t.a + t.count;
    t.c = t.b + t.count;
    for (uint64_t i = 0; i < t.count; i++) {
        t.a[i] = 0.0;
        t.b[i] = (double)(i % 1024);
        t.c[i] = 1.0;
    }
    peer_pel p = peer_pel_open("host", 0, NULL);
    triad_pairs(run, &p, &t);
    peer_pel_close(&p);
    free(t.a);
}

static peer_pel solver;
static pel_buffer *tiles;

static uint32_t cholesky_flags; /* of the queue, besides what all rows have */

static bool cholesky_start(cholesky *matrix) {
    solver = peer_pel_open_queue("host", 0, NULL, cholesky_flags);
    peer_pel_must(&solver, pel_buffer_wrap(solver.runtime, matrix->data, matrix->bytes, &tiles), "wrap");
    return true;
}

static pel_status step_task(void *context) {
    cholesky_step_run(context);
    return PEL_OK;
}

static bool cholesky_factorise(cholesky *matrix) {
    const uint64_t bytes = matrix->tile_bytes;
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    for (unsigned i = 0; i < matrix->step_count; i++) {
        cholesky_step *step = &matrix->steps[i];
        const pel_access accesses[] = {PEL_ACCESS(tiles, step->out_index * bytes, bytes, PEL_READ_WRITE),
                                       PEL_ACCESS(tiles, step->in_index[0] * bytes, bytes, PEL_READ),
                                       PEL_ACCESS(tiles, step->in_index[1] * bytes, bytes, PEL_READ)};
        desc.priority = (cholesky_flags & PEL_QUEUE_OLDEST_FIRST) != 0 ? 0 : step->priority; /* its order has them early */
        peer_pel_must(&solver, pel_task(solver.queue, step_task, step, accesses, 1 + step->in_count, &desc, NULL), "task");
    }
    peer_pel_finish(&solver);
    return true;
}

static void cholesky_stop(void) {
    (void)pel_buffer_destroy(tiles);
    peer_pel_close(&solver);
}

void peer_pel_cholesky(const contestant_run *run) {
    cholesky_contestant contestant = {cholesky_start, cholesky_factorise, cholesky_stop, NULL};
    cholesky_measure(run, &contestant);
    cholesky_flags = PEL_QUEUE_OLDEST_FIRST;
    contestant.variant = ", oldest first";
    cholesky_measure(run, &contestant);
}
