/* SPDX-License-Identifier: BSD-3-Clause */
/* Fences for one side: there if the kernel says so, and refused if it does not, as under support/launchers/without_membarrier. */
#include "base/barrier.h"

#include <linux/membarrier.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static void test_as_the_kernel_says(void **state) {
    (void)state;
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    const bool there = commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(pel_barrier_prepare(), there);
        pel_barrier_heavy();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_the_kernel_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
