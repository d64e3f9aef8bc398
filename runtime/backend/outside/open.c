/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a device outside: its thread, opening and closing, and the end of a child, well or by force.
 *
 * The thread starts the child and lives as long as that may (child.c). Between, it is one of those who may have the baton
 * (proxy.c), and sleeps where nobody's work is with the child.
 */
#include "backend/outside/outside.h"

#include "backend/backends.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_SECONDS = 30, CLOSE_MS = 5000 }; /* a cold GPU driver takes 5 s (topology/probe.h); saving binaries, milliseconds */

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
                (void)pel_outside_take_log(device, &reader);
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
        } else if (pel_outside_has_work(device) && (device->sent_head || device->lost)) {
            pel_outside_run_some(device);
        } else if (device->closing && (device->lost || !pel_outside_has_work(device))) {
            break;
        } else {
            const struct pel_work *head = device->head;
            pel_outside_run_some(device); /* there may be messages though there is no work */
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
    pel_outside_kick(device);
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

/* Whoever receives finds out, as after a crash. (lock) */
static void kill_child(const pel_outside *device) {
    if (device->child > 0 && !device->dying) { /* ours and not reaped: the lock says so */
        (void)kill(device->child, SIGKILL);
    }
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
        kill_child(device);
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

static void abort_child(pel_backend_device *base) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    kill_child(device);
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
    .submit = pel_outside_submit,
    .help = pel_outside_help,
    .abort = abort_child,
};
