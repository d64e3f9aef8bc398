/* SPDX-License-Identifier: BSD-3-Clause */
/* The budget read from recorded trees: fixtures of real layouts, and trees made here for the odd ones. */
#include "topology/budget.h"
#include "topology/core_set.h"
#include "topology/scenario.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

static pel_core_set cores_of(const char *text) {
    pel_core_set set;
    assert_true(pel_core_set_parse(text, strlen(text), ',', &set));
    return set;
}

static pel_budget read_fixture(const char *name, const char *affinity) {
    char root[1024];
    pel_budget budget;
    pel_core_set cores = cores_of(affinity);
    snprintf(root, sizeof root, "%s/topology/%s", PEL_TEST_FIXTURES, name);
    pel_budget_read(root, &cores, &budget);
    return budget;
}

static void test_bare_machine(void **state) {
    (void)state;
    pel_budget budget = read_fixture("bare", "0-7");
    assert_int_equal(budget.core_count, 8);
    assert_int_equal(budget.usable, 8);
    assert_true(budget.quota_millicores == UINT64_MAX && budget.memory_limit == UINT64_MAX);
    assert_int_equal(budget.memory_available, 12000000ull * 1024);
}

/* docker run --cpus=2.5 --memory=1g --cpuset-cpus=2-5 with a private cgroup namespace */
static void test_docker_v2(void **state) {
    (void)state;
    pel_budget budget = read_fixture("docker-v2", "0-7");
    pel_core_set expected = cores_of("2-5");
    assert_memory_equal(&budget.cores, &expected, sizeof expected);
    assert_int_equal(budget.quota_millicores, 2500);
    assert_int_equal(budget.usable, 2); /* rounded down: never throttled */
    assert_int_equal(budget.memory_limit, 1024 * MIB);
    assert_int_equal(budget.memory_available, 1024 * MIB - (300 * MIB - 100 * MIB));
}

/* A batch job under systemd: the limits are on ancestors, the tightest wins. */
static void test_nested_v2(void **state) {
    (void)state;
    pel_budget budget = read_fixture("slurm-v2", "0-63");
    assert_int_equal(budget.quota_millicores, 4000);
    assert_int_equal(budget.core_count, 8);
    assert_int_equal(budget.usable, 4);
    assert_int_equal(budget.memory_limit, 4096 * MIB);
    assert_int_equal(budget.memory_available, 1024 * MIB); /* an ancestor's other children have used it up */
}

/* docker on v1 without a cgroup namespace: the path in /proc/self/cgroup is the host's, the mount shows the container's part. */
static void test_docker_v1(void **state) {
    (void)state;
    pel_budget budget = read_fixture("docker-v1", "0-15");
    pel_core_set expected = cores_of("0,3-4");
    assert_memory_equal(&budget.cores, &expected, sizeof expected);
    assert_int_equal(budget.quota_millicores, 500);
    assert_int_equal(budget.usable, 1); /* half a core is still one */
    assert_int_equal(budget.memory_limit, 512 * MIB);
    assert_int_equal(budget.memory_available, 512 * MIB - (200 * MIB - 50 * MIB));
}

/* v1 controllers beside an empty v2 hierarchy, no limits anywhere. */
static void test_hybrid(void **state) {
    (void)state;
    pel_budget budget = read_fixture("hybrid", "1");
    assert_int_equal(budget.usable, 1);
    assert_true(budget.quota_millicores == UINT64_MAX && budget.memory_limit == UINT64_MAX);
    assert_int_equal(budget.memory_available, 5000000ull * 1024);
}

static void test_nothing_readable(void **state) {
    (void)state;
    pel_budget budget;
    pel_core_set cores = cores_of("0-3");
    pel_budget_read("/proc/nowhere", &cores, &budget);
    assert_int_equal(budget.usable, 4);
    assert_true(budget.memory_available == UINT64_MAX);
    pel_budget_read("/proc/nowhere", NULL, &budget);
    assert_true(budget.usable >= 1);
}

static void test_this_machine(void **state) {
    (void)state;
    pel_budget budget;
    pel_budget_read("", NULL, &budget);
    assert_true(budget.usable >= 1 && budget.usable <= budget.core_count);
    assert_true(budget.memory_available > 0 && budget.memory_available < UINT64_MAX);
}

static const char mountinfo_v2[] = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";

