/* SPDX-License-Identifier: BSD-3-Clause */
/* The public macros as C++17. */
#include "headers/macros.h"

int main(void) {
    return run_macro_tests();
}
