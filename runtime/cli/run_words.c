/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The little language of --arg: NAME=VALUE[:WORD[=VALUE]]... One table of words; each has a reader that takes the text behind
 * '='. A ':' that belongs to a file name is written '\:'. An unknown word is an error rather than part of the file name,
 * because a typing slip would otherwise create a file of that name.
 */
#include "cli/options.h"
#include "cli/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef bool (*word_reader)(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]);

static bool set_mode(pel_run_argument *a, pel_access_mode mode, char message[PEL_MESSAGE_BYTES]) {
    if (a->mode != 0)
        return pel_message(message, "more than one of read, write and rw");
    a->mode = mode;
    return true;
}

static bool set_pattern(pel_run_argument *a, pel_run_pattern pattern, char message[PEL_MESSAGE_BYTES]) {
    if (a->pattern != PEL_RUN_UNDECLARED)
        return pel_message(message, "more than one of elementwise, block, whole, pergroup and reduce");
    a->pattern = pattern;
    return true;
}

static bool whole_number(const char *word, const char *text, uint64_t low, uint64_t high, uint64_t *out,
                         char message[PEL_MESSAGE_BYTES]) {
    if (!pel_cli_read_u64(text, out) || *out < low || *out > high)
        return pel_message(message, "%s=%s: not a whole number from %llu to %llu", word, text, (unsigned long long)low,
                           (unsigned long long)high);
    return true;
}

/* "a", or "a" and "b" with the separator between. */
static bool number_pair(const char *word, const char *text, char separator, uint64_t low, uint64_t *first, uint64_t *second,
                        bool *has_second, char message[PEL_MESSAGE_BYTES]) {
    char left[32];
    size_t length = strcspn(text, (char[]){separator, '\0'});
    *has_second = text[length] != '\0';
    if (length >= sizeof left)
        return pel_message(message, "%s=%s: not a number", word, text);
    memcpy(left, text, length);
    left[length] = '\0';
    return whole_number(word, left, low, INT64_MAX, first, message) &&
           (!*has_second || whole_number(word, text + length + 1, low, INT64_MAX, second, message));
}

static bool read_read(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    (void)text;
    return set_mode(a, PEL_READ, message);
}

static bool read_write(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    (void)text;
    return set_mode(a, PEL_WRITE, message);
}

static bool read_rw(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    (void)text;
    return set_mode(a, PEL_READ_WRITE, message);
}

static bool read_elementwise(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    bool has_den = false;
    a->num = a->den = 1;
    return set_pattern(a, PEL_RUN_ELEMENTWISE, message) &&
           (!text || number_pair("elementwise", text, '/', 1, &a->num, &a->den, &has_den, message));
}

static bool read_block(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    (void)text;
    return set_pattern(a, PEL_RUN_BLOCK, message);
}

static bool read_whole(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    (void)text;
    return set_pattern(a, PEL_RUN_WHOLE, message);
}

static bool read_pergroup(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    a->count = 1;
    return set_pattern(a, PEL_RUN_PER_GROUP, message) &&
           (!text || whole_number("pergroup", text, 1, INT64_MAX, &a->count, message));
}

static bool read_op(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    static const char *const names[] = {"none", "sum", "min", "max", "and", "or", "xor"};
    for (int i = PEL_REDUCE_SUM; i <= PEL_REDUCE_XOR; i++)
        if (strcmp(names[i], text) == 0) {
            a->op = (pel_reduce_op)i;
            return true;
        }
    return pel_message(message, "'%s' is no reduction: sum, min, max, and, or, xor", text);
}

static bool read_reduce(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    return set_pattern(a, PEL_RUN_REDUCE, message) && read_op(a, text, message);
}

static bool read_halo(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    bool has_second = false;
    a->has_halo = true;
    if (!number_pair("halo", text, ',', 0, &a->halo_lo, &a->halo_hi, &has_second, message))
        return false;
    if (!has_second)
        a->halo_hi = a->halo_lo;
    return true;
}

static bool read_count(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    return whole_number("count", text, 1, INT64_MAX, &a->count, message);
}

static bool read_bytes(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    return whole_number("bytes", text, 1, INT64_MAX, &a->bytes, message);
}

static bool read_channels(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    uint64_t value = 0;
    bool good = whole_number("channels", text, 1, 4, &value, message);
    a->channels = (uint32_t)value;
    return good;
}

