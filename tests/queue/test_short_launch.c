/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host launches that run as tasks, made by hand so that no clock decides whether they are, and through pel_launch, where one may.
 */
#include "machines.h"

#include "core/runtime.h"
#include "queue/short_launch.h"
#include "support/counted.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { ITEMS = 64, AGAIN = 3000 };

static pel_runtime *runtime;
static pel_queue *queue;
static unsigned in[ITEMS], out[ITEMS];

static int set_up(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = 2;
    memset(out, 0, sizeof out);
    for (unsigned i = 0; i < ITEMS; i++) {
        in[i] = i;
    }
    const pel_status status = pel_runtime_create(&desc, &runtime, NULL);
    queue = status == PEL_OK ? machine_queue(runtime) : NULL;
    return (int)status;
}

static int tear_down(void **state) {
    (void)state;
    return pel_queue_destroy(queue) != PEL_OK || pel_runtime_destroy(runtime) != PEL_OK;
}

/* out[i] += in[i] * factor; with a factor of 0 it fails, with 1 it tries what host functions may not. */
static pel_status refused;
static pel_status nothing(void *context) {
    (void)context;
    return PEL_OK;
}
static pel_status add_scaled(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const unsigned factor = *(const unsigned *)arguments[0], *from = arguments[1];
    unsigned *to = arguments[2];
    (void)scratch, (void)user;
    if (factor == 1) {
        refused = pel_task(queue, nothing, NULL, NULL, 0, NULL, NULL);
        refused = refused == PEL_OK ? pel_queue_finish(queue) : refused;
    }
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        to[i] += from[i] * factor;
    }
    return factor == 0 ? PEL_IO : PEL_OK;
}

/* to[group] = first item and number of items of it */
static pel_status by_group(const pel_group *group, void *const *arguments, void *scratch, void *user) {
    unsigned *to = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = group->lo[0]; i < group->hi[0]; i++) {
        to[i] = (unsigned)(group->id[0] * 1000 + group->local[0]);
    }
    return PEL_OK;
}

static const pel_param params[] = {PEL_PARAM_VALUE(unsigned), PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};

typedef struct fixture {
    pel_kernel *kernel;
    pel_buffer *from, *to;
    pel_arg args[3];
    pel_short *launch;
} fixture;

static pel_short *make(pel_kernel *kernel, const pel_arg *args, uint32_t count, uint64_t local) {
    pel_bound bound;
    pel_uses uses = {0};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    desc.local[0] = local;
    assert_int_equal(pel_bind(kernel, &desc, args, count, &bound, NULL), PEL_OK);
    for (uint32_t i = 0; i < count; i++) {
        const pel_bound_arg *arg = &bound.args[i];
        const pel_access_mode mode = kernel->image.params[i].mode;
        assert_true(!arg->allocation || pel_uses_add(&runtime->allocator, &uses, arg->allocation, arg->offset,
                                                     arg->offset + ITEMS * sizeof(int), mode));
    }
    pel_short *made = pel_short_create(runtime, &bound, &uses);
    assert_non_null(made);
    pel_uses_free(&runtime->allocator, &uses);
    pthread_mutex_lock(&runtime->lock);
    pel_unbind(&bound);
    pthread_mutex_unlock(&runtime->lock);
    return made;
}

static fixture begin(unsigned factor) {
    fixture f = {.kernel = machine_kernel(runtime, "add_scaled", params, 3, add_scaled, 0)};
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &f.from), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &f.to), PEL_OK);
    f.args[0] = pel_u32(factor);
    f.args[1] = pel_buf(f.from);
    f.args[2] = pel_buf(f.to);
    f.launch = make(f.kernel, f.args, 3, 0);
    return f;
}

static void submit(const fixture *f) {
    pthread_mutex_lock(&runtime->lock);
    pel_short_take(f->launch);
    pthread_mutex_unlock(&runtime->lock);
    assert_int_equal(pel_short_submit(f->launch, queue, f->args), PEL_OK);
}

static void end(fixture *f) {
    pel_short_destroy(f->launch);
    assert_int_equal(pel_kernel_destroy(f->kernel), PEL_OK);
    assert_int_equal(pel_buffer_destroy(f->from), PEL_OK);
    assert_int_equal(pel_buffer_destroy(f->to), PEL_OK);
}

static void expect(unsigned factor) {
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(out[i], i * factor);
    }
}

