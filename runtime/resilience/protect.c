/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The choice of protection.
 *
 * Re-execution needs the bytes that a chunk reads and writes as they were. Where nothing has to be saved it is free, and
 * everybody gets it; where the saving is predicted to cost at most a hundredth of the launch, too. What is dearer, or of unknown
 * price, is for the caller to ask for. Fixed shares are an order to use these devices, so nothing runs elsewhere unless that was
 * asked for as well. Isolation is never chosen by itself: it gives up zero copy.
 */
#include "resilience/protect.h"
#include <stdio.h>

#define MOST_SHARE 0.01      /* of the predicted time (DESIGN 6.6) */
#define COPY_BYTES_PER_NS 4.0 /* memcpy of 1 to 64 MiB: 4.6-9 bytes/ns on 2 shared vCPUs, 2026-11 */

double pel_protect_cost_ns(const pel_protect_question *q) {
    return q->copy_bytes / COPY_BYTES_PER_NS + (q->fetch_bytes > 0 ? q->fetch_bytes / q->link_bytes_per_ns : 0);
}

static void say(char *text, const char *what) {
    if (text) {
        (void)snprintf(text, PEL_PROTECT_TEXT, "%s", what);
    }
}

/* Tenths of a per cent without a decimal point of some locale. */
static void say_share(char *text, const char *what, double bytes, double share) {
    const unsigned long long tenths = share < 1e12 ? (unsigned long long)(share * 1000.0 + 0.5) : 1000000000000000ull;
    if (text) {
        (void)snprintf(text, PEL_PROTECT_TEXT, "%s: saving %.0f bytes is predicted to cost %llu.%llu %% of the launch", what,
                       bytes, tenths / 10, tenths % 10);
    }
}

static void say_bytes(char *text, const char *what, double bytes, const char *how) {
    if (text) {
        (void)snprintf(text, PEL_PROTECT_TEXT, "%s%.0f bytes %s", what, bytes, how);
    }
}

static pel_protection by_cost(const pel_protect_question *q, char *text) {
    const double bytes = q->copy_bytes + q->fetch_bytes, cost = pel_protect_cost_ns(q);
    if (q->fixed) {
        say(text, "none: the shares are fixed, so nothing runs elsewhere; ask for retry to allow it");
        return PEL_PROTECT_NONE;
    }
    if (bytes == 0) {
        say(text, "retry: nothing has to be saved; a chunk whose device fails runs again elsewhere");
        return PEL_PROTECT_RETRY;
    }
    if (q->predicted_ns <= 0) {
        say_bytes(text, "none: the launch was never measured, so the share of saving ", bytes, "is not known");
        return PEL_PROTECT_NONE;
    }
    const bool cheap = cost <= MOST_SHARE * q->predicted_ns;
    say_share(text, cheap ? "retry" : "none", bytes, cost / q->predicted_ns);
    return cheap ? PEL_PROTECT_RETRY : PEL_PROTECT_NONE;
}

pel_protection pel_protect_choose(const pel_protect_question *q, char *text) {
    switch (q->asked) {
    case PEL_PROTECT_NONE:
        say(text, "none, as asked: if a device fails, the launch fails");
        return PEL_PROTECT_NONE;
    case PEL_PROTECT_RETRY:
        if (q->verified && q->predicted_ns <= 0) {
            say_bytes(text, "retry, as chunks are verified: ", q->copy_bytes + q->fetch_bytes, "are saved");
        } else if (q->predicted_ns > 0) {
            say_share(text, q->verified ? "retry, as chunks are verified" : "retry, as asked", q->copy_bytes + q->fetch_bytes,
                      pel_protect_cost_ns(q) / q->predicted_ns);
        } else {
            say_bytes(text, "retry, as asked: ", q->copy_bytes + q->fetch_bytes, "are saved");
        }
        return PEL_PROTECT_RETRY;
    case PEL_PROTECT_ISOLATE:
        say(text, "isolate, as asked: outputs are private until their chunk is done, and each chunk has a deadline");
        return PEL_PROTECT_ISOLATE;
    case PEL_PROTECT_DEFAULT:
        break;
    }
    return by_cost(q, text);
}
