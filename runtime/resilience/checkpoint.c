/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints of a runtime's buffers: two generations of files and their journals, written and read by tasks of the queue.
 *
 * The problem: what a buffer holds is spread over devices and changes with every command. A task that declares the buffers gets
 * their bytes at one moment of program order, from whichever device has them, and holds back whoever would change them: so
 * nothing here knows devices. The invariant: the newest whole generation is never touched; a new one replaces the older one, by
 * rename, after it has been synced. Rejected: stopping the queue (later commands that do not touch the items may run on), and
 * writing in place with a log (two formats to trust instead of one).
 */
#include "resilience/checkpoint.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "core/runtime.h"
#include "queue/command.h"
#include "resilience/checkpoint_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static char *path_with(const pel_checkpoint *c, const char *path, const char *suffix) {
    size_t length = strlen(path), bytes = strlen(suffix) + 1;
    char *made = pel_alloc(&c->runtime->allocator, length + bytes);
    if (made) {
        memcpy(made, path, length);
        memcpy(made + length, suffix, bytes);
    }
    return made;
}

static bool make_paths(pel_checkpoint *c, const char *path) {
    static const char *const suffixes[PEL_CHECKPOINT_GENERATIONS][2] = {{".0", ".0.log"}, {".1", ".1.log"}};
    bool well = true;
    for (int i = 0; i < PEL_CHECKPOINT_GENERATIONS; i++) {
        c->paths[i] = path_with(c, path, suffixes[i][0]);
        c->journals[i] = path_with(c, path, suffixes[i][1]);
        well = well && c->paths[i] && c->journals[i];
    }
    c->temporary = path_with(c, path, ".tmp");
    c->lock_path = path_with(c, path, ".lock");
    return well && c->temporary && c->lock_path;
}

