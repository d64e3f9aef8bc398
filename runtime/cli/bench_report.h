/* SPDX-License-Identifier: BSD-3-Clause */
/* What `pel bench` shows: tables for people, JSON and CSV for programs. Absent figures are "-", null and empty, never NaN. */
#ifndef PEL_CLI_BENCH_REPORT_H
#define PEL_CLI_BENCH_REPORT_H

#include "cli/bench_case.h"
#include "cli/output.h"

void pel_bench_print(const pel_bench_session *session, const pel_bench_row *rows, uint32_t count);
json_t *pel_bench_json(const pel_bench_session *session, const pel_bench_row *rows, uint32_t count); /* NULL: out of memory */
void pel_bench_csv(FILE *file, const pel_bench_row *rows, uint32_t count);

#endif
