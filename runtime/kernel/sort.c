/* SPDX-License-Identifier: BSD-3-Clause */
/* Heap sort over elements of any small size: in place, without recursion, O(n log n) whatever the input. */
#include "kernel/declaration.h"
#include <string.h>

#define ELEMENT_LIMIT 64

static void swap(unsigned char *a, unsigned char *b, size_t size) {
    unsigned char kept[ELEMENT_LIMIT];
    memcpy(kept, a, size);
    memcpy(a, b, size);
    memcpy(b, kept, size);
}

static void sift(unsigned char *data, size_t root, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare(data + child * size, data + (child + 1) * size) < 0) {
            child++;
        }
        if (compare(data + root * size, data + child * size) >= 0) {
            return;
        }
        swap(data + root * size, data + child * size, size);
    }
}

void pel_heap_sort(void *data, size_t count, size_t size, int (*compare)(const void *left, const void *right)) {
    unsigned char *bytes = data;
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++) {
        sorted = compare(bytes + (i - 1) * size, bytes + i * size) <= 0;
    }
    if (sorted || size > ELEMENT_LIMIT) {
        return;
    }
    for (size_t i = count / 2; i-- > 0;) {
        sift(bytes, i, count, size, compare);
    }
    for (size_t end = count; end-- > 1;) {
        swap(bytes, bytes + end * size, size);
        sift(bytes, 0, end, size, compare);
    }
}
