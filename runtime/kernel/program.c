/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs: text, options and includes become one immutable image that every OpenCL device builds once.
 *
 * The image's digest is the name under which binaries are cached, so it must cover all that the compiler sees: source, options
 * and the contents of included files. Whether launches may be split is read off the same text. A device that does not build a
 * program is left out with its reason, because the others can still do the work; only when none builds it is it the caller's
 * error. Values of defines are not quoted but refused when they would need it: OpenCL compilers disagree on how options are
 * unquoted.
 */
#include "base/checked.h"
#include "base/hash.h"
#include "base/text.h"
#include "kernel/kernel.h"
#include "kernel/source.h"
#include <inttypes.h>
#include <string.h>

typedef struct maker {
    pel_runtime *runtime;
    const pel_allocator *allocator;
    const pel_program_desc *desc;
    pel_program *program;
    size_t source_bytes;
    const char **paths; /* include paths: the caller's in `options`, then those of the descriptor */
    size_t path_count;
    pel_text words;   /* storage of paths found in the options; offsets until complete */
    pel_text scanned; /* all text that the scan looks at */
    bool complete;    /* every include was found */
    bool foreign;     /* the options ask for another language */
    pel_error **error;
} maker;

static pel_status no_memory(const maker *m) {
    return pel_fail(m->error, m->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for program %s",
                    m->desc->name ? m->desc->name : "");
}

/* --- the descriptor --- */

static bool has_control(const char *text) {
    for (; *text; text++) {
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool needs_quoting(const char *text) {
    return strpbrk(text, " \t\"'\\") != NULL || has_control(text);
}

static bool is_identifier(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) {
            return false;
        }
    }
    return length > 0;
}

static pel_status check_define(const maker *m, uint32_t index) {
    const char *define = m->desc->defines[index];
    if (!define) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL, "defines[%u] is NULL", index);
    }
    if (!is_identifier(define, strcspn(define, "="))) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL, "defines[%u], \"%s\", is not NAME or NAME=VALUE",
                        index, define);
    }
    if (needs_quoting(define)) {
        pel_story story = {.advice = "put a #define into the source: OpenCL compilers disagree about quoting"};
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, &story,
                        "defines[%u], \"%s\", contains blanks, quotes, backslashes or control characters", index, define);
    }
    return PEL_OK;
}

static pel_status check_path(const maker *m, uint32_t index) {
    const char *path = m->desc->include_paths[index];
    if (!path || !path[0]) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL, "include_paths[%u] is %s", index,
                        path ? "empty" : "NULL");
    }
    if (needs_quoting(path)) {
        pel_story story = {.advice = "use a path without such characters: OpenCL compilers disagree about quoting"};
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, &story,
                        "include_paths[%u], \"%s\", contains blanks, quotes, backslashes or control characters", index, path);
    }
    return PEL_OK;
}

static pel_status check_source(maker *m) {
    const pel_program_desc *desc = m->desc;
    if (!desc->source) {
        return desc->source_bytes == 0 ? PEL_OK
                                       : pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL,
                                                  "source is NULL, but source_bytes is %zu", desc->source_bytes);
    }
    m->source_bytes = desc->source_bytes != 0 ? desc->source_bytes : strlen(desc->source);
    if (m->source_bytes == 0) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL, "the source is empty");
    }
    const char *zero = memchr(desc->source, '\0', m->source_bytes);
    if (zero) {
        pel_story story = {.advice = "source_bytes counts the text without a terminating NUL; binaries and SPIR-V are not taken"};
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, &story,
                        "byte %zu of the source's %zu is NUL: this is not text", (size_t)(zero - desc->source), m->source_bytes);
    }
    return PEL_OK;
}

