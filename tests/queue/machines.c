/* SPDX-License-Identifier: BSD-3-Clause */
/* See machines.h. */
#include "machines.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static uint64_t random_state;

void machine_seed(uint64_t seed) {
    random_state = seed;
}

uint64_t machine_random(void) { return test_random(&random_state); }

pel_simulated_device machine_device(const char *name, double rate, double link) {
    pel_simulated_device d;
    memset(&d, 0, sizeof d);
    snprintf(d.name, sizeof d.name, "%s", name);
    d.start_ns = 5000;
    d.rate = rate;
    d.link_bytes_per_ns = link;
    d.link_latency_ns = link > 0 ? 1000 : 0;
    return d;
}

pel_runtime *machine_create(const pel_simulated_device *devices, uint32_t count, const char *list) {
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    simulation.seed = 7;
    simulation.devices = devices;
    simulation.device_count = count;
    desc.simulation = &simulation;
    desc.devices = list;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    assert_non_null(runtime);
    return runtime;
}

pel_runtime *machine_host(uint32_t workers) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = "host";
    desc.host_workers = workers;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    return runtime;
}

pel_runtime *machine_of_three(void) {
    pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2), machine_device("cpu", 1, 0)};
    return machine_create(devices, 3, NULL);
}

pel_queue *machine_queue(pel_runtime *runtime) {
    pel_queue *queue = NULL;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    return queue;
}

void machine_finish(pel_queue *queue) {
    pel_status status = pel_queue_finish(queue);
    if (status != PEL_OK) {
        pel_error *error = pel_queue_error(queue);
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    assert_int_equal(status, PEL_OK);
}

pel_kernel *machine_kernel(pel_runtime *runtime, const char *name, const pel_param *params, uint32_t count, pel_host_fn host,
                           uint32_t flags) {
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    desc.name = name;
    desc.params = params;
    desc.param_count = count;
    desc.host = host;
    desc.flags = flags;
    if (pel_kernel_create(program, &desc, &kernel, &error) != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    assert_non_null(kernel);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    return kernel;
}

uint32_t machine_random_shares(pel_runtime *runtime, pel_share *shares) {
    uint32_t count = pel_runtime_device_count(runtime);
    for (uint32_t i = 0; i < count; i++) {
        shares[i] = (pel_share){pel_runtime_device(runtime, i), (double)(machine_random() % 4)};
    }
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(machine_random() % (i + 1));
        pel_share swap = shares[i];
        shares[i] = shares[j];
        shares[j] = swap;
    }
    shares[0].weight += 1;
    return count;
}

pel_status machine_double(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = 2 * in[i];
    }
    return PEL_OK;
}

pel_status machine_add_one(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = in[i] + 1;
    }
    return PEL_OK;
}

pel_plan *machine_plan_of(pel_event *event) {
    pel_plan *plan = NULL;
    assert_int_equal(pel_event_wait(event), PEL_OK);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    pel_event_release(event);
    return plan;
}

static pel_status put(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *in = arguments[0], k = *(const uint32_t *)arguments[2];
    uint32_t *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = 3 * in[i] + k;
    }
    return PEL_OK;
}

static pel_status add(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *in = arguments[0], k = *(const uint32_t *)arguments[2];
    uint32_t *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = 5 * out[i] + in[i] + k;
    }
    return PEL_OK;
}

pel_kernel *machine_put(pel_runtime *runtime, uint32_t flags) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1), PEL_PARAM_VALUE(uint32_t)};
    return machine_kernel(runtime, "put", params, 3, put, flags);
}

pel_kernel *machine_add(pel_runtime *runtime, uint32_t flags) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1), PEL_PARAM_VALUE(uint32_t)};
    return machine_kernel(runtime, "add", params, 3, add, flags);
}
