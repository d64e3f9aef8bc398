/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: a host launch of a microsecond went through the dispatcher and the workers' job queue as one of a second does: it
 * was planned, dealt out to all workers, taken by one that had to be woken, and reported under the lock. A thousand that followed
 * each other took 50 us each, where tasks that did the same took 0.3 (2 vCPUs, 2026-11).
 *
 * So a launch that was made before (repeat.c), that goes to the host in one piece, is predicted to be over before a sleeper would
 * come, and whose event nobody wants, is submitted as what it amounts to: a task with the launch's accesses. The invariant: what
 * a task needs is in a record that is counted by its runs, so neither the kernel nor the repeat must outlive it; memory is kept
 * by the hazards, as any task's is. A run is no frame: what the host function submits or waits for is treated as in any other
 * host function. Some launches still go the long way, as habits grow old there: they are what the models learn from.
 *
 * Rejected: host devices that chain (backend.h, rule 6), with several launches in one work: launches on disjoint bytes would
 * still wait for each other, and each report would still take the lock.
 */
#include "queue/short_launch.h"
#include "backend/host/host.h"
#include <string.h>

#define SHORT_NS 20000.0 /* waking a sleeper costs as much, and it comes later (backend/host/job.c) */

/* USES: more go the long way. AT_ONCE: runs that are counted in one addition, on a line that runners write to. */
enum { USES = PEL_MORE_RANGES, AT_ONCE = 256, ALIGNMENT = 128 }; /* any OpenCL type's */

struct pel_short {
    const pel_runtime *runtime;
    pel_host_whole whole;
    char *name;
    void **arguments;
    uint32_t use_count;
    struct {
        uint32_t arg;
        uintptr_t lo;
        uint64_t bytes;
        pel_access_mode mode;
    } uses[USES];
    uint32_t kept; /* (lock) runs that are counted and not yet taken */
    char apart[PEL_HOST_LINE];
    atomic_uint runs;
};

static uint64_t aligned(uint64_t bytes) { return (bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1); }

static bool is_value(const pel_bound_arg *arg) { return arg->kind == PEL_ARG_VALUE || arg->kind == PEL_ARG_STRUCT; }

/* It is only read or written where it lies. */
static bool is_simple(const pel_bound *bound, uint32_t i) {
    const pel_bound_arg *arg = &bound->args[i];
    const pel_param *param = &bound->kernel->image.params[i];
    if (is_value(arg)) {
        return true;
    }
    if (arg->kind == PEL_ARG_NULL) {
        return arg->param != PEL_PARAM_KIND_CANCEL;
    }
    return arg->allocation && !arg->allocation->sensitive && arg->param != PEL_PARAM_KIND_REDUCE_PRIVATE &&
           arg->param != PEL_PARAM_KIND_CUSTOM && (arg->param != PEL_PARAM_KIND_PER_GROUP || param->op == PEL_REDUCE_NONE);
}

bool pel_short_suits(const pel_runtime *runtime, const pel_bound *bound, uint32_t device, double predicted_ns) {
    const pel_kernel_image *image = &bound->kernel->image;
    /* what an irregular kernel's launches took says little of the next: a long one would have one worker instead of all */
    const bool regular = (image->flags & PEL_KERNEL_IRREGULAR) == 0;
    bool suits = regular && predicted_ns > 0 && predicted_ns < SHORT_NS && runtime->dispatcher->tasks &&
                 image->scratch_bytes == 0 && (image->host || image->host_group) &&
                 runtime->devices[device].driver == runtime->task_device->driver;
    for (uint32_t i = 0; i < bound->arg_count && suits; i++) {
        suits = is_simple(bound, i);
    }
    return suits;
}

/* In one block with what it points to. */
static pel_short *make(const pel_runtime *runtime, const pel_bound *bound) {
    const pel_kernel_image *image = &bound->kernel->image;
    uint64_t bytes = aligned(bound->arg_count * sizeof(void *));
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        bytes += is_value(&bound->args[i]) ? aligned(bound->args[i].bytes) : 0; /* bound.storage held them, too */
    }
    const size_t name = strlen(image->name) + 1;
    return pel_alloc_zero(&runtime->allocator, 1, sizeof(pel_short) + ALIGNMENT + (size_t)bytes + name);
}

static void fill_arguments(pel_short *s, const pel_bound *bound) {
    char *at = (char *)(uintptr_t)aligned((uintptr_t)(s + 1));
    s->arguments = (void **)(void *)at;
    at += aligned(bound->arg_count * sizeof(void *));
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        s->arguments[i] = arg->allocation ? arg->allocation->base + arg->offset : NULL;
        if (is_value(arg)) {
            memcpy(at, arg->value, (size_t)arg->bytes);
            s->arguments[i] = at;
            at += aligned(arg->bytes);
        }
    }
    s->name = at;
    strcpy(at, bound->kernel->image.name);
}

