/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices that differ along the range, in the closed loop of planner and models. What the best window and the best division
 * in two parts take is searched for by hand, from the true costs.
 */
#include "support/random.h"

#include "model/history.h"
#include "model/model.h"
#include "model/profile.h"
#include "planner/planner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { UNITS = 4096, GRAIN = 8, STEPS = 128, LAUNCHES = 60, LATE = 40 };

static uint64_t random_state;
static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }
static double normal(void) {
    return sqrt(-2.0 * log(test_uniform(&random_state))) * cos(6.283185307179586 * test_uniform(&random_state));
}

typedef struct world {
    double start[2], unit[2], noise;
    double work[2][STEPS + 1]; /* cumulative, of each device's own; the last is 1 */
    pel_plan_device devices[2];
    pel_models *models;
    pel_plan_request request;
} world;

static const pel_model_family family = {7, 3, 1.0};

static double up_to(const world *w, uint32_t device, double x) {
    const double at = x * STEPS;
    const uint32_t step = at >= STEPS ? STEPS - 1 : (uint32_t)at;
    return w->work[device][step] + (at - step) * (w->work[device][step + 1] - w->work[device][step]);
}

static double truth(const world *w, uint32_t device, double lo, double hi) {
    return hi > lo ? w->start[device] + w->unit[device] * UNITS * (up_to(w, device, hi) - up_to(w, device, lo)) : 0.0;
}

/* The best window of either device; two parts: one side is empty. */
static double best(const world *w, bool window) {
    double least = INFINITY;
    for (uint32_t in = 0; in < 2; in++) {
        for (int lo = 0; lo < STEPS; lo++) {
            for (int hi = lo + 1; hi <= STEPS; hi++) {
                const double from = (double)lo / STEPS, to = (double)hi / STEPS;
                if (window || (in == 0 && lo == 0)) {
                    least = fmin(least, fmax(truth(w, in, from, to), truth(w, 1 - in, 0.0, from) + truth(w, 1 - in, to, 1.0)));
                }
            }
        }
    }
    return least;
}

/* A kernel that is dearest in the middle, and on the second device by `ratio` more at the ends than there. */
static void make(world *w, double ratio, double noise) {
    *w = (world){.start = {20e3, 60e3}, .unit = {6000.0, 14000.0}, .noise = noise};
    for (uint32_t device = 0; device < 2; device++) {
        for (uint32_t i = 0; i < STEPS; i++) {
            const double x = (i + 0.5) / STEPS, off = fabs(2.0 * x - 1.0);
            const double items = 1.0 + 12.0 * exp(-8.0 * off * off), more = device == 1 ? pow(ratio, off * off) : 1.0;
            w->work[device][i + 1] = w->work[device][i] + items * more;
        }
        for (uint32_t i = 0; i <= STEPS; i++) {
            w->work[device][i] /= w->work[device][STEPS];
        }
        w->devices[device] = (pel_plan_device){
            .id = device ? "lanes" : "scalar", .model = 50 + device, .prior_rate = 1.0, .unit_limit = UINT64_MAX};
    }
    w->models = pel_models_create(&pel_allocator_default);
    assert_non_null(w->models);
    w->request = (pel_plan_request){.units = UNITS,
                                    .granularity = GRAIN,
                                    .devices = w->devices,
                                    .device_count = 2,
                                    .pieces = true,
                                    .irregular = true};
}

/* What must hold for every plan. */
static void check(const pel_plan_result *r) {
    uint64_t at = 0;
    assert_true(r->slice_count >= 1 && r->slice_count <= 3);
    for (uint32_t i = 0; i < r->slice_count; i++) {
        assert_true(r->slices[i].lo == at && r->slices[i].hi > at);
        assert_true(i == 0 || r->slices[i].device != r->slices[i - 1].device);
        at = r->slices[i].hi;
        assert_true(at % GRAIN == 0 || at == UNITS);
    }
    assert_true(r->tail.lo == r->tail.hi ? at == UNITS : r->tail.lo == at && r->slice_count <= 2);
}

static void ask(world *w, pel_plan_result *result) {
    for (uint32_t i = 0; i < 2; i++) {
        w->devices[i].cost = pel_models_cost(w->models, &family, w->devices[i].model);
    }
    w->request.record = pel_models_record(w->models, &family);
    assert_int_equal(pel_planner_plan(&w->request, result), PEL_OK);
    check(result);
}

