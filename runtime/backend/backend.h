/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver contract. A backend turns *work* (transfers in, a launch or a host function, transfers out) into completions.
 *
 * Five nouns:
 *   backend         a vtable, one per kind of device; stateless.
 *   backend device  an open device: its threads, its context, its queue of work.
 *   mem             memory of that device that mirrors (or is) a range of host memory.
 *   kernel image    what there is to run, as plain data.
 *   work            one unit of dispatch. Works of one device run in the order of submission, one at a time.
 *
 * Rules:
 *   1. submit never runs a kernel, never waits for the device, and may be called with locks held; it cannot fail: a failure is a
 *      completion.
 *   2. complete(work) is called exactly once per work, from any thread, with no backend lock held; the work may be freed or
 *      resubmitted in it.
 *   3. At completion all effects of the work on host memory are visible to the completing thread.
 *   4. A failed work stops at the failing step; its outputs are undefined. The device stays usable unless the status is
 *      DEVICE_LOST.
 *   5. close waits for submitted work. prepare may block for seconds and may be called from any thread, also while work runs.
 *   6. Where `chains` says so, works may be submitted behind others of the same device that they depend on. Completions then come
 *      in the order of submission. When one fails, its complete() sets `skip` in those that depend on it: what has not begun by
 *      then must not run and completes as failed (DEPENDENCY_FAILED); what has begun meanwhile may run on undefined bytes, and
 *      its owner takes it as failed whatever its status says.
 *   7. Where `gates` says so, works may also be submitted behind works of other such devices: one with a gate begins when that
 *      opens, and keeps those behind it waiting. A work that has `ends` tells of its end by that signal as soon as its effects
 *      are visible to every device that computes in host memory, from whatever thread learns it first; where nobody else does,
 *      its completion does. A failed one's is raised when those behind it know.
 *   8. No spinning longer than a tuning constant allows; idle means 0 % CPU.
 * Every backend passes tests/conformance. To write one: copy backend/template/, add one line to backend.c.
 */
#ifndef PEL_BACKEND_BACKEND_H
#define PEL_BACKEND_BACKEND_H

#include "backend/order.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "topology/topology.h"
#include <pel/kernel.h>
#include <pel/queue.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pel_backend pel_backend;

/* Embedded first in every backend's own device structure. */
typedef struct pel_backend_device {
    const pel_backend *backend;
    const pel_topology_device *facts;
} pel_backend_device;

/* Embedded first in every backend's own memory object. */
typedef struct pel_mem {
    void *host;          /* the host memory that it mirrors */
    uint64_t bytes;
} pel_mem;

/* What a backend may use; lives as long as its devices. */
typedef struct pel_backend_env {
    const pel_allocator *allocator;
    pel_logger *logger;
    const pel_clock *clock;
    const char *cache_directory;   /* NULL: none */
    uint32_t runtime_flags;        /* PEL_RUNTIME_* */
    uint32_t host_workers;         /* 0: one per core of the device */
    int64_t spin_ns;               /* how long whoever has nothing to do looks before it sleeps */
    struct pel_machine *machine;   /* backend/simulated: the virtual machine, else NULL */
} pel_backend_env;

/* A program as plain data; lives until program_forget has been called on every device. */
typedef struct pel_program_image {
    uint64_t id;                   /* unique in the process; key for the backend's own tables */
    const char *name;
    const char *source;            /* NULL: host functions only */
    size_t source_bytes;
    const char *options;           /* complete: the user's, -D, -I */
    uint8_t digest[32];            /* of source, options and every included file */
    bool cacheable;                /* false: an include could not be resolved, so the digest is not the whole truth */
    /* the source undoes what the addressing prelude does (#undef or own macros for ids, ...): use the plain form only */
    bool plain_only;
} pel_program_image;

typedef struct pel_kernel_image {
    uint64_t id;                   /* unique in the process */
    const pel_program_image *program;
    const char *entry;             /* NULL: host only */
    const char *name;
    const pel_param *params;
    uint32_t param_count;
    uint32_t flags;                /* PEL_KERNEL_* */
    pel_host_fn host;
    pel_host_group_fn host_group;
    uint64_t scratch_bytes;
    pel_check_fn check;
    void *user;
    double cost_hint;              /* > 0 */
} pel_kernel_image;

typedef enum pel_work_arg_kind {
    PEL_WORK_ARG_NULL = 0,
    PEL_WORK_ARG_VALUE,   /* `host` points to `bytes` bytes */
    PEL_WORK_ARG_MEM,     /* byte 0 of the argument is byte `offset` of `mem`; in host memory at `host` */
    PEL_WORK_ARG_LOCAL,   /* `bytes` of local memory */
    /* like MEM, for PEL_PARAM_REDUCE_PRIVATE: backends with several workers give each its own copy and fold them into `host` */
    PEL_WORK_ARG_PRIVATE
} pel_work_arg_kind;

