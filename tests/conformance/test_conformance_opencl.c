/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The OpenCL backend passes the conformance suite on every selected device: with memory as discovery finds it and, where that is
 * the host's own, treated as shared and as private memory too (in the first set only). PoCL's device types are chosen by the
 * environment before the first call, so each set runs in a child process; on a machine with another driver than PoCL the children
 * all see the same devices.
 */
#include "backend/backends.h"
#include "suite.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

static int run_device(const pel_topology_device *found, const char *set) {
    static const struct {
        const char *name;
        bool coherent;
        uint32_t shares;
    } kinds[] = {{"as found", true, 1}, {"shared", false, 1}, {"own memory", false, 0}};
    int failures = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pel_topology_device facts = *found;
        char name[160];
        if (i > 0 && (!found->host_coherent || strcmp(set, "pthread") != 0)) {
            break;
        }
        if (i > 0) {
            facts.host_coherent = kinds[i].coherent;
            facts.info.shares_host_memory = kinds[i].shares;
        }
        (void)snprintf(name, sizeof name, "%s of POCL_DEVICES=\"%s\", memory %s", facts.info.id, set, kinds[i].name);
        pel_backend_env env = {
            .allocator = &pel_allocator_default, .clock = &pel_clock_monotonic, .cache_directory = getenv("PEL_CACHE_DIR")};
        pel_conformance_fixture fixture = {
            .name = name, .backend = &pel_backend_opencl, .env = &env, .facts = &facts, .flags = PEL_FIXTURE_COMPILES};
        failures += pel_conformance_run(&fixture);
    }
    return failures;
}

/* In the child: every device that there is. 77: none. */
static int run_set(const char *set) {
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    pel_topology_options options = {.allocator = &pel_allocator_default, .devices = "opencl"};
    int failures = 0;
    if (pel_topology_discover(&options, &topology, &error) != PEL_OK) {
        printf("POCL_DEVICES=\"%s\": %s\n", set, pel_error_message(error));
        pel_error_destroy(error);
        return 77;
    }
    for (uint32_t i = 0; i < topology->selection_count; i++) {
        failures += run_device(&topology->devices[topology->selection[i]], set);
    }
    pel_topology_destroy(topology);
    return failures > 70 ? 70 : failures;
}

static int run_child(const char *set) {
    char *argv[] = {"test_conformance_opencl", (char *)set, NULL};
    pid_t child;
    int status = 0;
    (void)setenv("POCL_DEVICES", set, 1);
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ) != 0 || waitpid(child, &status, 0) != child) {
        return 1;
    }
    if (WIFSIGNALED(status)) {
        printf("POCL_DEVICES=\"%s\": ended by signal %d\n", set, WTERMSIG(status));
        return 1;
    }
    return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    static const char *const sets[] = {"pthread", "basic", "basic pthread"};
    int failures = 0, none = 0;
    if (argc > 1) {
        return run_set(argv[1]);
    }
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        int code = run_child(sets[i]);
        none += code == 77;
        failures += code == 77 ? 0 : code;
    }
    return none == 3 ? 77 : failures;
}
