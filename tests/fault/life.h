/* SPDX-License-Identifier: BSD-3-Clause */
/* One whole life of a runtime with one kernel of the catalogue: create, build, launch, finish, compare, destroy. */
#ifndef TESTS_FAULT_LIFE_H
#define TESTS_FAULT_LIFE_H

#include "catalogue.h"
#include "support/counted.h"

typedef struct life_result {
    pel_status status; /* of the first step that failed; OK: all did */
    bool right;        /* the results agree with the reference; only when the status is OK */
    char defect[400];  /* what must never be: a wrong result, an error without a story, something left over; "" : none */
    char story[400];   /* the error's message */
} life_result;

/* A case that fits into a life of a few milliseconds. */
bool life_case(const char *kernel, pel_case *c);

/* devices: a device list; all of its devices get a fixed share. */
void life_run(pel_case *c, const char *devices, life_result *result);

/* Of the lives' runtimes: its fail_at and for_ever are the caller's to set. */
counted *life_memory(void);

#endif
