/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The header of a .npy file is a Python dictionary in text form. It comes from anywhere, so nothing in it is believed: sizes
 * are compared with the size of the file before any memory is taken, and each deviation is an error. Only the three known keys
 * are understood; a general parser of Python literals would accept more and check less.
 */
#include "cli/npy.h"
#include "base/checked.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HEADER_LIMIT = 65536 };

typedef struct header {
    const pel_cell *cell;
    bool swap, fortran, complex;
    bool has_descr, has_order, has_shape;
    uint32_t dims;
    uint64_t shape[PEL_ARRAY_DIMS];
} header;

static bool little_endian(void) {
    uint16_t one = 1;
    return *(unsigned char *)&one == 1;
}

static const char *skip_space(const char *c) {
    while (*c == ' ' || *c == '\t' || *c == '\n' || *c == '\r')
        c++;
    return c;
}

/* A quoted word; NULL when there is none. */
static const char *read_word(const char *c, char *word, size_t room) {
    char quote = *c;
    if (quote != '\'' && quote != '"')
        return NULL;
    const char *end = strchr(c + 1, quote);
    if (!end || (size_t)(end - c - 1) >= room || memchr(c + 1, '\\', (size_t)(end - c - 1)))
        return NULL;
    memcpy(word, c + 1, (size_t)(end - c - 1));
    word[end - c - 1] = '\0';
    return end + 1;
}

static const char *read_descr(const char *c, header *h, char message[PEL_MESSAGE_BYTES]) {
    char word[32];
    if (*c == '[') {
        pel_message(message, "is a structured array; save its fields one by one");
        return NULL;
    }
    const char *next = read_word(c, word, sizeof word);
    if (!next) {
        pel_message(message, "damaged .npy header: 'descr' is not a type");
        return NULL;
    }
    char order = word[0], kind = order ? word[1] : '\0';
    uint32_t size = kind && isdigit((unsigned char)word[2]) && strlen(word + 2) <= 2 ? (uint32_t)strtoul(word + 2, NULL, 10) : 0;
    if (kind == 'c') {
        h->complex = true;
        size /= 2;
        kind = 'f';
    }
    h->cell = kind == 'b' && size == 1 ? pel_cell_of('u', 1) : kind == 'b' ? NULL : pel_cell_of(kind, size);
    if (!h->cell || !strchr("<>|=", order)) {
        pel_message(message, "holds elements of type '%s', which no OpenCL type matches", word);
        return NULL;
    }
    h->swap = h->cell->bytes > 1 && ((order == '<' && !little_endian()) || (order == '>' && little_endian()));
    h->has_descr = true;
    return next;
}

static const char *read_shape(const char *c, header *h, char message[PEL_MESSAGE_BYTES]) {
    pel_message(message, "damaged .npy header: 'shape' is not a tuple of sizes");
    if (*c++ != '(')
        return NULL;
    for (c = skip_space(c); *c != ')'; c = skip_space(c)) {
        if (!isdigit((unsigned char)*c))
            return NULL;
        char *end;
        errno = 0;
        uint64_t size = strtoull(c, &end, 10);
        if (errno || h->dims == PEL_ARRAY_DIMS) {
            pel_message(message, errno ? "damaged .npy header: a size does not fit 64 bits" : "has more than %d dimensions",
                        PEL_ARRAY_DIMS);
            return NULL;
        }
        h->shape[h->dims++] = size;
        c = skip_space(*end == 'L' ? end + 1 : end); /* Python 2 wrote 3L */
        if (*c == ',')
            c++;
        else if (*c != ')')
            return NULL;
    }
    h->has_shape = true;
    return c + 1;
}

static const char *read_entry(const char *c, header *h, char message[PEL_MESSAGE_BYTES]) {
    char key[32];
    const char *next = read_word(c, key, sizeof key);
    pel_message(message, "damaged .npy header");
    if (!next)
        return NULL;
    next = skip_space(next);
    if (*next != ':')
        return NULL;
    next = skip_space(next + 1);
    if (strcmp(key, "descr") == 0 && !h->has_descr)
        return read_descr(next, h, message);
    if (strcmp(key, "shape") == 0 && !h->has_shape)
        return read_shape(next, h, message);
    if (strcmp(key, "fortran_order") == 0 && !h->has_order) {
        h->has_order = true;
        h->fortran = strncmp(next, "True", 4) == 0;
        return h->fortran ? next + 4 : strncmp(next, "False", 5) == 0 ? next + 5 : NULL;
    }
    pel_message(message, "damaged .npy header: unexpected key '%s'", key);
    return NULL;
}

