/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks, loops, copies, fills, reads, writes, markers, barriers and callbacks. Copies and fills are tasks on host memory;
 * large ones are loops. */
#include "queue/host_commands.h"
#include "queue/bare.h"
#include "queue/task_few.h"

#include "base/checked.h"
#include <string.h>

/* What a copy or fill does. Pointers stay valid because the command holds the allocations. */
typedef struct pel_move_bytes {
    unsigned char *to;
    const unsigned char *from;
    uint64_t bytes, pattern_bytes;
    unsigned char pattern[128];
} pel_move_bytes;

static pel_status copy_blocks(uint64_t begin, uint64_t end, void *context) {
    const pel_move_bytes *move = context;
    uint64_t lo = begin * PEL_COPY_BLOCK, hi = end * PEL_COPY_BLOCK < move->bytes ? end * PEL_COPY_BLOCK : move->bytes;
    memcpy(move->to + lo, move->from + lo, (size_t)(hi - lo));
    return PEL_OK;
}

static pel_status fill_blocks(uint64_t begin, uint64_t end, void *context) {
    const pel_move_bytes *move = context;
    uint64_t lo = begin * PEL_COPY_BLOCK, hi = end * PEL_COPY_BLOCK < move->bytes ? end * PEL_COPY_BLOCK : move->bytes;
    if (move->pattern_bytes == 1) {
        memset(move->to + lo, move->pattern[0], (size_t)(hi - lo));
        return PEL_OK;
    }
    for (uint64_t i = lo; i < hi; i++) {
        move->to[i] = move->pattern[i % move->pattern_bytes];
    }
    return PEL_OK;
}

static pel_status check_task_desc(const pel_queue *queue, const pel_task_desc *desc, pel_error **error) {
    if (desc && desc->size != 0 && desc->size != sizeof *desc) {
        return pel_fail(error, &queue->runtime->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_task_desc.size is %zu; this library knows %zu", desc->size, sizeof *desc);
    }
    return !desc || desc->reserved == 0 ? PEL_OK
                                        : pel_fail(error, &queue->runtime->allocator, PEL_INVALID_ARGUMENT, NULL,
                                                   "pel_task_desc.reserved is not 0 (use PEL_TASK_DESC_INIT)");
}

pel_command *pel_host_command(pel_queue *queue, pel_command_kind kind, const pel_task_desc *desc, const char *name,
                              pel_error **error) {
    if (check_task_desc(queue, desc, error) != PEL_OK) {
        return NULL;
    }
    pel_command *command = pel_command_new(queue, kind, desc && desc->name ? desc->name : name, desc ? desc->priority : 0, error);
    if (command && desc) {
        command->retries = desc->retries;
    }
    return command;
}

static pel_status add_access(pel_command *command, const pel_access *access, uint32_t index, pel_error **error) {
    const pel_allocator *allocator = &command->runtime->allocator;
    const pel_buffer *buffer = access->buffer;
    if (!buffer || buffer->runtime != command->runtime) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "%s: access %u: %s", command->name, index,
                        buffer ? "the buffer belongs to another runtime" : "the buffer is NULL");
    }
    if (access->mode < PEL_READ || access->mode > PEL_READ_WRITE) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "%s: access %u: mode %d is none of READ, WRITE, READ_WRITE",
                        command->name, index, (int)access->mode);
    }
    uint64_t bytes = access->bytes == 0 && access->offset < buffer->bytes && access->rows <= 1 ? buffer->bytes - access->offset
                                                                                               : access->bytes;
    uint64_t rows = access->rows > 1 ? access->rows : 1, pitch = access->rows > 1 ? access->pitch : bytes, last;
    if (access->reserved != 0 || pitch < bytes) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "%s: access %u: %s", command->name, index,
                        access->reserved != 0 ? "a reserved field is not 0 (use PEL_ACCESS)" : "the pitch is less than a row");
    }
    if (bytes == 0 || !pel_mul_u64(rows - 1, pitch, &last) || !pel_range_within(access->offset, last, buffer->bytes) ||
        !pel_range_within(access->offset + last, bytes, buffer->bytes)) {
        return pel_fail(error, allocator, PEL_TOO_LARGE, NULL,
                        "%s: access %u: %llu rows of %llu bytes, %llu apart, from byte %llu of a buffer of %llu bytes",
                        command->name, index, (unsigned long long)rows, (unsigned long long)bytes, (unsigned long long)pitch,
                        (unsigned long long)access->offset, (unsigned long long)buffer->bytes);
    }
    pel_status status =
        pel_command_use_rectangle(command, buffer->allocation, buffer->offset + access->offset, bytes, rows, pitch, access->mode);
    return status == PEL_OK ? PEL_OK : pel_fail(error, allocator, status, NULL, "%s: no memory for its accesses", command->name);
}

pel_status pel_host_command_accesses(pel_command *command, const pel_access *accesses, uint32_t count, pel_error **error) {
    if (count > 0 && !accesses) {
        return pel_fail(error, &command->runtime->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "%s: access_count is %u but accesses is NULL", command->name, count);
    }
    pel_status status = PEL_OK;
    pthread_mutex_lock(&command->runtime->lock);
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        status = add_access(command, &accesses[i], i, error);
    }
    pthread_mutex_unlock(&command->runtime->lock);
    return status;
}

