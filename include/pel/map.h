/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mapping: the program's own look at bytes of a buffer, in program order with the commands of the queue; and prefetch.
 *
 * A mapping is a command that ends when the program says so. It waits for commands that conflict with it, fetches what is
 * missing, and from then until pel_unmap the bytes are the program's: commands submitted later that conflict wait for the unmap,
 * others run. So nothing changes under a mapping, and nothing is copied that the program does not look at. With one for reading,
 * commands that read the same bytes run.
 *
 * A thread that has a mapping cannot wait for what waits for that: pel_queue_finish, pel_event_wait, pel_buffer_sync and
 * pel_map_wait return WOULD_DEADLOCK then, at once. (It is told by the thread that called pel_map: unmap in that one, or wait in
 * another.) Such a wait never hangs; with more than 63 mappings open at once, a wait may be refused that would have ended.
 */
#ifndef PEL_MAP_H
#define PEL_MAP_H

#include <pel/buffer.h>
#include <pel/export.h>
#include <pel/queue.h>
#include <pel/status.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_mapping pel_mapping;

enum {
    PEL_MAP_READ = 1u << 0,
    PEL_MAP_WRITE = 1u << 1,   /* alone: some of the bytes; what is not written stays, so the bytes are fetched */
    PEL_MAP_DISCARD = 1u << 2, /* with WRITE, without READ: all of the bytes are written, or undefined; nothing is fetched */
    /*
     * For finding mistakes, at the price of copies: the program gets pages of its own, copied to the buffer by pel_unmap. A store
     * through a pointer kept beyond pel_unmap, or into a mapping for reading, then faults at the store and never reaches the
     * buffer.
     */
    PEL_MAP_GUARD = 1u << 3
};

/*
 * Submits a mapping of bytes [offset, offset + bytes) (bytes 0: to the end) for the host. Any thread; does not wait. The mapping
 * is the caller's: pel_mapping_destroy. A mapping is used by one thread at a time. Errors as for other commands; the story is in
 * pel_queue_error.
 */
PEL_API PEL_MUST_CHECK pel_status pel_map(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                                          const pel_task_desc *desc, pel_mapping **mapping);

/*
 * Waits until the bytes are in host memory and the caller's; *memory is the first one. Blocks; drives devices meanwhile. From
 * inside a task: WOULD_DEADLOCK, unless it is there already. Where the mapping failed: its status, as an event's. CONFLICT: it is
 * unmapped already.
 */
PEL_API PEL_MUST_CHECK pel_status pel_map_wait(pel_mapping *mapping, void **memory);

/*
 * Ends a mapping; what was written is there for the commands behind it. One that is not there yet ends without having been. Does
 * not wait. CONFLICT: it is stale, unmapped before or failed; nothing that was stored meanwhile is promised to anybody. Any
 * thread, also inside tasks.
 */
PEL_API pel_status pel_unmap(pel_mapping *mapping);

/* Frees a mapping; unmaps first where that has not happened. Any thread; does not wait. NULL is allowed. */
PEL_API void pel_mapping_destroy(pel_mapping *mapping);

/*
 * Brings bytes [offset, offset + bytes) (bytes 0: to the end) of a buffer to a device, in program order and without a copy where
 * they are there or the device computes in host memory, so that a later launch finds them there. A hint: where there is no room
 * for them, or a transfer fails, they stay where they were, the log says so, and the command succeeds; it fails only with what
 * wrote the bytes, or when it is cancelled. Other copies stay valid. Bytes of pel_buffer_wrap stay until
 * pel_queue_finish, which gives them back. Any thread; does not wait.
 */
PEL_API PEL_MUST_CHECK pel_status pel_prefetch(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes,
                                               const pel_device *device, const pel_task_desc *desc, pel_event **event);

PEL_END_DECLS
#endif