static bool read_bits(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    if (strcmp(text, "8") != 0 && strcmp(text, "16") != 0)
        return pel_message(message, "bits=%s: a PNG has 8 or 16 bits a channel", text);
    a->bits = text[0] == '8' ? 8 : 16;
    return true;
}

/* As pel_cli_parse_extent, with the message handed back. */
static bool read_shape(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    char part[32];
    uint64_t product = 1;
    for (const char *c = text;; c++) {
        size_t length = strcspn(c, "x");
        if (a->shape_dims == 3 || length == 0 || length >= sizeof part)
            return pel_message(message, "shape=%s: not of the form N, NxN or NxNxN", text);
        memcpy(part, c, length);
        part[length] = '\0';
        if (!whole_number("shape", part, 1, INT64_MAX, &a->shape[a->shape_dims++], message))
            return false;
        if (__builtin_mul_overflow(product, a->shape[a->shape_dims - 1], &product))
            return pel_message(message, "shape=%s: more than 2^64 elements", text);
        c += length;
        if (!*c)
            return true;
    }
}

static bool read_pitch(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    a->pitch = text;
    return *text || pel_message(message, "pitch= needs bytes or the name of an argument");
}

static bool read_type(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    pel_element element;
    a->type = text;
    return pel_element_find(text, strlen(text), &element) || pel_message(message, "type=%s: no OpenCL type of that name", text);
}

static bool read_like(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    (void)message;
    a->like = text;
    return true;
}

static bool read_save(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    a->save = text;
    return *text || pel_message(message, "save= needs a file");
}

static bool read_format(pel_run_argument *a, const char *text, char message[PEL_MESSAGE_BYTES]) {
    a->format = text;
    return strcmp(text, "npy") == 0 || strcmp(text, "png") == 0 || strcmp(text, "raw") == 0 ||
           pel_message(message, "format=%s: npy, png or raw", text);
}

enum { NO_VALUE, MAY_VALUE, NEEDS_VALUE };

static const struct word {
    const char *name;
    int value;
    word_reader read;
} words[] = {
    {"read", NO_VALUE, read_read},
    {"write", NO_VALUE, read_write},
    {"rw", NO_VALUE, read_rw},
    {"elementwise", MAY_VALUE, read_elementwise},
    {"block", NO_VALUE, read_block},
    {"whole", NO_VALUE, read_whole},
    {"pergroup", MAY_VALUE, read_pergroup},
    {"reduce", NEEDS_VALUE, read_reduce},
    {"op", NEEDS_VALUE, read_op},
    {"halo", NEEDS_VALUE, read_halo},
    {"pitch", NEEDS_VALUE, read_pitch},
    {"count", NEEDS_VALUE, read_count},
    {"bytes", NEEDS_VALUE, read_bytes},
    {"type", NEEDS_VALUE, read_type},
    {"shape", NEEDS_VALUE, read_shape},
    {"like", NEEDS_VALUE, read_like},
    {"save", NEEDS_VALUE, read_save},
    {"format", NEEDS_VALUE, read_format},
    {"channels", NEEDS_VALUE, read_channels},
    {"bits", NEEDS_VALUE, read_bits},
};
enum { WORD_COUNT = sizeof words / sizeof words[0] };

static bool read_word(pel_run_argument *a, char *text, char message[PEL_MESSAGE_BYTES]) {
    const char *names[WORD_COUNT + 1];
    char *equals = strchr(text, '=');
    const char *value = equals ? equals + 1 : NULL;
    if (equals)
        *equals = '\0';
    for (size_t i = 0; i < WORD_COUNT; i++) {
        names[i] = words[i].name;
        if (strcmp(words[i].name, text) != 0)
            continue;
        if (words[i].value == NO_VALUE && value)
            return pel_message(message, "the word '%s' takes no value", text);
        if (words[i].value == NEEDS_VALUE && !value)
            return pel_message(message, "the word '%s' needs a value: %s=...", text, text);
        return words[i].read(a, value, message);
    }
    names[WORD_COUNT] = NULL;
    const char *nearest = pel_cli_nearest(text, names);
    if (nearest)
        return pel_message(message, "'%s' is no word of --arg; did you mean '%s'?", text, nearest);
    return pel_message(message, "'%s' is no word of --arg (see 'pel help run'); a ':' in a file name is written '\\:'", text);
}

