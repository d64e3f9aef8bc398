/* SPDX-License-Identifier: BSD-3-Clause */
#include "planner/schedule.h"

#include "kernel/declaration.h"
#include <math.h>
#include <string.h>

/* A plan ties hands, so it is not made for less than this. */
static const double worthwhile = 0.99;
enum { INTERVALS = 3 }; /* of a device, for each task: it, what is fetched for it, and what comes home of it in the end */

typedef struct interval {
    double begin, end;
} interval;

typedef struct timeline {
    interval *busy; /* ascending, disjoint */
    uint32_t count;
} timeline;

/* What of a task's output is at a device, and since when. */
typedef struct copy {
    double since, bytes;
} copy;

typedef struct work {
    const pel_schedule_request *request;
    const pel_allocator *allocator;
    uint32_t ways;
    uint32_t *first;             /* edges into a task: first[t] to first[t + 1] - 1 of `into` */
    pel_schedule_edge *into;
    double *rank;
    uint32_t *order;             /* tasks by descending rank */
    timeline lines[PEL_SCHEDULE_DEVICES];
    interval *busy;
    copy *copies;                /* of a task's output: device_count + 1 each, the last one at home */
    pel_schedule_place *places;  /* being made */
} work;

static uint32_t copies_of(const work *w) { return w->request->device_count + 1; }
static bool far(const pel_schedule_device *device) { return device->latency_ns > 0 || device->byte_ns > 0; }

static uint64_t mask_of(const work *w, uint32_t task, uint32_t way) {
    const pel_schedule_request *r = w->request;
    return way < r->device_count ? 1ull << way : way == pel_schedule_divided(r) ? r->divided[task] : 0;
}

static const pel_schedule_way *way_of(const work *w, uint32_t task, uint32_t way) {
    return &w->request->ways[(size_t)task * w->ways + way];
}

/* ---- ranks ---- */

static double mean_ns(const work *w, uint32_t task) {
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->ways; i++) {
        sum += way_of(w, task, i)->possible ? way_of(w, task, i)->ns : 0;
        count += way_of(w, task, i)->possible ? 1u : 0u;
    }
    return count > 0 ? sum / count : 0;
}

static void find_ranks(work *w) {
    const pel_schedule_request *r = w->request;
    double latency = 0, byte = 0;
    for (uint32_t d = 0; d < r->device_count; d++) {
        latency += 2 * r->devices[d].latency_ns / r->device_count; /* home, and to the next */
        byte += 2 * r->devices[d].byte_ns / r->device_count;
    }
    for (uint32_t t = 0; t < r->task_count; t++) {
        w->rank[t] = 0;
    }
    for (uint32_t t = r->task_count; t-- > 0;) { /* edges go forwards, so all successors are known */
        w->rank[t] += mean_ns(w, t);
        for (uint32_t e = w->first[t]; e < w->first[t + 1]; e++) {
            const double moved = w->into[e].bytes > 0 ? latency + byte * w->into[e].bytes : 0;
            w->rank[w->into[e].from] = fmax(w->rank[w->into[e].from], moved + w->rank[t]);
        }
    }
}

typedef struct ranked {
    double rank;
    uint32_t task;
} ranked;

/* By rank, then by number: a task of rank 0 must not pass one that it follows. */
static int by_rank(const void *left, const void *right) {
    const ranked *a = left, *b = right;
    return a->rank != b->rank ? (a->rank > b->rank ? -1 : 1) : a->task < b->task ? -1 : a->task > b->task;
}

static pel_status find_order(work *w) {
    const uint32_t n = w->request->task_count;
    ranked *list = pel_alloc_zero(w->allocator, n, sizeof *list);
    if (!list) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t t = 0; t < n; t++) {
        list[t] = (ranked){w->rank[t], t};
    }
    pel_heap_sort(list, n, sizeof *list, by_rank);
    for (uint32_t t = 0; t < n; t++) {
        w->order[t] = list[t].task;
    }
    pel_free(w->allocator, list);
    return PEL_OK;
}

