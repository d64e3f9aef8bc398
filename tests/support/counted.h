/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An allocator for a runtime whose blocks are counted, and of which one request, or every one from then on, fails. From any
 * threads.
 */
#ifndef TESTS_SUPPORT_COUNTED_H
#define TESTS_SUPPORT_COUNTED_H

#include <pel/runtime.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct counted {
    atomic_long calls, live; /* requests for memory; blocks that have not been given back */
    atomic_long fail_at;     /* this request fails (1-based); 0: none. May be set while others ask for memory */
    bool for_ever;           /* and so do all later ones */
} counted;

/* For pel_allocator.reallocate; user: a counted. */
void *counted_reallocate(void *user, void *pointer, size_t bytes);
/* The next request counts, and fails: for memory that comes from elsewhere. */
bool counted_fails(counted *memory);

/*
 * Fails every request of a life in turn, once and for ever, and prints how often the result was right. `live` lives once with the
 * allocator, fails the test where something is wrong, and returns whether the result was right; with fail_at 0 it must be.
 */
void counted_every_site(const char *what, bool (*live)(counted *memory, const pel_runtime_desc *desc),
                        const pel_runtime_desc *desc);
/* The same on a simulated machine: a device behind a link, and one that works in the host's memory. */
void counted_every_site_simulated(bool (*live)(counted *memory, const pel_runtime_desc *desc));

#endif
