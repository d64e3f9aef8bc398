/* SPDX-License-Identifier: BSD-3-Clause */
/* As much of NVML as pel asks for: one GPU at 0000:01:00.0 that has used 1.5 J more at each reading, one at 0000:02:00.0
 * without a counter. */
#include <stdlib.h>
#include <string.h>

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **device);
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules);

static int started, first, second;
static unsigned long long used;

__attribute__((visibility("default"))) int nvmlInit_v2(void) {
    if (getenv("PEL_FAKE_NVML_BROKEN")) {
        return 9; /* NVML_ERROR_DRIVER_NOT_LOADED */
    }
    started++;
    return 0;
}

__attribute__((visibility("default"))) int nvmlShutdown(void) {
    return started-- > 0 ? 0 : 1;
}

__attribute__((visibility("default"))) int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **device) {
    *device = strcmp(pci, "0000:01:00.0") == 0 ? (void *)&first : (void *)&second;
    return started > 0 && strncmp(pci, "0000:0", 6) == 0 ? 0 : 6; /* NVML_ERROR_NOT_FOUND */
}

__attribute__((visibility("default"))) int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    used += 1500;
    *millijoules = used;
    return device == &first ? 0 : 3; /* NVML_ERROR_NOT_SUPPORTED */
}
