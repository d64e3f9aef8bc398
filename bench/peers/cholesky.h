/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tiled Cholesky factorisation that task runtimes are compared with: a list of tile operations in program order, each with
 * the tile that it changes and those that it reads. Contestants submit this list; the operations are OpenBLAS's, on one thread. C
 * and C++.
 */
#ifndef PEL_PEERS_CHOLESKY_H
#define PEL_PEERS_CHOLESKY_H

#include "contestant.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cholesky_step {
    char operation; /* 'p'otrf, 't'rsm, 's'yrk, 'g'emm */
    unsigned tile;  /* side */
    double *out;    /* read and written */
    const double *in[2];
    unsigned out_index, in_index[2]; /* of tiles, for tables beside the matrix */
    unsigned in_count;
    int32_t priority; /* 1 on the critical path's operations */
} cholesky_step;

typedef struct cholesky {
    unsigned n, tile, tiles;
    uint64_t tile_bytes, bytes;
    double *data; /* tile (i, j), j <= i, at index i * tiles + j; column-major within */
    cholesky_step *steps;
    unsigned step_count;
} cholesky;

/* NULL without OpenBLAS or memory. */
cholesky *cholesky_create(unsigned n, unsigned tile);
void cholesky_destroy(cholesky *matrix);
void cholesky_fill(cholesky *matrix);
void cholesky_step_run(const cholesky_step *step);
double cholesky_serial(cholesky *matrix); /* nanoseconds of all steps in order, on this thread; fills first */
bool cholesky_holds(const cholesky *matrix);
/* What the machine gives: `threads` plain threads, each with a matrix of its own and nothing to wait for; their solo time over
 * what they take together. 0: none */
double cholesky_apart(unsigned n, unsigned tile, unsigned threads);
double cholesky_whole(unsigned n, unsigned threads); /* nanoseconds of LAPACK's dpotrf with so many threads; negative: none */

/* Runs `factorise` on the sizes that `run` asks for and reports "cholesky N" and "cholesky N efficiency". `start`, called
 * after the solo reference was taken, makes the runtime; both may be NULL, as may `stop`. False from `factorise`: refused. */
typedef struct cholesky_contestant {
    bool (*start)(cholesky *matrix);
    bool (*factorise)(cholesky *matrix); /* all steps, until complete */
    void (*stop)(void);
    const char *variant; /* appended to the rows' names; NULL: none */
} cholesky_contestant;
void cholesky_measure(const contestant_run *run, const cholesky_contestant *contestant);

#ifdef __cplusplus
}
#endif
#endif
