/* SPDX-License-Identifier: BSD-3-Clause */
#include "cholesky.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 64 };

#ifdef PEL_HAVE_OPENBLAS
#include <cblas.h>

/* LAPACK's, as OpenBLAS exports it; the last argument is the hidden length of the text. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_length);

/* Element (i, j) of the matrix: symmetric, and positive definite because its diagonal dominates. */
static double element(unsigned n, uint64_t i, uint64_t j) {
    const uint64_t lower = i < j ? j : i, upper = i < j ? i : j;
    return i == j ? (double)n : (double)workload_random_slot(lower * n + upper, 1u << 20) * 0x1p-20 - 0.5;
}

static void add_step(cholesky *m, char operation, unsigned out, unsigned in_count, unsigned first, unsigned second) {
    const uint64_t words = m->tile_bytes / sizeof(double);
    m->steps[m->step_count++] = (cholesky_step){.operation = operation,
                                                .tile = m->tile,
                                                .out = m->data + out * words,
                                                .in = {m->data + first * words, m->data + second * words},
                                                .out_index = out,
                                                .in_index = {first, second},
                                                .in_count = in_count,
                                                .priority = operation == 'p' || operation == 't'};
}

static void list_steps(cholesky *m) {
    const unsigned t = m->tiles;
    for (unsigned k = 0; k < t; k++) {
        add_step(m, 'p', k * t + k, 0, 0, 0);
        for (unsigned i = k + 1; i < t; i++) {
            add_step(m, 't', i * t + k, 1, k * t + k, 0);
        }
        for (unsigned i = k + 1; i < t; i++) {
            for (unsigned j = k + 1; j < i; j++) {
                add_step(m, 'g', i * t + j, 2, i * t + k, j * t + k);
            }
            add_step(m, 's', i * t + i, 1, i * t + k, 0);
        }
    }
}

cholesky *cholesky_create(unsigned n, unsigned tile) {
    cholesky *m = calloc(1, sizeof *m);
    const unsigned t = n / tile;
    if (!m) {
        return NULL;
    }
    *m = (cholesky){.n = n, .tile = tile, .tiles = t, .tile_bytes = (uint64_t)tile * tile * sizeof(double)};
    m->bytes = m->tile_bytes * t * t;
    m->data = aligned_alloc(4096, m->bytes);
    m->steps = malloc(sizeof *m->steps * (size_t)t * (t + 1) * (t + 2) / 6);
    if (!m->data || !m->steps) {
        cholesky_destroy(m);
        return NULL;
    }
    list_steps(m);
    return m;
}

void cholesky_destroy(cholesky *m) {
    if (m) {
        free(m->data);
        free(m->steps);
        free(m);
    }
}

static double *tile_of(const cholesky *m, unsigned i, unsigned j) {
    return m->data + (m->tile_bytes / sizeof(double)) * (i * m->tiles + j);
}

void cholesky_fill(cholesky *m) {
    const unsigned b = m->tile;
    for (unsigned i = 0; i < m->tiles; i++) {
        for (unsigned j = 0; j <= i; j++) {
            double *tile = tile_of(m, i, j);
            for (unsigned column = 0; column < b; column++) {
                for (unsigned row = 0; row < b; row++) {
                    tile[column * b + row] = element(m->n, (uint64_t)i * b + row, (uint64_t)j * b + column);
                }
            }
        }
    }
}

void cholesky_step_run(const cholesky_step *s) {
    const int b = (int)s->tile;
    int info = 0;
    switch (s->operation) {
    case 'p':
        dpotrf_("L", &b, s->out, &b, &info, 1);
        break;
    case 't':
        cblas_dtrsm(CblasColMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, b, b, 1.0, s->in[0], b, s->out, b);
        break;
    case 's':
        cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, b, b, -1.0, s->in[0], b, 1.0, s->out, b);
        break;
    default:
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, b, b, b, -1.0, s->in[0], b, s->in[1], b, 1.0, s->out, b);
        break;
    }
    workload_count();
}

double cholesky_serial(cholesky *m) {
    cholesky_fill(m);
    const double begin = workload_now();
    for (unsigned i = 0; i < m->step_count; i++) {
        cholesky_step_run(&m->steps[i]);
    }
    return workload_now() - begin;
}

/* A x = L (L' x) for one x, to rounding. A wrong tile anywhere changes it. */
bool cholesky_holds(const cholesky *m) {
    const unsigned n = m->n, b = m->tile;
    double *memory = calloc(4 * (size_t)n, sizeof(double)), *x = memory, *ax = memory + n, *ltx = memory + 2 * (size_t)n,
           *llx = ltx + n;
    double worst = 0.0, largest = 0.0;
    if (!memory) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        x[i] = 1.0 + (double)(i % 7);
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = 0; j < i; j++) {
            const double a = element(n, i, j);
            ax[i] += a * x[j];
            ax[j] += a * x[i];
        }
        ax[i] += (double)n * x[i];
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned column = 0; column < n; column++) {
            for (unsigned row = column; row < n; row++) {
                const double l = tile_of(m, row / b, column / b)[(size_t)(column % b) * b + row % b];
                if (pass == 0) {
                    ltx[column] += l * x[row];
                } else {
                    llx[row] += l * ltx[column];
                }
            }
        }
    }
    for (unsigned i = 0; i < n; i++) {
        worst = fmax(worst, fabs(llx[i] - ax[i]));
        largest = fmax(largest, fabs(ax[i]));
    }
    free(memory);
    return worst <= 1e-10 * largest; /* false for not-a-number too */
}

