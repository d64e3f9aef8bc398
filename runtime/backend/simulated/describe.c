/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machine descriptions.
 *
 *     seed = 7                # before the first section; of the random stream
 *     [host]                  # the host itself: where tasks run; without this section it has default speeds
 *     items_per_us = 800      # speed; the one key that every section needs
 *     [gpu0]                  # any other section is a device, "sim:gpu0" in device lists
 *     items_per_us = 6400
 *     start_us = 25           # the table below has all keys
 *     copies = 8              # there are eight of them: gpu0-1 to gpu0-8
 *
 * Units stand in the keys, so that a file explains itself and a number can never be read in the wrong one. Anything not
 * understood is an error with file and line: a typing error that silently leaves a default would make a simulation of some other
 * machine. Numbers are decimal with '.', whatever the locale says. Rejected: JSON (no comments, and a library that the core does
 * not link).
 */
#include "backend/simulated/describe.h"
#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILE_LIMIT (1u << 20)

typedef enum value_kind { REAL, COUNT, COUNT_32, BYTES, GROUP } value_kind;

typedef struct key {
    const char *name;
    value_kind kind;
    size_t offset;
    double scale;       /* file unit -> field unit */
    double least, most; /* in file units */
} key;

static const key keys[] = {
    {"items_per_us", REAL, offsetof(pel_simulated_device, rate), 1.0, 1e-9, 1e12},
    {"start_us", REAL, offsetof(pel_simulated_device, start_ns), 1e3, 0.0, 1e12},
    {"noise_percent", REAL, offsetof(pel_simulated_device, noise), 0.01, 0.0, 200.0},
    {"spike_percent", REAL, offsetof(pel_simulated_device, spike_chance), 0.01, 0.0, 100.0},
    {"spike_factor", REAL, offsetof(pel_simulated_device, spike_factor), 1.0, 1e-6, 1e6},
    {"memory_mib", BYTES, offsetof(pel_simulated_device, memory_bytes), 1048576.0, 1e-6, 1e12},
    {"link_gb_per_s", REAL, offsetof(pel_simulated_device, link_bytes_per_ns), 1.0, 1e-9, 1e9},
    {"link_latency_us", REAL, offsetof(pel_simulated_device, link_latency_ns), 1e3, 0.0, 1e12},
    {"slow_after_chunk", COUNT, offsetof(pel_simulated_device, slow_after), 1.0, 0.0, 1e18},
    {"slow_factor", REAL, offsetof(pel_simulated_device, slow_factor), 1.0, 1e-6, 1e6},
    {"fail_at_chunk", COUNT, offsetof(pel_simulated_device, fail_at), 1.0, 0.0, 1e18},
    {"lost_at_chunk", COUNT, offsetof(pel_simulated_device, lost_at), 1.0, 0.0, 1e18},
    {"view_alignment_bytes", COUNT_32, offsetof(pel_simulated_device, view_alignment), 1.0, 0.0, 1048576.0},
    {"core_group", GROUP, offsetof(pel_simulated_device, core_group), 1.0, 0.0, 4096.0},
    {"knee_items", REAL, offsetof(pel_simulated_device, knee_items), 1.0, 0.0, 1e15},
    {"cliff_items", REAL, offsetof(pel_simulated_device, cliff_items), 1.0, 0.0, 1e15},
    {"cliff_factor", REAL, offsetof(pel_simulated_device, cliff_factor), 1.0, 1e-6, 1.0},
    {"spike_factor_most", REAL, offsetof(pel_simulated_device, spike_factor_most), 1.0, 1e-6, 1e6},
    {"noise_memory", REAL, offsetof(pel_simulated_device, noise_memory), 1.0, 0.0, 0.999},
    {"slow_until_chunk", COUNT, offsetof(pel_simulated_device, slow_until), 1.0, 0.0, 1e18},
    {"drift_percent", REAL, offsetof(pel_simulated_device, drift), 0.01, 0.0, 99.0},
    {"drift_period_ms", REAL, offsetof(pel_simulated_device, drift_period_ns), 1e6, 1e-6, 1e9},
    {"contention_percent", REAL, offsetof(pel_simulated_device, contention), 0.01, 0.0, 1e4},
    {"busy_watts", REAL, offsetof(pel_simulated_device, busy_watts), 1.0, 0.0, 1e6},
    {"idle_watts", REAL, offsetof(pel_simulated_device, idle_watts), 1.0, 0.0, 1e6},
    {"lost_part", REAL, offsetof(pel_simulated_device, lost_part), 1.0, 0.0, 1.0},
    {"hang_at_chunk", COUNT, offsetof(pel_simulated_device, hang_at), 1.0, 0.0, 1e18},
    {"hang_ms", REAL, offsetof(pel_simulated_device, hang_ns), 1e6, 0.0, 1e9},
    {"fail_until_chunk", COUNT, offsetof(pel_simulated_device, fail_until), 1.0, 0.0, 1e18},
    {"wrong_every_chunks", COUNT, offsetof(pel_simulated_device, wrong_every), 1.0, 0.0, 1e18},
    {"begins_late_us", REAL, offsetof(pel_simulated_device, begins_late_ns), 1e3, 0.0, 1e12},
};
#define KEY_COUNT (sizeof keys / sizeof keys[0])

