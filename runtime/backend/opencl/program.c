/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs on one device: built once per form, from a cached binary when there is one, else from source.
 *
 * The problem: a build takes 0.1-1 s, and PoCL compiles again at the first launch of each variant. A binary taken *after*
 * launches holds what was compiled then (1.5-3 ms build, 0.1 ms launch), so binaries are written late: when the device has been
 * idle, or when the program or device goes.
 *
 * The invariant: a form is built by one thread under program->lock; its cl_program never changes after. Variants are recorded by
 * the holder of the baton. A cached binary that does not load is dropped and the source is built: a cache can only cost time.
 * Rejected: writing binaries after the build, which stores nothing of what is slow on PoCL.
 */
#include "backend/opencl/internal.h"

#include "topology/guard.h"
#include <string.h>

static pel_cl_program **bucket_of(pel_cl_device *device, uint64_t id) { return &device->programs[id % PEL_CL_BUCKETS]; }

pel_status pel_cl_program_find(pel_cl_device *device, const pel_program_image *image, pel_cl_program **program,
                               pel_error **error) {
    pthread_mutex_lock(&device->table_lock);
    pel_cl_program *found = *bucket_of(device, image->id);
    while (found && found->id != image->id) {
        found = found->next;
    }
    if (!found) {
        found = pel_alloc_zero(device->env->allocator, 1, sizeof *found);
        if (found) {
            found->id = image->id;
            found->image = image;
            pthread_mutex_init(&found->lock, NULL);
            found->next = *bucket_of(device, image->id);
            *bucket_of(device, image->id) = found;
        }
    }
    pthread_mutex_unlock(&device->table_lock);
    *program = found;
    return found ? PEL_OK
                 : pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory for program %s", image->name);
}

/* ---- building ---- */

/* The driver's words, or NULL. */
static char *build_log(const pel_cl_device *device, cl_program program) {
    size_t bytes = 0;
    if (clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS || bytes == 0) {
        return NULL;
    }
    char *log = pel_alloc(device->env->allocator, bytes + 1);
    if (log && clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL) != CL_SUCCESS) {
        pel_free(device->env->allocator, log);
        return NULL;
    }
    if (log) {
        log[bytes] = '\0';
    }
    return log;
}

static pel_status build_failed(const pel_cl_device *device, const pel_program_image *image, cl_program program, cl_int code,
                               pel_error **error) {
    pel_status status = pel_cl_status(code);
    char *log = build_log(device, program);
    /* Drivers answer a compiler's failure with other codes too (PoCL: CL_OUT_OF_RESOURCES); a log tells. */
    if (status == PEL_DEVICE_FAILED && log && log[0] != '\0') {
        status = PEL_BUILD_FAILED;
    }
    const char *advice = code == CL_INVALID_BUILD_OPTIONS ? "correct the options for the compiler: the driver refuses one"
                         : status == PEL_BUILD_FAILED     ? "read the build log; its line numbers are those of the source"
                                                          : "";
    pel_story story = {.device = device->label, .call = "clBuildProgram", .code = code, .advice = advice, .build_log = log};
    status = pel_fail(error, device->env->allocator, status, &story, "program %s does not build: clBuildProgram said %s (%d)",
                      image->name, pel_cl_code_name(code), (int)code);
    pel_free(device->env->allocator, log);
    return status;
}

/* The user's options; argument names, kinds and types are wanted from the form that is checked. */
static char *options_of(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form) {
    const char *own = form == PEL_CL_PLAIN ? " -cl-kernel-arg-info" : "";
    const char *given = image->options ? image->options : "";
    size_t bytes = strlen(given) + strlen(own) + 1;
    char *options = pel_alloc(device->env->allocator, bytes);
    if (options) {
        memcpy(options, given, strlen(given));
        memcpy(options + strlen(given), own, strlen(own) + 1);
    }
    return options;
}

static bool reproducible(const pel_cl_device *device) { return (device->env->runtime_flags & PEL_RUNTIME_REPRODUCIBLE) != 0; }

/* The first build of a device loads its compiler, which may take signal handlers and change the environment. */
cl_int pel_cl_compile(pel_cl_device *device, cl_program program, const char *options) {
    pel_guard guard;
    bool first = !atomic_exchange(&device->compiled, true);
    if (first && pel_guard_enter(&guard, device->env->allocator) != PEL_OK) {
        atomic_store(&device->compiled, false);
        return CL_OUT_OF_HOST_MEMORY;
    }
    cl_int code = clBuildProgram(program, 1, &device->id, options, NULL, NULL);
    if (first) {
        pel_guard_leave(&guard);
    }
    return code;
}

