/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of `pel run`: the words of --arg, numbers, extents, and the signatures that it reads from a source. */
#include "cli/options.h"
#include "cli/run.h"
#include "cli/signature.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    pel_run_argument argument;
    pel_signatures signatures;
    char message[PEL_MESSAGE_BYTES] = "";
    uint64_t number;
    int64_t whole;
    double real;
    char *text = malloc(bytes + 1);
    if (!text) {
        abort();
    }
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    memset(&argument, 0, sizeof argument);
    if (!pel_run_read_argument(text, &argument, message) && message[0] == '\0') {
        abort();
    }
    pel_run_argument_free(&argument);
    (void)pel_cli_read_u64(text, &number);
    (void)pel_cli_read_i64(text, &whole);
    (void)pel_cli_read_real(text, &real);
    memset(&signatures, 0, sizeof signatures);
    if (pel_signatures_read(text, bytes, NULL, 0, &signatures, message)) {
        pel_signatures_free(&signatures);
    }
    free(text);
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]) {
    static const char *const texts[] = {
        "in=photo.png:read:block:halo=2",
        "x=a.raw:rw:block:halo=1,3:pitch=w:type=float4:shape=3x4x5:save=b\\:c.raw:format=raw",
        "y=o\\:u=t.png:write:elementwise=1/255:like=x:channels=3:bits=16",
        "p=o.npy:write:pergroup=4:op=max",
        "t=local:count=64",
        "18446744073709551615",
        "-0x1p-1074",
        "1920x1080x3",
        "kernel void f(global const float4 *restrict x, __constant int *y, local uint *z, const float a) { x[0]; }",
        "#define K kernel\n#if 1\n/* c */ K void g(global int (*x)[3], image2d_t i) {}\n#else\nx\n#endif\n__attribute__((a(1)))"};
    return fuzz_text(texts, sizeof texts / sizeof *texts, index, data);
}
