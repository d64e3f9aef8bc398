/* SPDX-License-Identifier: BSD-3-Clause */
/* The null backend; see template.c. */
#ifndef PEL_BACKEND_TEMPLATE_H
#define PEL_BACKEND_TEMPLATE_H

#include "backend/backend.h"

extern const pel_backend pel_backend_template;

#endif
