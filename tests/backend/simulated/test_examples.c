/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The example machines, through the public API: the whole library on a virtual clock. Results are compared with plain loops,
 * times with the best that one device reaches alone, and traces with themselves.
 */
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1 << 20 };

typedef struct session {
    pel_runtime *runtime;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *in, *out;
    uint32_t *x, *y;
} session;

static pel_status mix(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1], salt = *(const uint32_t *)arguments[2];
    (void)scratch;
    (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = (x[i] ^ salt) * 2654435761u + (uint32_t)i;
    }
    return PEL_OK;
}

static void must(pel_status status, pel_error *error) {
    if (status != PEL_OK) {
        fail_msg("%s: %s", pel_status_name(status), pel_error_story(error));
    }
}

static void open_session(session *s, const char *machine, uint64_t seed, double cost) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1), PEL_PARAM_VALUE(uint32_t)};
    char path[4096];
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_error *error = NULL;
    memset(s, 0, sizeof *s);
    (void)snprintf(path, sizeof path, "%s/machines/%s.machine", PEL_TEST_FIXTURES, machine);
    simulation.path = path;
    simulation.seed = seed;
    desc.simulation = &simulation;
    must(pel_runtime_create(&desc, &s->runtime, &error), error);
    must(pel_program_create(s->runtime, &program_desc, &program, &error), error);
    kernel_desc.name = "mix";
    kernel_desc.params = params;
    kernel_desc.param_count = 3;
    kernel_desc.host = mix;
    kernel_desc.cost_hint = cost;
    must(pel_kernel_create(program, &kernel_desc, &s->kernel, &error), error);
    must(pel_program_destroy(program), NULL);
    must(pel_queue_create(s->runtime, NULL, &s->queue, &error), error);
    s->x = malloc(N * sizeof *s->x);
    s->y = malloc(N * sizeof *s->y);
    assert_true(s->x != NULL && s->y != NULL);
    for (uint32_t i = 0; i < N; i++) {
        s->x[i] = i * 7u;
    }
    must(pel_buffer_wrap(s->runtime, s->x, N * sizeof *s->x, &s->in), NULL);
    must(pel_buffer_wrap(s->runtime, s->y, N * sizeof *s->y, &s->out), NULL);
}

static void close_session(session *s) {
    (void)pel_queue_destroy(s->queue);
    must(pel_buffer_destroy(s->in), NULL);
    must(pel_buffer_destroy(s->out), NULL);
    must(pel_kernel_destroy(s->kernel), NULL);
    must(pel_runtime_destroy(s->runtime), NULL);
    free(s->x);
    free(s->y);
}

static bool right(const session *s, uint32_t salt) {
    for (uint32_t i = 0; i < N; i++) {
        if (s->y[i] != (s->x[i] ^ salt) * 2654435761u + i) {
            return false;
        }
    }
    return true;
}

/* One launch and its result at home; shares NULL: as planned. Returns virtual ns. */
static pel_status launch(session *s, uint32_t salt, const pel_share *share, int64_t *ns) {
    const pel_arg args[] = {pel_buf(s->in), pel_buf(s->out), pel_u32(salt)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_NONE;
    desc.shares = share;
    desc.share_count = share != NULL;
    int64_t before = pel_runtime_now(s->runtime);
    pel_status status = pel_launch(s->queue, s->kernel, &desc, args, 3, NULL);
    status = status == PEL_OK ? pel_queue_finish(s->queue) : status;
    *ns = pel_runtime_now(s->runtime) - before;
    return status;
}

static void check_machine(const char *machine, double cost, uint32_t launches) {
    session s;
    open_session(&s, machine, 0, cost);
    int64_t single = INT64_MAX, ns;
    for (uint32_t d = 0; d < pel_runtime_device_count(s.runtime); d++) {
        const pel_share share = {pel_runtime_device(s.runtime, d), 1.0};
        for (uint32_t i = 0; i < 3; i++) {
            must(launch(&s, d * 3 + i, &share, &ns), NULL);
            assert_true(right(&s, d * 3 + i));
            single = i > 0 && ns < single ? ns : single;
        }
    }
    int64_t sum = 0;
    for (uint32_t i = 0; i < launches; i++) {
        must(launch(&s, 100 + i, NULL, &ns), NULL);
        sum += i >= launches / 2 ? ns : 0;
        if (i % 8 == 0) {
            assert_true(right(&s, 100 + i));
        }
    }
    double planned = (double)sum / (double)(launches - launches / 2);
    printf("# %s: best single %.3f ms, planned %.3f ms\n", machine, (double)single / 1e6, planned / 1e6);
    assert_true(planned < 1.10 * (double)single);
    close_session(&s);
}

static void laptop_is_used_well(void **state) {
    (void)state;
    check_machine("laptop", 400.0, 40);
    check_machine("laptop", 1.0, 40);
}

static void four_gpus_are_used_well(void **state) {
    (void)state;
    check_machine("four_gpus", 400.0, 60);
}

/* Same seed, same calls: same clock at the end and same results; another seed: another clock. */
static void virtual_time_repeats(void **state) {
    (void)state;
    int64_t end[3], ns;
    const uint64_t seeds[] = {5, 5, 6};
    for (int run = 0; run < 3; run++) {
        session s;
        open_session(&s, "four_gpus", seeds[run], 50.0);
        for (uint32_t i = 0; i < 20; i++) {
            must(launch(&s, i, NULL, &ns), NULL);
        }
        end[run] = pel_runtime_now(s.runtime);
        close_session(&s);
    }
    assert_true(end[0] == end[1]);
    assert_true(end[0] != end[2]);
}

/* Unprotected launches on failing devices end with the device's error or with the right result; the machine stays usable. */
static void faults_end_cleanly(void **state) {
    (void)state;
    session s;
    uint32_t failures = 0, good = 0;
    int64_t ns;
    open_session(&s, "flaky", 0, 100.0);
    for (uint32_t i = 0; i < 30; i++) {
        pel_status status = launch(&s, i, NULL, &ns);
        if (status == PEL_OK) {
            assert_true(right(&s, i));
            good++;
            continue;
        }
        assert_true(status == PEL_DEVICE_FAILED || status == PEL_DEVICE_LOST);
        pel_error *error = pel_queue_error(s.queue);
        assert_non_null(strstr(pel_error_story(error), status == PEL_DEVICE_LOST ? "sim:dying" : "sim:flaky"));
        pel_error_destroy(error);
        must(pel_queue_reset(s.queue), NULL);
        failures++;
    }
    assert_true(failures >= 1 && failures <= 3);
    assert_true(good >= 27);
    close_session(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(laptop_is_used_well),
        cmocka_unit_test(four_gpus_are_used_well),
        cmocka_unit_test(virtual_time_repeats),
        cmocka_unit_test(faults_end_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
