/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The child: pel-device, started without fork() and ended without a trace. It is a process group of its own with default signals;
 * it gets the caller's stdout and stderr, because what kernels print belongs there, one socket, and nothing else. The kernel
 * kills it when the thread that started it ends, whatever the reason (PR_SET_PDEATHSIG goes by thread, so that thread is the
 * device's own). It is waited for by its id only; if the host reaped it first, nothing is killed by a number that may be another
 * process's by now, and only the cause of its death stays unknown.
 */
#include "backend/outside/outside.h"

#include "topology/core_set.h"
#include "topology/helper.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PEL_DEVICE_PATH
#define PEL_DEVICE_PATH "pel-device"
#endif

extern char **environ;

static int set_attributes(posix_spawnattr_t *attributes) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int code = posix_spawnattr_setsigmask(attributes, &none);
    code = code ? code : posix_spawnattr_setsigdefault(attributes, &all);
    code = code ? code : posix_spawnattr_setpgroup(attributes, 0);
    return code ? code
                : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int spawn(const char *path, char *const *arguments, int socket, pid_t *child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int code = posix_spawn_file_actions_init(&actions);
    if (code) {
        return code;
    }
    code = posix_spawnattr_init(&attributes);
    if (!code) {
        code = set_attributes(&attributes);
        code = code ? code : posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        code = code ? code : posix_spawn_file_actions_adddup2(&actions, socket, PEL_OUTSIDE_SOCKET);
        code = code ? code : posix_spawn(child, path, &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

pel_status pel_outside_start(pel_outside *device, pel_error **error) {
    static const char advice[] = "install pel completely, set PEL_DEVICE_PROGRAM to its pel-device, or use the device in-process";
    char buffer[PATH_MAX], words[128], parent[24];
    const char *path = pel_helper_find("PEL_DEVICE_PROGRAM", PEL_DEVICE_PATH, "pel-device", buffer);
    int ends[2], code;
    (void)snprintf(parent, sizeof parent, "%ld", (long)getpid());
    char *arguments[] = {(char *)(uintptr_t)path, (char *)(uintptr_t)pel_outside_words(words, sizeof words), parent, NULL};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        code = errno;
        return pel_outside_refuse(device, error, PEL_IO, "socketpair", code, "raise the limit of descriptors (ulimit -n)",
                                  "no socket: %s", strerror(code));
    }
    /* The numbers that the child's descriptors get must not be those of the ends. */
    const int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, PEL_OUTSIDE_SOCKET + 1);
    code = theirs >= 0 ? spawn(path, arguments, theirs, &device->child) : errno;
    close(ends[1]);
    if (theirs >= 0) {
        close(theirs);
    }
    if (code != 0) {
        close(ends[0]);
        device->child = 0;
        return pel_outside_refuse(device, error, code == ENOENT ? PEL_NOT_FOUND : PEL_IO, "posix_spawn", code, advice,
                                  "%s cannot be started: %s", path, strerror(code));
    }
    device->socket = ends[0];
    return PEL_OK;
}

/* What a device list must say for the child to find the same device: "opencl:0", "opencl:0@1[own]". */
static void append_item(const pel_topology_device *facts, pel_text *text) {
    const char *id = facts->info.id, *at = strchr(id, '@');
    pel_text_append_bytes(text, id, at ? (size_t)(at - id) : strlen(id));
    if (facts->core_set_declared) {
        pel_text_append(text, "@");
        pel_core_set_format(&facts->info.cores, '+', text);
    }
    if (facts->own_memory) {
        pel_text_append(text, facts->staging_bytes > 0 ? "[own;" : "[own]");
    } else if (facts->staging_bytes > 0) {
        pel_text_append(text, "[");
    }
    if (facts->staging_bytes > 0) {
        pel_text_format(text, "staging=%llu]", (unsigned long long)facts->staging_bytes);
    }
}

pel_status pel_outside_introduce(pel_outside *device, pel_error **error) {
    const pel_topology_device *facts = device->base.facts;
    pel_packet *out = &device->out;
    pel_text item;
    pel_text_init(&item, device->env->allocator);
    append_item(facts, &item);
    pel_packet_begin(out, PEL_OUTSIDE_OPEN, 0);
    pel_packet_put_u32(out, device->env->runtime_flags);
    pel_packet_put_u32(out, device->env->logger ? (uint32_t)device->env->logger->level : (uint32_t)PEL_LOG_OFF);
    pel_packet_put_text(out, item.data, PATH_MAX);
    pel_packet_put_text(out, facts->info.name, PATH_MAX);
    pel_packet_put_text(out, facts->info.platform, PATH_MAX);
    pel_packet_put_text(out, facts->info.driver, PATH_MAX);
    pel_packet_put_text(out, facts->info.identity, PATH_MAX);
    pel_packet_put_text(out, device->env->cache_directory, PATH_MAX);
    const bool memory = !item.failed;
    pel_text_free(&item);
    const pel_status status = memory ? pel_outside_post_out(device, -1) : PEL_OUT_OF_MEMORY;
    return status == PEL_OK ? status
                            : pel_outside_refuse(device, error, status, NULL, 0, "free host memory",
                                                 "no memory to start the device's process");
}

/* Waits for the end, a while; false: it goes on. */
static bool reap(pid_t child, int64_t nanoseconds, siginfo_t *end) {
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + nanoseconds;
    for (;;) {
        memset(end, 0, sizeof *end);
        const int code = waitid(P_PID, (id_t)child, end, WEXITED | WNOHANG);
        if (code == 0 && end->si_pid == child) {
            return true;
        }
        if (code != 0 && errno != EINTR) {
            end->si_pid = 0; /* reaped by the host, or by the kernel for it */
            return true;
        }
        if (pel_clock_now(&pel_clock_monotonic) >= until) {
            return false;
        }
        const struct timespec nap = {0, 500000};
        (void)nanosleep(&nap, NULL);
    }
}

int pel_outside_bury(pid_t child, bool kill_it, pel_text *how) {
    siginfo_t end;
    bool ended = reap(child, kill_it ? 0 : 200000000, &end); /* it has closed its socket: it is about to end */
    if (!ended) {
        (void)kill(-child, SIGKILL);
        (void)kill(child, SIGKILL);
        ended = reap(child, INT64_C(2000000000), &end); /* not for ever: a driver may hang inside the kernel */
    }
    if (!ended) {
        pel_text_append(how, "does not end even by SIGKILL");
        return SIGKILL;
    }
    if (end.si_pid == 0) {
        pel_text_append(how, "ended (of what, this program's own SIGCHLD handling hides)");
        return 0;
    }
    if (end.si_code == CLD_EXITED) {
        pel_text_format(
            how, end.si_status == PEL_OUTSIDE_OTHER_VERSION ? "is of another build of pel (status %d)" : "ended with status %d",
            end.si_status);
        return end.si_status;
    }
    const char *name = sigabbrev_np(end.si_status);
    pel_text_format(how, "was killed by signal %d (SIG%s)", end.si_status, name ? name : "?");
    return end.si_status;
}