/* Cuts `text` at its first plain ':', turns '\:' into ':' before it, and returns what is behind the cut, or NULL. */
static char *cut(char *text) {
    char *to = text;
    for (char *c = text; *c; c++) {
        if (c[0] == '\\' && c[1] == ':') {
            *to++ = *++c;
        } else if (*c == ':') {
            *to = '\0';
            return c + 1;
        } else {
            *to++ = *c;
        }
    }
    *to = '\0';
    return NULL;
}

static bool consistent(const pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    if ((a->has_halo || a->pitch) && a->pattern != PEL_RUN_BLOCK)
        return pel_message(message, "%s belongs to block", a->has_halo ? "halo" : "pitch");
    if (a->has_halo && a->mode == PEL_WRITE)
        return pel_message(message, "a halo is what is read around the written part; with write there is none");
    if (a->op != PEL_REDUCE_NONE && a->pattern != PEL_RUN_PER_GROUP && a->pattern != PEL_RUN_REDUCE)
        return pel_message(message, "op belongs to pergroup");
    if (a->pattern == PEL_RUN_PER_GROUP && a->mode != PEL_WRITE)
        return pel_message(message, "pergroup means that each work-group writes its own elements: say write");
    if (a->pattern == PEL_RUN_REDUCE && a->mode == PEL_READ)
        return pel_message(message, "a reduction is written: say write (start afresh) or rw (go on from the file)");
    if (a->save && a->mode != PEL_READ_WRITE)
        return pel_message(message, "save= belongs to rw; what is written goes to the file before the first ':'");
    if (a->like && a->shape_dims)
        return pel_message(message, "both like= and shape=");
    return true;
}

static bool parse(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    char *equals = strchr(a->text, '=');
    if (!equals || equals == a->text)
        return pel_message(message, "'%s' is not of the form NAME=VALUE", a->text);
    *equals = '\0';
    a->name = a->text;
    a->value = equals + 1;
    for (char *word = cut(equals + 1); word;) {
        char *next = cut(word);
        if (!read_word(a, word, message))
            return pel_message_prefix(message, "argument %.120s: ", a->name);
        word = next;
    }
    if (!*a->value)
        return pel_message(message, "argument %.120s: there is no value before the words", a->name);
    return consistent(a, message) || pel_message_prefix(message, "argument %.120s: ", a->name);
}

bool pel_run_read_argument(const char *text, pel_run_argument *argument, char message[PEL_MESSAGE_BYTES]) {
    *argument = (pel_run_argument){.text = strdup(text)};
    if (!argument->text)
        return pel_message(message, "out of memory");
    if (parse(argument, message))
        return true;
    pel_run_argument_free(argument);
    return false;
}

void pel_run_argument_free(pel_run_argument *argument) {
    pel_array_free(&argument->array);
    free(argument->initial);
    free(argument->text);
    *argument = (pel_run_argument){0};
}

const char *pel_run_access_text(const pel_run_argument *a, char text[160]) {
    static const char *const modes[] = {"", "read", "write", "read and write"};
    static const char *const patterns[] = {"not declared", "elementwise", "block", "whole", "per group", "reduction"};
    static const char *const ops[] = {"", ", sum", ", min", ", max", ", and", ", or", ", xor"};
    if (!a->parameter || a->parameter->space == PEL_SPACE_VALUE || a->parameter->space == PEL_SPACE_LOCAL) {
        snprintf(text, 160, "%s", a->parameter && a->parameter->space == PEL_SPACE_LOCAL ? "local memory" : "value");
        return text;
    }
    const char *pattern = a->pattern == PEL_RUN_UNDECLARED && a->mode == PEL_READ ? "whole" : patterns[a->pattern];
    int used = snprintf(text, 160, "%s, %s%s", modes[a->mode & 3], pattern, ops[a->op]);
    if (a->pattern == PEL_RUN_ELEMENTWISE && a->num != a->den)
        used += snprintf(text + used, 160 - (size_t)used, " %llu/%llu", (unsigned long long)a->num, (unsigned long long)a->den);
    if (a->has_halo)
        snprintf(text + used, 160 - (size_t)used, ", halo %llu,%llu", (unsigned long long)a->halo_lo,
                 (unsigned long long)a->halo_hi);
    return text;
}