/* The tail, to whoever is free. `seen`: when each is over with its first part. */
static void hand_out(const world *w, pel_tail *tail, double end[2], double seen[2], pel_lesson_chunk *chunks, uint32_t *count) {
    for (uint32_t i = 0; i < *count; i++) {
        pel_tail_begin(tail, &(pel_tail_piece){(uint32_t)(chunks[i].device - 50), chunks[i].lo, chunks[i].hi, chunks[i].ns}, 0.0);
    }
    bool out[2] = {false, false};
    while (pel_tail_left(tail)) {
        const uint32_t device = out[1] || (!out[0] && seen[0] <= seen[1]) ? 0 : 1;
        pel_tail_piece piece;
        pel_tail_end(tail, device, seen[device]);
        if (!pel_tail_next(tail, device, seen[device], out[1 - device], &piece)) {
            out[device] = true;
            continue;
        }
        pel_tail_begin(tail, &piece, seen[device]);
        const double time = truth(w, device, (double)piece.lo / UNITS, (double)piece.hi / UNITS), luck = exp(w->noise * normal());
        chunks[(*count)++] =
            (pel_lesson_chunk){.device = 50 + device, .lo = piece.lo, .hi = piece.hi, .ns = time * luck, .piece = true};
        end[device] += time;
        seen[device] += time * luck;
    }
}

/* One launch; when it would be over without luck. A tail goes to whoever is free, as the queue hands it out. */
static double step(world *w, pel_plan_result *result) {
    pel_lesson_chunk chunks[3 + PEL_TAIL_PIECES];
    double end[2] = {0.0, 0.0}, seen_end[2] = {0.0, 0.0};
    uint32_t count = 0;
    ask(w, result);
    w->request.launches_seen++;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        const pel_plan_slice *s = &result->slices[i];
        const double time = truth(w, s->device, (double)s->lo / UNITS, (double)s->hi / UNITS);
        const double seen = time * exp(w->noise * normal());
        chunks[count++] = (pel_lesson_chunk){.device = 50 + s->device, .lo = s->lo, .hi = s->hi, .ns = seen};
        end[s->device] += time;
        seen_end[s->device] += seen;
    }
    if (pel_tail_left(&result->tail)) {
        hand_out(w, &result->tail, end, seen_end, chunks, &count);
    }
    const pel_lesson lesson = {.family = family,
                               .units = UNITS,
                               .chunks = chunks,
                               .chunk_count = count,
                               .makespan_ns = fmax(seen_end[0], seen_end[1]),
                               .expected_ns = result->expected_ns,
                               .together_probe = result->together_probe,
                               .irregular = true};
    assert_int_equal(pel_models_learn(w->models, &lesson), PEL_OK);
    return fmax(end[0], end[1]);
}

static double late_mean(world *w, double *windows) {
    pel_plan_result result;
    double sum = 0.0;
    *windows = 0.0;
    for (uint32_t launch = 0; launch < LAUNCHES; launch++) {
        const double took = step(w, &result);
        sum += launch >= LATE ? took : 0.0;
        *windows += launch >= LATE && result.slice_count == 3;
    }
    *windows /= LAUNCHES - LATE;
    return sum / (LAUNCHES - LATE);
}

static void gives_each_what_it_is_less_bad_at(void **state) {
    (void)state;
    static const double noises[] = {0.0, 0.01, 0.03};
    for (uint32_t n = 0; n < sizeof noises / sizeof *noises; n++) {
        double gain = 0.0, least_gain = INFINITY, gap = 0.0, windows;
        for (uint64_t seed = 1; seed <= 40; seed++) {
            world w;
            random_state = seed;
            make(&w, 8.0, noises[n]);
            const double took = late_mean(&w, &windows), two = best(&w, false), three = best(&w, true);
            gain += 1.0 - took / two;
            gap += took / three - 1.0;
            least_gain = fmin(least_gain, 1.0 - took / two);
            pel_models_destroy(w.models);
        }
        printf("# noise %.2f, seeds 1 to 40: below two parts by %.1f %% (least %.1f), above the best window by %.1f %%\n",
               noises[n], gain / 0.4, 100.0 * least_gain, gap / 0.4);
        assert_true(gain / 40.0 > 0.15 && least_gain > 0.12 && gap / 40.0 < 0.02);
    }
}

