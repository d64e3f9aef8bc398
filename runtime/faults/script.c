/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The script: a line of text that says which calls fail, when and how. The grammar is in docs/testing-faults.md and
 * pel-faults(7).
 *
 * The problem: a test must be able to name exactly one fault, and a soak to draw many from a seed, in one environment variable.
 * The invariant: a script that is not understood is refused as a whole, with the place, because a typing error that injects
 * nothing would look like a passed test. Rejected: a configuration language or JSON, which nobody types into a shell.
 */
#include "faults/layer.h"

#include <ctype.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_SCRIPT = 65536 };

#define CODES(X)                                                                                                                 \
    X(CL_DEVICE_NOT_FOUND)                                                                                                       \
    X(CL_DEVICE_NOT_AVAILABLE) X(CL_COMPILER_NOT_AVAILABLE) X(CL_MEM_OBJECT_ALLOCATION_FAILURE) X(CL_OUT_OF_RESOURCES)           \
        X(CL_OUT_OF_HOST_MEMORY) X(CL_PROFILING_INFO_NOT_AVAILABLE) X(CL_MEM_COPY_OVERLAP) X(CL_IMAGE_FORMAT_MISMATCH)           \
            X(CL_IMAGE_FORMAT_NOT_SUPPORTED) X(CL_BUILD_PROGRAM_FAILURE) X(CL_MAP_FAILURE) X(CL_MISALIGNED_SUB_BUFFER_OFFSET) X( \
                CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) X(CL_COMPILE_PROGRAM_FAILURE) X(CL_LINKER_NOT_AVAILABLE)           \
                X(CL_LINK_PROGRAM_FAILURE) X(CL_DEVICE_PARTITION_FAILED) X(CL_KERNEL_ARG_INFO_NOT_AVAILABLE) X(CL_INVALID_VALUE) \
                    X(CL_INVALID_DEVICE_TYPE) X(CL_INVALID_PLATFORM) X(CL_INVALID_DEVICE) X(CL_INVALID_CONTEXT)                  \
                        X(CL_INVALID_QUEUE_PROPERTIES) X(CL_INVALID_COMMAND_QUEUE) X(CL_INVALID_HOST_PTR)                        \
                            X(CL_INVALID_MEM_OBJECT) X(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR) X(CL_INVALID_IMAGE_SIZE)              \
                                X(CL_INVALID_SAMPLER) X(CL_INVALID_BINARY) X(CL_INVALID_BUILD_OPTIONS) X(CL_INVALID_PROGRAM) X(  \
                                    CL_INVALID_PROGRAM_EXECUTABLE) X(CL_INVALID_KERNEL_NAME) X(CL_INVALID_KERNEL_DEFINITION)     \
                                    X(CL_INVALID_KERNEL) X(CL_INVALID_ARG_INDEX) X(CL_INVALID_ARG_VALUE) X(CL_INVALID_ARG_SIZE)  \
                                        X(CL_INVALID_KERNEL_ARGS) X(CL_INVALID_WORK_DIMENSION) X(CL_INVALID_WORK_GROUP_SIZE)     \
                                            X(CL_INVALID_WORK_ITEM_SIZE) X(CL_INVALID_GLOBAL_OFFSET)                             \
                                                X(CL_INVALID_EVENT_WAIT_LIST) X(CL_INVALID_EVENT) X(CL_INVALID_OPERATION)        \
                                                    X(CL_INVALID_GL_OBJECT) X(CL_INVALID_BUFFER_SIZE) X(CL_INVALID_MIP_LEVEL)    \
                                                        X(CL_INVALID_GLOBAL_WORK_SIZE) X(CL_INVALID_PROPERTY)                    \
                                                            X(CL_INVALID_IMAGE_DESCRIPTOR) X(CL_INVALID_COMPILER_OPTIONS)        \
                                                                X(CL_INVALID_LINKER_OPTIONS)                                     \
                                                                    X(CL_INVALID_DEVICE_PARTITION_COUNT) X(CL_INVALID_PIPE_SIZE) \
                                                                        X(CL_INVALID_DEVICE_QUEUE) X(CL_INVALID_SPEC_ID)         \
                                                                            X(CL_MAX_SIZE_RESTRICTION_EXCEEDED)

