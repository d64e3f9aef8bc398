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

enum { OPEN_SECONDS = 30, CLOSE_MS = 5000 }; /* a cold GPU driver takes 5 s (topology/probe.h); saving binaries, milliseconds */

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

static void kick(const pel_outside *device) {
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
    kick(device);
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

static bool take_log(const pel_outside *device, pel_reader *reader) {
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
        return take_log(device, reader);
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

static bool has_work(const pel_outside *device) { return device->head || device->sent_head; }

/* Sends, receives and completes something. Takes the baton; needs the lock and has it on return. */
static void run_some(pel_outside *device) {
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

static void submit(pel_backend_device *base, pel_work *work) {
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
        kick(device);
    }
}

static bool help(pel_backend_device *base) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    const pel_work *first = device->sent_head ? device->sent_head : device->head;
    if (device->running || !first || first->alone) { /* a waiter must not hang with it */
        pthread_mutex_unlock(&device->lock);
        return false;
    }
    run_some(device);
    const bool left = device->head || device->lost; /* what is with the child wakes the thread by its answer */
    pthread_mutex_unlock(&device->lock);
    pthread_cond_signal(&device->wake);
    if (left) {
        kick(device); /* it may sleep in poll */
    }
    return true;
}

/* ---- the thread ---- */

/* Sleeps until there is a message, room for one that waits, or a kick. Without the baton: a helper may be quicker. */
static void sleep_idle(pel_outside *device) {
    struct pollfd events[2] = {{.fd = device->kick, .events = POLLIN},
                               {.fd = device->lost ? -1 : device->socket, .events = POLLIN}};
    const bool blocked = device->posts != NULL || (device->head != NULL && !device->lost);
    uint64_t count;
    events[1].events = (short)(POLLIN | (blocked ? POLLOUT : 0));
    pthread_mutex_unlock(&device->lock);
    const int ready = poll(events, 2, -1);
    if (ready > 0 && (events[0].revents & POLLIN) != 0) {
        ssize_t got = read(device->kick, &count, sizeof count);
        (void)got; /* nothing there: somebody else's kick was taken with it */
    }
    pthread_mutex_lock(&device->lock);
}

/* Ends a child that is well. (lock) */
static void dismiss(pel_outside *device) {
    pel_text how;
    struct pollfd event = {.fd = device->socket, .events = POLLIN};
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + (int64_t)CLOSE_MS * 1000000;
    (void)pel_outside_flush(device);
    pel_packet_begin(&device->out, PEL_OUTSIDE_BYE, 0);
    (void)pel_packet_send(device->socket, &device->out, -1, false);
    (void)shutdown(device->socket, SHUT_WR); /* and if there was no room for the word, this says it */
    pthread_mutex_unlock(&device->lock);
    bool ended = false;
    for (int64_t left = CLOSE_MS; left > 0 && !ended; left = (until - pel_clock_now(&pel_clock_monotonic)) / 1000000) {
        pel_reader reader;
        int attached = -1;
        if (poll(&event, 1, (int)left) > 0) {
            const int code = pel_packet_receive(device->socket, &device->in, &reader, &attached, false);
            ended = code != 0 && code != EAGAIN;
            if (attached >= 0) {
                close(attached);
            }
            if (code == 0 && reader.head.kind == PEL_OUTSIDE_LOG) {
                (void)take_log(device, &reader);
            }
        }
    }
    pel_text_init(&how, device->env->allocator);
    if (pel_outside_bury(device->child, !ended, &how) != 0) {
        pel_log(device->env->logger, PEL_LOG_WARNING, "%s: its process %ld, told to end, %s", device->base.facts->info.id,
                (long)device->child, how.data ? how.data : "failed");
    }
    pel_text_free(&how);
    pthread_mutex_lock(&device->lock);
    device->child = 0;
}

static void *run(void *argument) {
    pel_outside *device = argument;
    pthread_mutex_lock(&device->lock);
    pel_status status = pel_outside_start(device, &device->loss);
    status = status == PEL_OK ? pel_outside_introduce(device, &device->loss) : status;
    if (status != PEL_OK) {
        device->lost = true;
        pthread_cond_broadcast(&device->answered);
    }
    for (;;) {
        if (device->running) {
            pthread_cond_wait(&device->wake, &device->lock);
        } else if (has_work(device) && (device->sent_head || device->lost)) {
            run_some(device);
        } else if (device->closing && (device->lost || !has_work(device))) {
            break;
        } else {
            const struct pel_work *head = device->head;
            run_some(device); /* there may be messages though there is no work */
            if (!device->closing && device->head == head && !device->sent_head && !(device->lost && device->head)) {
                sleep_idle(device);
            }
        }
        if (device->lost && !device->opened) {
            pthread_cond_broadcast(&device->answered);
        }
    }
    if (device->child != 0 && device->lost) {
        pel_text how;
        pel_text_init(&how, device->env->allocator);
        const pid_t child = device->child;
        device->child = 0;
        pthread_mutex_unlock(&device->lock);
        (void)pel_outside_bury(child, false, &how);
        pthread_mutex_lock(&device->lock);
        pel_text_free(&how);
    } else if (device->child != 0) {
        dismiss(device);
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

/* ---- open and close ---- */

static int start_thread(pel_outside *device) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&device->thread, NULL, run, device);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static void release(pel_outside *device) {
    const pel_allocator *allocator = device->env->allocator;
    device->lost = true;
    (void)pel_outside_flush(device);
    if (device->kick >= 0) {
        close(device->kick);
    }
    if (device->socket >= 0) {
        close(device->socket);
    }
    pthread_cond_destroy(&device->answered);
    pthread_cond_destroy(&device->wake);
    pthread_mutex_destroy(&device->lock);
    pel_error_destroy(device->loss);
    pel_free(allocator, device->programs.known);
    pel_free(allocator, device->kernels.known);
    pel_free(allocator, device->label);
    pel_free(allocator, device);
}

static void close_device(pel_backend_device *base) {
    pel_outside *device = (pel_outside *)base;
    if (!device) {
        return;
    }
    pthread_mutex_lock(&device->lock);
    device->closing = true;
    pthread_mutex_unlock(&device->lock);
    pthread_cond_signal(&device->wake);
    kick(device);
    pthread_join(device->thread, NULL);
    release(device);
}

static pel_outside *make(const pel_backend_env *env, const pel_topology_device *facts) {
    pel_outside *device = pel_alloc_zero(env->allocator, 1, sizeof *device);
    pthread_condattr_t attributes;
    pel_text label;
    if (!device) {
        return NULL;
    }
    device->base = (pel_backend_device){.backend = &pel_backend_outside, .facts = facts};
    device->env = env;
    device->socket = -1;
    device->next_id = device->next_sequence = 1;
    device->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&device->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&device->wake, &attributes);
    pthread_cond_init(&device->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    pel_text_init(&label, env->allocator);
    pel_text_format(&label, "%s (%s), in a process of its own", facts->info.id, facts->info.name);
    device->label = pel_text_take(&label);
    if (!device->label) {
        release(device);
        return NULL;
    }
    return device;
}

/* Until the child has opened its device, or says why not, or dies, or is late. */
static pel_status wait_for_hello(pel_outside *device, pel_error **error) {
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += OPEN_SECONDS;
    pthread_mutex_lock(&device->lock);
    while (!device->opened && !device->lost && late == 0) {
        late = pthread_cond_timedwait(&device->answered, &device->lock, &until);
    }
    pel_status status = PEL_OK;
    if (device->lost) {
        status = pel_error_status(device->loss);
        status = status == PEL_OK ? PEL_OUT_OF_MEMORY : status;
        pel_outside_lost_error(device, error);
    } else if (!device->opened) {
        status =
            pel_outside_refuse(device, error, PEL_TIMED_OUT, "pel-device", 0, "see whether `pel doctor` finds the driver well",
                               "its process has not opened it within %d s", OPEN_SECONDS);
        if (device->child != 0 && !device->dying) {
            (void)kill(device->child, SIGKILL); /* ours and not reaped: the lock says so */
        }
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

static pel_status open_device(const pel_backend_env *env, const pel_topology_device *facts, pel_backend_device **opened,
                              pel_error **error) {
    *opened = NULL;
    if (facts->cl_context || facts->cl_queue) {
        return pel_fail(error, env->allocator, PEL_UNSUPPORTED,
                        &(pel_story){.device = facts->info.id, .advice = "leave \"outside\" away, or do not adopt its context"},
                        "%s belongs to an adopted context, which is of this process: it cannot be driven outside",
                        facts->info.id);
    }
    pel_outside *device = make(env, facts);
    if (!device) {
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for device %s", facts->info.id);
    }
    const int code = device->kick >= 0 ? start_thread(device) : errno;
    if (code != 0) {
        pel_status status =
            pel_outside_refuse(device, error, PEL_IO, device->kick >= 0 ? "pthread_create" : "eventfd", code,
                               "raise the limits of threads and descriptors", "no thread for a device: %s", strerror(code));
        release(device);
        return status;
    }
    pel_status status = wait_for_hello(device, error);
    if (status != PEL_OK) {
        close_device(&device->base);
        return status;
    }
    *opened = &device->base;
    return PEL_OK;
}

pid_t pel_outside_process(pel_backend_device *base) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    const pid_t child = device->child;
    pthread_mutex_unlock(&device->lock);
    return child;
}

/* Whoever receives finds out, as after a crash. */
static void abort_child(pel_backend_device *base) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    if (device->child > 0 && !device->dying) {
        (void)kill(device->child, SIGKILL);
    }
    pthread_mutex_unlock(&device->lock);
}

const pel_backend pel_backend_outside = {
    .name = "outside",
    .chains = true,
    .open = open_device,
    .close = close_device,
    .mem_create = pel_outside_mem_create,
    .mem_view = pel_outside_mem_view,
    .mem_wipe = pel_outside_mem_wipe,
    .mem_destroy = pel_outside_mem_destroy,
    .prepare = pel_outside_prepare,
    .largest_group = pel_outside_largest_group,
    .kernel_forget = pel_outside_kernel_forget,
    .program_forget = pel_outside_program_forget,
    .submit = submit,
    .help = help,
    .abort = abort_child,
};
