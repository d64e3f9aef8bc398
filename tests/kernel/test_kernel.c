/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernels: declarations that contradict themselves, reasons never to split, devices that cannot, identity, lifetime. */
#include "kernel/launches.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static launches l;

static pel_status host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

static pel_status host_group(const pel_group *group, void *const *arguments, void *scratch, void *user) {
    (void)group;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

static uint32_t nothing(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                        uint32_t capacity) {
    (void)span;
    (void)arguments;
    (void)user;
    (void)intervals;
    (void)capacity;
    return 0;
}

static pel_program *program_of(const char *source) {
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program;
    desc.source = source;
    assert_int_equal(pel_program_create(&l.fake.runtime, &desc, &program, NULL), PEL_OK);
    return program;
}

static pel_kernel_desc host_desc(const pel_param *params, uint32_t count) {
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    desc.host = host;
    desc.name = "tested";
    desc.params = params;
    desc.param_count = count;
    return desc;
}

static void create_fails(pel_program *program, const pel_kernel_desc *desc, pel_status expected, const char *words) {
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    pel_status status = pel_kernel_create(program, desc, &kernel, &error);
    if (status != expected || !strstr(pel_error_message(error), words)) {
        print_error("expected \"%s\", got %s: %s\n", words, pel_status_name(status), pel_error_message(error));
    }
    assert_int_equal(status, expected);
    assert_null(kernel);
    assert_non_null(strstr(pel_error_message(error), words));
    pel_error_destroy(error);
}

static void test_wrong_descriptors(void **state) {
    (void)state;
    launches_begin(&l, "h");
    pel_kernel_desc desc = host_desc(NULL, 0);
    pel_kernel *kernel;
    assert_int_equal(pel_kernel_create(NULL, &desc, &kernel, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_kernel_create(l.program, NULL, &kernel, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_kernel_create(l.program, &desc, NULL, NULL), PEL_INVALID_ARGUMENT);
    desc.size = 5;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "pel_kernel_desc.size is 5");
    desc = host_desc(NULL, 0);
    desc.flags = 64;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "unknown flags 0x40");
    desc = host_desc(NULL, 0);
    desc.reserved = 1;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "reserved field");
    desc = host_desc(NULL, 0);
    desc.host = NULL;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "neither an entry nor a host variant");
    desc.entry = "k";
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "has no source, so no entry k");
    desc = host_desc(NULL, 0);
    desc.host_group = host_group;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "two host variants");
    desc = host_desc(NULL, 0);
    desc.split_dimension = 4;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "split_dimension is 4");
    desc = host_desc(NULL, 2);
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "params is NULL");
    desc = host_desc(NULL, 0);
    desc.cost_hint = NAN;
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "cost_hint");
    launches_end(&l);
}

