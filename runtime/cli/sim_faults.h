/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults for the machine of `pel sim`, in words, with numbers that the seed may draw. */
#ifndef PEL_CLI_SIM_FAULTS_H
#define PEL_CLI_SIM_FAULTS_H

#include "backend/simulated/describe.h"

/*
 * Changes a machine by words: "DEVICE:KEY=VALUE,KEY=VALUE;DEVICE:...", keys and values as in its description; a value LOW..HIGH
 * is a whole number between the two, drawn by the seed: the same words and seed, the same machine. False after a message that
 * names what is wrong. Any bytes may come.
 */
bool pel_sim_faults_apply(const char *words, uint64_t seed, pel_description *machine);

#endif
