/* SPDX-License-Identifier: BSD-3-Clause */
/* What a runtime remembers from one process to the next: when its history is read and written. */
#ifndef PEL_CORE_LESSONS_H
#define PEL_CORE_LESSONS_H

#include "core/runtime.h"

/*
 * The file: `asked`, else $PEL_HISTORY if the environment counts, else "history" in the cache directory. NULL: none (or no
 * memory: a convenience). The caller's to free.
 */
char *pel_lessons_path(const pel_allocator *allocator, const char *asked, bool environment, const char *cache_directory);

/* Finds where the history file is (descriptor, environment, cache directory). OUT_OF_MEMORY only. */
pel_status pel_lessons_begin(pel_runtime *runtime, const pel_runtime_desc *desc, pel_error **error);

/*
 * Notes what a kernel is called, for people who look into the history. The first call reads the file and teaches the models what
 * it holds; what is wrong with it is logged. Without runtime->lock; may block for the file.
 */
void pel_lessons_name(pel_runtime *runtime, uint64_t kernel, const char *name);

/* Writes what was learned, now and then; cheap when it is not yet time. Without runtime->lock; may block for a write. */
void pel_lessons_keep(pel_runtime *runtime);

/* Writes the rest and forgets; the models are not changed any more. */
void pel_lessons_end(pel_runtime *runtime);

#endif