static pel_status check_program_desc(maker *m) {
    const pel_program_desc *desc = m->desc;
    if (desc->size != 0 && desc->size != sizeof *desc) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_program_desc.size is %zu; this library knows %zu", desc->size, sizeof *desc);
    }
    if (desc->options && has_control(desc->options)) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL, "the options contain control characters");
    }
    if ((desc->define_count > 0 && !desc->defines) || (desc->include_path_count > 0 && !desc->include_paths)) {
        return pel_fail(m->error, m->allocator, PEL_INVALID_ARGUMENT, NULL, "%s is NULL, but its count is not 0",
                        desc->define_count > 0 && !desc->defines ? "defines" : "include_paths");
    }
    pel_status status = check_source(m);
    for (uint32_t i = 0; i < desc->define_count && status == PEL_OK; i++) {
        status = check_define(m, i);
    }
    for (uint32_t i = 0; i < desc->include_path_count && status == PEL_OK; i++) {
        status = check_path(m, i);
    }
    return status;
}

/* --- options --- */

static pel_status compose_options(maker *m) {
    pel_text text;
    pel_text_init(&text, m->allocator);
    pel_text_append(&text, m->desc->options ? m->desc->options : "");
    for (uint32_t i = 0; i < m->desc->define_count; i++) {
        pel_text_format(&text, "%s-D %s", text.length > 0 ? " " : "", m->desc->defines[i]);
    }
    for (uint32_t i = 0; i < m->desc->include_path_count; i++) {
        pel_text_format(&text, "%s-I %s", text.length > 0 ? " " : "", m->desc->include_paths[i]);
    }
    m->program->image.options = pel_text_take(&text);
    return m->program->image.options ? PEL_OK : no_memory(m);
}

/* A define as the line that it stands for, so that the scan sees it as the compiler does. */
static void scan_define(maker *m, const char *directive, const char *define, size_t length) {
    const char *equals = memchr(define, '=', length);
    size_t name = equals ? (size_t)(equals - define) : length;
    pel_text_append(&m->scanned, directive);
    pel_text_append_bytes(&m->scanned, define, name);
    if (equals) {
        pel_text_append(&m->scanned, " ");
        pel_text_append_bytes(&m->scanned, equals + 1, length - name - 1);
    }
    pel_text_append(&m->scanned, "\n");
}

static size_t word_at(const char **at) {
    *at += strspn(*at, " \t\"'");
    return strcspn(*at, " \t\"'");
}

static bool word_begins(const char *word, size_t length, const char *with) {
    return length >= strlen(with) && memcmp(word, with, strlen(with)) == 0;
}

/* Reads the complete options for what concerns scan and includes. Include paths are collected NUL-separated in `words`. */
static void read_options(maker *m) {
    const char *at = m->program->image.options;
    for (size_t length = word_at(&at); length > 0; length = word_at(&at)) {
        const char *word = at;
        at += length;
        bool define = word_begins(word, length, "-D"), undefine = word_begins(word, length, "-U"),
             path = word_begins(word, length, "-I");
        if (define || undefine || path) {
            word += 2;
            length -= 2;
            if (length == 0) { /* the value is a word of its own */
                length = word_at(&at);
                word = at;
                at += length;
            }
            if (path) {
                pel_text_append_bytes(&m->words, word, length);
                pel_text_append_bytes(&m->words, "", 1);
                m->path_count++;
            } else {
                scan_define(m, define ? "#define " : "#undef ", word, length);
            }
        } else if (word_begins(word, length, "-cl-std=CLC++") || word_begins(word, length, "-cl-std=clc++") ||
                   word_begins(word, length, "-x")) {
            m->foreign = true;
        } else if (word_begins(word, length, "-include") || word_begins(word, length, "-imacros") || word[0] == '@') {
            m->complete = false;
        }
    }
}

static pel_status list_paths(maker *m) {
    m->paths = pel_alloc_zero(m->allocator, m->path_count + 1, sizeof *m->paths);
    if (!m->paths || m->words.failed || m->scanned.failed) {
        return no_memory(m);
    }
    const char *at = m->words.data;
    for (size_t i = 0; i < m->path_count; i++) {
        m->paths[i] = at;
        at += strlen(at) + 1;
    }
    return PEL_OK;
}

/* --- text --- */

