/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Simulated machines for the tests of queue/: a transfer that is forgotten shows as a wrong result, because each device with
 * memory of its own computes on a private copy. Everything that fails here fails the test.
 */
#ifndef PEL_TESTS_MACHINES_H
#define PEL_TESTS_MACHINES_H

#include <pel/pel.h>

void machine_seed(uint64_t seed);
uint64_t machine_random(void);

/* rate: items per microsecond; link: bytes per nanosecond, 0 shares the host's memory. */
pel_simulated_device machine_device(const char *name, double rate, double link);
pel_runtime *machine_create(const pel_simulated_device *devices, uint32_t count, const char *list);
pel_runtime *machine_host(uint32_t workers); /* no machine: this one's cores, with so many workers; 0: as by default */
pel_runtime *machine_of_three(void); /* two devices with memory of their own, one that shares the host's */

pel_queue *machine_queue(pel_runtime *runtime);
void machine_finish(pel_queue *queue);
pel_kernel *machine_kernel(pel_runtime *runtime, const char *name, const pel_param *params, uint32_t count, pel_host_fn host,
                           uint32_t flags);
/* out[i] = 2 * in[i], of int */
pel_status machine_double(const pel_span *span, void *const *arguments, void *scratch, void *user);
/* out[i] = in[i] + 1, of int */
pel_status machine_add_one(const pel_span *span, void *const *arguments, void *scratch, void *user);

/* Of in, out and k: out[i] = 3 * in[i] + k, and in place out[i] = 5 * out[i] + in[i] + k; of uint32_t. */
pel_kernel *machine_put(pel_runtime *runtime, uint32_t flags);
pel_kernel *machine_add(pel_runtime *runtime, uint32_t flags);

/* Shares over all devices of the runtime, in random order, some zero. */
uint32_t machine_random_shares(pel_runtime *runtime, pel_share *shares);

/* Waits for a launch that must go well; releases the event. */
pel_plan *machine_plan_of(pel_event *event);

#endif
