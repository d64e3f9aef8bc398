#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Each public header compiles alone, twice included, as C11 and as C++17, without a warning even under -Wpedantic.
set -eu
cd "$PEL_SOURCE_DIR"
failures=0
for header in include/pel/*.h; do
    name=${header#include/}
    [ "$name" = pel/opencl.h ] && [ "$PEL_OPENCL" != ON ] && continue
    text="#include <$name>
#include <$name>
int main(void) { return 0; }"
    if ! printf '%s\n' "$text" | "$PEL_CC" -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude -x c -fsyntax-only -; then
        echo "$name does not stand alone as C11"
        failures=$((failures + 1))
    fi
    [ -n "$PEL_CXX" ] || continue
    if ! printf '%s\n' "$text" | "$PEL_CXX" -std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude -x c++ -fsyntax-only -; then
        echo "$name does not stand alone as C++17"
        failures=$((failures + 1))
    fi
done
[ "$failures" -eq 0 ]
