/* SPDX-License-Identifier: BSD-3-Clause */
/* The device list: its language and its meaning over invented tables, and properties that hold for any list and any table. */
#include "topology/devices.h"
#include "base/alloc.h"
#include "base/error.h"
#include "topology/core_set.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 12 };

typedef struct machine {
    pel_topology_device devices[MOST];
    pel_candidate candidates[MOST];
    char ids[MOST][32];
    pel_core_set cores;
    uint32_t count;
} machine;

static pel_core_set cores_of(const char *text) {
    pel_core_set set;
    assert_true(pel_core_set_parse(text, strlen(text), '+', &set));
    return set;
}

static void add(machine *m, pel_device_type type, const char *name, const char *platform, bool software) {
    uint32_t i = m->count++;
    snprintf(m->ids[i], sizeof m->ids[i], i ? "opencl:%u" : "host", i - 1);
    m->devices[i].info.id = m->ids[i];
    m->devices[i].info.name = name;
    m->devices[i].info.platform = platform;
    m->devices[i].info.memory_bytes = 1ull << 34;
    m->devices[i].info.kind = i ? PEL_DEVICE_OPENCL : PEL_DEVICE_HOST;
    m->devices[i].info.device_class = software                                        ? PEL_CLASS_SOFTWARE
                                      : type == PEL_TYPE_HOST || type == PEL_TYPE_CPU ? PEL_CLASS_HOST_CPU
                                                                                      : PEL_CLASS_DISCRETE;
    m->candidates[i] = (pel_candidate){.type = type, .software = software, .same_as = PEL_NO_DEVICE_INDEX};
}

/* host; 0 PoCL; 1 Intel CPU; 2 A100; 3 A100; 4 the first A100 through another platform; 5 FPGA; 6 broken GPU; 7 llvmpipe */
static void make_machine(machine *m) {
    memset(m, 0, sizeof *m);
    m->cores = cores_of("0-7");
    add(m, PEL_TYPE_HOST, "EPYC", "", false);
    add(m, PEL_TYPE_CPU, "pthread-EPYC", "Portable Computing Language", false);
    add(m, PEL_TYPE_CPU, "EPYC", "Intel(R) OpenCL", false);
    add(m, PEL_TYPE_GPU, "NVIDIA A100", "NVIDIA CUDA", false);
    add(m, PEL_TYPE_GPU, "NVIDIA A100", "NVIDIA CUDA", false);
    add(m, PEL_TYPE_GPU, "A100 (nouveau)", "rusticl", false);
    add(m, PEL_TYPE_ACCELERATOR, "Alveo", "Xilinx", false);
    add(m, PEL_TYPE_GPU, "Broken", "Old", false);
    add(m, PEL_TYPE_GPU, "llvmpipe (LLVM 15)", "rusticl", true);
    m->candidates[5].same_as = 3;
    m->candidates[7].unusable = "its driver has no compiler";
}

static pel_status choose(const machine *m, const char *text, pel_device_choice **choices, uint32_t *count, pel_error **error) {
    pel_device_list list;
    pel_device_table table = {m->devices, m->candidates, m->count, &m->cores};
    pel_status status = pel_device_list_parse(text, "PEL_DEVICES", &pel_allocator_default, &list, error);
    if (!status)
        status = pel_device_list_select(&list, &table, choices, count, error);
    pel_device_list_free(&list);
    return status;
}

/* The indices chosen, as a text: "0 1 3". */
static void expect(const char *list, const char *wanted) {
    machine m;
    make_machine(&m);
    pel_device_choice *choices = NULL;
    uint32_t count = 0;
    pel_error *error = NULL;
    char got[128] = "";
    if (choose(&m, list, &choices, &count, &error) != PEL_OK)
        fail_msg("%s: %s", list, pel_error_story(error));
    for (uint32_t i = 0; i < count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), i ? " %u" : "%u", choices[i].device);
    pel_free(&pel_allocator_default, choices);
    if (strcmp(got, wanted) != 0)
        fail_msg("%s: chose %s, not %s", list ? list : "default", got, wanted);
}

static void refuse(const char *list, pel_status status, const char *says) {
    machine m;
    make_machine(&m);
    pel_device_choice *choices = NULL;
    uint32_t count = 0;
    pel_error *error = NULL;
    assert_int_equal(choose(&m, list, &choices, &count, &error), status);
    assert_null(choices);
    if (!strstr(pel_error_message(error), says))
        fail_msg("%s says: %s", list, pel_error_message(error));
    assert_non_null(strstr(pel_error_message(error), "PEL_DEVICES"));
    pel_error_destroy(error);
}

