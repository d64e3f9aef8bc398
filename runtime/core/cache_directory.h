/* SPDX-License-Identifier: BSD-3-Clause */
/* Where compiled programs and probe answers are kept between processes. */
#ifndef PEL_CORE_CACHE_DIRECTORY_H
#define PEL_CORE_CACHE_DIRECTORY_H

#include "base/alloc.h"
#include "base/log.h"

/*
 * `wanted`, else $PEL_CACHE_DIR, else $XDG_CACHE_HOME/pel, else $HOME/.cache/pel; made with mode 0700 when missing. NULL (logged)
 * when there is none that belongs to this user and to nobody else's pen: a cache is a convenience, never a reason to fail.
 * Ignores the environment of privileged programs.
 */
char *pel_cache_directory(const pel_allocator *allocator, const char *wanted, pel_logger *logger);

#endif
