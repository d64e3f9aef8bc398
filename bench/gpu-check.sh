#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The first ten minutes with a GPU: bench/gpu-check.sh [--quick] [--minutes N] [--out FOLDER] [BUILD FOLDER]
#
# What matters most comes first, and each part has a limit of its own: the device table; the conformance suite; random graphs of
# all kinds of commands on the host and the GPU; every kernel verified on each device alone and on all together, beside the best
# single device; odd sizes; data that stays on the device against data that comes from the host and goes back; the GPU beside raw
# OpenCL; larger launches; what pel costs on one device. What no time is left for is said. Without a GPU the same is done with
# what there is. Needs a build and a POSIX shell.
#
# Prints one table of the parts and one of the kernels. FOLDER (gpu-check, unless told) holds results.jsonl, all figures as JSON
# lines, and what each part printed. A non-zero status when something is wrong; speed is reported, not judged. --quick: rough, a
# minute or two.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out="gpu-check"
minutes=10
quick=
build=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=--quick ;;
    --minutes | --out)
        [ $# -gt 1 ] || { echo "gpu-check: $1 needs a value" >&2; exit 2; }
        if [ "$1" = --out ]; then out=$2; else minutes=$2; fi
        shift ;;
    -*) sed -n '4p' "$0" | sed 's/^# //' >&2; exit 2 ;;
    *) build=$1 ;;
    esac
    shift
done
case $minutes in '' | *[!0-9]*) echo "gpu-check: --minutes $minutes is no number" >&2; exit 2 ;; esac
if [ -z "$build" ]; then
    for folder in "$here/../build/release" "$here/../build"; do
        [ -x "$folder/bin/pel" ] && { build=$folder; break; }
    done
fi
if [ -z "$build" ] || [ ! -x "$build/bin/pel" ]; then
    echo "gpu-check: no built pel in ${build:-build/}; run: cmake --preset release && cmake --build --preset release" >&2
    exit 2
fi
build=$(cd "$build" && pwd)
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
results=$out/results.jsonl
: >"$results"
for program in pel-device:PEL_DEVICE_PROGRAM pel-probe:PEL_PROBE; do # of this build, which may not be installed
    if [ -x "$build/bin/${program%%:*}" ]; then
        export "${program##*:}=$build/bin/${program%%:*}"
    fi
done
pel=$build/bin/pel
ends=$(($(date +%s) + minutes * 60))
failures=0

# report NAME STATUS SECONDS WHAT
report() {
    printf '%-34s %-9s %5s s  %s\n' "$1" "$2" "$3" "$4"
    printf '{"bench":"gpu-check","row":"%s","status":"%s","seconds":%s,"file":"%s"}\n' "$1" "$2" "$3" "${4##* }" >>"$results"
}

# step NAME FILE MOST COMMAND...: for MOST seconds, or what is left of all
step() {
    name=$1
    file=$out/$2
    most=$3
    shift 3
    left=$((ends - $(date +%s)))
    if [ "$left" -lt 5 ]; then
        report "$name" "no time" 0 "-"
        return
    fi
    [ "$most" -lt "$left" ] || most=$left
    began=$(date +%s)
    timeout -k 5 "$most" "$@" >"$file" 2>&1
    status=$?
    took=$(($(date +%s) - began))
    case $status in
    0) report "$name" passed "$took" "${file##*/}" ;;
    77) report "$name" skipped "$took" "${file##*/}" ;;
    124 | 137)
        failures=$((failures + 1))
        report "$name" "TOO LONG" "$took" "${file##*/}" ;;
    *)
        failures=$((failures + 1))
        report "$name" FAILED "$took" "${file##*/}"
        tail -n 15 "$file" | sed 's/^/    | /' ;;
    esac
}

# figures NAME: what `pel bench` has just written, as one line
figures() {
    if [ -s "$out/$1.json" ]; then
        tr -d '\n' <"$out/$1.json" >>"$results"
        echo >>"$results"
    fi
}