static void test_meaning(void **state) {
    (void)state;
    expect(NULL, "0 1 3 4 6");
    expect("host", "0");
    expect("opencl:2", "3");
    expect("OpenCL:3, Host", "4 0");
    expect("gpu", "3 4");
    expect("gpu,host", "3 4 0");
    expect("cpu", "0 1 2");
    expect("accelerator", "6");
    expect("opencl", "1 2 3 4 6");
    expect("all", "0 1 2 3 4 6");
    expect("a100", "3 4");
    expect("cuda", "3 4");
    expect("portable", "1");
    expect("rusticl", "5 8");
    expect("llvmpipe", "8");
    expect("opencl:7", "8");
    expect("opencl:4", "5");
    expect("opencl:4,opencl:2", "5 3");
    expect("gpu,opencl:4", "3 4 5"); /* by its id the double may be had as well */
    expect("host,host,opencl:0,host", "0 1");
}

static void test_taking_away(void **state) {
    (void)state;
    expect("!gpu", "0 1 6");
    expect("!opencl", "0");
    expect("!host", "1 3 4 6");
    expect("!llvmpipe", "0 1 3 4 6");
    expect("!nothing-like-it", "0 1 3 4 6");
    expect("all,!cpu", "3 4 6");
    expect("!cpu,all", "3 4 6");
    expect("!opencl:0", "0 2 3 4 6"); /* the next CPU device takes its place */
    expect("!opencl:2", "0 1 4 5 6"); /* and the card's other face */
}

static void test_refused(void **state) {
    (void)state;
    refuse("opencl:99", PEL_NOT_FOUND, "there is: host (EPYC), opencl:0 (pthread-EPYC, Portable Computing Language)");
    refuse("vega", PEL_NOT_FOUND, "\"vega\" matches no device");
    refuse("opencl:6", PEL_NOT_FOUND, "has no compiler");
    refuse("broken", PEL_NOT_FOUND, "has no compiler");
    refuse("host,!host", PEL_NO_DEVICE, "leaves no device");
    refuse("!all", PEL_NO_DEVICE, "leaves no device");
    refuse("", PEL_INVALID_ARGUMENT, "names no device");
    refuse("host,,gpu", PEL_INVALID_ARGUMENT, "names no device");
    refuse("!", PEL_INVALID_ARGUMENT, "names no device");
    refuse("@0", PEL_INVALID_ARGUMENT, "names no device");
    refuse("host@", PEL_INVALID_ARGUMENT, "not a set of cores");
    refuse("host@1,2", PEL_NOT_FOUND, "\"2\"");
    refuse("host@x", PEL_INVALID_ARGUMENT, "not a set of cores");
    refuse("!host@0", PEL_INVALID_ARGUMENT, "taken away");
}

static void test_core_sets(void **state) {
    (void)state;
    expect("host@0,opencl:0@1-3+6", "0 1");
    expect("host@0,opencl:0@1,opencl:0@2", "0 1 1");
    expect("opencl:0@1,opencl:0@1", "1");
    expect("host@0-3,opencl:0", "0 1"); /* an undeclared one shares: the planner's business */
    refuse("host@0-3,opencl:0@3-5", PEL_CONFLICT, "host and opencl:0 both claim core 3");
    refuse("opencl:0@1-2,opencl:0@2", PEL_CONFLICT, "both claim core 2");
    refuse("cpu@0", PEL_CONFLICT, "host and opencl:0 both claim core 0");
    refuse("opencl:0[memory=64M],opencl:0[own]", PEL_CONFLICT, "opencl:0 is listed twice with different options");
    refuse("opencl:0[own;memory=63M;staging=4M]", PEL_INVALID_ARGUMENT, "33554432 of the 66060288 bytes");
    refuse("host@0,host@1", PEL_CONFLICT, "host is listed twice");
    refuse("opencl:0,opencl:0@1", PEL_CONFLICT, "opencl:0 is listed twice");
    refuse("host@8", PEL_INVALID_ARGUMENT, "the cores of this process are 0-7");
    refuse("opencl:2@0", PEL_INVALID_ARGUMENT, "processors of its own");
}

