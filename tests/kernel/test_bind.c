/* SPDX-License-Identifier: BSD-3-Clause */
/* Binding: what is refused and in which words, where launches may be cut, and hostile input by the thousand. */
#include "support/random.h"
#include "kernel/launches.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static launches l;
static pel_buffer *buffer; /* LAUNCH_MEMORY bytes */

static void begin(const char *devices) {
    launches_begin(&l, devices);
    buffer = launches_wrap(&l, 0, LAUNCH_MEMORY);
}

static void bind_fails(pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args, uint32_t count, pel_status expected,
                       const char *words) {
    pel_bound bound;
    pel_error *error = NULL;
    pel_status status = pel_bind(kernel, desc, args, count, &bound, &error);
    if (status != expected || !strstr(pel_error_message(error), words)) {
        print_error("expected \"%s\", got %s: %s\n", words, pel_status_name(status), pel_error_message(error));
    }
    assert_int_equal(status, expected);
    assert_non_null(strstr(pel_error_message(error), words));
    assert_null(bound.kernel);
    pel_error_destroy(error);
}

static pel_launch_desc launch_1d(uint64_t items) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = items;
    return desc;
}

static void test_ranges(void **state) {
    (void)state;
    begin("h");
    pel_kernel *kernel = launches_kernel(&l, NULL, 0, 0);
    pel_kernel *along_1 = launches_kernel(&l, NULL, 0, 2);
    pel_launch_desc desc = launch_1d(0);
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "global[0] is 0");
    desc.global[2] = 3;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "0 items in dimension 0");
    desc = launch_1d(1ull << 40);
    desc.global[1] = 1ull << 40;
    bind_fails(kernel, &desc, NULL, 0, PEL_TOO_LARGE, "more than 2^64");
    desc = launch_1d(10);
    bind_fails(along_1, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "split along dimension 1");
    desc.offset[1] = 4;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "offset[1] is 4");
    desc.offset[1] = 0;
    desc.offset[0] = UINT64_MAX - 8;
    bind_fails(kernel, &desc, NULL, 0, PEL_TOO_LARGE, "offset[0] + global[0]");
    desc.offset[0] = 0;
    desc.local[0] = 3;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "local[0] = 3 does not divide global[0] = 10");
    desc.local[0] = 5;
    desc.local[1] = 2;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "local[1] is 2");
    desc.local[1] = 1; /* absent dimensions may say 1 */
    pel_bound bound;
    assert_int_equal(pel_bind(kernel, &desc, NULL, 0, &bound, NULL), PEL_OK);
    assert_int_equal(bound.span.group_hi[0], 2);
    launches_unbind(&l, &bound);
    desc = launch_1d(4096);
    desc.local[0] = 2048;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "the largest is 1024");
    kernel->largest_group[0] = 256; /* of this kernel */
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "the largest is 256");
    desc.size = 3;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "pel_launch_desc.size is 3");
    assert_int_equal(pel_bind(NULL, &desc, NULL, 0, &bound, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_bind(kernel, NULL, NULL, 0, &bound, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_kernel_destroy(along_1), PEL_OK);
    launches_end(&l);
}

static void test_shares_waits_protection(void **state) {
    (void)state;
    begin("hs");
    pel_kernel *kernel = launches_kernel(&l, NULL, 0, 0);
    pel_launch_desc desc = launch_1d(10);
    const pel_device *host = pel_runtime_device(&l.fake.runtime, 0);
    desc.share_count = 1;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "shares is NULL");
    pel_share shares[2] = {{NULL, 1}, {host, 1}};
    desc.shares = shares;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "share 0 names a device");
    shares[0].device = host;
    shares[0].weight = NAN;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "weight of share 0");
    shares[0].weight = -1;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "weight of share 0");
    shares[0].weight = 0;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "do not sum");
    desc.share_count = 2;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "the same device, host");
    desc = launch_1d(10);
    desc.wait_count = 1;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "waits is NULL");
    const pel_event *none = NULL;
    desc.waits = &none;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "waits[0] is NULL");
    desc = launch_1d(10);
    desc.protection = (pel_protection)9;
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "unknown protection 9");
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static void bind_one_fails(pel_param param, pel_arg arg, uint64_t items, pel_status expected, const char *words) {
    pel_kernel *kernel = launches_kernel(&l, &param, 1, 0);
    pel_launch_desc desc = launch_1d(items);
    bind_fails(kernel, &desc, &arg, 1, expected, words);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
}

