/* SPDX-License-Identifier: BSD-3-Clause */
#include "resilience/memory_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static bool fails(memory_disk *disk) {
    long number = ++disk->operations;
    if (disk->fail_at > 0 && (number == disk->fail_at || (disk->for_ever && number > disk->fail_at))) {
        errno = disk->code;
        return true;
    }
    return false;
}

static disk_name *find_name(memory_disk *disk, const char *path) {
    for (int i = 0; i < DISK_FILES; i++) {
        if (disk->names[i].content >= 0 && strcmp(disk->names[i].path, path) == 0) {
            return &disk->names[i];
        }
    }
    return NULL;
}

static disk_name *new_name(memory_disk *disk, const char *path, int content) {
    for (int i = 0; i < DISK_FILES; i++) {
        if (disk->names[i].content < 0) {
            disk->names[i].content = content;
            strcpy(disk->names[i].path, path);
            return &disk->names[i];
        }
    }
    abort();
}

static int disk_open(void *state, const char *path, int flags, mode_t mode) {
    memory_disk *disk = state;
    (void)mode;
    if (fails(disk)) {
        return -1;
    }
    int content = -2;
    if ((flags & O_DIRECTORY) == 0) {
        disk_name *name = find_name(disk, path);
        if (!name && (flags & O_CREAT) == 0) {
            errno = ENOENT;
            return -1;
        }
        if (name && (flags & O_EXCL) != 0) {
            errno = EEXIST;
            return -1;
        }
        if (!name) {
            if (disk->content_count == 64) {
                abort();
            }
            name = new_name(disk, path, disk->content_count++);
        }
        content = name->content;
    }
    for (int i = 0; i < DISK_HANDLES; i++) {
        if (disk->handles[i].content == -1) {
            disk->handles[i].content = content;
            disk->handles[i].at = 0;
            return i;
        }
    }
    abort();
}

static disk_content *content_of(memory_disk *disk, int file) {
    return &disk->contents[disk->handles[file].content];
}

static ssize_t disk_read(void *state, int file, void *data, size_t bytes) {
    memory_disk *disk = state;
    disk_content *content = content_of(disk, file);
    size_t at = disk->handles[file].at, left = at < content->bytes ? content->bytes - at : 0;
    if (fails(disk)) {
        return -1;
    }
    bytes = bytes < left ? bytes : left;
    if (bytes > 0) {
        memcpy(data, content->data + at, bytes);
    }
    disk->handles[file].at += bytes;
    return (ssize_t)bytes;
}

static void resize(disk_content *content, size_t bytes) {
    unsigned char *grown = realloc(content->data, bytes + 1);
    if (!grown) {
        abort();
    }
    if (bytes > content->bytes) {
        memset(grown + content->bytes, 0, bytes - content->bytes);
    }
    content->data = grown;
    content->bytes = bytes;
}

static ssize_t disk_write(void *state, int file, const void *data, size_t bytes) {
    memory_disk *disk = state;
    disk_content *content = content_of(disk, file);
    size_t at = disk->handles[file].at;
    bool failed = fails(disk);
    if (failed && disk->code == EINTR) {
        return -1; /* by its definition nothing was written */
    }
    if (failed || disk->short_writes) {
        bytes = bytes / 2 > 0 ? bytes / 2 : bytes; /* a failing disk takes a part, then says so */
    }
    if (at + bytes > content->bytes) {
        resize(content, at + bytes);
    }
    memcpy(content->data + at, data, bytes);
    disk->handles[file].at += bytes;
    return failed ? -1 : (ssize_t)bytes;
}

static int disk_size(void *state, int file, uint64_t *bytes) {
    memory_disk *disk = state;
    *bytes = content_of(disk, file)->bytes;
    return fails(disk) ? -1 : 0;
}

static int disk_truncate(void *state, int file, uint64_t bytes) {
    memory_disk *disk = state;
    if (fails(disk)) {
        return -1;
    }
    resize(content_of(disk, file), (size_t)bytes);
    disk->handles[file].at = (size_t)bytes;
    return 0;
}

