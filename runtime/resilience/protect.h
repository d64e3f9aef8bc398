/* SPDX-License-Identifier: BSD-3-Clause */
/* Which protection a launch gets, and the sentence for its plan. A pure function: no clock, no memory. */
#ifndef PEL_RESILIENCE_PROTECT_H
#define PEL_RESILIENCE_PROTECT_H

#include <pel/launch.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pel_protect_question {
    pel_protection asked;
    bool fixed;             /* the caller fixed the shares */
    /* chunks are computed a second time, from the bytes that they began with; `asked` is RETRY or ISOLATE then */
    bool verified;
    double copy_bytes;      /* read-write bytes that would be saved in host memory */
    double fetch_bytes;     /* bytes that only a device holds and that would come home first */
    double link_bytes_per_ns;
    double predicted_ns;    /* of the launch; 0: unknown */
} pel_protect_question;

enum { PEL_PROTECT_TEXT = 200 };

/* Never DEFAULT. `text` gets at most PEL_PROTECT_TEXT bytes; NULL: nobody will read it, and to write it takes microseconds. */
pel_protection pel_protect_choose(const pel_protect_question *question, char *text);

/* What saving costs, predicted. */
double pel_protect_cost_ns(const pel_protect_question *question);

#endif
