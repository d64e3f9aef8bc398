/* SPDX-License-Identifier: BSD-3-Clause */
/* Reductions over arrays of pel_scalar elements: identity, element-wise fold of two arrays, and the fixed binary tree over
 * groups. */
#ifndef PEL_BASE_REDUCE_H
#define PEL_BASE_REDUCE_H

#include <pel/access.h>
#include <stdbool.h>
#include <stdint.h>

uint64_t pel_scalar_bytes(pel_scalar scalar);
bool pel_reduce_valid(pel_reduce_op op, pel_scalar scalar); /* bit operations need integers */
bool pel_reduce_exact(pel_reduce_op op, pel_scalar scalar); /* order does not matter: integers (wrapping), MIN and MAX */
void pel_reduce_identity(pel_reduce_op op, pel_scalar scalar, void *array, uint64_t count);
void pel_reduce_fold(pel_reduce_op op, pel_scalar scalar, void *into, const void *from, uint64_t count);

/* Folds `groups` rows of `count` elements into row 0, pairwise: row g takes row g + s for s = 1, 2, 4, ... Other rows are used
 * up. */
void pel_reduce_tree(pel_reduce_op op, pel_scalar scalar, void *rows, uint64_t groups, uint64_t count);

#endif
