/* SPDX-License-Identifier: BSD-3-Clause */
/* What the scan says about tricky sources: alarms where the contract ends, silence where it holds. */
#include "kernel/kernel.h"
#include "kernel/source.h"
#include "support/fake_runtime.h"
#include "support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define KERNEL "__kernel void k(__global float *x) { x[get_global_id(0)] = 1.0f; }\n"

typedef struct example {
    const char *source;
    const char *reason; /* a part of it; NULL: nothing is wrong */
    bool plain_only, atomics;
} example;

static const example examples[] = {
    {KERNEL, NULL, false, false},
    {"", NULL, false, false},
    /* printf and its look-alikes */
    {"__kernel void k() { printf(\"x\"); }", "it prints", false, false},
    {"__kernel void k() { /* printf(\"x\") */ } // printf", NULL, false, false},
    {"__kernel void k() { printf_like(\"printf\"); int my_printf = 0; }", NULL, false, false},
    {"#define printf_like(x) x\n" KERNEL, NULL, false, false},
    {"#define SAY printf\n" KERNEL, "it prints", false, false},
    {"__kernel void k() { pri\\\nntf(\"x\"); }", "it prints", false, false},
    {"__kernel void k() { pri\\  \r\nntf(\"x\"); }", "it prints", false, false},
    {"// a comment that goes on \\\n printf(\"still comment\");\n" KERNEL, NULL, false, false},
    {"__kernel void k() { char c = '\"'; /* \" */ printf(\"\"); }", "it prints", false, false},
    {"__kernel void k() { char *s = \"\\\"// no comment\"; printf(s); }", "it prints", false, false},
    {"__kernel void k() { /* unterminated printf(1);", NULL, false, false},
    {"#define JOIN(a, b) a##b\n__kernel void k() { JOIN(pri, ntf)(\"x\"); }", "it prints", false, false},
    {"#define JOIN(a, b) a##b\n__kernel void k(int p, int r, int i, int n, int t, int f) { JOIN(convert_, int4); }", NULL, false,
     false},
    {"#define OP(x) atom##x\n__kernel void k() { OP(ic_add)(0, 1); }", NULL, false, true},
    /* the ids themselves */
    {"#undef get_global_id\n" KERNEL, "a directive names an id function (get_global_id)", true, false},
    {"  #  /* c */ undef /* c */ get_group_id\n" KERNEL, "a directive names an id function (get_group_id)", true, false},
    {"%:undef get_global_id\n" KERNEL, "a directive names", true, false},
    {"#und\\\nef get_global_id\n" KERNEL, "a directive names", true, false},
    {"#define get_global_id(d) 0\n" KERNEL, "defines a macro with the name of an id function", true, false},
    {"#ifdef get_global_size\n#endif\n" KERNEL, "a directive names", true, false},
    {"#if defined(get_global_size)\n#endif\n" KERNEL, "a directive names", true, false},
    {"#define ID get_global_id(0)\n#define N(d) get_global_size(d)\n" KERNEL, NULL, false, false},
    {"#define get_global_identity 1\n" KERNEL, NULL, false, false},
    {"size_t get_global_id(uint d);\n" KERNEL, "declares an id function itself", true, false},
    {"size_t __attribute__((overloadable)) get_global_id(uint d);\n" KERNEL, "declares an id function itself", true, false},
    {"__kernel void k() { size_t get_global_id = 3; }", "declares an id function itself", true, false},
    {"size_t helper(void) { return get_global_id(0); }\n"
     "size_t h2(int a) { if (a) return 0; else get_global_id(1); return sizeof get_work_dim(); }",
     NULL, false, false},
    {"#pragma push_macro(\"get_global_id\")\n" KERNEL, "saves and restores macros", true, false},
    {"_Pragma(\"pop_macro(\\\"get_global_id\\\")\")\n" KERNEL, "saves and restores macros", true, false},
    {"#pragma unroll 4\n" KERNEL, NULL, false, false},
    {"ulong _Z13get_global_idj(uint);\n" KERNEL, "compiler's internal functions", true, false},
    {"\?\?=undef get_global_id\n" KERNEL, "trigraphs", true, false},
    {"__kernel void k(int a) { int b = a ?\?-1 : 2; }", "trigraphs", true, false},
    /* effects of other kinds */
    {"__kernel void k(__read_only pipe int p) { }", "it uses pipes", false, false},
    {"__kernel void k() { work_group_reserve_read_pipe(p, 1); }", "it uses pipes", false, false},
    {"__kernel void k() { enqueue_kernel(get_default_queue(), 0, r, ^{ }); }", "it launches kernels itself", false, false},
    {"__kernel void k() { asm(\"nop\"); }", "it contains assembly", false, false},
    {"template <typename T> void f(T t) { }", "it is not OpenCL C", false, false},
    {"__kernel void k(__global int *c) { atomic_inc(c); }", NULL, false, true},
    {"__kernel void k(__global int *c) { atom_add(c, 1); }", NULL, false, true},
    {"__kernel void k(__global atomic_int *c) { }", NULL, false, true},
    {"// atomic_inc\n" KERNEL, NULL, false, false},
    /* variables of the program */
    {"__global int counter;\n" KERNEL, "variables of its own", false, false},
    {"global int counter = 0;\n" KERNEL, "variables of its own", false, false},
    {"int counter;\n" KERNEL, "variables of its own", false, false},
    {"int table[4] = {1, 2, 3, 4};\n" KERNEL, "variables of its own", false, false},
    {"struct s { int a; } s;\n" KERNEL, "variables of its own", false, false},
    {"struct s { int a; } __attribute__((packed)) s;\n" KERNEL, "variables of its own", false, false},
    {"__attribute__((aligned(16))) int counter;\n" KERNEL, "variables of its own", false, false},
    {"__kernel void k() { static int n; }", "static variables", false, false},
    {"__kernel void k(__global int *c) { c[get_global_id(0) - get_global_offset(0)] = 1; }", NULL, false, false},
    {"__constant float pi = 3.14f;\nconstant int t[] = {1, 2};\nconst int c = 4;\n" KERNEL, NULL, false, false},
    {"__constant sampler_t s = CLK_FILTER_NEAREST;\n" KERNEL, NULL, false, false},
    {"typedef __global float *pointer;\ntypedef struct { float x, y; } point;\n" KERNEL, NULL, false, false},
    {"struct point { float x, y; };\nstruct point;\nunion u { int a; float b; };\nenum e { A = 1, B };\n" KERNEL, NULL, false,
     false},
    {"struct point { float x, y; } __attribute__((packed));\n" KERNEL, NULL, false, false},
    {"float f(float x);\nstatic inline float g(float x) { return x; }\n"
     "__global float *h(__global float *p) { return p; }\n" KERNEL,
     NULL, false, false},
    {"MACRO(float);\nDECLARE;\n" KERNEL, NULL, false, false},
    {"#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n" KERNEL, NULL, false, false},
    {"__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void k() { for (int i = 0; i < 4; i++) { int a = i ^ 3; } }", NULL,
     false, false},
    /* pointers in structs */
    {"struct list { __global struct list *next; };\n" KERNEL, "pointers in structs", false, false},
    {"typedef struct { float *data; } view;\n" KERNEL, "pointers in structs", false, false},
    {"struct a { int x[2]; };\nint f(int a, int b) { struct a s; return a * b; }\n" KERNEL, NULL, false, false},
};

