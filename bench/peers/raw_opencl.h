/* SPDX-License-Identifier: BSD-3-Clause */
/* The smallest launch that OpenCL has, made by hand: what any runtime on top of it is compared with. */
#ifndef PEL_PEERS_RAW_OPENCL_H
#define PEL_PEERS_RAW_OPENCL_H

#include <stdbool.h>
#include <stdint.h>

enum { RAW_ITEMS = 64 };

/* Each item counts its launches: a launch that is lost shows. Launches on one buffer run one after the other. */
extern const char raw_opencl_source[];

/* `device` and `context` are a cl_device_id and a cl_context, or NULL for the first CPU device. False: there is none. */
bool raw_opencl_open(void *device, void *context);
double raw_opencl_single(void);              /* nanoseconds of one launch and its finish */
double raw_opencl_batch(unsigned count);     /* nanoseconds of so many launches and one finish */
/* The same where somebody must know which launch failed: each has an event, which is asked and released after the finish. */
double raw_opencl_batch_with_events(unsigned count);
/* One launch whose waiter looks at its event, for as long as pel does, before it would sleep. */
double raw_opencl_single_looking(void);
bool raw_opencl_close(uint32_t launches);    /* true when every item counted so many */

#endif
