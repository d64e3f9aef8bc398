/* SPDX-License-Identifier: BSD-3-Clause */
/* Next to empty OpenCL launches beside the same launches made by hand, in one process and in turns: what pel adds to a launch. */
#include "peer_pel.h"
#include "raw_opencl.h"
#include <stdio.h>
#include <stdlib.h>

#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>

enum { BATCH = 1000, WARM = 20 };

typedef struct launcher {
    peer_pel p;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *buffer;
    pel_graph *graph; /* of a batch */
} launcher;

static bool open_launcher(launcher *l) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc runtime = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    runtime.devices = "opencl:0";
    program.source = raw_opencl_source;
    kernel.entry = "count";
    kernel.params = params;
    kernel.param_count = 1;
    kernel.flags = PEL_KERNEL_SINGLE_DEVICE;
    if (pel_runtime_create(&runtime, &l->p.runtime, NULL) != PEL_OK) {
        return false;
    }
    peer_pel_must(&l->p, pel_queue_create(l->p.runtime, NULL, &l->p.queue, NULL), "queue");
    peer_pel_must(&l->p, pel_program_create(l->p.runtime, &program, &l->program, NULL), "program");
    peer_pel_must(&l->p, pel_kernel_create(l->program, &kernel, &l->kernel, NULL), "kernel");
    peer_pel_must(&l->p, pel_buffer_create(l->p.runtime, RAW_ITEMS * sizeof(uint32_t), &l->buffer, NULL), "buffer");
    return true;
}

static void submit(launcher *l, unsigned count) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(l->buffer)};
    desc.global[0] = RAW_ITEMS;
    desc.local[0] = RAW_ITEMS;
    for (unsigned i = 0; i < count; i++) {
        peer_pel_must(&l->p, pel_launch(l->p.queue, l->kernel, &desc, args, 1, NULL), "launch");
    }
}

static double launch(launcher *l, unsigned count) {
    const double began = workload_now();
    submit(l, count);
    peer_pel_finish(&l->p);
    return workload_now() - began;
}

static void record(launcher *l, unsigned count) {
    peer_pel_must(&l->p, pel_graph_create(l->p.runtime, &l->graph, NULL), "graph");
    peer_pel_must(&l->p, pel_graph_record(l->graph, l->p.queue), "record");
    submit(l, count);
    peer_pel_must(&l->p, pel_graph_end(l->graph), "end");
}

/* *handed_over: when the replay was submitted. */
static double replay(launcher *l, double *handed_over) {
    const double began = workload_now();
    peer_pel_must(&l->p, pel_graph_replay(l->graph, l->p.queue, NULL, NULL), "replay");
    *handed_over = workload_now() - began;
    peer_pel_finish(&l->p);
    return workload_now() - began;
}

static bool close_launcher(launcher *l, uint32_t launches) {
    uint32_t counts[RAW_ITEMS] = {0};
    peer_pel_must(&l->p, pel_read(l->p.queue, l->buffer, 0, sizeof counts, counts, NULL, NULL), "read");
    peer_pel_finish(&l->p);
    bool right = true;
    for (unsigned i = 0; i < RAW_ITEMS; i++) {
        right = right && counts[i] == launches;
    }
    (void)pel_graph_destroy(l->graph);
    (void)pel_buffer_destroy(l->buffer);
    (void)pel_kernel_destroy(l->kernel);
    (void)pel_program_destroy(l->program);
    peer_pel_close(&l->p);
    return right;
}

/* How many were made: by pel, and by hand. */
typedef struct made {
    uint32_t by_pel, by_hand;
} made;

static made measure(const contestant_run *run, launcher *l) {
    enum { MOST = 400 };
    const unsigned singles = run->quick ? 30 : MOST, batches = run->quick ? 2 : 9, batch = run->quick ? 200 : BATCH;
    double raw[MOST], looking[MOST], mine[MOST];
    made m = {0, 0};
    for (unsigned i = 0; i < WARM; i++) { /* first launches compile */
        (void)raw_opencl_single();
        (void)launch(l, 1);
        m = (made){m.by_pel + 1, m.by_hand + 1};
    }
    for (unsigned i = 0; i < singles; i++) {
        raw[i] = raw_opencl_single();
        looking[i] = raw_opencl_single_looking();
        mine[i] = launch(l, 1);
        m = (made){m.by_pel + 1, m.by_hand + 2};
    }
    contestant_latencies("launch single", "raw", "us", raw, singles);
    contestant_latencies("launch single", "raw, looking", "us", looking, singles);
    contestant_latencies("launch single", contestant_name, "us", mine, singles);
    record(l, batch);
    for (unsigned i = 0; i < batches + 1; i++) {
        double handed_over;
        const double by_hand = raw_opencl_batch(batch), noted = raw_opencl_batch_with_events(batch), by_pel = launch(l, batch),
                     replayed = replay(l, &handed_over);
        m = (made){m.by_pel + 2 * batch, m.by_hand + 2 * batch};
        if (i > 0) {
            contestant_floor("launch batched", "raw", "us", by_hand / batch * 1e-3);
            contestant_floor("launch batched", "raw, with events", "us", noted / batch * 1e-3);
            contestant_sample("launch batched", "us", by_pel / batch * 1e-3);
            contestant_sample("launch replay", "us", replayed / batch * 1e-3);
            contestant_sample("launch replay, submit", "us", handed_over / batch * 1e-3);
        }
    }
    return m;
}

void peer_pel_launch(const contestant_run *run) {
    launcher l = {.p = {NULL, NULL}};
    if (!open_launcher(&l)) {
        contestant_absent("launch single", "no OpenCL device");
        return;
    }
    const pel_device *device = pel_runtime_device(l.p.runtime, 0);
    if (!raw_opencl_open(pel_opencl_device_id(device), pel_opencl_context(device))) {
        contestant_absent("launch single", "raw OpenCL calls fail");
        return;
    }
    const made m = measure(run, &l);
    const bool raw_right = raw_opencl_close(m.by_hand);
    if (!close_launcher(&l, m.by_pel) || !raw_right) {
        contestant_wrong("launch single", "launches were lost");
    }
}

#else

void peer_pel_launch(const contestant_run *run) {
    (void)run;
    contestant_absent("launch single", "built without OpenCL");
}
#endif