static pel_status from_source(pel_cl_device *device, const pel_program_image *image, pel_cl_form form, const char *options,
                              cl_program *program, pel_error **error) {
    const char *prelude = pel_cl_prelude(form, reproducible(device));
    const char *texts[2] = {prelude, image->source};
    const size_t lengths[2] = {strlen(prelude), image->source_bytes};
    cl_int code = CL_SUCCESS;
    unsigned skip = prelude[0] == '\0' ? 1 : 0;

    *program = clCreateProgramWithSource(device->context, 2 - skip, texts + skip, lengths + skip, &code);
    if (!*program || code != CL_SUCCESS) {
        *program = NULL;
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_HOST_MEMORY : code, "clCreateProgramWithSource",
                           "program %s cannot be made", image->name);
    }
    code = pel_cl_compile(device, *program, options);
    if (code != CL_SUCCESS) {
        pel_status status = build_failed(device, image, *program, code, error);
        clReleaseProgram(*program);
        *program = NULL;
        return status;
    }
    return PEL_OK;
}

static cl_program from_binary(pel_cl_device *device, const pel_program_image *image, const char *options,
                              const pel_cl_binary *binary) {
    const unsigned char *data = binary->data;
    cl_int loaded = CL_SUCCESS, code = CL_SUCCESS;
    cl_program program = clCreateProgramWithBinary(device->context, 1, &device->id, &binary->bytes, &data, &loaded, &code);
    if (program && code == CL_SUCCESS && loaded == CL_SUCCESS) {
        code = pel_cl_compile(device, program, options);
        if (code == CL_SUCCESS) {
            return program;
        }
    }
    pel_log(device->env->logger, PEL_LOG_WARNING, "%s: the cached binary of program %s does not load (%s); building from source",
            device->label, image->name, pel_cl_code_name(code != CL_SUCCESS ? code : loaded));
    if (program) {
        clReleaseProgram(program);
    }
    return NULL;
}

/* Takes the form's program and known variants from the cache; false: no. */
static bool try_cache(pel_cl_device *device, const pel_program_image *image, pel_cl_form form, const char *options,
                      pel_cl_form_state *state) {
    pel_cl_binary binary;
    if (!pel_cl_cache_load(device, image, form, &binary)) {
        return false;
    }
    state->program = from_binary(device, image, options, &binary);
    if (state->program) {
        state->variants = binary.variants;
        state->variant_count = state->variant_capacity = state->saved_count = binary.variant_count;
        binary.variants = NULL;
    } else {
        pel_cl_cache_drop(device, image, form);
    }
    pel_cl_binary_free(device, &binary);
    return state->program != NULL;
}

static void note_unsaved(pel_cl_device *device, const pel_program_image *image) {
    if (device->env->cache_directory && image->cacheable) {
        atomic_store(&device->unsaved, true);
    }
}

static pel_status build(pel_cl_device *device, const pel_program_image *image, pel_cl_form form, pel_cl_form_state *state,
                        bool *built, pel_error **error) {
    pel_status status = pel_cl_ready(device, error);
    if (status != PEL_OK) {
        return status;
    }
    char *options = options_of(device, image, form);
    if (!options) {
        return pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory to build program %s", image->name);
    }
    if (!try_cache(device, image, form, options, state)) {
        *built = true;
        int64_t began = pel_clock_now(device->env->clock);
        status = from_source(device, image, form, options, &state->program, error);
        if (status == PEL_OK) {
            state->unsaved = true;
            note_unsaved(device, image);
            pel_log(device->env->logger, PEL_LOG_DEBUG, "%s: built program %s, form %d, in %lld us", device->label, image->name,
                    (int)form, (long long)((pel_clock_now(device->env->clock) - began) / 1000));
        }
    }
    pel_free(device->env->allocator, options);
    return status;
}

pel_status pel_cl_form_build(pel_cl_device *device, pel_cl_program *program, pel_cl_form form, bool *built, pel_error **error) {
    pel_cl_form_state *state = &program->forms[form];
    pel_status status = PEL_OK;
    pel_error *why = NULL;

    if (!program->image->source) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "give the program OpenCL C source",
                             "program %s has host functions only", program->image->name);
    }
    pthread_mutex_lock(&program->lock);
    if (!state->program && !state->failure) {
        status = build(device, program->image, form, state, built, &why);
        if (status == PEL_BUILD_FAILED) {
            state->failure = pel_error_clone(why, device->env->allocator);
        }
    } else if (state->failure) {
        why = pel_error_clone(state->failure, device->env->allocator);
        status = pel_error_status(state->failure);
    }
    pthread_mutex_unlock(&program->lock);
    if (status != PEL_OK) {
        pel_error_hand_over(error, why);
    }
    return status;
}

/* ---- variants and their binaries ---- */

bool pel_cl_variant_is_new(pel_cl_device *device, pel_cl_program *program, pel_cl_form form, uint64_t key) {
    pel_cl_form_state *state = &program->forms[form];
    for (uint32_t i = 0; i < state->variant_count; i++) {
        if (state->variants[i] == key) {
            return false;
        }
    }
    if (state->variant_count == state->variant_capacity) {
        uint32_t capacity = state->variant_capacity + 8;
        uint64_t *grown = pel_resize(device->env->allocator, state->variants, capacity * sizeof *grown);
        if (!grown) {
            return true; /* not recorded: called cold again next time, which only loses a measurement */
        }
        state->variants = grown;
        state->variant_capacity = capacity;
    }
    state->variants[state->variant_count++] = key;
    note_unsaved(device, program->image);
    return true;
}