typedef struct parser {
    const pel_allocator *allocator;
    const char *path;
    uint32_t line;
    pel_description *description;
    uint32_t capacity;
    uint32_t given; /* keys of the current section, a bit each */
    uint32_t section_line;
    uint64_t copies; /* of the current section's device; 0: not said */
    bool seed_given;
    pel_error **error;
} parser;

/* A piece of the file. */
typedef struct slice {
    const char *at;
    size_t length;
} slice;

static bool same(slice text, const char *word) {
    return text.length == strlen(word) && memcmp(text.at, word, text.length) == 0;
}

/* For messages: at most 40 characters, nothing that a terminal would obey. */
static const char *shown(slice text, char out[44]) {
    size_t length = text.length < 40 ? text.length : 40;
    for (size_t i = 0; i < length; i++) {
        out[i] = text.at[i] >= ' ' && text.at[i] <= '~' ? text.at[i] : '?';
    }
    memcpy(out + length, length < text.length ? "..." : "", length < text.length ? 4 : 1);
    return out;
}

static slice trimmed(slice text) {
    while (text.length > 0 && strchr(" \t\r", text.at[0]) != NULL && text.at[0] != '\0') {
        text.at++;
        text.length--;
    }
    while (text.length > 0 && strchr(" \t\r", text.at[text.length - 1]) != NULL && text.at[text.length - 1] != '\0') {
        text.length--;
    }
    return text;
}

static pel_status wrong(const parser *p, uint32_t line, const char *what, slice detail, const char *advice) {
    char text[44];
    return pel_fail(p->error, p->allocator, PEL_INVALID_ARGUMENT, &(pel_story){.advice = advice}, "%s:%u: %s%s%s%s", p->path,
                    line, what, detail.length > 0 ? ": \"" : "", shown(detail, text), detail.length > 0 ? "\"" : "");
}

static bool is_digit(const char *at, const char *end) {
    return at < end && *at >= '0' && *at <= '9';
}

/* digits [. digits] [e [sign] digits], nothing else. Nineteen digits of mantissa count. */
static bool parse_number(slice text, double *value) {
    const char *at = text.at, *end = text.at + text.length;
    uint64_t mantissa = 0;
    int exponent = 0, written = 0;
    bool any = false;
    for (; is_digit(at, end); at++, any = true) {
        if (mantissa < UINT64_MAX / 10 - 1) {
            mantissa = mantissa * 10 + (uint64_t)(*at - '0');
        } else {
            exponent++;
        }
    }
    if (at < end && *at == '.') {
        for (at++; is_digit(at, end); at++, any = true) {
            if (mantissa < UINT64_MAX / 10 - 1) {
                mantissa = mantissa * 10 + (uint64_t)(*at - '0');
                exponent--;
            }
        }
    }
    if (!any) {
        return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        bool negative = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        if (!is_digit(at, end)) {
            return false;
        }
        for (; is_digit(at, end); at++) {
            written = written < 10000 ? written * 10 + (*at - '0') : written;
        }
        exponent += negative ? -written : written;
    }
    *value = (double)mantissa * pow(10.0, exponent);
    return at == end && isfinite(*value);
}

