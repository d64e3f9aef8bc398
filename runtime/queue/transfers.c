/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From byte intervals to transfers. Each transfer costs a start (a microsecond in a driver's queue, ten on a bus) beside its
 * bytes, so a thousand rows of a column block must not become a thousand of them.
 *
 * Equal intervals at equal distances are one transfer of rows, exact to the byte. Where the gap between two intervals costs less
 * than a start, they go as one piece, gap included, but only towards a device and only when the gap's bytes are the host's and
 * nobody else is at them: a stale byte over a newer one would be silent. Such bytes are copied, not noted as valid: residency
 * stays the truth about what was asked for. Rejected: rounding everything to pages, as unified memory does; a halo row of 16 KB
 * would move 4 pages more, and two devices would fight over shared ones.
 */
#include "queue/transfers.h"
#include <stdlib.h>

#define RATE_GUESS                                                                                                               \
    8.0 /* bytes per ns: PCIe 3 x16 gives 8-12 GB/s with pinned memory; replaced by what the first transfers achieve */
#define LATENCY_GUESS 10000.0 /* ns: start of a transfer on a discrete device, same source */
#define LARGE_BYTES 65536u   /* from here on a transfer tells the rate, below it tells the start */
#define ROW_NS 20.0          /* what a row of a rectangle costs a copy engine: a bus packet or two */
#define FEWEST_ROWS 3        /* two equal pieces are not yet a pattern */

double pel_link_latency_ns(const pel_device *device) {
    return device->link_latency_ns > 0 ? device->link_latency_ns : LATENCY_GUESS;
}
double pel_link_bytes_per_ns(const pel_device *device) {
    return device->link_bytes_per_ns > 0 ? device->link_bytes_per_ns : RATE_GUESS;
}

static double average(double known, double seen) { return known > 0 ? 0.75 * known + 0.25 * seen : seen; }

void pel_link_learn(pel_device *device, uint32_t transfers, uint64_t bytes, int64_t ns) {
    if (transfers == 0 || bytes == 0 || ns <= 0) {
        return;
    }
    if (bytes / transfers < LARGE_BYTES) {
        double start = ((double)ns - (double)bytes / pel_link_bytes_per_ns(device)) / transfers;
        device->link_latency_ns = start > 0 ? average(device->link_latency_ns, start) : device->link_latency_ns;
        return;
    }
    double starts = transfers * device->link_latency_ns, moving = (double)ns > 2 * starts ? (double)ns - starts : (double)ns;
    device->link_bytes_per_ns = average(device->link_bytes_per_ns, (double)bytes / moving);
}

static int by_address(const void *a, const void *b) {
    const pel_use *left = a, *right = b;
    return left->lo < right->lo ? -1 : left->lo > right->lo;
}

uint32_t pel_uses_merge(pel_use *uses, uint32_t count) {
    uint32_t kept = 0;
    if (count > 1) {
        qsort(uses, count, sizeof *uses, by_address);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && uses[i].lo <= uses[kept - 1].hi) {
            uses[kept - 1].hi = uses[i].hi > uses[kept - 1].hi ? uses[i].hi : uses[kept - 1].hi;
        } else {
            uses[kept++] = uses[i];
        }
    }
    return kept;
}

uint64_t pel_transfers_bytes(const pel_transfer *list, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += list[i].bytes * pel_transfer_rows(&list[i]);
    }
    return bytes;
}

typedef struct weaver {
    const pel_device *device;
    const pel_use *uses;
    uint32_t count;
    pel_gap_fn gap;
    void *user;
    double start_bytes; /* a gap of fewer bytes costs less than a transfer of its own */
} weaver;

static bool gaps_are_free(const weaver *w, uint32_t from, uint32_t to) {
    bool are_free = w->gap != NULL;
    for (uint32_t i = from; i + 1 < to && are_free; i++) {
        are_free = w->gap(w->user, w->uses[i].hi, w->uses[i + 1].lo);
    }
    return are_free;
}

/* How many intervals from `from` on are equal and at equal distances. */
static uint32_t rows_from(const weaver *w, uint32_t from) {
    const pel_use *uses = w->uses;
    uint32_t to = from + 1;
    while (to < w->count && uses[to].hi - uses[to].lo == uses[from].hi - uses[from].lo &&
           uses[to].lo - uses[to - 1].lo == uses[from + 1].lo - uses[from].lo) {
        to++;
    }
    return to - from;
}

/* One transfer from interval `from` on; returns where the next one begins. */
static uint32_t weave(const weaver *w, uint32_t from, pel_transfer *made) {
    const pel_use *uses = w->uses;
    const uint32_t rows = rows_from(w, from);
    uint32_t to = from + 1;
    if (rows >= FEWEST_ROWS) {
        const uint64_t bytes = uses[from].hi - uses[from].lo, pitch = uses[from + 1].lo - uses[from].lo;
        const double gap_ns = (double)(pitch - bytes) / pel_link_bytes_per_ns(w->device);
        if (gap_ns > ROW_NS || !gaps_are_free(w, from, from + rows)) {
            *made = (pel_transfer){.offset = uses[from].lo, .bytes = bytes, .rows = rows, .pitch = pitch};
            return from + rows;
        }
        to = from + rows;
    }
    while (to < w->count && (double)(uses[to].lo - uses[to - 1].hi) < w->start_bytes && rows_from(w, to) < FEWEST_ROWS &&
           gaps_are_free(w, to - 1, to + 1)) {
        to++;
    }
    *made = (pel_transfer){.offset = uses[from].lo, .bytes = uses[to - 1].hi - uses[from].lo};
    return to;
}

pel_status pel_transfers_append(const pel_device *device, const pel_use *uses, uint32_t count, pel_mem *mem, uint64_t base,
                                pel_gap_fn gap, void *user, pel_transfer **list, uint32_t *list_count) {
    const weaver w = {device, uses, count, gap, user, pel_link_latency_ns(device) * pel_link_bytes_per_ns(device)};
    if (count == 0) {
        return PEL_OK;
    }
    pel_transfer *grown = pel_resize(&device->runtime->allocator, *list, ((size_t)*list_count + count) * sizeof *grown);
    if (!grown) {
        return PEL_OUT_OF_MEMORY;
    }
    *list = grown;
    for (uint32_t from = 0; from < count; (*list_count)++) {
        pel_transfer *made = &grown[*list_count];
        from = weave(&w, from, made);
        made->mem = mem;
        made->host = uses[0].allocation->base + made->offset;
        made->offset -= base;
    }
    return PEL_OK;
}
