/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the resolved request through the public interface only, as any user of the library would. The arrays are wrapped, not
 * copied. When launches are repeated, arguments that a launch changes are put back before the next one, so that the result is
 * that of one launch however often it ran.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct session {
    pel_run *run;
    pel_text pending; /* warnings during a build: told when it succeeds; when it fails, its error tells the same */
    bool building;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_param *params;
    pel_arg *args;
    pel_share *shares;
    pel_launch_desc launch;
} session;

static void print_log(void *user, pel_log_level level, const char *message) {
    session *s = user;
    if (!s->building) {
        pel_cli_error("run", "%s%s", level == PEL_LOG_WARNING ? "warning: " : "", message);
        return;
    }
    pel_text_append(&s->pending, message);
    pel_text_append(&s->pending, "\n");
}

static void print_pending(session *s) {
    char *save = NULL;
    for (char *line = strtok_r(s->pending.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        pel_cli_error("run", "warning: %s", line);
}

/* Prints a story, each line behind the command's name; false. */
static bool tell(const char *doing, pel_status status, pel_error *error) {
    const char *story = error ? pel_error_story(error) : pel_status_text(status);
    pel_cli_error("run", "%s: %s", doing, story);
    pel_error_destroy(error);
    return false;
}

static bool tell_queue(session *s, const char *doing, pel_status status) {
    return tell(doing, status, pel_queue_error(s->queue));
}

static bool no_opencl(void) {
    pel_cli_error("run",
                  "there is no usable OpenCL device, and pel run has no other way to run OpenCL C; 'pel doctor' tells why");
    return false;
}

static bool open_runtime(session *s) {
    pel_run *run = s->run;
    const char *environment = getenv("PEL_DEVICES");
    bool named = run->devices || (environment && *environment);
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = run->devices ? run->devices : named ? NULL : "opencl"; /* there is no host variant to run on the host device */
    desc.flags = PEL_RUNTIME_PROBE;
    desc.log = print_log;
    desc.log_user = s;
    desc.log_level = PEL_LOG_WARNING;
    pel_error *error = NULL;
    pel_status status = pel_runtime_create(&desc, &s->runtime, &error);
    if (status != PEL_OK && !named && (status == PEL_NOT_FOUND || status == PEL_NO_DEVICE || status == PEL_UNSUPPORTED)) {
        pel_error_destroy(error);
        return no_opencl();
    }
    if (status != PEL_OK)
        return tell("cannot use these devices", status, error);
    uint32_t opencl = 0, limit = sizeof run->devices_used / sizeof run->devices_used[0];
    for (uint32_t i = 0; i < pel_runtime_device_count(s->runtime); i++) {
        const pel_device_info *info = pel_device_get_info(pel_runtime_device(s->runtime, i));
        opencl += info->kind == PEL_DEVICE_OPENCL;
        if (run->device_count < limit)
            run->devices_used[run->device_count++] = *info;
    }
    if (opencl == 0 && named)
        pel_cli_error("run",
                      "the devices that were asked for (%s) hold no OpenCL device, and pel run has no other way to run OpenCL C",
                      run->devices ? run->devices : environment);
    return opencl > 0 || (!named && no_opencl());
}

/* The memory that is asked for against the largest memory of any device: a clear refusal instead of a killed process. */
static bool check_memory(const session *s) {
    uint64_t total = 0, most = 0;
    const pel_run_argument *largest = NULL;
    for (uint32_t i = 0; i < s->run->argument_count; i++) {
        const pel_run_argument *a = &s->run->arguments[i];
        total += a->array.bytes;
        if (!largest || a->array.bytes > largest->array.bytes)
            largest = a;
    }
    for (uint32_t i = 0; i < s->run->device_count; i++)
        if (s->run->devices_used[i].memory_bytes > most)
            most = s->run->devices_used[i].memory_bytes;
    if (total <= most)
        return true;
    char needed[32], there[32], own[32];
    pel_cli_error("run", "the arguments need %s of memory (%s alone %s), and no device has more than %s usable",
                  pel_format_bytes(needed, (double)total), largest->name, pel_format_bytes(own, (double)largest->array.bytes),
                  pel_format_bytes(there, (double)most));
    return false;
}

static bool build(session *s) {
    pel_run *run = s->run;
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    desc.name = run->path;
    desc.source = run->source;
    desc.source_bytes = run->source_bytes;
    desc.options = run->options;
    desc.defines = run->defines;
    desc.define_count = run->define_count;
    desc.include_paths = run->includes;
    desc.include_path_count = run->include_count;
    pel_error *error = NULL;
    pel_progress("building %s ...", run->path);
    s->building = true;
    pel_status status = pel_program_create(s->runtime, &desc, &s->program, &error);
    s->building = false;
    pel_progress(NULL);
    if (status != PEL_OK)
        return tell(run->path, status, error);
    if (s->pending.length > 0)
        print_pending(s);
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    kernel.entry = run->kernel->name;
    kernel.params = s->params;
    kernel.param_count = run->argument_count;
    status = pel_kernel_create(s->program, &kernel, &s->kernel, &error);
    return status == PEL_OK || tell(run->kernel->name, status, error);
}

static bool bind_arguments(session *s) {
    pel_run *run = s->run;
    for (uint32_t i = 0; i < run->argument_count; i++) {
        pel_run_argument *a = &run->arguments[i];
        if (a->parameter->space == PEL_SPACE_VALUE) {
            s->args[i] = pel_struct(a->value_bytes, a->value_size);
        } else if (a->parameter->space == PEL_SPACE_LOCAL) {
            s->args[i] = pel_local(a->value_size);
        } else if (a->is_null) {
            s->args[i] = pel_null();
        } else {
            pel_status status = pel_buffer_wrap(s->runtime, a->array.data, a->array.bytes, &a->buffer);
            if (status != PEL_OK)
                return tell(a->name, status, NULL);
            s->args[i] = pel_buf(a->buffer);
        }
    }
    return true;
}

static bool find_shares(session *s) {
    pel_run *run = s->run;
    s->shares = calloc(run->share_count + 1u, sizeof *s->shares);
    if (!s->shares)
        return tell("--shares", PEL_OUT_OF_MEMORY, NULL);
    for (uint32_t i = 0; i < run->share_count; i++) {
        s->shares[i] = (pel_share){pel_runtime_find_device(s->runtime, run->shares[i].device), run->shares[i].weight};
        if (s->shares[i].device)
            continue;
        char there[512] = "";
        for (uint32_t j = 0, used = 0; j < run->device_count && used < sizeof there; j++)
            used += (uint32_t)snprintf(there + used, sizeof there - used, "%s%s", j ? ", " : "", run->devices_used[j].id);
        pel_cli_error("run", "--shares: there is no device '%s' in use; there is %s", run->shares[i].device, there);
        return false;
    }
    s->launch.share_count = run->share_count;
    s->launch.shares = run->share_count ? s->shares : NULL;
    return true;
}

/* Keeps the first contents of what a launch changes. */
static bool keep_initial(session *s) {
    for (uint32_t i = 0; s->run->repeat > 1 && i < s->run->argument_count; i++) {
        pel_run_argument *a = &s->run->arguments[i];
        if (!a->buffer || a->mode == PEL_READ || a->declaration.mode == PEL_WRITE)
            continue;
        a->initial = malloc((size_t)a->array.bytes);
        if (!a->initial)
            return tell("--repeat: keeping the first contents", PEL_OUT_OF_MEMORY, NULL);
        memcpy(a->initial, a->array.data, (size_t)a->array.bytes);
    }
    return true;
}

static bool restore_initial(session *s) {
    for (uint32_t i = 0; i < s->run->argument_count; i++) {
        pel_run_argument *a = &s->run->arguments[i];
        pel_status status = a->initial ? pel_write(s->queue, a->buffer, 0, a->array.bytes, a->initial, NULL, NULL) : PEL_OK;
        if (status != PEL_OK)
            return tell_queue(s, "--repeat", status);
    }
    pel_status status = pel_queue_finish(s->queue);
    return status == PEL_OK || tell_queue(s, "--repeat", status);
}

static bool launch_once(session *s) {
    pel_run *run = s->run;
    pel_event *event = NULL;
    pel_status status = pel_launch(s->queue, s->kernel, &s->launch, s->args, run->argument_count, &event);
    if (status != PEL_OK)
        return tell_queue(s, "the launch was refused", status);
    int64_t before = pel_runtime_now(s->runtime);
    status = pel_queue_finish(s->queue);
    int64_t after = pel_runtime_now(s->runtime);
    bool good = status == PEL_OK || tell_queue(s, "the launch failed", status);
    if (good) {
        pel_plan_destroy(run->plan);
        run->plan = NULL;
        status = pel_event_get_plan(event, &run->plan);
        double actual = run->plan ? pel_plan_actual_ns(run->plan) : 0;
        run->times_ns[run->times_count++] = actual > 0 ? actual : (double)(after - before);
        good = status == PEL_OK || tell("the plan", status, NULL);
    }
    pel_event_release(event);
    return good;
}

static bool launch_all(session *s) {
    pel_run *run = s->run;
    run->times_ns = calloc(run->repeat, sizeof *run->times_ns);
    if (!run->times_ns)
        return tell("--repeat", PEL_OUT_OF_MEMORY, NULL);
    for (uint64_t i = 0; i < run->repeat; i++) {
        if (i > 0)
            pel_progress("launch %llu of %llu", (unsigned long long)(i + 1), (unsigned long long)run->repeat);
        bool good = (i == 0 || restore_initial(s)) && launch_once(s);
        if (!good || i + 1 == run->repeat)
            pel_progress(NULL);
        if (!good)
            return false;
    }
    return true;
}

static bool work(session *s) {
    pel_run *run = s->run;
    pel_error *error = NULL;
    for (uint32_t i = 0; i < run->argument_count; i++)
        s->params[i] = run->arguments[i].declaration;
    if (!open_runtime(s) || !check_memory(s) || !find_shares(s) || !build(s))
        return false;
    pel_status status = pel_queue_create(s->runtime, NULL, &s->queue, &error);
    if (status != PEL_OK)
        return tell("queue", status, error);
    if (!bind_arguments(s) || !keep_initial(s))
        return false;
    if (!run->dry)
        return launch_all(s);
    status = pel_launch_plan(s->queue, s->kernel, &s->launch, s->args, run->argument_count, &run->plan);
    return status == PEL_OK || tell_queue(s, "the launch would be refused", status);
}

/* pel_device_info points into the runtime: the report needs texts that outlive it. Names are kept, the rest is dropped. */
static void keep_device_texts(pel_run *run) {
    for (uint32_t i = 0; i < run->device_count; i++) {
        pel_device_info *info = &run->devices_used[i];
        info->id = strdup(info->id);
        info->name = strdup(info->name);
        info->vendor = info->platform = info->driver = info->identity = NULL;
    }
}

static void close_session(session *s) {
    pel_queue_destroy(s->queue);
    for (uint32_t i = 0; i < s->run->argument_count; i++) {
        pel_buffer_destroy(s->run->arguments[i].buffer);
        s->run->arguments[i].buffer = NULL;
    }
    pel_kernel_destroy(s->kernel);
    pel_program_destroy(s->program);
    keep_device_texts(s->run);
    pel_runtime_destroy(s->runtime);
    pel_text_free(&s->pending);
    free(s->params);
    free(s->args);
    free(s->shares);
}

bool pel_run_execute(pel_run *run) {
    session s = {.run = run, .launch = PEL_LAUNCH_DESC_INIT};
    pel_text_init(&s.pending, &pel_allocator_default);
    memcpy(s.launch.global, run->range, sizeof run->range);
    memcpy(s.launch.local, run->local, sizeof run->local);
    memcpy(s.launch.offset, run->offset, sizeof run->offset);
    s.params = calloc(run->argument_count + 1u, sizeof *s.params);
    s.args = calloc(run->argument_count + 1u, sizeof *s.args);
    bool good = s.params && s.args ? work(&s) : tell("run", PEL_OUT_OF_MEMORY, NULL);
    close_session(&s);
    return good;
}
