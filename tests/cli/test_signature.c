/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernels and parameters read from sources as people write them, and from sources that nobody should. */
#include "cli/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pel_signatures read_all(const char *source, const char *define) {
    pel_signatures signatures;
    char message[PEL_MESSAGE_BYTES];
    assert_true(pel_signatures_read(source, strlen(source), &define, define != NULL, &signatures, message));
    return signatures;
}

static void reads_common_forms(void **state) {
    (void)state;
    pel_signatures s = read_all("/* kernel void no(int a); */ // __kernel void nor(int b)\n"
                                "__attribute__((reqd_work_group_size(64, 1, 1)))\n"
                                "__kernel __attribute__((vec_type_hint(float4))) void saxpy(__global const float *restrict x,\n"
                                "    float const *  __global y, const float a, global float4* out, uint n, local int tmp[],\n"
                                "    constant unsigned short *table, unsigned int k, float const global * const cp)\n"
                                "{ if (a > 0) { y[0] = 1; } }\n"
                                "kernel void nothing(void) {}\nvoid kernel nil();\nkernel void empty() { }",
                                NULL);
    assert_int_equal(s.count, 3);
    const pel_signature *k = pel_signatures_find(&s, "saxpy");
    assert_non_null(k);
    assert_int_equal(k->count, 9);
    static const struct {
        const char *name;
        int space;
        int read_only;
        const char *cell;
        unsigned width;
    } expect[] = {
        {"x", PEL_SPACE_GLOBAL, 1, "float", 1},        {"y", PEL_SPACE_GLOBAL, 1, "float", 1},
        {"a", PEL_SPACE_VALUE, 1, "float", 1},         {"out", PEL_SPACE_GLOBAL, 0, "float", 4},
        {"n", PEL_SPACE_VALUE, 0, "uint", 1},          {"tmp", PEL_SPACE_LOCAL, 0, "int", 1},
        {"table", PEL_SPACE_CONSTANT, 1, "ushort", 1}, {"k", PEL_SPACE_VALUE, 0, "uint", 1},
        {"cp", PEL_SPACE_GLOBAL, 1, "float", 1},
    };
    for (uint32_t i = 0; i < k->count; i++) {
        assert_string_equal(k->parameters[i].name, expect[i].name);
        assert_int_equal(k->parameters[i].space, expect[i].space);
        if (expect[i].space != PEL_SPACE_VALUE)
            assert_int_equal(k->parameters[i].read_only, expect[i].read_only);
        assert_non_null(k->parameters[i].element.cell);
        assert_string_equal(k->parameters[i].element.cell->name, expect[i].cell);
        assert_int_equal(k->parameters[i].element.width, expect[i].width);
    }
    assert_string_equal(k->parameters[0].text, "__global const float *restrict x");
    assert_int_equal(pel_signatures_find(&s, "nothing")->count, 0);
    assert_int_equal(pel_signatures_find(&s, "empty")->count, 0);
    assert_null(pel_signatures_find(&s, "no"));
    pel_signatures_free(&s);
}

static void follows_macros_and_typedefs(void **state) {
    (void)state;
    const char *source =
        "#define KERNEL __kernel\n#define REAL float\ntypedef REAL real;\ntypedef real real_again;\ntypedef float4 vec;\n"
        "#define LONG \\\n  unsigned long\n"
        "KERNEL void f(global real_again *a, global vec *b, LONG c, T d) {}\n";
    pel_signatures s = read_all(source, "T=double");
    const pel_signature *f = pel_signatures_find(&s, "f");
    assert_non_null(f);
    assert_string_equal(f->parameters[0].element.cell->name, "float");
    assert_int_equal(f->parameters[1].element.width, 4);
    assert_string_equal(f->parameters[2].element.cell->name, "ulong");
    assert_string_equal(f->parameters[3].element.cell->name, "double");
    pel_signatures_free(&s);
    s = read_all(source, NULL);
    assert_null(pel_signatures_find(&s, "f")->parameters[3].element.cell);
    pel_signatures_free(&s);
}

static void obeys_conditions(void **state) {
    (void)state;
    const char *source = "#ifdef WIDE\nkernel void f(global double *x) {}\n#else\nkernel void f(global float *x) {}\n#endif\n"
                         "#if 0\nkernel void g(int a) {}\n#endif\n#if defined(WIDE) \nkernel void h(int a) {}\n#endif\n"
                         "#if !defined WIDE\nkernel void i(int a) {}\n#endif\n";
    pel_signatures s = read_all(source, "WIDE");
    assert_string_equal(pel_signatures_find(&s, "f")->parameters[0].element.cell->name, "double");
    assert_false(pel_signatures_find(&s, "f")->ambiguous);
    assert_null(pel_signatures_find(&s, "g"));
    assert_non_null(pel_signatures_find(&s, "h"));
    assert_null(pel_signatures_find(&s, "i"));
    pel_signatures_free(&s);
    s = read_all(source, NULL);
    assert_string_equal(pel_signatures_find(&s, "f")->parameters[0].element.cell->name, "float");
    assert_null(pel_signatures_find(&s, "h"));
    assert_non_null(pel_signatures_find(&s, "i"));
    pel_signatures_free(&s);
    s = read_all("#if __OPENCL_VERSION__ >= 200\nkernel void f(int a) {}\n#else\nkernel void f(float a) {}\n#endif\n", NULL);
    assert_true(pel_signatures_find(&s, "f")->ambiguous);
    pel_signatures_free(&s);
    s = read_all("#ifdef cl_khr_fp64\n#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n#endif\n"
                 "kernel void f(int a);\nkernel void f(int a) {}",
                 NULL);
    assert_int_equal(s.count, 1);
    assert_false(s.kernels[0].ambiguous);
    pel_signatures_free(&s);
}

