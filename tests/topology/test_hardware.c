/* SPDX-License-Identifier: BSD-3-Clause */
/* Discovery on machines that are not here: synthetic and recorded hwloc topologies, handed in as a caller would. */
#include "base/error.h"
#include "topology/core_set.h"
#include "topology/hardware.h"
#include "topology/scenario.h"
#include <hwloc.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static hwloc_topology_t synthetic(const char *description) {
    hwloc_topology_t topology;
    assert_int_equal(hwloc_topology_init(&topology), 0);
    assert_int_equal(hwloc_topology_set_synthetic(topology, description), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    return topology;
}

static hwloc_topology_t recorded(const char *file, bool io) {
    char path[1024];
    hwloc_topology_t topology;
    snprintf(path, sizeof path, "%s/topology/%s", PEL_TEST_FIXTURES, file);
    assert_int_equal(hwloc_topology_init(&topology), 0);
    if (io)
        assert_int_equal(hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL), 0);
    assert_int_equal(hwloc_topology_set_xml(topology, path), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    return topology;
}

static pel_topology *discover(hwloc_topology_t given, const char *devices) {
    pel_topology_options options = {.hwloc_topology = given, .devices = devices, .ignore_opencl = true};
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    if (pel_topology_discover(&options, &topology, &error) != PEL_OK)
        fail_msg("%s", pel_error_story(error));
    return topology;
}

/* Two nodes in a package that share a third-level cache, and processors of one core. */
static void test_places(void **state) {
    (void)state;
    hwloc_topology_t given = synthetic("pack:2 l3:1 numa:2 l2:2 core:1 pu:2");
    pel_topology *topology = discover(given, "host@2-5");
    const pel_places *places = topology->devices[0].places;
    static const struct {
        uint32_t a, b, distance;
    } expected[] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 2}, {0, 4, 3}, {4, 0, 3}, {0, 8, 5}, {7, 8, 5}, {0, 99, 5}};
    assert_non_null(places);
    assert_int_equal(places->count, 16);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(pel_place_distance(places, expected[i].a, expected[i].b), expected[i].distance);
    }
    pel_topology_destroy(topology);
    hwloc_topology_destroy(given);
}

static void test_two_sockets(void **state) {
    (void)state;
    hwloc_topology_t given = synthetic("pack:2 numa:1 core:4 pu:2");
    pel_topology *topology = discover(given, "host");
    assert_int_equal(topology->budget_count, 16);
    assert_int_equal(topology->devices[0].info.compute_units, 16);
    assert_int_equal(topology->devices[0].info.numa_node, -1); /* two nodes */
    pel_topology_destroy(topology);

    topology = discover(given, "host@0-7");
    assert_int_equal(topology->devices[0].info.compute_units, 8);
    assert_int_equal(topology->devices[0].info.numa_node, 0);
    assert_true(topology->devices[0].core_set_declared);
    pel_topology_destroy(topology);

    topology = discover(given, "host@8+10+12");
    assert_int_equal(topology->devices[0].info.compute_units, 3);
    assert_int_equal(topology->devices[0].info.numa_node, 1);
    pel_topology_destroy(topology);
    hwloc_topology_destroy(given); /* still ours, still valid */
}

static void test_many_cores(void **state) {
    (void)state;
    hwloc_topology_t given = synthetic("pack:8 numa:1 core:64 pu:2");
    pel_topology *topology = discover(given, "host");
    assert_int_equal(topology->budget_count, 1024);
    pel_topology_destroy(topology);
    hwloc_topology_destroy(given);
}

static void test_recorded_server(void **state) {
    (void)state;
    hwloc_topology_t given = recorded("server-2socket-gpu.xml", true);
    pel_topology *topology = discover(given, NULL);
    assert_int_equal(topology->budget_count, 8);
    assert_string_equal(topology->devices[0].info.name, "Invented Server CPU");
    pel_topology_destroy(topology);

    pel_hardware hardware;
    pel_hardware_open(&hardware, given);
    assert_false(hardware.this_system);
    pel_pci_address address = {.known = true, .domain_known = true, .domain = 0, .bus = 0x41};
    assert_int_equal(pel_hardware_node_of_pci(&hardware, "", &address), 1);
    address.bus = 0x42;
    assert_int_equal(pel_hardware_node_of_pci(&hardware, "", &address), -1); /* no such card; the real machine is not asked */
    pel_hardware_close(&hardware);
    hwloc_topology_destroy(given);
}

/* Our own load obeys the binding that the calling thread inherited. */
static void test_binding(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    size_t core = 0;
    while (!CPU_ISSET(core, &before))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    pel_topology *topology = discover(NULL, "host");
    assert_int_equal(topology->budget_count, 1);
    assert_true(pel_core_set_has(&topology->devices[0].info.cores, (uint32_t)core));
    assert_int_equal(pel_core_set_count(&topology->devices[0].info.cores), 1);
    pel_topology_destroy(topology);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    topology = discover(NULL, "host");
    assert_int_equal(pel_core_set_count(&topology->budget_cores), CPU_COUNT(&before));
    pel_topology_destroy(topology);
}

/* A recorded machine's quota and memory beside its own cores. */
static void test_quota_of_a_tree(void **state) {
    (void)state;
    char root[1024];
    snprintf(root, sizeof root, "%s/topology/docker-v1", PEL_TEST_FIXTURES);
    pel_topology_options options = {.root = root, .devices = "host", .ignore_opencl = true};
    pel_topology *topology = NULL;
    assert_int_equal(pel_topology_discover(&options, &topology, NULL), PEL_OK);
    assert_int_equal(topology->budget_count, 1);
    assert_int_equal(topology->devices[0].info.memory_bytes, (512ull - 150) << 20);
    pel_topology_destroy(topology);
}

static void test_thousand_times(void **state) {
    (void)state;
    hwloc_topology_t given = synthetic("pack:1 core:2 pu:1");
    for (int i = 0; i < 1000; i++)
        pel_topology_destroy(discover(given, "host@1"));
    hwloc_topology_destroy(given);
}

int main(void) {
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_XMLFILE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),          cmocka_unit_test(test_two_sockets), cmocka_unit_test(test_many_cores),
        cmocka_unit_test(test_recorded_server), cmocka_unit_test(test_binding),     cmocka_unit_test(test_quota_of_a_tree),
        cmocka_unit_test(test_thousand_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
