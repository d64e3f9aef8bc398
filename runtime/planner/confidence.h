/* SPDX-License-Identifier: BSD-3-Clause */
/* When a measured alternative may replace what is used by default: the one rule for work-groups and for variants. */
#ifndef PEL_PLANNER_CONFIDENCE_H
#define PEL_PLANNER_CONFIDENCE_H

#include <math.h>

#define PEL_CONFIDENCE_SURE 1.645 /* standard errors: 95 %, one-sided */
#define PEL_CONFIDENCE_LEAST 0.005 /* relative error of any prediction: repetition alone does not make a line exact */

/* By how many standard errors `ns` is less than `other_ns`; the errors are relative. */
static inline double pel_confidence_lead(double ns, double error, double other_ns, double other_error) {
    return log(other_ns / ns) / hypot(fmax(error, PEL_CONFIDENCE_LEAST), fmax(other_error, PEL_CONFIDENCE_LEAST));
}

#endif
