/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file operations of checkpoints as a table, so that tests can make every one of them fail, write short, or lose what was not
 * synced. All have the meaning and the errno of the system calls of the same name.
 */
#ifndef PEL_RESILIENCE_FILE_IO_H
#define PEL_RESILIENCE_FILE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct pel_file_io {
    int (*open)(void *state, const char *path, int flags, mode_t mode);
    ssize_t (*read)(void *state, int file, void *data, size_t bytes);
    ssize_t (*write)(void *state, int file, const void *data, size_t bytes);
    int (*size)(void *state, int file, uint64_t *bytes);    /* fails with EINVAL for what is not a regular file */
    int (*truncate)(void *state, int file, uint64_t bytes); /* and goes to the new end */
    int (*sync)(void *state, int file);
    int (*lock)(void *state, int file); /* exclusive, without waiting: EWOULDBLOCK */
    int (*close)(void *state, int file);
    int (*rename)(void *state, const char *from, const char *to);
    int (*unlink)(void *state, const char *path);
    void *state;
} pel_file_io;

extern const pel_file_io pel_file_io_system;

/* Whole: until everything is there, or -1 with errno; a short read ends with the count that there was. */
int pel_file_write_all(const pel_file_io *io, int file, const void *data, size_t bytes);
ssize_t pel_file_read_all(const pel_file_io *io, int file, void *data, size_t bytes);

/* Syncs the directory that holds a path: a rename lasts only then. */
int pel_file_sync_directory(const pel_file_io *io, const char *path);

#endif
