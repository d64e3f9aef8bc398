/* SPDX-License-Identifier: BSD-3-Clause */
/* See array.h. */
#include "cli/array.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "cli/options.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const pel_cell cells[] = {
#define PEL_CELL_ROW(name, bytes, kind, numpy, scalar) {#name, bytes, kind, numpy, scalar},
    PEL_CELLS(PEL_CELL_ROW)
#undef PEL_CELL_ROW
};
enum { CELL_COUNT = sizeof cells / sizeof cells[0] };

bool pel_message(char message[PEL_MESSAGE_BYTES], const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(message, PEL_MESSAGE_BYTES, format, list);
    va_end(list);
    return false;
}

bool pel_message_prefix(char message[PEL_MESSAGE_BYTES], const char *format, ...) {
    char prefix[PEL_MESSAGE_BYTES / 2];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    size_t room = strlen(prefix), length = strlen(message);
    if (length > PEL_MESSAGE_BYTES - 1 - room)
        length = PEL_MESSAGE_BYTES - 1 - room;
    memmove(message + room, message, length);
    memcpy(message, prefix, room);
    message[room + length] = '\0';
    return false;
}

const pel_cell *pel_cell_find(const char *name, size_t length) {
    for (size_t i = 0; i < CELL_COUNT; i++)
        if (strlen(cells[i].name) == length && memcmp(cells[i].name, name, length) == 0)
            return &cells[i];
    return NULL;
}

const pel_cell *pel_cell_of(char kind, uint32_t bytes) {
    for (size_t i = 0; i < CELL_COUNT; i++)
        if (cells[i].kind == kind && cells[i].bytes == bytes)
            return &cells[i];
    return NULL;
}

bool pel_element_find(const char *name, size_t length, pel_element *element) {
    static const uint32_t widths[] = {2, 3, 4, 8, 16};
    element->width = 1;
    element->cell = pel_cell_find(name, length);
    for (size_t i = 0; i < sizeof widths / sizeof widths[0] && !element->cell; i++) {
        char digits[4];
        size_t count = (size_t)snprintf(digits, sizeof digits, "%u", widths[i]);
        if (length <= count || memcmp(name + length - count, digits, count) != 0)
            continue;
        element->cell = pel_cell_find(name, length - count);
        element->width = widths[i];
    }
    return element->cell != NULL;
}

uint64_t pel_element_bytes(const pel_element *element) {
    return element->cell ? (uint64_t)element->cell->bytes * (element->width == 3 ? 4 : element->width) : 0;
}

const char *pel_element_name(const pel_element *element, char text[32]) {
    if (!element->cell)
        snprintf(text, 32, "(unknown type)");
    else if (element->width == 1)
        snprintf(text, 32, "%s", element->cell->name);
    else
        snprintf(text, 32, "%s%u", element->cell->name, element->width);
    return text;
}

bool pel_array_create(pel_array *array, const pel_cell *cell, uint32_t dims, const uint64_t *shape,
                      char message[PEL_MESSAGE_BYTES]) {
    uint64_t bytes = cell->bytes;
    *array = (pel_array){.cell = cell, .dims = dims};
    if (dims > PEL_ARRAY_DIMS)
        return pel_message(message, "%u dimensions are more than the %d that pel handles", dims, PEL_ARRAY_DIMS);
    for (uint32_t i = 0; i < dims; i++) {
        array->shape[i] = shape[i];
        if (!pel_mul_u64(bytes, shape[i], &bytes))
            return pel_message(message, "the size does not fit 64 bits");
    }
    if (bytes == 0)
        return pel_message(message, "has no elements");
    array->data = pel_pages_alloc(bytes);
    if (!array->data)
        return pel_message(message, "no memory for %llu bytes", (unsigned long long)bytes);
    array->bytes = bytes;
    return true;
}

void pel_array_free(pel_array *array) {
    if (array->data)
        pel_pages_free(array->data, array->bytes);
    *array = (pel_array){0};
}

uint64_t pel_array_cells(const pel_array *array) {
    return array->cell ? array->bytes / array->cell->bytes : 0;
}

const char *pel_array_describe(const pel_array *array, bool inner, char text[160]) {
    size_t used = 0;
    uint32_t dims = array->dims - (inner && array->dims > 0 ? 1 : 0);
    text[0] = '\0';
    for (uint32_t i = dims; i-- > 0 && used < 120;)
        used += (size_t)snprintf(text + used, 160 - used, "%llu%s", (unsigned long long)array->shape[i], i ? "x" : "");
    used += (size_t)snprintf(text + used, 160 - used, "%s%s", dims ? " " : "one ", array->cell ? array->cell->name : "?");
    if (dims < array->dims)
        snprintf(text + used, 160 - used, "%llu", (unsigned long long)array->shape[dims]);
    return text;
}

/* Repacks rows of `from` cells into rows of `to` cells. */
static bool repack(pel_array *array, uint32_t from, uint32_t to, char message[PEL_MESSAGE_BYTES]) {
    pel_array other;
    uint64_t shape[PEL_ARRAY_DIMS];
    memcpy(shape, array->shape, sizeof shape);
    if (array->dims == 0 || shape[array->dims - 1] != from)
        return pel_message(message, "its last dimension is not %u", from);
    shape[array->dims - 1] = to;
    if (!pel_array_create(&other, array->cell, array->dims, shape, message))
        return false;
    size_t size = array->cell->bytes, keep = (from < to ? from : to) * size;
    uint64_t rows = array->bytes / (from * size);
    for (uint64_t i = 0; i < rows; i++)
        memcpy((char *)other.data + i * to * size, (const char *)array->data + i * from * size, keep);
    pel_array_free(array);
    *array = other;
    return true;
}

