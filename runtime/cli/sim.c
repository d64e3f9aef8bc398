/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel sim`: the real planner and dispatcher on a machine that does not exist. The machine's description and the workload are
 * files; time is virtual, so an hour of launches takes a moment, and the same files and seed give the same trace, to the
 * nanosecond: its hash is printed. Nothing of this machine is asked but memory for the kernels' buffers. Kernels do nothing here
 * but cost time, unless faults are explored: then they write what can be told from what is wrong. A launch that fails is counted
 * and the run goes on, as a program would after pel_queue_reset; a seed that fails is told as the one command that repeats it.
 */
#include "backend/simulated/cost.h"
#include "base/hash.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/sim_session.h"

#include <math.h>
#include <pel/pel.h>
#include <pel/simulated.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_SEED, OPTION_SEEDS, OPTION_FAULTS, OPTION_PROTECT,
    OPTION_DEVICES, OPTION_HISTORY, OPTION_QUIET, OPTION_EXPLAIN, OPTION_JSON
};
enum { DEVICES_SHOWN = 64 }; /* in the table; of more the rest is one line */

static const pel_cli_option options[] = {{'s', "seed", "NUMBER", "of all luck, instead of the machine's"},
                                         {0, "seeds", "COUNT", "so many seeds from --seed on; tells only those that fail"},
                                         {0, "faults", "WORDS", "DEVICE:KEY=VALUE,... changes the machine; LOW..HIGH: by seed"},
                                         {0, "protect", "HOW", "none, retry or isolate, for every launch; else the default"},
                                         {'d', "devices", "LIST", "use only these of the machine's devices"},
                                         {0, "history", "FILE", "begin with what was learned before, and keep what is learned"},
                                         {'q', "quiet", NULL, "print totals only, not every launch"},
                                         {0, "explain", NULL, "print the last plan of each kernel in words"},
                                         {0, "json", NULL, "print JSON"},
                                         {0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "sim", "MACHINE WORKLOAD [options]",
    "Runs a workload on a simulated machine under a virtual clock, with the real planner and dispatcher: what would be planned,\n"
    "predicted, and how long it would take. Same files, same seed: the same trace.",
    options,
    "pel-sim(1) tells what stands in the files; examples are in the source's tests/fixtures/machines and .../workloads."};

/* Chunks come in the order of the devices, and so do most totals: thousands would be too many to compare each with each. */
static pel_sim_total *total_of(pel_sim_session *s, const char *id) {
    for (uint32_t i = 0; i < s->total_count; i++) {
        const uint32_t at = (s->total_at + i) % s->total_count;
        if (strcmp(s->totals[at].id, id) == 0) {
            s->total_at = at + 1;
            return &s->totals[at];
        }
    }
    const pel_device *device = pel_runtime_find_device(s->runtime, id);
    if (!device)
        return NULL;
    s->totals[s->total_count] = (pel_sim_total){.id = pel_device_get_info(device)->id};
    return &s->totals[s->total_count++];
}

static void into_hash(pel_sim_session *s, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    s->hash = pel_mix_u64(s->hash, bits);
}

/* What the chunks add to totals and hash; their shares as words. */
static void add_chunks(pel_sim_session *s, const pel_plan *plan, json_t *chunks, char *words, size_t capacity) {
    size_t length = 0;
    uint32_t count = pel_plan_chunk_count(plan);
    for (uint32_t i = 0; i < count; i++) {
        pel_plan_chunk chunk;
        (void)pel_plan_get_chunk(plan, i, &chunk);
        pel_sim_total *total = total_of(s, chunk.device);
        if (total) {
            total->busy_ns += chunk.actual_ns;
            total->items += (double)(chunk.hi - chunk.lo);
            total->bytes += chunk.bytes_in + chunk.bytes_out;
            total->chunks++;
        }
        for (const char *at = chunk.device; *at; at++)
            s->hash = pel_mix_u64(s->hash, (uint64_t)*at);
        into_hash(s, (double)chunk.lo);
        into_hash(s, (double)chunk.hi);
        into_hash(s, chunk.actual_ns);
        if (i < 8 && length < capacity) {
            int put = snprintf(words + length, capacity - length, "%s%s %.1f %%", i > 0 ? " + " : "",
                               strncmp(chunk.device, "sim:", 4) == 0 ? chunk.device + 4 : chunk.device, 100.0 * chunk.share);
            length += put > 0 ? (size_t)put : 0;
        }
        if (chunks)
            json_array_append_new(chunks, json_pack("{s:s, s:I, s:I, s:f, s:f}", "device", chunk.device, "lo",
                                                    (json_int_t)chunk.lo, "hi", (json_int_t)chunk.hi, "predicted_ns",
                                                    chunk.predicted_ns, "actual_ns", chunk.actual_ns));
    }
    if (count > 8 && length < capacity)
        snprintf(words + length, capacity - length, " + %u more", (unsigned)(count - 8));
}

static bool note_error(pel_sim_session *s, double predicted, double actual) {
    if (predicted <= 0.0)
        return true;
    if ((s->error_count & (s->error_count - 1)) == 0) {
        size_t capacity = s->error_count == 0 ? 1 : 2 * s->error_count;
        double *grown = realloc(s->errors, capacity * sizeof *grown);
        if (!grown) {
            pel_cli_error("sim", "out of memory");
            return false;
        }
        s->errors = grown;
    }
    s->errors[s->error_count++] = fabs(predicted / actual - 1.0);
    return true;
}

/* Reports one launch; `ns` from submission to its results being at home. */
static bool report(pel_sim_session *s, const pel_sim_kernel *kernel, uint64_t items, const pel_plan *plan, double ns) {
    char words[400] = "", predicted_text[32] = "unknown", actual_text[32];
    double predicted = pel_plan_predicted_ns(plan), actual = pel_plan_actual_ns(plan);
    json_t *chunks = s->lines && !s->quiet ? json_array() : NULL;
    s->launches++;
    add_chunks(s, plan, chunks, words, sizeof words);
    into_hash(s, ns);
    if (chunks) {
        json_array_append_new(s->lines, json_pack("{s:s, s:I, s:f, s:f, s:f, s:s, s:o}", "kernel", kernel->name, "items",
                                                  (json_int_t)items, "predicted_ns", predicted, "actual_ns", actual, "whole_ns",
                                                  ns, "reason", pel_plan_reason(plan), "chunks", chunks));
    } else if (!s->quiet && !s->silent) {
        if (predicted > 0.0)
            pel_format_time(predicted_text, predicted);
        printf("%6llu %-16s %10llu items  predicted %10s  took %10s", (unsigned long long)s->launches, kernel->name,
               (unsigned long long)items, predicted_text, pel_format_time(actual_text, actual));
        if (predicted > 0.0)
            printf(" (%+5.1f %%)", 100.0 * (actual / predicted - 1.0));
        else
            printf("          ");
        printf("  %s\n", words);
    }
    return note_error(s, predicted, actual);
}

/* A launch that failed is counted; the next one begins anew. After one that hangs there is no next one. */
static bool note_failure(pel_sim_session *s, const pel_sim_kernel *kernel, uint64_t items, pel_status status) {
    pel_error *error = pel_queue_error(s->queue);
    const char *message = error ? pel_error_message(error) : pel_status_text(status);
    s->hangs = status == PEL_WOULD_DEADLOCK;
    if (s->hangs)
        message = "it hangs, and nothing gives it up: the run ends here (--protect isolate gives it up)";
    s->launches++;
    if (s->failures++ == 0 && s->wrongs == 0)
        (void)snprintf(s->first_failure, sizeof s->first_failure, "launch %llu, %s: %s", (unsigned long long)s->launches,
                       kernel->name, message);
    into_hash(s, (double)status);
    if (s->lines && !s->quiet)
        json_array_append_new(s->lines, json_pack("{s:s, s:I, s:o}", "kernel", kernel->name, "items", (json_int_t)items,
                                                  "failed", pel_json_text(message)));
    else if (!s->quiet)
        printf("%6llu %-16s %10llu items  failed: %s\n", (unsigned long long)s->launches, kernel->name,
               (unsigned long long)items, message);
    pel_error_destroy(error);
    error = NULL;
    return s->hangs || !pel_sim_failed(pel_queue_reset(s->queue), &error);
}

/* Before the launch is reported. What came home is what was to be written; of resident buffers nothing comes home. */
static void check_results(pel_sim_session *s, uint32_t index, uint64_t items) {
    const pel_sim_pattern *p = &s->patterns[index];
    const unsigned char *bytes = s->memory[index][1];
    for (uint64_t i = 0; bytes && i < items * p->bytes; i++) {
        if (bytes[i] != pel_sim_byte(p, i)) {
            if (s->wrongs++ == 0 && s->failures == 0)
                (void)snprintf(s->first_failure, sizeof s->first_failure, "launch %llu, %s: byte %llu is wrong",
                               (unsigned long long)s->launches + 1, s->workload.kernels[index].name, (unsigned long long)i);
            return;
        }
    }
}

static bool launch(pel_sim_session *s, uint32_t index) {
    const pel_sim_kernel *kernel = &s->workload.kernels[index];
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[2];
    uint32_t count = 0;
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    uint64_t items = kernel->items;
    if (kernel->items_most > kernel->items) {
        double factor = exp(pel_simulated_uniform(&s->luck) * log((double)kernel->items_most / (double)kernel->items));
        items = (uint64_t)((double)kernel->items * factor);
    }
    for (int side = 0; side < 2; side++) {
        if (s->buffers[index][side])
            args[count++] = pel_buf(s->buffers[index][side]);
    }
    desc.global[0] = items;
    desc.protection = s->protection;
    s->patterns[index].launch = s->launches;
    int64_t began = pel_runtime_now(s->runtime);
    pel_status status = pel_launch(s->queue, s->kernels[index], &desc, args, count, &event);
    status = status == PEL_OK ? pel_queue_finish(s->queue) : status;
    if (status != PEL_OK && status != PEL_OUT_OF_MEMORY) {
        pel_event_release(event);
        return note_failure(s, kernel, items, status);
    }
    pel_error *error = status != PEL_OK ? pel_queue_error(s->queue) : NULL;
    bool good = !pel_sim_failed(status, &error) && !pel_sim_failed(pel_event_get_plan(event, &plan), &error);
    pel_event_release(event);
    if (good)
        check_results(s, index, items);
    good = good && report(s, kernel, items, plan, (double)(pel_runtime_now(s->runtime) - began));
    pel_plan_destroy(s->last[index]);
    s->last[index] = plan;
    return good;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double error_at(pel_sim_session *s, double fraction) {
    return s->error_count > 0 ? s->errors[(size_t)(fraction * (double)(s->error_count - 1))] : 0.0;
}

static const char *const protections[] = {
    [PEL_PROTECT_NONE] = "none", [PEL_PROTECT_RETRY] = "retry", [PEL_PROTECT_ISOLATE] = "isolate"};

/* "before 'word'", as a shell takes it for one word; nothing if there is none. */
static void print_word(const char *before, const char *word) {
    printf("%s", word ? before : "");
    for (size_t i = 0; word && word[i]; i++)
        printf(word[i] == '\'' ? "'\\''" : "%c", word[i]);
    printf("%s", word ? "'" : "");
}

/* What went wrong with this seed, and how to see it again; nothing when nothing did. */
static void tell_failures(const pel_sim_session *s) {
    if (s->failures + s->wrongs == 0)
        return;
    printf("seed %llu: of %llu launches %llu failed and %llu came out wrong; first: %s\n  again with: pel sim",
           (unsigned long long)s->seed, (unsigned long long)s->launches, (unsigned long long)s->failures,
           (unsigned long long)s->wrongs, s->first_failure);
    print_word(" '", s->machine);
    print_word(" '", s->workload_path);
    if (s->seed > 0) /* else the machine's */
        printf(" --seed %llu", (unsigned long long)s->seed);
    print_word(" --faults '", s->faults);
    if (s->protection != PEL_PROTECT_DEFAULT)
        printf(" --protect %s", protections[s->protection]);
    print_word(" --devices '", s->devices);
    printf(s->history ? "\n  and with --history and the file as it was before\n" : "\n");
}

static void print_totals(pel_sim_session *s, double ns) {
    char text[32];
    printf("\n%llu launches in %s of virtual time", (unsigned long long)s->launches, pel_format_time(text, ns));
    if (s->error_count > 0)
        printf("; predictions were off by %.1f %% (median), %.1f %% (95 of 100)", 100.0 * error_at(s, 0.5),
               100.0 * error_at(s, 0.95));
    printf(".\n\n");
    pel_table table;
    static const char *const heading[] = {"device", "busy", "of the time", "chunks", "items", "moved"};
    pel_table_init(&table, "lrrrrr");
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        pel_table_cell(&table, "%s", heading[i]);
    const bool all = s->total_count <= DEVICES_SHOWN;
    pel_sim_total rest = {.id = "each of the others"};
    const uint32_t shown = all ? s->total_count : DEVICES_SHOWN / 4, others = s->total_count - shown;
    for (uint32_t i = shown; i < s->total_count; i++) {
        rest.busy_ns += s->totals[i].busy_ns / others;
        rest.items += s->totals[i].items / others;
        rest.chunks += s->totals[i].chunks;
        rest.bytes += s->totals[i].bytes;
    }
    rest.chunks /= others > 0 ? others : 1;
    rest.bytes /= others > 0 ? others : 1;
    for (uint32_t i = 0; i < shown + (all ? 0 : 1); i++) {
        const pel_sim_total *total = i < shown ? &s->totals[i] : &rest;
        pel_table_cell(&table, "%s", total->id);
        pel_table_cell(&table, "%s", pel_format_time(text, total->busy_ns));
        pel_table_cell(&table, "%.1f %%", 100.0 * total->busy_ns / ns);
        pel_table_cell(&table, "%llu", (unsigned long long)total->chunks);
        pel_table_cell(&table, "%.4g", total->items);
        pel_table_cell(&table, "%s", pel_format_bytes(text, (double)total->bytes));
    }
    if (!pel_table_print(&table, stdout, ""))
        pel_cli_error("sim", "out of memory");
    pel_table_free(&table);
    if (others > 0)
        printf("(the others are %u more devices, of which the mean is shown; --json has them all)\n", others);
    for (uint32_t i = 0; i < s->workload.kernel_count && s->explain; i++) {
        if (s->last[i])
            printf("\nThe last plan of %s:\n%s", s->workload.kernels[i].name, pel_plan_text(s->last[i]));
    }
    tell_failures(s);
    printf("\ntrace %016llx\n", (unsigned long long)s->hash);
}

static json_t *totals_json(pel_sim_session *s, double ns) {
    char hash[32];
    json_t *root = json_object(), *devices = json_array();
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)s->hash);
    for (uint32_t i = 0; i < s->total_count; i++)
        json_array_append_new(devices, json_pack("{s:s, s:f, s:f, s:I, s:I}", "device", s->totals[i].id, "busy_ns",
                                                 s->totals[i].busy_ns, "items", s->totals[i].items, "chunks",
                                                 (json_int_t)s->totals[i].chunks, "bytes_moved", (json_int_t)s->totals[i].bytes));
    json_object_set_new(root, "machine", pel_json_text(s->machine));
    json_object_set_new(root, "launch_count", json_integer((json_int_t)s->launches));
    json_object_set_new(root, "failed", json_integer((json_int_t)s->failures));
    json_object_set_new(root, "wrong", json_integer((json_int_t)s->wrongs));
    json_object_set_new(root, "virtual_ns", pel_json_real(ns));
    json_object_set_new(root, "error_median", s->error_count > 0 ? pel_json_real(error_at(s, 0.5)) : json_null());
    json_object_set_new(root, "error_p95", s->error_count > 0 ? pel_json_real(error_at(s, 0.95)) : json_null());
    json_object_set_new(root, "devices", devices);
    json_object_set_new(root, "trace", pel_json_text(hash));
    json_object_set(root, "launches", s->lines);
    return root;
}

enum { BROKEN = -1 }; /* nothing could be run, with any seed */

static int run(pel_sim_session *s) {
    bool good = pel_sim_session_open(s);
    for (uint64_t round = 0; round < s->workload.rounds && good && !s->hangs; round++) {
        for (uint32_t k = 0; k < s->workload.kernel_count && good && !s->hangs; k++) {
            for (uint64_t i = 0; i < s->workload.kernels[k].launches && good && !s->hangs; i++)
                good = launch(s, k);
        }
    }
    if (!good)
        return s->misused ? PEL_CLI_USAGE : BROKEN;
    const int status = s->failures + s->wrongs > 0 ? PEL_CLI_FAILED : PEL_CLI_OK;
    double ns = (double)pel_runtime_now(s->runtime);
    if (s->error_count > 0)
        qsort(s->errors, s->error_count, sizeof *s->errors, ascending);
    if (s->lines)
        return pel_output_json("sim", "-", totals_json(s, ns)) ? status : PEL_CLI_FAILED;
    if (s->silent)
        tell_failures(s);
    else
        print_totals(s, ns);
    return status;
}

/* One life of the machine with what the options said. */
static int simulate(const pel_sim_session *asked, uint64_t seed, bool json) {
    pel_sim_session *s = malloc(sizeof *s);
    int status = BROKEN;
    if (!s) {
        pel_cli_error("sim", "out of memory");
        return status;
    }
    *s = *asked;
    s->seed = seed;
    s->luck = seed + 1;
    s->lines = json ? json_array() : NULL;
    if (pel_sim_workload_read(s->workload_path, &s->workload)) {
        pel_sim_workload_draw(&s->workload, seed);
        status = run(s);
    }
    pel_sim_session_close(s);
    free(s);
    return status;
}

/* Seeds one after the other. */
static int explore(pel_sim_session *asked, uint64_t seeds) {
    uint64_t failing = 0;
    asked->silent = asked->quiet = true;
    for (uint64_t i = 0; i < seeds; i++) {
        const int status = simulate(asked, asked->seed + i, false);
        if (status == BROKEN || status == PEL_CLI_USAGE)
            return status;
        failing += status != PEL_CLI_OK;
    }
    printf("%llu of %llu seeds failed\n", (unsigned long long)failing, (unsigned long long)seeds);
    return failing > 0 ? PEL_CLI_FAILED : PEL_CLI_OK;
}

static bool protection_of(const char *word, pel_protection *protection) {
    for (int i = PEL_PROTECT_NONE; i <= PEL_PROTECT_ISOLATE; i++) {
        if (strcmp(word, protections[i]) == 0) {
            *protection = (pel_protection)i;
            return true;
        }
    }
    pel_cli_error("sim", "--protect is none, retry or isolate, not '%s'", word);
    return false;
}

int pel_cmd_sim(int argc, char **argv) {
    pel_sim_session *s = calloc(1, sizeof *s);
    const char *value;
    uint64_t seeds = 0;
    bool json = false, good = s != NULL;
    for (int option; good && (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        switch (option) {
        case OPTION_SEED:
            good = pel_cli_parse_u64("sim", "--seed", value, 1, UINT64_MAX, &s->seed);
            break;
        case OPTION_SEEDS:
            good = pel_cli_parse_u64("sim", "--seeds", value, 1, 100000000, &seeds);
            break;
        case OPTION_FAULTS:
            s->faults = value;
            break;
        case OPTION_PROTECT:
            good = protection_of(value, &s->protection);
            break;
        case OPTION_DEVICES:
            s->devices = value;
            break;
        case OPTION_HISTORY:
            s->history = value;
            break;
        case OPTION_QUIET:
            s->quiet = true;
            break;
        case OPTION_EXPLAIN:
            s->explain = true;
            break;
        case OPTION_JSON:
            json = true;
            break;
        default:
            free(s);
            return option == PEL_CLI_HELP ? PEL_CLI_OK : PEL_CLI_USAGE;
        }
    }
    int first = good ? pel_cli_operands() : 0, status = PEL_CLI_USAGE;
    if (good && argc - first != 2) {
        pel_cli_error("sim",
                      argc - first < 2 ? "a MACHINE and a WORKLOAD are needed" : "only a MACHINE and a WORKLOAD are understood");
        good = false;
    }
    if (good && seeds > 0 && (json || s->history || s->explain)) {
        pel_cli_error("sim", "--seeds tells which seeds fail: it has no JSON, plans or history");
        good = false;
    }
    if (good && seeds > 0 && s->seed > UINT64_MAX - seeds) { /* 0 would be the machine's own */
        pel_cli_error("sim", "there are no %llu seeds from %llu on", (unsigned long long)seeds, (unsigned long long)s->seed);
        good = false;
    }
    if (good) {
        s->machine = argv[first];
        s->workload_path = argv[first + 1];
        s->check = s->faults || s->protection != PEL_PROTECT_DEFAULT || seeds > 0;
        if (seeds > 0) {
            s->seed = s->seed > 0 ? s->seed : 1;
            status = explore(s, seeds);
        } else {
            status = simulate(s, s->seed, json);
        }
        status = status == BROKEN ? PEL_CLI_FAILED : status;
    }
    free(s);
    return status;
}
