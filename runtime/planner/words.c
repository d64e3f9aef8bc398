/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The planner's words.
 *
 * A plan explains a dozen alternatives within a budget of 5 us, so its numbers are written by hand: snprintf needs about 300 ns
 * for one floating-point number and takes the decimal point from the caller's locale. Three digits are enough: predictions are
 * not better than that.
 */
#include "planner/internal.h"

#include <math.h>
#include <string.h>

void pel_words_begin(pel_words *words, char *buffer, size_t bytes) {
    words->at = buffer;
    words->end = buffer + bytes - 1;
    *buffer = '\0';
}

void pel_words_cut(pel_words *words, const char *text, size_t length) {
    const size_t room = (size_t)(words->end - words->at);
    length = length < room ? length : room;
    memcpy(words->at, text, length);
    words->at += length;
    *words->at = '\0';
}

void pel_words_number(pel_words *words, uint64_t value) {
    char digits[24];
    char *at = digits + sizeof digits - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    pel_words_put(words, at);
}

/* value with `decimals` digits behind the point, 2 at most; value < 1e15. */
static void put_fixed(pel_words *words, double value, uint32_t decimals) {
    static const uint64_t power[] = {1, 10, 100};
    const uint64_t scaled = (uint64_t)(value * (double)power[decimals] + 0.5);
    char digits[24];
    char *at = digits + sizeof digits;
    uint64_t left = scaled;
    for (uint32_t i = 0; i < decimals; i++, left /= 10) {
        *--at = (char)('0' + left % 10);
    }
    if (decimals > 0) {
        *--at = '.';
    }
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    pel_words_copy(words, at, (size_t)(digits + sizeof digits - at));
}

void pel_words_time(pel_words *words, double ns) {
    static const struct {
        double scale;
        const char *name;
    } units[] = {{1e9, " s"}, {1e6, " ms"}, {1e3, " us"}, {1.0, " ns"}};
    if (!isfinite(ns) || ns > 1e20) {
        pel_words_put(words, "ages");
        return;
    }
    size_t i = 0;
    while (i < 3 && ns < 0.9995 * units[i].scale) {
        i++;
    }
    double value = ns / units[i].scale;
    put_fixed(words, value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
    pel_words_put(words, units[i].name);
}

void pel_words_joules(pel_words *words, double joules) {
    static const struct {
        double scale;
        const char *name;
    } units[] = {{1.0, " J"}, {1e-3, " mJ"}, {1e-6, " uJ"}};
    size_t i = 0;
    while (i < 2 && joules < 0.9995 * units[i].scale) {
        i++;
    }
    double value = joules / units[i].scale;
    if (!(value < 1e15)) {
        pel_words_put(words, "endless energy");
        return;
    }
    put_fixed(words, value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
    pel_words_put(words, units[i].name);
}

void pel_words_percent(pel_words *words, double fraction) {
    double percent = 100.0 * fraction;
    if (percent < 0.0) {
        pel_words_put(words, "-");
        percent = -percent;
    }
    if (!(percent < 1e12)) {
        pel_words_put(words, "very many %");
        return;
    }
    put_fixed(words, percent, percent < 9.95 ? 1 : 0);
    pel_words_put(words, " %");
}

void pel_words_memory(pel_words *words, uint64_t limit, uint64_t units) {
    pel_words_put(words, "its memory holds ");
    pel_words_number(words, limit);
    pel_words_put(words, " of ");
    pel_words_number(words, units);
    pel_words_put(words, " units");
}

void pel_words_devices(pel_words *words, const pel_plan_request *request, uint64_t mask) {
    bool first = true;
    while (mask != 0) {
        uint32_t index = (uint32_t)__builtin_ctzll(mask);
        mask &= mask - 1;
        if (!first) {
            pel_words_put(words, " + ");
        }
        first = false;
        pel_words_put(words, request->devices[index].id);
    }
}
