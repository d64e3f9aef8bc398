/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A launch in steps on three queues: one uploads, one computes, one downloads.
 *
 * The invariant: a command is enqueued only when all that it depends on has been seen to end well, so that no event of a failed
 * command is ever waited for (PoCL before 7 never comes back from that). The price is a look by the host between an upload and
 * its launch; it is hidden as long as the device has another step to compute meanwhile. Each phase of a step is a state; one loop
 * moves every step on as far as it can go, oldest first, and naps when nothing moved. Rejected: wait lists, which would need no
 * looks, but spread failures in ways that each driver has of its own.
 */
#include "backend/opencl/staging.h"

#include <time.h>

enum { MOST_SLOTS = 16, NAP_NS = 20000, DRAIN_NS = 1000000000 };

typedef enum step_phase { STEP_IDLE, STEP_IN, STEP_READY, STEP_RUN, STEP_DONE, STEP_OUT } step_phase;

typedef struct slot {
    step_phase phase;
    uint32_t step;            /* index */
    uint32_t sent;            /* transfers of this phase that are enqueued */
    cl_event events[PEL_CL_STEP_EVENTS];
    uint32_t count;
    int64_t began;            /* of its launch, as seen */
    pel_cl_ring *ring;        /* its transfers of this phase go through it; NULL: they are commands of ours */
    pel_cl_load load;
} slot;

typedef struct pipeline {
    pel_cl_device *device;
    pel_work *work;
    slot slots[MOST_SLOTS];
    uint32_t depth, next, launched, returned; /* steps that have begun to come in, were launched, began to go home */
    uint32_t over;
    int64_t last_run;         /* when the launch before was seen to end */
} pipeline;

static int64_t now(const pel_cl_device *device) { return pel_clock_now(device->env->clock); }

static void drop(slot *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        clReleaseEvent(s->events[i]);
    }
    s->count = 0;
}