static uint32_t beyond(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                       uint32_t capacity) {
    (void)span;
    (void)arguments;
    if (capacity > 0) {
        intervals[0] = *(const pel_interval *)user;
    }
    return 1;
}

static uint32_t fickle(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                       uint32_t capacity) {
    (void)span;
    (void)arguments;
    (void)user;
    (void)intervals;
    return capacity + 1;
}

static void test_arguments(void **state) {
    (void)state;
    begin("h");
    pel_buffer *other;
    static fake_runtime second;
    fake_runtime_init(&second, "h");
    assert_int_equal(pel_buffer_wrap(&second.runtime, l.memory, 10, &other), PEL_OK);
    const pel_param value = PEL_PARAM_VALUE(float), whole = PEL_PARAM_WHOLE(PEL_READ), local = PEL_PARAM_LOCAL;
    const pel_param each = PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 1);
    pel_arg broken = pel_f32(1);
    bind_one_fails(value, pel_f64(1), 10, PEL_INVALID_ARGUMENT, "argument 0 of kernel tested has 8 bytes");
    bind_one_fails(value, pel_buf(buffer), 10, PEL_INVALID_ARGUMENT, "is a buffer, but parameter 0 is declared value");
    bind_one_fails(value, pel_struct(NULL, 4), 10, PEL_INVALID_ARGUMENT, "pointer is NULL");
    broken.kind = 77;
    bind_one_fails(value, broken, 10, PEL_INVALID_ARGUMENT, "of an unknown kind");
    bind_one_fails(whole, pel_i32(1), 10, PEL_INVALID_ARGUMENT, "is a value, but parameter 0 is declared whole");
    bind_one_fails(whole, pel_buf(NULL), 10, PEL_INVALID_ARGUMENT, "the buffer is NULL");
    bind_one_fails(whole, pel_buf(other), 10, PEL_INVALID_ARGUMENT, "another runtime");
    bind_one_fails(whole, pel_buf_range(buffer, 1, LAUNCH_MEMORY), 10, PEL_INVALID_ARGUMENT, "not a part of the buffer's 8192");
    bind_one_fails(whole, pel_buf_range(buffer, UINT64_MAX, 2), 10, PEL_INVALID_ARGUMENT, "not a part");
    bind_one_fails(whole, pel_buf_range(buffer, 0, 0), 10, PEL_INVALID_ARGUMENT, "0 bytes from byte 0");
    broken.kind = PEL_ARG_IMAGE;
    bind_one_fails(whole, broken, 10, PEL_UNSUPPORTED, "images and samplers");
    bind_one_fails(local, pel_local(0), 10, PEL_INVALID_ARGUMENT, "local memory of 0 bytes");
    bind_one_fails(local, pel_buf(buffer), 10, PEL_INVALID_ARGUMENT, "declared local memory");
    bind_one_fails(local, pel_local(40000), 10, PEL_TOO_LARGE, "the most is 32768");
    bind_one_fails(each, pel_buf(buffer), 2049, PEL_TOO_LARGE,
                   "argument 0 of kernel tested (elementwise, read, elements of 4 bytes): needs 8196 bytes, the buffer has 8192");
    bind_one_fails(each, pel_buf_range(buffer, 8, 16), 5, PEL_TOO_LARGE, "needs 20 bytes, the range has 16");
    bind_one_fails(each, pel_buf(buffer), 1ull << 63, PEL_TOO_LARGE, "needs more than 2^64 bytes");
    bind_one_fails((pel_param)PEL_PARAM_BLOCK(PEL_READ, 4, 0, 0, 0), pel_buf(buffer), 2049, PEL_TOO_LARGE, "(block, read");
    bind_one_fails((pel_param)PEL_PARAM_BLOCK(PEL_READ, 4, UINT64_MAX, 0, 0), pel_buf(buffer), 2, PEL_TOO_LARGE,
                   "more than 2^64");
    bind_one_fails((pel_param)PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F32, 4, 1), pel_buf(buffer), 10, PEL_INVALID_ARGUMENT,
                   "needs a local size");
    bind_one_fails((pel_param)PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_I32, 4, 4000), pel_buf(buffer), 10, PEL_TOO_LARGE,
                   "private reduction");
    pel_interval far = {0, LAUNCH_MEMORY + 1}, reversed = {10, 9};
    bind_one_fails((pel_param)PEL_PARAM_CUSTOM(PEL_READ, beyond, &far), pel_buf(buffer), 10, PEL_TOO_LARGE,
                   "names bytes beyond the 8192");
    bind_one_fails((pel_param)PEL_PARAM_CUSTOM(PEL_READ, beyond, &reversed), pel_buf(buffer), 10, PEL_INVALID_ARGUMENT,
                   "reversed interval");
    bind_one_fails((pel_param)PEL_PARAM_CUSTOM(PEL_READ, fickle, NULL), pel_buf(buffer), 10, PEL_INVALID_ARGUMENT,
                   "two different answers");
    pel_kernel *kernel = launches_kernel(&l, &whole, 1, 0);
    pel_launch_desc desc = launch_1d(10);
    bind_fails(kernel, &desc, NULL, 0, PEL_INVALID_ARGUMENT, "has 1 parameters, but 0 arguments");
    bind_fails(kernel, &desc, NULL, 1, PEL_INVALID_ARGUMENT, "the array of its 1 arguments is NULL");
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_buffer_destroy(other), PEL_OK);
    fake_runtime_end(&second);
    launches_end(&l);
}

