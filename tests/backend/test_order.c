/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals and gates: opened once, by the last signal, whoever raises it and whenever it was added; under TSan also that nobody
 * is at a gate that goes. */
#include "backend/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

enum { SIGNALS = 4, ROUNDS = 200 };

static atomic_int opened;
static void count_opening(void *handle) {
    (void)handle;
    atomic_fetch_add(&opened, 1);
}

static pel_signal *make(void) { return pel_signal_create(&pel_allocator_default, &pel_clock_monotonic); }

static void test_opened_by_the_last(void **state) {
    (void)state;
    pel_signal *signals[SIGNALS];
    pel_gate *gate = pel_gate_create(&pel_allocator_default, SIGNALS);
    atomic_store(&opened, 0);
    for (int i = 0; i < SIGNALS; i++) {
        signals[i] = make();
        if (i == 0) {
            pel_signal_raise(signals[i]);
        }
        pel_gate_add(gate, signals[i]);
    }
    assert_false(pel_gate_is_open(gate));
    assert_false(pel_gate_may_queue(gate));
    pel_gate_arm(gate, count_opening, NULL);
    for (int i = 1; i < SIGNALS; i++) {
        assert_int_equal(atomic_load(&opened), 0);
        assert_int_equal(pel_gate_opened_at(gate), 0);
        pel_signal_raise(signals[i]);
        pel_signal_raise(signals[i]);
    }
    assert_int_equal(atomic_load(&opened), 1);
    assert_true(pel_gate_is_open(gate) && pel_gate_opened_at(gate) > 0);
    for (int i = 0; i < SIGNALS; i++) {
        pel_signal_note_begun(signals[i]);
        pel_signal_release(signals[i]);
    }
    assert_true(pel_gate_may_queue(gate));
    pel_gate_destroy(gate);
}

static void test_armed_when_all_were_raised(void **state) {
    (void)state;
    pel_signal *signal = make();
    pel_gate *gate = pel_gate_create(&pel_allocator_default, 1);
    atomic_store(&opened, 0);
    pel_gate_add(gate, signal);
    pel_signal_raise(signal);
    assert_true(pel_gate_is_open(gate));
    pel_gate_arm(gate, count_opening, NULL);
    assert_int_equal(atomic_load(&opened), 1);
    pel_gate_destroy(gate);
    pel_signal_release(signal);
}

/* Its work was given up before anybody could wait. */
static void test_gone_before_it_opens(void **state) {
    (void)state;
    pel_signal *signal = make();
    pel_gate *gone = pel_gate_create(&pel_allocator_default, 1), *stays = pel_gate_create(&pel_allocator_default, 1);
    pel_gate_add(gone, signal);
    pel_gate_add(stays, signal);
    pel_gate_destroy(gone);
    pel_signal_raise(signal);
    assert_true(pel_gate_is_open(stays));
    pel_gate_destroy(stays);
    pel_signal_release(signal);
    pel_gate_destroy(NULL);
    pel_signal_release(NULL);
}

static void *raise_it(void *signal) {
    pel_signal_raise(signal);
    pel_signal_release(signal);
    return NULL;
}

static void test_many_threads(void **state) {
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[SIGNALS];
        pel_signal *signals[SIGNALS];
        pel_gate *gate = pel_gate_create(&pel_allocator_default, SIGNALS);
        atomic_store(&opened, 0);
        for (int i = 0; i < SIGNALS; i++) {
            signals[i] = make();
            assert_int_equal(pthread_create(&threads[i], NULL, raise_it, pel_signal_retain(signals[i])), 0);
        }
        for (int i = 0; i < SIGNALS; i++) {
            pel_gate_add(gate, signals[i]);
        }
        pel_gate_arm(gate, count_opening, NULL);
        for (int i = 0; i < SIGNALS; i++) {
            pel_signal_raise(signals[i]);
            pel_signal_release(signals[i]);
        }
        assert_int_equal(atomic_load(&opened), 1);
        pel_gate_destroy(gate);
        for (int i = 0; i < SIGNALS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_opened_by_the_last),
                                       cmocka_unit_test(test_armed_when_all_were_raised),
                                       cmocka_unit_test(test_gone_before_it_opens), cmocka_unit_test(test_many_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
