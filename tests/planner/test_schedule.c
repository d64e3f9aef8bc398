/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules of whole graphs: the paper's own example, that they are ones, and random graphs against placing command by
 * command. */
#include "planner/schedule.h"

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

static uint64_t random_number(void) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(void) { return ((double)(random_number() >> 11) + 0.5) * 0x1p-53; }

enum { TASKS = 80, DEVICES = 4, WAYS = DEVICES + 2, EDGES = 400 };

static pel_schedule_device devices[DEVICES];
static pel_schedule_edge edges[EDGES];
static pel_schedule_way ways[TASKS * WAYS];
static uint64_t divided[TASKS];
static double home[TASKS];
static pel_schedule_request request;

/* Ten tasks on three processors (Topcuoglu et al. 2002, figure 2). A transfer costs the same between any two of them, so half
 * of it goes either way. */
static void test_the_paper(void **state) {
    (void)state;
    static const double costs[10][3] = {{14, 16, 9}, {13, 19, 18}, {11, 13, 19}, {13, 8, 17}, {12, 13, 10},
                                        {13, 16, 9}, {7, 15, 11},  {5, 11, 14},  {18, 12, 20}, {21, 7, 16}};
    static const struct {
        uint32_t from, to;
        double cost;
    } links[15] = {{1, 2, 18}, {1, 3, 12}, {1, 4, 9},  {1, 5, 11}, {1, 6, 14},  {2, 8, 19},  {2, 9, 16}, {3, 7, 23},
                   {4, 8, 27}, {4, 9, 23}, {5, 9, 13}, {6, 8, 15}, {7, 10, 17}, {8, 10, 11}, {9, 10, 13}};
    memset(ways, 0, sizeof ways);
    for (uint32_t t = 0; t < 10; t++) {
        for (uint32_t d = 0; d < 3; d++) {
            ways[t * 5 + d] = (pel_schedule_way){true, costs[t][d]};
        }
    }
    for (uint32_t d = 0; d < 3; d++) {
        devices[d] = (pel_schedule_device){0, 0, 0.5, true};
    }
    for (uint32_t e = 0; e < 15; e++) {
        edges[e] = (pel_schedule_edge){links[e].from - 1, links[e].to - 1, links[e].cost};
    }
    request = (pel_schedule_request){
        .task_count = 10, .device_count = 3, .edge_count = 15, .devices = devices, .edges = edges, .ways = ways};
    pel_schedule schedule;
    assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &schedule), PEL_OK);
    print_message("the paper's example: %.1f (80 there), in order %.1f\n", schedule.earliest_ns, schedule.in_order_ns);
    assert_true(schedule.earliest_ns <= 80.0 + 1e-9);
    pel_schedule_free(&schedule, &pel_allocator_default);
}

/* Layers of tasks that read what some of the layers before wrote; devices that differ in speed, one or two of them with memory
 * of their own. */
static void draw(uint64_t seed, bool with_divisions) {
    random_state = seed;
    const uint32_t tasks = 10 + (uint32_t)(random_number() % (TASKS - 10)),
                   count = 2 + (uint32_t)(random_number() % (DEVICES - 1));
    const double communication = exp(4.0 * uniform() - 3.0); /* transfers over computing, from 1:20 to 3:1 */
    double speed[DEVICES];
    uint32_t edge_count = 0;
    for (uint32_t d = 0; d < count; d++) {
        const bool has_memory = random_number() % 2, beside = random_number() % 2;
        speed[d] = exp(2.0 * uniform());
        devices[d] = (pel_schedule_device){0, has_memory ? 1000 : 0, has_memory ? 0.5 + uniform() : 0, beside};
    }
    if (random_number() % 3 == 0) { /* two that share cores */
        devices[0].overlaps = 2;
        devices[1].overlaps = 1;
    }
    for (uint32_t t = 0; t < tasks; t++) {
        pel_schedule_way *of = &ways[t * (count + 2)];
        const double work = 1e5 * exp(2.0 * uniform());
        const bool is_host_task = random_number() % 10 == 0;
        double rate = 0;
        memset(of, 0, (count + 2) * sizeof *of);
        divided[t] = 0;
        home[t] = random_number() % 8 == 0 ? 1e5 * communication * uniform() : 0;
        for (uint32_t d = 0; d < count && !is_host_task; d++) {
            const double own = work / speed[d] * exp(uniform() - 0.5);
            of[d] = (pel_schedule_way){true, own};
            if ((divided[t] & devices[d].overlaps) == 0) {
                divided[t] |= 1ull << d;
                rate += 1 / own;
            }
        }
        of[count] = (pel_schedule_way){is_host_task, work};
        of[count + 1] =
            (pel_schedule_way){with_divisions && !is_host_task && random_number() % 2, is_host_task ? 0 : 5000 + 1 / rate};
        for (uint32_t k = 0; k < 3 && t > 0 && edge_count < EDGES; k++) {
            const uint32_t from = t - 1 - (uint32_t)(random_number() % (t < 12 ? t : 12));
            edges[edge_count++] = (pel_schedule_edge){from, t, 1e5 * communication * (random_number() % 4 ? uniform() : 0)};
        }
    }
    request = (pel_schedule_request){.task_count = tasks,
                                     .device_count = count,
                                     .edge_count = edge_count,
                                     .devices = devices,
                                     .edges = edges,
                                     .ways = ways,
                                     .divided = divided,
                                     .home_bytes = home};
}

