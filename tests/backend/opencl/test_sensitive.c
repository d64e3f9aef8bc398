/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sensitive data on an OpenCL device: memory objects are zeroed before the library lets go of them, seen through a reference of
 * the test's own, and local memory after the launch that used it, seen by a kernel that reads it uninitialised. On one compute
 * unit, so that it is the same local memory. And what the library writes (files and words) holds no contents.
 */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS /* clCreateCommandQueue */
#include <pel/opencl.h>
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 1000, GROUP = 50, SECRET = 0x5ec2e7a5 };

static const char source[] = "kernel void leave(global int *x, local int *l) {\n"
                             "    size_t i = get_local_id(0), n = get_local_size(0);\n"
                             "    l[i] = x[get_global_id(0)];\n"
                             "    barrier(CLK_LOCAL_MEM_FENCE);\n"
                             "    x[get_global_id(0)] = l[n - 1 - i];\n"
                             "}\n"
                             "kernel void look(global int *x, local int *l) { x[get_global_id(0)] = l[get_local_id(0)]; }\n"
                             "kernel void put(global int *x) { x[get_global_id(0)] = 0x5ec2e7a5; }\n";

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1), PEL_PARAM_LOCAL};

typedef struct world {
    pel_runtime *runtime;
    const pel_device *device;
    pel_program *program;
    pel_kernel *leave, *look, *put;
    pel_queue *queue;
} world;

static pel_kernel *make_kernel(const world *w, const char *entry, uint32_t count) {
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel = NULL;
    desc.entry = entry;
    desc.params = params;
    desc.param_count = count;
    assert_int_equal(pel_kernel_create(w->program, &desc, &kernel, NULL), PEL_OK);
    return kernel;
}

static world begin_with(pel_runtime_desc desc) {
    world w = {0};
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    pel_error *error = NULL;
    if (pel_runtime_create(&desc, &w.runtime, &error) != PEL_OK) {
        print_message("%s\n", pel_error_story(error));
        pel_error_destroy(error);
        skip();
    }
    w.device = pel_runtime_device(w.runtime, 0);
    program.source = source;
    assert_int_equal(pel_program_create(w.runtime, &program, &w.program, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(w.runtime, NULL, &w.queue, NULL), PEL_OK);
    w.leave = make_kernel(&w, "leave", 2);
    w.look = make_kernel(&w, "look", 2);
    w.put = make_kernel(&w, "put", 1);
    return w;
}

static world begin(const char *devices) {
    return begin_with((pel_runtime_desc){.devices = devices});
}

static void end(world *w) {
    assert_int_equal(pel_queue_destroy(w->queue), PEL_OK);
    pel_kernel_destroy(w->leave);
    pel_kernel_destroy(w->look);
    pel_kernel_destroy(w->put);
    assert_int_equal(pel_program_destroy(w->program), PEL_OK);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static pel_buffer *make(const world *w, bool sensitive) {
    pel_buffer_desc desc = PEL_BUFFER_DESC_INIT;
    pel_buffer *buffer = NULL;
    desc.bytes = N * sizeof(int);
    desc.flags = sensitive ? PEL_BUFFER_SENSITIVE : 0;
    assert_int_equal(pel_buffer_create_with(w->runtime, &desc, &buffer, NULL), PEL_OK);
    return buffer;
}

static char plan_text[4096]; /* of the last launch */

static void run(world *w, pel_kernel *kernel, pel_buffer *buffer) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(buffer), pel_local(GROUP * sizeof(int))};
    desc.global[0] = N;
    desc.local[0] = GROUP;
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    assert_int_equal(pel_launch(w->queue, kernel, &desc, args, kernel == w->put ? 1 : 2, &event), PEL_OK);
    assert_int_equal(pel_queue_finish(w->queue), PEL_OK);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    (void)snprintf(plan_text, sizeof plan_text, "%s", pel_plan_text(plan));
    pel_plan_destroy(plan);
    pel_event_release(event);
}

static int secrets_in(const int *values) {
    int count = 0;
    for (int i = 0; i < N; i++) {
        count += values[i] == SECRET;
    }
    return count;
}

/* What the memory object holds after the library let go of it. */
static int left_in_memory(bool sensitive) {
    world w = begin("opencl:0[own]");
    pel_buffer *buffer = make(&w, sensitive);
    pel_mapping *mapping = NULL;
    cl_mem memory = NULL;
    uint64_t offset;
    cl_uint references = 0;
    int values[N];
    cl_int code = CL_SUCCESS;
    run(&w, w.put, buffer);
    assert_int_equal(pel_opencl_map(w.queue, buffer, 0, 0, PEL_MAP_READ, w.device, NULL, &mapping), PEL_OK);
    assert_int_equal(pel_opencl_map_wait(mapping, &memory, &offset), PEL_OK);
    assert_int_equal(clRetainMemObject(memory), CL_SUCCESS);
    pel_mapping_destroy(mapping);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    assert_int_equal(clGetMemObjectInfo(memory, CL_MEM_REFERENCE_COUNT, sizeof references, &references, NULL), CL_SUCCESS);
    assert_int_equal(references, 1);
    cl_command_queue own = clCreateCommandQueue(pel_opencl_context(w.device), pel_opencl_device_id(w.device), 0, &code);
    assert_int_equal(code, CL_SUCCESS);
    assert_int_equal(clEnqueueReadBuffer(own, memory, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL), CL_SUCCESS);
    clReleaseCommandQueue(own);
    clReleaseMemObject(memory);
    end(&w);
    return secrets_in(values);
}

