/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/simulated/internal.h"
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct rig {
    pel_machine *machine;
    pel_topology *topology;
    pel_backend_env env;
    pel_backend_device *devices[8];
} rig;

static void build(rig *r, const pel_simulated_device *devices, uint32_t count, uint64_t seed) {
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_error *error = NULL;
    memset(r, 0, sizeof *r);
    simulation.devices = devices;
    simulation.device_count = count;
    simulation.seed = seed;
    if (pel_machine_create(&pel_allocator_default, &simulation, NULL, &r->machine, &r->topology, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    r->env = (pel_backend_env){
        .allocator = &pel_allocator_default, .clock = pel_machine_clock(r->machine), .machine = r->machine};
    for (uint32_t i = 0; i < r->topology->device_count; i++) {
        assert_int_equal(pel_backend_simulated.open(&r->env, &r->topology->devices[i], &r->devices[i], NULL), PEL_OK);
    }
}

static void tear_down(rig *r) {
    for (uint32_t i = 0; i < r->topology->device_count; i++) {
        pel_backend_simulated.close(r->devices[i]);
    }
    pel_topology_destroy(r->topology);
    pel_machine_destroy(r->machine);
}

/* Doubles every element of its span, base-relative. */
static pel_status twice(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint32_t *x = arguments[0];
    (void)scratch;
    (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i] *= 2;
    }
    return PEL_OK;
}

static const pel_kernel_image kernel = {.id = 1, .name = "twice", .param_count = 1, .host = twice, .cost_hint = 1.0};

typedef struct record {
    pel_work work;
    uint32_t completions;
    uint64_t order;
} record;

static uint64_t completed;

static void done(pel_work *work) {
    record *r = (record *)work->owner;
    r->completions++;
    r->order = ++completed;
}

static void prepare(record *r, pel_work_kind kind) {
    memset(r, 0, sizeof *r);
    r->work.kind = kind;
    r->work.complete = done;
    r->work.owner = r;
}

static void prepare_launch(record *r, const pel_work_arg *args, uint64_t lo, uint64_t hi, uint64_t items) {
    prepare(r, PEL_WORK_LAUNCH);
    r->work.kernel = &kernel;
    r->work.args = args;
    r->work.span = (pel_span){.dims = 1, .lo = {lo}, .hi = {hi}, .global = {items}};
}

static void run_all(rig *r) {
    while (pel_machine_advance(r->machine)) {
    }
}

static void forget(record *r) { pel_error_destroy(r->work.error); }

/* An idle device begins late, one that has something to do does not, and no chunk's own time contains it. */
static void begins_late(void **state) {
    (void)state;
    const pel_simulated_device lazy = {.name = "lazy", .start_ns = 500.0, .rate = 1000.0, .begins_late_ns = 7000.0};
    rig r;
    build(&r, &lazy, 1, 1);
    uint32_t data[1000] = {0};
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .host = data, .bytes = sizeof data};
    record w[3];
    for (int i = 0; i < 3; i++) {
        prepare_launch(&w[i], &arg, 0, 1000, 1000);
    }
    pel_backend_simulated.submit(r.devices[1], &w[0].work);
    pel_backend_simulated.submit(r.devices[1], &w[1].work);
    run_all(&r);
    assert_int_equal(w[0].work.began, 7000);
    assert_int_equal(w[0].work.launch_began, 7000);
    assert_int_equal(w[0].work.ended, 8500);
    assert_int_equal(w[1].work.began, 8500);
    assert_int_equal(w[1].work.ended, 10000);
    pel_backend_simulated.submit(r.devices[1], &w[2].work);
    run_all(&r);
    assert_int_equal(w[2].work.began, 17000);
    assert_int_equal(w[2].work.ended - w[2].work.launch_began, 1500);
    tear_down(&r);
}

