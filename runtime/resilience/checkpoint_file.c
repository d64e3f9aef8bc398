/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing and reading one checkpoint file.
 *
 *     header (80 bytes) | directory: per part name length, bytes, name |
 *     blocks: frame (40 bytes) and payload, in order | trailer (40 bytes)
 *
 * The invariant: a file is accepted only when every byte of it has passed a checksum, every part is covered from its first to its
 * last byte exactly once, and nothing follows the trailer. So a file that was cut, mixed from two or changed in any byte is
 * refused. Checksums are seeded with the generation, and blocks with their number, so a block from elsewhere does not fit.
 * Rejected: one checksum over all (damage would not be located, and a reader would have to keep everything until the end), and a
 * library format such as HDF5 (none syncs and checks what we need, and the core would depend on it).
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
#include <time.h>
#ifdef PEL_HAVE_ZSTD
#include <zstd.h>
#endif

enum { HEADER = 80, FRAME = 40, TRAILER = 40, ENTRY = 12, RAW = 0, ZSTD = 1, FASTEST = 1 };

static const unsigned char magic[8] = {'P', 'E', 'L', 'C', 'K', 'P', 'T', '\n'},
                           end_magic[8] = {'P', 'E', 'L', 'C', 'K', 'E', 'N', 'D'};

static uint32_t own_byte_order(void) {
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 2 : 1;
}

static pel_status failed_call(const pel_checkpoint_env *env, pel_error **error, const char *call, const char *path) {
    int code = errno;
    pel_story story = {
        .call = call, .code = code, .advice = code == ENOSPC ? "free space, or choose another directory" : "see the code"};
    return pel_fail(error, env->allocator, PEL_IO, &story, "checkpoint %s: %s: %s", path, call, strerror(code));
}

static pel_status no_memory(const pel_checkpoint_env *env, pel_error **error, const char *path) {
    return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for checkpoint %s", path);
}

static pel_status damaged(const pel_checkpoint_env *env, pel_error **error, const char *path, const char *what, uint64_t where) {
    pel_story story = {.advice = "use the other generation; pel checkpoint verify tells what is good"};
    return pel_fail(error, env->allocator, PEL_IO, &story, "checkpoint %s is damaged: %s (byte %llu)", path, what,
                    (unsigned long long)where);
}

/* ---- writing ---- */

typedef struct writer {
    const pel_checkpoint_env *env;
    const char *path;
    int file;
    uint64_t generation, blocks, bytes, running; /* running: over all blocks' checksums */
    unsigned char *packed;                       /* room for one compressed block; NULL: not compressing */
    size_t packed_room;
    pel_error **error;
} writer;

static pel_status put(writer *w, const void *data, size_t bytes) {
    if (pel_file_write_all(w->env->io, w->file, data, bytes) != 0) {
        return failed_call(w->env, w->error, "write", w->path);
    }
    w->bytes += bytes;
    return PEL_OK;
}

static uint64_t directory_bytes_of(const pel_checkpoint_part *parts, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += ENTRY + strlen(parts[i].name);
    }
    return bytes;
}

static pel_status put_header(writer *w, const pel_checkpoint_part *parts, uint32_t count, uint64_t step) {
    uint64_t directory = directory_bytes_of(parts, count), total = 0;
    unsigned char *head = pel_alloc_zero(w->env->allocator, 1, (size_t)(HEADER + directory));
    if (!head) {
        return no_memory(w->env, w->error, w->path);
    }
    unsigned char *at = head + HEADER;
    for (uint32_t i = 0; i < count; i++) {
        size_t length = strlen(parts[i].name);
        pel_put32(at, (uint32_t)length);
        pel_put64(at + 4, parts[i].bytes);
        memcpy(at + ENTRY, parts[i].name, length);
        at += ENTRY + length;
        total += parts[i].bytes;
    }
    memcpy(head, magic, sizeof magic);
    pel_put32(head + 8, PEL_CHECKPOINT_VERSION);
    pel_put32(head + 12, own_byte_order());
    pel_put64(head + 16, w->generation);
    pel_put64(head + 24, step);
    pel_put64(head + 32, (uint64_t)time(NULL));
    pel_put64(head + 40, total);
    pel_put64(head + 48, directory);
    pel_put32(head + 56, count);
    pel_put32(head + 60, PEL_CHECKPOINT_BLOCK);
    /* Bytes 64 to 71 are zero; the checksum is over all but itself. */
    pel_put64(head + 72, pel_checksum(head + HEADER, (size_t)directory, pel_checksum(head, 72, PEL_CHECKPOINT_VERSION)));
    pel_status status = put(w, head, (size_t)(HEADER + directory));
    pel_free(w->env->allocator, head);
    return status;
}

