/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The train: launches that are on the in-order command queue together.
 *
 * The problem: to wait for each launch before the next one is enqueued costs a wake-up per launch, 50-70 us on PoCL where an
 * empty one takes 4. So launches that copy nothing get on while others run; they are looked at in order and reported in order,
 * each by its own events, so that a failure belongs to the launch that had it. The invariant: a work that is not a rider runs
 * alone, after the train; nobody gets on behind a failure before all that are on it are reported and the queue is replaced. The
 * number of riders is bounded, so that a producer cannot fill the driver.
 *
 * Times: whoever is seen to have ended alone ran from the end of the one before (or its own enqueuing) to now. Those that are
 * found ended in one look share the time since then, and say so (pooled). Rejected: the queue's profiling, whose times lack what
 * a launch costs besides its kernel, and which the models would have to tell from the others.
 */
#include "backend/opencl/flight.h"

enum { TOGETHER = 64, GROUP = 16, LARGE_GROUP = 64, SHORT_NS = 200000, ALONE = 16 };
/* LATELY_NS: a launch that came so long ago has others behind it; what PoCL's thread takes to wake up. */
enum { HELD_FROM = 32, HELD_MOST = 1024, HELD_NS = 4000, LATELY_NS = 100000 };

static pel_cl_rider *rider_at(pel_cl_device *device, uint32_t index) {
    return &device->riders[(device->first_rider + index) % PEL_CL_TRAIN];
}

static uint32_t count_of(const pel_cl_device *device) { return atomic_load_explicit(&device->rider_count, memory_order_relaxed); }

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* For the driver thread, which looks in between (device.c). An end that is seen a twentieth late costs little. */
static void tell_due(pel_cl_device *device) {
    const pel_work *oldest = count_of(device) > 0 ? rider_at(device, 0)->work : NULL;
    const double expected = oldest && !oldest->gate ? pel_cl_expected_ns(device, oldest) : 0;
    const int64_t due = expected > 0 ? later(oldest->began, device->last_report) + (int64_t)(expected + expected / 20) : 0;
    atomic_store_explicit(&device->due, due, memory_order_relaxed); /* by itself: it says only how long to sleep */
}

/* How many of the oldest have ended. */
static uint32_t look(pel_cl_device *device) {
    uint32_t ended = 0;
    while (ended < count_of(device) && pel_cl_look(device, rider_at(device, ended)) == 0) {
        ended++;
    }
    return ended;
}

/* What any launches take of late that follow each other. */
static void learn_usual(pel_cl_device *device, uint32_t ended, int64_t took) {
    uint32_t launches = 0;
    for (uint32_t i = 0; i < ended; i++) {
        launches += pel_cl_times(rider_at(device, i)->work);
    }
    if (launches >= HELD_FROM) {
        const double each = (double)took / launches;
        device->usual_ns = device->usual_ns > 0 ? device->usual_ns + (each - device->usual_ns) / 4 : each;
    }
}

/* What launches take that follow each other: much less than one that is waited for, which predictions are made of. */
static void learn_pace(pel_cl_device *device, uint32_t ended, int64_t took) {
    const pel_work *first = rider_at(device, 0)->work;
    uint32_t launches = 0, enqueued = 0;
    for (uint32_t i = 0; i < ended; i++) {
        const pel_work *work = rider_at(device, i)->work;
        enqueued += rider_at(device, i)->count;
        if (work->kernel->id != first->kernel->id || work->row) {
            return;
        }
        launches += pel_cl_times(work);
    }
    if (launches < 2) {
        return;
    }
    const double each = (double)took / launches;
    const bool known = device->pace_of == first->kernel->id;
    pthread_mutex_lock(&device->lock); /* who submits asks for it, too */
    device->pace_ns = known ? device->pace_ns + (each - device->pace_ns) / 4 : each;
    device->pace_of = first->kernel->id;
    device->pace_pieces = (enqueued + launches - 1) / launches;
    pthread_mutex_unlock(&device->lock);
}

/* ALONE: so many times the pace is what one may take by itself; a prediction beyond that was made of a launch that was robbed. */
double pel_cl_expected_ns(const pel_cl_device *device, const pel_work *work) {
    const double times = work->times > 1 ? work->times : ALONE,
                 paced = device->pace_of == work->kernel->id && !work->row ? device->pace_ns * times : 0;
    return paced > 0 && paced < work->predicted_ns ? paced : work->predicted_ns;
}

