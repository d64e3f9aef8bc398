/* SPDX-License-Identifier: BSD-3-Clause */
/* The file in which histories are kept: read whole, replaced whole, shared by processes. */
#ifndef PEL_CORE_HISTORY_FILE_H
#define PEL_CORE_HISTORY_FILE_H

#include "base/log.h"
#include "model/history.h"

/*
 * Reads a file into an empty history. NOT_FOUND: there is no file. IO: also when it is no regular file; CORRUPT: it is no
 * history; INVALID_ARGUMENT (also when empty) and UNSUPPORTED: it is damaged or another version's, see pel_history_decode.
 */
pel_status pel_history_file_read(const char *path, pel_history *history, pel_error **error);

/* What to do with a history under the file's lock; true: write it back. */
typedef bool (*pel_history_change_fn)(void *user, pel_history *history);

/*
 * Locks the file, reads it (no file: empty; damaged, empty or of another version: set aside as PATH.bad with a warning, then
 * empty), lets `change` change it and replaces it in one step. What is no history is not touched (CORRUPT), nor is a PATH.bad
 * that is none (IO). A process killed meanwhile leaves the old file or the new one. BUSY: others held the lock for two seconds.
 * IO, OUT_OF_MEMORY. Blocks.
 */
pel_status pel_history_file_change(const char *path, const pel_allocator *allocator, pel_logger *logger,
                                   pel_history_change_fn change, void *user, pel_error **error);

#endif
