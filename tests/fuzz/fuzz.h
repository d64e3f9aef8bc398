/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fuzzer is a file test_NAME.c with these two functions. In every build it is a test that mutates its own seeds some thousand
 * times (driver.c); with -DPEL_FUZZ=ON and clang it is a libFuzzer program, which takes a corpus directory and libFuzzer's
 * options.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_BYTES = 4096 };

/* Any bytes may come. What must hold is asserted by abort(); everything else is the sanitizers' to find. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A valid input to begin with; 0: there is no such index. */
size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]);

/* The bytes as a file: a path that is valid until the next call. */
const char *fuzz_file(const uint8_t *data, size_t bytes);

/* Copies a text as a seed. */
size_t fuzz_text(const char *const *texts, unsigned count, unsigned index, uint8_t data[FUZZ_BYTES]);

#endif
