/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files behind a missing device. Each check states what it saw and what would help, and stays silent when there is nothing to
 * say: a doctor that lists thirty healthy organs is not read. Paths go below a root, so that a directory tree can play a broken
 * machine; what the environment names is taken as it is. Libraries are loaded in pel-probe only, since loading is what may crash.
 */
#include "base/alloc.h"
#include "cli/doctor.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "topology/budget.h"
#include "topology/core_set.h"
#include "topology/helper.h"
#include "topology/opencl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool exists(const char *root, const char *path) {
    char full[PATH_MAX];
    return snprintf(full, sizeof full, "%s%s", root, path) < (int)sizeof full && access(full, F_OK) == 0;
}

/* ---- drivers ---- */

/* What the dynamic linker says of a library, from a child: "" it loads. */
static void load_error(const char *library, char *text, size_t capacity) {
    pel_helper_run run;
    text[0] = '\0';
    if (pel_helper(&pel_allocator_default, "--load", library, NULL, PEL_PROBE_TIMEOUT_MS, &run, NULL) != PEL_OK)
        return;
    if (run.end == PEL_HELPER_CRASHED || run.end == PEL_HELPER_HUNG) {
        pel_text why;
        pel_text_init(&why, &pel_allocator_default);
        pel_helper_describe(&run, &why);
        snprintf(text, capacity, "loading it %s", why.data ? why.data : "fails");
        pel_text_free(&why);
    } else if (run.output.data && strncmp(run.output.data, "error\t", 6) == 0) {
        snprintf(text, capacity, "%.*s", (int)strcspn(run.output.data + 6, "\n"), run.output.data + 6);
    }
    pel_text_free(&run.output);
}

static void check_driver(pel_doctor *doctor, const pel_icd *icd) {
    char problem[512];
    const char *reason = pel_probe_driver_reason(&doctor->answer, icd->path);
    if (access(icd->path, R_OK) != 0 && strchr(icd->path, '/')) {
        pel_doctor_say(doctor, PEL_PROBLEM, "make the file readable", "OpenCL driver file %s cannot be read: %s", icd->path,
                       strerror(errno));
        return;
    }
    if (*icd->library == '\0') {
        pel_doctor_say(doctor, PEL_PROBLEM, "reinstall the driver's package, or remove the file",
                       "OpenCL driver file %s names no library", icd->path);
        return;
    }
    load_error(strchr(icd->library, '/') && *icd->resolved ? icd->resolved : icd->library, problem, sizeof problem);
    if (*problem) {
        pel_doctor_say(doctor, PEL_PROBLEM,
                       *icd->resolved ? "reinstall the driver's package with everything that it depends on"
                                      : "install the driver's package, or remove the .icd file",
                       "the OpenCL driver of %s will not load: %s", icd->path, problem);
    } else if (reason) {
        pel_doctor_say(doctor, PEL_PROBLEM, "update or remove this driver; pel goes on without it",
                       "the OpenCL driver %s (%s) %s", icd->path, icd->library, reason);
    }
}