/* The pitch in elements comes from an integer argument, whatever its width. */
static void test_pitch_argument(void **state) {
    (void)state;
    begin("h");
    const pel_param params[] = {PEL_PARAM_BLOCK_BY(PEL_READ_WRITE, 4, 1, 0, 0), PEL_PARAM_VALUE(int16_t)};
    pel_kernel *kernel = launches_kernel(&l, params, 2, 0);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 3;
    desc.global[1] = 20;
    pel_arg args[] = {pel_buf(buffer), pel_i16(100)};
    pel_bound bound;
    pel_footprint f = {0};
    assert_int_equal(pel_bind(kernel, &desc, args, 2, &bound, NULL), PEL_OK);
    pel_span span;
    pel_bound_span(&bound, 4, 9, &span);
    assert_int_equal(pel_footprint_query(&bound, &span, 0, &f), PEL_OK);
    assert_int_equal(f.writes.data[0].lo, 1600);
    assert_int_equal(f.writes.data[0].hi, 3600);
    pel_footprint_free(&l.fake.runtime.allocator, &f);
    launches_unbind(&l, &bound);
    args[1] = pel_i16(103);
    bind_fails(kernel, &desc, args, 2, PEL_TOO_LARGE, "needs 8240 bytes");
    args[1] = pel_i16(0);
    bind_fails(kernel, &desc, args, 2, PEL_INVALID_ARGUMENT, "look at the pitch argument");
    args[1] = pel_i16(-1); /* sizes are unsigned: 65535 elements */
    bind_fails(kernel, &desc, args, 2, PEL_TOO_LARGE, "needs 5242800 bytes");
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static void test_values_are_copied_and_aligned(void **state) {
    (void)state;
    begin("h");
    typedef struct big {
        double numbers[20];
    } big;
    const pel_param params[] = {PEL_PARAM_VALUE(uint8_t), PEL_PARAM_VALUE(big), PEL_PARAM_VALUE(float),
                                PEL_PARAM_WHOLE(PEL_READ)};
    pel_kernel *kernel = launches_kernel(&l, params, 4, 0);
    big original;
    for (int i = 0; i < 20; i++) {
        original.numbers[i] = i;
    }
    pel_arg args[] = {pel_u8(200), pel_struct(&original, sizeof original), pel_f32(2.5f), pel_buf(buffer)};
    pel_launch_desc desc = launch_1d(10);
    pel_bound bound;
    assert_int_equal(pel_bind(kernel, &desc, args, 4, &bound, NULL), PEL_OK);
    big expected = original;
    memset(&original, 0, sizeof original);
    memset(args, 0, sizeof args);
    float half;
    memcpy(&half, bound.values[2], sizeof half);
    assert_int_equal(*(const uint8_t *)bound.values[0], 200);
    assert_memory_equal(bound.values[1], &expected, sizeof expected);
    assert_true(half == 2.5f);
    assert_null(bound.values[3]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)bound.values[i] % 64, 0);
        assert_ptr_equal(bound.values[i], bound.args[i].value);
    }
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static uint64_t granularity_of(pel_param param, const uint64_t global[3], const uint64_t local[3], uint32_t split, uint64_t own,
                               char *single) {
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *template = launches_kernel(&l, NULL, 0, 0), *kernel = NULL;
    kernel_desc.host = template->image.host;
    kernel_desc.params = &param;
    kernel_desc.param_count = 1;
    kernel_desc.granularity = own;
    kernel_desc.split_dimension = split;
    assert_int_equal(pel_kernel_create(l.program, &kernel_desc, &kernel, NULL), PEL_OK);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    memcpy(desc.global, global, sizeof desc.global);
    memcpy(desc.local, local, sizeof desc.local);
    pel_arg arg = pel_buf(buffer);
    pel_bound bound;
    assert_int_equal(pel_bind(kernel, &desc, &arg, 1, &bound, NULL), PEL_OK);
    uint64_t granularity = bound.granularity;
    snprintf(single, 200, "%s", bound.single ? bound.single : "");
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_kernel_destroy(template), PEL_OK);
    return granularity;
}

