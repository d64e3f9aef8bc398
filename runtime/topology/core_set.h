/* SPDX-License-Identifier: BSD-3-Clause */
/* Arithmetic on sets of logical processors, and their text forms: "0-3,6" as the kernel writes it, "0-3+6" in a device list. */
#ifndef PEL_TOPOLOGY_CORE_SET_H
#define PEL_TOPOLOGY_CORE_SET_H

#include "base/text.h"
#include <pel/device.h>
#include <stdbool.h>
#include <stddef.h>

void pel_core_set_add(pel_core_set *set, uint32_t core); /* beyond PEL_CORE_LIMIT: ignored */
uint32_t pel_core_set_count(const pel_core_set *set);
void pel_core_set_intersect(pel_core_set *set, const pel_core_set *with);
void pel_core_set_unite(pel_core_set *set, const pel_core_set *with);
bool pel_core_set_overlaps(const pel_core_set *a, const pel_core_set *b);
bool pel_core_set_within(const pel_core_set *part, const pel_core_set *whole);

/* Reads ranges separated by `separator` from `text`. False: empty, malformed or beyond PEL_CORE_LIMIT; *set is then undefined. */
bool pel_core_set_parse(const char *text, size_t length, char separator, pel_core_set *set);

/* Appends the set's ranges; "none" for an empty set. */
void pel_core_set_format(const pel_core_set *set, char separator, pel_text *text);

#endif
