/* SPDX-License-Identifier: BSD-3-Clause */
/* What a kernel sees: its items, their ids in the whole launch, its arguments; and what moves in and out around it. */
#include "suite_internal.h"

#include "backend/addressing.h"

#include <string.h>

static uint32_t *words(const area *memory) {
    return (uint32_t *)(void *)memory->host;
}

static void fill(const area *memory, uint32_t seed) {
    for (uint64_t i = 0; i < memory->bytes / 4; i++) {
        words(memory)[i] = seed + (uint32_t)i * 2654435761u;
    }
}

void test_launches_of_many_sizes(void **state) {
    suite *self = *state;
    static const uint64_t sizes[] = {1, 2, 3, 7, 63, 64, 65, 127, 1000, 4099, 100003};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        uint64_t n = sizes[s];
        area x = area_make(self, n * 4), y = area_make(self, n * 4);
        fill(&x, 17);
        uint32_t a = 5;
        job work;
        job_begin(&work, self, KERNEL_SCALE);
        job_value(&work, &a, sizeof a);
        job_area(&work, &x, PEL_READ);
        job_area(&work, &y, PEL_WRITE);
        job_range(&work, n);
        job_submit(&work);
        job_wait_ok(&work);
        for (uint64_t i = 0; i < n; i++) {
            assert_int_equal(words(&y)[i], a * words(&x)[i] + (uint32_t)i);
        }
        job_end(&work);
        area_free(self, &y);
        area_free(self, &x);
    }
}

/* Every item of [lo, hi) has written what a launch of the whole says, no other item has written anything. */
static void check_ids(const area *out, const pel_span *span, uint64_t lo, uint64_t hi) {
    const uint64_t *ids = (const uint64_t *)(const void *)out->host;
    uint64_t items = span->global[0] * span->global[1] * span->global[2];
    for (uint64_t i = 0; i < items; i++, ids += IDS_FIELDS) {
        uint64_t at[3] = {i % span->global[0], i / span->global[0] % span->global[1], i / span->global[0] / span->global[1]};
        if (at[span->split] < lo || at[span->split] >= hi) {
            assert_int_equal(ids[IDS_DIMS], 0);
            continue;
        }
        assert_int_equal(ids[IDS_DIMS], span->dims);
        for (uint32_t d = 0; d < 3; d++) {
            assert_int_equal(ids[IDS_ID + d], at[d] + span->offset[d]);
            assert_int_equal(ids[IDS_SIZE + d], span->global[d]);
            assert_int_equal(ids[IDS_OFFSET + d], span->offset[d]);
            if (span->local[d] > 0) {
                assert_int_equal(ids[IDS_GROUP + d], at[d] / span->local[d]);
                assert_int_equal(ids[IDS_GROUPS + d], span->global[d] / span->local[d]);
            }
        }
    }
}

static void run_ids(suite *self, area *out, const pel_span *span, bool chunked) {
    job work;
    job_begin(&work, self, KERNEL_IDS);
    job_area(&work, out, PEL_READ_WRITE);
    work.work.span = *span;
    work.work.chunked = chunked;
    job_submit(&work);
    job_wait_ok(&work);
    job_end(&work);
}

typedef struct shape {
    uint32_t dims, split;
    uint64_t global[3], local[3], offset[3];
    bool open; /* local size left to the backend */
} shape;

