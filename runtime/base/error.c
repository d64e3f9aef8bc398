/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An error is one block: the structure, then its strings, composed once at creation and never changed, so that it may be read
 * from any thread and released with one call. It carries a copy of its allocator because it may outlive the runtime it came from.
 * Telling the story must not be able to fail: when memory runs out, one static error that says so stands in, and the status that
 * the failing function returns is still the true one. Rejected: thread-local "last error" text, which is lost or overwritten
 * between threads and completions.
 */
#include "base/error.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct pel_error {
    pel_allocator allocator;
    pel_status status;
    int64_t code;
    size_t bytes; /* of the whole block */
    /* Offsets into `text`, so that a copy of the block is a copy of the error. */
    size_t message, device, call, advice, build_log, story;
    char text[];
};

/* The stand-in: `text` cannot be initialised portably in a flexible member, so its strings are found by address in the getters.
 */
static pel_error out_of_memory = {{NULL, NULL}, PEL_OUT_OF_MEMORY, 0, sizeof(pel_error), 0, 0, 0, 0, 0, 0};
static const char out_of_memory_message[] = "out of host memory (there was none left for the story either)";
static const char out_of_memory_story[] = "PEL_OUT_OF_MEMORY: out of host memory (there was none left for the story either)";

const char *pel_status_name(pel_status status) {
    switch (status) {
#define PEL_STATUS_CASE(name, value, text)                                                                                       \
    case PEL_##name:                                                                                                             \
        return "PEL_" #name;
        PEL_STATUSES(PEL_STATUS_CASE)
#undef PEL_STATUS_CASE
    }
    return "PEL_?";
}

const char *pel_status_text(pel_status status) {
    switch (status) {
#define PEL_STATUS_CASE(name, value, text)                                                                                       \
    case PEL_##name:                                                                                                             \
        return text;
        PEL_STATUSES(PEL_STATUS_CASE)
#undef PEL_STATUS_CASE
    }
    return "unknown status";
}

/* The lines of the story that follow the message; written with size 0 first to learn the length. Negative: cannot be formatted.
 */
static int compose(char *to, size_t size, pel_status status, const char *message, const pel_story *story) {
    char call[32] = "";
    if (story->call != NULL && story->call[0] != '\0' && story->code != 0) {
        snprintf(call, sizeof call, " (code %" PRId64 ")", story->code);
    }
    const char *device = story->device != NULL ? story->device : "";
    const char *function = story->call != NULL ? story->call : "";
    const char *advice = story->advice != NULL ? story->advice : "";
    const char *log = story->build_log != NULL ? story->build_log : "";
    return snprintf(to, size, "%s: %s%s%s%s%s%s%s%s%s%s", pel_status_name(status), message, device[0] ? "\n  device: " : "",
                    device, function[0] ? "\n  call: " : "", function, call, advice[0] ? "\n  advice: " : "", advice,
                    log[0] ? "\n  build log:\n" : "", log);
}

static size_t place(pel_error *error, size_t *used, const char *string, size_t length) {
    size_t at = *used;
    if (length > 0) {
        memcpy(error->text + at, string, length);
    }
    error->text[at + length] = '\0';
    *used = at + length + 1;
    return at;
}

static pel_error *create(const pel_allocator *allocator, pel_status status, const pel_story *story, const char *message,
                         size_t length) {
    const char *strings[4] = {story->device, story->call, story->advice, story->build_log};
    size_t lengths[4], total = length + 1;
    for (int i = 0; i < 4; i++) {
        lengths[i] = strings[i] != NULL ? strlen(strings[i]) : 0;
        total += lengths[i] + 1;
    }
    int story_length = compose(NULL, 0, status, message, story);
    if (story_length < 0) {
        return &out_of_memory;
    }
    total += (size_t)story_length + 1;
    pel_error *error = pel_alloc(allocator, sizeof *error + total);
    if (error == NULL) {
        return &out_of_memory;
    }
    error->allocator = allocator != NULL ? *allocator : pel_allocator_default;
    error->status = status;
    error->code = story->code;
    error->bytes = sizeof *error + total;
    size_t used = 0;
    error->message = place(error, &used, message, length);
    error->device = place(error, &used, strings[0], lengths[0]);
    error->call = place(error, &used, strings[1], lengths[1]);
    error->advice = place(error, &used, strings[2], lengths[2]);
    error->build_log = place(error, &used, strings[3], lengths[3]);
    error->story = used;
    compose(error->text + used, (size_t)story_length + 1, status, message, story);
    return error;
}

pel_status pel_fail(pel_error **error, const pel_allocator *allocator, pel_status status, const pel_story *story,
                    const char *format, ...) {
    if (error == NULL || *error != NULL) {
        return status;
    }
    static const pel_story empty = {NULL, NULL, 0, NULL, NULL};
    if (story == NULL) {
        story = &empty;
    }
    char fixed[512];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(fixed, sizeof fixed, format, list);
    va_end(list);
    if (length < 0) {
        *error = &out_of_memory;
        return status;
    }
    if ((size_t)length < sizeof fixed) {
        *error = create(allocator, status, story, fixed, (size_t)length);
        return status;
    }
    char *message = pel_alloc(allocator, (size_t)length + 1);
    if (message == NULL) { /* a cut message is better than none */
        *error = create(allocator, status, story, fixed, sizeof fixed - 1);
        return status;
    }
    va_start(list, format);
    vsnprintf(message, (size_t)length + 1, format, list);
    va_end(list);
    *error = create(allocator, status, story, message, (size_t)length);
    pel_free(allocator, message);
    return status;
}

pel_error *pel_error_clone(const pel_error *error, const pel_allocator *allocator) {
    if (error == NULL) {
        return NULL;
    }
    if (error == &out_of_memory) {
        return &out_of_memory;
    }
    pel_error *copy = pel_alloc(allocator, error->bytes);
    if (copy == NULL) {
        return &out_of_memory;
    }
    memcpy(copy, error, error->bytes);
    copy->allocator = allocator != NULL ? *allocator : pel_allocator_default;
    return copy;
}

void pel_error_hand_over(pel_error **to, pel_error *from) {
    if (to != NULL && *to == NULL) {
        *to = from;
    } else {
        pel_error_destroy(from);
    }
}

void pel_error_destroy(pel_error *error) {
    if (error != NULL && error != &out_of_memory) {
        pel_allocator allocator = error->allocator;
        pel_free(&allocator, error);
    }
}

static const char *string_at(const pel_error *error, size_t at) {
    return error == NULL || error == &out_of_memory ? "" : error->text + at;
}

pel_status pel_error_status(const pel_error *error) {
    return error == NULL ? PEL_OK : error->status;
}
const char *pel_error_message(const pel_error *error) {
    return error == &out_of_memory ? out_of_memory_message : string_at(error, error == NULL ? 0 : error->message);
}
const char *pel_error_device(const pel_error *error) {
    return string_at(error, error == NULL ? 0 : error->device);
}
const char *pel_error_call(const pel_error *error) {
    return string_at(error, error == NULL ? 0 : error->call);
}
int64_t pel_error_code(const pel_error *error) {
    return error == NULL ? 0 : error->code;
}
const char *pel_error_advice(const pel_error *error) {
    return string_at(error, error == NULL ? 0 : error->advice);
}
const char *pel_error_build_log(const pel_error *error) {
    return string_at(error, error == NULL ? 0 : error->build_log);
}
const char *pel_error_story(const pel_error *error) {
    return error == &out_of_memory ? out_of_memory_story : string_at(error, error == NULL ? 0 : error->story);
}