static void test_granularity(void **state) {
    (void)state;
    begin("h");
    char single[200];
    const uint64_t none[3] = {0, 0, 0}, one_d[3] = {4080, 0, 0}, two_d[3] = {60, 40, 0}, ten[3] = {10, 0, 0},
                   ten_by_4[3] = {10, 4, 0};
    const pel_param plain = PEL_PARAM_ELEMENTWISE(PEL_WRITE, 1, 1, 1), packed = PEL_PARAM_ELEMENTWISE(PEL_WRITE, 1, 1, 255);
    const pel_param packed_read = PEL_PARAM_ELEMENTWISE(PEL_READ, 1, 1, 255),
                    thirds = PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 1, 2, 9);
    assert_int_equal(granularity_of(plain, one_d, none, 0, 0, single), 64);
    assert_int_equal(granularity_of(plain, one_d, none, 0, 48, single), 192);
    assert_int_equal(granularity_of(plain, one_d, ten, 0, 0, single), 10);
    assert_int_equal(granularity_of(packed, one_d, ten, 0, 0, single), 510);
    assert_string_equal(single, "");
    assert_int_equal(granularity_of(packed_read, one_d, ten, 0, 0, single), 10); /* what is only read may be shared */
    assert_int_equal(granularity_of(packed, one_d, none, 0, 0, single), 4080);   /* 64 x 255 is beyond the launch */
    assert_non_null(strstr(single, "cannot be cut"));
    assert_int_equal(granularity_of(plain, two_d, none, 0, 0, single), 1);
    assert_int_equal(granularity_of(plain, two_d, ten_by_4, 0, 0, single), 4);
    assert_int_equal(granularity_of(plain, two_d, ten_by_4, 1, 0, single), 10);
    assert_int_equal(granularity_of(thirds, two_d, none, 0, 0, single), 3); /* a row of 60 items is 13 1/3 elements */
    assert_int_equal(granularity_of(thirds, two_d, none, 1, 0, single), 9);
    assert_int_equal(granularity_of(plain, one_d, none, 0, UINT64_MAX - 1, single), 4080);
    launches_end(&l);
}

