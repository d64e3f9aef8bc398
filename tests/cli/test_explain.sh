#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel explain`: a line a launch and the last plan; the same story on the same simulated machine; nothing learned when frozen; errors.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"
machine=${PEL_SOURCE_DIR:?}/tests/fixtures/machines/four_gpus.machine
unset PEL_HISTORY PEL_FREEZE PEL_DEVICES
PEL_CACHE_DIR=$work/cache
export PEL_CACHE_DIR

run 0 "$pel" explain nbody --machine "$machine" --launches 30
says out "never measured with this kernel"
says out "alone"
says out "considered:"
cp "$work/out" "$work/first"
run 0 "$pel" explain nbody --machine "$machine" --launches 30
cmp -s "$work/first" "$work/out" || complain "the same machine tells another story"
PEL_FREEZE=1
export PEL_FREEZE
run 0 "$pel" explain nbody --machine "$machine" --launches 8
! grep -q learning "$work/out" || complain "frozen, and yet it learns"
unset PEL_FREEZE
refuses 2 "which kernel" "$pel" explain
refuses 2 "did you mean 'matmul'" "$pel" explain matmull
refuses 2 "lists them" "$pel" explain zzzzzzzz
refuses 2 "one kernel" "$pel" explain dot triad
refuses 2 "launches" "$pel" explain dot --launches 0
run 0 env PEL_SPIN=much "$pel" explain dot --size 1000 --launches 1 --devices host
says err "PEL_SPIN=much is no whole number"
refuses 1 "nowhere.machine" "$pel" explain dot --machine nowhere.machine
finish
