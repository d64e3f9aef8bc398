/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rectangular copies. Like a plain copy a loop on host memory: rows that only a device holds are fetched before, as for any host
 * command, and rows that are written here are valid nowhere else afterwards. Hazards see the rectangles, so that neighbouring
 * tiles are copied at once.
 *
 * Whether rows overlap is decided by walking over both in the order of their addresses: pitches may differ, and an enclosing
 * interval would refuse halves of one matrix that lie side by side.
 */
#include "queue/host_commands.h"

#include "base/checked.h"
#include <string.h>

typedef struct pel_move_rows {
    unsigned char *to;
    const unsigned char *from;
    uint64_t to_pitch, from_pitch, row_bytes, rows, rows_per_block;
} pel_move_rows;

static pel_status copy_rows(uint64_t begin, uint64_t end, void *context) {
    const pel_move_rows *move = context;
    uint64_t last = end * move->rows_per_block < move->rows ? end * move->rows_per_block : move->rows;
    for (uint64_t row = begin * move->rows_per_block; row < last; row++) {
        memcpy(move->to + row * move->to_pitch, move->from + row * move->from_pitch, (size_t)move->row_bytes);
    }
    return PEL_OK;
}

static bool fits(const pel_rows *at, uint64_t row_bytes, uint64_t rows) {
    uint64_t last;
    return pel_mul_u64(rows - 1, at->pitch, &last) && pel_range_within(at->offset, last, at->buffer->bytes) &&
           pel_range_within(at->offset + last, row_bytes, at->buffer->bytes);
}

static bool rows_overlap(const pel_move_rows *move) {
    uintptr_t a = (uintptr_t)move->to, b = (uintptr_t)move->from;
    for (uint64_t i = 0, k = 0; i < move->rows && k < move->rows;) {
        const uintptr_t row_a = a + i * move->to_pitch, row_b = b + k * move->from_pitch;
        if (row_a < row_b + move->row_bytes && row_b < row_a + move->row_bytes) {
            return true;
        }
        i += row_a < row_b;
        k += row_a > row_b;
    }
    return false;
}

static pel_status submit(pel_queue *queue, const pel_move_rows *move, const pel_access *accesses, const pel_task_desc *desc,
                         pel_event **event) {
    pel_error *error = NULL;
    pel_command *command = pel_host_command(queue, PEL_COMMAND_LOOP, desc, "copy", &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    pel_move_rows *kept = command->move = pel_alloc(&queue->runtime->allocator, sizeof *kept);
    pel_status status = kept ? PEL_OK : pel_fail(&error, &queue->runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "copy: no memory");
    if (status == PEL_OK) {
        status = pel_host_command_accesses(command, accesses, 2, &error);
    }
    if (status == PEL_OK) {
        *kept = *move;
        command->loop = copy_rows;
        command->context = kept;
        command->loop_count = (move->rows - 1) / move->rows_per_block + 1;
        command->loop_grain = 1;
    }
    return pel_host_command_conclude(queue, command, status, error, desc, event);
}

pel_status pel_copy_rect(pel_queue *queue, const pel_rows *destination, const pel_rows *source, uint64_t row_bytes, uint64_t rows,
                         const pel_task_desc *desc, pel_event **event) {
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    if (!destination || !source || !destination->buffer || !source->buffer || row_bytes == 0 || rows == 0) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "copy",
                                       row_bytes == 0 || rows == 0 ? "0 bytes" : "a buffer is NULL");
    }
    pel_rows to = *destination, from = *source;
    to.pitch = to.pitch == 0 ? row_bytes : to.pitch;
    from.pitch = from.pitch == 0 ? row_bytes : from.pitch;
    if (to.pitch < row_bytes || from.pitch < row_bytes) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "copy", "a pitch is less than a row");
    }
    if (!fits(&to, row_bytes, rows) || !fits(&from, row_bytes, rows)) {
        return pel_host_command_refuse(queue, PEL_TOO_LARGE, "copy",
                                       fits(&to, row_bytes, rows) ? "the source's rows leave its buffer"
                                                                  : "the destination's rows leave its buffer");
    }
    const pel_move_rows move = {.to = (unsigned char *)pel_buffer_data(to.buffer) + to.offset,
                                .from = (const unsigned char *)pel_buffer_data(from.buffer) + from.offset,
                                .to_pitch = to.pitch,
                                .from_pitch = from.pitch,
                                .row_bytes = row_bytes,
                                .rows = rows,
                                .rows_per_block = row_bytes < PEL_COPY_BLOCK ? PEL_COPY_BLOCK / row_bytes : 1};
    if (rows_overlap(&move)) {
        return pel_host_command_refuse(queue, PEL_CONFLICT, "copy", "rows of source and destination overlap");
    }
    const pel_access accesses[2] = {PEL_ACCESS_RECTANGLE(to.buffer, to.offset, row_bytes, rows, to.pitch, PEL_WRITE),
                                    PEL_ACCESS_RECTANGLE(from.buffer, from.offset, row_bytes, rows, from.pitch, PEL_READ)};
    return submit(queue, &move, accesses, desc, event);
}
