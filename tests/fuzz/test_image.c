/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/image.h"
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

/* The checksums of a PNG's chunks, so that changes get past them; half of the inputs keep what they have. */
static uint32_t crc_of(const uint8_t *data, size_t bytes) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

static void repair(uint8_t *data, size_t bytes) {
    for (size_t at = 8; at + 12 <= bytes;) {
        size_t length = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        if (length > bytes - at - 12) {
            return;
        }
        uint32_t crc = crc_of(data + at + 4, length + 4);
        for (int i = 0; i < 4; i++) {
            data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        }
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static uint8_t copy[2 * FUZZ_BYTES];
    pel_image image;
    char message[PEL_MESSAGE_BYTES] = "";
    memset(&image, 0, sizeof image);
    if (bytes > sizeof copy) {
        return 0;
    }
    memcpy(copy, data, bytes);
    if (bytes > 0 && data[bytes - 1] % 2 == 0) {
        repair(copy, bytes);
    }
    if (pel_image_read(fuzz_file(copy, bytes), &image, message)) {
        pel_image_free(&image);
    } else if (message[0] == '\0') {
        __builtin_trap();
    }
    return 0;
}

/* 2 x 2 pixels, RGB of 8 bits and grey of 16, deflated without compression. */
size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]) {
    const uint8_t depth = index == 0 ? 8 : 16, type = index == 0 ? 2 : 0, row = index == 0 ? 6 : 4,
                  raw = (uint8_t)(2 * (row + 1));
    uint32_t a = 1, b = 0;
    if (index > 1) {
        return 0;
    }
    memset(data, 0, FUZZ_BYTES);
    memcpy(data, "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x02", 24);
    data[24] = depth;
    data[25] = type;
    uint8_t *idat = data + 33, *deflated = idat + 8;
    idat[3] = (uint8_t)(2 + 5 + raw + 4);
    memcpy(idat + 4, "IDAT", 4);
    const uint8_t head[] = {0x78, 0x01, 0x01, raw, 0, (uint8_t)~raw, 0xff};
    memcpy(deflated, head, sizeof head);
    for (int i = 0; i < raw; i++) {
        a = (a + deflated[7 + i]) % 65521;
        b = (b + a) % 65521;
    }
    const uint8_t adler[] = {(uint8_t)(b >> 8), (uint8_t)b, (uint8_t)(a >> 8), (uint8_t)a};
    memcpy(deflated + 7 + raw, adler, 4);
    uint8_t *end = idat + 12 + idat[3];
    memcpy(end, "\0\0\0\0IEND", 8);
    repair(data, (size_t)(end + 12 - data));
    return (size_t)(end + 12 - data);
}
