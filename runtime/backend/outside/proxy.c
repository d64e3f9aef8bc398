/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that a child process drives: a crash of its driver costs what was with it, and not the program.
 *
 * The problem: PoCL aborts, a GPU's context is poisoned, a kernel writes through a wild pointer; in-process that is the end of
 * everything. So pel-device opens the real backend, and this one sends it works and copies bytes into and out of memory that both
 * see. When the child is gone, everything that was with it, and all that comes later, completes as DEVICE_LOST with a story that
 * names its signal; retry does the rest elsewhere. Asked for outside, a device is outside or it is not opened.
 *
 * The invariant: works reach the child in order, and one that copies is alone there, because its copying (here, by whoever has
 * the baton) and the works before and behind it use the same memory. Works that copy nothing follow each other without waiting.
 * Submission sends them itself, and a thread that waits anyway receives by help(), which saves two wake-ups of four. Rejected: a
 * second thread for copying; it would overlap copies with works, which the steps of a device with windows do better.
 */
#include "backend/outside/outside.h"

#include "backend/backends.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- errors ---- */

pel_status pel_outside_refuse(const pel_outside *device, pel_error **error, pel_status status, const char *call, int code,
                              const char *advice, const char *format, ...) {
    char message[512];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(message, sizeof message, format, list);
    va_end(list);
    const pel_story story = {.device = device->label, .call = call, .code = code, .advice = advice};
    return pel_fail(error, device->env->allocator, status, &story, "%s", message);
}

pel_status pel_outside_lost_error(const pel_outside *device, pel_error **error) {
    if (error && !*error) {
        *error = pel_error_clone(device->loss, device->env->allocator);
    }
    return PEL_DEVICE_LOST;
}

/* ---- sending ---- */

