/* SPDX-License-Identifier: BSD-3-Clause */
/* The chain and the wavefront as graphs: recorded once, replayed for each sample. */
#include "peer_pel.h"

static pel_status link_task(void *context) {
    workload_chain_link((uint64_t)(uintptr_t)context);
    return PEL_OK;
}

static pel_graph *begin(peer_pel *p) {
    pel_graph *graph = NULL;
    peer_pel_must(p, pel_graph_create(p->runtime, &graph, NULL), "graph");
    peer_pel_must(p, pel_graph_record(graph, p->queue), "record");
    return graph;
}

static double replay(peer_pel *p, pel_graph *graph) {
    const double began = workload_now();
    peer_pel_must(p, pel_graph_replay(graph, p->queue, NULL, NULL), "replay");
    peer_pel_finish(p);
    return workload_now() - began;
}

void peer_pel_chain_replay(const contestant_run *run) {
    peer_pel p = peer_pel_open("host", 0, NULL);
    const uint64_t links = contestant_links(run);
    pel_buffer *buffer;
    peer_pel_must(&p, pel_buffer_create(p.runtime, 8, &buffer, NULL), "buffer");
    const pel_access access = PEL_ACCESS(buffer, 0, 8, PEL_READ_WRITE);
    const double began = workload_now();
    pel_graph *graph = begin(&p);
    for (uint64_t i = 0; i < links; i++) {
        peer_pel_must(&p, pel_task(p.queue, link_task, (void *)(uintptr_t)i, &access, 1, NULL, NULL), "task");
    }
    peer_pel_must(&p, pel_graph_end(graph), "end");
    contestant_sample("chain record", "ns/task", (workload_now() - began) / (double)links);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        const double spent = replay(&p, graph);
        if (!workload_chain_holds(links)) {
            contestant_wrong("chain replay", "links ran out of order");
        } else if (s > 0) {
            contestant_sample("chain replay", "ns/task", spent / (double)links);
        }
    }
    (void)pel_graph_destroy(graph);
    (void)pel_buffer_destroy(buffer);
    peer_pel_close(&p);
}

void peer_pel_wave_replay(const contestant_run *run, double serial) {
    const unsigned side = contestant_side(run);
    peer_pel p = peer_pel_open("host", 0, NULL);
    pel_buffer *cells;
    peer_pel_must(&p, pel_buffer_create(p.runtime, WORKLOAD_SIDE * WORKLOAD_SIDE * 8, &cells, NULL), "buffer");
    pel_graph *graph = begin(&p);
    peer_pel_submit_wave(&p, cells, side);
    peer_pel_must(&p, pel_graph_end(graph), "end");
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        const double spent = replay(&p, graph);
        if (s > 0) {
            contestant_wave("wavefront replay", spent, serial);
        }
    }
    (void)pel_graph_destroy(graph);
    (void)pel_buffer_destroy(cells);
    peer_pel_close(&p);
}
