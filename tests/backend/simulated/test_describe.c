/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/simulated/describe.h"
#include "base/error.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const pel_allocator *const plain = &pel_allocator_default;

static void good(const char *text, pel_description *description) {
    pel_error *error = NULL;
    pel_status status = pel_description_parse(plain, "m", text, strlen(text), description, &error);
    if (status != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
}

/* The text is refused and the message contains `what`. */
static void bad(const char *text, const char *what) {
    pel_description description;
    pel_error *error = NULL;
    assert_int_equal(pel_description_parse(plain, "box.machine", text, strlen(text), &description, &error), PEL_INVALID_ARGUMENT);
    if (strstr(pel_error_message(error), what) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", what, pel_error_message(error));
    }
    assert_null(description.devices);
    pel_error_destroy(error);
}

static void all_keys_are_read(void **state) {
    (void)state;
    pel_description d;
    good(
        "seed = 99 # of all\r\n\n[gpu-0.a_B]\n items_per_us=2.5e3\nstart_us = 20\nnoise_percent = 10\n"
        "spike_percent = 2\nspike_factor = 4\n"
        "memory_mib = 0.5\nlink_gb_per_s = 12.25\nlink_latency_us = 8\nslow_after_chunk = 7\n"
        "slow_factor = .5\nfail_at_chunk = 3\n"
        "lost_at_chunk = 9\nview_alignment_bytes = 256\ncore_group = 5\n"
        "begins_late_us = 80\nfail_until_chunk = 4\nwrong_every_chunks = 6\n[host]\nitems_per_us = "
        "1\n[c]\nitems_per_us=1\ncore_group = host",
        &d);
    const pel_simulated_device *g = &d.devices[0];
    assert_int_equal(d.seed, 99);
    assert_int_equal(d.device_count, 3);
    assert_string_equal(g->name, "gpu-0.a_B");
    assert_true(g->rate == 2500.0 && g->start_ns == 20000.0 && fabs(g->noise - 0.1) < 1e-12 &&
                fabs(g->spike_chance - 0.02) < 1e-12);
    assert_true(g->spike_factor == 4.0 && g->link_bytes_per_ns == 12.25 && g->link_latency_ns == 8000.0 && g->slow_factor == 0.5);
    assert_int_equal(g->memory_bytes, 524288);
    assert_int_equal(g->slow_after, 7);
    assert_int_equal(g->fail_at, 3);
    assert_int_equal(g->lost_at, 9);
    assert_int_equal(g->core_group, 5);
    assert_int_equal(g->view_alignment, 256);
    assert_true(g->begins_late_ns == 80000.0);
    assert_int_equal(g->fail_until, 4);
    assert_int_equal(g->wrong_every, 6);
    assert_int_equal(d.devices[2].core_group, PEL_SIMULATED_HOST_GROUP);
    pel_free(plain, d.devices);
}

static void errors_name_file_and_line(void **state) {
    (void)state;
    bad("[g]\nitems_per_us = 1\nrat = 2\n", "box.machine:3: unknown key: \"rat\"");
    bad("[g]\nitems_per_us = fast\n", "box.machine:2: items_per_us needs a number, not: \"fast\"");
    bad("[g]\nitems_per_us = 1\nfail_at_chunk = 1.5\n", "box.machine:3: fail_at_chunk needs a whole number");
    bad("[g]\nitems_per_us = 1\nfail_at_chunk = 99999999999999999999\n", "box.machine:3");
    bad("[g]\nitems_per_us = nan\n", "box.machine:2");
    bad("[g]\nitems_per_us = inf\n", "box.machine:2");
    bad("[g]\nitems_per_us = 0x10\n", "box.machine:2");
    bad("[g]\nitems_per_us = -5\n", "box.machine:2");
    bad("[g]\nitems_per_us = 1,5\n", "box.machine:2");
    bad("[g]\nitems_per_us = 1e999\n", "box.machine:2");
    bad("[g]\nitems_per_us = 1e\n", "box.machine:2");
    bad("[g]\nitems_per_us = .\n", "box.machine:2");
    bad("[g]\nitems_per_us =\n", "box.machine:2");
    bad("[g]\nitems_per_us = 0\n", "box.machine:2: items_per_us is out of range");
    bad("\n[g]\nstart_us = 1\n\n[h]\nitems_per_us=1", "box.machine:2: section [g]: needs a speed");
    bad("[g]\nitems_per_us = 1\nitems_per_us = 1\n", "box.machine:3: given twice");
    bad("[g]\nitems_per_us = 1\n[g]\n", "box.machine:3: a second section");
    bad("[g\n", "box.machine:1: a section is written");
    bad("[]\n", "box.machine:1: a device's name");
    bad("[a b]\n", "box.machine:1: a device's name");
    bad("[0123456789012345678901234567890123456789]\n", "box.machine:1: a device's name");
    bad("rate = 1\n", "box.machine:1: only \"seed\"");
    bad("seed = x\n", "box.machine:1: the seed");
    bad("seed = 1\nseed = 1\n[g]\n", "box.machine:2: the seed");
    bad("hello\n", "box.machine:1: expected");
    bad("", "no device is described");
    bad("# nothing\n", "no device is described");
    bad("[host]\nitems_per_us = 1\ncore_group = 2\n", "always 1");
    bad("[host]\nitems_per_us = 1\nlink_gb_per_s = 2\n", "the host has no link");
    bad("[g]\nitems_per_us = 1\nslow_after_chunk = 2\n", "needs a slow_factor");
    bad("[g]\nitems_per_us = 1\nspike_percent = 2\n", "spike_factor");
    bad("[g]\nitems_per_us = \033[31mred\n", "?[31mred");
}

static void locale_does_not_matter(void **state) {
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    for (size_t i = 0; i < sizeof commas / sizeof commas[0] && setlocale(LC_ALL, commas[i]) == NULL; i++) {
    }
    pel_description d;
    good("[g]\nitems_per_us = 2.5\n", &d);
    assert_true(d.devices[0].rate == 2.5);
    pel_free(plain, d.devices);
    (void)setlocale(LC_ALL, "C");
}

static void files_that_are_no_descriptions(void **state) {
    (void)state;
    pel_description d;
    pel_error *error = NULL;
    assert_int_equal(pel_description_read(plain, "/nonexistent/x.machine", &d, &error), PEL_IO);
    assert_non_null(strstr(pel_error_message(error), "/nonexistent/x.machine"));
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(pel_description_read(plain, "/", &d, &error), PEL_IO);
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(pel_description_read(plain, "/dev/zero", &d, &error), PEL_TOO_LARGE);
    pel_error_destroy(error);
}

static void the_examples_are_good(void **state) {
    (void)state;
    static const char *const names[] = {"laptop", "four_gpus", "flaky"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[4096];
        pel_description d;
        pel_error *error = NULL;
        (void)snprintf(path, sizeof path, "%s/machines/%s.machine", PEL_TEST_FIXTURES, names[i]);
        if (pel_description_read(plain, path, &d, &error) != PEL_OK) {
            fail_msg("%s", pel_error_story(error));
        }
        assert_true(d.device_count >= 4);
        pel_free(plain, d.devices);
    }
}

static uint64_t random_state;

static uint32_t below(uint32_t bound) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % bound;
}

