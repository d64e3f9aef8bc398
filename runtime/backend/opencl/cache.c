/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiled programs on disk.
 *
 * The problem: drivers accept damaged binaries and crash later, a cache may be shared by racing processes, and a directory that
 * others can write is a way into this process. So: a directory of our own with mode 0700, files opened without following links
 * and owned by us, a name that is the SHA-256 of everything that shapes the binary, and a header with a checksum over all that
 * follows. Files appear by rename, whole or not at all.
 *
 * The invariant: whatever is wrong with the cache, the answer is "not there" and a log line, never an error. Files are not
 * synced: after a power cut the checksum finds a torn one. Rejected: SHA-256 over the contents (100 MB/s: 1 ms for a usual
 * binary, twice the whole budget of a warm start); a checksum against accident is enough behind 0700. The files together are kept
 * below a limit, the oldest go first.
 */
#include "backend/opencl/internal.h"

#include "base/hash.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUBDIRECTORY "/opencl"
#define FORMAT 1u
#define LARGEST_BINARY (512ull << 20)
#define MOST_VARIANTS 4096u
#define MOST_FILES 512u       /* at 50-400 KB each */

typedef struct pel_cl_cache_header {
    char magic[8];
    uint32_t format, variant_count;
    uint64_t bytes;           /* of the binary */
    uint64_t check[2];        /* of variants and binary */
} pel_cl_cache_header;

static const char cache_magic[8] = "pel-bin";

/* Four independent lanes, so that the multiplier's latency does not bound it: about 4 GB/s. */
static void checksum(const void *data, size_t bytes, uint64_t check[2]) {
    const unsigned char *p = data;
    uint64_t lane[4] = {1, 2, 3, 4};
    size_t i = 0;
    for (; i + 32 <= bytes; i += 32) {
        uint64_t word[4];
        memcpy(word, p + i, sizeof word);
        for (unsigned k = 0; k < 4; k++) {
            lane[k] = (lane[k] ^ word[k]) * 0x9e3779b97f4a7c15u;
            lane[k] ^= lane[k] >> 29;
        }
    }
    uint64_t rest[4] = {0, 0, 0, 0};
    memcpy(rest, p + i, bytes - i);
    for (unsigned k = 0; k < 4; k++) {
        lane[k] = pel_mix_u64(lane[k], rest[k]);
    }
    check[0] = pel_mix_u64(pel_mix_u64(check[0], lane[0]), pel_mix_u64(lane[1], bytes));
    check[1] = pel_mix_u64(pel_mix_u64(check[1], lane[2]), pel_mix_u64(lane[3], bytes));
}

static void check_of(const pel_cl_binary *binary, uint64_t check[2]) {
    check[0] = check[1] = FORMAT;
    if (binary->variant_count > 0) {
        checksum(binary->variants, binary->variant_count * sizeof *binary->variants, check);
    }
    checksum(binary->data, binary->bytes, check);
}

/* ---- names ---- */

static void file_name(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form, char name[65]) {
    const pel_topology_device *facts = device->base.facts;
    bool reproducible = (device->env->runtime_flags & PEL_RUNTIME_REPRODUCIBLE) != 0;
    pel_sha256 sha;
    uint8_t digest[32];

    pel_sha256_init(&sha);
    pel_sha256_text(&sha, "pel program binary 1");
    pel_sha256_text(&sha, facts->info.platform);
    pel_sha256_text(&sha, device->platform_version);
    pel_sha256_text(&sha, facts->info.driver);
    pel_sha256_text(&sha, facts->cl_version);
    pel_sha256_text(&sha, facts->info.name);
    pel_sha256_text(&sha, facts->info.identity);
    pel_sha256_text(&sha, pel_cl_prelude(form, reproducible));
    pel_sha256_text(&sha, form == PEL_CL_PLAIN ? "plain" : "chunked");
    pel_sha256_text(&sha, image->options);
    pel_sha256_update(&sha, image->digest, sizeof image->digest);
    pel_sha256_final(&sha, digest);
    pel_sha256_hex(digest, name);
}

/* The directory's descriptor, -1 when there is none to be used. */
static int open_directory(const pel_cl_device *device, bool make) {
    struct stat status;
    pel_text path;
    int fd = -1;

    pel_text_init(&path, device->env->allocator);
    pel_text_append(&path, device->env->cache_directory);
    pel_text_append(&path, SUBDIRECTORY);
    if (path.failed) {
        pel_text_free(&path);
        return -1;
    }
    if (make && mkdir(path.data, 0700) != 0 && errno != EEXIST) {
        pel_log(device->env->logger, PEL_LOG_WARNING, "no compiled programs are kept: cannot make %s: %s", path.data,
                strerror(errno));
    }
    fd = open(path.data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) != 0 || status.st_uid != geteuid() || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)) {
        pel_log(device->env->logger, PEL_LOG_WARNING, "no compiled programs are kept: %s must be yours alone (mode 0700)",
                path.data);
        close(fd);
        fd = -1;
    }
    pel_text_free(&path);
    return fd;
}

static bool usable(const pel_cl_device *device, const pel_program_image *image) {
    return device->env->cache_directory && image->cacheable;
}

/* ---- reading ---- */

