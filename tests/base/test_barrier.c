/* SPDX-License-Identifier: BSD-3-Clause */
/* Fences for one side: there if the kernel says so, and refused if it does not, as under support/launchers/without_membarrier;
 * and later on, by a filter of calls. */
#include "base/barrier.h"
#include "base/clock.h"
#include "support/refuse_membarrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { DRAINED_NS = 200000 };

static void test_as_the_kernel_says(void **state) {
    (void)state;
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    const bool there = commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(pel_barrier_prepare(), there);
        if (there) {
            pel_barrier_heavy();
        }
    }
    assert_false(pel_barrier_is_refused());
}

/* The last one: it cannot be taken back. */
static void test_time_does_it_where_it_is_refused_later(void **state) {
    (void)state;
    if (refuse_membarrier(true, EPERM) != 0) {
        skip();
    }
    const int64_t before = pel_clock_now(&pel_clock_monotonic);
    pel_barrier_heavy();
    assert_true(pel_clock_now(&pel_clock_monotonic) - before >= DRAINED_NS);
    assert_true(pel_barrier_is_refused());
    assert_false(pel_barrier_prepare());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_the_kernel_says),
                                       cmocka_unit_test(test_time_does_it_where_it_is_refused_later)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