/* Company stretches what a late device computes, not how late it is. */
static void a_late_begin_is_not_stretched(void **state) {
    (void)state;
    const pel_simulated_device both[] = {
        {.name = "lazy", .start_ns = 500.0, .rate = 1000.0, .begins_late_ns = 7000.0, .contention = 0.5},
        {.name = "busy", .start_ns = 99500.0, .rate = 1000.0}};
    rig r;
    build(&r, both, 2, 1);
    uint32_t data[1000] = {0};
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .host = data, .bytes = sizeof data};
    record w[2];
    for (uint32_t i = 0; i < 2; i++) {
        prepare_launch(&w[i], &arg, 0, 1000, 1000);
        pel_backend_simulated.submit(r.devices[1 + i], &w[i].work);
    }
    run_all(&r);
    assert_int_equal(w[0].work.began, 7000);
    assert_int_equal(w[0].work.ended, 7000 + 1500 + 750);
    assert_int_equal(w[1].work.ended, 100500);
    tear_down(&r);
}

/* start + items x cost / rate, transfers by latency and bandwidth, one after the other. */
static void times_follow_the_description(void **state) {
    (void)state;
    const pel_simulated_device gpu = {
        .name = "gpu0", .start_ns = 500.0, .rate = 4000.0, .link_bytes_per_ns = 2.0, .link_latency_ns = 100.0};
    rig r;
    build(&r, &gpu, 1, 1);
    uint32_t data[1000] = {7};
    pel_mem *mem;
    record w[2];
    assert_int_equal(pel_backend_simulated.mem_create(r.devices[1], data, sizeof data, &mem, NULL), PEL_OK);
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = data, .bytes = sizeof data};
    const pel_transfer all = {.mem = mem, .bytes = sizeof data};
    for (int i = 0; i < 2; i++) {
        prepare_launch(&w[i], &arg, 0, 1000, 1000);
        w[i].work.in = i == 0 ? &all : NULL;
        w[i].work.in_count = i == 0;
        w[i].work.out = i == 1 ? &all : NULL;
        w[i].work.out_count = i == 1;
        pel_backend_simulated.submit(r.devices[1], &w[i].work);
    }
    assert_int_equal(w[0].completions, 0);
    assert_int_equal(pel_clock_now(r.env.clock), 0);
    assert_true(pel_machine_advance(r.machine));
    assert_int_equal(w[0].completions, 1);
    assert_int_equal(w[0].work.launch_began, 2100);  /* 100 + 4000 / 2 */
    assert_int_equal(w[0].work.launch_ended, 2850);  /* + 500 + 1000 items / (4 per ns) */
    assert_int_equal(w[0].work.ended, 2850);
    assert_int_equal(pel_clock_now(r.env.clock), 2850);
    assert_int_equal(data[0], 7);                    /* not yet brought back */
    run_all(&r);
    assert_int_equal(w[1].work.began, 2850);
    assert_int_equal(w[1].work.ended, 2850 + 750 + 2100);
    assert_int_equal(data[0], 28);
    pel_backend_simulated.mem_destroy(r.devices[1], mem);
    tear_down(&r);
}

