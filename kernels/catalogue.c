/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of kernels, and what every case has in common: memory, arguments, poison, comparison. See catalogue.h. */
#include "catalogue.h"
#include "isa.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pel_isa_limit = 2;

extern const pel_catalogue_kernel pel_catalogue_triad, pel_catalogue_gaussian, pel_catalogue_mandelbrot, pel_catalogue_nbody,
    pel_catalogue_dot, pel_catalogue_matmul;

const pel_catalogue_kernel *const pel_catalogue[] = {&pel_catalogue_triad,
                                                     &pel_catalogue_gaussian,
                                                     &pel_catalogue_mandelbrot,
                                                     &pel_catalogue_nbody,
                                                     &pel_catalogue_dot,
                                                     &pel_catalogue_matmul,
                                                     NULL};

enum { PAGE = 4096 };
static const uint32_t poison = 0xffffffffu; /* as a float a NaN that no arithmetic produces, as a count more than any limit */

const pel_catalogue_kernel *pel_catalogue_find(const char *name) {
    for (size_t i = 0; pel_catalogue[i]; i++) {
        if (strcmp(pel_catalogue[i]->name, name) == 0) {
            return pel_catalogue[i];
        }
    }
    return NULL;
}

void pel_case_add_array(pel_case *c, uint64_t bytes, bool output) {
    c->args[c->arg_count++] = (pel_case_arg){.kind = PEL_CASE_ARRAY, .array = c->array_count, .bytes = bytes};
    c->arrays[c->array_count++] = (pel_case_array){.bytes = bytes, .output = output};
}

static void add_value(pel_case *c, const void *value, uint64_t bytes) {
    pel_case_arg *arg = &c->args[c->arg_count++];
    *arg = (pel_case_arg){.kind = PEL_CASE_VALUE, .bytes = bytes};
    memcpy(arg->value, value, (size_t)bytes);
}

void pel_case_add_u32(pel_case *c, uint32_t value) {
    add_value(c, &value, sizeof value);
}
void pel_case_add_u64(pel_case *c, uint64_t value) {
    add_value(c, &value, sizeof value);
}
void pel_case_add_f32(pel_case *c, float value) {
    add_value(c, &value, sizeof value);
}
void pel_case_add_local(pel_case *c, uint64_t bytes) {
    c->args[c->arg_count++] = (pel_case_arg){.kind = PEL_CASE_LOCAL, .bytes = bytes};
}

uint64_t pel_case_memory(const pel_catalogue_kernel *kernel, uint64_t n) {
    pel_case c = {.kernel = kernel, .n = n};
    uint64_t total = 0;
    kernel->shape(&c);
    for (uint32_t i = 0; i < c.array_count; i++) {
        total += pel_round_up(c.arrays[i].bytes, PAGE);
    }
    return total;
}

pel_status pel_case_setup(const pel_catalogue_kernel *kernel, uint64_t n, uint64_t seed, pel_case *c) {
    *c = (pel_case){.kernel = kernel, .n = n, .seed = seed};
    if (n == 0 || n > kernel->largest) {
        return PEL_INVALID_ARGUMENT;
    }
    kernel->shape(c);
    for (uint32_t i = 0; i < c->array_count; i++) {
        const uint64_t bytes = pel_round_up(c->arrays[i].bytes, PAGE);
        c->arrays[i].data = bytes <= SIZE_MAX ? aligned_alloc(PAGE, (size_t)bytes) : NULL;
        if (!c->arrays[i].data) {
            pel_case_teardown(c);
            return PEL_OUT_OF_MEMORY;
        }
        memset(c->arrays[i].data, 0, (size_t)bytes);
    }
    kernel->fill(c);
    pel_case_poison(c);
    return PEL_OK;
}

void pel_case_teardown(pel_case *c) {
    for (uint32_t i = 0; i < c->array_count; i++) {
        free(c->arrays[i].data);
    }
    memset(c, 0, sizeof *c);
}

void pel_case_poison(pel_case *c) {
    for (uint32_t i = 0; i < c->array_count; i++) {
        if (c->arrays[i].output) {
            memset(c->arrays[i].data, 0xff, (size_t)c->arrays[i].bytes);
        }
    }
}

static const uint32_t *output_words(const pel_case *c) {
    for (uint32_t i = 0; i < c->array_count; i++) {
        if (c->arrays[i].output) {
            return (const uint32_t *)c->arrays[i].data;
        }
    }
    return NULL;
}

static void check_one(const pel_case *c, uint64_t i, pel_case_verdict *verdict) {
    double scale = 0.0;
    const double want = c->kernel->reference(c, i, &scale), got = c->kernel->result(c, i), off = fabs(got - want);
    const double relative = off == 0.0 ? 0.0 : off / (scale > 0.0 ? scale : 1.0);
    verdict->checked++;
    if (relative > verdict->worst || isnan(relative)) {
        verdict->worst = isnan(relative) ? INFINITY : relative;
    }
    if (!(relative <= c->kernel->tolerance)) {
        if (verdict->wrong++ == 0) {
            snprintf(verdict->story, sizeof verdict->story, "%s n=%llu: result %llu is %.9g, the reference says %.9g",
                     c->kernel->name, (unsigned long long)c->n, (unsigned long long)i, got, want);
        }
    }
}