static int disk_sync(void *state, int file) {
    memory_disk *disk = state;
    if (fails(disk)) {
        return -1;
    }
    if (disk->handles[file].content == -2) {
        memcpy(disk->durable, disk->names, sizeof disk->names);
        return 0;
    }
    disk_content *content = content_of(disk, file);
    unsigned char *copy = realloc(content->durable, content->bytes + 1);
    if (!copy) {
        abort();
    }
    if (content->bytes > 0) {
        memcpy(copy, content->data, content->bytes);
    }
    content->durable = copy;
    content->durable_bytes = content->bytes;
    return 0;
}

static int disk_lock(void *state, int file) {
    (void)file;
    return fails(state) ? -1 : 0;
}

static int disk_close(void *state, int file) {
    memory_disk *disk = state;
    disk->handles[file].content = -1; /* also when it fails, as on Linux */
    return fails(disk) ? -1 : 0;
}

static int disk_rename(void *state, const char *from, const char *to) {
    memory_disk *disk = state;
    if (fails(disk)) {
        return -1;
    }
    disk_name *old = find_name(disk, to), *name = find_name(disk, from);
    if (!name) {
        errno = ENOENT;
        return -1;
    }
    if (old) {
        old->content = -1;
    }
    strcpy(name->path, to);
    return 0;
}

static int disk_unlink(void *state, const char *path) {
    memory_disk *disk = state;
    if (fails(disk)) {
        return -1;
    }
    disk_name *name = find_name(disk, path);
    if (!name) {
        errno = ENOENT;
        return -1;
    }
    name->content = -1;
    return 0;
}

void disk_make(memory_disk *disk) {
    memset(disk, 0, sizeof *disk);
    for (int i = 0; i < DISK_FILES; i++) {
        disk->names[i].content = disk->durable[i].content = -1;
    }
    for (int i = 0; i < DISK_HANDLES; i++) {
        disk->handles[i].content = -1;
    }
    disk->io = (pel_file_io){.open = disk_open,
                             .read = disk_read,
                             .write = disk_write,
                             .size = disk_size,
                             .truncate = disk_truncate,
                             .sync = disk_sync,
                             .lock = disk_lock,
                             .close = disk_close,
                             .rename = disk_rename,
                             .unlink = disk_unlink,
                             .state = disk};
}

void disk_free(memory_disk *disk) {
    for (int i = 0; i < disk->content_count; i++) {
        free(disk->contents[i].data);
        free(disk->contents[i].durable);
    }
}

void disk_cut_power(memory_disk *disk, int what_survives) {
    if ((what_survives & DISK_NAMES_ONLY) == 0) {
        memcpy(disk->names, disk->durable, sizeof disk->names);
    }
    for (int i = 0; i < disk->content_count && (what_survives & DISK_CONTENTS_ONLY) == 0; i++) {
        resize(&disk->contents[i], disk->contents[i].durable_bytes);
        if (disk->contents[i].durable_bytes > 0) {
            memcpy(disk->contents[i].data, disk->contents[i].durable, disk->contents[i].durable_bytes);
        }
    }
    for (int i = 0; i < DISK_HANDLES; i++) {
        disk->handles[i].content = -1;
    }
    disk->fail_at = 0;
    disk->for_ever = false;
}

disk_content *disk_find(memory_disk *disk, const char *path) {
    disk_name *name = find_name(disk, path);
    return name ? &disk->contents[name->content] : NULL;
}

int disk_open_handles(const memory_disk *disk) {
    int count = 0;
    for (int i = 0; i < DISK_HANDLES; i++) {
        count += disk->handles[i].content != -1;
    }
    return count;
}

int disk_file_count(const memory_disk *disk) {
    int count = 0;
    for (int i = 0; i < DISK_FILES; i++) {
        count += disk->names[i].content >= 0;
    }
    return count;
}