static void test_wrong_declarations(void **state) {
    (void)state;
    launches_begin(&l, "h");
    const struct {
        pel_param param;
        const char *words;
    } cases[] = {
        {{0}, "parameter 1 of kernel tested (unknown): its access mode"},
        {{.kind = (pel_param_kind)11, .mode = PEL_READ, .bytes = 1}, "unknown kind 11"},
        {{.kind = PEL_PARAM_KIND_CANCEL, .mode = PEL_READ, .bytes = 8}, "PEL_PARAM_CANCEL"},
        {{.kind = PEL_PARAM_KIND_VALUE, .mode = PEL_READ}, "its size is 0 bytes"},
        {{.kind = PEL_PARAM_KIND_VALUE, .mode = PEL_WRITE, .bytes = 4}, "values are read only"},
        {PEL_PARAM_ELEMENTWISE((pel_access_mode)7, 4, 1, 1), "access mode"},
        {PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 0, 1), "num and den"},
        {PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 0), "num and den"},
        {PEL_PARAM_ELEMENTWISE(PEL_READ, 4, UINT64_MAX, 1), "beyond 2^64"},
        {PEL_PARAM_ELEMENTWISE(PEL_READ, 0, 1, 1), "0 bytes"},
        {PEL_PARAM_BLOCK(PEL_READ, 0, 64, 0, 0), "0 bytes"},
        {PEL_PARAM_BLOCK_BY(PEL_READ, 4, 1, 0, 0), "not an integer value"}, /* itself */
        {PEL_PARAM_BLOCK_BY(PEL_READ, 4, 2, 0, 0), "not one of the parameters"},
        {PEL_PARAM_BLOCK_BY(PEL_READ, 4, -5, 0, 0), "not one of the parameters"},
        {{.kind = PEL_PARAM_KIND_BLOCK, .mode = PEL_READ, .bytes = 4, .pitch = 4, .pitch_argument = 1}, "both a pitch and"},
        {PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F32, 4, 0), "count is 0"},
        {PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F32, 8, 1), "not that of its scalar"},
        {PEL_PARAM_PER_GROUP(PEL_REDUCE_XOR, PEL_F32, 4, 1), "does not exist"},
        {PEL_PARAM_PER_GROUP((pel_reduce_op)9, PEL_U32, 4, 1), "does not exist"},
        {PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, (pel_scalar)0, 4, 1), "scalar type is unknown"},
        {{.kind = PEL_PARAM_KIND_PER_GROUP, .mode = PEL_READ, .bytes = 4, .num = 1, .scalar = PEL_U32}, "the mode is PEL_WRITE"},
        {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_NONE, PEL_I32, 4, 1), "does not exist"},
        {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_F32, 4, 1), "depend on their order"},
        {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_I64, 8, 1ull << 62), "beyond 2^64"},
        {PEL_PARAM_CUSTOM(PEL_READ, NULL, NULL), "access function is NULL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pel_param params[] = {PEL_PARAM_VALUE(float[3]), cases[i].param};
        pel_kernel_desc desc = host_desc(params, 2);
        create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, cases[i].words);
    }
    const pel_param by_float3[] = {PEL_PARAM_VALUE(float[3]), PEL_PARAM_BLOCK_BY(PEL_READ, 4, 0, 0, 0)};
    pel_kernel_desc desc = host_desc(by_float3, 2);
    create_fails(l.program, &desc, PEL_INVALID_ARGUMENT, "not an integer value");
    const pel_param right[] = {PEL_PARAM_VALUE(uint16_t),
                               PEL_PARAM_BLOCK_BY(PEL_READ, 4, 0, 1, 1),
                               PEL_PARAM_LOCAL,
                               PEL_PARAM_PER_GROUP(PEL_REDUCE_NONE, PEL_U32, 12, 2),
                               PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F64, 8, 2),
                               PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_MAX, PEL_F32, 4, 1),
                               PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_XOR, PEL_U64, 8, 9),
                               PEL_PARAM_CUSTOM(PEL_READ_WRITE, nothing, NULL)};
    pel_kernel *kernel = launches_kernel(&l, right, 8, 0);
    assert_null(kernel->single);
    assert_int_equal(kernel->image.param_count, 8);
    assert_memory_equal(kernel->image.params, right, sizeof right);
    assert_ptr_not_equal(kernel->image.params, right);
    assert_true(kernel->image.cost_hint == 1);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static void check_single(pel_program *program, const char *entry, uint32_t flags, pel_param param, const char *words) {
    pel_kernel_desc desc = host_desc(&param, 1);
    pel_kernel *kernel;
    desc.entry = entry;
    desc.flags = flags;
    assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
    if (words) {
        assert_non_null(kernel->single);
        assert_non_null(strstr(kernel->single, words));
    } else {
        assert_null(kernel->single);
    }
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
}

