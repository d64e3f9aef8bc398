/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the helper program pel-probe with a deadline, where a crash or a hang of a driver does no harm. */
#ifndef PEL_TOPOLOGY_HELPER_H
#define PEL_TOPOLOGY_HELPER_H

#include "base/text.h"
#include <pel/status.h>

typedef enum pel_helper_end {
    PEL_HELPER_DONE,    /* it ended by itself and says that it got to its end */
    PEL_HELPER_CRASHED, /* killed by a signal, or ended before its end */
    PEL_HELPER_HUNG,    /* killed by us at the deadline */
    PEL_HELPER_MISSING  /* there is no helper to run */
} pel_helper_end;

typedef struct pel_helper_run {
    pel_helper_end end;
    int signal_number; /* CRASHED: the signal, 0 unknown */
    int exit_status;   /* CRASHED without a signal */
    int timeout_ms;    /* that it was given */
    int64_t took_ns;
    pel_text output; /* complete lines of its stdout; the caller frees it */
} pel_helper_run;

/*
 * A helper's path, in `buffer` (PATH_MAX bytes) or static: $VARIABLE (not in set-user-id programs), else the installed one, else
 * `name` beside the running program or the library, or in libexec/pel of the prefix that either lies in (a build tree, a moved
 * installation).
 */
const char *pel_helper_find(const char *variable, const char *installed, const char *name, char *buffer);

/* pel-probe's, by $PEL_PROBE. */
const char *pel_helper_path(char *buffer);

/*
 * Runs it once. argument: NULL or one argument; value: NULL or what follows it. vendors: NULL, or where the ICD loader shall
 * look. The child is a process group of its own with default signals, stdin and stderr on /dev/null. Only OUT_OF_MEMORY is an
 * error.
 */
pel_status pel_helper(const pel_allocator *allocator, const char *argument, const char *value, const char *vendors,
                      int timeout_ms, pel_helper_run *run, pel_error **error);

/* "was killed by signal 11 (Segmentation fault)" for messages. */
void pel_helper_describe(const pel_helper_run *run, pel_text *text);

#endif
