#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# `pel run` end to end: .npy, .png, raw and scalar arguments, splits, dry runs. Wrong input is in test_run_errors.sh.
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

run 0 "$pel" run two.cl --list
says out "twice(global const float *in, global float *out)"
timeout 100 "$pel" run fill.cl --range 64 --arg out=o.npy:write --arg scale=1 > out 2> err
if grep -qF "no usable OpenCL device" err; then
    echo "no OpenCL device here: the rest is skipped"
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

# The same image from two devices, each with a core of its own and a part of the rows.
if [ "$(nproc)" -ge 2 ] && "$pel" info --devices opencl:0@0,opencl:0@1 > /dev/null 2>&1; then
    run 0 "$pel" run "$examples/blur.cl" --range 64x48 --devices opencl:0@0,opencl:0@1 --shares opencl:0@0=0.3,opencl:0@1=0.7 \
        --arg in=photo.png:read:block:halo=2 --arg out=split.png:write:block --arg r=2
    says out "opencl:0@1: units"
    cmp -s split.png blurred.png || complain "a split launch gives another image"
fi

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

finish
