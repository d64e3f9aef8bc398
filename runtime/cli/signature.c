/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See signature.h. A kernel is the word `kernel`, attributes, `void`, a name, a bracket of parameters; everything else is
 * skipped.
 */
#include "cli/signature.h"
#include "cli/preprocess.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct alias {
    pel_token name;
    pel_element element;
} alias;

typedef struct reading {
    const pel_token *items;
    size_t count;
    alias *aliases;
    size_t alias_count;
    pel_signatures *signatures;
    const char *failure;
} reading;

static bool is_any(const pel_token *token, const char *const *words) {
    for (; *words; words++)
        if (pel_token_is(token, *words))
            return true;
    return false;
}

static bool is_name(const pel_token *token) {
    return isalpha((unsigned char)*token->text) || *token->text == '_';
}

/* The index after the bracket that opens at `at`; count when it never closes. */
static size_t skip_bracket(const reading *r, size_t at) {
    int depth = 0;
    for (; at < r->count; at++) {
        char c = *r->items[at].text;
        depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
        if (depth <= 0)
            return at + 1;
    }
    return r->count;
}

static size_t skip_attributes(const reading *r, size_t at) {
    while (at < r->count && (pel_token_is(&r->items[at], "__attribute__") || pel_token_is(&r->items[at], "__attribute")))
        at = at + 1 < r->count && *r->items[at + 1].text == '(' ? skip_bracket(r, at + 1) : at + 1;
    return at;
}

/* A type from its words ("unsigned", "int"), through aliases. The last word may also be a name: the caller leaves it out. */
static pel_element find_type(const reading *r, const pel_token *words, size_t count) {
    pel_element element = {NULL, 1};
    bool is_unsigned = false, is_signed = false;
    const pel_token *base = NULL;
    for (size_t i = 0; i < count; i++) {
        if (pel_token_is(&words[i], "unsigned"))
            is_unsigned = true;
        else if (pel_token_is(&words[i], "signed"))
            is_signed = true;
        else if (base && (pel_token_is(&words[i], "int") || pel_token_is(base, "long")))
            continue; /* "long int", "short int" */
        else
            base = &words[i];
    }
    if (base)
        for (size_t i = r->alias_count; i-- > 0;)
            if (r->aliases[i].name.length == base->length && memcmp(r->aliases[i].name.text, base->text, base->length) == 0)
                return r->aliases[i].element;
    if (base)
        pel_element_find(base->text, base->length, &element);
    else if (is_unsigned || is_signed)
        element.cell = pel_cell_find("int", 3);
    if (is_unsigned && element.cell && element.cell->kind == 'i')
        element.cell = pel_cell_of('u', element.cell->bytes);
    return element;
}

static void join_words(const pel_token *words, size_t count, char *text, size_t room) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        bool tight = i == 0 || words[i - 1].text[0] == '*' || words[i].text[0] == '[' || words[i - 1].text[0] == '[' ||
                     words[i].text[0] == ']' || words[i].text[0] == ')' || words[i - 1].text[0] == '(';
        int wrote = snprintf(text + used, room - used, "%s%.*s", tight ? "" : " ", (int)words[i].length, words[i].text);
        if (wrote < 0 || (size_t)wrote >= room - used)
            return;
        used += (size_t)wrote;
    }
}

typedef struct parts {
    pel_token type[8];
    size_t type_count;
    uint32_t stars;
    bool read_only, array, other;
    pel_parameter_space space;
} parts;

