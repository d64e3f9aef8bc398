/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * StarPU as a contestant: codelets, data handles, sequential consistency, its default scheduler. Its workers poll from
 * starpu_init on, so references are taken before. It writes what it learns about a machine below a home; that is a temporary
 * folder here.
 */
#include "cholesky.h"
#include "raw_opencl.h"
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char contestant_name[] = "StarPU";

static char home[] = "/tmp/pel-starpu-XXXXXX";

static void clean_up(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", home);
    if (system(command) != 0) {
        fprintf(stderr, "%s is left behind\n", home);
    }
}

static bool start(int cpus, int opencl) {
    struct starpu_conf conf;
    if (!mkdtemp(home)) {
        return false;
    }
    (void)atexit(clean_up);
    (void)setenv("STARPU_SILENT", "1", 0);
    (void)setenv("STARPU_HOME", home, 1);
    (void)setenv("STARPU_OPENCL_ON_CPUS", "1", 1);
    (void)setenv("STARPU_OPENCL_ONLY_ON_CPUS", "1", 1);
    if (starpu_conf_init(&conf) != 0) {
        return false;
    }
    conf.ncpus = cpus;
    conf.ncuda = 0;
    conf.nopencl = opencl;
    return starpu_init(&conf) == 0;
}

static void start_or_end(void) {
    if (!start((int)workload_cores(), 0)) {
        fprintf(stderr, "StarPU does not start\n");
        exit(1);
    }
}

static void count_cpu(void *buffers[], void *argument) {
    (void)buffers, (void)argument;
    workload_count();
}
static void gate_cpu(void *buffers[], void *argument) {
    (void)buffers, (void)argument;
    workload_gate_pass();
}
static void link_cpu(void *buffers[], void *argument) {
    (void)buffers;
    workload_chain_link((uint64_t)(uintptr_t)argument);
}
static void cell_cpu(void *buffers[], void *argument) {
    (void)buffers;
    workload_wave_cell((unsigned)((uintptr_t)argument / WORKLOAD_SIDE), (unsigned)((uintptr_t)argument % WORKLOAD_SIDE));
}
static void half_cpu(void *buffers[], void *argument) {
    (void)buffers;
    workload_half((unsigned)(uintptr_t)argument);
}
static void step_cpu(void *buffers[], void *argument) {
    (void)buffers;
    cholesky_step_run(argument);
}

static struct starpu_codelet count_codelet = {.cpu_funcs = {count_cpu}, .nbuffers = 0},
                             gate_codelet = {.cpu_funcs = {gate_cpu}, .nbuffers = 0},
                             half_codelet = {.cpu_funcs = {half_cpu}, .nbuffers = 0},
                             range_codelet = {.cpu_funcs = {count_cpu}, .nbuffers = 2, .modes = {STARPU_R, STARPU_RW}},
                             link_codelet = {.cpu_funcs = {link_cpu}, .nbuffers = 1, .modes = {STARPU_RW}},
                             cell_codelets[3] = {{.cpu_funcs = {cell_cpu}, .nbuffers = 1, .modes = {STARPU_W}},
                                                 {.cpu_funcs = {cell_cpu}, .nbuffers = 2, .modes = {STARPU_W, STARPU_R}},
                                                 {.cpu_funcs = {cell_cpu},
                                                  .nbuffers = 3,
                                                  .modes = {STARPU_W, STARPU_R, STARPU_R}}},
                             step_codelets[3] = {
                                 {.cpu_funcs = {step_cpu}, .nbuffers = 1, .modes = {STARPU_RW}},
                                 {.cpu_funcs = {step_cpu}, .nbuffers = 2, .modes = {STARPU_RW, STARPU_R}},
                                 {.cpu_funcs = {step_cpu}, .nbuffers = 3, .modes = {STARPU_RW, STARPU_R, STARPU_R}}};

static void submit(struct starpu_codelet *codelet, void *argument, const starpu_data_handle_t *handles, unsigned count,
                   int priority) {
    struct starpu_task *task = starpu_task_create();
    task->cl = codelet;
    task->cl_arg = argument;
    task->cl_arg_size = argument ? sizeof argument : 0;
    task->priority = priority;
    for (unsigned i = 0; i < count; i++) {
        task->handles[i] = handles[i];
    }
    if (starpu_task_submit(task) != 0) {
        fprintf(stderr, "StarPU refuses a task\n");
        exit(1);
    }
}

