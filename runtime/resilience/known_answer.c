/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Known-answer tests: a kernel of integer arithmetic over 4096 items whose result every device must have bit for bit.
 *
 * A test is a work like any other, submitted to the device's driver beside the dispatcher, so it needs no queue, no plan and no
 * buffers; its completion changes the device's state. Its memory and kernel live until all drivers are closed, so a device that
 * answers never leaves nothing dangling. It proves that the driver compiles, computes, and moves bytes; not that all of the
 * memory and every unit are sound. Rejected: testing with the kernel that failed; its fault may be the reason.
 */
#include "backend/simulated/machine.h"
#include "queue/command.h"
#include "resilience/health.h"
#include <string.h>
#include <time.h>

enum { ITEMS = 4096, ROUNDS = 64 };
#define LIMIT_NS 10000000000ll

static const char source[] = "__kernel void pel_known_answer(__global uint *x) {\n"
                             "    uint v = x[get_global_id(0)];\n"
                             "    for (int i = 0; i < 64; i++) v = (v ^ (v >> 13)) * 1664525u + 1013904223u;\n"
                             "    x[get_global_id(0)] = v;\n"
                             "}\n";
_Static_assert(ROUNDS == 64, "the source says so, too");

typedef struct known_answer {
    struct known_answer *next;
    pel_device *device;
    pel_backend_device *driver;
    pel_mem *mem;            /* NULL on the host */
    uint32_t *data;
    pel_work work;
    pel_work_arg arg;
    pel_transfer in, out;
    bool over;
    bool late;               /* nobody waits for its answer any more: another one was begun, or its time was over */
} known_answer;

struct pel_known_answers {
    pel_program_image program;
    pel_kernel_image kernel;
    pel_param param;
    known_answer *tests;
};

static uint32_t answer(uint32_t v) {
    for (int i = 0; i < ROUNDS; i++) {
        v = (v ^ (v >> 13)) * 1664525u + 1013904223u;
    }
    return v;
}

static pel_status on_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint32_t *x = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i] = answer(x[i]);
    }
    return PEL_OK;
}

static uint32_t question_of(uint32_t i) { return i * 2654435761u + 12345u; }

static pel_status check(const known_answer *test, pel_error **error) {
    for (uint32_t i = 0; i < ITEMS; i++) {
        const uint32_t expected = answer(question_of(i));
        if (test->data[i] != expected) {
            pel_story story = {.device = test->device->facts->info.id};
            return pel_fail(error, &test->device->runtime->allocator, PEL_MISMATCH, &story,
                            "%s failed its known-answer test: item %u is %#x, not %#x", story.device, i, test->data[i], expected);
        }
    }
    return PEL_OK;
}

static void give_back(known_answer *test) {
    if (test->mem) {
        test->driver->backend->mem_destroy(test->driver, test->mem);
        test->mem = NULL;
    }
}

/* The dispatcher may be gone by now: only the lock and the device are touched. */
static void completed(pel_work *work) {
    known_answer *test = work->owner;
    pel_device *device = test->device;
    pel_runtime *runtime = device->runtime;
    pel_error *error = NULL;
    pel_status status = work->status == PEL_OK ? check(test, &error) : work->status;
    pthread_mutex_lock(&runtime->lock);
    test->over = true;
    give_back(test);
    if (!test->late && device->health.state == PEL_DEVICE_TESTED) {
        pel_health_tested(device, status, error ? error : work->error, pel_clock_now(runtime->clock));
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_error_destroy(error);
    pel_error_destroy(work->error);
    work->error = NULL;
}

static void forget(pel_runtime *runtime, known_answer *test) {
    give_back(test);
    pel_pages_free(test->data, ITEMS * sizeof *test->data);
    pel_free(&runtime->allocator, test);
}

static void sweep(pel_runtime *runtime) {
    for (known_answer **at = &runtime->known_answers->tests; *at;) {
        known_answer *test = *at;
        if (test->over) {
            *at = test->next;
            forget(runtime, test);
        } else {
            at = &test->next;
        }
    }
}

static void destroy(pel_runtime *runtime) {
    while (runtime->known_answers->tests) {
        known_answer *test = runtime->known_answers->tests;
        runtime->known_answers->tests = test->next;
        test->mem = NULL; /* of one that never ended: its driver is closed */
        forget(runtime, test);
    }
    pel_free(&runtime->allocator, runtime->known_answers);
}

/* An answer that comes now is to an older question, perhaps of an older driver: it says nothing of the device as it is. */
static void give_up(const pel_device *device) {
    const struct pel_known_answers *all = device->runtime->known_answers;
    for (known_answer *test = all ? all->tests : NULL; test; test = test->next) {
        test->late = test->late || test->device == device;
    }
}

static bool set_up(pel_runtime *runtime) {
    if (runtime->known_answers) {
        return true;
    }
    struct pel_known_answers *made = pel_alloc_zero(&runtime->allocator, 1, sizeof *made);
    if (!made) {
        return false;
    }
    made->program = (pel_program_image){.id = pel_runtime_next_id(runtime),
                                        .name = "known answer",
                                        .source = source,
                                        .source_bytes = sizeof source - 1,
                                        .options = ""};
    made->param = (pel_param)PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1);
    made->kernel = (pel_kernel_image){.id = pel_runtime_next_id(runtime),
                                      .program = &made->program,
                                      .entry = "pel_known_answer",
                                      .name = "known answer",
                                      .params = &made->param,
                                      .param_count = 1,
                                      .host = on_host,
                                      .cost_hint = 1};
    runtime->known_answers = made;
    runtime->known_answers_destroy = destroy;
    return true;
}

