/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/fake_runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void *reallocate(void *user, void *pointer, size_t bytes) {
    fake_allocator *fake = user;
    if (bytes == 0) {
        fake->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    fake->calls++;
    if (fake->fail_from != 0 && (fake->calls == fake->fail_from || (fake->for_ever && fake->calls > fake->fail_from))) {
        return NULL;
    }
    void *block = realloc(pointer, bytes);
    fake->live += block != NULL && pointer == NULL;
    return block;
}

void fake_allocator_init(fake_allocator *fake) {
    *fake = (fake_allocator){.allocator = {reallocate, fake}};
}

static fake_device *of(pel_backend_device *device) {
    return (fake_device *)(void *)device;
}

static pel_status mem_create(pel_backend_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    const pel_allocator *allocator = &of(device)->owner->runtime.allocator;
    *mem = pel_alloc_zero(allocator, 1, sizeof **mem);
    if (!*mem) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a fake mem");
    }
    **mem = (pel_mem){host, bytes};
    of(device)->live_mems++;
    of(device)->made_mems++;
    return PEL_OK;
}

static pel_status mem_view(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                           pel_error **error) {
    const pel_allocator *allocator = &of(device)->owner->runtime.allocator;
    uint64_t alignment = of(device)->view_alignment;
    if (alignment != 0 && offset % alignment != 0) {
        return pel_fail(error, allocator, PEL_UNSUPPORTED, NULL, "a view at %llu is not aligned", (unsigned long long)offset);
    }
    *view = pel_alloc_zero(allocator, 1, sizeof **view);
    if (!*view) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a fake view");
    }
    **view = (pel_mem){(char *)parent->host + offset, bytes};
    of(device)->live_mems++;
    return PEL_OK;
}

static void mem_destroy(pel_backend_device *device, pel_mem *mem) {
    of(device)->live_mems--;
    pel_free(&of(device)->owner->runtime.allocator, mem);
}

static pel_status prepare(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                          pel_error **error) {
    fake_device *fake = of(device);
    pel_status status = kernel ? fake->kernel_status : fake->build_status;
    *(kernel ? &fake->kernels_prepared : &fake->programs_prepared) += 1;
    if (status == PEL_OK) {
        return PEL_OK;
    }
    pel_story story = {.device = fake->base.facts->info.id, .build_log = "line one\nline two\n"};
    return pel_fail(error, &fake->owner->runtime.allocator, status, &story, "fake failure of %s on %s",
                    kernel ? kernel->name : program->name, fake->base.facts->info.id);
}

static uint64_t largest_group(pel_backend_device *device, const pel_kernel_image *kernel, bool *fixed) {
    (void)fixed;
    (void)kernel;
    return of(device)->largest_group;
}

/* A driver that forgets may write files: nobody else must wait for that. */
static void check_unlocked(pel_backend_device *device) {
    pthread_mutex_t *lock = &of(device)->owner->runtime.lock;
    assert_int_equal(pthread_mutex_trylock(lock), 0);
    pthread_mutex_unlock(lock);
}

static void kernel_forget(pel_backend_device *device, const pel_kernel_image *kernel) {
    (void)kernel;
    check_unlocked(device);
    of(device)->kernels_forgotten++;
}

static void program_forget(pel_backend_device *device, const pel_program_image *program) {
    (void)program;
    check_unlocked(device);
    of(device)->programs_forgotten++;
}

static const pel_backend backend = {.name = "fake",
                                    .mem_create = mem_create,
                                    .mem_view = mem_view,
                                    .mem_destroy = mem_destroy,
                                    .prepare = prepare,
                                    .largest_group = largest_group,
                                    .kernel_forget = kernel_forget,
                                    .program_forget = program_forget};

static void count_line(void *user, pel_log_level level, const char *message) {
    (void)level;
    assert_null(strchr(message, '\n'));
    ((fake_runtime *)user)->log_lines++;
}

static void invent_device(fake_runtime *fake, uint32_t index, char letter) {
    static const char *const ids[] = {"dev:0", "dev:1", "dev:2", "dev:3"};
    pel_topology_device *facts = &fake->facts[index];
    facts->info.id = letter == 'h' ? "host" : ids[index];
    facts->info.name = "invented";
    facts->info.vendor = facts->info.platform = facts->info.driver = facts->info.identity = "";
    facts->info.kind = letter == 'h' ? PEL_DEVICE_HOST : letter == 's' ? PEL_DEVICE_SIMULATED : PEL_DEVICE_OPENCL;
    facts->info.max_work_group = 1024;
    facts->info.local_memory_bytes = 32768;
    facts->host_coherent = letter == 'c';
    if (letter == 'd') {
        facts->info.memory_bytes = 1 << 20;
        facts->info.max_allocation_bytes = 1 << 18;
    }
    fake->drivers[index] = (fake_device){.base = {&backend, facts}, .owner = fake, .index = index};
    fake->devices[index] = (pel_device){.runtime = &fake->runtime,
                                        .facts = facts,
                                        .driver = &fake->drivers[index].base,
                                        .index = index,
                                        .place = letter == 'h' || letter == 'c' ? 0 : 1 + index};
}

void fake_runtime_init(fake_runtime *fake, const char *devices) {
    memset(fake, 0, sizeof *fake);
    fake_allocator_init(&fake->memory);
    pel_runtime *runtime = &fake->runtime;
    runtime->allocator = fake->memory.allocator;
    pel_logger_init(&runtime->logger, count_line, fake, PEL_LOG_DEBUG);
    runtime->clock = &pel_clock_monotonic;
    runtime->pid = getpid();
    pthread_mutex_init(&runtime->lock, NULL);
    runtime->devices = fake->devices;
    runtime->device_count = (uint32_t)strlen(devices);
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        invent_device(fake, i, devices[i]);
    }
    runtime->task_device = &fake->devices[0];
}

void fake_runtime_end(fake_runtime *fake) {
    assert_int_equal(pel_objects_alive(&fake->runtime), 0);
    assert_null(fake->runtime.allocations);
    for (uint32_t i = 0; i < fake->runtime.device_count; i++) {
        assert_int_equal(fake->drivers[i].live_mems, 0);
        assert_int_equal(fake->devices[i].memory_used, 0);
        assert_true(fake->drivers[i].kernels_forgotten >= fake->drivers[i].kernels_prepared ||
                    fake->drivers[i].kernel_status != PEL_OK);
    }
    assert_int_equal(fake->memory.live, 0);
    pel_logger_destroy(&fake->runtime.logger);
    pthread_mutex_destroy(&fake->runtime.lock);
}
