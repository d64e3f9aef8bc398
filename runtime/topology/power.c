/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology/power.h"
#include "base/text.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "sys/class/powercap"
#define NVML "libnvidia-ml.so.1"

enum { ZONES = 16, NAME = 32, DIGITS = 32 };

typedef struct zone {
    char *folder;
    uint64_t last, range; /* microjoules; range 0: it never wraps */
    double joules;
} zone;

/* What is used of NVML: its interface is C and stable by name; a handle is a pointer that only NVML looks into. */
typedef int (*nvml_plain)(void);
typedef int (*nvml_find)(const char *pci, void **device);
typedef int (*nvml_energy)(void *device, unsigned long long *millijoules);

struct pel_power {
    pel_allocator allocator;
    char *root, *nvml;
    zone zones[ZONES];
    uint32_t zone_count;
    const char *packages_why; /* NULL: they can be read */
    bool looked, nvml_looked;
    void *library;
    nvml_plain shutdown;
    nvml_find find;
    nvml_energy energy;
    const char *nvml_why;
};

pel_power *pel_power_open(const pel_allocator *allocator, const char *root, const char *nvml) {
    pel_power *power = pel_alloc_zero(allocator, 1, sizeof *power);
    if (!power) {
        return NULL;
    }
    power->allocator = *allocator;
    power->root = pel_strdup(allocator, root ? root : "");
    power->nvml = pel_strdup(allocator, nvml ? nvml : NVML);
    if (!power->root || !power->nvml) {
        pel_power_close(power);
        return NULL;
    }
    return power;
}

void pel_power_close(pel_power *power) {
    if (!power) {
        return;
    }
    pel_allocator allocator = power->allocator;
    for (uint32_t i = 0; i < power->zone_count; i++) {
        pel_free(&allocator, power->zones[i].folder);
    }
    if (power->library) {
        (void)power->shutdown();
        dlclose(power->library);
    }
    pel_free(&allocator, power->root);
    pel_free(&allocator, power->nvml);
    pel_free(&allocator, power);
}

static char *path_of(const pel_power *power, const char *folder, const char *file) {
    pel_text text;
    pel_text_init(&text, &power->allocator);
    pel_text_append(&text, folder);
    pel_text_append(&text, "/");
    pel_text_append(&text, file);
    return pel_text_take(&text);
}

