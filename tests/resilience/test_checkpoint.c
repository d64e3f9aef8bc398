/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints: what is read is what was written, or an older whole state, or an error; never something else. Each byte is
 * flipped, each length cut, each file operation fails, is short, or is the last one before the power goes; each allocation fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "resilience/checkpoint.h"
#include "resilience/checkpoint_file.h"
#include "resilience/checksum.h"
#include "resilience/memory_disk.h"
#include <errno.h>
#include <math.h>
#include <pel/pel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 10, M = 3, BIG = (3 << 20) / 4 + 5 };

static long allocations, fail_allocation;
static atomic_long live;

static void *allocate(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (fail_allocation > 0 && ++allocations == fail_allocation) {
        return NULL;
    }
    void *fresh = realloc(pointer, bytes);
    live += !pointer && fresh;
    return fresh;
}

static pel_runtime *runtime;
static pel_queue *queue;
static uint32_t wrapped[N];
static pel_buffer *a, *b; /* wrapped and owned */
static pel_checkpoint_item items[2];
static const pel_checkpoint_desc desc = {sizeof(pel_checkpoint_desc), "d/c", 0, 0};

/* The state of the program at a step; both buffers, by commands of the queue. */
static void set_state(uint32_t step) {
    uint32_t pattern = step * 1000003u;
    assert_int_equal(pel_fill(queue, a, 0, sizeof wrapped, &pattern, sizeof pattern, NULL, NULL), PEL_OK);
    pattern = ~pattern;
    assert_int_equal(pel_fill(queue, b, 0, M * sizeof pattern, &pattern, sizeof pattern, NULL, NULL), PEL_OK);
}

/* The step whose state the buffers have; UINT32_MAX: none, so the state is broken. `noted`: how many elements of a have been
 * replaced by 7. */
static uint32_t get_state(uint32_t most, uint64_t noted) {
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(pel_buffer_sync(b), PEL_OK);
    const uint32_t *owned = pel_buffer_data(b);
    for (uint32_t step = 0; step <= most; step++) {
        bool same = true;
        for (uint32_t i = 0; i < N; i++) {
            same = same && wrapped[i] == (i < noted ? 7 : step * 1000003u);
        }
        for (uint32_t i = 0; i < M; i++) {
            same = same && owned[i] == ~(step * 1000003u);
        }
        if (same) {
            return step;
        }
    }
    return UINT32_MAX;
}

static pel_checkpoint *open_on(memory_disk *disk) {
    pel_checkpoint *c;
    assert_int_equal(pel_checkpoint_open_with(runtime, &desc, &disk->io, &c, NULL), PEL_OK);
    return c;
}

static bool in_flight; /* checkpoints are written while the queue goes on */

static pel_status write_items(pel_checkpoint *c, uint32_t step, pel_error **error) {
    if (!in_flight) {
        return pel_checkpoint_write(c, queue, items, 2, step, error);
    }
    pel_checkpoint_item mine[2] = {items[0], items[1]};
    char name[] = "a";
    mine[0].name = name;
    pel_status status = pel_checkpoint_begin(c, queue, mine, 2, step, error);
    if (status == PEL_OK) {
        name[0] = '?'; /* is ours again */
        if (fail_allocation == 0) {
            set_state(998); /* comes after the copy, whenever that is made */
        }
        status = pel_checkpoint_wait(c, error);
        assert_false(pel_checkpoint_pending(c));
    }
    return status;
}

static pel_status write_step(pel_checkpoint *c, uint32_t step) {
    pel_error *error = NULL;
    set_state(step);
    pel_status status = write_items(c, step, &error);
    assert_int_equal(status == PEL_OK, error == NULL);
    pel_error_destroy(error);
    return status;
}

/* Element `i` of a becomes 7 and is noted. */
static pel_status note(pel_checkpoint *c, uint64_t i) {
    const uint32_t seven = 7;
    pel_error *error = NULL;
    pel_checkpoint_chunk chunk = {.task = 1, .lo = i, .hi = i + 1, .item = "a", .buffer = a, .offset = i * 4, .bytes = 4};
    assert_int_equal(pel_fill(queue, a, i * 4, 4, &seven, 4, NULL, NULL), PEL_OK);
    pel_status status = pel_checkpoint_note(c, queue, &chunk, &error);
    assert_int_equal(status == PEL_OK, error == NULL);
    pel_error_destroy(error);
    return status;
}

