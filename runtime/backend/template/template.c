/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The null backend, to be copied when writing a new one: it opens, remembers memory, and completes every launch with UNSUPPORTED.
 * Not part of the library; tests/backend/template compiles and runs it, so that it cannot rot.
 *
 * What it shows is the shape that rules 1 to 5 of backend.h ask for: submit only appends to a list, under a lock that is never
 * held while anything foreign runs; one thread takes works off in order, runs each and completes it with no lock held; close lets
 * the list drain. A real backend replaces run() and the memory functions. One that can be driven by its caller's thread adds
 * `help`; one whose device shares the host's memory leaves the transfers empty.
 */
#include "backend/template/template.h"

#include <pthread.h>
#include <signal.h>

typedef struct template_device {
    pel_backend_device base; /* first: the vtable's pointers are cast */
    const pel_backend_env *env;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    pel_work *first, *last;
    bool stop;
} template_device;

/* Transfers in, the launch, transfers out. The first failing step ends the work with its status and a story. */
static void run(template_device *self, pel_work *work) {
    const pel_clock *clock = self->env->clock;
    work->began = work->launch_began = pel_clock_now(clock);
    if (work->kind != PEL_WORK_TRANSFER) {
        pel_story story = {.device = self->base.facts->info.id, .advice = "use a device of another kind"};
        work->status = pel_fail(&work->error, self->env->allocator, PEL_UNSUPPORTED, &story, "the null backend runs nothing");
    }
    work->launch_ended = work->ended = pel_clock_now(clock);
}

static void *thread_main(void *argument) {
    template_device *self = argument;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        while (self->first == NULL && !self->stop) {
            pthread_cond_wait(&self->changed, &self->lock);
        }
        pel_work *work = self->first;
        if (work == NULL) {
            break; /* stop, and nothing is left */
        }
        self->first = work->next;
        pthread_mutex_unlock(&self->lock);
        run(self, work);
        work->complete(work); /* it may be gone, or submitted again, after this */
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void destroy(template_device *self) {
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    pel_free(self->env->allocator, self);
}

static pel_status template_open(const pel_backend_env *env, const pel_topology_device *facts, pel_backend_device **device,
                                pel_error **error) {
    template_device *self = pel_alloc_zero(env->allocator, 1, sizeof *self);
    if (self == NULL) {
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for device %s", facts->info.id);
    }
    self->base = (pel_backend_device){&pel_backend_template, facts};
    self->env = env;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    sigset_t all, before; /* signals belong to the caller's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->thread, NULL, thread_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        pel_story story = {
            .device = facts->info.id, .call = "pthread_create", .code = code, .advice = "raise the limit of threads (ulimit -u)"};
        destroy(self);
        return pel_fail(error, env->allocator, PEL_IO, &story, "cannot start the thread of device %s", facts->info.id);
    }
    *device = &self->base;
    return PEL_OK;
}

static void template_close(pel_backend_device *device) {
    template_device *self = (template_device *)device;
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    destroy(self);
}

/* A device with memory of its own allocates it here, and keeps its handle in a structure that begins with a pel_mem. */
static pel_status template_mem_create(pel_backend_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    const pel_allocator *allocator = ((template_device *)device)->env->allocator;
    pel_mem *made = pel_alloc(allocator, sizeof *made);
    if (made == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a memory object of %s", device->facts->info.id);
    }
    *made = (pel_mem){.host = host, .bytes = bytes};
    *mem = made;
    return PEL_OK;
}

static pel_status template_mem_view(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                                    pel_error **error) {
    return template_mem_create(device, (char *)parent->host + offset, bytes, view, error);
}

static void template_mem_destroy(pel_backend_device *device, pel_mem *mem) {
    pel_free(((template_device *)device)->env->allocator, mem);
}

/* Compiles; refuses with NOT_FOUND, BUILD_FAILED or UNSUPPORTED what could not run, so that the user hears it when the kernel is
 * made. */
static pel_status template_prepare(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                                   pel_error **error) {
    pel_story story = {.device = device->facts->info.id};
    return pel_fail(error, ((template_device *)device)->env->allocator, PEL_UNSUPPORTED, &story, "the null backend cannot run %s",
                    kernel != NULL ? kernel->name : program->name);
}

/* A backend that keeps something per kernel or program, under its id, drops it here. */
static void template_kernel_forget(pel_backend_device *device, const pel_kernel_image *kernel) {
    (void)device;
    (void)kernel;
}

static void template_program_forget(pel_backend_device *device, const pel_program_image *program) {
    (void)device;
    (void)program;
}

static void template_submit(pel_backend_device *device, pel_work *work) {
    template_device *self = (template_device *)device;
    work->next = NULL;
    work->status = PEL_OK;
    work->error = NULL;
    work->cold = false;
    pthread_mutex_lock(&self->lock);
    if (self->first == NULL) {
        self->first = work;
    } else {
        self->last->next = work;
    }
    self->last = work;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

const pel_backend pel_backend_template = {
    .name = "template",
    .open = template_open,
    .close = template_close,
    .mem_create = template_mem_create,
    .mem_view = template_mem_view,
    .mem_destroy = template_mem_destroy,
    .prepare = template_prepare,
    .kernel_forget = template_kernel_forget,
    .program_forget = template_program_forget,
    .submit = template_submit,
    .help = NULL,
};
