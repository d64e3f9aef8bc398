/* SPDX-License-Identifier: BSD-3-Clause */
/* The version of the loaded library, which may differ from that of the header a caller was compiled with. */
#include <pel/version.h>

unsigned pel_version(void) {
    return PEL_VERSION_MAJOR * 1000000u + PEL_VERSION_MINOR * 1000u + PEL_VERSION_PATCH;
}

const char *pel_version_string(void) {
    return PEL_VERSION_STRING;
}