static void take_word(parts *p, const pel_token *token) {
    static const char *const global[] = {"global", "__global", NULL}, *const constant[] = {"constant", "__constant", NULL},
                             *const local[] = {"local", "__local", NULL},
                             *const constness[] = {"const", "__const", "__const__", NULL},
                             *const ignored[] = {"restrict", "__restrict", "__restrict__", "volatile", "__volatile__",
                                                 "private",  "__private",  "struct",       "union",    "enum",
                                                 NULL},
                             *const special[] = {
                                 "pipe",         "read_only", "write_only", "read_write", "__read_only", "__write_only",
                                 "__read_write", "sampler_t", "event_t",    "queue_t",    NULL};
    if (is_any(token, global))
        p->space = PEL_SPACE_GLOBAL;
    else if (is_any(token, constant))
        p->space = PEL_SPACE_CONSTANT;
    else if (is_any(token, local))
        p->space = PEL_SPACE_LOCAL;
    else if (is_any(token, constness))
        p->read_only = p->read_only || p->stars == 0;
    else if (is_any(token, special) || (token->length > 6 && memcmp(token->text, "image", 5) == 0))
        p->other = true;
    else if (*token->text == '*')
        p->stars++;
    else if (*token->text == '[')
        p->array = true;
    else if (is_name(token) && !is_any(token, ignored) && p->stars == 0 && p->type_count < 8)
        p->type[p->type_count++] = *token;
}

static bool read_parameter(reading *r, size_t from, size_t to, pel_parameter *parameter) {
    *parameter = (pel_parameter){.space = PEL_SPACE_VALUE};
    pel_token words[64];
    size_t count = 0, name = SIZE_MAX;
    for (size_t i = from; i < to && count < 64; i = skip_attributes(r, i))
        words[count++] = r->items[i++];
    for (size_t i = 0; i < count; i++) { /* the name is the last word outside square brackets */
        if (*words[i].text == '[')
            break;
        if (is_name(&words[i]))
            name = i;
    }
    if (name == SIZE_MAX || name == 0 || words[name].length >= sizeof parameter->name)
        return false;
    parts p = {.space = PEL_SPACE_VALUE};
    for (size_t i = 0; i < count; i++)
        if (i != name)
            take_word(&p, &words[i]);
    snprintf(parameter->name, sizeof parameter->name, "%.*s", (int)words[name].length, words[name].text);
    join_words(words, count, parameter->text, sizeof parameter->text);
    join_words(p.type, p.type_count, parameter->type_name, sizeof parameter->type_name);
    parameter->element = find_type(r, p.type, p.type_count);
    bool pointer = p.stars + p.array == 1;
    parameter->space = p.other || p.stars + p.array > 1 || (pointer && p.space == PEL_SPACE_VALUE) ? PEL_SPACE_OTHER
                       : pointer                                                                   ? p.space
                                                                                                   : PEL_SPACE_VALUE;
    parameter->read_only = p.read_only || parameter->space == PEL_SPACE_CONSTANT;
    return true;
}

static bool same_parameters(const pel_signature *a, const pel_signature *b) {
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (strcmp(a->parameters[i].text, b->parameters[i].text) != 0)
            return false;
    return true;
}

static void add_kernel(reading *r, pel_signature *kernel) {
    for (uint32_t i = 0; i < r->signatures->count; i++) {
        pel_signature *old = &r->signatures->kernels[i];
        if (strcmp(old->name, kernel->name) != 0)
            continue;
        old->ambiguous = old->ambiguous || !same_parameters(old, kernel);
        free(kernel->parameters);
        return;
    }
    pel_signature *kernels = realloc(r->signatures->kernels, (r->signatures->count + 1) * sizeof *kernels);
    if (!kernels) {
        r->failure = "out of memory";
        free(kernel->parameters);
        return;
    }
    r->signatures->kernels = kernels;
    kernels[r->signatures->count++] = *kernel;
}

/* Parameters between the bracket at `open` and its partner before `close`. */
static bool read_parameters(reading *r, size_t open, size_t close, pel_signature *kernel) {
    size_t from = open + 1;
    if (from == close || (from + 1 == close && pel_token_is(&r->items[from], "void")))
        return true;
    for (size_t at = from; at <= close;) {
        char c = at < close ? *r->items[at].text : ',';
        if (c == '(' || c == '[' || c == '{') {
            at = skip_bracket(r, at);
            continue;
        }
        if (c == ',') {
            pel_parameter *parameters = realloc(kernel->parameters, (kernel->count + 1) * sizeof *parameters);
            if (!parameters) {
                r->failure = "out of memory";
                return false;
            }
            kernel->parameters = parameters;
            if (!read_parameter(r, from, at, &parameters[kernel->count]))
                return false;
            kernel->count++;
            from = at + 1;
        }
        at++;
    }
    return true;
}