static pel_status read_back(pel_checkpoint *c, pel_checkpoint_state *state) {
    pel_error *error = NULL;
    memset(state, 0, sizeof *state);
    set_state(999);
    pel_status status = pel_checkpoint_read(c, queue, items, 2, state, &error);
    assert_int_equal(status == PEL_OK, error == NULL);
    pel_error_destroy(error);
    return status;
}

/* Reads with a fresh object and says which step is there; fails the test when the state is none that was written. */
static uint32_t restart(memory_disk *disk, uint32_t most, pel_checkpoint_state *state, const char *when) {
    pel_checkpoint *c = open_on(disk);
    if (read_back(c, state) != PEL_OK) {
        fail_msg("%s: nothing can be read", when);
    }
    uint32_t step = get_state(most, state->chunks);
    if (step != state->step) {
        fail_msg("%s: says step %llu and holds %u: a corrupt state was accepted", when, (unsigned long long)state->step, step);
    }
    pel_checkpoint_close(c);
    return step;
}

/* ---- */

static void test_checksum(void **state) {
    (void)state;
    unsigned char buffer[101];
    /* Of the published test vectors of XXH64: the generator of its self-test. */
    uint32_t generator = 2654435761u;
    for (size_t i = 0; i < sizeof buffer; i++) {
        buffer[i] = (unsigned char)(generator >> 24);
        generator *= generator;
    }
    assert_true(pel_checksum("", 0, 0) == 0xef46db3751d8e999u);
    assert_true(pel_checksum("abc", 3, 0) == 0x44bc2cf5ad770999u);
    assert_true(pel_checksum(buffer, 1, 0) == 0x4fce394cc88952d8u);
    assert_true(pel_checksum(buffer, 14, 0) == 0xcffa8db881bc3a3du);
    assert_true(pel_checksum(buffer, 101, 0) == 0x0eab543384f878adu);
    assert_true(pel_checksum(buffer, 101, 2654435761u) == 0xcaa65939306f1e21u);
}

static void test_round_trips(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    uint64_t task, lo, hi;
    (void)state;
    disk_make(&disk);
    pel_checkpoint *c = open_on(&disk);
    assert_int_equal(read_back(c, &found), PEL_NOT_FOUND);
    assert_int_equal(note(c, 0), PEL_INVALID_ARGUMENT); /* nothing to add to */
    for (uint32_t step = 1; step <= 5; step++) {
        assert_int_equal(write_step(c, step), PEL_OK);
        assert_int_equal(restart(&disk, 5, &found, "after a write"), step);
        assert_int_equal(found.generation, step);
        assert_true(pel_checkpoint_cost(c) > 0);
    }
    assert_int_equal(disk_file_count(&disk), 3); /* two generations and the lock */
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(note(c, i), PEL_OK);
        assert_int_equal(restart(&disk, 5, &found, "after a note"), 5);
        assert_int_equal(found.chunks, i + 1);
    }
    pel_checkpoint_close(c);
    c = open_on(&disk); /* reads, and goes on with the same journal */
    assert_int_equal(read_back(c, &found), PEL_OK);
    assert_true(pel_checkpoint_finished(c, 2, &task, &lo, &hi) && task == 1 && lo == 2 && hi == 3);
    assert_false(pel_checkpoint_finished(c, 3, &task, &lo, &hi));
    assert_int_equal(note(c, 3), PEL_OK);
    assert_int_equal(restart(&disk, 5, &found, "after a note that follows a read"), 5);
    assert_int_equal(found.chunks, 4);
    assert_int_equal(write_step(c, 6), PEL_OK); /* a new generation has no journal */
    assert_int_equal(restart(&disk, 6, &found, "after the next write"), 6);
    assert_int_equal(found.chunks, 0);
    pel_checkpoint_close(c);
    assert_int_equal(disk_open_handles(&disk), 0);
    disk_free(&disk);
}

/* Each byte of the newest generation in turn, in two ways: the generation before is read. Then of its journal: a prefix is
 * read. */
