/* SPDX-License-Identifier: BSD-3-Clause */
/* What the public functions of interoperation need of the floors above, which know no OpenCL type: declared here, defined
 * there. */
#ifndef PEL_BACKEND_INTEROP_H
#define PEL_BACKEND_INTEROP_H

#include "backend/backend.h"
#include <pel/buffer.h>
#include <pel/map.h>

/* memory/adopted.c: a buffer whose bytes are in `mem`, in the device's own memory; takes `mem` over when it succeeds, and sets
 * its host memory. */
pel_status pel_buffer_adopt_mem(const pel_device *device, pel_mem *mem, pel_buffer **buffer, pel_error **error);

/* The same in host memory, which `let_go(user)` gives back when nobody uses it any more. Taken over when it succeeds. */
pel_status pel_buffer_adopt_host(const pel_device *device, void *host, uint64_t bytes, void (*let_go)(void *user), void *user,
                                 pel_buffer **buffer, pel_error **error);

/* queue/mapping.c: a mapping in the device's memory; and, once it is open, the memory object and where in it the bytes begin. */
pel_status pel_mapping_on_device(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                                 const pel_device *device, const pel_task_desc *desc, pel_mapping **mapping);
pel_status pel_mapping_mem(pel_mapping *mapping, pel_mem **mem, uint64_t *offset);

/* core/runtime.c */
pel_runtime *pel_device_runtime(const pel_device *device);
pel_status pel_device_usable(const pel_device *device, pel_error **error); /* AFTER_FORK */

#endif
