/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host backend beyond what every backend must do: each item exactly once however a span is cut and stolen, workers that come
 * late or never, tasks side by side and by priority, quiet when idle, a good guest among the caller's threads.
 */
#include "backend/backends.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static pel_topology_device facts = {.info = {.id = "host", .kind = PEL_DEVICE_HOST, .compute_units = 2}};

typedef struct waited {
    pel_work work;
    sem_t done;
} waited;

static void on_complete(pel_work *work) {
    sem_post(&((waited *)work)->done);
}

static void begin(waited *self, pel_work_kind kind) {
    memset(self, 0, sizeof *self);
    self->work.kind = kind;
    self->work.complete = on_complete;
    assert_int_equal(sem_init(&self->done, 0, 0), 0);
}

static void begin_task(waited *self, pel_task_fn function, void *context) {
    begin(self, PEL_WORK_TASK);
    self->work.task = function;
    self->work.context = context;
}

static void finish(waited *self) {
    while (sem_wait(&self->done) != 0) {
    }
    sem_destroy(&self->done);
}

static pel_backend_device *open_device(const pel_backend_env *env) {
    pel_backend_device *device = NULL;
    pel_error *error = NULL;
    if (pel_backend_host.open(env, &facts, &device, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    return device;
}

static pel_backend_env env_of(uint32_t workers) {
    return (pel_backend_env){.allocator = &pel_allocator_default, .clock = &pel_clock_monotonic, .host_workers = workers};
}

static uint32_t next_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* ---- every item exactly once ---- */

static unsigned char *hits; /* by position in the whole launch; a second visit, even a concurrent one, shows */

static pel_status hit(const uint64_t lo[3], const uint64_t hi[3], const uint64_t global[3]) {
    for (uint64_t z = lo[2]; z < hi[2]; z++) {
        for (uint64_t y = lo[1]; y < hi[1]; y++) {
            for (uint64_t x = lo[0]; x < hi[0]; x++) {
                hits[(z * global[1] + y) * global[0] + x]++;
            }
        }
    }
    return PEL_OK;
}

static pel_status hit_span(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)arguments, (void)scratch;
    const pel_span *whole = user;
    for (uint32_t d = 0; d < 3; d++) { /* cut at work-groups only, and told which */
        uint64_t local = span->local[d];
        bool cut = span->lo[d] % local == 0 || span->lo[d] == whole->lo[d];
        cut = cut && (span->hi[d] % local == 0 || d >= whole->dims || span->hi[d] == whole->hi[d]);
        if (!cut || span->lo[d] >= span->hi[d] || span->group_lo[d] != span->lo[d] / local ||
            span->group_hi[d] != (span->hi[d] + local - 1) / local) {
            return PEL_INTERNAL;
        }
    }
    return hit(span->lo, span->hi, span->global);
}

static pel_status hit_group(const pel_group *group, void *const *arguments, void *scratch, void *user) {
    (void)arguments, (void)scratch;
    const pel_span *whole = user;
    for (uint32_t d = 0; d < 3; d++) {
        if (group->lo[d] != group->id[d] * group->local[d] || group->hi[d] - group->lo[d] != group->local[d] ||
            (d < whole->dims && whole->local[d] > 0 && group->local[d] != whole->local[d])) {
            return PEL_INTERNAL;
        }
    }
    return hit(group->lo, group->hi, group->global);
}

static uint64_t items_of(const pel_span *span) {
    return span->global[0] * span->global[1] * span->global[2];
}

/* A random launch of at most 2^20 items, and a chunk of it. */
static pel_span random_span(uint32_t *seed) {
    pel_span span = {.dims = 1 + next_random(seed) % 3};
    span.split = next_random(seed) % span.dims;
    bool open = next_random(seed) % 2;
    static const uint32_t most[4] = {0, 100000, 700, 60};
    for (uint32_t d = 0; d < 3; d++) {
        uint64_t local = open ? 1 : 1 + next_random(seed) % 8;
        uint64_t groups = d < span.dims ? 1 + next_random(seed) % (next_random(seed) % 4 ? most[span.dims] : 3) : 1;
        groups = groups / local > 0 ? groups / local : 1;
        local = d < span.dims ? local : 1;
        span.global[d] = groups * local;
        span.local[d] = open && d < span.dims ? 0 : local;
        span.lo[d] = 0;
        span.hi[d] = span.global[d];
        if (d == span.split && next_random(seed) % 2) {
            span.lo[d] = next_random(seed) % groups * local;
            span.hi[d] = span.lo[d] + (1 + next_random(seed) % (groups - span.lo[d] / local)) * local;
        }
    }
    return span;
}

static void check_hits(const pel_span *span) {
    uint64_t items = items_of(span);
    for (uint64_t i = 0; i < items; i++) {
        uint64_t at[3] = {i % span->global[0], i / span->global[0] % span->global[1], i / span->global[0] / span->global[1]};
        bool inside = at[span->split] >= span->lo[span->split] && at[span->split] < span->hi[span->split];
        if (hits[i] != inside) {
            fail_msg("item %llu was visited %d times instead of %d", (unsigned long long)i, hits[i], inside);
        }
    }
}

static void test_every_item_once(void **state) {
    (void)state;
    uint32_t seed = 7;
    print_message("seed %u\n", seed);
    hits = malloc(1u << 20);
    assert_non_null(hits);
    for (uint32_t workers = 1; workers <= 8; workers++) {
        pel_backend_env env = env_of(workers);
        pel_backend_device *device = open_device(&env);
        for (int round = 0; round < 60; round++) {
            pel_span span = random_span(&seed);
            assert_true(items_of(&span) <= 1u << 20);
            memset(hits, 0, items_of(&span));
            pel_kernel_image kernel = {.name = "hit", .user = &span, .flags = round % 2 ? PEL_KERNEL_IRREGULAR : 0};
            kernel.host = round % 3 ? hit_span : NULL;
            kernel.host_group = hit_group;
            waited work;
            begin(&work, PEL_WORK_LAUNCH);
            work.work.kernel = &kernel;
            work.work.span = span;
            pel_backend_host.submit(device, &work.work);
            finish(&work);
            if (work.work.status != PEL_OK) {
                fail_msg("%s", pel_error_story(work.work.error));
            }
            check_hits(&span);
        }
        pel_backend_host.close(device);
    }
    free(hits);
}

static pel_status add_size(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)arguments, (void)scratch;
    atomic_fetch_add((atomic_ullong *)user, span->hi[0] - span->lo[0]);
    return PEL_OK;
}

