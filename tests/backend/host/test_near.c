/* SPDX-License-Identifier: BSD-3-Clause */
/* From whom a worker steals, on machines that are not here: two packages with caches that some cores share, nodes, processors
 * of one core; workers that are not wanted. */
#include "backend/host/host.h"
#include "core/runtime.h"

#include <hwloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void expect_list(const uint16_t *list, const uint16_t *expected, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] != expected[i]) {
            fail_msg("place %u: %u instead of %u", i, list[i], expected[i]);
        }
    }
}

static void test_nearest_first(void **state) {
    (void)state;
    const uint8_t even[] = {0, 0, 0, 0}, uneven[] = {5, 5, 0, 1, 6, 1};
    uint16_t list[8];
    pel_host_order_victims(list, 2, 4, 6, even); /* a ring, then guests */
    expect_list(list, (const uint16_t[]){3, 0, 1, 4, 5}, 5);
    pel_host_order_victims(list, 2, 6, 8, uneven); /* worker 4 is not wanted */
    expect_list(list, (const uint16_t[]){3, 5, 0, 1, 4, 6, 7}, 7);
    pel_host_order_victims(list, 0, 1, 3, even);
    expect_list(list, (const uint16_t[]){1, 2}, 2);
}

static pel_runtime *open_runtime(hwloc_topology_t machine, uint32_t workers) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = "host";
    desc.host_workers = workers;
    desc.flags = PEL_RUNTIME_BIND_WORKERS; /* each is where it is bound, or would be on such a machine */
    desc.hwloc_topology = machine;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    return runtime;
}

static hwloc_topology_t machine_of(const char *description) {
    hwloc_topology_t machine;
    assert_int_equal(hwloc_topology_init(&machine), 0);
    assert_int_equal(hwloc_topology_set_synthetic(machine, description), 0);
    assert_int_equal(hwloc_topology_load(machine), 0);
    return machine;
}

/* Every list has everybody once, workers by distance, then the guests. */
static void check_lists(const pel_host_device *host, const pel_places *places) {
    const uint32_t workers = host->worker_count, runners = host->tasks.runner_count;
    for (uint32_t i = 0; i < workers; i++) {
        const uint16_t *list = host->tasks.runners[i].victims;
        uint32_t seen[64] = {0}, before = 0;
        for (uint32_t k = 0; k < runners - 1; k++) {
            const uint32_t distance = list[k] < workers ? pel_place_distance(places, i, list[k]) : PEL_PLACE_LEVELS + 1;
            assert_int_equal(seen[list[k]]++, 0);
            assert_true(list[k] != i && distance >= before);
            before = distance;
        }
    }
}

/* How far two processors are apart, asked of hwloc itself: the same core, a cache that both have, a node, a package, none. */
static uint32_t rank_of(hwloc_topology_t machine, uint32_t a, uint32_t b) {
    const hwloc_obj_t one = hwloc_get_pu_obj_by_os_index(machine, a), other = hwloc_get_pu_obj_by_os_index(machine, b);
    const hwloc_obj_t common = hwloc_get_common_ancestor_obj(machine, one, other);
    if (common->type == HWLOC_OBJ_CORE) {
        return 0;
    }
    for (hwloc_obj_t at = common; at; at = at->parent) {
        if (hwloc_obj_type_is_cache(at->type)) {
            return at->attr->cache.depth == 2 ? 1 : 2;
        }
    }
    return hwloc_bitmap_isequal(one->nodeset, other->nodeset) ? 3
           : hwloc_get_ancestor_obj_by_type(machine, HWLOC_OBJ_PACKAGE, one) ==
                   hwloc_get_ancestor_obj_by_type(machine, HWLOC_OBJ_PACKAGE, other)
               ? 4
               : 5;
}

/* Whatever nests in what: who shares a core or a cache comes first, then the node, then the package, then all others, and
 * everybody once. */
