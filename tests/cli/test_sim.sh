#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel sim` and `pel history`: traces by seed, broken files, what is learned is kept, shown, exported, merged and pruned.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"
machines=${PEL_SOURCE_DIR:?}/tests/fixtures/machines
mixed=$PEL_SOURCE_DIR/tests/fixtures/workloads/mixed.workload
unset PEL_HISTORY
PEL_CACHE_DIR=$work/cache
export PEL_CACHE_DIR

trace() { tail -n 1 "$work/out"; }
run 0 "$pel" sim "$machines/laptop.machine" "$mixed"
says out "launches in"
says out "predictions were off by"
first=$(trace)
[ "$(grep -c 'took' "$work/out")" -eq 240 ] || complain "not every launch is printed"
run 0 "$pel" sim "$machines/laptop.machine" "$mixed" --quiet
[ "$(trace)" = "$first" ] || complain "the same seed gives another trace: $(trace), $first"
run 0 "$pel" sim "$machines/laptop.machine" "$mixed" --quiet --seed 77
[ "$(trace)" != "$first" ] || complain "another seed gives the same trace"
run 0 "$pel" sim "$machines/laptop.machine" "$mixed" --explain --quiet
says out "The last plan of fractal"
run 0 "$pel" sim "$machines/four_gpus.machine" "$mixed" --json --devices '!host'
says out '"trace": "'
says out '"sim:gpu3"'
refuses 2 "a MACHINE and a WORKLOAD" "$pel" sim "$machines/laptop.machine"
refuses 1 "cannot open" "$pel" sim "$machines/laptop.machine" nowhere
refuses 1 "nowhere.machine" "$pel" sim nowhere.machine "$mixed"

# Faults by seed: a launch that fails is counted and the run goes on; a failing seed is told as the command that repeats it.
four=$machines/four_gpus.machine
printf '%b' 'rounds = 6\n[work]\nitems = 200000\nlaunches = 4\ncost = 5\n' \
    'bytes_in_per_item = 4\nbytes_out_per_item = 1\n' > work.workload
lost='gpu0:lost_at_chunk=2..40;gpu1:fail_at_chunk=3'
run 1 "$pel" sim "$four" work.workload --seeds 6 --faults "$lost" --protect none
says out "of 6 seeds failed"
again=$(grep 'again with' "$work/out" | head -n 1 | sed 's/.*again with: pel //')
[ -n "$again" ] || complain "no command repeats a failing seed"
eval "run 1 \"\$pel\" $again --quiet"
says out "$again"
says out "24 launches"
second=$(trace)
eval "run 1 \"\$pel\" $again --quiet"
[ "$(trace)" = "$second" ] || complain "the same seed and faults give another trace"
run 0 "$pel" sim "$four" work.workload --seeds 6 --faults "$lost" --protect retry
says out "0 of 6 seeds failed"
run 1 "$pel" sim "$four" work.workload --quiet --faults 'gpu0:wrong_every_chunks=1'
says out "0 failed"
says out "launch 1, work: byte"
hang='gpu0:hang_at_chunk=2'
run 1 "$pel" sim "$four" work.workload --quiet --faults "$hang" --protect none
says out "1 failed and 0 came out wrong"
says out "nothing gives it up"
run 1 "$pel" sim "$four" work.workload --seeds 2 --faults "$hang"
says out "2 of 2 seeds failed"
run 0 "$pel" sim "$four" work.workload --quiet --faults "$hang" --protect isolate
refuses 2 'no device "gpu9"' "$pel" sim "$four" work.workload --faults 'gpu9:lost_at_chunk=1'
refuses 2 'unknown key' "$pel" sim "$four" work.workload --faults 'gpu0:lost=1'
refuses 2 'KEY=VALUE' "$pel" sim "$four" work.workload --faults 'gpu0'
refuses 2 'KEY=VALUE' "$pel" sim "$four" work.workload --faults 'gpu0:'
refuses 2 'lost_at_chunk' "$pel" sim "$four" work.workload --faults 'gpu0:lost_at_chunk=9..3'
refuses 2 'isolate' "$pel" sim "$four" work.workload --protect everything
refuses 2 'seeds' "$pel" sim "$four" work.workload --seeds 2 --json
refuses 2 'there are no 2 seeds' "$pel" sim "$four" work.workload --seed 18446744073709551615 --seeds 2
cp "$four" "it's four.machine"
run 1 "$pel" sim "it's four.machine" work.workload --quiet --faults 'gpu0:wrong_every_chunks=1'
again=$(sed -n 's/.*again with: pel //p' "$work/out")
eval "run 1 \"\$pel\" $again --quiet"
says out "launch 1, work: byte"

