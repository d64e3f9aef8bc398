/* SPDX-License-Identifier: BSD-3-Clause */
/* See printable.h. The C library's own tables depend on the locale, which the tool does not set. */
#include "cli/printable.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the well-formed UTF-8 character at `text` (shortest form, no surrogate, at most U+10FFFF), or 0. */
static unsigned decode(const unsigned char *text, uint32_t *character) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = text[0];
    unsigned length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    *character = length == 1 ? lead : lead & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if (text[i] >> 6 != 2) /* the end of the text too */
            return 0;
        *character = *character << 6 | (text[i] & 0x3fu);
    }
    bool surrogate = *character >= 0xd800 && *character <= 0xdfff;
    return length > 0 && *character >= least[length] && *character <= 0x10ffff && !surrogate ? length : 0;
}

static bool obeyed(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void pel_make_printable(char *text) {
    char *to = text;
    for (const char *from = text; *from;) {
        uint32_t character;
        unsigned length = decode((const unsigned char *)from, &character);
        if (length == 0 || obeyed(character)) {
            *to++ = '?';
            from += length == 0 ? 1 : length;
            continue;
        }
        while (length-- > 0)
            *to++ = *from++;
    }
    *to = '\0';
}
