/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PEL_CORE_VERIFICATION_H
#define PEL_CORE_VERIFICATION_H

#include <pel/verification.h>
#include <stdbool.h>

/* NULL, or what is wrong with it; static. */
const char *pel_verification_refusal(const pel_verification *how);

/* $PEL_VERIFY: PERCENT[,seed=N][,f32=ULPS|,f64=ULPS][,same]. False: it is not understood; *how is undefined then. */
bool pel_verification_parse(const char *text, pel_verification *how);

#endif
