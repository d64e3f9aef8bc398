#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel bench` end to end, with tiny sizes: tables, files, wrong input. Figures are not judged here: the machine may be busy.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"

quick="--quick --time-target 0.3"

# Wrong input, before anything runs.
refuses 2 "did you mean 'dot'" "$pel" bench --kernels dott
refuses 2 "there are: triad" "$pel" bench --kernels "dot,"
refuses 2 "--time-target" "$pel" bench --time-target nan
refuses 2 "--time-target" "$pel" bench --time-target 0
refuses 2 "--seed" "$pel" bench --seed -1
refuses 2 "goes up to" "$pel" bench --kernels gaussian --size 68719476736
refuses 2 "leave out --devices" "$pel" bench --disjoint --devices host
refuses 2 "unexpected" "$pel" bench something
refuses 1 "no-such-folder/out.json" "$pel" bench --json no-such-folder/out.json
refuses 1 "no-such-folder/out.csv" "$pel" bench --csv no-such-folder/out.csv
refuses 1 "no-such-device" "$pel" bench --devices no-such-device
absent no-such-folder/out.json

# The host alone: no OpenCL needed.
# shellcheck disable=SC2086
run 0 "$pel" bench $quick --devices host --json host.json --csv host.csv
for kernel in triad gaussian mandelbrot nbody dot matmul; do
    says out "$kernel"
    grep -q "^$kernel,.*,\"host\",.*,yes," host.csv || complain "$kernel is not verified in host.csv"
done
says host.json '"verified": true'
[ ! -s err ] || complain "progress or messages in a pipe"
grep -qi -e nan -e inf host.json host.csv && complain "NaN or Inf in a file"
[ "$(awk -F, 'NR == 1 { n = NF } NF != n { bad = 1 } END { print bad + 0 }' host.csv)" = 0 ] || complain "rows of host.csv differ in length"

# Sizes as given, odd ones and one; whatever devices there are.
run 0 "$pel" bench --quick --no-compare --size 67 --seed 3 --kernels gaussian,matmul,mandelbrot,nbody,dot,triad
run 0 "$pel" bench --quick --no-compare --size 1 --json one.json
says one.json '"verified": true'
# shellcheck disable=SC2086
run 0 "$pel" bench $quick --kernels dot --json -
says out '"schema": "pel-bench-1"'
run 1 "$pel" bench --quick --no-compare --size 64 --kernels dot --json /dev/full
says err "/dev/full"

# One core cannot be shared out.
if command -v taskset > /dev/null; then
    core=$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')
    refuses 1 "need two cores" taskset -c "$core" "$pel" bench --disjoint
fi
absent
finish
