/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments meet kernel and files: declarations and shapes that come out, and each mismatch explained with both sides. */
#include "cli/image.h"
#include "cli/npy.h"
#include "cli/run.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    pel_signatures signatures;
    pel_run run;
    char message[PEL_MESSAGE_BYTES];
    bool good;
} fixture;

static void free_fixture(fixture *f) {
    for (uint32_t i = 0; i < f->run.argument_count; i++)
        pel_run_argument_free(&f->run.arguments[i]);
    free(f->run.arguments);
    pel_signatures_free(&f->signatures);
}

/* Resolves the first kernel of `source` with arguments; '@' in an argument stands for the scratch directory. */
static fixture resolve(const char *source, uint64_t x, uint64_t y, uint64_t local, const char *const *arguments) {
    fixture f = {.run = {.path = "test.cl", .range = {x, y, 0}, .local = {local, local && y ? 1 : 0, 0}, .dims = y ? 2 : 1}};
    assert_true(pel_signatures_read(source, strlen(source), NULL, 0, &f.signatures, f.message));
    f.run.kernel = &f.signatures.kernels[0];
    f.run.arguments = calloc(16, sizeof *f.run.arguments);
    for (; *arguments; arguments++) {
        char text[1024];
        const char *at = strchr(*arguments, '@');
        if (at)
            snprintf(text, sizeof text, "%.*s%s", (int)(at - *arguments), *arguments, scratch_path(at + 1));
        else
            snprintf(text, sizeof text, "%s", *arguments);
        if (!pel_run_read_argument(text, &f.run.arguments[f.run.argument_count++], f.message))
            fail_msg("%s", f.message);
    }
    f.good = pel_run_resolve(&f.run, f.message);
    return f;
}

#define RESOLVE(source, x, y, local, ...) resolve(source, x, y, local, (const char *const[]){__VA_ARGS__, NULL})

static void make_npy(const char *name, const char *type, uint32_t dims, const uint64_t *shape) {
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    assert_true(pel_array_create(&array, pel_cell_find(type, strlen(type)), dims, shape, message));
    FILE *file = fopen(scratch_path(name), "wb");
    assert_true(pel_npy_write(file, &array));
    fclose(file);
    pel_array_free(&array);
}

static void make_png(const char *name, uint64_t height, uint64_t width, uint64_t channels) {
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    const uint64_t shape[3] = {height, width, channels};
    uint64_t odd;
    assert_true(pel_array_create(&array, pel_cell_find("uchar", 5), 3, shape, message));
    FILE *file = fopen(scratch_path(name), "wb");
    assert_true(pel_image_write(file, &array, 0, &odd));
    fclose(file);
    pel_array_free(&array);
}

static int set_up(void **state) {
    int status = scratch_set_up(state);
    make_npy("f100.npy", "float", 1, (const uint64_t[]){100});
    make_npy("d100.npy", "double", 1, (const uint64_t[]){100});
    make_npy("f6x4.npy", "float", 2, (const uint64_t[]){4, 6});
    make_npy("f6x4x3.npy", "float", 3, (const uint64_t[]){4, 6, 3});
    make_npy("c256.npy", "uint", 1, (const uint64_t[]){256});
    make_png("rgb.png", 4, 6, 3);
    make_png("gray.png", 4, 6, 1);
    return status;
}

#define BLUR "kernel void blur(global const uchar4 *in, global uchar4 *out, int r) {}"
#define SAXPY "kernel void saxpy(float a, global const float *x, global float *y) {}"
#define ONE(type) "kernel void f(global const " type " *in) {}"

static void resolves_the_example(void **state) {
    (void)state;
    fixture f = RESOLVE(BLUR, 6, 4, 0, "r=2", "in=@rgb.png:read:block:halo=2", "out=@out.png:write:block");
    if (!f.good)
        fail_msg("%s", f.message);
    const pel_run_argument *in = &f.run.arguments[0], *out = &f.run.arguments[1], *r = &f.run.arguments[2];
    assert_int_equal(in->declaration.kind, PEL_PARAM_KIND_BLOCK);
    assert_int_equal(in->declaration.mode, PEL_READ);
    assert_int_equal(in->declaration.pitch, 24);
    assert_int_equal(in->declaration.halo_lo, 2);
    assert_int_equal(out->declaration.pitch, 24);
    assert_int_equal(out->array.bytes, 96);
    assert_int_equal(out->array.dims, 3);
    assert_int_equal(r->declaration.bytes, 4);
    assert_int_equal(*(const int *)(const void *)r->value_bytes, 2);
    free_fixture(&f);
}