static bool parse_header(const char *text, header *h, char message[PEL_MESSAGE_BYTES]) {
    const char *c = skip_space(text);
    if (*c++ != '{')
        return pel_message(message, "damaged .npy header");
    for (c = skip_space(c); *c != '}'; c = skip_space(c)) {
        c = read_entry(c, h, message);
        if (!c)
            return false;
        c = skip_space(c);
        if (*c == ',')
            c++;
        else if (*c != '}')
            return pel_message(message, "damaged .npy header");
    }
    if (*skip_space(c + 1) || !h->has_descr || !h->has_order || !h->has_shape)
        return pel_message(message, "damaged .npy header: descr, fortran_order or shape is missing");
    if (h->fortran && h->dims > 1)
        return pel_message(message, "is in Fortran order; save numpy.ascontiguousarray(a) instead");
    if (h->complex && h->dims == PEL_ARRAY_DIMS)
        return pel_message(message, "has too many dimensions");
    if (h->complex)
        h->shape[h->dims++] = 2;
    return true;
}

/* The header's text, NUL-terminated, owned by the caller; the stream stands at the data. */
static char *load_header(FILE *file, char message[PEL_MESSAGE_BYTES]) {
    unsigned char start[12];
    if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0) {
        pel_message(message, "is not a .npy file");
        return NULL;
    }
    if (start[6] < 1 || start[6] > 3) {
        pel_message(message, "has .npy format version %u, which is not known (1 to 3 are)", start[6]);
        return NULL;
    }
    size_t length = start[8] | (size_t)start[9] << 8;
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2)
            length = 0;
        else
            length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    char *text = length > 0 && length <= HEADER_LIMIT ? malloc(length + 1) : NULL;
    if (!text || fread(text, 1, length, file) != length || memchr(text, '\0', length)) {
        free(text);
        pel_message(message, "damaged .npy header");
        return NULL;
    }
    text[length] = '\0';
    return text;
}

static void swap_bytes(pel_array *array) {
    size_t size = array->cell->bytes;
    unsigned char *c = array->data;
    for (uint64_t i = 0; i < array->bytes; i += size)
        for (size_t j = 0; j < size / 2; j++) {
            unsigned char kept = c[i + j];
            c[i + j] = c[i + size - 1 - j];
            c[i + size - 1 - j] = kept;
        }
}

static bool read_data(FILE *file, const header *h, pel_array *array, char message[PEL_MESSAGE_BYTES]) {
    struct stat facts;
    off_t at = ftello(file);
    if (fstat(fileno(file), &facts) != 0 || at < 0)
        return pel_message(message, "%s", strerror(errno));
    uint64_t wanted = h->cell->bytes, present = facts.st_size > at ? (uint64_t)(facts.st_size - at) : 0;
    for (uint32_t i = 0; i < h->dims; i++)
        if (!pel_mul_u64(wanted, h->shape[i], &wanted))
            return pel_message(message, "damaged .npy header: the shape does not fit 64 bits");
    if (wanted != present)
        return pel_message(message, "is damaged: its header promises %" PRIu64 " bytes of data, the file holds %" PRIu64, wanted,
                           present);
    if (!pel_array_create(array, h->cell, h->dims, h->shape, message))
        return false;
    if (fread(array->data, 1, array->bytes, file) != array->bytes) {
        pel_array_free(array);
        return pel_message(message, "cannot be read: %s", ferror(file) ? strerror(errno) : "it shrank");
    }
    if (h->swap)
        swap_bytes(array);
    return true;
}

bool pel_npy_read(const char *path, pel_array *array, char message[PEL_MESSAGE_BYTES]) {
    *array = (pel_array){0};
    FILE *file = pel_file_open(path, message);
    if (!file)
        return false;
    header h = {0};
    char *text = load_header(file, message);
    bool good = text && parse_header(text, &h, message) && read_data(file, &h, array, message);
    free(text);
    fclose(file);
    return good;
}

bool pel_npy_write(FILE *file, const pel_array *array) {
    char text[512];
    int used = snprintf(text, sizeof text, "{'descr': '%c%c%u', 'fortran_order': False, 'shape': (",
                        array->cell->bytes == 1 ? '|'
                        : little_endian()       ? '<'
                                                : '>',
                        array->cell->kind, array->cell->bytes);
    for (uint32_t i = 0; i < array->dims; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%" PRIu64 "%s", array->shape[i],
                         i + 1 < array->dims ? ", "
                         : array->dims == 1  ? ","
                                             : "");
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    size_t total = ((size_t)used + 1 + 10 + 63) / 64 * 64, length = total - 10;
    unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(length & 255), (unsigned char)(length >> 8)};
    return fwrite(start, 1, 10, file) == 10 && fprintf(file, "%-*s\n", (int)length - 1, text) == (int)length &&
           fwrite(array->data, 1, array->bytes, file) == array->bytes;
}