void pel_outside_kick(const pel_outside *device) {
    const uint64_t one = 1;
    ssize_t written;
    do {
        written = write(device->kick, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
}

bool pel_outside_flush(pel_outside *device) {
    while (device->posts) {
        pel_outside_post *post = device->posts;
        device->out.failed = false;
        device->out.bytes = post->bytes;
        memcpy(device->out.data, post->data, post->bytes);
        const int code = device->lost ? 0 : pel_packet_send(device->socket, &device->out, post->attached, false);
        if (code == EAGAIN) {
            return false;
        }
        device->posts = post->next; /* other errors: the child is gone, and whoever receives will see it */
        if (post->attached >= 0) {
            close(post->attached);
        }
        pel_free(device->env->allocator, post);
    }
    return true;
}

static pel_status keep(pel_outside *device, int attached) {
    pel_outside_post *post = pel_alloc(device->env->allocator, sizeof *post + device->out.bytes);
    if (!post) {
        if (attached >= 0) {
            close(attached);
        }
        return PEL_OUT_OF_MEMORY;
    }
    *post = (pel_outside_post){.attached = attached, .bytes = device->out.bytes};
    memcpy(post->data, device->out.data, device->out.bytes);
    if (device->posts) {
        device->last_post->next = post;
    } else {
        device->posts = post;
    }
    device->last_post = post;
    pel_outside_kick(device);
    return PEL_OK;
}

pel_status pel_outside_post_out(pel_outside *device, int attached) {
    pel_status status = device->lost ? PEL_DEVICE_LOST : device->out.failed ? PEL_TOO_LARGE : PEL_OK;
    if (status == PEL_OK && device->posts) {
        return keep(device, attached);
    }
    if (status == PEL_OK && pel_packet_send(device->socket, &device->out, attached, false) == EAGAIN) {
        return keep(device, attached);
    }
    if (attached >= 0) {
        close(attached);
    }
    return status;
}

/* ---- works ---- */

static pel_work *take_head(pel_outside *device) {
    pel_work *work = device->head;
    device->head = work->next;
    device->tail = device->head ? device->tail : NULL;
    work->next = NULL;
    return work;
}

/* The child does one after the other: what it was sent first, it is at. */
static void start_first(const pel_outside *device) {
    if (device->sent_head) {
        atomic_store_explicit(&device->sent_head->started, pel_clock_now(device->env->clock), memory_order_relaxed);
    }
}

static void note_sent(pel_outside *device, pel_work *work) {
    if (device->sent_tail) {
        device->sent_tail->next = work;
    } else {
        device->sent_head = work;
        start_first(device);
    }
    device->sent_tail = work;
    device->sent_count++;
}

static void begin(const pel_outside *device, pel_work *work) {
    work->began = work->launch_began = pel_clock_now(device->env->clock);
}

/* Sends works that copy nothing, as many as may be with the child. (lock) */
static void send_riders(pel_outside *device) {
    while (device->head && !device->lost && !device->alone && device->sent_count < PEL_OUTSIDE_SENT &&
           pel_outside_is_rider(device->head) && !atomic_load(&device->head->skip)) {
        pel_work *work = device->head;
        begin(device, work);
        if (pel_outside_send(device, work) != 0) {
            return; /* no room, or its failure: whoever has the baton sees to it */
        }
        note_sent(device, take_head(device));
    }
}

static void finish(const pel_outside *device, pel_work *work) {
    const int64_t now = pel_clock_now(device->env->clock);
    work->launch_began = work->launch_began ? work->launch_began : now;
    work->launch_ended = work->launch_ended ? work->launch_ended : now;
    work->ended = now > work->launch_ended ? now : work->launch_ended;
    work->complete(work);
}

/* The lock is given up while it is completed. */
static void fail_work(pel_outside *device, pel_work *work) {
    work->began = work->began ? work->began : pel_clock_now(device->env->clock);
    work->launch_began = work->launch_ended = 0;
    if (work->status == PEL_OK) {
        work->status = pel_outside_lost_error(device, &work->error);
    }
    pthread_mutex_unlock(&device->lock);
    finish(device, work);
    pthread_mutex_lock(&device->lock);
}

/* The oldest work, with nothing before it at the child: copies its bytes and sends it, or ends it. Takes and gives the lock.
 * False: there is no room yet. */
static bool send_alone(pel_outside *device) {
    pel_work *work = device->head;
    if (atomic_load(&work->skip)) {
        work->untouched = 1;
        work->status = pel_outside_refuse(device, &work->error, PEL_DEPENDENCY_FAILED, NULL, 0, NULL,
                                          "a work that this one follows has failed");
        fail_work(device, take_head(device));
        return true;
    }
    if (work->launch_began == 0) { /* not copied yet */
        begin(device, work);
        pthread_mutex_unlock(&device->lock);
        pel_outside_copy(work, true);
        work->launch_began = pel_clock_now(device->env->clock);
        pthread_mutex_lock(&device->lock);
    }
    if (work->kind == PEL_WORK_TRANSFER && device->in_place) {
        (void)take_head(device);
        pthread_mutex_unlock(&device->lock);
        work->launch_ended = work->launch_began;
        pel_outside_copy(work, false);
        finish(device, work);
        pthread_mutex_lock(&device->lock);
        return true;
    }
    const int code = device->lost ? 0 : pel_outside_send(device, work);
    if (code == EAGAIN) {
        return false;
    }
    (void)take_head(device);
    if (code == ECANCELED) {
        fail_work(device, work);
        return true;
    }
    note_sent(device, work); /* where the child is gone the receiver will find out */
    device->alone = true;
    return true;
}

/* ---- receiving; all by who has the baton, without the lock ---- */

static void fail_all(pel_outside *device) {
    pthread_mutex_lock(&device->lock);
    device->alone = false;
    while (device->sent_head) {
        pel_work *work = device->sent_head;
        device->sent_head = work->next;
        device->sent_tail = device->sent_head ? device->sent_tail : NULL;
        device->sent_count--;
        work->next = NULL;
        fail_work(device, work);
    }
    while (device->head) {
        device->head->untouched = 1; /* never sent */
        fail_work(device, take_head(device));
    }
    pthread_mutex_unlock(&device->lock);
}

/* The end of the child, whoever is to blame. `why` NULL: it went by itself. */
static void lose(pel_outside *device, const char *why) {
    pel_text how;
    pel_error *loss = NULL;
    pel_text_init(&how, device->env->allocator);
    pthread_mutex_lock(&device->lock);
    const pid_t child = device->child;
    device->dying = true; /* nobody else kills by a number that may soon be another's */
    pthread_mutex_unlock(&device->lock);
    const int code = pel_outside_bury(child, why != NULL, &how);
    if (why) {
        pel_outside_refuse(device, &loss, PEL_DEVICE_LOST, "pel-device", code,
                           "the child's memory was spoilt: look for a kernel that writes out of bounds",
                           "its process %ld said what makes no sense (%s) and was killed", (long)child, why);
    } else {
        pel_outside_refuse(
            device, &loss, PEL_DEVICE_LOST, "pel-device", code,
            "the driver or a kernel crashed: protection \"retry\" runs what was lost on other devices; a new runtime can use "
            "the device again",
            "its process %ld %s", (long)child, how.data ? how.data : "ended");
    }
    pel_text_free(&how);
    pthread_mutex_lock(&device->lock);
    device->loss = loss;
    device->lost = true;
    device->child = 0;
    pel_outside_fail_requests(device);
    (void)pel_outside_flush(device);
    pthread_mutex_unlock(&device->lock);
    if (device->opened) {
        pel_log(device->env->logger, PEL_LOG_WARNING, "%s is lost: %s", device->base.facts->info.id, pel_error_message(loss));
    }
}

static bool take_hello(pel_outside *device, pel_reader *reader) {
    pel_error *error = NULL;
    const pel_status status = pel_reader_error(reader, device->env->allocator, &error);
    const bool in_place = pel_reader_u32(reader) != 0;
    if (reader->failed || device->opened) {
        pel_error_destroy(error);
        return false;
    }
    pthread_mutex_lock(&device->lock);
    if (status == PEL_OK) {
        device->opened = true;
        device->in_place = in_place;
        pthread_cond_broadcast(&device->answered);
    } else {
        device->loss = error; /* it could not open the device, says why, and ends */
        device->lost = true;
    }
    pthread_mutex_unlock(&device->lock);
    return true;
}

static bool take_done(pel_outside *device, pel_reader *reader) {
    pthread_mutex_lock(&device->lock);
    pel_work *work = device->sent_head;
    const bool alone = device->alone;
    pthread_mutex_unlock(&device->lock);
    if (!work || work->sequence != reader->head.id ||
        !pel_outside_read_done(device, work, reader, pel_clock_now(device->env->clock))) {
        return false;
    }
    if (alone && work->status == PEL_OK) {
        pel_outside_copy(work, false);
        work->ended = pel_clock_now(device->env->clock);
    }
    pthread_mutex_lock(&device->lock);
    device->sent_head = work->next;
    device->sent_tail = device->sent_head ? device->sent_tail : NULL;
    device->sent_count--;
    device->alone = false;
    start_first(device);
    work->next = NULL;
    pthread_mutex_unlock(&device->lock);
    work->complete(work);
    return true;
}

static bool take_compiling(pel_outside *device, const pel_reader *reader) {
    pthread_mutex_lock(&device->lock);
    pel_work *work = device->sent_head;
    while (work && work->sequence != reader->head.id) {
        work = work->next;
    }
    if (work && work->compiling) {
        work->compiling(work);
    }
    pthread_mutex_unlock(&device->lock);
    return work != NULL;
}

bool pel_outside_take_log(const pel_outside *device, pel_reader *reader) {
    const uint32_t level = pel_reader_u32(reader);
    const char *text = pel_reader_text(reader);
    if (reader->failed || level > (uint32_t)PEL_LOG_DEBUG) {
        return false;
    }
    pel_log(device->env->logger, (pel_log_level)level, "%s", text);
    return true;
}

static bool take_message(pel_outside *device, pel_reader *reader) {
    switch (reader->head.kind) {
    case PEL_OUTSIDE_HELLO:
        return take_hello(device, reader);
    case PEL_OUTSIDE_DONE:
        return device->opened && take_done(device, reader);
    case PEL_OUTSIDE_COMPILING:
        return device->opened && take_compiling(device, reader);
    case PEL_OUTSIDE_LOG:
        return pel_outside_take_log(device, reader);
    case PEL_OUTSIDE_REPLY: {
        pthread_mutex_lock(&device->lock);
        const bool good = pel_outside_answer(device, reader);
        pthread_mutex_unlock(&device->lock);
        return good;
    }
    default:
        return false;
    }
}

/* One message; false: there was none. wait: sleeps until there is one, or the child is gone. */
static bool receive(pel_outside *device, bool wait) {
    pel_reader reader;
    int attached;
    const int code = pel_packet_receive(device->socket, &device->in, &reader, &attached, wait);
    if (attached >= 0) {
        close(attached); /* it has no business to send any */
    }
    if (code == EAGAIN) {
        return false;
    }
    if (code == EPIPE) {
        lose(device, NULL);
    } else if (code != 0 || attached >= 0) {
        lose(device, code == EPROTO ? "no message" : code ? strerror(code) : "a descriptor");
    } else if (!take_message(device, &reader)) {
        char what[64];
        (void)snprintf(what, sizeof what, "message %u about %llu", reader.head.kind, (unsigned long long)reader.head.id);
        lose(device, what);
    }
    return true;
}

/* ---- the baton ---- */

bool pel_outside_has_work(const pel_outside *device) { return device->head || device->sent_head; }

void pel_outside_run_some(pel_outside *device) {
    device->running = true;
    bool flushed = pel_outside_flush(device);
    send_riders(device);
    while (device->head && !device->lost && device->sent_count == 0 && flushed && send_alone(device)) {
        send_riders(device);
    }
    const bool wait = device->sent_count > 0 && !device->lost;
    const bool lost = device->lost;
    pthread_mutex_unlock(&device->lock);
    if (lost) {
        fail_all(device);
    } else {
        (void)receive(device, wait);
    }
    pthread_mutex_lock(&device->lock);
    send_riders(device);
    device->running = false;
}

void pel_outside_submit(pel_backend_device *base, pel_work *work) {
    pel_outside *device = (pel_outside *)base;
    work->next = NULL;
    work->status = PEL_OK;
    work->error = NULL;
    work->cold = work->pooled = work->hint_lost = false;
    work->began = work->launch_began = work->launch_ended = work->ended = 0;
    pthread_mutex_lock(&device->lock);
    if (device->tail) {
        device->tail->next = work;
    } else {
        device->head = work;
    }
    device->tail = work;
    send_riders(device);
    const bool wake = device->head && !device->running; /* what is with the child wakes the thread by its answer */
    pthread_mutex_unlock(&device->lock);
    if (wake) {
        pel_outside_kick(device);
    }
}

bool pel_outside_help(pel_backend_device *base) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    const pel_work *first = device->sent_head ? device->sent_head : device->head;
    if (device->running || !first || first->alone) { /* a waiter must not hang with it */
        pthread_mutex_unlock(&device->lock);
        return false;
    }
    pel_outside_run_some(device);
    const bool left = device->head || device->lost; /* what is with the child wakes the thread by its answer */
    pthread_mutex_unlock(&device->lock);
    pthread_cond_signal(&device->wake);
    if (left) {
        pel_outside_kick(device); /* it may sleep in poll */
    }
    return true;
}
