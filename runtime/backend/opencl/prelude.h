/* SPDX-License-Identifier: BSD-3-Clause */
/* What is put in front of a program's source so that ids and sizes in a chunk mean the whole launch. See backend/addressing.h. */
#ifndef PEL_BACKEND_OPENCL_PRELUDE_H
#define PEL_BACKEND_OPENCL_PRELUDE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum pel_cl_form {
    PEL_CL_PLAIN = 0,    /* as it is */
    PEL_CL_CHUNKED_1 = 1, /* parts of 1-D launches */
    PEL_CL_CHUNKED_2 = 2,
    PEL_CL_CHUNKED_3 = 3,
    PEL_CL_FORMS = 4
} pel_cl_form;

/* Static text that ends with "#line 1\n", or "" when nothing has to be put in front. */
const char *pel_cl_prelude(pel_cl_form form, bool reproducible);

#endif
