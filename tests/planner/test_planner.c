/* SPDX-License-Identifier: BSD-3-Clause */
#include "planner/planner.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t random_u64(void) { return test_random(&random_state); }

static uint64_t below(uint64_t bound) { return random_u64() % bound; }

static double between(double low, double high) { return low + (high - low) * ((double)(random_u64() >> 11) * 0x1p-53); }

static const char *const ids[8] = {"host", "opencl:0", "opencl:1", "gpu0", "gpu1", "gpu2", "gpu3", "gpu4"};

typedef struct machine {
    pel_core_set cores[8];
    pel_plan_device devices[8];
    pel_plan_request request;
} machine;

/* n devices with measured costs, no shared cores. */
static void make(machine *m, uint32_t count, uint64_t units, uint64_t granularity) {
    memset(m, 0, sizeof *m);
    m->request = (pel_plan_request){
        .units = units, .granularity = granularity, .devices = m->devices, .device_count = count, .launches_seen = 10};
    for (uint32_t i = 0; i < count; i++) {
        m->devices[i] = (pel_plan_device){.id = ids[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
        m->devices[i].cost = (pel_cost){.start_ns = 0.0, .unit_ns = 1.0, .deviation = 0.0, .samples = 20, .largest_units = 10.0};
    }
}

static void cost(machine *m, uint32_t device, double start, double unit) {
    m->devices[device].cost.start_ns = start;
    m->devices[device].cost.unit_ns = unit;
}

static void share_core(machine *m, uint32_t device, uint32_t core) {
    m->cores[device].bits[core / 64] |= 1ull << (core % 64);
    m->devices[device].cores = &m->cores[device];
}

static bool overlap(const machine *m, uint32_t a, uint32_t b) {
    for (size_t i = 0; i < PEL_CORE_LIMIT / 64; i++) {
        if (m->devices[a].cores != NULL && m->devices[b].cores != NULL && (m->cores[a].bits[i] & m->cores[b].bits[i]) != 0) {
            return true;
        }
    }
    return false;
}

static double time_of(const machine *m, uint32_t device, uint64_t units) {
    const pel_plan_device *d = &m->devices[device];
    return d->cost.start_ns + d->move_start_ns + d->begins_ns + (d->cost.unit_ns + d->move_unit_ns) * (double)units;
}

/* What must hold for every plan whatsoever. */
static void check_plan(const machine *m, const pel_plan_result *r) {
    uint64_t at = 0, used = 0;
    uint32_t chosen = 0;
    assert_true(r->slice_count >= 1 && r->slice_count <= m->request.device_count);
    for (uint32_t i = 0; i < r->slice_count; i++) {
        const pel_plan_slice *s = &r->slices[i];
        assert_int_equal(s->lo, at);
        assert_true(s->hi > s->lo);
        assert_true(s->device < m->request.device_count);
        assert_null(m->devices[s->device].excluded);
        assert_int_equal(used >> s->device & 1, 0);
        for (uint32_t j = 0; j < i; j++) {
            assert_false(overlap(m, s->device, r->slices[j].device));
        }
        used |= 1ull << s->device;
        assert_true(s->hi - s->lo <= m->devices[s->device].unit_limit);
        if (i + 1 < r->slice_count) {
            assert_int_equal(s->hi % m->request.granularity, 0);
        }
        at = s->hi;
    }
    assert_int_equal(at, m->request.units);
    assert_true(!m->request.single_only || r->slice_count == 1);
    assert_true(r->choice_count >= 1 && r->choice_count <= PEL_PLAN_CHOICE_LIMIT);
    for (uint32_t i = 0; i < r->choice_count; i++) {
        chosen += r->choices[i].chosen;
        assert_true(r->choices[i].device_mask != 0);
        const char *reason = r->choices[i].reason;
        assert_non_null(memchr(reason, '\0', sizeof r->choices[i].reason));
        assert_true(reason[0] != '\0');
        if (!r->choices[i].chosen && (strstr(reason, " alone: ") != NULL || strncmp(reason, "together: ", 10) == 0)) {
            assert_non_null(strchr(reason, ';')); /* a time is not yet why it lost */
        }
        if (r->choices[i].chosen) {
            assert_int_equal(r->choices[i].device_mask, used);
        }
    }
    assert_int_equal(chosen, 1);
    assert_non_null(memchr(r->reason, '\0', sizeof r->reason));
    assert_true(r->reason[0] != '\0');
}

static void plan(const machine *m, pel_plan_result *r) {
    memset(r, 0xa5, sizeof *r);
    assert_int_equal(pel_planner_plan(&m->request, r), PEL_OK);
    check_plan(m, r);
}

/* Smallest makespan of dividing quanta from..q over devices i.. of mask, by trying everything. */
static double brute(const machine *m, uint64_t mask, uint32_t device, uint64_t quanta) {
    if (quanta == 0) {
        return 0.0;
    }
    if (device == m->request.device_count) {
        return (double)INFINITY;
    }
    double best = brute(m, mask, device + 1, quanta);
    for (uint64_t k = 1; (mask >> device & 1) != 0 && k <= quanta; k++) {
        if (k * m->request.granularity <= m->devices[device].unit_limit) {
            best = fmin(best, fmax(time_of(m, device, k * m->request.granularity), brute(m, mask, device + 1, quanta - k)));
        }
    }
    return best;
}

static void equals_brute_force(void **state) {
    (void)state;
    uint32_t splits = 0;
    for (int seed = 0; seed < 3000; seed++) {
        random_state = (uint64_t)seed;
        machine m;
        pel_plan_result r;
        uint32_t count = 1 + (uint32_t)below(4);
        uint64_t quanta = 1 + below(12), granularity = 1 + below(3);
        make(&m, count, quanta * granularity, granularity);
        m.request.margin = 1e-12;
        for (uint32_t i = 0; i < count; i++) {
            cost(&m, i, between(0.0, 20.0), between(0.5, 8.0));
            m.devices[i].move_start_ns = between(0.0, 3.0);
            m.devices[i].move_unit_ns = between(0.0, 1.0);
            m.devices[i].begins_ns = between(0.0, 5.0);
            if (below(3) == 0) {
                m.devices[i].unit_limit = below(quanta * granularity + 2);
            }
            if (below(3) == 0) {
                share_core(&m, i, (uint32_t)below(2));
                share_core(&m, i, (uint32_t)below(2) + 100);
            }
        }
        double best = (double)INFINITY;
        for (uint64_t mask = 1; mask < 1ull << count; mask++) {
            bool disjoint = true;
            for (uint32_t i = 0; i < count; i++) {
                for (uint32_t j = 0; j < i; j++) {
                    disjoint = disjoint && !((mask >> i & 1) && (mask >> j & 1) && overlap(&m, i, j));
                }
            }
            best = disjoint ? fmin(best, brute(&m, mask, 0, quanta)) : best;
        }
        if (isinf(best)) {
            memset(&r, 0xa5, sizeof r);
            assert_int_equal(pel_planner_plan(&m.request, &r), PEL_NO_DEVICE);
            assert_non_null(strstr(r.reason, "memory"));
            continue;
        }
        plan(&m, &r);
        splits += r.slice_count > 1;
        if (!(fabs(r.predicted_ns - best) <= 1e-9 * best)) {
            fail_msg("seed %d: planned %.6f, possible %.6f: %s", seed, r.predicted_ns, best, r.reason);
        }
    }
    assert_true(splits > 1000);
}

/* Large random requests, everything odd about them: invariants, and never slower than any single device. */
static void holds_on_random_requests(void **state) {
    (void)state;
    for (int seed = 0; seed < 20000; seed++) {
        random_state = (uint64_t)(1000000 + seed);
        machine m;
        pel_plan_result r;
        uint32_t count = 1 + (uint32_t)below(8);
        make(&m, count, 1 + (below(4) == 0 ? random_u64() - 1 : below(1u << below(30))), 1 + below(1u << below(12)));
        m.request.single_only = below(8) == 0;
        m.request.launches_seen = (uint32_t)below(200);
        bool all_known = true, any = false;
        for (uint32_t i = 0; i < count; i++) {
            pel_plan_device *d = &m.devices[i];
            cost(&m, i, exp(between(0.0, 14.0)), exp(between(-3.0, 6.0)));
            d->cost.deviation = between(0.0, 0.2);
            d->cost.samples = below(4) * below(8);
            d->cost.largest_units = (double)below(10000);
            d->prior_rate = exp(between(-3.0, 3.0));
            d->excluded = below(10) == 0 ? "its driver failed twice" : NULL;
            d->unit_limit = below(6) == 0 ? below(m.request.units) + 1 : UINT64_MAX;
            if (below(2) == 0) {
                share_core(&m, i, (uint32_t)below(3));
            }
            bool holds = d->excluded == NULL && d->unit_limit >= m.request.units;
            any = any || holds;
            all_known = all_known && d->cost.samples >= 12;
        }
        memset(&r, 0xa5, sizeof r);
        pel_status status = pel_planner_plan(&m.request, &r);
        if (!any && status != PEL_OK) {
            assert_int_equal(status, PEL_NO_DEVICE);
            assert_non_null(memchr(r.reason, '\0', sizeof r.reason));
            continue;
        }
        if (status != PEL_OK) {
            fail_msg("seed %d: %s", 1000000 + seed, r.reason);
        }
        check_plan(&m, &r);
        assert_true(!all_known || !r.exploring);
        if (!r.exploring) {
            for (uint32_t i = 0; i < count; i++) {
                if (m.devices[i].excluded == NULL && m.devices[i].unit_limit >= m.request.units &&
                    m.devices[i].cost.samples >= 2) {
                    assert_true(r.predicted_ns > 0.0 && r.predicted_ns <= time_of(&m, i, m.request.units) * (1.0 + 1e-9));
                }
            }
        }
    }
}

/* More work never takes less time, and the same request gets the same plan. */
static void is_monotone_and_repeatable(void **state) {
    (void)state;
    for (int seed = 0; seed < 300; seed++) {
        random_state = (uint64_t)(2000 + seed);
        machine m;
        static pel_plan_result r, again;
        make(&m, 1 + (uint32_t)below(6), 1, 1 + below(4));
        m.request.margin = 1e-12;
        for (uint32_t i = 0; i < m.request.device_count; i++) {
            cost(&m, i, between(0.0, 5000.0), between(1.0, 30.0));
        }
        double before = 0.0;
        for (uint64_t quanta = 1; quanta < 3000; quanta += 1 + below(200)) {
            m.request.units = quanta * m.request.granularity;
            plan(&m, &r);
            plan(&m, &again);
            assert_memory_equal(r.slices, again.slices, r.slice_count * sizeof r.slices[0]);
            assert_string_equal(r.reason, again.reason);
            assert_true(r.predicted_ns >= before * (1.0 - 1e-12));
            before = r.predicted_ns;
        }
    }
}

/* The formula of the literature: two devices, no rounding to speak of. */
static void two_devices_finish_together(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 2, 1000000, 1);
    cost(&m, 0, 10e3, 4.0);
    cost(&m, 1, 60e3, 1.0);
    plan(&m, &r);
    double level = (1e6 + 10e3 / 4.0 + 60e3) / (1.0 / 4.0 + 1.0);
    assert_int_equal(r.slice_count, 2);
    assert_true(fabs(r.predicted_ns - level) < 5.0);
    assert_true(fabs(r.slices[0].predicted_ns - r.slices[1].predicted_ns) < 5.0);
    assert_non_null(strstr(r.reason, "host + opencl:0 together: 850 us instead of 1.06 ms on opencl:0 alone"));
    assert_non_null(strstr(r.choices[0].reason, "host alone: 4.01 ms; slower than host + opencl:0 (850 us)"));
}

static void small_gains_are_refused(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 2, 100000, 1);
    cost(&m, 0, 0.0, 1.0);
    cost(&m, 1, 90e3, 1.0); /* together 95 us against 100 us */
    m.devices[0].cost.deviation = 0.0;
    plan(&m, &r);
    assert_int_equal(r.slice_count, 2);
    m.request.margin = 0.06;
    plan(&m, &r);
    assert_int_equal(r.slice_count, 1);
    m.request.margin = 0.0;
    m.devices[1].cost.deviation =
        0.06; /* two standard errors: 2.7 % (3 % is the least), and the wait for the later of two, one of them steady: 2.4 % */
    plan(&m, &r);
    assert_int_equal(r.slice_count, 1);
    assert_int_equal(r.slices[0].device, 0);
    assert_non_null(strstr(r.reason, "together gains too little"));
    bool told = false;
    for (uint32_t i = 0; i < r.choice_count; i++) {
        told = told || strstr(r.choices[i].reason, "gains 5.0 % over host alone, the margin for that is 5.4 %") != NULL;
    }
    assert_true(told);
}

