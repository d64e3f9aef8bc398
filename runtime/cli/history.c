/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel history`: what the cost models have learned on this machine, in words and numbers, and the care of the file: thinning it
 * out, taking parts of it elsewhere, merging what others have learned. All changes go through core/history_file.h's lock, so
 * running programs lose nothing. Entries are selected by parts of the names that people know; keys are hashes and say nothing.
 */
#include "base/error.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "core/cache_directory.h"
#include "core/history_file.h"
#include "core/lessons.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { OPTION_FILE, OPTION_KERNEL, OPTION_DEVICE, OPTION_OLDER, OPTION_KEEP, OPTION_JSON };

static const pel_cli_option options[] = {
    {'f', "file", "FILE", "the history; else $PEL_HISTORY, else the one in the cache directory"},
    {'k', "kernel", "TEXT", "only kernels whose name holds the text"},
    {'d', "device", "TEXT", "only devices whose name holds the text"},
    {0, "older-than", "DAYS", "only what has not learned for so many days"},
    {0, "keep", "NUMBER", "prune: keep the latest so many, whatever they are"},
    {0, "json", NULL, "print JSON"},
    {0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "history", "[list | explain | export FILE | prune | merge FILE...] [options]",
    "Shows what the cost models have learned (list: a table; explain: in words), writes a selection to a file for another\n"
    "machine (export), forgets a selection (prune), or takes in what other machines have learned (merge).",
    options,
    "Kernels, drivers and devices that have changed are other entries: what was learned about the old ones is not used.\n"
    "prune needs a selection; `pel history prune --older-than 0` forgets everything."};

typedef struct request {
    const char *file, *kernel, *device;
    double older_days;
    uint64_t keep;
    bool json, selects, keeps;
    char *path;
    char **operands;
    int operand_count;
    uint64_t now;
    uint32_t touched;
} request;

static const char *aspect_word(pel_model_aspect aspect) {
    return aspect == PEL_MODEL_ALONE     ? "alone"
           : aspect == PEL_MODEL_KIN     ? "any shape"
           : aspect == PEL_MODEL_PIECE   ? "last pieces"
           : aspect == PEL_MODEL_PROFILE ? "profile"
           : aspect == PEL_MODEL_MOVING  ? "moving bytes"
           : aspect == PEL_MODEL_POWER   ? "power"
                                         : "with others";
}

/* Where the densest and the thinnest part of the range are, in percent of it, and by how much they differ. */
typedef struct contrast {
    int densest, thinnest;
    double ratio;
} contrast;

static bool contrast_of(const pel_history_entry *entry, contrast *out) {
    double density[PEL_MODEL_PROFILE_BINS];
    int most = 0, least = 0;
    if (!pel_model_state_profile(&entry->state, density)) {
        return false;
    }
    for (int i = 1; i < PEL_MODEL_PROFILE_BINS; i++) {
        most = density[i] > density[most] ? i : most;
        least = density[i] < density[least] ? i : least;
    }
    *out = (contrast){(100 * most + 50) / PEL_MODEL_PROFILE_BINS, (100 * least + 50) / PEL_MODEL_PROFILE_BINS,
                      density[most] / density[least]};
    return true;
}

static bool selected(const request *r, const pel_history_entry *entry) {
    double age_days = r->now > entry->updated ? (double)(r->now - entry->updated) / 86400.0 : 0.0;
    return (!r->kernel || strstr(entry->kernel, r->kernel)) && (!r->device || strstr(entry->device, r->device)) &&
           age_days >= r->older_days;
}

static const char *age_text(char text[32], const request *r, const pel_history_entry *entry) {
    double seconds = r->now > entry->updated ? (double)(r->now - entry->updated) : 0.0;
    if (seconds < 7200.0) {
        snprintf(text, 32, "%.0f min", seconds / 60.0);
    } else if (seconds < 172800.0) {
        snprintf(text, 32, "%.0f h", seconds / 3600.0);
    } else {
        snprintf(text, 32, "%.0f days", seconds / 86400.0);
    }
    return text;
}

static const char *shown(const char *name) {
    return *name ? name : "?";
}

static int complain(pel_error *error) {
    pel_cli_error("history", "%s", pel_error_message(error));
    pel_error_destroy(error);
    return PEL_CLI_FAILED;
}

static bool load(const char *path, pel_history *history, bool may_miss) {
    pel_error *error = NULL;
    *history = (pel_history){.allocator = &pel_allocator_default};
    pel_status status = pel_history_file_read(path, history, &error);
    if (status == PEL_OK || (status == PEL_NOT_FOUND && may_miss)) {
        pel_error_destroy(error);
        return true;
    }
    (void)complain(error);
    return false;
}

static json_t *entry_json(const pel_history_entry *entry) {
    char key[2][32];
    pel_cost cost;
    json_t *object = json_object(), *numbers = json_array();
    snprintf(key[0], sizeof key[0], "%016llx", (unsigned long long)entry->state.key.kernel);
    snprintf(key[1], sizeof key[1], "%016llx", (unsigned long long)entry->state.key.device);
    json_object_set_new(object, "kernel", pel_json_text(entry->kernel));
    json_object_set_new(object, "device", pel_json_text(entry->device));
    json_object_set_new(object, "kernel_key", pel_json_text(key[0]));
    json_object_set_new(object, "device_key", pel_json_text(key[1]));
    json_object_set_new(object, "aspect", pel_json_text(aspect_word(entry->state.aspect)));
    json_object_set_new(object, "updated", json_integer((json_int_t)(entry->updated & INT64_MAX)));
    contrast differs;
    bool good = pel_model_state_cost(&entry->state, &cost);
    pel_model_watts watts;
    const bool power = pel_model_state_watts(&entry->state, &watts);
    json_object_set_new(object, "usable", json_boolean(good || power || contrast_of(entry, &differs)));
    if (power) {
        json_object_set_new(object, "busy_watts", pel_json_real(watts.busy_watts));
        json_object_set_new(object, "idle_watts", pel_json_real(watts.idle_watts));
    }
    json_object_set_new(object, "outdated", json_boolean(cost.outdated));
    json_object_set_new(object, "samples", json_integer((json_int_t)(entry->state.samples & INT64_MAX)));
    json_object_set_new(object, "start_ns", pel_json_real(cost.start_ns));
    json_object_set_new(object, "unit_ns", pel_json_real(cost.unit_ns));
    json_object_set_new(object, "knee_units", pel_json_real(cost.knee_units));
    json_object_set_new(object, "deviation", pel_json_real(cost.deviation));
    for (uint32_t i = 0; i < entry->state.count; i++)
        json_array_append_new(numbers, pel_json_real(entry->state.values[i]));
    json_object_set_new(object, "numbers", numbers);
    return object;
}

static int print_json(const request *r, const pel_history *history) {
    json_t *root = json_object(), *entries = json_array();
    for (uint32_t i = 0; i < history->count; i++) {
        if (selected(r, history->entries[i]))
            json_array_append_new(entries, entry_json(history->entries[i]));
    }
    json_object_set_new(root, "file", pel_json_text(r->path));
    json_object_set_new(root, "entries", entries);
    return pel_output_json("history", "-", root) ? PEL_CLI_OK : PEL_CLI_FAILED;
}

static int print_table(const request *r, const pel_history *history) {
    static const char *const heading[] = {"kernel", "device", "seen", "samples", "start", "per unit", "scatter", "last"};
    pel_table table;
    uint32_t count = 0;
    pel_table_init(&table, "lllrrrrr");
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        pel_table_cell(&table, "%s", heading[i]);
    for (uint32_t i = 0; i < history->count; i++) {
        const pel_history_entry *entry = history->entries[i];
        char start[32], unit[32], age[32];
        pel_cost cost;
        contrast differs = {0};
        bool line = pel_model_state_cost(&entry->state, &cost);
        pel_model_watts watts;
        const bool power = pel_model_state_watts(&entry->state, &watts);
        if (!selected(r, entry) || (!line && !power && !contrast_of(entry, &differs)))
            continue;
        count++;
        pel_table_cell(&table, "%s", shown(entry->kernel));
        pel_table_cell(&table, "%s", shown(entry->device));
        pel_table_cell(&table, "%s", aspect_word(entry->state.aspect));
        pel_table_cell(&table, "%llu", (unsigned long long)entry->state.samples);
        if (cost.outdated) {
            pel_table_cell(&table, "-");
            pel_table_cell(&table, "out of date");
            pel_table_cell(&table, "-");
        } else if (line) {
            pel_table_cell(&table, "%s", pel_format_time(start, cost.start_ns));
            pel_table_cell(&table, "%s", pel_format_time(unit, cost.unit_ns));
            pel_table_cell(&table, "%.1f %%", 100.0 * cost.deviation);
        } else if (power) {
            pel_table_cell(&table, "idle %.3g W", watts.idle_watts);
            pel_table_cell(&table, "busy %.3g W", watts.busy_watts);
            pel_table_cell(&table, "-");
        } else {
            pel_table_cell(&table, "-");
            pel_table_cell(&table, "up to %.2gx", differs.ratio);
            pel_table_cell(&table, "-");
        }
        pel_table_cell(&table, "%s", age_text(age, r, entry));
    }
    bool printed = count == 0 || pel_table_print(&table, stdout, "");
    pel_table_free(&table);
    printf("%s%u of the %u models in %s\n", count > 0 ? "\n" : "", (unsigned)count, (unsigned)history->count, r->path);
    return printed ? PEL_CLI_OK : PEL_CLI_FAILED;
}

static void explain_one(const request *r, const pel_history_entry *entry) {
    char start[32], unit[32], age[32], even[32];
    pel_cost cost;
    contrast differs;
    if (contrast_of(entry, &differs)) {
        const bool own = pel_model_state_device(&entry->state) != 0;
        printf("%s%s%s works most near %d %% of its range and least near %d %%, where a unit takes %.2g times less. "
               "From %llu chunks, the last %s ago.\n",
               shown(entry->kernel), own ? " on " : "", own ? shown(entry->device) : "", differs.densest, differs.thinnest,
               differs.ratio, (unsigned long long)entry->state.samples, age_text(age, r, entry));
        return;
    }
    pel_model_watts watts;
    if (pel_model_state_watts(&entry->state, &watts)) {
        printf("%s draws %.3g W while it computes and %.3g W while it does not, as its meter told%s. From %llu windows, "
               "the last %s ago.\n",
               shown(entry->device), watts.busy_watts, watts.idle_watts, watts.known ? "" : ": not sure enough to plan with",
               (unsigned long long)watts.windows, age_text(age, r, entry));
        return;
    }
    if (!pel_model_state_cost(&entry->state, &cost)) {
        printf("%s on %s: its numbers make no sense; it is ignored.\n", shown(entry->kernel), shown(entry->device));
        return;
    }
    if (cost.outdated) {
        printf("%s on %s, while nothing else computes: out of date, because the machine has changed since. From %llu "
               "observations, forgotten %s ago.\n",
               shown(entry->kernel), shown(entry->device), (unsigned long long)entry->state.samples, age_text(age, r, entry));
        return;
    }
    double half = cost.start_ns / cost.unit_ns;
    if (entry->state.aspect == PEL_MODEL_MOVING) {
        printf("%s on %s: moving what is not there takes %s, then %s for each byte (%.3g GB/s). Single moves scatter by %.0f %%. "
               "From %llu of them, the last %s ago.\n",
               shown(entry->kernel), shown(entry->device),
               cost.start_ns < 1.0 ? "no time that shows" : pel_format_time(start, cost.start_ns),
               pel_format_time(unit, cost.unit_ns), 1.0 / cost.unit_ns, 100.0 * cost.deviation,
               (unsigned long long)cost.samples, age_text(age, r, entry));
        return;
    }
    printf("%s on %s, %s: starting takes %s, then %s for each %s", shown(entry->kernel), shown(entry->device),
           entry->state.aspect == PEL_MODEL_ALONE    ? "while nothing else computes"
           : entry->state.aspect == PEL_MODEL_BESIDE ? "beside other devices"
           : entry->state.aspect == PEL_MODEL_PIECE  ? "in the small pieces at the end of a launch"
                                                     : "whatever the shape of the launch",
           cost.start_ns < 1.0 ? "no time that shows" : pel_format_time(start, cost.start_ns),
           pel_format_time(unit, cost.unit_ns),
           entry->state.aspect == PEL_MODEL_KIN ? "item" : "unit along the split dimension");
    snprintf(even, sizeof even, "%.3g", half);
    if (half >= 1.0)
        printf(" (so %s of them take as long as the start)", even);
    if (cost.knee_units > 0.0) {
        printf("; less than %.3g of them take as long as these: the device is not full", cost.knee_units);
    }
    printf(". Single launches scatter by %.0f %%. From %llu observation%s, the last %s ago.\n", 100.0 * cost.deviation,
           (unsigned long long)cost.samples, cost.samples == 1 ? "" : "s", age_text(age, r, entry));
}

static int run_explain(const request *r, const pel_history *history) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        if (selected(r, history->entries[i])) {
            explain_one(r, history->entries[i]);
            count++;
        }
    }
    if (count == 0)
        printf("Nothing is known%s: %s holds %u models.\n", history->count > 0 ? " of that" : " yet", r->path,
               (unsigned)history->count);
    return PEL_CLI_OK;
}

static bool put_all(request *r, const pel_history *from, pel_history *to) {
    for (uint32_t i = 0; i < from->count; i++) {
        bool changed = false;
        if (selected(r, from->entries[i])) {
            pel_status status = pel_history_put(to, from->entries[i], &changed);
            if (status != PEL_OK) {
                pel_cli_error("history", "%s", pel_status_text(status));
                return false;
            }
        }
        r->touched += changed;
    }
    return true;
}

typedef struct merging {
    request *request;
    pel_history *sources;
    int count;
    bool failed;
} merging;

static bool merge_into(void *user, pel_history *file) {
    merging *m = user;
    for (int i = 0; i < m->count && !m->failed; i++)
        m->failed = !put_all(m->request, &m->sources[i], file);
    return !m->failed && m->request->touched > 0;
}

static void print_record(void *user, pel_log_level level, const char *message) {
    (void)user;
    (void)level;
    pel_cli_error("history", "%s", message);
}

static int change(const char *path, pel_history_change_fn function, void *user) {
    pel_logger logger;
    pel_error *error = NULL;
    pel_logger_init(&logger, print_record, NULL, PEL_LOG_WARNING);
    pel_status status = pel_history_file_change(path, &pel_allocator_default, &logger, function, user, &error);
    pel_logger_destroy(&logger);
    return status == PEL_OK ? PEL_CLI_OK : complain(error);
}

static int run_merge(request *r) {
    pel_history *sources = pel_alloc_zero(&pel_allocator_default, (size_t)r->operand_count, sizeof *sources);
    merging m = {r, sources, r->operand_count, sources == NULL};
    for (int i = 0; i < r->operand_count && !m.failed; i++)
        m.failed = !load(r->operands[i], &sources[i], false);
    int status = m.failed ? PEL_CLI_FAILED : change(r->path, merge_into, &m);
    for (int i = 0; i < r->operand_count && sources; i++) {
        sources[i].allocator = &pel_allocator_default;
        pel_history_free(&sources[i]);
    }
    pel_free(&pel_allocator_default, sources);
    if (status == PEL_CLI_OK && !m.failed)
        printf("%u models are new or better in %s\n", (unsigned)r->touched, r->path);
    return m.failed ? PEL_CLI_FAILED : status;
}

/* The exported file is another history: merged into, if it is there. */
static int run_export(request *r) {
    pel_history history;
    if (!load(r->path, &history, false))
        return PEL_CLI_FAILED;
    merging m = {r, &history, 1, false};
    int status = change(r->operands[0], merge_into, &m);
    pel_history_free(&history);
    if (status == PEL_CLI_OK && !m.failed)
        printf("%u models written to %s\n", (unsigned)r->touched, r->operands[0]);
    return m.failed ? PEL_CLI_FAILED : status;
}

static bool is_selected(void *user, const pel_history_entry *entry) {
    return selected(user, entry);
}

static bool prune(void *user, pel_history *history) {
    request *r = user;
    uint32_t before = history->count;
    if (r->selects)
        pel_history_drop(history, is_selected, r);
    if (r->keeps)
        pel_history_shrink(history, r->keep < history->count ? (uint32_t)r->keep : history->count);
    r->touched = before - history->count;
    return r->touched > 0;
}

static int run_prune(request *r) {
    pel_history history;
    if (!r->selects && !r->keeps) {
        pel_cli_error("history", "prune: say what to forget: --kernel, --device, --older-than or --keep");
        return PEL_CLI_USAGE;
    }
    if (!load(r->path, &history, false))
        return PEL_CLI_FAILED;
    pel_history_free(&history);
    int status = change(r->path, prune, r);
    if (status == PEL_CLI_OK)
        printf("%u models forgotten\n", (unsigned)r->touched);
    return status;
}

static int run_show(request *r, bool explain) {
    pel_history history;
    if (!load(r->path, &history, !r->file))
        return PEL_CLI_FAILED;
    int status = r->json ? print_json(r, &history) : explain ? run_explain(r, &history) : print_table(r, &history);
    pel_history_free(&history);
    return status;
}

/* PEL_CLI_OK with *end: go on; else the exit status. */
static int read_options(int argc, char **argv, request *r, bool *end) {
    const char *value;
    for (int option; (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        bool good = true;
        switch (option) {
        case OPTION_FILE:
            r->file = value;
            break;
        case OPTION_KERNEL:
            r->kernel = value;
            r->selects = true;
            break;
        case OPTION_DEVICE:
            r->device = value;
            r->selects = true;
            break;
        case OPTION_OLDER:
            good = pel_cli_parse_real("history", "--older-than", value, 0.0, 1e6, &r->older_days);
            r->selects = true;
            break;
        case OPTION_KEEP:
            good = pel_cli_parse_u64("history", "--keep", value, 0, PEL_HISTORY_ENTRY_LIMIT, &r->keep);
            r->keeps = true;
            break;
        case OPTION_JSON:
            r->json = true;
            break;
        default:
            return option == PEL_CLI_HELP ? PEL_CLI_OK : PEL_CLI_USAGE;
        }
        if (!good)
            return PEL_CLI_USAGE;
    }
    *end = true;
    return PEL_CLI_OK;
}

static int dispatch(request *r, const char *action) {
    static const char *const actions[] = {"list", "explain", "export", "prune", "merge", NULL};
    int wanted = strcmp(action, "export") == 0 ? 1 : strcmp(action, "merge") == 0 ? -1 : 0;
    const char *nearest = pel_cli_nearest(action, actions);
    if (r->operand_count > 0 && wanted >= 0 && r->operand_count > wanted) {
        pel_cli_error("history", "%s: unexpected '%s'", action, r->operands[wanted]);
        return PEL_CLI_USAGE;
    }
    if (r->operand_count == 0 && wanted != 0) {
        pel_cli_error("history", "%s needs a file", action);
        return PEL_CLI_USAGE;
    }
    if (strcmp(action, "list") == 0 || strcmp(action, "explain") == 0)
        return run_show(r, *action == 'e');
    if (strcmp(action, "export") == 0)
        return run_export(r);
    if (strcmp(action, "prune") == 0)
        return run_prune(r);
    if (strcmp(action, "merge") == 0)
        return run_merge(r);
    pel_cli_error("history", "there is no action '%s'%s%s; there are list, explain, export, prune and merge", action,
                  nearest ? "; did you mean " : "", nearest ? nearest : "");
    return PEL_CLI_USAGE;
}

int pel_cmd_history(int argc, char **argv) {
    request r = {.now = (uint64_t)time(NULL)};
    bool go_on = false;
    int status = read_options(argc, argv, &r, &go_on);
    if (!go_on)
        return status;
    int first = pel_cli_operands();
    const char *action = first < argc ? argv[first] : "list";
    r.operands = argv + first + 1;
    r.operand_count = first < argc ? argc - first - 1 : 0;
    char *cache = r.file ? NULL : pel_cache_directory(&pel_allocator_default, NULL, NULL);
    r.path = pel_lessons_path(&pel_allocator_default, r.file, true, cache);
    if (r.path) {
        status = dispatch(&r, action);
    } else {
        pel_cli_error("history",
                      "no history is kept: it is switched off, or there is no cache directory; name a file with --file");
        status = PEL_CLI_FAILED;
    }
    pel_free(&pel_allocator_default, r.path);
    pel_free(&pel_allocator_default, cache);
    return status;
}