/* Compresses into w->packed; 0: not worth it, or not built in. */
static size_t pack(writer *w, const void *data, size_t bytes) {
#ifdef PEL_HAVE_ZSTD
    if (w->packed) {
        size_t packed = ZSTD_compress(w->packed, w->packed_room, data, bytes, FASTEST);
        return ZSTD_isError(packed) || packed >= bytes ? 0 : packed;
    }
#endif
    (void)w, (void)data, (void)bytes;
    return 0;
}

static pel_status put_block(writer *w, uint32_t part, uint64_t offset, const void *data, uint32_t bytes) {
    unsigned char frame[FRAME] = {0};
    size_t packed = pack(w, data, bytes);
    const void *payload = packed ? w->packed : data;
    size_t stored = packed ? packed : bytes;
    pel_put32(frame, part);
    pel_put32(frame + 4, packed ? ZSTD : RAW);
    pel_put64(frame + 8, offset);
    pel_put32(frame + 16, bytes);
    pel_put32(frame + 20, (uint32_t)stored);
    pel_put64(frame + 24, w->blocks);
    uint64_t sum = pel_checksum(payload, stored, pel_checksum(frame, FRAME - 8, w->generation));
    pel_put64(frame + 32, sum);
    w->running = pel_checksum(frame, FRAME, w->running);
    w->blocks++;
    pel_status status = put(w, frame, FRAME);
    return status == PEL_OK ? put(w, payload, stored) : status;
}

static pel_status put_parts(writer *w, const pel_checkpoint_part *parts, uint32_t count) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        for (uint64_t at = 0; at < parts[i].bytes && status == PEL_OK; at += PEL_CHECKPOINT_BLOCK) {
            uint64_t left = parts[i].bytes - at;
            uint32_t bytes = (uint32_t)(left < PEL_CHECKPOINT_BLOCK ? left : PEL_CHECKPOINT_BLOCK);
            status = put_block(w, i, at, (const unsigned char *)parts[i].data + at, bytes);
        }
    }
    return status;
}

static pel_status put_trailer(writer *w) {
    unsigned char trailer[TRAILER] = {0};
    memcpy(trailer, end_magic, sizeof end_magic);
    pel_put64(trailer + 8, w->blocks);
    pel_put64(trailer + 16, w->bytes + TRAILER);
    pel_put64(trailer + 24, w->running);
    pel_put64(trailer + 32, pel_checksum(trailer, TRAILER - 8, w->generation));
    return put(w, trailer, TRAILER);
}

static pel_status write_file(writer *w, const pel_checkpoint_part *parts, uint32_t count, uint64_t step) {
    pel_status status = put_header(w, parts, count, step);
    if (status == PEL_OK) {
        status = put_parts(w, parts, count);
    }
    if (status == PEL_OK) {
        status = put_trailer(w);
    }
    if (status == PEL_OK && w->env->io->sync(w->env->io->state, w->file) != 0) {
        status = failed_call(w->env, w->error, "fsync", w->path);
    }
    return status;
}

static pel_status check_parts(const pel_checkpoint_env *env, const char *path, const pel_checkpoint_part *parts, uint32_t count,
                              pel_error **error) {
    uint64_t total = 0;
    if (count == 0 || count > PEL_CHECKPOINT_ITEMS) {
        return pel_fail(error, env->allocator, PEL_INVALID_ARGUMENT, NULL, "checkpoint %s: 1 to %d buffers, not %u", path,
                        PEL_CHECKPOINT_ITEMS, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t length = parts[i].name ? strnlen(parts[i].name, PEL_CHECKPOINT_NAME + 1) : 0;
        if (length == 0 || length > PEL_CHECKPOINT_NAME) {
            return pel_fail(error, env->allocator, PEL_INVALID_ARGUMENT, NULL,
                            "checkpoint %s: buffer %u wants a name of 1 to %d bytes", path, i, PEL_CHECKPOINT_NAME);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(parts[i].name, parts[j].name) == 0) {
                return pel_fail(error, env->allocator, PEL_INVALID_ARGUMENT, NULL, "checkpoint %s: two buffers are called %s",
                                path, parts[i].name);
            }
        }
        if (!pel_add_u64(total, parts[i].bytes, &total) || total > UINT64_MAX / 2) {
            return pel_fail(error, env->allocator, PEL_TOO_LARGE, NULL, "checkpoint %s: more bytes than a file can have", path);
        }
    }
    return PEL_OK;
}

