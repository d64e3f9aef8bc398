/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_report.h"
#include <string.h>

enum { TEXT = 512 };

/* Fixed decimals with '.', whatever the locale: the program never calls setlocale. */
static void number_cell(pel_table *table, double value, int decimals, const char *suffix) {
    if (value > 0.0) {
        pel_table_cell(table, "%.*f%s", decimals, value, suffix);
    } else {
        pel_table_cell(table, "-");
    }
}

static void milliseconds_cell(pel_table *table, const pel_bench_figure *figure) {
    const double ms = figure->ran ? figure->median_ns * 1e-6 : 0.0;
    number_cell(table, ms, ms < 1.0 ? 4 : ms < 10.0 ? 3 : 2, "");
}

static const char *plan_text(const pel_bench_row *row, char text[TEXT]) {
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < row->plan_count && used < TEXT; i++) {
        const int wrote =
            snprintf(text + used, TEXT - used, "%s%s %.0f %%", i ? " + " : "", row->plan[i].device, 100.0 * row->plan[i].share);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return text[0] ? text : "-";
}

static double checked_share(const pel_bench_row *row) {
    double least = row->hybrid.ran ? row->hybrid.checked : 1.0;
    for (uint32_t i = 0; i < row->device_count; i++) {
        least = row->alone[i].ran && row->alone[i].checked < least ? row->alone[i].checked : least;
    }
    return least;
}

static void verified_cell(pel_table *table, const pel_bench_row *row) {
    const double checked = checked_share(row);
    if (!row->verified) {
        pel_table_cell(table, "NO");
    } else if (checked >= 1.0) {
        pel_table_cell(table, "yes");
    } else {
        pel_table_cell(table, "yes (%.2g %%)", 100.0 * checked);
    }
}

static void print_rows(const pel_bench_session *session, const pel_bench_row *rows, uint32_t count) {
    char alignment[PEL_BENCH_DEVICES + 16] = "lr", text[TEXT];
    for (uint32_t d = 0; d <= session->device_count; d++) {
        strcat(alignment, "r");
    }
    strcat(alignment, "lrrl");
    pel_table table;
    pel_table_init(&table, alignment);
    pel_table_cell(&table, "kernel");
    pel_table_cell(&table, "n");
    for (uint32_t d = 0; d < session->device_count; d++) {
        pel_table_cell(&table, "%s ms", pel_device_get_info(session->devices[d])->id);
    }
    static const char *const rest[] = {"hybrid ms", "plan", "speed-up", "efficiency", "verified"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        pel_table_cell(&table, "%s", rest[i]);
    }
    for (uint32_t r = 0; r < count; r++) {
        const pel_bench_row *row = &rows[r];
        pel_table_cell(&table, "%s", row->kernel->name);
        pel_table_cell(&table, "%llu", (unsigned long long)row->n);
        for (uint32_t d = 0; d < session->device_count; d++) {
            milliseconds_cell(&table, &row->alone[d]);
        }
        milliseconds_cell(&table, &row->hybrid);
        pel_table_cell(&table, "%s", plan_text(row, text));
        number_cell(&table, row->speedup, 2, "");
        number_cell(&table, row->efficiency, 2, "");
        verified_cell(&table, row);
    }
    (void)pel_table_print(&table, stdout, "");
    pel_table_free(&table);
}

static void comparison_cells(pel_table *table, const pel_bench_row *row, const char *against,
                             const pel_bench_comparison *comparison) {
    if (!comparison->tried) {
        return;
    }
    pel_table_cell(table, "%s", row->kernel->name);
    pel_table_cell(table, "%s", comparison->device);
    pel_table_cell(table, "%s", against);
    number_cell(table, comparison->ratio, 3, "");
    number_cell(table, comparison->control, 3, "");
    pel_table_cell(table, "%s", comparison->valid ? "" : comparison->story);
}

