/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every public function, called by four threads at once: on objects that they share where the interface lets them, on their own
 * where an object is one thread's. A function of runtime/pel.map that is not called here fails the test. What the results are is
 * other tests' business; here they must not be wrong because of company, and ThreadSanitizer must have nothing to say.
 */
#include "four_threads.h"

#include <pel/pel.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 256, BYTES = ITEMS * (int)sizeof(int), ROUNDS = 12 };

static pel_runtime *runtime, *machine; /* the second one is simulated, with devices that graphs can be planned for */
static pel_queue *queue, *stream;
static pel_buffer *shared, *home;
static pel_program *program;
static pel_kernel *kernel;
static pel_kernel *far_kernel;
static int memory[ITEMS];
static char directory[] = "/tmp/pel-four-XXXXXX";

static pel_status add_one(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch;
    (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((int *)arguments[0])[i] += 1;
    }
    return PEL_OK;
}

static pel_kernel *make_kernel(pel_program *of) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *made = NULL;
    desc.name = "add_one";
    desc.params = params;
    desc.param_count = 1;
    desc.host = add_one;
    EXPECT(pel_kernel_create(of, &desc, &made, NULL) == PEL_OK);
    return made;
}

static pel_program *make_program(pel_runtime *of) {
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_program *made = NULL;
    EXPECT(pel_program_create(of, &desc, &made, NULL) == PEL_OK);
    return made;
}

static pel_runtime *make_runtime(uint32_t workers) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *made = NULL;
    desc.devices = "host";
    desc.host_workers = workers;
    EXPECT(pel_runtime_create(&desc, &made, NULL) == PEL_OK);
    return made;
}

static pel_runtime *make_machine(void) {
    pel_simulated_device devices[2];
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *made = NULL;
    memset(devices, 0, sizeof devices);
    for (int i = 0; i < 2; i++) {
        snprintf(devices[i].name, sizeof devices[i].name, "gpu%d", i);
        devices[i].start_ns = 1000;
        devices[i].rate = 10.0 * (i + 1);
        devices[i].link_bytes_per_ns = 4;
    }
    simulation.seed = 5;
    simulation.devices = devices;
    simulation.device_count = 2;
    desc.devices = "!host";
    desc.simulation = &simulation;
    EXPECT(pel_runtime_create(&desc, &made, NULL) == PEL_OK);
    return made;
}

static int set_up(void **state) {
    (void)state;
    runtime = make_runtime(2);
    machine = make_machine();
    if (!mkdtemp(directory) || pel_queue_create(runtime, NULL, &queue, NULL) != PEL_OK ||
        pel_queue_create(machine, NULL, &stream, NULL) != PEL_OK || pel_buffer_create(runtime, BYTES, &shared, NULL) != PEL_OK ||
        pel_buffer_wrap(runtime, memory, sizeof memory, &home) != PEL_OK) {
        return -1;
    }
    program = make_program(runtime);
    kernel = make_kernel(program);
    pel_program *far = make_program(machine);
    far_kernel = make_kernel(far);
    return (int)pel_program_destroy(far);
}

static int tear_down(void **state) {
    (void)state;
    char command[64];
    (void)pel_kernel_destroy(kernel);
    (void)pel_kernel_destroy(far_kernel);
    (void)pel_program_destroy(program);
    (void)pel_buffer_destroy(shared);
    (void)pel_buffer_destroy(home);
    (void)pel_queue_destroy(queue);
    (void)pel_queue_destroy(stream);
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    return system(command) | (int)pel_runtime_destroy(machine) | (int)pel_runtime_destroy(runtime);
}

/* ---- scenes ---- */

static void play_words(int thread) {
    EXPECT(pel_version() > 0 && strlen(pel_version_string()) > 0);
    EXPECT(strcmp(pel_status_name(PEL_OK), "PEL_OK") == 0 && strlen(pel_status_text((pel_status)thread)) > 0);
}

static bool stop_at_once(void *user) { return atomic_fetch_add((atomic_int *)user, 1) > 20; }

static void play_runtimes(int thread) {
    pel_runtime *own = make_runtime(1);
    pel_error *error = NULL;
    atomic_int looks = 0;
    EXPECT(pel_runtime_device_count(runtime) == 1 && pel_runtime_device(runtime, 0) == pel_runtime_find_device(runtime, "host"));
    EXPECT(pel_runtime_now(runtime) > 0);
    EXPECT(pel_runtime_test_devices(own, &error) == PEL_OK);
    EXPECT(pel_runtime_set_workers(runtime, 1 + (uint32_t)thread % 2) == PEL_OK);
    EXPECT(pel_runtime_get_workers(runtime) > 0);
    const pel_status status = pel_worker_run(runtime, stop_at_once, &looks);
    EXPECT(status == PEL_OK || status == PEL_BUSY);
    EXPECT(pel_runtime_destroy(own) == PEL_OK);
}

