/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random launches, copies and tasks on parts of buffers, in two queues, on simulated machines two of whose three devices fail,
 * for a while or for good, or are lost, with or without memory of their own; some are cancelled, some ask for no protection or
 * for more (recall.c). Against sequential execution, item by item:
 *
 *   - what ended well and its bytes are right; and nothing ends well that reads what was lost;
 *   - nothing is lost that only writes its result, while it asked for protection (a device is always left); nor is a task; of
 *     what computes in place only what was on a device that failed;
 *   - what depends on what was lost says so, what was cancelled ends as CANCELLED, and nothing else does;
 *   - a queue's status tells whether one of its commands failed.
 *
 * Where a device with memory of its own was lost, bytes may be lost that it alone had: then anything may fail, but as above. The
 * same while one request for memory in four is refused, and then nothing may leak.
 *
 *     PEL_STORM_GRAPHS=100000     so many graphs of each test
 *     PEL_STORM_FIRST=7000        the first seed
 *     PEL_STORM_SEED=7012         this graph only
 *     PEL_STORM_STEPS=12          no more than so many steps of each graph: to find the shortest one that fails
 *     PEL_STORM_ONLY=test_lean    one of the tests
 */
#include "machines.h"
#include "support/counted.h"
#include "support/random.h"
#include "support/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 64, BUFFERS = 4, QUEUES = 2, STEPS = 50, DEVICES = 3, USUAL = PEL_TEST_SLOW ? 200 : 4000 };

enum kind { PUT, ADD, COPY, TASK };

static const char *const kind_names[] = {"put", "add", "copy", "task"};

typedef struct step {
    enum kind kind;
    uint32_t from, to, begin, end, queue; /* buffers, and which items of them */
    uint32_t constant;
    pel_protection protection;
    bool cancelled;
    uint32_t *data; /* of a task: the buffer's memory */
    pel_event *event;
} step;

/* What a graph has at all. */
typedef struct habits {
    bool copies, tasks, in_place, cancels, parts;
    uint32_t protection; /* 0: the default one; 1: some ask for retry; 2: some ask for none */
    bool forgets;        /* a device that is lost has memory of its own */
} habits;

typedef struct world {
    uint64_t seed;
    habits habits;
    pel_runtime *runtime;
    pel_queue *queues[QUEUES];
    pel_kernel *put, *add;
    pel_buffer *buffers[BUFFERS];
    uint32_t values[BUFFERS][ITEMS];
    bool defined[BUFFERS][ITEMS]; /* no command failed to write it */
    bool failed[QUEUES];
    uint32_t count, lost;
    step steps[STEPS];
} world;

/* ---- commands ---- */

static pel_status turn(void *context) {
    const step *s = context;
    for (uint32_t i = s->begin; i < s->end; i++) {
        s->data[i] = 7 * s->data[i] + s->constant;
    }
    return PEL_OK;
}

/* The same, as it should be. */
static uint32_t value_after(const step *s, uint32_t in, uint32_t out) {
    switch (s->kind) {
    case PUT: return 3 * in + s->constant;
    case ADD: return 5 * out + in + s->constant;
    case COPY: return in;
    case TASK: return 7 * out + s->constant;
    }
    return 0;
}

/* ---- memory: one request in four is refused while `lean` ---- */

static counted memory;
static atomic_bool lean;
static atomic_ullong asked;

static void *reallocate(void *user, void *block, size_t bytes) {
    if (bytes > 0 && atomic_load(&lean) && test_mix(atomic_fetch_add(&asked, 1)) % 4 == 0) {
        return NULL;
    }
    return counted_reallocate(user, block, bytes);
}

/* ---- one world ---- */

static uint32_t below(uint32_t n) { return (uint32_t)(machine_random() % n); }

static void wrong(const world *w, const char *what) {
    const habits *h = &w->habits;
    fail_msg("PEL_STORM_SEED=%llu: %s (copies %d, tasks %d, in place %d, cancels %d, parts %d, protection %u, forgets %d)",
             (unsigned long long)w->seed, what, h->copies, h->tasks, h->in_place, h->cancels, h->parts, h->protection,
             h->forgets);
}