/* A third device whose times scatter wildly must not keep two steady ones apart. */
static void one_noisy_device_is_left_out(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 3, 1000000, 1);
    cost(&m, 2, 0.0, 20.0);
    cost(&m, 0, 0.0, 1.0);
    cost(&m, 1, 0.0, 2.0);
    m.devices[2].cost.deviation = 0.5;
    plan(&m, &r);
    assert_int_equal(r.slice_count, 2);
    assert_int_equal(r.slices[0].device, 0);
    assert_int_equal(r.slices[1].device, 1);
}

static void shared_cores_are_alternatives(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 3, 1000000, 64);
    cost(&m, 0, 5e3, 3.0);
    cost(&m, 1, 60e3, 2.0);
    cost(&m, 2, 20e3, 1.0);
    share_core(&m, 0, 0);
    share_core(&m, 1, 0);
    plan(&m, &r);
    assert_int_equal(r.slice_count, 2);
    assert_int_equal(r.slices[0].device, 1);
    assert_int_equal(r.slices[1].device, 2);
    assert_non_null(strstr(r.reason, "host uses the same cores as opencl:0"));
}

static void start_cost_above_the_level_gets_nothing(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 3, 1000, 1);
    cost(&m, 0, 0.0, 10.0);
    cost(&m, 1, 0.0, 10.0);
    cost(&m, 2, 1e6, 0.001);
    plan(&m, &r);
    assert_int_equal(r.slice_count, 2);
    assert_int_equal(r.slices[0].hi, 500);
}

