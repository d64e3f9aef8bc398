/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal beside a checkpoint: which chunks have been finished since, with the bytes that they wrote. Appended to and synced,
 * never rewritten.
 *
 *     header: magic, generation, checksum (24 bytes) | records: frame (64 bytes) and payload
 *
 * The invariant: what is read is a prefix of what was written. A record counts when it is whole, its checksum is right and its
 * number follows; the first that is not ends the journal, because a process that is killed leaves a torn one there. Each belongs
 * to one generation, by its header and by the seed of every checksum, so an old journal never meets a new file. Rejected: a list
 * of finished chunks without their bytes, which would be of no use after a restart: the results would be gone.
 */
#include "resilience/checkpoint_file.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "resilience/checksum.h"
#include "resilience/frame.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { HEADER = PEL_CHECKPOINT_JOURNAL_HEADER, FRAME = PEL_CHECKPOINT_JOURNAL_FRAME };

static const unsigned char magic[8] = {'P', 'E', 'L', 'J', 'R', 'N', 'L', '\n'};

static pel_status failed_call(const pel_checkpoint_env *env, pel_error **error, const char *call, const char *path) {
    int code = errno;
    pel_story story = {
        .call = call, .code = code, .advice = code == ENOSPC ? "free space, or choose another directory" : "see the code"};
    return pel_fail(error, env->allocator, PEL_IO, &story, "journal %s: %s: %s", path, call, strerror(code));
}

pel_status pel_checkpoint_journal_start(const pel_checkpoint_env *env, const char *path, uint64_t generation, int *file,
                                        pel_error **error) {
    unsigned char header[HEADER];
    const pel_file_io *io = env->io;
    memcpy(header, magic, sizeof magic);
    pel_put64(header + 8, generation);
    pel_put64(header + 16, pel_checksum(header, 16, generation));
    /* Not through a temporary file: a journal that is cut anywhere is a shorter journal, and one without a whole header has no
     * records. */
    *file = io->open(io->state, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*file < 0) {
        return failed_call(env, error, "open", path);
    }
    const char *call = io->truncate(io->state, *file, 0) != 0                      ? "ftruncate"
                       : pel_file_write_all(io, *file, header, sizeof header) != 0 ? "write"
                       : io->sync(io->state, *file) != 0                           ? "fsync"
                       : pel_file_sync_directory(io, path) != 0                    ? "fsync of the directory"
                                                                                   : NULL;
    if (!call) {
        return PEL_OK;
    }
    pel_status status = failed_call(env, error, call, path);
    (void)io->close(io->state, *file);
    *file = -1;
    return status;
}

static uint64_t sum_of(const unsigned char *frame, const void *data, size_t bytes, uint64_t generation) {
    return pel_checksum(data, bytes, pel_checksum(frame, FRAME - 8, generation));
}

pel_status pel_checkpoint_journal_append(const pel_checkpoint_env *env, const char *path, int file, uint64_t generation,
                                         uint64_t number, const pel_checkpoint_record *record, const void *data,
                                         pel_error **error) {
    unsigned char frame[FRAME] = {0};
    pel_put64(frame, number);
    pel_put64(frame + 8, record->task);
    pel_put64(frame + 16, record->lo);
    pel_put64(frame + 24, record->hi);
    pel_put32(frame + 32, record->part);
    pel_put64(frame + 40, record->offset);
    pel_put64(frame + 48, record->bytes);
    pel_put64(frame + 56, sum_of(frame, data, (size_t)record->bytes, generation));
    if (pel_file_write_all(env->io, file, frame, sizeof frame) != 0 ||
        pel_file_write_all(env->io, file, data, (size_t)record->bytes) != 0) {
        return failed_call(env, error, "write", path);
    }
    return env->io->sync(env->io->state, file) == 0 ? PEL_OK : failed_call(env, error, "fsync", path);
}

/* Whether a journal of this generation begins here. */
static bool begins(const pel_file_io *io, int file, uint64_t generation) {
    unsigned char header[HEADER];
    return pel_file_read_all(io, file, header, sizeof header) == (ssize_t)sizeof header &&
           memcmp(header, magic, sizeof magic) == 0 && pel_get64(header + 8) == generation &&
           pel_get64(header + 16) == pel_checksum(header, 16, generation);
}

/* Reads the next record into *data, which grows. False: there is no further whole one. *status tells when memory ran out. */
static bool next_record(const pel_checkpoint_env *env, int file, uint64_t generation, uint64_t number, uint64_t room,
                        const pel_checkpoint_header *header, pel_checkpoint_record *record, unsigned char **data,
                        pel_status *status) {
    unsigned char frame[FRAME];
    if (pel_file_read_all(env->io, file, frame, sizeof frame) != (ssize_t)sizeof frame || pel_get64(frame) != number) {
        return false;
    }
    *record = (pel_checkpoint_record){.task = pel_get64(frame + 8),
                                      .lo = pel_get64(frame + 16),
                                      .hi = pel_get64(frame + 24),
                                      .part = pel_get32(frame + 32),
                                      .offset = pel_get64(frame + 40),
                                      .bytes = pel_get64(frame + 48)};
    bool fits = record->part == UINT32_MAX
                    ? record->bytes == 0
                    : record->part < header->part_count &&
                          pel_range_within(record->offset, record->bytes, header->parts[record->part].bytes);
    if (!fits || room < FRAME || record->bytes > room - FRAME) {
        return false;
    }
    if (record->bytes > 0) {
        unsigned char *grown = pel_resize(env->allocator, *data, (size_t)record->bytes);
        if (!grown) {
            *status = PEL_OUT_OF_MEMORY;
            return false;
        }
        *data = grown;
    }
    return pel_file_read_all(env->io, file, *data, (size_t)record->bytes) == (ssize_t)record->bytes &&
           sum_of(frame, *data, (size_t)record->bytes, generation) == pel_get64(frame + 56);
}

pel_status pel_checkpoint_journal_read(const pel_checkpoint_env *env, const char *path, uint64_t generation,
                                       const pel_checkpoint_header *header, pel_checkpoint_visit visit, void *user,
                                       uint64_t *records, uint64_t *end, int *keep, pel_error **error) {
    const pel_file_io *io = env->io;
    uint64_t size = 0, good = HEADER;
    pel_checkpoint_record record;
    unsigned char *data = NULL;
    pel_status status = PEL_OK;
    *records = 0;
    *end = 0;
    if (keep) {
        *keep = -1;
    }
    int file = io->open(io->state, path, (keep ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (file < 0) {
        return errno == ENOENT ? PEL_OK : failed_call(env, error, "open", path);
    }
    if (io->size(io->state, file, &size) != 0 || !begins(io, file, generation)) {
        (void)io->close(io->state, file);
        return PEL_OK;
    }
    while (status == PEL_OK && next_record(env, file, generation, *records, size - good, header, &record, &data, &status)) {
        status = visit(user, &record, data);
        good += FRAME + record.bytes;
        ++*records;
    }
    *end = good;
    pel_free(env->allocator, data);
    if (status == PEL_OUT_OF_MEMORY) {
        status = pel_fail(error, env->allocator, status, NULL, "no memory for journal %s", path);
    }
    if (status == PEL_OK && keep && io->truncate(io->state, file, good) != 0) {
        status = failed_call(env, error, "ftruncate", path);
    }
    if (status == PEL_OK && keep) {
        *keep = file;
    } else {
        (void)io->close(io->state, file);
    }
    return status;
}