pel_status pel_host_command_conclude(pel_queue *queue, pel_command *command, pel_status status, pel_error *error,
                                     const pel_task_desc *desc, pel_event **event) {
    if (status == PEL_OK) {
        return pel_command_submit(command, desc ? desc->waits : NULL, desc ? desc->wait_count : 0, event);
    }
    if (command) {
        pel_command_discard(command);
    }
    return pel_refuse(queue, status, error);
}

pel_status pel_host_command_check(pel_queue *queue, pel_event **event) {
    if (event) {
        *event = NULL;
    }
    return queue ? pel_runtime_check(queue->runtime, NULL) : PEL_INVALID_ARGUMENT;
}

pel_status pel_host_command_none(pel_queue *queue, pel_error *error) { return pel_refuse(queue, pel_error_status(error), error); }

/* The long way: everything that is not only a node. */
__attribute__((noinline)) /* what it saves on the stack is not for the short way to pay */
static pel_status
task_by_command(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t access_count,
                const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    pel_command *command = pel_host_command(queue, PEL_COMMAND_TASK, desc, "task", &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    command->task = function;
    command->context = context;
    pel_status status = function ? pel_host_command_accesses(command, accesses, access_count, &error)
                                 : pel_fail(&error, &queue->runtime->allocator, PEL_INVALID_ARGUMENT, NULL,
                                            "%s: the function is NULL", command->name);
    return pel_host_command_conclude(queue, command, status, error, desc, event);
}

__attribute__((noinline)) /* likewise */
pel_status pel_task_any(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t access_count,
                        const pel_task_desc *desc, pel_event **event) {
    pel_status status = PEL_OK;
    if (!queue || event || !pel_runtime_is_ours(queue->runtime)) {
        status = pel_host_command_check(queue, event);
    }
    if (status == PEL_OK) { /* barriers and recordings are for those who have a command */
        status = atomic_load_explicit(&queue->gate, memory_order_relaxed) ||
                         atomic_load_explicit(&queue->recorder, memory_order_relaxed)
                     ? PEL_UNSUPPORTED
                     : pel_task_submit(queue, function, context, accesses, access_count, desc, event);
    }
    return status != PEL_UNSUPPORTED ? status : task_by_command(queue, function, context, accesses, access_count, desc, event);
}

pel_status pel_task(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t access_count,
                    const pel_task_desc *desc, pel_event **event) {
    if (queue && function && access_count == 0 && !desc && !event) {
        return pel_task_bare(queue, function, context);
    }
    if (queue && function && accesses && access_count - 1 < PEL_HAZARD_SPANS && !desc && !event) {
        return pel_task_few(queue, function, context, accesses, access_count);
    }
    return pel_task_any(queue, function, context, accesses, access_count, desc, event);
}

pel_status pel_loop(pel_queue *queue, uint64_t count, uint64_t grain, pel_loop_fn function, void *context,
                    const pel_access *accesses, uint32_t access_count, const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    pel_command *command = pel_host_command(queue, PEL_COMMAND_LOOP, desc, "loop", &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    command->loop = function;
    command->context = context;
    command->loop_count = count;
    command->loop_grain = grain;
    if (!function || count == 0) {
        status = pel_fail(&error, &queue->runtime->allocator, PEL_INVALID_ARGUMENT, NULL, "%s: %s", command->name,
                          function ? "the range is 0" : "the function is NULL");
    } else {
        status = pel_host_command_accesses(command, accesses, access_count, &error);
    }
    return pel_host_command_conclude(queue, command, status, error, desc, event);
}

static pel_status submit_move(pel_queue *queue, pel_move_bytes *move, pel_loop_fn blocks, const pel_access *accesses,
                              uint32_t count, const char *name, const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    pel_command *command = pel_host_command(queue, PEL_COMMAND_LOOP, desc, name, &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    command->move = pel_alloc(&queue->runtime->allocator, sizeof *move);
    pel_status status =
        command->move ? PEL_OK : pel_fail(&error, &queue->runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "%s: no memory", name);
    if (status == PEL_OK) {
        status = pel_host_command_accesses(command, accesses, count, &error);
    }
    if (status == PEL_OK) { /* addresses are known only now that the allocations are held */
        pel_move_bytes *kept = command->move;
        *kept = *move;
        kept->to =
            accesses[0].mode == PEL_WRITE ? (unsigned char *)pel_buffer_data(accesses[0].buffer) + accesses[0].offset : move->to;
        kept->from = accesses[count - 1].mode == PEL_READ
                         ? (const unsigned char *)pel_buffer_data(accesses[count - 1].buffer) + accesses[count - 1].offset
                         : move->from;
        command->loop = blocks;
        command->context = command->move;
        command->loop_count = (move->bytes + PEL_COPY_BLOCK - 1) / PEL_COPY_BLOCK;
        command->loop_grain = 1;
    }
    return pel_host_command_conclude(queue, command, status, error, desc, event);
}

pel_status pel_host_command_refuse(pel_queue *queue, pel_status status, const char *name, const char *why) {
    pel_error *error = NULL;
    pel_fail(&error, &queue->runtime->allocator, status, NULL, "%s: %s", name, why);
    return pel_refuse(queue, status, error);
}

pel_status pel_copy(pel_queue *queue, pel_buffer *destination, uint64_t destination_offset, pel_buffer *source,
                    uint64_t source_offset, uint64_t bytes, const pel_task_desc *desc, pel_event **event) {
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    if (!destination || !source || bytes == 0) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "copy", bytes == 0 ? "0 bytes" : "a buffer is NULL");
    }
    const unsigned char *to = (const unsigned char *)pel_buffer_data(destination) + destination_offset;
    const unsigned char *from = (const unsigned char *)pel_buffer_data(source) + source_offset;
    if (pel_range_within(destination_offset, bytes, destination->bytes) &&
        pel_range_within(source_offset, bytes, source->bytes) && to < from + bytes && from < to + bytes) {
        return pel_host_command_refuse(queue, PEL_CONFLICT, "copy", "source and destination overlap");
    }
    pel_move_bytes move = {.bytes = bytes};
    const pel_access accesses[2] = {PEL_ACCESS(destination, destination_offset, bytes, PEL_WRITE),
                                    PEL_ACCESS(source, source_offset, bytes, PEL_READ)};
    return submit_move(queue, &move, copy_blocks, accesses, 2, "copy", desc, event);
}

pel_status pel_fill(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, const void *pattern,
                    uint64_t pattern_bytes, const pel_task_desc *desc, pel_event **event) {
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    pel_move_bytes move = {.bytes = bytes, .pattern_bytes = pattern_bytes};
    if (!buffer || !pattern || bytes == 0 || pattern_bytes == 0 || pattern_bytes > sizeof move.pattern ||
        bytes % pattern_bytes != 0) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "fill",
                                       "needs a buffer, a pattern of 1 to 128 bytes, and bytes that are a multiple of it");
    }
    memcpy(move.pattern, pattern, (size_t)pattern_bytes);
    const pel_access access = PEL_ACCESS(buffer, offset, bytes, PEL_WRITE);
    return submit_move(queue, &move, fill_blocks, &access, 1, "fill", desc, event);
}

