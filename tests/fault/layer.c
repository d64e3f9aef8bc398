/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault/layer.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const pel_faults_control *layer_load(void) {
    const char *path = getenv("PEL_FAULTS_LAYER");
    if (!path || setenv("OPENCL_LAYERS", path, 1) != 0) {
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW);
    pel_faults_get_control *get = library ? (pel_faults_get_control *)(uintptr_t)dlsym(library, "pel_faults_control_get") : NULL;
    if (!get) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    return get(PEL_FAULTS_CONTROL_VERSION);
}

void layer_script(const pel_faults_control *faults, const char *format, ...) {
    char script[1024], why[256];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(script, sizeof script, format, list);
    va_end(list);
    if (faults->set(script, why, sizeof why) != 0) {
        fprintf(stderr, "%s: %s\n", script, why);
        abort();
    }
}
