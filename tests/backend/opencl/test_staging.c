/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transfers through pinned memory: bytes and rows of every shape against the size of a slot arrive where they belong and nowhere
 * else; nothing sensitive stays behind, also after a failure; where there is no pinned memory they go without; what does not end
 * can be given up. PoCL stands in for a discrete device.
 * That each call may fail: test_faults.c.
 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#include "backend/opencl/staging.h"
#include "fixture.h"
#include "support/random.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 1 << 16, SLOT = 1000, SLOTS = 4, ROUNDS = 300, SEED = 41 };

/* ---- what the driver is asked for ---- */

static unsigned char *pinned[2]; /* mapped by the rings, in the order in which they are made */
static unsigned maps, writes, fail_write; /* which write fails; 0: none */
static bool refuse;
static atomic_bool hang; /* no command is seen to end */

CL_API_ENTRY cl_int CL_API_CALL clEnqueueWriteBuffer(cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f,
                                                     cl_uint g, const cl_event *h, cl_event *i) {
    cl_int(CL_API_CALL * write)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint, const cl_event *,
                                cl_event *);
    *(void **)&write = dlsym(RTLD_NEXT, "clEnqueueWriteBuffer");
    return ++writes == fail_write ? CL_OUT_OF_RESOURCES : write(a, b, c, d, e, f, g, h, i);
}

CL_API_ENTRY cl_int CL_API_CALL clGetEventInfo(cl_event a, cl_event_info b, size_t c, void *d, size_t *e) {
    cl_int(CL_API_CALL * info)(cl_event, cl_event_info, size_t, void *, size_t *);
    *(void **)&info = dlsym(RTLD_NEXT, "clGetEventInfo");
    const cl_int code = info(a, b, c, d, e);
    if (code == CL_SUCCESS && b == CL_EVENT_COMMAND_EXECUTION_STATUS && atomic_load(&hang)) {
        *(cl_int *)d = CL_RUNNING;
    }
    return code;
}

CL_API_ENTRY void *CL_API_CALL clEnqueueMapBuffer(cl_command_queue a, cl_mem b, cl_bool c, cl_map_flags d, size_t e, size_t f,
                                                  cl_uint g, const cl_event *h, cl_event *i, cl_int *j) {
    void *(CL_API_CALL * map)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t, cl_uint, const cl_event *,
                              cl_event *, cl_int *);
    maps++;
    if (refuse) {
        *j = CL_MAP_FAILURE;
        return NULL;
    }
    *(void **)&map = dlsym(RTLD_NEXT, "clEnqueueMapBuffer");
    void *at = map(a, b, c, d, e, f, g, h, i, j);
    pinned[(maps - 1) % 2] = at;
    return at;
}

/* ---- one device ---- */

static fixture f;
static unsigned char host[BYTES], device_side[BYTES], expected[BYTES];
static pel_mem *mem;

static void start(uint64_t slot) {
    pel_error *error = NULL;
    f.facts.host_coherent = false;
    f.facts.info.shares_host_memory = 0;
    f.facts.staging_bytes = slot;
    maps = 0;
    fixture_start(&f);
    assert_int_equal(f.device->backend->mem_create(f.device, host, BYTES, &mem, &error), PEL_OK);
}

static void stop(void) {
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
}

static void move(const pel_transfer *list, uint32_t count, bool in, bool sensitive) {
    pel_work work = {.kind = PEL_WORK_TRANSFER, .sensitive = sensitive};
    *(in ? &work.in : &work.out) = list;
    *(in ? &work.in_count : &work.out_count) = count;
    fixture_run(&f, &work);
    assert_int_equal(work.status, PEL_OK);
}

static void set_all(unsigned char *bytes, uint64_t seed) {
    for (int i = 0; i < BYTES; i++) {
        bytes[i] = (unsigned char)(seed + (uint64_t)i * 2654435761u / 7u);
    }
}

static uint64_t below(uint64_t *random, uint64_t limit) {
    return test_random(random) % limit;
}

