/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Workload files look like machine descriptions: `key = value  # comment`, a [section] a kernel, units in the keys, whatever is
 * not understood an error with its line.
 */
#include "cli/sim_workload.h"
#include "backend/simulated/cost.h"
#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LINE 512
#define LAUNCHES_MOST 10000000.0

typedef enum kind { COUNT, REAL, FLAG, PROFILE, SPEED } kind;

static const struct {
    const char *name;
    kind kind;
    size_t offset;
    double least, most;
} keys[] = {
    {"items", COUNT, offsetof(pel_sim_kernel, items), 1.0, 1e12},
    {"items_most", COUNT, offsetof(pel_sim_kernel, items_most), 1.0, 1e12},
    {"launches", COUNT, offsetof(pel_sim_kernel, launches), 1.0, LAUNCHES_MOST},
    {"granularity", COUNT, offsetof(pel_sim_kernel, granularity), 1.0, 1e9},
    {"bytes_in_per_item", COUNT, offsetof(pel_sim_kernel, bytes_in), 0.0, 1e6},
    {"bytes_out_per_item", COUNT, offsetof(pel_sim_kernel, bytes_out), 0.0, 1e6},
    {"cost", REAL, offsetof(pel_sim_kernel, cost), 1e-6, 1e12},
    {"contrast", REAL, offsetof(pel_sim_kernel, contrast), 1.0, 1e6},
    {"profile", PROFILE, offsetof(pel_sim_kernel, profile), 0.0, 0.0},
    {"irregular", FLAG, offsetof(pel_sim_kernel, irregular), 0.0, 0.0},
    {"single", FLAG, offsetof(pel_sim_kernel, single), 0.0, 0.0},
    {"resident", FLAG, offsetof(pel_sim_kernel, resident), 0.0, 0.0},
    {"speed", SPEED, 0, 1e-6, 1e6},
};
enum { KEYS = sizeof keys / sizeof *keys };

typedef struct parser {
    const char *path;
    unsigned line;
    pel_sim_workload *workload;
} parser;

static bool wrong(const parser *p, const char *what, const char *text) {
    pel_cli_error("sim", "%s:%u: %s: \"%.40s\"", p->path, p->line, what, text);
    return false;
}

static bool wrong_number(const parser *p, unsigned key, const char *what, const char *value) {
    pel_cli_error("sim", "%s:%u: %s needs a %s from %g to %g, not: \"%.40s\"", p->path, p->line, keys[key].name, what,
                  keys[key].least, keys[key].most, value);
    return false;
}

static char *trimmed(char *text) {
    text += strspn(text, " \t\r\n");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1])) {
        text[--length] = '\0';
    }
    return text;
}

static bool good_name(const char *name) {
    size_t length = strlen(name);
    return length > 0 && length < PEL_SIM_NAME &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == length;
}

static bool set_profile(const parser *p, const char *value, pel_sim_profile *profile) {
    static const char *const names[] = {"flat", "ramp", "hump", "steps"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(value, names[i]) == 0) {
            *profile = (pel_sim_profile)i;
            return true;
        }
    }
    return wrong(p, "a profile is flat, ramp, hump or steps, not", value);
}

/* "gpu0 2.5": this kernel runs 2.5 times as fast there as others do. */
static bool set_speed(const parser *p, char *value, pel_sim_kernel *kernel) {
    char *number = value + strcspn(value, " \t");
    if (kernel->like_count == PEL_SIM_LIKES) {
        return wrong(p, "more than 16 speeds in one section", value);
    }
    if (*number) {
        *number++ = '\0';
        number = trimmed(number);
    }
    double speed;
    if (!good_name(value) || !pel_cli_read_real(number, &speed) || !(speed >= 1e-6 && speed <= 1e6)) {
        return wrong(p, "a speed is a device's name and a factor, not", value);
    }
    snprintf(kernel->likes[kernel->like_count].device, PEL_SIM_NAME, "%s", value);
    kernel->likes[kernel->like_count++].speed = speed;
    return true;
}

