/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every kernel of the catalogue through the library: on each device alone and on forced splits over all of them, at odd sizes
 * too, against the reference. On one implementation a split must give the bits of the whole launch: shown on a simulated machine
 * whose devices have memory of their own (a transfer that is forgotten shows), and on two halves of PoCL where there are two
 * cores.
 */
#include "catalogue.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEED = 20261122, DEVICES = 8 };

static void tell(pel_error *error) {
    if (error) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
}

static pel_runtime *runtime_of(const char *devices, const pel_simulation *simulation) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.simulation = simulation;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        tell(error);
    }
    return runtime;
}

/* Launches with these shares (none: the planner's choice), checks against the reference, returns the digest of the bits. */
static uint64_t run(pel_runtime *runtime, pel_kernel *kernel, pel_case *c, const pel_share *shares, uint32_t share_count) {
    pel_case_binding binding;
    pel_queue *queue = NULL;
    pel_case_verdict verdict;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    pel_case_poison(c);
    assert_int_equal(pel_case_bind(runtime, c, &binding), PEL_OK);
    binding.launch.shares = shares;
    binding.launch.share_count = share_count;
    pel_status status = pel_launch(queue, kernel, &binding.launch, binding.args, c->arg_count, NULL);
    if (status == PEL_OK) {
        status = pel_queue_finish(queue);
    }
    if (status != PEL_OK) {
        tell(pel_queue_error(queue));
    }
    assert_int_equal(status, PEL_OK);
    pel_case_unbind(&binding);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    pel_case_verify(c, 0, &verdict);
    if (!verdict.passed) {
        for (uint32_t i = 0; i < share_count; i++) {
            print_message("share %u: %s %g\n", i, pel_device_get_info(shares[i].device)->id, shares[i].weight);
        }
        fail_msg("%s", verdict.story);
    }
    return pel_case_digest(c);
}

static bool share_cores(const pel_device *a, const pel_device *b) {
    for (size_t i = 0; i < PEL_CORE_LIMIT / 64; i++) {
        if ((pel_device_get_info(a)->cores.bits[i] & pel_device_get_info(b)->cores.bits[i]) != 0) {
            return true;
        }
    }
    return false;
}

/* The devices that may run at once: those that share no core with an earlier one. */
static uint32_t disjoint_devices(pel_runtime *runtime, const pel_device *list[DEVICES]) {
    uint32_t count = 0;
    for (uint32_t d = 0; d < pel_runtime_device_count(runtime); d++) {
        const pel_device *device = pel_runtime_device(runtime, d);
        bool alone = true;
        for (uint32_t i = 0; i < count; i++) {
            alone = alone && !share_cores(device, list[i]);
        }
        if (alone) {
            list[count++] = device;
        }
    }
    return count;
}

/* Shares over these devices, uneven in a way that `variant` decides; a weight may be 0. */
static void spread(const pel_device *const *list, uint32_t count, uint32_t variant, pel_share *shares) {
    for (uint32_t i = 0; i < count; i++) {
        shares[i].device = list[(i + variant) % count];
        shares[i].weight = (double)((i * 5 + variant * 3) % 7) + (i == 0 ? 1.0 : 0.0);
    }
}

static void check_kernel(pel_runtime *runtime, const pel_catalogue_kernel *what, const uint64_t *sizes, size_t size_count,
                         bool same_bits) {
    const uint32_t devices = pel_runtime_device_count(runtime);
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    if (pel_catalogue_create(runtime, what, false, &program, &kernel, &error) != PEL_OK) {
        tell(error);
        fail_msg("cannot make %s", what->name);
    }
    assert_in_range(devices, 1, DEVICES);
    const pel_device *list[DEVICES];
    const uint32_t together = disjoint_devices(runtime, list);
    for (size_t s = 0; s < size_count; s++) {
        pel_case c;
        pel_share shares[DEVICES];
        assert_int_equal(pel_case_setup(what, sizes[s], SEED, &c), PEL_OK);
        uint64_t whole = 0;
        for (uint32_t d = 0; d < devices; d++) {
            shares[0] = (pel_share){pel_runtime_device(runtime, d), 1.0};
            const uint64_t digest = run(runtime, kernel, &c, shares, 1);
            if (same_bits && d > 0 && digest != whole) {
                fail_msg("%s n=%llu: other bits on device %u", what->name, (unsigned long long)c.n, d);
            }
            whole = digest;
        }
        for (uint32_t variant = 0; together > 1 && c.n > 1 && variant < 3; variant++) {
            spread(list, together, variant, shares);
            const uint64_t digest = run(runtime, kernel, &c, shares, together);
            if (same_bits && digest != whole) {
                fail_msg("%s n=%llu: other bits when split (variant %u)", what->name, (unsigned long long)c.n, variant);
            }
        }
        for (int i = 0; i < 3; i++) {
            const uint64_t digest = run(runtime, kernel, &c, NULL, 0);
            assert_true(!same_bits || digest == whole);
        }
        pel_case_teardown(&c);
    }
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
}