static void submit_empty(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        submit(&count_codelet, NULL, NULL, 0, 0);
    }
}

static void close_gate(void) {
    workload_gate_close();
    for (unsigned i = 0; i < workload_cores(); i++) {
        submit(&gate_codelet, NULL, NULL, 0, 0);
    }
    (void)workload_gate_wait(workload_cores());
}

static void tasks(const contestant_run *run) {
    const uint64_t count = run->quick ? 10000 : 100000; /* half of what the faster ones get: it takes seconds */
    start_or_end();
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        close_gate();
        const double began = workload_now();
        submit_empty(count);
        const bool waiting = workload_total() == 0;
        workload_gate_open();
        starpu_task_wait_for_all();
        const double ended = workload_now();
        if (!waiting || workload_total() != count) {
            contestant_wrong("tasks gated", "tasks passed the gate or were lost");
        } else if (s > 0) {
            contestant_sample("tasks gated", "ns/task", (ended - began) / (double)count);
        }
    }
    workload_reset();
    const double began = workload_now();
    submit_empty(count);
    starpu_task_wait_for_all();
    const double ended = workload_now();
    if (workload_total() != count) {
        contestant_wrong("tasks", "not every task ran once");
    } else {
        contestant_sample("tasks", "ns/task", (ended - began) / (double)count);
    }
    starpu_shutdown();
}

static void memory(const contestant_run *run) {
    const uint64_t count = contestant_tasks(run);
    start_or_end();
    submit_empty(100);
    starpu_task_wait_for_all();
    workload_reset();
    close_gate();
    const uint64_t resident = workload_resident();
    submit_empty(count);
    const uint64_t grown = workload_resident() - resident;
    const bool waiting = workload_total() == 0;
    workload_gate_open();
    starpu_task_wait_for_all();
    if (!waiting || workload_total() != count) {
        contestant_wrong("memory, resident", "tasks passed the gate or were lost");
    } else {
        contestant_sample("memory, resident", "B/task", (double)grown / (double)count);
    }
    starpu_shutdown();
}

static char *slots_memory;

static starpu_data_handle_t *register_slots(uint64_t count) {
    starpu_data_handle_t *handles = calloc(count, sizeof(starpu_data_handle_t));
    slots_memory = calloc(count, 8);
    if (!handles || !slots_memory) {
        exit(1);
    }
    for (uint64_t i = 0; i < count; i++) {
        starpu_variable_data_register(&handles[i], STARPU_MAIN_RAM, (uintptr_t)(slots_memory + 8 * i), 8);
    }
    return handles;
}

static void release_slots(starpu_data_handle_t *handles, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        starpu_data_unregister(handles[i]);
    }
    free(handles);
    free(slots_memory);
}

static void submit_ranges(uint64_t count, bool random, const starpu_data_handle_t *handles, uint64_t slots) {
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = random ? workload_random_slot(i, slots) : i % slots;
        const starpu_data_handle_t both[] = {handles[at], handles[slots + at]};
        submit(&range_codelet, NULL, both, 2, 0);
    }
}

/* A slot is a handle of about a kilobyte: 10,000 of each kind instead of a million. */
static void ranges(const contestant_run *run) {
    enum { SLOTS = 10000 };
    const uint64_t count = run->quick ? 2000 : 50000;
    start_or_end();
    starpu_data_handle_t *handles = register_slots(2 * SLOTS);
    for (unsigned random = 0; random < 2; random++) {
        const char *row = random ? "ranges random" : "ranges ascending";
        for (unsigned s = 0; contestant_more(run, s); s++) {
            workload_reset();
            const double began = workload_now();
            submit_ranges(count, random, handles, SLOTS);
            starpu_task_wait_for_all();
            const double ended = workload_now();
            if (workload_total() != count) {
                contestant_wrong(row, "not every task ran once");
            } else if (s > 0) {
                contestant_sample(row, "ns/task", (ended - began) / (double)count);
            }
        }
    }
    release_slots(handles, 2 * SLOTS);
    starpu_shutdown();
}

static void chain(const contestant_run *run) {
    const uint64_t links = contestant_links(run);
    start_or_end();
    contestant_absent("chain replay", "no replay");
    starpu_data_handle_t *handle = register_slots(1);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < links; i++) {
            submit(&link_codelet, (void *)(uintptr_t)i, handle, 1, 0);
        }
        starpu_task_wait_for_all();
        const double ended = workload_now();
        if (!workload_chain_holds(links)) {
            contestant_wrong("chain", "links ran out of order");
        } else if (s > 0) {
            contestant_sample("chain", "ns/task", (ended - began) / (double)links);
        }
    }
    release_slots(handle, 1);
    starpu_shutdown();
}

