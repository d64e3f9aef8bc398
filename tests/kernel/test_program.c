/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs: descriptors that are refused, options, includes and the digest, devices that do not build, every failing
 * allocation.
 */
#include "kernel/kernel.h"
#include "support/fake_runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define SOURCE "__kernel void k(__global float *x) { x[get_global_id(0)] = 1.0f; }\n"

static fake_runtime fake;

static pel_program *create(const pel_program_desc *desc) {
    pel_program *program = NULL;
    pel_error *error = NULL;
    if (pel_program_create(&fake.runtime, desc, &program, &error) != PEL_OK) {
        print_error("%s\n", pel_error_story(error));
        fail();
    }
    return program;
}

static void create_fails(const pel_program_desc *desc, pel_status expected, const char *words) {
    pel_program *program = NULL;
    pel_error *error = NULL;
    pel_status status = pel_program_create(&fake.runtime, desc, &program, &error);
    if (status != expected || !strstr(pel_error_message(error), words)) {
        print_error("expected \"%s\", got %s: %s\n", words, pel_status_name(status), pel_error_message(error));
    }
    assert_int_equal(status, expected);
    assert_null(program);
    assert_non_null(strstr(pel_error_message(error), words));
    pel_error_destroy(error);
}

static void test_wrong_descriptors(void **state) {
    (void)state;
    fake_runtime_init(&fake, "hc");
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program;
    assert_int_equal(pel_program_create(NULL, &desc, &program, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_program_create(&fake.runtime, NULL, &program, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_program_create(&fake.runtime, &desc, NULL, NULL), PEL_INVALID_ARGUMENT);
    desc.size = 1;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "pel_program_desc.size is 1");
    desc = (pel_program_desc)PEL_PROGRAM_DESC_INIT;
    desc.source_bytes = 3;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "source is NULL");
    desc.source = "";
    desc.source_bytes = 0;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "source is empty");
    desc.source = "abc\0def";
    desc.source_bytes = 7;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "byte 3 of the source's 7 is NUL");
    desc.source = SOURCE;
    desc.source_bytes = 0;
    desc.define_count = 1;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "defines is NULL");
    const char *defines[] = {NULL};
    desc.defines = defines;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "defines[0] is NULL");
    static const char *const wrong[] = {"", "=3", "1A", "A B", "F(x)=x", "A=1 2", "A=\"x\"", "A=\\", "A=\n", "-DA"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        defines[0] = wrong[i];
        create_fails(&desc, PEL_INVALID_ARGUMENT, "defines[0], \"");
    }
    desc.define_count = 0;
    const char *paths[] = {"a b"};
    desc.include_paths = paths;
    desc.include_path_count = 1;
    create_fails(&desc, PEL_INVALID_ARGUMENT, "include_paths[0], \"a b\"");
    paths[0] = "";
    create_fails(&desc, PEL_INVALID_ARGUMENT, "include_paths[0] is empty");
    desc.include_path_count = 0;
    desc.options = "-w\n-g";
    create_fails(&desc, PEL_INVALID_ARGUMENT, "control characters");
    fake_runtime_end(&fake);
}

static void test_options_and_image(void **state) {
    (void)state;
    fake_runtime_init(&fake, "hc");
    const char *defines[] = {"A", "B=3"}, *paths[] = {"/nowhere", "there"};
    pel_program_desc desc = {sizeof desc, "p", SOURCE "trailing", strlen(SOURCE), "-w", defines, 2, 2, paths};
    pel_program *program = create(&desc);
    assert_string_equal(program->image.options, "-w -D A -D B=3 -I /nowhere -I there");
    assert_string_equal(program->image.source, SOURCE);
    assert_int_equal(program->image.source_bytes, strlen(SOURCE));
    assert_string_equal(program->image.name, "p");
    assert_true(program->image.cacheable);
    assert_false(program->image.plain_only);
    assert_null(program->unsafe);
    assert_int_equal(fake.drivers[0].programs_prepared, 0); /* the host needs no source */
    assert_int_equal(fake.drivers[1].programs_prepared, 1);
    assert_int_equal(pel_objects_alive(&fake.runtime), 1);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(fake.drivers[1].programs_forgotten, 1);
    assert_int_equal(pel_program_destroy(NULL), PEL_OK);
    fake_runtime_end(&fake);
}

