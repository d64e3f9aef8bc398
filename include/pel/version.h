/* SPDX-License-Identifier: BSD-3-Clause */
/* The library's version: of the header that was compiled, and of the library that is loaded. */
#ifndef PEL_VERSION_H
#define PEL_VERSION_H

#include <pel/export.h>

PEL_BEGIN_DECLS

#define PEL_VERSION_MAJOR 0
#define PEL_VERSION_MINOR 1
#define PEL_VERSION_PATCH 0
#define PEL_VERSION_STRING "0.1.0"

/* Version of the loaded library, major * 1000000 + minor * 1000 + patch. Any thread; never blocks. */
PEL_API unsigned pel_version(void);

/* The same as text, "0.1.0". Static; never freed. */
PEL_API const char *pel_version_string(void);

PEL_END_DECLS
#endif
