/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See preprocess.h. The text and its words come from kernel/source.h; here lines are either directives or words. Macros expand
 * in place to a bounded depth and a bounded number of words, so a hostile source costs little.
 */
#include "cli/preprocess.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_LIMIT = 4000000, STEP_LIMIT = 200000000, MACRO_LIMIT = 20000, NESTING_LIMIT = 64, EXPANSION_DEPTH = 16 };

typedef struct macro {
    pel_token name, value;
    bool function_like, gone;
} macro;

typedef struct branch {
    bool outer; /* the enclosing text is read */
    bool known; /* the condition could be evaluated */
    bool taken; /* a branch of it was */
} branch;

typedef struct scanner {
    pel_preprocessed *tokens;
    macro *macros;
    size_t macro_count, macro_capacity;
    branch branches[NESTING_LIMIT];
    uint32_t depth;
    bool reading;
    uint64_t steps; /* names compared, also for macros that come to nothing */
    const char *failure;
} scanner;

static bool same(const pel_token *a, const pel_token *b) {
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* The next word, number, string or sign of a line; length 0: none. */
static pel_token next_token(const char *c, const char *end) {
    pel_tokens line;
    pel_tokens_begin(&line, c, (size_t)(end - c));
    return pel_tokens_next(&line);
}

static macro *find_macro(scanner *s, const pel_token *name) {
    for (size_t i = s->macro_count; i-- > 0;)
        if (same(&s->macros[i].name, name))
            return s->macros[i].gone ? NULL : &s->macros[i];
    return NULL;
}

static void define(scanner *s, pel_token name, pel_token value, bool function_like, bool gone) {
    if (s->macro_count == MACRO_LIMIT) {
        s->failure = "it defines too many macros";
        return;
    }
    if (s->macro_count == s->macro_capacity) {
        size_t capacity = s->macro_capacity ? 2 * s->macro_capacity : 64;
        macro *macros = realloc(s->macros, capacity * sizeof *macros);
        if (!macros) {
            s->failure = "out of memory";
            return;
        }
        s->macros = macros;
        s->macro_capacity = capacity;
    }
    s->macros[s->macro_count++] = (macro){name, value, function_like, gone};
}

static void push(scanner *s, pel_token token) {
    pel_preprocessed *tokens = s->tokens;
    if (tokens->count == TOKEN_LIMIT) {
        s->failure = "it is too long once macros are expanded";
        return;
    }
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity ? 2 * tokens->capacity : 1024;
        pel_token *items = realloc(tokens->items, capacity * sizeof *items);
        if (!items) {
            s->failure = "out of memory";
            return;
        }
        tokens->items = items;
        tokens->capacity = capacity;
    }
    tokens->items[tokens->count++] = token;
}

static void scan_words(scanner *s, const char *c, const char *end, uint32_t depth) {
    while (!s->failure) {
        pel_token token = next_token(c, end);
        if (token.length == 0)
            return;
        s->steps += 1 + s->macro_count;
        if (s->steps > STEP_LIMIT) {
            s->failure = "it is too long once macros are expanded";
            return;
        }
        c = token.text + token.length;
        const macro *found = depth < EXPANSION_DEPTH && token.kind == PEL_TOKEN_WORD ? find_macro(s, &token) : NULL;
        if (found && !found->function_like && !same(&found->value, &token))
            scan_words(s, found->value.text, found->value.text + found->value.length, depth + 1);
        else
            push(s, token);
    }
}

/* 1, 0, or -1 when it cannot be told: 0, 1, defined X, defined(X), !defined(X). */
static int evaluate(scanner *s, const char *c, const char *end) {
    pel_token token = next_token(c, end);
    bool negative = pel_token_is(&token, "!");
    if (negative)
        token = next_token(token.text + token.length, end);
    int value = -1;
    if (pel_token_is(&token, "0") || pel_token_is(&token, "1")) {
        value = *token.text == '1';
    } else if (pel_token_is(&token, "defined")) {
        token = next_token(token.text + token.length, end);
        bool bracket = pel_token_is(&token, "(");
        if (bracket)
            token = next_token(token.text + token.length, end);
        value = find_macro(s, &token) != NULL;
        if (bracket)
            token = next_token(token.text + token.length, end);
    }
    bool alone = token.length > 0 && next_token(token.text + token.length, end).length == 0;
    return value < 0 || !alone ? -1 : value != negative;
}

static void open_branch(scanner *s, int condition) {
    if (s->depth == NESTING_LIMIT) {
        s->failure = "it nests #if too deeply";
        return;
    }
    s->branches[s->depth++] = (branch){s->reading, condition >= 0, condition == 1};
    s->reading = s->reading && condition != 0;
}