static void test_flipped_bytes(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    (void)state;
    disk_make(&disk);
    pel_checkpoint *c = open_on(&disk);
    assert_int_equal(write_step(c, 1), PEL_OK);
    assert_int_equal(note(c, 0), PEL_OK);
    assert_int_equal(write_step(c, 2), PEL_OK);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(note(c, i), PEL_OK);
    }
    pel_checkpoint_close(c);
    disk_content *file = disk_find(&disk, "d/c.0");
    for (size_t at = 0; at < file->bytes; at++) {
        for (int way = 0; way < 9; way++) {
            unsigned char kept = file->data[at];
            file->data[at] = (unsigned char)(kept ^ (way < 8 ? 1u << way : 0xffu));
            assert_int_equal(restart(&disk, 2, &found, "a flipped byte"), 1);
            assert_int_equal(found.chunks, 1);
            file->data[at] = kept;
        }
    }
    printf("%zu bytes of a checkpoint flipped in 9 ways: each found\n", file->bytes);
    disk_content *journal = disk_find(&disk, "d/c.0.log");
    for (size_t at = 0; at < journal->bytes; at++) {
        disk_content before = *journal;
        unsigned char *copy = malloc(journal->bytes);
        assert_non_null(copy);
        memcpy(copy, journal->data, journal->bytes);
        journal->data[at] ^= 0x10;
        assert_int_equal(restart(&disk, 2, &found, "a flipped byte of the journal"), 2);
        assert_int_equal(found.chunks, at < 24 ? 0 : (at - 24) / 68);
        free(journal->data); /* reading cut the journal */
        journal->data = copy;
        journal->bytes = before.bytes;
    }
    disk_free(&disk);
}

static void test_cut_files(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    (void)state;
    disk_make(&disk);
    pel_checkpoint *c = open_on(&disk);
    assert_int_equal(write_step(c, 1), PEL_OK);
    assert_int_equal(write_step(c, 2), PEL_OK);
    pel_checkpoint_close(c);
    disk_content *file = disk_find(&disk, "d/c.0"), *other = disk_find(&disk, "d/c.1");
    size_t whole = file->bytes;
    for (size_t bytes = 0; bytes < whole; bytes++) {
        file->bytes = bytes;
        assert_int_equal(restart(&disk, 2, &found, "a cut file"), 1);
    }
    file->bytes = whole;
    other->bytes = 17;
    assert_int_equal(restart(&disk, 2, &found, "the older one cut"), 2);
    file->bytes = 100;
    c = open_on(&disk);
    assert_int_equal(read_back(c, &found), PEL_IO); /* neither is whole */
    assert_int_equal(write_step(c, 3), PEL_OK);     /* and life goes on */
    pel_checkpoint_close(c);
    assert_int_equal(restart(&disk, 3, &found, "after both were cut"), 3);
    disk_free(&disk);
}

/* A life of writes and notes; says which step and how many notes were acknowledged. */
static void live_until_failure(memory_disk *disk, uint32_t *step, uint64_t *notes) {
    pel_checkpoint *c = NULL;
    *step = 1;
    *notes = 0;
    if (pel_checkpoint_open_with(runtime, &desc, &disk->io, &c, NULL) != PEL_OK) {
        return;
    }
    for (uint32_t next = 2; next <= 4; next++) {
        if (write_step(c, next) == PEL_OK) {
            *step = next;
            *notes = 0;
            for (uint64_t i = 0; i < 2; i++) {
                if (*notes == i && note(c, i) == PEL_OK) {
                    ++*notes;
                }
            }
        }
    }
    pel_checkpoint_close(c);
}

/* Each operation fails in turn; once, or for ever; with each code. Afterwards nothing acknowledged is lost. */
static void test_failing_operations(void **state) {
    static const int codes[] = {EIO, ENOSPC, EINTR};
    memory_disk disk;
    pel_checkpoint_state found;
    (void)state;
    long cases = 0;
    for (int kind = 0; kind < 7; kind++) {
        for (long at = 1;; at++) {
            uint32_t acknowledged;
            uint64_t notes;
            disk_make(&disk);
            pel_checkpoint *c = open_on(&disk);
            assert_int_equal(write_step(c, 1), PEL_OK);
            pel_checkpoint_close(c);
            disk.operations = 0;
            disk.fail_at = kind < 6 ? at : 0;
            disk.for_ever = kind % 2 == 1;
            disk.code = codes[kind / 2 % 3];
            if (kind == 5) {
                disk.for_ever = false; /* interrupted for ever would be a loop */
            }
            disk.short_writes = kind == 6;
            live_until_failure(&disk, &acknowledged, &notes);
            bool reached = disk.fail_at > 0 && disk.operations >= at;
            disk.fail_at = 0;
            disk.short_writes = false;
            assert_int_equal(disk_open_handles(&disk), 0);
            uint32_t step = restart(&disk, 4, &found, "a failed operation");
            if (step < acknowledged || (step == acknowledged && found.chunks < notes)) {
                fail_msg("operation %ld, kind %d: acknowledged step %u + %llu, read %u + %llu", at, kind, acknowledged,
                         (unsigned long long)notes, step, (unsigned long long)found.chunks);
            }
            if (!reached && kind < 6) {
                assert_int_equal(step, 4);
            }
            cases++;
            disk_free(&disk);
            if (!reached) {
                break;
            }
        }
    }
    printf("%ld cases of failing and short operations\n", cases);
}