pel_status pel_checkpoint_save(const pel_checkpoint_env *env, const char *path, const char *temporary,
                               const pel_checkpoint_part *parts, uint32_t count, uint64_t generation, uint64_t step,
                               bool compress, pel_error **error) {
    writer w = {.env = env, .path = path, .generation = generation, .running = generation, .error = error};
    pel_status status = check_parts(env, path, parts, count, error);
    if (status != PEL_OK) {
        return status;
    }
    if (compress) {
#ifdef PEL_HAVE_ZSTD
        w.packed_room = ZSTD_compressBound(PEL_CHECKPOINT_BLOCK);
        w.packed = pel_alloc(env->allocator, w.packed_room);
        if (!w.packed) {
            return no_memory(env, error, path);
        }
#else
        return pel_fail(error, env->allocator, PEL_UNSUPPORTED, NULL,
                        "checkpoint %s: this build of pel cannot compress (no zstd)", path);
#endif
    }
    (void)env->io->unlink(env->io->state, temporary); /* of a writer that was killed; the lock says that it is nobody's */
    w.file = env->io->open(env->io->state, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w.file < 0) {
        status = failed_call(env, error, "open", temporary);
        pel_free(env->allocator, w.packed);
        return status;
    }
    status = write_file(&w, parts, count, step);
    if (env->io->close(env->io->state, w.file) != 0 && status == PEL_OK) {
        status = failed_call(env, error, "close", temporary);
    }
    if (status == PEL_OK && env->io->rename(env->io->state, temporary, path) != 0) {
        status = failed_call(env, error, "rename", path);
    }
    if (status != PEL_OK) {
        (void)env->io->unlink(env->io->state, temporary);
    } else if (pel_file_sync_directory(env->io, path) != 0) {
        status = failed_call(env, error, "fsync of the directory", path);
    }
    pel_free(env->allocator, w.packed);
    return status;
}

/* ---- reading ---- */

void pel_checkpoint_free_header(const pel_checkpoint_env *env, pel_checkpoint_header *header) {
    pel_free(env->allocator, header->parts);
    pel_free(env->allocator, header->names);
    header->parts = NULL;
    header->names = NULL;
}

/* Reads exactly so many bytes. */
static pel_status get(const pel_checkpoint_env *env, const char *path, int file, void *data, size_t bytes, uint64_t where,
                      pel_error **error) {
    ssize_t got = pel_file_read_all(env->io, file, data, bytes);
    if (got < 0) {
        return failed_call(env, error, "read", path);
    }
    return (size_t)got == bytes ? PEL_OK : damaged(env, error, path, "it ends too early", where + (uint64_t)got);
}

/* Cuts the directory into parts; its checksum has been found right, yet it may have been made by an enemy. */
static pel_status read_directory(const pel_checkpoint_env *env, const char *path, pel_checkpoint_header *h,
                                 const unsigned char *directory, uint64_t bytes, pel_error **error) {
    uint64_t at = 0, total = 0;
    char *name = h->names;
    for (uint32_t i = 0; i < h->part_count; i++) {
        if (bytes - at < ENTRY) {
            return damaged(env, error, path, "the directory is too short", HEADER + at);
        }
        uint32_t length = pel_get32(directory + at);
        uint64_t part_bytes = pel_get64(directory + at + 4);
        if (length == 0 || length > PEL_CHECKPOINT_NAME || length > bytes - at - ENTRY ||
            memchr(directory + at + ENTRY, '\0', length)) {
            return damaged(env, error, path, "a name in the directory", HEADER + at);
        }
        if (!pel_add_u64(total, part_bytes, &total) || total > h->total_bytes) {
            return damaged(env, error, path, "the sizes in the directory", HEADER + at);
        }
        h->parts[i] = (pel_checkpoint_part){.name = name, .bytes = part_bytes};
        memcpy(name, directory + at + ENTRY, length);
        name[length] = '\0';
        name += length + 1;
        at += ENTRY + length;
    }
    if (at != bytes || total != h->total_bytes) {
        return damaged(env, error, path, "the directory does not add up", HEADER + at);
    }
    return PEL_OK;
}