/* Mutated and truncated descriptions: accepted or refused, never anything else; what is accepted can be simulated. */
static void hostile_text_is_survived(void **state) {
    (void)state;
    static const char seed_text[] =
        "seed = 7\n[host]\nitems_per_us = 1000 # speed\n[gpu0]\nitems_per_us = 6400.5e0\nstart_us = 25\n"
        "link_gb_per_s = 12\ncore_group = host\nslow_after_chunk = 3\nslow_factor = 0.5\n";
    uint32_t accepted = 0;
    for (uint32_t seed = 0; seed < 20000; seed++) {
        char text[sizeof seed_text];
        memcpy(text, seed_text, sizeof text);
        random_state = seed;
        size_t bytes = below(3) == 0 ? below(sizeof seed_text) : sizeof seed_text - 1;
        for (uint32_t i = below(5); i > 0 && bytes > 0; i--) {
            text[below((uint32_t)bytes)] = below(2) == 0 ? (char)below(256) : "[]=#.e-\n 0"[below(10)];
        }
        char *exact = malloc(bytes > 0 ? bytes : 1); /* so that reading beyond the end is seen */
        assert_non_null(exact);
        memcpy(exact, text, bytes);
        pel_description d;
        pel_error *error = NULL;
        pel_status status = pel_description_parse(plain, "m", exact, bytes, &d, &error);
        assert_int_equal(status == PEL_OK, error == NULL);
        for (uint32_t i = 0; status == PEL_OK && i < d.device_count; i++) {
            assert_true(d.devices[i].rate > 0.0 && isfinite(d.devices[i].rate));
        }
        accepted += status == PEL_OK;
        pel_free(plain, d.devices);
        pel_error_destroy(error);
        free(exact);
    }
    assert_true(accepted > 100 && accepted < 19900);
}

