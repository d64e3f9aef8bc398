/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/metering.h"
#include "core/energy.h"
#include "model/watts.h"

#include <string.h>

static const int64_t window_ns = 20000000; /* powercap counters step once in 1 ms: 5 % */
/* A reading fails for once (a counter that is being reset, a driver that is loaded anew) or for good: asked ever more rarely. */
static const int64_t first_pause_ns = 100000000, longest_pause_ns = 60000000000;

/* Devices of one meter: all that compute on the processors' packages, or one GPU. */
typedef struct meter {
    uint32_t devices[PEL_WATTS_DEVICES];
    double busy_ns[PEL_WATTS_DEVICES]; /* as it was at the last reading */
    double joules;                     /* as well */
    int64_t at;                        /* 0: it has not been read */
    int64_t pause, again; /* after a reading that failed: none for so long, until then; pause 0: the last one was good */
    bool answered;                     /* ever: else there is none, whatever the history knows */
    pel_watts watts;
} meter;

struct pel_metering {
    int64_t looked; /* at any of them */
    uint32_t count;
    meter meters[];
};

static bool shares(const pel_device *a, const pel_device *b) {
    return pel_energy_on_packages(&a->facts->info) && pel_energy_on_packages(&b->facts->info);
}

/* Which meter a device is on, and its place there. NULL: none. */
static meter *meter_of(struct pel_metering *metering, uint32_t device, uint32_t *place) {
    for (uint32_t m = 0; metering && m < metering->count; m++) {
        for (*place = 0; *place < metering->meters[m].watts.count; (*place)++) {
            if (metering->meters[m].devices[*place] == device) {
                return &metering->meters[m];
            }
        }
    }
    return NULL;
}

static void add_meter(pel_runtime *runtime, struct pel_metering *metering, uint32_t first) {
    meter *made = &metering->meters[metering->count];
    uint32_t count = 0;
    for (uint32_t i = first; i < runtime->device_count; i++) {
        if (i == first || shares(&runtime->devices[first], &runtime->devices[i])) {
            if (count == PEL_WATTS_DEVICES) {
                return; /* more than can be told apart */
            }
            made->devices[count++] = i;
        }
    }
    pel_watts_begin(&made->watts, count);
    for (uint32_t i = 0; i < count; i++) {
        const pel_model_watts known = pel_models_watts(runtime->models, runtime->devices[made->devices[i]].model_id);
        pel_watts_recall(&made->watts, i, &known);
    }
    metering->count++;
}

void pel_metering_want(pel_runtime *runtime) {
    if (runtime->metering || runtime->machine) {
        return;
    }
    struct pel_metering *metering =
        pel_alloc_zero(&runtime->allocator, 1, sizeof *metering + runtime->device_count * sizeof metering->meters[0]);
    if (!metering) {
        return;
    }
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        bool first = true;
        for (uint32_t j = 0; j < i && first; j++) {
            first = !shares(&runtime->devices[i], &runtime->devices[j]);
        }
        if (first) {
            add_meter(runtime, metering, i);
        }
    }
    runtime->metering = metering;
    pel_metering_look(runtime);
}

static bool is_quiet(const pel_runtime *runtime, const meter *m) {
    for (uint32_t i = 0; i < m->watts.count; i++) {
        if (runtime->devices[m->devices[i]].running > 0) {
            return false;
        }
    }
    return true;
}

static void teach(pel_runtime *runtime, meter *m, double seconds, double joules) {
    double busy[PEL_WATTS_DEVICES];
    for (uint32_t i = 0; i < m->watts.count; i++) {
        busy[i] = (runtime->devices[m->devices[i]].busy_ns - m->busy_ns[i]) * 1e-9;
    }
    pel_watts_observe(&m->watts, seconds, joules, busy);
    for (uint32_t i = 0; i < m->watts.count; i++) {
        const pel_model_watts told = pel_watts_of(&m->watts, i);
        /* without memory the history lacks it */
        (void)pel_models_set_watts(runtime->models, runtime->devices[m->devices[i]].model_id, &told);
    }
}

static void read_meter(pel_runtime *runtime, meter *m, int64_t now) {
    double joules;
    if ((m->pause > 0 && now < m->again) || !is_quiet(runtime, m)) {
        return;
    }
    if (!pel_energy_meter(&runtime->devices[m->devices[0]], &joules)) {
        m->pause = m->pause == 0 ? first_pause_ns : m->pause < longest_pause_ns / 2 ? 2 * m->pause : longest_pause_ns;
        m->again = now + m->pause;
        m->at = 0; /* who knows what it counted meanwhile: the next window begins with the next reading */
        return;
    }
    m->pause = 0;
    m->answered = true;
    if (m->at != 0 && !runtime->frozen) {
        teach(runtime, m, (double)(now - m->at) * 1e-9, joules - m->joules);
    }
    for (uint32_t i = 0; i < m->watts.count; i++) {
        m->busy_ns[i] = runtime->devices[m->devices[i]].busy_ns;
    }
    m->joules = joules;
    m->at = now;
}

void pel_metering_look(pel_runtime *runtime) {
    struct pel_metering *metering = runtime->metering;
    if (!metering) {
        return;
    }
    const int64_t now = pel_clock_now(runtime->clock);
    if (metering->looked != 0 && now - metering->looked < window_ns) {
        return;
    }
    for (uint32_t i = 0; i < metering->count; i++) {
        read_meter(runtime, &metering->meters[i], now);
    }
    metering->looked = now;
}

pel_metering_state pel_metering_watts(const pel_device *device, double *busy_watts, double *idle_watts) {
    uint32_t place;
    const meter *m = meter_of(device->runtime->metering, device->index, &place);
    if (!m || (m->pause > 0 && !m->answered)) {
        return PEL_METERING_NONE;
    }
    const pel_model_watts told = pel_watts_of(&m->watts, place);
    if (!told.known) {
        return m->pause > 0 ? PEL_METERING_NONE : PEL_METERING_LEARNING;
    }
    *busy_watts = told.busy_watts;
    *idle_watts = told.idle_watts;
    return PEL_METERING_KNOWN;
}

void pel_metering_end(pel_runtime *runtime) {
    pel_free(&runtime->allocator, runtime->metering);
    runtime->metering = NULL;
}