static void test_reasons_never_to_split(void **state) {
    (void)state;
    launches_begin(&l, "hc");
    pel_program *plain = program_of("__kernel void k() { }"), *prints = program_of("__kernel void k() { printf(\"\"); }");
    pel_program *atomics = program_of("__kernel void k(__global int *x) { atomic_inc(x); }");
    pel_program *undefines = program_of("#undef get_global_id\n__kernel void k() { }");
    const pel_param each = PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1),
                    sum = PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_I32, 4, 1);
    check_single(plain, "k", 0, each, NULL);
    check_single(plain, "k", PEL_KERNEL_SINGLE_DEVICE, each, "PEL_KERNEL_SINGLE_DEVICE");
    check_single(plain, "k", 0, (pel_param)PEL_PARAM_POINTER(PEL_READ), NULL);
    check_single(plain, "k", 0, (pel_param)PEL_PARAM_POINTER(PEL_READ_WRITE),
                 "what it writes through argument 0 is not declared");
    check_single(plain, "k", PEL_KERNEL_CHUNK_SAFE, (pel_param)PEL_PARAM_POINTER(PEL_WRITE), "not declared");
    check_single(plain, "k", 0, (pel_param)PEL_PARAM_WHOLE(PEL_WRITE), "every item may write all of argument 0");
    check_single(plain, "k", 0, (pel_param)PEL_PARAM_WHOLE(PEL_READ), NULL);
    check_single(prints, "k", 0, each, "it prints");
    check_single(prints, NULL, 0, each, NULL); /* the source is not what runs */
    check_single(prints, "k", PEL_KERNEL_CHUNK_SAFE, each, NULL);
    check_single(atomics, "k", 0, each, "uses atomics");
    check_single(atomics, "k", 0, sum, NULL);
    check_single(atomics, "k", PEL_KERNEL_CHUNK_SAFE, each, NULL);
    check_single(undefines, "k", PEL_KERNEL_CHUNK_SAFE, each, "names an id function"); /* nobody can promise that */
    assert_int_equal(pel_program_destroy(plain), PEL_OK);
    assert_int_equal(pel_program_destroy(prints), PEL_OK);
    assert_int_equal(pel_program_destroy(atomics), PEL_OK);
    assert_int_equal(pel_program_destroy(undefines), PEL_OK);
    launches_end(&l);
}

static void test_devices(void **state) {
    (void)state;
    launches_begin(&l, "hcds");
    l.fake.drivers[2].build_status = PEL_BUILD_FAILED;
    pel_program *program = program_of("__kernel void k() { }");
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel;
    desc.entry = "k";
    assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
    assert_string_equal(kernel->image.name, "k");
    assert_string_equal(kernel->not_on[0], "it has no host variant");
    assert_null(kernel->not_on[1]);
    assert_non_null(strstr(kernel->not_on[2], "fake failure"));
    assert_string_equal(kernel->not_on[3], "it has no host variant");
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    desc.host_group = host_group;
    l.fake.drivers[1].kernel_status = PEL_UNSUPPORTED;
    assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
    assert_null(kernel->not_on[0]);
    assert_non_null(strstr(kernel->not_on[1], "fake failure of k"));
    assert_null(kernel->not_on[3]);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    desc.entry = NULL;
    l.fake.drivers[0].largest_group = 16; /* less than the device takes */
    l.fake.drivers[3].largest_group = UINT64_MAX;
    assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
    assert_int_equal(kernel->largest_group[0], 16);
    assert_int_equal(kernel->largest_group[1], 0); /* it cannot run there */
    assert_true(kernel->largest_group[3] == l.fake.facts[3].info.max_work_group || l.fake.facts[3].info.max_work_group == 0);
    assert_string_equal(kernel->not_on[1], "it has no OpenCL entry");
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    desc.entry = "k";
    l.fake.drivers[1].kernel_status = PEL_NOT_FOUND; /* the caller's mistake, although the host could run it */
    create_fails(program, &desc, PEL_NOT_FOUND, "fake failure of k");
    l.fake.drivers[1].kernel_status = PEL_DEVICE_FAILED;
    desc.host_group = NULL;
    create_fails(program, &desc, PEL_DEVICE_FAILED, "fake failure of k on dev:1");
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    launches_end(&l);
    launches_begin(&l, "h");
    program = program_of("__kernel void k() { }");
    create_fails(program, &desc, PEL_NO_DEVICE, "no device of this runtime can run kernel k; on host: it has no host variant");
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    launches_end(&l);
}

