/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands and the dispatcher that drives them.
 *
 * A command passes through: waiting (for predecessors) -> ready -> [fetching: bytes that only a device holds come home] ->
 * [saving: what chunks may spoil is copied] -> running (jobs on devices; again with those that failed, queue/retry.c) ->
 * [verifying: results are compared, queue/verify.c] -> [folding: partial results are merged on the host] -> complete. The
 * dispatcher has no thread of its own: whoever brings news (a submitter, a backend's completion) takes runtime->lock, advances
 * the state and hands the next works to the backends, which never block in submit. The rejected alternative, a dispatcher thread,
 * costs two wake-ups per launch. With a simulated machine the same code runs single-threaded under the virtual clock.
 *
 * Everything here needs runtime->lock unless it says otherwise.
 */
#ifndef PEL_QUEUE_COMMAND_H
#define PEL_QUEUE_COMMAND_H

#include "kernel/footprint.h"
#include "memory/memory.h"
#include "queue/event.h"
#include "queue/hazard.h"
#include "queue/hazard_lock.h"
#include "queue/node.h"
#include "queue/spare.h"
#include "queue/scope.h"
#include <pel/queue.h>
#include <stdatomic.h>

typedef struct pel_command pel_command;
typedef struct pel_job pel_job;

/* Bytes [lo, hi) of an allocation, retained by the command that names it; or rows of row_bytes at lo, lo + pitch, ..., the
 * last of which ends at hi. */
typedef struct pel_use {
    pel_allocation *allocation;
    uint64_t lo, hi;
    pel_access_mode mode;
    uint64_t pitch, row_bytes;  /* 0, 0: in one piece */
} pel_use;

/* As the hazards want it. */
static inline pel_hazard_range pel_use_range(const pel_use *use) {
    const uint64_t base = (uintptr_t)use->allocation->base;
    return (pel_hazard_range){
        base + use->lo, base + use->hi, use->mode, use->pitch, use->row_bytes, base, base + use->allocation->bytes};
}

typedef struct pel_uses {
    pel_use *data;
    uint32_t count, capacity;
} pel_uses;

/* One work on one device, and what its success means for residency. */
struct pel_job {
    pel_job *next;              /* waiting for cores */
    pel_command *command;
    pel_device *device;
    bool data_parallel;         /* needs its device's cores to itself */
    void (*done)(pel_job *job); /* after the work; under the lock */
    pel_work work;
    pel_uses copied_in;         /* valid at device->place once it succeeded */
    pel_uses copied_out;        /* valid in host memory once it succeeded */
    uint32_t certain_out;       /* entries of it before those that work.hint_lost takes back */
    pel_uses written;           /* valid at device->place only */
    pel_uses drained;           /* of that, what goes home because others wait for it: drain.c */
    pel_transfer *in, *out;     /* storage behind work.in, work.out */
    uint64_t needed;            /* bytes that it reads */
    struct pel_stream *stream;  /* stream.c: it goes through its device in steps; else NULL */
    pel_uses streamed_in;       /* came into windows */
    uint64_t streamed_needed;   /* part of `needed` that they hold */
    pel_uses written_home;      /* valid in host memory only, once it succeeded */
    pel_work_arg *args;
    uint64_t lo, hi;            /* units, for a launch's chunk */
    struct pel_private *privates;
    double expected_ns;         /* when it was handed over */
    bool begun;                 /* its work is with the device */
    bool prompt;                /* which had nothing else of this kind: begins.c */
    bool over;                  /* its work has completed, and is not tried again at once */
    bool superseded;            /* its units run again in another job */
    bool borrowed;              /* args and written are repeat.c's */
    uint32_t second;            /* 1 + the launch's job whose end it waits for, being on its device, too; 0: none */
    struct pel_shadow *shadows; /* isolate.c, as the following */
    pel_backend_device *driver; /* whose they are */
    atomic_int isolation;
    pel_job *watch_next;
    atomic_bool compiling;      /* its device compiles for it, or may */
    int64_t credit;             /* time that the process did not get */
    int64_t starved;            /* time in which one of its threads waited for a core */
    pel_error *verdict_error;   /* of one that was given up */
    bool again;                 /* the same work was submitted a second time */
    int64_t after;              /* pieces.c: when the chunk ended that it follows on its device; 0: it follows none */
    bool sampled;               /* verify.c: its result is to be verified */
    bool verified;              /* and was */
    bool landed;                /* what is right is in host memory, whatever becomes of its device */
    struct pel_vote *vote;      /* it computes what another job of the command has computed; else NULL */
};

/* An allocation's copy on a device that must stay while the command lasts. */
typedef struct pel_pin {
    struct pel_pin *next;
    pel_allocation *allocation;
    uint32_t device;
} pel_pin;

typedef enum pel_command_kind {
    PEL_COMMAND_LAUNCH, PEL_COMMAND_TASK, PEL_COMMAND_LOOP, PEL_COMMAND_MARKER, PEL_COMMAND_MAP, PEL_COMMAND_PREFETCH,
    PEL_COMMAND_GRAPH
} pel_command_kind;
typedef enum pel_command_phase {
    PEL_PHASE_WAITING,
    PEL_PHASE_FETCHING,
    PEL_PHASE_SAVING,
    PEL_PHASE_RUNNING,
    PEL_PHASE_VERIFYING,
    PEL_PHASE_FOLDING,
    PEL_PHASE_MAPPED
} pel_command_phase;

enum { PEL_CHAIN_AHEAD = 8 }; /* a stencil has two: who wrote what it reads, who read what it writes */

/* Jobs that a work which has not returned may point to. */
typedef struct pel_moved_jobs {
    struct pel_moved_jobs *next;
    pel_job *jobs;
    uint32_t count;
} pel_moved_jobs;

struct pel_command {
    pel_command *next;          /* ready or stalled list */
    pel_command *before, *after;/* unfinished commands of the queue, in the order of submission */
    pel_command_kind kind;
    pel_command_phase phase;
    pel_runtime *runtime;
    pel_queue *queue;
    pel_event *event;           /* retained */
    pel_node *node;             /* from its submission to its end */
    char *name;                 /* may be NULL */
    uint64_t order;             /* the node's: of submission */
    int32_t priority;
    bool is_gate;               /* a barrier */
    bool tolerant;              /* failures of predecessors do not spread to it */
    bool had_children;          /* its function has submitted something */
    pel_scope *scope;           /* that; NULL: nothing, or it is over */
    pel_uses uses;              /* what it reads and writes; allocations retained */
    uint64_t behind;            /* order of the newest mapping that it comes after, directly or through others; 0: none */
    uint64_t behind_places;     /* bits of all such mappings (pel_mapping.place) */
    pel_status status;          /* first failure of a job, or of a predecessor */
    pel_error *error;
    pel_job *jobs;              /* array of the current phase */
    uint32_t job_count, outstanding;
    /* length of the array: jobs that run must not move, so a launch that may get more chunks has room for them */
    uint32_t job_limit;

    /* chain.c */
    bool leads;                 /* its works are with their devices, and their ends are its own: others may be queued behind it */
    pel_command *ahead[PEL_CHAIN_AHEAD]; /* predecessors of this kind */
    uint32_t chained;           /* how many they are; more than there is room for: it waits for them */
    bool astray;                /* it was tried in vain: likewise */
    bool early;                 /* begun before its predecessors were over */
    bool held;                  /* and over before them: it ends when they have */

    /* recall.c */
    bool broken;                /* a work of it failed: when those behind it have come back, it is seen what becomes of it */
    bool recalled;              /* it was queued behind such a one, and its works have been told not to run */
    bool restarted;             /* it began in vain: nobody is queued behind it any more, and it behind nobody */
    bool stirred;               /* and may have written by then */
    bool gathered;              /* for the length of a look */
    uint8_t failures;           /* of its own that were forgiven */
    uint32_t more;              /* times that it runs again when it is over: it stands for several launches */
    pel_error *cause;           /* of its first failure, with its status; NULL: none */

    /* LAUNCH */
    pel_bound bound;
    bool is_bound;
    struct pel_repeat *repeat;  /* whose name, bound and uses these are; NULL: its own */
    struct pel_repeat *kin;     /* repeat.c, for the length of pel_command_free */
    pel_job *spare_job;         /* memory that waits in an idle command, as its event does */
    pel_plan_slice *spare_slice;
    struct pel_saved *spare_saved;
    pel_plan *plan;             /* NULL: not made yet, or nobody has the event to ask for it with */
    double expected_ns;         /* the plan's, for the lesson */
    bool together_probe, variant_probe;
    bool explores;              /* it is planned as it is to be learned from */
    int64_t built;              /* begins.c: when its chunks were ready to begin; 0: something else came first */
    int64_t processor_ns;       /* calm.c: of the process, before its chunks were made; 0: not looked at */
    uint64_t fetched;           /* bytes that came home for it */
    pel_pin *pins;              /* claim.c */
    bool makes_room;            /* its fetches write back what goes for it; then it starts anew */
    pel_share *shares;          /* fixed split, or NULL */
    uint32_t share_count;
    pel_plan_slice *slices;     /* as planned */
    uint32_t slice_count;       /* one a job, in their order */
    struct pel_tail *tail;      /* held back, or NULL */
    uint32_t planned;           /* the first ones; the rest began while the launch ran */
    pel_protection asked, protection;
    struct pel_saved *saved;    /* queue/retry.c */
    struct pel_verify *verify;  /* queue/verify.c; NULL: not to be verified */
    uint64_t deadline_ns;       /* of a chunk; 0: by the model */
    uint32_t hung;              /* works that were given up and have not returned */
    bool kept;                  /* until they do */
    pel_moved_jobs *moved;

    /* TASK and LOOP */
    pel_task_fn task;
    pel_loop_fn loop;
    void *context;
    uint32_t retries;           /* left */
    pel_callback_fn callback;   /* with the event that it is told of, retained */
    pel_event *watched;
    void *callback_context;
    uint64_t loop_count, loop_grain;
    void *move;                 /* storage for copies and fills; `context` points to it */

    struct pel_graph *graph;    /* GRAPH: what is replayed. Of a recorded command, while a replay runs it: see part_of */
    pel_command *part_of;       /* the replay; NULL: a command of its own */
    uint32_t part;              /* its number in the graph */
    uint32_t turn;              /* among the parts of a replay: by the graph's plan, else as recorded */

    /* MAP and PREFETCH */
    pel_device *device;          /* whose memory; NULL: the host's */
    struct pel_mapping *mapping; /* NULL: a prefetch, or it was unmapped already */

    pel_job fold;               /* also of the saving. Last: of one that was never used, only `command` is written */
};

/* fair.c: the last walk over waiting jobs that met one of this queue for this device, and their highest priority. */
typedef struct pel_queue_met {
    uint64_t walk;
    int32_t priority;
} pel_queue_met;

struct pel_queue {
    pel_queue *next;            /* of the runtime */
    pel_runtime *runtime;
    uint64_t id;
    char *name;
    uint32_t max_in_flight;
    atomic_int room;            /* where that is bounded: tasks that may be submitted before somebody counts again */
    uint32_t places;            /* of that room, taken by who submits with the hazard_lock, which it is under */
    int32_t priority;           /* added to that of launches */
    _Atomic(struct pel_graph *) recorder; /* takes what is submitted; NULL: none */
    _Atomic(pel_event *) gate;  /* of the barrier that later commands wait for, retained; NULL: none. Changed under the lock */
    _Atomic(pel_stage *) stage; /* where commands are counted now; changed under the lock */
    pel_objective objective;    /* of launches that name none; under the lock */
    pel_stage *first_stage;     /* the oldest one that has not drained; stage is the last of the list */
    uint64_t drained;           /* number of stages that have */
    bool untimed;               /* tasks that are only nodes read no clock */
    bool oldest_first;          /* of what a worker has made ready */
    pel_command *first, *last;  /* unfinished ones, tasks that are only nodes apart, in the order of submission */
    uint32_t *on_device;        /* works dispatched, by device: which ones a waiter may help */
    pel_queue_met *met;         /* by device */
    double weight;              /* its share of devices beside other queues */
    double served;              /* nanoseconds that its works took, over the weight */
    double usual_ns;            /* of a work, a running mean */
    uint32_t computing;         /* data-parallel works handed over */
    uint64_t first_failure;     /* order; UINT64_MAX: none */
    uint64_t first_inner;       /* its order within that command; UINT64_MAX: the command itself, after its children */
    pel_status status;
    pel_error *error;           /* of the first failure in program order */
    pel_error *refused;         /* of the last refused submission */
    pel_event *anonymous;       /* a failed one, for the hazards, where memory for the task's own is lacking */
};

/* executor.c */
void pel_hands_begin(pel_runtime *runtime); /* the dispatcher and its task engine are there */
void pel_hands_end(pel_runtime *runtime);   /* nobody is asked from here on; waits for those that were */

/* lend.c: works, then looks for as long as workers do. False: there was nothing to do. */
bool pel_lend(pel_runtime *runtime, pel_host_runner *runner, bool (*stop)(void *user), void *user);

typedef struct pel_dispatcher {
    pthread_cond_t changed;     /* something completed */
    uint32_t waiters;
    uint32_t restless;          /* these of them want to look after every completion */
    /* since the last broadcast: what an event's or a stage's waiter waits for, or works that it may help with */
    bool news;
    int64_t moment;             /* when the lock was taken, for who does little with it; 0: ask the clock */
    bool submitting;            /* who has the lock begins works when it has given it up */
    uint64_t fresh;             /* devices, by index, that got works since the lock was taken */
    atomic_uint completions;    /* for a waiter that looks without the lock */
    pel_host_tasks *tasks;      /* the task engine; NULL on a virtual machine */
    bool fence;                 /* whoever ends a task must fence: this system has no heavy barrier */
    atomic_uint mapping_count;  /* of the list: tasks ask without the lock, and take the long way then */
    struct pel_mapping *mappings; /* those that are not over */
    uint64_t mapping_places;    /* bits that they have */
    pel_node_pools pools;
    pel_host_self self;         /* of whoever has the lock */
    pel_stages stages;
    atomic_uint one_share;      /* of a stage's, where there is no task engine */
    atomic_uint watches;        /* how many wait for a stage to drain, or for room in a queue */
    atomic_uint throttled;      /* these last */
    atomic_uint inside;         /* tasks that wait and may sleep as workers do */
    struct pel_inner_wait *inner_waits;
    /* on lines of their own: whoever ends a task reads `watches`, and took the lock's line from whoever submits */
    unsigned char before_lock[PEL_POOL_BLOCK];
    pel_hazard_lock hazard_lock;/* taken inside the lock or without it, with no other lock inside */
    pel_hazards *hazards;       /* (hazard_lock) */
    pel_command *spare;         /* (hazard_lock) memory of commands that are over: malloc has no short way for what is so large */
    uint32_t spare_count;
    unsigned char after_lock[PEL_POOL_BLOCK];
    struct pel_habit *habits;   /* of PEL_HABITS kernels */
    struct pel_repeat_slot *repeats; /* of PEL_REPEATS */
    uint64_t lessons;           /* how many launches the models have learned from */
    uint64_t returned;          /* works that came back */
    pel_command *ready;         /* by priority, then submission */
    pel_command *over;          /* tasks whose last child is over */
    pel_command *stalled;       /* their bytes are being fetched for somebody else */
    pel_command *broken;        /* failed, and wait for those behind them: recall.c */
    double fair_clock;          /* how far queues that compete have come */
    pel_job *first_job, *last_job; /* in order, waiting for cores; fair.c alone changes the list */
    uint32_t borders;           /* neighbours in it of different queues or priorities */
    uint64_t walks;             /* over it, ever: fair.c */
    pel_device *wanted;         /* those that they wait for, in no order */
    pel_spares spares;          /* spare.h */
    pel_job *watched;           /* isolated ones under way */
    pel_command *kept;          /* over, with works that have not returned */
    pel_queue *queues;          /* the caller's */
    pel_queue own;              /* for the runtime's own commands: bringing data home */
} pel_dispatcher;

/* dispatcher.c */
pel_status pel_dispatcher_ensure(pel_runtime *runtime, pel_error **error); /* takes the lock itself */
void pel_command_make_ready(pel_command *command);
void pel_restart_stalled(pel_runtime *runtime); /* those that waited for bytes or for room look again */
void pel_command_fail(pel_command *command, pel_status status, pel_error *error); /* takes over error; keeps the first failure */
void pel_command_phase_over(pel_command *command); /* all works of its phase are */
void pel_command_end(pel_command *command); /* completes the event, wakes successors, frees the command */
/* Closes a node and starts what waited only for it. `failed`: those that read its result fail, too; `error` may be NULL all
 * the same. */
void pel_node_end(pel_runtime *runtime, pel_node *node, const char *name, bool failed, const pel_error *error);
/*
 * The queue remembers the first failure in program order: that of the outermost task in which it happened, and within that the
 * first child's; a task that has submitted something comes after all that.
 */
void pel_queue_note_failure(pel_queue *queue, const pel_node *node, bool had_children, pel_status status, const pel_error *error);
/* Tells a successor that what it reads failed; it is not started yet. */
void pel_node_inherit_failure(pel_runtime *runtime, pel_node *to, const char *from, const pel_error *error);
void pel_dispatch(pel_runtime *runtime);    /* advances everything that can; call after any of the above */
void pel_dispatcher_unlock(pel_runtime *runtime, bool something_completed); /* wakes waiters, releases the lock */
/* of a submitter: it begins what it has submitted, where that is cheap */
void pel_dispatcher_unlock_and_begin(pel_runtime *runtime);
bool pel_inside_task(const pel_runtime *runtime);
void pel_start_node(pel_runtime *runtime, pel_node *node); /* it has no predecessors left; under the lock */

/* fair.c: jobs that wait for cores */
/* A launch's only job; nobody waits, or is about to, and there is room: it is charged and may be handed over. False: nothing has
 * happened. */
bool pel_fair_at_once(pel_dispatcher *dispatcher, pel_job *job);
void pel_fair_append(pel_dispatcher *dispatcher, pel_job *job);
void pel_fair_prepend(pel_dispatcher *dispatcher, pel_job *job);
void pel_fair_submit(pel_runtime *runtime); /* of the waiting ones, those whose turn it is */
void pel_fair_grown(pel_job *job, double by_ns); /* its work is with its device and takes so much longer */
void pel_fair_ended(pel_job *job);          /* before what it was is forgotten */
void pel_fair_given_up(pel_job *job);       /* one that has not returned: its times are not known */

/* job.c */
void pel_job_submit_next(pel_job *job);     /* before those that wait for cores: a further chunk of a launch that runs */
void pel_job_submit(pel_job *job);          /* hands the work to its device as soon as the cores are free */
void pel_job_hand_over(pel_job *job);       /* now */

/* host_commands.c: pel_task without the short way of bare.h. */
pel_status pel_task_any(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t access_count,
                        const pel_task_desc *desc, pel_event **event);
/* task.c: tasks that never take the lock. UNSUPPORTED: this one must take the other way. */
pel_status pel_task_submit(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses,
                           uint32_t access_count, const pel_task_desc *desc, pel_event **event);
pel_host_item *pel_task_run(pel_host_runner *runner, pel_host_item *item);
void pel_task_put(pel_runtime *runtime, pel_node *node); /* a ready one, from any thread */

/*
 * wait.c. over: under the lock, exact; it also sees to it that somebody broadcasts `changed` when it may have changed.
 * seems_over: without any lock; may be NULL. works: the waiter may drive devices on which this counts works; may be NULL.
 */
typedef struct pel_waiting {
    bool (*over)(void *user);
    bool (*seems_over)(void *user);
    const uint32_t *(*works)(void *user);
    void *user;
    uint32_t patience; /* tasks between two looks whether it seems over; > 0 where seems_over is given */
    bool restless;     /* `over` may change with any completion; else with the end of a stage, or of the node that it watches */
} pel_waiting;
/* lock likewise; drives one of them a step; false: none needs it */
bool pel_help_devices(pel_runtime *runtime, const pel_waiting *what);
/* lock likewise; for a moment, after a part of its own: sleeping costs a wake-up */
void pel_look_for_completions(pel_runtime *runtime, const pel_waiting *what);
void pel_wait_for(pel_runtime *runtime, const pel_waiting *what); /* lock held on entry and exit, given up meanwhile */
/* A thread outside runs tasks until it seems over or there is nothing to run for a while. Without the lock. */
void pel_help_tasks(pel_runtime *runtime, const pel_waiting *what);
void pel_tell_waiters(pel_runtime *runtime);                         /* takes the lock */
/* inner_wait.c: inside a task, whose thread runs other tasks meanwhile. WOULD_DEADLOCK: none may be run any more. Without the
 * lock. */
pel_status pel_wait_inside(pel_runtime *runtime, const pel_waiting *what);

/*
 * deadlock.c: whether the task that runs on this thread may wait for the event, or for all of the queue (one of the two is NULL).
 * If it may, the wait is known to others until pel_inner_wait_end. OK, WOULD_DEADLOCK, OUT_OF_MEMORY. Under the lock.
 */
typedef struct pel_inner_wait {
    struct pel_inner_wait *next;
    const pel_frame *frame;
    const pel_event *event;
    const pel_queue *queue;
} pel_inner_wait;
bool pel_may_wait_inside(const pel_runtime *runtime);
pel_status pel_inner_wait_begin(pel_runtime *runtime, pel_inner_wait *wait, const pel_event *event, const pel_queue *queue);
void pel_inner_wait_end(pel_runtime *runtime, pel_inner_wait *wait);
/* WOULD_DEADLOCK, with its story: a command that the running task submits must not wait for one of these events. Takes the
 * lock. */
pel_status pel_check_waits_inside(pel_runtime *runtime, const pel_event *const *waits, uint32_t count, pel_error **error);

/* Stages of a queue; under the lock. */
void pel_watch_begin(pel_dispatcher *dispatcher); /* from now on whoever ends a task sees that somebody waits */
void pel_queue_advance(pel_queue *queue);   /* drops drained stages and starts the markers that followed them */
void pel_queues_advance(pel_runtime *runtime); /* of all queues; tells waiters */
pel_status pel_queue_cut(pel_queue *queue, pel_stage **before); /* a new current stage */
/* Whatever was submitted to a stage that was current until now is counted there: waits for submissions that are under way. */
void pel_submissions_settle(pel_dispatcher *dispatcher);
void pel_queue_make_room(pel_queue *queue); /* waits while max_in_flight says so; without the lock */
/* The same for a task: what is under way is counted when as many have been submitted as there was room for the last time. */
static inline void pel_queue_make_room_for_task(pel_queue *queue) {
    /* relaxed: numbers alone, nobody reads memory because of them */
    if (queue->max_in_flight != 0 && (atomic_load_explicit(&queue->room, memory_order_relaxed) <= 0 ||
                                      atomic_fetch_sub_explicit(&queue->room, 1, memory_order_relaxed) <= 0)) {
        pel_queue_make_room(queue);
    }
}

/* claim.c: copies on devices that commands need stay; device->place 0: nothing to do */
pel_status pel_command_pin(pel_command *command, pel_allocation *allocation, const pel_device *device);
void pel_command_unpin(pel_command *command);
void pel_command_waives(const pel_command *command); /* it does not wait for room any more */

/* moves.c: who has which bytes, and the works that bring them where they are needed */
bool pel_uses_append(const pel_allocator *allocator, pel_uses *uses, pel_use use); /* as it is */
bool pel_uses_add(const pel_allocator *allocator, pel_uses *uses, pel_allocation *allocation, uint64_t lo, uint64_t hi,
                  pel_access_mode mode);
/* those not in host memory alone */
bool pel_uses_add_rows(const pel_allocator *allocator, pel_uses *uses, const pel_use *use, pel_access_mode mode);
void pel_uses_free(const pel_allocator *allocator, pel_uses *uses); /* the list only */
/* starts the fetches into command->jobs */
pel_status pel_fetch_home(pel_command *command, const pel_uses *needed, bool *stalled);
/* Whose memory has them, and is not lost; NULL: nobody's. `any` (may be NULL): whether anybody's did, lost or not. */
pel_device *pel_holder_of(const pel_runtime *runtime, pel_place_set places, bool *any);
/* notes what is missing on its device */
pel_status pel_job_bring_in(pel_job *job, pel_allocation *allocation, uint64_t lo, uint64_t hi);
/* makes transfers of all that was noted */
pel_status pel_job_seal_in(pel_job *job, pel_error **error);
pel_status pel_job_transfer_in(pel_job *job, pel_mem *mem, uint64_t lo, uint64_t hi);
pel_status pel_job_bring_out(pel_job *job, pel_mem *mem, pel_allocation *allocation, uint64_t lo, uint64_t hi);
void pel_job_bring_home(pel_job *job);      /* makes transfers of job->drained */
void pel_count_used_in_place(const pel_allocation *allocation, uint64_t lo, uint64_t hi); /* in the counters of its buffers */
void pel_job_apply(pel_job *job);           /* residency and counters after a success */
void pel_job_clear(pel_job *job);           /* frees what hangs on it */

/* launch_ask.c, launch.c, launch_done.c, chunk.c; failures are noted in the command, too */
pel_model_family pel_launch_family(const pel_bound *bound); /* launches that cost alike but for their units */
pel_status pel_launch_decide(pel_runtime *runtime, const pel_bound *bound, const pel_share *shares, uint32_t share_count,
                             pel_protection *protection, pel_plan_result *result, pel_plan **plan, pel_error **error);
/* A plan for units [lo, hi) alone, without devices that failed `refused` chunks of the launch, or more (`failures`: by index). */
typedef struct pel_failures {
    const uint8_t *failures;
    uint8_t refused;
} pel_failures;
pel_status pel_launch_replan(pel_command *command, uint64_t lo, uint64_t hi, const pel_failures *without, pel_plan_result *result,
                             pel_error **error);
/* Of a runtime of fewer than PEL_DEVICE_BITS devices. What the models expect of it, its bytes being where they are needed:
 * nanoseconds by device, 0 where it cannot run or nobody knows. */
typedef struct pel_launch_estimate {
    double ns[PEL_DEVICE_BITS];
    uint64_t divided;           /* over these devices; 0: it would not be */
    double divided_ns;
    bool known;                 /* all devices that may run it have been seen */
} pel_launch_estimate;
void pel_launch_estimate_now(const pel_command *command, pel_launch_estimate *estimate);
/* The whole launch goes there. NO_DEVICE: it cannot, OUT_OF_MEMORY: nothing has changed. */
pel_status pel_launch_take_device(pel_command *command, uint32_t device, double predicted_ns);
/* What the models say of so many units there; 0: nothing. */
double pel_launch_predict(const pel_runtime *runtime, const pel_bound *bound, const pel_device *device, uint64_t units);
/* Why this device cannot run any part of the launch, or NULL. Static text, or composed and stored in *text for the caller to
 * free. */
const char *pel_launch_exclusion(const pel_bound *bound, const pel_device *device, char **text);
pel_status pel_launch_start(pel_command *command, bool *stalled);  /* plan, then fetch */
pel_status pel_launch_run(pel_command *command);                   /* chunks into command->jobs */
/* drain.c: what its successors want from its devices goes home with its chunks */
void pel_launch_drain(pel_command *command);
pel_status pel_launch_plan_now(pel_command *command, bool *exploring); /* plan and slices; failures are noted in the command */
/* Where two devices share a launch one may have a part on each side of the other's (planner/windows.c). */
static inline bool pel_slice_is_second(const pel_command *command, uint32_t slice) {
    return slice == 2 && command->slices[0].device == command->slices[2].device;
}
uint64_t pel_launch_fold_count(const pel_command *command);        /* partial results to merge; 0: none */
/* merges partial results: few at once, many on a worker without the lock */
void pel_launch_fold(pel_command *command);
void pel_launch_folded(pel_command *command);                      /* and what that means for residency */
void pel_launch_done(pel_command *command);                        /* actual times into plan and models */
/* pieces.c: chunks that begin while the launch runs */
void pel_launch_tail_begin(pel_command *command);
void pel_launch_chunk_done(pel_job *job);
double pel_piece_gap_ns(const pel_device *device); /* from the end of a chunk to the begin of the piece after it: usual */
/* all that is left becomes one failed chunk: nobody took any */
void pel_launch_tail_forfeit(pel_command *command, const pel_device *device);

pel_status pel_chunk_build(pel_job *job, const pel_plan_slice *slice, pel_error **error);
void pel_privates_free(pel_job *job);
void *pel_private_data(const pel_job *job, uint32_t arg); /* NULL: it has none for this argument */
void pel_job_cancel(pel_job *job); /* tells a kernel that polls it */

/* mapping.c. Whether the calling thread would wait for itself: it has a mapping that this waits for. */
bool pel_mapping_blocks(const pel_command *command);
bool pel_mapping_blocks_queue(const pel_queue *queue);
bool pel_mapping_blocks_memory(const pel_allocation *allocation);
bool pel_mapping_mine(const pel_runtime *runtime); /* it has one */
void pel_command_come_after(pel_command *command, const pel_command *before); /* which is not over */

/* chain.c: launches that are queued behind those that they depend on, on the same devices */
void pel_chain_added(pel_node *from, pel_node *to);      /* a predecessor more, which is a command */
void pel_chain_left(const pel_node *from, pel_node *to); /* and one less: `from` is over */
/* The same of parts of a replay (graph_parts.c): `after` comes after `before`, which leads now; `from` is over. */
void pel_chain_offer(pel_command *before, pel_command *after);
void pel_chain_left_part(const pel_command *from, pel_command *to);
uint32_t pel_chain_pending(const pel_command *command);  /* predecessors that are not over */
/* All commands that come after it, as they stand now; not tasks. */
void pel_chain_visit(const pel_command *command, void (*visit)(pel_command *after, void *user), void *user);
void pel_chain_stop(pel_command *command);               /* nobody may follow any more; who does already, waits */
void pel_chain_unplan(pel_command *command);             /* as before it was planned */
bool pel_chain_may_begin(const pel_command *command);    /* all that it waits for is with its devices */
/* true: its work is queued behind theirs; else it waits until they are over */
bool pel_chain_begin(pel_command *command);
void pel_chain_lead(pel_command *command);               /* it has been handed over: successors may follow */
/* it begun early and something before it failed: works that have not begun must not */
void pel_chain_spread_failure(pel_command *command);
void pel_chain_job_begun(pel_job *job);                  /* it is handed over now */
void pel_chain_job_over(pel_job *job);                   /* its work has completed */
bool pel_chain_holds(pel_command *command);              /* it ends later, with its predecessors */
void pel_chain_clear(pel_job *job);                      /* nothing may wait for it any more */

/* recall.c: a launch failed that others are queued behind, or that is itself; and launches that never began */
/* its device failed, and it may begin anew: by itself, or of its row */
bool pel_recall_may(const pel_command *command, const pel_job *job);
void pel_recall_begin(pel_job *job);                     /* it failed: those behind it are told not to run */
bool pel_recall_takes(pel_command *command);             /* all its works are back. True: the rest is done here */
void pel_recall_look(pel_runtime *runtime);              /* whether what is taken can be gone on with */
bool pel_recall_more(pel_command *command);              /* it ran well. True: it begins once more */
void pel_recall_forget(pel_command *command);            /* it is over */
pel_error *pel_recall_told(const pel_command *command, pel_status *status, pel_error *error); /* with the first failure */
/* "kernel: what its device said" */
pel_error *pel_job_story(const pel_job *job);

/* submit.c */
/* Memory for a command: `idle` (repeat.c) or NULL for another one. No name. NULL: no memory, and `idle` is gone. Under the
 * lock. */
pel_command *pel_command_renew(pel_queue *queue, pel_command *idle, pel_command_kind kind, int32_t priority);
void pel_command_give(pel_command *idle); /* gives it back */
bool pel_command_has_priority(const pel_command *command, int32_t priority); /* whether this one asked for would be its own */
/* without the lock */
pel_command *pel_command_new(pel_queue *queue, pel_command_kind kind, const char *name, int32_t priority, pel_error **error);
void pel_command_free(pel_command *command);
void pel_command_leave_hazards(pel_command *command); /* it is over, and if it failed the hazards remember */
/* `to` comes after the event's command; *failed: that is over, and failed. */
pel_status pel_follow_event(pel_runtime *runtime, pel_host_self *self, pel_node *to, const pel_event *event, bool data,
                            bool *failed);
pel_status pel_check_waits(const pel_queue *queue, const pel_event *const *waits, uint32_t count, pel_error **error);
void pel_command_discard(pel_command *command); /* the same for one that was never submitted; takes the lock */
/* retains */
pel_status pel_command_use(pel_command *command, pel_allocation *allocation, uint64_t lo, uint64_t hi, pel_access_mode mode);
pel_status pel_command_use_rectangle(pel_command *command, pel_allocation *allocation, uint64_t lo, uint64_t row_bytes,
                                     uint64_t rows, uint64_t pitch, pel_access_mode mode);
/* takes the lock; frees on failure */
pel_status pel_command_submit(pel_command *command, const pel_event *const *waits, uint32_t wait_count, pel_event **event);
/* The same with the lock held, which it releases: room was made, the waits are checked, and nobody records. */
pel_status pel_command_submit_locked(pel_command *command, const pel_event *const *waits, uint32_t wait_count, pel_event **event);
/* remembers the story of a refused submission; takes the lock */
pel_status pel_refuse(pel_queue *queue, pel_status status, pel_error *error);

/* finish.c: waits for what has been submitted to the queue so far, and for what tasks of that submit to it. *home: all is done
 * with that; *failure: of the queue, then. Both may be NULL. Takes the lock. */
pel_status pel_queue_drain(pel_queue *queue, bool *home, pel_status *failure);
/* Waits for the writers of these bytes, however they end, and fetches what there is. Takes the lock; frees the list. */
pel_status pel_bring_home(pel_runtime *runtime, pel_uses *uses);

#endif
