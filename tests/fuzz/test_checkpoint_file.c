/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoint files and journals. Checksums would stop nearly every change, so half of the inputs get right ones again: an enemy
 * can compute them too.
 */
#include "base/alloc.h"
#include "fuzz/fuzz.h"
#include "resilience/checkpoint_file.h"
#include "resilience/checksum.h"
#include "resilience/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const pel_checkpoint_env env = {&pel_allocator_default, &pel_file_io_system};

static void repair(uint8_t *data, size_t bytes) {
    if (bytes < 80) {
        return;
    }
    uint64_t directory = pel_get64(data + 48), generation = pel_get64(data + 16), running = generation;
    if (directory > bytes - 80) {
        return;
    }
    pel_put64(data + 72, pel_checksum(data + 80, (size_t)directory, pel_checksum(data, 72, PEL_CHECKPOINT_VERSION)));
    size_t at = 80 + (size_t)directory;
    while (bytes - at >= 80) {
        uint32_t stored = pel_get32(data + at + 20);
        if (stored > bytes - at - 40) {
            return;
        }
        pel_put64(data + at + 32, pel_checksum(data + at + 40, stored, pel_checksum(data + at, 32, generation)));
        running = pel_checksum(data + at, 40, running);
        at += 40 + stored;
    }
    if (bytes - at == 40) {
        pel_put64(data + at + 24, running);
        pel_put64(data + at + 32, pel_checksum(data + at, 32, generation));
    }
}

static pel_status ignore_record(void *user, const pel_checkpoint_record *record, const void *data) {
    volatile uint8_t sum = 0;
    (void)user;
    for (uint64_t i = 0; i < record->bytes; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    }
    return PEL_OK;
}

static void read_file(const char *path) {
    pel_checkpoint_header header;
    pel_error *error = NULL;
    int file;
    pel_status status = pel_checkpoint_load_header(&env, path, &header, &file, &error);
    if (status == PEL_OK) {
        for (uint32_t i = 0; i < header.part_count; i++) {
            header.parts[i].data = header.parts[i].bytes <= FUZZ_BYTES ? malloc((size_t)header.parts[i].bytes + 1) : NULL;
        }
        status = pel_checkpoint_load_parts(&env, path, &header, file, &error);
        for (uint32_t i = 0; i < header.part_count; i++) {
            free(header.parts[i].data);
        }
        pel_checkpoint_free_header(&env, &header);
        close(file);
    }
    if ((status == PEL_OK) != (error == NULL)) {
        abort();
    }
    pel_error_destroy(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static uint8_t copy[2 * FUZZ_BYTES];
    pel_checkpoint_part part = {"x", 64, NULL};
    const pel_checkpoint_header header = {.generation = 3, .part_count = 1, .parts = &part};
    uint64_t records, end;
    if (bytes > sizeof copy) {
        return 0;
    }
    memcpy(copy, data, bytes);
    if (bytes > 20 && data[20] % 2 == 0) {
        repair(copy, bytes);
    }
    read_file(fuzz_file(copy, bytes));
    (void)pel_checkpoint_journal_read(&env, fuzz_file(data, bytes), 3, &header, ignore_record, NULL, &records, &end, NULL, NULL);
    return 0;
}

static size_t slurp(const char *path, uint8_t data[FUZZ_BYTES]) {
    FILE *file = fopen(path, "rb");
    size_t bytes = file ? fread(data, 1, FUZZ_BYTES, file) : 0;
    if (file) {
        fclose(file);
    }
    (void)unlink(path);
    return bytes;
}

size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]) {
    static unsigned char content[300];
    char path[64], temporary[72];
    const pel_checkpoint_part parts[] = {{"x", 64, content}, {"a longer name", 300, content}};
    (void)snprintf(path, sizeof path, "/tmp/pel-fuzz-%ld", (long)getpid());
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (index < 2) {
        if (pel_checkpoint_save(&env, path, temporary, parts, 1 + index, 3, 17, false, NULL) != PEL_OK) {
            abort();
        }
    } else if (index == 2) {
        int file;
        const pel_checkpoint_record record = {.task = 1, .lo = 2, .hi = 3, .part = 0, .offset = 8, .bytes = 16};
        if (pel_checkpoint_journal_start(&env, path, 3, &file, NULL) != PEL_OK ||
            pel_checkpoint_journal_append(&env, path, file, 3, 0, &record, content, NULL) != PEL_OK) {
            abort();
        }
        close(file);
    } else if (index == 3) {
        if (pel_checkpoint_save(&env, path, temporary, parts, 2, 3, 17, true, NULL) != PEL_OK) {
            return 0; /* this build does not compress */
        }
    } else {
        return 0;
    }
    return slurp(path, data);
}
