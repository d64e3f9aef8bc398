/* SPDX-License-Identifier: BSD-3-Clause */
/* Chunks that run again elsewhere. Everything needs runtime->lock. */
#ifndef PEL_QUEUE_RETRY_H
#define PEL_QUEUE_RETRY_H

#include "planner/planner.h"
#include "queue/command.h"
#include "resilience/protect.h"

/* Which protection this plan gets; text: PEL_PROTECT_TEXT bytes, or NULL. */
pel_protection pel_retry_choose(const pel_runtime *runtime, const pel_bound *bound, pel_protection asked, bool fixed,
                                const pel_plan_result *result, char *text);

/* Whether a chunk that writes argument i in host memory is preceded by saving what is there. */
bool pel_retry_must_save(const pel_bound *bound, uint32_t i);

/*
 * Before the chunks run, which are built: what they read and write in host memory is saved. False: it is done, or nothing has to
 * be. True: a work of its own does it (command->fold), and pel_retry_saved is to be called afterwards.
 */
bool pel_retry_save(pel_command *command);

/* A host task failed and may run again, or bytes did not come home for the first time: it is made ready to be submitted. */
bool pel_retry_at_once(pel_job *job);

/* A job failed. Whether that is not the command's failure, because it may run again when all others are over. */
bool pel_retry_takes(const pel_job *job);

bool pel_retry_is_the_devices(pel_status status); /* another one may do better */
bool pel_retry_may_go_to(const pel_command *command, uint32_t device); /* it is well, and nothing keeps the launch off it */

/* Whether this failure of a device is not the launch's, because it is protected. */
bool pel_retry_forgives(const pel_command *command, pel_status status);

/* pel_chunk_build; what the device refuses is a failed job of a protected launch, and not its failure. */
pel_status pel_retry_build(pel_job *job, const pel_plan_slice *slice, pel_error **error);

/*
 * All works of the round are over. *from: index of the first job of another round, built and to be submitted. False: there is
 * none: all is well, or the command has failed.
 */
bool pel_retry_again(pel_command *command, uint32_t *from);

/* What of the bytes that job `index` began with is not in the user's memory any more, for `to`. Without the lock, too. */
void pel_retry_overlay(const pel_command *command, uint32_t index, const pel_job *to);

void pel_retry_free(pel_command *command); /* what was saved */
/* Of a launch that ends and whose memory waits for the next of its kind. leave: so does the place; forget: no more. */
void pel_retry_leave(pel_command *command);
void pel_retry_forget(pel_command *command);

#endif