static void play_devices(int thread) {
    const pel_device *device = pel_runtime_device(runtime, 0);
    pel_device_counters counters;
    pel_device_health health;
    pel_device_energy energy;
    EXPECT(pel_device_get_energy(device, &energy) == PEL_OK);
    EXPECT(strcmp(pel_device_get_info(device)->id, "host") == 0);
    pel_device_get_counters(device, &counters);
    pel_device_get_health(device, &health);
    EXPECT(pel_device_set_power(device, 10.0 + thread, 1.0) == PEL_OK);
}

static void play_buffers(int thread) {
    pel_buffer *made = NULL, *with = NULL, *wrap = NULL;
    pel_buffer_desc desc = PEL_BUFFER_DESC_INIT;
    pel_buffer_counters counters;
    desc.bytes = 64;
    EXPECT(pel_buffer_create(runtime, 64, &made, NULL) == PEL_OK);
    EXPECT(pel_buffer_create_with(runtime, &desc, &with, NULL) == PEL_OK);
    EXPECT(pel_buffer_wrap(runtime, memory + thread * 16, 64, &wrap) == PEL_OK); /* a part of what is wrapped already */
    EXPECT(pel_buffer_bytes(made) == 64 && pel_buffer_data(with) != NULL);
    pel_buffer_get_counters(shared, &counters);
    EXPECT(pel_buffer_advise(shared, PEL_ADVICE_KEEP, NULL) == PEL_OK);
    EXPECT(pel_buffer_sync(home) == PEL_OK);
    EXPECT(pel_buffer_destroy(made) == PEL_OK && pel_buffer_destroy(with) == PEL_OK && pel_buffer_destroy(wrap) == PEL_OK);
}

static void play_programs(int thread) {
    pel_program *own = make_program(runtime);
    pel_kernel *of_own = make_kernel(own), *of_shared = make_kernel(program);
    (void)thread;
    EXPECT(pel_kernel_destroy(of_own) == PEL_OK && pel_kernel_destroy(of_shared) == PEL_OK && pel_program_destroy(own) == PEL_OK);
}

static pel_status count(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
    return PEL_OK;
}

static pel_status count_piece(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add((atomic_int *)context, (int)(end - begin));
    return PEL_OK;
}

static void count_event(pel_event *watched, void *context) {
    (void)watched;
    atomic_fetch_add((atomic_int *)context, 1);
}

static void play_commands(int thread) {
    static atomic_int counted[FOUR];
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    pel_objective objective = {PEL_OBJECTIVE_TIME, 0, 0};
    pel_queue *own = NULL;
    pel_event *event = NULL, *called = NULL;
    const uint64_t at = (uint64_t)thread * BYTES / FOUR, part = BYTES / FOUR / 4;
    const int pattern = thread;
    int got[ITEMS];
    const pel_access access = PEL_ACCESS(shared, at, part, PEL_READ_WRITE);
    const pel_rows to = {shared, at, 16}, from = {shared, at + 8, 16};
    desc.weight = 1 + (uint32_t)thread;
    EXPECT(pel_queue_create(runtime, &desc, &own, NULL) == PEL_OK && pel_queue_set_objective(own, &objective) == PEL_OK);
    atomic_store(&counted[thread], 0);
    pel_queue *const both[2] = {queue, own};
    for (int i = 0; i < 2; i++) { /* the shared queue, and one's own on shared memory */
        EXPECT(pel_fill(both[i], shared, at, part, &pattern, sizeof pattern, NULL, NULL) == PEL_OK);
        EXPECT(pel_task(both[i], count, &counted[thread], &access, 1, NULL, &event) == PEL_OK);
        EXPECT(pel_callback(both[i], event, count_event, &counted[thread], &called) == PEL_OK);
        EXPECT(pel_loop(both[i], 100, 10, count_piece, &counted[thread], NULL, 0, NULL, NULL) == PEL_OK);
        EXPECT(pel_copy(both[i], shared, at + 2 * part, shared, at, part, NULL, NULL) == PEL_OK);
        EXPECT(pel_copy_rect(both[i], &to, &from, 4, 3, NULL, NULL) == PEL_OK);
        EXPECT(pel_write(both[i], shared, at + 3 * part, sizeof pattern, &pattern, NULL, NULL) == PEL_OK);
        EXPECT(pel_read(both[i], shared, 0, BYTES, got, NULL, NULL) == PEL_OK);
        EXPECT(pel_prefetch(both[i], shared, at, part, pel_runtime_device(runtime, 0), NULL, NULL) == PEL_OK);
        EXPECT(pel_marker(both[i], NULL, NULL) == PEL_OK && pel_barrier(both[i], NULL, NULL) == PEL_OK);
        EXPECT(pel_queue_finish(both[i]) == PEL_OK);
        EXPECT(pel_event_wait(called) == PEL_OK);
        pel_event_release(event);
        pel_event_release(called);
    }
    EXPECT(atomic_load(&counted[thread]) == 204);
    EXPECT(pel_queue_destroy(own) == PEL_OK);
}

