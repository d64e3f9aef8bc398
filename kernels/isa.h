/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One loop, several instruction sets. A host variant is written once, as an always-inlined body in plain C whose inner loops run
 * over a fixed number of lanes; PEL_HOST_VARIANT compiles it for the base machine, for AVX2 and for AVX-512, and picks at each
 * call (a load and a branch). Multiply-adds go through pel_fused, so that each item is rounded the same way in the vector loop
 * and in its scalar rest: a span's result never depends on how the launch was cut. Rejected: target_clones, whose resolvers run
 * before the sanitizers are set up, and intrinsics, which would be one copy of each kernel per machine.
 */
#ifndef PEL_KERNELS_ISA_H
#define PEL_KERNELS_ISA_H

#include <math.h>
#include <pel/kernel.h>

#define PEL_INLINE static inline __attribute__((always_inline))

/* The best instruction set that host variants may use: 0 base, 1 AVX2 + FMA, 2 AVX-512. Tests lower it; set it only while nothing
 * runs. */
extern int pel_isa_limit;

/* Before a loop of few, known steps whose variables shall become registers. Each compiler has its own word for it. */
#if defined(__clang__)
#define PEL_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define PEL_UNROLL _Pragma("GCC unroll 8")
#else
#define PEL_UNROLL
#endif

typedef struct pel_isa {
    int fused; /* the machine has fused multiply-add: without, fmaf() would be a slow function */
    int wide;  /* 512-bit registers, twice as many */
} pel_isa;

PEL_INLINE float pel_fused(pel_isa isa, float a, float b, float c) {
    return isa.fused ? __builtin_fmaf(a, b, c) : a * b + c;
}

#define PEL_HOST_CLONE(name, suffix, attribute, fused_, wide_)                                                                   \
    attribute static pel_status name##_##suffix(const pel_span *span, void *const *arguments) {                                  \
        const pel_isa isa = {fused_, wide_};                                                                                     \
        return name##_body(span, arguments, isa);                                                                                \
    }

#if defined(__x86_64__) && defined(__GNUC__)
#define PEL_HOST_VARIANT(name)                                                                                                   \
    PEL_HOST_CLONE(name, base, , 0, 0)                                                                                           \
    PEL_HOST_CLONE(name, avx2, __attribute__((target("avx2,fma"))), 1, 0)                                                        \
    PEL_HOST_CLONE(name, avx512, __attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), 1, 1)                   \
    static pel_status name##_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {                     \
        (void)scratch;                                                                                                           \
        (void)user;                                                                                                              \
        if (pel_isa_limit > 1 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&                     \
            __builtin_cpu_supports("avx512bw")) {                                                                                \
            return name##_avx512(span, arguments);                                                                               \
        }                                                                                                                        \
        if (pel_isa_limit > 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {                              \
            return name##_avx2(span, arguments);                                                                                 \
        }                                                                                                                        \
        return name##_base(span, arguments);                                                                                     \
    }
#else
#ifdef FP_FAST_FMAF
#define PEL_HOST_FUSED 1
#else
#define PEL_HOST_FUSED 0
#endif
#define PEL_HOST_VARIANT(name)                                                                                                   \
    PEL_HOST_CLONE(name, base, , PEL_HOST_FUSED, 0)                                                                              \
    static pel_status name##_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {                     \
        (void)scratch;                                                                                                           \
        (void)user;                                                                                                              \
        return name##_base(span, arguments);                                                                                     \
    }
#endif

#endif