/* ---- data ---- */

/* What has to be moved before a task can run in a way. */
typedef struct needs {
    double over;                          /* when all that it follows has ended */
    double arrival;                       /* and when what moves beside computing has arrived */
    double fetch[PEL_SCHEDULE_DEVICES];   /* time that other devices need to bring what they have home */
    double bring[PEL_SCHEDULE_DEVICES];   /* and its own to bring it in */
    uint64_t sources;                     /* devices whose `fetch` is not 0 */
} needs;

static copy *copy_at(const work *w, uint32_t task, uint32_t place) { return &w->copies[(size_t)task * copies_of(w) + place]; }

/* Brings `bytes` of a task's output home. Returns how long that takes beside computing. */
static double need_home(const work *w, uint32_t task, double bytes, needs *n) {
    const pel_schedule_request *r = w->request;
    const copy *home = copy_at(w, task, r->device_count);
    const uint64_t mask = mask_of(w, task, w->places[task].way);
    double longest = 0;
    if (home->bytes > 0) {
        n->arrival = fmax(n->arrival, home->since);
    }
    for (uint64_t rest = home->bytes < bytes ? mask : 0; rest != 0; rest &= rest - 1) {
        const uint32_t d = (uint32_t)__builtin_ctzll(rest);
        const pel_schedule_device *device = &r->devices[d];
        const double part = (bytes - home->bytes) / __builtin_popcountll(mask);
        const double ns = far(device) ? device->latency_ns + part * device->byte_ns : 0;
        if (r->devices[d].beside) {
            longest = fmax(longest, ns);
        } else if (ns > 0) {
            n->fetch[d] += ns;
            n->sources |= 1ull << d;
        }
    }
    return longest;
}

/* A divided task reads its parts; one that is divided like its predecessor has them already. */
static void need(const work *w, const pel_schedule_edge *edge, uint32_t way, needs *n) {
    const pel_schedule_request *r = w->request;
    const pel_schedule_place *from = &w->places[edge->from];
    const uint64_t mask = mask_of(w, edge->to, way);
    const double bytes = mask ? edge->bytes / __builtin_popcountll(mask) : edge->bytes;
    double bring = 0;
    bool from_home = mask == 0;
    n->over = fmax(n->over, from->end_ns);
    if (edge->bytes <= 0 || (mask != 0 && mask == mask_of(w, edge->from, from->way))) {
        return;
    }
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        const uint32_t d = (uint32_t)__builtin_ctzll(rest);
        const copy *there = copy_at(w, edge->from, d);
        if (far(&r->devices[d]) && (from->way == d || there->bytes >= bytes)) {
            n->arrival = fmax(n->arrival, from->way == d ? 0 : there->since);
            continue;
        }
        from_home = true;
        if (far(&r->devices[d])) {
            const double ns = r->devices[d].latency_ns + (bytes - there->bytes) * r->devices[d].byte_ns;
            bring = r->devices[d].beside ? fmax(bring, ns) : bring;
            n->bring[d] += r->devices[d].beside ? 0 : ns;
        }
    }
    if (from_home) {
        const double fetch = need_home(w, edge->from, edge->bytes, n);
        n->arrival = fmax(n->arrival, from->end_ns + fetch + bring);
    }
}

static void find_needs(const work *w, uint32_t task, uint32_t way, needs *n) {
    memset(n, 0, sizeof *n);
    for (uint32_t e = w->first[task]; e < w->first[task + 1]; e++) {
        need(w, &w->into[e], way, n);
    }
}

static double longest_bring(const work *w, const needs *n) {
    double longest = 0;
    for (uint32_t d = 0; d < w->request->device_count; d++) {
        longest = fmax(longest, n->bring[d]);
    }
    return longest;
}

static void note_copy(work *w, uint32_t task, uint32_t place, double since, double bytes) {
    copy *there = copy_at(w, task, place);
    if (there->bytes < bytes) {
        *there = (copy){since, bytes};
    }
}

