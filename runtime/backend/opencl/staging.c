/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pinned staging rings: what goes to a device, or comes from it, passes through memory that the driver has locked, piece by
 * piece, on a thread of its own.
 *
 * The problem: a "non-blocking" copy of pageable memory blocks whoever enqueues it on the drivers of discrete devices, and moves
 * at half the link's rate, so transfers would run neither beside each other nor beside a launch. The memory of the callers cannot
 * be locked: it is not ours, and locking costs more than a copy. So each direction has a ring of slots in one mapped
 * CL_MEM_ALLOC_HOST_PTR object: while one is filled by the thread, the device reads the others. The invariant: the caller's
 * memory is touched by this thread only, and only while the load is under way; a slot is used again when the command that used it
 * was *seen* to end well (nothing is ever enqueued behind an event that may fail). After a failure the ring is taken down when
 * its last command has ended, or has had a second for that, and made anew for the next load; the memory of one whose commands do
 * not end is left to the driver, which may still be using it. Where there is no pinned memory, or no thread, transfers are
 * enqueued directly: slower, never wrong. Rejected: pinning with USE_HOST_PTR for each transfer, which costs a system call per
 * page and alignment that nobody promises; one thread for both directions, whose copies would wait for each other. A driver that
 * refused is not asked again before some loads have gone without, twice as many each time.
 */
#include "backend/opencl/staging.h"
#include "backend/opencl/flight.h"

#include <string.h>
#include <time.h>

enum {
    SLOTS = PEL_STAGING_SLOTS / 2,        /* one is filled, one is under way, two for the jitter of either side */
    FIRST_PATIENCE = 64, /* a refusal costs three calls, of which one may scan an address space; a load without, half a rate */
    MOST_DOUBLINGS = 10,
    SMALL_SHARE = 16, /* lists below this part of a slot go directly: drivers copy those into the command itself */
    NAP_NS = 10000,
    DRAIN_NS = 1000000000 /* as launch.c: what a failed load's other commands get to end */
};

/* A part of a transfer that fits into a slot: whole rows, or a part of one. */
typedef struct piece {
    const pel_transfer *transfer;
    uint64_t offset, bytes, rows; /* from the transfer's begin */
} piece;

typedef struct slot {
    unsigned char *memory;
    piece piece;
    cl_event event; /* NULL: free */
} slot;

struct pel_cl_ring {
    pel_cl_device *device;
    bool in;
    cl_command_queue queue;
    cl_mem pinned;
    unsigned char *mapped;
    slot slots[SLOTS];
    uint32_t refusals; /* in a row */
    uint32_t patience; /* so many loads go without before it is asked again */
    bool broken; /* (lock) a load failed: it is made anew */
    bool stuck;  /* a command of such a load does not end: its memory stays (written before `broken`) */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, over;
    pel_cl_load *head, *tail; /* (lock) the first is under way */
    bool closing;             /* (lock) */
};

/* ---- pieces ---- */

typedef struct cursor {
    const pel_cl_load *load;
    uint32_t transfer;
    uint64_t row, at; /* within the transfer, within the row */
    uint64_t room;    /* of a slot */
} cursor;

static bool next_piece(cursor *c, piece *out) {
    while (c->transfer < c->load->count &&
           (c->load->list[c->transfer].bytes == 0 || c->row == pel_transfer_rows(&c->load->list[c->transfer]))) {
        c->transfer++;
        c->row = c->at = 0;
    }
    if (c->transfer == c->load->count) {
        return false;
    }
    const pel_transfer *t = &c->load->list[c->transfer];
    const uint64_t rows = pel_transfer_rows(t), left = t->bytes - c->at;
    *out = (piece){.transfer = t, .offset = c->row * t->pitch + c->at, .bytes = left < c->room ? left : c->room, .rows = 1};
    if (c->at == 0 && t->bytes <= c->room) {
        out->rows = rows - c->row < c->room / t->bytes ? rows - c->row : c->room / t->bytes;
        c->row += out->rows;
        return true;
    }
    c->at += out->bytes;
    if (c->at == t->bytes) {
        c->row++;
        c->at = 0;
    }
    return true;
}

/* Between the caller's memory, whose rows are a pitch apart, and a slot, where they are close together. */
static void copy(const slot *s, bool in) {
    unsigned char *host = pel_transfer_host(s->piece.transfer) + s->piece.offset, *packed = s->memory;
    for (uint64_t r = 0; r < s->piece.rows; r++, host += s->piece.transfer->pitch, packed += s->piece.bytes) {
        memcpy(in ? packed : host, in ? host : packed, (size_t)s->piece.bytes);
    }
}

