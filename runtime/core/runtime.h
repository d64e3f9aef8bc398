/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runtime object: devices, models, clock, and the dispatcher's lock. Everything above floor 2 hangs on it. `lock` guards
 * memory state (allocations, residency), hazards, models and the dispatcher; backends are called with it held only for submit and
 * mem_*.
 */
#ifndef PEL_CORE_RUNTIME_H
#define PEL_CORE_RUNTIME_H

#include "backend/backend.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "model/model.h"
#include "topology/topology.h"
#include <pel/device.h>
#include <pel/runtime.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct pel_allocation;
struct pel_dispatcher;
struct pel_kernel;

#define PEL_RUNTIME_DEVICE_LIMIT 8192 /* devices of one runtime; more were never tried */

struct pel_device {
    pel_runtime *runtime;
    const pel_topology_device *facts;
    pel_backend_device *driver;
    uint32_t index;            /* in runtime.devices */
    uint32_t place;            /* where its memory is: 0 host memory (host, coherent devices), else 1 + index */
    uint64_t model_id;         /* hash of device name, driver and budget */
    struct pel_device **overlaps; /* those that share cores with it, itself not included */
    uint32_t overlap_count;
    /* Guarded by lock: */
    uint64_t memory_used;      /* bytes of mem objects with memory of their own */
    uint64_t windows;          /* of which belong to launches that stream */
    uint64_t uses;             /* counts what is pinned here: the clock of least recent use */
    struct pel_command *claimant; /* the oldest command that waits for room here */
    uint32_t running;          /* data-parallel works dispatched and not complete: who holds the cores */
    double queued_ns;          /* expected time of these */
    uint32_t waiting;          /* data-parallel works that are not dispatched yet */
    /* queue/fair.c: a list of the devices that works wait for, and the walks that found this one open, shut, claimed, or met
     * something for it */
    struct pel_device *wanted_next, *wanted_before;
    uint64_t open_in, shut_in, claimed_in, met_in;
    double busy_watts, idle_watts; /* declared; busy 0: not known */
    double busy_ns;            /* of its chunks, since the runtime was made */
    double joules, joules_busy_ns; /* modelled, up to when it had been busy so long, ... */
    int64_t joules_at;         /* ... at this time; 0: power has not been declared yet */
    bool lost;                 /* reported DEVICE_LOST: not used until its context was built anew (resilience/health.h) */
    pel_device_health health;
    uint32_t streak;           /* chunks that failed since one succeeded */
    uint32_t lies;             /* wrong results that are not forgiven yet */
    uint32_t truths;           /* right ones since the last of these */
    pel_backend_device *former; /* the driver before its context was built anew; closed at the end */
    double link_bytes_per_ns;  /* what transfers achieved; 0: not yet known */
    double link_latency_ns;    /* and what starting one took */
    double piece_gap_ns;       /* from the end of a chunk to the begin of the piece that follows it; 0: not yet known */
    double begins_ns;          /* queue/begins.c: from a launch that is planned to its begin here; 0: not yet known */
    pel_device_counters counters;
};

/* Whether its kernels write the program's memory as they go. Where `place` is not 0 the account of what is valid where is as for
 * memory of its own, but the buffers are the host's all the same (backend/opencl/memory.c). */
static inline bool pel_device_writes_host_memory(const pel_device *device) {
    return device->place == 0 || device->facts->info.shares_host_memory != 0;
}

/* What belongs to a runtime and is destroyed by its maker. */
typedef enum pel_object_kind {
    PEL_OBJECT_QUEUE,
    PEL_OBJECT_BUFFER,
    PEL_OBJECT_KERNEL,
    PEL_OBJECT_PROGRAM,
    PEL_OBJECT_CHECKPOINT,
    PEL_OBJECT_EVENT, /* of the caller, not yet ended */
    PEL_OBJECT_GRAPH,
    PEL_OBJECT_MAPPING,
    PEL_OBJECT_KINDS
} pel_object_kind;

/* Threads of the caller's executor that are at work, or were asked to come. Not the dispatcher's: workers may look here until
 * they are joined. */