bool pel_array_widen(pel_array *array, char message[PEL_MESSAGE_BYTES]) {
    return repack(array, 3, 4, message);
}
bool pel_array_narrow(pel_array *array, char message[PEL_MESSAGE_BYTES]) {
    return repack(array, 4, 3, message);
}

uint16_t pel_half_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u)
        return sign | 0x7E00u;
    if (magnitude >= 0x477FF000u) /* 65520 and more round to infinity */
        return sign | 0x7C00u;
    uint32_t shift = 13, significand = magnitude;
    if (magnitude < 0x38800000u) { /* below 2^-14: subnormal in half */
        uint32_t exponent = magnitude >> 23;
        if (exponent < 102)
            return sign;
        shift = 126 - exponent;
        significand = (magnitude & 0x7FFFFFu) | 0x800000u;
    } else {
        significand = magnitude - 0x38000000u;
    }
    uint32_t result = significand >> shift, rest = significand & ((1u << shift) - 1), middle = 1u << (shift - 1);
    result += rest > middle || (rest == middle && (result & 1));
    return (uint16_t)(sign | result);
}

float pel_half_to_float(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 31 ? (fraction ? NAN : INFINITY)
                                 : ldexpf((float)(exponent ? fraction + 1024 : fraction), (exponent ? exponent : 1) - 25);
    return bits & 0x8000 ? -value : value;
}

static bool parse_real_cell(const pel_cell *cell, const char *text, void *out, char message[PEL_MESSAGE_BYTES]) {
    char plain[64];
    size_t length = strlen(text);
    if (length > 1 && length < sizeof plain && (text[length - 1] == 'f' || text[length - 1] == 'F') && !strpbrk(text, "xXnN")) {
        memcpy(plain, text, length - 1); /* 0.5f, as one writes it in the kernel */
        plain[length - 1] = '\0';
        text = plain;
    }
    double value;
    if (!pel_cli_read_real(text, &value))
        return pel_message(message, "'%s' is not a number", text);
    double limit = cell->bytes == 2 ? 65519.996 : cell->bytes == 4 ? 3.40282356779733662e38 : HUGE_VAL;
    if (isfinite(value) ? fabs(value) > limit : isinf(value) && !strpbrk(text, "nN"))
        return pel_message(message, "%s does not fit %s", text, cell->name);
    if (cell->bytes == 8) {
        memcpy(out, &value, sizeof value);
        return true;
    }
    float single = (float)value;
    uint16_t half = pel_half_from_float(single);
    memcpy(out, cell->bytes == 4 ? (const void *)&single : (const void *)&half, cell->bytes);
    return true;
}

bool pel_cell_parse(const pel_cell *cell, const char *text, void *out, char message[PEL_MESSAGE_BYTES]) {
    if (cell->kind == 'f')
        return parse_real_cell(cell, text, out, message);
    uint64_t bits = 0;
    uint32_t width = 8 * cell->bytes;
    bool fits;
    if (cell->kind == 'i') {
        int64_t value, limit = (int64_t)(((uint64_t)1 << (width - 1)) - 1);
        if (!pel_cli_read_i64(text, &value))
            return pel_message(message, "'%s' is not a whole number that fits %s", text, cell->name);
        fits = value >= -limit - 1 && value <= limit;
        bits = (uint64_t)value;
    } else {
        if (!pel_cli_read_u64(text, &bits))
            return pel_message(message, "'%s' is not a whole number >= 0 that fits %s", text, cell->name);
        fits = width == 64 || bits >> width == 0;
    }
    if (!fits)
        return pel_message(message, "%s does not fit %s", text, cell->name);
    uint8_t b = (uint8_t)bits;
    uint16_t h = (uint16_t)bits;
    uint32_t w = (uint32_t)bits;
    memcpy(out, width == 8 ? (void *)&b : width == 16 ? (void *)&h : width == 32 ? (void *)&w : (void *)&bits, cell->bytes);
    return true;
}

FILE *pel_file_open(const char *path, char message[PEL_MESSAGE_BYTES]) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat facts;
    bool there = descriptor >= 0 && fstat(descriptor, &facts) == 0, regular = there && S_ISREG(facts.st_mode);
    FILE *file = regular ? fdopen(descriptor, "rb") : NULL;
    if (file)
        return file;
    pel_message(message, "%s", there && !regular ? "not a regular file" : strerror(errno));
    if (descriptor >= 0)
        close(descriptor);
    return NULL;
}

bool pel_raw_read(const char *path, const pel_cell *cell, pel_array *array, char message[PEL_MESSAGE_BYTES]) {
    *array = (pel_array){0};
    FILE *file = pel_file_open(path, message);
    struct stat facts;
    if (!file)
        return false;
    bool good = fstat(fileno(file), &facts) == 0 || pel_message(message, "%s", strerror(errno));
    uint64_t bytes = good ? (uint64_t)facts.st_size : 0, shape[1] = {bytes / cell->bytes};
    good = good && (bytes % cell->bytes == 0 || pel_message(message, "%llu bytes are not a whole number of %s (%u bytes each)",
                                                            (unsigned long long)bytes, cell->name, cell->bytes));
    good = good && pel_array_create(array, cell, 1, shape, message);
    if (good && fread(array->data, 1, array->bytes, file) != array->bytes)
        good = pel_message(message, "%s", ferror(file) ? strerror(errno) : "shrank while it was read");
    fclose(file);
    if (!good)
        pel_array_free(array);
    return good;
}
