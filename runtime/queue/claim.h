/* SPDX-License-Identifier: BSD-3-Clause */
/* Room on devices, claimed for all of a launch at once. All (L). */
#ifndef PEL_QUEUE_CLAIM_H
#define PEL_QUEUE_CLAIM_H

#include "queue/command.h"

/*
 * Claims the memory of a planned launch on its devices. *stalled: others have it pinned; to be asked again when a command ends.
 * *again: what is in `home` must come home first, then it is to be asked again. Else it is pinned. A failure is noted in the
 * command.
 */
pel_status pel_launch_claim(pel_command *command, pel_uses *home, bool *stalled, bool *again);

#endif