/* Bytes or rows, from nothing to several slots, sometimes rows longer than a slot. */
static pel_transfer any_transfer(uint64_t *random) {
    pel_transfer t = {.mem = mem, .offset = below(random, BYTES / 2)};
    const uint64_t room = BYTES - t.offset;
    if (below(random, 2) == 0) {
        t.bytes = below(random, room < 9 * SLOT ? room : 9 * SLOT);
        return t;
    }
    t.bytes = 1 + below(random, below(random, 3) == 0 ? 2 * SLOT : 60);
    t.pitch = t.bytes + below(random, 300);
    t.rows = 2 + below(random, 40);
    while (t.rows > 1 && (t.rows - 1) * t.pitch + t.bytes > room) {
        t.rows--;
    }
    t.bytes = t.bytes < room ? t.bytes : room;
    return t;
}

static void apply(const pel_transfer *t, unsigned char *to, const unsigned char *from) {
    for (uint64_t r = 0; r < pel_transfer_rows(t); r++) {
        memcpy(to + t->offset + r * t->pitch, from + t->offset + r * t->pitch, (size_t)t->bytes);
    }
}

/* ---- tests ---- */

static void right_bytes(void **state) {
    (void)state;
    uint64_t random = SEED;
    print_message("seed %d\n", SEED);
    start(SLOT);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pel_transfer list[5], all = {.mem = mem, .bytes = BYTES};
        const uint32_t count = 1 + (uint32_t)below(&random, 5);
        for (uint32_t i = 0; i < count; i++) {
            list[i] = any_transfer(&random);
        }
        set_all(device_side, round);
        memcpy(host, device_side, BYTES);
        move(&all, 1, true, false);
        set_all(host, 1000 + round);
        const bool in = round % 2 == 0;
        memcpy(expected, in ? device_side : host, BYTES);
        for (uint32_t i = 0; i < count; i++) {
            apply(&list[i], expected, in ? host : device_side);
        }
        move(list, count, in, false);
        if (in) { /* what the device has now */
            memset(host, 0, BYTES);
            move(&all, 1, false, false);
        }
        if (memcmp(host, expected, BYTES) != 0) {
            fail_msg("round %u, %u transfers %s the device: wrong bytes", round, count, in ? "to" : "from");
        }
    }
    assert_int_equal(maps, 2); /* a ring for each direction, made once */
    stop();
}

static bool is_clear(const unsigned char *memory) {
    bool clear = true;
    for (int i = 0; i < SLOTS * SLOT; i++) {
        clear = clear && memory[i] == 0;
    }
    return clear;
}

static void nothing_sensitive_stays(void **state) {
    (void)state;
    start(SLOT);
    pel_transfer list[] = {{.mem = mem, .offset = 3, .bytes = 7 * SLOT + 11},
                           {.mem = mem, .offset = 20000, .bytes = 300, .rows = 9, .pitch = 700}};
    set_all(host, 77);
    move(list, 2, true, false);
    move(list, 2, false, false);
    assert_false(is_clear(pinned[0]));
    assert_false(is_clear(pinned[1]));
    memset(pinned[0], 0, SLOTS * SLOT);
    memset(pinned[1], 0, SLOTS * SLOT);
    move(list, 2, true, true);
    move(list, 2, false, true);
    assert_true(is_clear(pinned[0]));
    assert_true(is_clear(pinned[1]));
    stop();
}

/* Each slot has been filled, one of them for a write that was never enqueued. */
static void nothing_sensitive_stays_after_a_failure(void **state) {
    (void)state;
    for (unsigned which = 1; which <= 7; which++) {
        start(SLOT);
        const pel_transfer list[] = {{.mem = mem, .bytes = 5 * SLOT}, {.mem = mem, .offset = 6 * SLOT, .bytes = 3}};
        pel_work work = {.kind = PEL_WORK_TRANSFER, .sensitive = true, .in = list, .in_count = 2};
        set_all(host, 77);
        writes = 0;
        fail_write = which;
        fixture_run(&f, &work);
        fail_write = 0;
        assert_int_equal(work.status == PEL_OK, which == 7); /* there are six */
        assert_true(is_clear(pinned[0]));
        pel_error_destroy(work.error);
        move(list, 2, true, true);
        stop();
    }
}