static bool set_key(const parser *p, unsigned key, char *value, pel_sim_kernel *kernel) {
    void *field = (char *)kernel + keys[key].offset;
    uint64_t count;
    double real;
    switch (keys[key].kind) {
    case PROFILE:
        return set_profile(p, value, field);
    case SPEED:
        return set_speed(p, value, kernel);
    case FLAG:
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0) {
            pel_cli_error("sim", "%s:%u: %s needs yes or no, not: \"%.40s\"", p->path, p->line, keys[key].name, value);
            return false;
        }
        *(bool *)field = *value == 'y';
        return true;
    case COUNT:
        if (!pel_cli_read_u64(value, &count) || (double)count < keys[key].least || (double)count > keys[key].most) {
            return wrong_number(p, key, "whole number, in digits,", value);
        }
        *(uint64_t *)field = count;
        return true;
    case REAL:
        if (!pel_cli_read_real(value, &real) || !(real >= keys[key].least && real <= keys[key].most)) {
            return wrong_number(p, key, "number", value);
        }
        *(double *)field = real;
        return true;
    }
    return false;
}

static bool begin_kernel(const parser *p, const char *name) {
    pel_sim_workload *workload = p->workload;
    if (!good_name(name)) {
        return wrong(p, "a kernel's name has 1 to 31 letters, digits, '_', '-' or '.', unlike", name);
    }
    for (uint32_t i = 0; i < workload->kernel_count; i++) {
        if (strcmp(workload->kernels[i].name, name) == 0) {
            return wrong(p, "a second section of that name", name);
        }
    }
    if (workload->kernel_count == PEL_SIM_KERNELS) {
        return wrong(p, "more than 64 kernels", name);
    }
    pel_sim_kernel *kernel = &workload->kernels[workload->kernel_count++];
    *kernel = (pel_sim_kernel){.launches = 1, .granularity = 1, .cost = 1.0, .contrast = 10.0};
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    return true;
}

static bool parse_line(const parser *p, char *line) {
    line[strcspn(line, "#")] = '\0';
    line = trimmed(line);
    size_t length = strlen(line);
    if (length == 0) {
        return true;
    }
    if (line[0] == '[') {
        if (line[length - 1] != ']') {
            return wrong(p, "a section is written [NAME], unlike", line);
        }
        line[length - 1] = '\0';
        return begin_kernel(p, trimmed(line + 1));
    }
    char *value = strchr(line, '=');
    if (!value) {
        return wrong(p, "expected \"key = value\" or \"[NAME]\", found", line);
    }
    *value++ = '\0';
    line = trimmed(line);
    value = trimmed(value);
    if (p->workload->kernel_count == 0) {
        if (strcmp(line, "rounds") != 0) {
            return wrong(p, "before the first [kernel] only \"rounds = NUMBER\" may stand, not", line);
        }
        bool good = pel_cli_read_u64(value, &p->workload->rounds) && p->workload->rounds > 0 &&
                    (double)p->workload->rounds <= LAUNCHES_MOST;
        return good || wrong(p, "rounds needs a whole number, in digits, from 1 to 10000000, not", value);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        if (strcmp(line, keys[i].name) == 0) {
            return set_key(p, i, value, &p->workload->kernels[p->workload->kernel_count - 1]);
        }
    }
    return wrong(p, "unknown key (see pel-sim(1))", line);
}

