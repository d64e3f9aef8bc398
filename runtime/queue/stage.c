/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/stage.h"
#include "queue/command.h"

#include <stdint.h>

pel_stage *pel_stage_take(pel_stages *stages, pel_runtime *runtime, const pel_allocator *allocator, pel_queue *queue) {
    pel_stage *stage = stages->free;
    if (stage) {
        stages->free = stage->next;
    } else {
        stage = pel_alloc_zero(allocator, 1, sizeof *stage);
        void *block = stage ? pel_alloc_zero(allocator, 1, stages->share_count * sizeof(pel_stage_share) + 63) : NULL;
        if (!block) {
            pel_free(allocator, stage);
            return NULL;
        }
        stage->block = block;
        stage->shares = (pel_stage_share *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
        stage->used = stages->used;
        stage->all = stages->all;
        stages->all = stage;
    }
    stage->next = NULL;
    stage->runtime = runtime;
    stage->queue = queue;
    stage->follower = NULL;
    stage->oldest_first = queue && queue->oldest_first;
    return stage;
}

/* Counts are left as they are: begun equals ended, and late readers see no difference. */
void pel_stage_give(pel_stages *stages, pel_stage *stage) {
    stage->next = stages->free;
    stages->free = stage;
}

void pel_stages_free(pel_stages *stages, const pel_allocator *allocator) {
    while (stages->all) {
        pel_stage *next = stages->all->all;
        pel_free(allocator, stages->all->block);
        pel_free(allocator, stages->all);
        stages->all = next;
    }
    stages->free = NULL;
}

uint64_t pel_stage_unfinished(const pel_stage *stage) {
    uint64_t begun = 0, ended = 0;
    uint32_t count = atomic_load_explicit((atomic_uint *)(uintptr_t)stage->used, memory_order_seq_cst);
    for (uint32_t i = 0; i < count; i++) {
        ended += atomic_load_explicit(&stage->shares[i].ended, memory_order_seq_cst);
    }
    count = atomic_load_explicit((atomic_uint *)(uintptr_t)stage->used, memory_order_seq_cst);
    for (uint32_t i = 0; i < count; i++) {
        begun += atomic_load_explicit(&stage->shares[i].begun, memory_order_seq_cst);
    }
    return begun - ended;
}