static const char *single_reason(pel_kernel *kernel, const uint64_t global[3], pel_arg arg, char *text) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    memcpy(desc.global, global, sizeof desc.global);
    pel_bound bound;
    assert_int_equal(pel_bind(kernel, &desc, &arg, kernel->image.param_count, &bound, NULL), PEL_OK);
    snprintf(text, 200, "%s", bound.single ? bound.single : "");
    launches_unbind(&l, &bound);
    return text;
}

static void test_reasons_not_to_split(void **state) {
    (void)state;
    begin("h");
    char text[200];
    const pel_param each = PEL_PARAM_ELEMENTWISE(PEL_READ, 1, 1, 1);
    const uint64_t tall[3] = {2, 70000, 0}, small[3] = {2, 3, 0}, single_unit[3] = {1, 0, 0};
    pel_kernel *across = launches_kernel(&l, &each, 1, 1);
    assert_string_equal(single_reason(across, small, pel_buf(buffer), text), "");
    assert_string_equal(single_reason(across, tall, pel_null(), text), ""); /* nothing accessed, no pieces */
    assert_non_null(strstr(single_reason(across, single_unit, pel_buf(buffer), text), "its 1 unit cannot be cut"));
    assert_int_equal(pel_kernel_destroy(across), PEL_OK);
    pel_param tiny = each; /* 70000 items touch 70000 / 100 elements */
    tiny.den = 100;
    across = launches_kernel(&l, &tiny, 1, 1);
    assert_non_null(strstr(single_reason(across, tall, pel_buf(buffer), text), "more than 65536 pieces"));
    assert_int_equal(pel_kernel_destroy(across), PEL_OK);
    const pel_param pointer = PEL_PARAM_POINTER(PEL_READ_WRITE);
    across = launches_kernel(&l, &pointer, 1, 0);
    assert_string_equal(single_reason(across, small, pel_buf(buffer), text), "what it writes through argument 0 is not declared");
    assert_int_equal(pel_kernel_destroy(across), PEL_OK);
    launches_end(&l);
}

/* The addressing contract binds OpenCL devices only. */
static void test_addressing(void **state) {
    (void)state;
    launches_begin(&l, "hc");
    const char *source = "__kernel void k() {}";
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    program_desc.source = source;
    pel_program *program;
    pel_kernel *with_source, *host_only = launches_kernel(&l, NULL, 0, 0);
    assert_int_equal(pel_program_create(&l.fake.runtime, &program_desc, &program, NULL), PEL_OK);
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    desc.entry = "k";
    assert_int_equal(pel_kernel_create(program, &desc, &with_source, NULL), PEL_OK);
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    launch.global[0] = launch.global[1] = 100;
    launch.offset[1] = 10;
    pel_bound bound;
    assert_int_equal(pel_bind(with_source, &launch, NULL, 0, &bound, NULL), PEL_OK);
    assert_non_null(bound.single);
    launches_unbind(&l, &bound);
    assert_int_equal(pel_bind(host_only, &launch, NULL, 0, &bound, NULL), PEL_OK);
    assert_null(bound.single);
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(with_source), PEL_OK);
    assert_int_equal(pel_kernel_destroy(host_only), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    launches_end(&l);
}

