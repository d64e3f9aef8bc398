/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A history is a convenience: nothing that is wrong with it fails a runtime or a launch, it is logged and the runtime learns
 * anew.
 *
 * It is read when the first kernel is made, not with the runtime: somebody who only looks at the devices does not pay the
 * milliseconds of a long file.
 *
 * What was read stays in memory beside the models. So at the time of writing it is known which models this process has taught,
 * and only these compete with what other processes wrote meanwhile. Writing happens when a runtime ends, and from waits of its
 * queues when the last write is a minute old: never inside a launch. A simulated machine reads and writes only a file that its
 * descriptor names: its past must not come from the environment.
 */
#include "core/lessons.h"
#include "base/text.h"
#include "core/history_file.h"
#include "model/variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILE_NAME "/history"
#define EVERY_NS 60000000000
#define NAMES 1024u
#define MOST_ENTRIES 4000u /* of the file: 2 MB */

typedef struct kernel_name {
    uint64_t kernel;
    char text[PEL_HISTORY_TEXT];
} kernel_name;

struct pel_lessons {
    char *path;
    pel_history known; /* as read, and as written since */
    pthread_mutex_t reading;
    atomic_bool read;  /* once, whatever came of it */
    int64_t kept_at;
    atomic_flag keeping;
    kernel_name *names; /* runtime->lock guards them */
    uint32_t name_count;
};

char *pel_lessons_path(const pel_allocator *allocator, const char *asked, bool environment, const char *cache_directory) {
    pel_text text;
    if (!asked && environment) {
        asked = secure_getenv("PEL_HISTORY");
    }
    if (asked) {
        return *asked == '\0' || strcmp(asked, "off") == 0 ? NULL : pel_strdup(allocator, asked);
    }
    if (!cache_directory) {
        return NULL;
    }
    pel_text_init(&text, allocator);
    pel_text_append(&text, cache_directory);
    pel_text_append(&text, FILE_NAME);
    return pel_text_take(&text);
}

/* Looks like reading, but makes room: an unusable file is set aside, under the lock that writers hold. */
static bool only_look(void *user, pel_history *history) {
    (void)user;
    (void)history;
    return false;
}

static void learn_from(pel_runtime *runtime, struct pel_lessons *lessons) {
    pel_error *why = NULL;
    uint32_t skipped = 0;
    pel_status status = pel_history_file_read(lessons->path, &lessons->known, &why);
    if (status == PEL_INVALID_ARGUMENT || status == PEL_UNSUPPORTED) {
        pel_error_destroy(why);
        why = NULL;
        status = pel_history_file_change(lessons->path, &runtime->allocator, &runtime->logger, only_look, NULL, &why);
    }
    if (status != PEL_OK && status != PEL_NOT_FOUND) {
        pel_log(&runtime->logger, PEL_LOG_WARNING, "%s",
                why ? pel_error_message(why) : "no memory for the history of the cost models");
    }
    pel_error_destroy(why);
    if (status == PEL_OK) {
        pthread_mutex_lock(&runtime->lock);
        status = pel_history_give(&lessons->known, runtime->models, &skipped);
        pthread_mutex_unlock(&runtime->lock);
        if (status != PEL_OK) {
            pel_log(&runtime->logger, PEL_LOG_WARNING, "the history %s: no memory for all of its models", lessons->path);
        }
    }
    if (skipped > 0) {
        pel_log(&runtime->logger, PEL_LOG_WARNING, "the history %s: %u of its %u models make no sense and are ignored",
                lessons->path, skipped, lessons->known.count);
    }
}

static void learn_once(pel_runtime *runtime, struct pel_lessons *lessons) {
    if (atomic_load_explicit(&lessons->read, memory_order_acquire)) {
        return;
    }
    pthread_mutex_lock(&lessons->reading);
    if (!atomic_load_explicit(&lessons->read, memory_order_relaxed)) {
        learn_from(runtime, lessons);
        atomic_store_explicit(&lessons->read, true, memory_order_release);
    }
    pthread_mutex_unlock(&lessons->reading);
}

pel_status pel_lessons_begin(pel_runtime *runtime, const pel_runtime_desc *desc, pel_error **error) {
    char *path = pel_lessons_path(&runtime->allocator, desc->history, !desc->simulation, runtime->cache_directory);
    if (!path) {
        return PEL_OK;
    }
    struct pel_lessons *lessons = pel_alloc_zero(&runtime->allocator, 1, sizeof *lessons);
    if (!lessons) {
        pel_free(&runtime->allocator, path);
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the history of the cost models");
    }
    lessons->path = path;
    lessons->known.allocator = &runtime->allocator;
    lessons->kept_at = pel_clock_now(&pel_clock_monotonic);
    pthread_mutex_init(&lessons->reading, NULL);
    atomic_init(&lessons->read, false);
    atomic_flag_clear(&lessons->keeping);
    runtime->lessons = lessons;
    return PEL_OK;
}

static const char *name_of(const struct pel_lessons *lessons, uint64_t kernel) {
    for (uint32_t i = 0; i < lessons->name_count; i++) {
        if (lessons->names[i].kernel == kernel) {
            return lessons->names[i].text;
        }
    }
    return NULL;
}

