/* SPDX-License-Identifier: BSD-3-Clause */
/* Log records. The library never prints: it calls the sink given in pel_runtime_desc, or drops the record. */
#ifndef PEL_LOG_H
#define PEL_LOG_H

#include <pel/export.h>

PEL_BEGIN_DECLS

typedef enum pel_log_level {
    PEL_LOG_OFF = 0,
    PEL_LOG_ERROR = 1,
    PEL_LOG_WARNING = 2,
    PEL_LOG_INFO = 3,
    PEL_LOG_DEBUG = 4
} pel_log_level;

/*
 * Receives one record. `message` is one line without '\n', valid during the call only. May be called from any of
 * the library's threads and from the caller's, one call at a time per runtime; must not call back into that runtime.
 */
typedef void (*pel_log_fn)(void *user, pel_log_level level, const char *message);

PEL_END_DECLS
#endif
