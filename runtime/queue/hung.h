/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues that are to be destroyed while a launch hangs. */
#ifndef PEL_QUEUE_HUNG_H
#define PEL_QUEUE_HUNG_H

#include "queue/command.h"

/*
 * Before a queue is destroyed: waits for its commands, without driving a device. PEL_OK: they are over, or it is for
 * pel_queue_finish to wait for them. PEL_BUSY: one of its launches has been with its device for longer than an isolated one
 * may be, and nothing else comes back either; pel_queue_error tells which, and the queue is as it was. Takes the lock.
 */
pel_status pel_queue_outlast(pel_queue *queue);

#endif
