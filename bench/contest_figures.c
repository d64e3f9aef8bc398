/* SPDX-License-Identifier: BSD-3-Clause */
#include "contest_figures.h"
#include "peers/workload.h"
#include <stdlib.h>
#include <string.h>

static size_t index_of(const figures *all, const char *row, const char *subject) {
    size_t i = 0;
    while (i < all->count && (strcmp(all->list[i].row, row) != 0 || strcmp(all->list[i].subject, subject) != 0)) {
        i++;
    }
    return i;
}

static const figure *find(const figures *all, const char *row, const char *subject) {
    const size_t i = index_of(all, row, subject);
    return i < all->count ? &all->list[i] : NULL;
}

static figure *find_or_add(figures *all, const char *row, const char *subject) {
    size_t i = index_of(all, row, subject);
    if (i == all->count) {
        i = all->count < FIGURES ? all->count++ : FIGURES - 1;
        snprintf(all->list[i].row, sizeof all->list[i].row, "%s", row);
        snprintf(all->list[i].subject, sizeof all->list[i].subject, "%s", subject);
    }
    return &all->list[i];
}

void figures_wrong(figures *all, const char *row, const char *subject, const char *why) {
    figure *f = find_or_add(all, row, subject);
    f->wrong = true;
    snprintf(f->why, sizeof f->why, "%s", why);
}

void figures_read(figures *all, char *line) {
    char *words[5] = {NULL}, *rest = line;
    for (unsigned i = 0; i < 5; i++) {
        words[i] = strsep(&rest, "\t");
    }
    if (!words[3]) {
        figures_wrong(all, line, "?", "a contestant said something else");
        return;
    }
    if (strcmp(words[0], "wrong") == 0) {
        figures_wrong(all, words[1], words[2], words[3]);
        return;
    }
    figure *f = find_or_add(all, words[1], words[2]);
    if (strcmp(words[0], "sample") == 0 && words[4]) {
        snprintf(f->unit, sizeof f->unit, "%s", words[3]);
        if (f->count < FIGURE_VALUES) {
            f->values[f->count++] = strtod(words[4], NULL);
        }
    } else {
        f->absent = strcmp(words[0], "absent") == 0;
        snprintf(f->why, sizeof f->why, "%s", words[3]);
    }
}

void figures_merge(figures *all, const figures *turn) {
    for (size_t i = 0; i < turn->count; i++) {
        const figure *from = &turn->list[i];
        figure *to = find_or_add(all, from->row, from->subject);
        for (unsigned v = 0; v < from->count && to->count < FIGURE_VALUES; v++) {
            to->values[to->count++] = from->values[v];
        }
        if (from->count > 0) {
            memcpy(to->unit, from->unit, sizeof to->unit);
        }
        if (from->why[0] && !to->wrong) {
            memcpy(to->why, from->why, sizeof to->why);
        }
        to->absent = to->absent || from->absent;
        to->wrong = to->wrong || from->wrong;
    }
}

static bool good(const figure *f) {
    return f && f->count > 0 && !f->absent && !f->wrong && !f->why[0];
}

static bool more_is_better(const figure *f) {
    const char *end = strrchr(f->unit, '/');
    return (end && strcmp(end, "/s") == 0) || strstr(f->row, "efficiency") || strcmp(f->unit, "% rounds") == 0;
}

/* Subjects that one process measured in turns, sample by sample; others have their medians compared. */
typedef struct pairing {
    const char *row, *above, *below;
    bool difference, in_turns;
} pairing;
static const pairing pairings[] = {{"wake", "pel", "raw", false, false},
                                   {"launch single", "pel", "raw", true, true},
                                   {"launch batched", "pel", "raw", true, true},
                                   {"launch single", "pel", "raw, looking", true, true},
                                   {"launch batched", "pel", "raw, with events", true, true},
                                   {"triad", "pel", "OpenMP", false, true},
                                   {"fork-join", "pel", "raw", false, false},
                                   {"wait, by caller", "pel", "raw", false, false},
                                   {"wait, by worker", "pel", "raw", false, false},
                                   {"cholesky 4096", "pel", "OpenMP", false, false},
                                   {"cholesky 8192", "pel", "OpenMP", false, false},
                                   {"cholesky 4096", "pel", "StarPU", false, false},
                                   {"cholesky 8192", "pel", "StarPU", false, false}};

static double median_of(const figure *f) {
    return pel_bench_median(f->values, f->count);
}