static void test_ranges_beyond_32_bits(void **state) {
    (void)state;
    static const uint64_t sizes[] = {(1ull << 32) - 1, (1ull << 32) + 12345, (1ull << 50) + 7, UINT64_MAX};
    pel_backend_env env = env_of(3);
    pel_backend_device *device = open_device(&env);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        atomic_ullong total = 0;
        pel_kernel_image kernel = {.name = "add_size", .host = add_size, .user = &total};
        waited work;
        begin(&work, PEL_WORK_LAUNCH);
        work.work.kernel = &kernel;
        work.work.span =
            (pel_span){.dims = 1, .lo = {5, 0, 0}, .hi = {sizes[i], 1, 1}, .global = {sizes[i], 1, 1}, .local = {0, 1, 1}};
        pel_backend_host.submit(device, &work.work);
        finish(&work);
        assert_int_equal(work.work.status, PEL_OK);
        assert_int_equal(atomic_load(&total), sizes[i] - 5);
    }
    pel_backend_host.close(device);
}

static atomic_ullong loop_items;
static atomic_uint below_grain;

static pel_status check_grain(uint64_t first, uint64_t last, void *context) {
    atomic_fetch_add(&loop_items, last - first);
    atomic_fetch_add(&below_grain, last - first < *(uint64_t *)context);
    return PEL_OK;
}