/* Own memory is not the host's: what was not transferred is not there, and views see the same bytes. */
static void missing_transfers_show(void **state) {
    (void)state;
    const pel_simulated_device gpu = {.name = "gpu0", .rate = 1000.0, .link_bytes_per_ns = 1.0};
    rig r;
    build(&r, &gpu, 1, 1);
    uint32_t data[16];
    for (uint32_t i = 0; i < 16; i++) {
        data[i] = i;
    }
    pel_mem *mem, *view;
    record w;
    assert_int_equal(pel_backend_simulated.mem_create(r.devices[1], data, sizeof data, &mem, NULL), PEL_OK);
    assert_int_equal(pel_backend_simulated.mem_view(r.devices[1], mem, 32, 32, &view, NULL), PEL_OK);
    assert_int_equal(pel_backend_simulated.mem_view(r.devices[1], mem, 40, 32, &view, NULL), PEL_INVALID_ARGUMENT);
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = view, .host = data + 8, .bytes = 32};
    const pel_transfer in = {.mem = mem, .offset = 32, .bytes = 8}, out = {.mem = view, .bytes = 16};
    prepare_launch(&w, &arg, 0, 4, 8);
    w.work.in = &in;
    w.work.in_count = 1;
    w.work.out = &out;
    w.work.out_count = 1;
    pel_backend_simulated.submit(r.devices[1], &w.work);
    run_all(&r);
    assert_int_equal(w.work.status, PEL_OK);
    assert_int_equal(data[8], 16);
    assert_int_equal(data[9], 18);
    assert_true(data[10] == (uint32_t)(0xa5a5a5a5u * 2u) && data[11] == (uint32_t)(0xa5a5a5a5u * 2u));
    assert_int_equal(data[12], 12);
    pel_backend_simulated.mem_destroy(r.devices[1], view);
    pel_backend_simulated.mem_destroy(r.devices[1], mem);
    tear_down(&r);
}

static void memory_is_limited(void **state) {
    (void)state;
    const pel_simulated_device gpu = {.name = "gpu0", .rate = 1.0, .link_bytes_per_ns = 1.0, .memory_bytes = 8192};
    rig r;
    build(&r, &gpu, 1, 1);
    unsigned char data[8192];
    pel_mem *a, *b;
    pel_error *error = NULL;
    assert_int_equal(r.topology->devices[1].info.memory_bytes, 8192);
    assert_int_equal(pel_backend_simulated.mem_create(r.devices[1], data, 4096, &a, NULL), PEL_OK);
    assert_int_equal(pel_backend_simulated.mem_create(r.devices[1], data, 4097, &b, &error), PEL_DEVICE_MEMORY);
    assert_non_null(strstr(pel_error_message(error), "sim:gpu0: 4097 bytes"));
    pel_error_destroy(error);
    assert_int_equal(pel_backend_simulated.mem_create(r.devices[1], data, 4096, &b, NULL), PEL_OK);
    pel_backend_simulated.mem_destroy(r.devices[1], a);
    pel_backend_simulated.mem_destroy(r.devices[1], b);
    assert_int_equal(pel_backend_simulated.mem_create(r.devices[1], data, 8192, &a, NULL), PEL_OK);
    pel_backend_simulated.mem_destroy(r.devices[1], a);
    tear_down(&r);
}

/* The chunk that fails has spoilt its in-place data; later ones are fine. A lost device stays lost. */
static void faults_happen_when_described(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {{.name = "flaky", .rate = 1.0, .fail_at = 2},
                                            {.name = "dying", .rate = 1.0, .lost_at = 3}};
    rig r;
    build(&r, devices, 2, 1);
    for (uint32_t d = 1; d <= 2; d++) {
        uint32_t x = 1;
        const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = NULL, .host = &x, .bytes = sizeof x};
        record w[5];
        for (int i = 0; i < 5; i++) {
            prepare_launch(&w[i], &arg, 0, 1, 1);
            if (i == 4) {
                prepare(&w[i], PEL_WORK_TRANSFER);
            }
            pel_backend_simulated.submit(r.devices[d], &w[i].work);
        }
        run_all(&r);
        const pel_status expected[2][5] = {{PEL_OK, PEL_DEVICE_FAILED, PEL_OK, PEL_OK, PEL_OK},
                                           {PEL_OK, PEL_OK, PEL_DEVICE_LOST, PEL_DEVICE_LOST, PEL_DEVICE_LOST}};
        for (int i = 0; i < 5; i++) {
            assert_int_equal(w[i].work.status, expected[d - 1][i]);
            assert_int_equal(w[i].work.error == NULL, expected[d - 1][i] == PEL_OK);
            assert_string_equal(pel_error_device(w[i].work.error), expected[d - 1][i] == PEL_OK ? ""
                                                                   : d == 1                     ? "sim:flaky"
                                                                                                : "sim:dying");
            forget(&w[i]);
        }
        assert_int_equal(x, d == 1 ? 16 : 8); /* also the chunk in which it was lost has left its traces */
    }
    tear_down(&r);
}

