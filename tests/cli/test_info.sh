#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel info`: the table, the JSON, device lists, errors.
set -u
failures=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset PEL_DEVICES OCL_ICD_VENDORS OPENCL_VENDOR_PATH RUSTICL_ENABLE

# check DESCRIPTION WANTED-STATUS PATTERN COMMAND...: the command ends with the status and its output has the pattern.
check() {
    what=$1 wanted=$2 pattern=$3
    shift 3
    "$@" > "$work/out" 2>&1 < /dev/null
    status=$?
    if [ "$status" -ne "$wanted" ] || ! grep -q -e "$pattern" "$work/out"; then
        echo "FAILED $what: status $status (wanted $wanted), pattern '$pattern'"
        sed 's/^/    /' "$work/out"
        failures=$((failures + 1))
    fi
}

check "table" 0 '^\* *host ' "$PEL_BIN" info
check "budget" 0 'This process may use' "$PEL_BIN" info
check "json" 0 '"id": "host"' "$PEL_BIN" info --json
check "host only" 0 '"opencl": false' "$PEL_BIN" info --json --devices host
check "unknown device" 1 'there is: host' "$PEL_BIN" info --devices no-such-device
check "malformed list" 1 'not a set of cores' "$PEL_BIN" info --devices host@x
check "environment" 1 'PEL_DEVICES' env PEL_DEVICES=no-such-device "$PEL_BIN" info
check "option before environment" 0 'host' env PEL_DEVICES=no-such-device "$PEL_BIN" info --devices host
check "unknown option" 2 'bogus' "$PEL_BIN" info --bogus
check "operand" 2 'extra' "$PEL_BIN" info extra
check "health" 0 'host is well: it computed the known answer' "$PEL_BIN" info --devices host --test
check "health as JSON" 0 '"state": "well"' "$PEL_BIN" info --devices host --test --json
check "help" 0 'Usage' "$PEL_BIN" info --help
# shellcheck disable=SC2016 # $1 is the inner shell's
check "full disk" 1 'cannot write' sh -c '"$1" info > /dev/full' - "$PEL_BIN"

# Without a home, a cache, or a temporary directory that can be written.
check "nowhere to write" 0 '^\* *host ' env HOME=/proc/nowhere XDG_CACHE_HOME=/proc/nowhere PEL_CACHE_DIR=/proc/nowhere TMPDIR=/proc/nowhere "$PEL_BIN" info

if [ -n "${PEL_FAKE_ICD:-}" ] && "$PEL_BIN" info --json --devices all 2> /dev/null | grep -q . ; then
    export OCL_ICD_VENDORS="$PEL_FAKE_ICD"
    check "invented GPUs" 0 '"identity": "pci:0000:41:00.0"' env PEL_FAKE_DEVICES='gpu:name=Big:pci=0000:41:00.0:mem=8G;accelerator:name=Board' \
        "$PEL_BIN" info --json --no-probe
    check "a GPU that fails in the probe" 0 'clCreateContext' env PEL_FAKE_DEVICES='gpu:name=Big' "$PEL_BIN" info
    check "an emulator is left out" 0 'an emulator' env PEL_FAKE_DEVICES='gpu:name=llvmpipe' "$PEL_BIN" info --no-probe
    check "a crashing driver costs itself only" 0 'is left out' env PEL_FAKE_MODE=crash "$PEL_BIN" info
    check "a wrong time-out is told" 0 'PEL_PROBE_TIMEOUT_MS=soon is no number' \
        env PEL_FAKE_DEVICES='gpu:name=Big' PEL_CACHE_DIR=/proc/nowhere PEL_PROBE_TIMEOUT_MS=soon "$PEL_BIN" info
    check "a hanging driver too" 0 'does not answer within 1 s (PEL_PROBE_TIMEOUT_MS=1000)' env PEL_FAKE_MODE=hang PEL_PROBE_TIMEOUT_MS=1000 "$PEL_BIN" info
fi
if [ -n "${PEL_FAULTS_LAYER:-}" ] && "$PEL_BIN" info --devices opencl:0 > /dev/null 2>&1; then
    check "a device that computes wrongly" 1 'opencl:0 is quarantined: .* failed its known-answer test' \
        env OPENCL_LAYERS="$PEL_FAULTS_LAYER" PEL_FAULTS='clEnqueueNDRangeKernel@1+:flip' "$PEL_BIN" info --no-probe --test --devices host,opencl:0
fi
[ "$failures" -eq 0 ]