static pel_status take_lock(pel_checkpoint *c, pel_error **error) {
    c->lock = c->io.open(c->io.state, c->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    const char *call = c->lock < 0 ? "open" : c->io.lock(c->io.state, c->lock) != 0 ? "flock" : NULL;
    if (!call) {
        return PEL_OK;
    }
    int code = errno;
    bool busy = c->lock >= 0 && code == EWOULDBLOCK;
    pel_story story = {
        .call = call, .code = code, .advice = busy ? "end the other process, or use another path" : "see the code"};
    return pel_fail(error, c->env.allocator, busy ? PEL_BUSY : PEL_IO, &story, "checkpoint lock %s: %s", c->lock_path,
                    busy ? "another process has it" : strerror(code));
}

/* Which generations there are, by their headers. A damaged one counts as none: it is the first to be replaced. */
static void look_at_generations(pel_checkpoint *c) {
    for (int i = 0; i < PEL_CHECKPOINT_GENERATIONS; i++) {
        pel_checkpoint_header header;
        int file;
        c->generations[i] = 0;
        if (pel_checkpoint_load_header(&c->env, c->paths[i], &header, &file, NULL) == PEL_OK) {
            c->generations[i] = header.generation;
            pel_checkpoint_free_header(&c->env, &header);
            (void)c->io.close(c->io.state, file);
        }
    }
}

void pel_checkpoint_forget_newest(pel_checkpoint *c) {
    if (c->journal >= 0) {
        (void)c->io.close(c->io.state, c->journal);
    }
    c->journal = -1;
    c->records = 0;
    c->newest = PEL_CHECKPOINT_NO_SLOT;
    c->finished_count = 0;
    pel_checkpoint_free_header(&c->env, &c->header);
}

void pel_checkpoint_close(pel_checkpoint *c) {
    if (!c) {
        return;
    }
    const pel_allocator *allocator = &c->runtime->allocator;
    pel_error *error = NULL;
    if (pel_checkpoint_wait(c, &error) != PEL_OK) {
        pel_log(&c->runtime->logger, PEL_LOG_WARNING, "the last checkpoint was not written: %s", pel_error_message(error));
    }
    pel_error_destroy(error);
    pel_checkpoint_forget_newest(c);
    if (c->lock >= 0) {
        (void)c->io.close(c->io.state, c->lock);
    }
    for (int i = 0; i < PEL_CHECKPOINT_GENERATIONS; i++) {
        pel_free(allocator, c->paths[i]);
        pel_free(allocator, c->journals[i]);
    }
    pel_free(allocator, c->temporary);
    pel_free(allocator, c->lock_path);
    pel_free(allocator, c->finished);
    pel_object_gone(c->runtime, PEL_OBJECT_CHECKPOINT);
    pel_free(allocator, c);
}

pel_status pel_checkpoint_open_with(pel_runtime *runtime, const pel_checkpoint_desc *desc, const pel_file_io *io,
                                    pel_checkpoint **checkpoint, pel_error **error) {
    if (checkpoint) {
        *checkpoint = NULL;
    }
    if (!runtime || !desc || !checkpoint || !desc->path || desc->path[0] == '\0' ||
        (desc->flags & ~(uint32_t)PEL_CHECKPOINT_COMPRESS) != 0 || (desc->size != 0 && desc->size != sizeof *desc)) {
        return pel_fail(error, runtime ? &runtime->allocator : &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
                        "pel_checkpoint_open: runtime, desc, path or flags are wrong");
    }
    pel_status status = pel_runtime_check(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    pel_checkpoint *c = pel_alloc_zero(&runtime->allocator, 1, sizeof *c);
    if (!c) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a checkpoint");
    }
    c->runtime = runtime;
    c->io = *io;
    c->env = (pel_checkpoint_env){&runtime->allocator, &c->io};
    c->flags = desc->flags;
    c->lock = c->journal = -1;
    c->newest = PEL_CHECKPOINT_NO_SLOT;
    pel_object_made(runtime, PEL_OBJECT_CHECKPOINT);
    status = make_paths(c, desc->path)
                 ? take_lock(c, error)
                 : pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a checkpoint");
    if (status != PEL_OK) {
        pel_checkpoint_close(c);
        return status;
    }
    look_at_generations(c);
    *checkpoint = c;
    return PEL_OK;
}

pel_status pel_checkpoint_open(pel_runtime *runtime, const pel_checkpoint_desc *desc, pel_checkpoint **checkpoint,
                               pel_error **error) {
    return pel_checkpoint_open_with(runtime, desc, &pel_file_io_system, checkpoint, error);
}

/* ---- work inside the queue ---- */

pel_status pel_checkpoint_run(pel_queue *queue, pel_task_fn function, pel_checkpoint_job *j, const pel_access *accesses,
                              uint32_t count, const char *name, pel_error **error) {
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    pel_event *event = NULL;
    desc.name = name;
    pel_status status = pel_task(queue, function, j, accesses, count, &desc, &event);
    if (status != PEL_OK) {
        pel_error_hand_over(error, pel_queue_error(queue));
        return status;
    }
    status = pel_event_wait(event);
    if (status != PEL_OK && j->status == PEL_OK) {
        pel_error_hand_over(error, pel_error_clone(pel_event_error(event), j->c->env.allocator));
    } else {
        status = j->status;
        pel_error_hand_over(error, j->error);
        j->error = NULL;
    }
    pel_error_destroy(j->error);
    pel_event_release(event);
    return status;
}

static pel_status refuse_sensitive(const pel_checkpoint *c, const char *name, pel_error **error) {
    pel_story story = {.advice = "leave the item out, or write a copy of it that may be seen (encrypted, say)"};
    return pel_fail(error, c->env.allocator, PEL_UNSUPPORTED, &story,
                    "item %s is sensitive: its contents are not written to files", name);
}

pel_status pel_checkpoint_describe(pel_checkpoint *c, const pel_checkpoint_item *items, uint32_t count, pel_access_mode mode,
                                   pel_access **accesses, pel_checkpoint_part **parts, pel_error **error) {
    *accesses = NULL;
    *parts = NULL;
    if (!items || count == 0 || count > PEL_CHECKPOINT_ITEMS) {
        return pel_fail(error, c->env.allocator, PEL_INVALID_ARGUMENT, NULL, "a checkpoint has 1 to %d items, not %u",
                        PEL_CHECKPOINT_ITEMS, count);
    }
    *accesses = pel_alloc_zero(c->env.allocator, count, sizeof **accesses);
    *parts = pel_alloc_zero(c->env.allocator, count, sizeof **parts);
    if (!*accesses || !*parts) {
        return pel_fail(error, c->env.allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a checkpoint of %u items", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!items[i].buffer || !items[i].name) {
            return pel_fail(error, c->env.allocator, PEL_INVALID_ARGUMENT, NULL, "item %u of a checkpoint has no %s", i,
                            items[i].name ? "buffer" : "name");
        }
        if (mode == PEL_READ && pel_buffer_is_sensitive(items[i].buffer)) {
            return refuse_sensitive(c, items[i].name, error);
        }
        (*accesses)[i] = (pel_access)PEL_ACCESS(items[i].buffer, 0, 0, mode);
        (*parts)[i] = (pel_checkpoint_part){items[i].name, pel_buffer_bytes(items[i].buffer), pel_buffer_data(items[i].buffer)};
    }
    return PEL_OK;
}

void pel_checkpoint_free_items(pel_checkpoint *c, pel_access *accesses, pel_checkpoint_part *parts) {
    pel_free(c->env.allocator, accesses);
    pel_free(c->env.allocator, parts);
}

pel_status pel_checkpoint_enter(pel_checkpoint *c, const pel_queue *queue, const char *call, pel_error **error) {
    if (!c || !queue) {
        return pel_fail(error, c ? c->env.allocator : &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
                        "%s: checkpoint or queue is NULL", call);
    }
    pel_status status = pel_runtime_check(c->runtime, error);
    if (status == PEL_OK && pel_inside_task(c->runtime)) {
        status = pel_fail(error, c->env.allocator, PEL_WOULD_DEADLOCK, NULL,
                          "%s: a checkpoint cannot be waited for inside a task", call);
    }
    return status == PEL_OK ? pel_checkpoint_wait(c, error) : status;
}

/* ---- note ---- */

typedef struct note_job {
    pel_checkpoint_job base;
    pel_checkpoint_record record;
} note_job;

/* A torn record would hide all that come after it. */
static void cut_torn_record(pel_checkpoint *c) {
    if (c->io.truncate(c->io.state, c->journal, c->journal_end) != 0) {
        pel_checkpoint_forget_newest(c); /* no further notes until the next write or read */
    }
}

static pel_status note_task(void *context) {
    note_job *n = context;
    pel_checkpoint *c = n->base.c;
    const pel_checkpoint_chunk *chunk = n->base.chunk;
    const unsigned char *data =
        n->record.bytes > 0 ? (const unsigned char *)pel_buffer_data(chunk->buffer) + chunk->offset : NULL;
    if (c->journal < 0) {
        n->base.status =
            pel_checkpoint_journal_start(&c->env, c->journals[c->newest], c->header.generation, &c->journal, &n->base.error);
        c->journal_end = PEL_CHECKPOINT_JOURNAL_HEADER;
        c->records = 0;
    }
    if (n->base.status == PEL_OK) {
        n->base.status = pel_checkpoint_journal_append(&c->env, c->journals[c->newest], c->journal, c->header.generation,
                                                       c->records, &n->record, data, &n->base.error);
        if (n->base.status == PEL_OK) {
            c->records++;
            c->journal_end += PEL_CHECKPOINT_JOURNAL_FRAME + n->record.bytes;
        } else {
            cut_torn_record(c);
        }
    }
    return PEL_OK;
}

static pel_status describe_chunk(const pel_checkpoint *c, const pel_checkpoint_chunk *chunk, pel_checkpoint_record *record,
                                 pel_error **error) {
    const pel_allocator *allocator = c->env.allocator;
    *record = (pel_checkpoint_record){.task = chunk->task, .lo = chunk->lo, .hi = chunk->hi, .part = UINT32_MAX};
    if (chunk->lo > chunk->hi || (chunk->bytes > 0 && (!chunk->item || !chunk->buffer))) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_checkpoint_note: the chunk's range is wrong, or its item is missing");
    }
    if (c->newest == PEL_CHECKPOINT_NO_SLOT) {
        pel_story story = {.advice = "write or read a checkpoint first"};
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, &story, "pel_checkpoint_note: there is no generation to add to");
    }
    if (chunk->bytes == 0) {
        return PEL_OK;
    }
    for (uint32_t i = 0; i < c->header.part_count; i++) {
        if (strcmp(c->header.parts[i].name, chunk->item) == 0) {
            record->part = i;
        }
    }
    if (record->part == UINT32_MAX) {
        return pel_fail(error, allocator, PEL_NOT_FOUND, NULL, "the checkpoint has no item %s", chunk->item);
    }
    uint64_t bytes = c->header.parts[record->part].bytes;
    if (bytes != pel_buffer_bytes(chunk->buffer) || !pel_range_within(chunk->offset, chunk->bytes, bytes)) {
        return pel_fail(error, allocator, PEL_TOO_LARGE, NULL,
                        "item %s has %llu bytes in the checkpoint; bytes [%llu, +%llu) of %llu do not fit", chunk->item,
                        (unsigned long long)bytes, (unsigned long long)chunk->offset, (unsigned long long)chunk->bytes,
                        (unsigned long long)pel_buffer_bytes(chunk->buffer));
    }
    record->offset = chunk->offset;
    record->bytes = chunk->bytes;
    return pel_buffer_is_sensitive(chunk->buffer) ? refuse_sensitive(c, chunk->item, error) : PEL_OK;
}