static const struct {
    const char *name;
    cl_int code;
} code_names[] = {
#define CODE_NAME(name) {#name, name},
    CODES(CODE_NAME)};

const char *pel_faults_code_name(cl_int code) {
    for (size_t i = 0; i < sizeof code_names / sizeof *code_names; i++) {
        if (code_names[i].code == code) {
            return code_names[i].name;
        }
    }
    return NULL;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t pel_faults_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- reading ---- */

typedef struct reader {
    const char *item; /* the item under way, for messages */
    char *why;
    size_t why_bytes;
} reader;

static bool wrong(const reader *r, const char *what) {
    (void)snprintf(r->why, r->why_bytes, "\"%.60s\": %s", r->item, what);
    return false;
}

static char *trim(char *text) {
    while (isspace((unsigned char)*text)) {
        text++;
    }
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) {
        text[--length] = '\0';
    }
    return text;
}

/* A decimal number without sign; NULL: none, or too large. The locale never matters. */
static const char *read_whole(const char *text, uint64_t *number) {
    uint64_t value = 0;
    if (!isdigit((unsigned char)*text)) {
        return NULL;
    }
    for (; isdigit((unsigned char)*text); text++) {
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) {
            return NULL;
        }
    }
    *number = value;
    return text;
}

static const char *read_number(const char *text, double *number) {
    uint64_t whole = 0;
    const char *at = read_whole(text, &whole);
    double value = (double)whole, place = 0.1;
    if (at && *at == '.') {
        for (at++; isdigit((unsigned char)*at); at++) {
            value += place * (*at - '0');
            place /= 10;
        }
    }
    *number = value;
    return at;
}