static cl_int enqueue_rows(const pel_cl_ring *ring, slot *s, uint64_t offset) {
    const size_t pitch = (size_t)s->piece.transfer->pitch, packed = (size_t)s->piece.bytes;
    const size_t origin[3] = {(size_t)(offset % pitch), (size_t)(offset / pitch), 0}, zero[3] = {0, 0, 0},
                 region[3] = {packed, (size_t)s->piece.rows, 1};
    cl_mem cl = ((pel_cl_mem *)s->piece.transfer->mem)->cl;
    return ring->in ? clEnqueueWriteBufferRect(ring->queue, cl, CL_FALSE, origin, zero, region, pitch, 0, packed, 0, s->memory, 0,
                                               NULL, &s->event)
                    : clEnqueueReadBufferRect(ring->queue, cl, CL_FALSE, origin, zero, region, pitch, 0, packed, 0, s->memory, 0,
                                              NULL, &s->event);
}

static cl_int enqueue_bytes(const pel_cl_ring *ring, slot *s, uint64_t offset) {
    cl_mem cl = ((pel_cl_mem *)s->piece.transfer->mem)->cl;
    const size_t bytes = (size_t)s->piece.bytes;
    return ring->in ? clEnqueueWriteBuffer(ring->queue, cl, CL_FALSE, (size_t)offset, bytes, s->memory, 0, NULL, &s->event)
                    : clEnqueueReadBuffer(ring->queue, cl, CL_FALSE, (size_t)offset, bytes, s->memory, 0, NULL, &s->event);
}

static pel_status start(pel_cl_ring *ring, slot *s, pel_error **error) {
    const uint64_t offset = s->piece.transfer->offset + s->piece.offset;
    if (ring->in) {
        copy(s, true);
    }
    s->event = NULL;
    const cl_int code = s->piece.rows > 1 ? enqueue_rows(ring, s, offset) : enqueue_bytes(ring, s, offset);
    if (code == CL_SUCCESS) {
        clFlush(ring->queue);
        return PEL_OK;
    }
    s->event = NULL;
    return pel_cl_fail(ring->device, error, code,
                       ring->in ? "the enqueuing of a write from pinned memory" : "the enqueuing of a read into pinned memory",
                       "bytes [%llu, +%llu)%s cannot be copied %s the device", (unsigned long long)offset,
                       (unsigned long long)s->piece.bytes, s->piece.rows > 1 ? " and the rows after them" : "",
                       ring->in ? "to" : "from");
}

