/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel bench`: what each device gives alone, what all of them give together, and whether pel costs anything, in one run that
 * checks every result. Outputs are probed before the long run, so that a wrong path or a full disk costs a second, not two
 * minutes.
 */
#include "cli/bench_case.h"
#include "cli/bench_disjoint.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_KERNELS = 16, OUTPUT_BYTES = 65536 };
enum {
    OPTION_JSON,
    OPTION_CSV,
    OPTION_KERNELS,
    OPTION_TARGET,
    OPTION_DEVICES,
    OPTION_DISJOINT,
    OPTION_QUICK,
    OPTION_SEED,
    OPTION_SIZE,
    OPTION_NO_COMPARE
};

static const pel_cli_option options[] = {
    {0, "json", "FILE", "write the figures as JSON"},
    {0, "csv", "FILE", "write the figures as CSV"},
    {'k', "kernels", "LIST", "only these kernels, separated by ','"},
    {'t', "time-target", "MS", "size each kernel so that the fastest device needs MS milliseconds (30)"},
    {'d', "devices", "LIST", "the device list; else $PEL_DEVICES, else every trustworthy device"},
    {0, "disjoint", NULL, "two devices that share nothing: one host worker on one core, PoCL with one thread on another"},
    {'q', "quick", NULL, "a short look: 5 ms, few rounds; figures are rough"},
    {'s', "seed", "N", "seed of the inputs (1)"},
    {'n', "size", "N", "this size instead of a target time"},
    {0, "no-compare", NULL, "leave out the comparison with raw OpenCL and OpenMP"},
    {0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "bench", "[--json FILE] [--csv FILE] [--kernels LIST] [--time-target MS] [--disjoint] [--quick]",
    "Runs each kernel of the catalogue on each device alone and on all together, checks every result against an independent "
    "reference, "
    "and compares one device under pel with programs that do without.",
    options, "Exit status 1 when a result is wrong or nothing could be measured."};

typedef struct bench_request {
    pel_bench_options bench;
    const char *json, *csv, *devices;
    const pel_catalogue_kernel *kernels[MAX_KERNELS];
    uint32_t kernel_count;
    uint64_t size;
    bool disjoint;
    char disjoint_list[PEL_BENCH_DISJOINT_LIST];
} bench_request;

static bool pick_kernel(bench_request *request, const char *name) {
    const char *names[MAX_KERNELS] = {NULL};
    const pel_catalogue_kernel *kernel = pel_catalogue_find(name);
    for (uint32_t i = 0; i < request->kernel_count; i++) {
        if (request->kernels[i] == kernel) {
            return true;
        }
    }
    if (kernel && request->kernel_count < MAX_KERNELS) {
        request->kernels[request->kernel_count++] = kernel;
        return true;
    }
    char list[256] = "";
    for (size_t i = 0; pel_catalogue[i]; i++) {
        names[i] = pel_catalogue[i]->name;
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = pel_cli_nearest(name, names);
    pel_cli_error("bench", "--kernels: there is no kernel '%s'%s%s%s; there are: %s", name, near ? "; did you mean '" : "",
                  near ? near : "", near ? "'?" : "", list);
    return false;
}

static bool pick_kernels(bench_request *request, const char *list) {
    char text[512];
    char *rest = text, *name;
    if (strlen(list) >= sizeof text) {
        pel_cli_error("bench", "--kernels: the list is too long");
        return false;
    }
    strcpy(text, list);
    while ((name = strsep(&rest, ",")) != NULL) {
        if (!pick_kernel(request, name)) {
            return false;
        }
    }
    return true;
}

static void make_quick(pel_bench_options *bench) {
    bench->target_ns = 5e6;
    bench->rounds = 5;
    bench->warm_ups = 12;
    bench->tries = 2;
    bench->patience_ns = 10e9;
    bench->verify_work = 1e7;
}

static int read_options(int argc, char **argv, bench_request *request) {
    const char *value;
    double target = 0.0;
    for (int option; (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        switch (option) {
        case PEL_CLI_HELP:
            return PEL_CLI_HELP;
        case OPTION_JSON:
            request->json = value;
            break;
        case OPTION_CSV:
            request->csv = value;
            break;
        case OPTION_KERNELS:
            if (!pick_kernels(request, value)) {
                return PEL_CLI_WRONG;
            }
            break;
        case OPTION_TARGET:
            if (!pel_cli_parse_real("bench", "--time-target", value, 0.01, 60000.0, &target)) {
                return PEL_CLI_WRONG;
            }
            break;
        case OPTION_DEVICES:
            request->devices = value;
            break;
        case OPTION_DISJOINT:
            request->disjoint = true;
            break;
        case OPTION_QUICK:
            make_quick(&request->bench);
            break;
        case OPTION_SEED:
            if (!pel_cli_parse_u64("bench", "--seed", value, 0, INT64_MAX, &request->bench.seed)) {
                return PEL_CLI_WRONG;
            }
            break;
        case OPTION_SIZE:
            if (!pel_cli_parse_u64("bench", "--size", value, 1, UINT64_C(1) << 36, &request->size)) {
                return PEL_CLI_WRONG;
            }
            break;
        case OPTION_NO_COMPARE:
            request->bench.compare = false;
            break;
        default:
            return PEL_CLI_WRONG;
        }
    }
    if (request->disjoint) {
        request->bench.compare = false; /* OpenMP's threads are not on one core, and would be compared with one that is */
    }
    if (target > 0.0) {
        request->bench.target_ns = target * 1e6;
    }
    if (request->disjoint && request->devices) {
        pel_cli_error("bench", "--disjoint chooses its devices itself; leave out --devices");
        return PEL_CLI_WRONG;
    }
    for (size_t i = 0; request->kernel_count == 0 && pel_catalogue[i]; i++) {
        request->kernels[i] = pel_catalogue[i];
    }
    while (request->kernel_count < MAX_KERNELS && request->kernels[request->kernel_count]) {
        request->kernel_count++;
    }
    for (uint32_t i = 0; request->size && i < request->kernel_count; i++) {
        if (request->size > request->kernels[i]->largest) {
            pel_cli_error("bench", "--size %llu: %s goes up to %llu", (unsigned long long)request->size,
                          request->kernels[i]->name, (unsigned long long)request->kernels[i]->largest);
            return PEL_CLI_WRONG;
        }
    }
    return pel_cli_no_operands(&usage, argc, argv) ? PEL_CLI_END : PEL_CLI_WRONG;
}

/* Room for the whole file is asked for, so that a full disk shows now. */
static bool probe_output(const char *path) {
    pel_output output;
    if (!path || strcmp(path, "-") == 0) {
        return true;
    }
    const bool fine = pel_output_open(&output, "bench", path, OUTPUT_BYTES);
    pel_output_abandon(&output);
    return fine;
}

static bool set_up_disjoint(bench_request *request) {
    if (!request->disjoint) {
        return true;
    }
    request->devices = request->disjoint_list;
    return pel_bench_disjoint("bench", request->disjoint_list);
}

static bool write_outputs(const bench_request *request, const pel_bench_session *session, const pel_bench_row *rows,
                          uint32_t count) {
    bool fine = true;
    if (request->json) {
        fine = pel_output_json("bench", request->json, pel_bench_json(session, rows, count));
    }
    if (request->csv) {
        pel_output output;
        if (pel_output_open(&output, "bench", request->csv, 0)) {
            pel_bench_csv(output.file, rows, count);
            fine = pel_output_commit(&output) && fine;
        } else {
            fine = false;
        }
    }
    return fine;
}

static void print_heading(const pel_bench_session *session, const bench_request *request) {
    for (uint32_t i = 0; i < session->device_count; i++) {
        const pel_device_info *info = pel_device_get_info(session->devices[i]);
        printf("%-10s %s (%u unit%s)%s%s\n", info->id, info->name, info->compute_units, info->compute_units == 1 ? "" : "s",
               *info->platform ? ", " : "", info->platform);
    }
    if (request->size == 0) {
        printf("Sizes are such that the fastest device needs about %g ms; medians of %u interleaved rounds.\n",
               request->bench.target_ns * 1e-6, request->bench.rounds);
    }
    printf("\n");
    fflush(stdout);
}

static int run_all(bench_request *request) {
    static pel_bench_row rows[MAX_KERNELS]; /* too large for the stack of a guest's thread; this is a program */
    pel_bench_session session;
    bool fine = true;
    if (!pel_bench_open(&session, "bench", request->devices, &request->bench)) {
        return PEL_CLI_FAILED;
    }
    print_heading(&session, request);
    for (uint32_t i = 0; i < request->kernel_count; i++) {
        pel_progress("[%u/%u] %s", i + 1, request->kernel_count, request->kernels[i]->name);
        fine = pel_bench_measure(&session, request->kernels[i], request->size, &rows[i]) && fine;
        fine = fine && rows[i].verified;
    }
    pel_progress(NULL);
    pel_bench_print(&session, rows, request->kernel_count);
    fine = write_outputs(request, &session, rows, request->kernel_count) && fine;
    pel_bench_close(&session);
    return fine ? PEL_CLI_OK : PEL_CLI_FAILED;
}

int pel_cmd_bench(int argc, char **argv) {
    bench_request request = {.bench = {.target_ns = 30e6,
                                       .rounds = 9,
                                       .warm_ups = 24,
                                       .tries = 4,
                                       .patience_ns = 60e9,
                                       .seed = 1,
                                       .verify_work = 5e7,
                                       .compare = true}};
    switch (read_options(argc, argv, &request)) {
    case PEL_CLI_HELP:
        return PEL_CLI_OK;
    case PEL_CLI_WRONG:
        return PEL_CLI_USAGE;
    default:
        break;
    }
    if (!probe_output(request.json) || !probe_output(request.csv) || !set_up_disjoint(&request)) {
        return PEL_CLI_FAILED;
    }
    return run_all(&request);
}
