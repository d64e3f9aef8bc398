/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ICD loader reads its environment once per process, so each scenario of drivers needs a process of its own: the test program
 * starts itself again with the scenario's name and environment. A scenario checks with CHECK and returns; leaks are looked for at
 * its exit.
 */
#ifndef PEL_TESTS_TOPOLOGY_SCENARIO_H
#define PEL_TESTS_TOPOLOGY_SCENARIO_H

#include "topology/topology.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct scenario {
    const char *name;
    void (*run)(void);
} scenario;

#define CHECK(condition)                                                                                                         \
    do {                                                                                                                         \
        if (!(condition)) {                                                                                                      \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                              \
            exit(1);                                                                                                             \
        }                                                                                                                        \
    } while (0)

/* In main: when argv names a scenario, runs it and exits. */
void scenario_main(int argc, char **argv, const scenario *scenarios);

/* Runs a scenario in a new process with "NAME=value" settings ("NAME" alone unsets); NULL ends them. Returns the exit status, 128
 * + signal, or -1. */
int scenario_run(const char *name, const char *const *settings);

/* A path of the tests' environment, or the test is skipped (exit 77). */
const char *scenario_environment(const char *variable);

/* A new directory below the system's temporary one; the caller frees the text. Removed with everything in it by scenario_remove.
 */
char *scenario_directory(void);
void scenario_remove(char *directory);
void scenario_write(const char *directory, const char *name, const char *text); /* makes the directories in between */

/* Discovers with a list; checks that it works. */
pel_topology *scenario_discover(const char *devices);
const pel_topology_device *scenario_device(const pel_topology *topology, const char *id); /* NULL: not there */

#endif