/*
 * Very short launches take turns with whoever enqueues them: PoCL's threads and the enqueuer take the same locks, and all sleep
 * and wake a hundred times for 1,000 empty launches. They take 2.2 to 2.9 us each so, and 1.4 to 2 where all of them are
 * enqueued before the first begins (2 vCPUs, 2026-11). So nothing is enqueued while such launches run, and what has come
 * meanwhile goes together, held until all of it is enqueued. The first one begins at once; the groups grow by themselves.
 */
static bool is_tiny(const pel_cl_device *device, const pel_work *work) {
    if (work->kind != PEL_WORK_LAUNCH) { /* a transfer has no kernel */
        return false;
    }
    const double each = pel_cl_expected_ns(device, work) / pel_cl_times(work);
    return device->is_pocl && device->may_begin && device->usual_ns > 0 && device->usual_ns < HELD_NS && each > 0 &&
           each < PEL_CL_TINY_NS;
}

static bool is_short(const pel_cl_device *device, const pel_work *work) {
    const double expected = pel_cl_expected_ns(device, work);
    return expected > 0 && expected / pel_cl_times(work) < SHORT_NS;
}

/* `first` is not queued any more: nothing joins it. */
static struct pel_cl_opening *hold(const pel_cl_device *device, const pel_work *first) {
    const bool many = atomic_load_explicit(&device->queued, memory_order_relaxed) + pel_cl_times(first) >= HELD_FROM;
    return many && is_tiny(device, first) ? pel_cl_hold(device) : NULL;
}

static bool last_runs(pel_cl_device *device) {
    const uint32_t count = count_of(device);
    return count > 0 && pel_cl_look(device, rider_at(device, count - 1)) != 0;
}

/* Behind a long one there is time enough to enqueue. */
static bool takes_turns(pel_cl_device *device, const pel_work *next) {
    pthread_mutex_lock(&device->lock); /* others may join it */
    const bool tiny = device->long_riders == 0 && is_tiny(device, next);
    pthread_mutex_unlock(&device->lock);
    return tiny && last_runs(device);
}

/* Nobody gets on behind one that could not: who must not run then hears of it first. */
static bool has_room(pel_cl_device *device) {
    const uint32_t count = count_of(device);
    return count < PEL_CL_TRAIN && device->broken_at == 0 && (count == 0 || rider_at(device, count - 1)->work->status == PEL_OK);
}

/* `first`: the oldest that is queued, if that is known. */
static void board(pel_cl_device *device, pel_work *first, bool only_usual) {
    struct pel_cl_opening *held = NULL;
    uint32_t boarded = 0; /* launches */
    for (pel_work *work = first; has_room(device) && (!held || boarded < HELD_MOST); work = NULL) {
        work = work ? work : pel_cl_first_work(device);
        if (!work || !pel_cl_rides(device, work) || (only_usual && !pel_cl_is_usual(device, work)) ||
            (boarded == 0 && takes_turns(device, work))) {
            break;
        }
        const bool begins = count_of(device) == 0;
        pel_cl_rider *rider = rider_at(device, count_of(device));
        pel_cl_take_work(device);
        held = boarded == 0 ? hold(device, work) : held;
        rider->is_long = !is_short(device, work);
        pel_cl_board(device, work, rider, held, boarded == 0);
        boarded += pel_cl_times(work);
        device->riding += pel_cl_times(work);
        device->long_riders += rider->is_long ? 1u : 0u;
        atomic_store_explicit(&device->rider_count, count_of(device) + 1, memory_order_relaxed);
        if (begins) {
            tell_due(device);
        }
    }
    if (held) {
        if (pel_cl_opening_state(held) == 0) {
            pel_cl_opening_open(held);
        }
        pel_cl_opening_release(held);
    }
}

/* Shares the time until `now` among those that were seen to have ended. */
static void enter_times(pel_cl_device *device, uint32_t ended, int64_t now) {
    const pel_work *first = rider_at(device, 0)->work;
    const int64_t from = pel_cl_begin_of(device, first);
    learn_usual(device, ended, now - from);
    learn_pace(device, ended, now - from);
    for (uint32_t i = 0; i < ended; i++) {
        pel_work *work = rider_at(device, i)->work;
        work->began = work->launch_began = later(from + (now - from) / ended * i, work->began);
        work->launch_ended = work->ended =
            i + 1 == ended ? later(now, work->began) : later(from + (now - from) / ended * (i + 1), work->began);
        work->pooled = ended > 1 || work->times > 1;
    }
    device->last_report = now;
}

