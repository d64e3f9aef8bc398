/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays that `pel run` reads, hands to a kernel and writes: a cell type, a shape in C order (slowest first, as numpy shows
 * it), and page-aligned memory. Files of every kind become this one thing, so that checking and launching know nothing about
 * formats. Functions that fail put one line without a file name in front into `message`; the caller says which argument and
 * file it is about.
 */
#ifndef PEL_CLI_ARRAY_H
#define PEL_CLI_ARRAY_H

#include <pel/access.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* X(OpenCL name, bytes, class, numpy name, pel_scalar or 0). */
#define PEL_CELLS(X)                                                                                                             \
    X(char, 1, 'i', "int8", 0)                                                                                                   \
    X(uchar, 1, 'u', "uint8", 0)                                                                                                 \
    X(short, 2, 'i', "int16", 0)                                                                                                 \
    X(ushort, 2, 'u', "uint16", 0)                                                                                               \
    X(int, 4, 'i', "int32", PEL_I32)                                                                                             \
    X(uint, 4, 'u', "uint32", PEL_U32)                                                                                           \
    X(long, 8, 'i', "int64", PEL_I64)                                                                                            \
    X(ulong, 8, 'u', "uint64", PEL_U64)                                                                                          \
    X(half, 2, 'f', "float16", 0)                                                                                                \
    X(float, 4, 'f', "float32", PEL_F32)                                                                                         \
    X(double, 8, 'f', "float64", PEL_F64)

typedef struct pel_cell {
    const char *name; /* OpenCL's */
    uint32_t bytes;
    char kind; /* 'i', 'u', 'f' */
    const char *numpy;
    int scalar; /* pel_scalar, 0: no reductions */
} pel_cell;

/* A cell or a vector of them; width 3 takes the room of 4, as in OpenCL. cell NULL: a type that is not known here. */
typedef struct pel_element {
    const pel_cell *cell;
    uint32_t width;
} pel_element;

enum { PEL_ARRAY_DIMS = 8, PEL_MESSAGE_BYTES = 1024 };

typedef struct pel_array {
    const pel_cell *cell;
    uint32_t dims;
    uint64_t shape[PEL_ARRAY_DIMS];
    uint64_t bytes;
    void *data;
} pel_array;

const pel_cell *pel_cell_find(const char *name, size_t length);               /* by OpenCL name; NULL */
const pel_cell *pel_cell_of(char kind, uint32_t bytes);                       /* by class and size; NULL */
bool pel_element_find(const char *name, size_t length, pel_element *element); /* "float", "uchar4" */
uint64_t pel_element_bytes(const pel_element *element);
const char *pel_element_name(const pel_element *element, char text[32]);

/* Allocates zeroed memory for cell and shape. */
bool pel_array_create(pel_array *array, const pel_cell *cell, uint32_t dims, const uint64_t *shape,
                      char message[PEL_MESSAGE_BYTES]);
void pel_array_free(pel_array *array);
uint64_t pel_array_cells(const pel_array *array);
/*
 * "1920x1080 float", fastest dimension first as in --range; with `inner`, the last dimension lies within an item: "1920x1080
 * uchar4".
 */
const char *pel_array_describe(const pel_array *array, bool inner, char text[160]);

/* (..., 3) into (..., 4) with zeros, and back: how 3-vectors lie in memory. */
bool pel_array_widen(pel_array *array, char message[PEL_MESSAGE_BYTES]);
bool pel_array_narrow(pel_array *array, char message[PEL_MESSAGE_BYTES]);

/* One number as a cell, range-checked; text as in C, "nan" and "inf" for real cells. Writes cell->bytes bytes. */
bool pel_cell_parse(const pel_cell *cell, const char *text, void *out, char message[PEL_MESSAGE_BYTES]);
uint16_t pel_half_from_float(float value); /* round to nearest even */
float pel_half_to_float(uint16_t bits);

/* Opens a regular file for reading; NULL with a message. Opening a FIFO plainly would wait for a writer, perhaps for ever. */
FILE *pel_file_open(const char *path, char message[PEL_MESSAGE_BYTES]);

/* A whole file of unknown or given cell: shape (bytes / cell). The file must be regular and its size a multiple of the cell. */
bool pel_raw_read(const char *path, const pel_cell *cell, pel_array *array, char message[PEL_MESSAGE_BYTES]);

/* Both return false. The second puts its text in front of what `message` holds. */
bool pel_message(char message[PEL_MESSAGE_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));
bool pel_message_prefix(char message[PEL_MESSAGE_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
