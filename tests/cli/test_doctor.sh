#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel doctor` before invented patients: trees below PEL_DOCTOR_ROOT and environments.
set -u
failures=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# The driver that crashes must die by its signal, not in a sanitizer's report.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}handle_segv=0" TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}handle_segv=0"
unset PEL_DEVICES OCL_ICD_VENDORS OPENCL_VENDOR_PATH RUSTICL_ENABLE

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

# patient NAME: an empty machine of that name
patient() {
    root=$work/$1
    mkdir -p "$root/etc/OpenCL/vendors" "$root/sys/bus/pci/devices" "$root/proc/driver/nvidia" "$root/dev"
}

check "runs" 0 '^ok *host' "$PEL_BIN" doctor
check "json" 0 '"usable": true' "$PEL_BIN" doctor --json
check "nothing selected" 1 'would find no device' "$PEL_BIN" doctor --devices no-such-device
check "nothing selected, json" 1 '"usable": false' env PEL_DEVICES=no-such-device "$PEL_BIN" doctor --json
check "unknown option" 2 'bogus' "$PEL_BIN" doctor --bogus

if "$PEL_BIN" doctor | grep -q 'built without OpenCL'; then
    [ "$failures" -eq 0 ]
    exit
fi

patient empty
check "no driver" 0 'no OpenCL driver is installed.*holds no .icd' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor
rmdir "$root/etc/OpenCL/vendors"
check "no directory" 0 'no OpenCL driver is installed.*does not exist' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor
check "a wrong variable" 0 'OCL_ICD_VENDORS is /proc/nowhere, which cannot be read' env OCL_ICD_VENDORS=/proc/nowhere "$PEL_BIN" doctor

mkdir "$work/vendors"
echo libgone-1234.so.1 > "$work/vendors/gone.icd"
check "a library that is gone" 0 'gone.icd will not load: libgone-1234.so.1' env OCL_ICD_VENDORS="$work/vendors" "$PEL_BIN" doctor
: > "$work/vendors/gone.icd"
check "an empty file" 0 'gone.icd names no library' env OCL_ICD_VENDORS="$work/vendors" "$PEL_BIN" doctor
printf 'libgr\303\266\303\237e.so\033[31m\377\n' > "$work/vendors/gone.icd"
check "a name that is no plain ASCII" 0 "$(printf 'will not load: libgr\303\266\303\237e.so?[[]31m?')" env OCL_ICD_VENDORS="$work/vendors" "$PEL_BIN" doctor
echo libm.so.6 > "$work/vendors/gone.icd"
check "no driver at all" 0 'is not an OpenCL driver' env OCL_ICD_VENDORS="$work/vendors" "$PEL_BIN" doctor
echo junk > "$work/junk.so"
echo "$work/junk.so" > "$work/vendors/gone.icd"
check "a damaged library" 0 'gone.icd will not load' env OCL_ICD_VENDORS="$work/vendors" "$PEL_BIN" doctor

patient nvidia
mkdir -p "$root/usr/lib"
echo version > "$root/proc/driver/nvidia/version"
check "NVIDIA without its library" 0 "kernel driver is loaded, but its OpenCL library is not installed" env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor
: > "$root/.dockerenv"
check "NVIDIA in a container" 0 'NVIDIA_DRIVER_CAPABILITIES' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor
: > "$root/usr/lib/libnvidia-opencl.so.1"
check "NVIDIA without .icd" 0 'no .icd file names it' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor

patient card
mkdir -p "$root/sys/bus/pci/devices/0000:41:00.0"
echo 0x030000 > "$root/sys/bus/pci/devices/0000:41:00.0/class"
echo 0x1002 > "$root/sys/bus/pci/devices/0000:41:00.0/vendor"
check "a card without driver" 0 'graphics card by AMD at 0000:41:00.0' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor
echo 0x020000 > "$root/sys/bus/pci/devices/0000:41:00.0/class"
if PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor | grep -q 'graphics card'; then
    echo "FAILED a network card is not a graphics card"
    failures=$((failures + 1))
fi

patient container
: > "$root/.dockerenv"
check "a container without GPU" 0 '--device /dev/dri' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor

if [ "$(id -u)" -ne 0 ]; then
    patient locked
    mkdir "$root/dev/dri"
    : > "$root/dev/dri/renderD128"
    chmod 000 "$root/dev/dri/renderD128"
    check "a device file that may not be opened" 0 '/dev/dri/renderD128 may not be opened' env PEL_DOCTOR_ROOT="$root" "$PEL_BIN" doctor
fi

# The recorded container of the budget tests: half a core.
check "a quota" 0 'CPU quota of 0.50 cores' env PEL_DOCTOR_ROOT="$PEL_SOURCE_DIR/tests/fixtures/topology/docker-v1" "$PEL_BIN" doctor

if "$PEL_BIN" info --json 2> /dev/null | grep -q 'Portable Computing Language'; then
    check "PoCL without a cache" 0 'PoCL cannot write its cache /proc/nowhere' env POCL_CACHE_DIR=/proc/nowhere "$PEL_BIN" doctor
    check "PoCL without a linker" 0 'needs the linker ld' env PATH="$work/vendors" "$PEL_BIN" doctor
fi
if [ -n "${PEL_FAKE_ICD:-}" ]; then
    check "a crashing driver is named" 0 'kills the process by signal 11 (SIGSEGV)' env OCL_ICD_VENDORS="$PEL_FAKE_ICD" PEL_FAKE_MODE=crash "$PEL_BIN" doctor
    check "an emulator" 0 'name it: PEL_DEVICES=host,opencl:0' env OCL_ICD_VENDORS="$PEL_FAKE_ICD" PEL_FAKE_DEVICES='gpu:name=llvmpipe' "$PEL_BIN" doctor
fi
[ "$failures" -eq 0 ]