static void test_options(void **state) {
    (void)state;
    machine m;
    pel_device_choice *choices = NULL;
    pel_error *error = NULL;
    uint32_t count = 0;
    make_machine(&m);
    assert_int_equal(choose(&m, "opencl:0@0-1[memory=64M;own], gpu[allocation=3k],host", &choices, &count, &error), PEL_OK);
    assert_int_equal(count, 4);
    assert_true(choices[0].options.own && choices[0].declared);
    assert_int_equal(choices[0].options.memory, 64 << 20);
    assert_int_equal(choices[1].options.allocation, 3 << 10);
    assert_int_equal(choices[3].options.memory, 0);
    pel_topology_device row = {.host_coherent = true,
                               .info = {.memory_bytes = 1ull << 40, .max_allocation_bytes = 1ull << 38, .shares_host_memory = 1}};
    pel_device_options_apply(&choices[3].options, &row);
    assert_true(row.host_coherent && row.info.max_allocation_bytes == 1ull << 38);
    pel_device_options_apply(&choices[0].options, &row);
    assert_true(!row.host_coherent && !row.info.shares_host_memory);
    assert_int_equal(row.info.memory_bytes, 64 << 20);
    assert_int_equal(row.info.max_allocation_bytes, 64 << 20);
    pel_device_options_apply(&(pel_device_options){.staging = 4 << 10}, &row);
    assert_int_equal(row.staging_bytes, 4 << 10);
    assert_int_equal(row.info.memory_bytes, (64 << 20) - (32 << 10)); /* without the rings */
    assert_int_equal(row.info.max_allocation_bytes, (64 << 20) - (32 << 10));
    row.info.max_allocation_bytes = 1ull << 38;
    pel_device_options_apply(&(pel_device_options){.memory = 32 << 20, .allocation = 64 << 20}, &row);
    assert_int_equal(row.info.max_allocation_bytes, 32 << 20); /* no buffer is larger than the memory */
    pel_free(&pel_allocator_default, choices);
    static const char *const bad[] = {"opencl:0[",
                                      "opencl:0[]",
                                      "opencl:0[memory=]",
                                      "opencl:0[memory=0]",
                                      "opencl:0[memory=64X]",
                                      "opencl:0[memory=64MB]",
                                      "opencl:0[own]x",
                                      "opencl:0[own;]",
                                      "host[own]",
                                      "!opencl:0[own]",
                                      "[own]",
                                      "opencl:0[memory=99999999999999999999]",
                                      "opencl:0[allocation=17179869184G]",
                                      "opencl:0[staging=0]",
                                      "opencl:0[staging=257M]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(choose(&m, bad[i], &choices, &count, &error), PEL_INVALID_ARGUMENT);
        assert_non_null(strstr(pel_error_message(error), bad[i]));
        pel_error_destroy(error);
        error = NULL;
    }
}

static void test_what_opencl_is_needed_for(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool wants;
    } rows[] = {{NULL, true},   {"host", false},        {"host@0,host", false}, {"host,gpu", true}, {"!opencl", false},
                {"!gpu", true}, {"all,!opencl", false}, {"host,!gpu", false},   {"opencl:0", true}, {"hos", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pel_device_list list;
        assert_int_equal(pel_device_list_parse(rows[i].text, "test", &pel_allocator_default, &list, NULL), PEL_OK);
        assert_int_equal(pel_device_list_wants_opencl(&list), rows[i].wants);
        pel_device_list_free(&list);
    }
    pel_device_list list;
    pel_core_set cores, wanted = cores_of("1+4-5");
    assert_int_equal(pel_device_list_parse("host@0,opencl:0@1,pocl@4-5", "test", &pel_allocator_default, &list, NULL), PEL_OK);
    assert_true(pel_device_list_driver_cores(&list, &cores));
    assert_memory_equal(&cores, &wanted, sizeof cores);
    pel_device_list_free(&list);
}

static uint64_t random_state;

static uint32_t random_below(uint32_t bound) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % bound;
}