static void finds_shapes_of_outputs(void **state) {
    (void)state;
    fixture f = RESOLVE(SAXPY, 100, 0, 0, "a=2", "x=@f100.npy:elementwise", "y=@y.npy:write:elementwise");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[2].array.shape[0], 100);
    free_fixture(&f);
    f = RESOLVE(SAXPY, 100, 0, 0, "a=2", "x=@f100.npy:elementwise", "y=@y.npy:write:elementwise=3/2");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[2].array.shape[0], 150);
    free_fixture(&f);
    f = RESOLVE(SAXPY, 24, 0, 0, "a=2", "x=@f6x4.npy:whole", "y=@y.npy:write:like=x");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[2].array.shape[0], 4);
    assert_int_equal(f.run.arguments[2].array.shape[1], 6);
    assert_int_equal(f.run.arguments[2].declaration.kind, PEL_PARAM_KIND_POINTER);
    free_fixture(&f);
    f = RESOLVE("kernel void f(global float3 *o) {}", 6, 4, 0, "o=@o.npy:write:elementwise");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].array.bytes, 6 * 4 * 16);
    assert_int_equal(f.run.arguments[0].declaration.bytes, 16);
    free_fixture(&f);
    f = RESOLVE("kernel void f(global float *o, local float *t) {}", 100, 0, 25, "o=@o.npy:write:pergroup=2:op=sum",
                "t=local:count=25");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].array.shape[0], 8);
    assert_int_equal(f.run.arguments[0].declaration.num, 2);
    assert_int_equal(f.run.arguments[1].value_size, 100);
    free_fixture(&f);
    f = RESOLVE("kernel void f(global uint *h) {}", 100, 0, 0, "h=@h.npy:write:reduce=min:shape=256");
    assert_true(f.good);
    assert_int_equal(((uint32_t *)f.run.arguments[0].array.data)[255], UINT32_MAX); /* starts at the identity */
    free_fixture(&f);
}

static void reads_files_for_the_kernel(void **state) {
    (void)state;
    fixture f = RESOLVE(ONE("float3"), 6, 4, 0, "in=@f6x4x3.npy:elementwise");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].array.shape[2], 4);
    free_fixture(&f);
    f = RESOLVE(ONE("float"), 6, 4, 0, "in=@f6x4x3.npy:elementwise:channels=3");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].declaration.bytes, 12);
    free_fixture(&f);
    f = RESOLVE(ONE("float"), 6, 4, 0, "in=@rgb.png:channels=1");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].array.dims, 2);
    free_fixture(&f);
    f = RESOLVE(ONE("struct rgb"), 6, 4, 0, "in=@rgb.png:type=uchar:channels=3:block");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].declaration.pitch, 18);
    free_fixture(&f);
    f = RESOLVE("kernel void f(float4 v, uchar2 w, half h) {}", 1, 0, 0, "v=1,2,3,4", "w=7", "h=0.5");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[0].value_size, 16);
    assert_int_equal(f.run.arguments[1].value_bytes[1], 7);
    free_fixture(&f);
    f = RESOLVE("kernel void f(int w, global const float *in) {}", 6, 4, 0, "in=@f6x4.npy:block:pitch=w", "w=6");
    assert_true(f.good);
    assert_int_equal(f.run.arguments[1].declaration.pitch_argument, 1);
    free_fixture(&f);
}

static void expect(const char *source, uint64_t x, uint64_t y, const char *const *arguments, const char *const *parts) {
    fixture f = resolve(source, x, y, 0, arguments);
    if (f.good)
        fail_msg("accepted: %s with %s", source, arguments[0]);
    for (; *parts; parts++)
        if (!strstr(f.message, *parts))
            fail_msg("%s with %s: '%s' is not in '%s'", source, arguments[0], *parts, f.message);
    free_fixture(&f);
}

#define ARGS(...)                                                                                                                \
    (const char *const[]) {                                                                                                      \
        __VA_ARGS__, NULL                                                                                                        \
    }