/* In order with others on the same bytes; more of them than are counted at once. */
static void test_order(void **state) {
    (void)state;
    fixture f = begin(2);
    unsigned seen[ITEMS];
    pel_buffer *copy;
    assert_int_equal(pel_buffer_wrap(runtime, seen, sizeof seen, &copy), PEL_OK);
    for (unsigned i = 0; i < AGAIN; i++) {
        submit(&f);
        if (i == AGAIN / 2) {
            assert_int_equal(pel_copy(queue, copy, 0, f.to, 0, sizeof seen, NULL, NULL), PEL_OK);
        }
    }
    machine_finish(queue);
    expect(2 * AGAIN);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(seen[i], i * (AGAIN / 2 + 1) * 2);
    }
    assert_int_equal(pel_buffer_destroy(copy), PEL_OK);
    end(&f);
}

/* Kernel and record may go while runs wait. */
static void test_what_goes(void **state) {
    (void)state;
    pel_event *opened;
    fixture f = begin(3);
    const pel_access access = PEL_ACCESS(f.to, 0, 0, PEL_READ_WRITE);
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    assert_int_equal(pel_event_create_user(runtime, &opened, NULL), PEL_OK);
    desc.waits = (const pel_event *const *)&opened;
    desc.wait_count = 1;
    assert_int_equal(pel_task(queue, nothing, NULL, &access, 1, &desc, NULL), PEL_OK);
    for (int i = 0; i < 5; i++) {
        submit(&f);
    }
    pel_short_destroy(f.launch);
    assert_int_equal(pel_kernel_destroy(f.kernel), PEL_OK);
    expect(0);
    assert_int_equal(pel_event_set_status(opened, PEL_OK), PEL_OK);
    machine_finish(queue);
    expect(15);
    assert_int_equal(pel_buffer_destroy(f.from), PEL_OK);
    assert_int_equal(pel_buffer_destroy(f.to), PEL_OK);
    pel_event_release(opened);
}

static void test_failure(void **state) {
    (void)state;
    fixture good = begin(2), bad = begin(0);
    pel_event *opened;
    const pel_access access = PEL_ACCESS(good.to, 0, 0, PEL_READ_WRITE);
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    assert_int_equal(pel_event_create_user(runtime, &opened, NULL), PEL_OK);
    desc.waits = (const pel_event *const *)&opened;
    desc.wait_count = 1;
    for (int when = 0; when < 2; when++) { /* those behind it are submitted before it fails, and after */
        pel_event *last;
        submit(&good);
        if (when == 0) {
            assert_int_equal(pel_task(queue, nothing, NULL, &access, 1, &desc, NULL), PEL_OK);
        }
        submit(&bad);
        if (when == 0) {
            submit(&good);
            submit(&good);
            assert_int_equal(pel_event_set_status(opened, PEL_OK), PEL_OK);
        }
        assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
        submit(&good);
        assert_int_equal(pel_task(queue, nothing, NULL, &access, 1, NULL, &last), PEL_OK);
        assert_int_equal(pel_event_wait(last), PEL_DEPENDENCY_FAILED);
        const pel_error *error = pel_event_error(last);
        pel_error *first = pel_queue_error(queue);
        assert_non_null(strstr(pel_error_message(error), "add_scaled"));
        assert_non_null(strstr(pel_error_message(first), "the host function of kernel add_scaled returned PEL_IO"));
        pel_error_destroy(first);
        pel_event_release(last);
        expect(2 * ((unsigned)when + 1));
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
    }
    submit(&good);
    machine_finish(queue);
    expect(6);
    pel_event_release(opened);
    end(&good);
    end(&bad);
}

/* As in any host function: what it submits is no child, and it may not wait. */
static void test_inside(void **state) {
    (void)state;
    fixture f = begin(1);
    refused = PEL_OK;
    submit(&f);
    machine_finish(queue);
    assert_int_equal(refused, PEL_WOULD_DEADLOCK);
    expect(1);
    end(&f);
}

static void test_groups(void **state) {
    (void)state;
    static const pel_param one[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_program *program;
    fixture f = {.kernel = NULL};
    desc.name = "by_group";
    desc.params = one;
    desc.param_count = 1;
    desc.host_group = by_group;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &desc, &f.kernel, NULL), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &f.to), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &f.from), PEL_OK);
    f.args[0] = pel_buf(f.to);
    f.launch = make(f.kernel, f.args, 1, 16);
    submit(&f);
    machine_finish(queue);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(out[i], i / 16 * 1000 + 16);
    }
    end(&f);
}

