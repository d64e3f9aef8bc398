/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parallel loops over the host's teams (backend/host/team.h).
 *
 * A range is cut along its highest dimension that is longer than 1 (rows), and, where these are too few, along the next one
 * (columns); a part is a run of cells, made into at most three boxes. Members of a team have ranges of cells of their own, two
 * 32-bit numbers in one word as in job.c, from whose front they take and from whose back others steal. Static parts are not
 * stolen but wait for their member as long as one is likely to come. Sleeping workers cost 10 to 19 us to wake: only for static
 * parts, or once the caller has worked as long and something is left.
 *
 * Rejected: to build this on pel_loop (a command, a job, the device's lock: 4 to 10 us for an empty loop of two parts; 2 cores,
 * 2026-11).
 */
#include "backend/host/host.h"
#include "base/checked.h"
#include "queue/command.h"
#include <pel/parallel.h>
#include <string.h>

enum { MEMBERS = 64, CELLS_PER_MEMBER = 32, MOST_ROWS = 1 << 24, BLOCKS = 256, ARRIVAL_LOOKS = 100, LAST_LOOKS = 3 };
static const int64_t worth_waking_ns = 20000, patience_ns = 20000;

typedef struct cells { /* of a grid of rows and columns */
    pel_range range;
    uint32_t row_dim, column_dim, rows, columns;
    uint64_t row_step, column_step;
} cells;

typedef struct member_range {
    _Alignas(64) _Atomic uint64_t left; /* first cell in the low half, end in the high one */
} member_range;

typedef struct region {
    pel_parallel_fn body;
    pel_parallel_reduce_fn reduce; /* then each cell has a partial of its own */
    void *context;
    char *partials;
    size_t bytes;
    cells grid;
    pel_partition partition;
    uint32_t members, count;       /* threads at most; cells */
    pel_host_device *device;       /* NULL: a simulation */
    const pel_backend_device *driver; /* the same, or the simulation's */
    int64_t wake_at;               /* 0: sleepers are not wanted any more */
    _Alignas(64) atomic_uint next; /* dynamic: the next cell */
    atomic_int failed;             /* pel_status */
    member_range ranges[MEMBERS];  /* auto */
} region;

/* What a worker is sent that is called to a static loop: its part of a loop over one dimension, else its number. */
typedef struct part_letter {
    pel_parallel_fn body;
    void *context;
    uint64_t lo, hi;
} part_letter;
typedef struct member_letter {
    region *of;
    uint32_t member;
} member_letter;
_Static_assert(sizeof(part_letter) <= PEL_HOST_LETTER, "fits");

/* ---- ranges ---- */

static uint64_t extent(const pel_range *range, uint32_t d) { return range->hi[d] - range->lo[d]; }

static uint64_t divide_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/* Cuts the range into about `wanted` cells of at least `grain` points. */
static uint32_t make_grid(cells *g, const pel_range *range, uint64_t points, uint64_t wanted, uint64_t grain) {
    *g = (cells){.range = *range, .rows = 1, .columns = 1};
    uint32_t d = range->dims - 1;
    while (d > 0 && extent(range, d) == 1) {
        d--;
    }
    g->row_dim = d;
    g->column_dim = d;
    const uint64_t length = extent(range, d), per_row = points / length;
    wanted = points / grain < wanted ? points / grain : wanted; /* grain <= points */
    g->row_step = length <= wanted ? 1 : divide_up(length, wanted);
    g->rows = (uint32_t)divide_up(length, g->row_step);
    while (d > 0 && g->column_dim == g->row_dim && g->row_step == 1) {
        d--;
        if (extent(range, d) > 1 && wanted / g->rows > 1) {
            g->column_dim = d;
            uint64_t columns = wanted / g->rows, most = per_row / grain;
            columns = columns < extent(range, d) ? columns : extent(range, d);
            columns = most < 1 ? 1 : columns < most ? columns : most;
            g->column_step = divide_up(extent(range, d), columns);
            g->columns = (uint32_t)divide_up(extent(range, d), g->column_step);
        }
    }
    return g->rows * g->columns;
}

static void cut(pel_range *part, uint32_t d, uint64_t step, uint32_t from, uint32_t to) {
    const uint64_t lo = part->lo[d], length = part->hi[d] - lo;
    part->lo[d] = lo + from * step;
    part->hi[d] = length - from * step <= (to - from) * step ? lo + length : lo + to * step;
}