static void print_comparisons(const pel_bench_row *rows, uint32_t count) {
    bool any = false;
    pel_table table;
    pel_table_init(&table, "lllrrl");
    static const char *const heading[] = {"kernel", "device", "against", "pel / other", "control", ""};
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++) {
        pel_table_cell(&table, "%s", heading[i]);
    }
    for (uint32_t r = 0; r < count; r++) {
        comparison_cells(&table, &rows[r], "raw OpenCL", &rows[r].raw);
        comparison_cells(&table, &rows[r], "OpenMP loop", &rows[r].openmp);
        any = any || rows[r].raw.tried || rows[r].openmp.tried;
    }
    if (any) {
        printf("\nOne device, against programs without pel (time ratios; the control is the other program against itself):\n");
        (void)pel_table_print(&table, stdout, "");
    }
    pel_table_free(&table);
}

static void print_stories(const pel_bench_row *rows, uint32_t count) {
    for (uint32_t r = 0; r < count; r++) {
        const pel_bench_row *row = &rows[r];
        for (uint32_t d = 0; d <= row->device_count; d++) {
            const pel_bench_figure *figure = d == row->device_count ? &row->hybrid : &row->alone[d];
            if (*figure->story) {
                printf("%s on %s: %s\n", row->kernel->name, figure->device ? figure->device : "all", figure->story);
            }
        }
    }
}

void pel_bench_print(const pel_bench_session *session, const pel_bench_row *rows, uint32_t count) {
    print_rows(session, rows, count);
    printf(
        "\nn: elements, bodies, or the side of a square image or matrix. speed-up: the time of the fastest device alone over "
        "the time of all\n"
        "together. efficiency: the share of what devices that may run at once could give; devices on the same cores are "
        "alternatives.\n"
        "verified: against a reference in double precision; (11 %%): so much of the result was sampled.\n");
    print_comparisons(rows, count);
    print_stories(rows, count);
}

/* ---- JSON ---- */

static json_t *figure_json(const pel_bench_figure *figure) {
    const bool ran = figure->ran;
    return json_pack("{s:s?, s:b, s:o, s:o, s:o, s:i, s:b, s:o, s:o}", "device", figure->device, "ran", ran, "median_ms",
                     ran ? pel_json_real(figure->median_ns * 1e-6) : json_null(), "min_ms",
                     ran ? pel_json_real(figure->min_ns * 1e-6) : json_null(), "max_ms",
                     ran ? pel_json_real(figure->max_ns * 1e-6) : json_null(), "runs", (int)figure->runs, "verified",
                     figure->verified, "checked", ran ? pel_json_real(figure->checked) : json_null(), "story",
                     pel_json_text(figure->story));
}

static json_t *comparison_json(const pel_bench_comparison *comparison) {
    if (!comparison->tried) {
        return json_null();
    }
    const bool have = comparison->ratio > 0.0;
    return json_pack("{s:o, s:o, s:o, s:b, s:i, s:o}", "device", pel_json_text(comparison->device), "ratio",
                     have ? pel_json_real(comparison->ratio) : json_null(), "control",
                     have ? pel_json_real(comparison->control) : json_null(), "valid", comparison->valid, "tries",
                     (int)comparison->tries, "story", pel_json_text(comparison->story));
}

static json_t *row_json(const pel_bench_row *row) {
    json_t *alone = json_array(), *plan = json_array();
    for (uint32_t d = 0; d < row->device_count; d++) {
        json_array_append_new(alone, figure_json(&row->alone[d]));
    }
    for (uint32_t i = 0; i < row->plan_count; i++) {
        json_array_append_new(plan, json_pack("{s:o, s:o}", "device", pel_json_text(row->plan[i].device), "share",
                                              pel_json_real(row->plan[i].share)));
    }
    const bool rated = row->speedup > 0.0;
    const double seconds = row->hybrid.median_ns * 1e-9;
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "kernel", row->kernel->name, "n",
                     (json_int_t)row->n, "devices", alone, "hybrid", figure_json(&row->hybrid), "plan", plan, "plan_reason",
                     pel_json_text(row->plan_reason), "best_single_ms", rated ? pel_json_real(row->best_ns * 1e-6) : json_null(),
                     "speedup", rated ? pel_json_real(row->speedup) : json_null(), "ideal_speedup",
                     rated ? pel_json_real(row->ideal) : json_null(), "efficiency",
                     rated ? pel_json_real(row->efficiency) : json_null(), "hybrid_gflops",
                     rated ? pel_json_real(row->kernel->flops(row->n) * 1e-9 / seconds) : json_null(), "raw_opencl",
                     comparison_json(&row->raw), "openmp", comparison_json(&row->openmp), "verified", row->verified);
}

