/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sensitive buffers leave nothing behind: a memory source and an allocator look at everything that is released for the secret.
 * Each test has its counterpart without the flag, where the secret is found, so that the search is known to work.
 */
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 256, SECRET = 0x5ec2e7a5, HEADER = 64 };

static bool holds_secret(const void *memory, size_t bytes) {
    const int *words = memory;
    for (size_t i = 0; i < bytes / sizeof(int); i++) {
        if (words[i] == SECRET) {
            return true;
        }
    }
    return false;
}

/* ---- a source that looks ---- */

typedef struct looking_source {
    atomic_int taken, given, seen;
    bool empty;
} looking_source;

static void *source_allocate(void *user, uint64_t bytes) {
    looking_source *s = user;
    if (s->empty) {
        return NULL;
    }
    void *memory = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (memory) {
        memset(memory, 0xee, (size_t)bytes);
        s->taken++;
    }
    return memory;
}

static void source_release(void *user, void *memory, uint64_t bytes) {
    looking_source *s = user;
    s->seen += holds_secret(memory, (size_t)bytes);
    s->given++;
    free(memory);
}

/* ---- an allocator that looks ---- */

typedef struct looking_allocator {
    atomic_int seen;
} looking_allocator;

static void *look_and_reallocate(void *user, void *pointer, size_t bytes) {
    looking_allocator *l = user;
    char *block = pointer ? (char *)pointer - HEADER : NULL;
    size_t before = 0;
    if (block) {
        memcpy(&before, block, sizeof before);
    }
    if (bytes == 0) {
        l->seen += block && holds_secret(pointer, before);
        free(block);
        return NULL;
    }
    char *fresh = calloc(1, bytes + HEADER);
    if (!fresh) {
        return NULL;
    }
    memcpy(fresh, &bytes, sizeof bytes);
    if (block) {
        memcpy(fresh + HEADER, pointer, before < bytes ? before : bytes);
        l->seen += holds_secret(pointer, before);
        free(block);
    }
    return fresh + HEADER;
}

/* ---- a kernel that leaves the secret everywhere ---- */

static pel_status spread(const pel_group *group, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *most = arguments[1], *local = arguments[2], *kept = scratch;
    (void)user;
    for (uint64_t i = group->lo[0]; i < group->hi[0]; i++) {
        local[i - group->lo[0]] = in[i];
        kept[(i - group->lo[0]) % 16] = in[i];
        *most = in[i] > *most ? in[i] : *most;
    }
    return PEL_OK;
}

static const pel_param spread_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                          PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_MAX, PEL_I32, sizeof(int), 1), PEL_PARAM_LOCAL};

typedef struct world {
    pel_runtime *runtime;
    pel_queue *queue;
    looking_allocator allocator;
    looking_source source;
} world;