void pel_doctor_check_drivers(pel_doctor *doctor) {
    const pel_icd_list *drivers = &doctor->drivers;
    if (!pel_opencl_built()) {
        pel_doctor_say(doctor, PEL_NOTE, "build it with -DPEL_OPENCL=ON", "this pel was built without OpenCL");
        return;
    }
    const char *install =
        "install one: pocl-opencl-icd for the CPU, nvidia-opencl-icd, intel-opencl-icd or mesa-opencl-icd for a GPU";
    if (*drivers->variable && !drivers->readable) {
        pel_doctor_say(doctor, PEL_PROBLEM, "correct or unset the variable", "%s is %s, which cannot be read", drivers->variable,
                       drivers->where);
    } else if (drivers->count == 0) {
        pel_doctor_say(doctor, PEL_PROBLEM, *drivers->variable ? "correct or unset the variable" : install,
                       "no OpenCL driver is installed: %s %s%s%s", drivers->where,
                       drivers->readable ? "holds no .icd file" : "does not exist",
                       *drivers->variable ? ", which is the value of " : "", drivers->variable);
    }
    for (uint32_t i = 0; i < drivers->count; i++)
        check_driver(doctor, &drivers->icds[i]);
    if (drivers->count > 0 && !doctor->answer.asked) {
        char helper[PATH_MAX], advice[PATH_MAX + 128];
        snprintf(advice, sizeof advice, "reinstall pel, or set PEL_PROBE to the program pel-probe (now %s)",
                 pel_helper_path(helper));
        pel_doctor_say(doctor, PEL_PROBLEM, advice,
                       "pel-probe cannot be run, so a driver that crashes would take the program with it");
    }
    for (uint32_t i = 0; i < drivers->count && !getenv("RUSTICL_ENABLE"); i++) {
        if (!strcasestr(drivers->icds[i].library, "rusticl"))
            continue;
        pel_doctor_say(doctor, PEL_NOTE, "for an AMD or Intel GPU through Mesa: RUSTICL_ENABLE=radeonsi or RUSTICL_ENABLE=iris",
                       "the driver %s (rusticl) shows no device until RUSTICL_ENABLE names one", drivers->icds[i].path);
    }
}

/* ---- graphics cards ---- */

/* A small file's number, base 16; -1 when there is none. */
static long hex_file(const char *root, const char *directory, const char *name, const char *file) {
    char path[PATH_MAX], text[32] = "";
    if (snprintf(path, sizeof path, "%s%s/%s/%s", root, directory, name, file) >= (int)sizeof path)
        return -1;
    FILE *stream = fopen(path, "re");
    if (!stream)
        return -1;
    bool read = fgets(text, sizeof text, stream) != NULL;
    (void)fclose(stream);
    return read ? strtol(text, NULL, 16) : -1;
}

static bool have_gpu(const pel_doctor *doctor, const char *word) {
    for (uint32_t i = 0; doctor->topology && i < doctor->topology->device_count; i++) {
        const pel_device_info *info = &doctor->topology->devices[i].info;
        if (info->device_class != PEL_CLASS_INTEGRATED && info->device_class != PEL_CLASS_DISCRETE)
            continue;
        if (!word || strcasestr(info->vendor, word) || strcasestr(info->name, word) || strcasestr(info->platform, word))
            return true;
    }
    return false;
}

/* Whether a driver file names a library with this word in it. */
static bool have_driver(const pel_doctor *doctor, const char *word) {
    for (uint32_t i = 0; i < doctor->drivers.count; i++) {
        if (strcasestr(doctor->drivers.icds[i].library, word))
            return true;
    }
    return false;
}

static void check_card(pel_doctor *doctor, const char *address, long vendor) {
    static const struct {
        long vendor;
        const char *name, *word, *advice;
    } makers[] = {{0x10de, "NVIDIA", "nvidia", "install the NVIDIA driver and nvidia-opencl-icd"},
                  {0x1002, "AMD", "amd", "install rocm-opencl-icd, or mesa-opencl-icd and set RUSTICL_ENABLE=radeonsi"},
                  {0x8086, "Intel", "intel", "install intel-opencl-icd"}};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        if (makers[i].vendor != vendor || have_gpu(doctor, makers[i].word))
            continue;
        if (vendor == 0x1002 && have_gpu(doctor, "advanced micro devices"))
            continue;
        pel_doctor_say(doctor, PEL_PROBLEM, makers[i].advice, "there is a graphics card by %s at %s, but no OpenCL device for it",
                       makers[i].name, address);
        return;
    }
}

