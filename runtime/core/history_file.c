/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers take no lock: the file is only ever replaced by rename, so they see an old one or a new one. Writers hold a lock on a
 * file beside it from reading to renaming, so that nobody's lessons are lost between the two, and only the holder uses the one
 * temporary name; what a killed writer left there is removed by the next. Without locks (some network file systems) nothing is
 * written: a history that might swallow another's is worse than none. A damaged history is renamed, not deleted: it may be a
 * newer version's. What is no history is left alone, whether a device (a privileged program told to keep its history in
 * /dev/null must not replace it) or a file of the user's whose name was given by mistake; so is such a file under the name for
 * damaged ones.
 */
#include "core/history_file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES 400
#define LOCK_PAUSE_NS 5000000

static pel_status io_failure(pel_error **error, const pel_allocator *allocator, const char *call, const char *what,
                             const char *path) {
    int code = errno;
    return pel_fail(error, allocator, PEL_IO, &(pel_story){.call = call, .code = code}, "%s the history %s: %s", what, path,
                    strerror(code));
}

static char *beside(const pel_allocator *allocator, const char *path, const char *suffix) {
    pel_text text;
    pel_text_init(&text, allocator);
    pel_text_append(&text, path);
    pel_text_append(&text, suffix);
    return pel_text_take(&text);
}

static bool read_all(int fd, unsigned char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t got = read(fd, data, bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? EIO : errno; /* cut off while it was read */
            return false;
        }
        data += got;
        bytes -= (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const unsigned char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t put = write(fd, data, bytes);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        data += put;
        bytes -= (size_t)put;
    }
    return true;
}

static pel_status read_open(int fd, const char *path, pel_history *history, pel_error **error) {
    const pel_allocator *allocator = history->allocator;
    struct stat facts;
    if (fstat(fd, &facts) != 0) {
        return io_failure(error, allocator, "fstat", "cannot read", path);
    }
    if (!S_ISREG(facts.st_mode)) { /* a device, a directory, a pipe: somebody's, and never to be renamed or replaced */
        return pel_fail(error, allocator, PEL_IO, NULL, "the history %s cannot be used: it is no regular file", path);
    }
    if (facts.st_size <= 0 || (uint64_t)facts.st_size > PEL_HISTORY_FILE_LIMIT) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "the history %s cannot be used: %s", path,
                        facts.st_size <= 0 ? "it is empty" : "it is larger than 64 MiB");
    }
    size_t bytes = (size_t)facts.st_size;
    unsigned char *data = pel_alloc(allocator, bytes);
    if (data == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to read the history %s", path);
    }
    pel_status status = read_all(fd, data, bytes) ? pel_history_decode(history, data, bytes, path, error)
                                                  : io_failure(error, allocator, "read", "cannot read", path);
    pel_free(allocator, data);
    return status;
}

pel_status pel_history_file_read(const char *path, pel_history *history, pel_error **error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return pel_fail(error, history->allocator, PEL_NOT_FOUND, NULL, "there is no history %s", path);
    }
    if (fd < 0) {
        return io_failure(error, history->allocator, "open", "cannot open", path);
    }
    pel_status status = read_open(fd, path, history, error);
    (void)close(fd);
    return status;
}

/* The lock's descriptor, or -1 with a story. */
static int lock(const char *path, const pel_allocator *allocator, pel_status *status, pel_error **error) {
    char *name = beside(allocator, path, ".lock");
    if (name == NULL) {
        *status = pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to lock the history %s", path);
        return -1;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), tries = 0;
    if (fd < 0) {
        *status = io_failure(error, allocator, "open", "cannot lock", path);
    }
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const struct timespec pause = {0, LOCK_PAUSE_NS};
        if (errno == EWOULDBLOCK && ++tries < LOCK_TRIES) {
            (void)nanosleep(&pause, NULL);
        } else if (errno != EINTR) {
            *status = errno == EWOULDBLOCK
                          ? pel_fail(error, allocator, PEL_BUSY, NULL, "other processes keep the history %s locked", path)
                          : io_failure(error, allocator, "flock", "cannot lock", path);
            (void)close(fd);
            fd = -1;
        }
    }
    pel_free(allocator, name);
    return fd;
}

