/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `pel run` prints and the JSON that it writes; both from the same fields, and no number that was not measured or
 * predicted: null instead.
 */
#include "cli/image.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *extent_text(const uint64_t extent[3], uint32_t dims, char text[80]) {
    int used = snprintf(text, 80, "%" PRIu64, extent[0]);
    for (uint32_t i = 1; i < dims; i++)
        used += snprintf(text + used, 80 - (size_t)used, "x%" PRIu64, extent[i]);
    return text;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median, fastest, slowest. */
static void summarise(const pel_run *run, double summary[3]) {
    double *sorted = malloc(run->times_count * sizeof *sorted);
    uint64_t n = run->times_count;
    summary[0] = summary[1] = summary[2] = run->times_ns[0];
    if (!sorted)
        return;
    memcpy(sorted, run->times_ns, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    summary[0] = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    summary[1] = sorted[0];
    summary[2] = sorted[n - 1];
    free(sorted);
}

static const char *file_text(const pel_run_argument *a, char text[256]) {
    if (a->save)
        snprintf(text, 256, "%s -> %s", a->value, a->save);
    else
        snprintf(text, 256, "%s", a->value);
    return text;
}

static void print_arguments(const pel_run *run) {
    pel_table table;
    char access[160], shape[160], file[256];
    pel_table_init(&table, "llll");
    pel_table_cell(&table, "argument");
    pel_table_cell(&table, "access");
    pel_table_cell(&table, "contents");
    pel_table_cell(&table, "from or to");
    for (uint32_t i = 0; i < run->argument_count; i++) {
        const pel_run_argument *a = &run->arguments[i];
        pel_table_cell(&table, "%s", a->name);
        pel_table_cell(&table, "%s", pel_run_access_text(a, access));
        if (a->array.data)
            pel_table_cell(&table, "%s", pel_array_describe(&a->array, a->channelled, shape));
        else if (a->parameter->space == PEL_SPACE_LOCAL)
            pel_table_cell(&table, "%" PRIu64 " bytes a work-group", a->value_size);
        else
            pel_table_cell(&table, "%s", a->parameter->type_name);
        pel_table_cell(&table, "%s", file_text(a, file));
    }
    pel_table_print(&table, stdout, "  ");
    pel_table_free(&table);
    for (uint32_t i = 0; i < run->argument_count; i++)
        if (pel_run_is_short(run, &run->arguments[i]))
            printf("  %s holds fewer elements than the range has items: right for a table, wrong if items index it by their id\n",
                   run->arguments[i].name);
}

static void print_indented(const char *text) {
    while (*text) {
        size_t length = strcspn(text, "\n");
        printf("  %.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

void pel_run_print(const pel_run *run) {
    char range[80], median[32], fastest[32], slowest[32];
    printf("%s: kernel %s, range %s", run->path, run->kernel->name, extent_text(run->range, run->dims, range));
    if (run->local[0])
        printf(", work-groups of %s", extent_text(run->local, run->dims, range));
    printf("\n\nDevices\n");
    for (uint32_t i = 0; i < run->device_count; i++)
        printf("  %-12s%s\n", run->devices_used[i].id, run->devices_used[i].name);
    if (run->argument_count > 0) {
        printf("\nArguments\n");
        print_arguments(run);
    }
    printf("\n%s\n", run->dry ? "Plan (nothing was run)" : "Plan of the last launch");
    print_indented(pel_plan_text(run->plan));
    if (run->dry)
        return;
    double summary[3];
    summarise(run, summary);
    printf("\nTime: %s", pel_format_time(median, summary[0]));
    if (run->times_count > 1)
        printf(" (median of %" PRIu64 " launches; fastest %s, slowest %s, first %s)", run->times_count,
               pel_format_time(fastest, summary[1]), pel_format_time(slowest, summary[2]),
               pel_format_time(range, run->times_ns[0]));
    printf("\n");
}

static json_t *predicted(double nanoseconds) {
    return nanoseconds > 0 ? pel_json_real(nanoseconds) : json_null();
}

static json_t *extent_json(const uint64_t *extent, uint32_t dims) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < dims; i++)
        json_array_append_new(array, json_integer((json_int_t)extent[i]));
    return array;
}

static json_t *argument_json(const pel_run_argument *a) {
    char access[160];
    json_t *object = json_object();
    json_object_set_new(object, "name", pel_json_text(a->name));
    json_object_set_new(object, "declaration", pel_json_text(a->parameter->text));
    json_object_set_new(object, "access", pel_json_text(pel_run_access_text(a, access)));
    json_object_set_new(object, "value", pel_json_text(a->value));
    if (a->save)
        json_object_set_new(object, "saved", pel_json_text(a->save));
    if (a->array.data) {
        json_object_set_new(object, "cell", pel_json_text(a->array.cell->name));
        json_object_set_new(object, "shape", extent_json(a->array.shape, a->array.dims));
        json_object_set_new(object, "bytes", json_integer((json_int_t)a->array.bytes));
    }
    return object;
}

static json_t *chunks_json(const pel_plan *plan) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        if (pel_plan_get_chunk(plan, i, &chunk) != PEL_OK)
            continue;
        json_t *object = json_object();
        json_object_set_new(object, "device", pel_json_text(chunk.device));
        json_object_set_new(object, "lo", json_integer((json_int_t)chunk.lo));
        json_object_set_new(object, "hi", json_integer((json_int_t)chunk.hi));
        json_object_set_new(object, "share", pel_json_real(chunk.share));
        json_object_set_new(object, "predicted_ns", predicted(chunk.predicted_ns));
        json_object_set_new(object, "work_group", json_integer((json_int_t)chunk.work_group));
        json_object_set_new(object, "began_ns", pel_json_real(chunk.began_ns));
        json_object_set_new(object, "actual_ns", predicted(chunk.actual_ns));
        json_object_set_new(object, "compute_ns", predicted(chunk.compute_ns));
        json_object_set_new(object, "bytes_in", json_integer((json_int_t)chunk.bytes_in));
        json_object_set_new(object, "bytes_out", json_integer((json_int_t)chunk.bytes_out));
        json_object_set_new(object, "cold", json_boolean(chunk.cold));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *plan_json(const pel_plan *plan) {
    json_t *object = json_object(), *candidates = json_array();
    json_object_set_new(object, "reason", pel_json_text(pel_plan_reason(plan)));
    json_object_set_new(object, "restriction", pel_json_text(pel_plan_restriction(plan)));
    json_object_set_new(object, "protection", pel_json_text(pel_plan_protection(plan)));
    json_object_set_new(object, "split_dimension", json_integer(pel_plan_split_dimension(plan)));
    json_object_set_new(object, "predicted_ns", predicted(pel_plan_predicted_ns(plan)));
    json_object_set_new(object, "actual_ns", predicted(pel_plan_actual_ns(plan)));
    json_object_set_new(object, "chunks", chunks_json(plan));
    for (uint32_t i = 0; i < pel_plan_candidate_count(plan); i++) {
        pel_plan_candidate candidate;
        if (pel_plan_get_candidate(plan, i, &candidate) != PEL_OK)
            continue;
        json_t *one = json_object();
        json_object_set_new(one, "devices", pel_json_text(candidate.devices));
        json_object_set_new(one, "predicted_ns", predicted(candidate.predicted_ns));
        json_object_set_new(one, "reason", pel_json_text(candidate.reason));
        json_object_set_new(one, "chosen", json_boolean(candidate.chosen));
        json_array_append_new(candidates, one);
    }
    json_object_set_new(object, "candidates", candidates);
    return object;
}

bool pel_run_write_json(const pel_run *run, const char *path) {
    json_t *root = json_object(), *arguments = json_array(), *devices = json_array(), *times = json_array();
    for (uint32_t i = 0; i < run->argument_count; i++)
        json_array_append_new(arguments, argument_json(&run->arguments[i]));
    for (uint32_t i = 0; i < run->device_count; i++) {
        json_t *device = json_object();
        json_object_set_new(device, "id", pel_json_text(run->devices_used[i].id));
        json_object_set_new(device, "name", pel_json_text(run->devices_used[i].name));
        json_array_append_new(devices, device);
    }
    for (uint64_t i = 0; i < run->times_count; i++)
        json_array_append_new(times, pel_json_real(run->times_ns[i]));
    double summary[3] = {0, 0, 0};
    if (run->times_count > 0)
        summarise(run, summary);
    json_object_set_new(root, "pel", pel_json_text(pel_version_string()));
    json_object_set_new(root, "file", pel_json_text(run->path));
    json_object_set_new(root, "kernel", pel_json_text(run->kernel->name));
    json_object_set_new(root, "range", extent_json(run->range, run->dims));
    json_object_set_new(root, "local", run->local[0] ? extent_json(run->local, run->dims) : json_null());
    json_object_set_new(root, "offset", extent_json(run->offset, run->dims));
    json_object_set_new(root, "dry_run", json_boolean(run->dry));
    json_object_set_new(root, "devices", devices);
    json_object_set_new(root, "arguments", arguments);
    json_object_set_new(root, "plan", plan_json(run->plan));
    json_object_set_new(root, "times_ns", times);
    json_object_set_new(root, "median_ns", predicted(summary[0]));
    return pel_output_json("run", path, root);
}