static void explains_mismatches(void **state) {
    (void)state;
    expect(SAXPY, 100, 0, ARGS("a=2"), ARGS("still needs", "x", "global const float *x", "1 more"));
    expect(SAXPY, 100, 0, ARGS("b=2"), ARGS("no parameter 'b'"));
    expect(ONE("float"), 100, 0, ARGS("inn=2"), ARGS("no parameter 'inn'", "did you mean 'in'"));
    expect(SAXPY, 100, 0, ARGS("a=2", "a=3"), ARGS("argument a is given twice"));
    expect(SAXPY, 100, 0, ARGS("a=two", "x=@f100.npy", "y=@y.npy:write"), ARGS("argument a", "'two'"));
    expect(SAXPY, 100, 0, ARGS("a=2:read", "x=@f100.npy", "y=@y.npy:write"), ARGS("argument a", "plain value"));
    expect(SAXPY, 100, 0, ARGS("a=1,2", "x=@f100.npy", "y=@y.npy:write"), ARGS("takes 1 number"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@d100.npy", "y=@y.npy:write"),
           ARGS("argument x", "100 double", "global const float *x", "astype('float32')"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@absent.npy", "y=@y.npy:write"), ARGS("absent.npy", "No such file"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy:write", "y=@y.npy:write"), ARGS("argument x", "cannot write"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy", "y=@y.npy"), ARGS("argument y", "may be read or written"));
    expect(SAXPY, 101, 0, ARGS("a=2", "x=@f100.npy:elementwise", "y=@y.npy:write"), ARGS("100 float", "range 101", "needs 101"));
    expect(SAXPY, 5, 4, ARGS("a=2", "x=@f6x4.npy:elementwise", "y=@y.npy:write"), ARGS("rows do not line up"));
    expect(SAXPY, 6, 5, ARGS("a=2", "x=@f6x4.npy:block", "y=@y.npy:write"), ARGS("6x4 float", "5 rows of 24 bytes"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy:block:pitch=q", "y=@y.npy:write"), ARGS("pitch=q"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy:block:pitch=a", "y=@y.npy:write"), ARGS("pitch=a", "whole number"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy", "y=@y.png:write"), ARGS("y.png", "cannot be a PNG"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy", "y=@y.npy:write:like=z"), ARGS("like=z"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy", "y=@y.npy:write:pergroup"), ARGS("--local"));
    expect(SAXPY, 100, 0, ARGS("a=2", "x=@f100.npy", "y=@y.npy:write:reduce=sum:shape=1"), ARGS("depends on its order"));
    expect(SAXPY, 1ull << 62, 0, ARGS("a=2", "x=@f100.npy:whole", "y=@y.npy:write"), ARGS("argument y", "64 bits"));
    expect(ONE("float"), 6, 4, ARGS("in=@rgb.png:read"), ARGS("6x4 RGB, 8 bit", "global const float *in", "channels=1"));
    expect(ONE("int"), 6, 4, ARGS("in=@gray.png:read"), ARGS("not int"));
    expect(ONE("float8"), 6, 4, ARGS("in=@rgb.png:read"), ARGS("float8"));
    expect(ONE("float4"), 6, 4, ARGS("in=@f6x4x3.npy:read"), ARGS("must be 4, not 3"));
    expect(ONE("float"), 6, 4, ARGS("in=@f6x4.npy:type=double"), ARGS("type=double", "float"));
    expect(ONE("float"), 6, 4, ARGS("in=@f6x4.npy:shape=4x6"), ARGS("not the shape"));
    expect(ONE("struct p"), 6, 4, ARGS("in=@f6x4.raw"), ARGS("'p' is not known", "type="));
    expect("kernel void f(sampler_t s) {}", 1, 0, ARGS("s=1"), ARGS("cannot supply"));
    expect("kernel void f(local int *t) {}", 1, 0, ARGS("t=5"), ARGS("t=local:count=ELEMENTS"));
    expect("kernel void f(local int *t) {}", 1, 0, ARGS("t=local"), ARGS("needs a size"));
    expect("kernel void f(uchar u) {}", 1, 0, ARGS("u=300"), ARGS("argument u", "300", "uchar"));
}

/* Undeclared arrays with fewer elements than items are refused; `whole`, or constant memory, says that it is meant. */
static void refuses_ranges_beyond_undeclared_arrays(void **state) {
    (void)state;
    expect(SAXPY, 101, 0, ARGS("a=2", "x=@f100.npy", "y=@y.npy:write"),
           ARGS("argument x", "holds 100 float, 100 elements", "range 101 touches 101", "x=...:whole"));
    expect(SAXPY, 101, 0, ARGS("a=2", "x=@f100.npy:elementwise=1/2", "y=@y.npy:write:shape=7"),
           ARGS("argument y", "touches 101"));
    expect(ONE("float"), 7, 4, ARGS("in=@f6x4.npy"), ARGS("holds 6x4 float, 24 elements", "range 7x4 touches 28"));
    expect(ONE("uchar4"), 5, 5, ARGS("in=@rgb.png"), ARGS("24 elements", "touches 25"));
    fixture f = RESOLVE(SAXPY, 101, 0, 0, "a=2", "x=@f100.npy:whole", "y=@y.npy:write");
    assert_true(f.good);
    free_fixture(&f);
    f = RESOLVE("kernel void f(constant float *table, global float *o) {}", 101, 0, 0, "table=@f100.npy", "o=@o.npy:write");
    assert_true(f.good);
    assert_true(pel_run_is_short(&f.run, &f.run.arguments[0]));
    assert_false(pel_run_is_short(&f.run, &f.run.arguments[1]));
    f.run.offset[0] = 1; /* ids reach one further */
    assert_true(pel_run_is_short(&f.run, &f.run.arguments[1]));
    f.run.offset[0] = UINT64_MAX;
    assert_true(pel_run_is_short(&f.run, &f.run.arguments[1]));
    free_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolves_the_example),
        cmocka_unit_test(finds_shapes_of_outputs),
        cmocka_unit_test(reads_files_for_the_kernel),
        cmocka_unit_test(explains_mismatches),
        cmocka_unit_test(refuses_ranges_beyond_undeclared_arrays),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