/* As compilers do: blanks behind a splice, digraphs, a quote that its line leaves open, bytes beyond ASCII, a NUL in a
 * comment. */
static void reads_words_like_a_compiler(void **state) {
    (void)state;
    static const char source[] =
        "%:define REAL fl\\ \t\noat\n#if 0\n#error don't\n#endif\n// a\0b\nkernel void f(global REAL *gr\xc3\xb6\xc3\x9f"
        "e) {}\n";
    pel_signatures s;
    char message[PEL_MESSAGE_BYTES];
    assert_true(pel_signatures_read(source, sizeof source - 1, NULL, 0, &s, message));
    const pel_signature *f = pel_signatures_find(&s, "f");
    assert_non_null(f);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->parameters[0].element.cell->name, "float");
    assert_string_equal(f->parameters[0].name, "gr\xc3\xb6\xc3\x9f" "e");
    pel_signatures_free(&s);
}

static void marks_what_it_cannot_supply(void **state) {
    (void)state;
    pel_signatures s =
        read_all("struct particle { float4 p; };\n"
                 "kernel void f(read_only image2d_t image, sampler_t s, global struct particle *p, global float **pp, "
                 "float *bare, struct particle one, global foo_t *q) {}",
                 NULL);
    const pel_signature *f = pel_signatures_find(&s, "f");
    assert_non_null(f);
    assert_int_equal(f->count, 7);
    assert_int_equal(f->parameters[0].space, PEL_SPACE_OTHER);
    assert_int_equal(f->parameters[1].space, PEL_SPACE_OTHER);
    assert_int_equal(f->parameters[2].space, PEL_SPACE_GLOBAL);
    assert_null(f->parameters[2].element.cell);
    assert_string_equal(f->parameters[2].type_name, "particle");
    assert_int_equal(f->parameters[3].space, PEL_SPACE_OTHER);
    assert_int_equal(f->parameters[4].space, PEL_SPACE_OTHER);
    assert_int_equal(f->parameters[5].space, PEL_SPACE_VALUE);
    assert_null(f->parameters[6].element.cell);
    pel_signatures_free(&s);
}

/* Broken and hostile text ends in an answer, never in a crash or a long wait. */
static void survives_anything(void **state) {
    (void)state;
    static const char *const sources[] = {
        "kernel",
        "kernel void",
        "kernel void f",
        "kernel void f(",
        "kernel void f(int",
        "kernel void f(int a",
        "kernel void f(,)",
        "kernel void f(int a,) {}",
        "kernel void f([) {}",
        "kernel void f(int a[) {}",
        "/*",
        "\"",
        "'",
        "\\",
        "#",
        "#define",
        "#define X",
        "#if",
        "#else\n#endif\n#endif",
        "#undef",
        "__attribute__",
        "kernel __attribute__((",
        "typedef",
        "typedef float",
        "kernel void f(global) {}",
        "#define a b\n#define b a\na kernel void f(a b) {}",
        "/* * / */ kernel void f(int /* a */ b /* c */) {}",
        "kernel void f(int a) // \\\n {}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        pel_signatures s = read_all(sources[i], NULL);
        pel_signatures_free(&s);
    }
    char *bomb = malloc(8192), message[PEL_MESSAGE_BYTES];
    size_t used = (size_t)sprintf(bomb, "#define m0 x x x x x x x x x x\n");
    for (int i = 1; i < 12; i++)
        used += (size_t)sprintf(bomb + used, "#define m%d m%d m%d m%d m%d m%d m%d m%d m%d\n", i, i - 1, i - 1, i - 1, i - 1,
                                i - 1, i - 1, i - 1, i - 1);
    used += (size_t)sprintf(bomb + used, "m11\n");
    pel_signatures s;
    assert_false(pel_signatures_read(bomb, used, NULL, 0, &s, message));
    assert_non_null(strstr(message, "too long"));
    used = (size_t)sprintf(bomb, "#define m0\n"); /* the same, of nothing */
    for (int i = 1; i < 14; i++)
        used += (size_t)sprintf(bomb + used, "#define m%d m%d m%d m%d m%d m%d m%d m%d m%d\n", i, i - 1, i - 1, i - 1, i - 1,
                                i - 1, i - 1, i - 1, i - 1);
    used += (size_t)sprintf(bomb + used, "m13\n");
    assert_false(pel_signatures_read(bomb, used, NULL, 0, &s, message));
    assert_non_null(strstr(message, "too long"));
    free(bomb);
    unsigned seed = 2026;
    printf("seed %u\n", seed);
    const char *words[] = {"kernel ", "void ", "f",        "(",        ")", "global ",       "float ",   "*",     "a",
                           ",",       "[",     "]",        "{",        "}", "#if ",          "#endif\n", "\n",    "/*",
                           "*/",      "\"",    "#define ", "typedef ", ";", "__attribute__", "\\\n",     "const "};
    for (int round = 0; round < 20000; round++) {
        char text[512] = "";
        size_t length = 0;
        for (int i = 0; i < 24; i++) {
            seed = seed * 1664525u + 1013904223u;
            length += (size_t)sprintf(text + length, "%s", words[(seed >> 16) % (sizeof words / sizeof words[0])]);
        }
        if (pel_signatures_read(text, length, NULL, 0, &s, message))
            pel_signatures_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_common_forms),
        cmocka_unit_test(follows_macros_and_typedefs),
        cmocka_unit_test(obeys_conditions),
        cmocka_unit_test(reads_words_like_a_compiler),
        cmocka_unit_test(marks_what_it_cannot_supply),
        cmocka_unit_test(survives_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
