/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * oneTBB as a contestant: task_group for tasks, flow graphs where there are dependencies (built first, then run again and again),
 * parallel_for for loops.
 */
#include "cholesky.h"
#include "contestant.h"
#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>
#include <sched.h>
#include <tbb/blocked_range.h>
#include <tbb/flow_graph.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_group.h>

extern const char contestant_name[] = "oneTBB";

namespace {

using message = tbb::flow::continue_msg;
using node = tbb::flow::continue_node<message>;

void close_gate(tbb::task_group &group) {
    workload_gate_close();
    for (unsigned i = 1; i < workload_cores(); i++) { /* the caller, which is a worker when it waits, produces */
        group.run([] { workload_gate_pass(); });
    }
    (void)workload_gate_wait(workload_cores() - 1);
}

void tasks_gated(const contestant_run *run, tbb::task_group &group, bool memory) {
    const uint64_t count = contestant_tasks(run);
    for (unsigned s = 0; memory ? s < 1 : contestant_more(run, s); s++) {
        workload_reset();
        close_gate(group);
        const uint64_t resident = workload_resident();
        const double began = workload_now();
        for (uint64_t i = 0; i < count; i++) {
            group.run([] { workload_count(); });
        }
        const double queued = workload_now();
        const uint64_t grown = workload_resident() - resident;
        const bool waiting = workload_total() == 0;
        workload_gate_open();
        group.wait();
        const double ended = workload_now();
        if (!waiting || workload_total() != count) {
            contestant_wrong(memory ? "memory" : "tasks gated", "tasks passed the gate or were lost");
        } else if (memory) {
            contestant_sample("memory, resident", "B/task", (double)grown / (double)count);
        } else if (s > 0) {
            contestant_sample("tasks gated", "ns/task", (ended - began) / (double)count);
            contestant_sample("tasks gated, submit", "ns/task", (queued - began) / (double)count);
            contestant_sample("tasks gated, run", "ns/task", (ended - queued) / (double)count);
        }
    }
}

void tasks(const contestant_run *run) {
    tbb::task_group group;
    const uint64_t count = 5 * contestant_tasks(run);
    tasks_gated(run, group, false);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < count; i++) {
            group.run([] { workload_count(); });
        }
        group.wait();
        const double ended = workload_now();
        if (workload_total() != count) {
            contestant_wrong("tasks", "not every task ran once");
        } else if (s > 0) {
            contestant_sample("tasks", "ns/task", (ended - began) / (double)count);
        }
    }
}

void memory(const contestant_run *run) {
    tbb::task_group group;
    group.run_and_wait([] {});
    tasks_gated(run, group, true);
}

void ranges(const contestant_run *) {
    contestant_absent("ranges ascending", "no dependencies by data");
}

void chain(const contestant_run *run) {
    const uint64_t links = contestant_links(run);
    contestant_absent("chain", "no dependencies by data");
    tbb::flow::graph graph;
    std::vector<std::unique_ptr<node>> nodes;
    const double began_building = workload_now();
    for (uint64_t i = 0; i < links; i++) {
        nodes.push_back(std::make_unique<node>(graph, [i](const message &m) {
            workload_chain_link(i);
            return m;
        }));
        if (i > 0) {
            tbb::flow::make_edge(*nodes[i - 1], *nodes[i]);
        }
    }
    contestant_sample("chain build", "ns/task", (workload_now() - began_building) / (double)links);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        const double began = workload_now();
        nodes[0]->try_put(message());
        graph.wait_for_all();
        const double ended = workload_now();
        if (!workload_chain_holds(links)) {
            contestant_wrong("chain replay", "links ran out of order");
        } else if (s > 0) {
            contestant_sample("chain replay", "ns/task", (ended - began) / (double)links);
        }
    }
}

void wavefront(const contestant_run *run) {
    const unsigned side = contestant_side(run);
    const double serial = workload_wave_serial(side, run->work);
    contestant_absent("wavefront", "no dependencies by data");
    tbb::flow::graph graph;
    std::vector<std::unique_ptr<node>> nodes;
    const double began_building = workload_now();
    for (unsigned i = 0; i < side; i++) {
        for (unsigned j = 0; j < side; j++) {
            nodes.push_back(std::make_unique<node>(graph, [i, j](const message &m) {
                workload_wave_cell(i, j);
                return m;
            }));
            if (i > 0) {
                tbb::flow::make_edge(*nodes[(i - 1) * side + j], *nodes[i * side + j]);
            }
            if (j > 0) {
                tbb::flow::make_edge(*nodes[i * side + j - 1], *nodes[i * side + j]);
            }
        }
    }
    contestant_sample("wavefront build", "ns/task", (workload_now() - began_building) / side / side);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        const double began = workload_now();
        nodes[0]->try_put(message());
        graph.wait_for_all();
        const double ended = workload_now();
        if (s > 0) {
            contestant_wave("wavefront replay", ended - began, serial);
        }
    }
}

void fork_join(const contestant_run *run) {
    const tbb::global_control two(tbb::global_control::max_allowed_parallelism, 2);
    const unsigned rounds = run->quick ? 500 : 10000;
    for (unsigned s = 0; contestant_more(run, s); s++) {
        unsigned both = 0, lost = 0;
        const double began = workload_now();
        for (unsigned i = 0; i < rounds; i++) {
            tbb::parallel_for(tbb::blocked_range<unsigned>(0, 2, 1), [](const tbb::blocked_range<unsigned> &range) {
                for (unsigned h = range.begin(); h != range.end(); h++) {
                    workload_half(h);
                }
            }, tbb::static_partitioner());
            lost += !workload_halves_ran();
            both += workload_halves_differ();
        }
        const double ended = workload_now();
        if (s > 0) {
            contestant_fork_join(ended - began, rounds, both, lost);
        }
    }
}

