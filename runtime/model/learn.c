/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From launches to lines, and the account of a kernel.
 *
 * A chunk that ran alone and one that ran beside others are different experiments: memory bandwidth, caches, clock rates and the
 * threads that feed a device are shared. One line through both would explain the slowness of company as a start cost, promise
 * that smaller chunks do not help, and never learn what a device does alone, which is the yardstick of "never slower". So there
 * are two lines a family and device, and a third, coarser one over all shapes of a kernel, counted in items. All live in one
 * table, under keys that are mixed from the family's. Rejected: a factor for company fitted together with the line: size and
 * company always change together.
 */
#include "base/hash.h"
#include "model/table.h"

#include <math.h>
#include <string.h>

#define FIRST_RECORDS 16u
/* Launches that a trial that won counts as long ago: the next one may follow at once (planner/doubt.c's first pause). With 4 a
 * division came back 35 to 154 launches after a disturbed begin, now after 20 to 128 (tests/planner/test_company.c). */
#define WON_PAUSE 16u
#define KIN_WHILE 16u /* launches of a family that teach its kin; later ones only now and then */
#define KIN_EVERY 128u
#define WATCH_WHILE 64u /* launches in which an irregular kernel would show; later ones are looked at now and then */
#define WATCH_EVERY 64u
#define WATCHED 16u      /* chunks of a launch whose errors tell whether the kernel is irregular */
/* Launches that lost cores beyond those that did not: where most of them do, that is how fast the devices are. */
#define DEPRIVED_PATIENCE 4u
#define MOVES_TELLING 3u /* chunks */
#define COLD_PATIENCE 4u /* launches in a row: a device that compiles for ever must not stop the others' learning */

static uint64_t family_of(const pel_model_family *family) {
    return family->shape != 0 ? pel_mix_u64(family->kernel, family->shape) : family->kernel;
}

/* `of_family`: family_of(family). */
static uint64_t kernel_of(const pel_model_family *family, uint64_t of_family, pel_model_aspect aspect) {
    uint64_t kernel = aspect == PEL_MODEL_KIN ? family->kernel : of_family;
    return aspect == PEL_MODEL_BESIDE ? kernel : pel_mix_u64(kernel, 0x70656c00u + (uint64_t)aspect);
}

static pel_model_key key_of(const pel_model_family *family, uint64_t device, pel_model_aspect aspect) {
    return (pel_model_key){kernel_of(family, family_of(family), aspect), device};
}

static double items_of(const pel_model_family *family) {
    return family->items_per_unit > 0.0 ? family->items_per_unit : 1.0;
}

static pel_record_entry *find_record(const pel_models *models, uint64_t family) {
    if (models->record_capacity == 0) {
        return NULL;
    }
    size_t at = (size_t)pel_mix_u64(family, 1) & (models->record_capacity - 1);
    while (models->records[at].used && models->records[at].family != family) {
        at = (at + 1) & (models->record_capacity - 1);
    }
    return &models->records[at];
}

static bool grow_records(pel_models *models) {
    pel_models larger = *models;
    larger.record_capacity = models->record_capacity == 0 ? FIRST_RECORDS : 2 * models->record_capacity;
    larger.records = pel_alloc_zero(&models->allocator, larger.record_capacity, sizeof *larger.records);
    if (larger.records == NULL) {
        return false;
    }
    for (size_t i = 0; i < models->record_capacity; i++) {
        if (models->records[i].used) {
            *find_record(&larger, models->records[i].family) = models->records[i];
        }
    }
    pel_free(&models->allocator, models->records);
    *models = larger;
    return true;
}

pel_record_entry *pel_models_record_place(pel_models *models, uint64_t key) {
    pel_record_entry *place = find_record(models, key);
    if (place == NULL || !place->used) {
        if (4 * (models->record_count + 1) > 3 * models->record_capacity && !grow_records(models)) {
            return NULL;
        }
        place = find_record(models, key);
        *place = (pel_record_entry){.family = key, .used = true};
        models->record_count++;
    }
    return place;
}

const pel_record *pel_models_record(const pel_models *models, const pel_model_family *family) {
    const pel_record_entry *place = find_record(models, family_of(family));
    return place != NULL && place->used ? &place->record : NULL;
}