typedef struct pel_work_arg {
    pel_work_arg_kind kind;
    pel_mem *mem;         /* a view made by mem_view, a window, or NULL on the host backend */
    void *host;
    uint64_t bytes;
    /* MEM: byte 0 of mem is byte `rebase` of the argument, modulo 2^64; not 0 only for steps of backends with `windows` */
    uint64_t rebase;
} pel_work_arg;

/*
 * Copies between mem and host memory: `rows` rows of `bytes` bytes, `pitch` apart on both sides (rows 0 or 1: one piece). The
 * first begins at byte `offset` of mem and at `host`, NULL: at mem->host + offset.
 */
typedef struct pel_transfer {
    pel_mem *mem;
    uint64_t offset, bytes;
    uint64_t rows, pitch;
    void *host;
} pel_transfer;

static inline uint64_t pel_transfer_rows(const pel_transfer *transfer) { return transfer->rows > 1 ? transfer->rows : 1; }
static inline unsigned char *pel_transfer_host(const pel_transfer *transfer) {
    return transfer->host ? (unsigned char *)transfer->host : (unsigned char *)transfer->mem->host + transfer->offset;
}

/*
 * A part of a launch that goes through the device in steps, so that transfers of some run beside the launches of others: in,
 * launch and out of one step come one after the other, and each of the three in the order of the steps. Step k begins when step k
 * - work->step_depth has ended: they share windows.
 */
typedef struct pel_step {
    pel_span span;
    const pel_work_arg *args;
    const pel_transfer *in, *out;
    uint32_t in_count, out_count;
} pel_step;

typedef enum pel_work_kind {
    PEL_WORK_TRANSFER = 1, /* only transfers */
    PEL_WORK_LAUNCH = 2,
    PEL_WORK_TASK = 3,     /* host backend and simulated host */
    PEL_WORK_LOOP = 4
} pel_work_kind;

typedef struct pel_work {
    struct pel_work *next, *child; /* the backend's, while it has the work; likewise `sequence` */
    uint64_t sequence;
    pel_work_kind kind;
    void (*complete)(struct pel_work *work);
    void (*complete_all)(struct pel_work **works, uint32_t count); /* or NULL: the same for several that have one */
    void *owner;
    int32_t priority;
    atomic_bool skip;              /* the owner's: see rule 6 */
    pel_gate *gate;                /* the owner's: see rule 7; NULL: none */
    _Atomic(pel_signal *) ends;    /* the owner's, likewise; may be set while the backend has the work */
    bool alone;                    /* the owner's: it may hang, so only the device's own thread runs it, and by itself */
    _Atomic int64_t started;       /* when the device began it; 0: not yet. Set by the backend, and read meanwhile */
    /* The owner's, or NULL: called before something is compiled for it, which may take minutes. It must not block. */
    void (*compiling)(struct pel_work *work);
    uint32_t times;                /* LAUNCH: 0 or 1: once; more, by `again` or with a row: so many, one after the other */
    /* The owner's, only for backends with `rows`: the launches that these are, `times` of them, each a work of which only
     * kernel, args, span, chunked and group are looked at. NULL: this one, each time. */
    struct pel_work *const *row;
    bool open;                     /* the backend's: it is not begun, and may be made to run once more */
    bool soon;                     /* the owner's: it calls begin() right after, so nobody need be woken for what that can do */

    const pel_transfer *in, *out;
    uint32_t in_count, out_count;
    /* The last so many of `out` are hints: one that fails is told by hint_lost and fails nothing. A backend may know none, and
     * then they are as the others. Only without steps. */
    uint32_t hint_count;

    /* LAUNCH. span.local all zero: the backend chooses. chunked: ids and sizes must mean the whole launch (DESIGN "Addressing
     * contract"). */
    const pel_kernel_image *kernel;
    const pel_work_arg *args;
    pel_span span;
    bool chunked;
    /* items of a work-group that the backend is to prefer where span.local is all zero; 0: as it likes */
    uint32_t group;
    bool sensitive;                /* scratch, local, private and staging memory are zeroed when it is over */
    double predicted_ns;           /* 0: unknown; used to sleep before polling */
    /* instead of args, between the work's own in and out; chunked is true. Only for backends with `windows` */
    const pel_step *steps;
    uint32_t step_count, step_depth;

    /* TASK, LOOP */
    pel_task_fn task;
    pel_loop_fn loop;
    void *context;
    uint64_t loop_count, loop_grain;

    /* Results, set by the backend before complete(). Times of the runtime's clock. */
    pel_status status;
    pel_error *error;              /* owned by whoever completes; NULL when OK */
    bool cold;                     /* a compilation took place inside */
    uint32_t commands;             /* that a launch became, where its backend knows rows */
    uint32_t reached;              /* of launches in one work that failed: the first that did not end well */
    uint64_t well;                 /* and those that did, of the first 64, as bits */
    uint32_t untouched;            /* of a LAUNCH that failed: so many of its launches, the last ones, have certainly not begun */
    bool hint_lost;                /* none of the hints counts as having arrived; the rest of the work is as its status says */
    /* several ended unseen between two looks: its launch_* times are a share of what these took together */
    bool pooled;
    int64_t began, launch_began, launch_ended, ended;
    int64_t computed;              /* with steps: what their launches took in sum */
} pel_work;

