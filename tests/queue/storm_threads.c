/* SPDX-License-Identifier: BSD-3-Clause */
/* The threads of the storm, what they share, and those that come and go. */
#include "storm.h"

#include "support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, LENT = 2 };

static storm_scene scene;
static pel_queue *shared_queue;
static pel_buffer *shared;
static uint64_t counter; /* behind `shared`; not atomic on purpose */
static atomic_uint bumps, failures;
static atomic_ullong done;
static atomic_bool over;
static uint64_t graphs, one_seed, steps, first; /* graphs: of each thread */
static int threads;

/* ---- what all threads share ---- */

static const char source[] = "kernel void make(global uchar *to, ulong op, uint salt) {\n"
                             "    size_t k = get_global_id(0);\n"
                             "    to[k] = (uchar)(salt + 3 * (uint)k);\n"
                             "}\n"
                             "kernel void change(global uchar *to, ulong op, uint salt) {\n"
                             "    size_t k = get_global_id(0);\n"
                             "    to[k] = (uchar)(salt + 3 * (uint)k + 5 * to[k]);\n"
                             "}\n"
                             "kernel void from(global const uchar *from, global uchar *to, ulong op, uint salt) {\n"
                             "    size_t k = get_global_id(0);\n"
                             "    to[k] = (uchar)(salt + 3 * (uint)k + 31 * from[k]);\n"
                             "}\n";

