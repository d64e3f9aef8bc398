/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a program as on a system without membarrier (base/barrier.h): the call is answered with ENOSYS, in the program and in
 * whatever it starts.
 *
 *     without_membarrier PROGRAM [ARGUMENT...]
 *
 * Exits with 77 where the system has no filters of calls.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SKIPPED = 77 };

/* It does not ask for the architecture: programs of another one, where the number is another call's, are not what it is for. */
static int install(void) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) : -1;
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments < 2) {
        fprintf(stderr, "%s: a program is missing\n", arguments[0]);
        return 2;
    }
    if (install() != 0) {
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