static void slows_down_after(void **state) {
    (void)state;
    const pel_simulated_device gpu = {.name = "gpu0", .rate = 1000.0, .slow_after = 3, .slow_factor = 0.5};
    rig r;
    build(&r, &gpu, 1, 1);
    uint32_t data[100] = {0};
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = NULL, .host = data, .bytes = sizeof data};
    record w[4];
    for (int i = 0; i < 4; i++) {
        prepare_launch(&w[i], &arg, 0, 100, 100);
        pel_backend_simulated.submit(r.devices[1], &w[i].work);
    }
    run_all(&r);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(w[i].work.ended - w[i].work.began, i < 2 ? 100 : 200);
    }
    tear_down(&r);
}

/* Devices of one group take turns on their cores; others run beside them. The planner sees the shared core. */
static void groups_never_run_at_once(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {{.name = "cpu", .rate = 1000.0, .core_group = PEL_SIMULATED_HOST_GROUP},
                                            {.name = "host", .rate = 1000.0},
                                            {.name = "gpu", .rate = 1000.0}};
    rig r;
    build(&r, devices, 3, 1);
    assert_string_equal(r.topology->devices[0].info.id, "host");
    assert_string_equal(r.topology->devices[1].info.id, "sim:cpu");
    assert_true(pel_core_set_has(&r.topology->devices[0].info.cores, 0) &&
                pel_core_set_has(&r.topology->devices[1].info.cores, 0));
    assert_int_equal(r.topology->devices[2].info.cores_count, 0);
    uint32_t data[3][100] = {{0}};
    record w[3];
    pel_work_arg args[3];
    for (uint32_t i = 0; i < 3; i++) {
        args[i] = (pel_work_arg){.kind = PEL_WORK_ARG_MEM, .mem = NULL, .host = data[i], .bytes = sizeof data[i]};
        prepare_launch(&w[i], &args[i], 0, 100, 100);
        pel_backend_simulated.submit(r.devices[i], &w[i].work);
    }
    run_all(&r);
    assert_int_equal(w[0].work.ended, 100);
    assert_int_equal(w[1].work.began, 100);
    assert_int_equal(w[2].work.began, 0);
    tear_down(&r);
}

/* Noise has the described mean and deviation, spikes their chance. */
static void luck_is_as_described(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {{.name = "noisy", .rate = 0.001, .noise = 0.1},
                                            {.name = "spiky", .rate = 0.001, .spike_chance = 0.05, .spike_factor = 5.0}};
    rig r;
    build(&r, devices, 2, 12345);
    uint32_t x = 0, spikes = 0;
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = NULL, .host = &x, .bytes = sizeof x};
    double sum = 0.0, square = 0.0;
    for (int i = 0; i < 20000; i++) {
        record w[2];
        for (uint32_t d = 0; d < 2; d++) {
            prepare_launch(&w[d], &arg, 0, 1, 1);
            pel_backend_simulated.submit(r.devices[d + 1], &w[d].work);
        }
        run_all(&r);
        double time = (double)(w[0].work.ended - w[0].work.began) / 1e6;
        sum += time;
        square += time * time;
        spikes += w[1].work.ended - w[1].work.began == 5000000;
        assert_true(w[1].work.ended - w[1].work.began == 5000000 || w[1].work.ended - w[1].work.began == 1000000);
    }
    double mean = sum / 20000.0, variance = square / 20000.0 - mean * mean;
    assert_true(mean > 0.995 && mean < 1.005);
    assert_true(variance > 0.09 * 0.09 && variance < 0.11 * 0.11);
    assert_true(spikes > 850 && spikes < 1150);
    tear_down(&r);
}