static void begin(world *w, bool simulated) {
    pel_simulated_device device = {.start_ns = 1000, .rate = 1, .link_bytes_per_ns = 1};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    memset(w, 0, sizeof *w);
    const pel_allocator allocator = {look_and_reallocate, &w->allocator};
    strcpy(device.name, "far");
    simulation.devices = &device;
    simulation.device_count = 1;
    desc.simulation = simulated ? &simulation : NULL;
    desc.devices = simulated ? NULL : "host";
    desc.host_workers = simulated ? 0 : 2;
    desc.allocator = &allocator;
    desc.flags = PEL_RUNTIME_NO_CACHE;
    assert_int_equal(pel_runtime_create(&desc, &w->runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(w->runtime, NULL, &w->queue, NULL), PEL_OK);
}

static void end(world *w) {
    assert_int_equal(pel_queue_destroy(w->queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
    assert_int_equal(w->source.taken, w->source.given);
}

static pel_buffer *make(world *w, uint64_t bytes, bool sensitive) {
    const pel_memory_source source = {source_allocate, source_release, &w->source};
    pel_buffer_desc desc = PEL_BUFFER_DESC_INIT;
    pel_buffer *buffer = NULL;
    desc.bytes = bytes;
    desc.source = &source;
    desc.flags = sensitive ? PEL_BUFFER_SENSITIVE : 0;
    assert_int_equal(pel_buffer_create_with(w->runtime, &desc, &buffer, NULL), PEL_OK);
    for (uint64_t i = 0; i < bytes; i++) {
        assert_int_equal(((unsigned char *)pel_buffer_data(buffer))[i], 0);
    }
    return buffer;
}

static void live(bool simulated, bool sensitive, int *in_memory, int *in_records) {
    static world w;
    begin(&w, simulated);
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_mapping *mapping = NULL;
    void *memory = NULL;
    kernel_desc.name = "spread";
    kernel_desc.params = spread_params;
    kernel_desc.param_count = 3;
    kernel_desc.host_group = spread;
    kernel_desc.scratch_bytes = 64;
    assert_int_equal(pel_program_create(w.runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    pel_buffer *in = make(&w, N * sizeof(int), sensitive), *most = make(&w, sizeof(int), sensitive);
    assert_int_equal(pel_map(w.queue, in, 0, 0, PEL_MAP_WRITE | PEL_MAP_DISCARD | PEL_MAP_GUARD, NULL, &mapping), PEL_OK);
    assert_int_equal(pel_map_wait(mapping, &memory), PEL_OK);
    for (int i = 0; i < N; i++) {
        ((int *)memory)[i] = SECRET;
    }
    pel_mapping_destroy(mapping);
    pel_share shares[2];
    launch.share_count = pel_runtime_device_count(w.runtime);
    for (uint32_t i = 0; i < launch.share_count; i++) {
        shares[i] = (pel_share){pel_runtime_device(w.runtime, i), 1};
    }
    launch.shares = shares;
    launch.global[0] = N;
    launch.local[0] = 16;
    const pel_arg args[] = {pel_buf(in), pel_buf(most), pel_local(16 * sizeof(int))};
    assert_int_equal(pel_launch(w.queue, kernel, &launch, args, 3, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    assert_int_equal(pel_buffer_sync(most), PEL_OK);
    assert_int_equal(*(int *)pel_buffer_data(most), SECRET);
    assert_int_equal(pel_buffer_destroy(in), PEL_OK);
    assert_int_equal(pel_buffer_destroy(most), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    end(&w);
    *in_memory = w.source.seen;
    *in_records = w.allocator.seen;
}

static void test_nothing_is_left(void **state) {
    (void)state;
    for (int simulated = 0; simulated < 2; simulated++) {
        int in_memory, in_records;
        live(simulated, false, &in_memory, &in_records);
        printf("%s, not sensitive: the secret was in %d buffers and %d records\n", simulated ? "simulated" : "host", in_memory,
               in_records);
        assert_int_equal(in_memory, 2);
        assert_true(in_records > 0);
        live(simulated, true, &in_memory, &in_records);
        assert_int_equal(in_memory, 0);
        assert_int_equal(in_records, 0);
    }
}

static void test_wrapped_memory_stays_the_callers(void **state) {
    (void)state;
    static world w;
    static int memory[N];
    begin(&w, false);
    pel_buffer_desc desc = PEL_BUFFER_DESC_INIT;
    pel_buffer *buffer = NULL;
    desc.bytes = sizeof memory;
    desc.memory = memory;
    desc.flags = PEL_BUFFER_SENSITIVE;
    memory[3] = SECRET;
    assert_int_equal(pel_buffer_create_with(w.runtime, &desc, &buffer, NULL), PEL_OK);
    assert_ptr_equal(pel_buffer_data(buffer), memory);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(memory[3], SECRET);
    end(&w);
}

static void expect_refusal(pel_checkpoint *checkpoint, world *w, const char *name, pel_buffer *buffer, pel_status expected) {
    const pel_checkpoint_item item = {name, buffer};
    pel_error *error = NULL;
    assert_int_equal(pel_checkpoint_write(checkpoint, w->queue, &item, 1, 1, &error), expected);
    if (expected != PEL_OK) {
        assert_non_null(strstr(pel_error_message(error), name));
    }
    pel_error_destroy(error);
}

static void test_checkpoints_refuse(void **state) {
    (void)state;
    static world w;
    static int memory[2 * N];
    char directory[] = "/tmp/pel-sensitive-XXXXXX", path[64], file[80];
    begin(&w, false);
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/c", directory);
    pel_checkpoint_desc desc = PEL_CHECKPOINT_DESC_INIT;
    pel_checkpoint *checkpoint = NULL;
    pel_buffer *secret = make(&w, N * sizeof(int), true), *plain = make(&w, N * sizeof(int), false), *low = NULL, *high = NULL;
    desc.path = path;
    assert_int_equal(pel_checkpoint_open(w.runtime, &desc, &checkpoint, NULL), PEL_OK);
    expect_refusal(checkpoint, &w, "hidden", secret, PEL_UNSUPPORTED);
    expect_refusal(checkpoint, &w, "open", plain, PEL_OK);
    const pel_checkpoint_chunk chunk = {.hi = 1, .item = "open", .buffer = secret, .bytes = 8};
    assert_int_equal(pel_checkpoint_note(checkpoint, w.queue, &chunk, NULL), PEL_UNSUPPORTED);
    /* One memory with a sensitive buffer: the other one over it is so, too. */
    pel_buffer_desc wrap = PEL_BUFFER_DESC_INIT;
    wrap.bytes = (N + 10) * sizeof(int);
    wrap.memory = memory;
    wrap.flags = PEL_BUFFER_SENSITIVE;
    assert_int_equal(pel_buffer_wrap(w.runtime, memory + N, N * sizeof(int), &high), PEL_OK);
    expect_refusal(checkpoint, &w, "high", high, PEL_OK);
    assert_int_equal(pel_buffer_create_with(w.runtime, &wrap, &low, NULL), PEL_OK);
    expect_refusal(checkpoint, &w, "high", high, PEL_UNSUPPORTED);
    pel_checkpoint_close(checkpoint);
    pel_buffer *all[] = {secret, plain, low, high};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pel_buffer_destroy(all[i]), PEL_OK);
    }
    static const char *const suffixes[] = {".0", ".1", ".0.log", ".1.log", ".lock", ".tmp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        (void)unlink(file);
    }
    assert_int_equal(rmdir(directory), 0);
    end(&w);
}

static void test_refusals(void **state) {
    (void)state;
    static world w;
    static int memory[N];
    begin(&w, false);
    const pel_memory_source half = {source_allocate, NULL, &w.source}, whole = {source_allocate, source_release, &w.source};
    const pel_buffer_desc wrong[] = {
        {.size = 3, .bytes = 8},       {.bytes = 0},
        {.bytes = 8, .flags = 2},      {.bytes = 8, .reserved = 1},
        {.bytes = 8, .source = &half}, {.bytes = 8, .source = &whole, .memory = memory},
    };
    pel_buffer *buffer = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pel_error *error = NULL;
        assert_int_equal(pel_buffer_create_with(w.runtime, &wrong[i], &buffer, &error), PEL_INVALID_ARGUMENT);
        assert_non_null(error);
        pel_error_destroy(error);
    }
    assert_int_equal(pel_buffer_create_with(w.runtime, NULL, &buffer, NULL), PEL_INVALID_ARGUMENT);
    w.source.empty = true;
    assert_int_equal(pel_buffer_create_with(w.runtime, &(pel_buffer_desc){.bytes = 8, .source = &whole}, &buffer, NULL),
                     PEL_OUT_OF_MEMORY);
    assert_null(buffer);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_wrapped_memory_stays_the_callers),
        cmocka_unit_test(test_checkpoints_refuse),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