static pel_kernel *make_kernel(pel_program *program, const char *name, uint32_t *buffers, pel_access_mode mode, bool opencl) {
    const pel_param from = PEL_PARAM_ELEMENTWISE(PEL_READ, 1, 1, 1), to = PEL_PARAM_ELEMENTWISE(mode, 1, 1, 1);
    const pel_param params[] = {from, to, PEL_PARAM_VALUE(uint64_t), PEL_PARAM_VALUE(uint32_t)};
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    desc.name = name;
    desc.entry = opencl ? name : NULL;
    desc.params = *buffers == 2 ? params : params + 1;
    desc.param_count = *buffers + 2;
    desc.host = storm_run_span;
    desc.user = buffers;
    if (pel_kernel_create(program, &desc, &kernel, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    return kernel;
}

static void make_kernels(storm_kernels *kernels, const char *text) {
    static uint32_t one = 1, two = 2;
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program = NULL;
    desc.source = text;
    assert_int_equal(pel_program_create(scene.runtime, &desc, &program, NULL), PEL_OK);
    kernels->make = make_kernel(program, "make", &one, PEL_WRITE, text != NULL);
    kernels->change = make_kernel(program, "change", &one, PEL_READ_WRITE, text != NULL);
    kernels->from = make_kernel(program, "from", &two, PEL_WRITE, text != NULL);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
}

static void end_kernels(storm_kernels *kernels) {
    pel_kernel_destroy(kernels->make);
    pel_kernel_destroy(kernels->change);
    pel_kernel_destroy(kernels->from);
}

static void make_scene(pel_runtime *runtime, uint32_t flags, struct counted *memory) {
    scene.runtime = runtime;
    scene.flags = flags;
    scene.memory = memory;
    scene.share_count = 0;
    const uint32_t devices = (flags & (STORM_SIMULATED | STORM_OPENCL)) != 0 ? pel_runtime_device_count(runtime) : 0;
    for (uint32_t i = 0; i < devices && i < STORM_SHARES; i++) {
        scene.shares[scene.share_count++] = (pel_share){pel_runtime_device(runtime, i), 1.0 + i};
    }
    make_kernels(&scene.host, NULL);
    make_kernels(&scene.any, (flags & STORM_OPENCL) != 0 ? source : NULL);
}

/* ---- those that come and go ---- */

static void nap(uint64_t *random, uint64_t most_us) {
    const struct timespec time = {0, (long)(1000 * (test_random(random) % most_us))};
    (void)nanosleep(&time, NULL);
}

static void *change_workers(void *argument) {
    uint64_t random = (uintptr_t)argument;
    const uint32_t most = pel_runtime_get_workers(scene.runtime);
    while (!atomic_load(&over)) {
        const pel_status status = pel_runtime_set_workers(scene.runtime, 1 + (uint32_t)(test_random(&random) % most));
        atomic_fetch_add(&failures, status == PEL_OK || status == PEL_IO ? 0 : 1);
        nap(&random, 1000);
    }
    return NULL;
}

/* Looks so often. */
static bool stop(void *user) {
    unsigned *looks = user;
    return --*looks == 0 || atomic_load(&over);
}

static void *lend(void *argument) {
    uint64_t random = (uintptr_t)argument;
    while (!atomic_load(&over)) {
        unsigned looks = 1 + (unsigned)(test_random(&random) % 300);
        const pel_status status = pel_worker_run(scene.runtime, stop, &looks);
        atomic_fetch_add(&failures, status == PEL_OK || status == PEL_BUSY ? 0 : 1);
        nap(&random, 300);
    }
    return NULL;
}

/* ---- the threads ---- */

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static pel_status bump(void *context) {
    (void)context;
    counter++;
    return PEL_OK;
}

static void submit_bump(void) {
    const pel_access whole = PEL_ACCESS(shared, 0, 0, PEL_READ_WRITE);
    atomic_fetch_add(&bumps, 1);
    atomic_fetch_add(&failures, pel_task(shared_queue, bump, NULL, &whole, 1, NULL, NULL) == PEL_OK ? 0 : 1);
}

static void progress(uint64_t so_far) {
    if (so_far % 10000 == 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%llu of %llu graphs, %u failures ", (unsigned long long)so_far,
                (unsigned long long)graphs * (unsigned)threads, atomic_load(&failures));
    }
}

static void *storm_main(void *argument) {
    const uint64_t number = (uint64_t)(uintptr_t)argument;
    storm *s = calloc(1, sizeof *s);
    atomic_fetch_add(&failures, s ? 0 : 1);
    for (uint64_t round = 0; s && round < graphs && atomic_load(&failures) < 20; round++) {
        storm_plan_make(&s->plan, one_seed ? one_seed : number << 40 | (first + round), (uint32_t)steps, scene.flags);
        storm_run(s, &scene);
        storm_judge(s);
        if (atomic_load(&s->complaints) > 0 && atomic_fetch_add(&failures, 1) == 0) {
            storm_plan_print(s, stderr);
        }
        storm_end(s);
        if ((scene.flags & STORM_LEAN) == 0) { /* it might have no memory either */
            submit_bump();
        }
        progress(atomic_fetch_add(&done, 1) + 1);
    }
    free(s);
    return NULL;
}

static void start(pthread_t *id, void *(*main)(void *argument), int number) {
    assert_int_equal(pthread_create(id, NULL, main, (void *)((uintptr_t)number + 1)), 0);
}

static void run_threads(int count, bool restless) {
    pthread_t ids[THREADS], guests[LENT + 1];
    for (int i = 0; i < LENT + 1 && restless; i++) {
        start(&guests[i], i == 0 ? change_workers : lend, i);
    }
    for (int i = 0; i < count; i++) {
        start(&ids[i], storm_main, i);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_join(ids[i], NULL), 0);
    }
    atomic_store(&over, true);
    for (int i = 0; i < LENT + 1 && restless; i++) {
        assert_int_equal(pthread_join(guests[i], NULL), 0);
    }
}

void storm_threads(pel_runtime *runtime, int count, uint64_t usual, uint32_t flags, struct counted *memory) {
    counter = 0;
    threads = count;
    atomic_store(&bumps, 0);
    atomic_store(&failures, 0);
    atomic_store(&done, 0);
    atomic_store(&over, false);
    one_seed = number_from("PEL_STORM_SEED", 0);
    graphs = number_from("PEL_STORM_GRAPHS", one_seed ? 1000 : usual) / (unsigned)count;
    steps = number_from("PEL_STORM_STEPS", STORM_OPS);
    first = number_from("PEL_STORM_FIRST", 0);
    make_scene(runtime, flags, memory);
    assert_int_equal(pel_queue_create(runtime, NULL, &shared_queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &counter, sizeof counter, &shared), PEL_OK);
    run_threads(count, (flags & STORM_RESTLESS) != 0);
    assert_int_equal(pel_queue_finish(shared_queue), PEL_OK);
    assert_int_equal(counter, atomic_load(&bumps));
    print_message("%llu random graphs like sequential execution, but for %u\n", (unsigned long long)atomic_load(&done),
                  atomic_load(&failures));
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(pel_queue_destroy(shared_queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(shared), PEL_OK);
    end_kernels(&scene.host);
    end_kernels(&scene.any);
}
