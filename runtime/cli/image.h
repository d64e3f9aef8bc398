/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PNG images as arrays. The stored values are used as they are: no gamma, no colour management. How they become cells:
 *   uchar    8-bit values; from 16-bit files only when asked for (the high byte)
 *   ushort   16-bit values; 8-bit ones times 257
 *   float, double, half   value / 255 or / 65535: 0 to 1
 * and channels: 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA. Missing colours repeat gray, a missing alpha is opaque. Colour to gray is
 * 0.299 R + 0.587 G + 0.114 B and happens only when asked for.
 */
#ifndef PEL_CLI_IMAGE_H
#define PEL_CLI_IMAGE_H

#include "cli/array.h"
#include <stdio.h>

typedef struct pel_image {
    uint32_t width, height, channels, bits; /* bits: 8 or 16 a channel */
    void *data;                             /* rows from the top, channels interleaved, the machine's byte order */
} pel_image;

bool pel_image_read(const char *path, pel_image *image, char message[PEL_MESSAGE_BYTES]);
void pel_image_free(pel_image *image);
const char *pel_image_describe(const pel_image *image, char text[96]); /* "1920x1080 RGB, 8 bit" */

/* Shape (height, width) for one channel, else (height, width, channels). `narrow` allows 16 -> 8 bit. */
bool pel_image_to_array(const pel_image *image, const pel_cell *cell, uint32_t channels, bool narrow, pel_array *array,
                        char message[PEL_MESSAGE_BYTES]);

/* Whether an array of this cell and shape can be an image: (h, w) or (h, w, 1..4) of uchar, ushort or reals. */
bool pel_image_fits(const pel_array *array, char message[PEL_MESSAGE_BYTES]);

/*
 * Writes an array as PNG of 8 or 16 bits (0: as the cells say; reals 8). Reals are cut to 0..1; *odd counts cells that were not
 * finite (written as 0) or cut. False on failure, errno may tell.
 */
bool pel_image_write(FILE *file, const pel_array *array, uint32_t bits, uint64_t *odd);

#endif