/* Devices beside each of the launch's; chunks of one device follow each other. Only the first one may have a second part. */
static double lesson_companions(const pel_lesson *lesson) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < lesson->chunk_count && !lesson->chunks[i].piece; i++) {
        count += i == 0 || lesson->chunks[i].device != lesson->chunks[0].device;
    }
    return count > 1 ? (double)(count - 1) : 1.0;
}

/* A launch while it is learned from: what is the same for all its chunks. */
typedef struct learning {
    pel_models *models;
    const pel_lesson *lesson;
    pel_record_entry *entry; /* NULL: no memory for it */
    uint64_t launch;         /* of the family */
    uint64_t family;
    double range, companions;
} learning;

/* Out of line, like all that few chunks need: its frame would be paid for by every one. */
__attribute__((noinline)) static bool is_expected(const pel_model_entry *place, double units, double ns) {
    if (!pel_fit_knows(&place->fit)) {
        return false;
    }
    const pel_cost known = pel_fit_cost(&place->fit);
    return known.start_ns + known.unit_ns * pel_cost_counted(&known, units) >= ns;
}

static bool observe(const learning *l, const pel_lesson_chunk *chunk, pel_model_aspect aspect, double units) {
    const pel_model_family *family = &l->lesson->family;
    const pel_model_key key = {kernel_of(family, l->family, aspect), chunk->device};
    pel_model_entry *place = pel_models_place(l->models, key);
    if (place == NULL) {
        return false;
    }
    if (chunk->unfinished && is_expected(place, units, chunk->ns)) {
        return true; /* that it takes longer than this was known */
    }
    double ns = chunk->ns;
    if (aspect == PEL_MODEL_BESIDE && ns > 0.0 && ns < 1e18 && units > 0.0) {
        ns = pel_company_learn(place, units, ns, l->companions);
    }
    place->aspect = aspect;
    place->fit.unsteady = l->entry != NULL && l->entry->record.profile != NULL; /* work, as the profile has it by now */
    const uint64_t before = place->fit.samples;
    if (pel_models_enter(l->models, place, units, ns)) {
        place->last_launch = l->launch;
        place->kernel = family->kernel;
        if (place->fit.samples < before && aspect == PEL_MODEL_BESIDE) {
            pel_company_keep(place, before, pel_models_line(l->models, family, chunk->device, true));
        }
    }
    return true;
}

/* What its bytes took. Neither company nor the place in the range is in that: links are measured apart from processors. */
static bool learn_moving(const learning *l, const pel_lesson_chunk *chunk) {
    if (!(chunk->bytes > 0.0 && chunk->move_ns > 0.0)) {
        return true;
    }
    const pel_lesson_chunk moved = {.device = chunk->memory != 0 ? chunk->memory : chunk->device, .ns = chunk->move_ns};
    return observe(l, &moved, PEL_MODEL_MOVING, chunk->bytes);
}

pel_model_entry *pel_models_line(const pel_models *models, const pel_model_family *family, uint64_t device, bool alone) {
    return pel_models_find(models, key_of(family, device, alone ? PEL_MODEL_ALONE : PEL_MODEL_BESIDE));
}

/* The chunk as the profile sees it, before its line learns from it. The error of the line's prediction. */
__attribute__((noinline)) static double watch(const learning *l, const pel_lesson_chunk *chunk) {
    bool alone = l->lesson->chunk_count == 1;
    const pel_model_entry *place = pel_models_line(l->models, &l->lesson->family, chunk->device, alone);
    pel_cost line = place != NULL ? pel_fit_cost(&place->fit) : (pel_cost){0};
    pel_sight sight = {.device = chunk->device,
                       .lo = (double)chunk->lo / l->range,
                       .hi = (double)chunk->hi / l->range,
                       .units = l->range,
                       .ns = chunk->ns,
                       .alone = alone};
    bool good = chunk->hi > chunk->lo && chunk->ns > 0.0 && chunk->ns < 1e18 && !chunk->unfinished;
    return good ? pel_irregular_see(l->entry, &line, &sight) : 0.0;
}

