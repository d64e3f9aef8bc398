/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format of the history file, and how two histories become one.
 *
 * A header of 64 bytes (magic, versions, counts, SHA-256 of the rest), then the entries in ascending order of their keys. All
 * numbers are little-endian whatever the machine. Keys are hashes of kernel source, options, declaration, device and driver, so
 * what has changed is simply not found; nothing needs to be invalidated. Decoding trusts nothing: sizes are checked before use,
 * keys must ascend, texts must be printable, nothing may be left over; and a model's numbers are checked again by whoever takes
 * them. Merging keeps the better entry of each key by a total order, so it does not matter who merges with whom first. Rejected:
 * text (numbers must come back bit by bit in every locale) and a database (a dependency, for some hundred records).
 */
#include "model/history.h"
#include "base/checked.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT 1u
#define HEADER 64u
#define FIXED 56u   /* bytes of an entry before its numbers */

static const unsigned char magic[8] = {'p', 'e', 'l', 'h', 'i', 's', 't', '\n'};

void pel_history_free(pel_history *history) {
    for (uint32_t i = 0; i < history->count; i++) {
        pel_free(history->allocator, history->entries[i]);
    }
    pel_free(history->allocator, history->entries);
    *history = (pel_history){.allocator = history->allocator};
}

static int compare_keys(pel_model_key a, pel_model_key b) {
    if (a.kernel != b.kernel) {
        return a.kernel < b.kernel ? -1 : 1;
    }
    return a.device != b.device ? (a.device < b.device ? -1 : 1) : 0;
}

/* Where the key is, or would be. */
static uint32_t place_of(const pel_history *history, pel_model_key key) {
    uint32_t low = 0, high = history->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_keys(history->entries[middle]->state.key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

pel_history_entry *pel_history_find(const pel_history *history, pel_model_key key) {
    uint32_t at = place_of(history, key);
    return at < history->count && compare_keys(history->entries[at]->state.key, key) == 0 ? history->entries[at] : NULL;
}

bool pel_history_better(const pel_history_entry *a, const pel_history_entry *b) {
    bool a_seasoned = a->state.samples >= PEL_MODEL_SEASONED, b_seasoned = b->state.samples >= PEL_MODEL_SEASONED;
    if (a_seasoned != b_seasoned) {
        return a_seasoned;
    }
    if (a->updated != b->updated) {
        return a->updated > b->updated;
    }
    if (a->state.samples != b->state.samples) {
        return a->state.samples > b->state.samples;
    }
    if (a->state.count != b->state.count) {
        return a->state.count > b->state.count;
    }
    int numbers = memcmp(a->state.values, b->state.values, a->state.count * sizeof *a->state.values);
    if (numbers != 0) {
        return numbers > 0;
    }
    if (a->state.aspect != b->state.aspect || a->state.kernel != b->state.kernel) {
        return a->state.aspect != b->state.aspect ? a->state.aspect > b->state.aspect : a->state.kernel > b->state.kernel;
    }
    int kernels = strcmp(a->kernel, b->kernel);
    return kernels != 0 ? kernels > 0 : strcmp(a->device, b->device) > 0;
}

static bool reserve(pel_history *history) {
    if (history->count < history->capacity) {
        return true;
    }
    uint32_t capacity = history->capacity == 0 ? 64 : 2 * history->capacity;
    pel_history_entry **grown = pel_resize(history->allocator, history->entries, capacity * sizeof(pel_history_entry *));
    if (grown == NULL) {
        return false;
    }
    history->entries = grown;
    history->capacity = capacity;
    return true;
}

pel_status pel_history_put(pel_history *history, const pel_history_entry *entry, bool *changed) {
    pel_history_entry *known = pel_history_find(history, entry->state.key);
    bool takes = known == NULL || pel_history_better(entry, known);
    if (changed != NULL) {
        *changed = takes;
    }
    if (known != NULL) {
        if (takes) {
            *known = *entry;
        }
        return PEL_OK;
    }
    if (history->count >= PEL_HISTORY_ENTRY_LIMIT) {
        return PEL_TOO_LARGE;
    }
    pel_history_entry *copy = reserve(history) ? pel_alloc(history->allocator, sizeof *copy) : NULL;
    if (copy == NULL) {
        return PEL_OUT_OF_MEMORY;
    }
    *copy = *entry;
    uint32_t at = place_of(history, entry->state.key);
    memmove(history->entries + at + 1, history->entries + at, (history->count - at) * sizeof *history->entries);
    history->entries[at] = copy;
    history->count++;
    return PEL_OK;
}

void pel_history_drop(pel_history *history, bool (*drop)(void *user, const pel_history_entry *entry), void *user) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        if (drop(user, history->entries[i])) {
            pel_free(history->allocator, history->entries[i]);
        } else {
            history->entries[kept++] = history->entries[i];
        }
    }
    history->count = kept;
}