static void test_loops_keep_their_grain(void **state) {
    (void)state;
    pel_backend_env env = env_of(4);
    pel_backend_device *device = open_device(&env);
    static const uint64_t counts[] = {100, 101, 12345, 1ull << 40}, grains[] = {1, 7, 100, 1ull << 20};
    for (size_t c = 0; c < 4; c++) {
        for (size_t g = 0; g < 4; g++) {
            uint64_t grain = grains[g];
            atomic_store(&loop_items, 0);
            atomic_store(&below_grain, 0);
            waited work;
            begin(&work, PEL_WORK_LOOP);
            work.work.loop = check_grain;
            work.work.context = &grain;
            work.work.loop_count = counts[c];
            work.work.loop_grain = grain;
            pel_backend_host.submit(device, &work.work);
            finish(&work);
            assert_int_equal(atomic_load(&loop_items), counts[c]);
            assert_true(atomic_load(&below_grain) == 0 || counts[c] < grain);
        }
    }
    pel_backend_host.close(device);
}

/* ---- workers and tasks ---- */

typedef struct gate {
    sem_t entered, open;
} gate;

static pel_status wait_at_gate(void *context) {
    gate *its = context;
    sem_post(&its->entered);
    while (sem_wait(&its->open) != 0) {
    }
    return PEL_OK;
}

/* All workers but one are held in tasks; the launch is cut for all of them, and the one left steals the others' parts. */
static void test_absent_workers_are_robbed(void **state) {
    (void)state;
    enum { WORKERS = 4, ITEMS = 100000 };
    pel_backend_env env = env_of(WORKERS);
    pel_backend_device *device = open_device(&env);
    gate held;
    sem_init(&held.entered, 0, 0);
    sem_init(&held.open, 0, 0);
    waited tasks[WORKERS - 1];
    for (int i = 0; i < WORKERS - 1; i++) {
        begin_task(&tasks[i], wait_at_gate, &held);
        pel_backend_host.submit(device, &tasks[i].work);
    }
    for (int i = 0; i < WORKERS - 1; i++) {
        sem_wait(&held.entered);
    }
    hits = calloc(1, ITEMS);
    assert_non_null(hits);
    for (int round = 1; round <= 3; round++) {
        pel_span span = {.dims = 1, .hi = {ITEMS, 1, 1}, .global = {ITEMS, 1, 1}, .local = {0, 1, 1}};
        pel_kernel_image kernel = {.name = "hit", .host = hit_span, .user = &span};
        waited work;
        begin(&work, PEL_WORK_LAUNCH);
        work.work.kernel = &kernel;
        work.work.span = span;
        pel_backend_host.submit(device, &work.work);
        finish(&work); /* completes although the tasks still hold their workers */
        for (int i = 0; i < ITEMS; i++) {
            assert_int_equal(hits[i], round);
        }
    }
    for (int i = 0; i < WORKERS - 1; i++) {
        sem_post(&held.open);
    }
    for (int i = 0; i < WORKERS - 1; i++) {
        finish(&tasks[i]);
    }
    pel_backend_host.close(device);
    free(hits);
    sem_destroy(&held.entered);
    sem_destroy(&held.open);
}

/* What may hang is not for threads that wait: neither queued nor, with a lane left, under way. The order of things is forced. */
static pel_status body_at_gate(uint64_t begin, uint64_t end, void *context) {
    (void)begin, (void)end;
    return wait_at_gate(context);
}

static void test_guests_leave_alone_what_may_hang(void **state) {
    (void)state;
    enum { WORKERS = 2 };
    pel_backend_env env = env_of(WORKERS);
    pel_backend_device *device = open_device(&env);
    gate held, body;
    sem_init(&held.entered, 0, 0);
    sem_init(&held.open, 0, 0);
    sem_init(&body.entered, 0, 0);
    sem_init(&body.open, 0, 0);
    waited tasks[WORKERS], loop;
    for (int i = 0; i < WORKERS; i++) {
        begin_task(&tasks[i], wait_at_gate, &held);
        pel_backend_host.submit(device, &tasks[i].work);
    }
    for (int i = 0; i < WORKERS; i++) {
        sem_wait(&held.entered);
    }
    begin(&loop, PEL_WORK_LOOP);
    loop.work.loop = body_at_gate;
    loop.work.context = &body;
    loop.work.loop_count = WORKERS;
    loop.work.loop_grain = 1;
    loop.work.alone = true;
    pel_backend_host.submit(device, &loop.work);
    assert_false(pel_backend_host.help(device));
    sem_post(&held.open); /* for one of them, which begins it */
    sem_wait(&body.entered);
    assert_false(pel_backend_host.help(device));
    sem_post(&held.open);
    for (int i = 0; i < WORKERS; i++) {
        sem_post(&body.open);
    }
    finish(&loop);
    for (int i = 0; i < WORKERS; i++) {
        finish(&tasks[i]);
    }
    assert_int_equal(loop.work.status, PEL_OK);
    pel_backend_host.close(device);
    sem_destroy(&held.entered);
    sem_destroy(&held.open);
    sem_destroy(&body.entered);
    sem_destroy(&body.open);
}

