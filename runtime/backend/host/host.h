/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host backend: cores of this machine as a device. Its memory is the host's, so transfers and memory objects are nothing;
 * what is left is to run work on workers.
 *
 * Launches and loops ("jobs") run one at a time in submission order, each shared by all free workers: its units are dealt out as
 * one contiguous range per worker, an owner takes pieces from the front of its range, a worker without a range steals the back
 * half of the fullest one. Tasks run beside them, one worker each, by priority, then by submission.
 *
 * A thread that waits for a job may take part as a *guest* in place of the last worker, the *reserve*: a caller that launches and
 * waits then costs no wake-up and no worker has to share a core with it. The last worker's range and arena are the last *lane*;
 * the reserve and guests compete for it by one flag. As long as guests come, the reserve joins a job only when none has come for
 * a while.
 *
 *   queue.c    what waits: the jobs' queue and the order of tasks. Guarded by the device's lock.
 *   workers.c  the threads: taking, spinning, sleeping.
 *   wake.c     submitting, and waking whom it needs; the end of a work.
 *   place.c    where workers run.
 *   guest.c    a thread of the caller's in the last worker's place.
 *   reserve.c  the last worker, out of a submitter's way.
 *   job.c      one job: units, joining and leaving, pieces, stealing, the end.
 *   launch.c   from units to calls of the user's function; memory of a worker for one launch.
 *   near.c     from whom a worker steals first.
 *   team.c     regions that fork and join (parallel loops).
 *   fork.c     whom a region's owner calls.
 *   mailbox.c  calling one worker that spins.
 *   device.c   the vtable.
 *
 * Structures are laid out by writer: what a worker's owner and thieves both write lies on a cache line of its own.
 */
#ifndef PEL_BACKEND_HOST_H
#define PEL_BACKEND_HOST_H

#include "backend/backend.h"
#include "base/pause.h"
#include "backend/host/mailbox.h"
#include "backend/host/tasks.h"
#include "backend/host/team.h"
#include "topology/places.h"
#include <pthread.h>
#include <stdatomic.h>

enum { PEL_HOST_LINE = 64 };

typedef struct pel_host_device pel_host_device;

/* What waits. Jobs first in, first out; tasks of priority 0 likewise, all others in a pairing heap. */
typedef struct pel_host_queue {
    pel_work *first_job, *last_job;
    pel_work *first_task, *last_task;
    pel_work *heap;
    uint64_t sequence;
    size_t jobs, tasks; /* how many wait */
} pel_host_queue;

void pel_host_queue_push(pel_host_queue *queue, pel_work *work);
pel_work *pel_host_queue_pop_job(pel_host_queue *queue);  /* NULL: none */
pel_work *pel_host_queue_pop_task(pel_host_queue *queue); /* NULL: none */

/*
 * A launch's span in units. A unit is a row, `step` items along the split dimension, or, when there are few rows, one of `blocks`
 * parts of a row along `across`; unit = row * blocks + block. Cuts are at multiples of the local size. Loops are rows of `step`
 * iterations.
 */
typedef struct pel_host_units {
    pel_span span; /* normalised: no zeros in local, unused dimensions [0, 1) */
    uint64_t first_row, step;
    uint64_t first_block, block_step;
    uint32_t across;
    uint32_t rows, blocks, count;
} pel_host_units;

typedef struct pel_host_worker {
    /* Units [low 32 bits, high 32 bits) that nobody has claimed yet; the owner and thieves change it by compare-and-swap. */
    _Alignas(PEL_HOST_LINE) _Atomic uint64_t range;
    /* The rest is the owner's alone while a job runs. */
    _Alignas(PEL_HOST_LINE) pel_host_device *device;
    uint32_t index;
    bool task_turn;    /* a task goes before a job the next time, so that neither starves the other */
    bool node_turn;    /* the task engine's items before what waits under the lock, likewise */
    pel_host_runner *runner;
    uint64_t seen;     /* generation of the last job that it took part in */
    uint64_t prepared; /* generation that `arguments` and the private copies belong to */
    void *arena;       /* scratch, local memory, private copies, arguments; as allocated */
    size_t arena_bytes;
    void **arguments;
    void *scratch;
    pthread_t thread;
    bool started;      /* under the device's lock */
    uint32_t offers;     /* of all lanes, when it looked last */
    uint32_t interval;   /* looks at regions and jobs for one at tasks; 1 at least, or it would never look again */
    uint32_t moves_seen; /* when its list of victims was made */
    uint32_t visits, ran, own; /* the reserve's: counts when it considered standing back last (reserve.c) */
    uint32_t patience;         /* items that it runs before it considers that again */
    atomic_uint core;  /* where it was seen last; written by its thread, read by all */
    atomic_bool away;  /* runs an offer, and is counted as one that looks all the same: until somebody falls asleep */
    pel_host_mailbox mailbox;
} pel_host_worker;