/* OpenCL's own names (__OPENCL_VERSION__, cl_khr_fp64) are for the compiler to know: not defined here does not mean absent. */
static int is_defined(scanner *s, const pel_token *name) {
    if (find_macro(s, name))
        return 1;
    bool compiler = name->length > 2 && (memcmp(name->text, "__", 2) == 0 || memcmp(name->text, "cl_", 3) == 0);
    return compiler ? -1 : 0;
}

static void other_branch(scanner *s, int condition) {
    if (s->depth == 0)
        return;
    branch *b = &s->branches[s->depth - 1];
    if (!b->known) {
        s->reading = b->outer;
        return;
    }
    if (condition < 0 && !b->taken)
        b->known = false;
    s->reading = b->outer && !b->taken && condition != 0;
    b->taken = b->taken || condition == 1;
}

static void read_define(scanner *s, const char *c, const char *end) {
    pel_token name = next_token(c, end);
    const char *after = name.text + name.length;
    bool function_like = after < end && *after == '(';
    while (after < end && isspace((unsigned char)*after))
        after++;
    while (end > after && isspace((unsigned char)end[-1]))
        end--;
    if (name.length > 0)
        define(s, name, (pel_token){PEL_TOKEN_OTHER, after, (size_t)(end - after)}, function_like, false);
}

static void directive(scanner *s, const char *c, const char *end) {
    pel_token word = next_token(c, end);
    const char *rest = word.text + word.length;
    pel_token name = next_token(rest, end);
    if (pel_token_is(&word, "ifdef") || pel_token_is(&word, "ifndef")) {
        int known = is_defined(s, &name);
        open_branch(s, known < 0 ? -1 : known == (word.length == 5));
    } else if (pel_token_is(&word, "if")) {
        open_branch(s, evaluate(s, rest, end));
    } else if (pel_token_is(&word, "elif")) {
        other_branch(s, evaluate(s, rest, end));
    } else if (pel_token_is(&word, "else")) {
        other_branch(s, 1);
    } else if (pel_token_is(&word, "endif")) {
        if (s->depth > 0)
            s->reading = s->branches[--s->depth].outer;
    } else if (s->reading && pel_token_is(&word, "define")) {
        read_define(s, rest, end);
    } else if (s->reading && pel_token_is(&word, "undef") && name.length > 0) {
        define(s, name, name, false, true);
    }
}

static void scan_lines(scanner *s, const char *c, const char *stop) {
    while (c < stop && !s->failure) {
        const char *newline = memchr(c, '\n', (size_t)(stop - c)), *end = newline ? newline : stop;
        pel_token first = next_token(c, end);
        if (first.kind == PEL_TOKEN_HASH)
            directive(s, first.text + first.length, end);
        else if (s->reading)
            scan_words(s, c, end, 0);
        c = newline ? newline + 1 : stop;
    }
}

/* "NAME" means NAME=1, as the compilers have it. */
static void scan_defines(scanner *s, const char *const *defines, uint32_t count) {
    size_t bytes = 2;
    for (uint32_t i = 0; i < count; i++)
        bytes += strlen(defines[i]) + 1;
    char *to = s->tokens->defines = malloc(bytes);
    if (!to) {
        s->failure = "out of memory";
        return;
    }
    const char *one = to;
    memcpy(to, "1", 2);
    to += 2;
    for (uint32_t i = 0; i < count; i++) {
        size_t length = strlen(defines[i]);
        memcpy(to, defines[i], length + 1);
        size_t name = strcspn(to, "=");
        pel_token value = {PEL_TOKEN_NUMBER, one, 1};
        if (to[name] == '=')
            value = (pel_token){PEL_TOKEN_OTHER, to + name + 1, length - name - 1};
        define(s, (pel_token){PEL_TOKEN_WORD, to, name}, value, memchr(to, '(', name) != NULL, false);
        to += length + 1;
    }
}

bool pel_preprocess(const char *source, size_t bytes, const char *const *defines, uint32_t define_count,
                    pel_preprocessed *tokens, char message[PEL_MESSAGE_BYTES]) {
    *tokens = (pel_preprocessed){0};
    scanner s = {.tokens = tokens, .reading = true};
    size_t length;
    tokens->text = pel_source_clean(&pel_allocator_default, source, bytes, &length);
    if (!tokens->text)
        return pel_message(message, "out of memory");
    scan_defines(&s, defines, define_count);
    scan_lines(&s, tokens->text, tokens->text + length);
    free(s.macros);
    if (!s.failure)
        return true;
    pel_preprocessed_free(tokens);
    return pel_message(message, "cannot be read for its kernels: %s", s.failure);
}

void pel_preprocessed_free(pel_preprocessed *tokens) {
    free(tokens->items);
    pel_free(&pel_allocator_default, tokens->text);
    free(tokens->defines);
    *tokens = (pel_preprocessed){0};
}
