#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Three lists are one: the functions declared PEL_API in include/pel, those named in runtime/pel.map, and what libpel.so exports.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$PEL_SOURCE_DIR"

# Comments and preprocessor lines away, then one declaration a line.
declared() {
    for header in "$@"; do
        tr '\n' '\001' < "$header" | sed -e 's#/\*[^*]*\*\{1,\}\([^/*][^*]*\*\{1,\}\)*/##g' | tr '\001' '\n' | grep -v '^[[:space:]]*#' | tr '\n' ' ' | tr ';' '\n' |
            sed -n -e 's/.*PEL_API[^(]*[ *]\(pel_[a-z0-9_]*\) *(.*/\1/p'
    done | sort
}
declared include/pel/*.h > "$work/headers"
sed -n -e 's/^ *\(pel_[a-z0-9_]*\);.*/\1/p' runtime/pel.map | sort > "$work/map"
nm -D --defined-only "$PEL_LIBRARY" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort > "$work/library"

same() { # what, file, what, file
    if ! diff "$2" "$4" > "$work/difference"; then
        echo "$1 (<) and $3 (>) differ:"
        cat "$work/difference"
        failed=1
    fi
}
failed=0
[ "$(wc -l < "$work/headers")" -ge 60 ] || { echo "the headers were not understood"; failed=1; }
[ -z "$(uniq -d "$work/headers")" ] || { echo "declared twice: $(uniq -d "$work/headers")"; failed=1; }
same "PEL_API in include/pel" "$work/headers" runtime/pel.map "$work/map"
if [ "$PEL_OPENCL" != ON ]; then
    declared include/pel/opencl.h > "$work/opencl"
    comm -23 "$work/headers" "$work/opencl" > "$work/expected"
else
    cp "$work/headers" "$work/expected"
fi
same "PEL_API in include/pel" "$work/expected" "$PEL_LIBRARY" "$work/library"
echo "$(wc -l < "$work/library") functions exported"
exit $failed