/* The use in the argument that it lies in. */
static bool fill_uses(pel_short *s, const pel_bound *bound, const pel_uses *uses) {
    for (uint32_t u = 0; u < uses->count && u < USES; u++) {
        const pel_use *use = &uses->data[u];
        uint32_t arg = 0;
        while (arg < bound->arg_count && (bound->args[arg].allocation != use->allocation || bound->args[arg].offset > use->lo ||
                                          bound->args[arg].offset + bound->args[arg].bytes < use->hi)) {
            arg++;
        }
        if (arg == bound->arg_count || use->pitch != 0) {
            return false;
        }
        s->uses[u].arg = arg;
        s->uses[u].lo = (uintptr_t)use->allocation->base + use->lo;
        s->uses[u].bytes = use->hi - use->lo;
        s->uses[u].mode = use->mode;
    }
    s->use_count = uses->count;
    return uses->count > 0 && uses->count <= USES;
}

pel_short *pel_short_create(const pel_runtime *runtime, const pel_bound *bound, const pel_uses *uses) {
    const pel_kernel_image *image = &bound->kernel->image;
    pel_short *s = make(runtime, bound);
    if (!s) {
        return NULL;
    }
    s->runtime = runtime;
    fill_arguments(s, bound);
    if (!fill_uses(s, bound, uses) || !pel_host_whole_of(&s->whole, image, &bound->span)) {
        pel_free(&runtime->allocator, s);
        return NULL;
    }
    s->kept = AT_ONCE;
    atomic_init(&s->runs, AT_ONCE);
    return s;
}

static void drop(pel_short *s, uint32_t runs) {
    if (runs > 0 && atomic_fetch_sub_explicit(&s->runs, runs, memory_order_acq_rel) == runs) {
        pel_free(&s->runtime->allocator, s);
    }
}

void pel_short_take(pel_short *launch) {
    if (launch->kept == 1) { /* one stays: it is what the owner holds it with */
        launch->kept += AT_ONCE;
        atomic_fetch_add_explicit(&launch->runs, AT_ONCE, memory_order_relaxed);
    }
    launch->kept--;
}

void pel_short_destroy(pel_short *launch) {
    if (launch) {
        drop(launch, launch->kept);
    }
}

static pel_status run(void *context) {
    pel_short *s = context;
    pel_frame *frame = pel_frames;
    pel_host_piece piece;
    pel_frame_leave(frame);
    pel_host_piece_enter(&piece, s->runtime->task_device->driver);
    const pel_status status = pel_host_run_whole(&s->whole, s->arguments);
    pel_host_piece_leave(&piece);
    pel_frame_enter(frame);
    if (status == PEL_OK) { /* else its story is still to be told */
        drop(s, 1);
    }
    return status;
}

pel_status pel_short_submit(pel_short *launch, pel_queue *queue, const pel_arg *args) {
    pel_access accesses[USES];
    for (uint32_t u = 0; u < launch->use_count; u++) {
        pel_buffer *buffer = args[launch->uses[u].arg].u.range.buffer; /* its data never moves */
        accesses[u] = (pel_access){.buffer = buffer,
                                   .offset = launch->uses[u].lo - (uintptr_t)buffer->data,
                                   .bytes = launch->uses[u].bytes,
                                   .mode = launch->uses[u].mode};
    }
    return pel_task_submit(queue, run, launch, accesses, launch->use_count, NULL, NULL); /* which drops a run that it refuses */
}

void pel_short_unused(pel_task_fn function, void *context) {
    if (function == run) {
        drop(context, 1);
    }
}

static pel_short *of(const pel_node *node) { return node->task == run ? node->hazard.user : NULL; }

void pel_short_forgo(const pel_node *node) {
    pel_short *s = of(node);
    if (s) {
        drop(s, 1);
    }
}

pel_error *pel_short_error(const pel_node *node, pel_status returned) {
    const pel_short *s = of(node);
    pel_error *error = NULL;
    if (s) {
        const pel_story story = {.device = s->runtime->task_device->facts->info.id,
                                 .code = (int64_t)returned,
                                 .advice = "the function itself reported this; see what it does for these items"};
        pel_fail(&error, &s->runtime->allocator, PEL_TASK_FAILED, &story, "%s: the host function of kernel %s returned %s (%s)",
                 s->name, s->name, pel_status_name(returned), pel_status_text(returned));
    }
    return error;
}

const char *pel_short_name(const pel_node *node, const char *other) {
    const pel_short *s = of(node);
    return s ? s->name : other;
}