/* What the source of one item for each id declares, counts from 0; source that asks for the offset may do so, too. */
static void test_offset_and_declarations(void **state) {
    (void)state;
    static const char *const sources[] = {
        "__kernel void k(__global int *x) { x[get_global_id(0)] = 1; }",
        "__kernel void k(__global int *x) { x[get_global_id(0) - get_global_offset(0)] = 1; }",
        "__kernel void k(__global int *x) { x[get_global_linear_id()] = 1; }",
    };
    static const pel_param elements = PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1), rows = PEL_PARAM_BLOCK(PEL_WRITE, 4, 64, 0, 0),
                           groups = PEL_PARAM_PER_GROUP(PEL_REDUCE_NONE, PEL_I32, 4, 1), whole = PEL_PARAM_WHOLE(PEL_READ);
    static const struct {
        const pel_param *param;
        uint32_t source, flags;
        uint64_t offset[2];
        pel_status expected;
    } cases[] = {
        {&elements, 0, 0, {0, 0}, PEL_OK},
        {&elements, 0, 0, {4, 0}, PEL_INVALID_ARGUMENT},
        {&elements, 0, 0, {0, 4}, PEL_INVALID_ARGUMENT},
        {&elements, 0, PEL_KERNEL_CHUNK_SAFE, {4, 0}, PEL_OK},
        {&elements, 1, 0, {4, 0}, PEL_OK},
        {&elements, 2, 0, {4, 0}, PEL_OK},
        {&rows, 0, 0, {4, 0}, PEL_OK}, /* split along the other dimension */
        {&rows, 0, 0, {0, 4}, PEL_INVALID_ARGUMENT},
        {&rows, 1, 0, {0, 4}, PEL_OK},
        {&groups, 0, 0, {4, 4}, PEL_OK},
        {&whole, 0, 0, {4, 4}, PEL_OK},
    };
    launches_begin(&l, "hc");
    const pel_arg argument = pel_buf(launches_wrap(&l, 0, 4096));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
        pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
        pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
        pel_program *program;
        pel_kernel *kernel;
        pel_bound bound;
        pel_error *error = NULL;
        program_desc.source = sources[cases[i].source];
        assert_int_equal(pel_program_create(&l.fake.runtime, &program_desc, &program, NULL), PEL_OK);
        desc.entry = "k";
        desc.params = cases[i].param;
        desc.param_count = 1;
        desc.flags = cases[i].flags;
        assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
        launch.global[0] = launch.global[1] = 16;
        launch.local[0] = launch.local[1] = 4;
        launch.offset[0] = cases[i].offset[0];
        launch.offset[1] = cases[i].offset[1];
        assert_int_equal(pel_bind(kernel, &launch, &argument, 1, &bound, &error), cases[i].expected);
        if (cases[i].expected == PEL_OK) {
            launches_unbind(&l, &bound);
        } else {
            assert_non_null(strstr(pel_error_message(error), "counts from 0"));
        }
        pel_error_destroy(error);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        assert_int_equal(pel_program_destroy(program), PEL_OK);
    }
    launches_end(&l);
}

/* --- hostile input --- */

static uint64_t odd_number(uint64_t *random) {
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       3,
                                       63,
                                       64,
                                       65,
                                       255,
                                       256,
                                       4096,
                                       8191,
                                       8192,
                                       8193,
                                       1ull << 31,
                                       (1ull << 32) - 1,
                                       1ull << 32,
                                       (1ull << 32) + 1,
                                       1ull << 62,
                                       1ull << 63,
                                       UINT64_MAX - 1,
                                       UINT64_MAX};
    uint64_t pick = test_random(random);
    return pick % 3 == 0 ? (pick >> 8) % 200 : numbers[(pick >> 8) % (sizeof numbers / sizeof *numbers)];
}

static pel_param odd_param(uint64_t *random) {
    pel_param param = {0};
    param.kind = (pel_param_kind)(1 + test_random(random) % 9);
    param.mode = (pel_access_mode)(1 + test_random(random) % 3);
    param.bytes = test_random(random) % 3 ? 4 : odd_number(random);
    param.num = odd_number(random);
    param.den = odd_number(random);
    param.pitch = odd_number(random);
    param.halo_lo = odd_number(random);
    param.halo_hi = odd_number(random);
    param.pitch_argument = (int32_t)(test_random(random) % 4);
    param.op = (pel_reduce_op)(test_random(random) % 7);
    param.scalar = (pel_scalar)(1 + test_random(random) % 6);
    param.custom = launches_column;
    return param;
}

static pel_arg odd_arg(uint64_t *random) {
    pel_arg arg;
    switch (test_random(random) % 6) {
    case 0:
        return pel_buf(buffer);
    case 1:
        return pel_buf_range(buffer, odd_number(random), odd_number(random));
    case 2:
        return pel_local(odd_number(random));
    case 3:
        return pel_null();
    case 4:
        return pel_u32((uint32_t)odd_number(random));
    default:
        arg = pel_u64(odd_number(random));
        arg.kind = (uint32_t)(test_random(random) % 9);
        if (arg.kind == PEL_ARG_STRUCT || arg.kind == PEL_ARG_BUFFER ||
            arg.kind == PEL_ARG_RANGE) { /* pointers cannot be checked */
            memset(&arg.u, 0, sizeof arg.u);
        }
        arg.bytes = arg.kind == PEL_ARG_VALUE ? odd_number(random) : arg.bytes;
        return arg;
    }
}