static bool read_time(const char *text, double *nanoseconds) {
    static const struct {
        const char *unit;
        double nanoseconds;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    const char *unit = read_number(text, nanoseconds);
    for (size_t i = 0; unit && i < sizeof units / sizeof *units; i++) {
        if (strcmp(unit, units[i].unit) == 0) {
            *nanoseconds *= units[i].nanoseconds;
            return *nanoseconds <= 86400e9;
        }
    }
    return false;
}

static bool read_code(const char *text, cl_int *code) {
    uint64_t number;
    for (size_t i = 0; i < sizeof code_names / sizeof *code_names; i++) {
        if (strcmp(text, code_names[i].name) == 0) {
            *code = code_names[i].code;
            return true;
        }
    }
    const char *end = *text == '-' ? read_whole(text + 1, &number) : NULL;
    if (!end || *end != '\0' || number == 0 || number > 100000) {
        return false;
    }
    *code = -(cl_int)number;
    return true;
}

/* "N", "N+", "N-M", "N/P", "P%". */
static bool read_when(const reader *r, const char *text, pel_faults_rule *rule) {
    double chance;
    const char *end = read_number(text, &chance);
    if (end && strcmp(end, "%") == 0) {
        rule->when = PEL_WHEN_CHANCE;
        rule->chance = chance / 100;
        return chance <= 100 || wrong(r, "a chance is at most 100%");
    }
    end = read_whole(text, &rule->first);
    if (!end || rule->first == 0) {
        return wrong(r, "after '@' stands N, N+, N-M, N/P or P%; calls count from 1");
    }
    rule->when = *end == '/' ? PEL_WHEN_EVERY : PEL_WHEN_RANGE;
    rule->last = rule->first;
    if (strcmp(end, "+") == 0) {
        rule->last = UINT64_MAX;
    } else if (*end == '-' || *end == '/') {
        end = read_whole(end + 1, &rule->last);
        if (!end || *end != '\0' || rule->last == 0 || (rule->when == PEL_WHEN_RANGE && rule->last < rule->first)) {
            return wrong(r, "what follows '@' is not understood");
        }
    } else if (*end != '\0') {
        return wrong(r, "what follows '@' is not understood");
    }
    return true;
}

/* Cuts "word(argument)" in two; false: the parenthesis is not closed. */
static bool cut_argument(char *text, char **argument) {
    size_t length = strlen(text);
    char *open = strchr(text, '(');
    *argument = "";
    if (open) {
        if (text[length - 1] != ')') {
            return false;
        }
        text[length - 1] = '\0';
        *open = '\0';
        *argument = open + 1;
    }
    return true;
}

static bool read_action(const reader *r, char *text, pel_faults_rule *rule) {
    static const struct {
        const char *word;
        pel_faults_kind kind;
    } words[] = {{"random", PEL_FAULT_RANDOM}, {"event", PEL_FAULT_EVENT},  {"late", PEL_FAULT_LATE},
                 {"never", PEL_FAULT_NEVER},   {"flip", PEL_FAULT_FLIP},    {"slow", PEL_FAULT_SLOW},
                 {"delay", PEL_FAULT_DELAY},   {"vanish", PEL_FAULT_VANISH}};
    char *argument;
    if (read_code(text, &rule->code)) {
        rule->kind = PEL_FAULT_CODE;
        return true;
    }
    if (!cut_argument(text, &argument)) {
        return wrong(r, "a parenthesis is not closed");
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].word) == 0) {
            rule->kind = words[i].kind;
        }
    }
    const char *end;
    switch (rule->kind) {
    case PEL_FAULT_EVENT:
        return read_code(argument, &rule->code) || wrong(r, "event(CODE) wants the name of an error code, or a negative number");
    case PEL_FAULT_LATE:
    case PEL_FAULT_DELAY:
        return read_time(argument, &rule->amount) || wrong(r, "this wants a time of at most a day, like 20ms");
    case PEL_FAULT_SLOW:
        end = read_number(argument, &rule->amount);
        return (end && *end == '\0' && rule->amount >= 1 && rule->amount <= 1e6) ||
               wrong(r, "slow(FACTOR) wants a factor of 1 or more");
    case PEL_FAULT_FLIP:
        rule->amount = 1;
        end = *argument ? read_number(argument, &rule->amount) : argument;
        return (end && *end == '\0' && rule->amount >= 1 && rule->amount <= 1e6) || wrong(r, "flip(BITS) wants a number of bits");
    case PEL_FAULT_NONE:
        return wrong(
            r,
            "after ':' stands an error code, random, event(CODE), late(TIME), never, flip, slow(FACTOR), delay(TIME) or vanish");
    default:
        return *argument == '\0' || wrong(r, "this word has no argument");
    }
}

static bool known_pattern(const pel_faults_rule *rule) {
    for (uint32_t call = 0; call < PEL_FAULTS_CALL_COUNT; call++) {
        if (pel_faults_rule_names(rule, pel_faults_call_name(call))) {
            return true;
        }
    }
    return false;
}

/* CALLS[DEVICE]@WHEN:ACTION */
static bool read_rule(const reader *r, char *item, pel_faults_script *script) {
    char *action = strrchr(item, ':'), *when, *device;
    if (!action) {
        return wrong(r, "a rule is CALLS[DEVICE]@WHEN:ACTION; there is no ':'");
    }
    if (script->count == PEL_FAULTS_RULES) {
        return wrong(r, "too many rules");
    }
    pel_faults_rule *rule = &script->rules[script->count];
    *rule = (pel_faults_rule){.when = PEL_WHEN_RANGE, .first = 1, .last = UINT64_MAX};
    *action++ = '\0';
    action = trim(action);
    when = strrchr(item, '@');
    if (when) {
        *when++ = '\0';
        if (!read_when(r, trim(when), rule)) {
            return false;
        }
    }
    item = trim(item);
    device = strchr(item, '[');
    if (device) {
        size_t length = strlen(device);
        if (device[length - 1] != ']' || length - 2 >= sizeof rule->device) {
            return wrong(r, "what stands in [] is a part of a device's name");
        }
        *device++ = '\0';
        memcpy(rule->device, device, length - 2);
        item = trim(item);
    }
    if (strlen(item) >= sizeof rule->pattern) {
        return wrong(r, "the name is too long");
    }
    memcpy(rule->pattern, item, strlen(item) + 1);
    if (!known_pattern(rule)) {
        return wrong(r, "no OpenCL call has that name; write one, a pattern like clEnqueue*, or any");
    }
    if (!read_action(r, action, rule)) {
        return false;
    }
    script->count++;
    return true;
}

