/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Expands every macro and inline function of the public headers and looks at what came out. Included by a C11 and by a C++17
 * test: an initialiser that only C accepts (a designated or narrowing one) fails to compile in the other. Kept complete by
 * test_macros_listed.sh.
 */
#ifndef PEL_TESTS_HEADERS_MACROS_H
#define PEL_TESTS_HEADERS_MACROS_H

#include <pel/pel.h>
#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
PEL_BEGIN_DECLS
#include <cmocka.h>
PEL_END_DECLS

PEL_BEGIN_DECLS
static uint32_t no_bytes(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                         uint32_t capacity) {
    (void)span, (void)arguments, (void)user, (void)intervals, (void)capacity;
    return 0;
}
PEL_END_DECLS

static int custom_user;

/* File scope and const: descriptions of kernels are meant to be static tables. */
static const pel_param params[] = {
    PEL_PARAM_VALUE(double),
    PEL_PARAM_LOCAL,
    PEL_PARAM_POINTER(PEL_READ),
    PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(float), 255, 1),
    PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), 4096, 1, 2),
    PEL_PARAM_BLOCK_BY(PEL_READ, sizeof(float), 3, 4, 5),
    PEL_PARAM_WHOLE(PEL_READ),
    PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F64, sizeof(double), 7),
    PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_XOR, PEL_U64, sizeof(uint64_t), 256),
    PEL_PARAM_CUSTOM(PEL_READ_WRITE, no_bytes, &custom_user),
    PEL_PARAM_CANCEL,
};

static void check_param(const pel_param *param, pel_param_kind kind, pel_access_mode mode, uint64_t bytes, uint64_t num,
                        uint64_t den) {
    assert_int_equal(param->kind, kind);
    assert_int_equal(param->mode, mode);
    assert_int_equal(param->bytes, bytes);
    assert_int_equal(param->num, num);
    assert_int_equal(param->den, den);
}

static void check_block(const pel_param *param, uint64_t pitch, uint64_t halo_lo, uint64_t halo_hi, int32_t pitch_argument) {
    assert_int_equal(param->pitch, pitch);
    assert_int_equal(param->halo_lo, halo_lo);
    assert_int_equal(param->halo_hi, halo_hi);
    assert_int_equal(param->pitch_argument, pitch_argument);
}

static void test_params(void **state) {
    (void)state;
    check_param(&params[0], PEL_PARAM_KIND_VALUE, PEL_READ, 8, 0, 0);
    check_param(&params[1], PEL_PARAM_KIND_LOCAL, PEL_READ_WRITE, 0, 0, 0);
    check_param(&params[2], PEL_PARAM_KIND_POINTER, PEL_READ, 1, 0, 0);
    check_param(&params[3], PEL_PARAM_KIND_ELEMENTWISE, PEL_READ_WRITE, 4, 255, 1);
    check_param(&params[4], PEL_PARAM_KIND_BLOCK, PEL_WRITE, 4, 0, 0);
    check_param(&params[5], PEL_PARAM_KIND_BLOCK, PEL_READ, 4, 0, 0);
    check_param(&params[6], PEL_PARAM_KIND_WHOLE, PEL_READ, 1, 0, 0);
    check_param(&params[7], PEL_PARAM_KIND_PER_GROUP, PEL_WRITE, 8, 7, 1);
    check_param(&params[8], PEL_PARAM_KIND_REDUCE_PRIVATE, PEL_READ_WRITE, 8, 256, 1);
    check_param(&params[9], PEL_PARAM_KIND_CUSTOM, PEL_READ_WRITE, 1, 0, 0);
    check_param(&params[10], PEL_PARAM_KIND_CANCEL, PEL_READ, sizeof(int), 1, 1);
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        if (i == 4)
            check_block(&params[i], 4096, 1, 2, 0);
        else if (i == 5)
            check_block(&params[i], 0, 4, 5, 4); /* 1 + argument */
        else
            check_block(&params[i], 0, 0, 0, 0);
        assert_int_equal(params[i].op, i == 7 ? PEL_REDUCE_SUM : i == 8 ? PEL_REDUCE_XOR : PEL_REDUCE_NONE);
        assert_int_equal(params[i].scalar, i == 7 ? PEL_F64 : i == 8 ? PEL_U64 : i == 10 ? PEL_I32 : PEL_U32);
        assert_true(params[i].custom == (i == 9 ? no_bytes : NULL));
        assert_ptr_equal(params[i].user, i == 9 ? (void *)&custom_user : NULL);
    }
}

