/* SPDX-License-Identifier: BSD-3-Clause */
/* Isolated launches: private outputs, deadlines, and what becomes of works that do not return. All under runtime->lock unless
 * it says otherwise. */
#ifndef PEL_QUEUE_ISOLATE_H
#define PEL_QUEUE_ISOLATE_H

#include "queue/command.h"

enum { PEL_ISOLATION_NONE, PEL_ISOLATION_RUNNING, PEL_ISOLATION_RETURNED, PEL_ISOLATION_ABANDONED }; /* pel_job.isolation */

/* Why a device cannot run an isolated launch, or NULL. Static. */
const char *pel_isolate_refusal(const pel_bound *bound, const pel_device *device);

/*
 * Whether this argument of the job gets private memory, and that memory: a view for OpenCL, a pointer for all. Votes (verify.h)
 * have it on all devices; where these have memory of their own, what is read goes there from the private copy in host memory, and
 * what is written comes back to it.
 */
bool pel_isolate_wants(const pel_job *job, uint32_t arg);
pel_status pel_isolate_arg(pel_job *job, uint32_t arg, pel_mem **view, unsigned char **data, pel_error **error);
/* bytes that must be in it before */
pel_status pel_isolate_reads(pel_job *job, pel_allocation *allocation, uint64_t lo, uint64_t hi);
uint64_t pel_isolate_read_bytes(const pel_job *job);
void pel_isolate_fill(const pel_job *job); /* copies them; without the lock, too */
/* Written bytes of a chunk on a device with memory of its own come to private memory in the host's, too: of a vote, or to be
 * compared. `mem`: the allocation's, else NULL. */
pel_status pel_isolate_bring_out(pel_job *job, pel_allocation *allocation, pel_mem *mem, uint64_t lo, uint64_t hi);
/* Byte `at` of the allocation, as the job has it: in private memory, or in the user's. */
unsigned char *pel_isolate_data(const pel_job *job, const pel_allocation *allocation, uint64_t at);
/* Other bytes than those that are now in the user's memory at `at`. */
void pel_isolate_overlay(const pel_job *job, const unsigned char *at, const unsigned char *bytes, uint64_t count);
void pel_isolate_free(pel_job *job);

void pel_isolate_begin(pel_job *job);      /* it is handed over: watched from now on */

/*
 * Its work returned; called first of all, without the lock. True: in time; its outputs are now in the user's memory if it
 * succeeded. False: it was given up before, nothing of it has landed, and the job must not be touched any more.
 */
bool pel_isolate_returns(pel_job *job);

/* What the process did not get, in ns: how much later than asked for the look comes, and how long one of its threads waited
 * for a core since the last one. */
typedef struct pel_lateness {
    int64_t stopped, starved;
} pel_lateness;

/* How long the job's device may take once it has begun with it. */
int64_t pel_isolate_allowance(const pel_job *job);

/* Gives up what is beyond its deadline. Returns when to look again; INT64_MAX: nothing is watched. *old: something takes long
 * enough that the next look should know who starved. */
int64_t pel_isolate_look(pel_runtime *runtime, int64_t now, pel_lateness late, bool *old);

/* Failed or succeeded: also of a job that did not return. */
pel_status pel_job_verdict(const pel_job *job);
const pel_error *pel_job_verdict_error(const pel_job *job);

/* Room for more jobs while some have not returned: those stay where they are. */
pel_status pel_isolate_move_jobs(pel_command *command, uint32_t more);
/* A command that is over and has works that have not returned is kept. */
bool pel_isolate_keeps(pel_command *command);
/* Without the lock, before the runtime goes: waits a second for what has not returned, a minute for drivers that are being
 * opened. False: a driver still has works, and all they point to must stay. */
bool pel_isolate_quiesce(pel_runtime *runtime);
void pel_isolate_forget_moved(pel_command *command);

#endif