static pel_status call_box(const region *r, uint32_t row, uint32_t row_end, uint32_t column, uint32_t column_end) {
    const cells *g = &r->grid;
    pel_range part = g->range;
    cut(&part, g->row_dim, g->row_step, row, row_end);
    if (g->columns > 1) {
        cut(&part, g->column_dim, g->column_step, column, column_end);
    }
    return r->reduce ? r->reduce(&part, r->partials + (size_t)(row * g->columns + column) * r->bytes, r->context)
                     : r->body(&part, r->context);
}

/* The rest of a row, whole rows, the start of a row. */
static pel_status call_run(const region *r, uint32_t lo, uint32_t hi) {
    const uint32_t columns = r->grid.columns, row = lo / columns, row_end = hi / columns, head = lo % columns,
                   tail = hi % columns;
    if (row == row_end) {
        return call_box(r, row, row + 1, head, tail);
    }
    pel_status status = head > 0 ? call_box(r, row, row + 1, head, columns) : PEL_OK;
    const uint32_t whole = row + (head > 0);
    if (status == PEL_OK && whole < row_end) {
        status = call_box(r, whole, row_end, 0, columns);
    }
    return status == PEL_OK && tail > 0 ? call_box(r, row_end, row_end + 1, 0, tail) : status;
}

static void note_status(region *r, pel_status status) {
    int none = PEL_OK;
    if (status != PEL_OK) {
        atomic_compare_exchange_strong(&r->failed, &none, (int)status);
    }
}

static bool call_cells(region *r, uint32_t lo, uint32_t hi) {
    pel_status status = PEL_OK;
    for (uint32_t cell = lo; r->reduce && cell < hi && status == PEL_OK; cell++) {
        status = call_run(r, cell, cell + 1);
    }
    if (!r->reduce && lo < hi) {
        status = call_run(r, lo, hi);
    }
    note_status(r, status);
    return status == PEL_OK;
}

/* ---- members ---- */

static uint64_t pack(uint32_t lo, uint32_t hi) { return (uint64_t)hi << 32 | lo; }

static uint32_t left_in(uint64_t word) {
    return (uint32_t)(word >> 32) > (uint32_t)word ? (uint32_t)(word >> 32) - (uint32_t)word : 0;
}

static uint32_t first_of(const region *r, uint32_t member) { return (uint32_t)((uint64_t)r->count * member / r->members); }