static void test_examples(void **state) {
    (void)state;
    fake_allocator memory;
    fake_allocator_init(&memory);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const example *e = &examples[i];
        pel_scan scan;
        assert_int_equal(pel_scan_source(&memory.allocator, e->source, strlen(e->source), &scan), PEL_OK);
        bool right = e->reason ? scan.unsafe && strstr(scan.unsafe, e->reason) : !scan.unsafe;
        if (!right || scan.plain_only != e->plain_only || scan.uses_atomics != e->atomics) {
            print_error("source <%s>: \"%s\" plain_only %d atomics %d\n", e->source, scan.unsafe ? scan.unsafe : "",
                        scan.plain_only, scan.uses_atomics);
        }
        assert_true(right);
        assert_int_equal(scan.plain_only, e->plain_only);
        assert_int_equal(scan.uses_atomics, e->atomics);
        assert_int_equal(scan.knows_offset, strstr(e->source, "get_global_offset") != NULL);
        pel_free(&memory.allocator, scan.unsafe);
    }
    assert_int_equal(memory.live, 0);
}

/* Files that are joined do not disturb each other's nesting. */
static void test_joined_files(void **state) {
    (void)state;
    fake_allocator memory;
    fake_allocator_init(&memory);
    const char text[] = "__kernel void k() { if (1) {\n\x01int counter;\n";
    pel_scan scan;
    assert_int_equal(pel_scan_source(&memory.allocator, text, sizeof text - 1, &scan), PEL_OK);
    assert_non_null(scan.unsafe);
    pel_free(&memory.allocator, scan.unsafe);
    assert_int_equal(memory.live, 0);
}

