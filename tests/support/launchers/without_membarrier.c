/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a program as on a system without membarrier (base/barrier.h): the call is answered with ENOSYS, in the program and in
 * whatever it starts.
 *
 *     without_membarrier PROGRAM [ARGUMENT...]
 *
 * Exits with 77 where the system has no filters of calls.
 */
#include "../refuse_membarrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>

enum { SKIPPED = 77 };

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments < 2) {
        fprintf(stderr, "%s: a program is missing\n", arguments[0]);
        return 2;
    }
    if (refuse_membarrier(false, ENOSYS) != 0) {
        fprintf(stderr, "skipped: no filter of calls: %s\n", strerror(errno));
        return SKIPPED;
    }
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) != -1 || errno != ENOSYS) {
        fprintf(stderr, "%s: the filter lets membarrier through\n", arguments[0]);
        return 1;
    }
    execvp(arguments[1], arguments + 1);
    fprintf(stderr, "%s: %s\n", arguments[1], strerror(errno));
    return 1;
}
