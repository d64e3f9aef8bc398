#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel run` with wrong input of every kind: a clear text, the right exit status, nothing half-written.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"

cat > fill.cl << 'END'
kernel void fill(global float *out, float scale) { size_t i = get_global_id(0); out[i] = scale * (float)(i % 1000); }
END
cat > two.cl << 'END'
/* two kernels */
#define REAL float
kernel void twice(global const REAL *in, global REAL *out) { size_t i = get_global_id(0); out[i] = 2 * in[i]; }
kernel void add(global const REAL *in, global REAL *io) { size_t i = get_global_id(0); io[i] += in[i]; }
END

# What needs no device comes first.
refuses 2 "which file?" "$pel" run
refuses 2 "more than one file" "$pel" run a.cl b.cl
refuses 2 "--range is missing" "$pel" run fill.cl
refuses 2 "each number must be at least 1" "$pel" run fill.cl --range 0
refuses 2 "'1e6'" "$pel" run fill.cl --range 1e6
refuses 2 "2^64" "$pel" run fill.cl --range 4294967296x4294967296
refuses 2 "--local has 2 dimensions" "$pel" run fill.cl --range 64 --local 8x8
refuses 2 "does not divide" "$pel" run fill.cl --range 100 --local 64
refuses 2 "did you mean 'write'" "$pel" run fill.cl --range 64 --arg out=o.npy:wirte
refuses 2 "--repeat" "$pel" run fill.cl --range 64 --repeat 0
refuses 2 "nan is out of range" "$pel" run fill.cl --range 64 --shares opencl:0=nan
refuses 2 "DEVICE=NUMBER" "$pel" run fill.cl --range 64 --shares opencl:0
refuses 2 "add up to nothing" "$pel" run fill.cl --range 64 --shares opencl:0=0
refuses 1 "cannot read absent.cl: No such file" "$pel" run absent.cl --range 64
refuses 1 "it is a directory" "$pel" run . --range 64
refuses 1 "/dev/null is empty" "$pel" run /dev/null --range 64
refuses 1 "zero bytes" "$pel" run "$pel" --range 64
refuses 1 "choose one with --entry: twice, add" "$pel" run two.cl --range 64
refuses 1 "no kernel 'thrice'; it has: twice, add" "$pel" run two.cl --entry thrice --range 64
echo "float f(float x) { return x; }" > none.cl
refuses 1 "no kernel function" "$pel" run none.cl --range 64
refuses 1 "still needs --arg out=... for \`global float *out\`" "$pel" run fill.cl --range 64
refuses 1 "argument scale: 'x' is not a number" "$pel" run fill.cl --range 64 --arg out=o.npy:write --arg scale=x
refuses 1 "absent.npy: No such file" "$pel" run two.cl -e twice --range 64 --arg in=absent.npy --arg out=o.npy:write
echo "not an array" > bad.npy
refuses 1 "bad.npy: is not a .npy file" "$pel" run two.cl -e twice --range 64 --arg in=bad.npy --arg out=o.npy:write
cp bad.npy bad.jpg
refuses 1 "bad.jpg: pel reads .npy, .png and raw numbers" "$pel" run two.cl -e twice --range 64 --arg in=bad.jpg --arg out=o.npy:write
refuses 1 "cannot write nodir/o.npy" "$pel" run fill.cl --range 64 --arg out=nodir/o.npy:write --arg scale=1
echo 'kernel void f(global int *a, global int *b) {}' > pair.cl
refuses 1 "would both be written to o.npy" "$pel" run pair.cl --range 64 --arg a=o.npy:write --arg b=zeros:rw:save=o.npy
refuses 1 "argument a is given twice" "$pel" run pair.cl --range 64 --arg a=o.npy:write --arg a=p.npy:write
absent o.npy

# Without any driver the answer is clear, and says where to look.
mkdir -p no_icd
OCL_ICD_VENDORS=$work/no_icd
export OCL_ICD_VENDORS
refuses 1 "no usable OpenCL device" "$pel" run fill.cl --range 64 --arg out=o.npy:write --arg scale=1
says err "pel doctor"
absent o.npy
unset OCL_ICD_VENDORS

timeout 100 "$pel" run fill.cl --range 64 --arg out=o.npy:write --arg scale=1 > out 2> err
if grep -qF "no usable OpenCL device" err; then
    echo "no OpenCL device here: the rest is skipped"
    [ "$failures" -eq 0 ] && exit 77
    exit 1
fi
rm -f o.npy

