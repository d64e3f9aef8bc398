/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs and kernels: told to the child once, by id, and from then on named. The source travels in shared memory, since it may
 * be larger than a packet. A build takes as long as it takes; whoever wants it sleeps without a deadline, as in-process, and is
 * woken when the child dies of it.
 */
#include "backend/outside/outside.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where the id is, or belongs. */
static size_t place_of(const pel_outside_ids *set, uint64_t id) {
    size_t lo = 0, hi = set->count;
    while (lo < hi) {
        const size_t middle = lo + (hi - lo) / 2;
        if (set->known[middle].id < id) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    return lo;
}

static pel_outside_known *look_up(const pel_outside_ids *set, uint64_t id) {
    const size_t at = place_of(set, id);
    return at < set->count && set->known[at].id == id ? &set->known[at] : NULL;
}

static bool knows(const pel_outside_ids *set, uint64_t id) { return look_up(set, id) != NULL; }

static bool make_room(const pel_allocator *allocator, pel_outside_ids *set) {
    if (set->count == set->capacity) {
        const size_t capacity = set->capacity ? 2 * set->capacity : 16;
        pel_outside_known *grown = pel_resize(allocator, set->known, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        set->known = grown;
        set->capacity = capacity;
    }
    return true;
}

static void learn(pel_outside_ids *set, uint64_t id) {
    const size_t at = place_of(set, id);
    memmove(set->known + at + 1, set->known + at, (set->count - at) * sizeof *set->known);
    set->known[at] = (pel_outside_known){.id = id};
    set->count++;
}

static bool unlearn(pel_outside_ids *set, uint64_t id) {
    const size_t at = place_of(set, id);
    if (at == set->count || set->known[at].id != id) {
        return false;
    }
    set->count--;
    memmove(set->known + at, set->known + at + 1, (set->count - at) * sizeof *set->known);
    return true;
}

static pel_status told(const pel_outside *device, pel_status status, const char *what, const char *name, pel_error **error) {
    switch (status) {
    case PEL_OK:
        return PEL_OK;
    case PEL_DEVICE_LOST:
        return pel_outside_lost_error(device, error);
    case PEL_TOO_LARGE:
        return pel_outside_refuse(device, error, PEL_TOO_LARGE, NULL, 0, "use fewer parameters",
                                  "%s %s does not fit a message to the device's process", what, name);
    default:
        return pel_outside_refuse(device, error, status, NULL, 0, "free host memory",
                                  "no memory to tell the device's process of %s %s", what, name);
    }
}

static pel_status define_program(pel_outside *device, const pel_program_image *program, pel_error **error) {
    const char *options = program->options ? program->options : "";
    const size_t name_bytes = strlen(program->name) + 1, options_bytes = strlen(options) + 1,
                 source_bytes = program->source_bytes;
    const size_t bytes = name_bytes + options_bytes + source_bytes + 1;
    void *mapping;
    if (knows(&device->programs, program->id)) {
        return PEL_OK;
    }
    const int descriptor = make_room(device->env->allocator, &device->programs) ? pel_outside_share(bytes, &mapping) : -1;
    if (descriptor < 0) {
        return pel_outside_refuse(device, error, PEL_OUT_OF_MEMORY, "memfd_create", errno,
                                  "free host memory, or raise the limits of descriptors and mappings",
                                  "no shared memory for program %s", program->name);
    }
    memcpy(mapping, program->name, name_bytes);
    memcpy((char *)mapping + name_bytes, options, options_bytes);
    if (source_bytes > 0) {
        memcpy((char *)mapping + name_bytes + options_bytes, program->source, source_bytes);
    }
    munmap(mapping, bytes);
    pel_packet_begin(&device->out, PEL_OUTSIDE_PROGRAM, program->id);
    pel_packet_put_u32(&device->out, program->cacheable);
    pel_packet_put_u32(&device->out, program->plain_only);
    pel_packet_put_u32(&device->out, program->source != NULL);
    pel_packet_put_u64(&device->out, name_bytes);
    pel_packet_put_u64(&device->out, options_bytes);
    pel_packet_put_u64(&device->out, source_bytes);
    pel_packet_put(&device->out, program->digest, sizeof program->digest);
    const pel_status status = pel_outside_post_out(device, descriptor);
    if (status == PEL_OK) {
        learn(&device->programs, program->id);
    }
    return told(device, status, "program", program->name, error);
}

pel_status pel_outside_define(pel_outside *device, const pel_program_image *program, const pel_kernel_image *kernel,
                              pel_error **error) {
    if (device->lost) {
        return pel_outside_lost_error(device, error);
    }
    pel_status status = program ? define_program(device, program, error) : PEL_OK;
    if (status != PEL_OK || !kernel || knows(&device->kernels, kernel->id)) {
        return status;
    }
    if (!make_room(device->env->allocator, &device->kernels)) {
        return told(device, PEL_OUT_OF_MEMORY, "kernel", kernel->name, error);
    }
    pel_packet_begin(&device->out, PEL_OUTSIDE_KERNEL, kernel->id);
    pel_packet_put_u64(&device->out, program ? program->id : 0);
    pel_packet_put_u32(&device->out, kernel->flags);
    pel_packet_put_u32(&device->out, kernel->param_count);
    pel_packet_put_u64(&device->out, kernel->scratch_bytes);
    pel_packet_put(&device->out, &kernel->cost_hint, sizeof kernel->cost_hint);
    for (uint32_t i = 0; i < kernel->param_count; i++) {
        pel_param param = kernel->params[i];
        param.custom = NULL; /* the caller's, and of no use to a driver */
        param.user = NULL;
        pel_packet_put(&device->out, &param, sizeof param);
    }
    pel_packet_put_u32(&device->out, kernel->entry != NULL);
    pel_packet_put_text(&device->out, kernel->entry, PEL_PACKET_BYTES);
    pel_packet_put_text(&device->out, kernel->name, PEL_PACKET_BYTES);
    status = pel_outside_post_out(device, -1);
    if (status == PEL_OK) {
        learn(&device->kernels, kernel->id);
    }
    return told(device, status, "kernel", kernel->name, error);
}

/* ---- prepare ---- */

static void leave(pel_outside *device, const pel_outside_request *request) {
    pel_outside_request **link = &device->requests;
    while (*link != request) {
        link = &(*link)->next;
    }
    *link = request->next;
}

pel_status pel_outside_prepare(pel_backend_device *base, const pel_program_image *program, const pel_kernel_image *kernel,
                               pel_error **error) {
    pel_outside *device = (pel_outside *)base;
    pel_outside_request request = {0};
    pthread_mutex_lock(&device->lock);
    pel_status status = pel_outside_define(device, program, kernel, error);
    if (status == PEL_OK) {
        request.id = device->next_id++;
        pel_packet_begin(&device->out, PEL_OUTSIDE_PREPARE, request.id);
        pel_packet_put_u64(&device->out, program->id);
        pel_packet_put_u64(&device->out, kernel ? kernel->id : 0);
        status = told(device, pel_outside_post_out(device, -1), "program", program->name, error);
    }
    if (status == PEL_OK) {
        request.next = device->requests;
        device->requests = &request;
        while (!request.answered) {
            pthread_cond_wait(&device->answered, &device->lock);
        }
        leave(device, &request);
        status = request.status;
        pel_error_hand_over(error, request.error);
        pel_outside_known *known = status == PEL_OK && kernel ? look_up(&device->kernels, kernel->id) : NULL;
        if (known) {
            known->group = request.group;
            known->fixed = request.fixed;
        }
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

uint64_t pel_outside_largest_group(pel_backend_device *base, const pel_kernel_image *kernel, bool *fixed) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    const pel_outside_known *known = look_up(&device->kernels, kernel->id);
    const uint64_t group = known ? known->group : 0;
    *fixed = known && known->fixed;
    pthread_mutex_unlock(&device->lock);
    return group;
}

bool pel_outside_answer(pel_outside *device, pel_reader *reader) {
    for (pel_outside_request *request = device->requests; request; request = request->next) {
        if (request->id == reader->head.id && !request->answered) {
            request->status = pel_reader_error(reader, device->env->allocator, &request->error);
            request->group = pel_reader_u64(reader);
            request->fixed = pel_reader_u32(reader) != 0;
            if (reader->failed) {
                pel_error_destroy(request->error);
                request->error = NULL;
                return false;
            }
            request->answered = true;
            pthread_cond_broadcast(&device->answered);
            return true;
        }
    }
    return false;
}

void pel_outside_fail_requests(pel_outside *device) {
    for (pel_outside_request *request = device->requests; request; request = request->next) {
        if (!request->answered) {
            request->status = pel_outside_lost_error(device, &request->error);
            request->answered = true;
        }
    }
    pthread_cond_broadcast(&device->answered);
}

void pel_outside_kernel_forget(pel_backend_device *base, const pel_kernel_image *kernel) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    if (unlearn(&device->kernels, kernel->id)) {
        pel_packet_begin(&device->out, PEL_OUTSIDE_KERNEL_DROP, kernel->id);
        (void)pel_outside_post_out(device, -1);
    }
    pthread_mutex_unlock(&device->lock);
}

void pel_outside_program_forget(pel_backend_device *base, const pel_program_image *program) {
    pel_outside *device = (pel_outside *)base;
    pthread_mutex_lock(&device->lock);
    if (unlearn(&device->programs, program->id)) {
        pel_packet_begin(&device->out, PEL_OUTSIDE_PROGRAM_DROP, program->id);
        (void)pel_outside_post_out(device, -1);
    }
    pthread_mutex_unlock(&device->lock);
}
