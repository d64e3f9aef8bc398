/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel doctor`: plain words why a device is not there, and what to do. It asks the drivers in a child process afresh (the cache
 * could hold yesterday's illness), discovers as a program would, and then looks at what drivers look at. A finding is a sentence
 * and an advice; it is a problem when it costs a device that the machine seems to have, a note when it may explain something.
 * Exit status 0 when a program started now would find at least one device to use, 1 otherwise: the host counts, so
 * `PEL_DEVICES=gpu pel doctor` asks whether there is a GPU.
 */
#include "cli/doctor.h"
#include "base/alloc.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/printable.h"
#include "core/cache_directory.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_DEVICES, OPTION_JSON };

static const pel_cli_option options[] = {
    {'d', "devices", "LIST", "the device list to check; else $PEL_DEVICES, else the default"},
    {0, "json", NULL, "print JSON"},
    {0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "doctor", "[--devices LIST] [--json]",
    "Says which processors a program would use now, why others are not there, and what to do about it.\n"
    "Exits with 0 when there is at least one device to use, with 1 otherwise.",
    options, NULL};

void pel_doctor_say(pel_doctor *doctor, pel_severity severity, const char *advice, const char *format, ...) {
    va_list arguments;
    char *what = NULL;
    va_start(arguments, format);
    if (vasprintf(&what, format, arguments) < 0)
        what = NULL;
    va_end(arguments);
    if (what)
        pel_make_printable(what); /* driver files may hold anything; a terminal must not obey it, nor JSON refuse it */
    char *copy = strdup(advice ? advice : "");
    pel_doctor_finding *grown = what && copy ? realloc(doctor->findings, (doctor->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(what);
        free(copy);
        doctor->failed = true;
        return;
    }
    doctor->findings = grown;
    grown[doctor->count++] = (pel_doctor_finding){severity, what, copy};
}

/* What discovery found, selected or not. */
static void check_devices(pel_doctor *doctor) {
    uint32_t opencl = 0;
    for (uint32_t i = 0; i < doctor->topology->device_count; i++) {
        const pel_topology_device *device = &doctor->topology->devices[i];
        const pel_device_info *info = &device->info;
        char memory[32];
        opencl += info->kind == PEL_DEVICE_OPENCL;
        if (device->selected) {
            pel_doctor_say(doctor, PEL_FINE, NULL, "%s: %s%s%s, %u compute units, %s", info->id, info->name,
                           *info->platform ? ", " : "", info->platform, (unsigned)info->compute_units,
                           info->memory_bytes == UINT64_MAX ? "memory unknown"
                                                            : pel_format_bytes(memory, (double)info->memory_bytes));
        } else if (info->device_class == PEL_CLASS_SOFTWARE) {
            char advice[256];
            snprintf(advice, sizeof advice, "to test with it all the same, name it: PEL_DEVICES=host,%s", info->id);
            pel_doctor_say(doctor, PEL_NOTE, advice, "%s (%s) is left out: %s", info->id, info->name, device->why_not);
        } else {
            pel_doctor_say(doctor, PEL_NOTE, NULL, "%s (%s) is left out: %s", info->id, info->name, device->why_not);
        }
    }
    if (opencl == 0)
        pel_doctor_say(doctor, PEL_NOTE, NULL,
                       "there is no OpenCL device: kernels run where they have a host variant, and `pel run` cannot run");
}

static void examine(pel_doctor *doctor, const char *devices, pel_error **error) {
    pel_topology *topology = NULL;
    pel_cli_discovery how = {.devices = devices, .probe = true, .level = PEL_LOG_OFF};
    if (pel_cli_discover("doctor", &how, &topology, error) == PEL_OK) {
        doctor->topology = topology;
        check_devices(doctor);
    } else {
        pel_doctor_say(doctor, PEL_PROBLEM, pel_error_advice(*error), "a program started now would find no device to use: %s",
                       pel_error_message(*error));
    }
    pel_doctor_check_drivers(doctor);
    pel_doctor_check_graphics(doctor);
    pel_doctor_check_pocl(doctor);
    pel_doctor_check_budget(doctor);
    pel_topology_destroy(topology);
    doctor->topology = NULL;
}

static void print_text(const pel_doctor *doctor, bool usable) {
    static const char *const words[] = {"ok", "note", "problem"};
    size_t problems = 0;
    for (int severity = PEL_FINE; severity <= PEL_PROBLEM; severity++) {
        for (size_t i = 0; i < doctor->count; i++) {
            const pel_doctor_finding *finding = &doctor->findings[i];
            if ((int)finding->severity != severity)
                continue;
            problems += severity == PEL_PROBLEM;
            printf("%-8s %s\n", words[severity], finding->what);
            if (*finding->advice)
                printf("         -> %s\n", finding->advice);
        }
    }
    printf("\n%s; %zu problem%s\n", usable ? "There is something to compute with" : "There is nothing to compute with", problems,
           problems == 1 ? "" : "s");
}

static json_t *to_json(const pel_doctor *doctor, bool usable) {
    static const char *const words[] = {"ok", "note", "problem"};
    json_t *root = json_object(), *findings = json_array();
    for (size_t i = 0; i < doctor->count; i++) {
        json_t *finding = json_object();
        json_object_set_new(finding, "severity", pel_json_text(words[doctor->findings[i].severity]));
        json_object_set_new(finding, "what", pel_json_text(doctor->findings[i].what));
        json_object_set_new(finding, "advice", pel_json_text(doctor->findings[i].advice));
        json_array_append_new(findings, finding);
    }
    json_object_set_new(root, "usable", json_boolean(usable));
    json_object_set_new(root, "findings", findings);
    return root;
}

/* Asks pel-probe, whatever is remembered; the answer goes to the cache for the discovery that follows. */
static void ask_probe(pel_doctor *doctor) {
    char *cache = pel_cache_directory(&pel_allocator_default, NULL, NULL);
    pel_error *error = NULL;
    if (pel_icd_list_read(doctor->root, &pel_allocator_default, &doctor->drivers, &error) != PEL_OK ||
        pel_probe_ask(&doctor->drivers, &pel_allocator_default, NULL, cache, true, &doctor->answer, &error) != PEL_OK) {
        doctor->failed = true;
    }
    if (!cache) {
        pel_doctor_say(doctor, PEL_NOTE, "make it writable, or set PEL_CACHE_DIR",
                       "pel's cache directory cannot be used: programs are compiled anew in each process");
    }
    pel_error_destroy(error);
    pel_free(&pel_allocator_default, cache);
}

int pel_cmd_doctor(int argc, char **argv) {
    const char *devices = NULL, *value;
    bool json = false;
    for (int option; (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        switch (option) {
        case OPTION_DEVICES:
            devices = value;
            break;
        case OPTION_JSON:
            json = true;
            break;
        default:
            return option == PEL_CLI_HELP ? PEL_CLI_OK : PEL_CLI_USAGE;
        }
    }
    if (!pel_cli_no_operands(&usage, argc, argv))
        return PEL_CLI_USAGE;
    const char *root = getenv("PEL_DOCTOR_ROOT"); /* tests show it a recorded machine */
    pel_doctor doctor = {.root = root ? root : ""};
    pel_keep_init(&doctor.drivers.keep, &pel_allocator_default);
    pel_keep_init(&doctor.answer.keep, &pel_allocator_default);
    pel_error *error = NULL;
    ask_probe(&doctor);
    examine(&doctor, devices, &error);
    bool usable = error == NULL, written = true;
    if (doctor.failed) {
        pel_cli_error("doctor", "out of memory");
    } else if (json) {
        written = pel_output_json("doctor", "-", to_json(&doctor, usable));
    } else {
        print_text(&doctor, usable);
    }
    for (size_t i = 0; i < doctor.count; i++) {
        free(doctor.findings[i].what);
        free(doctor.findings[i].advice);
    }
    free(doctor.findings);
    pel_error_destroy(error);
    pel_probe_free(&doctor.answer);
    pel_icd_list_free(&doctor.drivers);
    return usable && written && !doctor.failed ? PEL_CLI_OK : PEL_CLI_FAILED;
}
