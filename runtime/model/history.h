/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of the past: what models have learned, as a file's bytes and back. Pure: where the bytes come from and go to is
 * core/history_file.h's. The bytes may come from anybody.
 */
#ifndef PEL_MODEL_HISTORY_H
#define PEL_MODEL_HISTORY_H

#include "base/alloc.h"
#include "base/error.h"
#include "model/model.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEL_HISTORY_TEXT 64u /* bytes of a name with its end */
#define PEL_HISTORY_FILE_LIMIT (64ull << 20)
#define PEL_HISTORY_ENTRY_LIMIT 100000u

/* One model. The names are for people; the keys decide. */
typedef struct pel_history_entry {
    pel_model_state state;
    uint64_t updated; /* seconds since 1970 when it last learned */
    char kernel[PEL_HISTORY_TEXT], device[PEL_HISTORY_TEXT];
} pel_history_entry;

/* Ascending by key, each key once. Zeroed but for the allocator is empty. */
typedef struct pel_history {
    const pel_allocator *allocator;
    pel_history_entry **entries;
    uint32_t count, capacity;
} pel_history;

void pel_history_free(pel_history *history);

/*
 * Adds a copy, or replaces the entry of its key when this one is better (pel_history_better). OUT_OF_MEMORY: nothing changed;
 * TOO_LARGE: as many entries as there may be. *changed (may be NULL): whether the history is another now.
 */
pel_status pel_history_put(pel_history *history, const pel_history_entry *entry, bool *changed);

/* NULL: no such key. */
pel_history_entry *pel_history_find(const pel_history *history, pel_model_key key);

/*
 * Which of two entries of one key stays: who has four samples or more, then who learned last, then who has more samples, then the
 * larger bytes: a total order, so that merging gives the same whatever the order.
 */
bool pel_history_better(const pel_history_entry *a, const pel_history_entry *b);

/* Drops entries for which the function says so. */
void pel_history_drop(pel_history *history, bool (*drop)(void *user, const pel_history_entry *entry), void *user);

/* Drops the longest unused until `most` are left. */
void pel_history_shrink(pel_history *history, uint32_t most);

/*
 * Reads bytes into an empty history. CORRUPT: not a history; INVALID_ARGUMENT: a damaged one; UNSUPPORTED: another version's;
 * OUT_OF_MEMORY.
 * The error says what is wrong and calls the bytes `name`.
 */
pel_status pel_history_decode(pel_history *history, const void *bytes, size_t count, const char *name, pel_error **error);

/* The bytes of a history, for the caller to free with the same allocator. NULL: no memory. */
void *pel_history_encode(const pel_history *history, size_t *count);

/*
 * Models into the history: `label` fills in the names of an entry whose state is set. Only what differs gets the time `now`.
 * *changed: whether anything did.
 */
pel_status pel_history_take(pel_history *history, const pel_models *models, uint64_t now,
                            void (*label)(void *user, pel_history_entry *entry), void *user, bool *changed);

/* And back: entries whose numbers are no model's are skipped and counted. OUT_OF_MEMORY: some are missing. */
pel_status pel_history_give(const pel_history *history, pel_models *models, uint32_t *skipped);

#endif