typedef struct lonely {
    cholesky *matrix;
    double spent;
} lonely;

static void *run_steps(void *argument) {
    lonely *l = argument;
    const double begin = workload_now();
    for (unsigned i = 0; i < l->matrix->step_count; i++) {
        cholesky_step_run(&l->matrix->steps[i]);
    }
    l->spent = workload_now() - begin;
    return NULL;
}

double cholesky_apart(unsigned n, unsigned tile, unsigned threads) {
    enum { MOST = 64 };
    lonely all[MOST];
    pthread_t handles[MOST];
    unsigned made = 0, started = 0;
    double solo = 0.0, sum = 0.0;
    openblas_set_num_threads(1);
    for (; made < threads && made < MOST && (all[made].matrix = cholesky_create(n, tile)) != NULL; made++) {
        all[made].spent = 0.0;
        solo = cholesky_serial(all[made].matrix);
    }
    for (unsigned i = 0; i < 2 && made > 0; i++) {
        solo = fmin(solo, cholesky_serial(all[0].matrix));
    }
    for (unsigned i = 0; i < made; i++) {
        cholesky_fill(all[i].matrix);
    }
    for (; started < made && pthread_create(&handles[started], NULL, run_steps, &all[started]) == 0; started++) {
    }
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(handles[i], NULL);
        sum += all[i].spent;
    }
    for (unsigned i = 0; i < made; i++) {
        cholesky_destroy(all[i].matrix);
    }
    return started == threads && sum > 0.0 ? solo * threads / sum : 0.0;
}

double cholesky_whole(unsigned n, unsigned threads) {
    double *a = aligned_alloc(4096, (size_t)n * n * sizeof *a);
    const int order = (int)n;
    int info = 0;
    if (!a) {
        return -1.0;
    }
    for (unsigned j = 0; j < n; j++) {
        for (unsigned i = 0; i < n; i++) {
            a[(size_t)j * n + i] = i < j ? 0.0 : element(n, i, j);
        }
    }
    openblas_set_num_threads((int)threads);
    const double begin = workload_now();
    dpotrf_("L", &order, a, &order, &info, 1);
    const double spent = workload_now() - begin;
    free(a);
    return info == 0 ? spent : -1.0;
}

/* The shortest of so many. */
static double solo(cholesky *m, unsigned times) {
    double least = cholesky_serial(m);
    for (unsigned i = 1; i < times; i++) {
        least = fmin(least, cholesky_serial(m));
    }
    return least;
}

/*
 * The ideal is the time of all tiles by themselves, before the runtime is made and after it is gone: beside runtimes whose
 * workers look for work it cannot be taken. The clock of a machine that is shared moves by a tenth in minutes, and a time taken
 * before alone says more of that than of the runtime. So it is the mean of both, and how far they lie apart is told.
 */
static void one_size(const contestant_run *run, const cholesky_contestant *who, unsigned n, unsigned tile) {
    char row[48], efficiency[80];
    const double flops = (double)n * n * n / 3.0;
    const unsigned cores = workload_cores();
    snprintf(row, sizeof row, "cholesky %u%s", n, who->variant ? who->variant : "");
    snprintf(efficiency, sizeof efficiency, "%s efficiency", row);
    cholesky *m = cholesky_create(n, tile);
    if (!m) {
        contestant_absent(row, "not enough memory");
        return;
    }
    double spent[MOST_SAMPLES];
    unsigned count = 0;
    const unsigned times = run->full ? 2 : 3;
    const double before = solo(m, times); /* the first touches the memory and wakes OpenBLAS */
    if (!who->start || who->start(m)) {
        for (unsigned i = 0; contestant_more(run, i); i++) {
            cholesky_fill(m);
            workload_reset();
            const double begin = workload_now();
            const bool done = who->factorise(m);
            const double took = workload_now() - begin;
            if (!done || workload_total() != m->step_count || !cholesky_holds(m)) {
                contestant_wrong(row, "refused, tiles left out, or the residual is too large");
            } else if (i > 0 && count < MOST_SAMPLES) {
                contestant_sample(row, "GFLOP/s", flops / took);
                spent[count++] = took;
            }
        }
    } else {
        contestant_absent(row, "it did not start");
    }
    if (who->stop) {
        who->stop();
    }
    const double after = count > 0 ? solo(m, times) : before;
    for (unsigned i = 0; i < count; i++) {
        contestant_sample(efficiency, "ratio", 0.5 * (before + after) / cores / spent[i]);
    }
    if (count > 0) {
        snprintf(efficiency, sizeof efficiency, "%s solo, after over before", row);
        contestant_sample(efficiency, "ratio", after / before);
    }
    cholesky_destroy(m);
}

void cholesky_measure(const contestant_run *run, const cholesky_contestant *contestant) {
    openblas_set_num_threads(1);
    if (run->full) {
        one_size(run, contestant, 8192, 256);
    } else if (run->quick) {
        one_size(run, contestant, 1024, 128);
    } else {
        one_size(run, contestant, 4096, 256);
    }
}

#else

double cholesky_apart(unsigned n, unsigned tile, unsigned threads) {
    (void)n, (void)tile, (void)threads;
    return 0.0;
}

double cholesky_whole(unsigned n, unsigned threads) {
    (void)n, (void)threads;
    return -1.0;
}

void cholesky_step_run(const cholesky_step *step) {
    (void)step;
}

void cholesky_measure(const contestant_run *run, const cholesky_contestant *contestant) {
    (void)run, (void)contestant;
    contestant_absent("cholesky", "built without OpenBLAS");
}
#endif
