/* SPDX-License-Identifier: BSD-3-Clause */
/* What was decided for a launch, for the same launch again: see habit.c. Under the lock. */
#ifndef PEL_QUEUE_HABIT_H
#define PEL_QUEUE_HABIT_H

#include "model/model.h"
#include "queue/command.h"

enum { PEL_HABITS = 64 }; /* kernels that are remembered; power of two */

typedef struct pel_habit {
    uint64_t kernel;           /* id; 0: none */
    pel_model_family family;
    pel_span span;
    uint64_t granularity, lessons;
    const char *single;        /* why it may not be split: fixed texts only */
    pel_protection asked, protection;
    uint32_t device, age, group;
    double predicted_ns;
} pel_habit;

/* True: the command has slices and protection as the last time. */
bool pel_habit_take(pel_command *command, const pel_model_family *family);
void pel_habit_keep(const pel_command *command, const pel_model_family *family, bool exploring);

#endif