/* Which of the program's devices is ours (an adopted context may have several), and how large its binary is. */
static bool find_binary(const pel_cl_device *device, cl_program program, cl_uint *index, cl_uint *count, size_t *bytes) {
    cl_device_id devices[64];
    size_t sizes[64], got = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_DEVICES, sizeof devices, devices, &got) != CL_SUCCESS) {
        return false;
    }
    *count = (cl_uint)(got / sizeof *devices);
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof sizes, sizes, NULL) != CL_SUCCESS) {
        return false;
    }
    for (*index = 0; *index < *count && devices[*index] != device->id; ++*index) {
    }
    if (*index == *count && *count == 1) {
        *index = 0; /* PoCL names the whole device where ours is a part of it */
    }
    *bytes = *index < *count ? sizes[*index] : 0;
    return *bytes > 0;
}

static bool get_binary(const pel_cl_device *device, cl_program program, pel_cl_binary *binary) {
    unsigned char *pointers[64] = {NULL};
    cl_uint index, count;
    if (!find_binary(device, program, &index, &count, &binary->bytes)) {
        return false;
    }
    binary->data = pel_alloc(device->env->allocator, binary->bytes);
    pointers[index] = binary->data;
    return binary->data && clGetProgramInfo(program, CL_PROGRAM_BINARIES, count * sizeof *pointers, pointers, NULL) == CL_SUCCESS;
}

static void save_form(pel_cl_device *device, pel_cl_program *program, pel_cl_form form) {
    pel_cl_form_state *state = &program->forms[form];
    if (!state->program || !program->image->cacheable || (!state->unsaved && state->variant_count <= state->saved_count)) {
        return;
    }
    pel_cl_binary binary = {.variants = state->variants, .variant_count = state->variant_count};
    state->saved_count = state->variant_count; /* tried once: a full disk is not asked again for the same variants */
    state->unsaved = false;
    if (get_binary(device, state->program, &binary)) {
        pel_cl_cache_store(device, program->image, form, &binary);
    }
    pel_free(device->env->allocator, binary.data);
}

/* False: another thread builds a form just now, and the device's work must not wait for that. */
static bool save(pel_cl_device *device, pel_cl_program *program) {
    if (pthread_mutex_trylock(&program->lock) != 0) {
        return false;
    }
    for (unsigned form = 0; form < PEL_CL_FORMS; form++) {
        save_form(device, program, (pel_cl_form)form);
    }
    pthread_mutex_unlock(&program->lock);
    return true;
}

void pel_cl_save_binaries(pel_cl_device *device) {
    bool all = true;
    atomic_store(&device->unsaved, false);
    if (!device->env->cache_directory) {
        return;
    }
    pthread_mutex_lock(&device->save_lock);
    for (unsigned b = 0; b < PEL_CL_BUCKETS; b++) {
        pthread_mutex_lock(&device->table_lock);
        pel_cl_program *program = device->programs[b];
        pthread_mutex_unlock(&device->table_lock);
        /* New programs are put in front, and none goes while save_lock is held: the rest of the list stands still. */
        for (; program; program = program->next) {
            all &= save(device, program);
        }
    }
    pthread_mutex_unlock(&device->save_lock);
    if (!all) { /* again after another while of idleness */
        device->last_ended = pel_clock_now(&pel_clock_monotonic);
        atomic_store(&device->unsaved, true);
    }
}

/* ---- forgetting ---- */

static void destroy(pel_cl_device *device, pel_cl_program *program) {
    if (device->env->cache_directory) {
        (void)save(device, program);
    }
    for (unsigned form = 0; form < PEL_CL_FORMS; form++) {
        pel_cl_form_state *state = &program->forms[form];
        if (state->program) {
            clReleaseProgram(state->program);
        }
        pel_error_destroy(state->failure);
        pel_free(device->env->allocator, state->variants);
    }
    pthread_mutex_destroy(&program->lock);
    pel_free(device->env->allocator, program);
}

void pel_cl_program_forget(pel_backend_device *base, const pel_program_image *image) {
    pel_cl_device *device = (pel_cl_device *)base;
    pel_cl_program *gone = NULL;

    pthread_mutex_lock(&device->save_lock);
    pthread_mutex_lock(&device->table_lock);
    for (pel_cl_program **link = bucket_of(device, image->id); *link; link = &(*link)->next) {
        if ((*link)->id == image->id) {
            gone = *link;
            *link = gone->next;
            break;
        }
    }
    pthread_mutex_unlock(&device->table_lock);
    if (gone) {
        destroy(device, gone);
    }
    pthread_mutex_unlock(&device->save_lock);
}

void pel_cl_forget_all(pel_cl_device *device) {
    for (unsigned b = 0; b < PEL_CL_BUCKETS; b++) {
        while (device->kernels[b]) {
            pel_cl_kernel_forget(&device->base, device->kernels[b]->image);
        }
        while (device->programs[b]) {
            pel_cl_program_forget(&device->base, device->programs[b]->image);
        }
    }
}