static bool is_oldest(void *user, const pel_history_entry *entry) {
    return entry == user;
}

void pel_history_shrink(pel_history *history, uint32_t most) {
    while (history->count > most) {
        pel_history_entry *oldest = history->entries[0];
        for (uint32_t i = 1; i < history->count; i++) {
            oldest = history->entries[i]->updated < oldest->updated ? history->entries[i] : oldest;
        }
        pel_history_drop(history, is_oldest, oldest);
    }
}

/* --- bytes --- */

static void write_u64(unsigned char *at, uint64_t value, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static uint64_t read_u64(const unsigned char *at, uint32_t bytes) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static size_t bytes_of(const pel_history_entry *entry) {
    return FIXED + 8u * entry->state.count + strlen(entry->kernel) + strlen(entry->device);
}

static unsigned char *write_entry(unsigned char *at, const pel_history_entry *entry) {
    size_t kernel = strlen(entry->kernel), device = strlen(entry->device);
    write_u64(at, entry->state.key.kernel, 8);
    write_u64(at + 8, entry->state.key.device, 8);
    write_u64(at + 16, entry->state.samples, 8);
    write_u64(at + 24, entry->updated, 8);
    write_u64(at + 32, entry->state.count, 4);
    write_u64(at + 36, kernel, 2);
    write_u64(at + 38, device, 2);
    write_u64(at + 40, (uint64_t)entry->state.aspect, 8);
    write_u64(at + 48, entry->state.kernel, 8);
    at += FIXED;
    for (uint32_t i = 0; i < entry->state.count; i++, at += 8) {
        uint64_t bits;
        memcpy(&bits, &entry->state.values[i], sizeof bits);
        write_u64(at, bits, 8);
    }
    memcpy(at, entry->kernel, kernel);
    memcpy(at + kernel, entry->device, device);
    return at + kernel + device;
}

void *pel_history_encode(const pel_history *history, size_t *count) {
    size_t total = HEADER;
    for (uint32_t i = 0; i < history->count; i++) {
        total += bytes_of(history->entries[i]);
    }
    unsigned char *bytes = pel_alloc_zero(history->allocator, 1, total);
    if (bytes == NULL) {
        return NULL;
    }
    unsigned char *at = bytes + HEADER;
    for (uint32_t i = 0; i < history->count; i++) {
        at = write_entry(at, history->entries[i]);
    }
    memcpy(bytes, magic, sizeof magic);
    write_u64(bytes + 8, FORMAT, 4);
    write_u64(bytes + 12, PEL_MODEL_STATE_VERSION, 4);
    write_u64(bytes + 16, history->count, 8);
    write_u64(bytes + 24, total - HEADER, 8);
    pel_sha256 sha;
    pel_sha256_init(&sha);
    pel_sha256_update(&sha, bytes, 32);
    pel_sha256_update(&sha, bytes + HEADER, total - HEADER);
    pel_sha256_final(&sha, bytes + 32);
    *count = total;
    return bytes;
}

static bool printable(const unsigned char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return true;
}

/* NULL: fine, and *at is behind it; else what is wrong. */
static const char *read_entry(const unsigned char **at, const unsigned char *end, pel_history_entry *entry) {
    const unsigned char *p = *at;
    if ((size_t)(end - p) < FIXED) {
        return "an entry is cut off";
    }
    memset(entry, 0, sizeof *entry);
    entry->state.key = (pel_model_key){read_u64(p, 8), read_u64(p + 8, 8)};
    entry->state.samples = read_u64(p + 16, 8);
    entry->updated = read_u64(p + 24, 8);
    entry->state.aspect = read_u64(p + 40, 8) < PEL_MODEL_ASPECTS ? (pel_model_aspect)read_u64(p + 40, 8) : PEL_MODEL_BESIDE;
    entry->state.kernel = read_u64(p + 48, 8);
    uint64_t count = read_u64(p + 32, 4), kernel = read_u64(p + 36, 2), device = read_u64(p + 38, 2);
    if (count > PEL_MODEL_STATE_LIMIT || kernel >= PEL_HISTORY_TEXT || device >= PEL_HISTORY_TEXT ||
        read_u64(p + 40, 8) >= PEL_MODEL_ASPECTS) {
        return "an entry has sizes that cannot be";
    }
    p += FIXED;
    if ((size_t)(end - p) < 8 * count + kernel + device) {
        return "an entry is cut off";
    }
    entry->state.count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++, p += 8) {
        uint64_t bits = read_u64(p, 8);
        memcpy(&entry->state.values[i], &bits, sizeof bits);
    }
    if (!printable(p, (size_t)(kernel + device))) {
        return "a name is not printable";
    }
    memcpy(entry->kernel, p, (size_t)kernel);
    memcpy(entry->device, p + kernel, (size_t)device);
    *at = p + kernel + device;
    return NULL;
}

