/* SPDX-License-Identifier: BSD-3-Clause */
/* The runtime's log: filters by level, formats one line, calls the user's sink under a mutex. */
#ifndef PEL_BASE_LOG_H
#define PEL_BASE_LOG_H

#include <pel/log.h>
#include <pthread.h>

typedef struct pel_logger {
    pthread_mutex_t mutex;
    pel_log_fn sink;
    void *user;
    pel_log_level level;
} pel_logger;

void pel_logger_init(pel_logger *logger, pel_log_fn sink, void *user, pel_log_level level);
void pel_logger_destroy(pel_logger *logger);

/* logger NULL: dropped. Lines longer than 1 KiB are cut with "...". */
void pel_log(pel_logger *logger, pel_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