static pel_status meet(void *context) {
    pthread_barrier_wait(context);
    return PEL_OK;
}

static void test_tasks_run_side_by_side(void **state) {
    (void)state;
    enum { WORKERS = 5, ROUNDS = 50 };
    pel_backend_env env = env_of(WORKERS);
    pel_backend_device *device = open_device(&env);
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, WORKERS);
    waited tasks[WORKERS];
    for (int round = 0; round < ROUNDS; round++) { /* none returns before all have begun */
        for (int i = 0; i < WORKERS; i++) {
            begin_task(&tasks[i], meet, &barrier);
            pel_backend_host.submit(device, &tasks[i].work);
        }
        for (int i = 0; i < WORKERS; i++) {
            finish(&tasks[i]);
        }
    }
    pel_backend_host.close(device);
    pthread_barrier_destroy(&barrier);
}

enum { RANKED = 300 };
typedef struct ranked {
    waited waited;
    unsigned number;
} ranked;
static unsigned ran[RANKED], ran_count; /* one worker: no race */

static pel_status note_number(void *context) {
    ran[ran_count++] = ((ranked *)context)->number;
    return PEL_OK;
}

static void test_tasks_by_priority(void **state) {
    (void)state;
    uint32_t seed = 11;
    pel_backend_env env = env_of(1);
    pel_backend_device *device = open_device(&env);
    gate held;
    sem_init(&held.entered, 0, 0);
    sem_init(&held.open, 0, 0);
    waited first;
    begin_task(&first, wait_at_gate, &held);
    pel_backend_host.submit(device, &first.work);
    sem_wait(&held.entered);
    ranked *tasks = calloc(RANKED, sizeof *tasks);
    assert_non_null(tasks);
    ran_count = 0;
    for (unsigned i = 0; i < RANKED; i++) {
        begin_task(&tasks[i].waited, note_number, &tasks[i]);
        tasks[i].number = i;
        tasks[i].waited.work.priority = (int32_t)(next_random(&seed) % 7) - 3;
        pel_backend_host.submit(device, &tasks[i].waited.work);
    }
    sem_post(&held.open);
    finish(&first);
    for (unsigned i = 0; i < RANKED; i++) {
        finish(&tasks[i].waited);
    }
    assert_int_equal(ran_count, RANKED);
    for (unsigned i = 1; i < RANKED; i++) {
        int32_t before = tasks[ran[i - 1]].waited.work.priority, after = tasks[ran[i]].waited.work.priority;
        assert_true(before > after || (before == after && ran[i - 1] < ran[i]));
    }
    pel_backend_host.close(device);
    free(tasks);
    sem_destroy(&held.entered);
    sem_destroy(&held.open);
}

static pel_status nothing(void *context) {
    atomic_fetch_add((atomic_uint *)context, 1);
    return PEL_OK;
}

static pel_status nothing_loop(uint64_t first, uint64_t last, void *context) {
    (void)first, (void)last;
    atomic_fetch_add((atomic_uint *)context, 1);
    return PEL_OK;
}

static atomic_uint completions;
static void count_completion(pel_work *work) {
    atomic_fetch_add(&completions, 1);
    free(work); /* it may go in here */
}

