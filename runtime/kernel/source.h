/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenCL C as tokens: just enough of a preprocessor to see words, directives and braces. Internal to kernel/. */
#ifndef PEL_KERNEL_SOURCE_H
#define PEL_KERNEL_SOURCE_H

#include "base/alloc.h"
#include "base/text.h"
#include <pel/status.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A copy with line splices removed and each comment replaced by a blank (its newlines kept apart); strings stay. NULL: no
 * memory.
 */
char *pel_source_clean(const pel_allocator *allocator, const char *source, size_t bytes, size_t *length);

typedef enum pel_token_kind {
    PEL_TOKEN_END = 0,
    PEL_TOKEN_WORD, /* identifier or keyword */
    PEL_TOKEN_NUMBER,
    PEL_TOKEN_STRING, /* with its quotes; character literals too */
    PEL_TOKEN_HASH,   /* # (or %:) as the first token of a line */
    PEL_TOKEN_PASTE,  /* ## (or %:%:) */
    PEL_TOKEN_NEWLINE,
    PEL_TOKEN_OTHER /* one character */
} pel_token_kind;

typedef struct pel_token {
    pel_token_kind kind;
    const char *text;
    size_t length;
} pel_token;

typedef struct pel_tokens {
    const char *at, *end;
    bool line_start;
} pel_tokens;

void pel_tokens_begin(pel_tokens *tokens, const char *clean, size_t length);
pel_token pel_tokens_next(pel_tokens *tokens);
bool pel_token_is(const pel_token *token, const char *text);

/*
 * Everything that `source` includes, resolved through `paths` and, for "name" inside a file, that file's directory. Contents
 * are appended to `all`, each after PEL_SCAN_NEXT_FILE; *complete becomes false, and *missing (owned by the caller) names the
 * first, when an include cannot be resolved or read here.
 */
pel_status pel_source_includes(const pel_allocator *allocator, const char *source, size_t bytes, const char *const *paths,
                               size_t path_count, pel_text *all, bool *complete, char **missing);

#endif