/* Shows a plan to a machine with true costs, and feeds what it sees back as a model would. */
static void learn(machine *m, const pel_plan_result *r, const double *a, const double *b) {
    for (uint32_t i = 0; i < r->slice_count; i++) {
        pel_cost *c = &m->devices[r->slices[i].device].cost;
        uint32_t d = r->slices[i].device;
        double n = (double)(r->slices[i].hi - r->slices[i].lo);
        if (c->samples == 0) {
            *c = (pel_cost){.start_ns = 0.0, .unit_ns = (a[d] + b[d] * n) / n, .samples = 1, .largest_units = n};
        } else {
            *c = (pel_cost){.start_ns = a[d],
                            .unit_ns = b[d],
                            .samples = c->samples + 1,
                            .largest_units = fmax(n, c->largest_units)};
        }
    }
    m->request.launches_seen++;
}

/* From nothing, on random machines: everybody is known after a few launches, each was seen at two sizes where it had a choice. */
static void exploration_ends(void **state) {
    (void)state;
    uint32_t longest = 0;
    for (int seed = 0; seed < 2000; seed++) {
        random_state = (uint64_t)(50000 + seed);
        machine m;
        pel_plan_result r;
        double a[8], b[8];
        make(&m, 1 + (uint32_t)below(8), 10000 + below(1000000), 1 + below(16));
        m.request.launches_seen = 0;
        for (uint32_t i = 0; i < m.request.device_count; i++) {
            m.devices[i].cost = (pel_cost){0};
            m.devices[i].prior_rate = exp(between(-1.0, 1.0));
            a[i] = between(1e3, 1e5);
            b[i] = exp(between(0.0, 3.0));
            if (below(3) == 0) {
                share_core(&m, i, (uint32_t)below(2));
            }
        }
        uint32_t launches = 0;
        for (; launches < 64; launches++) {
            plan(&m, &r);
            if (!r.exploring) {
                break;
            }
            learn(&m, &r, a, b);
        }
        if (launches == 64) {
            fail_msg("seed %d: still exploring: %s", 50000 + seed, r.reason);
        }
        longest = launches > longest ? launches : longest;
    }
    printf("# longest exploration: %u launches\n", longest);
    assert_true(longest <= 20);
}

