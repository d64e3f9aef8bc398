/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Composing messages, options and JSON takes dozens of appends; checking each for failure would drown the code. So a failed
 * append marks the text, later ones do nothing, and the end asks once. Numbers are written without the locale because a library
 * must neither set the locale nor write "0,5" into a file when its host has set one.
 */
#include "base/text.h"

#include "base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void pel_text_init(pel_text *text, const pel_allocator *allocator) {
    *text = (pel_text){.allocator = allocator};
}

void pel_text_free(pel_text *text) {
    pel_free(text->allocator, text->data);
    pel_text_init(text, text->allocator);
}

/* Room for `count` more bytes and the NUL. */
static bool reserve(pel_text *text, size_t count) {
    size_t needed;
    if (text->failed || __builtin_add_overflow(text->length, count, &needed) ||
        __builtin_add_overflow(needed, (size_t)1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity) {
        return true;
    }
    size_t capacity = text->capacity < 32 ? 64 : text->capacity * 2;
    if (capacity < needed) {
        capacity = needed;
    }
    char *data = pel_resize(text->allocator, text->data, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void pel_text_append_bytes(pel_text *text, const char *bytes, size_t count) {
    if (reserve(text, count)) {
        if (count > 0) {
            memcpy(text->data + text->length, bytes, count);
        }
        text->length += count;
        text->data[text->length] = '\0';
    }
}

void pel_text_append(pel_text *text, const char *string) {
    if (string != NULL) {
        pel_text_append_bytes(text, string, strlen(string));
    }
}

void pel_text_format(pel_text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int count = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (count < 0) {
        text->failed = true;
        return;
    }
    if (reserve(text, (size_t)count)) {
        va_start(list, format);
        vsnprintf(text->data + text->length, (size_t)count + 1, format, list);
        va_end(list);
        text->length += (size_t)count;
    }
}

void pel_text_number(pel_text *text, double value, int decimals) {
    if (isnan(value)) {
        pel_text_append(text, "nan");
        return;
    }
    if (isinf(value)) {
        pel_text_append(text, value < 0 ? "-inf" : "inf");
        return;
    }
    decimals = decimals < 0 ? 0 : decimals > 40 ? 40 : decimals;
    char digits[400]; /* 309 digits of the largest double, sign, point, 40 decimals */
    int count = snprintf(digits, sizeof digits, "%.*f", decimals, value);
    bool point = false; /* whatever the locale puts between the digits, however many bytes, is the point */
    for (int i = 0; i < count; i++) {
        bool digit = (digits[i] >= '0' && digits[i] <= '9') || digits[i] == '-';
        if (digit) {
            pel_text_append_bytes(text, &digits[i], 1);
        } else if (!point) {
            pel_text_append(text, ".");
            point = true;
        }
    }
}

char *pel_text_take(pel_text *text) {
    if (!text->failed) {
        pel_text_append_bytes(text, "", 0);
    }
    char *data = text->data;
    if (text->failed) {
        pel_free(text->allocator, data);
        data = NULL;
    }
    pel_text_init(text, text->allocator);
    return data;
}