static json_t *device_json(const pel_device *device) {
    const pel_device_info *info = pel_device_get_info(device);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "id", pel_json_text(info->id), "name", pel_json_text(info->name),
                     "platform", pel_json_text(info->platform), "driver", pel_json_text(info->driver), "identity",
                     pel_json_text(info->identity), "compute_units", (json_int_t)info->compute_units, "host_cores",
                     (json_int_t)info->cores_count);
}

json_t *pel_bench_json(const pel_bench_session *session, const pel_bench_row *rows, uint32_t count) {
    json_t *devices = json_array(), *kernels = json_array();
    bool verified = true;
    for (uint32_t d = 0; d < session->device_count; d++) {
        json_array_append_new(devices, device_json(session->devices[d]));
    }
    for (uint32_t r = 0; r < count; r++) {
        json_array_append_new(kernels, row_json(&rows[r]));
        verified = verified && rows[r].verified;
    }
    return json_pack("{s:s, s:I, s:o, s:I, s:o, s:o, s:b}", "schema", "pel-bench-1", "seed", (json_int_t)session->options.seed,
                     "target_ms", pel_json_real(session->options.target_ns * 1e-6), "rounds", (json_int_t)session->options.rounds,
                     "devices", devices, "kernels", kernels, "verified", verified);
}

/* ---- CSV ---- */

/* As RFC 4180 wants it. */
static void csv_text(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"') {
            fputc('"', file);
        }
        fputc(*text, file);
    }
    fputc('"', file);
}

static void csv_number(FILE *file, bool have, double value) {
    fputc(',', file);
    if (have) {
        fprintf(file, "%.6g", value);
    }
}

static void csv_figure(FILE *file, const pel_bench_row *row, const pel_bench_figure *figure, const char *plan, bool hybrid) {
    const pel_bench_comparison none = {.tried = false};
    const bool raw = !hybrid && row->raw.tried && figure->device && strcmp(row->raw.device, figure->device) == 0;
    const bool openmp = !hybrid && row->openmp.tried && figure->device && strcmp(row->openmp.device, figure->device) == 0;
    const pel_bench_comparison *against = raw ? &row->raw : openmp ? &row->openmp : &none;
    fprintf(file, "%s,%llu,", row->kernel->name, (unsigned long long)row->n);
    csv_text(file, figure->device ? figure->device : "all");
    csv_number(file, figure->ran, figure->median_ns * 1e-6);
    csv_number(file, figure->ran, figure->min_ns * 1e-6);
    csv_number(file, figure->ran, figure->max_ns * 1e-6);
    fprintf(file, ",%u,%s,", figure->runs, figure->verified ? "yes" : "no");
    csv_text(file, plan);
    csv_number(file, hybrid && row->speedup > 0.0, row->speedup);
    csv_number(file, hybrid && row->efficiency > 0.0, row->efficiency);
    fprintf(file, ",%s", raw ? "raw OpenCL" : openmp ? "OpenMP loop" : "");
    csv_number(file, against->ratio > 0.0, against->ratio);
    csv_number(file, against->control > 0.0, against->control);
    fprintf(file, ",%s\n", !against->tried ? "" : against->valid ? "yes" : "no");
}

void pel_bench_csv(FILE *file, const pel_bench_row *rows, uint32_t count) {
    char text[TEXT];
    fprintf(file, "kernel,n,device,median_ms,min_ms,max_ms,runs,verified,plan,speedup,efficiency,against,ratio,control,valid\n");
    for (uint32_t r = 0; r < count; r++) {
        for (uint32_t d = 0; d < rows[r].device_count; d++) {
            csv_figure(file, &rows[r], &rows[r].alone[d], "", false);
        }
        csv_figure(file, &rows[r], &rows[r].hybrid, plan_text(&rows[r], text), true);
    }
}