static void check_cards(pel_doctor *doctor) {
    static const char directory[] = "/sys/bus/pci/devices";
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s", doctor->root, directory);
    DIR *devices = opendir(path);
    for (struct dirent *entry; devices && (entry = readdir(devices));) {
        if (entry->d_name[0] == '.')
            continue;
        long class = hex_file(doctor->root, directory, entry->d_name, "class");
        if (class >> 16 == 3)
            check_card(doctor, entry->d_name, hex_file(doctor->root, directory, entry->d_name, "vendor"));
    }
    if (devices)
        closedir(devices);
}

/* Device files of one directory whose name begins with `prefix` must be readable and writable. */
static void check_device_files(pel_doctor *doctor, const char *directory, const char *prefix) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s", doctor->root, directory);
    DIR *files = opendir(path);
    for (struct dirent *entry; files && (entry = readdir(files));) {
        struct stat status;
        char advice[256];
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        if (snprintf(path, sizeof path, "%s%s/%s", doctor->root, directory, entry->d_name) >= (int)sizeof path)
            continue;
        if (stat(path, &status) != 0 || S_ISDIR(status.st_mode) || access(path, R_OK | W_OK) == 0)
            continue;
        int code = errno;
        const struct group *group = getgrgid(status.st_gid);
        if (group && status.st_gid != 0) {
            snprintf(advice, sizeof advice, "join the group that may: sudo usermod -aG %s $USER, then log in again",
                     group->gr_name);
        } else {
            snprintf(advice, sizeof advice, "give this user read and write access to it");
        }
        pel_doctor_say(doctor, PEL_PROBLEM, advice, "%s/%s may not be opened by this user (%s)", directory, entry->d_name,
                       strerror(code));
    }
    if (files)
        closedir(files);
}

static void check_nvidia(pel_doctor *doctor) {
    bool kernel_driver = exists(doctor->root, "/proc/driver/nvidia/version");
    bool container = exists(doctor->root, "/.dockerenv") || exists(doctor->root, "/run/.containerenv");
    bool library = *pel_icd_find_library(&doctor->drivers.keep, doctor->root, "libnvidia-opencl.so.1") != '\0';
    if (library && !have_driver(doctor, "libnvidia-opencl")) {
        pel_doctor_say(doctor, PEL_PROBLEM,
                       "install nvidia-opencl-icd, or: echo libnvidia-opencl.so.1 > /etc/OpenCL/vendors/nvidia.icd",
                       "NVIDIA's OpenCL library is installed, but no .icd file names it");
    } else if (kernel_driver && !library) {
        pel_doctor_say(doctor, PEL_PROBLEM,
                       container ? "start the container with --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility"
                                 : "install nvidia-opencl-icd",
                       "NVIDIA's kernel driver is loaded, but its OpenCL library is not installed%s",
                       container ? " in this container" : "");
    }
}

void pel_doctor_check_graphics(pel_doctor *doctor) {
    check_cards(doctor);
    check_device_files(doctor, "/dev/dri", "renderD");
    check_device_files(doctor, "/dev", "nvidia");
    check_device_files(doctor, "/dev", "kfd");
    check_nvidia(doctor);
    bool container = exists(doctor->root, "/.dockerenv") || exists(doctor->root, "/run/.containerenv");
    if (container && !have_gpu(doctor, NULL) && !exists(doctor->root, "/dev/dri") && !exists(doctor->root, "/dev/nvidia0")) {
        pel_doctor_say(doctor, PEL_NOTE, "if the machine has a GPU, pass it on: --device /dev/dri, or --gpus all for NVIDIA",
                       "this is a container without device files of a GPU");
    }
}

/* ---- PoCL ---- */

/* Whether something can be made in it. Tried, not asked: access() tells root that /proc is writable. */
static bool can_make(const char *directory) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/.pel-doctor-XXXXXX", directory) >= (int)sizeof path || !mkdtemp(path))
        return false;
    return rmdir(path) == 0;
}

