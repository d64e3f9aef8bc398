/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A buffer is a range of bytes that may be valid in several places: in host memory and on devices. The runtime moves what is
 * needed where it is needed. Buffers that overlap in host memory are one allocation: dependencies and validity are shared. All
 * functions: any thread; a buffer is destroyed when no other thread is in a call with it.
 */
#ifndef PEL_BUFFER_H
#define PEL_BUFFER_H

#include <pel/export.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_buffer pel_buffer;

/*
 * Wraps the caller's memory [memory, memory + bytes), used in place where a device can. The memory stays the caller's and must
 * outlive the buffer; between the submission of a command that uses it and pel_queue_finish the caller must not touch it outside
 * of commands. After pel_queue_finish the caller may read and change it, so devices with memory of their own fetch it anew: data
 * that stays on a device from launch to launch belongs into pel_buffer_create. Overlapping an existing wrap partly makes both one
 * allocation, which waits until both are idle. Devices with memory of their own want arguments at multiples of an alignment
 * (PoCL: 128 bytes) from where that allocation begins; where they are not, the device is left out, and the plan says why.
 * bytes > 0. Any thread; may block only to make two one. Errors: INVALID_ARGUMENT (also memory partly inside a buffer of
 * pel_buffer_create), OUT_OF_MEMORY, BUSY (another thread kept using the overlapped wrap), WOULD_DEADLOCK (would have to wait
 * inside a task), AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_buffer_wrap(pel_runtime *runtime, void *memory, uint64_t bytes, pel_buffer **buffer);

/*
 * A buffer with memory of its own, zero at first. Its host copy is reached through pel_buffer_data, pel_read and pel_write.
 * Any thread. Errors: INVALID_ARGUMENT (0 bytes), TOO_LARGE, OUT_OF_MEMORY, AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_buffer_create(pel_runtime *runtime, uint64_t bytes, pel_buffer **buffer, pel_error **error);

/*
 * Where a buffer's host memory comes from, instead of from the system's pages: a pool, huge or locked pages, shared memory.
 * allocate: at least 64-byte aligned, NULL when there is none; it is zeroed by the library. release: when the last command and
 * buffer that use it are gone, maybe on another thread and with locks held: it must not call the library.
 */
typedef struct pel_memory_source {
    void *(*allocate)(void *user, uint64_t bytes);
    void (*release)(void *user, void *memory, uint64_t bytes);
    void *user;
} pel_memory_source;

enum {
    /*
     * Contents are zeroed before their memory is released: on every device, in host memory of the library's own, in the library's
     * copies of them; local memory after launches that use it. Checkpoints refuse it; traces, histories and messages never hold
     * contents of buffers. Own pages are left out of core dumps and forked children. Goes for all memory that the buffer
     * overlaps. What cannot be promised: docs/guide.md, "Sensitive data".
     */
    PEL_BUFFER_SENSITIVE = 1u << 0
};

typedef struct pel_buffer_desc {
    size_t size;                     /* sizeof(pel_buffer_desc); 0: the layout of the first release */
    uint64_t bytes;
    void *memory;                    /* the caller's, as in pel_buffer_wrap; NULL: of the buffer's own */
    const pel_memory_source *source; /* of memory of its own; NULL: the system's pages; copied */
    uint32_t flags;                  /* PEL_BUFFER_* */
    uint32_t reserved;               /* 0 */
} pel_buffer_desc;
#define PEL_BUFFER_DESC_INIT {sizeof(pel_buffer_desc), 0, NULL, NULL, 0, 0}

/* As pel_buffer_create, or as pel_buffer_wrap when there is memory, with everything that may be said of a buffer. The same
 * errors. */
PEL_API PEL_MUST_CHECK pel_status pel_buffer_create_with(pel_runtime *runtime, const pel_buffer_desc *desc, pel_buffer **buffer,
                                                         pel_error **error);

/* Size in bytes; 0 for NULL. Any thread; never blocks. */
PEL_API uint64_t pel_buffer_bytes(const pel_buffer *buffer);

/*
 * The host memory behind the buffer. Its contents mean something inside a task that declared the access, and, for wrapped memory,
 * after pel_queue_finish; for owned memory after pel_buffer_sync. The buffer's, or the caller's; not NULL. Any thread, at once.
 */
PEL_API void *pel_buffer_data(const pel_buffer *buffer);

/*
 * Waits for every submitted command that writes the buffer and makes the host copy current. What a failed command should have
 * written stays undefined, as pel_queue_finish tells; the rest is fetched all the same. Any thread; blocks. Errors:
 * WOULD_DEADLOCK (it would have to wait inside a task or a parallel loop, or for a mapping of the calling thread), what kept the
 * bytes from being fetched (DEVICE_*, OUT_OF_MEMORY), AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_buffer_sync(pel_buffer *buffer);

/*
 * Destroys a buffer, for all threads. Commands already submitted keep what they need; wrapped memory may be freed only after
 * pel_queue_finish. What a device alone holds of *wrapped* memory is brought home first (may block); a failure of that is
 * returned, the buffer is gone all the same. Nothing is destroyed with WOULD_DEADLOCK (it would have to wait inside a task, or
 * for a mapping of the calling thread), OUT_OF_MEMORY (tasks use it, and there is none to note that), AFTER_FORK. NULL: OK.
 */
PEL_API pel_status pel_buffer_destroy(pel_buffer *buffer);

/*
 * What the caller knows of a buffer's future and the library cannot. Hints: results are the same without them, but for DISCARD,
 * after which the contents are undefined until they are written. They go for all memory that the buffer overlaps (DISCARD for its
 * own bytes only).
 */
typedef enum pel_advice {
    PEL_ADVICE_NONE = 0,   /* takes KEEP and LEAVE back */
    PEL_ADVICE_KEEP = 1,   /* where the device's memory is short, its copy makes room last: it is needed again, like a table */
    PEL_ADVICE_LEAVE = 2,  /* its copy makes room first: it was needed once */
    PEL_ADVICE_DISCARD = 3 /* its contents are not needed any more: what devices hold is neither written back nor fetched */
} pel_advice;

/*
 * device: whose copy KEEP, LEAVE and NONE mean; NULL: of all devices. For DISCARD: NULL. Reading often from several places needs
 * no advice: copies stay where they are until somebody writes. Any thread; does not block. Errors: INVALID_ARGUMENT,
 * OUT_OF_MEMORY, BUSY (DISCARD while commands that use the memory are not over: nothing has happened), AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_buffer_advise(pel_buffer *buffer, pel_advice advice, const pel_device *device);

/* Counters since creation, in bytes; all 0 for NULL. Any thread; takes the runtime's lock for a moment. */
typedef struct pel_buffer_counters {
    uint64_t to_devices;   /* copied host -> devices */
    uint64_t to_host;      /* copied devices -> host */
    uint64_t used_in_place;/* needed by a device and already valid there, or shared */
} pel_buffer_counters;
PEL_API void pel_buffer_get_counters(const pel_buffer *buffer, pel_buffer_counters *counters);

PEL_END_DECLS
#endif
