/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What waits on the host device. submit cannot fail and may be called under the dispatcher's lock, so nothing is allocated here:
 * the links are the work's own. Most tasks have priority 0 and go through a plain list; the others through a pairing heap, which
 * needs two links and a sequence number and no balance information. Rejected: an array heap (allocates), one list sorted by
 * priority (linear).
 */
#include "backend/host/host.h"

static bool before(const pel_work *a, const pel_work *b) {
    return a->priority != b->priority ? a->priority > b->priority : a->sequence < b->sequence;
}

static pel_work *meld(pel_work *a, pel_work *b) {
    if (a == NULL || b == NULL) {
        return a != NULL ? a : b;
    }
    if (before(b, a)) {
        pel_work *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    a->child = b;
    return a;
}

/* Two passes over the children of a removed root: pairs from the left, then all together from the right. */
static pel_work *meld_children(pel_work *child) {
    pel_work *pairs = NULL;
    while (child != NULL) {
        pel_work *a = child, *b = child->next;
        child = b != NULL ? b->next : NULL;
        a->next = NULL;
        if (b != NULL) {
            b->next = NULL;
        }
        pel_work *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    pel_work *root = NULL;
    while (pairs != NULL) {
        pel_work *next = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

static void append(pel_work **first, pel_work **last, pel_work *work) {
    if (*first == NULL) {
        *first = work;
    } else {
        (*last)->next = work;
    }
    *last = work;
}

static pel_work *pop(pel_work **first, pel_work **last) {
    pel_work *work = *first;
    if (work != NULL) {
        *first = work->next;
        if (*first == NULL) {
            *last = NULL;
        }
        work->next = NULL;
    }
    return work;
}

void pel_host_queue_push(pel_host_queue *queue, pel_work *work) {
    work->next = NULL;
    work->child = NULL;
    work->sequence = queue->sequence++;
    if (work->kind != PEL_WORK_TASK) {
        append(&queue->first_job, &queue->last_job, work);
        queue->jobs++;
        return;
    }
    queue->tasks++;
    if (work->priority == 0) {
        append(&queue->first_task, &queue->last_task, work);
    } else {
        queue->heap = meld(queue->heap, work);
    }
}

pel_work *pel_host_queue_pop_job(pel_host_queue *queue) {
    pel_work *work = pop(&queue->first_job, &queue->last_job);
    queue->jobs -= work != NULL;
    return work;
}

pel_work *pel_host_queue_pop_task(pel_host_queue *queue) {
    pel_work *work;
    if (queue->heap != NULL && (queue->heap->priority > 0 || queue->first_task == NULL)) {
        work = queue->heap;
        queue->heap = meld_children(work->child);
        work->child = NULL;
    } else {
        work = pop(&queue->first_task, &queue->last_task);
    }
    queue->tasks -= work != NULL;
    return work;
}
