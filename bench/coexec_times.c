/* SPDX-License-Identifier: BSD-3-Clause */
#include "coexec_times.h"
#include <math.h>
#include <string.h>

enum { TWO = 2 };

typedef struct device_times {
    double began, ended, worked;
} device_times;

static void take(const device_times *devices, uint32_t count, double begin, double end, pel_times *times) {
    double first = INFINITY, last = 0.0, done = 0.0, early = INFINITY, worked = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        first = fmin(first, devices[i].began);
        last = fmax(last, devices[i].began);
        early = fmin(early, devices[i].ended);
        done = fmax(done, devices[i].ended);
        worked += devices[i].worked;
    }
    if (count > 0) {
        times->values[PEL_TIMES_FIRST] = first - begin;
        times->values[PEL_TIMES_LAST] = last - begin;
        times->values[PEL_TIMES_WORK] = worked;
        times->values[PEL_TIMES_APART] = done - early;
        times->values[PEL_TIMES_KNOWN] = end - done;
    }
}

void pel_times_of_plan(const pel_plan *plan, const pel_event *event, double begin, double end, const char *first,
                       pel_times *times) {
    device_times devices[TWO];
    const char *names[TWO];
    uint32_t count = 0;
    pel_event_timing timing;
    memset(times, 0, sizeof *times);
    pel_event_get_timing(event, &timing);
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        if (pel_plan_get_chunk(plan, i, &chunk) != PEL_OK) {
            continue;
        }
        const double began = (double)timing.began + chunk.began_ns, ended = began + chunk.actual_ns;
        uint32_t d = 0;
        while (d < count && strcmp(names[d], chunk.device) != 0) {
            d++;
        }
        if (d == TWO) {
            continue;
        }
        if (d == count) {
            names[count++] = chunk.device;
            devices[d] = (device_times){began, ended, 0.0};
        }
        devices[d].began = fmin(devices[d].began, began);
        devices[d].ended = fmax(devices[d].ended, ended);
        devices[d].worked += chunk.actual_ns;
        if (strcmp(chunk.device, first) == 0) {
            times->share += chunk.share;
            times->values[PEL_TIMES_WORK_FIRST] += chunk.actual_ns;
        }
        times->values[PEL_TIMES_PIECES] += 1.0;
    }
    take(devices, count, begin, end, times);
}

void pel_times_of_hand(const pel_hand_part parts[2], double begin, double end, double share, pel_times *times) {
    device_times devices[TWO];
    uint32_t count = 0;
    memset(times, 0, sizeof *times);
    for (int i = 0; i < TWO; i++) {
        if (parts[i].ended > 0.0) {
            devices[count++] = (device_times){parts[i].began, parts[i].ended, parts[i].ended - parts[i].began};
        }
    }
    times->share = share;
    times->values[PEL_TIMES_WORK_FIRST] = parts[0].ended - parts[0].began;
    times->values[PEL_TIMES_PIECES] = count;
    take(devices, count, begin, end, times);
}

void pel_times_note(pel_times_table *table, const pel_times *times) {
    if (table->count < PEL_BENCH_RUNS) {
        for (int k = 0; k < PEL_TIMES_KINDS; k++) {
            table->values[k][table->count] = times->values[k];
        }
        table->values[PEL_TIMES_KINDS][table->count++] = times->share;
    }
}

void pel_times_tell(const pel_times_table *table, const char *row, const char *who) {
    double middle[PEL_TIMES_KINDS + 1];
    for (int k = 0; k <= PEL_TIMES_KINDS; k++) {
        middle[k] = pel_bench_median(table->values[k], table->count);
    }
    printf("# %s, %s: share %.3f; us until the first begins %.0f, the last %.0f; at work %.0f + %.0f in %.0f pieces, ends apart "
           "%.0f; known after %.0f\n",
           row, who, middle[PEL_TIMES_KINDS], middle[PEL_TIMES_FIRST] * 1e-3, middle[PEL_TIMES_LAST] * 1e-3,
           middle[PEL_TIMES_WORK_FIRST] * 1e-3, (middle[PEL_TIMES_WORK] - middle[PEL_TIMES_WORK_FIRST]) * 1e-3,
           middle[PEL_TIMES_PIECES], middle[PEL_TIMES_APART] * 1e-3, middle[PEL_TIMES_KNOWN] * 1e-3);
}
