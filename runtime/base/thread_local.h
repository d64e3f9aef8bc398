/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Variables of a thread that every submission reads. In a shared library each access is a call by default (11 instructions, five
 * times a task); the initial-exec model makes it one load, from the few bytes that glibc keeps for libraries that are loaded
 * late. Elsewhere (musl) such libraries could not be loaded so.
 */
#ifndef PEL_BASE_THREAD_LOCAL_H
#define PEL_BASE_THREAD_LOCAL_H

#include <features.h>

#if defined(__GLIBC__) && defined(__ELF__)
#define PEL_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define PEL_THREAD_LOCAL _Thread_local
#endif

#endif
