/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What launches with the same kernel, range and arguments have in common, made once: see repeat.c. Everything here needs
 * runtime->lock.
 */
#ifndef PEL_QUEUE_REPEAT_H
#define PEL_QUEUE_REPEAT_H

#include "queue/command.h"

enum { PEL_REPEATS = 64 }; /* that are remembered; power of two */

typedef struct pel_repeat pel_repeat;
typedef struct pel_repeat_slot {
    uint64_t key;
    pel_repeat *repeat; /* NULL: it was met once only */
} pel_repeat_slot;

/*
 * How a launch goes on that was made before. COMMAND: as one that is ready to be submitted. JOINED: it runs with the queue's last
 * one, which makes the same launch. SHORT: as a task (short_launch.h). NEW: it was not made before, or not so; nothing happened.
 */
typedef enum pel_repeat_way { PEL_REPEAT_NEW, PEL_REPEAT_COMMAND, PEL_REPEAT_JOINED, PEL_REPEAT_SHORT } pel_repeat_way;
typedef struct pel_repeated {
    pel_command *command;
    struct pel_short *task;
} pel_repeated;
/* wanted: its event. may_shorten: likewise not where a short one was refused just now. */
pel_repeat_way pel_repeat_launch(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args,
                                 uint32_t arg_count, bool wanted, bool may_shorten, pel_repeated *repeated);
/*
 * Remembers a command that was made the long way and is to be submitted next. The second of a kind shares from then on what it
 * has.
 */
void pel_repeat_meet(pel_command *command, const pel_launch_desc *desc, const pel_arg *args);

/* True: it is decided as the last time: slices and protection. keep: a decision to go on with. */
bool pel_repeat_decide(pel_command *command);
void pel_repeat_keep(pel_command *command, bool exploring);
/* True: all that it needs is where any device finds it. (Who shares something has no device with memory of its own.) */
bool pel_repeat_is_home(const pel_command *command);
void pel_repeat_saw(pel_command *command, double each_ns); /* what one of its launches took */
bool pel_repeat_taught(const pel_command *command); /* what it took would change no decision */
/* True: its one job is there, as it was built the last time. built: the job to go on with. */
bool pel_repeat_run(pel_command *command);
void pel_repeat_built(pel_command *command);
/* Likewise of any command: its one job is nothing but its arguments; and what that names is still what it was built of. */
bool pel_repeat_may_keep(const pel_command *command);
bool pel_repeat_still_there(const pel_job *job, const pel_bound *bound);
bool pel_repeat_has_custom(const pel_bound *bound); /* what it accesses, or a flag that it gets, is each launch's own */
void pel_repeat_count_reads(const pel_command *command); /* in the counters of its buffers */

void pel_repeat_leave(pel_command *command);   /* what it shared is not touched by it any more */
/* True: its memory waits for the next of its kind; its event too, unless somebody has it. */
bool pel_repeat_takes_back(pel_command *command);
void pel_repeats_free(pel_runtime *runtime, pel_repeat_slot *slots);

#endif
