/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often to write a checkpoint. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974;
 * Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future Generation Computer Systems 22(3),
 * 2006: equation 37 for the interval, equation 20 for the expected time. Failures are taken to be exponential with mean M.
 */
#include <math.h>
#include <pel/checkpoint.h>

/* Expected wall time per unit of work, with a checkpoint of `cost` after each `interval` and restarts of the same cost. */
static double expected_time(double cost, double interval, double mtbf) {
    return mtbf * exp(cost / mtbf) * expm1((interval + cost) / mtbf) / interval;
}

int pel_checkpoint_advise(double cost_s, double mtbf_s, pel_checkpoint_advice *advice) {
    if (!(cost_s > 0) || !(mtbf_s > 0) || !isfinite(cost_s) || !isfinite(mtbf_s) || !advice) {
        return 0;
    }
    double share = cost_s / (2 * mtbf_s), interval = mtbf_s;
    if (share < 1) {
        interval = sqrt(2 * cost_s * mtbf_s) * (1 + sqrt(share) / 3 + share / 9) - cost_s;
    }
    *advice = (pel_checkpoint_advice){.cost_s = cost_s,
                                      .interval_s = interval,
                                      .overhead = cost_s / (interval + cost_s),
                                      .loss = 1 - 1 / expected_time(cost_s, interval, mtbf_s)};
    return 1;
}