static void wave_round(unsigned side, const starpu_data_handle_t *cells) {
    for (unsigned i = 0; i < side; i++) {
        for (unsigned j = 0; j < side; j++) {
            const unsigned at = i * WORKLOAD_SIDE + j;
            starpu_data_handle_t handles[3] = {cells[at]};
            unsigned count = 1;
            if (i > 0) {
                handles[count++] = cells[at - WORKLOAD_SIDE];
            }
            if (j > 0) {
                handles[count++] = cells[at - 1];
            }
            submit(&cell_codelets[count - 1], (void *)(uintptr_t)at, handles, count, 0);
        }
    }
    starpu_task_wait_for_all();
}

static void wavefront(const contestant_run *run) {
    const unsigned side = contestant_side(run), count = side * WORKLOAD_SIDE;
    const double serial = workload_wave_serial(side, run->work);
    start_or_end();
    starpu_data_handle_t *cells = register_slots(count);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        const double began = workload_now();
        wave_round(side, cells);
        const double ended = workload_now();
        if (s > 0) {
            contestant_wave("wavefront", ended - began, serial);
        }
    }
    release_slots(cells, count);
    starpu_shutdown();
}

static void fork_join(const contestant_run *run) {
    const unsigned rounds = run->quick ? 200 : 2000;
    start_or_end();
    for (unsigned s = 0; contestant_more(run, s); s++) {
        unsigned both = 0, lost = 0;
        const double began = workload_now();
        for (unsigned i = 0; i < rounds; i++) {
            submit(&half_codelet, (void *)0, NULL, 0, 0);
            submit(&half_codelet, (void *)1, NULL, 0, 0);
            starpu_task_wait_for_all();
            lost += !workload_halves_ran();
            both += workload_halves_differ();
        }
        const double ended = workload_now();
        if (s > 0) {
            contestant_fork_join(ended - began, rounds, both, lost);
        }
    }
    starpu_shutdown();
}

static double one_task(void) {
    struct starpu_task *task = starpu_task_create();
    task->cl = &count_codelet;
    task->destroy = 0;
    task->detach = 0;
    const double began = workload_now();
    if (starpu_task_submit(task) != 0 || starpu_task_wait(task) != 0) {
        exit(1);
    }
    const double spent = workload_now() - began;
    starpu_task_destroy(task);
    return spent;
}

static void latencies(const char *row, const char *unit, unsigned count, double rest) {
    double *spent = malloc(count * sizeof *spent);
    if (!spent) {
        exit(1);
    }
    start_or_end();
    for (unsigned i = 0; i < 20; i++) {
        (void)one_task();
    }
    for (unsigned i = 0; i < count; i++) {
        workload_busy(rest);
        spent[i] = one_task();
    }
    contestant_latencies(row, contestant_name, unit, spent, count);
    free(spent);
    starpu_shutdown();
}

static void wait_for(const contestant_run *run) {
    contestant_absent("wait, by caller", "the caller never runs tasks");
    latencies("wait, by worker", "ns", contestant_waits(run) / 4, 0.0);
}

static void wake(const contestant_run *run) {
    latencies("wake", "us", run->quick ? 20 : 200, 1e6);
}

static void idle(const contestant_run *run) {
    start_or_end();
    submit_empty(1000);
    starpu_task_wait_for_all();
    contestant_idle(run);
    starpu_shutdown();
}

static starpu_data_handle_t *tiles;
static unsigned tile_count;

static bool cholesky_start(cholesky *matrix) {
    tile_count = matrix->tiles * matrix->tiles;
    tiles = calloc(tile_count, sizeof(starpu_data_handle_t));
    if (!tiles || !start((int)workload_cores(), 0)) {
        return false;
    }
    const uint32_t words = matrix->tile * matrix->tile;
    for (unsigned i = 0; i < tile_count; i++) {
        starpu_vector_data_register(&tiles[i], STARPU_MAIN_RAM, (uintptr_t)(matrix->data + (size_t)i * words), words,
                                    sizeof(double));
    }
    return true;
}