/* A short file's first line; 0 or the error number. */
static int read_line(const pel_power *power, const char *folder, const char *file, char *line, size_t size) {
    char *path = path_of(power, folder, file);
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, code = path ? errno : ENOMEM;
    ssize_t got = descriptor >= 0 ? read(descriptor, line, size - 1) : -1;
    code = descriptor >= 0 && got < 0 ? errno : code;
    if (descriptor >= 0) {
        close(descriptor);
    }
    pel_free(&power->allocator, path);
    line[got > 0 ? got : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return got > 0 ? 0 : got == 0 ? ENODATA : code;
}

static int read_number(const pel_power *power, const char *folder, const char *file, uint64_t *number) {
    char line[DIGITS], *end = line;
    int code = read_line(power, folder, file, line, sizeof line);
    errno = 0;
    *number = code == 0 ? strtoull(line, &end, 10) : 0;
    return code != 0 ? code : end == line || *end != '\0' || errno != 0 ? EINVAL : 0;
}

static const char *refusal(int code) {
    return code == EACCES || code == EPERM
               ? "the counters in /sys/class/powercap are for root only: chmod a+r their energy_uj to measure"
           : code == ENOENT ? "there is no counter of a processor package in /sys/class/powercap"
                            : "the counters in /sys/class/powercap cannot be read";
}

/* Packages are intel-rapl:N; what is below them (intel-rapl:N:M) is part of them, and psys would count them twice. */
static bool is_package(const pel_power *power, const char *entry, const char *folder) {
    static const char prefix[] = "intel-rapl:";
    char name[NAME];
    return strncmp(entry, prefix, sizeof prefix - 1) == 0 && !strchr(entry + sizeof prefix - 1, ':') &&
           read_line(power, folder, "name", name, sizeof name) == 0 && strncmp(name, "package-", 8) == 0;
}

static int add_zone(pel_power *power, char *folder) {
    zone *added = &power->zones[power->zone_count];
    *added = (zone){.folder = folder};
    int code = read_number(power, folder, "energy_uj", &added->last);
    if (code == 0) {
        (void)read_number(power, folder, "max_energy_range_uj", &added->range);
        power->zone_count++;
    }
    return code;
}

static void look_for_packages(pel_power *power) {
    char *folder = path_of(power, power->root, FOLDER);
    DIR *entries = folder ? opendir(folder) : NULL;
    int code = ENOENT;
    for (struct dirent *entry; entries && power->zone_count < ZONES && (entry = readdir(entries));) {
        char *path = path_of(power, folder, entry->d_name);
        int found = path && is_package(power, entry->d_name, path) ? add_zone(power, path) : -1;
        if (found != 0) {
            pel_free(&power->allocator, path);
        }
        code = found > 0 ? found : code;
    }
    if (entries) {
        closedir(entries);
    }
    pel_free(&power->allocator, folder);
    power->packages_why = power->zone_count > 0 ? NULL : refusal(code);
    power->looked = true;
}

/* What a counter went on since it was last read; it wraps at its range. */
static int advance(const pel_power *power, zone *z) {
    uint64_t now;
    int code = read_number(power, z->folder, "energy_uj", &now);
    if (code == 0) {
        uint64_t gone = now >= z->last ? now - z->last : z->range > z->last ? z->range - z->last + now : 0;
        z->joules += (double)gone * 1e-6;
        z->last = now;
    }
    return code;
}

bool pel_power_packages(pel_power *power, double *joules, const char **why) {
    if (!power->looked) {
        look_for_packages(power);
    }
    *joules = 0.0;
    *why = power->packages_why;
    for (uint32_t i = 0; i < power->zone_count && !*why; i++) {
        int code = advance(power, &power->zones[i]);
        *why = code != 0 ? refusal(code) : NULL;
        *joules += power->zones[i].joules;
    }
    return !*why;
}

static void look_for_nvml(pel_power *power) {
    union {
        void *object;
        nvml_plain plain;
        nvml_find find;
        nvml_energy energy;
    } start, stop, find, energy; /* ISO C has no conversion from an object pointer to a function's; POSIX promises this one */
    power->nvml_looked = true;
    power->nvml_why = "NVML is not installed";
    void *library = dlopen(power->nvml, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return;
    }
    start.object = dlsym(library, "nvmlInit_v2");
    stop.object = dlsym(library, "nvmlShutdown");
    find.object = dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2");
    energy.object = dlsym(library, "nvmlDeviceGetTotalEnergyConsumption");
    power->nvml_why = "this NVML has no counter of energy";
    if (start.object && stop.object && find.object && energy.object) {
        power->nvml_why = "NVML does not start: no driver, or another version of it";
        if (start.plain() == 0) {
            power->library = library;
            power->shutdown = stop.plain;
            power->find = find.find;
            power->energy = energy.energy;
            power->nvml_why = NULL;
            return;
        }
    }
    dlclose(library);
}

bool pel_power_nvidia(pel_power *power, const char *pci, double *joules, const char **why) {
    void *device = NULL;
    unsigned long long millijoules = 0;
    if (!power->nvml_looked) {
        look_for_nvml(power);
    }
    *joules = 0.0;
    *why = power->nvml_why;
    if (!*why && power->find(pci, &device) != 0) {
        *why = "NVML does not know a GPU at this PCI address";
    }
    if (!*why && power->energy(device, &millijoules) != 0) {
        *why = "this GPU has no counter of energy";
    }
    *joules = *why ? 0.0 : (double)millijoules * 1e-3;
    return !*why;
}
