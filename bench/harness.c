/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool load_bars(pel_results *results, const char *path) {
    json_error_t error;
    results->bars = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_array(results->bars)) {
        fprintf(stderr, "bench %s: %s, line %d: %s\n", results->bench, path, error.line,
                results->bars ? "an array is wanted" : error.text);
        return false;
    }
    return true;
}

static bool read_arguments(pel_results *results, int argc, char **argv, const char **out, const char **bars) {
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            results->quick = true;
        } else if (strcmp(argv[i], "--full") == 0) {
            results->full = true;
        } else if (next && strcmp(argv[i], "--out") == 0) {
            *out = argv[++i];
        } else if (next && strcmp(argv[i], "--bars") == 0) {
            *bars = argv[++i];
        } else if (next && strcmp(argv[i], "--only") == 0) {
            results->only = argv[++i];
        } else {
            fprintf(stderr, "bench %s: '%s' is not understood; there are --out FILE, --bars FILE, --only TEXT, --quick, --full\n",
                    results->bench, argv[i]);
            return false;
        }
    }
    return true;
}

bool pel_results_open(pel_results *results, const char *bench, int argc, char **argv) {
    const char *out = NULL, *bars = NULL;
    *results = (pel_results){.bench = bench};
    (void)setenv("PEL_HISTORY", "off", 0); /* every run starts from nothing, as under bench/run: else an earlier one decides */
    if (!read_arguments(results, argc, argv, &out, &bars) || (bars && !load_bars(results, bars))) {
        return false;
    }
    if (out && !(results->file = fopen(out, "ae"))) {
        fprintf(stderr, "bench %s: cannot write %s: %s\n", bench, out, strerror(errno));
        return false;
    }
    return true;
}

bool pel_results_wants(const pel_results *results, const char *row) {
    return !results->only || strstr(row, results->only);
}

static bool same(const json_t *bar, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(bar, key));
    return value && (strcmp(value, text) == 0 || strcmp(value, "*") == 0);
}

static const json_t *find_bar(const pel_results *results, const char *row, const char *subject) {
    size_t i;
    const json_t *bar;
    json_array_foreach(results->bars, i, bar) {
        if (same(bar, "bench", results->bench) && same(bar, "row", row) && same(bar, "subject", subject)) {
            /* A bar without a limit exempts its row from the more general ones that follow. */
            return json_object_get(bar, "at_most") || json_object_get(bar, "at_least") ? bar : NULL;
        }
    }
    return NULL;
}

/* "<= 1.03" into `text`; whether `median` keeps it. */
static bool judge(const json_t *bar, double median, char text[48]) {
    const json_t *most = json_object_get(bar, "at_most"), *least = json_object_get(bar, "at_least");
    if (json_is_number(most)) {
        snprintf(text, 48, "<= %g", json_number_value(most));
        return median <= json_number_value(most);
    }
    snprintf(text, 48, ">= %g", json_number_value(least));
    return json_is_number(least) && median >= json_number_value(least);
}

static void write_line(pel_results *results, json_t *line) {
    if (results->file && line) {
        char *text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        fprintf(results->file, "%s\n", text ? text : "");
        free(text);
    }
    json_decref(line);
}

static void add(pel_results *results, const char *row, const char *subject, const char *unit, const double figures[3],
                uint32_t runs, const char *why_void) {
    const json_t *bar = find_bar(results, row, subject);
    char limit[48] = "";
    const bool holds = bar && judge(bar, figures[0], limit) && !why_void;
    results->missed += bar && !holds;
    printf("%-9s %-22s %-22s %10.4g %-5s %-9s %s%s%s\n", results->bench, row, subject, figures[0], unit, limit,
           !bar    ? ""
           : holds ? "holds"
                   : "MISSED",
           why_void ? "  " : "", why_void ? why_void : "");
    fflush(stdout);
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:i, s:o, s:o}", "bench", results->bench, "row", row, "subject",
                             subject, "unit", unit, "median", figures[0], "min", figures[1], "max", figures[2], "runs", (int)runs,
                             "bar", bar ? json_string(limit) : json_null(), "holds", bar ? json_boolean(holds) : json_null());
    if (line && why_void) {
        json_object_set_new(line, "void", json_string(why_void));
    }
    write_line(results, line);
}

void pel_results_add(pel_results *results, const char *row, const char *subject, const char *unit, const double *values,
                     uint32_t count, const char *why_void) {
    double figures[3] = {pel_bench_median(values, count), count ? values[0] : 0.0, count ? values[0] : 0.0};
    for (uint32_t i = 1; i < count; i++) {
        figures[1] = values[i] < figures[1] ? values[i] : figures[1];
        figures[2] = values[i] > figures[2] ? values[i] : figures[2];
    }
    add(results, row, subject, unit, figures, count, why_void);
}

void pel_results_add_one(pel_results *results, const char *row, const char *subject, const char *unit, double value,
                         uint32_t runs, const char *why_void) {
    const double figures[3] = {value, value, value};
    add(results, row, subject, unit, figures, runs, why_void);
}

void pel_results_skip(const pel_results *results, const char *row, const char *why) {
    printf("%-9s %-22s left out: %s\n", results->bench, row, why);
}

int pel_results_close(pel_results *results) {
    bool written = true;
    if (results->file) {
        written = fflush(results->file) == 0 && !ferror(results->file);
        written = fclose(results->file) == 0 && written;
    }
    if (!written) {
        fprintf(stderr, "bench %s: the results could not be written: %s\n", results->bench, strerror(errno));
    }
    json_decref(results->bars);
    return results->missed > 0 || !written ? 1 : 0;
}

pel_bench_options pel_results_options(const pel_results *results, double target_ns) {
    return (pel_bench_options){.target_ns = results->quick ? 1.5e6 : target_ns,
                               .rounds = results->quick ? 5 : 11,
                               .warm_ups = results->quick ? 6 : 24,
                               .tries = results->quick ? 2 : 6,
                               .patience_ns = results->quick ? 10e9 : 240e9,
                               .seed = 1,
                               .verify_work = results->quick ? 1e6 : 2e7,
                               .compare = true};
}