/* What a task that was placed has brought along. */
static void note_copies(work *w, uint32_t task, double home) {
    const pel_schedule_request *r = w->request;
    const uint64_t mask = mask_of(w, task, w->places[task].way);
    for (uint32_t e = w->first[task]; e < w->first[task + 1]; e++) {
        const pel_schedule_edge *edge = &w->into[e];
        const uint64_t source = mask_of(w, edge->from, w->places[edge->from].way);
        if (edge->bytes <= 0 || (mask != 0 && mask == source)) {
            continue;
        }
        note_copy(w, edge->from, r->device_count, home, edge->bytes);
        for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
            const uint32_t d = (uint32_t)__builtin_ctzll(rest);
            if (far(&r->devices[d])) {
                note_copy(w, edge->from, d, w->places[task].end_ns - w->places[task].ns,
                          edge->bytes / __builtin_popcountll(mask));
            }
        }
    }
}

/* ---- time ---- */

/* The earliest begin from `from` on of a gap of `ns`; *place: before which interval. */
static double find_gap(const timeline *line, double from, double ns, uint32_t *place) {
    uint32_t lo = 0, hi = line->count;
    while (lo < hi) { /* the first that ends later */
        const uint32_t middle = lo + (hi - lo) / 2;
        if (line->busy[middle].end > from) {
            hi = middle;
        } else {
            lo = middle + 1;
        }
    }
    while (lo < line->count && line->busy[lo].begin < from + ns) {
        from = fmax(from, line->busy[lo].end);
        lo++;
    }
    *place = lo;
    return from;
}

/* Those that cannot compute while one of these does, themselves included. */
static uint64_t occupied_by(const work *w, uint64_t mask) {
    uint64_t all = mask;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        all |= w->request->devices[__builtin_ctzll(rest)].overlaps;
    }
    return all & ((1ull << w->request->device_count) - 1);
}

static double find_begin(const work *w, uint64_t occupied, double from, double ns) {
    for (bool moved = true; moved;) {
        moved = false;
        for (uint64_t rest = occupied; rest != 0; rest &= rest - 1) {
            uint32_t place;
            const double begin = find_gap(&w->lines[__builtin_ctzll(rest)], from, ns, &place);
            moved = moved || begin > from;
            from = begin;
        }
    }
    return from;
}

static void occupy(work *w, uint64_t occupied, double begin, double end) {
    for (uint64_t rest = occupied; rest != 0 && end > begin; rest &= rest - 1) {
        timeline *line = &w->lines[__builtin_ctzll(rest)];
        uint32_t place;
        (void)find_gap(line, begin, end - begin, &place);
        memmove(&line->busy[place + 1], &line->busy[place], (line->count - place) * sizeof *line->busy);
        line->busy[place] = (interval){begin, end};
        line->count++;
    }
}

/* When all is at home that must be: devices that fetch do so when the task is ready, as soon as they have time. `take`: they
 * do. */
static double home_at(work *w, const needs *n, bool take) {
    double at = fmax(n->over, n->arrival);
    for (uint64_t rest = n->sources; rest != 0; rest &= rest - 1) {
        const uint32_t d = (uint32_t)__builtin_ctzll(rest);
        uint32_t place;
        const double begin = find_gap(&w->lines[d], n->over, n->fetch[d], &place);
        at = fmax(at, begin + n->fetch[d]);
        if (take) {
            occupy(w, 1ull << d, begin, begin + n->fetch[d]);
        }
    }
    return at;
}

static pel_schedule_place place_at(work *w, uint32_t task, uint32_t way, const needs *n, bool take) {
    const double home = home_at(w, n, take), bring = longest_bring(w, n), ns = way_of(w, task, way)->ns;
    const uint64_t occupied = occupied_by(w, mask_of(w, task, way));
    const double begin = find_begin(w, occupied, home, bring + ns);
    const pel_schedule_place place = {way, begin, begin + bring + ns, ns, w->rank[task]};
    if (take) {
        occupy(w, occupied, place.begin_ns, place.end_ns);
        w->places[task] = place;
        note_copies(w, task, home);
    }
    return place;
}