static void one_unknown_device_gets_a_slice(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    double first = 0.0;
    make(&m, 3, 100000, 10);
    cost(&m, 0, 1e3, 2.0);
    cost(&m, 1, 1e3, 2.0);
    m.devices[2].cost = (pel_cost){0};
    for (int launch = 0; launch < 2; launch++) {
        plan(&m, &r);
        assert_true(r.exploring);
        assert_int_equal(r.slice_count, 3);
        double probe = (double)(r.slices[2].hi - r.slices[2].lo);
        assert_true(probe >= 10.0 && probe <= 100000.0 / 8.0);
        assert_true(first == 0.0 || fabs(probe / first - 1.0) >= 0.2);
        first = probe;
        m.devices[2].cost = (pel_cost){.unit_ns = 3.0, .samples = 1, .largest_units = probe};
    }
    assert_non_null(strstr(r.reason, "opencl:1 measured once; a small part of the work tells, host + opencl:0 does the rest"));
}

/* Only devices on the same cores: each is tried alone, then the better one stays. */
static void overlapping_devices_are_tried_in_turn(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    const double a[2] = {5e3, 60e3}, b[2] = {3.0, 2.0};
    uint32_t tried[2] = {0, 0};
    make(&m, 2, 1000000, 1);
    m.request.launches_seen = 0;
    share_core(&m, 0, 0);
    share_core(&m, 1, 0);
    m.devices[0].cost = m.devices[1].cost = (pel_cost){0};
    for (int launch = 0; launch < 4; launch++) {
        plan(&m, &r);
        assert_true(r.exploring);
        assert_int_equal(r.slice_count, 1);
        tried[r.slices[0].device]++;
        learn(&m, &r, a, b);
    }
    assert_int_equal(tried[0], 2);
    plan(&m, &r);
    assert_false(r.exploring);
    assert_int_equal(r.slices[0].device, 1);
}

