#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Everything that wants a GPU, in one script: bench/gpu-check.sh [BUILD FOLDER]
# The device table, the conformance suite, every kernel verified on each device alone and on all together, hybrid against the GPU alone, for data that starts
# and ends in host memory (which is what pel bench times) and for data that stays on the device (a chain of launches). Without a GPU it does
# the same with what there is and says so. Ends with a summary and a non-zero status when something is wrong; speed is reported, not judged.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-}
if [ -z "$build" ]; then
    for folder in "$here/../build/release" "$here/../build"; do
        [ -x "$folder/bin/pel" ] && { build=$folder; break; }
    done
fi
if [ -z "$build" ] || [ ! -x "$build/bin/pel" ]; then
    echo "gpu-check: no built pel in ${build:-build/}; run: cmake --preset release && cmake --build --preset release" >&2
    exit 2
fi
pel=$build/bin/pel
failures=

step() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@"
    status=$?
    if [ "$status" -ne 0 ]; then
        echo "== FAILED: $name (status $status)"
        failures="$failures
  $name"
    fi
}

conformance() {
    found=0
    bad=0
    for test in "$build"/tests/conformance/test_* "$build"/tests/kernels/test_catalogue; do
        if [ ! -f "$test" ] || [ ! -x "$test" ]; then continue; fi
        found=1
        if "$test" > "$log" 2>&1; then
            echo "passed  ${test##*/}"
        else
            echo "FAILED  ${test##*/}"
            tail -n 30 "$log"
            bad=1
        fi
    done
    [ "$found" -eq 1 ] || echo "left out: the tests are not built"
    return "$bad"
}

# the tests' devices [outside] need the program of this build, which may not be installed
if [ -x "$build/bin/pel-device" ]; then
    PEL_DEVICE_PROGRAM=$(cd "$build/bin" && pwd)/pel-device
    export PEL_DEVICE_PROGRAM
fi
log=$(mktemp "${TMPDIR:-/tmp}/pel-gpu-check-XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT

step "devices" "$pel" info
"$pel" doctor
if "$pel" info --json | grep -Eq '"class": *"[^"]*(discrete|integrated)'; then
    gpu=1
else
    gpu=0
    printf '\nThere is no GPU here: the same is done with the devices there are.\n'
fi
step "conformance" conformance
step "every kernel verified, from and to host memory" "$pel" bench --no-compare --time-target 5
step "odd sizes" "$pel" bench --no-compare --quick --size 321
if [ "$gpu" -eq 1 ]; then
    step "the GPU alone, beside raw OpenCL" "$pel" bench --devices gpu
    step "all devices, larger launches" "$pel" bench --no-compare --time-target 100
fi
if [ -x "$build/bench/bench_resident" ]; then
    step "data that stays on the device" "$build/bench/bench_resident"
fi

printf '\n'
if [ -n "$failures" ]; then
    echo "FAILED:$failures"
    exit 1
fi
if [ "$gpu" -eq 1 ]; then echo "All passed, with a GPU."; else echo "All passed, without a GPU: none is here."; fi