static bool parse_count(slice text, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (!is_digit(text.at + i, text.at + text.length) || __builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(text.at[i] - '0'), value)) {
            return false;
        }
    }
    return text.length > 0;
}

static pel_status set_value(parser *p, const key *k, slice text, pel_simulated_device *device) {
    void *field = (char *)device + k->offset;
    uint64_t count = 0;
    double number = 0.0;
    bool good;
    if (k->kind == GROUP && same(text, "host")) {
        count = PEL_SIMULATED_HOST_GROUP;
        good = true;
    } else if (k->kind == COUNT || k->kind == COUNT_32 || k->kind == GROUP) {
        good = parse_count(text, &count);
        number = (double)count;
    } else {
        good = parse_number(text, &number);
    }
    if (!good) {
        char what[96];
        (void)snprintf(what, sizeof what, "%s needs %s, not", k->name,
                       k->kind == GROUP                          ? "a whole number or \"host\""
                       : k->kind == COUNT || k->kind == COUNT_32 ? "a whole number"
                                                                 : "a number");
        return wrong(p, p->line, what, text, "numbers are decimal, with '.'; the unit is part of the key");
    }
    if (number < k->least || number > k->most) {
        char what[96];
        (void)snprintf(what, sizeof what, "%s is out of range", k->name);
        return wrong(p, p->line, what, text, "see the guide, \"Simulated machines\", for what each key takes");
    }
    if (k->kind == REAL) {
        *(double *)field = number * k->scale;
    } else if (k->kind == GROUP || k->kind == COUNT_32) {
        *(uint32_t *)field = (uint32_t)count;
    } else {
        *(uint64_t *)field = k->kind == BYTES ? (uint64_t)(number * k->scale + 0.5) : count;
    }
    return PEL_OK;
}

static pel_status unknown_key(const parser *p, slice name) {
    pel_text list;
    pel_text_init(&list, p->allocator);
    pel_text_append(&list, "the keys are ");
    for (size_t i = 0; i < KEY_COUNT; i++) {
        pel_text_append(&list, i > 0 ? ", " : "");
        pel_text_append(&list, keys[i].name);
    }
    pel_status status = wrong(p, p->line, "unknown key", name, list.failed ? NULL : list.data);
    pel_text_free(&list);
    return status;
}

static pel_status assignment(parser *p, slice name, slice value) {
    if (p->description->device_count == 0) {
        if (!same(name, "seed")) {
            return wrong(p, p->line, "only \"seed\" may stand before the first [section], not", name,
                         "start with [NAME] of a device");
        }
        if (p->seed_given || !parse_count(value, &p->description->seed)) {
            return wrong(p, p->line, "the seed is one whole number, given once", value, NULL);
        }
        p->seed_given = true;
        return PEL_OK;
    }
    if (same(name, "copies")) {
        if (p->copies > 0 || !parse_count(value, &p->copies) || p->copies == 0 || p->copies > PEL_SIMULATED_DEVICE_LIMIT) {
            return wrong(p, p->line, "copies is a whole number from 1 to 8191, given once, not", value, NULL);
        }
        return PEL_OK;
    }
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (same(name, keys[i].name)) {
            if ((p->given >> i & 1) != 0) {
                return wrong(p, p->line, "given twice in this section", name, "remove one of the two lines");
            }
            p->given |= 1u << i;
            return set_value(p, &keys[i], value, &p->description->devices[p->description->device_count - 1]);
        }
    }
    return unknown_key(p, name);
}