static pel_status replace(const char *path, const char *temporary, const pel_history *history, pel_error **error) {
    const pel_allocator *allocator = history->allocator;
    size_t bytes;
    unsigned char *data = pel_history_encode(history, &bytes);
    if (data == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to write the history %s", path);
    }
    (void)unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool done = fd >= 0 && write_all(fd, data, bytes) && fsync(fd) == 0;
    int code = errno;
    if (fd >= 0 && close(fd) != 0 && done) {
        done = false;
        code = errno;
    }
    if (done && rename(temporary, path) != 0) {
        done = false;
        code = errno;
    }
    pel_free(allocator, data);
    if (done) {
        return PEL_OK;
    }
    if (fd >= 0) {
        (void)unlink(temporary);
    }
    errno = code;
    return io_failure(error, allocator, "write", "cannot write", path);
}

/* Whether renaming to this name destroys nothing but an older history. */
static bool may_replace(const char *path, const pel_allocator *allocator) {
    pel_history history = {.allocator = allocator};
    struct stat facts;
    const bool is_empty = stat(path, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size == 0;
    const pel_status status = is_empty ? PEL_OK : pel_history_file_read(path, &history, NULL);
    pel_history_free(&history);
    return status == PEL_OK || status == PEL_NOT_FOUND || status == PEL_INVALID_ARGUMENT || status == PEL_UNSUPPORTED;
}

/* A damaged history makes room. */
static pel_status set_aside(const char *path, const pel_allocator *allocator, pel_logger *logger, pel_error *why,
                            pel_error **error) {
    char *away = beside(allocator, path, ".bad");
    const bool free_name = away != NULL && may_replace(away, allocator), moved = free_name && rename(path, away) == 0;
    pel_status status = PEL_OK;
    if (moved) {
        pel_log(logger, PEL_LOG_WARNING, "%s; it is kept as %s", pel_error_message(why), away);
    } else if (away != NULL && !free_name) {
        status = pel_fail(error, allocator, PEL_IO, &(pel_story){.advice = "move one of the two files, or name another history"},
                          "%s, and cannot be set aside: %s is no history", pel_error_message(why), away);
    } else {
        status = away == NULL ? pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to set %s aside", path)
                              : io_failure(error, allocator, "rename", "cannot set aside", path);
    }
    pel_free(allocator, away);
    pel_error_destroy(why);
    return status;
}

static pel_status read_or_begin(const char *path, pel_logger *logger, pel_history *history, pel_error **error) {
    pel_error *why = NULL;
    pel_status status = pel_history_file_read(path, history, &why);
    if (status == PEL_INVALID_ARGUMENT || status == PEL_UNSUPPORTED) {
        return set_aside(path, history->allocator, logger, why, error);
    }
    if (status == PEL_OK || status == PEL_NOT_FOUND) {
        pel_error_destroy(why);
        return PEL_OK;
    }
    pel_error_hand_over(error, why);
    return status;
}

pel_status pel_history_file_change(const char *path, const pel_allocator *allocator, pel_logger *logger,
                                   pel_history_change_fn change, void *user, pel_error **error) {
    pel_history history = {.allocator = allocator};
    pel_status status = PEL_OK;
    struct stat facts;
    if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode)) {
        return pel_fail(error, allocator, PEL_IO, NULL, "the history %s cannot be used: it is no regular file", path);
    }
    char *temporary = beside(allocator, path, ".new");
    if (temporary == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to write the history %s", path);
    }
    int fd = lock(path, allocator, &status, error);
    if (fd >= 0) {
        status = read_or_begin(path, logger, &history, error);
        if (status == PEL_OK && change(user, &history)) {
            status = replace(path, temporary, &history, error);
        }
        (void)close(fd);
    }
    pel_history_free(&history);
    pel_free(allocator, temporary);
    return status;
}