static void play_mappings(int thread) {
    pel_mapping *mapping = NULL;
    void *bytes = NULL;
    EXPECT(pel_map(queue, shared, (uint64_t)thread * BYTES / FOUR, 16, PEL_MAP_READ | PEL_MAP_WRITE, NULL, &mapping) == PEL_OK);
    EXPECT(pel_map_wait(mapping, &bytes) == PEL_OK && bytes);
    EXPECT(pel_unmap(mapping) == PEL_OK);
    pel_mapping_destroy(mapping);
}

/* A task that fails, on a queue of its own; another one that is cancelled; events of the caller. */
static pel_status refuse(void *context) {
    (void)context;
    return PEL_TASK_FAILED;
}

static void play_failures(int thread) {
    pel_queue *own = NULL;
    pel_event *failed = NULL, *user = NULL, *late = NULL, *cancelled = NULL;
    pel_event_timing timing;
    static atomic_int never;
    (void)thread;
    EXPECT(pel_queue_create(runtime, NULL, &own, NULL) == PEL_OK);
    EXPECT(pel_event_create_user(runtime, &user, NULL) == PEL_OK && pel_event_create_user(runtime, &cancelled, NULL) == PEL_OK);
    const pel_event *const waits[] = {user};
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.waits = waits;
    desc.wait_count = 1;
    EXPECT(pel_task(own, refuse, NULL, NULL, 0, NULL, &failed) == PEL_OK &&
           pel_task(own, count, &never, NULL, 0, &desc, &late) == PEL_OK);
    EXPECT(pel_event_get_state(late) == PEL_EVENT_SUBMITTED && pel_event_status(late) == PEL_BUSY);
    EXPECT(pel_event_cancel(late) == PEL_OK && pel_event_cancel(cancelled) == PEL_OK);
    EXPECT(pel_event_set_status(user, PEL_OK) == PEL_OK);
    EXPECT(pel_event_wait(failed) == PEL_TASK_FAILED && pel_event_wait(late) == PEL_CANCELLED);
    EXPECT(pel_queue_finish(own) != PEL_OK);
    pel_event_get_timing(failed, &timing);
    const pel_error *of_event = pel_event_error(failed);
    pel_error *of_queue = pel_queue_error(own);
    EXPECT(pel_error_status(of_event) == PEL_TASK_FAILED && strlen(pel_error_message(of_queue)) > 0 &&
           pel_error_device(of_event) && pel_error_call(of_event));
    (void)pel_error_code(of_event);
    EXPECT(pel_error_advice(of_event) && pel_error_build_log(of_event) && strlen(pel_error_story(of_event)) > 0);
    pel_error_destroy(of_queue);
    EXPECT(pel_queue_reset(own) == PEL_OK && pel_queue_destroy(own) == PEL_OK);
    pel_event_release(pel_event_retain(failed));
    pel_event_release(failed);
    pel_event_release(user);
    pel_event_release(late);
    pel_event_release(cancelled);
}