/* Whatever was bound holds its promises. */
static void check_bound(const pel_bound *bound) {
    pel_footprint f = {0};
    assert_true(bound->units > 0 && bound->granularity > 0 && bound->granularity <= bound->units);
    assert_true(bound->single || bound->granularity < bound->units);
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        assert_int_equal(pel_footprint_query(bound, &bound->span, i, &f), PEL_OK);
        const pel_intervals *lists[] = {&f.reads, &f.writes};
        for (int k = 0; k < 2; k++) {
            assert_true(lists[k]->count == 0 || lists[k]->data[lists[k]->count - 1].hi <= bound->args[i].bytes);
        }
    }
    pel_footprint_free(&l.fake.runtime.allocator, &f);
}

static void test_hostile_input(void **state) {
    (void)state;
    uint64_t bound_count = 0, refused = 0;
    begin("h");
    for (uint64_t seed = 1; seed <= 30000; seed++) {
        uint64_t random = seed;
        pel_param params[3];
        pel_arg args[3];
        pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
        for (int i = 0; i < 3; i++) {
            params[i] = odd_param(&random);
            args[i] = odd_arg(&random);
        }
        params[0] = (pel_param)PEL_PARAM_VALUE(uint32_t); /* what launches_column reads */
        args[0] = pel_u32((uint32_t)test_random(&random) % 20);
        kernel_desc.params = params;
        kernel_desc.param_count = 2 + (uint32_t)(test_random(&random) % 2);
        kernel_desc.granularity = odd_number(&random);
        kernel_desc.split_dimension = (uint32_t)(test_random(&random) % 5);
        pel_kernel *none = launches_kernel(&l, NULL, 0, 0), *kernel = NULL;
        kernel_desc.host = none->image.host;
        assert_int_equal(pel_kernel_destroy(none), PEL_OK);
        if (pel_kernel_create(l.program, &kernel_desc, &kernel, NULL) != PEL_OK) {
            assert_null(kernel);
            continue;
        }
        for (int i = 0; i < 4; i++) {
            pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
            for (int d = 0; d < 3; d++) {
                desc.global[d] = test_random(&random) % 2 ? test_random(&random) % 30 : odd_number(&random);
                desc.local[d] = test_random(&random) % 4 ? 0 : odd_number(&random);
                desc.offset[d] = test_random(&random) % 4 ? 0 : odd_number(&random);
            }
            bool column = (params[1].kind == PEL_PARAM_KIND_CUSTOM || params[2].kind == PEL_PARAM_KIND_CUSTOM);
            for (int d = 0; d < 3 && column; d++) { /* the function lists an interval per row */
                desc.global[d] %= 1000;
            }
            pel_bound bound;
            pel_error *error = NULL;
            pel_status status = pel_bind(kernel, &desc, args, kernel_desc.param_count, &bound, &error);
            if (status == PEL_OK) {
                check_bound(&bound);
                launches_unbind(&l, &bound);
                bound_count++;
            } else {
                assert_true(status == PEL_INVALID_ARGUMENT || status == PEL_TOO_LARGE || status == PEL_UNSUPPORTED);
                assert_true(pel_error_message(error)[0] != '\0');
                refused++;
            }
            pel_error_destroy(error);
        }
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    }
    print_message("hostile input: %llu bound, %llu refused\n", (unsigned long long)bound_count, (unsigned long long)refused);
    assert_true(bound_count > 1000 && refused > 1000);
    launches_end(&l);
}