/* What the fields of one device must satisfy together; NULL: all well. */
static const char *fault_of(const pel_simulated_device *d) {
    const double fields[] = {
        d->start_ns,        d->rate,        d->noise,           d->spike_chance, d->spike_factor, d->link_bytes_per_ns,
        d->link_latency_ns, d->slow_factor, d->knee_items,      d->cliff_items,  d->cliff_factor, d->spike_factor_most,
        d->noise_memory,    d->drift,       d->drift_period_ns, d->contention,   d->busy_watts,   d->idle_watts,
        d->begins_late_ns};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!(fields[i] >= 0.0) || !(fields[i] <= 1e15)) {
            return "a value is negative, not a number, or beyond 1e15";
        }
    }
    if (!(d->rate >= 1e-9)) {
        return "needs a speed (items_per_us, rate) above 0";
    }
    if (d->noise > 2.0 || d->spike_chance > 1.0) {
        return "noise is at most 2 (200 %) and the chance of a spike at most 1";
    }
    if (d->spike_chance > 0.0 && d->spike_factor < 1e-6) {
        return "spikes need a spike_factor";
    }
    if (d->slow_after > 0 && d->slow_factor < 1e-6) {
        return "slow_after (slow_after_chunk) needs a slow_factor";
    }
    if (d->cliff_items > 0.0 && !(d->cliff_factor >= 1e-6 && d->cliff_factor <= 1.0)) {
        return "cliff_items needs a cliff_factor of at most 1";
    }
    if (d->noise_memory > 0.999 || d->drift > 0.99 || (d->drift > 0.0 && d->drift_period_ns < 1.0)) {
        return "noise_memory is below 1, drift too, and drift needs a period";
    }
    if (d->slow_until > 0 && d->slow_until <= d->slow_after) {
        return "slow_until (slow_until_chunk) must come after slow_after";
    }
    if (d->spike_factor_most > 0.0 && d->spike_factor_most < d->spike_factor) {
        return "spike_factor_most is below spike_factor";
    }
    if (d->contention > 100.0) {
        return "contention is at most 100 (10000 %)";
    }
    if (d->core_group > PEL_CORE_LIMIT) {
        return "core_group is at most 4096";
    }
    if (strcmp(d->name, "host") == 0 && d->core_group > PEL_SIMULATED_HOST_GROUP) {
        return "the host's core_group is always 1";
    }
    if (!(d->lost_part >= 0.0 && d->lost_part <= 1.0) || !(d->hang_ns >= 0.0 && d->hang_ns < 1e17)) {
        return "lost_part is between 0 and 1, and hang_ms is not negative";
    }
    if (d->fail_until > 0 && (d->fail_at == 0 || d->fail_until < d->fail_at)) {
        return "fail_until_chunk is before fail_at_chunk";
    }
    if (strcmp(d->name, "host") == 0 && (d->link_bytes_per_ns > 0.0 || d->fail_at > 0 || d->lost_at > 0 || d->hang_at > 0)) {
        return "the host has no link and cannot be lost";
    }
    return NULL;
}

static bool good_name(const char *name, size_t length) {
    bool good = length > 0 && length < sizeof((pel_simulated_device *)NULL)->name;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        good = good &&
               ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.');
    }
    return good;
}