static void report_pairing(const figures *all, const pairing *p, pel_results *results) {
    const figure *above = find(all, p->row, p->above), *below = find(all, p->row, p->below);
    char subject[64];
    double values[FIGURE_VALUES];
    uint32_t count = 0;
    if (!good(above) || !good(below)) {
        return;
    }
    if (p->in_turns && above->count == below->count) {
        for (; count < above->count; count++) {
            const double a = above->values[count], b = below->values[count];
            values[count] = p->difference ? a - b : a / b;
        }
    } else {
        const double a = median_of(above), b = median_of(below);
        values[count++] = p->difference ? a - b : a / b;
    }
    snprintf(subject, sizeof subject, "%s %c %s", p->above, p->difference ? '-' : '/', p->below);
    pel_results_add(results, p->row, subject, p->difference ? above->unit : "ratio", values, count, NULL);
}

static const figure *best_other(const figures *all, const figure *mine) {
    const figure *best = NULL;
    for (size_t i = 0; i < all->count; i++) {
        const figure *f = &all->list[i];
        if (f == mine || strcmp(f->row, mine->row) != 0 || !good(f) || strncmp(f->subject, "raw", 3) == 0) {
            continue;
        }
        if (!best || (median_of(f) > median_of(best)) == more_is_better(mine)) {
            best = f;
        }
    }
    return best;
}

static void report_versus(const figures *all, const figure *mine, pel_results *results) {
    const figure *best = best_other(all, mine);
    if (best && median_of(best) > 0.0) {
        pel_results_add_one(results, mine->row, "pel / best peer", "ratio", median_of(mine) / median_of(best), mine->count, NULL);
    }
}

static void report(const figure *f, pel_results *results) {
    if (f->wrong) {
        pel_results_add_one(results, f->row, f->subject, "wrong", 0.0, 0, f->why);
        results->missed++;
    } else if (f->absent && f->count == 0) {
        char row[80];
        snprintf(row, sizeof row, "%s %s", f->row, f->subject);
        pel_results_skip(results, row, f->why);
    } else {
        pel_results_add(results, f->row, f->subject, f->unit, f->values, f->count, f->why[0] ? f->why : NULL);
    }
}

void figures_report(figures *all, size_t first, pel_results *results, bool versus) {
    for (size_t i = first; i < all->count; i++) {
        report(&all->list[i], results);
    }
    for (size_t i = 0; i < sizeof pairings / sizeof *pairings; i++) {
        const figure *above = find(all, pairings[i].row, pairings[i].above);
        if (above && above >= all->list + first) {
            report_pairing(all, &pairings[i], results);
        }
    }
    for (size_t i = first; versus && i < all->count; i++) {
        if (strcmp(all->list[i].subject, "pel") == 0 && good(&all->list[i])) {
            report_versus(all, &all->list[i], results);
        }
    }
}

static bool first_of(const figures *all, size_t index, bool row) {
    for (size_t i = 0; i < index; i++) {
        const figure *f = &all->list[i], *g = &all->list[index];
        if (strcmp(row ? f->row : f->subject, row ? g->row : g->subject) == 0) {
            return false;
        }
    }
    return true;
}

/* pel first, the floor last. */
static unsigned list_subjects(const figures *all, const char **subjects, unsigned most) {
    unsigned count = 0;
    subjects[count++] = "pel";
    for (size_t i = 0; i < all->count && count + 1 < most; i++) {
        const char *subject = all->list[i].subject;
        if (first_of(all, i, false) && strcmp(subject, "pel") != 0 && strcmp(subject, "raw") != 0) {
            subjects[count++] = subject;
        }
    }
    subjects[count++] = "raw";
    return count;
}

static void table_row(const figures *all, const char *row, const char *const *subjects, unsigned count) {
    const char *unit = "";
    for (size_t i = 0; i < all->count && !*unit; i++) {
        unit = strcmp(all->list[i].row, row) == 0 ? all->list[i].unit : unit;
    }
    printf("%-28s %-9s", row, unit);
    for (unsigned s = 0; s < count; s++) {
        const figure *f = find(all, row, subjects[s]);
        char text[24] = "-";
        if (f && (f->wrong || (f->count == 0 && !f->absent))) {
            snprintf(text, sizeof text, "WRONG");
        } else if (f && !f->absent) {
            snprintf(text, sizeof text, "%.4g%s", median_of(f), f->why[0] ? "*" : "");
        }
        printf(" %10s", text);
    }
    printf("\n");
}

void figures_table(const figures *all) {
    const char *subjects[12];
    const unsigned count = list_subjects(all, subjects, 12);
    printf("\n%-28s %-9s", "row (medians)", "unit");
    for (unsigned s = 0; s < count; s++) {
        printf(" %10s", subjects[s]);
    }
    printf("\n");
    for (size_t i = 0; i < all->count; i++) {
        if (first_of(all, i, true)) {
            table_row(all, all->list[i].row, subjects, count);
        }
    }
    printf("- not offered, or not here    * void: see its line above\n");
}