void test_ids_of_whole_launches(void **state) {
    suite *self = *state;
    static const shape shapes[] = {
        {1, 0, {192, 1, 1}, {64, 1, 1}, {0, 0, 0}, false},
        {1, 0, {192, 1, 1}, {16, 1, 1}, {48, 0, 0}, false},
        {1, 0, {97, 1, 1}, {1, 1, 1}, {(1ull << 32) + 5, 0, 0}, true},
        {2, 1, {24, 10, 1}, {8, 2, 1}, {0, 0, 0}, false},
        {2, 1, {24, 10, 1}, {8, 2, 1}, {3, 40, 0}, false},
        {2, 1, {31, 17, 1}, {1, 1, 1}, {0, 0, 0}, true},
        {2, 0, {31, 17, 1}, {31, 1, 1}, {0, 0, 0}, false},
        {3, 2, {8, 6, 10}, {4, 3, 2}, {0, 0, 0}, false},
        {3, 2, {8, 6, 10}, {4, 3, 2}, {1, 2, 3}, false},
        {3, 2, {7, 5, 3}, {1, 1, 1}, {0, 0, 0}, true},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const shape *its = &shapes[s];
        pel_span span =
            span_of(its->dims, its->split, its->global, its->open ? NULL : its->local, its->offset, 0, its->global[its->split]);
        area out = area_make(self, its->global[0] * its->global[1] * its->global[2] * IDS_FIELDS * 8);
        run_ids(self, &out, &span, false);
        check_ids(&out, &span, 0, its->global[its->split]);
        area_free(self, &out);
    }
}

void test_ids_of_chunks(void **state) {
    suite *self = *state;
    static const struct {
        shape shape;
        uint64_t cuts[2]; /* three chunks */
    } cases[] = {
        {{1, 0, {192, 1, 1}, {16, 1, 1}, {0, 0, 0}, false}, {64, 80}},
        {{1, 0, {192, 1, 1}, {16, 1, 1}, {32, 0, 0}, false}, {16, 160}},
        {{1, 0, {101, 1, 1}, {1, 1, 1}, {0, 0, 0}, true}, {13, 77}},
        {{1, 0, {256, 1, 1}, {64, 1, 1}, {(1ull << 32) + 64, 0, 0}, false}, {64, 192}},
        {{2, 1, {24, 30, 1}, {8, 2, 1}, {0, 0, 0}, false}, {4, 20}},
        {{2, 0, {24, 30, 1}, {8, 2, 1}, {0, 0, 0}, false}, {8, 16}},
        {{2, 1, {31, 17, 1}, {1, 1, 1}, {0, 0, 0}, true}, {5, 6}},
        {{3, 2, {8, 6, 10}, {4, 3, 2}, {0, 0, 0}, false}, {2, 8}},
        {{3, 2, {7, 5, 9}, {1, 1, 1}, {0, 0, 0}, true}, {4, 5}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const shape *its = &cases[c].shape;
        uint64_t n = its->global[its->split], ends[4] = {0, cases[c].cuts[0], cases[c].cuts[1], n};
        area out = area_make(self, its->global[0] * its->global[1] * its->global[2] * IDS_FIELDS * 8);
        static const int order[3] = {1, 0, 2};
        for (int i = 0; i < 3; i++) {
            uint64_t lo = ends[order[i]], hi = ends[order[i] + 1];
            pel_span span = span_of(its->dims, its->split, its->global, its->open ? NULL : its->local, its->offset, lo, hi);
            assert_null(pel_addressing_refusal(&span));
            run_ids(self, &out, &span, true);
            if (i == 0) {
                check_ids(&out, &span, lo, hi);
            }
        }
        pel_span whole = span_of(its->dims, its->split, its->global, its->open ? NULL : its->local, its->offset, 0, n);
        check_ids(&out, &whole, 0, n);
        area_free(self, &out);
    }
}

void test_values_structs_and_null(void **state) {
    suite *self = *state;
    enum { N = 96 };
    area maybe = area_make(self, 64), out = area_make(self, N * 4);
    words(&maybe)[0] = 1000;
    suite_record record = {.a = 1ull << 33 | 5, .b = 70, .c = 3.75f, .d = {9, 11}};
    unsigned char small = 200;
    for (int null = 0; null < 2; null++) {
        job work;
        job_begin(&work, self, KERNEL_MIXED);
        job_value(&work, &record, sizeof record);
        job_value(&work, &small, sizeof small);
        if (null) {
            job_null(&work);
        } else {
            job_area(&work, &maybe, PEL_READ);
        }
        job_area(&work, &out, PEL_WRITE);
        job_range(&work, N);
        job_submit(&work);
        job_wait_ok(&work);
        for (uint32_t i = 0; i < N; i++) {
            assert_int_equal(words(&out)[i], 5u + 11u + 70u + 3u + 200u + (null ? 7u : 1000u) + i);
        }
        job_end(&work);
    }
    area_free(self, &out);
    area_free(self, &maybe);
}

void test_local_memory(void **state) {
    suite *self = *state;
    enum { N = 1024 };
    static const uint64_t groups[] = {1, 16, 64, 256};
    area x = area_make(self, N * 4), y = area_make(self, N * 4);
    fill(&x, 3);
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        uint64_t global[3] = {N, 1, 1}, local[3] = {groups[g], 1, 1};
        if (groups[g] > self->fixture->facts->info.max_work_group && self->fixture->facts->info.max_work_group > 0) {
            continue;
        }
        job work;
        job_begin(&work, self, KERNEL_REVERSE);
        job_area(&work, &x, PEL_READ);
        job_area(&work, &y, PEL_WRITE);
        job_local(&work, groups[g] * 4);
        work.work.span = span_of(1, 0, global, local, NULL, 0, N);
        job_submit(&work);
        job_wait_ok(&work);
        for (uint64_t i = 0; i < N; i++) {
            uint64_t group = i / groups[g], inside = i % groups[g];
            assert_int_equal(words(&y)[i], words(&x)[group * groups[g] + groups[g] - 1 - inside]);
        }
        job_end(&work);
    }
    area_free(self, &y);
    area_free(self, &x);
}