/* The power goes at each operation; what was not synced is there or not, names and contents independently. */
static void test_power_cuts(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    (void)state;
    long cases = 0;
    for (int cut = 0; cut < DISK_CUTS; cut++) {
        bool reached = true;
        for (long at = 1; reached; at++) {
            uint32_t acknowledged;
            uint64_t notes;
            disk_make(&disk);
            pel_checkpoint *c = open_on(&disk);
            assert_int_equal(write_step(c, 1), PEL_OK);
            pel_checkpoint_close(c);
            disk.operations = 0;
            disk.fail_at = at;
            disk.for_ever = true;
            disk.code = EIO;
            live_until_failure(&disk, &acknowledged, &notes);
            reached = disk.operations >= at;
            disk_cut_power(&disk, cut);
            uint32_t step = restart(&disk, 4, &found, "the power went");
            if (step < acknowledged || (step == acknowledged && found.chunks < notes)) {
                fail_msg("power cut %d at operation %ld: acknowledged step %u + %llu, read %u + %llu", cut, at, acknowledged,
                         (unsigned long long)notes, step, (unsigned long long)found.chunks);
            }
            cases++;
            disk_free(&disk);
        }
    }
    printf("%ld power cuts\n", cases);
}

static void test_failing_allocations(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    (void)state;
    long before = live, sites = 0;
    for (long at = 1;; at++) {
        disk_make(&disk);
        pel_checkpoint *c = NULL;
        set_state(1);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        allocations = 0;
        fail_allocation = at;
        pel_error *error = NULL;
        pel_checkpoint_chunk chunk = {.task = 1, .lo = 0, .hi = 1, .item = "a", .buffer = a, .offset = 0, .bytes = 4};
        pel_status status = pel_checkpoint_open_with(runtime, &desc, &disk.io, &c, &error);
        if (status == PEL_OK) {
            status = write_items(c, 1, &error);
        }
        if (status == PEL_OK) {
            status = pel_checkpoint_note(c, queue, &chunk, &error);
        }
        if (status == PEL_OK) {
            status = pel_checkpoint_read(c, queue, items, 2, &found, &error);
        }
        fail_allocation = 0;
        if (status == PEL_OK) {
            assert_int_equal(get_state(1, 0), 1);
        } else {
            assert_int_equal(status, PEL_OUT_OF_MEMORY);
        }
        pel_error_destroy(error);
        pel_checkpoint_close(c);
        pel_queue_reset(queue);
        assert_int_equal(disk_open_handles(&disk), 0);
        disk_free(&disk);
        sites = at;
        if (allocations < at) {
            break;
        }
    }
    assert_true(live <= before + 64); /* pools of the queue may have grown; a leak a site would be hundreds */
    printf("%ld allocation sites\n", sites);
}

static void test_in_flight(void **state) {
    in_flight = true;
    test_round_trips(state);
    test_failing_operations(state);
    test_power_cuts(state);
    test_failing_allocations(state);
    in_flight = false;
}

/* The next call tells what became of the one before, and does nothing else then. */
static void test_untold_failures(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    pel_error *error = NULL;
    (void)state;
    disk_make(&disk);
    pel_checkpoint *c = open_on(&disk);
    assert_int_equal(pel_checkpoint_wait(c, NULL), PEL_OK); /* none is under way */
    assert_int_equal(write_step(c, 1), PEL_OK);
    disk.code = ENOSPC;
    disk.fail_at = disk.operations + 1;
    disk.for_ever = true;
    set_state(2);
    assert_int_equal(pel_checkpoint_begin(c, queue, items, 2, 2, NULL), PEL_OK);
    assert_int_equal(pel_checkpoint_begin(c, queue, items, 2, 3, &error), PEL_IO);
    disk.fail_at = 0;
    assert_non_null(strstr(pel_error_message(error), "d/c"));
    pel_error_destroy(error);
    assert_int_equal(pel_checkpoint_begin(c, queue, items, 2, 2, NULL), PEL_OK); /* told once */
    assert_int_equal(pel_checkpoint_wait(c, NULL), PEL_OK);
    pel_checkpoint_close(c);
    assert_int_equal(restart(&disk, 4, &found, "after an untold failure"), 2);
    disk_free(&disk);
}

