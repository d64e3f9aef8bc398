/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine descriptions, and device lists with their core sets. */
#include "backend/simulated/describe.h"
#include "base/alloc.h"
#include "fuzz/fuzz.h"
#include "topology/devices.h"

#include <stdlib.h>
#include <string.h>

static void read_list(const uint8_t *data, size_t bytes) {
    pel_device_list list;
    pel_error *error = NULL;
    char *text = pel_strndup(&pel_allocator_default, (const char *)data, strnlen((const char *)data, bytes));
    if (!text) {
        abort();
    }
    pel_status status = pel_device_list_parse(text, "the list", &pel_allocator_default, &list, &error);
    if ((status == PEL_OK) != (error == NULL)) {
        abort();
    }
    pel_device_list_free(&list);
    pel_error_destroy(error);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    pel_description description;
    pel_error *error = NULL;
    memset(&description, 0, sizeof description);
    pel_status status = pel_description_parse(&pel_allocator_default, "machine", (const char *)data, bytes, &description, &error);
    if ((status == PEL_OK) != (error == NULL)) {
        abort();
    }
    if (status == PEL_OK) {
        pel_free(&pel_allocator_default, description.devices);
    }
    pel_error_destroy(error);
    read_list(data, bytes);
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]) {
    static const char *const texts[] = {
        "seed = 1\n[host]\nitems_per_us = 1000\n[gpu0]\nitems_per_us = 4000\nstart_us = 20\nlink_gb_per_s = 12\n",
        "# two\n[a]\nrate = 1\nnoise = 0.1\nfail_at_chunk = 3\n", "host@0,opencl:0@1-3+6,!gpu",
        "all, !llvmpipe , opencl:1@0-1023"};
    return fuzz_text(texts, sizeof texts / sizeof *texts, index, data);
}