/* Reference multiply-adds per output, roughly. */
static double work_per_output(const pel_case *c) {
    return c->kernel->flops(c->n) / 2.0 / (double)c->kernel->outputs(c);
}

void pel_case_verify(const pel_case *c, double work, pel_case_verdict *verdict) {
    const uint64_t outputs = c->kernel->outputs(c);
    const uint32_t *words = output_words(c);
    *verdict = (pel_case_verdict){.outputs = outputs};
    for (uint64_t i = 0; i < outputs; i++) {
        verdict->missing += words[c->kernel->word(c, i)] == poison;
    }
    uint64_t samples = outputs;
    if (work > 0.0 && work / work_per_output(c) < (double)outputs) {
        samples = (uint64_t)(work / work_per_output(c));
        samples = samples < 64 ? 64 : samples;
        samples = samples < outputs ? samples : outputs;
    }
    /* One output of each of `samples` equal strata, at a place that the seed decides; the first and the last always. */
    const double stratum = (double)outputs / (double)samples;
    for (uint64_t s = 0; s < samples; s++) {
        const double place = samples == outputs ? 0.0 : (double)pel_uniform(c->seed + 99, s);
        uint64_t i = samples == outputs ? s : (uint64_t)(((double)s + place) * stratum);
        i = s == 0 ? 0 : s == samples - 1 || i >= outputs ? outputs - 1 : i;
        check_one(c, i, verdict);
    }
    verdict->passed = verdict->missing == 0 && (double)verdict->wrong <= c->kernel->outliers * (double)verdict->checked;
    if (verdict->missing > 0) {
        snprintf(verdict->story, sizeof verdict->story, "%s n=%llu: %llu of %llu results were never written", c->kernel->name,
                 (unsigned long long)c->n, (unsigned long long)verdict->missing, (unsigned long long)outputs);
    } else if (verdict->passed) {
        verdict->story[0] = '\0';
    }
}

uint64_t pel_case_digest(const pel_case *c) {
    const uint64_t outputs = c->kernel->outputs(c);
    const uint32_t *words = output_words(c);
    uint64_t digest = 0xcbf29ce484222325u; /* FNV-1a, a word at a time */
    for (uint64_t i = 0; i < outputs; i++) {
        digest = (digest ^ words[c->kernel->word(c, i)]) * 0x100000001b3u;
    }
    return digest;
}

pel_status pel_catalogue_create(pel_runtime *runtime, const pel_catalogue_kernel *kernel, bool host_only, pel_program **program,
                                pel_kernel **handle, pel_error **error) {
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    program_desc.name = kernel->name;
    program_desc.source = host_only ? NULL : kernel->source;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    desc.name = kernel->name;
    desc.entry = host_only ? NULL : kernel->entry;
    desc.params = kernel->params;
    desc.param_count = kernel->param_count;
    desc.flags = kernel->flags;
    desc.host = kernel->host;
    desc.check = kernel->check;
    desc.cost_hint = kernel->cost_hint;
    pel_status status = pel_program_create(runtime, &program_desc, program, error);
    if (status != PEL_OK) {
        return status;
    }
    status = pel_kernel_create(*program, &desc, handle, error);
    if (status != PEL_OK) {
        pel_program_destroy(*program);
        *program = NULL;
    }
    return status;
}

static pel_arg argument_of(const pel_case_arg *arg, pel_case_binding *binding) {
    if (arg->kind == PEL_CASE_ARRAY) {
        return pel_buf(binding->buffers[arg->array]);
    }
    return arg->kind == PEL_CASE_LOCAL ? pel_local(arg->bytes) : pel_arg_value_(arg->value, arg->bytes);
}

pel_status pel_case_bind(pel_runtime *runtime, const pel_case *c, pel_case_binding *binding) {
    *binding = (pel_case_binding){.launch = PEL_LAUNCH_DESC_INIT};
    memcpy(binding->launch.global, c->global, sizeof c->global);
    memcpy(binding->launch.local, c->local, sizeof c->local);
    for (uint32_t i = 0; i < c->array_count; i++) {
        pel_status status = pel_buffer_wrap(runtime, c->arrays[i].data, c->arrays[i].bytes, &binding->buffers[i]);
        if (status != PEL_OK) {
            pel_case_unbind(binding);
            return status;
        }
    }
    for (uint32_t i = 0; i < c->arg_count; i++) {
        binding->args[i] = argument_of(&c->args[i], binding);
    }
    return PEL_OK;
}

void pel_case_unbind(pel_case_binding *binding) {
    for (uint32_t i = 0; i < PEL_CASE_ARRAYS; i++) {
        pel_buffer_destroy(binding->buffers[i]);
        binding->buffers[i] = NULL;
    }
}