/* A program of many works on several devices; returns a hash of its trace. */
static uint64_t trace(uint64_t seed) {
    const pel_simulated_device devices[] = {{.name = "a", .rate = 100.0, .start_ns = 50.0, .noise = 0.2},
                                            {.name = "b", .rate = 300.0, .noise = 0.1, .link_bytes_per_ns = 1.0, .fail_at = 20},
                                            {.name = "c", .rate = 900.0, .spike_chance = 0.1, .spike_factor = 9.0}};
    static uint32_t data[4][64];
    rig r;
    build(&r, devices, 3, seed);
    pel_mem *mem[4];
    pel_work_arg args[4];
    for (uint32_t d = 0; d < 4; d++) {
        assert_int_equal(pel_backend_simulated.mem_create(r.devices[d], data[d], sizeof data[d], &mem[d], NULL), PEL_OK);
        args[d] = (pel_work_arg){.kind = PEL_WORK_ARG_MEM, .mem = mem[d], .host = data[d], .bytes = sizeof data[d]};
    }
    record *w = calloc(400, sizeof *w);
    assert_non_null(w);
    completed = 0;
    uint64_t hash = 1469598103934665603u;
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t d = i * 7 % 4;
        prepare_launch(&w[i], &args[d], 0, 1 + i % 64, 64);
        pel_backend_simulated.submit(r.devices[d], &w[i].work);
        if (i % 3 == 0) {
            (void)pel_machine_advance(r.machine);
        }
    }
    run_all(&r);
    for (uint32_t i = 0; i < 400; i++) {
        assert_int_equal(w[i].completions, 1);
        const uint64_t facts[] = {w[i].order, (uint64_t)w[i].work.began, (uint64_t)w[i].work.ended, (uint64_t)w[i].work.status};
        for (size_t j = 0; j < 4; j++) {
            hash = (hash ^ facts[j]) * 1099511628211u;
        }
        forget(&w[i]);
    }
    free(w);
    for (uint32_t d = 0; d < 4; d++) {
        pel_backend_simulated.mem_destroy(r.devices[d], mem[d]);
    }
    tear_down(&r);
    return hash;
}

static void same_seed_same_trace(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 50; seed++) {
        assert_true(trace(seed) == trace(seed));
        assert_true(trace(seed) != trace(seed + 1));
    }
}

static uint32_t ran[8], ran_count;

static pel_status note(void *context) {
    ran[ran_count++] = *(uint32_t *)context;
    return *(uint32_t *)context == 13 ? PEL_INTERNAL : PEL_OK;
}

/* Tasks cost nothing, run beside jobs, by priority; their failures are theirs alone. */
static void tasks_run_on_the_host(void **state) {
    (void)state;
    rig r;
    build(&r, NULL, 0, 1);
    uint32_t ids[4] = {0, 1, 2, 13};
    const int32_t priorities[4] = {0, 5, 5, -1};
    record w[4], job;
    uint32_t x = 1;
    const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = NULL, .host = &x, .bytes = sizeof x};
    prepare_launch(&job, &arg, 0, 1, 1);
    pel_backend_simulated.submit(r.devices[0], &job.work);
    ran_count = 0;
    for (int i = 0; i < 4; i++) {
        prepare(&w[i], PEL_WORK_TASK);
        w[i].work.task = note;
        w[i].work.context = &ids[i];
        w[i].work.priority = priorities[i];
        pel_backend_simulated.submit(r.devices[0], &w[i].work);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(pel_machine_advance(r.machine));
    }
    assert_int_equal(job.completions, 0);
    assert_int_equal(pel_clock_now(r.env.clock), 0);
    assert_int_equal(ran_count, 4);
    assert_true(ran[0] == 1 && ran[1] == 2 && ran[2] == 0 && ran[3] == 13);
    assert_int_equal(w[0].work.status, PEL_OK);
    assert_int_equal(w[3].work.status, PEL_TASK_FAILED);
    forget(&w[3]);
    run_all(&r);
    assert_int_equal(job.completions, 1);
    tear_down(&r);
}