static void devices_of_programs_are_checked(void **state) {
    (void)state;
    pel_description d;
    pel_simulated_device devices[2] = {{.name = "a", .rate = 1.0}, {.name = "b", .rate = 1.0}};
    pel_error *error = NULL;
    assert_int_equal(pel_description_copy(plain, devices, 2, &d, NULL), PEL_OK);
    assert_int_equal(d.device_count, 2);
    pel_free(plain, d.devices);
    assert_int_equal(pel_description_copy(plain, NULL, 0, &d, NULL), PEL_OK);
    assert_int_equal(pel_description_copy(plain, NULL, 2, &d, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_description_copy(plain, devices, 8193, &d, NULL), PEL_INVALID_ARGUMENT);
    devices[1].rate = (double)NAN;
    assert_int_equal(pel_description_copy(plain, devices, 2, &d, &error), PEL_INVALID_ARGUMENT);
    assert_non_null(strstr(pel_error_message(error), "simulated device 1 (b)"));
    pel_error_destroy(error);
    devices[1].rate = 1.0;
    memset(devices[1].name, 'x', sizeof devices[1].name); /* no end */
    assert_int_equal(pel_description_copy(plain, devices, 2, &d, NULL), PEL_INVALID_ARGUMENT);
    (void)strcpy(devices[1].name, "a");
    assert_int_equal(pel_description_copy(plain, devices, 2, &d, NULL), PEL_INVALID_ARGUMENT);
}

static void copies_are_devices(void **state) {
    (void)state;
    pel_description d;
    good(
        "[host]\nitems_per_us = 1\n[gpu]\ncopies = 3\nitems_per_us = 7\n[other]\nitems_per_us = 9\ncopies = "
        "1\n[last]\nitems_per_us = 2\n",
        &d);
    static const char *const names[] = {"host", "gpu-1", "gpu-2", "gpu-3", "other-1", "last"};
    assert_int_equal(d.device_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_string_equal(d.devices[i].name, names[i]);
    }
    assert_true(d.devices[1].rate == 7.0 && d.devices[3].rate == 7.0 && d.devices[4].rate == 9.0);
    pel_free(plain, d.devices);
    good("[gpu]\ncopies = 8191\nitems_per_us = 7\n", &d);
    assert_int_equal(d.device_count, 8191);
    pel_free(plain, d.devices);
    bad("[gpu]\ncopies = 8192\nitems_per_us = 7\n", ":2: copies is a whole number from 1 to 8191");
    bad("[gpu]\ncopies = 2\ncopies = 2\nitems_per_us = 7\n", ":3: copies");
    bad("[gpu-2]\nitems_per_us = 7\n[gpu]\ncopies = 2\nitems_per_us = 7\n", "too long or taken");
    bad("[a234567890123456789012345678901]\ncopies = 2\nitems_per_us = 7\n", "too long or taken");
    bad("[host]\ncopies = 2\nitems_per_us = 7\n", "too long or taken");
    bad("[a]\ncopies = 8190\nitems_per_us = 7\n[b]\ncopies = 9\nitems_per_us = 7\n", "more than 8191 devices");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys_are_read),
        cmocka_unit_test(errors_name_file_and_line),
        cmocka_unit_test(locale_does_not_matter),
        cmocka_unit_test(files_that_are_no_descriptions),
        cmocka_unit_test(the_examples_are_good),
        cmocka_unit_test(hostile_text_is_survived),
        cmocka_unit_test(devices_of_programs_are_checked),
        cmocka_unit_test(copies_are_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
