/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of pel_checkpoint: for tests that replace the file operations. */
#ifndef PEL_RESILIENCE_CHECKPOINT_H
#define PEL_RESILIENCE_CHECKPOINT_H

#include "resilience/file_io.h"
#include <pel/checkpoint.h>

/* Like pel_checkpoint_open, with other file operations (copied). */
pel_status pel_checkpoint_open_with(pel_runtime *runtime, const pel_checkpoint_desc *desc, const pel_file_io *io,
                                    pel_checkpoint **checkpoint, pel_error **error);

#endif