static bool read_setting(const reader *r, const char *item, pel_faults_script *script, bool *known) {
    const char *value = strchr(item, '='), *end;
    *known = true;
    if (strncmp(item, "seed=", 5) == 0) {
        end = read_whole(value + 1, &script->seed);
        return (end && *end == '\0') || wrong(r, "a seed is a whole number");
    }
    char *to = strncmp(item, "log=", 4) == 0 ? script->log : strncmp(item, "report=", 7) == 0 ? script->report : NULL;
    if (!to) {
        *known = false;
        return true;
    }
    if (strlen(value + 1) >= sizeof script->log || value[1] == '\0') {
        return wrong(r, "this wants a path, or - for the standard error output");
    }
    memcpy(to, value + 1, strlen(value + 1) + 1);
    return true;
}

/* Reads all items of `text`, which is changed. */
static bool read_items(char *text, pel_faults_script *script, char *why, size_t why_bytes) {
    for (char *comment = strchr(text, '#'); comment; comment = strchr(comment, '#')) {
        size_t length = strcspn(comment, "\n");
        memset(comment, ' ', length);
    }
    for (char *next = text; next;) {
        char *item = next;
        size_t length = strcspn(item, ";\n");
        next = item[length] ? item + length + 1 : NULL;
        item[length] = '\0';
        item = trim(item);
        char shown[64];
        (void)snprintf(shown, sizeof shown, "%.60s", item);
        const reader r = {shown, why, why_bytes};
        bool known = false;
        if (*item == '\0') {
            continue;
        }
        if (!read_setting(&r, item, script, &known) || (!known && !read_rule(&r, item, script))) {
            return false;
        }
    }
    return true;
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "re");
    char *text = file ? calloc(1, LONGEST_SCRIPT + 1) : NULL;
    if (text && (fread(text, 1, LONGEST_SCRIPT, file) == LONGEST_SCRIPT || ferror(file) || strlen(text) == 0)) {
        free(text);
        text = NULL;
    }
    if (file) {
        (void)fclose(file);
    }
    return text;
}

bool pel_faults_parse(const char *text, pel_faults_script *script, char *why, size_t why_bytes) {
    memset(script, 0, sizeof *script);
    script->seed = 1;
    bool in_file = text && *text == '@';
    char *copy = in_file ? read_file(text + 1) : strndup(text ? text : "", LONGEST_SCRIPT + 1);
    if (!copy || strlen(copy) > LONGEST_SCRIPT) {
        (void)snprintf(why, why_bytes,
                       in_file ? "the script %.100s cannot be read, or is empty or too long" : "the script%.0s is too long",
                       text ? text + 1 : "");
        free(copy);
        return false;
    }
    bool well = read_items(copy, script, why, why_bytes);
    free(copy);
    return well;
}

/* ---- using ---- */

bool pel_faults_rule_names(const pel_faults_rule *rule, const char *call) {
    if (strcmp(rule->pattern, "any") == 0) {
        return strncmp(call, "clRetain", 8) != 0 && strncmp(call, "clRelease", 9) != 0;
    }
    return fnmatch(rule->pattern, call, 0) == 0;
}

bool pel_faults_rule_fires(pel_faults_rule *rule, uint64_t *random) {
    uint64_t number = ++rule->seen;
    switch (rule->when) {
    case PEL_WHEN_EVERY:
        return number >= rule->first && (number - rule->first) % rule->last == 0;
    case PEL_WHEN_CHANCE:
        return (double)(pel_faults_random(random) >> 11) * 0x1p-53 < rule->chance;
    default:
        return number >= rule->first && number <= rule->last;
    }
}