/* > 0: something of the slot's phase is under way; 0: all ended well; < 0: a code. */
static cl_int look(const slot *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        cl_int state = CL_QUEUED;
        cl_int code = clGetEventInfo(s->events[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
        if (code != CL_SUCCESS || state < 0) {
            return code != CL_SUCCESS ? code : state;
        }
        if (state > 0) {
            return 1;
        }
    }
    return 0;
}

static pel_status failed(const pipeline *p, cl_int code, const char *what) {
    return pel_cl_fail(p->device, &p->work->error, code, "the command's event", "%s", what);
}

/* As many transfers of a list as the slot has room for. */
static pel_status send(pipeline *p, slot *s, const pel_transfer *list, uint32_t count, bool in) {
    cl_command_queue queue = in ? p->device->upload : p->device->download;
    for (; s->sent < count && s->count < PEL_CL_STEP_EVENTS; s->sent++) {
        if (list[s->sent].bytes == 0) {
            continue;
        }
        pel_status status = pel_cl_enqueue_transfer(p->device, queue, &list[s->sent], in, &s->events[s->count], &p->work->error);
        if (status != PEL_OK) {
            return status;
        }
        s->count++;
    }
    clFlush(queue);
    return PEL_OK;
}

static pel_status start_launch(pipeline *p, slot *s) {
    const pel_step *step = &p->work->steps[s->step];
    pel_work part = {.kind = PEL_WORK_LAUNCH,
                     .kernel = p->work->kernel,
                     .args = step->args,
                     .span = step->span,
                     .chunked = true,
                     .group = p->work->group,
                     .owner = p->work->owner,
                     .compiling = p->work->compiling};
    bool cold = false;
    pel_status status = pel_cl_enqueue_step(p->device, &part, &cold, s->events, &s->count, &p->work->error);
    p->work->cold = p->work->cold || cold;
    clFlush(p->device->queue);
    s->began = now(p->device);
    s->phase = STEP_RUN;
    p->launched++;
    return status;
}

/* The same through pinned memory, by a thread that needs nobody to look: begun with the phase, and over when all of it is. */
static pel_status move_staged(pipeline *p, slot *s, const pel_transfer *list, uint32_t count, bool *over) {
    if (s->sent == 0) {
        s->load = (pel_cl_load){.list = list, .count = count, .sensitive = p->work->sensitive};
        s->sent = count;
        pel_cl_ring_give(s->ring, &s->load);
        return PEL_OK;
    }
    *over = atomic_load_explicit(&s->load.over, memory_order_acquire);
    if (*over) {
        s->ring = NULL;
    }
    if (*over && s->load.status != PEL_OK) {
        p->work->error = s->load.error;
        return s->load.status;
    }
    return PEL_OK;
}

/* Moves a transfer phase on; *over: it has ended. */
static pel_status move_transfers(pipeline *p, slot *s, bool in, bool *over) {
    const pel_step *step = &p->work->steps[s->step];
    const uint32_t count = in ? step->in_count : step->out_count;
    const pel_transfer *list = in ? step->in : step->out;
    *over = false;
    if (s->sent == 0 && !s->ring) {
        s->ring = pel_cl_ring_for(p->device, list, count, in);
    }
    if (s->ring) {
        return move_staged(p, s, list, count, over);
    }
    const cl_int state = look(s);
    if (state < 0) {
        return failed(p, state, in ? "a transfer to the device failed" : "a transfer from the device failed");
    }
    if (state > 0) {
        return PEL_OK;
    }
    drop(s);
    *over = s->sent == count;
    return *over ? PEL_OK : send(p, s, list, count, in);
}

/* One look at one slot; *moved: its state changed. */
static pel_status advance(pipeline *p, slot *s, bool *moved) {
    const step_phase before = s->phase;
    pel_status status = PEL_OK;
    bool over = false;
    cl_int state;
    switch (s->phase) {
    case STEP_IDLE: break;
    case STEP_IN:
        status = move_transfers(p, s, true, &over);
        s->phase = over ? STEP_READY : STEP_IN;
        break;
    case STEP_READY: /* launches in the order of the steps */
        status = p->launched == s->step ? start_launch(p, s) : PEL_OK;
        break;
    case STEP_RUN:
        state = look(s);
        if (state < 0) {
            status = failed(p, state, "the launch failed");
        } else if (state == 0) {
            const int64_t ended = now(p->device);
            p->work->computed += ended - (s->began > p->last_run ? s->began : p->last_run);
            p->last_run = ended;
            drop(s);
            s->sent = 0;
            s->phase = STEP_DONE;
        }
        break;
    case STEP_DONE:
        if (p->returned == s->step) {
            p->returned++;
            s->phase = STEP_OUT;
        }
        break;
    case STEP_OUT:
        status = move_transfers(p, s, false, &over);
        s->phase = over ? STEP_IDLE : STEP_OUT;
        p->over += over ? 1u : 0u;
        break;
    }
    *moved = *moved || s->phase != before;
    return status;
}

/* The next steps take the slots that are free. */
static bool admit(pipeline *p) {
    bool any = false;
    for (; p->next < p->work->step_count && p->slots[p->next % p->depth].phase == STEP_IDLE; p->next++, any = true) {
        slot *s = &p->slots[p->next % p->depth];
        s->step = p->next;
        s->sent = 0;
        s->phase = STEP_IN;
    }
    return any;
}

/* After a failure: nothing of the work may touch memory any more. */
static void drain(pipeline *p) {
    pel_cl_device *device = p->device;
    cl_command_queue *queues[] = {&device->upload, &device->download};
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + DRAIN_NS;
    clFlush(device->queue);
    for (uint32_t i = 0; i < p->depth; i++) {
        if (p->slots[i].ring) {
            pel_cl_ring_give_up(&p->slots[i].load);
        }
    }
    for (uint32_t i = 0; i < p->depth; i++) {
        if (p->slots[i].ring) {
            pel_cl_ring_await(p->slots[i].ring, &p->slots[i].load);
            pel_error_destroy(p->slots[i].load.error);
        }
        while (look(&p->slots[i]) > 0 && pel_clock_now(&pel_clock_monotonic) < until) {
            (void)nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        }
        drop(&p->slots[i]);
    }
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        clReleaseCommandQueue(*queues[i]);
        *queues[i] = NULL;
    }
    (void)pel_cl_renew_queue(device, NULL);
}

static pel_status make_queues(pel_cl_device *device, pel_error **error) {
    cl_command_queue *queues[] = {&device->upload, &device->download};
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        cl_int code = CL_SUCCESS;
        if (*queues[i]) {
            continue;
        }
        *queues[i] = clCreateCommandQueue(device->context, device->id, 0, &code);
        if (!*queues[i] || code != CL_SUCCESS) {
            *queues[i] = NULL;
            return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateCommandQueue",
                               "no command queue for transfers");
        }
    }
    return PEL_OK;
}

pel_status pel_cl_run_steps(pel_cl_device *device, pel_work *work) {
    pipeline p = {.device = device, .work = work, .depth = work->step_depth < MOST_SLOTS ? work->step_depth : MOST_SLOTS};
    work->computed = 0;
    pel_status status = make_queues(device, &work->error);
    if (status != PEL_OK) {
        return status;
    }
    while (status == PEL_OK && p.over < work->step_count) {
        bool moved = admit(&p);
        for (uint32_t i = 0; i < p.depth && status == PEL_OK; i++) { /* in the order of the steps */
            status = advance(&p, &p.slots[(p.over + i) % p.depth], &moved);
        }
        if (!moved && status == PEL_OK) {
            (void)nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        }
    }
    if (status != PEL_OK) {
        drain(&p);
    }
    return status;
}