static void check_all(pel_runtime *runtime, bool same_bits, bool short_list) {
    static const uint64_t plane[] = {67, 192, 1}, line[] = {5000, 16384, 1, 100003};
#ifdef __SANITIZE_THREAD__
    const size_t most = 1; /* each size compiles anew, which is slow there; races do not depend on sizes */
#else
    const size_t most = 4;
#endif
    for (size_t k = 0; pel_catalogue[k]; k++) {
        const bool is_line = pel_catalogue[k]->exponent == 1;
        const size_t count = short_list ? 2 : is_line ? 4 : 3;
        check_kernel(runtime, pel_catalogue[k], is_line ? line : plane, count < most ? count : most, same_bits);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void on_this_machine(void **state) {
    (void)state;
    pel_runtime *runtime = runtime_of(NULL, NULL);
    assert_non_null(runtime);
    check_all(runtime, false, false);
}

static void on_the_host_and_opencl_at_once(void **state) {
    (void)state;
    pel_runtime *runtime = runtime_of("host@0,opencl:0@1", NULL);
    if (!runtime) {
        skip();
    }
    check_all(runtime, false, true);
}

static void on_the_host_alone(void **state) {
    (void)state;
    pel_runtime *runtime = runtime_of("host", NULL);
    assert_non_null(runtime);
    check_all(runtime, true, false);
}

/* Two devices that run the same compiled code: PoCL on one core each. */
static void same_bits_on_halves_of_an_opencl_device(void **state) {
    (void)state;
    pel_runtime *runtime = runtime_of("opencl:0@0,opencl:0@1", NULL);
    if (!runtime) {
        skip(); /* one core, no OpenCL, or cores 0 and 1 are not ours */
    }
    check_all(runtime, true, true);
}

static void same_bits_on_a_simulated_machine(void **state) {
    (void)state;
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_simulated_device devices[4];
    memset(devices, 0, sizeof devices);
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(devices[i].name, sizeof devices[i].name, "d%u", i);
        devices[i].start_ns = 2000.0 * (i + 1);
        devices[i].rate = 100.0 * (i + 1);
        devices[i].noise = 0.1;
        devices[i].link_bytes_per_ns = i == 0 ? 0.0 : 4.0; /* all but the first have memory of their own */
        devices[i].link_latency_ns = i == 0 ? 0.0 : 500.0;
    }
    simulation.seed = SEED;
    simulation.devices = devices;
    simulation.device_count = 4;
    pel_runtime *runtime = runtime_of(NULL, &simulation);
    assert_non_null(runtime);
    check_all(runtime, true, false);
}

static void same_bits_on_a_described_machine(void **state) {
    (void)state;
    pel_simulation simulation = PEL_SIMULATION_INIT;
    simulation.seed = SEED;
    simulation.path = PEL_TEST_FIXTURES "/machines/laptop.machine";
    pel_runtime *runtime = runtime_of(NULL, &simulation);
    assert_non_null(runtime);
    check_all(runtime, true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_on_a_simulated_machine),
        cmocka_unit_test(same_bits_on_a_described_machine),
        cmocka_unit_test(on_the_host_alone),
        cmocka_unit_test(on_this_machine),
        cmocka_unit_test(on_the_host_and_opencl_at_once),
        cmocka_unit_test(same_bits_on_halves_of_an_opencl_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