/* NULL: fine; else what is wrong. */
static const char *read_header(const unsigned char *bytes, size_t count, pel_status *status) {
    pel_sha256 sha;
    uint8_t digest[32];
    *status = PEL_CORRUPT; /* whoever keeps histories leaves such a file alone */
    if (count < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) {
        return "it is not a history";
    }
    *status = PEL_INVALID_ARGUMENT;
    if (count < HEADER) {
        return "it is cut off";
    }
    if (read_u64(bytes + 8, 4) != FORMAT || read_u64(bytes + 12, 4) != PEL_MODEL_STATE_VERSION) {
        *status = PEL_UNSUPPORTED;
        return "it was written by another version of pel";
    }
    if (count > PEL_HISTORY_FILE_LIMIT || read_u64(bytes + 24, 8) != count - HEADER ||
        read_u64(bytes + 16, 8) > PEL_HISTORY_ENTRY_LIMIT) {
        return "its size is wrong";
    }
    pel_sha256_init(&sha);
    pel_sha256_update(&sha, bytes, 32);
    pel_sha256_update(&sha, bytes + HEADER, count - HEADER);
    pel_sha256_final(&sha, digest);
    return memcmp(digest, bytes + 32, sizeof digest) == 0 ? NULL : "its checksum is wrong";
}

static const char *read_entries(pel_history *history, const unsigned char *bytes, size_t count, pel_status *status) {
    const unsigned char *at = bytes + HEADER, *end = bytes + count;
    uint64_t entries = read_u64(bytes + 16, 8);
    pel_history_entry entry;
    for (uint64_t i = 0; i < entries; i++) {
        const char *wrong = read_entry(&at, end, &entry);
        if (wrong != NULL) {
            return wrong;
        }
        if (history->count > 0 && compare_keys(history->entries[history->count - 1]->state.key, entry.state.key) >= 0) {
            return "its entries are out of order";
        }
        if (pel_history_put(history, &entry, NULL) != PEL_OK) {
            *status = PEL_OUT_OF_MEMORY;
            return "there is no memory for it";
        }
    }
    return at == end ? NULL : "something follows its last entry";
}

pel_status pel_history_decode(pel_history *history, const void *bytes, size_t count, const char *name, pel_error **error) {
    pel_status status;
    const char *wrong = read_header(bytes, count, &status);
    if (wrong == NULL) {
        wrong = read_entries(history, bytes, count, &status);
    }
    if (wrong == NULL) {
        return PEL_OK;
    }
    pel_history_free(history);
    return pel_fail(error, history->allocator, status, NULL, "the history %s cannot be used: %s", name, wrong);
}

/* --- models --- */

static bool same_numbers(const pel_model_state *a, const pel_model_state *b) {
    return a->samples == b->samples && a->count == b->count && memcmp(a->values, b->values, a->count * sizeof *a->values) == 0;
}

/* An entry that learned since the history was read replaces what it grew from, even when a drift made it younger. */
static pel_status take_one(pel_history *history, const pel_history_entry *entry, bool *changed) {
    pel_history_entry *known = pel_history_find(history, entry->state.key);
    if (known != NULL && same_numbers(&known->state, &entry->state)) {
        return PEL_OK;
    }
    if (known != NULL && known->updated > entry->updated) {
        return PEL_OK; /* another process learned later, or the clock went back */
    }
    bool differs = false;
    pel_status status = pel_history_put(history, entry, &differs);
    *changed = *changed || differs;
    return status;
}

pel_status pel_history_take(pel_history *history, const pel_models *models, uint64_t now,
                            void (*label)(void *user, pel_history_entry *entry), void *user, bool *changed) {
    pel_history_entry entry;
    size_t cursor = 0;
    pel_status status = PEL_OK;
    *changed = false;
    for (;;) {
        memset(&entry, 0, sizeof entry);
        if (status != PEL_OK || !pel_models_next(models, &cursor, &entry.state)) {
            return status;
        }
        entry.updated = now;
        label(user, &entry);
        status = take_one(history, &entry, changed);
    }
}

pel_status pel_history_give(const pel_history *history, pel_models *models, uint32_t *skipped) {
    pel_status status = PEL_OK;
    *skipped = 0;
    for (uint32_t i = 0; i < history->count && status != PEL_OUT_OF_MEMORY; i++) {
        status = pel_models_restore(models, &history->entries[i]->state);
        *skipped += status == PEL_INVALID_ARGUMENT;
    }
    return status == PEL_OUT_OF_MEMORY ? status : PEL_OK;
}
