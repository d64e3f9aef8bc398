/* SPDX-License-Identifier: BSD-3-Clause */
/* See scratch.h. */
#include "scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[256];

int scratch_set_up(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/pel-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(directory) ? 0 : -1;
}

static int visit(int erase) {
    int count = 0;
    DIR *listing = opendir(directory);
    if (!listing)
        return -1;
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (erase)
            unlink(scratch_path(entry->d_name));
    }
    closedir(listing);
    return count;
}

int scratch_tear_down(void **state) {
    (void)state;
    visit(1);
    return rmdir(directory);
}

int scratch_count(void) {
    return visit(0);
}

const char *scratch_path(const char *name) {
    static char paths[4][600];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

const char *scratch_write(const char *name, const void *data, size_t bytes) {
    const char *path = scratch_path(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
        abort();
    return path;
}
