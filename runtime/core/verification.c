/* SPDX-License-Identifier: BSD-3-Clause */
/* What verification is asked for, in a struct or in the words of $PEL_VERIFY: read strictly, as a wish that is misunderstood
 * is a result that nobody looked at. */
#include "core/verification.h"
#include <math.h>
#include <string.h>

const char *pel_verification_refusal(const pel_verification *how) {
    if (!(how->share >= 0 && how->share <= 1)) {
        return "the share of chunks to verify is not between 0 and 1";
    }
    if ((how->flags & ~(uint32_t)PEL_VERIFY_SAME_DEVICE) != 0) {
        return "unknown flags";
    }
    if (how->scalar != 0 && how->scalar != PEL_F32 && how->scalar != PEL_F64) {
        return "numbers are compared as PEL_F32 or PEL_F64";
    }
    return how->scalar == 0 && how->ulps != 0 ? "a distance is given, but not of which numbers: scalar is 0" : NULL;
}

/* Decimal digits; the number's text is the same in all locales. */
static bool take_integer(const char **text, uint64_t *value) {
    const char *at = *text;
    for (*value = 0; *at >= '0' && *at <= '9'; at++) {
        const uint64_t digit = (uint64_t)(*at - '0');
        if (*value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *value = *value * 10 + digit;
    }
    const bool some = at > *text;
    *text = at;
    return some;
}

static bool take_percent(const char **text, double *share) {
    uint64_t whole, part = 0;
    double scale = 1;
    if (!take_integer(text, &whole)) {
        return false;
    }
    if (**text == '.') {
        const char *begin = ++*text;
        if (!take_integer(text, &part)) {
            return false;
        }
        scale = pow(10.0, (double)(*text - begin));
    }
    *text += **text == '%' ? 1 : 0;
    *share = ((double)whole + (double)part / scale) / 100.0;
    return true;
}

static bool take_word(const char **text, const char *word) {
    const size_t length = strlen(word);
    const bool is = strncmp(*text, word, length) == 0;
    *text += is ? length : 0;
    return is;
}

bool pel_verification_parse(const char *text, pel_verification *how) {
    *how = (pel_verification)PEL_VERIFICATION_INIT;
    if (!take_percent(&text, &how->share)) {
        return false;
    }
    while (*text == ',') {
        text++;
        if (!(how->flags & PEL_VERIFY_SAME_DEVICE) && take_word(&text, "same")) {
            how->flags |= PEL_VERIFY_SAME_DEVICE;
        } else if (take_word(&text, "seed=")) {
            if (!take_integer(&text, &how->seed)) {
                return false;
            }
        } else if (how->scalar != 0) {
            return false; /* one tolerance only */
        } else {
            how->scalar = take_word(&text, "f32=") ? PEL_F32 : take_word(&text, "f64=") ? PEL_F64 : 0;
            if (how->scalar == 0 || !take_integer(&text, &how->ulps)) {
                return false;
            }
        }
    }
    return *text == '\0' && !pel_verification_refusal(how);
}