static void test_refusals(void **state) {
    memory_disk disk;
    pel_checkpoint_state found;
    pel_checkpoint *c, *second;
    pel_buffer *small;
    (void)state;
    disk_make(&disk);
    c = open_on(&disk);
    assert_int_equal(write_step(c, 1), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, 4, &small, NULL), PEL_OK);
    pel_checkpoint_item wrong[2] = {{"a", small}, {"b", b}};
    assert_int_equal(pel_checkpoint_read(c, queue, wrong, 2, &found, NULL), PEL_INVALID_ARGUMENT); /* another size */
    wrong[0] = (pel_checkpoint_item){"x", a};
    assert_int_equal(pel_checkpoint_read(c, queue, wrong, 2, &found, NULL), PEL_INVALID_ARGUMENT); /* no such item */
    wrong[0] = (pel_checkpoint_item){"b", a};
    assert_int_equal(pel_checkpoint_write(c, queue, wrong, 2, 1, NULL), PEL_INVALID_ARGUMENT); /* one name twice */
    assert_int_equal(pel_checkpoint_write(c, queue, wrong, 0, 1, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_checkpoint_write(c, NULL, items, 2, 1, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_checkpoint_read(c, queue, items + 1, 1, &found, NULL), PEL_OK); /* a part of it */
    pel_checkpoint_chunk chunk = {.item = "a", .buffer = a, .offset = 38, .bytes = 4, .hi = 1};
    assert_int_equal(pel_checkpoint_note(c, queue, &chunk, NULL), PEL_TOO_LARGE);
    chunk.item = "y";
    assert_int_equal(pel_checkpoint_note(c, queue, &chunk, NULL), PEL_NOT_FOUND);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_BUSY); /* an open checkpoint holds it */
    disk_content *file = disk_find(&disk, "d/c.1") ? disk_find(&disk, "d/c.1") : disk_find(&disk, "d/c.0");
    assert_int_equal(file->data[12],
                     1); /* the byte order, whose change the checksum finds; a foreign file is tested with its checksum right */
    pel_checkpoint_close(c);
    pel_buffer_destroy(small);
    disk_free(&disk);

    char path[] = "/tmp/pel-checkpoint-XXXXXX", name[64];
    assert_non_null(mkdtemp(path));
    (void)snprintf(name, sizeof name, "%s/c", path);
    pel_checkpoint_desc real = PEL_CHECKPOINT_DESC_INIT;
    real.path = name;
    assert_int_equal(pel_checkpoint_open(runtime, &real, &c, NULL), PEL_OK);
    assert_int_equal(pel_checkpoint_open(runtime, &real, &second, NULL), PEL_BUSY);
    assert_int_equal(write_step(c, 1), PEL_OK);
    assert_int_equal(note(c, 0), PEL_OK);
    assert_int_equal(read_back(c, &found), PEL_OK);
    assert_int_equal(get_state(1, 1), 1);
    pel_checkpoint_close(c);
    real.path = "/proc/nonexistent/c";
    assert_int_equal(pel_checkpoint_open(runtime, &real, &c, NULL), PEL_IO);
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r %s", path);
    assert_int_equal(system(command), 0);
}

