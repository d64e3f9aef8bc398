/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/npy.h"
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    pel_array array;
    char message[PEL_MESSAGE_BYTES] = "";
    memset(&array, 0, sizeof array);
    if (pel_npy_read(fuzz_file(data, bytes), &array, message)) {
        pel_array_free(&array);
    } else if (message[0] == '\0') {
        __builtin_trap(); /* refused without a reason */
    }
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]) {
    static const char *const headers[] = {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
                                          "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }",
                                          "{'descr': '|u1', 'fortran_order': True, 'shape': (4, 2, 3), }",
                                          "{'descr': '>f8', 'fortran_order': False, 'shape': (), }"};
    if (index >= sizeof headers / sizeof *headers) {
        return 0;
    }
    size_t length = strlen(headers[index]), padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    memcpy(data, "\x93NUMPY\x01\x00", 8);
    data[8] = (uint8_t)padded;
    data[9] = (uint8_t)(padded >> 8);
    memset(data + 10, ' ', padded);
    memcpy(data + 10, headers[index], length);
    data[10 + padded - 1] = '\n';
    memset(data + 10 + padded, 7, 24);
    return 10 + padded + 24;
}
