/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of devices come from many places and some of them change during selection (ids, reasons). Owning each by hand makes every
 * error path a list of frees that someone gets wrong; here the table owns one bag. Rejected: interning or one growing block,
 * whose pointers move.
 */
#include "topology/keep.h"
#include "base/alloc.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct pel_kept {
    struct pel_kept *next;
    char text[];
};

static char nothing[1] = "";

void pel_keep_init(pel_keep *keep, const pel_allocator *allocator) {
    keep->allocator = allocator;
    keep->first = NULL;
    keep->failed = false;
}

void pel_keep_free(pel_keep *keep) {
    while (keep->first) {
        struct pel_kept *next = keep->first->next;
        pel_free(keep->allocator, keep->first);
        keep->first = next;
    }
}

char *pel_keep_bytes(pel_keep *keep, const char *bytes, size_t count) {
    struct pel_kept *kept = pel_alloc(keep->allocator, sizeof *kept + count + 1);
    if (!kept) {
        keep->failed = true;
        return nothing;
    }
    if (count > 0)
        memcpy(kept->text, bytes, count);
    kept->text[count] = '\0';
    kept->next = keep->first;
    keep->first = kept;
    return kept->text;
}

char *pel_keep_format(pel_keep *keep, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0)
        length = 0;
    return pel_keep_bytes(keep, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

char *pel_keep_text(pel_keep *keep, pel_text *text) {
    if (text->failed)
        keep->failed = true;
    char *kept = pel_keep_bytes(keep, text->data ? text->data : "", text->failed ? 0 : text->length);
    pel_text_free(text);
    return kept;
}