/* ---- policies: a way for a task; as many as there are: none ---- */

static uint32_t earliest(work *w, uint32_t task, uint64_t allowed) {
    uint32_t best = w->ways;
    double least = INFINITY;
    for (uint32_t way = 0; way < w->ways; way++) {
        const bool possible = way_of(w, task, way)->possible;
        if (possible && (mask_of(w, task, way) & ~allowed) == 0) {
            needs n;
            find_needs(w, task, way, &n);
            const double end = place_at(w, task, way, &n, false).end_ns;
            best = end < least ? way : best;
            least = end < least ? end : least;
        }
    }
    return best;
}

/* What its time and its transfers make the best, as if nothing else ran: a command is planned when it may begin, and not for a
 * later time. */
static uint32_t in_order(const work *w, uint32_t task) {
    uint32_t best = w->ways;
    double least = INFINITY;
    for (uint32_t way = 0; way < w->ways; way++) {
        if (!way_of(w, task, way)->possible) {
            continue;
        }
        needs n;
        find_needs(w, task, way, &n);
        double cost = way_of(w, task, way)->ns + longest_bring(w, &n) + fmax(n.arrival - n.over, 0);
        for (uint64_t rest = n.sources; rest != 0; rest &= rest - 1) {
            cost += n.fetch[__builtin_ctzll(rest)];
        }
        best = best == w->ways || cost < least ? way : best;
        least = fmin(cost, least);
    }
    return best;
}

static void forget(work *w) {
    const pel_schedule_request *r = w->request;
    for (uint32_t d = 0; d < r->device_count; d++) {
        w->lines[d].count = 0;
    }
    memset(w->copies, 0, (size_t)r->task_count * copies_of(w) * sizeof *w->copies);
    for (uint32_t t = 0; t < r->task_count && r->present; t++) {
        for (uint64_t rest = r->present[t]; rest != 0; rest &= rest - 1) {
            w->copies[(size_t)t * copies_of(w) + (uint32_t)__builtin_ctzll(rest)] = (copy){0, INFINITY};
        }
    }
}

/* Places all tasks; infinite: one cannot run on what is allowed. */
static double place_all(work *w, bool by_order, uint64_t allowed) {
    const pel_schedule_request *r = w->request;
    double makespan = 0;
    forget(w);
    for (uint32_t i = 0; i < r->task_count; i++) {
        const uint32_t task = by_order ? i : w->order[i], way = by_order ? in_order(w, task) : earliest(w, task, allowed);
        needs n;
        if (way == w->ways) {
            return INFINITY;
        }
        find_needs(w, task, way, &n);
        makespan = fmax(makespan, place_at(w, task, way, &n, true).end_ns);
    }
    for (uint32_t t = 0; t < r->task_count && r->home_bytes; t++) {
        if (r->home_bytes[t] > 0) {
            needs n = {.over = w->places[t].end_ns};
            n.arrival = n.over + need_home(w, t, r->home_bytes[t], &n);
            makespan = fmax(makespan, home_at(w, &n, true));
        }
    }
    return makespan;
}

/* ---- all together ---- */

static pel_status check(const pel_schedule_request *r) {
    if (r->task_count == 0 || r->device_count == 0 || r->device_count > PEL_SCHEDULE_DEVICES) {
        return PEL_INVALID_ARGUMENT;
    }
    for (uint32_t e = 0; e < r->edge_count; e++) {
        if (r->edges[e].from >= r->edges[e].to || r->edges[e].to >= r->task_count) {
            return PEL_INVALID_ARGUMENT;
        }
    }
    for (uint32_t t = 0; t < r->task_count; t++) {
        bool possible = false;
        for (uint32_t i = 0; i < pel_schedule_ways(r); i++) {
            const pel_schedule_way *way = &r->ways[(size_t)t * pel_schedule_ways(r) + i];
            possible = possible || way->possible;
            const bool over_nothing = i == pel_schedule_divided(r) && (!r->divided || r->divided[t] == 0);
            if (way->possible && (!(way->ns >= 0) || !isfinite(way->ns) || over_nothing)) {
                return PEL_INVALID_ARGUMENT;
            }
        }
        if (!possible) {
            return PEL_INVALID_ARGUMENT;
        }
    }
    return PEL_OK;
}

