/* SPDX-License-Identifier: BSD-3-Clause */
/* Which OpenCL drivers are installed: what the ICD loader would load, without loading anything. */
#ifndef PEL_TOPOLOGY_ICD_H
#define PEL_TOPOLOGY_ICD_H

#include "topology/keep.h"
#include <pel/status.h>

typedef struct pel_icd {
    const char *path;     /* the .icd file, or the library itself when the environment names one */
    const char *library;  /* what the .icd file names; "" unreadable or empty */
    const char *resolved; /* that library's file; "" not found where the dynamic linker looks by default */
} pel_icd;

typedef struct pel_icd_list {
    pel_keep keep;
    pel_icd *icds; /* by path */
    uint32_t count;
    const char *where;    /* the directory or file that was looked at */
    const char *variable; /* the environment variable that named it, or "" */
    bool readable;        /* it exists and can be read */
} pel_icd_list;

/* Reads the list. `root` is put before the paths of this machine, not before those from the environment. OUT_OF_MEMORY only. Free
 * it always. */
pel_status pel_icd_list_read(const char *root, const pel_allocator *allocator, pel_icd_list *list, pel_error **error);
void pel_icd_list_free(pel_icd_list *list);

/* The file of a library, by path or by looking where the dynamic linker would; "" not found. The text belongs to `keep`. */
const char *pel_icd_find_library(pel_keep *keep, const char *root, const char *library);

#endif