static void wrong_step(const world *w, const step *s, const char *what) {
    const pel_error *const error = pel_event_error(s->event);
    char text[1024];
    snprintf(text, sizeof text, "step %u, a %s from %u to %u of items %u to %u, protection %d, ended as %s: %s: %s", s->constant,
             kind_names[s->kind], s->from, s->to, s->begin, s->end, (int)s->protection,
             pel_status_name(pel_event_status(s->event)), what, error ? pel_error_story(error) : "no story");
    wrong(w, text);
}

static void make_machine(world *w, const pel_allocator *allocator) {
    const double links[] = {0, 4};
    pel_simulated_device devices[DEVICES] = {machine_device("one", 8, links[below(2)]), machine_device("two", 4, links[below(2)]),
                                             machine_device("three", 1, 0)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    for (int d = 0; d < 2; d++) {
        const uint64_t at = 1 + below(STEPS);
        const bool lost = below(2) != 0;
        devices[d].lost_at = lost ? at : 0;
        devices[d].lost_part = below(2) ? 1e-9 : 0.7;
        devices[d].fail_at = lost ? 0 : at;
        devices[d].fail_until = !lost && below(3) == 0 ? at + below(8) : 0;
        w->habits.forgets |= lost && devices[d].link_bytes_per_ns > 0;
    }
    simulation.seed = 7;
    simulation.devices = devices;
    simulation.device_count = DEVICES;
    desc.simulation = &simulation;
    desc.devices = "sim:one,sim:two,sim:three";
    desc.allocator = allocator;
    assert_int_equal(pel_runtime_create(&desc, &w->runtime, NULL), PEL_OK);
}

static void begin(world *w, uint64_t seed) {
    const pel_allocator allocator = {reallocate, &memory};
    memset(w, 0, sizeof *w);
    machine_seed(seed);
    w->seed = seed;
    atomic_store(&asked, seed << 32);
    make_machine(w, &allocator);
    const uint32_t flags = below(2) ? PEL_KERNEL_SINGLE_DEVICE : 0;
    w->put = machine_put(w->runtime, flags);
    w->add = machine_add(w->runtime, flags);
    for (uint32_t q = 0; q < QUEUES; q++) {
        w->queues[q] = machine_queue(w->runtime);
    }
    for (uint32_t b = 0; b < BUFFERS; b++) {
        assert_int_equal(pel_buffer_create(w->runtime, ITEMS * sizeof(uint32_t), &w->buffers[b], NULL), PEL_OK);
        uint32_t *const data = pel_buffer_data(w->buffers[b]);
        for (uint32_t i = 0; i < ITEMS; i++) {
            w->values[b][i] = data[i] = 17 * b + i;
            w->defined[b][i] = true;
        }
    }
    w->habits.copies = below(2) != 0;
    w->habits.tasks = below(2) != 0;
    w->habits.in_place = below(2) != 0;
    w->habits.cancels = below(4) == 0;
    w->habits.parts = below(2) != 0;
    w->habits.protection = below(3);
}

static void end(world *w) {
    for (uint32_t q = 0; q < QUEUES; q++) {
        assert_int_equal(pel_queue_reset(w->queues[q]), PEL_OK);
        assert_int_equal(pel_queue_finish(w->queues[q]), PEL_OK);
        assert_int_equal(pel_queue_destroy(w->queues[q]), PEL_OK);
    }
    assert_int_equal(pel_kernel_destroy(w->put), PEL_OK);
    assert_int_equal(pel_kernel_destroy(w->add), PEL_OK);
    for (uint32_t b = 0; b < BUFFERS; b++) {
        assert_int_equal(pel_buffer_destroy(w->buffers[b]), PEL_OK);
    }
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
    if (atomic_load(&memory.live) != 0) {
        wrong(w, "memory was not given back");
    }
}

/* ---- submission ---- */

static void choose(const world *w, step *s) {
    const habits *h = &w->habits;
    s->constant = w->count;
    s->from = below(BUFFERS);
    s->to = (s->from + 1 + below(BUFFERS - 1)) % BUFFERS;
    s->begin = h->parts ? 8 * below(7) : 0;
    s->end = h->parts ? s->begin + 8 * (1 + below((ITEMS - s->begin) / 8)) : ITEMS;
    s->kind = h->in_place && below(3) == 0 ? ADD : PUT;
    s->queue = below(QUEUES);
    const uint32_t other = below(12);
    if (other == 0 && h->copies) {
        s->kind = COPY;
    } else if (other == 1 && h->tasks) {
        s->kind = TASK;
    }
    const bool asks = (s->kind == PUT || s->kind == ADD) && h->protection != 0 && below(5) == 0;
    s->protection = !asks ? PEL_PROTECT_DEFAULT : h->protection == 1 ? PEL_PROTECT_RETRY : PEL_PROTECT_NONE;
    s->data = pel_buffer_data(w->buffers[s->to]);
}

static void submit(const world *w, step *s) {
    const uint64_t at = s->begin * sizeof(uint32_t), bytes = (s->end - s->begin) * sizeof(uint32_t);
    pel_queue *const queue = w->queues[s->queue];
    pel_buffer *const from = w->buffers[s->from], *const to = w->buffers[s->to];
    pel_status status;
    if (s->kind == COPY) {
        status = pel_copy(queue, to, at, from, at, bytes, NULL, &s->event);
    } else if (s->kind == TASK) {
        const pel_access access = PEL_ACCESS(to, at, bytes, PEL_READ_WRITE);
        status = pel_task(queue, turn, s, &access, 1, NULL, &s->event);
    } else {
        const pel_arg args[] = {pel_buf_range(from, at, bytes), pel_buf_range(to, at, bytes), pel_u32(s->constant)};
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = s->end - s->begin;
        desc.protection = s->protection;
        status = pel_launch(queue, s->kind == ADD ? w->add : w->put, &desc, args, 3, &s->event);
    }
    if (status != PEL_OK) {
        wrong(w, pel_status_name(status));
    }
}

/* A wait on the way: nothing of the queue is left. */
static void finish_one(const world *w, bool may_lack) {
    const uint32_t queue = below(QUEUES);
    atomic_store(&lean, may_lack && below(2) != 0);
    (void)pel_queue_finish(w->queues[queue]);
    atomic_store(&lean, false);
    for (uint32_t i = 0; i < w->count && !may_lack; i++) {
        if (w->steps[i].queue == queue && pel_event_get_state(w->steps[i].event) != PEL_EVENT_COMPLETE) {
            wrong_step(w, &w->steps[i], "its queue was finished");
        }
    }
}

static void run(world *w, uint32_t steps, bool may_lack) {
    while (w->count < steps) {
        step *const s = &w->steps[w->count];
        choose(w, s);
        submit(w, s);
        w->count++;
        if (w->habits.cancels && below(10) == 0) {
            step *const victim = &w->steps[below(w->count)];
            victim->cancelled |= pel_event_cancel(victim->event) == PEL_OK;
        }
        if (below(20) == 0) {
            finish_one(w, may_lack);
        }
    }
    atomic_store(&lean, may_lack);
    for (uint32_t q = 0; q < QUEUES; q++) {
        (void)pel_queue_finish(w->queues[q]);
    }
    atomic_store(&lean, false);
}

/* ---- the oracle ---- */

static bool readable(const world *w, const step *s) {
    bool yes = true;
    for (uint32_t i = s->begin; i < s->end; i++) {
        yes &= (s->kind == TASK || w->defined[s->from][i]) && (s->kind == PUT || s->kind == COPY || w->defined[s->to][i]);
    }
    return yes;
}

/* A step whose input is what it should be. */
static void judge_readable(world *w, const step *s, pel_status status, bool may_lack) {
    const bool in_place = s->kind == ADD && s->protection != PEL_PROTECT_RETRY;
    if (status == PEL_OK || status == PEL_CANCELLED) {
        return;
    }
    w->lost++;
    if (may_lack || w->habits.forgets) {
        return;
    }
    if (!in_place && s->protection != PEL_PROTECT_NONE) {
        wrong_step(w, s, "it could have run again");
    }
    if (status != PEL_DEVICE_FAILED && status != PEL_DEVICE_LOST) {
        wrong_step(w, s, "no device failed it");
    }
}

static void judge(world *w, step *s, bool may_lack) {
    const pel_status status = pel_event_wait(s->event);
    const bool able = readable(w, s);
    if (!able && status == PEL_OK) {
        wrong_step(w, s, "it read what was lost");
    }
    if (!able && status != PEL_DEPENDENCY_FAILED && !s->cancelled && !may_lack) {
        wrong_step(w, s, "it depends on what was lost");
    }
    if (s->cancelled ? status != PEL_CANCELLED && (status != PEL_DEPENDENCY_FAILED || able) && !may_lack
                     : status == PEL_CANCELLED) {
        wrong_step(w, s, s->cancelled ? "it was cancelled" : "nobody cancelled it");
    }
    if (able) {
        judge_readable(w, s, status, may_lack);
    }
    w->failed[s->queue] |= status != PEL_OK;
    for (uint32_t i = s->begin; i < s->end; i++) {
        w->defined[s->to][i] = status == PEL_OK;
        w->values[s->to][i] = value_after(s, w->values[s->from][i], w->values[s->to][i]);
    }
}

/* The bytes. Who cannot have them all is told so. */
static void judge_bytes(const world *w) {
    char text[256];
    for (uint32_t b = 0; b < BUFFERS; b++) {
        const pel_status status = pel_buffer_sync(w->buffers[b]);
        const uint32_t *const data = pel_buffer_data(w->buffers[b]);
        if (status != PEL_OK && !w->habits.forgets) {
            snprintf(text, sizeof text, "buffer %u cannot be had: %s", b, pel_status_name(status));
            wrong(w, text);
        }
        for (uint32_t i = 0; i < ITEMS && status == PEL_OK; i++) {
            if (w->defined[b][i] && data[i] != w->values[b][i]) {
                snprintf(text, sizeof text, "item %u of buffer %u is %u, not %u", i, b, data[i], w->values[b][i]);
                wrong(w, text);
            }
        }
    }
}

static uint32_t live(uint64_t seed, uint32_t steps, bool may_lack) {
    static world w;
    begin(&w, seed);
    run(&w, steps, may_lack);
    for (uint32_t i = 0; i < w.count; i++) {
        judge(&w, &w.steps[i], may_lack);
    }
    for (uint32_t q = 0; q < QUEUES; q++) {
        if ((pel_queue_finish(w.queues[q]) != PEL_OK) != w.failed[q]) {
            wrong(&w, w.failed[q] ? "a queue does not know of a failure" : "a queue tells of a failure that nobody had");
        }
    }
    judge_bytes(&w);
    for (uint32_t i = 0; i < w.count; i++) {
        pel_event_release(w.steps[i].event);
    }
    end(&w);
    return w.lost;
}

/* ---- the tests ---- */

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *const text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void storm(bool may_lack) {
    const uint64_t only = setting("PEL_STORM_SEED", 0), first = only ? only : setting("PEL_STORM_FIRST", 1),
                   graphs = only ? 1 : setting("PEL_STORM_GRAPHS", USUAL), most = setting("PEL_STORM_STEPS", STEPS);
    const uint32_t steps = most < STEPS ? (uint32_t)most : STEPS;
    uint64_t lost = 0;
    for (uint64_t seed = first; seed < first + graphs; seed++) {
        lost += live(seed, steps, may_lack);
    }
    print_message("seeds %llu to %llu: %llu of %llu steps were lost, without those that read their results\n",
                  (unsigned long long)first, (unsigned long long)(first + graphs - 1), (unsigned long long)lost,
                  (unsigned long long)(graphs * steps));
}

static void test_devices(void **state) {
    (void)state;
    storm(false);
}

static void test_lean(void **state) {
    (void)state;
    storm(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_devices), cmocka_unit_test(test_lean)};
    cmocka_set_test_filter(getenv("PEL_STORM_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