static void devices_that_are_alike_lose_nothing(void **state) {
    (void)state;
    static const double noises[] = {0.0, 0.01, 0.03, 0.1}, most[] = {0.005, 0.005, 0.01, 0.03};
    for (uint32_t n = 0; n < sizeof noises / sizeof *noises; n++) {
        double gap = 0.0, windows;
        for (uint64_t seed = 1; seed <= 40; seed++) {
            world w;
            random_state = seed;
            make(&w, 1.0, noises[n]);
            gap += late_mean(&w, &windows) / best(&w, false) - 1.0;
            pel_models_destroy(w.models);
        }
        printf("# alike, noise %.2f, seeds 1 to 40: above the best two parts by %.1f %%\n", noises[n], gap / 0.4);
        assert_true(gap / 40.0 < most[n]);
    }
}

static void unnamed(void *user, pel_history_entry *entry) { (void)user, (void)entry; }

/* What the history keeps makes the same plan in another process. */
static void is_remembered(void **state) {
    (void)state;
    world w;
    double windows;
    pel_plan_result before, after;
    random_state = 5;
    make(&w, 8.0, 0.01);
    (void)late_mean(&w, &windows);
    assert_true(windows > 0.9);
    w.request.frozen = true;
    ask(&w, &before);
    assert_int_equal(before.slice_count, 3);
    assert_non_null(strstr(before.reason, "scalar takes the two sides, because lanes loses least in between ("));
    pel_models *restored = pel_models_create(&pel_allocator_default);
    pel_model_state kept;
    pel_history history = {.allocator = &pel_allocator_default};
    uint32_t states = 0, own = 0, skipped;
    bool changed;
    assert_non_null(restored);
    for (size_t cursor = 0; pel_models_next(w.models, &cursor, &kept); states++) {
        own += kept.aspect == PEL_MODEL_PROFILE && pel_model_state_device(&kept) != 0;
    }
    assert_int_equal(own, 2);
    assert_int_equal(pel_history_take(&history, w.models, 1, unnamed, NULL, &changed), PEL_OK);
    assert_int_equal(history.count, states); /* each has a key of its own */
    assert_int_equal(pel_history_give(&history, restored, &skipped), PEL_OK);
    assert_int_equal(skipped, 0);
    pel_history_free(&history);
    pel_models_destroy(w.models);
    w.models = restored;
    ask(&w, &after);
    assert_int_equal(after.slice_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const double moved = fabs((double)after.slices[i].hi - (double)before.slices[i].hi);
        assert_true(after.slices[i].device == before.slices[i].device && moved <= 0.02 * UNITS);
    }
    pel_models_destroy(w.models);
}

/*
 * The first process learns in a disturbed minute: a density for all devices, and nothing that would tell two of their own. It is
 * calm in the next one, which looks anew. Devices that are alike pay next to nothing for that.
 */
static void looks_anew_in_a_calm_process(void **state) {
    (void)state;
    static const double ratios[] = {8.0, 1.0}, most[] = {1.02, 1.01};
    for (uint32_t r = 0; r < 2; r++) {
        double first = 0.0, later = 0.0, windows;
        uint32_t tried = 0;
        for (uint64_t seed = 1; seed <= 20; seed++) {
            world w;
            pel_history history = {.allocator = &pel_allocator_default};
            uint32_t skipped;
            bool changed;
            random_state = seed;
            make(&w, ratios[r], 0.3);
            (void)late_mean(&w, &windows);
            const pel_record *record = pel_models_record(w.models, &family);
            if (record->profile != NULL && record->own[0] == NULL) {
                assert_int_equal(pel_history_take(&history, w.models, 1, unnamed, NULL, &changed), PEL_OK);
                pel_models_destroy(w.models);
                w.models = pel_models_create(&pel_allocator_default);
                assert_int_equal(pel_history_give(&history, w.models, &skipped), PEL_OK);
                pel_history_free(&history);
                w.noise = 0.01;
                w.request.launches_seen = 0;
                pel_plan_result result;
                double took = 0.0;
                for (uint32_t launch = 0; launch < LATE; launch++) {
                    took += step(&w, &result) / LATE;
                }
                first += took / best(&w, false);
                later += late_mean(&w, &windows) / best(&w, true);
                tried++;
            }
            pel_models_destroy(w.models);
        }
        assert_true(tried >= 10);
        printf("# history of a disturbed process, ratio %.0f, %u seeds: launches 1 to 40 %.3f of the best two parts, then %.3f "
               "of the best window\n",
               ratios[r], (unsigned)tried, first / tried, later / tried);
        assert_true(later / tried < most[r]);
    }
}

