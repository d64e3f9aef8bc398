/* SPDX-License-Identifier: BSD-3-Clause */
/* Handing out; how much is held back is decided in hold.c. */
#include "planner/tail.h"

#include <math.h>
#include <stddef.h>

#define WORTH_STARTS 4.0 /* a piece takes at least so many times its start */
#define WORTH_DOUBT 2.0  /* starts: with less doubt than that a device takes all of its share at once */
#define WHOLE 0.6        /* more than this of one's share: all of it, the rest would be a crumb */
#define SURPRISE 3.0     /* deviations beyond which a chunk's time is news, not luck */
#define SLOWEST 64.0     /* correction within one launch */

static pel_tail_device *find(pel_tail *tail, uint32_t device) {
    for (uint32_t i = 0; i < tail->count; i++) {
        if (tail->devices[i].device == device) {
            return &tail->devices[i];
        }
    }
    return NULL;
}

double pel_tail_work(const pel_tail *tail, uint64_t lo, uint64_t hi) {
    double units = (double)tail->units;
    if (!tail->profiled) {
        return (double)(hi - lo);
    }
    return units *
           (pel_profile_work(tail->cumulative, (double)hi / units) - pel_profile_work(tail->cumulative, (double)lo / units));
}

void pel_tail_begin(pel_tail *tail, const pel_tail_piece *piece, double now_ns) {
    pel_tail_device *entry = find(tail, piece->device);
    if (entry != NULL) {
        entry->busy = true;
        entry->began = now_ns;
        entry->expected = piece->predicted_ns;
    }
}

void pel_tail_end(pel_tail *tail, uint32_t device, double took_ns) {
    pel_tail_device *entry = find(tail, device);
    if (entry == NULL) {
        return;
    }
    entry->busy = false;
    if (!(took_ns > 0.0) || !(entry->expected > 0.0)) {
        return;
    }
    double ratio = fmin(fmax(took_ns / entry->expected, 1.0 / SLOWEST), SLOWEST);
    double doubt = entry->doubt * entry->doubt, scatter = entry->deviation * entry->deviation;
    double weight = fabs(ratio - 1.0) > SURPRISE * sqrt(doubt + scatter) ? 0.7 : doubt / fmax(doubt + scatter, 1e-12);
    entry->unit *= pow(ratio, weight);
    entry->doubt *= sqrt(1.0 - fmin(weight, 0.99));
}

void pel_tail_refuse(pel_tail *tail, uint32_t device) {
    pel_tail_device *entry = find(tail, device);
    if (entry != NULL) {
        entry->refused = true;
    }
}

/* When it can begin a piece. Who is overdue will need as long again as it is late: nothing else is known of accidents. */
static double free_at(const pel_tail_device *entry, double now) {
    if (!entry->busy) {
        return now;
    }
    double end = entry->began + entry->expected;
    return end >= now ? end : now + (now - end);
}

/* When all of `work` can be over, if everybody but `without` (may be NULL) takes what is right for it. */
static double level_of(const pel_tail *tail, const pel_tail_device *without, double now, double work) {
    double floor[PEL_TAIL_DEVICES], speed[PEL_TAIL_DEVICES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < tail->count; i++) {
        if (&tail->devices[i] == without || tail->devices[i].refused) {
            continue;
        }
        double begins = free_at(&tail->devices[i], now) + tail->devices[i].start;
        uint32_t at = count++;
        while (at > 0 && floor[at - 1] > begins) {
            floor[at] = floor[at - 1];
            speed[at] = speed[at - 1];
            at--;
        }
        floor[at] = begins;
        speed[at] = 1.0 / tail->devices[i].unit;
    }
    double weighted = 0.0, sum = 0.0, level = INFINITY;
    for (uint32_t i = 0; i < count && floor[i] < level; i++) {
        weighted += floor[i] * speed[i];
        sum += speed[i];
        level = (work + weighted) / sum;
    }
    return level;
}

/* By how much somebody may miss the time at which it is expected, ns: of the others' chunks and of one's own piece. */
static double doubt_of(const pel_tail *tail, const pel_tail_device *self, double share) {
    double most = self->deviation * self->unit * share;
    for (uint32_t i = 0; i < tail->count; i++) {
        const pel_tail_device *other = &tail->devices[i];
        if (other != self && other->busy) {
            most = fmax(most, hypot(other->deviation, other->doubt) * other->expected);
        }
    }
    return most;
}

/* Where a piece of about so much work ends, in whole grains, at least one. */
static uint64_t edge_of(const pel_tail *tail, double work) {
    uint64_t grains = (tail->hi - tail->at + tail->grain - 1) / tail->grain, low = 1, high = grains;
    if (!tail->profiled) {
        double wanted = work / (double)tail->grain + 0.5;
        low = wanted >= (double)grains ? grains : wanted >= 1.0 ? (uint64_t)wanted : 1;
    }
    while (tail->profiled && low < high) {
        uint64_t middle = low + (high - low) / 2, end = tail->at + middle * tail->grain;
        if (pel_tail_work(tail, tail->at, (end < tail->hi ? end : tail->hi) - (end < tail->hi ? tail->grain / 2 : 0)) < work) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low >= grains ? tail->hi : tail->at + low * tail->grain;
}

bool pel_tail_next(pel_tail *tail, uint32_t device, double now_ns, bool must, pel_tail_piece *piece) {
    pel_tail_device *self = find(tail, device);
    if (self == NULL || self->busy || (self->refused && !must) || !pel_tail_left(tail)) {
        return false;
    }
    double left = pel_tail_work(tail, tail->at, tail->hi);
    double share = (level_of(tail, NULL, now_ns, left) - now_ns - self->start) / self->unit;
    if (!(share > 0.0) && !must) {
        return false;
    }
    double wanted = fmin(fmax(share, 0.0), left);
    if (doubt_of(tail, self, wanted) > WORTH_DOUBT * self->start) {
        double half = fmax(0.5 * wanted, WORTH_STARTS * self->start / self->unit);
        wanted = half > WHOLE * wanted ? wanted : half;
    }
    uint64_t hi = edge_of(tail, wanted);
    *piece = (pel_tail_piece){.device = device, .lo = tail->at, .hi = hi};
    piece->predicted_ns = self->start + self->unit * pel_tail_work(tail, tail->at, hi);
    if (!must && now_ns + piece->predicted_ns > level_of(tail, self, now_ns, left)) {
        return false; /* the smallest piece is too large for it: the others are faster with all of it */
    }
    tail->at = hi;
    return true;
}