# Broken workloads: the line is named.
broken() {
    printf '%b' "$1" > broken.workload
    refuses 1 "$2" "$pel" sim "$machines/laptop.machine" broken.workload
}
broken '' 'there is no [kernel]'
broken '[k]\n' 'needs items'
broken '[k]\nitems = 10\ncolour = red\n' 'broken.workload:3: unknown key'
broken '[k]\nitems = -1\n' 'broken.workload:2: items needs a whole number'
broken 'rounds = 0\n' 'broken.workload:1: rounds needs a whole number'
broken '[k]\nitems = 1e99\n' 'broken.workload:2'
broken '[k]\nitems = 10\nprofile = round\n' 'broken.workload:3'
broken '[k]\nitems = 10\nspeed = gpu0\n' 'broken.workload:3'
broken '[k]\nitems = 10\nitems_most = 5\n' 'items_most'
broken '[k k]\n' 'broken.workload:1'
broken '[k]\n[k]\n' 'broken.workload:2'
broken 'rounds = 0\n' 'broken.workload:1'
broken '[k]\nitems = 100000000000\nbytes_in_per_item = 8\n' 'more than 4 GB'
broken '[k]\nitems = 10\nlaunches = 10000000\n[l]\nitems = 1\n' 'ten million'
dd if=/dev/urandom of=broken.workload bs=1024 count=64 2> dd.log
run 1 "$pel" sim "$machines/laptop.machine" broken.workload

# Simulations keep nothing unless told to.
[ ! -e "$work/cache/history" ] || complain "a simulation has written the user's history"
run 0 "$pel" sim "$machines/laptop.machine" "$mixed" --quiet --history here
run 0 "$pel" history --file here
says out "fractal"
says out "sim:card, card"
run 0 "$pel" history explain --file here --kernel fractal
says out "fractal on sim:card, card"
says out "starting takes"
run 0 "$pel" history list --file here --json
says out '"kernel": "stream"'
run 0 "$pel" history export part --file here --kernel stream
says out "models written to part"
run 0 "$pel" history --file part
grep -q fractal "$work/out" && complain "an export holds what was not selected"
run 0 "$pel" history merge part --file other
run 0 "$pel" history merge part here --file other
run 0 "$pel" history list --file other --json
sed 's/"file": .*//' "$work/out" > merged.json
run 0 "$pel" history list --file here --json
sed 's/"file": .*//' "$work/out" > here.json
cmp -s merged.json here.json || complain "merging part and whole is not the whole"
run 0 "$pel" history prune --file here --kernel stream
run 0 "$pel" history --file here --kernel stream
says out "0 of the"
run 0 "$pel" history prune --file here --keep 2
run 0 "$pel" history --file here
says out "2 of the 2 models"
run 0 "$pel" history prune --file here --older-than 0
run 0 "$pel" history explain --file here
says out "Nothing is known yet"
run 0 "$pel" history
says out "0 of the 0 models in $work/cache/history"
refuses 2 "say what to forget" "$pel" history prune
refuses 2 "did you mean explain" "$pel" history explian
refuses 2 "needs a file" "$pel" history merge
refuses 2 "unexpected 'x'" "$pel" history list x
refuses 1 "there is no history" "$pel" history list --file nowhere
refuses 1 "it is not a history" "$pel" history list --file "$mixed"
refuses 1 "switched off" env PEL_HISTORY=off "$pel" history
finish