static void test_identity(void **state) {
    (void)state;
    uint64_t ids[6];
    const pel_param one = PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 1), two = PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 2, 1);
    for (int i = 0; i < 6; i++) {
        launches_begin(&l, "h");
        atomic_store(&l.fake.runtime.next_id, (unsigned)i * 1000u); /* ids differ from process to process */
        pel_program *program = program_of(i == 3 ? "// other\n" : "// same\n");
        pel_kernel_desc desc = host_desc(i == 2 ? &two : &one, 1);
        desc.flags = i == 4 ? PEL_KERNEL_IRREGULAR : 0;
        desc.name = i == 5 ? "other" : "tested";
        pel_kernel *kernel;
        assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
        ids[i] = kernel->model_id;
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        assert_int_equal(pel_program_destroy(program), PEL_OK);
        launches_end(&l);
    }
    assert_true(ids[0] == ids[1]);
    for (int i = 1; i < 6; i++) {
        for (int j = i + 1; j < 6; j++) {
            assert_true(ids[i] != ids[j]);
        }
    }
}

/* Handles may go in any order; what is held lives on. */
static void test_lifetime(void **state) {
    (void)state;
    launches_begin(&l, "hc");
    pel_program *program = program_of("__kernel void k() { }");
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    desc.entry = "k";
    pel_kernel *kernel;
    pel_bound bound;
    assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_objects_alive(&l.fake.runtime), 3);
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    launch.global[0] = 10;
    assert_int_equal(pel_bind(kernel, &launch, NULL, 0, &bound, NULL), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_objects_alive(&l.fake.runtime), 1);
    assert_int_equal(l.fake.drivers[1].kernels_forgotten, 0);
    assert_string_equal(bound.kernel->image.program->source, "__kernel void k() { }");
    launches_unbind(&l, &bound);
    assert_int_equal(l.fake.drivers[1].kernels_forgotten, 0); /* not under the lock */
    pel_kernels_reap(&l.fake.runtime);
    assert_int_equal(l.fake.drivers[1].kernels_forgotten, 1);
    assert_int_equal(l.fake.drivers[1].programs_forgotten, 1);
    assert_int_equal(pel_kernel_destroy(NULL), PEL_OK);
    launches_end(&l);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        launches_begin(&l, "hcd");
        pel_program *program = program_of("__kernel void k() { printf(\"\"); }");
        l.fake.drivers[1].kernel_status = PEL_UNSUPPORTED;
        const pel_param param = PEL_PARAM_POINTER(PEL_READ_WRITE);
        pel_kernel_desc desc = host_desc(&param, 1);
        desc.entry = "k";
        l.fake.memory.fail_from = l.fake.memory.calls + n;
        l.fake.memory.for_ever = n % 2 == 1;
        pel_kernel *kernel = NULL;
        pel_error *error = NULL;
        pel_status status = pel_kernel_create(program, &desc, &kernel, &error);
        bool reached = l.fake.memory.calls >= l.fake.memory.fail_from;
        if (status == PEL_OK) { /* only the words of an error may have been lost */
            assert_non_null(kernel->single);
            assert_non_null(kernel->not_on[1]);
        } else {
            assert_true(reached);
            assert_int_equal(status, PEL_OUT_OF_MEMORY);
            assert_non_null(error);
        }
        pel_error_destroy(error);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        assert_int_equal(pel_program_destroy(program), PEL_OK);
        launches_end(&l);
        if (!reached) {
            assert_true(n > 8);
            return;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_descriptors),
        cmocka_unit_test(test_wrong_declarations),
        cmocka_unit_test(test_reasons_never_to_split),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
