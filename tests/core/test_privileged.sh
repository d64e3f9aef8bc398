#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A program with more rights than its user gets no runtime, unless it asks for one by PEL_RUNTIME_PRIVILEGED. Needs root, to make such a program.
set -eu
[ "$(id -u)" = 0 ] || { echo "not root: no set-user-id program can be made"; exit 77; }
work=$(mktemp -d "${PEL_BINARY_DIR:?}/privileged-XXXXXX")
trap 'rm -rf "$work"' EXIT
cat > "$work/program.c" <<'C'
#include <pel/pel.h>
#include <stdio.h>
int main(int argc, char **argv) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime;
    pel_error *error = NULL;
    (void)argv;
    desc.devices = "host";
    desc.flags = PEL_RUNTIME_NO_CACHE | (argc > 1 ? PEL_RUNTIME_PRIVILEGED : 0);
    pel_status status = pel_runtime_create(&desc, &runtime, &error);
    printf("%s %s\n", pel_status_name(status), error ? pel_error_message(error) : "");
    pel_error_destroy(error);
    pel_runtime_destroy(runtime);
    return 0;
}
C
library=$(dirname "${PEL_LIBRARY:?}")
if ldd "$PEL_LIBRARY" 2> /dev/null | grep -q 'lib[a-z]*san\.'; then
    echo "an instrumented library must be loaded first, and cannot be with more rights"
    exit 77
fi
if ! ${PEL_CC:-cc} -I"${PEL_SOURCE_DIR:?}/include" "$work/program.c" -o "$work/program" -L"$library" -lpel -Wl,-rpath,"$library" 2> "$work/error"; then
    echo "an instrumented library cannot be linked here"
    exit 77
fi
"$work/program" | grep -q '^PEL_OK' || { echo "without privileges it must work"; exit 1; }
chown 65534 "$work/program"
chmod 4755 "$work/program"
answer=$("$work/program") || { echo "cannot be run (a no-suid file system?)"; exit 77; }
case $answer in
PEL_UNSUPPORTED*) ;;
PEL_OK*) echo "the kernel gave no further rights here (nosuid)"; exit 77 ;;
*) echo "got: $answer"; exit 1 ;;
esac
"$work/program" yes | grep -q '^PEL_OK' || { echo "the flag must allow it: $("$work/program" yes)"; exit 1; }
echo "$answer"
