/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What in a program's text stands against splitting its launches.
 *
 * Inside a chunk, ids and sizes mean the whole launch because a prelude redefines the id functions. That promise ends where the
 * source tampers with them, and where a launch has effects that are not in its declared outputs: printed lines, pipes, child
 * launches, variables of the program, memory behind pointers in structs. One pass over the tokens with the nesting of braces
 * finds these. Conservative on purpose: a word in an inactive #if counts, a pasted word counts; a false alarm costs a split,
 * never a result. Rejected: a real parser, whose precision would be worth no more than the wish of a user to set
 * PEL_KERNEL_CHUNK_SAFE.
 */
#include "base/text.h"
#include "kernel/kernel.h"
#include "kernel/source.h"
#include <stdint.h>
#include <string.h>

static const char *const id_functions[] = {
    "get_work_dim",   "get_global_size", "get_global_id",     "get_local_size",       "get_enqueued_local_size", "get_local_id",
    "get_num_groups", "get_group_id",    "get_global_offset", "get_global_linear_id", "get_local_linear_id"};

/* Words with effects outside declared outputs. */
static const struct {
    const char *word, *reason;
} refused_words[] = {
    {"printf", "it prints (printf)"},
    {"pipe", "it uses pipes"},
    {"enqueue_kernel", "it launches kernels itself (enqueue_kernel)"},
    {"enqueue_marker", "it launches kernels itself (enqueue_marker)"},
    {"queue_t", "it launches kernels itself (queue_t)"},
    {"ndrange_t", "it launches kernels itself (ndrange_t)"},
    {"clk_event_t", "it launches kernels itself (clk_event_t)"},
    {"get_default_queue", "it launches kernels itself (get_default_queue)"},
    {"asm", "it contains assembly"},
    {"__asm", "it contains assembly"},
    {"__asm__", "it contains assembly"},
    {"template", "it is not OpenCL C (template)"},
    {"namespace", "it is not OpenCL C (namespace)"},
    {"redefine_extname", "it renames functions (redefine_extname)"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* What is known of the statement at hand, since the last ';', or the last '}' that ended a function. */
typedef struct statement {
    bool parenthesis, equals, type_definition, constant, shared, aggregate, body, is_static, attribute;
    uint32_t words, words_after_body;
} statement;

typedef struct scanner {
    const pel_allocator *allocator;
    pel_scan *scan;
    pel_tokens tokens;
    pel_token previous; /* within the line's directive or the code */
    uint32_t braces, parentheses;
    uint64_t aggregates;      /* bit d: the braces at depth d are those of a struct or union */
    bool aggregate_next;      /* struct or union was seen, its brace may follow */
    uint32_t attribute_depth; /* 1 + parentheses where __attribute__((...)) began; 0: outside */
    statement at_file, at_block;
    bool pastes;
    pel_status status;
} scanner;

static void refuse(scanner *s, const char *reason, const pel_token *word) {
    if (s->scan->unsafe || s->status != PEL_OK) {
        return;
    }
    pel_text text;
    pel_text_init(&text, s->allocator);
    pel_text_append(&text, reason);
    if (word) {
        pel_text_append(&text, " (");
        pel_text_append_bytes(&text, word->text, word->length < 80 ? word->length : 80);
        pel_text_append(&text, ")");
    }
    s->scan->unsafe = pel_text_take(&text);
    if (!s->scan->unsafe) {
        s->status = PEL_OUT_OF_MEMORY;
    }
}

static void refuse_ids(scanner *s, const char *reason, const pel_token *word) {
    s->scan->plain_only = true;
    refuse(s, reason, word);
}

static bool is_any(const pel_token *token, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (pel_token_is(token, words[i])) {
            return true;
        }
    }
    return false;
}

static bool is_id(const pel_token *token) {
    return token->kind == PEL_TOKEN_WORD && is_any(token, id_functions, COUNT(id_functions));
}

static bool begins(const pel_token *token, const char *prefix) {
    size_t length = strlen(prefix);
    return token->length >= length && memcmp(token->text, prefix, length) == 0;
}

static bool ends(const pel_token *token, const char *suffix) {
    size_t length = strlen(suffix);
    return token->length >= length && memcmp(token->text + token->length - length, suffix, length) == 0;
}

/* Words that count wherever they stand. */
static void look_at_word(scanner *s, const pel_token *word) {
    static const char *const atomics[] = {"atomic_", "atom_", "__atomic", "__sync_", "__opencl_atomic"};
    for (size_t i = 0; i < COUNT(refused_words); i++) {
        if (pel_token_is(word, refused_words[i].word)) {
            refuse(s, refused_words[i].reason, NULL);
        }
    }
    if (ends(word, "_pipe")) {
        refuse(s, "it uses pipes", word);
    }
    for (size_t i = 0; i < COUNT(atomics); i++) {
        s->scan->uses_atomics = s->scan->uses_atomics || begins(word, atomics[i]);
    }
    s->scan->knows_offset =
        s->scan->knows_offset || pel_token_is(word, "get_global_offset") || pel_token_is(word, "get_global_linear_id");
    if (begins(word, "_Z") || begins(word, "__builtin_amdgcn") || begins(word, "__nvvm") || begins(word, "__spirv")) {
        refuse_ids(s, "it calls a compiler's internal functions", word);
    }
    if (pel_token_is(word, "push_macro") || pel_token_is(word, "pop_macro")) {
        refuse_ids(s, "it saves and restores macros", word);
    }
}

/* --- directives --- */

/* A word inside a directive. `place`: 1 directly behind the directive's name, more behind. */
static void look_in_directive(scanner *s, const pel_token *directive, const pel_token *word, uint32_t place) {
    if (!is_id(word)) {
        return;
    }
    if (pel_token_is(directive, "define")) {
        if (place == 1) {
            refuse_ids(s, "it defines a macro with the name of an id function", word);
        }
    } else if (!pel_token_is(directive, "pragma") && !pel_token_is(directive, "error") && !pel_token_is(directive, "warning")) {
        refuse_ids(s, "a directive names an id function", word);
    }
}

static void scan_directive(scanner *s) {
    pel_token directive = pel_tokens_next(&s->tokens), token = directive;
    for (uint32_t place = 1; token.kind != PEL_TOKEN_NEWLINE && token.kind != PEL_TOKEN_END; place++) {
        token = pel_tokens_next(&s->tokens);
        if (token.kind == PEL_TOKEN_WORD) {
            look_at_word(s, &token);
            look_in_directive(s, &directive, &token, place);
        }
        s->pastes = s->pastes || token.kind == PEL_TOKEN_PASTE;
    }
}

/* --- code --- */

/* Whether a word can stand before a call in an expression or statement; any other word before an id function declares it anew. */
static bool before_a_call(const pel_token *word) {
    static const char *const words[] = {"return", "else", "case", "do", "goto", "sizeof"};
    return is_any(word, words, COUNT(words));
}

static void look_at_id(scanner *s, const pel_token *word) {
    bool at_file = s->braces == 0 && s->parentheses == 0;
    if (at_file || (s->previous.kind == PEL_TOKEN_WORD && !before_a_call(&s->previous))) {
        refuse_ids(s, "it declares an id function itself", word);
    }
}

static statement *current(scanner *s) {
    return s->braces == 0 ? &s->at_file : &s->at_block;
}

static bool in_aggregate(const scanner *s) {
    return s->braces > 0 && (s->aggregates >> s->braces & 1u) != 0;
}

static void note_qualifiers(scanner *s, statement *now, const pel_token *word) {
    static const char *const constants[] = {"constant", "__constant", "const", "sampler_t", "extern"};
    static const char *const aggregates[] = {"struct", "union", "enum"};
    bool shared = pel_token_is(word, "global") || pel_token_is(word, "__global") || pel_token_is(word, "generic") ||
                  pel_token_is(word, "__generic");
    if (shared && in_aggregate(s)) {
        refuse(s, "it has pointers in structs", NULL);
    }
    now->shared = now->shared || shared;
    now->constant = now->constant || is_any(word, constants, COUNT(constants));
    now->type_definition = now->type_definition || pel_token_is(word, "typedef");
    now->is_static = now->is_static || pel_token_is(word, "static");
    if (is_any(word, aggregates, COUNT(aggregates))) {
        now->aggregate = true;
        s->aggregate_next = !pel_token_is(word, "enum");
    }
}

static void scan_word(scanner *s, const pel_token *word) {
    look_at_word(s, word);
    if (is_id(word)) {
        look_at_id(s, word);
    }
    if (s->attribute_depth != 0) {
        return;
    }
    if (pel_token_is(word, "__attribute__") || pel_token_is(word, "__attribute")) {
        s->attribute_depth = 1 + s->parentheses;
        return;
    }
    statement *now = current(s);
    if (s->parentheses == 0) {
        note_qualifiers(s, now, word);
        now->words++;
        now->words_after_body += now->body;
    }
}

/* Program-scope variables outlive a work-item: OpenCL C 2.0 puts them into global memory. */
static void end_statement(scanner *s) {
    statement *now = current(s);
    bool file = s->braces == 0;
    bool harmless = now->type_definition || now->constant;
    if (file && !harmless) {
        bool variable = now->equals;
        if (!now->parenthesis) {
            uint32_t name_words = now->aggregate ? 2 : 1; /* "struct S;", or a macro that stands for a declaration */
            variable = variable || now->shared || (now->body ? now->words_after_body > 0 : now->words > name_words);
        }
        if (variable) {
            refuse(s, "it has variables of its own in global memory", NULL);
        }
    } else if (!file && now->is_static && !harmless && !in_aggregate(s)) {
        refuse(s, "it has static variables", NULL);
    }
    *now = (statement){0};
}

static void open_brace(scanner *s) {
    statement *now = current(s);
    now->body = true;
    s->braces++;
    if (s->braces > 63) {
        refuse(s, "its braces are nested too deeply to be understood", NULL);
        s->braces = 63;
    }
    s->aggregates &= ~(1ull << s->braces);
    if (s->aggregate_next) {
        s->aggregates |= 1ull << s->braces;
    }
    s->aggregate_next = false;
    s->at_block = (statement){0};
}

static void close_brace(scanner *s) {
    s->braces -= s->braces > 0;
    s->at_block = (statement){0};
    if (s->braces == 0 && s->at_file.parenthesis && !s->at_file.equals) {
        s->at_file = (statement){0}; /* a function ends without ';' */
    }
}

static void scan_character(scanner *s, char character) {
    switch (character) {
    case '{':
        open_brace(s);
        break;
    case '}':
        close_brace(s);
        break;
    case '(':
        if (s->attribute_depth == 0) {
            current(s)->parenthesis = true;
            s->aggregate_next = false;
        }
        s->parentheses++;
        break;
    case ')':
        s->parentheses -= s->parentheses > 0;
        if (s->attribute_depth == 1 + s->parentheses) {
            s->attribute_depth = 0;
        }
        break;
    case '=':
        if (s->parentheses == 0) {
            current(s)->equals = true;
        }
        break;
    case ';':
        s->aggregate_next = false;
        if (s->parentheses == 0) {
            end_statement(s);
        }
        break;
    case '*':
        if (in_aggregate(s)) {
            refuse(s, "it has pointers in structs", NULL);
        }
        break;
    case '^':
        if (s->braces == 0) {
            refuse(s, "it uses blocks", NULL);
        }
        break;
    case PEL_SCAN_NEXT_FILE:
        s->braces = s->parentheses = s->attribute_depth = 0;
        s->aggregate_next = false;
        s->at_file = s->at_block = (statement){0};
        break;
    default:
        break;
    }
}

static void scan_token(scanner *s, const pel_token *token) {
    switch (token->kind) {
    case PEL_TOKEN_HASH:
        scan_directive(s);
        return;
    case PEL_TOKEN_NEWLINE:
        return;
    case PEL_TOKEN_PASTE:
        s->pastes = true;
        break;
    case PEL_TOKEN_WORD:
        scan_word(s, token);
        break;
    case PEL_TOKEN_OTHER:
        scan_character(s, token->text[0]);
        break;
    case PEL_TOKEN_STRING:
    case PEL_TOKEN_NUMBER:
    case PEL_TOKEN_END:
        break;
    }
    s->previous = *token;
}

/* --- words made by ## --- */

/*
 * Whether two words of the source, each of two characters or more, make up a refused word. Shorter pieces are not considered:
 * half of all kernels have variables p, r, i, n, t and f.
 */
static void scan_pastes(scanner *s, const char *clean, size_t length) {
    uint64_t heads[COUNT(refused_words)] = {0},
             tails[COUNT(refused_words)] = {0}; /* bit n: a piece of n characters ends or begins there */
    pel_tokens tokens;
    pel_tokens_begin(&tokens, clean, length);
    for (pel_token token = pel_tokens_next(&tokens); token.kind != PEL_TOKEN_END; token = pel_tokens_next(&tokens)) {
        if (token.kind != PEL_TOKEN_WORD || token.length < 2) {
            continue;
        }
        s->scan->uses_atomics = s->scan->uses_atomics || begins(&token, "atom");
        for (size_t i = 0; i < COUNT(refused_words); i++) {
            size_t whole = strlen(refused_words[i].word);
            if (token.length + 2 > whole) {
                continue;
            }
            if (memcmp(refused_words[i].word, token.text, token.length) == 0) {
                heads[i] |= 1ull << token.length;
            }
            if (memcmp(refused_words[i].word + whole - token.length, token.text, token.length) == 0) {
                tails[i] |= 1ull << (whole - token.length);
            }
        }
    }
    for (size_t i = 0; i < COUNT(refused_words); i++) {
        if ((heads[i] & tails[i]) != 0) {
            refuse(s, refused_words[i].reason, NULL);
        }
    }
}

/* Trigraphs would have to be translated before anything else; nobody writes them but to hide something. */
static bool has_trigraphs(const char *source, size_t bytes) {
    for (size_t i = 0; i + 2 < bytes; i++) {
        if (source[i] == '?' && source[i + 1] == '?' && source[i + 2] != '\0' && strchr("=/'()!<>-", source[i + 2])) {
            return true;
        }
    }
    return false;
}

static bool mentions(const char *text, size_t bytes, const char *word) {
    return memmem(text, bytes, word, strlen(word)) != NULL;
}

pel_status pel_scan_source(const pel_allocator *allocator, const char *source, size_t bytes, pel_scan *scan) {
    *scan = (pel_scan){.unsafe = NULL};
    size_t length;
    char *clean = pel_source_clean(allocator, source, bytes, &length);
    if (!clean) {
        return PEL_OUT_OF_MEMORY;
    }
    scanner s = {.allocator = allocator, .scan = scan, .status = PEL_OK};
    if (has_trigraphs(source, bytes)) {
        refuse_ids(&s, "it contains trigraphs", NULL);
    }
    if (mentions(clean, length, "push_macro") || mentions(clean, length, "pop_macro")) { /* _Pragma takes them from a string */
        refuse_ids(&s, "it saves and restores macros", NULL);
    }
    pel_tokens_begin(&s.tokens, clean, length);
    for (pel_token token = pel_tokens_next(&s.tokens); token.kind != PEL_TOKEN_END; token = pel_tokens_next(&s.tokens)) {
        scan_token(&s, &token);
    }
    if (s.pastes) {
        scan_pastes(&s, clean, length);
    }
    pel_free(allocator, clean);
    if (s.status != PEL_OK) {
        pel_free(allocator, scan->unsafe);
        scan->unsafe = NULL;
    }
    return s.status;
}