/* Chunks at multiples of the granularity never share an element that is written, whatever num and den. */
static void test_granularity_keeps_elements_whole(void **state) {
    (void)state;
    uint64_t split = 0;
    begin("h");
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t random = seed;
        pel_param param = PEL_PARAM_ELEMENTWISE((pel_access_mode)(2 + test_random(&random) % 2), 1 + test_random(&random) % 2,
                                                1 + test_random(&random) % 7, 1 + test_random(&random) % 12);
        uint32_t dims = 1 + (uint32_t)(test_random(&random) % 3);
        pel_kernel *kernel = launches_kernel(&l, &param, 1, 0);
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        for (uint32_t d = 0; d < dims; d++) {
            desc.global[d] = 1 + test_random(&random) % (dims == 1 ? 500 : 8);
        }
        pel_arg arg = pel_buf(buffer);
        pel_bound bound;
        pel_status status = pel_bind(kernel, &desc, &arg, 1, &bound, NULL);
        if (status == PEL_OK && !bound.single) {
            uint64_t cuts[600];
            uint32_t chunks = 0;
            for (cuts[0] = 0; cuts[chunks] < bound.units; chunks++) {
                uint64_t next = cuts[chunks] + bound.granularity;
                cuts[chunks + 1] = next < bound.units ? next : bound.units;
            }
            char *why = NULL;
            assert_int_equal(pel_conflict_check(&bound, cuts, chunks, &why), PEL_OK);
            split++;
        }
        if (status == PEL_OK) {
            launches_unbind(&l, &bound);
        }
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    }
    assert_true(split > 300);
    launches_end(&l);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    const pel_param params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_CUSTOM(PEL_READ_WRITE, launches_column, NULL)};
    for (uint64_t n = 1, failures = 0;; n++) {
        begin("h");
        pel_kernel *kernel = launches_kernel(&l, params, 2, 0);
        pel_launch_desc desc = launch_1d(20); /* one piece of 64: the reason is composed, too */
        pel_arg args[] = {pel_u32(3), pel_buf(buffer)};
        pel_bound bound;
        pel_error *error = NULL;
        l.fake.memory.fail_from = l.fake.memory.calls + n;
        l.fake.memory.for_ever = n % 2 == 0;
        pel_status status = pel_bind(kernel, &desc, args, 2, &bound, &error);
        bool reached = l.fake.memory.calls >= l.fake.memory.fail_from;
        assert_int_equal(status, reached ? PEL_OUT_OF_MEMORY : PEL_OK);
        assert_int_equal(error != NULL, reached);
        failures += reached;
        pel_error_destroy(error);
        if (status == PEL_OK) {
            launches_unbind(&l, &bound);
        }
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        launches_end(&l);
        if (!reached) {
            assert_true(failures >= 4);
            return;
        }
    }
}

/* A command that outlives the handle of its kernel releases it under the runtime's lock: the drivers hear of it later,
 * without. */
static void test_last_release_in_a_command(void **state) {
    (void)state;
    pel_bound bounds[2];
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    launches_begin(&l, "hd");
    desc.global[0] = 8;
    for (int i = 0; i < 2; i++) {
        pel_kernel *kernel = launches_kernel(&l, NULL, 0, 0);
        assert_int_equal(pel_bind(kernel, &desc, NULL, 0, &bounds[i], NULL), PEL_OK);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    }
    launches_unbind(&l, &bounds[0]);
    launches_unbind(&l, &bounds[1]);
    assert_int_equal(l.fake.drivers[0].kernels_forgotten, 0);
    pel_kernels_reap(&l.fake.runtime);
    assert_int_equal(l.fake.drivers[0].kernels_forgotten, 2);
    assert_int_equal(l.fake.drivers[1].kernels_forgotten, 2);
    pel_kernels_reap(&l.fake.runtime);
    assert_int_equal(l.fake.drivers[0].kernels_forgotten, 2);
    launches_end(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_shares_waits_protection),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_pitch_argument),
        cmocka_unit_test(test_values_are_copied_and_aligned),
        cmocka_unit_test(test_granularity),
        cmocka_unit_test(test_reasons_not_to_split),
        cmocka_unit_test(test_addressing),
        cmocka_unit_test(test_offset_and_declarations),
        cmocka_unit_test(test_hostile_input),
        cmocka_unit_test(test_granularity_keeps_elements_whole),
        cmocka_unit_test(test_last_release_in_a_command),
        cmocka_unit_test(test_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