void test_private_reduction(void **state) {
    suite *self = *state;
    enum { N = 50000 };
    area x = area_make(self, N * 4), sums = area_make(self, 12);
    fill(&x, 99);
    uint32_t expected[3] = {1, 2, 3};
    memcpy(sums.host, expected, sizeof expected); /* what was there takes part */
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < N; i++) {
            expected[i % 3] += words(&x)[i];
        }
        job work;
        job_begin(&work, self, KERNEL_TOTAL);
        job_area(&work, &x, PEL_READ);
        job_area(&work, &sums, PEL_READ_WRITE);
        work.args[1].kind = PEL_WORK_ARG_PRIVATE;
        job_range(&work, N);
        job_submit(&work);
        job_wait_ok(&work);
        assert_memory_equal(sums.host, expected, sizeof expected);
        job_end(&work);
    }
    area_free(self, &sums);
    area_free(self, &x);
}

void test_empty_span(void **state) {
    suite *self = *state;
    area x = area_make(self, 256);
    uint32_t k = 1;
    uint64_t global[3] = {64, 1, 1};
    job work;
    job_begin(&work, self, KERNEL_CHAIN);
    job_value(&work, &k, sizeof k);
    job_area(&work, &x, PEL_READ_WRITE);
    work.work.span = span_of(1, 0, global, NULL, NULL, 32, 32);
    work.work.chunked = true;
    job_submit(&work);
    job_wait_ok(&work);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(words(&x)[i], 0);
    }
    job_end(&work);
    area_free(self, &x);
}

/*
 * A device with its own memory sees exactly what was moved in, and the host exactly what was moved out; one that shares the
 * host's memory sees everything at any time, so there only the moved parts mean something.
 */
