/* SPDX-License-Identifier: BSD-3-Clause */
/* pel, the Parallel Execution Layer: one kernel on all processors of a machine at once. Includes every public header but
 * pel/opencl.h. */
#ifndef PEL_PEL_H
#define PEL_PEL_H

#include <pel/access.h>
#include <pel/arg.h>
#include <pel/buffer.h>
#include <pel/checkpoint.h>
#include <pel/device.h>
#include <pel/event.h>
#include <pel/graph.h>
#include <pel/kernel.h>
#include <pel/launch.h>
#include <pel/log.h>
#include <pel/map.h>
#include <pel/parallel.h>
#include <pel/plan.h>
#include <pel/program.h>
#include <pel/queue.h>
#include <pel/runtime.h>
#include <pel/simulated.h>
#include <pel/status.h>
#include <pel/verification.h>
#include <pel/version.h>

#endif