static void test_close_waits_for_everything(void **state) {
    (void)state;
    enum { WORKS = 2000 };
    for (uint32_t workers = 1; workers <= 4; workers++) {
        pel_backend_env env = env_of(workers);
        pel_backend_device *device = open_device(&env);
        atomic_uint calls = 0;
        atomic_store(&completions, 0);
        for (int i = 0; i < WORKS; i++) {
            pel_work *work = calloc(1, sizeof *work);
            assert_non_null(work);
            work->kind = i % 3 ? PEL_WORK_TASK : PEL_WORK_LOOP;
            work->complete = count_completion;
            work->task = nothing;
            work->loop = nothing_loop;
            work->loop_count = 1;
            work->context = &calls;
            work->priority = i % 5 - 2;
            pel_backend_host.submit(device, work);
        }
        pel_backend_host.close(device);
        assert_int_equal(atomic_load(&completions), WORKS);
        assert_int_equal(atomic_load(&calls), WORKS);
    }
}

/* ---- a good guest ---- */

static int64_t process_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_ms(long ms) {
    struct timespec time = {0, ms * 1000000};
    nanosleep(&time, NULL);
}

static void test_idle_uses_no_processor(void **state) {
    (void)state;
    pel_backend_env env = env_of(4);
    pel_backend_device *device = open_device(&env);
    atomic_uint calls = 0;
    waited work;
    begin_task(&work, nothing, &calls);
    pel_backend_host.submit(device, &work.work);
    finish(&work);
    sleep_ms(100); /* spinning is over */
    int64_t before = process_time();
    sleep_ms(400);
    assert_true(process_time() - before < 20000000); /* of 400 ms that one spinning worker would take; they take none */
    pel_backend_host.close(device);
}

static unsigned entries(const char *folder) {
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    unsigned count = 0;
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

static void test_opened_and_closed_a_thousand_times(void **state) {
    (void)state;
    pel_backend_env env = env_of(2);
    unsigned files = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    for (int i = 0; i < 1000; i++) {
        pel_backend_host.close(open_device(&env));
    }
    assert_int_equal(entries("/proc/self/fd"), files);
    for (int tries = 0; tries < 5000 && entries("/proc/self/task") > threads; tries++) {
        sleep_ms(1); /* the system lists a thread that was joined until it has taken it apart */
    }
    assert_true(entries("/proc/self/task") <= threads); /* a sanitizer's own thread may have ended */
}

typedef struct guest {
    sigset_t signals;
    cpu_set_t cores;
} guest;

static pel_status look_around(void *context) {
    guest *its = context;
    pthread_sigmask(SIG_SETMASK, NULL, &its->signals);
    return sched_getaffinity(0, sizeof its->cores, &its->cores) == 0 ? PEL_OK : PEL_IO;
}

static void test_signals_and_cores(void **state) {
    (void)state;
    guest before, inside, after;
    assert_int_equal(look_around(&before), PEL_OK);
    size_t last = 0;
    for (size_t core = 0; core < CPU_SETSIZE; core++) {
        last = CPU_ISSET(core, &before.cores) ? core : last;
    }
    facts.info.cores_count = 1;
    facts.info.cores.bits[last / 64] = 1ull << (last % 64);
    facts.core_set_declared = true;
    pel_backend_env env = env_of(2);
    pel_backend_device *device = open_device(&env);
    waited work;
    begin_task(&work, look_around, &inside);
    pel_backend_host.submit(device, &work.work);
    finish(&work);
    assert_int_equal(work.work.status, PEL_OK);
    pel_backend_host.close(device);
    facts.info.cores_count = 0;
    facts.info.cores.bits[last / 64] = 0;
    facts.core_set_declared = false;
    assert_int_equal(CPU_COUNT(&inside.cores), 1);
    assert_true(CPU_ISSET(last, &inside.cores));
    assert_true(sigismember(&inside.signals, SIGINT) && sigismember(&inside.signals, SIGTERM) &&
                sigismember(&inside.signals, SIGUSR1));
    assert_false(sigismember(&inside.signals, SIGSEGV) || sigismember(&inside.signals, SIGFPE));
    assert_int_equal(look_around(&after), PEL_OK);
    assert_memory_equal(&before.cores, &after.cores, sizeof before.cores);
    for (int number = 1; number < 32; number++) {
        assert_int_equal(sigismember(&before.signals, number), sigismember(&after.signals, number));
    }
}

/* ---- memory ---- */

typedef struct meagre {
    atomic_int left; /* allocations that succeed; negative: all */
    atomic_int live;
} meagre;

static void *meagre_reallocate(void *user, void *pointer, size_t bytes) {
    meagre *its = user;
    if (bytes == 0) {
        atomic_fetch_sub(&its->live, pointer != NULL);
        free(pointer);
        return NULL;
    }
    if (atomic_load(&its->left) >= 0 && atomic_fetch_sub(&its->left, 1) <= 0) {
        atomic_store(&its->left, 0);
        return NULL;
    }
    void *made = realloc(pointer, bytes);
    atomic_fetch_add(&its->live, made != NULL && pointer == NULL);
    return made;
}

static pel_status use_scratch(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)user;
    memset(scratch, 1, 5000);
    memset(arguments[0], 2, 3000);
    return PEL_OK;
}

