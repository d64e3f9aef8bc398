/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A child process without fork(): posix_spawn runs no handler of the caller's (pthread_atfork, MPI's fork warnings) in the child.
 * The child is waited for by its own id, so a host that reaps its children is not confused beyond one SIGCHLD; if the host reaps
 * ours first, the child's own last line, "done", still tells how it ended. The group is killed at the deadline because drivers
 * start compilers and linkers of their own. Rejected: fork and test in the child, which hangs with threads around, as PoCL in a
 * fork does.
 */
#include "topology/helper.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include <errno.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PEL_PROBE_PATH
#define PEL_PROBE_PATH "pel-probe"
#endif

enum { MOST_OUTPUT = 1 << 20 };

extern char **environ;

/* `name` in one of the places that lie so from the directory of `file`. */
static bool find_near(const char *file, size_t length, const char *name, char *buffer) {
    static const char *const nearby[] = {"", "../libexec/pel/", "../../libexec/pel/"}; /* the last: from lib/x86_64-linux-gnu */
    while (length > 0 && file[length - 1] != '/')
        length--;
    for (size_t i = 0; length > 0 && i < sizeof nearby / sizeof *nearby; i++) {
        int written = snprintf(buffer, PATH_MAX, "%.*s%s%s", (int)length, file, nearby[i], name);
        if (written > 0 && written < PATH_MAX && access(buffer, X_OK) == 0)
            return true;
    }
    return false;
}

const char *pel_helper_find(const char *variable, const char *installed, const char *name, char *buffer) {
    const char *path = secure_getenv(variable);
    if (path && *path)
        return path;
    if (access(installed, X_OK) == 0)
        return installed;
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0 && find_near(program, (size_t)length, name, buffer))
        return buffer;
    static const char own[] = ""; /* lies where the library does: in it, or in the program */
    Dl_info self;
    if (dladdr(own, &self) && self.dli_fname && self.dli_fname[0] == '/' &&
        find_near(self.dli_fname, strlen(self.dli_fname), name, buffer))
        return buffer;
    return installed;
}

const char *pel_helper_path(char *buffer) {
    return pel_helper_find("PEL_PROBE", PEL_PROBE_PATH, "pel-probe", buffer);
}

/* The caller's environment with the loader's variables replaced. The array is ours, `setting` and the strings are not. */
static char **child_environment(const pel_allocator *allocator, char *setting) {
    size_t count = 0;
    while (environ && environ[count])
        count++;
    char **copy = pel_alloc_zero(allocator, count + 2, sizeof *copy);
    if (!copy)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bool replaced =
            setting && (strncmp(environ[i], "OCL_ICD_VENDORS=", 16) == 0 || strncmp(environ[i], "OCL_ICD_FILENAMES=", 18) == 0);
        if (!replaced)
            copy[used++] = environ[i];
    }
    if (setting)
        copy[used] = setting;
    return copy;
}