static pel_status prepare(work *w) {
    const pel_schedule_request *r = w->request;
    const pel_allocator *a = w->allocator;
    w->first = pel_alloc_zero(a, (size_t)r->task_count + 2, sizeof *w->first);
    w->into = pel_alloc_zero(a, (size_t)r->edge_count + 1, sizeof *w->into);
    w->rank = pel_alloc_zero(a, r->task_count, sizeof *w->rank);
    w->order = pel_alloc_zero(a, r->task_count, sizeof *w->order);
    w->busy = pel_alloc_zero(a, (size_t)r->device_count * r->task_count, INTERVALS * sizeof *w->busy);
    w->copies = pel_alloc_zero(a, (size_t)r->task_count * copies_of(w), sizeof *w->copies);
    w->places = pel_alloc_zero(a, r->task_count, sizeof *w->places);
    if (!w->first || !w->into || !w->rank || !w->order || !w->busy || !w->copies || !w->places) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t d = 0; d < r->device_count; d++) {
        w->lines[d].busy = &w->busy[(size_t)d * r->task_count * INTERVALS];
    }
    for (uint32_t e = 0; e < r->edge_count; e++) {
        w->first[r->edges[e].to + 2]++;
    }
    for (uint32_t t = 2; t < r->task_count + 2; t++) {
        w->first[t] += w->first[t - 1];
    }
    for (uint32_t e = 0; e < r->edge_count; e++) {
        w->into[w->first[r->edges[e].to + 1]++] = r->edges[e];
    }
    find_ranks(w);
    return find_order(w);
}

static void dismiss(work *w) {
    pel_free(w->allocator, w->first);
    pel_free(w->allocator, w->into);
    pel_free(w->allocator, w->rank);
    pel_free(w->allocator, w->order);
    pel_free(w->allocator, w->busy);
    pel_free(w->allocator, w->copies);
    pel_free(w->allocator, w->places);
}

/* Each is tried, the best one is made again: a copy of all places for each would cost more than that. */
static void choose(work *w, pel_schedule *schedule) {
    const uint32_t devices = w->request->device_count;
    const uint64_t all = (1ull << devices) - 1;
    uint64_t allowed = all;
    schedule->in_order_ns = place_all(w, true, all);
    schedule->earliest_ns = schedule->makespan_ns = place_all(w, false, all);
    schedule->kind = PEL_SCHEDULE_EARLIEST;
    for (uint32_t d = 0; d < devices && devices > 1; d++) {
        const double alone = place_all(w, false, 1ull << d);
        if (alone < schedule->makespan_ns) {
            schedule->makespan_ns = alone;
            schedule->kind = PEL_SCHEDULE_ALONE;
            allowed = 1ull << d;
        }
    }
    if (!(schedule->makespan_ns < worthwhile * schedule->in_order_ns)) {
        schedule->kind = PEL_SCHEDULE_IN_ORDER;
        schedule->makespan_ns = schedule->in_order_ns;
    }
    (void)place_all(w, schedule->kind == PEL_SCHEDULE_IN_ORDER, allowed);
}

pel_status pel_schedule_make(const pel_schedule_request *request, const pel_allocator *allocator, pel_schedule *schedule) {
    work w = {.request = request, .allocator = allocator, .ways = pel_schedule_ways(request)};
    *schedule = (pel_schedule){0};
    pel_status status = check(request);
    if (status != PEL_OK) {
        return status;
    }
    status = prepare(&w);
    if (status == PEL_OK) {
        choose(&w, schedule);
        schedule->places = w.places;
        w.places = NULL;
    }
    dismiss(&w);
    return status;
}

void pel_schedule_free(pel_schedule *schedule, const pel_allocator *allocator) {
    pel_free(allocator, schedule->places);
    *schedule = (pel_schedule){0};
}
