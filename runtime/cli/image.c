/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image.h. libpng reports errors by longjmp; each function that sets the jump keeps all of its state in one struct that its
 * caller owns, so nothing lives in registers across the jump and everything is freed in one place. libpng's "simplified"
 * interface is not used: it converts 16-bit images to linear light, and kernels shall see what the file holds.
 */
#include "cli/image.h"
#include "base/checked.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_LIMIT = 1000000 }; /* libpng's own default, which also keeps a forged header from asking for terabytes */

typedef struct reader {
    FILE *file;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    pel_image *image;
    char *message;
} reader;

static void on_error(png_structp png, png_const_charp text) {
    char *message = png_get_error_ptr(png);
    if (message)
        pel_message(message, "is a damaged PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static bool allocate_rows(reader *r) {
    pel_image *image = r->image;
    size_t row = png_get_rowbytes(r->png, r->info), bytes;
    uint64_t total;
    if (!pel_mul_u64(row, image->height, &total) || !pel_u64_to_size(total, &bytes) || total == 0)
        return pel_message(r->message, "is too large");
    image->data = malloc(bytes);
    r->rows = malloc(image->height * sizeof *r->rows);
    if (!image->data || !r->rows)
        return pel_message(r->message, "no memory for its %llu bytes", (unsigned long long)total);
    for (uint32_t y = 0; y < image->height; y++)
        r->rows[y] = (png_bytep)image->data + y * row;
    return true;
}

static bool decode(reader *r) {
    if (setjmp(png_jmpbuf(r->png)))
        return false;
    png_init_io(r->png, r->file);
    png_read_info(r->png, r->info);
    r->image->width = png_get_image_width(r->png, r->info);
    r->image->height = png_get_image_height(r->png, r->info);
    png_set_expand(r->png); /* palettes, 1-, 2- and 4-bit gray, transparency keys */
    uint16_t one = 1;
    if (*(unsigned char *)&one == 1)
        png_set_swap(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    r->image->channels = png_get_channels(r->png, r->info);
    r->image->bits = png_get_bit_depth(r->png, r->info);
    if (!allocate_rows(r))
        return false;
    png_read_image(r->png, r->rows);
    png_read_end(r->png, NULL);
    return true;
}

bool pel_image_read(const char *path, pel_image *image, char message[PEL_MESSAGE_BYTES]) {
    *image = (pel_image){0};
    unsigned char start[8];
    reader r = {.file = pel_file_open(path, message), .image = image, .message = message};
    if (!r.file)
        return false;
    bool good = (fread(start, 1, 8, r.file) == 8 && png_sig_cmp(start, 0, 8) == 0) || pel_message(message, "is not a PNG file");
    if (good) {
        r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, message, on_error, on_warning);
        r.info = r.png ? png_create_info_struct(r.png) : NULL;
        good = r.info != NULL || pel_message(message, "out of memory");
    }
    if (good) {
        png_set_sig_bytes(r.png, 8);
        good = decode(&r);
    }
    png_destroy_read_struct(&r.png, &r.info, NULL);
    free(r.rows);
    fclose(r.file);
    if (!good)
        pel_image_free(image);
    return good;
}

void pel_image_free(pel_image *image) {
    free(image->data);
    *image = (pel_image){0};
}

const char *pel_image_describe(const pel_image *image, char text[96]) {
    static const char *const kinds[] = {"?", "gray", "gray + alpha", "RGB", "RGBA"};
    snprintf(text, 96, "%ux%u %s, %u bit", image->width, image->height, kinds[image->channels <= 4 ? image->channels : 0],
             image->bits);
    return text;
}

/* One pixel as 16-bit RGBA, whatever the file has. */
static void fetch_pixel(const pel_image *image, uint64_t index, uint16_t rgba[4]) {
    uint16_t value[4] = {0, 0, 0, 0};
    for (uint32_t c = 0; c < image->channels; c++) {
        uint64_t at = index * image->channels + c;
        value[c] = image->bits == 16 ? ((const uint16_t *)image->data)[at] : (uint16_t)(((const uint8_t *)image->data)[at] * 257);
    }
    bool colour = image->channels >= 3;
    rgba[0] = value[0];
    rgba[1] = value[colour ? 1 : 0];
    rgba[2] = value[colour ? 2 : 0];
    rgba[3] = image->channels == 2 ? value[1] : image->channels == 4 ? value[3] : 65535;
}

static void store_cell(const pel_cell *cell, void *data, uint64_t at, uint16_t value) {
    if (cell->kind == 'u' && cell->bytes == 1)
        ((uint8_t *)data)[at] = (uint8_t)(value >> 8);
    else if (cell->kind == 'u')
        ((uint16_t *)data)[at] = value;
    else if (cell->bytes == 8)
        ((double *)data)[at] = value / 65535.0;
    else if (cell->bytes == 4)
        ((float *)data)[at] = (float)(value / 65535.0);
    else
        ((uint16_t *)data)[at] = pel_half_from_float((float)(value / 65535.0));
}

static bool cell_fits(const pel_cell *cell) {
    return cell->kind == 'f' || (cell->kind == 'u' && cell->bytes <= 2);
}

bool pel_image_to_array(const pel_image *image, const pel_cell *cell, uint32_t channels, bool narrow, pel_array *array,
                        char message[PEL_MESSAGE_BYTES]) {
    char text[96];
    *array = (pel_array){0};
    if (!cell_fits(cell))
        return pel_message(message, "an image becomes uchar, ushort, half, float or double, not %s", cell->name);
    if (image->bits == 16 && cell->kind == 'u' && cell->bytes == 1 && !narrow)
        return pel_message(message, "is %s; say type=uchar to keep only the high 8 bits", pel_image_describe(image, text));
    uint64_t shape[3] = {image->height, image->width, channels};
    if (!pel_array_create(array, cell, channels == 1 ? 2 : 3, shape, message))
        return false;
    uint64_t pixels = (uint64_t)image->width * image->height;
    for (uint64_t i = 0; i < pixels; i++) {
        uint16_t rgba[4];
        fetch_pixel(image, i, rgba);
        if (channels <= 2) { /* gray: exact where the three are equal */
            if (rgba[0] != rgba[1] || rgba[1] != rgba[2])
                rgba[0] = (uint16_t)lrint(0.299 * rgba[0] + 0.587 * rgba[1] + 0.114 * rgba[2]);
            rgba[1] = rgba[3];
        }
        for (uint32_t c = 0; c < channels; c++)
            store_cell(cell, array->data, i * channels + c, rgba[c]);
    }
    return true;
}

bool pel_image_fits(const pel_array *array, char message[PEL_MESSAGE_BYTES]) {
    char text[160];
    if (!cell_fits(array->cell))
        return pel_message(message, "%s cannot be a PNG: its cells are uchar, ushort, half, float or double",
                           pel_array_describe(array, false, text));
    bool shaped = array->dims == 2 || (array->dims == 3 && array->shape[2] >= 1 && array->shape[2] <= 4);
    if (!shaped || array->shape[0] > SIDE_LIMIT || array->shape[1] > SIDE_LIMIT)
        return pel_message(message, "%s cannot be a PNG: it needs width x height, or channels (1 to 4) x width x height",
                           pel_array_describe(array, false, text));
    return true;
}

static uint16_t load_cell(const pel_array *array, uint64_t at, uint64_t *odd) {
    const pel_cell *cell = array->cell;
    if (cell->kind == 'u')
        return cell->bytes == 1 ? (uint16_t)(((const uint8_t *)array->data)[at] * 257) : ((const uint16_t *)array->data)[at];
    double value = cell->bytes == 8   ? ((const double *)array->data)[at]
                   : cell->bytes == 4 ? (double)((const float *)array->data)[at]
                                      : (double)pel_half_to_float(((const uint16_t *)array->data)[at]);
    if (!(value >= 0 && value <= 1)) {
        ++*odd;
        value = value > 1 && isfinite(value) ? 1 : 0;
    }
    return (uint16_t)lrint(value * 65535);
}

typedef struct writer {
    png_structp png;
    png_infop info;
    png_bytep row;
} writer;

static bool encode(writer *w, FILE *file, const pel_array *array, uint32_t bits, uint64_t *odd) {
    static const int kinds[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
    uint32_t channels = array->dims == 3 ? (uint32_t)array->shape[2] : 1;
    uint64_t cells = array->shape[1] * channels;
    if (setjmp(png_jmpbuf(w->png)))
        return false;
    png_init_io(w->png, file);
    png_set_compression_level(w->png, 6);
    png_set_IHDR(w->png, w->info, (png_uint_32)array->shape[1], (png_uint_32)array->shape[0], (int)bits, kinds[channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (uint64_t y = 0; y < array->shape[0]; y++) {
        for (uint64_t x = 0; x < cells; x++) {
            uint16_t value = load_cell(array, y * cells + x, odd);
            if (bits == 8) {
                /* exact for uchar (v * 257 / 257), nearest for reals, the high byte would bias */
                w->row[x] = (png_byte)((value + 128u) / 257u);
            } else {
                w->row[2 * x] = (png_byte)(value >> 8);
                w->row[2 * x + 1] = (png_byte)(value & 255);
            }
        }
        png_write_row(w->png, w->row);
    }
    png_write_end(w->png, NULL);
    return true;
}

bool pel_image_write(FILE *file, const pel_array *array, uint32_t bits, uint64_t *odd) {
    uint32_t channels = array->dims == 3 ? (uint32_t)array->shape[2] : 1;
    writer w = {.row = malloc(array->shape[1] * channels * 2)};
    *odd = 0;
    if (bits == 0)
        bits = array->cell->kind == 'u' && array->cell->bytes == 2 ? 16 : 8;
    w.png = w.row ? png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning) : NULL;
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    bool good = w.info && encode(&w, file, array, bits, odd);
    png_destroy_write_struct(&w.png, &w.info);
    free(w.row);
    return good;
}