static void test_order_on_many_machines(void **state) {
    static const char *const machines[] = {"pack:2 numa:2 l3:2 l2:2 core:1 pu:2", "pack:2 numa:1 l3:2 l2:1 core:2 pu:2",
                                           "pack:1 numa:4 l2:2 core:2 pu:1",      "pack:4 numa:1 core:4 pu:1",
                                           "pack:2 numa:2 core:4 pu:1",           "pack:1 l3:4 l2:2 core:2 pu:1"};
    (void)state;
    for (size_t m = 0; m < sizeof machines / sizeof *machines; m++) {
        hwloc_topology_t machine = machine_of(machines[m]);
        pel_runtime *runtime = open_runtime(machine, 0);
        const pel_host_device *host = (const pel_host_device *)runtime->task_device->driver;
        uint32_t ranks_seen = 0;
        assert_true(host->worker_count >= 16);
        for (uint32_t i = 0; i < host->worker_count; i++) {
            uint64_t seen = 0;
            uint32_t before = 0;
            for (uint32_t k = 0; k < host->worker_count - 1; k++) { /* guests are behind them */
                const uint32_t victim = host->tasks.runners[i].victims[k], rank = rank_of(machine, i, victim);
                if (rank < before) {
                    fail_msg("%s: worker %u asks %u too late", machines[m], i, victim);
                }
                before = rank;
                seen |= UINT64_C(1) << victim;
                ranks_seen |= 1u << rank;
            }
            assert_true(seen == (((UINT64_C(1) << host->worker_count) - 1) & ~(UINT64_C(1) << i)));
        }
        assert_true((ranks_seen & (ranks_seen - 1)) != 0); /* there was something to decide */
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
        hwloc_topology_destroy(machine);
    }
}

static void test_two_packages(void **state) {
    (void)state;
    /* 16 processors: pairs in cores, fours in caches, eights in packages */
    hwloc_topology_t machine = machine_of("pack:2 numa:1 l3:2 l2:1 core:2 pu:2");
    pel_runtime *runtime = open_runtime(machine, 0);
    const pel_host_device *host = (const pel_host_device *)runtime->task_device->driver;
    assert_int_equal(host->worker_count, 16);
    assert_non_null(host->places);
    check_lists(host, host->places);
    /* its core's other half, its caches' */
    expect_list(host->tasks.runners[5].victims, (const uint16_t[]){4, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15}, 3);
    for (uint32_t k = 0; k < 4; k++) {
        assert_true(host->tasks.runners[5].victims[3 + k] < 4); /* its package's */
    }
    assert_true(pel_host_near_weight(&host->workers[5], &host->workers[4]) >
                pel_host_near_weight(&host->workers[5], &host->workers[6]));
    assert_true(pel_host_near_weight(&host->workers[5], &host->workers[0]) >
                pel_host_near_weight(&host->workers[5], &host->workers[15]));
    assert_true(pel_host_near_weight(&host->workers[5], &host->workers[15]) >= 1);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    hwloc_topology_destroy(machine);
}

static void test_even_machines_are_left_alone(void **state) {
    (void)state;
    hwloc_topology_t machine = machine_of("pack:1 l3:1 core:6 pu:1");
    pel_runtime *runtime = open_runtime(machine, 6);
    const pel_host_device *host = (const pel_host_device *)runtime->task_device->driver;
    assert_null(host->places);
    expect_list(host->tasks.runners[4].victims, (const uint16_t[]){5, 0, 1, 2, 3, 6}, 6);
    assert_int_equal(pel_host_near_weight(&host->workers[0], &host->workers[5]), 1);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    hwloc_topology_destroy(machine);
}

enum { PARTS = 4000, ROUNDS = 30 };

static pel_status count_part(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add((atomic_ullong *)context, end - begin);
    return PEL_OK;
}

static pel_status count_one(void *context) {
    atomic_fetch_add((atomic_ullong *)context, 1);
    return PEL_OK;
}

/* Lists are made again while everybody steals, and workers come and go. */
static void test_work_while_workers_change(void **state) {
    (void)state;
    hwloc_topology_t machine = machine_of("pack:2 numa:1 core:3 pu:1");
    for (int bound = 0; bound < 2; bound++) {
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        pel_runtime *runtime = NULL;
        pel_queue *queue = NULL;
        atomic_ullong count = 0;
        desc.devices = "host";
        desc.flags = bound ? PEL_RUNTIME_BIND_WORKERS : 0;
        desc.hwloc_topology = machine;
        desc.spin_us = -1; /* they sleep, and so wake */
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
        for (uint32_t i = 0; i < ROUNDS; i++) {
            assert_int_equal(pel_runtime_set_workers(runtime, 1 + i * 5 % 6), PEL_OK);
            assert_int_equal(pel_loop(queue, PARTS, 1, count_part, &count, NULL, 0, NULL, NULL), PEL_OK);
            for (int k = 0; k < 100; k++) {
                assert_int_equal(pel_task(queue, count_one, &count, NULL, 0, NULL, NULL), PEL_OK);
            }
            assert_int_equal(pel_queue_finish(queue), PEL_OK);
        }
        assert_int_equal(atomic_load(&count), ROUNDS * (PARTS + 100));
        assert_int_equal(pel_queue_destroy(queue), PEL_OK);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    hwloc_topology_destroy(machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nearest_first), cmocka_unit_test(test_two_packages),
                                       cmocka_unit_test(test_order_on_many_machines),
                                       cmocka_unit_test(test_even_machines_are_left_alone),
                                       cmocka_unit_test(test_work_while_workers_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
