/* SPDX-License-Identifier: BSD-3-Clause */
/* What pel's queue costs, beside the floors below it: atomics, the futex, raw OpenCL calls. */
#include "contest.h"

int main(int argc, char **argv) {
    static const char *const programs[] = {"peer_pel", "peer_raw", NULL};
    pel_results results;
    if (!pel_results_open(&results, "micro", argc, argv)) {
        return 2;
    }
    const pel_contest contest = {.results = &results, .programs = programs};
    const bool ran = pel_contest_run(&contest);
    const int status = pel_results_close(&results);
    return ran ? status : 2;
}
