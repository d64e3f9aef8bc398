/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program includes. A cached binary is as good as its key, and a split as safe as all of the text: both need the
 * included files.
 *
 * Files are read in the order of discovery, each once (so cycles end). Conditions are not evaluated: a file that is included in
 * any branch counts. An include that cannot be resolved here may still be found by a driver; then the key would be a lie, so
 * the program is not cached and not split. Rejected: letting the driver report what it included, which no OpenCL version can.
 */
#include "kernel/kernel.h"
#include "kernel/source.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_LIMIT = 1024, FILE_BYTES_LIMIT = 64 << 20 }; /* beyond these a program counts as not resolved */

typedef struct resolver {
    const pel_allocator *allocator;
    const char *const *paths;
    size_t path_count;
    pel_text *all;
    char *files[FILE_LIMIT]; /* paths of what was read */
    size_t file_count;
    char *missing;
    bool complete;
} resolver;

static pel_status give_up(resolver *r, const char *name, size_t length) {
    r->complete = false;
    if (!r->missing) {
        r->missing = pel_strndup(r->allocator, name, length);
        return r->missing ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    return PEL_OK;
}

static bool known(const resolver *r, const char *path) {
    for (size_t i = 0; i < r->file_count; i++) {
        if (strcmp(r->files[i], path) == 0) {
            return true;
        }
    }
    return false;
}

/* Reads all of an open file. OK with *data NULL: it is not a readable regular file of sensible size. */
static pel_status read_open(const resolver *r, int descriptor, char **data, size_t *bytes) {
    struct stat facts;
    *data = NULL;
    if (fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size > FILE_BYTES_LIMIT) {
        return PEL_OK;
    }
    size_t size = (size_t)facts.st_size, done = 0;
    char *text = pel_alloc(r->allocator, size + 1);
    if (!text) {
        return PEL_OUT_OF_MEMORY;
    }
    while (done < size) {
        ssize_t got = read(descriptor, text + done, size - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        done += (size_t)got;
    }
    if (done != size || memchr(text, '\0', size) || memchr(text, PEL_SCAN_NEXT_FILE, size)) { /* no text */
        pel_free(r->allocator, text);
        return PEL_OK;
    }
    text[size] = '\0';
    *data = text;
    *bytes = size;
    return PEL_OK;
}

/* directory/name as a new string; NULL: no memory. An empty directory means the name as it is. */
static char *join(const resolver *r, const char *directory, size_t directory_length, const char *name, size_t length) {
    pel_text path;
    pel_text_init(&path, r->allocator);
    if (directory_length > 0 && name[0] != '/') {
        pel_text_append_bytes(&path, directory, directory_length);
        pel_text_append(&path, "/");
    }
    pel_text_append_bytes(&path, name, length);
    char *made = path.failed ? NULL : pel_text_take(&path);
    pel_text_free(&path);
    return made;
}

/* Adds a file's contents when it can be read and is new. *found: it exists, whether new or not. Takes over `path`. */
static pel_status add_file(resolver *r, char *path, bool *found) {
    *found = known(r, path);
    int descriptor = *found ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        pel_free(r->allocator, path);
        return PEL_OK;
    }
    char *data = NULL;
    size_t bytes = 0;
    pel_status status = read_open(r, descriptor, &data, &bytes);
    (void)close(descriptor);
    if (!data || r->file_count == FILE_LIMIT) {
        pel_free(r->allocator, path);
        pel_free(r->allocator, data);
        return status;
    }
    const char separator = PEL_SCAN_NEXT_FILE;
    pel_text_append_bytes(r->all, &separator, 1);
    pel_text_append_bytes(r->all, data, bytes);
    pel_text_append(r->all, "\n");
    pel_free(r->allocator, data);
    r->files[r->file_count++] = path;
    *found = true;
    return r->all->failed ? PEL_OUT_OF_MEMORY : PEL_OK;
}

static pel_status resolve(resolver *r, const char *from, const char *name, size_t length, bool quoted) {
    const char *slash = from ? strrchr(from, '/') : NULL;
    bool found = false;
    pel_status status = PEL_OK;
    if (quoted && slash) {
        char *path = join(r, from, (size_t)(slash - from), name, length);
        status = path ? add_file(r, path, &found) : PEL_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < r->path_count && !found && status == PEL_OK; i++) {
        char *path = join(r, r->paths[i], strlen(r->paths[i]), name, length);
        status = path ? add_file(r, path, &found) : PEL_OUT_OF_MEMORY;
    }
    return status == PEL_OK && !found ? give_up(r, name, length) : status;
}

/* The directive behind "#include": a name in quotes or angle brackets, or something computed. */
static pel_status follow(resolver *r, const char *from, const pel_tokens *tokens, pel_token name) {
    if (name.kind == PEL_TOKEN_STRING && name.length > 2 && name.text[0] == '"' && name.text[name.length - 1] == '"') {
        return resolve(r, from, name.text + 1, name.length - 2, true);
    }
    if (pel_token_is(&name, "<")) {
        const char *begin = name.text + 1, *end = begin;
        while (end < tokens->end && *end != '>' && *end != '\n') {
            end++;
        }
        if (end < tokens->end && *end == '>' && end > begin) {
            return resolve(r, from, begin, (size_t)(end - begin), false);
        }
    }
    return give_up(r, "a computed name", strlen("a computed name"));
}

static pel_status search(resolver *r, const char *from, const char *source, size_t bytes) {
    size_t length;
    char *clean = pel_source_clean(r->allocator, source, bytes, &length);
    if (!clean) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_tokens tokens;
    pel_tokens_begin(&tokens, clean, length);
    pel_status status = PEL_OK;
    for (pel_token token = pel_tokens_next(&tokens); token.kind != PEL_TOKEN_END && status == PEL_OK;
         token = pel_tokens_next(&tokens)) {
        if (token.kind == PEL_TOKEN_HASH) {
            pel_token directive = pel_tokens_next(&tokens);
            if (pel_token_is(&directive, "include")) {
                status = follow(r, from, &tokens, pel_tokens_next(&tokens));
            } else if (pel_token_is(&directive, "include_next") || pel_token_is(&directive, "import")) {
                status = give_up(r, directive.text, directive.length);
            }
        } else if (pel_token_is(&token, "__has_include") || pel_token_is(&token, "__has_include_next")) {
            status = give_up(r, token.text, token.length); /* the text depends on files that need not exist */
        }
    }
    pel_free(r->allocator, clean);
    return status;
}

/* The contents of file `index` lie in all->data, which moves while it grows: offsets are searched on a copy. */
static pel_status search_file(resolver *r, size_t index, size_t begin, size_t end) {
    char *copy = pel_strndup(r->allocator, r->all->data + begin, end - begin);
    if (!copy) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_status status = search(r, r->files[index], copy, end - begin);
    pel_free(r->allocator, copy);
    return status;
}

pel_status pel_source_includes(const pel_allocator *allocator, const char *source, size_t bytes, const char *const *paths,
                               size_t path_count, pel_text *all, bool *complete, char **missing) {
    resolver *r = pel_alloc_zero(allocator, 1, sizeof *r);
    if (!r) {
        return PEL_OUT_OF_MEMORY;
    }
    r->allocator = allocator;
    r->paths = paths;
    r->path_count = path_count;
    r->all = all;
    r->complete = true;
    size_t at = all->length;
    pel_status status = search(r, NULL, source, bytes);
    for (size_t i = 0; i < r->file_count && status == PEL_OK; i++) {
        const char *begin = all->data + at + 1; /* behind the separator */
        const char *next = memchr(begin, PEL_SCAN_NEXT_FILE, all->length - at - 1);
        size_t end = next ? (size_t)(next - all->data) : all->length;
        status = search_file(r, i, at + 1, end);
        at = end;
    }
    for (size_t i = 0; i < r->file_count; i++) {
        pel_free(allocator, r->files[i]);
    }
    *complete = r->complete;
    *missing = r->missing;
    pel_free(allocator, r);
    return status;
}
