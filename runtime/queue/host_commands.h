/* SPDX-License-Identifier: BSD-3-Clause */
/* From the public calls for host commands to pel_command_submit: the steps that they share. */
#ifndef PEL_QUEUE_HOST_COMMANDS_H
#define PEL_QUEUE_HOST_COMMANDS_H

#include "queue/command.h"

#define PEL_COPY_BLOCK (1u << 20) /* copies are cut into blocks of this: large enough to hide a steal, small enough to share */

pel_status pel_host_command_check(pel_queue *queue, pel_event **event); /* the queue may be used; *event becomes NULL */
/* NULL: no memory, or a wrong descriptor; return pel_host_command_none(queue, error). */
pel_command *pel_host_command(pel_queue *queue, pel_command_kind kind, const pel_task_desc *desc, const char *name,
                              pel_error **error);
pel_status pel_host_command_none(pel_queue *queue, pel_error *error);
pel_status pel_host_command_accesses(pel_command *command, const pel_access *accesses, uint32_t count, pel_error **error);
/* Submits the command, or discards it when something before went wrong. Takes over both. */
pel_status pel_host_command_conclude(pel_queue *queue, pel_command *command, pel_status status, pel_error *error,
                                     const pel_task_desc *desc, pel_event **event);
pel_status pel_host_command_refuse(pel_queue *queue, pel_status status, const char *name, const char *why);

#endif