/* The job that runs; fields but the atomics are written before the gate opens and after it has closed. */
typedef struct pel_host_job {
    pel_work *work;
    pel_host_units units;
    uint32_t lanes;                           /* dealt to: as many as workers were wanted */
    size_t arena_bytes;                       /* per worker */
    int64_t opened;
    atomic_int cpu;                           /* where it was opened */
    _Alignas(PEL_HOST_LINE) atomic_uint gate; /* PEL_HOST_OPEN | number of workers inside */
    _Atomic uint64_t generation;              /* counts jobs */
    atomic_bool failed;                       /* whoever sets it sets work->status and work->error */
    atomic_bool last_lane_free;               /* whoever takes it works with the last worker's range and arena */
    atomic_bool reserve_called;
} pel_host_job;
#define PEL_HOST_OPEN 0x80000000u

struct pel_host_device {
    pel_backend_device base;
    const pel_backend_env *env;
    uint32_t worker_count; /* that there is room for; threads are made when they are first wanted */
    pel_host_worker *workers;
    void *block; /* the device and its workers, as allocated */
    const pel_places *places; /* NULL: all workers are equally far from each other, as far as is known */
    pel_host_job job;
    pel_host_team teams[PEL_HOST_TEAMS];
    pel_host_tasks tasks; /* `asleep` repeats how many workers sleep and were not told to wake */

    _Alignas(PEL_HOST_LINE) pthread_mutex_t lock; /* guards down to `stop` */
    pthread_cond_t wake, wake_reserve, drained, unpark;
    pel_host_queue queue;
    uint32_t sleeping, tokens; /* workers asleep, and how many of them were told to wake */
    int submitter_cpu;         /* where the last work came from */
    int fork_cpu;              /* where the last one was who called others to a region */
    int64_t offer_core_at;     /* when a caller to whom nobody has come gives its core away next */
    int64_t fork_patience;
    bool has_barrier;          /* since it was opened: all processors can be fenced (base/barrier.h) */
    atomic_bool told_of_barrier; /* that it is refused by now */
    bool busy;                 /* a job was taken and has not completed */
    uint32_t in_tasks;         /* workers that run one */
    bool reserve_asleep, reserve_token;
    bool reserve_stands;       /* back: asleep for a moment, and not to be woken for tasks */
    uint32_t parked;           /* workers that are not wanted now, those without a thread included */
    bool stop;

    /* Copies for workers that look without the lock. */
    _Alignas(PEL_LINE_PAIR) atomic_size_t tasks_waiting, jobs_waiting;
    atomic_bool job_busy;
    atomic_bool after_alone; /* the last job was an isolated one */
    atomic_bool background; /* nothing waits but tasks of negative priority */
    atomic_bool urgent;     /* a task of positive priority waits */
    atomic_uint attending; /* those that spin, or run a region that they met while they did */
    atomic_bool guests; /* the last lane went to a guest, or one found it taken */
    atomic_uint active; /* how many workers are wanted: the first ones and the last */
    atomic_uint nudges;
    atomic_uint lettered; /* workers that await the next letter and are not counted among those that look */
    atomic_bool letters; /* have been sent: who falls asleep looks for one, and fences all processors before that */
    atomic_uint moves; /* a worker was found far from where it was, or their number has changed */
    atomic_size_t pending; /* submitted and not yet completed; 0 is announced under the lock */
};

/* Whether each worker has a core of its own. */
static inline bool pel_host_is_bound(const pel_host_device *device) {
    return device->base.facts->core_set_declared || (device->env->runtime_flags & PEL_RUNTIME_BIND_WORKERS) != 0;
}

/* workers.c */
pel_status pel_host_workers_start(pel_host_device *device, pel_error **error);
void pel_host_workers_stop(pel_host_device *device);
void pel_host_submit(pel_host_device *device, pel_work *work);
void pel_host_begin(pel_host_device *device); /* backend.h: wakes for what was submitted `soon` */
void pel_host_rouse(pel_host_device *device); /* backend.h */
/* 1 to worker_count; IO: no thread more could be made, nothing has changed */
pel_status pel_host_set_active(pel_host_device *device, uint32_t count);
bool pel_host_is_parked(const pel_host_worker *worker);
void pel_host_wake_one(void *device); /* for the task engine */
/* Whether the calling thread is a worker of this device. Any device, also another backend's. */
bool pel_host_is_worker(const pel_backend_device *device);
/* A thread that waits works on the queued or the running job, unless that runs alone. False: there was nothing for it to do. */
bool pel_host_help(pel_host_device *device);
/*
 * Inside a task that waits. work: a worker does whatever it finds, a guest runs an item; false: nothing was found. Who would
 * sleep counts the nudges first, then looks whether what it waits for is over, then sleeps as workers do: until there is work, or
 * a nudge, which whoever may have ended something gives.
 */
bool pel_host_work_inside(pel_host_device *device, pel_host_runner *runner);
unsigned pel_host_nudges(const pel_host_device *device);
bool pel_host_sleep_inside(pel_host_device *device, unsigned nudges); /* false: this thread is no worker */
void pel_host_nudge(pel_host_device *device);
/* A piece of a launch, loop or region on this thread's stack. in_piece: of that device, however deep; such a thread must not
 * wait for the device's commands. */
