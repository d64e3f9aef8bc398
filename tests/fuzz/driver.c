/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every fuzzer shares, and a main without libFuzzer: seeds are mutated by a fixed random stream. `--runs N`, `--seed N`, and
 * `--only N`: one run alone, for a debugger. Its number is told when a run dies.
 */
#include "fuzz/fuzz.h"
#include "support/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

const char *fuzz_file(const uint8_t *data, size_t bytes) {
    static char path[64];
    static int file = -1;
    if (file >= 0) {
        close(file);
    }
    file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || write(file, data, bytes) != (ssize_t)bytes) {
        abort();
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return path;
}

size_t fuzz_text(const char *const *texts, unsigned count, unsigned index, uint8_t data[FUZZ_BYTES]) {
    size_t bytes = index < count ? strlen(texts[index]) : 0;
    if (bytes > FUZZ_BYTES) {
        abort();
    }
    memcpy(data, index < count ? texts[index] : "", bytes);
    return bytes;
}

#ifndef PEL_LIBFUZZER

enum { SEEDS = 16 };

static uint64_t state;
static uint8_t seed_bytes[SEEDS][FUZZ_BYTES]; /* made once: some write files for it */
static size_t seed_lengths[SEEDS];

static uint64_t draw(uint64_t below) { return test_random(&state) % below; }

/* One change: a bit, a byte, a number at its limits, a piece cut out, doubled or moved. */
static size_t mutate(uint8_t data[2 * FUZZ_BYTES], size_t bytes) {
    static const uint64_t limits[] = {
        0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, UINT64_MAX};
    size_t at = bytes ? (size_t)draw(bytes) : 0, count = bytes ? 1 + (size_t)draw(bytes - at < 16 ? bytes - at : 16) : 0;
    switch (bytes ? draw(7) : 4) {
    case 0:
        data[at] ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        data[at] = (uint8_t)draw(256);
        break;
    case 2: {
        uint64_t number = limits[draw(sizeof limits / sizeof *limits)] + draw(3) - 1;
        size_t width = (size_t)1 << draw(4);
        memcpy(data + at, &number, width < bytes - at ? width : bytes - at);
        break;
    }
    case 3:
        memmove(data + at, data + at + count, bytes - at - count);
        bytes -= count;
        break;
    case 4:
        if (bytes + 1 <= FUZZ_BYTES) {
            memmove(data + at + 1, data + at, bytes - at);
            data[at] = (uint8_t) "09aZ:;,=@!-+.%{}[]()\n\t \"\\/x\xff"[draw(28)];
            bytes++;
        }
        break;
    case 5:
        if (bytes + count <= FUZZ_BYTES) {
            memmove(data + at + count, data + at, bytes - at);
            bytes += count;
        }
        break;
    default:
        bytes = at;
        break;
    }
    return bytes;
}

static void run_one(uint64_t seed, unsigned long number, unsigned seeds) {
    static uint8_t data[2 * FUZZ_BYTES];
    state = seed * 1000003 + number;
    uint64_t chosen = draw(seeds);
    size_t bytes = seed_lengths[chosen];
    memcpy(data, seed_bytes[chosen], bytes);
    for (uint64_t changes = number < seeds ? 0 : 1 + draw(6); changes > 0; changes--) {
        bytes = mutate(data, bytes);
    }
    /* In a block of its own size, so that a sanitizer sees a read behind the end. */
    uint8_t *exact = malloc(bytes ? bytes : 1);
    if (!exact) {
        abort();
    }
    memcpy(exact, data, bytes);
    (void)LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

int main(int argc, char **argv) {
    unsigned long runs = 5000, seed = 1, only = 0, seeds = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long number = strtoul(argv[i + 1], NULL, 10);
        *(strcmp(argv[i], "--seed") == 0 ? &seed : strcmp(argv[i], "--only") == 0 ? &only : &runs) = number;
    }
    while (seeds < SEEDS && (seed_lengths[seeds] = fuzz_seed((unsigned)seeds, seed_bytes[seeds])) > 0) {
        seeds++;
    }
    if (only > 0) {
        run_one(seed, only, (unsigned)seeds);
        return 0;
    }
    /* A child runs and says which number it is at; its death is told with a command that repeats it. */
    unsigned long *at = mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return 1;
    }
    const struct itimerval limit = {
        .it_value = {.tv_sec = 20}}; /* of processor time: an input that takes so long is a finding too */
    pid_t child = fork();
    if (child == 0) {
        for (*at = 1; *at <= runs; ++*at) {
            (void)setitimer(ITIMER_PROF, &limit, NULL);
            run_one(seed, *at, (unsigned)seeds);
        }
        exit(0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        printf("FAILED at %s --seed %lu --only %lu\n", argv[0], seed, *at);
        return 1;
    }
    printf("%lu runs from %lu seeds, seed %lu\n", runs, seeds, seed);
    return 0;
}

#endif
