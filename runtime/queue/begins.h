/* SPDX-License-Identifier: BSD-3-Clause */
/* How long after a launch was planned each of its devices is at work: see begins.c. Under the lock. */
#ifndef PEL_QUEUE_BEGINS_H
#define PEL_QUEUE_BEGINS_H

#include "queue/command.h"

/* All chunks are over: those whose devices had nothing else to do tell how long they were waited for. */
void pel_begins_learn(const pel_command *command);

/* The usual time; 0: not known, or none (under a virtual clock, unless the device's description has one). */
double pel_begins_ns(const pel_device *device);

/*
 * When a launch's chunks are made: whom the next launch of its kernel is likely to have to wake. Any of its chunks long enough to
 * be worth it is on a device that can be roused, and nothing had to be waited for.
 */
void pel_begins_note(const pel_command *command);

/* Without the lock, before anything is planned. */
void pel_begins_rouse(const pel_kernel *kernel, const pel_launch_desc *desc);

/* The rule of it: what is known (0: nothing) and the latest observation. Pure. */
double pel_begins_after(double known_ns, double seen_ns);

#endif