/* An eighth of what is left, so that the last pieces are short. */
static bool claim(region *r, uint32_t member, uint32_t *lo, uint32_t *hi) {
    _Atomic uint64_t *mine = &r->ranges[member].left;
    uint64_t word = atomic_load_explicit(mine, memory_order_relaxed);
    while (left_in(word) > 0) {
        const uint32_t piece = (left_in(word) + 7) / 8;
        *lo = (uint32_t)word;
        *hi = *lo + piece;
        if (atomic_compare_exchange_weak_explicit(mine, &word, pack(*hi, (uint32_t)(word >> 32)), memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

static bool steal(region *r, uint32_t member) {
    for (uint32_t i = 1; i < r->members; i++) {
        _Atomic uint64_t *theirs = &r->ranges[(member + i) % r->members].left;
        uint64_t word = atomic_load_explicit(theirs, memory_order_relaxed);
        while (left_in(word) > 0) {
            const uint32_t lo = (uint32_t)word, hi = (uint32_t)(word >> 32), middle = lo + left_in(word) / 2;
            if (atomic_compare_exchange_weak_explicit(theirs, &word, pack(lo, middle), memory_order_acq_rel,
                                                      memory_order_relaxed)) {
                atomic_store_explicit(&r->ranges[member].left, pack(middle, hi), memory_order_release);
                return true;
            }
        }
    }
    return false;
}

/* The caller, after a while: something is left, so others are worth being woken. */
static void consider_waking(region *r, uint32_t member) {
    if (member == 0 && r->wake_at != 0 && pel_clock_now(&pel_clock_monotonic) > r->wake_at) {
        r->wake_at = 0;
        pel_host_fork_wake(r->device, r->members - 1);
    }
}

static void run_auto(region *r, uint32_t member) {
    uint32_t lo, hi;
    for (int empty = 0; empty < LAST_LOOKS && atomic_load_explicit(&r->failed, memory_order_relaxed) == PEL_OK;) {
        if (!claim(r, member, &lo, &hi)) {
            empty = steal(r, member) ? 0 : empty + 1;
        } else if (call_cells(r, lo, hi)) {
            consider_waking(r, member);
        }
    }
}

static void run_dynamic(region *r, uint32_t member) {
    while (atomic_load_explicit(&r->failed, memory_order_relaxed) == PEL_OK) {
        const uint32_t cell = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
        if (cell >= r->count || !call_cells(r, cell, cell + 1)) {
            return;
        }
        consider_waking(r, member);
    }
}

static void run_static(region *r, uint32_t member) {
    if (atomic_load_explicit(&r->failed, memory_order_relaxed) == PEL_OK) {
        (void)call_cells(r, first_of(r, member), first_of(r, member + 1));
    }
}

static pel_status run_part_letter(const void *letter) {
    const part_letter *l = letter;
    const pel_range part = {.lo = {l->lo}, .hi = {l->hi}, .dims = 1};
    return l->body(&part, l->context);
}

static pel_status run_member_letter(const void *letter) {
    const member_letter *l = letter;
    run_static(l->of, l->member);
    return PEL_OK;
}

static void run_member(void *region_of, uint32_t member) {
    region *r = region_of;
    if (r->partition == PEL_PARTITION_STATIC) {
        run_static(r, member);
    } else if (r->partition == PEL_PARTITION_DYNAMIC) {
        run_dynamic(r, member);
    } else {
        run_auto(r, member);
    }
}

/* ---- the caller ---- */

static uint32_t members_of(const pel_host_device *device, const pel_parallel_desc *desc) {
    const uint32_t active = atomic_load_explicit(&((pel_host_device *)(uintptr_t)device)->active, memory_order_relaxed);
    const uint32_t most = active < MEMBERS ? active : MEMBERS;
    return desc && desc->threads > 0 && desc->threads < most ? desc->threads : most;
}

/* A worker that is awake comes within a moment; what is short has ended then, too. */
static void await_others(const pel_host_team *team, const region *r) {
    for (int look = 0; look < ARRIVAL_LOOKS && pel_host_team_gone(team) < team->wanted && pel_host_is_attended(r->device);
         look++) {
        pel_pause();
    }
}

/* Opens it to others; NULL: there is nobody. */
static pel_host_team *announce(region *r, bool outside) {
    return r->members > 1 ? pel_host_fork(r->device, r->members - 1, outside, run_member, r) : NULL;
}

static pel_status first(pel_status a, pel_status b) { return a != PEL_OK ? a : b; }

/*
 * The letters are posted, the caller's own part has ended with `status`. Looks for as long as waking somebody takes whether those
 * come who seem to be awake, and does what they have not begun.
 */
static pel_status settle_letters(pel_host_mailbox **boxes, uint32_t others, int64_t spin_ns, pel_status status) {
    bool patient = status == PEL_OK;
    int64_t until = 0;
    for (uint32_t i = 0; i < others; i++) {
        for (int look = 1; patient && !pel_host_mailbox_is_over(boxes[i]); look++) {
            pel_pause();
            if (look % ARRIVAL_LOOKS == 0) {
                const int64_t now = pel_clock_now(&pel_clock_monotonic);
                until = until == 0 ? now + patience_ns : until;
                patient = now < until;
            }
        }
    }
    for (uint32_t i = 0; i < others; i++) {
        if (pel_host_mailbox_take_back(boxes[i])) {
            status = status == PEL_OK ? boxes[i]->run(boxes[i]->letter) : status;
            pel_host_mailbox_give(boxes[i]);
            boxes[i] = NULL;
        }
    }
    for (uint32_t i = 0; i < others; i++) {
        if (boxes[i]) {
            status = first(status, pel_host_mailbox_await(boxes[i], spin_ns));
            pel_host_mailbox_give(boxes[i]);
        }
    }
    return status;
}

/* Static parts for workers that spin. False: there are not enough of them. */
static bool call_by_letter(region *r, bool outside) {
    pel_host_mailbox *boxes[MEMBERS];
    if (r->members < 2 || !pel_host_take_mailboxes(r->device, r->members - 1, outside, boxes)) {
        return false;
    }
    for (uint32_t i = 0; i + 1 < r->members; i++) {
        const member_letter letter = {r, i + 1};
        pel_host_mailbox_post(boxes[i], run_member_letter, &letter, sizeof letter);
    }
    pel_host_letters_posted(r->device, r->members - 1, boxes);
    run_static(r, 0);
    (void)settle_letters(boxes, r->members - 1, r->device->env->spin_ns,
                         (pel_status)atomic_load_explicit(&r->failed, memory_order_relaxed));
    return true;
}

/*
 * A static loop over one dimension for workers that spin: the parts travel in the letters, and there is nothing else that both
 * sides touch. False: there are not enough workers, or more than one part for each.
 */
static bool run_line(pel_runtime *runtime, const pel_range *range, pel_parallel_fn body, void *context,
                     const pel_parallel_desc *desc, pel_status *status) {
    pel_host_device *device = (pel_host_device *)runtime->task_device->driver;
    pel_host_mailbox *boxes[MEMBERS];
    uint32_t members = members_of(device, desc);
    const uint64_t lo = range->lo[0], hi = range->hi[0], most = desc->grain > 1 ? (hi - lo) / desc->grain : hi - lo;
    members = most < members ? (uint32_t)most : members;
    const uint64_t step = members > 1 ? divide_up(hi - lo, members) : 0;
    members = members > 1 ? (uint32_t)divide_up(hi - lo, step) : 1;
    if (members < 2 || !pel_host_take_mailboxes(device, members - 1, !pel_host_is_worker(&device->base), boxes)) {
        return false;
    }
    pel_host_piece piece;
    pel_host_piece_enter(&piece, &device->base);
    for (uint32_t i = 1; i < members; i++) {
        const uint64_t at = lo + i * step;
        const part_letter letter = {body, context, at, hi - at < step ? hi : at + step};
        pel_host_mailbox_post(boxes[i - 1], run_part_letter, &letter, sizeof letter);
    }
    pel_host_letters_posted(device, members - 1, boxes);
    const part_letter own = {body, context, lo, lo + step};
    *status = settle_letters(boxes, members - 1, device->env->spin_ns, run_part_letter(&own));
    pel_host_piece_leave(&piece);
    return true;
}

static void run_region(region *r, bool outside) {
    pel_host_piece piece;
    pel_host_piece_enter(&piece, r->driver);
    if (r->partition == PEL_PARTITION_STATIC && call_by_letter(r, outside)) {
        pel_host_piece_leave(&piece);
        return;
    }
    pel_host_team *team = announce(r, outside);
    const bool is_static = r->partition == PEL_PARTITION_STATIC;
    uint32_t came = 0;
    if (team && is_static && !pel_host_is_attended(r->device)) {
        pel_host_fork_wake(r->device, r->members - 1);
    }
    run_member(r, 0);
    if (team) {
        if (is_static && atomic_load_explicit(&r->failed, memory_order_relaxed) == PEL_OK) { /* else they had better not come */
            await_others(team, r);
        }
        came = pel_host_team_shut(team);
    }
    for (uint32_t member = came + 1; is_static && member < r->members; member++) {
        run_static(r, member);
    }
    if (team) {
        pel_host_team_join(team, r->device->env->spin_ns);
    }
    pel_host_piece_leave(&piece);
}

static pel_status check(const pel_runtime *runtime, const pel_range *range, const pel_parallel_desc *desc, uint64_t *points) {
    if (!runtime || !range || range->dims < 1 || range->dims > 3 || range->reserved != 0 ||
        (desc && ((desc->size != 0 && desc->size != sizeof *desc) || (uint32_t)desc->partition > PEL_PARTITION_DYNAMIC))) {
        return PEL_INVALID_ARGUMENT;
    }
    *points = 1;
    bool fits = true, empty = false;
    for (uint32_t d = 0; d < range->dims; d++) {
        if (range->hi[d] < range->lo[d]) {
            return PEL_INVALID_ARGUMENT;
        }
        empty = empty || extent(range, d) == 0;
        fits = fits && pel_mul_u64(*points, extent(range, d), points);
    }
    *points = empty ? 0 : *points;
    return empty || fits ? pel_runtime_check(runtime, NULL) : PEL_TOO_LARGE;
}

/* Everything but what is called and how many cells there are. */
static bool begin(region *r, pel_runtime *runtime, const pel_parallel_desc *desc) {
    pel_host_tasks *tasks = runtime->machine ? NULL : pel_host_tasks_of(runtime->task_device->driver);
    r->driver = runtime->task_device->driver;
    r->device = tasks ? (pel_host_device *)runtime->task_device->driver : NULL;
    r->members = tasks ? members_of(r->device, desc) : 1;
    r->partition = desc ? desc->partition : PEL_PARTITION_AUTO;
    atomic_init(&r->next, 0);
    atomic_init(&r->failed, PEL_OK);
    return tasks && !pel_host_is_worker(&r->device->base);
}

static pel_status run(region *r, bool outside) {
    r->members = r->members < r->count ? r->members : r->count;
    r->wake_at = r->members > 1 && r->partition != PEL_PARTITION_STATIC && !pel_host_is_attended(r->device)
                     ? pel_clock_now(&pel_clock_monotonic) + worth_waking_ns
                     : 0;
    for (uint32_t i = 0; i < r->members && r->partition == PEL_PARTITION_AUTO; i++) {
        atomic_init(&r->ranges[i].left, pack(first_of(r, i), first_of(r, i + 1)));
    }
    run_region(r, outside);
    return (pel_status)atomic_load_explicit(&r->failed, memory_order_relaxed);
}

pel_status pel_parallel_for(pel_runtime *runtime, const pel_range *range, pel_parallel_fn body, void *context,
                            const pel_parallel_desc *desc) {
    uint64_t points, grain = desc && desc->grain > 0 ? desc->grain : 1;
    pel_status status = body ? check(runtime, range, desc, &points) : PEL_INVALID_ARGUMENT;
    if (status != PEL_OK || points == 0) {
        return status;
    }
    if (desc && desc->partition == PEL_PARTITION_STATIC && range->dims == 1 && !runtime->machine &&
        run_line(runtime, range, body, context, desc, &status)) {
        return status;
    }
    region r;
    const bool outside = begin(&r, runtime, desc);
    r.body = body;
    r.reduce = NULL;
    r.context = context;
    const bool is_dynamic = r.partition == PEL_PARTITION_DYNAMIC;
    uint64_t wanted = r.partition == PEL_PARTITION_STATIC ? r.members : (uint64_t)r.members * CELLS_PER_MEMBER;
    wanted = is_dynamic && desc->grain > 0 ? divide_up(points, grain) : wanted;
    wanted = wanted < MOST_ROWS ? wanted : MOST_ROWS;
    r.count = make_grid(&r.grid, range, points, wanted, grain < points ? grain : points);
    return run(&r, outside);
}

pel_status pel_parallel_reduce(pel_runtime *runtime, const pel_range *range, pel_parallel_reduce_fn body, pel_merge_fn merge,
                               size_t bytes, const void *identity, void *result, void *context, const pel_parallel_desc *desc) {
    uint64_t points, grain = desc && desc->grain > 0 ? desc->grain : 1;
    pel_status status =
        body && merge && bytes > 0 && identity && result ? check(runtime, range, desc, &points) : PEL_INVALID_ARGUMENT;
    if (status != PEL_OK) {
        return status;
    }
    if (points == 0) {
        memmove(result, identity, bytes);
        return PEL_OK;
    }
    region r;
    const bool outside = begin(&r, runtime, desc);
    r.reduce = body;
    r.body = NULL;
    r.context = context;
    r.bytes = bytes;
    r.count = make_grid(&r.grid, range, points, BLOCKS, grain < points ? grain : points);
    r.partials = bytes <= SIZE_MAX / BLOCKS ? pel_alloc(&runtime->allocator, r.count * bytes) : NULL;
    if (!r.partials) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < r.count; i++) {
        memcpy(r.partials + i * bytes, identity, bytes);
    }
    status = run(&r, outside);
    for (uint32_t step = 1; step < r.count && status == PEL_OK; step *= 2) {
        for (uint32_t i = 0; i + step < r.count; i += 2 * step) {
            merge(r.partials + i * bytes, r.partials + (i + step) * bytes, context);
        }
    }
    if (status == PEL_OK) {
        memcpy(result, r.partials, bytes);
    }
    pel_free(&runtime->allocator, r.partials);
    return status;
}

pel_status pel_runtime_set_workers(pel_runtime *runtime, uint32_t count) {
    pel_status status = runtime ? pel_runtime_check(runtime, NULL) : PEL_INVALID_ARGUMENT;
    if (status != PEL_OK || runtime->machine) {
        return status != PEL_OK ? status : PEL_UNSUPPORTED;
    }
    pel_host_device *device = (pel_host_device *)runtime->task_device->driver;
    if (count == 0 || count > device->worker_count) {
        return PEL_INVALID_ARGUMENT;
    }
    return pel_host_set_active(device, count);
}

uint32_t pel_runtime_get_workers(const pel_runtime *runtime) {
    return runtime && !runtime->machine ? ((pel_host_device *)runtime->task_device->driver)->active : 0;
}
