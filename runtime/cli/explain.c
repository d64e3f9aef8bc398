/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel explain`: why does pel divide a kernel like that? Launches a kernel of the catalogue some times, says in one line a
 * launch what was decided and how far the prediction was off, and then shows the last plan with all alternatives and the reasons
 * why they lost. The words are the plan's own (pel_plan_text), so that what is explained is what was done.
 */
#include "base/error.h"
#include "catalogue.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include <pel/pel.h>
#include <stdio.h>
#include <string.h>

enum { OPTION_SIZE, OPTION_LAUNCHES, OPTION_DEVICES, OPTION_MACHINE, OPTION_SEED };
enum { MOST_LAUNCHES = 100000, LINES_FIRST = 12, LINES_LAST = 3 };

static const pel_cli_option options[] = {{'n', "size", "N", "the kernel's n; 0: a middling one"},
                                         {0, "launches", "COUNT", "how many (16)"},
                                         {'d', "devices", "LIST", "device list, as in PEL_DEVICES"},
                                         {'m', "machine", "FILE", "a simulated machine instead of this one"},
                                         {0, "seed", "N", "of the simulated machine; 0: the file's"},
                                         {0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "explain", "KERNEL [options]",
    "Launches a kernel of the catalogue and says what the planner decided, why, and how far its predictions were off; then the "
    "last plan "
    "with every alternative and the reason why it lost.",
    options, "Kernels: mandelbrot, nbody, gaussian, matmul, triad, dot. PEL_FREEZE=1 shows what is decided without learning."};

typedef struct explanation {
    const pel_catalogue_kernel *kernel;
    const char *devices, *machine;
    uint64_t n, launches, seed;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *handle;
    pel_queue *queue;
    pel_case c;
    pel_case_binding binding;
    bool bound;
} explanation;

static int read_options(int argc, char **argv, explanation *e) {
    const char *value;
    for (int option; (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        bool good = true;
        switch (option) {
        case PEL_CLI_HELP:
            return PEL_CLI_HELP;
        case OPTION_SIZE:
            good = pel_cli_parse_u64("explain", "--size", value, 0, UINT32_MAX, &e->n);
            break;
        case OPTION_LAUNCHES:
            good = pel_cli_parse_u64("explain", "--launches", value, 1, MOST_LAUNCHES, &e->launches);
            break;
        case OPTION_DEVICES:
            e->devices = value;
            break;
        case OPTION_MACHINE:
            e->machine = value;
            break;
        case OPTION_SEED:
            good = pel_cli_parse_u64("explain", "--seed", value, 0, UINT64_MAX, &e->seed);
            break;
        default:
            return PEL_CLI_WRONG;
        }
        if (!good) {
            return PEL_CLI_WRONG;
        }
    }
    int first = pel_cli_operands();
    if (argc - first != 1) {
        pel_cli_error("explain", argc == first ? "which kernel? `pel explain --help` lists them" : "one kernel at a time");
        return PEL_CLI_WRONG;
    }
    e->kernel = pel_catalogue_find(argv[first]);
    if (!e->kernel) {
        const char *names[32] = {NULL};
        for (size_t i = 0; i < 31 && pel_catalogue[i]; i++) {
            names[i] = pel_catalogue[i]->name;
        }
        const char *near = pel_cli_nearest(argv[first], names);
        pel_cli_error("explain", "there is no kernel '%s'; %s%s%s", argv[first], near ? "did you mean '" : "", near ? near : "",
                      near ? "'?" : "`pel explain --help` lists them");
        return PEL_CLI_WRONG;
    }
    return 0;
}

/* A size whose work is about 10^8 multiply-adds, which takes milliseconds on a core. */
static uint64_t middling(const pel_catalogue_kernel *kernel) {
    uint64_t n = kernel->step;
    while (2 * n <= kernel->largest && kernel->flops(2 * n) < 2e8) {
        n *= 2;
    }
    return n;
}

static bool tell(pel_status status, pel_error *error) {
    if (status != PEL_OK) {
        pel_cli_error("explain", "%s", error ? pel_error_story(error) : pel_status_text(status));
    }
    pel_error_destroy(error);
    return status == PEL_OK;
}

static bool set_up(explanation *e) {
    pel_error *error = NULL;
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    simulation.path = e->machine;
    simulation.seed = e->seed;
    desc.devices = e->devices;
    desc.simulation = e->machine ? &simulation : NULL;
    desc.flags = e->machine ? 0 : PEL_RUNTIME_PROBE;
    desc.log = pel_cli_warn;
    desc.log_user = (void *)(uintptr_t)usage.command;
    desc.log_level = PEL_LOG_WARNING;
    pel_status status = pel_runtime_create(&desc, &e->runtime, &error);
    if (status == PEL_OK) {
        status = pel_catalogue_create(e->runtime, e->kernel, e->machine != NULL, &e->program, &e->handle, &error);
    }
    if (status == PEL_OK) {
        status = pel_queue_create(e->runtime, NULL, &e->queue, &error);
    }
    if (status == PEL_OK) {
        status = pel_case_setup(e->kernel, e->n ? e->n : middling(e->kernel), 1, &e->c);
    }
    if (status == PEL_OK) {
        status = pel_case_bind(e->runtime, &e->c, &e->binding);
        e->bound = true;
    }
    return tell(status, error);
}

static void take_down(explanation *e) {
    (void)pel_queue_destroy(e->queue);
    if (e->bound) {
        pel_case_unbind(&e->binding);
    }
    (void)pel_kernel_destroy(e->handle);
    (void)pel_program_destroy(e->program);
    pel_case_teardown(&e->c);
    (void)pel_runtime_destroy(e->runtime);
}

static void print_line(uint64_t launch, const pel_plan *plan) {
    char took[32];
    double predicted = pel_plan_predicted_ns(plan), actual = pel_plan_actual_ns(plan);
    printf("%4llu  %10s  ", (unsigned long long)launch + 1, pel_format_time(took, actual));
    if (predicted > 0.0) {
        printf("%+6.1f %%  ", 100.0 * (actual / predicted - 1.0));
    } else {
        printf("%8s  ", "-");
    }
    printf("%s\n", pel_plan_reason(plan));
}

static bool one_launch(explanation *e, uint64_t launch) {
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    pel_status status = pel_launch(e->queue, e->handle, &e->binding.launch, e->binding.args, e->c.arg_count, &event);
    status = status == PEL_OK ? pel_queue_finish(e->queue) : status;
    if (status != PEL_OK) {
        pel_event_release(event);
        return tell(status, pel_queue_error(e->queue));
    }
    status = pel_event_get_plan(event, &plan);
    pel_event_release(event);
    if (status != PEL_OK) {
        return tell(status, NULL);
    }
    bool last = launch + 1 == e->launches;
    if (launch < LINES_FIRST || launch + LINES_LAST >= e->launches) {
        print_line(launch, plan);
    } else if (launch == LINES_FIRST) {
        printf("   :\n");
    }
    if (last) {
        printf("\nThe last one:\n%s", pel_plan_text(plan));
    }
    pel_plan_destroy(plan);
    return true;
}

int pel_cmd_explain(int argc, char **argv) {
    explanation e = {.launches = 16};
    int option = read_options(argc, argv, &e);
    if (option != 0) {
        return option == PEL_CLI_HELP ? PEL_CLI_OK : PEL_CLI_USAGE;
    }
    bool good = set_up(&e);
    if (good) {
        printf("%s, n = %llu\n launch  took       off  decision\n", e.kernel->name, (unsigned long long)e.c.n);
    }
    for (uint64_t launch = 0; launch < e.launches && good; launch++) {
        good = one_launch(&e, launch);
    }
    take_down(&e);
    return good ? PEL_CLI_OK : PEL_CLI_FAILED;
}
