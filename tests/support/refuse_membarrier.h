/* SPDX-License-Identifier: BSD-3-Clause */
/* Has membarrier answered with an error from now on, in the calling thread or in all, and in whatever the process starts. */
#ifndef PEL_TESTS_SUPPORT_REFUSE_MEMBARRIER_H
#define PEL_TESTS_SUPPORT_REFUSE_MEMBARRIER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* It does not ask for the architecture: programs of another one, where the number is another call's, are not what it is for.
 * 0: done. */
static inline long refuse_membarrier(bool all_threads, int error) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program);
}

#endif
