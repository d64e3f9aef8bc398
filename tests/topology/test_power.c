/* SPDX-License-Identifier: BSD-3-Clause */
/* Meters of energy on machines that are not here: a powercap folder made for the test, and a library that calls itself NVML. */
#include "topology/power.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void near(double value, double wanted, double within) {
    assert_true(fabs(value - wanted) <= within);
}

static char root[64];

static void put(const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, file);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void folder(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void zone(const char *entry, const char *name, const char *energy, const char *range) {
    char path[160];
    snprintf(path, sizeof path, "/sys/class/powercap/%s", entry);
    folder(path);
    snprintf(path, sizeof path, "/sys/class/powercap/%s/name", entry);
    put(path, name);
    snprintf(path, sizeof path, "/sys/class/powercap/%s/energy_uj", entry);
    put(path, energy);
    snprintf(path, sizeof path, "/sys/class/powercap/%s/max_energy_range_uj", entry);
    put(path, range);
}

static int make(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/pel-power-XXXXXX");
    if (!mkdtemp(root)) {
        return -1;
    }
    folder("/sys");
    folder("/sys/class");
    folder("/sys/class/powercap");
    return 0;
}

static int unmake(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* Two packages are added up; their parts and the whole platform are not; a counter that wraps goes on. */
static void packages(void **state) {
    (void)state;
    double first, second;
    const char *why;
    zone("intel-rapl:0", "package-0\n", "1000000\n", "10000000\n");
    zone("intel-rapl:1", "package-1\n", "9000000\n", "10000000\n");
    zone("intel-rapl:0:0", "core\n", "77\n", "10000000\n");
    zone("intel-rapl:2", "psys\n", "5\n", "10000000\n");
    zone("intel-rapl-mmio:0", "package-0\n", "1\n", "10000000\n");
    pel_power *power = pel_power_open(&pel_allocator_default, root, "/nowhere");
    assert_non_null(power);
    assert_true(pel_power_packages(power, &first, &why));
    assert_null(why);
    put("/sys/class/powercap/intel-rapl:0/energy_uj", "3500000\n"); /* 2.5 J more */
    put("/sys/class/powercap/intel-rapl:1/energy_uj", "500000\n");  /* 1.5 J more, beyond the end */
    put("/sys/class/powercap/intel-rapl:2/energy_uj", "900000\n");
    assert_true(pel_power_packages(power, &second, &why));
    near(second - first, 4.0, 1e-6);
    put("/sys/class/powercap/intel-rapl:1/energy_uj", "garbage\n");
    assert_false(pel_power_packages(power, &second, &why));
    assert_non_null(why);
    pel_power_close(power);
}

static void no_packages(void **state) {
    (void)state;
    double joules = 1.0;
    const char *why = NULL;
    pel_power *power = pel_power_open(&pel_allocator_default, root, "/nowhere");
    assert_false(pel_power_packages(power, &joules, &why));
    assert_non_null(strstr(why, "no counter"));
    assert_true(joules == 0.0);
    assert_false(pel_power_nvidia(power, "0000:01:00.0", &joules, &why));
    assert_string_equal(why, "NVML is not installed");
    pel_power_close(power);
}

static void for_root_only(void **state) {
    (void)state;
    char path[160];
    double joules;
    const char *why = NULL;
    zone("intel-rapl:0", "package-0\n", "1\n", "10\n");
    snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/energy_uj", root);
    assert_int_equal(chmod(path, 0), 0);
    if (access(path, R_OK) == 0) {
        return; /* this user may read everything */
    }
    pel_power *power = pel_power_open(&pel_allocator_default, root, "/nowhere");
    assert_false(pel_power_packages(power, &joules, &why));
    assert_non_null(strstr(why, "root"));
    pel_power_close(power);
}

static void nvml(void **state) {
    (void)state;
    double first, second;
    const char *why, *library = getenv("PEL_FAKE_NVML");
    if (!library) {
        skip();
    }
    pel_power *power = pel_power_open(&pel_allocator_default, root, library);
    assert_true(pel_power_nvidia(power, "0000:01:00.0", &first, &why));
    assert_true(pel_power_nvidia(power, "0000:01:00.0", &second, &why));
    near(second - first, 1.5, 1e-9);
    assert_false(pel_power_nvidia(power, "0000:02:00.0", &second, &why));
    assert_non_null(strstr(why, "no counter"));
    assert_false(pel_power_nvidia(power, "ffff:02:00.0", &second, &why));
    assert_non_null(strstr(why, "PCI"));
    pel_power_close(power);

    assert_int_equal(setenv("PEL_FAKE_NVML_BROKEN", "1", 1), 0);
    power = pel_power_open(&pel_allocator_default, root, library);
    assert_false(pel_power_nvidia(power, "0000:01:00.0", &first, &why));
    assert_non_null(strstr(why, "does not start"));
    pel_power_close(power);
    unsetenv("PEL_FAKE_NVML_BROKEN");
}

/* A library without the functions is not called. */
static void not_nvml(void **state) {
    (void)state;
    double joules;
    const char *why;
    pel_power *power = pel_power_open(&pel_allocator_default, root, "libm.so.6");
    assert_false(pel_power_nvidia(power, "0000:01:00.0", &joules, &why));
    assert_non_null(strstr(why, "no counter"));
    pel_power_close(power);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packages, make, unmake),      cmocka_unit_test_setup_teardown(no_packages, make, unmake),
        cmocka_unit_test_setup_teardown(for_root_only, make, unmake), cmocka_unit_test_setup_teardown(nvml, make, unmake),
        cmocka_unit_test_setup_teardown(not_nvml, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
