#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The benchmarks' driver: sections, result lines, bars. Figures are not judged here: the machine may be busy.
set -u
: "${PEL_SOURCE_DIR:?}" "${PEL_BINARY_DIR:?}"
[ -x "$PEL_BINARY_DIR/bench/bench_overhead" ] || { echo "the benchmarks are not built"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
driver=$PEL_SOURCE_DIR/bench/run
failures=0
complain() {
    echo "FAILED: $*"
    cat "$work/log"
    failures=$((failures + 1))
}

sh "$driver" nonsense > "$work/log" 2>&1
[ $? -eq 2 ] || complain "an unknown section is accepted"
sh "$driver" --build /nowhere > "$work/log" 2>&1
[ $? -eq 2 ] || complain "a build folder without benchmarks is accepted"
"$PEL_BINARY_DIR/bench/bench_overhead" --nonsense > "$work/log" 2>&1
[ $? -eq 2 ] || complain "an unknown argument is accepted"
echo '{' > "$work/bars.json"
"$PEL_BINARY_DIR/bench/bench_overhead" --bars "$work/bars.json" > "$work/log" 2>&1
[ $? -eq 2 ] || complain "broken bars are accepted"

sh "$driver" overhead --build "$PEL_BINARY_DIR" --quick --only empty --out "$work/lines" > "$work/log" 2>&1 || complain "the driver fails"
grep -q '"bench":"overhead","row":"empty host","subject":"pel","unit":"us","median":' "$work/lines" || complain "there is no result line"
grep -vqE '^[{]"bench":"[a-z]+","row":".*,"holds":(null|true|false)(,"void":".*")?[}]$' "$work/lines" && complain "a line is not of the schema"

# A bar that nothing can hold is missed, and only --check makes that a failure.
echo '[{"bench": "overhead", "row": "*", "subject": "pel", "at_most": 0.0}]' > "$work/bars.json"
"$PEL_BINARY_DIR/bench/bench_overhead" --quick --only empty --bars "$work/bars.json" --out "$work/missed" > "$work/log" 2>&1
[ $? -eq 1 ] || complain "a missed bar does not show in the status"
grep -q '"bar":"<= 0","holds":false' "$work/missed" || complain "a missed bar does not show in the line"
[ "$failures" -eq 0 ]