static bool named_before(const pel_description *description, uint32_t before, const char *name, size_t length) {
    for (uint32_t i = 0; i < before; i++) {
        const char *other = description->devices[i].name;
        if (strlen(other) == length && memcmp(other, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Room for one more device. */
static pel_status reserve(parser *p) {
    pel_description *description = p->description;
    if (description->device_count > PEL_SIMULATED_DEVICE_LIMIT) {
        return wrong(p, p->line, "more than 8191 devices", (slice){"", 0}, NULL);
    }
    if (description->device_count == p->capacity) {
        uint32_t capacity = p->capacity == 0 ? 8 : 2 * p->capacity;
        pel_simulated_device *grown = pel_resize(p->allocator, description->devices, capacity * sizeof *grown);
        if (grown == NULL) {
            return pel_fail(p->error, p->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the description in %s", p->path);
        }
        description->devices = grown;
        p->capacity = capacity;
    }
    return PEL_OK;
}

/* [gpu] with copies = 3 becomes gpu-1, gpu-2, gpu-3. */
static pel_status copy_device(parser *p) {
    pel_description *description = p->description;
    pel_simulated_device first = description->devices[description->device_count - 1];
    const uint32_t others = description->device_count - 1u;
    for (uint64_t i = 1; i <= p->copies; i++) {
        char name[64];
        int length = snprintf(name, sizeof name, "%s-%u", first.name, (unsigned)i);
        if (length >= (int)sizeof first.name || strcmp(first.name, "host") == 0 ||
            named_before(description, others, name, (size_t)length)) {
            return wrong(p, p->section_line, "copies would have a name that is too long or taken", (slice){name, (size_t)length},
                         NULL);
        }
        pel_status status = i > 1 ? reserve(p) : PEL_OK;
        if (status != PEL_OK) {
            return status;
        }
        description->device_count += i > 1;
        pel_simulated_device *device = &description->devices[description->device_count - 1];
        *device = first;
        memcpy(device->name, name, (size_t)length + 1);
    }
    return PEL_OK;
}

static pel_status end_section(parser *p) {
    const pel_description *description = p->description;
    if (description->device_count > 0) {
        const pel_simulated_device *device = &description->devices[description->device_count - 1];
        const char *fault = fault_of(device);
        if (fault != NULL) {
            char what[128];
            (void)snprintf(what, sizeof what, "section [%s]: %s", device->name, fault);
            return wrong(p, p->section_line, what, (slice){"", 0}, NULL);
        }
        if (p->copies > 0) {
            return copy_device(p);
        }
    }
    return PEL_OK;
}

static pel_status begin_section(parser *p, slice name) {
    pel_description *description = p->description;
    pel_status status = end_section(p);
    if (status != PEL_OK) {
        return status;
    }
    if (!good_name(name.at, name.length)) {
        return wrong(p, p->line, "a device's name has 1 to 31 letters, digits, '_', '-' or '.', unlike", name, NULL);
    }
    if (named_before(description, description->device_count, name.at, name.length)) {
        return wrong(p, p->line, "a second section of that name", name, "give each device a name of its own");
    }
    status = reserve(p);
    if (status != PEL_OK) {
        return status;
    }
    pel_simulated_device *device = &description->devices[description->device_count++];
    memset(device, 0, sizeof *device);
    memcpy(device->name, name.at, name.length);
    p->given = 0;
    p->copies = 0;
    p->section_line = p->line;
    return PEL_OK;
}

static pel_status parse_line(parser *p, slice line) {
    const char *comment = line.length > 0 ? memchr(line.at, '#', line.length) : NULL;
    if (comment != NULL) {
        line.length = (size_t)(comment - line.at);
    }
    line = trimmed(line);
    if (line.length == 0) {
        return PEL_OK;
    }
    if (line.at[0] == '[') {
        if (line.at[line.length - 1] != ']') {
            return wrong(p, p->line, "a section is written [NAME], unlike", line, NULL);
        }
        return begin_section(p, trimmed((slice){line.at + 1, line.length - 2}));
    }
    const char *equals = memchr(line.at, '=', line.length);
    if (equals == NULL) {
        return wrong(p, p->line, "expected \"key = value\" or \"[NAME]\", found", line, NULL);
    }
    slice name = trimmed((slice){line.at, (size_t)(equals - line.at)});
    slice value = trimmed((slice){equals + 1, line.length - (size_t)(equals - line.at) - 1});
    return assignment(p, name, value);
}

pel_status pel_description_parse(const pel_allocator *allocator, const char *path, const char *text, size_t bytes,
                                 pel_description *description, pel_error **error) {
    parser p = {.allocator = allocator, .path = path, .description = description, .error = error};
    pel_status status = PEL_OK;
    memset(description, 0, sizeof *description);
    for (size_t at = 0; at < bytes && status == PEL_OK;) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        size_t length = newline != NULL ? (size_t)(newline - text) - at : bytes - at;
        p.line++;
        status = parse_line(&p, (slice){text + at, length});
        at += length + 1;
    }
    if (status == PEL_OK) {
        status = end_section(&p);
    }
    if (status == PEL_OK && description->device_count == 0) {
        status =
            wrong(&p, p.line, "no device is described", (slice){"", 0}, "add a section like [gpu0] with items_per_us = 1000");
    }
    if (status != PEL_OK) {
        pel_free(allocator, description->devices);
        memset(description, 0, sizeof *description);
    }
    return status;
}

pel_status pel_description_read(const pel_allocator *allocator, const char *path, pel_description *description,
                                pel_error **error) {
    memset(description, 0, sizeof *description);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return pel_fail(error, allocator, PEL_IO, &(pel_story){.call = "fopen", .code = errno, .advice = "check the path"},
                        "cannot open the machine description %s: %s", path, strerror(errno));
    }
    char *text = pel_alloc(allocator, FILE_LIMIT + 1u);
    pel_status status;
    if (text == NULL) {
        status = pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to read the machine description %s", path);
    } else {
        errno = 0;
        size_t bytes = fread(text, 1, FILE_LIMIT + 1u, file);
        if (ferror(file)) {
            status = pel_fail(error, allocator, PEL_IO, &(pel_story){.call = "fread", .code = errno},
                              "cannot read the machine description %s: %s", path, strerror(errno));
        } else if (bytes > FILE_LIMIT) {
            status = pel_fail(error, allocator, PEL_TOO_LARGE, NULL, "%s is larger than 1 MiB: not a machine description", path);
        } else {
            status = pel_description_parse(allocator, path, text, bytes, description, error);
        }
    }
    pel_free(allocator, text);
    (void)fclose(file);
    return status;
}

pel_status pel_description_change(const pel_allocator *allocator, const char *where, pel_description *description,
                                  const char *device, const char *name, const char *value, pel_error **error) {
    parser p = {.allocator = allocator, .path = where, .line = 1, .description = description, .error = error};
    const slice key_text = {name, strlen(name)}, value_text = {value, strlen(value)}, device_text = {device, strlen(device)};
    for (uint32_t d = 0; d < description->device_count; d++) {
        if (!same(device_text, description->devices[d].name)) {
            continue;
        }
        for (size_t i = 0; i < KEY_COUNT; i++) {
            if (same(key_text, keys[i].name)) {
                return set_value(&p, &keys[i], value_text, &description->devices[d]);
            }
        }
        return unknown_key(&p, key_text);
    }
    char text[44];
    return pel_fail(error, allocator, PEL_NOT_FOUND, NULL, "%s: the machine has no device \"%s\"", where,
                    shown(device_text, text));
}

pel_status pel_description_copy(const pel_allocator *allocator, const pel_simulated_device *devices, uint32_t count,
                                pel_description *description, pel_error **error) {
    memset(description, 0, sizeof *description);
    if (count > PEL_SIMULATED_DEVICE_LIMIT + 1u || (count > 0 && devices == NULL)) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_simulation: %u devices at %s; between 0 and 8192 are possible", count,
                        devices == NULL ? "NULL" : "an array");
    }
    if (count == 0) {
        return PEL_OK;
    }
    description->devices = pel_alloc_zero(allocator, count, sizeof *devices);
    if (description->devices == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for %u simulated devices", count);
    }
    memcpy(description->devices, devices, count * sizeof *devices);
    description->device_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const pel_simulated_device *device = &description->devices[i];
        size_t length = strnlen(device->name, sizeof device->name);
        const char *fault = !good_name(device->name, length) ? "a name has 1 to 31 letters, digits, '_', '-' or '.'"
                            : named_before(description, i, device->name, length) ? "a second device of that name"
                                                                                 : fault_of(device);
        if (fault != NULL) {
            char name[44];
            pel_status status = pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "simulated device %u (%s): %s", i,
                                         shown((slice){device->name, length}, name), fault);
            pel_free(allocator, description->devices);
            memset(description, 0, sizeof *description);
            return status;
        }
    }
    return PEL_OK;
}