static void read_plan(const pel_plan *plan) {
    pel_plan_chunk chunk;
    pel_plan_candidate candidate;
    pel_plan_bytes bytes;
    pel_plan_verification verification;
    EXPECT(pel_plan_get_verification(plan, &verification) == PEL_OK && verification.wrong == 0);
    EXPECT(pel_plan_chunk_count(plan) > 0 && pel_plan_get_chunk(plan, 0, &chunk) == PEL_OK);
    EXPECT(pel_plan_candidate_count(plan) > 0 && pel_plan_get_candidate(plan, 0, &candidate) == PEL_OK);
    EXPECT(pel_plan_reason(plan) && pel_plan_restriction(plan) && pel_plan_protection(plan) && strlen(pel_plan_text(plan)) > 0);
    EXPECT(pel_plan_get_bytes(plan, &bytes) == PEL_OK && pel_plan_predicted_ns(plan) >= 0 && pel_plan_actual_ns(plan) >= 0);
    EXPECT(pel_plan_predicted_joules(plan) >= 0 && pel_plan_split_dimension(plan) == 0);
    EXPECT(pel_plan_energy_source(plan) == PEL_ENERGY_UNKNOWN || pel_plan_predicted_joules(plan) > 0);
}

static void play_launches(int thread) {
    const pel_launch_desc desc = {.global = {ITEMS}};
    const pel_arg arg = pel_buf(shared);
    pel_event *event = NULL;
    pel_plan *dry = NULL, *wet = NULL;
    (void)thread;
    EXPECT(pel_launch_plan(queue, kernel, &desc, &arg, 1, &dry) == PEL_OK);
    EXPECT(pel_launch(queue, kernel, &desc, &arg, 1, &event) == PEL_OK);
    EXPECT(pel_event_wait(event) == PEL_OK && pel_event_get_plan(event, &wet) == PEL_OK);
    read_plan(dry);
    read_plan(wet);
    pel_plan_destroy(dry);
    pel_plan_destroy(wet);
    pel_event_release(event);
}

static pel_status sum_part(const pel_range *part, void *partial, void *context) {
    (void)context;
    *(uint64_t *)partial += part->hi[0] - part->lo[0];
    return PEL_OK;
}

