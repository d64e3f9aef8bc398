/* SPDX-License-Identifier: BSD-3-Clause */
#include "resilience/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int system_open(void *state, const char *path, int flags, mode_t mode) {
    (void)state;
    return open(path, flags, mode);
}

static ssize_t system_read(void *state, int file, void *data, size_t bytes) {
    (void)state;
    return read(file, data, bytes);
}

static ssize_t system_write(void *state, int file, const void *data, size_t bytes) {
    (void)state;
    return write(file, data, bytes);
}

static int system_size(void *state, int file, uint64_t *bytes) {
    struct stat status;
    (void)state;
    if (fstat(file, &status) != 0) {
        return -1;
    }
    if (!S_ISREG(status.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    *bytes = (uint64_t)status.st_size;
    return 0;
}

static int system_truncate(void *state, int file, uint64_t bytes) {
    (void)state;
    return ftruncate(file, (off_t)bytes) == 0 && lseek(file, (off_t)bytes, SEEK_SET) >= 0 ? 0 : -1;
}

static int system_sync(void *state, int file) {
    (void)state;
    return fsync(file);
}

static int system_lock(void *state, int file) {
    (void)state;
    return flock(file, LOCK_EX | LOCK_NB);
}

static int system_close(void *state, int file) {
    (void)state;
    return close(file);
}

static int system_rename(void *state, const char *from, const char *to) {
    (void)state;
    return rename(from, to);
}

static int system_unlink(void *state, const char *path) {
    (void)state;
    return unlink(path);
}

const pel_file_io pel_file_io_system = {.open = system_open,
                                        .read = system_read,
                                        .write = system_write,
                                        .size = system_size,
                                        .truncate = system_truncate,
                                        .sync = system_sync,
                                        .lock = system_lock,
                                        .close = system_close,
                                        .rename = system_rename,
                                        .unlink = system_unlink};

int pel_file_write_all(const pel_file_io *io, int file, const void *data, size_t bytes) {
    const unsigned char *at = data;
    while (bytes > 0) {
        ssize_t count = io->write(io->state, file, at, bytes);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            errno = count == 0 ? ENOSPC : errno;
            return -1;
        }
        at += count;
        bytes -= (size_t)count;
    }
    return 0;
}

ssize_t pel_file_read_all(const pel_file_io *io, int file, void *data, size_t bytes) {
    unsigned char *at = data;
    size_t got = 0;
    while (got < bytes) {
        ssize_t count = io->read(io->state, file, at + got, bytes - got);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return -1;
        }
        if (count == 0) {
            break;
        }
        got += (size_t)count;
    }
    return (ssize_t)got;
}

int pel_file_sync_directory(const pel_file_io *io, const char *path) {
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof directory) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(directory, path, length);
    directory[length] = '\0';
    int file = io->open(io->state, !slash ? "." : length == 0 ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (file < 0) {
        return -1;
    }
    int code = io->sync(io->state, file), why = errno;
    (void)io->close(io->state, file);
    errno = why;
    return code;
}