static void test_unsafe_through_options(void **state) {
    (void)state;
    static const struct {
        const char *options, *define, *reason;
        bool plain_only, cacheable;
    } cases[] = {
        {"-cl-fast-relaxed-math", "N=4", NULL, false, true},
        {NULL, "SAY=printf", "it prints", false, true},
        {NULL, "get_global_id=get_local_id", "with the name of an id function", true, true},
        {"-Dget_global_id=foo", "N", "with the name of an id function", true, true},
        {"-D get_global_id=foo", "N", "with the name of an id function", true, true},
        {"-w -U get_group_id", "N", "a directive names an id function", true, true},
        {"-cl-std=CLC++2021", "N", "a language other than OpenCL C", true, true},
        {"-include hidden.h", "N", "a file named in the options", true, false},
    };
    fake_runtime_init(&fake, "c");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
        desc.source = SOURCE;
        desc.options = cases[i].options;
        desc.defines = &cases[i].define;
        desc.define_count = 1;
        pel_program *program = create(&desc);
        if (cases[i].reason) {
            assert_non_null(program->unsafe);
            assert_non_null(strstr(program->unsafe, cases[i].reason));
        } else {
            assert_null(program->unsafe);
        }
        assert_int_equal(program->image.plain_only, cases[i].plain_only);
        assert_int_equal(program->image.cacheable, cases[i].cacheable);
        assert_int_equal(pel_program_destroy(program), PEL_OK);
    }
    fake_runtime_end(&fake);
}

/* --- includes --- */

static char directory[64];

static void write_file(const char *name, const char *text, size_t bytes) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

static int make_directory(void **state) {
    char path[128];
    (void)state;
    snprintf(directory, sizeof directory, "pel-includes-XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/sub", directory);
    return mkdir(path, 0700);
}

static int remove_directory(void **state) {
    static const char *const names[] = {"a.h", "b.h", "c.h", "zero.h", "sub/d.h", "sub/e.h", "sub", ""};
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)remove(path);
    }
    return 0;
}

/* What one source makes of the files that lie there. */
static pel_program *with_includes(const char *source, const char *options) {
    const char *paths[] = {directory};
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    desc.source = source;
    desc.options = options;
    desc.include_paths = paths;
    desc.include_path_count = 1;
    return create(&desc);
}

static void digest_of(const char *source, uint8_t digest[32]) {
    pel_program *program = with_includes(source, NULL);
    memcpy(digest, program->image.digest, 32);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
}

static void test_digest_covers_includes(void **state) {
    (void)state;
    fake_runtime_init(&fake, "c");
    const char *source = "  #\tinclude /* x */ \"a.h\"\n" SOURCE;
    uint8_t first[32], second[32];
    write_text("a.h", "#include <b.h>\n#include \"sub/d.h\"\n");
    write_text("b.h", "#include \"a.h\" // a cycle\n#define B 1\n");
    write_text("sub/d.h", "#include \"e.h\"\n"); /* beside d.h, not on the path */
    write_text("sub/e.h", "#define E 1\n");
    digest_of(source, first);
    digest_of(source, second);
    assert_memory_equal(first, second, 32);
    pel_program *program = with_includes(source, NULL);
    assert_true(program->image.cacheable);
    assert_null(program->unsafe);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    write_text("sub/e.h", "#define E 2\n");
    digest_of(source, second);
    assert_memory_not_equal(first, second, 32);
    write_text("sub/e.h", "#define E 1\n");
    digest_of(source, second);
    assert_memory_equal(first, second, 32);
    digest_of(SOURCE, second);
    assert_memory_not_equal(first, second, 32);
    write_text("sub/e.h", "#undef get_global_id\n");
    program = with_includes(source, NULL);
    assert_true(program->image.plain_only);
    assert_non_null(program->unsafe);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    fake_runtime_end(&fake);
}

static void test_unresolved_includes(void **state) {
    (void)state;
    static const struct {
        const char *source, *reason;
    } cases[] = {
        {"#include \"missing.h\"\n" SOURCE, "missing.h"},
        {"#include <missing.h>\n" SOURCE, "missing.h"},
        {"#include FILE\n" SOURCE, "a computed name"},
        {"#include_next <a.h>\n" SOURCE, "include_next"},
        {"#if __has_include(\"a.h\")\n#endif\n" SOURCE, "__has_include"},
        {"#include \"sub\"\n" SOURCE, "sub"},
        {"#include \"zero.h\"\n" SOURCE, "zero.h"},
        {"#if 0\n#include \"missing.h\"\n#endif\n" SOURCE, "missing.h"},
    };
    fake_runtime_init(&fake, "c");
    write_text("a.h", "\n");
    write_file("zero.h", "a\0b", 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pel_program *program = with_includes(cases[i].source, NULL);
        assert_false(program->image.cacheable);
        assert_true(program->image.plain_only);
        assert_non_null(strstr(program->unsafe, cases[i].reason));
        assert_int_equal(pel_program_destroy(program), PEL_OK);
    }
    pel_program *program = with_includes("// #include \"missing.h\"\n/* \n#include <missing.h>\n*/\n" SOURCE, NULL);
    assert_true(program->image.cacheable);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    fake_runtime_end(&fake);
}

