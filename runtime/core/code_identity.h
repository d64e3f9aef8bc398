/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which machine code stands behind a function pointer: the same in every process that runs the same build, another after any
 * rebuild that changed it.
 */
#ifndef PEL_CORE_CODE_IDENTITY_H
#define PEL_CORE_CODE_IDENTITY_H

#include <stdint.h>

/* 0 for NULL. Code that belongs to no file (made at run time) is another in every process. */
uint64_t pel_code_identity(void (*function)(void));

#endif
