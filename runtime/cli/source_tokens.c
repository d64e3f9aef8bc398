/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See source_tokens.h. Three passes: splices are joined, comments become spaces, then lines are either directives or words.
 * Macros expand in place to a bounded depth and a bounded number of words, so a hostile source costs little.
 */
#include "cli/source_tokens.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_LIMIT = 4000000, STEP_LIMIT = 200000000, MACRO_LIMIT = 20000, NESTING_LIMIT = 64, EXPANSION_DEPTH = 16 };

typedef struct macro {
    pel_cli_token name, value;
    bool function_like, gone;
} macro;

typedef struct branch {
    bool outer; /* the enclosing text is read */
    bool known; /* the condition could be evaluated */
    bool taken; /* a branch of it was */
} branch;

typedef struct scanner {
    pel_cli_tokens *tokens;
    macro *macros;
    size_t macro_count, macro_capacity;
    branch branches[NESTING_LIMIT];
    uint32_t depth;
    bool reading;
    uint64_t steps; /* names compared, also for macros that come to nothing */
    const char *failure;
} scanner;

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

bool pel_cli_token_is(const pel_cli_token *token, const char *word) {
    return strlen(word) == token->length && memcmp(token->start, word, token->length) == 0;
}

static bool same(const pel_cli_token *a, const pel_cli_token *b) {
    return a->length == b->length && memcmp(a->start, b->start, a->length) == 0;
}

/* Joins lines that end with a backslash, then turns each comment into one space. In place; the result is NUL-terminated. */
static void clean(char *text) {
    char *to = text;
    for (const char *c = text; *c; c++) {
        if (c[0] == '\\' && c[1] == '\n')
            c++;
        else if (c[0] == '\\' && c[1] == '\r' && c[2] == '\n')
            c += 2;
        else
            *to++ = *c;
    }
    *to = '\0';
    to = text;
    char quote = '\0';
    for (const char *c = text; *c; c++) {
        if (quote) {
            *to++ = *c;
            if (*c == '\\' && c[1])
                *to++ = *++c;
            else if (*c == quote || *c == '\n')
                quote = '\0';
        } else if (c[0] == '/' && c[1] == '/') {
            c += strcspn(c, "\n") - 1;
        } else if (c[0] == '/' && c[1] == '*') {
            const char *end = strstr(c + 2, "*/");
            c = end ? end + 1 : c + strlen(c) - 1;
            *to++ = ' ';
        } else {
            quote = *c == '"' || *c == '\'' ? *c : '\0';
            *to++ = *c;
        }
    }
    *to = '\0';
}

/* The next word, number, string or sign before `end`; length 0: none. */
static pel_cli_token next_token(const char *c, const char *end) {
    while (c < end && isspace((unsigned char)*c))
        c++;
    pel_cli_token token = {c, 0};
    if (c >= end)
        return token;
    if (is_word(*c)) {
        while (c < end && is_word(*c))
            c++;
    } else if (*c == '"' || *c == '\'') {
        char quote = *c++;
        while (c < end && *c != quote)
            c += *c == '\\' && c + 1 < end ? 2 : 1;
        c += c < end;
    } else {
        c++;
    }
    token.length = (size_t)(c - token.start);
    return token;
}

static macro *find_macro(scanner *s, const pel_cli_token *name) {
    for (size_t i = s->macro_count; i-- > 0;)
        if (same(&s->macros[i].name, name))
            return s->macros[i].gone ? NULL : &s->macros[i];
    return NULL;
}

static void define(scanner *s, pel_cli_token name, pel_cli_token value, bool function_like, bool gone) {
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

static void push(scanner *s, pel_cli_token token) {
    pel_cli_tokens *tokens = s->tokens;
    if (tokens->count == TOKEN_LIMIT) {
        s->failure = "it is too long once macros are expanded";
        return;
    }
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity ? 2 * tokens->capacity : 1024;
        pel_cli_token *items = realloc(tokens->items, capacity * sizeof *items);
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
        pel_cli_token token = next_token(c, end);
        if (token.length == 0)
            return;
        s->steps += 1 + s->macro_count;
        if (s->steps > STEP_LIMIT) {
            s->failure = "it is too long once macros are expanded";
            return;
        }
        c = token.start + token.length;
        const macro *found = depth < EXPANSION_DEPTH && is_word(*token.start) ? find_macro(s, &token) : NULL;
        if (found && !found->function_like && !same(&found->value, &token))
            scan_words(s, found->value.start, found->value.start + found->value.length, depth + 1);
        else
            push(s, token);
    }
}