static int start(const char *path, char *const *arguments, char *const *environment, int output, pid_t *child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int code = posix_spawn_file_actions_init(&actions);
    if (code)
        return code;
    code = posix_spawnattr_init(&attributes);
    if (!code) {
        code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        if (!code)
            code = posix_spawn_file_actions_adddup2(&actions, output, 1);
        if (!code)
            code = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
        if (!code)
            code = posix_spawnattr_setsigmask(&attributes, &none);
        if (!code)
            code = posix_spawnattr_setsigdefault(&attributes, &all);
        if (!code)
            code = posix_spawnattr_setpgroup(&attributes, 0);
        if (!code) {
            code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        }
        if (!code)
            code = posix_spawn(child, path, &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* Reads until the child closes its output; false at the deadline. */
static bool read_output(int input, int64_t deadline, pel_text *output) {
    for (;;) {
        int64_t left = (deadline - pel_clock_now(&pel_clock_monotonic)) / 1000000;
        struct pollfd event = {.fd = input, .events = POLLIN};
        if (left <= 0)
            return false;
        int ready = poll(&event, 1, left > 1000 ? 1000 : (int)left);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready <= 0)
            continue;
        char bytes[4096];
        ssize_t count = read(input, bytes, sizeof bytes);
        if (count == 0)
            return true;
        if (count < 0 && errno != EINTR && errno != EAGAIN)
            return true;
        if (count > 0 && output->length + (size_t)count < MOST_OUTPUT)
            pel_text_append_bytes(output, bytes, (size_t)count);
    }
}

/* Waits for the end; false at the deadline. *code -1: someone else reaped it. */
static bool reap(pid_t child, int64_t deadline, int *code) {
    for (;;) {
        pid_t reaped = waitpid(child, code, WNOHANG);
        if (reaped == child)
            return true;
        if (reaped < 0 && errno != EINTR) {
            *code = -1;
            return true;
        }
        if (pel_clock_now(&pel_clock_monotonic) >= deadline)
            return false;
        struct timespec pause = {0, 500000};
        (void)nanosleep(&pause, NULL);
    }
}

static void finish(pid_t child, int input, int timeout_ms, int64_t began, pel_helper_run *run) {
    int code = 0;
    int64_t deadline = began + (int64_t)timeout_ms * 1000000;
    bool ended = read_output(input, deadline, &run->output) && reap(child, deadline, &code);
    if (!ended) {
        (void)kill(-child, SIGKILL);
        (void)kill(child, SIGKILL);
        /* Not for ever: a driver may hang inside the kernel. */
        (void)reap(child, pel_clock_now(&pel_clock_monotonic) + INT64_C(2000000000), &code);
        run->end = PEL_HELPER_HUNG;
        return;
    }
    const char *text = run->output.data ? run->output.data : "";
    size_t length = run->output.length;
    bool said = length >= 5 && strcmp(text + length - 5, "done\n") == 0;
    if (code != -1 && WIFSIGNALED(code))
        run->signal_number = WTERMSIG(code);
    if (code != -1 && WIFEXITED(code))
        run->exit_status = WEXITSTATUS(code);
    bool well = said && (code == -1 || (WIFEXITED(code) && WEXITSTATUS(code) == 0));
    /* posix_spawn of a C library that cannot report a failed exec itself: status 127 and not a word. */
    bool missing = length == 0 && code != -1 && WIFEXITED(code) && WEXITSTATUS(code) == 127;
    run->end = well ? PEL_HELPER_DONE : missing ? PEL_HELPER_MISSING : PEL_HELPER_CRASHED;
}

pel_status pel_helper(const pel_allocator *allocator, const char *argument, const char *value, const char *vendors,
                      int timeout_ms, pel_helper_run *run, pel_error **error) {
    memset(run, 0, sizeof *run);
    pel_text_init(&run->output, allocator);
    run->end = PEL_HELPER_MISSING;
    run->timeout_ms = timeout_ms;
    char buffer[PATH_MAX];
    const char *path = pel_helper_path(buffer);
    pel_text setting;
    pel_text_init(&setting, allocator);
    if (vendors)
        pel_text_format(&setting, "OCL_ICD_VENDORS=%s", vendors);
    char **environment = child_environment(allocator, setting.data);
    char *words[] = {pel_strdup(allocator, path), pel_strdup(allocator, argument), pel_strdup(allocator, value), NULL};
    bool memory = environment && !setting.failed && words[0] && (!argument || words[1]) && (!value || words[2]);
    int ends[2];
    pid_t child;
    if (memory && pipe2(ends, O_CLOEXEC) == 0) {
        int64_t began = pel_clock_now(&pel_clock_monotonic);
        int code = start(path, words, environment, ends[1], &child);
        close(ends[1]);
        if (code == 0)
            finish(child, ends[0], timeout_ms, began, run);
        close(ends[0]);
        run->took_ns = pel_clock_now(&pel_clock_monotonic) - began;
    }
    for (size_t i = 0; i < 3; i++)
        pel_free(allocator, words[i]);
    pel_free(allocator, environment);
    pel_text_free(&setting);
    if (memory && !run->output.failed)
        return PEL_OK;
    pel_text_free(&run->output);
    return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to run %s", path);
}

void pel_helper_describe(const pel_helper_run *run, pel_text *text) {
    switch (run->end) {
    case PEL_HELPER_DONE:
        pel_text_append(text, "works");
        break;
    case PEL_HELPER_HUNG:
        pel_text_format(text, "does not answer within %.3g s (PEL_PROBE_TIMEOUT_MS=%d)", run->timeout_ms / 1e3,
                        run->timeout_ms);
        break;
    case PEL_HELPER_MISSING:
        pel_text_append(text, "cannot be tried: there is no pel-probe");
        break;
    case PEL_HELPER_CRASHED:
        if (run->signal_number) {
            pel_text_format(text, "kills the process by signal %d (SIG%s)", run->signal_number,
                            sigabbrev_np(run->signal_number) ? sigabbrev_np(run->signal_number) : "?");
        } else {
            pel_text_format(text, "ends the process with status %d", run->exit_status);
        }
        break;
    }
}