/* Whether a directory is there and writable, or could be made. *blocking: the directory in the way. */
static bool can_write(const char *directory, char blocking[PATH_MAX]) {
    if (snprintf(blocking, PATH_MAX, "%s", directory) >= PATH_MAX)
        return false;
    for (;;) {
        struct stat status;
        if (stat(blocking, &status) == 0)
            return S_ISDIR(status.st_mode) && can_make(blocking);
        if (errno != ENOENT)
            return false; /* the loop ends at "/" */
        char *slash = strrchr(blocking, '/');
        if (!slash)
            return false;
        if (slash == blocking) {
            blocking[1] = '\0';
        } else {
            *slash = '\0';
        }
    }
}

static void check_pocl_cache(pel_doctor *doctor) {
    char directory[PATH_MAX], blocking[PATH_MAX];
    const char *variable = "POCL_CACHE_DIR", *base = getenv(variable), *below = "";
    if (!base || !*base)
        base = getenv(variable = "XDG_CACHE_HOME"), below = "/pocl";
    if (!base || !*base)
        base = getenv(variable = "HOME"), below = "/.cache/pocl";
    if (!base || !*base)
        base = "/tmp", below = "/pocl";
    if (snprintf(directory, sizeof directory, "%s%s", base, below) >= (int)sizeof directory || can_write(directory, blocking))
        return;
    pel_doctor_say(
        doctor, PEL_PROBLEM, "set POCL_CACHE_DIR to a directory that you may write",
        "PoCL cannot write its cache %s (%s is not a writable directory; it comes from %s): it then shows no device at all",
        directory, blocking, variable);
}

static bool on_path(const char *program) {
    char full[PATH_MAX];
    const char *path = getenv("PATH");
    for (const char *at = path ? path : "/usr/bin:/bin"; at;) {
        size_t length = strcspn(at, ":");
        int written = snprintf(full, sizeof full, "%.*s/%s", (int)length, length ? at : ".", program);
        if (written > 0 && written < (int)sizeof full && access(full, X_OK) == 0)
            return true;
        at = at[length] ? at + length + 1 : NULL;
    }
    return false;
}

void pel_doctor_check_pocl(pel_doctor *doctor) {
    if (!have_driver(doctor, "pocl"))
        return;
    check_pocl_cache(doctor);
    if (!on_path("ld") && !on_path("ld.bfd")) {
        pel_doctor_say(
            doctor, PEL_PROBLEM, "install binutils, or put the directory of ld on PATH",
            "PoCL needs the linker ld to build kernels, and there is none on PATH: it kills the process at the first launch");
    }
}

/* ---- budget ---- */

void pel_doctor_check_budget(pel_doctor *doctor) {
    pel_budget budget;
    pel_budget_read(doctor->root, NULL, &budget);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    char text[64];
    if (budget.quota_millicores / 1000 < budget.core_count) {
        pel_doctor_say(doctor, budget.usable == 1 ? PEL_PROBLEM : PEL_NOTE,
                       "raise the container's or the service's CPU limit (docker --cpus, CPUQuota=) to use more",
                       "a CPU quota of %llu.%02llu cores holds this process to %u of %u cores",
                       (unsigned long long)(budget.quota_millicores / 1000),
                       (unsigned long long)(budget.quota_millicores % 1000 / 10), (unsigned)budget.usable,
                       (unsigned)budget.core_count);
    }
    if (online > 0 && (uint32_t)online > budget.core_count) {
        pel_doctor_say(doctor, PEL_NOTE,
                       "if that is not meant: look for taskset, numactl, OMP_PROC_BIND, a batch system's binding or a cpuset",
                       "this process is bound to core%s %s of %ld", budget.core_count == 1 ? "" : "s",
                       pel_cli_core_text(&budget.cores, text, sizeof text), online);
    }
    if (budget.memory_available < UINT64_C(256) << 20) {
        pel_doctor_say(doctor, PEL_PROBLEM, "free memory, or raise the container's limit",
                       "only %s of memory are left for this process", pel_format_bytes(text, (double)budget.memory_available));
    }
}
