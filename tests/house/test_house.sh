#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The rules of the house that a machine can hold: who includes whom, where OpenCL may be seen, what a guest in somebody's process never calls,
# the length of files, the licence line. Every finding names file and line. Exceptions stand here, each with its reason.
set -eu
cd "$PEL_SOURCE_DIR"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$work/findings"
find_sources() { find "$@" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cl' -o -name '*.cpp' \) | sort; }

# 1. A file includes headers of its own floor or a lower one. Include paths start at runtime/; includes of the same directory are of the same floor.
# shellcheck disable=SC2016 # the $ are for awk
find_sources runtime | xargs awk '
    BEGIN {
        split("base 0 topology 1 backend 2 memory 3 model 3 kernel 3 core 3 planner 4 queue 5 resilience 5 faults 0 cli 6", list, " ")
        for (i = 1; i in list; i += 2) floor[list[i]] = list[i + 1]
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split(FILENAME, path, "/"); from = path[2]
        split($0, quoted, "\""); split(quoted[2], parts, "/"); to = parts[1]
        if (!(from in floor)) { print FILENAME ": directory runtime/" from " has no floor; give it one in tests/house/test_house.sh"; next }
        if (quoted[2] !~ /\//) { if (quoted[2] != "kernels_cl.h" && from != "cli") print FILENAME ":" FNR ": include \"" quoted[2] "\" relative to runtime/"; next }
        if (!(to in floor)) { if (from != "cli") print FILENAME ":" FNR ": includes \"" quoted[2] "\", which is no part of the library"; next }
        if (floor[to] > floor[from]) print FILENAME ":" FNR ": " from " (floor " floor[from] ") includes \"" quoted[2] "\" (floor " floor[to] ")"
    }' >> "$work/findings"

# 2. OpenCL is seen by its backend, by discovery and by the interop header. cli/bench_raw*: the hand-written OpenCL programs that `pel bench` measures against.
# faults/ is a library of its own.
find_sources runtime include kernels |
    grep -vE '^runtime/(backend/opencl|topology|faults)/|^include/pel/opencl\.h$|^runtime/cli/bench_raw[a-z_]*\.[ch]$' |
    xargs grep -nE '#[[:space:]]*include[[:space:]]*<(CL/|pel/opencl\.h)' | sed 's/$/   <- OpenCL outside of backend\/opencl and topology/' >> "$work/findings" || :

# 3. The planner and the models are pure: no clock, no thread, no input or output.
find_sources runtime/planner runtime/model |
    xargs grep -nE '#[[:space:]]*include[[:space:]]*(<(pthread|threads|stdatomic|time|sys/time|CL/[a-z]*)\.h>|"(base/clock|topology/|backend/)[a-z/]*(\.h)?")' |
    sed 's/$/   <- the planner and the models are pure functions/' >> "$work/findings" || :

# 4. A guest never ends, prints, or changes the process. Allowed: discovery changes environment and signal dispositions around the first OpenCL calls, and
# its guard puts both back; the probe is a program.
find_sources runtime |
    grep -vE '^runtime/cli/|^runtime/(topology/probe_main|backend/outside/device_main)\.c$' |
    xargs grep -nE '(^|[^A-Za-z0-9_.>])(abort|exit|_exit|_Exit|quick_exit|atexit|assert|printf|vprintf|puts|putchar|perror|system|chdir|setlocale|signal|sigaction|setenv|unsetenv|putenv|fork|vfork|err|errx|warn|warnx)[[:space:]]*\(' |
    grep -vE '^[^:]*:[0-9]*:[[:space:]]*(\*|/\*|//)' |
    grep -vE '^runtime/topology/(guard|opencl|probe)\.c:[0-9]*:.*(setenv|unsetenv|sigaction)[[:space:]]*\(' |
    sed 's/$/   <- a library does not do this to its host/' >> "$work/findings" || :

# 5. Nothing over 1,000 lines, no tab, no blank at a line's end.
find_sources runtime include kernels tests bench docs | while read -r file; do
    lines=$(wc -l < "$file")
    [ "$lines" -le 1000 ] || echo "$file: $lines lines, 1000 are the most"
done >> "$work/findings"
find_sources runtime include kernels tests bench docs | xargs grep -nE "$(printf '\t')|[[:space:]]\$" /dev/null | cut -c1-120 |
    sed 's/$/   <- a tab, or a blank at the end/' >> "$work/findings" || :

# C sources have 130 columns.
find_sources runtime include kernels tests bench docs | LC_ALL=C.UTF-8 xargs grep -nE '^.{131,}' /dev/null | cut -c1-120 |
    sed 's/$/   <- longer than 130 columns/' >> "$work/findings" || :

# 6. Every source says its licence in its first three lines.
{ find_sources runtime include kernels tests bench docs
  find CMakeLists.txt cmake runtime kernels tests bench .ci -type f \( -name 'CMakeLists.txt' -o -name '*.cmake' -o -name '*.sh' -o -name run \); } 2>/dev/null | sort -u |
    while read -r file; do
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' || echo "$file: no SPDX line"
    done >> "$work/findings"

# 7. No unfinished work in words.
find_sources runtime include kernels tests bench | grep -v '^tests/house/' | xargs grep -nE '\b(TODO|FIXME|XXX)\b' | cut -c1-120 |
    sed 's/$/   <- finish it, or open an issue/' >> "$work/findings" || :

# 8. Orders of memory are constants: of one that is chosen at run time compilers make an exchange (docs/design/tasks.md).
find_sources runtime kernels bench | grep -v '\.cpp$' |
    xargs grep -nE '[?:][[:space:]]*memory_order_|(^|[^A-Za-z0-9_])memory_order[[:space:]]+[A-Za-z_]' |
    sed 's/$/   <- an order that is chosen at run time is an exchange; a branch for each/' >> "$work/findings" || :

cat "$work/findings"
echo "$(find_sources runtime include kernels tests bench docs | wc -l) sources, $(wc -l < "$work/findings") findings"
[ ! -s "$work/findings" ]
