/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of an OpenCL C source after a light preprocessing; see signature.h for what is understood. */
#ifndef PEL_CLI_PREPROCESS_H
#define PEL_CLI_PREPROCESS_H

#include "cli/array.h"
#include "kernel/source.h"

typedef struct pel_preprocessed {
    pel_token *items;
    size_t count, capacity;
    char *text;    /* the cleaned source that tokens point into */
    char *defines; /* likewise for the command line's */
} pel_preprocessed;

bool pel_preprocess(const char *source, size_t bytes, const char *const *defines, uint32_t define_count,
                    pel_preprocessed *tokens, char message[PEL_MESSAGE_BYTES]);
void pel_preprocessed_free(pel_preprocessed *tokens);

#endif