static pel_budget read_tree(const char *cgroup, const char *file, const char *text) {
    pel_budget budget;
    pel_core_set cores = cores_of("0-7");
    char *root = scenario_directory();
    scenario_write(root, "proc/self/cgroup", cgroup);
    scenario_write(root, "proc/self/mountinfo", mountinfo_v2);
    if (file)
        scenario_write(root, file, text);
    pel_budget_read(root, &cores, &budget);
    scenario_remove(root);
    return budget;
}

/* Whatever a file holds, the budget stays sane. */
static void test_odd_contents(void **state) {
    (void)state;
    static const char *const odd[] = {"",
                                      "\n",
                                      "max",
                                      "max 100000\n",
                                      "0 0\n",
                                      "-1 -1\n",
                                      "100000\n",
                                      "100000 0\n",
                                      "abc def\n",
                                      "99999999999999999999999 100000\n",
                                      "1 18446744073709551615\n"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        pel_budget budget = read_tree("0::/\n", "sys/fs/cgroup/cpu.max", odd[i]);
        assert_true(budget.usable >= 1 && budget.usable <= 8 && budget.core_count == 8);
    }
    assert_int_equal(read_tree("0::/\n", "sys/fs/cgroup/cpu.max", "300000 100000\n").usable, 3);
    assert_int_equal(read_tree("0::/\n", "sys/fs/cgroup/cpu.max", "300000 100000").usable, 3); /* no newline */
    /* Cores that cannot be ours (another machine's file) do not empty the set. */
    assert_int_equal(read_tree("0::/\n", "sys/fs/cgroup/cpuset.cpus.effective", "100-110\n").core_count, 8);
    assert_int_equal(read_tree("0::/\n", "sys/fs/cgroup/cpuset.cpus.effective", "9-1\n").core_count, 8);
    assert_int_equal(read_tree("0::/\n", "sys/fs/cgroup/cpuset.cpus.effective", "1,3-4\n").core_count, 3);
    assert_int_equal(read_tree("0::/../../x\n", "sys/fs/cgroup/cpu.max", "100000 100000\n").usable,
                     1); /* outside our namespace */
    assert_int_equal(read_tree("nonsense\n::\n:\n\n0::/a\n", "sys/fs/cgroup/a/cpu.max", "200000 100000\n").usable, 2);
}

static void test_long_lines(void **state) {
    (void)state;
    char *root = scenario_directory();
    size_t length = 100000;
    char *text = malloc(length + sizeof mountinfo_v2 + 2);
    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\n';
    strcpy(text + length + 1, mountinfo_v2);
    pel_budget budget;
    pel_core_set cores = cores_of("0-7");
    scenario_write(root, "proc/self/cgroup", "0::/job\n");
    scenario_write(root, "proc/self/mountinfo", text);
    scenario_write(root, "sys/fs/cgroup/job/cpu.max", "500000 100000\n");
    pel_budget_read(root, &cores, &budget);
    assert_int_equal(budget.usable, 5);
    free(text);
    scenario_remove(root);
}

static void test_core_sets(void **state) {
    (void)state;
    static const char *const good[] = {"0", "0-3", "0-3,6", "1,3,5-7", "4095", "0-4095", "63-64"};
    static const char *const bad[] = {
        "", ",", "0,", ",0", "a", "1-", "-1", "3-1", "4096", "0-4096", "1 2", "1--2", "99999999999999999999", "0x1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        pel_core_set set = cores_of(good[i]);
        pel_text text;
        pel_text_init(&text, &pel_allocator_default);
        pel_core_set_format(&set, ',', &text);
        assert_string_equal(text.data, good[i]);
        pel_text_free(&text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pel_core_set set;
        assert_false(pel_core_set_parse(bad[i], strlen(bad[i]), ',', &set));
    }
    pel_core_set a = cores_of("0-3"), b = cores_of("3-5"), c = cores_of("2");
    assert_true(pel_core_set_overlaps(&a, &b) && !pel_core_set_overlaps(&b, &c) && pel_core_set_within(&c, &a) &&
                !pel_core_set_within(&b, &a));
    pel_core_set_unite(&a, &b);
    assert_int_equal(pel_core_set_count(&a), 6);
    pel_core_set_intersect(&a, &b);
    assert_memory_equal(&a, &b, sizeof a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare_machine), cmocka_unit_test(test_docker_v2),    cmocka_unit_test(test_nested_v2),
        cmocka_unit_test(test_docker_v1),    cmocka_unit_test(test_hybrid),       cmocka_unit_test(test_nothing_readable),
        cmocka_unit_test(test_this_machine), cmocka_unit_test(test_odd_contents), cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_core_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