pel_status pel_checkpoint_note(pel_checkpoint *c, pel_queue *queue, const pel_checkpoint_chunk *chunk, pel_error **error) {
    note_job n = {.base = {.c = c, .chunk = chunk}};
    pel_status status = pel_checkpoint_enter(c, queue, "pel_checkpoint_note", error);
    if (status == PEL_OK && !chunk) {
        status = pel_fail(error, c->env.allocator, PEL_INVALID_ARGUMENT, NULL, "pel_checkpoint_note: chunk is NULL");
    }
    if (status == PEL_OK) {
        status = describe_chunk(c, chunk, &n.record, error);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_access access = PEL_ACCESS(chunk->buffer, chunk->offset, chunk->bytes, PEL_READ);
    return pel_checkpoint_run(queue, note_task, &n.base, &access, n.record.bytes > 0 ? 1 : 0, "checkpoint note", error);
}

/* ---- read ---- */

typedef struct read_job {
    pel_checkpoint_job base;
    const pel_checkpoint_part *wanted;
    pel_checkpoint_header header;
} read_job;

static pel_status match_parts(const read_job *r, pel_error **error) {
    const pel_allocator *allocator = r->base.c->env.allocator;
    for (uint32_t i = 0; i < r->base.count; i++) {
        pel_checkpoint_part *found = NULL;
        for (uint32_t p = 0; p < r->header.part_count && !found; p++) {
            found = strcmp(r->header.parts[p].name, r->wanted[i].name) == 0 ? &r->header.parts[p] : NULL;
        }
        if (!found || found->bytes != r->wanted[i].bytes) {
            pel_story story = {.advice = "pel checkpoint inspect shows what a file holds"};
            return found ? pel_fail(error, allocator, PEL_INVALID_ARGUMENT, &story,
                                    "item %s has %llu bytes in the checkpoint and %llu here", r->wanted[i].name,
                                    (unsigned long long)found->bytes, (unsigned long long)r->wanted[i].bytes)
                         : pel_fail(error, allocator, PEL_INVALID_ARGUMENT, &story, "the checkpoint has no item %s",
                                    r->wanted[i].name);
        }
        found->data = r->wanted[i].data;
    }
    return PEL_OK;
}

static pel_status apply_record(void *user, const pel_checkpoint_record *record, const void *data) {
    read_job *r = user;
    pel_checkpoint *c = r->base.c;
    if (c->finished_count == c->finished_capacity) {
        uint64_t capacity = c->finished_capacity ? 2 * c->finished_capacity : 64;
        pel_checkpoint_finished_chunk *grown = pel_resize(c->env.allocator, c->finished, (size_t)capacity * sizeof *grown);
        if (!grown) {
            return PEL_OUT_OF_MEMORY;
        }
        c->finished = grown;
        c->finished_capacity = capacity;
    }
    if (record->bytes > 0 && r->header.parts[record->part].data) {
        memcpy((unsigned char *)r->header.parts[record->part].data + record->offset, data, (size_t)record->bytes);
    }
    c->finished[c->finished_count++] = (pel_checkpoint_finished_chunk){record->task, record->lo, record->hi};
    return PEL_OK;
}

/* One generation with its journal. IO: it is damaged, the other one may be good. */
static pel_status read_slot(read_job *r, int slot, pel_error **error) {
    pel_checkpoint *c = r->base.c;
    int file;
    pel_checkpoint_forget_newest(c);
    pel_status status = pel_checkpoint_load_header(&c->env, c->paths[slot], &r->header, &file, error);
    if (status != PEL_OK) {
        return status;
    }
    if (r->header.foreign) {
        status = pel_fail(error, c->env.allocator, PEL_UNSUPPORTED, NULL, "checkpoint %s holds data in the other byte order",
                          c->paths[slot]);
    }
    status = status == PEL_OK ? match_parts(r, error) : status;
    status = status == PEL_OK ? pel_checkpoint_load_parts(&c->env, c->paths[slot], &r->header, file, error) : status;
    (void)c->io.close(c->io.state, file);
    if (status == PEL_OK) {
        status = pel_checkpoint_journal_read(&c->env, c->journals[slot], r->header.generation, &r->header, apply_record, r,
                                             &c->records, &c->journal_end, &c->journal, error);
    }
    if (status != PEL_OK) {
        pel_checkpoint_free_header(&c->env, &r->header);
        return status;
    }
    c->generations[slot] = r->header.generation;
    c->newest = slot;
    *r->base.state = (pel_checkpoint_state){r->header.generation, r->header.step, c->finished_count};
    c->header = r->header;
    return PEL_OK;
}

static pel_status read_task(void *context) {
    read_job *r = context;
    pel_checkpoint *c = r->base.c;
    int newest = c->generations[1] > c->generations[0];
    pel_error *first = NULL, *second = NULL;
    r->base.status = read_slot(r, newest, &first);
    if (r->base.status == PEL_IO || r->base.status == PEL_NOT_FOUND) {
        pel_status other = read_slot(r, 1 - newest, &second);
        if (other == PEL_OK) {
            pel_log(&c->runtime->logger, PEL_LOG_WARNING, "the generation before is used: %s", pel_error_message(first));
            r->base.status = PEL_OK;
        } else if (r->base.status == PEL_NOT_FOUND) {
            r->base.status = other; /* the second is damaged, or there is none at all */
            pel_error_destroy(first);
            first = second;
            second = NULL;
        }
    }
    if (r->base.status == PEL_OK) {
        pel_error_destroy(first);
    } else {
        r->base.error = first;
    }
    pel_error_destroy(second);
    return PEL_OK;
}

pel_status pel_checkpoint_read(pel_checkpoint *c, pel_queue *queue, const pel_checkpoint_item *items, uint32_t count,
                               pel_checkpoint_state *state, pel_error **error) {
    pel_access *accesses;
    pel_checkpoint_part *parts;
    pel_checkpoint_state ignored = {0};
    pel_status status = pel_checkpoint_enter(c, queue, "pel_checkpoint_read", error);
    if (status != PEL_OK) {
        return status;
    }
    status = pel_checkpoint_describe(c, items, count, PEL_WRITE, &accesses, &parts, error);
    if (status == PEL_OK) {
        look_at_generations(c);
        read_job r = {.base = {.c = c, .items = items, .count = count, .state = state ? state : &ignored}, .wanted = parts};
        status = pel_checkpoint_run(queue, read_task, &r.base, accesses, count, "checkpoint read", error);
    }
    pel_checkpoint_free_items(c, accesses, parts);
    return status;
}

int pel_checkpoint_finished(const pel_checkpoint *c, uint64_t index, uint64_t *task, uint64_t *lo, uint64_t *hi) {
    if (!c || index >= c->finished_count) {
        return 0;
    }
    *task = c->finished[index].task;
    *lo = c->finished[index].lo;
    *hi = c->finished[index].hi;
    return 1;
}