static bool suits_with(uint32_t flags, const pel_param *own, uint32_t count, const pel_arg *args, double predicted_ns) {
    pel_kernel *kernel = machine_kernel(runtime, "suits", own, count, add_scaled, flags);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_bound bound;
    desc.global[0] = ITEMS;
    desc.local[0] = ITEMS;
    assert_int_equal(pel_bind(kernel, &desc, args, count, &bound, NULL), PEL_OK);
    const bool answer = pel_short_suits(runtime, &bound, 0, predicted_ns);
    pthread_mutex_lock(&runtime->lock);
    pel_unbind(&bound);
    pthread_mutex_unlock(&runtime->lock);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    return answer;
}

static bool suits(const pel_param *own, uint32_t count, const pel_arg *args, double predicted_ns) {
    return suits_with(0, own, count, args, predicted_ns);
}

static void test_what_suits(void **state) {
    (void)state;
    static const pel_param sums[] = {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(int), 1)},
                           partial[] = {PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_U32, sizeof(int), 1)},
                           own[] = {PEL_PARAM_LOCAL}, flag[] = {PEL_PARAM_CANCEL};
    fixture f = begin(2);
    const pel_arg local[] = {pel_local(64)}, none[] = {pel_null()};
    assert_true(suits(params, 3, f.args, 5000));
    assert_false(suits_with(PEL_KERNEL_IRREGULAR, params, 3, f.args, 5000));
    assert_false(suits(params, 3, f.args, 0)); /* nobody knows */
    assert_false(suits(params, 3, f.args, 50000));
    assert_false(suits(sums, 1, &f.args[2], 5000));
    assert_false(suits(partial, 1, &f.args[2], 5000));
    assert_false(suits(own, 1, local, 5000));
    assert_false(suits(flag, 1, none, 5000));
    end(&f);
}

/* A request for memory fails while thousands wait: what was refused is not run, the rest is, or fails with its story. */
static void test_no_memory(void **state) {
    enum { SITES = 24 };
    (void)state;
    uint32_t right = 0;
    for (long at = 1; at <= SITES; at++) {
        counted memory = {.fail_at = 0};
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        pel_event *opened;
        unsigned taken = 0;
        desc.devices = "host";
        desc.host_workers = 1;
        desc.allocator = &(pel_allocator){.reallocate = counted_reallocate, .user = &memory};
        memset(out, 0, sizeof out);
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        queue = machine_queue(runtime);
        fixture f = begin(2);
        const pel_access access = PEL_ACCESS(f.to, 0, 0, PEL_READ_WRITE);
        pel_task_desc task = PEL_TASK_DESC_INIT;
        assert_int_equal(pel_event_create_user(runtime, &opened, NULL), PEL_OK);
        task.waits = (const pel_event *const *)&opened;
        task.wait_count = 1;
        assert_int_equal(pel_task(queue, nothing, NULL, &access, 1, &task, NULL), PEL_OK);
        memory.for_ever = at % 2 == 0;
        memory.fail_at = atomic_load(&memory.calls) + (at + 1) / 2;
        for (unsigned i = 0; i < AGAIN; i++) {
            pthread_mutex_lock(&runtime->lock);
            pel_short_take(f.launch);
            pthread_mutex_unlock(&runtime->lock);
            const pel_status status = pel_short_submit(f.launch, queue, f.args);
            assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY || status == PEL_UNSUPPORTED);
            taken += status == PEL_OK ? 1u : 0u;
        }
        memory.fail_at = 0;
        assert_int_equal(pel_event_set_status(opened, PEL_OK), PEL_OK);
        const pel_status status = pel_queue_finish(queue);
        if (status == PEL_OK) {
            expect(2 * taken);
            right++;
        }
        pel_event_release(opened);
        end(&f);
        assert_int_equal(pel_queue_destroy(queue), status);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
        assert_int_equal(atomic_load(&memory.live), 0);
    }
    print_message("%u of %d right\n", right, (int)SITES);
}

/* Whichever way they go. */
static void test_launches(void **state) {
    (void)state;
    fixture f = begin(2);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    for (unsigned i = 0; i < AGAIN; i++) {
        assert_int_equal(pel_launch(queue, f.kernel, &desc, f.args, 3, NULL), PEL_OK);
        if (i % 500 == 7) {
            machine_finish(queue);
            expect(2 * (i + 1));
        } else if (i % 500 == 99) {
            assert_int_equal(pel_barrier(queue, NULL, NULL), PEL_OK);
        }
    }
    machine_finish(queue);
    expect(2 * AGAIN);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_suits, set_up, tear_down),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test_setup_teardown(test_launches, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
