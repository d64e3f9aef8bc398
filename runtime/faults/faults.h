/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control of the fault layer from inside the program that it disturbs. Optional: the environment variable PEL_FAULTS does
 * everything that a script can say. A test that wants to try many faults in one process asks the loaded layer for its control:
 *
 *     void *layer = dlopen("libpel-faults.so", RTLD_NOW);           the same file that OPENCL_LAYERS names
 *     pel_faults_get_control *get = (pel_faults_get_control *)dlsym(layer, "pel_faults_control_get");
 *     const pel_faults_control *faults = get(PEL_FAULTS_CONTROL_VERSION);
 *
 * Every function may be called from any thread. Documented in docs/testing-faults.md and pel-faults(7).
 */
#ifndef PEL_FAULTS_H
#define PEL_FAULTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEL_FAULTS_CONTROL_VERSION 1u

typedef struct pel_faults_control {
    uint32_t version;
    /*
     * Replaces the script; NULL or "": no faults. All counts begin again, vanished devices are back, commands that would never
     * have completed fail. Returns 0, or -1 with the reason in `why`, and then the old script stays.
     */
    int (*set)(const char *script, char *why, size_t why_bytes);
    /* How many faults have happened since the last set, and the name of the last call that had one (NULL: none). */
    uint64_t (*fired)(void);
    const char *(*last)(void);
    /* References to OpenCL objects that the program holds: made or retained, less released. */
    int64_t (*objects)(void);
    /* Late commands that are still to come. */
    uint32_t (*pending)(void);
    /* The calls that the layer knows: name, how often it came since the last set, and the codes that the specification
     * documents. */
    uint32_t (*call_count)(void);
    const char *(*call_name)(uint32_t call);
    uint64_t (*call_times)(uint32_t call);
    const int32_t *(*call_codes)(uint32_t call, uint32_t *count);
} pel_faults_control;

/* NULL: the layer is of another version. */
typedef const pel_faults_control *pel_faults_get_control(uint32_t version);

#ifdef __cplusplus
}
#endif
#endif