/*
 * A history may have lost the density for all devices (pruned, or full) and kept the two of their own, which mean nothing without
 * it. The kernel changes, so these would be given up: there is nothing that lines could be learned over again (a crash once). Two
 * good parts or windows are found anew.
 */
static void survives_without_the_one_for_all(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        world w, other;
        double windows;
        pel_model_state kept;
        random_state = seed;
        make(&w, 8.0, 0.01);
        (void)late_mean(&w, &windows);
        pel_models *restored = pel_models_create(&pel_allocator_default);
        uint32_t own = 0, all = 0;
        assert_non_null(restored);
        for (size_t cursor = 0; pel_models_next(w.models, &cursor, &kept);) {
            const bool profile = kept.aspect == PEL_MODEL_PROFILE, lost = profile && pel_model_state_device(&kept) == 0;
            all += lost;
            own += profile && !lost;
            assert_int_equal(lost ? PEL_OK : pel_models_restore(restored, &kept), PEL_OK);
        }
        assert_true(own == 2 && all == 1);
        pel_models_destroy(w.models);
        make(&other, 1.0 / 8.0, 0.01); /* another kernel: its ends are the second device's best parts */
        pel_models_destroy(other.models);
        memcpy(w.work, other.work, sizeof w.work);
        w.models = restored;
        const double first = late_mean(&w, &windows), took = late_mean(&w, &windows);
        assert_true(isfinite(first) && took < 1.03 * best(&w, false));
        pel_models_destroy(w.models);
    }
}

/* ---- the plan by itself, with densities drawn at random ---- */

enum { BINS = PEL_MODEL_PROFILE_BINS };

typedef struct drawn {
    double all[BINS + 1], own[2][BINS + 1];
    pel_record record;
    pel_plan_device devices[2];
    pel_plan_request request;
} drawn;

static void draw_density(double *cumulative, double most) {
    double at = between(-1.0, 1.0);
    cumulative[0] = 0.0;
    for (int i = 0; i < BINS; i++) {
        at += between(-0.5, 0.5);
        cumulative[i + 1] = cumulative[i] + exp(fmin(fmax(at, -most), most));
    }
    for (int i = 0; i <= BINS; i++) {
        cumulative[i] /= cumulative[BINS];
    }
}

static void draw(drawn *d) {
    memset(d, 0, sizeof *d);
    draw_density(d->all, 1.0);
    for (uint32_t i = 0; i < 2; i++) {
        draw_density(d->own[i], 2.0);
        d->record.own[i] = d->own[i];
        d->record.own_device[i] = 70 + i;
        d->devices[i] = (pel_plan_device){.id = i ? "b" : "a", .model = 70 + i, .prior_rate = 1.0, .unit_limit = UINT64_MAX};
        d->devices[i].cost = (pel_cost){.start_ns = between(0.0, 1e4),
                                        .unit_ns = between(50.0, 400.0),
                                        .deviation = 0.01,
                                        .samples = 50,
                                        .largest_units = 1e6};
        d->devices[i].cost.alone = (pel_line){d->devices[i].cost.start_ns, d->devices[i].cost.unit_ns, 0.01, 50};
    }
    d->record.profile = d->all;
    d->record.launches = 100;
    d->request = (pel_plan_request){.units = 3000 + (uint64_t)between(0.0, 999.0),
                                    .granularity = GRAIN,
                                    .devices = d->devices,
                                    .device_count = 2,
                                    .record = &d->record,
                                    .irregular = true,
                                    .pieces = true,
                                    .frozen = true};
}

static double drawn_time(const drawn *d, uint32_t device, double work, uint32_t parts) {
    const pel_cost *cost = &d->devices[device].cost;
    return parts * cost->start_ns + cost->unit_ns * (double)d->request.units * work;
}

