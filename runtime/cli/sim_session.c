/* SPDX-License-Identifier: BSD-3-Clause */
/* See sim_session.h. */
#include "cli/sim_session.h"
#include "backend/simulated/machine.h"
#include "cli/options.h"
#include "cli/sim_faults.h"
#include "core/runtime.h"

#include <pel/simulated.h>
#include <stdlib.h>

static pel_status compute(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const pel_sim_pattern *p = user;
    (void)scratch;
    for (uint64_t i = span->lo[0] * p->bytes; i < span->hi[0] * p->bytes; i++)
        ((unsigned char *)arguments[p->argument])[i] = pel_sim_byte(p, i);
    return PEL_OK;
}

bool pel_sim_failed(pel_status status, pel_error **error) {
    if (status == PEL_OK)
        return false;
    pel_cli_error("sim", "%s", *error ? pel_error_message(*error) : pel_status_text(status));
    if (*error && *pel_error_advice(*error))
        pel_cli_error("sim", "%s", pel_error_advice(*error));
    pel_error_destroy(*error);
    *error = NULL;
    return true;
}

static bool open_buffer(pel_sim_session *s, uint32_t index, int side, uint64_t bytes) {
    pel_error *error = NULL;
    pel_status status;
    if (bytes == 0)
        return true;
    if (s->workload.kernels[index].resident) {
        status = pel_buffer_create(s->runtime, bytes, &s->buffers[index][side], &error);
    } else {
        s->memory[index][side] = calloc(1, (size_t)bytes);
        status = s->memory[index][side] ? pel_buffer_wrap(s->runtime, s->memory[index][side], bytes, &s->buffers[index][side])
                                        : PEL_OUT_OF_MEMORY;
    }
    return !pel_sim_failed(status, &error);
}

static bool open_kernel(pel_sim_session *s, pel_program *program, uint32_t index) {
    const pel_sim_kernel *kernel = &s->workload.kernels[index];
    uint64_t most = kernel->items_most > 0 ? kernel->items_most : kernel->items;
    const pel_param both[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, kernel->bytes_in, 1, 1),
                              PEL_PARAM_ELEMENTWISE(PEL_WRITE, kernel->bytes_out, 1, 1)};
    pel_param params[2];
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_error *error = NULL;
    if (kernel->bytes_in > 0)
        params[desc.param_count++] = both[0];
    if (kernel->bytes_out > 0)
        params[desc.param_count++] = both[1];
    desc.name = kernel->name;
    desc.params = params;
    desc.host = compute;
    desc.user = &s->patterns[index];
    s->patterns[index] = (pel_sim_pattern){.bytes = s->check ? kernel->bytes_out : 0, .argument = kernel->bytes_in > 0 ? 1 : 0};
    desc.cost_hint = kernel->cost;
    desc.granularity = kernel->granularity;
    desc.flags = (kernel->irregular ? PEL_KERNEL_IRREGULAR : 0u) | (kernel->single ? PEL_KERNEL_SINGLE_DEVICE : 0u);
    return !pel_sim_failed(pel_kernel_create(program, &desc, &s->kernels[index], &error), &error) &&
           open_buffer(s, index, 0, most * kernel->bytes_in) && open_buffer(s, index, 1, most * kernel->bytes_out);
}

static void print_record(void *user, pel_log_level level, const char *message) {
    (void)user;
    (void)level;
    pel_cli_error("sim", "%s", message);
}

/* The machine of the file, with the faults that were asked for. */
static bool describe(pel_sim_session *s, pel_description *machine, pel_simulation *simulation) {
    pel_error *error = NULL;
    if (pel_sim_failed(pel_description_read(&pel_allocator_default, s->machine, machine, &error), &error))
        return false;
    s->misused = !pel_sim_faults_apply(s->faults ? s->faults : "", s->seed > 0 ? s->seed : machine->seed, machine);
    if (s->misused)
        return false;
    simulation->devices = machine->devices;
    simulation->device_count = machine->device_count;
    simulation->seed = s->seed > 0 ? s->seed : machine->seed;
    return true;
}

bool pel_sim_session_open(pel_sim_session *s) {
    pel_description machine = {0};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program = NULL;
    pel_error *error = NULL;
    if (!describe(s, &machine, &simulation)) {
        pel_free(&pel_allocator_default, machine.devices);
        return false;
    }
    simulation.work = pel_sim_work;
    simulation.work_user = &s->workload;
    desc.simulation = &simulation;
    desc.devices = s->devices;
    desc.history = s->history ? s->history : "off";
    desc.log = print_record;
    desc.log_level = s->silent ? PEL_LOG_OFF : PEL_LOG_WARNING;
    const pel_status created = pel_runtime_create(&desc, &s->runtime, &error);
    pel_free(&pel_allocator_default, machine.devices);
    s->totals = created == PEL_OK ? calloc(pel_runtime_device_count(s->runtime), sizeof *s->totals) : NULL;
    if (created == PEL_OK && !s->totals) {
        pel_cli_error("sim", "out of memory");
        return false;
    }
    if (pel_sim_failed(created, &error) || pel_sim_failed(pel_queue_create(s->runtime, NULL, &s->queue, &error), &error) ||
        pel_sim_failed(pel_program_create(s->runtime, &program_desc, &program, &error), &error))
        return false;
    bool good = true;
    for (uint32_t i = 0; i < s->workload.kernel_count && good; i++)
        good = open_kernel(s, program, i);
    (void)pel_program_destroy(program);
    return good;
}

/* What hangs ends now, else its launch would have to be left with all its memory. */
static void end_hangs(pel_sim_session *s) {
    do {
        pel_machine_release(s->runtime->machine);
    } while (pel_machine_advance(s->runtime->machine));
}

void pel_sim_session_close(pel_sim_session *s) {
    if (s->runtime)
        end_hangs(s);
    if (s->queue)
        (void)pel_queue_destroy(s->queue);
    for (uint32_t i = 0; i < s->workload.kernel_count; i++) {
        for (int side = 0; side < 2; side++)
            (void)pel_buffer_destroy(s->buffers[i][side]);
        (void)pel_kernel_destroy(s->kernels[i]);
        pel_plan_destroy(s->last[i]);
    }
    (void)pel_runtime_destroy(s->runtime);
    for (uint32_t i = 0; i < s->workload.kernel_count; i++) { /* what was given up may have read it until now */
        free(s->memory[i][0]);
        free(s->memory[i][1]);
    }
    free(s->errors);
    free(s->totals);
    json_decref(s->lines);
}