# Wrong input that only a device shows.
echo 'kernel void f(global float *out) {
    out[get_global_id(0)] = undeclared_thing;
}' > broken.cl
refuses 1 "undeclared_thing" "$pel" run broken.cl --range 4 --arg out=o.npy:write
grep -qE ':2:[0-9]+' err || complain "the build log does not have the user's line number"
refuses 1 "(host) hold no OpenCL device" "$pel" run fill.cl --range 4 --devices host --arg out=o.npy:write --arg scale=1
refuses 1 "nosuch" "$pel" run fill.cl --range 4 --devices nosuch --arg out=o.npy:write --arg scale=1
refuses 1 "no device 'opencl:99'" "$pel" run fill.cl --range 4 --shares opencl:99=1 --arg out=o.npy:write --arg scale=1
refuses 1 "argument out: no memory for 4398046511104 bytes" "$pel" run fill.cl --range 1099511627776 --arg out=o.npy:write --arg scale=1
refuses 1 "double" "$pel" run fill.cl --range 4 --arg out=o.npy:write:type=double --arg scale=1
run 0 "$pel" run two.cl -e twice --range 10x10 --arg in=zeros:elementwise --arg out=square.npy:write:elementwise
refuses 1 "needs 101" "$pel" run two.cl -e twice --range 101 --arg in=square.npy:elementwise --arg out=o.npy:write
refuses 1 "a kernel that takes one for each item of the range 101 touches 101. Cut the range, or say in=...:whole" \
    "$pel" run two.cl -e twice --range 101 --arg in=square.npy --arg out=o.npy:write
absent o.npy
run 0 "$pel" run two.cl -e twice --range 30x20 --arg in=zeros:block --arg out=wide.npy:write:block
refuses 1 "wide.npy holds 30x20 float, the range is 20x30: the other way round" \
    "$pel" run two.cl -e twice --range 20x30 --arg in=wide.npy:block --arg out=o.npy:write
refuses 1 "needs 21 rows of 120 bytes" "$pel" run two.cl -e twice --range 30x21 --arg in=wide.npy:block --arg out=o.npy:write
run 0 "$pel" run two.cl -e add --range 30x20 --arg in=wide.npy --arg io=wide.npy:rw
says out "The result in io is not kept; save=FILE writes it"
absent o.npy
# PoCL renames kernels that are called as a built-in function is.
echo 'kernel void step(global float *out) { out[get_global_id(0)] = 1; }' > step.cl
timeout 100 "$pel" run step.cl --range 4 --arg out=o.raw:write > out 2> err || says err "the name is that of a built-in function"
rm -f o.raw

# A kernel that leaves its arrays may end the process that runs it, but not without a word.
echo 'kernel void wild(global int *out) { out[get_global_id(0) + ((size_t)1 << 40)] = 1; }' > wild.cl
quiet=handle_segv=0 # sanitizers would take the signal
refuses 1 "kernel wild ended the process by signal" env "ASAN_OPTIONS=${ASAN_OPTIONS:-}:$quiet" "UBSAN_OPTIONS=${UBSAN_OPTIONS:-}:$quiet" \
    "TSAN_OPTIONS=${TSAN_OPTIONS:-}:$quiet" "$pel" run wild.cl --range 64 --arg out=o.npy:write
absent o.npy

# Unwritable places. HOME is where caches go; without it pel works, and says nothing wrong.
run 0 env -u POCL_CACHE_DIR HOME=/nonexistent "$pel" --version
HOME=/nonexistent PEL_CACHE_DIR=/nonexistent/cache timeout 100 "$pel" run fill.cl --range 8 --arg out=home.npy:write --arg scale=1 > out 2> err ||
    complain "without a writable HOME"
[ -s home.npy ] || complain "no result without a writable HOME"

# Pipes: what must be read whole is refused at once instead of waiting for a writer; a reader gets the output in one piece.
mkfifo p.npy p.png p.raw p.out
for kind in npy png raw; do
    refuses 1 "p.$kind: not a regular file" "$pel" run fill.cl --range 8 --arg out=p.$kind:rw:save=o.npy --arg scale=1
done
timeout 100 cat p.out > piped.json &
run 0 "$pel" run fill.cl --range 8 --arg out=o.raw:write:elementwise --arg scale=1 --json p.out
wait
grep -q '"range"' piped.json || complain "the reader of a pipe got: $(cat piped.json)"
rm -f p.out o.raw

# Killed while it writes: the old result stays or the new one is whole.
echo old > killed.raw
for delay in 0.1 0.3 0.6; do
    timeout -s KILL "$delay" "$pel" run fill.cl -q --range 5000000 --arg out=killed.raw:write:elementwise --arg scale=1 > out 2> err
    size=$(wc -c < killed.raw)
    [ "$size" -eq 4 ] || [ "$size" -eq 20000000 ] || complain "killed after $delay s: $size bytes"
done
rm -f killed.raw killed.raw.pel-??????

# A full disk: an old result stays as it was, nothing half-written is left.
echo old > old.raw
(
    ulimit -f 20000 # blocks of 512 or 1024 bytes: enough for the drivers' caches, less than the result's 40 MB
    timeout 100 "$pel" run fill.cl --range 10000000 --arg out=old.raw:write:elementwise --arg scale=1
) > out 2> err
status=$?
[ "$status" -eq 1 ] || complain "status $status on a full disk"
says err "cannot write"
says err "old.raw"
[ "$(cat old.raw)" = old ] || complain "the old file changed"
absent
if [ -w /dev/full ]; then
    run 1 "$pel" run fill.cl --range 100000 --arg out=/dev/full:write:elementwise:format=raw --arg scale=1
    says err "No space left"
    run 1 "$pel" run fill.cl --range 64 --arg out=x.raw:write:elementwise --arg scale=1 --json /dev/full
    says err "No space left"
fi
finish