static void test_tokens(void **state) {
    (void)state;
    fake_allocator memory;
    fake_allocator_init(&memory);
    const char source[] = "#define a/**/b 1.5e3f ## 'x' \"s\\\"t\" %:%: c // end\n # x";
    const struct {
        pel_token_kind kind;
        const char *text;
    } expected[] = {
        {PEL_TOKEN_HASH, "#"},        {PEL_TOKEN_WORD, "define"}, {PEL_TOKEN_WORD, "a"},     {PEL_TOKEN_WORD, "b"},
        {PEL_TOKEN_NUMBER, "1.5e3f"}, {PEL_TOKEN_PASTE, "##"},    {PEL_TOKEN_STRING, "'x'"}, {PEL_TOKEN_STRING, "\"s\\\"t\""},
        {PEL_TOKEN_PASTE, "%:%:"},    {PEL_TOKEN_WORD, "c"},      {PEL_TOKEN_NEWLINE, "\n"}, {PEL_TOKEN_HASH, "#"},
        {PEL_TOKEN_WORD, "x"},        {PEL_TOKEN_END, ""}};
    size_t length;
    char *clean = pel_source_clean(&memory.allocator, source, sizeof source - 1, &length);
    pel_tokens tokens;
    pel_tokens_begin(&tokens, clean, length);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        pel_token token = pel_tokens_next(&tokens);
        assert_int_equal(token.kind, expected[i].kind);
        assert_true(pel_token_is(&token, expected[i].text));
    }
    pel_free(&memory.allocator, clean);
    assert_int_equal(memory.live, 0);
}

/* Random text over the characters that matter: no crash, no overrun (sanitizers watch), every block given back. */
static void test_random_text(void **state) {
    (void)state;
    static const char *const pieces[] = {"/*",
                                         "*/",
                                         "//",
                                         "\"",
                                         "'",
                                         "\\",
                                         "\n",
                                         "#",
                                         "##",
                                         "%:",
                                         "{",
                                         "}",
                                         "(",
                                         ")",
                                         ";",
                                         "=",
                                         "*",
                                         "struct ",
                                         "printf",
                                         "get_global_id",
                                         "define ",
                                         "undef ",
                                         "__attribute__",
                                         "static ",
                                         "\x01",
                                         "\xff",
                                         " ",
                                         "a",
                                         "1.",
                                         "\?\?/"};
    fake_allocator memory;
    fake_allocator_init(&memory);
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        uint64_t random = seed;
        char text[200];
        size_t length = 0, count = test_random(&random) % 30;
        for (size_t i = 0; i < count && length < 150; i++) {
            const char *piece = pieces[test_random(&random) % (sizeof pieces / sizeof *pieces)];
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        char *exact = pel_alloc(&memory.allocator, length + (length == 0));
        memcpy(exact, text, length);
        pel_scan scan;
        assert_int_equal(pel_scan_source(&memory.allocator, exact, length, &scan), PEL_OK);
        assert_true(!scan.plain_only || scan.unsafe);
        pel_free(&memory.allocator, scan.unsafe);
        pel_free(&memory.allocator, exact);
    }
    assert_int_equal(memory.live, 0);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    const char source[] = "#undef get_global_id\nint printf(int);";
    for (uint64_t n = 1;; n++) {
        fake_allocator memory;
        fake_allocator_init(&memory);
        memory.fail_from = n;
        pel_scan scan;
        pel_status status = pel_scan_source(&memory.allocator, source, sizeof source - 1, &scan);
        bool reached = memory.calls >= n;
        assert_int_equal(status, reached ? PEL_OUT_OF_MEMORY : PEL_OK);
        if (reached) {
            assert_null(scan.unsafe);
        }
        pel_free(&memory.allocator, scan.unsafe);
        assert_int_equal(memory.live, 0);
        if (!reached) {
            assert_true(n > 2);
            return;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples), cmocka_unit_test(test_joined_files),
                                       cmocka_unit_test(test_tokens), cmocka_unit_test(test_random_text),
                                       cmocka_unit_test(test_every_failing_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
