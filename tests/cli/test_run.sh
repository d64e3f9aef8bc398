#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel run` end to end: .npy, .png, raw and scalar arguments, splits, dry runs, and every kind of wrong input.
# shellcheck source=tests/cli/shell.inc
. "$(dirname "$0")/shell.inc"
examples=${PEL_SOURCE_DIR:?}/docs/examples

cat > fill.cl << 'END'
kernel void fill(global float *out, float scale) { size_t i = get_global_id(0); out[i] = scale * (float)(i % 1000); }
END
cat > two.cl << 'END'
/* two kernels */
#define REAL float
kernel void twice(global const REAL *in, global REAL *out) { size_t i = get_global_id(0); out[i] = 2 * in[i]; }
kernel void add(global const REAL *in, global REAL *io) { size_t i = get_global_id(0); io[i] += in[i]; }
END
cat > paint.cl << 'END'
kernel void paint(global uchar4 *out) {
    int x = get_global_id(0), y = get_global_id(1);
    out[y * get_global_size(0) + x] = (uchar4)(x, y, x ^ y, 255);
}
END

# What needs no device comes first.
run 0 "$pel" run two.cl --list
says out "twice(global const float *in, global float *out)"
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
    finish_text="no OpenCL device here: the rest is skipped"
    echo "$finish_text"
    [ "$failures" -eq 0 ] && exit 77
    exit 1
fi
rm -f o.npy

# A chain through every file format: the same numbers come out.
run 0 "$pel" run fill.cl --range 1000 --arg out=a.npy:write:elementwise --arg scale=0.5
says out "a.npy written"
run 0 "$pel" run two.cl -e twice --range 1000 --arg in=a.npy:elementwise --arg out=b.raw:write:elementwise
run 0 "$pel" run fill.cl --range 1000 --arg out=c.raw:write:elementwise --arg scale=1 --quiet
[ ! -s out ] || complain "--quiet prints"
cmp -s b.raw c.raw || complain "2 * 0.5 i is not i"
[ "$(wc -c < b.raw)" -eq 4000 ] || complain "b.raw has $(wc -c < b.raw) bytes"
# rw reads, adds, and writes elsewhere; repeated launches start from the file each time.
run 0 "$pel" run two.cl -e add --range 1000 --arg in=a.npy:elementwise --arg io=a.npy:rw:elementwise:save=d.raw --repeat 4
cmp -s d.raw c.raw || complain "0.5 i + 0.5 i, once, is not i"
says out "median of 4 launches"
# The same from a raw input, and with the shares given.
run 0 "$pel" run two.cl -e twice --range 1000 --arg in=c.raw:elementwise --arg out=e.raw:write:elementwise --devices opencl:0 --shares opencl:0=1
run 0 "$pel" run two.cl -e twice --range 1000 --arg in=c.raw --arg out=f.raw:write
cmp -s e.raw f.raw || complain "declared and undeclared runs differ"
says out "read, whole"
says out "may not be split"

# Images: the documented example, halo and all.
run 0 "$pel" run paint.cl --range 64x48 --arg out=photo.png:write:block
run 0 "$pel" run "$examples/blur.cl" --entry blur --range 64x48 --arg in=photo.png:read:block:halo=2 --arg out=blurred.png:write:block --arg r=2
run 0 "$pel" run "$examples/blur.cl" --range 64x48 --arg in=photo.png --arg out=again.png:write --arg r=0
[ -s blurred.png ] || complain "no blurred.png"
cmp -s again.png photo.png || complain "a blur of radius 0 changes the image"
cmp -s blurred.png photo.png && complain "a blur of radius 2 changes nothing"

# A dry run writes nothing.
run 0 "$pel" run fill.cl --range 1000 --arg out=dry.npy:write:elementwise --arg scale=1 --plan
says out "nothing was run"
absent dry.npy

# Options reach the compiler; headers beside the source are found.
echo '#define FACTOR 3' > own.h
echo '#include "own.h"
kernel void f(global T *out) { out[get_global_id(0)] = (T)FACTOR * PLUS; }' > include.cl
run 0 "$pel" run include.cl --range 4 -D T=int -D PLUS=2 --options -cl-fast-relaxed-math --arg out=g.raw:write:elementwise
[ "$(od -An -tu1 -v g.raw | tr -d ' \n')" = "6000600060006000" ] || complain "g.raw: $(od -An -tu1 g.raw)"
# Work-groups, local memory, folded partial sums; histogram by atomics.
cat > sum.cl << 'END'
kernel void sum(global const int *in, global int *partial, local int *tmp) {
    int l = get_local_id(0);
    tmp[l] = in[get_global_id(0)];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int s = get_local_size(0) / 2; s > 0; s /= 2) { if (l < s) tmp[l] += tmp[l + s]; barrier(CLK_LOCAL_MEM_FENCE); }
    if (l == 0) partial[get_group_id(0)] = tmp[0];
}
kernel void ones(global int *out) { out[get_global_id(0)] = 1; }
kernel void histogram(global const int *in, global uint *bins) { atomic_inc(&bins[in[get_global_id(0)] % 4]); }
END
run 0 "$pel" run sum.cl -e ones --range 4096 --arg out=ones.raw:write:elementwise
run 0 "$pel" run sum.cl -e sum --range 4096 --local 64 --arg in=ones.raw:elementwise --arg tmp=local:count=64 --arg partial=s.raw:write:pergroup:op=sum
[ "$(od -An -td4 s.raw | tr -d ' \n')" = 4096 ] || complain "sum: $(od -An -td4 s.raw)"
run 0 "$pel" run sum.cl -e histogram --range 4096 --arg in=ones.raw:elementwise --arg bins=h.raw:write:reduce=sum:shape=4
[ "$(od -An -td4 h.raw | tr -s ' ' | tr -d '\n')" = " 0 4096 0 0" ] || complain "histogram: $(od -An -td4 h.raw)"

# Wrong input that only a device shows.
echo 'kernel void f(global float *out) {
    out[get_global_id(0)] = undeclared_thing;
}' > broken.cl
refuses 1 "undeclared_thing" "$pel" run broken.cl --range 4 --arg out=o.npy:write
grep -qE ':2:[0-9]+' err || complain "the build log does not have the user's line number"
refuses 1 "nosuch" "$pel" run fill.cl --range 4 --devices nosuch --arg out=o.npy:write --arg scale=1
refuses 1 "no device 'opencl:99'" "$pel" run fill.cl --range 4 --shares opencl:99=1 --arg out=o.npy:write --arg scale=1
refuses 1 "argument out: no memory for 4398046511104 bytes" "$pel" run fill.cl --range 1099511627776 --arg out=o.npy:write --arg scale=1
refuses 1 "double" "$pel" run fill.cl --range 4 --arg out=o.npy:write:type=double --arg scale=1
run 0 "$pel" run two.cl -e twice --range 10x10 --arg in=zeros:elementwise --arg out=square.npy:write:elementwise
refuses 1 "needs 101" "$pel" run two.cl -e twice --range 101 --arg in=square.npy:elementwise --arg out=o.npy:write
absent o.npy

# Unwritable places. HOME is where caches go; without it pel works, and says nothing wrong.
run 0 env -u POCL_CACHE_DIR HOME=/nonexistent "$pel" --version
HOME=/nonexistent PEL_CACHE_DIR=/nonexistent/cache timeout 100 "$pel" run fill.cl --range 8 --arg out=home.npy:write --arg scale=1 > out 2> err ||
    complain "without a writable HOME"
[ -s home.npy ] || complain "no result without a writable HOME"

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
