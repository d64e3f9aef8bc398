/* SPDX-License-Identifier: BSD-3-Clause */
/* A bag of strings that live and die together, so that a table of devices can be dropped on any path by one call. */
#ifndef PEL_TOPOLOGY_KEEP_H
#define PEL_TOPOLOGY_KEEP_H

#include "base/text.h"
#include <pel/runtime.h>
#include <stdbool.h>

typedef struct pel_keep {
    const pel_allocator *allocator;
    struct pel_kept *first;
    bool failed; /* an allocation failed since init; the calls then gave "" */
} pel_keep;

void pel_keep_init(pel_keep *keep, const pel_allocator *allocator);
void pel_keep_free(pel_keep *keep);

/* Never NULL: "" when memory runs out, and `failed` is set, so that a row of calls needs one check. */
char *pel_keep_bytes(pel_keep *keep, const char *bytes, size_t count);
char *pel_keep_format(pel_keep *keep, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *pel_keep_text(pel_keep *keep, pel_text *text); /* takes the text's contents */

#endif