/* *error: how far off its line was, where that is watched. */
static bool learn_chunk(const learning *l, const pel_lesson_chunk *chunk, double *error) {
    const pel_record *record = l->entry != NULL ? &l->entry->record : NULL;
    double units = chunk->hi > chunk->lo ? (double)(chunk->hi - chunk->lo) : 0.0, work = units;
    pel_model_aspect aspect = chunk->piece                       ? PEL_MODEL_PIECE
                              : l->lesson->chunk_count > 1 ? PEL_MODEL_BESIDE
                                                           : PEL_MODEL_ALONE;
    if (record != NULL && record->profile != NULL) {
        work = pel_irregular_work(record, chunk->device, chunk->lo, chunk->hi, l->range);
    }
    bool watched =
        record != NULL && (record->profile != NULL || l->launch <= WATCH_WHILE || l->launch % WATCH_EVERY == 0);
    *error = watched ? watch(l, chunk) : 0.0;
    bool learned = learn_moving(l, chunk) && observe(l, chunk, aspect, work);
    if (l->lesson->family.shape != 0 && !chunk->piece && (l->launch <= KIN_WHILE || l->launch % KIN_EVERY == 0)) {
        learned = observe(l, chunk, PEL_MODEL_KIN, units * items_of(&l->lesson->family)) && learned;
    }
    return learned;
}

/* Where the launch left its bytes. Pieces of a tail go to whoever is free: nobody stays with those. */
static void note_division(pel_division *last, const pel_lesson *lesson) {
    uint64_t at = 0;
    last->units = 0;
    for (uint32_t i = 0; i < lesson->chunk_count; i++) {
        const pel_lesson_chunk *chunk = &lesson->chunks[i];
        if (i >= PEL_DIVISION_LIMIT || chunk->piece || chunk->unfinished || chunk->lo != at || chunk->hi <= at) {
            return;
        }
        last->device[i] = chunk->device;
        at = last->hi[i] = chunk->hi;
    }
    if (at == lesson->units) {
        last->count = lesson->chunk_count;
        last->units = at;
    }
}

/* Whether its times tell less about its devices than about who took their cores. */
static bool is_robbed(pel_record *record, const pel_lesson *lesson) {
    const bool robbed = lesson->deprived && record->deprived < DEPRIVED_PATIENCE;
    record->deprived = robbed ? record->deprived + 1 : lesson->deprived || record->deprived == 0 ? record->deprived
                                                                                                : record->deprived - 1;
    return robbed;
}

/* The launch in its family's account. What a robbed one took is nothing that a trial has cost or shown. */
static void enter(pel_record *record, const pel_lesson *lesson, bool cold, bool robbed) {
    record->launches++;
    record->cold_in_a_row = cold ? record->cold_in_a_row + 1 : 0;
    if (cold && lesson->variant_probe && lesson->makespan_ns > lesson->expected_ns && lesson->makespan_ns < 1e18) {
        record->explored_ns += lesson->makespan_ns - lesson->expected_ns;
    }
    if (!cold && lesson->makespan_ns > 0.0 && lesson->makespan_ns < 1e18) {
        record->total_ns += lesson->makespan_ns;
        if (!robbed && lesson->expected_ns > 0.0 && lesson->makespan_ns > lesson->expected_ns) {
            record->explored_ns += lesson->makespan_ns - lesson->expected_ns;
        }
    }
    if (lesson->together_probe && lesson->makespan_ns < lesson->expected_ns) {
        /* It won: again at once, until its lines say so, too. What it gained pays for the next ones. */
        record->together_probes = 0;
        record->together_last = record->launches > WON_PAUSE ? record->launches - WON_PAUSE : 0;
        record->explored_ns -= fmin(record->explored_ns, lesson->expected_ns - lesson->makespan_ns);
    } else if (lesson->together_probe) {
        record->together_probes += robbed ? 0 : 1;
        record->together_last = record->launches;
    } else if (lesson->chunk_count > 1 && lesson->expected_ns <= 0.0) {
        record->together_probes = 0; /* a division is believed in again */
    }
}

