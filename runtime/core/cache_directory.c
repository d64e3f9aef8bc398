/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/cache_directory.h"
#include "base/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* mkdir -p with mode 0700 for what is missing. */
static int make_directories(char *path) {
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') {
            continue;
        }
        *p = '\0';
        int rc = mkdir(path, 0700);
        int saved = errno;
        *p = '/';
        if (rc != 0 && saved != EEXIST) {
            errno = saved;
            return -1;
        }
    }
    return mkdir(path, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

static const char *why_unusable(char *path) {
    struct stat status;
    if (path[0] != '/') {
        return "not an absolute path";
    }
    if (make_directories(path) != 0 || stat(path, &status) != 0) {
        return strerror(errno);
    }
    if (!S_ISDIR(status.st_mode)) {
        return "not a directory";
    }
    if (status.st_uid != geteuid()) {
        return "belongs to another user";
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return "writable by others";
    }
    return access(path, W_OK) != 0 ? strerror(errno) : NULL;
}

static char *joined(const pel_allocator *allocator, const char *directory, const char *rest) {
    pel_text text;
    pel_text_init(&text, allocator);
    pel_text_append(&text, directory);
    pel_text_append(&text, rest);
    return pel_text_take(&text);
}

char *pel_cache_directory(const pel_allocator *allocator, const char *wanted, pel_logger *logger) {
    const struct {
        const char *base, *rest;
    } choices[] = {{wanted, ""},
                   {secure_getenv("PEL_CACHE_DIR"), ""},
                   {secure_getenv("XDG_CACHE_HOME"), "/pel"},
                   {secure_getenv("HOME"), "/.cache/pel"}};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        if (!choices[i].base || choices[i].base[0] == '\0') {
            continue;
        }
        char *path = joined(allocator, choices[i].base, choices[i].rest);
        const char *why = path ? why_unusable(path) : "out of memory";
        if (!why) {
            return path;
        }
        pel_log(logger, PEL_LOG_WARNING, "cache directory %s%s cannot be used: %s", choices[i].base, choices[i].rest, why);
        pel_free(allocator, path);
        if (i < 2) { /* asked for by name: do not wander off to another place */
            return NULL;
        }
    }
    return NULL;
}