/* The device `in` does [lo, hi), the other one what is left. */
static double drawn_division(const drawn *d, uint32_t in, double lo, double hi) {
    const double window = pel_profile_work(d->own[in], hi) - pel_profile_work(d->own[in], lo);
    const double sides = 1.0 - (pel_profile_work(d->own[1 - in], hi) - pel_profile_work(d->own[1 - in], lo));
    return fmax(drawn_time(d, in, window, 1), drawn_time(d, 1 - in, sides, lo > 0.0 && hi < 1.0 ? 2 : 1));
}

static void holds_for_any_densities(void **state) {
    (void)state;
    uint32_t windows = 0, divided = 0;
    random_state = 99;
    for (uint32_t round = 0; round < 2000; round++) {
        drawn d;
        pel_plan_result r;
        uint64_t at = 0;
        draw(&d);
        assert_int_equal(pel_planner_plan(&d.request, &r), PEL_OK);
        assert_true(r.slice_count >= 1 && r.slice_count <= 3 && r.tail.lo == r.tail.hi);
        for (uint32_t i = 0; i < r.slice_count; i++) {
            assert_true(r.slices[i].lo == at && r.slices[i].hi > at && (i == 0 || r.slices[i].device != r.slices[i - 1].device));
            at = r.slices[i].hi;
            assert_true(at % GRAIN == 0 || at == d.request.units);
        }
        assert_int_equal(at, d.request.units);
        if (r.slice_count == 1) {
            continue;
        }
        const uint32_t middle = r.slice_count == 3, in = r.slices[middle].device;
        const double n = (double)d.request.units, lo = (double)r.slices[middle].lo / n, hi = (double)r.slices[middle].hi / n;
        const double planned = drawn_division(&d, in, lo, hi);
        double least = INFINITY;
        for (int from = 0; from < BINS; from++) {
            for (int to = from + 1; to <= BINS; to++) {
                least = fmin(least, fmin(drawn_division(&d, 0, (double)from / BINS, (double)to / BINS),
                                         drawn_division(&d, 1, (double)from / BINS, (double)to / BINS)));
            }
        }
        assert_true(planned <= 1.05 * least); /* the margin, and whole quanta of dense work */
        divided++;
        windows += r.slice_count == 3;
    }
    printf("# %u of 2000 divided, %u of them in windows\n", divided, windows);
    assert_true(windows > 200);
}

/* Bytes have to move with the boundary: what was is kept while that costs more than is gained. */
static void stays_where_bytes_are(void **state) {
    (void)state;
    uint32_t stayed = 0, moved = 0;
    random_state = 3;
    for (uint32_t round = 0; round < 300; round++) {
        drawn d;
        pel_plan_result first, again;
        draw(&d);
        d.devices[0].piece_unit_ns = d.devices[1].piece_unit_ns = round % 2 ? 1e6 : 0.0;
        assert_int_equal(pel_planner_plan(&d.request, &first), PEL_OK);
        if (first.slice_count < 2) {
            continue;
        }
        d.record.last = (pel_division){.units = d.request.units, .count = first.slice_count};
        for (uint32_t i = 0; i < first.slice_count; i++) {
            d.record.last.device[i] = 70 + first.slices[i].device;
            d.record.last.hi[i] = first.slices[i].hi;
        }
        d.devices[0].cost.unit_ns *= 1.05; /* the window would be another one */
        assert_int_equal(pel_planner_plan(&d.request, &again), PEL_OK);
        const bool same = again.slice_count == first.slice_count && again.slices[0].hi == first.slices[0].hi &&
                          again.slices[1].hi == first.slices[1].hi;
        stayed += round % 2 && same;
        moved += round % 2 == 0 && !same;
        assert_true(round % 2 == 0 || same || again.slice_count == 1);
    }
    assert_true(stayed > 30 && moved > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_each_what_it_is_less_bad_at),
                                       cmocka_unit_test(devices_that_are_alike_lose_nothing), cmocka_unit_test(is_remembered),
                                       cmocka_unit_test(looks_anew_in_a_calm_process),
                                       cmocka_unit_test(survives_without_the_one_for_all),
                                       cmocka_unit_test(holds_for_any_densities), cmocka_unit_test(stays_where_bytes_are)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
