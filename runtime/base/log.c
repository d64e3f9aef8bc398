/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records go to the caller's sink one at a time, each a single line; without a sink, or below the level, a record costs one
 * compare. The text is made on the stack outside the mutex: logging an out-of-memory condition must not allocate, and a slow sink
 * holds up only other records.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void pel_logger_init(pel_logger *logger, pel_log_fn sink, void *user, pel_log_level level) {
    pthread_mutex_init(&logger->mutex, NULL); /* a default mutex cannot fail on Linux */
    logger->sink = sink;
    logger->user = user;
    logger->level = level;
}

void pel_logger_destroy(pel_logger *logger) {
    pthread_mutex_destroy(&logger->mutex);
}

void pel_log(pel_logger *logger, pel_log_level level, const char *format, ...) {
    if (logger == NULL || logger->sink == NULL || level == PEL_LOG_OFF || level > logger->level) {
        return;
    }
    char line[1024 + 4];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, 1024 + 1, format, list);
    va_end(list);
    if (length < 0) {
        return;
    }
    if (length > 1024) {
        memcpy(line + 1024, "...", 4);
    }
    for (char *at = line; *at != '\0'; at++) {
        if (*at == '\n' || *at == '\r') {
            *at = ' ';
        }
    }
    pthread_mutex_lock(&logger->mutex);
    logger->sink(logger->user, level, line);
    pthread_mutex_unlock(&logger->mutex);
}