static void test_memory_objects_are_zeroed(void **state) {
    (void)state;
    assert_int_equal(left_in_memory(false), N);
    assert_int_equal(left_in_memory(true), 0);
}

static int left_in_local_memory(bool sensitive) {
    world w = begin("opencl:0");
    pel_buffer *secret = make(&w, sensitive), *seen = make(&w, false);
    run(&w, w.put, secret);
    run(&w, w.leave, secret);
    run(&w, w.look, seen);
    assert_int_equal(pel_buffer_sync(seen), PEL_OK);
    int count = secrets_in(pel_buffer_data(seen));
    assert_int_equal(pel_buffer_sync(secret), PEL_OK);
    assert_int_equal(secrets_in(pel_buffer_data(secret)), N);
    assert_int_equal(pel_buffer_destroy(secret), PEL_OK);
    assert_int_equal(pel_buffer_destroy(seen), PEL_OK);
    end(&w);
    return count;
}

static void test_local_memory_is_scrubbed(void **state) {
    (void)state;
    int without = left_in_local_memory(false);
    print_message("without the flag, %d of %d work-items found the secret in local memory\n", without, (int)N);
    assert_int_equal(left_in_local_memory(true), 0);
}

/* ---- what is written ---- */

/* Words of 4 bytes, which the kernel reverses; any 8 bytes of them would be a trace. */
static const char pattern[] = "q7#Zq7#Zq7#Zq7#Z";
static char words[1 << 18];                                       /* the log, and what plans say */
static int files, found;

static void hear(void *user, pel_log_level level, const char *message) {
    (void)user, (void)level;
    strncat(words, message, sizeof words - strlen(words) - 1);
}

static bool holds_contents(const char *bytes, size_t count) {
    for (size_t i = 0; i + 8 <= sizeof pattern - 1; i++) {
        if (memmem(bytes, count, pattern + i, 8)) {
            return true;
        }
    }
    return false;
}

static int look_into(const char *path, const struct stat *facts, int type, struct FTW *place) {
    (void)place;
    if (type == FTW_F && facts->st_size > 0) {
        char *bytes = malloc((size_t)facts->st_size);
        FILE *file = fopen(path, "r");
        assert_true(bytes && file && fread(bytes, 1, (size_t)facts->st_size, file) == (size_t)facts->st_size);
        (void)fclose(file);
        found += holds_contents(bytes, (size_t)facts->st_size);
        files++;
        free(bytes);
    }
    return remove(path);
}

/* Programs and history in the cache, a checkpoint, every line of the log, plans, the story of a checkpoint that was refused.
 * Returns how many files held contents. */
static int written_of(bool sensitive) {
    char directory[] = "/tmp/pel-written-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/checkpoint", directory);
    world w = begin_with((pel_runtime_desc){.devices = "host,opencl:0",
                                            .cache_directory = directory,
                                            .log = hear,
                                            .log_level = PEL_LOG_DEBUG,
                                            .verification = &(pel_verification){.share = 1}});
    pel_buffer *buffer = make(&w, sensitive), *plain = make(&w, false);
    pel_mapping *mapping = NULL;
    pel_checkpoint *checkpoint = NULL;
    void *memory = NULL;
    words[0] = '\0';
    files = found = 0;
    assert_int_equal(pel_map(w.queue, buffer, 0, 0, PEL_MAP_WRITE | PEL_MAP_DISCARD, NULL, &mapping), PEL_OK);
    assert_int_equal(pel_map_wait(mapping, &memory), PEL_OK);
    for (size_t i = 0; i + sizeof pattern - 1 <= N * sizeof(int); i += sizeof pattern - 1) {
        memcpy((char *)memory + i, pattern, sizeof pattern - 1);
    }
    pel_mapping_destroy(mapping);
    for (int i = 0; i < 3; i++) {
        run(&w, w.leave, buffer);
        hear(NULL, PEL_LOG_DEBUG, plan_text);
    }
    const pel_checkpoint_desc desc = {.path = path};
    const pel_checkpoint_item items[] = {{"plain", plain}, {"contents", buffer}};
    pel_error *error = NULL;
    assert_int_equal(pel_checkpoint_open(w.runtime, &desc, &checkpoint, NULL), PEL_OK);
    assert_int_equal(pel_checkpoint_write(checkpoint, w.queue, items, 1, 1, NULL), PEL_OK);
    assert_int_equal(pel_checkpoint_write(checkpoint, w.queue, items, 2, 2, &error), sensitive ? PEL_UNSUPPORTED : PEL_OK);
    hear(NULL, PEL_LOG_DEBUG, error ? pel_error_story(error) : "");
    pel_error_destroy(error);
    pel_checkpoint_close(checkpoint);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_buffer_destroy(plain), PEL_OK);
    end(&w);
    assert_int_equal(nftw(directory, look_into, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_true(files >= 2 && strlen(words) > 100); /* there was something to look into */
    if (holds_contents(words, strlen(words))) {
        (void)fputs(words, stderr);
        fail();
    }
    return found;
}

static void test_files_and_words_hold_no_contents(void **state) {
    (void)state;
    assert_true(written_of(false) > 0); /* in the checkpoint: so the search finds them */
    assert_int_equal(written_of(true), 0);
}

int main(void) {
    setenv("POCL_MAX_PTHREAD_COUNT", "1", 1);
    setenv("POCL_CPU_MAX_CU_COUNT", "1", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_objects_are_zeroed),
                                       cmocka_unit_test(test_local_memory_is_scrubbed),
                                       cmocka_unit_test(test_files_and_words_hold_no_contents)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
