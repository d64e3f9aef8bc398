/* SPDX-License-Identifier: BSD-3-Clause */
/* Host memory through the runtime's allocator. Every size that could overflow goes through base/checked.h first. */
#ifndef PEL_BASE_ALLOC_H
#define PEL_BASE_ALLOC_H

#include <pel/runtime.h>
#include <stddef.h>

extern const pel_allocator pel_allocator_default; /* malloc and free */

void *pel_alloc(const pel_allocator *allocator, size_t bytes);      /* NULL on failure or bytes == 0; contents undefined */
void *pel_alloc_zero(const pel_allocator *allocator, size_t count, size_t bytes); /* count * bytes, checked, zeroed */
void *pel_resize(const pel_allocator *allocator, void *pointer, size_t bytes);   /* old block survives a failure */
void pel_free(const pel_allocator *allocator, void *pointer);       /* NULL is allowed */
char *pel_strdup(const pel_allocator *allocator, const char *text); /* NULL text: NULL */
char *pel_strndup(const pel_allocator *allocator, const char *text, size_t bytes);

/* Page-aligned zeroed memory for buffers (anonymous mmap, lazily committed). NULL on failure. */
void *pel_pages_alloc(uint64_t bytes);
void pel_pages_free(void *pointer, uint64_t bytes);
/* Leaves pages out of core dumps and, as zeroes, out of forked children, where the system can. */
void pel_pages_conceal(void *pointer, uint64_t bytes);
/* Zeroes memory that nobody will read again, which a compiler would not. NULL is allowed. */
void pel_wipe(void *pointer, uint64_t bytes);

#endif
