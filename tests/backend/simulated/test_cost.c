/* SPDX-License-Identifier: BSD-3-Clause */
/* The bends of a simulated device's line, and devices that disturb each other. */
#include "backend/simulated/cost.h"
#include "backend/simulated/internal.h"
#include "base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void near(double value, double wanted) {
    if (!(fabs(value - wanted) <= 1e-9 * fabs(wanted))) {
        fail_msg("%.17g instead of %.17g", value, wanted);
    }
}

static void bends_are_where_they_are_said(void **state) {
    (void)state;
    const pel_simulated_device line = {.start_ns = 500.0, .rate = 1000.0};
    near(pel_simulated_cost(&line, 1, 0.0, 100.0, 300.0), 800.0);
    const pel_simulated_device wide = {.start_ns = 500.0, .rate = 1000.0, .knee_items = 64.0};
    near(pel_simulated_cost(&wide, 1, 0.0, 16.0, 16.0), 564.0);
    near(pel_simulated_cost(&wide, 1, 0.0, 128.0, 128.0), 628.0);
    const pel_simulated_device cache = {.rate = 1000.0, .cliff_items = 100.0, .cliff_factor = 0.25};
    near(pel_simulated_cost(&cache, 1, 0.0, 100.0, 100.0), 100.0);
    near(pel_simulated_cost(&cache, 1, 0.0, 150.0, 150.0), 375.0); /* half way: 2.5 times as long */
    near(pel_simulated_cost(&cache, 1, 0.0, 400.0, 400.0), 1600.0);
    const pel_simulated_device hot = {.rate = 1000.0, .slow_after = 3, .slow_until = 5, .slow_factor = 0.5};
    for (uint64_t chunk = 1; chunk < 8; chunk++) {
        near(pel_simulated_cost(&hot, chunk, 0.0, 100.0, 100.0), chunk >= 3 && chunk < 5 ? 200.0 : 100.0);
    }
    const pel_simulated_device tide = {.rate = 1000.0, .drift = 0.5, .drift_period_ns = 4000.0};
    near(pel_simulated_cost(&tide, 1, 1000.0, 150.0, 150.0), 100.0);
    near(pel_simulated_cost(&tide, 1, 3000.0, 150.0, 150.0), 300.0);
}

static void cost_grows_with_items(void **state) {
    (void)state;
    uint64_t luck = 5;
    for (uint32_t trial = 0; trial < 500; trial++) {
        const pel_simulated_device device = {.start_ns = 1e4 * pel_simulated_uniform(&luck),
                                             .rate = 1.0 + 1e3 * pel_simulated_uniform(&luck),
                                             .knee_items = 100.0 * pel_simulated_uniform(&luck),
                                             .cliff_items = 1e3 * pel_simulated_uniform(&luck),
                                             .cliff_factor = 0.1 + 0.9 * pel_simulated_uniform(&luck)};
        double before = 0.0;
        for (double items = 1.0; items < 5e3; items *= 1.07) {
            double now = pel_simulated_cost(&device, 1, 0.0, items, items);
            assert_true(now >= before * (1.0 - 1e-12));
            before = now;
        }
    }
}

static void noise_remembers(void **state) {
    (void)state;
    for (int memory = 0; memory < 2; memory++) {
        const pel_simulated_device device = {.rate = 1.0, .noise = 0.1, .noise_memory = memory ? 0.9 : 0.0};
        pel_simulated_stream stream;
        pel_simulated_seed(&stream, 7, 1);
        double square = 0.0, cross = 0.0, before = 0.0;
        for (int i = 0; i < 100000; i++) {
            double now = log(pel_simulated_luck(&device, &stream));
            square += now * now;
            cross += now * before;
            before = now;
        }
        double deviation = sqrt(square / 1e5), correlation = cross / square;
        assert_true(deviation > 0.095 && deviation < 0.105);
        assert_true(memory ? correlation > 0.88 && correlation < 0.92 : fabs(correlation) < 0.03);
    }
}