static pel_status read_header(const pel_checkpoint_env *env, const char *path, pel_checkpoint_header *h, int file,
                              uint64_t file_bytes, pel_error **error) {
    unsigned char head[HEADER];
    pel_status status = get(env, path, file, head, HEADER, 0, error);
    if (status != PEL_OK) {
        return status;
    }
    if (memcmp(head, magic, sizeof magic) != 0) {
        return damaged(env, error, path, "it does not begin like a checkpoint", 0);
    }
    uint64_t directory_bytes = pel_get64(head + 48);
    uint32_t version = pel_get32(head + 8), order = pel_get32(head + 12);
    *h = (pel_checkpoint_header){.generation = pel_get64(head + 16),
                                 .step = pel_get64(head + 24),
                                 .saved_at = pel_get64(head + 32),
                                 .total_bytes = pel_get64(head + 40),
                                 .part_count = pel_get32(head + 56),
                                 .block_bytes = pel_get32(head + 60),
                                 .file_bytes = file_bytes};
    h->foreign = order != own_byte_order();
    if (directory_bytes > file_bytes - HEADER || h->part_count == 0 || h->part_count > PEL_CHECKPOINT_ITEMS ||
        directory_bytes > (uint64_t)h->part_count * (ENTRY + PEL_CHECKPOINT_NAME) || h->block_bytes == 0 ||
        h->block_bytes > PEL_CHECKPOINT_LARGEST_BLOCK) {
        return damaged(env, error, path, "the header", 0);
    }
    unsigned char *directory = pel_alloc(env->allocator, (size_t)directory_bytes);
    h->parts = pel_alloc_zero(env->allocator, h->part_count, sizeof *h->parts);
    h->names = pel_alloc(env->allocator, (size_t)directory_bytes + h->part_count);
    status = directory && h->parts && h->names ? get(env, path, file, directory, (size_t)directory_bytes, HEADER, error)
                                               : no_memory(env, error, path);
    if (status == PEL_OK && pel_checksum(directory, (size_t)directory_bytes, pel_checksum(head, 72, PEL_CHECKPOINT_VERSION)) !=
                                pel_get64(head + 72)) {
        status = damaged(env, error, path, "the checksum of the header", 72);
    }
    if (status == PEL_OK && version != PEL_CHECKPOINT_VERSION) {
        status = pel_fail(error, env->allocator, PEL_UNSUPPORTED, NULL, "checkpoint %s has version %u; this library knows %d",
                          path, version, PEL_CHECKPOINT_VERSION);
    }
    if (status == PEL_OK) {
        status = read_directory(env, path, h, directory, directory_bytes, error);
    }
    pel_free(env->allocator, directory);
    return status;
}

