/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of an OpenCL C source after a light preprocessing; see signature.h for what is understood. */
#ifndef PEL_CLI_SOURCE_TOKENS_H
#define PEL_CLI_SOURCE_TOKENS_H

#include "cli/array.h"

typedef struct pel_cli_token {
    const char *start;
    size_t length;
} pel_cli_token;

typedef struct pel_cli_tokens {
    pel_cli_token *items;
    size_t count, capacity;
    char *text;    /* the cleaned source that tokens point into */
    char *defines; /* likewise for the command line's */
} pel_cli_tokens;

bool pel_cli_tokens_read(const char *source, size_t bytes, const char *const *defines, uint32_t define_count,
                         pel_cli_tokens *tokens, char message[PEL_MESSAGE_BYTES]);
void pel_cli_tokens_free(pel_cli_tokens *tokens);
bool pel_cli_token_is(const pel_cli_token *token, const char *word);

#endif
