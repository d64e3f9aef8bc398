/* SPDX-License-Identifier: BSD-3-Clause */
/* Files for one test program, in a directory of its own that goes with it. */
#ifndef PEL_TESTS_CLI_SCRATCH_H
#define PEL_TESTS_CLI_SCRATCH_H

#include <stddef.h>

int scratch_set_up(void **state);    /* group setup: makes the directory */
int scratch_tear_down(void **state); /* group teardown: removes files and directory */

/* The path of a file of that name there; static storage, four at a time. */
const char *scratch_path(const char *name);
/* Writes a file and returns its path. */
const char *scratch_write(const char *name, const void *data, size_t bytes);
/* How many files there are. */
int scratch_count(void);

#endif