pel_status pel_checkpoint_load_header(const pel_checkpoint_env *env, const char *path, pel_checkpoint_header *header, int *file,
                                      pel_error **error) {
    uint64_t bytes = 0;
    memset(header, 0, sizeof *header);
    *file = env->io->open(env->io->state, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (*file < 0) {
        if (errno == ENOENT) {
            return pel_fail(error, env->allocator, PEL_NOT_FOUND, NULL, "there is no checkpoint %s", path);
        }
        return failed_call(env, error, "open", path);
    }
    pel_status status = PEL_OK;
    if (env->io->size(env->io->state, *file, &bytes) != 0) {
        status = errno == EINVAL ? pel_fail(error, env->allocator, PEL_IO, NULL, "checkpoint %s is no regular file", path)
                                 : failed_call(env, error, "fstat", path);
    }
    if (status == PEL_OK && bytes < HEADER + TRAILER) {
        status = damaged(env, error, path, "it is too short", bytes);
    }
    if (status == PEL_OK) {
        status = read_header(env, path, header, *file, bytes, error);
    }
    if (status != PEL_OK) {
        pel_checkpoint_free_header(env, header);
        (void)env->io->close(env->io->state, *file);
        *file = -1;
    }
    return status;
}

typedef struct reader {
    const pel_checkpoint_env *env;
    const char *path;
    pel_checkpoint_header *header;
    int file;
    uint64_t at, running;
    unsigned char *stored, *unpacked; /* room for the largest block that there can be, each */
    uint32_t room;
    pel_error **error;
} reader;

static pel_status unpack(const reader *r, const unsigned char *frame, const unsigned char **data) {
    uint32_t encoding = pel_get32(frame + 4), bytes = pel_get32(frame + 16), stored = pel_get32(frame + 20);
    *data = r->stored;
    if (encoding == RAW) {
        return stored == bytes ? PEL_OK : damaged(r->env, r->error, r->path, "the size of a block", r->at);
    }
    if (encoding != ZSTD) {
        return damaged(r->env, r->error, r->path, "the encoding of a block", r->at);
    }
    r->header->compressed = true;
#ifdef PEL_HAVE_ZSTD
    *data = r->unpacked;
    if (ZSTD_decompress(r->unpacked, r->room, r->stored, stored) != bytes) {
        return damaged(r->env, r->error, r->path, "a compressed block", r->at);
    }
    return PEL_OK;
#else
    return pel_fail(r->error, r->env->allocator, PEL_UNSUPPORTED, NULL,
                    "checkpoint %s is compressed, and this build of pel has no zstd", r->path);
#endif
}

/* One block, which must be the next one: of this part, at this offset. */
static pel_status read_block(reader *r, uint32_t part, uint64_t offset) {
    unsigned char frame[FRAME];
    const unsigned char *data;
    pel_checkpoint_header *h = r->header;
    uint64_t left = h->parts[part].bytes - offset;
    uint32_t bytes = (uint32_t)(left < h->block_bytes ? left : h->block_bytes);
    pel_status status = get(r->env, r->path, r->file, frame, FRAME, r->at, r->error);
    if (status != PEL_OK) {
        return status;
    }
    uint32_t stored = pel_get32(frame + 20);
    if (pel_get32(frame) != part || pel_get64(frame + 8) != offset || pel_get32(frame + 16) != bytes || stored > bytes ||
        pel_get64(frame + 24) != h->blocks) {
        return damaged(r->env, r->error, r->path, "a block is not the one that belongs here", r->at);
    }
    status = get(r->env, r->path, r->file, r->stored, stored, r->at + FRAME, r->error);
    if (status != PEL_OK) {
        return status;
    }
    if (pel_checksum(r->stored, stored, pel_checksum(frame, FRAME - 8, h->generation)) != pel_get64(frame + 32)) {
        return damaged(r->env, r->error, r->path, "the checksum of a block", r->at);
    }
    status = unpack(r, frame, &data);
    if (status == PEL_OK && h->parts[part].data) {
        memcpy((unsigned char *)h->parts[part].data + offset, data, bytes);
    }
    r->running = pel_checksum(frame, FRAME, r->running);
    r->at += FRAME + stored;
    h->blocks++;
    return status;
}

static pel_status read_trailer(reader *r) {
    unsigned char trailer[TRAILER];
    pel_status status = get(r->env, r->path, r->file, trailer, TRAILER, r->at, r->error);
    if (status != PEL_OK) {
        return status;
    }
    if (memcmp(trailer, end_magic, sizeof end_magic) != 0 || pel_get64(trailer + 8) != r->header->blocks ||
        pel_get64(trailer + 16) != r->header->file_bytes || r->at + TRAILER != r->header->file_bytes ||
        pel_get64(trailer + 24) != r->running ||
        pel_get64(trailer + 32) != pel_checksum(trailer, TRAILER - 8, r->header->generation)) {
        return damaged(r->env, r->error, r->path, "the trailer", r->at);
    }
    return PEL_OK;
}

pel_status pel_checkpoint_load_parts(const pel_checkpoint_env *env, const char *path, pel_checkpoint_header *header, int file,
                                     pel_error **error) {
    reader r = {.env = env,
                .path = path,
                .header = header,
                .file = file,
                .at = HEADER + directory_bytes_of(header->parts, header->part_count),
                .running = header->generation,
                .error = error};
    pel_status status = PEL_OK;
    header->blocks = 0;
    for (uint32_t i = 0; i < header->part_count; i++) {
        uint64_t bytes = header->parts[i].bytes < header->block_bytes ? header->parts[i].bytes : header->block_bytes;
        r.room = r.room > bytes ? r.room : (uint32_t)bytes;
    }
    r.stored = pel_alloc(env->allocator, (size_t)r.room + 1);
    r.unpacked = pel_alloc(env->allocator, (size_t)r.room + 1);
    if (!r.stored || !r.unpacked) {
        status = no_memory(env, error, path);
    }
    for (uint32_t i = 0; i < header->part_count && status == PEL_OK; i++) {
        for (uint64_t at = 0; at < header->parts[i].bytes && status == PEL_OK; at += header->block_bytes) {
            status = read_block(&r, i, at);
        }
    }
    if (status == PEL_OK) {
        status = read_trailer(&r);
    }
    pel_free(env->allocator, r.stored);
    pel_free(env->allocator, r.unpacked);
    return status;
}
