#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The program's frame: help, versions, unknown commands and options, completion, a full standard output, man pages.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"

run 0 "$pel" --version
says out "pel "
version=$(cat out)
run 0 "$pel" version
[ "$(cat out)" = "$version" ] || complain "two versions"
header=$(sed -n 's/.*PEL_VERSION_STRING "\(.*\)"/\1/p' "${PEL_SOURCE_DIR:?}/include/pel/version.h")
[ "$version" = "pel $header" ] || complain "the program says '$version', the header $header"

run 0 "$pel" help
cp out overview
run 0 "$pel" --help
cmp -s out overview || complain "help and --help differ"
commands=$(sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' overview | grep -v '^help$')
[ -n "$commands" ] || complain "no commands in the help"
for command in $commands; do
    run 0 "$pel" help "$command"
    says out "Usage: pel $command"
    cp out by_help
    run 0 "$pel" "$command" --help
    cmp -s out by_help || complain "help $command and $command --help differ"
    refuses 2 "no option '--no-such-option'" "$pel" "$command" --no-such-option
    refuses 2 "no option '-%'" "$pel" "$command" -%
    grep -q "^\.It Cm $command\$" "$PEL_SOURCE_DIR/docs/man/pel.1" || complain "docs/man/pel.1 does not name the command $command"
done

run 2 "$pel"
says err "Usage: pel COMMAND"
refuses 2 "did you mean 'pel version'?" "$pel" versoin
refuses 2 "'pel help' lists them" "$pel" xyzzy
refuses 2 "no command ''" "$pel" ""
refuses 2 "no command 'xyzzy'" "$pel" help xyzzy
refuses 2 "unexpected 'operand'" "$pel" version operand
refuses 2 "no command '--verbose'" "$pel" --verbose

run 0 "$pel" completion
for command in $commands; do says out "$command"; done
if command -v bash > /dev/null; then
    bash -n out || complain "the completion script is no bash"
    bash -c ". '$work/out'; COMP_WORDS=('$pel' vers); COMP_CWORD=1; _pel; echo \"\${COMPREPLY[@]}\"" > words
    [ "$(cat words)" = "version" ] || complain "completion of vers: $(cat words)"
    bash -c ". '$work/out'; COMP_WORDS=('$pel' version --h); COMP_CWORD=2; _pel; echo \"\${COMPREPLY[@]}\"" > words
    [ "$(cat words)" = "--help" ] || complain "completion of --h: $(cat words)"
fi

if [ -w /dev/full ]; then
    "$pel" help > /dev/full 2> err
    status=$?
    [ "$status" -eq 1 ] || complain "status $status with a full standard output"
    says err "No space left"
fi
finish
