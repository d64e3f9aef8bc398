/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Works: to the child as plain data, and back as a status and times. Bytes never travel in packets, but for values.
 *
 * Times are what is seen from here, so that the models learn what a launch costs *through* the child. Only works that ended
 * together take the child's division of the time, and works that copy beyond the shared memory its division into copying and
 * computing; both only as far as they fit what is seen from here.
 */
#include "backend/outside/outside.h"

#include <errno.h>
#include <string.h>

bool pel_outside_is_rider(const pel_work *work) {
    return work->kind == PEL_WORK_LAUNCH && work->in_count == 0 && work->out_count == 0;
}

static void copy_rows(const pel_transfer *t, bool in) {
    unsigned char *host = pel_transfer_host(t), *region = ((pel_outside_mem *)t->mem)->region + t->offset;
    const uint64_t rows = pel_transfer_rows(t);
    for (uint64_t row = 0; row < rows; row++) {
        unsigned char *there = region + row * t->pitch, *here = host + row * t->pitch;
        memcpy(in ? there : here, in ? here : there, (size_t)t->bytes);
    }
}

void pel_outside_copy(pel_work *work, bool in) {
    const pel_transfer *transfers = in ? work->in : work->out;
    const uint32_t count = in ? work->in_count : work->out_count - (work->hint_lost ? work->hint_count : 0);
    for (uint32_t i = 0; i < count; i++) {
        if (transfers[i].bytes > 0) {
            copy_rows(&transfers[i], in);
        }
    }
}

static void put_transfers(pel_packet *out, const pel_transfer *transfers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const pel_transfer *t = &transfers[i];
        const pel_outside_transfer sent = {((pel_outside_mem *)t->mem)->id, t->offset, t->bytes, t->rows, t->pitch};
        pel_packet_put(out, &sent, sizeof sent);
    }
}

static void put_launch(pel_packet *out, const pel_work *work) {
    const uint32_t count = work->kernel->param_count;
    for (uint32_t i = 0; i < count; i++) {
        const pel_work_arg *arg = &work->args[i];
        const pel_outside_arg sent = {arg->mem ? ((pel_outside_mem *)arg->mem)->id : 0, arg->bytes, (uint32_t)arg->kind, 0};
        pel_packet_put(out, &sent, sizeof sent);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (work->args[i].kind == PEL_WORK_ARG_VALUE) {
            pel_packet_put(out, work->args[i].host, (size_t)work->args[i].bytes);
        }
    }
}

static void put_work(pel_outside *device, const pel_work *work, uint64_t sequence) {
    const bool launch = work->kind == PEL_WORK_LAUNCH;
    pel_outside_work sent = {.kind = (uint32_t)work->kind,
                             .chunked = work->chunked,
                             .sensitive = work->sensitive,
                             .group = work->group,
                             .predicted_ns = work->predicted_ns};
    if (launch) {
        sent.kernel = work->kernel->id;
        sent.arg_count = work->kernel->param_count;
    }
    if (!device->in_place) {
        sent.in_count = work->in_count;
        sent.out_count = work->out_count;
        sent.hint_count = work->hint_count;
    }
    pel_packet_begin(&device->out, PEL_OUTSIDE_WORK, sequence);
    pel_packet_put(&device->out, &sent, sizeof sent);
    pel_packet_put(&device->out, &work->span, sizeof work->span);
    put_transfers(&device->out, work->in, sent.in_count);
    put_transfers(&device->out, work->out, sent.out_count);
    if (launch) {
        put_launch(&device->out, work);
    }
}

int pel_outside_send(pel_outside *device, pel_work *work) {
    if (!pel_outside_flush(device)) {
        return EAGAIN;
    }
    if (work->kind == PEL_WORK_LAUNCH) {
        work->status = pel_outside_define(device, work->kernel->program, work->kernel, &work->error);
        if (work->status != PEL_OK) {
            return ECANCELED;
        }
        if (!pel_outside_flush(device)) {
            return EAGAIN;
        }
    }
    put_work(device, work, device->next_sequence);
    const int code = pel_packet_send(device->socket, &device->out, -1, false);
    if (code == 0) {
        work->sequence = device->next_sequence++;
        return 0;
    }
    if (code == EMSGSIZE) {
        work->status = pel_outside_refuse(device, &work->error, PEL_TOO_LARGE, "sendmsg", code,
                                          "pass large structures in buffers, or use the device in-process",
                                          "the arguments of %s do not fit a message to the device's process",
                                          work->kernel ? work->kernel->name : "a transfer");
        return ECANCELED;
    }
    return code; /* EAGAIN, or the child is gone, which the receiver finds out */
}

static bool fits(int64_t from, int64_t a, int64_t b, int64_t to) { return from <= a && a <= b && b <= to; }

bool pel_outside_read_done(pel_outside *device, pel_work *work, pel_reader *reader, int64_t now) {
    pel_outside_done done;
    pel_error *error = NULL;
    (void)pel_reader_get(reader, &done, sizeof done);
    const pel_status status = pel_reader_error(reader, device->env->allocator, &error);
    if (reader->failed || (uint32_t)status != done.status) {
        pel_error_destroy(error);
        return false;
    }
    work->status = status;
    work->error = error;
    work->cold = done.cold != 0;
    work->pooled = done.pooled != 0;
    work->hint_lost = done.hint_lost != 0;
    const int64_t from = work->launch_began > device->last_ended ? work->launch_began : device->last_ended;
    const bool divided = work->pooled || (!device->in_place && work->in_count + work->out_count > 0);
    const bool taken = divided && fits(from, done.launch_began, done.launch_ended, now);
    work->launch_began = taken ? done.launch_began : from;
    work->launch_ended = taken ? done.launch_ended : now;
    if (pel_outside_is_rider(work)) {
        work->began = work->launch_began;
        device->last_ended = work->launch_ended;
    } else {
        device->last_ended = now;
    }
    work->ended = work->launch_ended;
    return true;
}
