#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Spin checks the models of the deque, the ends of tasks, cancelling, new stages, groups, letters, mailboxes, lists of successors
# and the wake-up protocol exhaustively at small bounds, and that broken ones are found out; with a store buffer where a fence is
# what matters, with membarrier and without (FENCED).
set -eu
command -v spin >/dev/null 2>&1 || { echo "spin is not installed: the models are not checked"; exit 77; }
folder=$PEL_SOURCE_DIR/tests/model_check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# check MODEL DEFINITIONS...: errors are counted in $errors
check() {
    model=$1
    shift
    rm -f pan*
    spin "$@" -a "$folder/$model.pml" >spin.log 2>&1 || { cat spin.log; exit 1; }
    ${PEL_CC:-cc} -O0 -DSAFETY -o pan pan.c 2>cc.log || { cat cc.log; exit 1; }
    ./pan -m1000000 -n >pan.log 2>&1 || true
    if grep -q 'max search depth too small\|out of memory' pan.log; then
        cat pan.log
        exit 1
    fi
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log)
    [ -n "$errors" ] || { cat pan.log; exit 1; }
    echo "$model $*: errors $errors, $(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log) states"
}

holds() {
    check "$@"
    [ "$errors" = 0 ] || { cat pan.log; exit 1; }
}

fails() {
    check "$@"
    [ "$errors" != 0 ] || { echo "the model does not see this defect"; exit 1; }
}

holds deque -DSLOTS=2 -DITEMS=3 -DTHIEVES=2
holds deque -DSLOTS=1 -DITEMS=4 -DTHIEVES=1
fails deque -DSLOTS=2 -DITEMS=3 -DTHIEVES=1 -DMUTANT=1
fails deque -DSLOTS=2 -DITEMS=3 -DTHIEVES=1 -DMUTANT=2
fails deque -DSLOTS=2 -DITEMS=2 -DTHIEVES=2 -DMUTANT=3
holds ends -DENDERS=2
holds ends -DENDERS=3
for mutant in 1 2; do
    fails ends -DENDERS=2 -DMUTANT=$mutant
done
holds ends -DENDERS=3 -DFENCED=1
for mutant in 3 4; do
    fails ends -DENDERS=2 -DFENCED=1 -DMUTANT=$mutant
done
holds cancel -DCANCELLERS=2
holds cancel -DCANCELLERS=2 -DFENCED=1
for mutant in 1 4 5 6; do
    fails cancel -DCANCELLERS=2 -DMUTANT=$mutant
done
for mutant in 2 3 4 5 6; do
    fails cancel -DCANCELLERS=2 -DFENCED=1 -DMUTANT=$mutant
done
holds cut -DPRODUCERS=2 -DITEMS=2
for mutant in 1 2 3; do
    fails cut -DPRODUCERS=2 -DITEMS=1 -DMUTANT=$mutant
done
holds group -DTHIEVES=2
for mutant in 1 2 3 4; do
    fails group -DTHIEVES=1 -DMUTANT=$mutant
done
holds letters -DSUBMITTERS=1 -DOWNERS=2
holds letters -DSUBMITTERS=2 -DOWNERS=1
for mutant in 1 2; do
    fails letters -DSUBMITTERS=2 -DOWNERS=1 -DMUTANT=$mutant
done
holds mailbox -DOWNERS=2 -DLETTERS=2
holds mailbox -DOWNERS=1 -DLETTERS=3
for mutant in 1 2 3 4; do
    fails mailbox -DOWNERS=2 -DLETTERS=1 -DMUTANT=$mutant
done
holds successors -DTASKS=2
holds successors -DTASKS=2 -DALIKE=1
for mutant in 1 2 3 4 5; do
    fails successors -DTASKS=2 -DALIKE=1 -DMUTANT=$mutant
done
holds wake -DSUBMITTERS=2 -DWORKERS=2 -DCHILDREN=0
holds wake -DSUBMITTERS=1 -DWORKERS=2 -DCHILDREN=1
holds wake -DSUBMITTERS=1 -DITEMS=2 -DWORKERS=1 -DCHILDREN=1
holds wake -DSUBMITTERS=0 -DFEEDS=2 -DWORKERS=1 -DCHILDREN=0
holds wake -DSUBMITTERS=0 -DFEEDS=1 -DWORKERS=2 -DCHILDREN=1
holds wake -DSUBMITTERS=1 -DITEMS=2 -DWORKERS=2 -DCHILDREN=0 -DAWAY=1 -DTELLERS=1
holds wake -DSUBMITTERS=1 -DWORKERS=2 -DCHILDREN=1 -DBUFFERED=1
holds wake -DSUBMITTERS=0 -DFEEDS=1 -DWORKERS=2 -DCHILDREN=1 -DBUFFERED=1
fails wake -DSUBMITTERS=1 -DWORKERS=2 -DCHILDREN=1 -DBUFFERED=1 -DMUTANT=5
fails wake -DSUBMITTERS=1 -DITEMS=2 -DWORKERS=2 -DCHILDREN=0 -DAWAY=1 -DTELLERS=1 -DMUTANT=4
fails wake -DSUBMITTERS=0 -DFEEDS=1 -DWORKERS=1 -DCHILDREN=0 -DMUTANT=3
holds wake -DSUBMITTERS=1 -DFEEDS=1 -DWORKERS=2 -DCHILDREN=0 -DAWAY=1
fails wake -DSUBMITTERS=1 -DFEEDS=1 -DWORKERS=2 -DCHILDREN=0 -DAWAY=1 -DMUTANT=6
fails wake -DSUBMITTERS=1 -DWORKERS=1 -DCHILDREN=0 -DMUTANT=1
fails wake -DSUBMITTERS=1 -DWORKERS=1 -DCHILDREN=0 -DMUTANT=2