void test_transfers_move_exactly_their_bytes(void **state) {
    suite *self = *state;
    enum { N = 1000 };
    bool shared = self->fixture->facts->info.shares_host_memory != 0;
    area x = area_make(self, N * 4), y = area_make(self, N * 4);
    job work;
    job_begin(&work, self, KERNEL_COUNT); /* all of both goes in */
    fill(&x, 1);
    fill(&y, 2);
    work.in[0] = (pel_transfer){.mem = x.mem, .bytes = x.bytes};
    work.in[1] = (pel_transfer){.mem = y.mem, .bytes = y.bytes};
    work.work.in_count = 2;
    job_submit(&work);
    job_wait_ok(&work);
    job_end(&work);

    fill(&x, 1000); /* then only words [100, 301) and [500, 501) of x */
    memset(y.host, 0x55, (size_t)y.bytes);
    uint32_t a = 1;
    job_begin(&work, self, KERNEL_SCALE);
    job_value(&work, &a, sizeof a);
    job_area(&work, &x, 0);
    job_area(&work, &y, 0);
    work.in[0] = (pel_transfer){.mem = x.mem, .offset = 400, .bytes = 804};
    work.in[1] = (pel_transfer){.mem = x.mem, .offset = 2000, .bytes = 4};
    work.work.in_count = 2;
    work.out[0] = (pel_transfer){.mem = y.mem, .offset = 40, .bytes = 1200}; /* words [10, 310) come out ... */
    work.out[1] = (pel_transfer){.mem = y.mem, .offset = 1996, .bytes = 12}; /* ... and [499, 502) */
    work.work.out_count = 2;
    job_range(&work, N);
    job_submit(&work);
    job_wait_ok(&work);
    job_end(&work);
    for (uint32_t i = 0; i < N; i++) {
        bool moved_in = (i >= 100 && i < 301) || i == 500, moved_out = (i >= 10 && i < 310) || (i >= 499 && i < 502);
        uint32_t old_x = 1 + i * 2654435761u, new_x = 1000 + i * 2654435761u;
        if (!moved_out && !shared) {
            assert_int_equal(words(&y)[i], 0x55555555u);
        } else if (moved_out && (moved_in || !shared)) {
            assert_int_equal(words(&y)[i], (moved_in ? new_x : old_x) + i);
        }
    }
    area_free(self, &y);
    area_free(self, &x);
}

void test_views(void **state) {
    suite *self = *state;
    enum { N = 4096, PART = 500 };
    const pel_backend *backend = self->fixture->backend;
    area x = area_make(self, N * 4), y = area_make(self, N * 4);
    fill(&x, 8);
    static const uint64_t offsets[] = {0, 4096, 8192, 4, 132};
    for (size_t o = 0; o < sizeof offsets / sizeof offsets[0]; o++) {
        pel_mem *from = NULL, *to = NULL;
        pel_error *error = NULL;
        pel_status status = backend->mem_view(self->device, x.mem, offsets[o], PART * 4, &from, &error);
        if (status == PEL_UNSUPPORTED && offsets[o] % 4096 != 0) { /* a device may ask for alignment, and says so */
            assert_string_not_equal(pel_error_message(error), "");
            pel_error_destroy(error);
            continue;
        }
        assert_int_equal(status, PEL_OK);
        assert_int_equal(backend->mem_view(self->device, y.mem, offsets[o], PART * 4, &to, NULL), PEL_OK);
        assert_ptr_equal(from->host, x.host + offsets[o]);
        memset(y.host, 0x55, (size_t)y.bytes);
        uint32_t a = 9;
        job work;
        job_begin(&work, self, KERNEL_SCALE);
        job_value(&work, &a, sizeof a);
        area part_x = {x.host + offsets[o], PART * 4, from}, part_y = {y.host + offsets[o], PART * 4, to};
        job_area(&work, &part_x, 0);
        job_area(&work, &part_y, 0);
        work.in[work.work.in_count++] = (pel_transfer){.mem = x.mem, .bytes = x.bytes};
        work.in[work.work.in_count++] = (pel_transfer){.mem = y.mem, .bytes = y.bytes};
        work.out[work.work.out_count++] = (pel_transfer){.mem = y.mem, .bytes = y.bytes};
        job_range(&work, PART);
        job_submit(&work);
        job_wait_ok(&work);
        uint64_t first = offsets[o] / 4;
        for (uint64_t i = 0; i < N; i++) {
            bool inside = i >= first && i < first + PART;
            assert_int_equal(words(&y)[i], inside ? a * words(&x)[i] + (uint32_t)(i - first) : 0x55555555u);
        }
        job_end(&work);
        backend->mem_destroy(self->device, to);
        backend->mem_destroy(self->device, from);
    }
    area_free(self, &y);
    area_free(self, &x);
}