typedef struct pel_host_piece {
    const struct pel_host_piece *outer;
    const pel_backend_device *device;
} pel_host_piece;
void pel_host_piece_enter(pel_host_piece *piece, const pel_backend_device *device);
void pel_host_piece_leave(const pel_host_piece *piece);
bool pel_host_in_piece(const pel_backend_device *device);
/*
 * For regions. fork: opens it to workers that are awake; NULL: there is nobody to come, or no place. wake: sleepers, too.
 * is_attended: a guess whether a worker looks for one. mailboxes: takes those of `wanted` workers that look at them; false: there
 * are not so many, and none is taken. posted: behind the letters; wakes whoever fell asleep meanwhile.
 */
pel_host_team *pel_host_fork(pel_host_device *device, uint32_t wanted, bool outside, pel_host_team_fn run, void *region);
bool pel_host_take_mailboxes(pel_host_device *device, uint32_t wanted, bool outside, pel_host_mailbox **boxes);
void pel_host_letters_posted(pel_host_device *device, uint32_t count, pel_host_mailbox *const *boxes);
void pel_host_fork_wake(pel_host_device *device, uint32_t most);
bool pel_host_is_attended(const pel_host_device *device);
/* Workers that have run a letter and await the next one are not counted among those that look. Up to `most` of them shall look at
 * everything now, or see to it that somebody does before they run another letter. Returns how many. */
uint32_t pel_host_call_back(pel_host_device *device, size_t most);
/* Tells the reserve to wake. Not under the lock. */
void pel_host_wake_reserve(pel_host_device *device);
/* Tells as many sleepers to wake as the job that `lane` opened has use for. Not under the lock. */
void pel_host_wake_for_job(pel_host_device *device, const pel_host_worker *lane);

/* The task engine of a host device; NULL: another backend's. Forget: the queue that ran its items is gone. */
pel_host_tasks *pel_host_tasks_of(pel_backend_device *device);
void pel_host_tasks_forget(pel_host_tasks *tasks);
/* Whether a thread of the caller may run tasks: not where workers have cores of their own. */
bool pel_host_may_help(const pel_backend_device *device);
/* A moment between two looks; the shortest there is. */
void pel_host_pause(void);
/* Under the lock, by who falls asleep, once that is told and before it looks: who is away is counted no more. */
void pel_host_count_off(pel_host_device *device);

/* job.c: runs a job that was taken, as far as this lane can. True when it ended here: complete it. */
bool pel_host_job_run(pel_host_worker *lane, uint64_t *seen, pel_work *work);
/* Takes part in the running job if it is open and has a lane left; a guest not in one that runs alone, because it may hang.
 * *ended as above. False: there was nothing to join. */
bool pel_host_job_join(pel_host_worker *lane, bool guest, uint64_t *seen, bool *ended);
static inline bool pel_host_is_last(const pel_host_worker *worker) {
    return worker->index + 1 == worker->device->worker_count;
}

/*
 * near.c. init: before the workers start. look: by a worker that has woken. weight: by how much more a range of `other` is worth
 * to whoever has `lane`; 1: nothing is known. order_victims fills list[runners - 1]: workers by distance[worker], equals in a
 * ring from `self` on, then guests. home_core: where a bound worker runs; PEL_CORE_LIMIT: unknown.
 */
void pel_host_near_init(pel_host_device *device);
void pel_host_near_look(pel_host_worker *worker);
uint32_t pel_host_near_weight(const pel_host_worker *lane, const pel_host_worker *other);
void pel_host_order_victims(uint16_t *list, uint32_t self, uint32_t workers, uint32_t runners, const uint8_t *distance);
uint32_t pel_host_home_core(const pel_host_device *device, uint32_t worker);

/* launch.c */
pel_status pel_host_units_of_launch(const pel_span *span, uint32_t workers, bool groupwise, pel_host_units *units);
void pel_host_units_of_loop(uint64_t count, uint64_t grain, pel_host_units *units);
/* Bytes of a worker's arena for this launch. False: more than an address space. */
bool pel_host_arena_bytes(const pel_work *work, size_t *bytes);
/* Makes scratch, arguments and private copies of a launch ready in the worker's arena. False: no memory. */
bool pel_host_arena_prepare(pel_host_worker *worker, const pel_work *work, size_t bytes);
/* Calls the host function for units [lo, hi). */
pel_status pel_host_launch_units(pel_host_worker *worker, const pel_work *work, const pel_host_units *units, uint32_t lo,
                                 uint32_t hi);
/* A launch that is called in one piece, without memory of a worker's own; the kernel may go meanwhile. False: an empty span, or
 * one that cannot be. */
typedef struct pel_host_whole {
    pel_host_fn host; /* NULL: by groups */
    pel_host_group_fn group;
    void *user;
    pel_span span; /* the whole launch's, normalised */
} pel_host_whole;
bool pel_host_whole_of(pel_host_whole *whole, const pel_kernel_image *kernel, const pel_span *span);
pel_status pel_host_run_whole(const pel_host_whole *whole, void *const *arguments);
/* Folds the private copies of all workers that were prepared for `generation`, in worker order. */
void pel_host_fold_private(pel_host_device *device, const pel_work *work, uint64_t generation);

#endif
