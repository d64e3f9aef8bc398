#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The driver of bench/run micro and peers, with contestants that lie, die or say nothing; and the real ones, whose figures are not judged here.
set -u
: "${PEL_SOURCE_DIR:?}" "${PEL_BINARY_DIR:?}"
[ -x "$PEL_BINARY_DIR/bench/bench_micro" ] || { echo "the benchmarks are not built"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failures=0
complain() {
    echo "FAILED: $*"
    cat "$work/log"
    failures=$((failures + 1))
}
contestant() { # NAME, the lines of its script on standard input
    { echo '#!/bin/sh'; cat; } > "$work/$1"
    chmod +x "$work/$1"
}
contest() { # SECTION ARGUMENT...: with the contestants of $work, which lie beside the driver
    section=$1
    shift
    cp "$PEL_BINARY_DIR/bench/bench_$section" "$work/"
    rm -f "$work/lines"
    "$work/bench_$section" --quick --out "$work/lines" "$@" > "$work/log" 2>&1
}

contest micro
[ $? -eq 2 ] || complain "a contest without contestants is held"

# Medians, differences in turns, rows that are not offered.
contestant peer_pel << 'END'
[ "$1" = launch ] || exit 0
printf 'sample\tlaunch batched\traw\tus\t%s\n' 1 2 9
printf 'sample\tlaunch batched\tpel\tus\t%s\n' 1.5 2.25 9.125
printf 'absent\tlaunch single\tpel\tthere is none\n'
END
contestant peer_raw << 'END'
[ "$1" = chain ] && printf 'sample\thandover\traw\tns/task\t7\n'
exit 0
END
contest micro || complain "a good contest fails"
grep -q '"row":"launch batched","subject":"pel - raw","unit":"us","median":0.25,' "$work/lines" || complain "the difference in turns is not the median of differences"
grep -q '"row":"handover","subject":"raw","unit":"ns/task","median":7.0,' "$work/lines" || complain "the other contestant's row is missing"
grep -q 'launch single pel *left out: there is none' "$work/log" || complain "the absent row is not told"
contest micro --only chain || complain "a good row fails"
grep -q launch "$work/lines" && complain "--only runs other rows too"
contest peers || complain "a good contest of all fails"
grep -Eq '^launch batched +us +2.25 +2' "$work/log" || complain "there is no table"

# The picture of them.
if command -v python3 > /dev/null; then
    "$PEL_SOURCE_DIR/bench/plot" "$work/lines" > "$work/picture.svg" 2> "$work/log" || complain "the picture fails"
    grep -q '<title>pel: 2.25 us</title>' "$work/picture.svg" || complain "the picture lacks a figure"
    python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$work/picture.svg" 2> "$work/log" || complain "the picture is not XML"
    "$PEL_SOURCE_DIR/bench/plot" "$work/none" > "$work/log" 2>&1 && complain "a picture of nothing is drawn"
fi

# What is wrong never passes as a figure.
printf 'sample\tchain\tpel\tns/task\t1\nwrong\tchain\tpel\tout of order\n' > "$work/liar"
contestant peer_pel << END
[ "\$1" = chain ] && cat "$work/liar"
exit 0
END
contest micro --only chain
[ $? -eq 1 ] || complain "a wrong result passes"
grep -q '"row":"chain","subject":"pel".*"void":"out of order"' "$work/lines" || complain "the wrong result is not told"
contestant peer_pel << 'END'
kill -SEGV $$
END
contest micro --only chain
[ $? -eq 1 ] || complain "a crash passes"
grep -q 'died of signal 11' "$work/log" || complain "a crash is not told"
contestant peer_pel << 'END'
echo hello
END
contest micro --only chain
[ $? -eq 1 ] || complain "chatter passes"

# The real contestants hold their own checks. Rows of seconds only: the machine may be small and busy.
for row in tasks chain wavefront memory; do
    "$PEL_BINARY_DIR/bench/bench_peers" --quick --only "$row" --out "$work/real" > "$work/log" 2>&1 || complain "$row fails"
done
grep -vqE '^[{]"bench":"peers","row":".*,"holds":(null|true|false)(,"void":".*")?[}]$' "$work/real" && complain "a line is not of the schema"
[ "$failures" -eq 0 ]
