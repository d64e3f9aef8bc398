/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of an OpenCL C source and their parameters, read from the text. `pel run` needs them before any device exists: to
 * match arguments by name, to choose the types of files, to explain a mismatch. Asking the driver (clGetKernelArgInfo) would
 * need a device and a build first, and drivers differ in what they answer.
 *
 * Understood: comments, strings, line splices, object-like macros, #ifdef/#ifndef/#if 0/#if 1/#if defined(X), simple typedefs
 * of known types. With any other #if all branches are read. Not understood: #include, function-like macros that make kernels.
 * What the reader cannot type stays "unknown" and is the caller's to ask for.
 */
#ifndef PEL_CLI_SIGNATURE_H
#define PEL_CLI_SIGNATURE_H

#include "cli/array.h"

typedef enum pel_parameter_space {
    PEL_SPACE_VALUE, /* by value */
    PEL_SPACE_GLOBAL,
    PEL_SPACE_CONSTANT,
    PEL_SPACE_LOCAL,
    PEL_SPACE_OTHER /* images, samplers, pipes, pointers to pointers: not for pel run */
} pel_parameter_space;

typedef struct pel_parameter {
    char name[128];
    char text[192];      /* as declared, spaces made even: "global const float *in" */
    char type_name[128]; /* "float4", "struct particle" */
    pel_parameter_space space;
    bool read_only;      /* pointer to const, or constant memory */
    pel_element element; /* cell NULL: not a type known here */
} pel_parameter;

typedef struct pel_signature {
    char name[128];
    pel_parameter *parameters;
    uint32_t count;
    bool ambiguous; /* defined more than once, differently, in branches that cannot be told apart */
} pel_signature;

typedef struct pel_signatures {
    pel_signature *kernels;
    uint32_t count;
} pel_signatures;

/* `defines` are "NAME" or "NAME=VALUE" from the command line. False with a message; *signatures is empty then. */
bool pel_signatures_read(const char *source, size_t bytes, const char *const *defines, uint32_t define_count,
                         pel_signatures *signatures, char message[PEL_MESSAGE_BYTES]);
void pel_signatures_free(pel_signatures *signatures);
const pel_signature *pel_signatures_find(const pel_signatures *signatures, const char *name);

#endif