/* Each telling takes the owner's lock, which a submitter takes as often. */
static void tell(pel_work **works, uint32_t count) {
    if (count > 1 && works[0]->complete_all) {
        works[0]->complete_all(works, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        works[i]->complete(works[i]);
    }
}

/*
 * How many of the oldest are told of together: a failed one by itself. What awaits its gate before it alights may wait for others
 * to hear of an earlier failure (gate.c).
 */
static uint32_t batch_of(pel_cl_device *device, uint32_t ended) {
    uint32_t count = 1;
    bool fine = rider_at(device, 0)->work->status == PEL_OK;
    while (fine && count < ended && count < TOGETHER) {
        fine = rider_at(device, count)->work->status == PEL_OK;
        count += fine ? 1u : 0u;
    }
    return count;
}

static void report(pel_cl_device *device, uint32_t ended) {
    enter_times(device, ended, pel_clock_now(device->env->clock));
    while (ended > 0) {
        pel_work *works[TOGETHER] = {NULL};
        const uint32_t count = batch_of(device, ended);
        for (uint32_t i = 0; i < count; i++) {
            pel_cl_rider *rider = rider_at(device, i);
            works[i] = rider->work;
            device->riding -= pel_cl_times(rider->work);
            device->long_riders -= rider->is_long ? 1u : 0u;
            pel_cl_alight(device, rider);
        }
        device->first_rider = (device->first_rider + count) % PEL_CL_TRAIN;
        atomic_store_explicit(&device->rider_count, count_of(device) - count, memory_order_relaxed);
        tell(works, count);
        ended -= count;
    }
    tell_due(device);
    if (device->broken_at != 0 && count_of(device) == 0) {
        (void)pel_cl_renew_queue(device, NULL); /* without one, the next work finds none and says so */
        device->broken_at = 0;
    }
    device->last_ended = pel_clock_now(&pel_clock_monotonic);
}

bool pel_cl_train_step(pel_cl_device *device, bool waits) {
    board(device, NULL, false);
    if (count_of(device) == 0) {
        pel_work *work = pel_cl_first_work(device);
        if (work) {
            pel_cl_take_work(device);
            pel_cl_run(device, work);
            work->complete(work);
        }
        return work != NULL;
    }
    uint32_t ended = look(device);
    if (ended == 0 && waits) {
        pel_cl_await(device);
        ended = look(device);
    }
    if (ended > 0) {
        report(device, ended);
    }
    return true;
}

/*
 * Short launches behind others get on in groups: a thread of PoCL's that has nothing left sleeps, and each launch that comes
 * alone pays for waking it, several times what it costs by itself. (1,000 empty launches: 9-16 us each; in groups 5-6; 2 cores,
 * 2026-11.) Whoever waits, or the next tick, lets the rest of a group get on. Behind many that have not ended groups are
 * large: they become few works, and each work costs what 20 launches do that join one.
 */
static bool can_wait(pel_cl_device *device) {
    const uint32_t count = count_of(device);
    if (count == 0 || device->broken_at != 0) {
        return false;
    }
    pthread_mutex_lock(&device->lock);
    const pel_work *next = device->head;
    const uint32_t queued = atomic_load_explicit(&device->queued, memory_order_relaxed),
                   group = device->riding < LARGE_GROUP ? GROUP : LARGE_GROUP;
    const bool is_few = next && queued < group && next->predicted_ns > 0 && next->predicted_ns / pel_cl_times(next) < SHORT_NS,
               tiny = next && device->long_riders == 0 && is_tiny(device, next);
    pthread_mutex_unlock(&device->lock);
    /* one by one each would find the device idle, and wake it */
    const bool more = tiny && queued < GROUP && pel_cl_now(device) - rider_at(device, count - 1)->work->launch_began < LATELY_NS;
    return more || ((is_few || tiny) && last_runs(device));
}

/* Reports are made when there are many: each is a lock taken, and a look at an event that the driver is writing to. */
bool pel_cl_train_begin(pel_cl_device *device, pel_work *first) {
    if (can_wait(device)) {
        return true;
    }
    board(device, first, true);
    if (count_of(device) >= PEL_CL_TRAIN / 4 && device->broken_at == 0) {
        const uint32_t ended = look(device);
        if (ended > 0) {
            report(device, ended);
        }
    }
    return false;
}
