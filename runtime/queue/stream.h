/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches that are beyond a device's memory go through it in steps: windows of their buffers come in, are computed on, and go
 * home. All (L) but pel_stream_ask.
 */
#ifndef PEL_QUEUE_STREAM_H
#define PEL_QUEUE_STREAM_H

#include "queue/command.h"

/* Before submission, without the lock: where the launch may not fit, asks the drivers whether they take windows of this
 * kernel's buffers. */
void pel_stream_ask(pel_runtime *runtime, pel_bound *bound);

/* Whether the launch fits the device only in windows; else it is kept there whole. Ignores what others use just now. */
bool pel_stream_needed(const pel_bound *bound, const pel_device *device);

/* Why it cannot go through this device in windows either, composed with the numbers, or NULL: it can. "": no memory to say. */
char *pel_stream_refusal(const pel_bound *bound, const pel_device *device);

/* Whether this argument gets windows where the launch is streamed; the others are there whole. */
bool pel_stream_windowed(const pel_bound *bound, uint32_t arg);

/* Makes the steps of a chunk; work.args and the span are set already. */
pel_status pel_stream_build(pel_job *job, pel_error **error);
void pel_stream_free(pel_job *job);

/* Bytes of all steps' transfers. */
uint64_t pel_stream_bytes(const pel_job *job, bool in);

#endif