/* > 0: still under way at `until` (monotonic), or (0) when nobody wants the load any more; 0: ended well; < 0: a code. */
static cl_int await(const slot *s, const pel_cl_load *load, int64_t until) {
    for (;;) {
        cl_int state = CL_QUEUED;
        const cl_int code = clGetEventInfo(s->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
        const bool enough = until != 0 ? pel_clock_now(&pel_clock_monotonic) >= until
                                       : atomic_load_explicit(&load->given_up, memory_order_relaxed);
        if (code != CL_SUCCESS || state <= 0 || enough) {
            return code != CL_SUCCESS ? code : state;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
}

static void free_slot(slot *s) {
    clReleaseEvent(s->event);
    s->event = NULL;
}

static pel_status give_up(const pel_cl_ring *ring, pel_error **error) {
    return pel_cl_refuse(ring->device, error, PEL_DEPENDENCY_FAILED, "", "a transfer was given up: its launch has failed");
}

/* What was begun in this slot has ended, and is where it belongs. */
static pel_status retire(pel_cl_ring *ring, slot *s, const pel_cl_load *load, pel_error **error) {
    if (!s->event) {
        return PEL_OK;
    }
    const cl_int state = await(s, load, 0);
    if (state > 0) {
        return give_up(ring, error);
    }
    if (state < 0) { /* the event stays for the drain: the command may have ended, or not */
        return pel_cl_fail(ring->device, error, state, "the command's event", "a transfer %s the device failed",
                           ring->in ? "to" : "from");
    }
    if (!ring->in) {
        copy(s, false);
    }
    free_slot(s);
    if (load->sensitive) {
        pel_wipe(s->memory, (size_t)(s->piece.bytes * s->piece.rows));
    }
    return PEL_OK;
}

static bool is_mute(const slot *s) {
    cl_int state;
    return clGetEventInfo(s->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) != CL_SUCCESS;
}

/* After a failure: no command of the load touches the device's memory any more, as far as can be learned. */
static void drain(pel_cl_ring *ring, const pel_cl_load *load) {
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + DRAIN_NS;
    clFlush(ring->queue);
    for (uint32_t i = 0; i < SLOTS; i++) {
        slot *s = &ring->slots[i];
        if (!s->event) {
            continue;
        }
        cl_int state = await(s, load, until);
        if (state < 0 && pel_cl_state_of(s->event) > 0) { /* it was the question that failed, not the transfer */
            state = await(s, load, until);
        }
        if (state < 0 && is_mute(s)) {
            clFinish(ring->queue); /* the last way to learn that it has ended */
        } else if (state > 0) {
            ring->stuck = true;
            pel_log(ring->device->env->logger, PEL_LOG_ERROR, "%s: transfers do not end after one of them failed",
                    ring->device->label);
        }
        free_slot(s);
    }
    if (load->sensitive) { /* all of it: also what was copied into a slot and never enqueued */
        pel_wipe(ring->mapped, SLOTS * (size_t)ring->device->staging_bytes);
    }
}

static pel_status move(pel_cl_ring *ring, pel_cl_load *load) {
    cursor c = {.load = load, .room = ring->device->staging_bytes};
    pel_status status = PEL_OK;
    piece next;
    uint32_t at = 0;
    for (; status == PEL_OK && next_piece(&c, &next); at++) {
        slot *s = &ring->slots[at % SLOTS];
        status = atomic_load_explicit(&load->given_up, memory_order_relaxed) ? give_up(ring, &load->error)
                                                                             : retire(ring, s, load, &load->error);
        if (status == PEL_OK) {
            s->piece = next;
            status = start(ring, s, &load->error);
        }
    }
    for (uint32_t i = 0; i < SLOTS && status == PEL_OK; i++) { /* oldest first */
        status = retire(ring, &ring->slots[(at + i) % SLOTS], load, &load->error);
    }
    if (status != PEL_OK) {
        drain(ring, load);
    }
    return status;
}

/* ---- the thread ---- */

static void *run(void *argument) {
    pel_cl_ring *ring = argument;
    pthread_mutex_lock(&ring->lock);
    for (;;) {
        pel_cl_load *load = ring->head;
        if (!load && ring->closing) {
            break;
        }
        if (!load) {
            pthread_cond_wait(&ring->wake, &ring->lock);
            continue;
        }
        const bool broken = ring->broken;
        pthread_mutex_unlock(&ring->lock);
        const pel_status status =
            broken ? pel_cl_refuse(ring->device, &load->error, PEL_DEVICE_FAILED, "", "a transfer before it failed")
                   : move(ring, load);
        pthread_mutex_lock(&ring->lock);
        load->status = status;
        ring->broken = ring->broken || status != PEL_OK;
        ring->head = load->next;
        ring->tail = ring->head ? ring->tail : NULL;
        atomic_store_explicit(&load->over, true, memory_order_release);
        pthread_cond_broadcast(&ring->over);
    }
    pthread_mutex_unlock(&ring->lock);
    return NULL;
}

void pel_cl_ring_give(pel_cl_ring *ring, pel_cl_load *load) {
    load->next = NULL;
    load->status = PEL_OK;
    load->error = NULL;
    atomic_store_explicit(&load->over, false, memory_order_relaxed);
    atomic_store_explicit(&load->given_up, false, memory_order_relaxed);
    pthread_mutex_lock(&ring->lock);
    *(ring->tail ? &ring->tail->next : &ring->head) = load;
    ring->tail = load;
    pthread_mutex_unlock(&ring->lock);
    pthread_cond_signal(&ring->wake);
}

void pel_cl_ring_await(pel_cl_ring *ring, pel_cl_load *load) {
    pthread_mutex_lock(&ring->lock);
    while (!atomic_load_explicit(&load->over, memory_order_acquire)) {
        pthread_cond_wait(&ring->over, &ring->lock);
    }
    pthread_mutex_unlock(&ring->lock);
}

void pel_cl_ring_give_up(pel_cl_load *load) {
    atomic_store_explicit(&load->given_up, true, memory_order_relaxed);
}

/* ---- made and ended ---- */

/* Its thread is asleep. */
static void take_down(pel_cl_ring *ring) {
    if (ring->mapped && !ring->broken) {
        (void)clEnqueueUnmapMemObject(ring->queue, ring->pinned, ring->mapped, 0, NULL, NULL);
        (void)clFinish(ring->queue);
    }
    if (ring->pinned && !ring->stuck) {
        clReleaseMemObject(ring->pinned);
    }
    ring->stuck = false;
    if (ring->queue) {
        clReleaseCommandQueue(ring->queue);
    }
    ring->pinned = NULL;
    ring->queue = NULL;
    ring->mapped = NULL;
}

static bool set_up(pel_cl_ring *ring) {
    pel_cl_device *device = ring->device;
    const size_t bytes = SLOTS * (size_t)device->staging_bytes;
    cl_int code = CL_SUCCESS;
    ring->queue = clCreateCommandQueue(device->context, device->id, 0, &code);
    if (ring->queue && code == CL_SUCCESS) {
        ring->pinned = clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &code);
    }
    if (ring->pinned && code == CL_SUCCESS) {
        ring->mapped =
            clEnqueueMapBuffer(ring->queue, ring->pinned, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &code);
    }
    if (!ring->mapped || code != CL_SUCCESS) {
        pel_log(device->env->logger, PEL_LOG_INFO, "%s: no pinned memory for transfers (%s): they go without", device->label,
                pel_cl_code_name(code));
        ring->patience = (uint32_t)FIRST_PATIENCE << (ring->refusals < MOST_DOUBLINGS ? ring->refusals : MOST_DOUBLINGS);
        ring->refusals++;
        ring->mapped = NULL;
        take_down(ring);
        return false;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        ring->slots[i] = (slot){.memory = ring->mapped + i * (size_t)device->staging_bytes};
    }
    ring->broken = false;
    ring->refusals = 0;
    return true;
}

static pel_cl_ring *make(pel_cl_device *device, bool in) {
    pel_cl_ring *ring = pel_alloc_zero(device->env->allocator, 1, sizeof *ring);
    if (!ring) {
        return NULL;
    }
    ring->device = device;
    ring->in = in;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->wake, NULL);
    pthread_cond_init(&ring->over, NULL);
    if (pel_cl_start_thread(&ring->thread, run, ring) != 0) {
        pthread_cond_destroy(&ring->over);
        pthread_cond_destroy(&ring->wake);
        pthread_mutex_destroy(&ring->lock);
        pel_free(device->env->allocator, ring);
        return NULL;
    }
    return ring;
}

bool pel_cl_may_stage(const pel_cl_device *device, const pel_transfer *list, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count && bytes < device->staging_bytes; i++) {
        bytes += list[i].bytes * pel_transfer_rows(&list[i]);
    }
    return device->staging_bytes > 0 && !device->base.facts->host_coherent && bytes >= device->staging_bytes / SMALL_SHARE &&
           bytes > 0;
}

