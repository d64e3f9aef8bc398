/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults in words for `pel sim`: a machine is explored by one file and many seeds, so what fails must be said beside the file,
 * and where it fails must be the seed's to choose. The keys are the description's own and go through its parser: nothing here
 * knows them, and a slip is refused with the list of keys. Drawn numbers depend on seed, device and key alone, not on the order
 * of the words. Rejected: a copy of the file for each seed (a failing seed would have to be repeated with a file that is gone).
 */
#include "cli/sim_faults.h"
#include "base/hash.h"
#include "cli/options.h"
#include <pel/pel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

/* Copies [at, end) as a text; false: it is empty or too long. */
static bool copy(char out[WORD], const char *at, const char *end) {
    const size_t length = (size_t)(end - at);
    if (length == 0 || length >= WORD) {
        return false;
    }
    memcpy(out, at, length);
    out[length] = '\0';
    return true;
}

/* How much of a text a message shows. */
static int shown(const char *at, const char *end) { return (int)(end - at < 60 ? end - at : 60); }

static uint64_t hash_of(const char *text, uint64_t hash) {
    for (; *text; text++) {
        hash = pel_mix_u64(hash, (unsigned char)*text);
    }
    return hash;
}

/* LOW..HIGH becomes one number of these; false: it is no such range. */
static bool draw(const char *device, const char *key, uint64_t seed, char value[WORD]) {
    uint64_t low, high;
    char *dots = strstr(value, "..");
    *dots = '\0';
    if (!pel_cli_parse_u64("sim", key, value, 0, UINT32_MAX, &low) ||
        !pel_cli_parse_u64("sim", key, dots + 2, low, UINT32_MAX, &high)) {
        return false;
    }
    const uint64_t luck = pel_mix_u64(hash_of(key, hash_of(device, seed + 1)), low);
    (void)snprintf(value, WORD, "%llu", (unsigned long long)(low + luck % (high - low + 1)));
    return true;
}

static bool apply_one(const char *device, const char *at, const char *end, uint64_t seed, pel_description *machine) {
    char key[WORD], value[WORD];
    const char *equals = memchr(at, '=', (size_t)(end - at));
    if (!equals || !copy(key, at, equals) || !copy(value, equals + 1, end)) {
        pel_cli_error("sim", "--faults: of %s KEY=VALUE is expected, not '%.*s'", device, shown(at, end), at);
        return false;
    }
    if (strstr(value, "..") && !draw(device, key, seed, value)) {
        return false;
    }
    pel_error *error = NULL;
    if (pel_description_change(&pel_allocator_default, "--faults", machine, device, key, value, &error) == PEL_OK) {
        return true;
    }
    pel_cli_error("sim", "%s", pel_error_message(error));
    if (*pel_error_advice(error)) {
        pel_cli_error("sim", "%s", pel_error_advice(error));
    }
    pel_error_destroy(error);
    return false;
}

bool pel_sim_faults_apply(const char *words, uint64_t seed, pel_description *machine) {
    for (const char *at = words; *at;) {
        char device[WORD];
        const char *end = at + strcspn(at, ";"), *colon = memchr(at, ':', (size_t)(end - at));
        if (!colon || !copy(device, at, colon)) {
            pel_cli_error("sim", "--faults: DEVICE:KEY=VALUE,... is expected, not '%.*s'", shown(at, end), at);
            return false;
        }
        for (const char *part = colon + 1; part <= end;) {
            const char *stop = part + strcspn(part, ",;");
            if (!apply_one(device, part, stop, seed, machine)) {
                return false;
            }
            part = stop + 1;
        }
        at = *end ? end + 1 : end;
    }
    return true;
}