test_step() {
    if [ -x "$build/tests/$2" ]; then
        step "$1" "${2##*/}.txt" "$3" "$build/tests/$2"
    else
        report "$1" "not built" 0 "-"
    fi
}

if "$pel" info --json | grep -Eq '"class": *"[^"]*(discrete|integrated)'; then
    gpu=1
    PEL_STORM_DEVICES=host,gpu
else
    gpu=0
    PEL_STORM_DEVICES=host,opencl:0
    echo "There is no GPU here: the same is done with the devices there are."
fi
export PEL_STORM_DEVICES
"$pel" info
echo
printf '%-34s %-9s %7s  %s\n' part status time "in $out"
step "devices" info.txt 30 "$pel" info --json
step "what may be wrong with the machine" doctor.txt 30 "$pel" doctor
for test in host simulated opencl outside_opencl; do
    test_step "conformance, $test" "conformance/test_conformance_$test" 120
done
test_step "every kernel of the catalogue" kernels/test_catalogue 120
PEL_STORM_GRAPHS=${quick:+20}
export PEL_STORM_GRAPHS="${PEL_STORM_GRAPHS:-300}" PEL_STORM_ONLY=test_host
test_step "random graphs, host and device" queue/test_storm 60
step "kernels, 5 ms, host memory" kernels.txt 120 "$pel" bench --no-compare $quick --time-target 5 --csv "$out/kernels.csv" \
    --json "$out/kernels.json"
figures kernels
step "odd sizes" odd.txt 60 "$pel" bench --no-compare --quick --size 321 --json "$out/odd.json"
figures odd
if [ -x "$build/bench/bench_resident" ]; then
    step "data that stays on the device" resident.txt 90 "$build/bench/bench_resident" $quick --out "$results"
fi
if [ "$gpu" -eq 1 ]; then
    step "the GPU alone, beside raw OpenCL" raw.txt 90 "$pel" bench $quick --devices gpu --json "$out/raw.json"
    figures raw
    step "kernels, 100 ms" large.txt 150 "$pel" bench --no-compare --time-target 100 --csv "$out/large.csv" \
        --json "$out/large.json"
    figures large
fi
if [ -x "$build/bench/bench_overhead" ]; then
    step "what pel costs on one device" overhead.txt 90 "$build/bench/bench_overhead" --quick --out "$results"
fi

# Of each kernel: the fastest device alone, all together, and the part of the time of the one that the other takes.
table() {
    awk -F, 'NR > 1 {
        gsub(/"/, "", $3)
        if (!($1 in seen)) { seen[$1] = ++count; name[count] = $1; wrong[count] = "yes" }
        k = seen[$1]
        if ($8 != "yes") wrong[k] = "NO"
        if ($3 == "all") { all[k] = $4; plan[k] = $9; next }
        if ($4 + 0 > 0 && (!(k in best) || $4 + 0 < best[k])) { best[k] = $4 + 0; who[k] = $3 }
    }
    END {
        printf "%-16s %-12s %10s %10s %9s  %-8s  %s\n", "kernel", "fastest", "alone ms", "all ms", "all/alone", "verified", "plan"
        for (k = 1; k <= count; k++) {
            gsub(/"/, "", plan[k])
            ratio = best[k] > 0 ? all[k] / best[k] : 0
            printf "%-16s %-12s %10.3f %10.3f %9.3f  %-8s  %s\n", name[k], who[k], best[k], all[k], ratio, wrong[k], plan[k]
        }
    }' "$1"
}
for csv in "$out/kernels.csv" "$out/large.csv"; do
    if [ -s "$csv" ]; then
        echo
        table "$csv"
    fi
done
echo
[ "$gpu" -eq 1 ] && with="with a GPU" || with="without a GPU: none is here"
if [ "$failures" -gt 0 ]; then
    echo "$failures parts failed, $with. Figures: $results"
    exit 1
fi
echo "All passed, $with. Figures: $results"