static pel_status prepare(known_answer *test, pel_error **error) {
    test->data = pel_pages_alloc(ITEMS * sizeof *test->data);
    if (!test->data) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < ITEMS; i++) {
        test->data[i] = question_of(i);
    }
    const uint64_t bytes = ITEMS * sizeof *test->data;
    pel_status status = PEL_OK;
    if (test->device->facts->info.kind != PEL_DEVICE_HOST) {
        status = test->driver->backend->mem_create(test->driver, test->data, bytes, &test->mem, error);
    }
    pel_work *work = &test->work;
    *work = (pel_work){.kind = PEL_WORK_LAUNCH,
                       .complete = completed,
                       .owner = test,
                       .kernel = &test->device->runtime->known_answers->kernel,
                       .args = &test->arg,
                       /* a device that hung may hang again: neither a waiter nor who asked for the test goes with it */
                       .alone = true};
    test->arg = (pel_work_arg){.kind = PEL_WORK_ARG_MEM, .mem = test->mem, .host = test->data, .bytes = bytes};
    work->span =
        (pel_span){.dims = 1, .hi = {ITEMS, 1, 1}, .global = {ITEMS, 1, 1}, .local = {64, 1, 1}, .group_hi = {ITEMS / 64, 1, 1}};
    test->in = test->out = (pel_transfer){.mem = test->mem, .bytes = bytes};
    if (test->device->place != 0) {
        work->in = &test->in;
        work->out = &test->out;
        work->in_count = work->out_count = 1;
    }
    return status;
}

void pel_known_answer_begin(pel_device *device) {
    pel_runtime *runtime = device->runtime;
    pel_error *error = NULL;
    known_answer *test = set_up(runtime) ? pel_alloc_zero(&runtime->allocator, 1, sizeof *test) : NULL;
    pel_status status = PEL_OUT_OF_MEMORY;
    device->health.state = PEL_DEVICE_TESTED;
    if (test) {
        sweep(runtime);
        give_up(device);
        test->device = device;
        test->driver = device->driver;
        status = prepare(test, &error);
    }
    if (status == PEL_OK) {
        test->next = runtime->known_answers->tests;
        runtime->known_answers->tests = test;
        test->driver->backend->submit(test->driver, &test->work);
        return;
    }
    pel_health_tested(device, status, error, pel_clock_now(runtime->clock));
    pel_error_destroy(error);
    if (test) {
        forget(runtime, test);
    }
}

/* ---- at the start ---- */

/* One step of waiting for a test of the device. False: nothing will come. */
static bool wait_a_little(pel_runtime *runtime, const pel_device *device) {
    if (runtime->machine) {
        return pel_machine_advance(runtime->machine);
    }
    const struct timespec nap = {.tv_nsec = 200000};
    if (!device->driver->backend->help || !device->driver->backend->help(device->driver)) {
        (void)nanosleep(&nap, NULL);
    }
    return true;
}

static pel_status test_device(pel_runtime *runtime, pel_device *device, pel_error **error) {
    pthread_mutex_lock(&runtime->lock);
    const bool begin = pel_health_usable(device);
    if (begin) {
        pel_known_answer_begin(device);
    }
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + LIMIT_NS;
    bool waiting = begin;
    while (waiting && device->health.state == PEL_DEVICE_TESTED) {
        pthread_mutex_unlock(&runtime->lock);
        waiting = wait_a_little(runtime, device) && pel_clock_now(&pel_clock_monotonic) < until;
        pthread_mutex_lock(&runtime->lock);
    }
    pel_status status = PEL_OK;
    if (begin && device->health.state == PEL_DEVICE_TESTED) {
        give_up(device);
        status = pel_fail(error, &runtime->allocator, PEL_TIMED_OUT, NULL, "%s does not answer", device->facts->info.id);
        pel_health_tested(device, status, *error, pel_clock_now(runtime->clock));
    } else if (!pel_health_usable(device)) {
        status = pel_fail(error, &runtime->allocator, device->health.wrong_results > 0 ? PEL_MISMATCH : PEL_DEVICE_FAILED, NULL,
                          "%s: %s", device->facts->info.id, device->health.reason);
    }
    pthread_mutex_unlock(&runtime->lock);
    return status;
}

pel_status pel_runtime_test_devices(pel_runtime *runtime, pel_error **error) {
    if (!runtime) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
                        "pel_runtime_test_devices: the runtime is NULL");
    }
    pel_status first = pel_runtime_check(runtime, error);
    if (first != PEL_OK) {
        return first;
    }
    if (runtime->dispatcher && pel_inside_task(runtime)) {
        return pel_fail(error, &runtime->allocator, PEL_WOULD_DEADLOCK, NULL, "devices cannot be tested from inside a task");
    }
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_error *why = NULL;
        pel_status status = test_device(runtime, &runtime->devices[i], &why);
        if (status != PEL_OK && first == PEL_OK) {
            first = status;
            pel_error_hand_over(error, why);
        } else {
            pel_error_destroy(why);
        }
    }
    return first;
}