/* 1, 0, or -1 when it cannot be told: 0, 1, defined X, defined(X), !defined(X). */
static int evaluate(scanner *s, const char *c, const char *end) {
    pel_cli_token token = next_token(c, end);
    bool negative = pel_cli_token_is(&token, "!");
    if (negative)
        token = next_token(token.start + token.length, end);
    int value = -1;
    if (pel_cli_token_is(&token, "0") || pel_cli_token_is(&token, "1")) {
        value = *token.start == '1';
    } else if (pel_cli_token_is(&token, "defined")) {
        token = next_token(token.start + token.length, end);
        bool bracket = pel_cli_token_is(&token, "(");
        if (bracket)
            token = next_token(token.start + token.length, end);
        value = find_macro(s, &token) != NULL;
        if (bracket)
            token = next_token(token.start + token.length, end);
    }
    bool alone = token.length > 0 && next_token(token.start + token.length, end).length == 0;
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
static int is_defined(scanner *s, const pel_cli_token *name) {
    if (find_macro(s, name))
        return 1;
    bool compiler = name->length > 2 && (memcmp(name->start, "__", 2) == 0 || memcmp(name->start, "cl_", 3) == 0);
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
    pel_cli_token name = next_token(c, end);
    const char *after = name.start + name.length;
    bool function_like = after < end && *after == '(';
    while (after < end && isspace((unsigned char)*after))
        after++;
    while (end > after && isspace((unsigned char)end[-1]))
        end--;
    if (name.length > 0)
        define(s, name, (pel_cli_token){after, (size_t)(end - after)}, function_like, false);
}

static void directive(scanner *s, const char *c, const char *end) {
    pel_cli_token word = next_token(c, end);
    const char *rest = word.start + word.length;
    pel_cli_token name = next_token(rest, end);
    if (pel_cli_token_is(&word, "ifdef") || pel_cli_token_is(&word, "ifndef")) {
        int known = is_defined(s, &name);
        open_branch(s, known < 0 ? -1 : known == (word.length == 5));
    } else if (pel_cli_token_is(&word, "if")) {
        open_branch(s, evaluate(s, rest, end));
    } else if (pel_cli_token_is(&word, "elif")) {
        other_branch(s, evaluate(s, rest, end));
    } else if (pel_cli_token_is(&word, "else")) {
        other_branch(s, 1);
    } else if (pel_cli_token_is(&word, "endif")) {
        if (s->depth > 0)
            s->reading = s->branches[--s->depth].outer;
    } else if (s->reading && pel_cli_token_is(&word, "define")) {
        read_define(s, rest, end);
    } else if (s->reading && pel_cli_token_is(&word, "undef") && name.length > 0) {
        define(s, name, name, false, true);
    }
}

static void scan_lines(scanner *s, const char *c) {
    while (*c && !s->failure) {
        const char *end = c + strcspn(c, "\n"), *first = c;
        while (first < end && isspace((unsigned char)*first))
            first++;
        if (first < end && *first == '#')
            directive(s, first + 1, end);
        else if (s->reading)
            scan_words(s, c, end, 0);
        c = *end ? end + 1 : end;
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
        pel_cli_token value = {one, 1};
        if (to[name] == '=')
            value = (pel_cli_token){to + name + 1, length - name - 1};
        define(s, (pel_cli_token){to, name}, value, memchr(to, '(', name) != NULL, false);
        to += length + 1;
    }
}

bool pel_cli_tokens_read(const char *source, size_t bytes, const char *const *defines, uint32_t define_count,
                         pel_cli_tokens *tokens, char message[PEL_MESSAGE_BYTES]) {
    *tokens = (pel_cli_tokens){0};
    scanner s = {.tokens = tokens, .reading = true};
    tokens->text = malloc(bytes + 1);
    if (!tokens->text)
        return pel_message(message, "out of memory");
    memcpy(tokens->text, source, bytes);
    tokens->text[bytes] = '\0';
    clean(tokens->text);
    scan_defines(&s, defines, define_count);
    scan_lines(&s, tokens->text);
    free(s.macros);
    if (!s.failure)
        return true;
    pel_cli_tokens_free(tokens);
    return pel_message(message, "cannot be read for its kernels: %s", s.failure);
}

void pel_cli_tokens_free(pel_cli_tokens *tokens) {
    free(tokens->items);
    free(tokens->text);
    free(tokens->defines);
    *tokens = (pel_cli_tokens){0};
}