static bool check(const parser *p) {
    double launches = 0.0;
    for (uint32_t i = 0; i < p->workload->kernel_count; i++) {
        const pel_sim_kernel *kernel = &p->workload->kernels[i];
        launches += (double)kernel->launches * (double)p->workload->rounds;
        uint64_t most = kernel->items_most > 0 ? kernel->items_most : kernel->items;
        if (kernel->items == 0 || most < kernel->items) {
            pel_cli_error("sim", "%s: [%s] needs items, and items_most not below", p->path, kernel->name);
            return false;
        }
        if ((double)most * (double)(kernel->bytes_in + kernel->bytes_out) > 4e9) {
            pel_cli_error("sim", "%s: [%s] moves more than 4 GB, which the simulation really holds", p->path, kernel->name);
            return false;
        }
    }
    if (p->workload->kernel_count == 0 || launches > LAUNCHES_MOST) {
        pel_cli_error("sim", "%s: %s", p->path, launches > 0.0 ? "more than ten million launches" : "there is no [kernel]");
        return false;
    }
    return true;
}

bool pel_sim_workload_read(const char *path, pel_sim_workload *workload) {
    char line[LINE];
    parser p = {.path = path, .workload = workload};
    FILE *file = fopen(path, "re");
    bool good = file != NULL;
    *workload = (pel_sim_workload){.rounds = 1};
    if (!file) {
        pel_cli_error("sim", "cannot open %s: %s", path, strerror(errno));
        return false;
    }
    errno = 0;
    while (good && fgets(line, sizeof line, file)) {
        p.line++;
        good = strchr(line, '\n') || feof(file) ? parse_line(&p, line) : wrong(&p, "a line is too long", line);
    }
    if (good && ferror(file)) {
        pel_cli_error("sim", "cannot read %s: %s", path, strerror(errno));
        good = false;
    }
    (void)fclose(file);
    return good && check(&p);
}

void pel_sim_workload_draw(pel_sim_workload *workload, uint64_t seed) {
    uint64_t luck = seed;
    for (uint32_t k = 0; k < workload->kernel_count; k++) {
        pel_sim_kernel *kernel = &workload->kernels[k];
        double weight[PEL_SIM_BINS], sum = 0.0, most = kernel->profile == PEL_SIM_FLAT ? 1.0 : kernel->contrast;
        for (int i = 0; i < PEL_SIM_BINS; i++) {
            double x = (i + 0.5) / PEL_SIM_BINS, off = (x - 0.5) / 0.15;
            double step = exp(pel_simulated_uniform(&luck) * log(most));
            weight[i] = kernel->profile == PEL_SIM_RAMP    ? 1.0 + (most - 1.0) * x
                        : kernel->profile == PEL_SIM_HUMP  ? 1.0 + (most - 1.0) * exp(-0.5 * off * off)
                        : kernel->profile == PEL_SIM_STEPS ? (i % 16 == 0 ? step : weight[i - 1])
                                                           : 1.0;
            sum += weight[i];
        }
        for (int i = 0; i < PEL_SIM_BINS; i++) {
            kernel->cumulative[i + 1] = kernel->cumulative[i] + weight[i] / sum;
        }
    }
}

static double up_to(const pel_sim_kernel *kernel, double x) {
    double at = x * PEL_SIM_BINS;
    int bin = at >= PEL_SIM_BINS ? PEL_SIM_BINS - 1 : (int)at;
    return kernel->cumulative[bin] + (at - bin) * (kernel->cumulative[bin + 1] - kernel->cumulative[bin]);
}

double pel_sim_work(void *user, const char *device, const char *name, const pel_span *span) {
    const pel_sim_workload *workload = user;
    const char *plain = strncmp(device, "sim:", 4) == 0 ? device + 4 : device;
    for (uint32_t k = 0; k < workload->kernel_count; k++) {
        const pel_sim_kernel *kernel = &workload->kernels[k];
        if (strcmp(kernel->name, name) != 0) {
            continue;
        }
        double n = (double)span->global[0], work = kernel->cost * n;
        work *= up_to(kernel, (double)span->hi[0] / n) - up_to(kernel, (double)span->lo[0] / n);
        for (uint32_t i = 0; i < kernel->like_count; i++) {
            if (strcmp(kernel->likes[i].device, plain) == 0) {
                work /= kernel->likes[i].speed;
            }
        }
        return work;
    }
    return 0.0;
}