std::atomic<bool> ran, by_caller;
std::atomic<int> ran_on;
std::thread::id caller;

double one_task(tbb::task_group &group, bool look) {
    ran.store(false, std::memory_order_relaxed);
    const double began = workload_now();
    group.run([] {
        by_caller.store(std::this_thread::get_id() == caller, std::memory_order_relaxed);
        ran_on.store(sched_getcpu(), std::memory_order_relaxed);
        ran.store(true, std::memory_order_release);
    });
    if (look) {
        while (!ran.load(std::memory_order_acquire)) {
            workload_pause();
        }
    } else {
        group.wait();
    }
    return workload_now() - began;
}

void wait_for(const contestant_run *run) {
    tbb::task_group group;
    const unsigned count = contestant_waits(run);
    caller = std::this_thread::get_id();
    for (int look = 0; look < 2; look++) {
        std::vector<double> spent;
        for (unsigned i = 0; i < count + 100; i++) {
            const double ns = one_task(group, look == 1);
            if (i >= 100 && by_caller.load() == (look == 0)) {
                spent.push_back(ns);
            }
        }
        const char *row = look ? "wait, by worker" : "wait, by caller";
        if (spent.size() * 10 < count) {
            contestant_absent(row, "it hardly ever happened");
        } else {
            contestant_latencies(row, contestant_name, "ns", spent.data(), (unsigned)spent.size());
        }
    }
    group.wait();
}

void wake(const contestant_run *run) {
    tbb::task_group group;
    std::vector<double> spent;
    caller = std::this_thread::get_id();
    for (unsigned i = 0; i < (run->quick ? 20 : 200); i++) {
        workload_busy(1e6);
        const double ns = one_task(group, true);
        if (ran_on.load() != sched_getcpu()) {
            spent.push_back(ns);
        }
    }
    group.wait();
    if (spent.empty()) {
        contestant_absent("wake", "the woken thread ran on the caller's core");
    } else {
        contestant_latencies("wake", contestant_name, "us", spent.data(), (unsigned)spent.size());
    }
}

void idle(const contestant_run *run) {
    tbb::parallel_for(0, 10000, [](int) { workload_count(); });
    contestant_idle(run);
}

void triad(const contestant_run *run) {
    const uint64_t count = run->quick ? 4u << 20 : 64u << 20;
    double *a = static_cast<double *>(std::aligned_alloc(4096, 3 * count * sizeof(double)));
    if (!a) {
        contestant_absent("triad alone", "not enough memory");
        return;
    }
    for (uint64_t i = 0; i < 3 * count; i++) {
        a[i] = (double)(i % 1024);
    }
    for (unsigned s = 0; contestant_more(run, s); s++) {
        const double began = workload_now();
        tbb::parallel_for(tbb::blocked_range<uint64_t>(0, count), [=](const tbb::blocked_range<uint64_t> &range) {
            workload_triad(a, a + count, a + 2 * count, range.begin(), range.end());
        }, tbb::static_partitioner());
        const double spent = workload_now() - began;
        if (!workload_triad_holds(a, a + count, a + 2 * count, count)) {
            contestant_wrong("triad alone", "wrong sums");
        } else if (s > 0) {
            contestant_sample("triad alone", "GB/s", 3.0 * sizeof(double) * (double)count / spent);
        }
    }
    std::free(a);
}

/* Reads are of tiles that nothing changes again, so the last writer of each tile is the only dependency. */
bool factorise(cholesky *matrix) {
    tbb::flow::graph graph;
    tbb::flow::broadcast_node<message> begin(graph);
    std::vector<std::unique_ptr<node>> nodes;
    std::vector<node *> writer(matrix->tiles * matrix->tiles, nullptr);
    for (unsigned i = 0; i < matrix->step_count; i++) {
        const cholesky_step *step = &matrix->steps[i];
        nodes.push_back(std::make_unique<node>(graph, [step](const message &m) {
            cholesky_step_run(step);
            return m;
        }));
        node &mine = *nodes.back();
        unsigned edges = 0;
        for (unsigned k = 0; k <= step->in_count; k++) {
            node *before = writer[k < step->in_count ? step->in_index[k] : step->out_index];
            if (before) {
                tbb::flow::make_edge(*before, mine);
                edges++;
            }
        }
        if (edges == 0) {
            tbb::flow::make_edge(begin, mine);
        }
        writer[step->out_index] = &mine;
    }
    begin.try_put(message());
    graph.wait_for_all();
    return true;
}

void tiled_cholesky(const contestant_run *run) {
    const cholesky_contestant contestant = {nullptr, factorise, nullptr, nullptr};
    cholesky_measure(run, &contestant);
}

} // namespace

extern const contestant_row contestant_rows[] = {{"tasks", tasks},
                                                 {"memory", memory},
                                                 {"ranges", ranges},
                                                 {"chain", chain},
                                                 {"wavefront", wavefront},
                                                 {"fork-join", fork_join},
                                                 {"wait", wait_for},
                                                 {"wake", wake},
                                                 {"idle", idle},
                                                 {"triad", triad},
                                                 {"cholesky", tiled_cholesky},
                                                 {nullptr, nullptr}};