/*
 * A kernel whose word `kernel` is at `at`; returns where to go on. What does not look like one is skipped: the compiler will
 * complain.
 */
static size_t read_kernel(reading *r, size_t at) {
    size_t start = at;
    at = skip_attributes(r, at + 1);
    if (at >= r->count || !pel_token_is(&r->items[at], "void"))
        return start + 1;
    at = skip_attributes(r, at + 1);
    if (at + 1 >= r->count || !is_name(&r->items[at]) || *r->items[at + 1].text != '(')
        return start + 1;
    pel_signature kernel = {.parameters = NULL};
    size_t end = skip_bracket(r, at + 1);
    bool closed = end > at + 2 && *r->items[end - 1].text == ')';
    if (r->items[at].length >= sizeof kernel.name || !closed)
        return start + 1;
    snprintf(kernel.name, sizeof kernel.name, "%.*s", (int)r->items[at].length, r->items[at].text);
    if (read_parameters(r, at + 1, end - 1, &kernel))
        add_kernel(r, &kernel);
    else
        free(kernel.parameters);
    return end;
}

/* typedef KNOWN-TYPE NAME; anything longer (structs, pointers, arrays) is not an alias of a cell. */
static size_t read_typedef(reading *r, size_t at) {
    size_t end = at + 1;
    while (end < r->count && *r->items[end].text != ';')
        end = *r->items[end].text == '{' ? skip_bracket(r, end) : end + 1;
    for (size_t i = at + 1; i < end; i++)
        if (!is_name(&r->items[i]))
            return end;
    if (end - at < 3 || end - at > 6)
        return end;
    pel_element element = find_type(r, &r->items[at + 1], end - at - 2);
    alias *aliases = element.cell ? realloc(r->aliases, (r->alias_count + 1) * sizeof *aliases) : NULL;
    if (aliases) {
        r->aliases = aliases;
        aliases[r->alias_count++] = (alias){r->items[end - 1], element};
    }
    return end;
}

bool pel_signatures_read(const char *source, size_t bytes, const char *const *defines, uint32_t define_count,
                         pel_signatures *signatures, char message[PEL_MESSAGE_BYTES]) {
    *signatures = (pel_signatures){0};
    pel_preprocessed tokens;
    if (!pel_preprocess(source, bytes, defines, define_count, &tokens, message))
        return false;
    reading r = {.items = tokens.items, .count = tokens.count, .signatures = signatures};
    for (size_t at = 0; at < r.count && !r.failure;) {
        if (pel_token_is(&r.items[at], "kernel") || pel_token_is(&r.items[at], "__kernel"))
            at = read_kernel(&r, at);
        else if (pel_token_is(&r.items[at], "typedef"))
            at = read_typedef(&r, at);
        else
            at++;
    }
    free(r.aliases);
    pel_preprocessed_free(&tokens);
    if (!r.failure)
        return true;
    pel_signatures_free(signatures);
    return pel_message(message, "cannot be read for its kernels: %s", r.failure);
}

void pel_signatures_free(pel_signatures *signatures) {
    for (uint32_t i = 0; i < signatures->count; i++)
        free(signatures->kernels[i].parameters);
    free(signatures->kernels);
    *signatures = (pel_signatures){0};
}

const pel_signature *pel_signatures_find(const pel_signatures *signatures, const char *name) {
    for (uint32_t i = 0; i < signatures->count; i++)
        if (strcmp(signatures->kernels[i].name, name) == 0)
            return &signatures->kernels[i];
    return NULL;
}
