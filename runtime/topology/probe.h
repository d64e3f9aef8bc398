/* SPDX-License-Identifier: BSD-3-Clause */
/* Tries the OpenCL drivers in a child process before this process loads them, and remembers the answer. */
#ifndef PEL_TOPOLOGY_PROBE_H
#define PEL_TOPOLOGY_PROBE_H

#include "base/log.h"
#include "topology/icd.h"
#include "topology/keep.h"

typedef struct pel_probe_finding {
    bool driver;         /* about an installed driver; else about one device */
    const char *subject; /* path of the .icd file, or the device's id in the child ("opencl:0") */
    const char *name;    /* the device's name, "" for a driver */
    const char *reason;  /* "" when it works, else why not: continues a sentence that begins with the subject */
} pel_probe_finding;

typedef struct pel_probe_answer {
    pel_keep keep;
    pel_probe_finding *findings;
    uint32_t count;
    bool asked;      /* false: no driver is installed, or the helper cannot be run */
    bool remembered; /* from the cache */
} pel_probe_answer;

enum {
    PEL_PROBE_TIMEOUT_MS = 15000, /* a cold NVIDIA driver takes 2 to 5 s, PoCL's first build 1 s */
    PEL_PROBE_BAD_NEWS_SECONDS =
        600 /* how long a failure is believed: its cause (no ld, a full disk, the load of the moment) may be gone */
};

/* cache_directory NULL: neither reads nor writes one. refresh: do not believe the cache, but write it. Errors: OUT_OF_MEMORY.
 * Free it always. */
pel_status pel_probe_ask(const pel_icd_list *drivers, const pel_allocator *allocator, pel_logger *logger,
                         const char *cache_directory, bool refresh, pel_probe_answer *answer, pel_error **error);
void pel_probe_free(pel_probe_answer *answer);

/* Why a driver is bad; NULL when it is not. */
const char *pel_probe_driver_reason(const pel_probe_answer *answer, const char *icd_path);

/*
 * When drivers are bad: makes a private directory of .icd files of the good ones, to be given to the loader instead, and removed
 * with pel_probe_remove_directory after the loader has read it. *directory NULL: nothing to leave out. IO when it cannot be made.
 */
pel_status pel_probe_make_directory(const pel_icd_list *drivers, const pel_probe_answer *answer, const pel_allocator *allocator,
                                    char **directory, pel_error **error);
void pel_probe_remove_directory(const pel_allocator *allocator, char *directory);

#endif