static void digest(const maker *m) {
    pel_program_image *image = &m->program->image;
    pel_sha256 sha;
    pel_sha256_init(&sha);
    pel_sha256_text(&sha, "pel program 1");
    pel_sha256_text(&sha, image->source);
    pel_sha256_text(&sha, image->options);
    pel_sha256_update(&sha, m->scanned.data ? m->scanned.data : "", m->scanned.length);
    pel_sha256_final(&sha, image->digest);
}

static pel_status keep_reason(const maker *m, const char *before, const char *name) {
    pel_text text;
    pel_text_init(&text, m->allocator);
    pel_text_format(&text, "%s%s", before, name ? name : "");
    m->program->unsafe = pel_text_take(&text);
    return m->program->unsafe ? PEL_OK : no_memory(m);
}

/* The scan looks at the source, the defines and everything included; the digest covers the same. */
static pel_status judge(maker *m, const char *missing) {
    pel_program *program = m->program;
    pel_scan scan;
    pel_status status = pel_scan_source(m->allocator, m->scanned.data, m->scanned.length, &scan);
    if (status != PEL_OK) {
        return no_memory(m);
    }
    program->unsafe = scan.unsafe;
    program->uses_atomics = scan.uses_atomics;
    program->knows_offset = scan.knows_offset || !m->complete || m->foreign;
    program->image.plain_only = scan.plain_only || !m->complete || m->foreign;
    program->image.cacheable = m->complete;
    if (!program->unsafe && m->foreign) {
        return keep_reason(m, "its options ask for a language other than OpenCL C", NULL);
    }
    if (!program->unsafe && !m->complete) {
        return keep_reason(
            m, "it includes what could not be read when it was made: ", missing ? missing : "a file named in the options");
    }
    return PEL_OK;
}

static pel_status read_text(maker *m) {
    const pel_program_image *image = &m->program->image;
    m->complete = true;
    pel_text_append_bytes(&m->scanned, image->source, image->source_bytes);
    pel_text_append(&m->scanned, "\n");
    read_options(m);
    pel_status status = list_paths(m);
    if (status != PEL_OK) {
        return status;
    }
    char *missing = NULL;
    bool complete = true;
    status = pel_source_includes(m->allocator, image->source, image->source_bytes, m->paths, m->path_count, &m->scanned,
                                 &complete, &missing);
    m->complete = m->complete && complete;
    if (status == PEL_OK && m->scanned.failed) {
        status = PEL_OUT_OF_MEMORY;
    }
    if (status == PEL_OK) {
        digest(m);
        status = judge(m, missing);
    } else {
        status = no_memory(m);
    }
    pel_free(m->allocator, missing);
    return status;
}

/* --- building --- */

static pel_status note_failure(const maker *m, const pel_device *device, const pel_error *why) {
    const char *message = pel_error_message(why);
    m->program->not_on[device->index] = pel_strdup(m->allocator, message[0] ? message : "the program does not build there");
    if (!m->program->not_on[device->index]) {
        return no_memory(m);
    }
    pel_log(&m->runtime->logger, PEL_LOG_WARNING, "program %s is not used on %s: %s", m->program->image.name,
            device->facts->info.id, message);
    for (const char *line = pel_error_build_log(why); *line;
         line += line[strspn(line, "\n")] ? strspn(line, "\n") : strlen(line)) {
        int length = (int)strcspn(line, "\n");
        pel_log(&m->runtime->logger, PEL_LOG_INFO, "%s: %.*s", device->facts->info.id, length, line);
        line += length;
    }
    return PEL_OK;
}

static pel_status build(const maker *m) {
    uint32_t tried = 0, built = 0;
    pel_error *first = NULL;
    pel_status status = PEL_OK, first_status = PEL_OK;
    for (uint32_t i = 0; i < m->runtime->device_count && status == PEL_OK; i++) {
        pel_device *device = &m->runtime->devices[i];
        if (!pel_device_builds_source(device)) {
            continue;
        }
        pel_error *why = NULL;
        pel_status result = device->driver->backend->prepare(device->driver, &m->program->image, NULL, &why);
        tried++;
        if (result == PEL_OK) {
            built++;
        } else if (result == PEL_OUT_OF_MEMORY) {
            pel_error_hand_over(m->error, why);
            why = NULL;
            status = result;
        } else {
            status = note_failure(m, device, why);
            if (first_status == PEL_OK) {
                first_status = result;
                first = why;
                why = NULL;
            }
        }
        pel_error_destroy(why);
    }
    if (status == PEL_OK && tried > 0 && built == 0) {
        pel_error_hand_over(m->error, first);
        return first_status;
    }
    pel_error_destroy(first);
    return status;
}

