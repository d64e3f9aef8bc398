/* SPDX-License-Identifier: BSD-3-Clause */
/* The same rows for pel and for the task runtimes that were found, and one table of all. */
#include "contest.h"

int main(int argc, char **argv) {
    static const char *const programs[] = {"peer_pel", "peer_raw", "peer_openmp", "peer_tbb", "peer_starpu", NULL};
    pel_results results;
    if (!pel_results_open(&results, "peers", argc, argv)) {
        return 2;
    }
    const pel_contest contest = {.results = &results, .programs = programs, .table = true};
    const bool ran = pel_contest_run(&contest);
    const int status = pel_results_close(&results);
    return ran ? status : 2;
}