/* A device that is never measured, whatever is tried, is asked ever more rarely and never stops the others. */
static void a_mute_device_costs_little(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    uint32_t asked = 0;
    make(&m, 2, 100000, 1);
    share_core(&m, 0, 0);
    share_core(&m, 1, 0);
    m.devices[1].cost = (pel_cost){0};
    for (m.request.launches_seen = 0; m.request.launches_seen < 400; m.request.launches_seen++) {
        plan(&m, &r);
        asked += r.slices[0].device == 1;
    }
    assert_true(asked <= 16 + 100);
}

/* A device that few and unlucky measurements keep out of the plan is looked at again, ever more rarely, and not for ever. */
static void left_out_devices_get_another_chance(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    uint32_t probes = 0, last = 0;
    make(&m, 2, 100000, 1);
    cost(&m, 1, 1e9, 1.0);
    m.devices[1].cost.samples = 2;
    for (m.request.launches_seen = 0; m.request.launches_seen < 1000; m.request.launches_seen++) {
        plan(&m, &r);
        if (r.slice_count > 1) {
            assert_true(r.exploring);
            assert_true(r.slices[1].hi - r.slices[1].lo <= 100000 / 8);
            m.devices[1].cost.samples++;
            last = m.request.launches_seen;
            probes++;
        }
    }
    assert_int_equal(probes, 10);
    assert_true(last < 300);
}

static void single_only_is_kept(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 3, 100000, 1);
    m.request.single_only = true;
    cost(&m, 1, 0.0, 0.5);
    plan(&m, &r);
    assert_int_equal(r.slice_count, 1);
    assert_int_equal(r.slices[0].device, 1);
    assert_non_null(strstr(r.reason, "may not be split"));
}

static void failures_name_the_devices(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 2, 1000, 1);
    m.devices[0].excluded = "no host variant";
    m.devices[1].unit_limit = 0;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_NO_DEVICE);
    assert_string_equal(r.reason, "no device can run this: host: no host variant; opencl:0: its memory holds 0 of 1000 units");
    m.request.units = 0;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_INVALID_ARGUMENT);
    m.request.units = 5;
    m.request.granularity = 0;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_INVALID_ARGUMENT);
    m.request.granularity = 1;
    m.request.margin = (double)NAN;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_INVALID_ARGUMENT);
    m.request.margin = 0.0;
    m.request.device_count = 65;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_INVALID_ARGUMENT);
}