/* --- life --- */

static void free_program(pel_program *program) {
    pel_runtime *runtime = program->runtime;
    const pel_allocator *allocator = &runtime->allocator;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_backend_device *drivers[2];
        const uint32_t count = pel_device_drivers(&runtime->devices[i], drivers);
        for (uint32_t k = 0; k < count; k++) {
            if (drivers[k]->backend->program_forget) {
                drivers[k]->backend->program_forget(drivers[k], &program->image);
            }
        }
        if (program->not_on) {
            pel_free(allocator, program->not_on[i]);
        }
    }
    pel_free(allocator, program->not_on);
    pel_free(allocator, program->unsafe);
    pel_free(allocator, (void *)(uintptr_t)program->image.name);
    pel_free(allocator, (void *)(uintptr_t)program->image.source);
    pel_free(allocator, (void *)(uintptr_t)program->image.options);
    pel_free(allocator, program);
}

void pel_program_release(pel_program *program) {
    if (atomic_fetch_sub(&program->references, 1) == 1) {
        free_program(program);
    }
}

static pel_status fill(maker *m) {
    pel_program *program = m->program;
    program->runtime = m->runtime;
    atomic_init(&program->references, 1);
    program->image.id = pel_runtime_next_id(m->runtime);
    program->image.source_bytes = m->source_bytes;
    program->not_on = pel_alloc_zero(m->allocator, m->runtime->device_count + 1u, sizeof(char *));
    program->image.name = pel_strdup(m->allocator, m->desc->name ? m->desc->name : "(unnamed)");
    if (m->desc->source) {
        program->image.source = pel_strndup(m->allocator, m->desc->source, m->source_bytes);
    }
    if (!program->not_on || !program->image.name || (m->desc->source && !program->image.source)) {
        return no_memory(m);
    }
    pel_status status = compose_options(m);
    if (status != PEL_OK || !m->desc->source) {
        return status;
    }
    status = read_text(m);
    return status == PEL_OK ? build(m) : status;
}

pel_status pel_program_create(pel_runtime *runtime, const pel_program_desc *desc, pel_program **program, pel_error **error) {
    if (program) {
        *program = NULL;
    }
    if (!runtime || !desc || !program) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_program_create: %s is NULL",
                        !runtime ? "runtime"
                        : !desc  ? "desc"
                                 : "program");
    }
    pel_status status = pel_runtime_check(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    maker m = {.runtime = runtime, .allocator = &runtime->allocator, .desc = desc, .error = error};
    pel_text_init(&m.words, m.allocator);
    pel_text_init(&m.scanned, m.allocator);
    status = check_program_desc(&m);
    if (status != PEL_OK) {
        return status;
    }
    m.program = pel_alloc_zero(m.allocator, 1, sizeof *m.program);
    status = m.program ? fill(&m) : no_memory(&m);
    pel_text_free(&m.words);
    pel_text_free(&m.scanned);
    pel_free(m.allocator, m.paths);
    if (status != PEL_OK) {
        if (m.program) {
            m.program->runtime = runtime;
            free_program(m.program);
        }
        return status;
    }
    pel_object_made(runtime, PEL_OBJECT_PROGRAM);
    *program = m.program;
    return PEL_OK;
}

pel_status pel_program_destroy(pel_program *program) {
    if (!program) {
        return PEL_OK;
    }
    pel_runtime *runtime = program->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pel_program_release(program);
    pel_kernels_reap(runtime);
    pel_object_gone(runtime, PEL_OBJECT_PROGRAM);
    return PEL_OK;
}
