/* SPDX-License-Identifier: BSD-3-Clause */
/* The backends by name, for the table in backend.c and for their own tests. Each is defined in its folder. */
#ifndef PEL_BACKEND_BACKENDS_H
#define PEL_BACKEND_BACKENDS_H

#include "backend/backend.h"

extern const pel_backend pel_backend_host;      /* host/ */
extern const pel_backend pel_backend_opencl;    /* opencl/, only with PEL_HAVE_OPENCL */
/* outside/: any of the others, in a child process; chosen by the device's facts, not by its kind */
extern const pel_backend pel_backend_outside;
extern const pel_backend pel_backend_simulated; /* simulated/ */

#endif