static void add(void *into, const void *from, void *context) {
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

static pel_status count_part(const pel_range *part, void *context) {
    atomic_fetch_add((atomic_int *)context, (int)(part->hi[0] - part->lo[0]));
    return PEL_OK;
}

static void play_loops(int thread) {
    const pel_range range = PEL_RANGE_1D(5000);
    const uint64_t zero = 0;
    uint64_t sum = 0;
    atomic_int counted = 0;
    (void)thread;
    EXPECT(pel_parallel_for(runtime, &range, count_part, &counted, NULL) == PEL_OK && atomic_load(&counted) == 5000);
    EXPECT(pel_parallel_reduce(runtime, &range, sum_part, add, sizeof sum, &zero, &sum, NULL, NULL) == PEL_OK && sum == 5000);
}

/* Recording takes a whole queue, so each thread has one; the graphs replay on the shared queue. */
static void play_graphs(int thread) {
    static atomic_int counted[FOUR];
    pel_queue *own = NULL;
    pel_graph *graph = NULL;
    EXPECT(pel_queue_create(runtime, NULL, &own, NULL) == PEL_OK && pel_graph_create(runtime, &graph, NULL) == PEL_OK);
    atomic_store(&counted[thread], 0);
    EXPECT(pel_graph_record(graph, own) == PEL_OK && pel_task(own, count, &counted[thread], NULL, 0, NULL, NULL) == PEL_OK);
    EXPECT(pel_loop(own, 10, 1, count_piece, &counted[thread], NULL, 0, NULL, NULL) == PEL_OK && pel_graph_end(graph) == PEL_OK);
    EXPECT(pel_graph_replace(graph, own, 0) == PEL_OK && pel_task(own, count, &counted[thread], NULL, 0, NULL, NULL) == PEL_OK);
    EXPECT(pel_graph_size(graph) == 2 && pel_graph_replay(graph, queue, NULL, NULL) == PEL_OK &&
           pel_queue_finish(queue) == PEL_OK);
    EXPECT(atomic_load(&counted[thread]) == 11);
    EXPECT(pel_graph_destroy(graph) == PEL_OK && pel_queue_destroy(own) == PEL_OK);
}

/* A simulated machine is one thread's at a time as far as its clock is concerned; its plans are anybody's. */
static pel_graph *planned;

static void play_graph_plans(int thread) {
    pel_graph_plan *plan = NULL;
    pel_graph_place place;
    pel_graph_times times;
    (void)thread;
    EXPECT(pel_graph_get_plan(planned, &plan) == PEL_OK);
    EXPECT(pel_graph_plan_size(plan) == 2 && pel_graph_plan_get_place(plan, 1, &place) == PEL_OK && place.command == 1);
    EXPECT(pel_graph_plan_get_times(plan, &times) == PEL_OK && times.predicted_ns > 0 && strlen(pel_graph_plan_text(plan)) > 0);
    pel_graph_plan_destroy(plan);
}

static void play_checkpoints(int thread) {
    char path[64];
    pel_checkpoint *checkpoint = NULL;
    pel_checkpoint_desc desc = {sizeof desc, path, 0, 0};
    pel_checkpoint_state state;
    pel_checkpoint_advice advice;
    uint64_t task, lo, hi;
    const pel_checkpoint_item item = {"shared", shared};
    const pel_checkpoint_chunk chunk = {
        .task = 1, .lo = 0, .hi = 4, .item = "shared", .buffer = shared, .offset = 0, .bytes = 16};
    snprintf(path, sizeof path, "%s/state%d", directory, thread);
    EXPECT(pel_checkpoint_open(runtime, &desc, &checkpoint, NULL) == PEL_OK);
    EXPECT(pel_checkpoint_write(checkpoint, queue, &item, 1, 1, NULL) == PEL_OK &&
           pel_checkpoint_begin(checkpoint, queue, &item, 1, 2, NULL) == PEL_OK);
    (void)pel_checkpoint_pending(checkpoint);
    EXPECT(pel_checkpoint_wait(checkpoint, NULL) == PEL_OK && pel_checkpoint_note(checkpoint, queue, &chunk, NULL) == PEL_OK);
    EXPECT(pel_checkpoint_read(checkpoint, queue, &item, 1, &state, NULL) == PEL_OK && state.step == 2);
    EXPECT(pel_checkpoint_finished(checkpoint, 0, &task, &lo, &hi) && hi == 4 && pel_checkpoint_cost(checkpoint) > 0);
    EXPECT(pel_checkpoint_advise(1, 3600, &advice));
    pel_checkpoint_close(checkpoint);
}

/* ---- all of them ---- */

static void test_all_functions_have_a_part(void **state) {
    (void)state;
    four_threads_require_all("tests/queue/test_four_threads.c", false);
}

static void test_scenes(void **state) {
    (void)state;
    four_threads_play("words", play_words, ROUNDS);
    four_threads_play("runtimes", play_runtimes, 3);
    four_threads_play("devices", play_devices, ROUNDS);
    four_threads_play("buffers", play_buffers, ROUNDS);
    four_threads_play("programs", play_programs, ROUNDS);
    four_threads_play("commands", play_commands, ROUNDS);
    four_threads_play("mappings", play_mappings, ROUNDS);
    four_threads_play("failures", play_failures, ROUNDS);
    four_threads_play("launches", play_launches, ROUNDS);
    four_threads_play("loops", play_loops, ROUNDS);
    four_threads_play("graphs", play_graphs, ROUNDS);
    four_threads_play("checkpoints", play_checkpoints, 2);
}

/* Each thread another scene, so that kinds of objects meet. */
static void play_everything(int thread) {
    static void (*const scenes[])(int thread) = {play_commands, play_failures, play_launches, play_graphs,
                                                 play_buffers,  play_loops,    play_mappings, play_programs};
    static atomic_int turn;
    for (int i = 0; i < 8; i++) {
        scenes[(atomic_fetch_add(&turn, 1) * 5 + thread) % 8](thread);
    }
}

static void test_everything_at_once(void **state) {
    (void)state;
    four_threads_play("everything", play_everything, 6);
}

static void test_plans_of_graphs(void **state) {
    (void)state;
    pel_buffer *buffers[2];
    assert_int_equal(pel_graph_create(machine, &planned, NULL), PEL_OK);
    assert_int_equal(pel_graph_record(planned, stream), PEL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_buffer_create(machine, BYTES, &buffers[i], NULL), PEL_OK);
        const pel_arg arg = pel_buf(buffers[i]);
        assert_int_equal(pel_launch(stream, far_kernel, &(pel_launch_desc){.global = {ITEMS}}, &arg, 1, NULL), PEL_OK);
    }
    assert_int_equal(pel_graph_end(planned), PEL_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pel_graph_replay(planned, stream, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(stream), PEL_OK);
    }
    four_threads_play("plans of graphs", play_graph_plans, ROUNDS);
    assert_int_equal(pel_graph_destroy(planned), PEL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_buffer_destroy(buffers[i]), PEL_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_functions_have_a_part), cmocka_unit_test(test_scenes),
                                       cmocka_unit_test(test_everything_at_once), cmocka_unit_test(test_plans_of_graphs)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
