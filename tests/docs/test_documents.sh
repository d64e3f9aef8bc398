#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What the documents say is so: the program in the README is the example that is compiled, links lead somewhere, the tutorial's commands work,
# the environment variables are all of them, doxygen has no complaint about the public headers.
# shellcheck disable=SC2016 # backticks below are Markdown's
set -u
source=${PEL_SOURCE_DIR:?}
work=$(mktemp -d "${TMPDIR:-/tmp}/pel-test-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failures=0
complain() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

# README: one block of C, equal to the example without its first line.
sed -n '/^```c$/,/^```$/p' "$source/README.md" | grep -v '^```' > "$work/block"
sed 1d "$source/docs/examples/embed.c" > "$work/example"
cmp -s "$work/block" "$work/example" || complain "the program in README.md is not docs/examples/embed.c"
grep -m 1 '^    ' "$source/README.md" | grep -q 'sh cmake/quickstart.sh test' || complain "README.md does not begin with the test command"

# Links between files.
find "$source/README.md" "$source/CONTRIBUTING.md" "$source/SECURITY.md" "$source/docs" -name '*.md' > "$work/documents"
while read -r document; do
    grep -o '](\([^)#:]*\)[)#]' "$document" | sed 's/^](//; s/[)#]$//' | while read -r target; do
        [ -z "$target" ] || [ -e "$(dirname "$document")/$target" ] || echo "$document: $target"
    done
done < "$work/documents" > "$work/dead"
[ ! -s "$work/dead" ] || complain "dead links: $(cat "$work/dead")"

# Pages of results: each is in their index, and those that documents and comments name are there.
for page in "$source"/docs/results/*.md; do
    name=$(basename "$page")
    [ "$name" = README.md ] || grep -q "($name)" "$source/docs/results/README.md" || complain "docs/results/README.md does not name $name"
done
grep -rhoE 'docs/results/[A-Za-z0-9_.-]+\.md' "$source"/docs "$source"/runtime "$source"/include "$source"/bench "$source"/tests | sort -u > "$work/pages"
while read -r page; do
    [ -e "$source/$page" ] || complain "$page is named, and is not there"
done < "$work/pages"

# Environment variables that the library and the tool read.
grep -rhoE 'getenv\("PEL_[A-Z_]+"\)' "$source/runtime" --include='*.c' | sed 's/.*"\(.*\)".*/\1/' | sort -u > "$work/variables"
while read -r variable; do
    case $variable in
    PEL_FAKE_* | PEL_DOCTOR_ROOT) continue ;; # for tests
    esac
    grep -q "$variable" "$source/docs/guide.md" || complain "docs/guide.md does not name $variable"
    grep -qs "Ev $variable" "$source"/docs/man/pel.1 "$source"/docs/man/pel-faults.7 || complain "no man page names $variable"
done < "$work/variables"

# And those that the tests read, to run longer or one seed again.
grep -rhoE '"PEL_(TEST|STORM|SOAK|ISOLATED)_[A-Z]+"' "$source/tests" --include='*.c' | tr -d '"' | sort -u | grep -vx PEL_TEST_LIE > "$work/variables"
[ "$(wc -l < "$work/variables")" -gt 8 ] || complain "the tests read too few variables: $(wc -l < "$work/variables")"
while read -r variable; do
    grep -q "$variable" "$source/CONTRIBUTING.md" || complain "CONTRIBUTING.md does not name $variable"
done < "$work/variables"

# Keys of machine descriptions.
sed -n 's/^    {"\([a-z_]*\)", \(REAL\|COUNT\|BYTES\|GROUP\),.*/\1/p' "$source/runtime/backend/simulated/describe.c" > "$work/keys"
[ -s "$work/keys" ] || complain "no keys found in describe.c"
while read -r key; do
    grep -q "\`$key\`" "$source/docs/guide.md" || complain "docs/guide.md does not name the key $key"
done < "$work/keys"

# Files that the map of the house names.
sed -n '/^## Where things live/,/^## Decisions/p' "$source/docs/design/house.md" | grep -o '`[a-z_/]*\(\*\)\{0,1\}\.[ch]`\|`[a-z]*/[a-z_/]*\(\*\)\{0,1\}\(\.[ch]\)\{0,1\}`' | tr -d '`' | sort -u > "$work/named"
[ "$(wc -l < "$work/named")" -gt 40 ] || complain "the map of the house names too few files: $(wc -l < "$work/named")"
while read -r named; do
    find "$source/runtime" "$source/bench" -path "*/${named%/}" | grep -q . || complain "docs/design/house.md names $named, which is not there"
done < "$work/named"

# The tutorial: its kernel and its commands, as they stand there.
if [ -x "${PEL_BIN:-}" ]; then
    cd "$work" || exit 1
    PATH=$work/bin:$PATH
    mkdir bin
    ln -s "$PEL_BIN" bin/pel
    PEL_PROBE=${PEL_PROBE:-$(dirname "$PEL_BIN")/pel-probe}
    export PEL_PROBE
    tutorial=$source/docs/tutorial-first-kernel.md
    sed -n '/^```c$/,/^```$/p' "$tutorial" | sed '1d; /^```$/q' | grep -v '^```' > sharpen.cl
    pel run sharpen.cl --list > listed || complain "pel run --list"
    grep -qF "    $(cat listed)" "$tutorial" || complain "the tutorial does not show: $(cat listed)"
    echo 'kernel void p(global uchar *o) { o[get_global_id(1) * 640 + get_global_id(0)] = get_global_id(0) ^ get_global_id(1); }' > paint.cl
    timeout 100 pel run paint.cl --range 640x480 --arg out=x 2> error && complain "an argument that does not exist"
    if timeout 100 pel run paint.cl --range 640x480 --arg o=photo.png:write:block > report 2> error; then
        sed -n '/^    pel run.*--range/,/^$/p' "$tutorial" > commands
        [ "$(grep -c 'pel run' commands)" -ge 2 ] || complain "the tutorial's commands were not found"
        timeout 200 sh -e commands > report 2> error || complain "the tutorial's commands: $(cat error)"
        grep -qF "may not be split: what it writes through argument 1 is not declared" report || complain "the plan of the undeclared run is another one"
        [ -s sharp.png ] || complain "no sharp.png"
    else
        grep -q "no usable OpenCL device" error || complain "$(cat error)"
    fi
fi

if command -v doxygen > /dev/null; then
    cd "$source" || exit 1
    { cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $work"; } | doxygen - > "$work/doxygen" 2>&1
    [ ! -s "$work/doxygen" ] || complain "doxygen: $(cat "$work/doxygen")"
    [ -s "$work/reference/index.html" ] || complain "doxygen made nothing"
fi
[ "$failures" -eq 0 ]