static uint64_t devices_of(const pel_schedule *s, uint32_t t) {
    return s->places[t].way < request.device_count           ? 1ull << s->places[t].way
           : s->places[t].way == pel_schedule_home(&request) ? 0
                                                             : divided[t];
}

/* Nothing begins before what it follows has ended, takes another time than it does, or is where something else is. */
static void check(const pel_schedule *s) {
    for (uint32_t e = 0; e < request.edge_count; e++) {
        assert_true(s->places[edges[e].to].begin_ns >= s->places[edges[e].from].end_ns - 1e-6);
    }
    for (uint32_t a = 0; a < request.task_count; a++) {
        const pel_schedule_place *place = &s->places[a];
        const pel_schedule_way *way = &ways[a * (request.device_count + 2) + place->way];
        assert_true(way->possible && place->end_ns - place->begin_ns > way->ns - 1e-3 && place->ns == way->ns &&
                    place->end_ns <= s->makespan_ns + 1e-6);
        uint64_t taken = devices_of(s, a);
        for (uint32_t d = 0; d < request.device_count; d++) {
            taken |= (devices_of(s, a) >> d & 1u) != 0 ? devices[d].overlaps : 0;
        }
        for (uint32_t b = 0; b < a; b++) {
            if ((taken & devices_of(s, b)) != 0) {
                assert_true(place->begin_ns >= s->places[b].end_ns - 1e-6 || s->places[b].begin_ns >= place->end_ns - 1e-6);
            }
        }
    }
}

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* HEFT over all devices against placing in order, both by the same model; and what is chosen in the end. */
static void compare(bool with_divisions) {
    enum { SEEDS = 1000 };
    static double heft[SEEDS], chosen[SEEDS];
    uint32_t kinds[3] = {0};
    for (uint32_t i = 0; i < SEEDS; i++) {
        pel_schedule s;
        draw(i + 1, with_divisions);
        assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &s), PEL_OK);
        check(&s);
        heft[i] = s.earliest_ns / s.in_order_ns;
        chosen[i] = s.makespan_ns / s.in_order_ns;
        kinds[s.kind]++;
        pel_schedule_free(&s, &pel_allocator_default);
    }
    qsort(heft, SEEDS, sizeof *heft, ascending);
    qsort(chosen, SEEDS, sizeof *chosen, ascending);
    print_message(
        "%s: HEFT / in order: median %.3f, 95 %% %.3f, worst %.3f; chosen / in order: median %.3f, worst %.3f; %u by HEFT, %u "
        "alone, %u in order\n",
        with_divisions ? "with divisions" : "whole launches", heft[SEEDS / 2], heft[SEEDS * 95 / 100], heft[SEEDS - 1],
        chosen[SEEDS / 2], chosen[SEEDS - 1], kinds[0], kinds[1], kinds[2]);
    assert_true(heft[SEEDS / 2] <= 1.0 && heft[SEEDS - 1] <= 1.5);
    assert_true(chosen[SEEDS - 1] <= 1.0);
}

static void test_random_graphs(void **state) {
    (void)state;
    compare(false);
    compare(true);
}

static void test_refusals(void **state) {
    (void)state;
    pel_schedule s;
    draw(1, false);
    const pel_schedule_edge before = edges[0];
    edges[0] = (pel_schedule_edge){3, 3, 1};
    assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &s), PEL_INVALID_ARGUMENT);
    edges[0] = before;
    memset(ways, 0, (request.device_count + 2) * sizeof *ways);
    assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &s), PEL_INVALID_ARGUMENT);
    ways[request.device_count + 1] = (pel_schedule_way){true, 5};
    divided[0] = 0;
    assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &s), PEL_INVALID_ARGUMENT);
    ways[0] = (pel_schedule_way){true, NAN};
    ways[request.device_count + 1].possible = false;
    assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &s), PEL_INVALID_ARGUMENT);
    ways[0].ns = 1;
    assert_int_equal(pel_schedule_make(&request, &pel_allocator_default, &s), PEL_OK);
    pel_schedule_free(&s, &pel_allocator_default);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_paper), cmocka_unit_test(test_random_graphs),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
