/* SPDX-License-Identifier: BSD-3-Clause */
/* A growing text. Appends after a failed allocation do nothing; `failed` tells at the end. Numbers never depend on the locale. */
#ifndef PEL_BASE_TEXT_H
#define PEL_BASE_TEXT_H

#include <pel/runtime.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct pel_text {
    const pel_allocator *allocator;
    char *data; /* NUL-terminated once anything was appended; may be NULL */
    size_t length, capacity;
    bool failed;
} pel_text;

void pel_text_init(pel_text *text, const pel_allocator *allocator);
void pel_text_free(pel_text *text);
void pel_text_append(pel_text *text, const char *string);
void pel_text_append_bytes(pel_text *text, const char *bytes, size_t count);
void pel_text_format(pel_text *text, const char *format, ...) __attribute__((format(printf, 2, 3))); /* no floating point here */
void pel_text_number(pel_text *text, double value, int decimals); /* '.' in every locale; "nan", "inf" */
char *pel_text_take(pel_text *text); /* the caller owns the string; "" if empty; NULL if failed; text is empty again */

#endif
