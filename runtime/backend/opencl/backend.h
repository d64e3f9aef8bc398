/* SPDX-License-Identifier: BSD-3-Clause */
/* The OpenCL backend, for the table of backends. */
#ifndef PEL_BACKEND_OPENCL_BACKEND_H
#define PEL_BACKEND_OPENCL_BACKEND_H

#include "backend/backend.h"

extern const pel_backend pel_backend_opencl;

#endif