pel_status pel_models_learn(pel_models *models, const pel_lesson *lesson) {
    learning l = {.models = models, .lesson = lesson, .family = family_of(&lesson->family), .range = (double)lesson->units};
    pel_record_entry *entry = l.entry = pel_models_record_place(models, l.family);
    bool cold = false, robbed = false, learned = entry != NULL;
    double errors[WATCHED], error;
    for (uint32_t i = 0; i < lesson->chunk_count; i++) {
        cold = cold || lesson->chunks[i].cold;
        l.range = (double)lesson->chunks[i].hi > l.range ? (double)lesson->chunks[i].hi : l.range;
    }
    if (entry != NULL) {
        entry->record.told = lesson->irregular;
        entry->kernel = lesson->family.kernel;
        robbed = is_robbed(&entry->record, lesson);
        enter(&entry->record, lesson, cold, robbed);
        note_division(&entry->record.last, lesson);
        l.launch = entry->record.launches;
    }
    l.companions = lesson_companions(lesson);
    uint32_t seen = 0;
    bool spoilt = robbed || (cold && (entry == NULL || entry->record.cold_in_a_row <= COLD_PATIENCE));
    for (uint32_t i = 0; i < lesson->chunk_count && !spoilt; i++) {
        error = 0.0;
        if (!lesson->chunks[i].cold) {
            learned = learn_chunk(&l, &lesson->chunks[i], &error) && learned;
        }
        if (seen < WATCHED) {
            errors[seen++] = error;
        }
    }
    if (entry != NULL && !spoilt) {
        entry->record.turned += entry->profile != NULL && lesson->chunk_count > 1;
        bool watched = l.launch <= WATCH_WHILE || l.launch % WATCH_EVERY == 0 || entry->own != NULL;
        /* Without their cores devices miss what densities of their own say, and these are not given up for that. */
        watched = watched && !(lesson->deprived && entry->own != NULL);
        pel_irregular_note(&entry->record, errors, watched ? seen : 0);
        learned = pel_irregular_begin(models, entry, &lesson->family) && learned;
    }
    return learned ? PEL_OK : PEL_OUT_OF_MEMORY;
}

static pel_line line_of(const pel_cost *cost) {
    return (pel_line){
        .start_ns = cost->start_ns, .unit_ns = cost->unit_ns, .deviation = cost->deviation, .samples = cost->samples};
}

pel_cost pel_models_cost(const pel_models *models, const pel_model_family *family, uint64_t device) {
    const pel_model_entry *beside = pel_models_find(models, key_of(family, device, PEL_MODEL_BESIDE));
    const pel_model_entry *alone = pel_models_find(models, key_of(family, device, PEL_MODEL_ALONE));
    pel_cost cost = beside != NULL ? pel_fit_cost(&beside->fit) : (pel_cost){0};
    cost.last_launch = beside != NULL ? beside->last_launch : 0;
    if (alone != NULL) {
        pel_cost other = pel_fit_cost(&alone->fit);
        cost.alone = line_of(&other);
        const bool bends = other.knee_units > 0.0 && (!(cost.knee_units > 0.0) || other.samples > cost.samples);
        cost.knee_units = bends ? other.knee_units : cost.knee_units; /* launches alone may all be of one size, and show none */
        cost.largest_units = other.largest_units > cost.largest_units ? other.largest_units : cost.largest_units;
        cost.last_launch = alone->last_launch > cost.last_launch ? alone->last_launch : cost.last_launch;
    }
    cost.outdated = alone == NULL && pel_models_outdated(models, key_of(family, device, PEL_MODEL_ALONE));
    pel_company_cost(beside, alone, &cost);
    const pel_model_entry *piece = pel_models_find(models, key_of(family, device, PEL_MODEL_PIECE));
    if (piece != NULL) {
        pel_cost other = pel_fit_cost(&piece->fit);
        cost.piece = line_of(&other);
        const pel_record *record = pel_models_record(models, family);
        if (beside != NULL && (record == NULL || record->profile == NULL)) { /* a piece lies in few of its bins: their errors */
            pel_kindred_join(&beside->fit, &piece->fit, &other, &cost);
        }
    }
    if (cost.samples + cost.alone.samples < 2 && family->shape != 0) {
        const pel_model_entry *kin = pel_models_find(models, key_of(family, device, PEL_MODEL_KIN));
        if (kin != NULL) {
            pel_cost other = pel_fit_cost(&kin->fit);
            cost.kin = line_of(&other);
            cost.kin.unit_ns *= items_of(family);
        }
    }
    return cost;
}

pel_line pel_models_moving(const pel_models *models, const pel_model_family *family, uint64_t device, pel_line link) {
    const pel_model_entry *moving = pel_models_find(models, key_of(family, device, PEL_MODEL_MOVING));
    if (moving == NULL || moving->fit.samples < MOVES_TELLING) {
        return link;
    }
    const pel_cost cost = pel_fit_cost(&moving->fit);
    return line_of(&cost);
}
