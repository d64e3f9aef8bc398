/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checkpoint that is written where devices hold the newest bytes, and read where there are other devices: the file has the
 * bytes, not their places, so those that only a device held are in it, and the next launch goes on from them wherever it runs.
 */
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 3000, STEPS = 3, MACHINES = 3 };

/* Devices with memory of their own; others than those, and one that shares the host's; none. */
static void begin_on(scene *s, int machine, bool owned) {
    pel_simulated_device first[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2)};
    pel_simulated_device second[] = {machine_device("accelerator", 2, 3), machine_device("cpu", 1, 0),
                                     machine_device("gpu0", 9, 1)};
    pel_simulated_device third[] = {machine_device("cpu", 1, 0)};
    pel_simulated_device *const machines[MACHINES] = {first, second, third};
    static const uint32_t counts[MACHINES] = {2, 3, 1};
    scene_begin(s, machines[machine], counts[machine], owned, N);
}

static void step(scene *s, uint32_t shares) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    desc.global[0] = s->n;
    desc.shares = s->shares;
    desc.share_count = shares;
    scene_expect_update(s);
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, NULL), PEL_OK);
}

/* Writes on one machine without ever finishing before, reads on another, and goes on there; `behind`: while the queue goes on. */
static void move(int from, int to, bool owned, bool behind, const char *path) {
    pel_checkpoint_desc desc = PEL_CHECKPOINT_DESC_INIT;
    pel_checkpoint *checkpoint = NULL;
    pel_checkpoint_state found = {0};
    const uint32_t shares[MACHINES] = {2, 3, 1};
    int *kept = malloc(N * sizeof *kept);
    scene s;
    assert_non_null(kept);
    desc.path = path;
    begin_on(&s, from, owned);
    assert_int_equal(pel_checkpoint_open(s.runtime, &desc, &checkpoint, NULL), PEL_OK);
    pel_checkpoint_item item = {"y", s.y};
    for (int i = 0; i < STEPS; i++) {
        step(&s, shares[from]); /* its bytes stay where they were computed */
    }
    memcpy(kept, s.expected, N * sizeof *kept);
    if (behind) {
        assert_int_equal(pel_checkpoint_begin(checkpoint, s.queue, &item, 1, STEPS, NULL), PEL_OK);
        step(&s, shares[from]);
        assert_int_equal(pel_checkpoint_wait(checkpoint, NULL), PEL_OK);
    } else {
        assert_int_equal(pel_checkpoint_write(checkpoint, s.queue, &item, 1, STEPS, NULL), PEL_OK);
    }
    pel_checkpoint_close(checkpoint);
    machine_finish(s.queue);
    scene_end(&s);

    begin_on(&s, to, !owned);
    assert_int_equal(pel_checkpoint_open(s.runtime, &desc, &checkpoint, NULL), PEL_OK);
    step(&s, shares[to]); /* devices hold something else of it, which must not survive */
    item.buffer = s.y;
    assert_int_equal(pel_checkpoint_read(checkpoint, s.queue, &item, 1, &found, NULL), PEL_OK);
    assert_int_equal(found.step, STEPS);
    memcpy(s.expected, kept, N * sizeof *kept);
    step(&s, shares[to]);
    machine_finish(s.queue);
    assert_int_equal(pel_buffer_sync(s.y), PEL_OK);
    assert_memory_equal(s.ys, s.expected, N * sizeof(int));
    pel_checkpoint_close(checkpoint);
    scene_end(&s);
    free(kept);
}

static void test_other_devices(void **state) {
    (void)state;
    char directory[] = "/tmp/pel-moves-XXXXXX", path[64], command[64];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/c", directory);
    for (int from = 0; from < MACHINES; from++) {
        for (int to = 0; to < MACHINES; to++) {
            move(from, to, (from + to) % 2 == 0, to == 1, path);
            move(from, to, (from + to) % 2 == 1, to != 1, path);
        }
    }
    (void)snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_other_devices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