static pel_status add_range(uint64_t begin, uint64_t end, void *context) {
    for (uint64_t i = begin; i < end; i++) {
        ((uint32_t *)context)[i]++;
    }
    return PEL_OK;
}

static void loops_cover_their_range(void **state) {
    (void)state;
    rig r;
    build(&r, NULL, 0, 1);
    for (uint64_t count = 0; count < 70; count++) {
        uint32_t hits[70] = {0};
        record w;
        prepare(&w, PEL_WORK_LOOP);
        w.work.loop = add_range;
        w.work.loop_count = count;
        w.work.loop_grain = count % 5;
        w.work.context = hits;
        pel_backend_simulated.submit(r.devices[0], &w.work);
        run_all(&r);
        assert_int_equal(w.work.status, PEL_OK);
        for (uint64_t i = 0; i < 70; i++) {
            assert_int_equal(hits[i], i < count);
        }
    }
    tear_down(&r);
}

/* Only host variants run: a kernel without one is refused when prepared and, if submitted all the same, as a completion. */
static void nothing_but_host_variants(void **state) {
    (void)state;
    const pel_simulated_device gpu = {.name = "gpu0", .rate = 1.0};
    const pel_kernel_image source_only = {.id = 2, .name = "cl_only", .entry = "f"};
    rig r;
    build(&r, &gpu, 1, 1);
    pel_error *error = NULL;
    record w;
    assert_int_equal(pel_backend_simulated.prepare(r.devices[1], NULL, &source_only, &error), PEL_UNSUPPORTED);
    assert_non_null(strstr(pel_error_message(error), "cl_only"));
    pel_error_destroy(error);
    assert_int_equal(pel_backend_simulated.prepare(r.devices[1], NULL, &kernel, NULL), PEL_OK);
    prepare_launch(&w, NULL, 0, 1, 1);
    w.work.kernel = &source_only;
    pel_backend_simulated.submit(r.devices[1], &w.work);
    run_all(&r);
    assert_int_equal(w.work.status, PEL_UNSUPPORTED);
    forget(&w);
    prepare(&w, PEL_WORK_TASK);
    pel_backend_simulated.submit(r.devices[1], &w.work);
    run_all(&r);
    assert_int_equal(w.work.status, PEL_UNSUPPORTED);
    forget(&w);
    tear_down(&r);
}

static rig *inner;

static pel_status wait_inside(void *context) {
    *(bool *)context = pel_machine_advance(inner->machine);
    return PEL_OK;
}

static void time_does_not_move_inside_a_task(void **state) {
    (void)state;
    rig r;
    build(&r, NULL, 0, 1);
    inner = &r;
    bool advanced = true;
    record w[2];
    for (int i = 0; i < 2; i++) {
        prepare(&w[i], PEL_WORK_TASK);
        w[i].work.task = wait_inside;
        w[i].work.context = &advanced;
        pel_backend_simulated.submit(r.devices[0], &w[i].work);
    }
    assert_true(pel_machine_advance(r.machine));
    assert_false(advanced);
    assert_int_equal(w[1].completions, 0);
    tear_down(&r); /* close waits for the other */
    assert_int_equal(w[1].completions, 1);
}