/* "first, second", cut to what fits and can be printed. */
static void copy_text(char *to, const char *first, const char *second) {
    size_t length = 0;
    const char *parts[] = {first, *second ? ", " : "", second};
    for (int i = 0; i < 3; i++) {
        for (const char *at = parts[i]; *at && length + 1 < PEL_HISTORY_TEXT; at++) {
            to[length++] = *at >= ' ' && *at <= '~' ? *at : '?';
        }
    }
    to[length] = '\0';
}

void pel_lessons_name(pel_runtime *runtime, uint64_t kernel, const char *name) {
    struct pel_lessons *lessons = runtime->lessons;
    if (!lessons) {
        return;
    }
    learn_once(runtime, lessons);
    pthread_mutex_lock(&runtime->lock);
    if (lessons->name_count < NAMES && !name_of(lessons, kernel)) {
        uint32_t count = lessons->name_count;
        if ((count & (count - 1)) == 0) {
            kernel_name *grown = pel_resize(&runtime->allocator, lessons->names, (count == 0 ? 1 : 2 * count) * sizeof *grown);
            lessons->names = grown ? grown : lessons->names;
            count = grown ? count : NAMES; /* a name less: nobody depends on it */
        }
        if (count < NAMES) {
            lessons->names[count].kernel = kernel;
            copy_text(lessons->names[count].text, name, "");
            lessons->name_count++;
        }
    }
    pthread_mutex_unlock(&runtime->lock);
}

/* "opencl:0, groups of 128, NVIDIA ..." */
static void name_device(pel_history_entry *entry, const pel_device_info *info, uint32_t group) {
    char id[PEL_HISTORY_TEXT];
    copy_text(entry->device, info->id, info->name);
    if (group != 0) {
        snprintf(id, sizeof id, "%s, groups of %u", info->id, (unsigned)group);
        copy_text(entry->device, id, info->name);
    }
}

static void label(void *user, pel_history_entry *entry) {
    const pel_runtime *runtime = user;
    const pel_history_entry *known = pel_history_find(&runtime->lessons->known, entry->state.key);
    const char *name = name_of(runtime->lessons, entry->state.kernel);
    if (name || known) {
        copy_text(entry->kernel, name ? name : known->kernel, "");
    }
    if (entry->state.aspect == PEL_MODEL_POWER) {
        copy_text(entry->kernel, "any kernel", "");
    }
    const uint64_t device = pel_model_state_device(&entry->state);
    if (device == 0) {
        copy_text(entry->device, "all devices", "");
        return;
    }
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        for (uint32_t arm = 0; arm < PEL_GROUP_ARMS; arm++) {
            if (pel_group_device(runtime->devices[i].model_id, arm) == device) {
                name_device(entry, &runtime->devices[i].facts->info, pel_group_sizes[arm]);
                return;
            }
        }
    }
    if (known) {
        copy_text(entry->device, known->device, "");
    }
}

static bool merge(void *user, pel_history *file) {
    const pel_history *mine = user;
    bool changed = false;
    for (uint32_t i = 0; i < mine->count; i++) {
        bool one = false;
        if (pel_history_put(file, mine->entries[i], &one) == PEL_OUT_OF_MEMORY) {
            return false;
        }
        changed = changed || one;
    }
    pel_history_shrink(file, MOST_ENTRIES);
    return changed;
}

static void keep(pel_runtime *runtime) {
    struct pel_lessons *lessons = runtime->lessons;
    pel_error *error = NULL;
    bool changed = false;
    if (!atomic_load_explicit(&lessons->read, memory_order_acquire)) {
        return; /* no kernel yet: nothing was learned */
    }
    pthread_mutex_lock(&runtime->lock);
    pel_status status = pel_history_take(&lessons->known, runtime->models, (uint64_t)time(NULL), label, runtime, &changed);
    pthread_mutex_unlock(&runtime->lock);
    if (status == PEL_OK && changed) {
        status = pel_history_file_change(lessons->path, &runtime->allocator, &runtime->logger, merge, &lessons->known, &error);
    }
    if (status != PEL_OK) {
        pel_log(&runtime->logger, PEL_LOG_WARNING, "what was learned is not kept: %s",
                error ? pel_error_message(error) : pel_status_text(status));
    }
    pel_error_destroy(error);
}

void pel_lessons_keep(pel_runtime *runtime) {
    struct pel_lessons *lessons = runtime->lessons;
    if (!lessons || atomic_flag_test_and_set(&lessons->keeping)) {
        return;
    }
    int64_t now = pel_clock_now(&pel_clock_monotonic);
    if (now - lessons->kept_at > EVERY_NS) {
        lessons->kept_at = now;
        keep(runtime);
    }
    atomic_flag_clear(&lessons->keeping);
}

void pel_lessons_end(pel_runtime *runtime) {
    struct pel_lessons *lessons = runtime->lessons;
    if (lessons) {
        keep(runtime);
        pel_allocator allocator = runtime->allocator;
        pel_history_free(&lessons->known);
        pthread_mutex_destroy(&lessons->reading);
        pel_free(&allocator, lessons->names);
        pel_free(&allocator, lessons->path);
        pel_free(&allocator, lessons);
        runtime->lessons = NULL;
    }
}
