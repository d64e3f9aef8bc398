/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader's own view of the installed drivers, read from files: OCL_ICD_VENDORS (a directory, a .icd file or a library), else
 * OPENCL_VENDOR_PATH, else /etc/OpenCL/vendors. Nothing is loaded, since loading is what crashes. A library without a slash is
 * looked for where ld.so would look, in a way that is good enough to notice that it changed and to say that it is missing; the
 * truth about loading comes from the helper (probe_main.c). Rejected: reading ld.so.cache, a binary format of one C library.
 */
#include "topology/icd.h"
#include "base/alloc.h"
#include "base/error.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* First line of a small file, trimmed; "" when there is none. */
static const char *first_line(pel_keep *keep, const char *path) {
    char text[PATH_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "";
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    if (count <= 0)
        return "";
    text[count] = '\0';
    size_t length = strcspn(text, "\r\n");
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    return pel_keep_bytes(keep, text, length);
}

/* Whether the dynamic linker would pass a file over: a library for another word size. Unreadable ones are for it to complain
 * about. */
static bool foreign_library(const char *path) {
    unsigned char head[5];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t count = read(fd, head, sizeof head);
    close(fd);
    return count == (ssize_t)sizeof head && memcmp(head, "\177ELF", 4) == 0 && head[4] != (sizeof(void *) == 8 ? 2 : 1);
}

/* "root/directory/name" if there is such a library, else NULL. */
static const char *file_in(pel_keep *keep, const char *root, const char *directory, size_t length, const char *name) {
    char path[PATH_MAX];
    struct stat status;
    int written = snprintf(path, sizeof path, "%s%.*s/%s", root, (int)length, directory, name);
    if (written < 0 || (size_t)written >= sizeof path || length == 0)
        return NULL;
    return stat(path, &status) == 0 && !foreign_library(path) ? pel_keep_bytes(keep, path, (size_t)written) : NULL;
}

/* The directories that /etc/ld.so.conf.d adds: on Debian, all of them. */
static const char *in_configured_directories(pel_keep *keep, const char *root, const char *name) {
    char path[PATH_MAX];
    const char *found = NULL;
    (void)snprintf(path, sizeof path, "%s/etc/ld.so.conf.d", root);
    DIR *configuration = opendir(path);
    if (!configuration)
        return NULL;
    for (struct dirent *entry; !found && (entry = readdir(configuration));) {
        if (!ends_with(entry->d_name, ".conf"))
            continue;
        int written = snprintf(path, sizeof path, "%s/etc/ld.so.conf.d/%s", root, entry->d_name);
        FILE *file = written > 0 && (size_t)written < sizeof path ? fopen(path, "re") : NULL;
        if (!file)
            continue;
        while (!found && fgets(path, sizeof path, file)) {
            if (path[0] == '/')
                found = file_in(keep, root, path, strcspn(path, " \t\r\n"), name);
        }
        (void)fclose(file);
    }
    closedir(configuration);
    return found;
}

const char *pel_icd_find_library(pel_keep *keep, const char *root, const char *library) {
    struct stat status;
    const char *found = NULL;
    if (*library == '\0')
        return "";
    if (strchr(library, '/')) {
        char path[PATH_MAX];
        int written = snprintf(path, sizeof path, "%s%s", *library == '/' ? root : "", library);
        bool there = written > 0 && (size_t)written < sizeof path && stat(path, &status) == 0;
        return there ? pel_keep_bytes(keep, path, (size_t)written) : "";
    }
    const char *environment = getenv("LD_LIBRARY_PATH");
    for (const char *at = environment; at && !found;) {
        size_t length = strcspn(at, ":;");
        found = file_in(keep, "", at, length, library);
        at = at[length] ? at + length + 1 : NULL;
    }
    if (!found)
        found = in_configured_directories(keep, root, library);
    static const char *const standard[] = {"/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"};
    for (size_t i = 0; i < sizeof standard / sizeof *standard && !found; i++) {
        found = file_in(keep, root, standard[i], strlen(standard[i]), library);
    }
    return found ? found : "";
}

static pel_status add(pel_icd_list *list, const char *root, const char *path, bool is_library, pel_error **error) {
    pel_icd *grown = pel_resize(list->keep.allocator, list->icds, ((size_t)list->count + 1) * sizeof *grown);
    if (!grown)
        return pel_fail(error, list->keep.allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the list of OpenCL drivers");
    list->icds = grown;
    pel_icd *icd = &grown[list->count++];
    icd->path = pel_keep_bytes(&list->keep, path, strlen(path));
    icd->library = is_library ? icd->path : first_line(&list->keep, path);
    icd->resolved = pel_icd_find_library(&list->keep, root, icd->library);
    return PEL_OK;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const pel_icd *)a)->path, ((const pel_icd *)b)->path);
}

static pel_status read_directory(pel_icd_list *list, const char *root, const char *path, pel_error **error) {
    DIR *directory = opendir(path);
    if (!directory)
        return PEL_OK;
    list->readable = true;
    pel_status status = PEL_OK;
    for (struct dirent *entry; !status && (entry = readdir(directory));) {
        char file[PATH_MAX];
        if (!ends_with(entry->d_name, ".icd"))
            continue;
        int written = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (written > 0 && (size_t)written < sizeof file)
            status = add(list, root, file, false, error);
    }
    closedir(directory);
    if (list->count > 1)
        qsort(list->icds, list->count, sizeof *list->icds, by_path);
    return status;
}

pel_status pel_icd_list_read(const char *root, const pel_allocator *allocator, pel_icd_list *list, pel_error **error) {
    memset(list, 0, sizeof *list);
    pel_keep_init(&list->keep, allocator);
    list->variable = "OCL_ICD_VENDORS";
    const char *path = getenv("OCL_ICD_VENDORS");
    if (!path || *path == '\0') {
        list->variable = "OPENCL_VENDOR_PATH";
        path = getenv("OPENCL_VENDOR_PATH");
    }
    if (!path || *path == '\0') {
        list->variable = "";
        path = pel_keep_format(&list->keep, "%s/etc/OpenCL/vendors", root);
    }
    list->where = pel_keep_bytes(&list->keep, path, strlen(path));
    struct stat kind;
    pel_status status = PEL_OK;
    if (stat(list->where, &kind) == 0 && S_ISDIR(kind.st_mode)) {
        status = read_directory(list, root, list->where, error);
    } else {
        list->readable = access(list->where, R_OK) == 0 || strchr(list->where, '/') == NULL;
        if (*list->variable)
            status = add(list, root, list->where, !ends_with(list->where, ".icd"), error);
    }
    if (!status && list->keep.failed)
        status = pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the list of OpenCL drivers");
    return status;
}

void pel_icd_list_free(pel_icd_list *list) {
    pel_free(list->keep.allocator, list->icds);
    pel_keep_free(&list->keep);
    list->icds = NULL;
    list->count = 0;
}
