/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer: any bytes as the description of a simulated machine. What is accepted must be what a program could have given. */
#include "backend/simulated/describe.h"
#include "backend/simulated/cost.h"
#include "base/error.h"

#include <math.h>
#include <pel/status.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pel_description description, copy;
    pel_error *error = NULL;
    if (pel_description_parse(&pel_allocator_default, "fuzz", (const char *)data, size, &description, &error) != PEL_OK) {
        if (error == NULL || *pel_error_message(error) == '\0') {
            __builtin_trap();
        }
        pel_error_destroy(error);
        return 0;
    }
    if (pel_description_copy(&pel_allocator_default, description.devices, description.device_count, &copy, NULL) != PEL_OK) {
        __builtin_trap();
    }
    for (uint32_t i = 0; i < copy.device_count; i++) {
        double cost = pel_simulated_cost(&copy.devices[i], 3, 1e6, 1000.0, 1000.0);
        if (!(cost >= 0.0) || !isfinite(cost)) {
            __builtin_trap();
        }
    }
    free(description.devices);
    free(copy.devices);
    return 0;
}
