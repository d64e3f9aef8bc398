/* SPDX-License-Identifier: BSD-3-Clause */
/* Work-groups that a launch leaves open: planned as the models say, told by the plan, learned under the right name, and the
 * results stay right. */
#include "core/runtime.h"
#include "model/variants.h"
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4096, ENOUGH = 30 };

static const char source[] = "__kernel void twice(__global const uint *in, __global uint *out) {\n"
                             "    size_t i = get_global_id(0);\n"
                             "    out[i] = 2 * in[i] + (uint)get_local_size(0);\n"
                             "}\n"
                             "__kernel __attribute__((reqd_work_group_size(64, 1, 1)))\n"
                             "void demanding(__global const uint *in, __global uint *out) {\n"
                             "    size_t i = get_global_id(0);\n"
                             "    out[i] = 2 * in[i] + (uint)get_local_size(0);\n"
                             "}\n"
                             "__kernel void local_one(__global const uint *in, __global uint *out, __local uint *own) {\n"
                             "    size_t i = get_global_id(0), l = get_local_id(0);\n"
                             "    own[l] = in[i];\n"
                             "    barrier(CLK_LOCAL_MEM_FENCE);\n"
                             "    out[i] = 2 * own[l] + (uint)get_local_size(0);\n"
                             "}\n";
static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1), PEL_PARAM_LOCAL};

typedef struct scene {
    uint32_t arg_count;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *in, *out;
    uint32_t values[COUNT], results[COUNT];
} scene;

/* One launch. *group: as the plan says; NULL: nobody asks for the plan. Whether the plan's words name a size of work-groups. */
static bool launch(scene *s, uint64_t local, uint32_t *group) {
    const pel_arg args[] = {pel_buf(s->in), pel_buf(s->out), pel_local(64 * sizeof(uint32_t))};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    bool named = false;
    desc.global[0] = COUNT;
    desc.local[0] = local;
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, s->arg_count, group ? &event : NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(s->queue), PEL_OK);
    if (group) {
        pel_plan *plan = NULL;
        pel_plan_chunk chunk;
        assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
        assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
        *group = chunk.work_group;
        named = strstr(pel_plan_text(plan), "alone in work-groups of 128: ") != NULL;
        pel_plan_destroy(plan);
        pel_event_release(event);
    }
    return named;
}

static void expect(const scene *s, uint32_t local) {
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(s->results[i], 2 * s->values[i] + local);
    }
}

/* The key of the device's own line of the kernel's family. */
static pel_model_key taught(const scene *s) {
    const uint64_t device = s->runtime->devices[0].model_id;
    pel_model_state state;
    for (size_t cursor = 0; pel_models_next(s->runtime->models, &cursor, &state);) {
        if (state.aspect == PEL_MODEL_ALONE && state.key.device == device) {
            return state.key;
        }
    }
    fail_msg("the launches taught nothing");
    return (pel_model_key){0};
}

static uint64_t samples_of(const scene *s, pel_model_key key) {
    return pel_models_predict(s->runtime->models, key).samples;
}

/* NULL: there is no device. */
static scene *start(const char *entry, uint32_t arg_count) {
    scene *s = calloc(1, sizeof *s);
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    assert_non_null(s);
    desc.devices = "opencl:0";
    desc.history = "off";
    if (pel_runtime_create(&desc, &s->runtime, NULL) != PEL_OK) {
        free(s);
        return NULL;
    }
    program_desc.source = source;
    kernel_desc.entry = entry;
    kernel_desc.params = params;
    s->arg_count = kernel_desc.param_count = arg_count;
    for (uint32_t i = 0; i < COUNT; i++) {
        s->values[i] = i * 2654435761u;
    }
    assert_int_equal(pel_queue_create(s->runtime, NULL, &s->queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(s->runtime, &program_desc, &s->program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(s->program, &kernel_desc, &s->kernel, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(s->runtime, s->values, sizeof s->values, &s->in), PEL_OK);
    assert_int_equal(pel_buffer_wrap(s->runtime, s->results, sizeof s->results, &s->out), PEL_OK);
    return s;
}

static void stop(scene *s) {
    pel_queue_destroy(s->queue);
    pel_kernel_destroy(s->kernel);
    pel_program_destroy(s->program);
    pel_buffer_destroy(s->in);
    pel_buffer_destroy(s->out);
    assert_int_equal(pel_runtime_destroy(s->runtime), PEL_OK);
    free(s);
}

/* As if groups of 128 had been seen to take half. */
static pel_model_key favour(const scene *s, pel_model_key key) {
    const pel_model_key other = {key.kernel, pel_group_device(key.device, 1)};
    for (int i = 0; i < ENOUGH; i++) {
        assert_int_equal(pel_models_observe(s->runtime->models, key, COUNT, 100e6), PEL_OK);
        assert_int_equal(pel_models_observe(s->runtime->models, other, COUNT, 50e6), PEL_OK);
    }
    return other;
}

static void test_planned_groups(void **state) {
    scene *s = start("twice", 2);
    uint32_t group = 1;
    (void)state;
    if (!s) {
        skip();
    }
    for (int i = 0; i < 4; i++) { /* the first ones compile */
        assert_false(launch(s, 0, &group));
        assert_int_equal(group, 0);
    }
    expect(s, 64);
    const pel_model_key other = favour(s, taught(s));
    assert_true(launch(s, 0, &group));
    assert_int_equal(group, pel_group_sizes[1]);
    expect(s, 128);
    const uint64_t before = samples_of(s, other);
    assert_true(launch(s, 0, &group)); /* what compiled was not learned from, this is */
    assert_true(samples_of(s, other) > before);
    assert_false(launch(s, 32, &group)); /* whoever asks for a size gets it */
    assert_int_equal(group, 0);
    expect(s, 32);
    for (int i = 0; i < 40; i++) { /* and launches that share decisions and jobs */
        memset(s->results, 0, sizeof s->results);
        (void)launch(s, 0, NULL);
        const uint32_t local = s->results[0] - 2 * s->values[0];
        assert_true(local == 64 || local == 128);
        expect(s, local);
    }
    stop(s);
}

/* A size that the kernel's source demands, or that the caller has sized its local memory for, is not the planner's. */
static void test_nothing_to_choose(void **state) {
    static const char *const entries[] = {"demanding", "local_one"};
    (void)state;
    for (uint32_t e = 0; e < 2; e++) {
        scene *s = start(entries[e], 2 + e);
        uint32_t group = 1;
        if (!s) {
            skip();
        }
        for (int i = 0; i < 4; i++) {
            (void)launch(s, 0, &group);
        }
        (void)favour(s, taught(s));
        for (int i = 0; i < 20; i++) {
            assert_false(launch(s, 0, &group));
            assert_int_equal(group, 0);
            expect(s, 64);
        }
        stop(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planned_groups), cmocka_unit_test(test_nothing_to_choose)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
