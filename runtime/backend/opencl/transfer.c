/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One transfer as one command. Rows at a pitch are a rectangle: one command whatever their number, where the driver has copy
 * engines that know strides. Both sides have the same pitch, so the rectangle begins at byte 0 of each side's own origin. A piece
 * is never made a rectangle of one row: drivers take the slower way for those.
 */
#include "backend/opencl/internal.h"

static cl_int enqueue_rows(cl_command_queue queue, const pel_transfer *t, bool in, cl_event *event) {
    const size_t region[3] = {(size_t)t->bytes, (size_t)t->rows, 1}, zero[3] = {0, 0, 0}, pitch = (size_t)t->pitch;
    /* An origin of the buffer's side: rows of `pitch` bytes, so many whole ones and the rest. */
    const size_t origin[3] = {(size_t)(t->offset % t->pitch), (size_t)(t->offset / t->pitch), 0};
    cl_mem cl = ((pel_cl_mem *)t->mem)->cl;
    void *host = pel_transfer_host(t);
    return in ? clEnqueueWriteBufferRect(queue, cl, CL_FALSE, origin, zero, region, pitch, 0, pitch, 0, host, 0, NULL, event)
              : clEnqueueReadBufferRect(queue, cl, CL_FALSE, origin, zero, region, pitch, 0, pitch, 0, host, 0, NULL, event);
}

static cl_int enqueue_piece(cl_command_queue queue, const pel_transfer *t, bool in, cl_event *event) {
    cl_mem cl = ((pel_cl_mem *)t->mem)->cl;
    void *host = pel_transfer_host(t);
    return in ? clEnqueueWriteBuffer(queue, cl, CL_FALSE, (size_t)t->offset, (size_t)t->bytes, host, 0, NULL, event)
              : clEnqueueReadBuffer(queue, cl, CL_FALSE, (size_t)t->offset, (size_t)t->bytes, host, 0, NULL, event);
}

pel_status pel_cl_enqueue_transfer(const pel_cl_device *device, cl_command_queue queue, const pel_transfer *transfer, bool in,
                                   cl_event *event, pel_error **error) {
    bool rows = pel_transfer_rows(transfer) > 1;
    *event = NULL;
    cl_int code = rows ? enqueue_rows(queue, transfer, in, event) : enqueue_piece(queue, transfer, in, event);
    if (code == CL_SUCCESS) {
        return PEL_OK;
    }
    const char *call = rows ? (in ? "clEnqueueWriteBufferRect" : "clEnqueueReadBufferRect")
                            : (in ? "clEnqueueWriteBuffer" : "clEnqueueReadBuffer");
    return pel_cl_fail(device, error, code, call, "bytes [%llu, +%llu)%s cannot be copied %s the device",
                       (unsigned long long)transfer->offset, (unsigned long long)transfer->bytes,
                       rows ? " and the rows after them" : "", in ? "to" : "from");
}