static void what_does_not_end_is_given_up(void **state) {
    (void)state;
    start(SLOT);
    const pel_transfer all = {.mem = mem, .bytes = BYTES};
    pel_cl_device *device = (pel_cl_device *)f.device;
    pel_cl_load load = {.list = &all, .count = 1};
    set_all(host, 9);
    move(&all, 1, true, false);
    pel_cl_ring *ring = pel_cl_ring_for(device, &all, 1, true);
    assert_non_null(ring);
    atomic_store(&hang, true);
    pel_cl_ring_give(ring, &load);
    pel_cl_ring_give_up(&load);
    pel_cl_ring_await(ring, &load);
    assert_int_not_equal(load.status, PEL_OK);
    pel_error_destroy(load.error);
    atomic_store(&hang, false);
    memcpy(expected, host, BYTES); /* the ring is made anew */
    const unsigned before = maps;
    move(&all, 1, true, false);
    assert_int_equal(maps, before + 1);
    memset(host, 0, BYTES);
    move(&all, 1, false, false);
    assert_memory_equal(host, expected, BYTES);
    stop();
}

static void small_ones_go_directly(void **state) {
    (void)state;
    start(1 << 14);
    pel_transfer few = {.mem = mem, .bytes = 1000}, enough = {.mem = mem, .bytes = 1024};
    move(&few, 1, true, false);
    assert_int_equal(maps, 0);
    move(&enough, 1, true, false);
    assert_int_equal(maps, 1);
    stop();
    start(0); /* PoCL copies by itself: no rings unless asked for */
    enough.mem = mem;
    move(&enough, 1, true, false);
    assert_int_equal(maps, 0);
    stop();
}

static void without_pinned_memory(void **state) {
    (void)state;
    pel_transfer all = {.mem = NULL, .bytes = BYTES};
    refuse = true;
    start(SLOT);
    all.mem = mem;
    set_all(host, 5);
    memcpy(expected, host, BYTES);
    move(&all, 1, true, false);
    memset(host, 0, BYTES);
    move(&all, 1, false, false);
    assert_memory_equal(host, expected, BYTES);
    assert_non_null(strstr(f.log, "no pinned memory"));
    const unsigned asked = maps; /* once each way; now a while without asking, then a longer one */
    assert_int_equal(asked, 2);
    for (int i = 0; i < 64 + 1 + 128; i++) {
        move(&all, 1, true, false);
    }
    assert_int_equal(maps, asked + 1);
    refuse = false; /* and once there is some, it is used */
    move(&all, 1, true, false);
    assert_int_equal(maps, asked + 2);
    move(&all, 1, true, false);
    assert_int_equal(maps, asked + 2);
    stop();
}

/* Nobody said how large: two rings of four slots are an eighth of the device's memory at most. */
static void rings_leave_room(void **state) {
    (void)state;
    const pel_topology_device usual = f.facts;
    f.facts.info.platform = "another driver";
    f.facts.info.device_class = PEL_CLASS_DISCRETE;
    f.facts.info.memory_bytes = 64 * 1600;
    start(0);
    pel_transfer few = {.mem = mem, .bytes = 99}, enough = {.mem = mem, .bytes = 100};
    move(&few, 1, true, false);
    assert_int_equal(maps, 0);
    move(&enough, 1, true, false);
    assert_int_equal(maps, 1);
    stop();
    f.facts = usual;
}

static int set_up(void **state) { return fixture_set_up(&f, state); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(right_bytes), cmocka_unit_test(nothing_sensitive_stays),
                                       cmocka_unit_test(nothing_sensitive_stays_after_a_failure),
                                       cmocka_unit_test(what_does_not_end_is_given_up),
                                       cmocka_unit_test(small_ones_go_directly), cmocka_unit_test(without_pinned_memory),
                                       cmocka_unit_test(rings_leave_room)};
    return cmocka_run_group_tests(tests, set_up, fixture_tear_down);
}
