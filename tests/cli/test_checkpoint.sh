#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel checkpoint`: on what the example of the guide leaves behind; whole, with one byte changed, cut, with nothing there; wrong words.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"
example=${PEL_BINARY_DIR:?}/tests/examples/checkpoint
[ -x "$example" ] || { echo "no example was built"; exit 77; }

# change FILE BYTE: other bits in one byte
change() {
    byte=$(dd if="$1" bs=1 skip="$2" count=1 2> "$work/dd" | od -An -tu1 | tr -d ' ')
    # shellcheck disable=SC2059 # an octal escape
    printf "\\$(printf %03o $((byte ^ 32)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> "$work/dd"
}

run 0 "$example" run 250
says out "from step 0"
run 0 "$pel" checkpoint inspect run
says out "step 100"
says out "step 200"
says out "40000 bytes  values"
run 0 "$pel" checkpoint verify run
[ "$(grep -c '  whole' "$work/out")" -eq 2 ] || complain "not two whole generations"
newest=run.$(sed -n 's/^run\.\([01]\)$/\1/p; /step 200/q' "$work/out" | tail -n 1)
run 0 "$pel" checkpoint verify "$newest"
says out "step 200"

change "$newest" 20000
run 0 "$pel" checkpoint verify run # the other one is whole
says out "DAMAGED"
says out "  whole"
run 1 "$pel" checkpoint verify "$newest"
says out "DAMAGED"
run 0 "$example" run 250
says out "from step 100"
run 0 "$example" run
says out "the sum is"
sed -n 's/^the sum/without a stop the sum/p' "$work/out" > sum
run 0 "$example" straight
sed -n 's/^the sum/without a stop the sum/p' "$work/out" | cmp -s - sum || complain "interrupted and straight runs differ"

for file in run.0 run.1; do
    dd if=$file of=cut bs=1000 count=20 2> "$work/dd"
    cp cut $file
done
run 1 "$pel" checkpoint verify run
[ "$(grep -c DAMAGED "$work/out")" -eq 2 ] || complain "not two damaged generations"
: > run.0
: > run.1
run 1 "$pel" checkpoint verify run
run 1 "$pel" checkpoint inspect run

refuses 1 "there is no checkpoint" "$pel" checkpoint inspect nothing
refuses 1 "there is no checkpoint" "$pel" checkpoint verify nothing
refuses 2 "inspect PATH" "$pel" checkpoint
refuses 2 "inspect PATH" "$pel" checkpoint look run
refuses 2 "inspect PATH" "$pel" checkpoint verify
finish
