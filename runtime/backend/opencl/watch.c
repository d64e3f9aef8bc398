/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adopted cl_events: a thread of the device looks at them until they are complete and then ends the events that stand for them.
 *
 * Callbacks would be quicker, and are rejected: they come on a driver's own thread, and on PoCL before 7 never for commands that
 * fail. So a thread looks, in growing steps, while there is something to look at, and sleeps without an alarm otherwise. It is
 * started by the first adoption.
 */
#include "backend/opencl/internal.h"

#include <string.h>
#include <time.h>

#define FIRST_NAP_NS 20000
#define LONGEST_NAP_NS 2000000

typedef struct pel_cl_watched {
    struct pel_cl_watched *next;
    cl_event opencl_event; /* retained */
    pel_event *event;      /* retained */
} pel_cl_watched;

struct pel_cl_watch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pel_cl_watched *list; /* (lock) new ones; the thread takes them over */
    bool closing;
    pthread_t thread;
};

/* > 0: under way. */
static cl_int state_of(cl_event event) {
    cl_int state = CL_QUEUED;
    cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return code == CL_SUCCESS ? state : code < 0 ? code : CL_INVALID_EVENT;
}

static void forget(const pel_cl_device *device, pel_cl_watched *w) {
    clReleaseEvent(w->opencl_event);
    pel_event_release(w->event);
    pel_free(device->env->allocator, w);
}

/* Ends those that are complete; true: some were. */
static bool look(const pel_cl_device *device, pel_cl_watched **list) {
    bool any = false;
    for (pel_cl_watched **link = list; *link;) {
        pel_cl_watched *w = *link;
        cl_int state = state_of(w->opencl_event);
        if (state > 0) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        /* BUSY: the caller has ended it already */
        (void)pel_event_set_status(w->event, state == CL_COMPLETE ? PEL_OK : pel_cl_status(state));
        forget(device, w);
        any = true;
    }
    return any;
}

static void nap(int64_t *nanoseconds) {
    const struct timespec time = {0, *nanoseconds};
    (void)nanosleep(&time, NULL);
    *nanoseconds = *nanoseconds < LONGEST_NAP_NS ? *nanoseconds + *nanoseconds / 4 : LONGEST_NAP_NS;
}

static void take_over(struct pel_cl_watch *watch, pel_cl_watched **mine) {
    pel_cl_watched **last = mine;
    while (*last) {
        last = &(*last)->next;
    }
    *last = watch->list;
    watch->list = NULL;
}

static void *run(void *argument) {
    pel_cl_device *device = argument;
    struct pel_cl_watch *watch = device->watch;
    pel_cl_watched *mine = NULL;
    int64_t pause = FIRST_NAP_NS;
    pthread_mutex_lock(&watch->lock);
    while (!watch->closing) {
        if (watch->list) {
            take_over(watch, &mine);
            pause = FIRST_NAP_NS;
        }
        if (!mine) {
            pthread_cond_wait(&watch->wake, &watch->lock);
            continue;
        }
        pthread_mutex_unlock(&watch->lock);
        if (!look(device, &mine)) {
            nap(&pause);
        }
        pthread_mutex_lock(&watch->lock);
    }
    take_over(watch, &mine);
    pthread_mutex_unlock(&watch->lock);
    for (pel_cl_watched *next; mine; mine = next) { /* called off by the caller, else the runtime would still be there */
        next = mine->next;
        forget(device, mine);
    }
    return NULL;
}

/* (ready_lock) */
static pel_status start(pel_cl_device *device, pel_error **error) {
    struct pel_cl_watch *watch = pel_alloc_zero(device->env->allocator, 1, sizeof *watch);
    if (!watch) {
        return pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory to watch an event");
    }
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->wake, NULL);
    device->watch = watch;
    int code = pel_cl_start_thread(&watch->thread, run, device);
    if (code != 0) {
        device->watch = NULL;
        pthread_cond_destroy(&watch->wake);
        pthread_mutex_destroy(&watch->lock);
        pel_free(device->env->allocator, watch);
        pel_story story = {
            .device = device->label, .call = "pthread_create", .code = code, .advice = "raise the limit of threads"};
        return pel_fail(error, device->env->allocator, PEL_OUT_OF_MEMORY, &story, "no thread to watch an event: %s",
                        strerror(code));
    }
    return PEL_OK;
}

pel_status pel_cl_watch(pel_cl_device *device, cl_event opencl_event, pel_event *event, pel_error **error) {
    pthread_mutex_lock(&device->ready_lock);
    pel_status status = device->watch ? PEL_OK : start(device, error);
    pthread_mutex_unlock(&device->ready_lock);
    if (status != PEL_OK) {
        return status;
    }
    pel_cl_watched *w = pel_alloc_zero(device->env->allocator, 1, sizeof *w);
    if (!w) {
        return pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory to watch an event");
    }
    cl_int code = clRetainEvent(opencl_event);
    if (code != CL_SUCCESS) {
        pel_free(device->env->allocator, w);
        return pel_cl_fail(device, error, code, "clRetainEvent", "an adopted event cannot be retained");
    }
    *w = (pel_cl_watched){.opencl_event = opencl_event, .event = pel_event_retain(event)};
    pthread_mutex_lock(&device->watch->lock);
    w->next = device->watch->list;
    device->watch->list = w;
    pthread_mutex_unlock(&device->watch->lock);
    pthread_cond_signal(&device->watch->wake);
    return PEL_OK;
}

void pel_cl_watch_end(pel_cl_device *device) {
    struct pel_cl_watch *watch = device->watch;
    if (!watch) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->closing = true;
    pthread_mutex_unlock(&watch->lock);
    pthread_cond_signal(&watch->wake);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    pel_free(device->env->allocator, watch);
    device->watch = NULL;
}