static void random_machine(machine *m) {
    static const char *const names[] = {"A", "B", "llvmpipe", "A100", ""};
    memset(m, 0, sizeof *m);
    m->cores = cores_of("0-5");
    add(m, PEL_TYPE_HOST, "EPYC", "", false);
    for (uint32_t i = random_below(MOST); i > 0; i--) {
        bool software = random_below(5) == 0;
        add(m, (pel_device_type)(PEL_TYPE_CPU + random_below(4)), names[random_below(5)], names[random_below(5)], software);
        pel_candidate *last = &m->candidates[m->count - 1];
        if (random_below(6) == 0)
            last->unusable = "broken";
        if (random_below(6) == 0 && m->count > 2)
            last->same_as = 1 + random_below(m->count - 2);
    }
}

static void random_list(char *text, size_t capacity) {
    static const char *const items[] = {"host",     "opencl",       "cpu",        "gpu",       "accelerator", "all",
                                        "opencl:0", "opencl:1",     "opencl:2",   "opencl:10", "A",           "llvmpipe",
                                        "nope",     "host@0",       "",           " ",         "@",           "!",
                                        "cpu@1+2",  "opencl:0@3-4", "opencl:1@5", "opencl:0@9"};
    text[0] = '\0';
    for (uint32_t i = 1 + random_below(4); i > 0; i--) {
        size_t used = strlen(text);
        snprintf(text + used, capacity - used, "%s%s%s", random_below(3) == 0 ? "!" : "",
                 items[random_below(sizeof items / sizeof *items)], i > 1 ? "," : "");
    }
}

static bool word_in(const char *text, const char *part) {
    return strcasestr(text, part) != NULL;
}

/* What must hold of any choice. */
static void check_choice(const machine *m, const char *text, const pel_device_choice *choices, uint32_t count) {
    bool names = word_in(text, "llvmpipe") || word_in(text, "opencl:") || word_in(text, "A");
    assert_true(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(choices[i].device < m->count);
        assert_null(m->candidates[choices[i].device].unusable);
        if (m->candidates[choices[i].device].software)
            assert_true(names);
        if (choices[i].declared) {
            assert_true(pel_core_set_count(&choices[i].cores) > 0);
            assert_true(pel_core_set_within(&choices[i].cores, &m->cores));
        }
        for (uint32_t j = 0; j < i; j++) {
            if (choices[i].declared && choices[j].declared)
                assert_false(pel_core_set_overlaps(&choices[i].cores, &choices[j].cores));
            if (choices[i].device == choices[j].device)
                assert_true(choices[i].declared && choices[j].declared && choices[i].device != 0);
        }
    }
    if (word_in(text, "!host")) {
        for (uint32_t i = 0; i < count; i++)
            assert_int_not_equal(choices[i].device, 0);
    }
}

static void test_properties(void **state) {
    (void)state;
    const char *seed = getenv("PEL_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : 20261122;
    printf("seed %llu\n", (unsigned long long)random_state);
    unsigned chosen = 0;
    for (int round = 0; round < 20000; round++) {
        machine m;
        char text[256];
        random_machine(&m);
        random_list(text, sizeof text);
        pel_device_choice *choices = NULL;
        uint32_t count = 0;
        pel_error *error = NULL;
        pel_status status = choose(&m, text, &choices, &count, &error);
        if (status == PEL_OK) {
            check_choice(&m, text, choices, count);
            chosen++;
        } else {
            assert_true(status == PEL_INVALID_ARGUMENT || status == PEL_NOT_FOUND || status == PEL_CONFLICT ||
                        status == PEL_NO_DEVICE);
            assert_true(error && *pel_error_message(error));
        }
        pel_free(&pel_allocator_default, choices);
        pel_error_destroy(error);
    }
    assert_true(chosen > 1000);
}

/* Bytes of any kind are a list or an error, never a crash. */
static void test_noise(void **state) {
    (void)state;
    machine m;
    make_machine(&m);
    random_state = 7;
    static const char alphabet[] = "host@0-9+,!:opencl gpu\t\n\x80\xff";
    for (int round = 0; round < 20000; round++) {
        char text[40];
        uint32_t length = random_below(sizeof text);
        for (uint32_t i = 0; i < length; i++)
            text[i] = alphabet[random_below(sizeof alphabet - 1)];
        text[length < sizeof text ? length : sizeof text - 1] = '\0';
        pel_device_choice *choices = NULL;
        uint32_t count = 0;
        pel_error *error = NULL;
        if (choose(&m, text, &choices, &count, &error) == PEL_OK)
            assert_true(count > 0);
        pel_free(&pel_allocator_default, choices);
        pel_error_destroy(error);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_taking_away),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_core_sets),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_what_opencl_is_needed_for),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