struct pel_backend {
    const char *name;
    bool chains;                   /* see rule 6 */
    bool rows;                     /* its works may be rows of launches that copy nothing, each of which is one command */

    /* Opens a device. May block. */
    pel_status (*open)(const pel_backend_env *env, const pel_topology_device *facts, pel_backend_device **device,
                       pel_error **error);
    void (*close)(pel_backend_device *device);

    /*
     * Memory that mirrors host[0, bytes). On devices with facts->host_coherent it *is* that memory. The backend never frees
     * `host`. NULL, only for devices without it: a window, whose transfers say where they go. mem_view: the part [offset, offset
     * + bytes) as an object of its own whose byte 0 is `offset`, for kernel arguments; UNSUPPORTED when a device with own memory
     * gets an offset that is no multiple of facts->view_alignment: the planner asks the facts first. Views are destroyed before
     * their parent. All callable from any thread.
     */
    pel_status (*mem_create)(pel_backend_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error);
    pel_status (*mem_view)(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                           pel_error **error);
    void (*mem_destroy)(pel_backend_device *device, pel_mem *mem);
    /* Optional (NULL: it has no memory of its own): zeroes an object in the device's own memory that no work uses any more.
     * Waits. */
    pel_status (*mem_wipe)(pel_backend_device *device, pel_mem *mem, pel_error **error);

    /* Builds a program's plain form and, when `kernel` is not NULL, checks its entry and parameters. BUILD_FAILED carries the
     * log. */
    pel_status (*prepare)(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                          pel_error **error);
    void (*kernel_forget)(pel_backend_device *device, const pel_kernel_image *kernel);   /* no work uses it any more */
    void (*program_forget)(pel_backend_device *device, const pel_program_image *program);

    void (*submit)(pel_backend_device *device, pel_work *work);

    /* Optional (NULL): a waiting thread offers itself. Runs queued work of this device on the caller, or a share of what runs;
     * returns whether it did anything. */
    bool (*help)(pel_backend_device *device);

    /*
     * Optional (NULL): a thread that has just submitted offers itself, without any lock. Begins what can be begun without waiting
     * for the device, without compiling and without running a kernel on the caller; may report works that have ended.
     */
    void (*begin)(pel_backend_device *device);

    /*
     * Optional (NULL): work is about to come, in some 50 us: a thread of the device's that sleeps may wake meanwhile and look for
     * it. From any thread, without any lock; nothing need follow.
     */
    void (*rouse)(pel_backend_device *device);

    /*
     * Optional (NULL: never): the launch of this work once more, right after itself, in the same work. Never blocks; only by the
     * work's owner, before it completes. False: it has begun, or the device would rather have another work. `most`: times;
     * predicted_ns, of the work, grows by what one takes.
     */
    bool (*again)(pel_backend_device *device, pel_work *work, uint32_t most);

    /* Optional (NULL: no): see rule 7. Only devices that compute in host memory. */
    bool (*gates)(const pel_backend_device *device);

    /*
     * Optional (NULL: no): whether this kernel runs in steps with windows, args whose `rebase` is not 0. May build and run a
     * trial; any thread, no locks held. False: *why is a text that stays.
     */
    bool (*windows)(pel_backend_device *device, const pel_kernel_image *kernel, const char **why);

    /* Optional (NULL: only the device's own limit is known): items of the largest work-group of a kernel that prepare has
     * accepted; 0: not known. *fixed: its source demands one size (reqd_work_group_size), so there is nothing to choose. */
    uint64_t (*largest_group)(pel_backend_device *device, const pel_kernel_image *kernel, bool *fixed);

    /* Optional (NULL: it cannot be done): ends by force what hangs; all that is with the device completes as DEVICE_LOST. Never
     * blocks; any thread. */
    void (*abort)(pel_backend_device *device);
};

/* The open driver behind a device of a runtime, for interoperation; NULL for NULL. Defined beside the device table
 * (core/runtime.c). */
pel_backend_device *pel_device_driver(const pel_device *device);

/* The backend for a kind of device; NULL when this build lacks it. */
const pel_backend *pel_backend_for(pel_device_kind kind);

#endif