/* An INIT macro gives the size and zeros; the rest of the bytes is compared with a zeroed descriptor of that size. */
#define CHECK_INIT(type, init)                                                                          \
    do {                                                                                                \
        static type from_macro = init;                                                                  \
        static type zeros;                                                                              \
        assert_int_equal(from_macro.size, sizeof(type));                                                \
        zeros.size = sizeof(type);                                                                      \
        assert_memory_equal(&from_macro, &zeros, sizeof(type));                                         \
    } while (0)

static void test_accesses(void **state) {
    const pel_access accesses[] = {PEL_ACCESS(NULL, 1, 2, PEL_READ), PEL_ACCESS_RECTANGLE(NULL, 1, 2, 3, 4, PEL_WRITE)};
    (void)state;
    assert_int_equal(accesses[0].bytes, 2);
    assert_int_equal(accesses[0].rows + accesses[0].pitch, 0);
    assert_int_equal(accesses[1].rows, 3);
    assert_int_equal(accesses[1].pitch, 4);
    assert_int_equal(accesses[1].mode, PEL_WRITE);
}

static void test_descriptors(void **state) {
    (void)state;
    CHECK_INIT(pel_runtime_desc, PEL_RUNTIME_DESC_INIT);
    CHECK_INIT(pel_simulation, PEL_SIMULATION_INIT);
    CHECK_INIT(pel_program_desc, PEL_PROGRAM_DESC_INIT);
    CHECK_INIT(pel_kernel_desc, PEL_KERNEL_DESC_INIT);
    CHECK_INIT(pel_parallel_desc, PEL_PARALLEL_DESC_INIT);
    CHECK_INIT(pel_queue_desc, PEL_QUEUE_DESC_INIT);
    CHECK_INIT(pel_buffer_desc, PEL_BUFFER_DESC_INIT);
    CHECK_INIT(pel_task_desc, PEL_TASK_DESC_INIT);
    CHECK_INIT(pel_checkpoint_desc, PEL_CHECKPOINT_DESC_INIT);
    CHECK_INIT(pel_launch_desc, PEL_LAUNCH_DESC_INIT);
    const pel_verification nothing = PEL_VERIFICATION_INIT;
    assert_true(nothing.share == 0 && nothing.seed == 0 && nothing.flags == 0 && nothing.scalar == 0 && nothing.ulps == 0);
#ifdef PEL_HAVE_OPENCL
    CHECK_INIT(pel_opencl_adoption, PEL_OPENCL_ADOPTION_INIT);
    assert_true(CL_TARGET_OPENCL_VERSION >= 120);
#endif
}

#define CHECK_VALUE(function, type, literal)                                                            \
    do {                                                                                                \
        type expected = literal;                                                                        \
        pel_arg made = function(expected);                                                              \
        assert_int_equal(made.kind, PEL_ARG_VALUE);                                                     \
        assert_int_equal(made.bytes, sizeof(type));                                                     \
        assert_memory_equal(made.u.value, &expected, sizeof(type));                                     \
        for (size_t byte = sizeof(type); byte < sizeof made.u.value; byte++)                            \
            assert_int_equal(made.u.value[byte], 0);                                                    \
    } while (0)

static void test_ranges(void **state) {
    static const pel_range ranges[] = {PEL_RANGE_1D(7), PEL_RANGE_2D(7, 8), PEL_RANGE_3D(7, 8, 9)};
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(ranges[i].dims, i + 1);
        assert_int_equal(ranges[i].lo[i], 0);
        assert_int_equal(ranges[i].hi[i], 7 + i);
        assert_int_equal(ranges[i].hi[0], 7);
    }
}