static bool read_all(int fd, void *data, size_t bytes) {
    unsigned char *p = data;
    while (bytes > 0) {
        ssize_t got = read(fd, p, bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        p += got;
        bytes -= (size_t)got;
    }
    return true;
}

/* NULL: fine; else what is wrong with the file. */
static const char *read_binary(const pel_cl_device *device, int fd, pel_cl_binary *binary) {
    pel_cl_cache_header header;
    struct stat status;
    uint64_t check[2];

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return "not a regular file";
    }
    if (status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return "it is not ours alone to write";
    }
    if (!read_all(fd, &header, sizeof header) || memcmp(header.magic, cache_magic, sizeof cache_magic) != 0 ||
        header.format != FORMAT) {
        return "not a cached binary of this version";
    }
    if (header.bytes == 0 || header.bytes > LARGEST_BINARY || header.variant_count > MOST_VARIANTS ||
        (uint64_t)status.st_size != sizeof header + header.variant_count * sizeof(uint64_t) + header.bytes) {
        return "its size is wrong";
    }
    binary->bytes = (size_t)header.bytes;
    binary->variant_count = header.variant_count;
    binary->data = pel_alloc(device->env->allocator, binary->bytes);
    binary->variants = pel_alloc_zero(device->env->allocator, (size_t)header.variant_count + 1, sizeof *binary->variants);
    if (!binary->data || !binary->variants) {
        return "no memory to read it";
    }
    if (!read_all(fd, binary->variants, header.variant_count * sizeof *binary->variants) ||
        !read_all(fd, binary->data, binary->bytes)) {
        return "it cannot be read";
    }
    check_of(binary, check);
    return check[0] == header.check[0] && check[1] == header.check[1] ? NULL : "its checksum is wrong";
}

bool pel_cl_cache_load(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form, pel_cl_binary *binary) {
    char name[65];

    *binary = (pel_cl_binary){.data = NULL};
    if (!usable(device, image)) {
        return false;
    }
    int directory = open_directory(device, false);
    if (directory < 0) {
        return false;
    }
    file_name(device, image, form, name);
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    int code = errno;
    close(directory);
    const char *wrong = fd >= 0 ? read_binary(device, fd, binary) : code == ENOENT ? NULL : strerror(code);
    if (fd >= 0) {
        close(fd);
    }
    if (wrong) {
        pel_log(device->env->logger, PEL_LOG_WARNING, "%s: the cached binary %s of program %s is not used: %s", device->label,
                name, image->name, wrong);
        pel_cl_binary_free(device, binary);
    }
    return fd >= 0 && !wrong;
}

void pel_cl_binary_free(const pel_cl_device *device, pel_cl_binary *binary) {
    pel_free(device->env->allocator, binary->data);
    pel_free(device->env->allocator, binary->variants);
    *binary = (pel_cl_binary){.data = NULL};
}

/* ---- writing ---- */

static bool write_all(int fd, const void *data, size_t bytes) {
    const unsigned char *p = data;
    while (bytes > 0) {
        ssize_t put = write(fd, p, bytes);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        p += put;
        bytes -= (size_t)put;
    }
    return true;
}

static bool write_binary(int fd, const pel_cl_binary *binary) {
    pel_cl_cache_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, cache_magic, sizeof cache_magic);
    header.format = FORMAT;
    header.variant_count = binary->variant_count;
    header.bytes = binary->bytes;
    check_of(binary, header.check);
    return write_all(fd, &header, sizeof header) &&
           write_all(fd, binary->variants, binary->variant_count * sizeof *binary->variants) &&
           write_all(fd, binary->data, binary->bytes);
}

/* Removes the oldest files beyond the limit, one per stored file: the directory cannot grow. */
static void prune(int directory) {
    char oldest[256] = "";
    struct timespec oldest_time = {0, 0};
    unsigned files = 0;
    int copy = dup(directory);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;

    if (!list) {
        if (copy >= 0) {
            close(copy);
        }
        return;
    }
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        bool older = status.st_mtim.tv_sec < oldest_time.tv_sec ||
                     (status.st_mtim.tv_sec == oldest_time.tv_sec && status.st_mtim.tv_nsec < oldest_time.tv_nsec);
        if (files++ == 0 || older) {
            oldest_time = status.st_mtim;
            snprintf(oldest, sizeof oldest, "%s", entry->d_name);
        }
    }
    closedir(list);
    if (files > MOST_FILES) {
        unlinkat(directory, oldest, 0);
    }
}

bool pel_cl_cache_store(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form,
                        const pel_cl_binary *binary) {
    char name[65], temporary[128];

    if (!usable(device, image) || binary->bytes > LARGEST_BINARY || binary->variant_count > MOST_VARIANTS) {
        return false;
    }
    int directory = open_directory(device, true);
    if (directory < 0) {
        return false;
    }
    file_name(device, image, form, name);
    /* Unique among the threads and processes that may write the same name; a leftover of a dead process is replaced. */
    (void)snprintf(temporary, sizeof temporary, ".%.16s-%ld-%p", name, (long)getpid(), (const void *)device);
    (void)unlinkat(directory, temporary, 0);
    int fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool done = fd >= 0 && write_binary(fd, binary);
    int code = errno;
    if (fd >= 0 && close(fd) != 0 && done) {
        done = false;
        code = errno;
    }
    if (done && renameat(directory, temporary, directory, name) != 0) {
        done = false;
        code = errno;
    }
    if (!done) {
        pel_log(device->env->logger, PEL_LOG_WARNING, "%s: the compiled program %s is not kept: %s", device->label, image->name,
                strerror(code));
        (void)unlinkat(directory, temporary, 0);
    }
    prune(directory);
    close(directory);
    return done;
}

void pel_cl_cache_drop(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form) {
    char name[65];
    int directory = usable(device, image) ? open_directory(device, false) : -1;
    if (directory >= 0) {
        file_name(device, image, form, name);
        (void)unlinkat(directory, name, 0);
        close(directory);
    }
}