static bool cholesky_factorise(cholesky *matrix) {
    for (unsigned i = 0; i < matrix->step_count; i++) {
        cholesky_step *step = &matrix->steps[i];
        const starpu_data_handle_t handles[] = {tiles[step->out_index], tiles[step->in_index[0]], tiles[step->in_index[1]]};
        submit(&step_codelets[step->in_count], step, handles, 1 + step->in_count, step->priority);
    }
    starpu_task_wait_for_all();
    return true;
}

static void cholesky_stop(void) {
    for (unsigned i = 0; tiles && i < tile_count; i++) {
        starpu_data_unregister(tiles[i]);
    }
    free(tiles);
    starpu_shutdown();
}

static void tiled_cholesky(const contestant_run *run) {
    const cholesky_contestant contestant = {cholesky_start, cholesky_factorise, cholesky_stop, NULL};
    cholesky_measure(run, &contestant);
}

#if defined(PEL_HAVE_OPENCL) && defined(STARPU_USE_OPENCL)
#include <starpu_opencl.h>

static struct starpu_opencl_program launch_program;

static void launch_opencl(void *buffers[], void *argument) {
    cl_mem memory = (cl_mem)STARPU_VECTOR_GET_DEV_HANDLE(buffers[0]);
    cl_kernel kernel;
    cl_command_queue queue;
    const size_t items = RAW_ITEMS;
    (void)argument;
    if (starpu_opencl_load_kernel(&kernel, &queue, &launch_program, "count", starpu_worker_get_devid(starpu_worker_get_id())) ==
        CL_SUCCESS) {
        cl_event event;
        (void)clSetKernelArg(kernel, 0, sizeof memory, &memory); /* a lost launch shows in the count */
        if (clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, &items, 0, NULL, &event) == CL_SUCCESS) {
            (void)clFinish(queue);
            (void)clReleaseEvent(event);
        }
        (void)starpu_opencl_release_kernel(kernel);
    }
}
static struct starpu_codelet launch_codelet = {.opencl_funcs = {launch_opencl}, .nbuffers = 1, .modes = {STARPU_RW}};

static double launches(unsigned count, starpu_data_handle_t handle) {
    const double began = workload_now();
    for (unsigned i = 0; i < count; i++) {
        submit(&launch_codelet, NULL, &handle, 1, 0);
    }
    starpu_task_wait_for_all();
    return workload_now() - began;
}

static void launch(const contestant_run *run) {
    enum { BATCH = 1000, MOST = 200 };
    static uint32_t counts[RAW_ITEMS];
    const unsigned singles = run->quick ? 30 : MOST, batches = run->quick ? 2 : 4, batch = run->quick ? 200 : BATCH;
    double spent[MOST];
    starpu_data_handle_t handle;
    if (!start(0, 1) || starpu_opencl_worker_get_count() == 0) {
        contestant_absent("launch single", "no OpenCL device for it");
        return;
    }
    if (starpu_opencl_load_opencl_from_string(raw_opencl_source, &launch_program, NULL) != 0) {
        contestant_absent("launch single", "it does not build the program");
        return;
    }
    starpu_vector_data_register(&handle, STARPU_MAIN_RAM, (uintptr_t)counts, RAW_ITEMS, sizeof *counts);
    (void)launches(20, handle);
    for (unsigned i = 0; i < singles; i++) {
        spent[i] = launches(1, handle);
    }
    for (unsigned i = 0; i < batches + 1; i++) {
        const double ns = launches(batch, handle);
        if (i > 0) {
            contestant_sample("launch batched", "us", ns / batch * 1e-3);
        }
    }
    starpu_data_unregister(handle);
    if (counts[0] != 20 + singles + (batches + 1) * batch || counts[RAW_ITEMS - 1] != counts[0]) {
        contestant_wrong("launch single", "launches were lost");
    } else {
        contestant_latencies("launch single", contestant_name, "us", spent, singles);
    }
    starpu_shutdown();
}
#else
static void launch(const contestant_run *run) {
    (void)run;
    contestant_absent("launch single", "it was built without OpenCL");
}
#endif

const contestant_row contestant_rows[] = {
    {"tasks", tasks},         {"memory", memory},       {"ranges", ranges},           {"chain", chain},
    {"wavefront", wavefront}, {"fork-join", fork_join}, {"wait", wait_for},           {"wake", wake},
    {"launch", launch},       {"idle", idle},           {"cholesky", tiled_cholesky}, {NULL, NULL}};