typedef struct pel_hands {
    atomic_uint invited; /* of them, those that have not begun to leave */
    atomic_uint inside;  /* that the dispatcher must outlive */
    atomic_uint most;    /* 0: there is no executor, or nobody is asked any more */
} pel_hands;

struct pel_runtime {
    pel_allocator allocator;
    pel_logger logger;
    const pel_clock *clock;
    pid_t pid;                 /* creator; another pid: AFTER_FORK */
    /* 1; a page that a fork makes 0, so that no system call is needed; NULL: the pid must be asked for */
    const volatile unsigned char *fork_mark;
    uint32_t flags;
    pel_executor executor;     /* submit NULL: none */
    pel_hands hands;
    pel_verification verification; /* of launches that name none; share 0: none */
    bool frozen;                 /* $PEL_FREEZE: models stay as they are, and nothing is tried for their sake */
    char *cache_directory;     /* NULL: none */
    pel_topology *topology;
    pel_backend_env env;       /* what the drivers were given */
    struct pel_machine *machine; /* virtual runtime, else NULL */
    pel_device *devices;
    uint32_t device_count;
    pel_device *task_device;   /* where host tasks run: the host device, in devices[] or `hidden_host` */
    pel_device hidden_host;    /* used when the device list has no host */
    pthread_mutex_t lock;
    pel_models *models;
    struct pel_power *power;     /* meters, from the first reading on; topology/power.h */
    struct pel_metering *metering; /* metering.h; NULL: no launch has asked for energy yet */
    struct pel_lessons *lessons; /* lessons.h; NULL: nothing is kept */
    struct pel_allocation *allocations; /* list of all, for overlap look-up */
    struct pel_place_sets *place_sets;  /* memory/places.h; NULL: all places fit into a word */
    struct pel_kernel *released_kernels; /* nobody's any more, freed by the next call that holds no lock (pel_kernels_reap) */
    struct pel_dispatcher *dispatcher;  /* queue/: made with the first queue; the floors below only ask whether it is there */
    void (*dispatcher_destroy)(pel_runtime *runtime);
    bool (*quiesce)(pel_runtime *runtime); /* false: a driver that hangs still uses what belongs to the runtime */
    uint32_t rebuilding;                       /* drivers that are being opened by host workers (resilience/rebuild.c) */
    struct pel_watchdog *watchdog;      /* resilience/: made with the first isolated launch */
    struct pel_known_answers *known_answers; /* resilience/: made with the first test */
    void (*known_answers_destroy)(pel_runtime *runtime); /* after the drivers are closed */
    atomic_uint objects[PEL_OBJECT_KINDS]; /* alive, by kind: they must be gone before the runtime */
    atomic_ullong next_id;
};

/*
 * A device in a word of 64 bits, for what may be told too coarsely but never wrongly: those from the 64th on have one bit
 * together. Where each must be told apart there are lists, and arrays by index.
 */
#define PEL_DEVICE_BITS 64u
static inline uint64_t pel_device_bit(const pel_device *device) {
    return 1ull << (device->index < PEL_DEVICE_BITS - 1 ? device->index : PEL_DEVICE_BITS - 1);
}

/* AFTER_FORK with its story when the calling process is not the creator, else OK. */
pel_status pel_runtime_check(const pel_runtime *runtime, pel_error **error);
/* The same without a story, for what is called a million times a second; false: ask. */
static inline bool pel_runtime_is_ours(const pel_runtime *runtime) { return runtime->fork_mark && *runtime->fork_mark == 1; }

static inline void pel_object_made(pel_runtime *runtime, pel_object_kind kind) { atomic_fetch_add(&runtime->objects[kind], 1); }
static inline void pel_object_gone(pel_runtime *runtime, pel_object_kind kind) { atomic_fetch_sub(&runtime->objects[kind], 1); }
uint32_t pel_objects_alive(const pel_runtime *runtime);

/* A process-wide unique id of this runtime's objects. */
uint64_t pel_runtime_next_id(pel_runtime *runtime);

/* The device's driver, and the one from before its context was built anew, which may know kernels and programs still; how many.
 * Not under the lock. */
uint32_t pel_device_drivers(pel_device *device, pel_backend_device *drivers[2]);

#endif
