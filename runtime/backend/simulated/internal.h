/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the simulated backend share. */
#ifndef PEL_BACKEND_SIMULATED_INTERNAL_H
#define PEL_BACKEND_SIMULATED_INTERNAL_H

#include "backend/backends.h"
#include "backend/simulated/machine.h"

#include <pthread.h>

/* Works that wait for their time, soonest first; `ended`, decided at submission, is the time. */
typedef struct pel_simulated_lane {
    pel_work *first, *last;
} pel_simulated_lane;

typedef struct pel_simulated_driver {
    pel_backend_device base;
    pel_machine *machine;
    const pel_allocator *allocator;
    const pel_simulated_device *spec;
    struct pel_simulated_driver *next;   /* open drivers of the machine */
    pel_simulated_lane jobs, tasks;      /* machine->lock guards the rest */
    int64_t free_at;                     /* when the last job submitted so far ends */
    uint64_t random;                     /* state of the device's own stream */
    uint64_t chunks;                     /* launches submitted so far */
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
    pthread_mutex_t lock;
    pthread_cond_t delivered;
    pel_simulated_driver *drivers;       /* guarded by lock, as are the following */
    int64_t now;
    bool delivering;
    pthread_t deliverer;
};

/* Index of the description of the device with that id; spec_count when there is none. */
uint32_t pel_machine_find(const pel_machine *machine, const char *id);

/* timing.c: decides when a work begins and ends and whether it fails; sets its times and status. Needs machine->lock. */
void pel_simulated_schedule(pel_simulated_driver *driver, pel_work *work);
void pel_simulated_seed(pel_simulated_driver *driver, uint64_t seed, uint32_t index);

/* execute.c: the effects of a work whose time has come. */
void pel_simulated_execute(pel_simulated_driver *driver, pel_work *work);

/* Memory of a simulated device: the host's own, or a private copy. */
typedef struct pel_simulated_mem {
    pel_mem base;
    unsigned char *data;                 /* what the device sees of base.host */
    uint64_t owned;                      /* bytes of private memory; 0 for views and shared memory */
} pel_simulated_mem;

#endif