pel_cl_ring *pel_cl_ring_for(pel_cl_device *device, const pel_transfer *list, uint32_t count, bool in) {
    pel_cl_ring **ring = &device->rings[in ? 0 : 1];
    if (!pel_cl_may_stage(device, list, count)) {
        return NULL;
    }
    *ring = *ring ? *ring : make(device, in);
    if (!*ring) {
        return NULL;
    }
    pthread_mutex_lock(&(*ring)->lock);
    const bool idle = !(*ring)->head, broken = (*ring)->broken;
    pthread_mutex_unlock(&(*ring)->lock);
    if (idle && broken) {
        take_down(*ring);
    }
    if ((*ring)->queue) {
        return *ring;
    }
    if ((*ring)->patience > 0) {
        (*ring)->patience--;
        return NULL;
    }
    return idle && set_up(*ring) ? *ring : NULL;
}

void pel_cl_rings_end(pel_cl_device *device) {
    for (size_t i = 0; i < sizeof device->rings / sizeof *device->rings; i++) {
        pel_cl_ring *ring = device->rings[i];
        if (!ring) {
            continue;
        }
        pthread_mutex_lock(&ring->lock);
        ring->closing = true;
        pthread_mutex_unlock(&ring->lock);
        pthread_cond_signal(&ring->wake);
        pthread_join(ring->thread, NULL);
        take_down(ring);
        pthread_cond_destroy(&ring->over);
        pthread_cond_destroy(&ring->wake);
        pthread_mutex_destroy(&ring->lock);
        pel_free(device->env->allocator, ring);
        device->rings[i] = NULL;
    }
}