pel_status pel_read(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, void *destination,
                    const pel_task_desc *desc, pel_event **event) {
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    if (!buffer || !destination || bytes == 0) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "read",
                                       bytes == 0 ? "0 bytes" : "the buffer or the destination is NULL");
    }
    pel_move_bytes move = {.bytes = bytes, .to = destination};
    const pel_access access = PEL_ACCESS(buffer, offset, bytes, PEL_READ);
    return submit_move(queue, &move, copy_blocks, &access, 1, "read", desc, event);
}

pel_status pel_write(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, const void *source,
                     const pel_task_desc *desc, pel_event **event) {
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    if (!buffer || !source || bytes == 0) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "write",
                                       bytes == 0 ? "0 bytes" : "the buffer or the source is NULL");
    }
    pel_move_bytes move = {.bytes = bytes, .from = source};
    const pel_access access = PEL_ACCESS(buffer, offset, bytes, PEL_WRITE);
    return submit_move(queue, &move, copy_blocks, &access, 1, "write", desc, event);
}

pel_status pel_marker(pel_queue *queue, const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    pel_command *command = pel_host_command(queue, PEL_COMMAND_MARKER, desc, "marker", &error);
    return command ? pel_host_command_conclude(queue, command, PEL_OK, NULL, desc, event) : pel_host_command_none(queue, error);
}

pel_status pel_barrier(pel_queue *queue, const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    pel_command *command = pel_host_command(queue, PEL_COMMAND_MARKER, desc, "barrier", &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    command->is_gate = true;
    return pel_host_command_conclude(queue, command, PEL_OK, NULL, desc, event);
}

static pel_status call_back(void *context) {
    const pel_command *command = context;
    command->callback(command->watched, command->callback_context);
    return PEL_OK;
}

pel_status pel_callback(pel_queue *queue, pel_event *watched, pel_callback_fn function, void *context, pel_event **event) {
    pel_error *error = NULL;
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    pel_command *command = pel_host_command(queue, PEL_COMMAND_TASK, NULL, "callback", &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    if (!watched || !function) {
        status = pel_fail(&error, &queue->runtime->allocator, PEL_INVALID_ARGUMENT, NULL, "callback: the %s is NULL",
                          watched ? "function" : "event");
        return pel_host_command_conclude(queue, command, status, error, NULL, event);
    }
    const pel_event *before = watched;
    const pel_task_desc waits = {.waits = &before, .wait_count = 1};
    command->tolerant = true;
    command->task = call_back;
    command->context = command;
    command->callback = function;
    command->callback_context = context;
    command->watched = pel_event_retain(watched);
    return pel_host_command_conclude(queue, command, PEL_OK, NULL, &waits, event);
}