static void test_include_paths_in_options(void **state) {
    (void)state;
    fake_runtime_init(&fake, "c");
    write_text("sub/d.h", "int f(int);\n");
    write_text("sub/e.h", "int g(int);\n");
    char options[200];
    snprintf(options, sizeof options, "-I%s/sub -w", directory);
    pel_program *program = with_includes("#include <d.h>\n" SOURCE, options);
    assert_true(program->image.cacheable);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    snprintf(options, sizeof options, "-I \"%s/sub\"", directory);
    program = with_includes("#include <d.h>\n" SOURCE, options);
    assert_true(program->image.cacheable);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    fake_runtime_end(&fake);
}

/* --- devices --- */

static void test_some_devices_do_not_build(void **state) {
    (void)state;
    fake_runtime_init(&fake, "hcd");
    fake.drivers[1].build_status = PEL_BUILD_FAILED;
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    desc.source = SOURCE;
    pel_program *program = create(&desc);
    assert_null(program->not_on[0]);
    assert_non_null(strstr(program->not_on[1], "fake failure"));
    assert_null(program->not_on[2]);
    assert_int_equal(fake.log_lines, 3); /* the warning, and two lines of the build log */
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    fake.drivers[2].build_status = PEL_BUILD_FAILED;
    pel_error *error = NULL;
    assert_int_equal(pel_program_create(&fake.runtime, &desc, &program, &error), PEL_BUILD_FAILED);
    assert_non_null(strstr(pel_error_message(error), "dev:1")); /* the first one's story */
    assert_string_equal(pel_error_build_log(error), "line one\nline two\n");
    pel_error_destroy(error);
    fake_runtime_end(&fake);
}

static void test_no_opencl_device(void **state) {
    (void)state;
    fake_runtime_init(&fake, "hs");
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    desc.source = "this is no program";
    pel_program *program = create(&desc);
    assert_int_equal(fake.drivers[0].programs_prepared + fake.drivers[1].programs_prepared, 0);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    fake_runtime_end(&fake);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    write_text("a.h", "#include <b.h>\n");
    write_text("b.h", "int printf(int);\n");
    const char *defines[] = {"A=1"}, *paths[] = {directory};
    pel_program_desc desc = {sizeof desc, "p",  "#include \"a.h\"\n#include \"missing.h\"\n" SOURCE, 0, "-w", defines, 1,
                             1,           paths};
    for (uint64_t n = 1;; n++) {
        fake_runtime_init(&fake, "hcd");
        fake.drivers[1].build_status = PEL_BUILD_FAILED;
        fake.memory.fail_from = n;
        fake.memory.for_ever = n % 2 == 1;
        pel_program *program = NULL;
        pel_error *error = NULL;
        pel_status status = pel_program_create(&fake.runtime, &desc, &program, &error);
        bool reached = fake.memory.calls >= n;
        if (status == PEL_OK) { /* only the words of an error may have been lost */
            assert_non_null(strstr(program->unsafe, "it prints"));
            assert_non_null(program->not_on[1]);
        } else {
            assert_true(reached);
            assert_int_equal(status, PEL_OUT_OF_MEMORY);
            assert_non_null(error);
        }
        pel_error_destroy(error);
        assert_int_equal(pel_program_destroy(program), PEL_OK);
        fake_runtime_end(&fake);
        if (!reached) {
            assert_true(n > 20);
            return;
        }
    }
}

static void test_after_fork(void **state) {
    (void)state;
    fake_runtime_init(&fake, "h");
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program = create(&desc), *other = NULL;
    pid_t pid = fake.runtime.pid;
    fake.runtime.pid = pid + 1; /* as a child sees it */
    assert_int_equal(pel_program_create(&fake.runtime, &desc, &other, NULL), PEL_AFTER_FORK);
    assert_int_equal(pel_program_destroy(program), PEL_AFTER_FORK);
    fake.runtime.pid = pid;
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    fake_runtime_end(&fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_descriptors),         cmocka_unit_test(test_options_and_image),
        cmocka_unit_test(test_unsafe_through_options),    cmocka_unit_test(test_digest_covers_includes),
        cmocka_unit_test(test_unresolved_includes),       cmocka_unit_test(test_include_paths_in_options),
        cmocka_unit_test(test_some_devices_do_not_build), cmocka_unit_test(test_no_opencl_device),
        cmocka_unit_test(test_every_failing_allocation),  cmocka_unit_test(test_after_fork),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