/* Several blocks, compressed and not; a buffer that compresses well and one that does not. */
static void test_blocks(void **state) {
    (void)state;
    uint32_t *data = malloc(BIG * sizeof *data);
    pel_buffer *big;
    assert_non_null(data);
    assert_int_equal(pel_buffer_wrap(runtime, data, BIG * sizeof *data, &big), PEL_OK);
    const pel_checkpoint_item one[] = {{"big", big}, {"a", a}};
    size_t sizes[3] = {0};
    for (int kind = 0; kind < 3; kind++) {
        memory_disk disk;
        pel_checkpoint *c;
        pel_checkpoint_desc d = desc;
        pel_checkpoint_state found;
        for (uint32_t i = 0; i < BIG; i++) {
            data[i] = kind == 1 ? i / 100 : i * 2654435761u ^ i >> 3;
        }
        set_state(1);
        d.flags = kind > 0 ? PEL_CHECKPOINT_COMPRESS : 0;
        disk_make(&disk);
        assert_int_equal(pel_checkpoint_open_with(runtime, &d, &disk.io, &c, NULL), PEL_OK);
        pel_status status = pel_checkpoint_write(c, queue, one, 2, 1, NULL);
        if (kind > 0 && status == PEL_UNSUPPORTED) {
            pel_checkpoint_close(c);
            disk_free(&disk);
            continue;
        }
        assert_int_equal(status, PEL_OK);
        sizes[kind] = disk_find(&disk, "d/c.1") ? disk_find(&disk, "d/c.1")->bytes : disk_find(&disk, "d/c.0")->bytes;
        memset(data, 0, BIG * sizeof *data);
        assert_int_equal(pel_checkpoint_read(c, queue, one, 2, &found, NULL), PEL_OK);
        for (uint32_t i = 0; i < BIG; i++) {
            assert_true(data[i] == (kind == 1 ? i / 100 : (i * 2654435761u ^ i >> 3)));
        }
        pel_checkpoint_close(c);
        disk_free(&disk);
    }
    printf("%d bytes of data: %zu plain, %zu and %zu compressed\n", BIG * 4, sizes[0], sizes[1], sizes[2]);
    assert_true(sizes[1] == 0 || sizes[1] < sizes[0] / 4);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(big), PEL_OK);
    free(data);
}

static void test_interval(void **state) {
    (void)state;
    pel_checkpoint_advice advice, other;
    /* For cheap checkpoints Young's formula, sqrt(2 C M): 1 s every day is 415.7 s. */
    assert_true(pel_checkpoint_advise(1, 86400, &advice));
    assert_true(fabs(advice.interval_s - sqrt(2 * 86400.0)) < 0.01 * advice.interval_s);
    assert_true(advice.overhead < 0.005 && advice.loss > advice.overhead && advice.loss < 0.02);
    /* Daly's equation 37 itself: C = 300 s, M = 6 h. */
    assert_true(pel_checkpoint_advise(300, 21600, &advice));
    double x = sqrt(300 / (2 * 21600.0));
    assert_true(fabs(advice.interval_s - (sqrt(2 * 300 * 21600.0) * (1 + x / 3 + x * x / 9) - 300)) < 1e-6);
    /* Beyond 2 M: as often as it fails. */
    assert_true(pel_checkpoint_advise(100, 40, &advice) && advice.interval_s == 40);
    /* It is near the true optimum of the expected time: neighbours lose more, or hardly less. */
    for (double cost = 1; cost < 2000; cost *= 3) {
        const double mtbf = 3600;
        assert_true(pel_checkpoint_advise(cost, mtbf, &advice));
        for (double factor = 0.5; factor <= 2; factor *= 1.1) {
            double interval = advice.interval_s * factor;
            double time = mtbf * exp(cost / mtbf) * expm1((interval + cost) / mtbf) / interval;
            assert_true(1 - 1 / time > advice.loss - 0.003);
        }
    }
    assert_false(pel_checkpoint_advise(0, 1, &other));
    assert_false(pel_checkpoint_advise(1, -1, &other));
    assert_false(pel_checkpoint_advise(NAN, 1, &other));
    assert_false(pel_checkpoint_advise(1, INFINITY, &other));
}

static int set_up(void **state) {
    static const pel_allocator allocator = {allocate, NULL};
    pel_runtime_desc runtime_desc = PEL_RUNTIME_DESC_INIT;
    (void)state;
    runtime_desc.devices = "host";
    runtime_desc.host_workers = 1;
    runtime_desc.flags = PEL_RUNTIME_NO_CACHE;
    runtime_desc.allocator = &allocator;
    assert_int_equal(pel_runtime_create(&runtime_desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, wrapped, sizeof wrapped, &a), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, M * sizeof(uint32_t), &b, NULL), PEL_OK);
    items[0] = (pel_checkpoint_item){"a", a};
    items[1] = (pel_checkpoint_item){"b", b};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    pel_queue_destroy(queue);
    pel_buffer_destroy(a);
    pel_buffer_destroy(b);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    assert_int_equal(live, 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_checksum),
                                       cmocka_unit_test(test_round_trips),
                                       cmocka_unit_test(test_flipped_bytes),
                                       cmocka_unit_test(test_cut_files),
                                       cmocka_unit_test(test_failing_operations),
                                       cmocka_unit_test(test_power_cuts),
                                       cmocka_unit_test(test_failing_allocations),
                                       cmocka_unit_test(test_in_flight),
                                       cmocka_unit_test(test_untold_failures),
                                       cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_interval)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
