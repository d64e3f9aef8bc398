/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A good guest brings no uninvited ones: PoCL (through LLVM) replaces the handlers of fifteen signals and the signal stack of the
 * thread, and sets HWLOC_PLUGINS_PATH, when it starts. We cannot keep it from doing so, but we can put things back. The
 * invariant: outside a guard, dispositions, signal stack and environment are the caller's, SIGFPE excepted.
 *
 * Two guards at once would restore each other's half-changed state, so they exclude each other in the process. The lock is a word
 * that holds the owner's process id, not a mutex: after a fork the child finds a foreign id and takes the lock instead of
 * hanging.
 */
#include "topology/guard.h"
#include "base/alloc.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static atomic_int owner;

static void lock(void) {
    int self = (int)getpid();
    for (;;) {
        int seen = 0;
        if (atomic_compare_exchange_strong(&owner, &seen, self))
            return;
        if (seen != self && atomic_compare_exchange_strong(&owner, &seen, self))
            return; /* left behind by the parent of a fork */
        struct timespec pause = {0, 200000};
        (void)nanosleep(&pause, NULL);
    }
}

static void unlock(void) {
    atomic_store(&owner, 0);
}

static bool copy_environment(pel_guard *guard) {
    size_t bytes = 0;
    for (char **variable = environ; variable && *variable; variable++)
        bytes += strlen(*variable) + 1;
    guard->environment_bytes = bytes;
    guard->environment = NULL;
    if (bytes == 0)
        return true;
    guard->environment = pel_alloc(guard->allocator, bytes);
    if (!guard->environment)
        return false;
    char *to = guard->environment;
    for (char **variable = environ; *variable; variable++) {
        size_t length = strlen(*variable) + 1;
        memcpy(to, *variable, length);
        to += length;
    }
    return true;
}

pel_status pel_guard_enter(pel_guard *guard, const pel_allocator *allocator) {
    lock();
    guard->allocator = allocator;
    guard->took_sigfpe = false;
    if (!copy_environment(guard)) {
        unlock();
        return PEL_OUT_OF_MEMORY;
    }
    for (int number = 1; number < PEL_GUARD_SIGNALS; number++) {
        guard->known[number] = sigaction(number, NULL, &guard->actions[number]) == 0;
    }
    (void)sigaltstack(NULL, &guard->signal_stack);
    sigset_t block;
    sigfillset(&block);
    /* Faults are delivered to the thread that causes them; blocked, they would kill the process without asking anyone. */
    static const int faults[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&block, faults[i]);
    pthread_sigmask(SIG_BLOCK, &block, &guard->mask);
    return PEL_OK;
}

static bool same_action(const struct sigaction *a, const struct sigaction *b) {
    bool information = (a->sa_flags & SA_SIGINFO) != 0;
    if (information != ((b->sa_flags & SA_SIGINFO) != 0))
        return false;
    return information ? a->sa_sigaction == b->sa_sigaction : a->sa_handler == b->sa_handler;
}

static void restore_signals(pel_guard *guard) {
    for (int number = 1; number < PEL_GUARD_SIGNALS; number++) {
        struct sigaction now;
        if (!guard->known[number] || sigaction(number, NULL, &now) != 0)
            continue;
        if (same_action(&now, &guard->actions[number]))
            continue;
        if (number == SIGFPE) {
            guard->took_sigfpe = true;
        } else {
            (void)sigaction(number, &guard->actions[number], NULL);
        }
    }
}

/* The entry of `name` (length without '=') in the copy, or NULL. */
static char *find_saved(const pel_guard *guard, const char *name, size_t length) {
    char *end = guard->environment + guard->environment_bytes;
    for (char *at = guard->environment; at < end; at += strlen(at) + 1) {
        if (strncmp(at, name, length) == 0 && at[length] == '=')
            return at;
    }
    return NULL;
}

/* Takes away what was added. One variable per pass: unsetenv moves the array. */
static bool remove_one_added(const pel_guard *guard) {
    for (char **variable = environ; variable && *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        if (!equals || equals == *variable)
            continue;
        size_t length = (size_t)(equals - *variable);
        if (find_saved(guard, *variable, length))
            continue;
        char name[512]; /* no driver invents longer ones */
        if (length >= sizeof name)
            continue;
        memcpy(name, *variable, length);
        name[length] = '\0';
        return unsetenv(name) == 0;
    }
    return false;
}

static void restore_environment(pel_guard *guard) {
    while (remove_one_added(guard)) {
    }
    char *end = guard->environment + guard->environment_bytes;
    for (char *at = guard->environment; at < end;) {
        size_t bytes = strlen(at) + 1; /* before the entry is cut at its '=' for a moment */
        char *equals = strchr(at, '=');
        if (equals && equals != at) {
            *equals = '\0';
            const char *now = getenv(at);
            if (!now || strcmp(now, equals + 1) != 0)
                (void)setenv(at, equals + 1, 1);
            *equals = '=';
        }
        at += bytes;
    }
    pel_free(guard->allocator, guard->environment);
    guard->environment = NULL;
}

void pel_guard_leave(pel_guard *guard) {
    restore_signals(guard);
    restore_environment(guard);
    (void)sigaltstack(&guard->signal_stack, NULL);
    pthread_sigmask(SIG_SETMASK, &guard->mask, NULL);
    unlock();
}