static void test_arguments(void **state) {
    (void)state;
    CHECK_VALUE(pel_i8, int8_t, -8);
    CHECK_VALUE(pel_u8, uint8_t, 200);
    CHECK_VALUE(pel_i16, int16_t, -16000);
    CHECK_VALUE(pel_u16, uint16_t, 60000);
    CHECK_VALUE(pel_i32, int32_t, -32);
    CHECK_VALUE(pel_u32, uint32_t, 4000000000u);
    CHECK_VALUE(pel_i64, int64_t, INT64_MIN);
    CHECK_VALUE(pel_u64, uint64_t, UINT64_MAX);
    CHECK_VALUE(pel_f32, float, 0.1f);
    CHECK_VALUE(pel_f64, double, 0.1);

    unsigned char memory[64] = {0};
    pel_buffer *buffer = (pel_buffer *)(void *)memory; /* never followed */
    pel_arg arg = pel_struct(memory, sizeof memory);
    assert_int_equal(arg.kind, PEL_ARG_STRUCT);
    assert_int_equal(arg.bytes, sizeof memory);
    assert_ptr_equal(arg.u.pointer, memory);
    arg = pel_buf(buffer);
    assert_int_equal(arg.kind, PEL_ARG_BUFFER);
    assert_ptr_equal(arg.u.range.buffer, buffer);
    assert_int_equal(arg.u.range.offset, 0);
    arg = pel_buf_range(buffer, (uint64_t)1 << 40, (uint64_t)1 << 33);
    assert_int_equal(arg.kind, PEL_ARG_RANGE);
    assert_ptr_equal(arg.u.range.buffer, buffer);
    assert_true(arg.u.range.offset == (uint64_t)1 << 40 && arg.bytes == (uint64_t)1 << 33);
    arg = pel_local(1024);
    assert_int_equal(arg.kind, PEL_ARG_LOCAL);
    assert_int_equal(arg.bytes, 1024);
    arg = pel_null();
    assert_int_equal(arg.kind, PEL_ARG_NULL);
    assert_int_equal(sizeof(pel_arg), 48); /* fixed: an array of them crosses the library's boundary */
}

static void test_statuses(void **state) {
    (void)state;
    unsigned count = 0;
#define CHECK_STATUS(name, value, text)                                                                 \
    assert_int_equal(PEL_##name, value);                                                                \
    assert_string_equal(pel_status_name((pel_status)(value)), "PEL_" #name);                            \
    assert_string_equal(pel_status_text((pel_status)(value)), text);                                    \
    count++;
    PEL_STATUSES(CHECK_STATUS)
#undef CHECK_STATUS
    assert_int_equal(count, PEL_INTERNAL + 1); /* no gap, nothing twice */
    assert_string_equal(pel_status_name((pel_status)count), "PEL_?");
}

static void test_version(void **state) {
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", PEL_VERSION_MAJOR, PEL_VERSION_MINOR, PEL_VERSION_PATCH);
    assert_string_equal(text, PEL_VERSION_STRING);
    assert_string_equal(text, pel_version_string());
    assert_int_equal(pel_version(), PEL_VERSION_MAJOR * 1000000 + PEL_VERSION_MINOR * 1000 + PEL_VERSION_PATCH);
}

static void test_limits(void **state) {
    (void)state;
    pel_simulated_device device;
    memset(&device, 0, sizeof device);
    device.core_group = PEL_SIMULATED_HOST_GROUP;
    assert_int_equal(device.core_group, 1);
}

static void test_core_sets(void **state) {
    (void)state;
    static pel_core_set set;
    assert_int_equal(sizeof set.bits * 8, PEL_CORE_LIMIT);
    set.bits[1] = 1u << 3;
    set.bits[PEL_CORE_LIMIT / 64 - 1] = (uint64_t)1 << 63;
    assert_true(pel_core_set_has(&set, 67));
    assert_true(pel_core_set_has(&set, PEL_CORE_LIMIT - 1));
    assert_false(pel_core_set_has(&set, 3));
    assert_false(pel_core_set_has(&set, PEL_CORE_LIMIT));
}

/* PEL_API and PEL_MUST_CHECK stand where a user's wrapper would put them. */
PEL_BEGIN_DECLS
PEL_API PEL_MUST_CHECK int wrapper_of_a_user(void);
PEL_END_DECLS
int wrapper_of_a_user(void) {
    return 42;
}

static void test_markers(void **state) {
    (void)state;
    assert_int_equal(wrapper_of_a_user(), 42);
}

static int run_macro_tests(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),    cmocka_unit_test(test_descriptors), cmocka_unit_test(test_accesses),
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_ranges),      cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_version),   cmocka_unit_test(test_core_sets),   cmocka_unit_test(test_markers),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
