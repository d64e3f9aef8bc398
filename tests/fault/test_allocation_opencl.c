/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every allocation of the library's in a life with OpenCL devices fails, once and for ever: the right result or a clean error,
 * nothing leaks, no reference is kept. A sample by a seed; --all: every one of every list, minutes.
 */
#include "fault/life.h"
#include "support/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const lists[] = {"opencl:0", "host@0,opencl:0@1", "opencl:0[own]", "opencl:0[own;memory=3k]"};
enum { SAMPLE = 40, SHOWN = 5 };

typedef struct tally {
    long sites, ran, right, defects;
} tally;

static void try_site(pel_case *c, const char *devices, long site, bool for_ever, tally *t) {
    counted *memory = life_memory();
    life_result result;
    atomic_store(&memory->calls, 0);
    memory->fail_at = site;
    memory->for_ever = for_ever;
    life_run(c, devices, &result);
    memory->fail_at = 0;
    t->ran++;
    t->right += result.status == PEL_OK && result.right;
    if (result.defect[0] != '\0' && t->defects++ < SHOWN) {
        printf("DEFECT %s: allocation %ld fails %s: %s (%s)\n", devices, site, for_ever ? "for ever" : "once", result.defect,
               result.story);
    }
}

/* False: there are no such devices here. */
static bool try_list(pel_case *c, const char *devices, uint64_t seed, bool all, tally *t) {
    life_result result;
    for (int warm = 0; warm < 2; warm++) { /* what the driver compiles and keeps is there, then the sites are counted */
        atomic_store(&life_memory()->calls, 0);
        life_run(c, devices, &result);
        if (result.status != PEL_OK || result.defect[0] != '\0') {
            printf("%s: left out: %s %s\n", devices, result.story, result.defect);
            return false;
        }
    }
    t->sites = atomic_load(&life_memory()->calls);
    for (long site = 1; site <= t->sites; site++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            if (all || test_mix(test_mix(seed) + 2 * (uint64_t)site + (uint64_t)for_ever) % (uint64_t)(2 * t->sites) < SAMPLE) {
                try_site(c, devices, site, for_ever, t);
            }
        }
    }
    return true;
}

int main(int argc, char **argv) {
    uint64_t seed = 1;
    bool all = false;
    long defects = 0, ran = 0;
    for (int i = 1; i < argc; i++) {
        all = all || strcmp(argv[i], "--all") == 0;
        seed = i + 1 < argc && strcmp(argv[i], "--seed") == 0 ? strtoull(argv[i + 1], NULL, 10) : seed;
    }
    pel_case c;
    if (!life_case("triad", &c)) {
        return 77;
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        tally t = {0};
        if (try_list(&c, lists[i], seed, all, &t)) {
            printf("%-26s %5ld sites, %5ld failures tried: %5ld right, %5ld clean errors, %ld DEFECTS\n", lists[i], t.sites,
                   t.ran, t.right, t.ran - t.right - t.defects, t.defects);
            fflush(stdout);
        }
        defects += t.defects;
        ran += t.ran;
    }
    pel_case_teardown(&c);
    printf("seed %" PRIu64 ": %ld failures, %ld defects\n", seed, ran, defects);
    return ran == 0 ? 77 : defects > 0;
}
