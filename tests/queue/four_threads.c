/* SPDX-License-Identifier: BSD-3-Clause */
/* See four_threads.h. */
#include "four_threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int failures;

void four_threads_expect(bool holds, const char *what, int line) {
    if (!holds && atomic_fetch_add(&failures, 1) < 10) {
        fprintf(stderr, "line %d: not so: %s\n", line, what);
    }
}

typedef struct player {
    void (*scene)(int thread);
    pthread_barrier_t *together;
    int thread, rounds;
} player;

static void *play(void *user) {
    const player *p = user;
    for (int i = 0; i < p->rounds; i++) {
        pthread_barrier_wait(p->together);
        p->scene(p->thread);
    }
    return NULL;
}

void four_threads_play(const char *name, void (*scene)(int thread), int rounds) {
    pthread_t threads[FOUR];
    player players[FOUR];
    pthread_barrier_t together;
    assert_int_equal(pthread_barrier_init(&together, NULL, FOUR), 0);
    for (int i = 0; i < FOUR; i++) {
        players[i] = (player){scene, &together, i, rounds};
        assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (int i = 0; i < FOUR; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&together);
    if (atomic_exchange(&failures, 0) != 0) {
        fail_msg("%s: expectations failed in threads, see above", name);
    }
}

static char *read_all(const char *name) {
    const char *root = getenv("PEL_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root ? root : PEL_TEST_FIXTURES "/../..", name);
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 18);
    if (!file || !text) {
        fail_msg("cannot read %s", path);
        abort();
    }
    const size_t bytes = fread(text, 1, (1 << 18) - 1, file);
    fclose(file);
    assert_true(bytes > 0 && bytes < (1 << 18) - 1);
    return text;
}

/* A call is the name and a parenthesis, and nothing that could belong to a longer name before it. */
static bool calls(const char *text, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += length) {
        if (at[length] == '(' && strchr(" ()!=&\n\t", at[-1])) {
            return true;
        }
    }
    return false;
}

void four_threads_require_all(const char *source, bool opencl) {
    char *map = read_all("runtime/pel.map"), *text = read_all(source), *rest = NULL;
    int known = 0, missing = 0;
    for (char *word = strtok_r(map, " \t\n;{}:*", &rest); word; word = strtok_r(NULL, " \t\n;{}:*", &rest)) {
        if (strncmp(word, "pel_", 4) != 0 || (strncmp(word, "pel_opencl_", 11) == 0) != opencl) {
            continue;
        }
        known++;
        if (!calls(text, word)) {
            fprintf(stderr, "%s does not call %s\n", source, word);
            missing++;
        }
    }
    print_message("%d public functions%s\n", known, opencl ? " of OpenCL" : "");
    free(map);
    free(text);
    assert_true(known > 5);
    assert_int_equal(missing, 0);
}
