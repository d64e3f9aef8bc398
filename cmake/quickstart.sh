#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# From a bare Debian to a running pel:
#
#     sh cmake/quickstart.sh          installs packages, builds, runs `pel bench`
#     sh cmake/quickstart.sh test     installs packages, builds, runs all the tests
#
# Each works by itself and may be repeated; a repeat installs nothing and needs no network. Needs nothing but a POSIX shell and, to install, apt.
set -eu

usage() {
    cat <<'TEXT'
Usage: sh cmake/quickstart.sh [run|test] [--no-install] [--build-dir DIR] [--jobs N] [-- CMAKE-OPTION...]

  run              installs what is missing, builds pel and runs `pel bench` (default)
  test             installs what is missing, builds everything and runs all the tests
  --no-install     installs nothing; CMake and pkg-config must find what pel needs
  --build-dir DIR  where to build (default: build/release below the source)
  --jobs N         parallel jobs (default: the processors that this shell may use)
  -- ...           options for CMake, for example -- -DPEL_OPENCL=OFF
TEXT
}

# What pel needs: for the program, and besides for its tests.
packages_run="gcc libc6-dev cmake ninja-build pkg-config libhwloc-dev ocl-icd-opencl-dev opencl-headers libjansson-dev libpng-dev
    pocl-opencl-icd"
packages_test="g++ libcmocka-dev libzstd-dev spin"

say() { printf '%s\n' "$*"; }
fail() {
    say "quickstart: $*" >&2
    exit 1
}

mode=run install=yes build='' jobs=''
while [ $# -gt 0 ]; do
    case $1 in
    run | test) mode=$1 ;;
    --no-install) install=no ;;
    --build-dir | --jobs)
        [ $# -ge 2 ] || fail "$1 wants a value"
        if [ "$1" = --jobs ]; then jobs=$2; else build=$2; fi
        shift
        ;;
    --build-dir=*) build=${1#*=} ;;
    --jobs=*) jobs=${1#*=} ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *)
        usage >&2
        fail "unknown argument '$1'"
        ;;
    esac
    shift
done # what is left in "$@" is for CMake
case $build in
'' | /*) ;;
*) build=$PWD/$build ;;
esac
cd "$(dirname "$0")/.."
source=$PWD
[ -n "$build" ] || build=$source/build/release
[ -n "$jobs" ] || jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
case $jobs in
*[!0-9]* | '' | 0*) fail "--jobs wants a positive number, not '$jobs'" ;;
esac
mkdir -p "$build" 2>/dev/null || fail "cannot create $build; choose another place with --build-dir"
logs=$build/quickstart
mkdir -p "$logs" || fail "cannot write to $build; choose another place with --build-dir"

# step NUMBER NAME COMMAND...: runs it with its output in a log; shows that something happens, how long it took, and on failure the log's end.
child=''
stop_child() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || :
    say "stopped" >&2
    exit 130
}
trap stop_child INT TERM
step() {
    step_name="[$1/4] $2"
    step_log=$logs/$1-$2.log
    shift 2
    began=$(date +%s)
    "$@" > "$step_log" 2>&1 < /dev/null &
    child=$!
    told=$began
    say_now=$step_name
    [ -t 1 ] || say "$step_name ..."
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.3 2>/dev/null || sleep 1
        now=$(date +%s)
        if [ -t 1 ]; then
            last=$(tail -n 1 "$step_log" | tr -d '\r' | cut -c1-60)
            printf '\r\033[K%s %d s  %s' "$say_now" "$((now - began))" "$last"
        elif [ $((now - told)) -ge 30 ]; then
            told=$now
            say "    $((now - began)) s: $(tail -n 1 "$step_log" | cut -c1-100)"
        fi
    done
    step_status=0
    wait "$child" || step_status=$?
    child=''
    [ ! -t 1 ] || printf '\r\033[K'
    if [ "$step_status" -ne 0 ]; then
        say "$step_name: FAILED after $(($(date +%s) - began)) s; the end of $step_log:"
        tail -n 30 "$step_log" | sed 's/^/    /'
        exit 1
    fi
    say "$step_name: done in $(($(date +%s) - began)) s"
}

missing_packages() {
    for package in $packages; do
        state=$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) || state=''
        case $state in
        ii*) ;;
        *) printf ' %s' "$package" ;;
        esac
    done
}

# shellcheck disable=SC2086 # $1 is empty or sudo, $missing a list
install_packages() {
    $1 apt-get -q update &&
        $1 env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 install $missing
}

packages=$packages_run
[ "$mode" = run ] || packages="$packages_run $packages_test"
# shellcheck disable=SC2086 # a list; its line breaks become blanks
packages=$(printf '%s ' $packages)
if [ "$install" = no ]; then
    say "[1/4] packages: not looked at (--no-install)"
elif ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
    say "This is no Debian: install these by the means of your system (the names are Debian's), then add --no-install:" >&2
    say "    $packages" >&2
    exit 1
else
    missing=$(missing_packages)
    if [ -z "$missing" ]; then
        say "[1/4] packages: all there"
    elif [ "$(id -u)" -eq 0 ]; then
        step 1 packages install_packages ""
    elif command -v sudo > /dev/null && sudo -v; then
        step 1 packages install_packages sudo
    else
        say "Packages are missing, and installing them needs root. Let somebody who may run this, then repeat:" >&2
        say "    apt-get update && apt-get install -y --no-install-recommends$missing" >&2
        exit 1
    fi
fi

command -v cmake > /dev/null || fail "there is no cmake (3.22 or newer is needed)"
generator=Ninja
if [ -f "$build/CMakeCache.txt" ]; then
    generator=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt")
elif ! command -v ninja > /dev/null; then
    generator="Unix Makefiles"
fi
tests=OFF
target=pel_product
if [ "$mode" = test ]; then
    tests=ON
    target=all
fi
step 2 configure cmake --preset release -G "$generator" -B "$build" -DPEL_BUILD_TESTS=$tests "$@"
if [ "$tests" = ON ] && [ ! -f "$build/CTestTestfile.cmake" ]; then
    fail "the tests need cmocka (Debian: libcmocka-dev)"
fi
step 3 build cmake --build "$build" --target $target --parallel "$jobs"

began=$(date +%s)
if [ "$mode" = run ]; then
    say "[4/4] pel bench"
    status=0
    "$build/bin/pel" bench < /dev/null || status=$?
    say ""
    [ "$status" -eq 0 ] || fail "pel bench failed (exit status $status); \`$build/bin/pel doctor\` looks for the reason"
    say "[4/4] pel bench: done in $(($(date +%s) - began)) s"
    say "Look at: the table above, a row a kernel: each device alone, then all of them together, checked against a reference."
    say "Then try: $build/bin/pel info     what was found on this machine"
    say "          $build/bin/pel doctor   why a device is not there"
    say "          $build/bin/pel help     everything else"
else
    say "[4/4] tests"
    status=0
    { ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$jobs" < /dev/null 2>&1 || echo "ctest: exit status $?"; } |
        tee "$logs/4-tests.log"
    ! tail -n 1 "$logs/4-tests.log" | grep -q '^ctest: exit status' || status=1
    say "Look at: $build/Testing/Temporary/LastTest.log for what each test printed."
    # The summary again, as the last thing on the screen.
    sed -n '/^[0-9]*% tests passed/p; /^The following tests FAILED/,/^$/p' "$logs/4-tests.log" | grep -v '^Errors while\|^ctest: \|^$'
    exit $status
fi
