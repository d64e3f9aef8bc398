/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Most likely speed and start cost of each device, given all its chunks since the machine last changed: Gauss and Newton over the
 * logarithms of both, residuals made independent by the known memory of the noise, and the world's own distributions as the
 * prior.
 */
#include "planner_learner.h"

#include <math.h>
#include <stdlib.h>

enum { SIGHTS = 256, TURNS = 8 };
#define START_MIDDLE 89442.7 /* ns, of a draw between 20 and 400 us whose logarithm is uniform, */
#define START_WIDTH 0.865    /* and its deviation, in logarithms */
#define RATE_MIDDLE 250.0
#define RATE_WIDTH 0.8
#define SPIKE 2.0    /* times the chunk's honest time */
#define LONGEST 2.0  /* a step of Newton, in logarithms */
#define ALONE 1e-3   /* noise of whoever has none */

typedef struct sight {
    double start, work; /* honest ns of its start cost, and of its work, in the true world */
    double ns;
    uint32_t launch;
} sight;

struct pel_learner {
    const pel_world *world;
    pel_world believed;
    double factor[PEL_WORLD_DEVICES]; /* as it was; another one now: the device has changed */
    sight sights[PEL_WORLD_DEVICES][SIGHTS];
    uint32_t count[PEL_WORLD_DEVICES], launches;
};

pel_learner *pel_learner_create(const pel_world *world) {
    pel_learner *learner = calloc(1, sizeof *learner);
    if (learner) {
        learner->world = world;
        for (uint32_t i = 0; i < world->count; i++) {
            learner->factor[i] = world->factor[i];
        }
    }
    return learner;
}

void pel_learner_see(pel_learner *learner, double now_ns, uint64_t units, pel_world_range range, double ns) {
    uint32_t device = range.device;
    double honest = pel_world_time(learner->world, now_ns, units, range), start = learner->world->devices[device].start_ns;
    if (ns < SPIKE * honest && learner->count[device] < SIGHTS) {
        learner->sights[device][learner->count[device]++] = (sight){start, honest - start, ns, learner->launches};
    }
}

/* The logarithms of what is wrong by how much: `rate` for the speed, `start` for the start cost, as factors of the true ones. */
static void estimate(const pel_learner *learner, uint32_t device, double *rate, double *start) {
    const pel_simulated_device *truth = &learner->world->devices[device];
    double noise = fmax(truth->noise, ALONE), variance = log1p(noise * noise), memory = truth->noise_memory;
    double x = log(RATE_MIDDLE / truth->rate), y = log(START_MIDDLE / truth->start_ns); /* the prior's middle */
    const double x_prior = x, y_prior = y;
    for (int turn = 0; turn < TURNS; turn++) {
        double xx = 1.0 / (RATE_WIDTH * RATE_WIDTH), yy = 1.0 / (START_WIDTH * START_WIDTH), xy = 0.0;
        double gx = xx * (x_prior - x), gy = yy * (y_prior - y), before = 0.0, before_x = 0.0, before_y = 0.0;
        for (uint32_t i = 0; i < learner->count[device]; i++) {
            const sight *s = &learner->sights[device][i];
            double fixed = s->start * exp(y), work = s->work * exp(-x), time = fixed + work;
            double off = log(s->ns / time) + 0.5 * variance, by_x = -work / time, by_y = fixed / time;
            double tie = i > 0 ? pow(memory, (double)(s->launch - (s - 1)->launch)) : 0.0,
                   weight = 1.0 / (variance * (1.0 - tie * tie));
            double e = off - tie * before, ex = by_x - tie * before_x, ey = by_y - tie * before_y;
            gx += weight * ex * e;
            gy += weight * ey * e;
            xx += weight * ex * ex;
            yy += weight * ey * ey;
            xy += weight * ex * ey;
            before = off;
            before_x = by_x;
            before_y = by_y;
        }
        double determinant = xx * yy - xy * xy;
        x += fmin(fmax((yy * gx - xy * gy) / determinant, -LONGEST), LONGEST);
        y += fmin(fmax((xx * gy - xy * gx) / determinant, -LONGEST), LONGEST);
    }
    *rate = x;
    *start = y;
}

const pel_world *pel_learner_world(pel_learner *learner) {
    learner->believed = *learner->world;
    for (uint32_t i = 0; i < learner->world->count; i++) {
        double rate, start;
        if (learner->factor[i] != learner->world->factor[i]) {
            learner->factor[i] = learner->world->factor[i];
            learner->count[i] = 0;
        }
        estimate(learner, i, &rate, &start);
        learner->believed.devices[i].rate *= exp(rate);
        learner->believed.devices[i].start_ns *= exp(start);
    }
    learner->launches++;
    return &learner->believed;
}
