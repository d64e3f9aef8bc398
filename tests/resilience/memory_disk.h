/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in memory that can fail at each operation and lose what was not synced. The model of a power cut: what fsync was not
 * called for may be there or not, names and contents independently.
 */
#ifndef TESTS_RESILIENCE_MEMORY_DISK_H
#define TESTS_RESILIENCE_MEMORY_DISK_H

#include "resilience/file_io.h"
#include <stdbool.h>

enum { DISK_FILES = 16, DISK_HANDLES = 16 };

typedef struct disk_content {
    unsigned char *data, *durable;
    size_t bytes, durable_bytes;
} disk_content;

typedef struct disk_name {
    char path[64];
    int content; /* -1: free */
} disk_name;

typedef struct memory_disk {
    pel_file_io io;
    disk_content contents[64];
    int content_count;
    disk_name names[DISK_FILES], durable[DISK_FILES];
    struct {
        int content; /* -1: closed; -2: the directory */
        size_t at;
    } handles[DISK_HANDLES];
    long operations;
    long fail_at;      /* 1-based; 0: never */
    bool for_ever;     /* and all after it: the process is dead, or the disk is full */
    int code;          /* errno */
    bool short_writes; /* every write takes one byte less than half */
} memory_disk;

void disk_make(memory_disk *disk);
void disk_free(memory_disk *disk);

enum { DISK_LOST_ALL = 0, DISK_NAMES_ONLY = 1, DISK_CONTENTS_ONLY = 2, DISK_LOST_NOTHING = 3, DISK_CUTS = 4 };
void disk_cut_power(memory_disk *disk, int what_survives);

disk_content *disk_find(memory_disk *disk, const char *path); /* NULL: no such file */
int disk_open_handles(const memory_disk *disk);
int disk_file_count(const memory_disk *disk);

#endif