static void device_lists_select(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {{.name = "gpu0", .rate = 1.0, .link_bytes_per_ns = 1.0},
                                            {.name = "cpu", .rate = 1.0, .core_group = 1}};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    simulation.devices = devices;
    simulation.device_count = 2;
    static const struct {
        const char *list;
        pel_status status;
        uint32_t count, first;
    } cases[] = {{NULL, PEL_OK, 3, 0},
                 {"sim:gpu0", PEL_OK, 1, 1},
                 {"sim:cpu,host", PEL_OK, 2, 2},
                 {"!host", PEL_OK, 2, 1},
                 {"gpu", PEL_OK, 1, 1},
                 {"gpu0", PEL_OK, 1, 1},
                 {"sim:nope", PEL_NOT_FOUND, 0, 0},
                 {"host@0", PEL_UNSUPPORTED, 0, 0},
                 {"", PEL_INVALID_ARGUMENT, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pel_machine *machine;
        pel_topology *topology;
        assert_int_equal(pel_machine_create(&pel_allocator_default, &simulation, cases[i].list, &machine, &topology, NULL),
                         cases[i].status);
        if (cases[i].status == PEL_OK) {
            assert_int_equal(topology->selection_count, cases[i].count);
            assert_int_equal(topology->selection[0], cases[i].first);
            pel_topology_destroy(topology);
            pel_machine_destroy(machine);
        }
    }
}

static void *failing_reallocate(void *user, void *pointer, size_t bytes) {
    int *left = user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return (*left)-- > 0 ? realloc(pointer, bytes) : NULL;
}

/* Every allocation fails once in turn: a clean OUT_OF_MEMORY and no leak, or it worked. */
static void failed_allocations_are_clean(void **state) {
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/machines/flaky.machine", PEL_TEST_FIXTURES);
    pel_simulation simulation = PEL_SIMULATION_INIT;
    simulation.path = path;
    bool finished = false;
    for (int allowed = 0; !finished; allowed++) {
        int left = allowed;
        const pel_allocator allocator = {failing_reallocate, &left};
        pel_machine *machine;
        pel_topology *topology;
        pel_error *error = NULL;
        pel_status status = pel_machine_create(&allocator, &simulation, "host,sim:flaky", &machine, &topology, &error);
        if (status != PEL_OK) {
            assert_int_equal(status, PEL_OUT_OF_MEMORY);
            pel_error_destroy(error);
            continue;
        }
        pel_backend_env env = {.allocator = &allocator, .clock = pel_machine_clock(machine), .machine = machine};
        pel_backend_device *device;
        status = pel_backend_simulated.open(&env, &topology->devices[2], &device, NULL);
        if (status == PEL_OK) {
            uint32_t x = 1;
            pel_mem *mem = NULL, *view = NULL;
            status = pel_backend_simulated.mem_create(device, &x, sizeof x, &mem, NULL);
            status = status == PEL_OK ? pel_backend_simulated.mem_view(device, mem, 0, sizeof x, &view, NULL) : status;
            if (status == PEL_OK) {
                const pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = view, .host = &x, .bytes = sizeof x};
                record w;
                prepare_launch(&w, &arg, 0, 1, 1);
                pel_backend_simulated.submit(device, &w.work);
                while (pel_machine_advance(machine)) {
                }
                assert_int_equal(w.completions, 1);
                status = w.work.status;
                forget(&w);
            }
            pel_backend_simulated.mem_destroy(device, view);
            pel_backend_simulated.mem_destroy(device, mem);
            pel_backend_simulated.close(device);
        }
        assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
        finished = status == PEL_OK;
        pel_topology_destroy(topology);
        pel_machine_destroy(machine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_follow_the_description),
        cmocka_unit_test(begins_late),
        cmocka_unit_test(a_late_begin_is_not_stretched),
        cmocka_unit_test(missing_transfers_show),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(faults_happen_when_described),
        cmocka_unit_test(slows_down_after),
        cmocka_unit_test(groups_never_run_at_once),
        cmocka_unit_test(luck_is_as_described),
        cmocka_unit_test(same_seed_same_trace),
        cmocka_unit_test(tasks_run_on_the_host),
        cmocka_unit_test(loops_cover_their_range),
        cmocka_unit_test(nothing_but_host_variants),
        cmocka_unit_test(time_does_not_move_inside_a_task),
        cmocka_unit_test(device_lists_select),
        cmocka_unit_test(failed_allocations_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
