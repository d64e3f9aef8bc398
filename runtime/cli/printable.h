/* SPDX-License-Identifier: BSD-3-Clause */
/* Text of unknown origin (driver files, device names) made fit for a terminal. */
#ifndef PEL_CLI_PRINTABLE_H
#define PEL_CLI_PRINTABLE_H

/*
 * In place: each byte that is no part of valid UTF-8, and each character that a terminal obeys instead of showing (controls,
 * those of U+0080 to U+009F too, line and paragraph separators, characters that turn the direction of writing), becomes '?'.
 */
void pel_make_printable(char *text);

#endif