/* Too large for each, not for both. */
static void memory_forces_a_split(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 2, 1000, 1);
    m.devices[0].unit_limit = 600;
    m.devices[1].unit_limit = 600;
    cost(&m, 1, 0.0, 100.0);
    plan(&m, &r);
    assert_int_equal(r.slice_count, 2);
    assert_int_equal(r.slices[0].hi, 600);
    m.devices[0].cost.samples = m.devices[1].cost.samples = 0;
    plan(&m, &r);
    assert_int_equal(r.slice_count, 2);
}

static void fixed_shares(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    const uint32_t devices[3] = {2, 0, 1};
    double weights[3] = {1.0, 2.0, 1.0};
    make(&m, 3, 1003, 10);
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_OK);
    check_plan(&m, &r);
    assert_int_equal(r.slice_count, 3);
    assert_int_equal(r.slices[0].device, 2);
    assert_int_equal(r.slices[0].hi, 250);
    assert_int_equal(r.slices[1].hi, 760);
    weights[1] = 0.0;
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_OK);
    assert_int_equal(r.slice_count, 2);
    weights[0] = weights[2] = 0.0;
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_INVALID_ARGUMENT);
    weights[0] = (double)NAN;
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_INVALID_ARGUMENT);
    weights[0] = weights[1] = weights[2] = 1.0;
    const uint32_t twice[3] = {1, 1, 0};
    assert_int_equal(pel_planner_fixed(&m.request, twice, weights, 3, &r), PEL_INVALID_ARGUMENT);
    share_core(&m, 0, 3);
    share_core(&m, 1, 3);
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_CONFLICT);
    assert_non_null(strstr(r.reason, "opencl:0 uses the same cores as host"));
    m.devices[1].cores = NULL;
    m.devices[2].unit_limit = 100;
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_TOO_LARGE);
    m.devices[2].excluded = "lost";
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_NO_DEVICE);
    m.devices[2].excluded = NULL;
    m.devices[2].unit_limit = 10000;
    m.request.single_only = true;
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 3, &r), PEL_UNSUPPORTED);
    assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 1, &r), PEL_OK);
}

static void fixed_shares_cover_everything(void **state) {
    (void)state;
    for (int seed = 0; seed < 5000; seed++) {
        random_state = (uint64_t)(90000 + seed);
        machine m;
        pel_plan_result r;
        uint32_t devices[8];
        double weights[8];
        make(&m, 8, 1 + (below(5) == 0 ? random_u64() - 1 : below(100000)), 1 + below(1000));
        for (uint32_t i = 0; i < 8; i++) {
            devices[i] = (i + (uint32_t)seed) % 8;
            weights[i] = below(3) == 0 ? 0.0 : exp(between(-20.0, 20.0));
        }
        weights[below(8)] = 1.0;
        assert_int_equal(pel_planner_fixed(&m.request, devices, weights, 8, &r), PEL_OK);
        check_plan(&m, &r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_brute_force),
        cmocka_unit_test(holds_on_random_requests),
        cmocka_unit_test(is_monotone_and_repeatable),
        cmocka_unit_test(two_devices_finish_together),
        cmocka_unit_test(small_gains_are_refused),
        cmocka_unit_test(one_noisy_device_is_left_out),
        cmocka_unit_test(shared_cores_are_alternatives),
        cmocka_unit_test(start_cost_above_the_level_gets_nothing),
        cmocka_unit_test(exploration_ends),
        cmocka_unit_test(one_unknown_device_gets_a_slice),
        cmocka_unit_test(overlapping_devices_are_tried_in_turn),
        cmocka_unit_test(a_mute_device_costs_little),
        cmocka_unit_test(left_out_devices_get_another_chance),
        cmocka_unit_test(single_only_is_kept),
        cmocka_unit_test(failures_name_the_devices),
        cmocka_unit_test(memory_forces_a_split),
        cmocka_unit_test(fixed_shares),
        cmocka_unit_test(fixed_shares_cover_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