static void test_failing_allocations(void **state) {
    (void)state;
    for (int left = 0; left < 12; left++) {
        meagre its;
        atomic_init(&its.left, left);
        atomic_init(&its.live, 0);
        pel_allocator allocator = {meagre_reallocate, &its};
        pel_backend_env env = env_of(2);
        env.allocator = &allocator;
        pel_backend_device *device = NULL;
        pel_error *error = NULL;
        pel_status status = pel_backend_host.open(&env, &facts, &device, &error);
        if (status == PEL_OK) {
            pel_mem *mem = NULL;
            status = pel_backend_host.mem_create(device, &its, 4, &mem, NULL);
            assert_true(status == PEL_OK || (status == PEL_OUT_OF_MEMORY && mem == NULL));
            pel_param param = PEL_PARAM_LOCAL;
            pel_kernel_image kernel = {
                .name = "use_scratch", .host = use_scratch, .scratch_bytes = 5000, .params = &param, .param_count = 1};
            pel_work_arg arg = {.kind = PEL_WORK_ARG_LOCAL, .bytes = 3000};
            waited work;
            begin(&work, PEL_WORK_LAUNCH);
            work.work.kernel = &kernel;
            work.work.args = &arg;
            work.work.span = (pel_span){.dims = 1, .hi = {1000, 1, 1}, .global = {1000, 1, 1}};
            pel_backend_host.submit(device, &work.work);
            finish(&work);
            assert_true(work.work.status == PEL_OK || work.work.status == PEL_OUT_OF_MEMORY);
            assert_int_equal(pel_error_status(work.work.error), work.work.status);
            pel_error_destroy(work.work.error);
            if (mem != NULL) {
                pel_backend_host.mem_destroy(device, mem);
            }
            pel_backend_host.close(device);
        } else {
            assert_int_equal(status, PEL_OUT_OF_MEMORY);
            assert_non_null(error);
        }
        pel_error_destroy(error);
        assert_int_equal(atomic_load(&its.live), 0);
    }
}

static void test_too_many_workers(void **state) {
    (void)state;
    pel_backend_env env = env_of(PEL_CORE_LIMIT + 1);
    pel_backend_device *device = NULL;
    pel_error *error = NULL;
    assert_int_equal(pel_backend_host.open(&env, &facts, &device, &error), PEL_INVALID_ARGUMENT);
    assert_non_null(strstr(pel_error_message(error), "4097"));
    pel_error_destroy(error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once),
        cmocka_unit_test(test_ranges_beyond_32_bits),
        cmocka_unit_test(test_loops_keep_their_grain),
        cmocka_unit_test(test_absent_workers_are_robbed),
        cmocka_unit_test(test_guests_leave_alone_what_may_hang),
        cmocka_unit_test(test_tasks_run_side_by_side),
        cmocka_unit_test(test_tasks_by_priority),
        cmocka_unit_test(test_close_waits_for_everything),
        cmocka_unit_test(test_idle_uses_no_processor),
        cmocka_unit_test(test_opened_and_closed_a_thousand_times),
        cmocka_unit_test(test_signals_and_cores),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_too_many_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