static void spikes_spread(void **state) {
    (void)state;
    const pel_simulated_device device = {.rate = 1.0, .spike_chance = 0.5, .spike_factor = 3.0, .spike_factor_most = 10.0};
    pel_simulated_stream stream;
    pel_simulated_seed(&stream, 7, 1);
    double sum = 0.0;
    uint32_t count = 0;
    for (int i = 0; i < 20000; i++) {
        double factor = pel_simulated_luck(&device, &stream);
        assert_true(factor == 1.0 || (factor >= 3.0 && factor <= 10.0));
        count += factor > 1.0;
        sum += factor > 1.0 ? factor : 0.0;
    }
    assert_true(fabs(sum / count - 6.5) < 0.1);
}

/* --- on the machine --- */

typedef struct rig {
    pel_machine *machine;
    pel_topology *topology;
    pel_backend_env env;
    pel_backend_device *devices[4];
} rig;

static void build(rig *r, pel_simulation *simulation) {
    memset(r, 0, sizeof *r);
    assert_int_equal(pel_machine_create(&pel_allocator_default, simulation, NULL, &r->machine, &r->topology, NULL), PEL_OK);
    r->env =
        (pel_backend_env){.allocator = &pel_allocator_default, .clock = pel_machine_clock(r->machine), .machine = r->machine};
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

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

static void done(pel_work *work) {
    ++*(uint32_t *)work->owner;
}

static const pel_kernel_image kernel = {.id = 1, .name = "nothing", .host = nothing, .cost_hint = 1.0};

static void launch(rig *r, uint32_t device, pel_work *work, uint32_t *completions, uint64_t lo, uint64_t hi) {
    *work = (pel_work){.kind = PEL_WORK_LAUNCH, .complete = done, .owner = completions, .kernel = &kernel};
    work->span = (pel_span){.dims = 1, .lo = {lo}, .hi = {hi}, .global = {1000}};
    pel_backend_simulated.submit(r->devices[device], work);
}

/* a needs 1000 ns alone, b 400; together each takes half as long again. */
static void company_slows(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {{.name = "a", .rate = 1000.0, .contention = 0.5},
                                            {.name = "b", .rate = 1000.0, .contention = 0.5}};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    simulation.devices = devices;
    simulation.device_count = 2;
    for (int order = 0; order < 2; order++) { /* who is submitted first does not matter */
        rig r;
        pel_work a, b;
        uint32_t completions = 0;
        build(&r, &simulation);
        if (order == 0) {
            launch(&r, 1, &a, &completions, 0, 1000);
        }
        launch(&r, 2, &b, &completions, 0, 400);
        if (order == 1) {
            launch(&r, 1, &a, &completions, 0, 1000);
        }
        while (pel_machine_advance(r.machine)) {
        }
        assert_int_equal(completions, 2);
        assert_int_equal(b.ended, 600);       /* 400 x 1.5 */
        assert_int_equal(a.ended, 600 + 600); /* 400 done meanwhile, 600 left alone */
        assert_int_equal(a.launch_ended, a.ended);
        tear_down(&r);
    }
}

/* The program says what a span is worth, by device. */
static double by_place(void *user, const char *device, const char *name, const pel_span *span) {
    assert_string_equal(name, "nothing");
    return strcmp(device, "sim:a") != 0 ? 0.0 : *(double *)user * (double)(span->hi[0] * span->hi[0] - span->lo[0] * span->lo[0]);
}

static void work_comes_from_the_program(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {{.name = "a", .rate = 1000.0}, {.name = "b", .rate = 1000.0}};
    double scale = 2.0;
    pel_simulation simulation = PEL_SIMULATION_INIT;
    simulation.devices = devices;
    simulation.device_count = 2;
    simulation.work = by_place;
    simulation.work_user = &scale;
    rig r;
    pel_work a, b;
    uint32_t completions = 0;
    build(&r, &simulation);
    launch(&r, 1, &a, &completions, 10, 20);
    launch(&r, 2, &b, &completions, 10, 20);
    while (pel_machine_advance(r.machine)) {
    }
    assert_int_equal(a.ended, 600);
    assert_int_equal(b.ended, 10); /* 0 means items x cost */
    tear_down(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bends_are_where_they_are_said),
        cmocka_unit_test(cost_grows_with_items),
        cmocka_unit_test(noise_remembers),
        cmocka_unit_test(spikes_spread),
        cmocka_unit_test(company_slows),
        cmocka_unit_test(work_comes_from_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
