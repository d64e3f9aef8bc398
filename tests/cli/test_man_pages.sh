#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The man pages: no complaint from mandoc, and every option of a command's help has its place.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"
pages=${PEL_SOURCE_DIR:?}/docs/man

for command in $("$pel" help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'); do
    page=$pages/pel-$command.1
    case $command in
    help | version | completion) continue ;;
    esac
    [ -f "$page" ] || { complain "there is no pel-$command.1"; continue; }
    for option in $("$pel" help "$command" | sed -n 's/^  .*--\([a-z][a-z-]*\).*/\1/p' | sort -u); do
        [ "$option" = help ] || grep -q -e " -$option" "$page" || complain "pel-$command.1 does not name --$option"
    done
    "$pel" help "$command" > "$work/help"
    sed -n 's/^\.It Fl \(. , \)*-\([a-z][a-z-]*\).*/\2/p' "$page" > "$work/named"
    while read -r option; do
        grep -q -e "--$option" "$work/help" || complain "pel-$command.1 names --$option, which does not exist"
    done < "$work/named"
done

if command -v mandoc > /dev/null; then
    cd "$pages" || exit 1 # so that references between the pages are found
    mandoc -Tlint ./*.1 > "$work/lint" 2>&1
    # An installed page of another version, or none, is no matter of the source.
    grep -v 'referenced manual not found' "$work/lint" > "$work/err"
    [ ! -s "$work/err" ] || complain "mandoc -Tlint complains"
fi
finish
