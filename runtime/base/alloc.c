/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One function, the user's `reallocate`, stands behind all memory of the library: a host program can count it, cap it, and its
 * tests can make the nth call fail. A NULL allocator means malloc, so that code without a runtime at hand (errors, discovery)
 * needs no special case. Buffers are different: they are large, must be page-aligned for zero copy and should cost nothing until
 * touched, so they come from mmap.
 */
#include "base/alloc.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *default_reallocate(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, bytes);
}

const pel_allocator pel_allocator_default = {default_reallocate, NULL};

static void *reallocate(const pel_allocator *allocator, void *pointer, size_t bytes) {
    if (allocator == NULL) {
        allocator = &pel_allocator_default;
    }
    return allocator->reallocate(allocator->user, pointer, bytes);
}

void *pel_alloc(const pel_allocator *allocator, size_t bytes) {
    return bytes == 0 ? NULL : reallocate(allocator, NULL, bytes);
}

void *pel_alloc_zero(const pel_allocator *allocator, size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        return NULL;
    }
    void *pointer = pel_alloc(allocator, total);
    if (pointer != NULL) {
        memset(pointer, 0, total);
    }
    return pointer;
}

void *pel_resize(const pel_allocator *allocator, void *pointer, size_t bytes) {
    return bytes == 0 ? NULL : reallocate(allocator, pointer, bytes);
}

void pel_free(const pel_allocator *allocator, void *pointer) {
    if (pointer != NULL) {
        (void)reallocate(allocator, pointer, 0);
    }
}

char *pel_strndup(const pel_allocator *allocator, const char *text, size_t bytes) {
    if (text == NULL) {
        return NULL;
    }
    size_t length = strnlen(text, bytes);
    char *copy = pel_alloc(allocator, length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *pel_strdup(const pel_allocator *allocator, const char *text) {
    return text == NULL ? NULL : pel_strndup(allocator, text, strlen(text));
}

void *pel_pages_alloc(uint64_t bytes) {
    size_t size;
    if (bytes == 0 || !pel_u64_to_size(bytes, &size)) {
        return NULL;
    }
    void *pointer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pointer == MAP_FAILED ? NULL : pointer;
}

void pel_pages_free(void *pointer, uint64_t bytes) {
    if (pointer != NULL) {
        munmap(pointer, (size_t)bytes);
    }
}

void pel_pages_conceal(void *pointer, uint64_t bytes) {
    (void)madvise(pointer, (size_t)bytes, MADV_DONTDUMP); /* hardening: what an older system cannot do stays undone */
    (void)madvise(pointer, (size_t)bytes, MADV_WIPEONFORK);
}

void pel_wipe(void *pointer, uint64_t bytes) {
    if (pointer != NULL) {
        explicit_bzero(pointer, (size_t)bytes);
    }
}
