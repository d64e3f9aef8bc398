/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer: any bytes as a history, half of them with a header that is right, so that what lies behind the checksum is reached.
 * What is accepted must come out as it went in, and models that take it must go on predicting and learning finite numbers.
 */
#include "base/hash.h"
#include "model/history.h"

#include <math.h>
#include <pel/status.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

static void put(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

/* The payload with the header that it should have. */
static uint8_t *wrapped(const uint8_t *data, size_t size, uint64_t entries) {
    uint8_t *bytes = calloc(1, 64 + size);
    pel_sha256 sha;
    must(bytes != NULL);
    memcpy(bytes, "pelhist\n", 8);
    put(bytes + 8, 1, 4);
    put(bytes + 12, PEL_MODEL_STATE_VERSION, 4);
    put(bytes + 16, entries, 8);
    put(bytes + 24, size, 8);
    memcpy(bytes + 64, data, size);
    pel_sha256_init(&sha);
    pel_sha256_update(&sha, bytes, 32);
    pel_sha256_update(&sha, bytes + 64, size);
    pel_sha256_final(&sha, bytes + 32);
    return bytes;
}

static void use(const pel_history *history) {
    pel_models *models = pel_models_create(&pel_allocator_default);
    uint32_t skipped = 0;
    must(models != NULL && pel_history_give(history, models, &skipped) == PEL_OK && skipped <= history->count);
    for (uint32_t i = 0; i < history->count; i++) {
        pel_model_key key = history->entries[i]->state.key;
        for (int round = 0; round < 64; round++) { /* octaves of sizes: a knee is looked for */
            pel_cost cost = pel_models_predict(models, key);
            must(isfinite(cost.start_ns) && cost.start_ns >= 0.0 && isfinite(cost.unit_ns) && cost.unit_ns >= 0.0 &&
                 isfinite(cost.knee_units) && cost.knee_units >= 0.0 && isfinite(cost.deviation));
            must(pel_models_observe(models, key, 100.0 * (double)(1u << round % 12), 5000.0) == PEL_OK);
        }
    }
    pel_models_destroy(models);
}

static void check(const uint8_t *bytes, size_t size) {
    pel_history history = {.allocator = &pel_allocator_default};
    size_t again_size = 0;
    if (pel_history_decode(&history, bytes, size, "fuzz", NULL) != PEL_OK) {
        must(history.count == 0);
        return;
    }
    uint8_t *again = pel_history_encode(&history, &again_size);
    must(again != NULL && again_size == size && memcmp(again, bytes, size) == 0);
    free(again);
    use(&history);
    pel_history_free(&history);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    if ((data[0] & 1) != 0) {
        check(data + 1, size - 1);
        return 0;
    }
    uint8_t *bytes = wrapped(data + 2, size - 2, data[1]);
    check(bytes, 64 + size - 2);
    free(bytes);
    return 0;
}
