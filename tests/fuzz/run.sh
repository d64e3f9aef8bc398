#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fuzzers of binary and text files of the library. Those of the program's words and data files (test_*.c here) are tests of each build, and libFuzzer
# programs with -DPEL_FUZZ=ON; all of them run long by tests/fault/campaign fuzz. Builds the fuzzers with clang and runs each for a while: tests/fuzz/run.sh FOLDER [SECONDS], absolute. What they find is left in FOLDER.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
seconds=${2:-20}
mkdir -p "$folder"

# build NAME SOURCES...
build() {
    name=$1
    shift
    # shellcheck disable=SC2046 # a list of files without blanks
    (cd "$source" && ${CC:-clang} -std=c11 -D_GNU_SOURCE -DPEL_LIBFUZZER=1 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -Iinclude -Iruntime -Itests \
        "tests/fuzz/$name.c" "$@" $(ls runtime/base/*.c) -lm -pthread -o "$folder/$name")
}

build fuzz_history runtime/model/*.c
build fuzz_machine runtime/backend/simulated/describe.c runtime/backend/simulated/cost.c
build test_checkpoint_file tests/fuzz/driver.c runtime/resilience/checkpoint_file.c runtime/resilience/checkpoint_journal.c \
    runtime/resilience/checksum.c runtime/resilience/file_io.c
mkdir -p "$folder/corpus_test_checkpoint_file" "$folder/corpus_fuzz_history" "$folder/corpus_fuzz_machine"
cp "$source"/tests/fixtures/machines/*.machine "$folder/corpus_fuzz_machine/"
cd "$folder"
# A real history to begin with, if the program was built: 0, the number of entries, and what follows its header.
if [ -x "${PEL_BIN:-}" ]; then
    rm -f seed.history
    "$PEL_BIN" sim "$source/tests/fixtures/machines/laptop.machine" "$source/tests/fixtures/workloads/mixed.workload" --quiet --history seed.history > seed.log
    { printf '\000'; dd if=seed.history bs=1 skip=16 count=1 2> dd.log; tail -c +65 seed.history; } > corpus_fuzz_history/real
fi
for name in fuzz_history fuzz_machine test_checkpoint_file; do
    "./$name" -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=1024 -print_final_stats=1 "corpus_$name" > "$name.log" 2>&1 ||
        { tail -n 40 "$name.log"; exit 1; }
    sed -n 's/^stat::number_of_executed_units: */'"$name"': /p' "$name.log"
done
