#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every macro and inline function of the public headers must be expanded in tests/headers/macros.h.
set -eu
cd "$PEL_SOURCE_DIR"
missing=0 seen=0
names=$(sed -n -e 's/^[[:space:]]*#[[:space:]]*define[[:space:]]\{1,\}\(PEL_[A-Z0-9_]*\).*/\1/p' \
               -e 's/^static inline .*[ *]\(pel_[a-z0-9_]*\)(.*/\1/p' include/pel/*.h | sort -u)
for name in $names; do
    case $name in
    *_H | PEL_STATUS_ENUM | *_) continue ;; # include guards; internal to the header
    esac
    seen=$((seen + 1))
    if ! grep -q "\\b$name\\b" tests/headers/macros.h; then
        echo "tests/headers/macros.h does not expand $name"
        missing=$((missing + 1))
    fi
done
echo "$seen macros and inline functions, $missing missing"
[ "$seen" -ge 30 ] && [ "$missing" -eq 0 ]
