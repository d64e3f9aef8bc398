/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building errors. The pattern: every internal function that can fail returns pel_status and takes `pel_error **error` (may be
 * NULL);
 *     return pel_fail(error, allocator, PEL_IO, .call = "open", .code = errno, .advice = "...",
 *                     .message = "cannot open %s", path);
 * is spelled with the function below. When memory runs out while telling the story, a static error stands in; destroying it does
 * nothing.
 */
#ifndef PEL_BASE_ERROR_H
#define PEL_BASE_ERROR_H

#include <pel/runtime.h>
#include <pel/status.h>

typedef struct pel_story {
    const char *device;    /* all copied; NULL: "" */
    const char *call;
    int64_t code;
    const char *advice;
    const char *build_log;
} pel_story;

/* Sets *error (when error is not NULL and *error is NULL) and returns `status`. story NULL: just the message. */
pel_status pel_fail(pel_error **error, const pel_allocator *allocator, pel_status status, const pel_story *story,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A deep copy, or the static out-of-memory error. NULL: NULL. */
pel_error *pel_error_clone(const pel_error *error, const pel_allocator *allocator);

/* Moves `from` to *to if `to` is wanted and empty, else destroys it. */
void pel_error_hand_over(pel_error **to, pel_error *from);

#endif
