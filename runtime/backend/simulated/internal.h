/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the simulated backend share. */
#ifndef PEL_BACKEND_SIMULATED_INTERNAL_H
#define PEL_BACKEND_SIMULATED_INTERNAL_H

#include "backend/backends.h"
#include "backend/simulated/cost.h"
#include "backend/simulated/machine.h"

#include <pthread.h>

#define PEL_SIMULATED_DEPTH 16u /* steps of one work under way at once, at most */

/*
 * Works in the order of submission; the first of a lane of tasks is over at its `ended`, the first of a lane of jobs when it has
 * started.
 */
typedef struct pel_simulated_lane {
    pel_work *first, *last;
} pel_simulated_lane;

#define PEL_SIMULATED_NEVER INT64_MAX /* pel_work.ended of one that hangs */

typedef struct pel_simulated_driver {
    pel_backend_device base;
    pel_machine *machine;
    const pel_allocator *allocator;
    const pel_simulated_device *spec;
    struct pel_simulated_driver *next, *before; /* open drivers of the machine */
    uint64_t number;                     /* of opening: decides ties */
    struct pel_simulated_driver *peer;   /* a ring of those with its core group; itself where there are no others */
    struct pel_simulated_driver *idle_next, *idle_before; /* events.c: drivers with a job that has not started */
    bool idle;
    int64_t event;                       /* when the soonest of its works is over */
    uint32_t at;                         /* in machine->events, from 1 on; 0: nothing of it will ever be over */
    pel_simulated_lane jobs, tasks;      /* machine->lock guards the rest */
    bool running;                        /* the first job has started */
    double remaining;                    /* ns that it needs from `since` on when nobody disturbs it */
    int64_t since;
    double stretch;                      /* how many times longer it takes beside those that run now */
    int64_t returning;                   /* ns of its transfers out */
    pel_simulated_stream stream;         /* the device's own luck */
    uint64_t chunks;                     /* launches started so far */
    uint64_t memory_used;
    size_t pending;                      /* submitted, complete() not yet returned */
    bool lost;
} pel_simulated_driver;

struct pel_machine {
    pel_allocator allocator;
    pel_clock clock;
    pel_simulated_device *specs;         /* the host first */
    uint32_t spec_count;
    uint64_t seed;
    pel_simulated_work_fn work;
    void *work_user;
    pthread_mutex_t lock;
    pthread_cond_t delivered;
    pel_simulated_driver *drivers, *last_driver; /* guarded by lock, as are the following */
    uint32_t open;                       /* how many they are */
    uint64_t opened;                     /* ever */
    pel_simulated_driver **events;       /* a heap by event, then number; room for all open ones */
    uint32_t event_count, event_room;
    pel_simulated_driver *idle;
    uint32_t running;                    /* drivers whose first job has started */
    uint64_t poisoned;                   /* bytes of private memory that were, of all devices */
    uint32_t disturbed;                  /* open drivers that others slow down */
    int64_t now;
    uint64_t submissions;
    int64_t alarm;                       /* INT64_MAX: none */
    void (*ring)(void *user);
    void *ring_user;
    bool delivering;
    pthread_t deliverer;
};

/* Index of the description of the device with that id; spec_count when there is none. */
uint32_t pel_machine_find(const pel_machine *machine, const char *id);

/*
 * timing.c, needs machine->lock: starts every job that can start and decides when those that run end, now that a work was added
 * or is over.
 */
void pel_simulated_settle(pel_machine *machine);

/* The same, before the work is in its lane: when it could begin. */
int64_t pel_simulated_soonest_begin(const pel_simulated_driver *driver, const pel_work *work);

/*
 * events.c, needs machine->lock. A driver joins when it is opened (false: no memory) and leaves when it is closed; `changed`
 * after any change of its lanes, of whether its first job runs, or of when a work ends.
 */
bool pel_simulated_join(pel_machine *machine, pel_simulated_driver *driver);
void pel_simulated_leave(pel_machine *machine, pel_simulated_driver *driver);
void pel_simulated_changed(pel_simulated_driver *driver);
pel_simulated_driver *pel_simulated_soonest(const pel_machine *machine); /* NULL: nothing will ever be over */

/* execute.c: the effects of a work whose time has come. */
void pel_simulated_execute(pel_simulated_driver *driver, pel_work *work);

/* Memory of a simulated device: the host's own, or a private copy. */
typedef struct pel_simulated_mem {
    pel_mem base;
    unsigned char *data;                 /* what the device sees of base.host */
    uint64_t owned;                      /* bytes of private memory; 0 for views and shared memory */
    bool poisoned;                       /* at birth */
} pel_simulated_mem;

#endif
