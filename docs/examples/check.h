/* SPDX-License-Identifier: BSD-3-Clause */
/* What the examples do with a failure: say what was being done and why it failed, and leave. The error goes by address: as an
 * argument of the call that sets it, it might be read before. */
#ifndef EXAMPLE_CHECK_H
#define EXAMPLE_CHECK_H

#include <pel/pel.h>
#include <stdio.h>
#include <stdlib.h>

static inline void check(pel_status status, const char *doing, pel_error *const *error) {
    if (status == PEL_OK)
        return;
    fprintf(stderr, "%s: %s\n", doing, error && *error ? pel_error_story(*error) : pel_status_text(status));
    exit(1);
}

/* What a queue refused, or what failed in it, tells its story through the queue. */
static inline void check_queue(pel_status status, const char *doing, pel_queue *queue) {
    pel_error *error = status == PEL_OK ? NULL : pel_queue_error(queue);
    check(status, doing, &error);
}

#endif
