/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runtime owns devices, workers and models. Several may live in one process; nothing is global.
 *
 * A guest in your process: no signal handler, no printing, no change of environment, locale, working directory or of the
 * affinity of your threads outlasts a call. OpenCL drivers do some of this themselves when they start; the runtime puts
 * it back (SIGFPE stays with PoCL, which needs it to survive integer division by zero).
 */
#ifndef PEL_RUNTIME_H
#define PEL_RUNTIME_H

#include <pel/device.h>
#include <pel/export.h>
#include <pel/log.h>
#include <pel/status.h>
#include <pel/verification.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_runtime pel_runtime;

/*
 * Where the library's own host memory comes from. `reallocate(user, pointer, bytes)` has the meaning of C's realloc, with
 * bytes == 0 releasing (and returning NULL) and alignment of max_align_t. Called from several threads at once.
 */
typedef struct pel_allocator {
    void *(*reallocate)(void *user, void *pointer, size_t bytes);
    void *user;
} pel_allocator;

struct pel_opencl_adoption;    /* pel/opencl.h */
struct pel_simulation;         /* pel/simulated.h */

/*
 * Threads of the caller's (a pool, an event loop, another task system) that work for the runtime whenever there is something to
 * do. `submit` arranges that work(argument) is called once, soon, on a thread of the executor: it runs tasks and takes part in
 * loops and launches, and returns when it has found nothing to do for as long as workers look. submit may be called from any
 * thread, with locks held: it must not call work itself, call the library, or block for long. Each work must be called in the
 * end: pel_runtime_destroy waits for those that have been submitted. With an executor host_workers 0 means 1: that one is the
 * runtime's own thread, makes sure that everything is done even while the executor does something else, and runs tasks that have
 * a name or a priority, their own or their queue's. Not used where workers are bound to cores, nor by a simulation.
 */
typedef struct pel_executor {
    void (*submit)(void *user, void (*work)(void *argument), void *argument);
    void *user;
    /* works that are submitted and have not returned, at most; 0: one per core of the budget; never more than six */
    uint32_t concurrency;
    uint32_t reserved;         /* 0 */
} pel_executor;

enum {
    PEL_RUNTIME_PROBE = 1u << 0,       /* try OpenCL discovery in a child process (the installed pel-probe) first */
    PEL_RUNTIME_NO_CACHE = 1u << 1,    /* neither read nor write the cache directory */
    PEL_RUNTIME_REPRODUCIBLE = 1u << 2,/* same bits on every device where the language allows: FP_CONTRACT OFF, fixed trees */
    PEL_RUNTIME_BIND_WORKERS = 1u << 3,/* bind each host worker to its core (always so for declared core sets) */
    /* work also where the kernel says that the process has more rights than its user (AT_SECURE: set-user-id) */
    PEL_RUNTIME_PRIVILEGED = 1u << 4
};

typedef struct pel_runtime_desc {
    size_t size;                       /* sizeof(pel_runtime_desc); 0: the layout of the first release */
    const char *devices;               /* device list, see below; NULL: $PEL_DEVICES, else all trustworthy ones; 8,192 at most */
    uint32_t flags;                    /* PEL_RUNTIME_* */
    uint32_t host_workers;             /* 0: one per core of the budget */
    const pel_allocator *allocator;    /* NULL: malloc; copied */
    pel_log_fn log;                    /* NULL: no log */
    void *log_user;
    pel_log_level log_level;
    /* NULL: $PEL_CACHE_DIR, $XDG_CACHE_HOME/pel or $HOME/.cache/pel; none writable: no cache */
    const char *cache_directory;
    /* a loaded hwloc_topology_t to use instead of loading one; not owned; outlives the runtime */
    void *hwloc_topology;
    const struct pel_opencl_adoption *opencl;  /* the caller's cl_contexts */
    const struct pel_simulation *simulation;   /* not NULL: a wholly virtual runtime */
    const char *history;               /* file of what the cost models learned; NULL: see below; "" or "off": none */
    /* microseconds that whoever has nothing to do looks for work before it sleeps, 1000000 (what more is, too) at most; 0:
     * $PEL_SPIN, else 50; negative: none. Unless it is none, who waits for isolated launches of less than 1 ms on OpenCL
     * devices gives its core away instead of sleeping, 1 ms at most */
    int32_t spin_us;
    uint32_t reserved;                 /* 0 */
    const pel_verification *verification; /* of launches that name none; NULL: $PEL_VERIFY, else none; copied */
    const pel_executor *executor;      /* NULL: none; copied */
} pel_runtime_desc;

#define PEL_RUNTIME_DESC_INIT                                                                                                    \
    { sizeof(pel_runtime_desc), NULL, 0, 0, NULL, NULL, NULL, PEL_LOG_OFF, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL }

/*
 * Device list: items separated by ','; the order is the order of preference. An item is
 *   host | opencl | opencl:N | cpu | gpu | accelerator | all | any part of a device's or platform's name
 * and may carry a core set, `host@0`, `opencl:0@1-3+6`: the device then uses these cores only. Sets that are disjoint allow the
 * devices to run at once; overlapping sets are refused (PEL_CONFLICT). `!item` takes devices away wherever it stands (only such
 * items: away from the default). An item that matches nothing is PEL_NOT_FOUND, and the error lists what there is; a `!item` may
 * match nothing. `cpu` is whatever runs on the host's cores, the host included. Emulators (llvmpipe, Oclgrind) must be named. One
 * CPU device may be listed several times with disjoint core sets; the parts are then called `opencl:0@0`, `opencl:0@1`.
 * `opencl:0[memory=64M;allocation=16M]` uses less of a device's memory than it has, and buffers no larger than that (K, M, G:
 * powers of 1024); `[own]` copies to and from it even where it could use host memory in place: for tests of what discrete devices
 * need, and to leave memory to others. Transfers to discrete devices pass through locked memory of the driver's in pieces of 1
 * MiB; `[staging=4M]` says how large these are (at most 256M), on any device that copies; eight of them are taken from the
 * memory that it may use (at most half of it). `opencl:0[outside]` has a child process (the installed pel-device) drive the
 * device: a driver that crashes or aborts loses what runs there (PEL_DEVICE_LOST, or run again elsewhere under
 * PEL_PROTECT_RETRY), and not the program. If that cannot be, the runtime is not made; the device is never used in-process
 * instead. Precedence: the descriptor, then the environment, then the default.
 *
 * $PEL_VERIFY=PERCENT[,seed=N][,f32=ULPS|,f64=ULPS][,same]: pel_verification in words, "100" or "2.5,f32=4". A simulation does
 * not read it.
 *
 * $PEL_FREEZE=1: cost models stay as they are, no launch is used to learn, and no tail is held back for whoever is free first:
 * the same history, the same plans and divisions. Without a history devices share by what their drivers say of them.
 */

/*
 * History: what the cost models learn is kept from one process to the next, so that a kernel that was seen here before starts
 * with a good division. NULL means $PEL_HISTORY, else the file "history" in the cache directory; with a simulation, none. Entries
 * are found by hashes of kernel, driver and device: what has changed starts anew. Read by create, written by destroy and now and
 * then by pel_queue_finish; processes may share the file. Whatever is wrong with it is logged and fails nothing. `pel history`
 * shows it.
 */

/*
 * Discovers the machine and makes a runtime. Blocks (4 ms for the topology, plus what the OpenCL drivers need). In a program with
 * more rights than its user (set-user-id, file capabilities) it refuses, UNSUPPORTED: OpenCL loads code that the user's
 * environment names, as does a cache of compiled programs. PEL_RUNTIME_PRIVILEGED takes that upon the caller. desc NULL: all
 * defaults. Errors: INVALID_ARGUMENT, NOT_FOUND, CONFLICT, NO_DEVICE, OUT_OF_MEMORY, IO, AFTER_FORK, UNSUPPORTED.
 */
PEL_API PEL_MUST_CHECK pel_status pel_runtime_create(const pel_runtime_desc *desc, pel_runtime **runtime, pel_error **error);

/*
 * Waits for running work and ends everything; no other thread may be in a call with it. BUSY, and nothing happens, while objects
 * made from it are left: queues, buffers, programs, kernels, graphs, mappings, checkpoints, open user events (the log counts
 * them). Other events, and plans, may outlive it. In a forked child it releases nothing and returns AFTER_FORK. NULL: OK.
 */
PEL_API pel_status pel_runtime_destroy(pel_runtime *runtime);

/* Devices of this runtime, in order of preference. Any thread; never blocks; the devices belong to the runtime. */
PEL_API uint32_t pel_runtime_device_count(const pel_runtime *runtime);
PEL_API const pel_device *pel_runtime_device(const pel_runtime *runtime, uint32_t index); /* NULL beyond the count */

/* The device of that id ("opencl:0"), or NULL. Any thread; never blocks; the device belongs to the runtime. */
PEL_API const pel_device *pel_runtime_find_device(const pel_runtime *runtime, const char *id);

/*
 * Has every device compute something whose answer is known, and waits (10 s for each at most). A device that is wrong or does not
 * answer is quarantined, which pel_device_get_health tells; the first such one is the error: MISMATCH, TIMED_OUT, or
 * DEVICE_FAILED with what its driver said. Any thread, but not from inside a task; blocks.
 */
PEL_API PEL_MUST_CHECK pel_status pel_runtime_test_devices(pel_runtime *runtime, pel_error **error);

/*
 * Lends the calling thread to the runtime: it runs tasks and takes part in host loops and launches until stop(user), which it
 * calls between any two of these, returns true. With nothing to do it looks as long as workers do, then naps for 50 us to 2 ms
 * between two looks, which is how late it may see that it shall stop. At most eight threads at once lend themselves or wait for
 * tasks (BUSY). It does not run tasks that have a name or a priority, their own or their queue's. From inside a task:
 * WOULD_DEADLOCK; with a simulation: UNSUPPORTED.
 */
PEL_API PEL_MUST_CHECK pel_status pel_worker_run(pel_runtime *runtime, bool (*stop)(void *user), void *user);

/*
 * How many host workers take work: as many as the runtime was made with, until set. Fewer leave cores to others for a while, and
 * the threads that are not wanted sleep, each as soon as it has ended what it runs; more call them back, or make new threads: up
 * to one per core of the budget, or as many as the runtime was made with where that is more. Any thread; does not wait for them.
 * INVALID_ARGUMENT: 0, or more than that; IO: the system gives no thread more (nothing has changed); UNSUPPORTED: a simulation.
 * get: 0 for a simulation.
 */
PEL_API PEL_MUST_CHECK pel_status pel_runtime_set_workers(pel_runtime *runtime, uint32_t count);
PEL_API uint32_t pel_runtime_get_workers(const pel_runtime *runtime);

/* Nanoseconds of this runtime's clock: CLOCK_MONOTONIC, or a simulation's virtual clock; 0 for NULL. Any thread; never blocks. */
PEL_API int64_t pel_runtime_now(const pel_runtime *runtime);

PEL_END_DECLS
#endif
