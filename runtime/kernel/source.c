/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Phases 2 and 3 of C translation, done by hand: splices, comments, tokens.
 *
 * The scan must see words where the compiler sees them: get_glo\<newline>bal_id is one word, printf inside a comment or a
 * string is none. Macros are not expanded: what they could hide is found in their definitions, which are part of the same text.
 * Rejected: asking a real compiler, which is not there on a machine without OpenCL, and regular expressions, which are wrong on
 * the first string that holds a comment.
 */
#include "kernel/source.h"
#include <string.h>

/* Length of a line splice at `at`, or 0: a backslash, blanks (compilers forgive them), a newline. */
static size_t splice(const char *at, const char *end) {
    const char *next = at;
    if (next == end || *next != '\\') {
        return 0;
    }
    next++;
    while (next < end && (*next == ' ' || *next == '\t' || *next == '\v' || *next == '\f' || *next == '\r')) {
        next++;
    }
    return next < end && *next == '\n' ? (size_t)(next + 1 - at) : 0;
}

static size_t remove_splices(char *text, size_t length) {
    size_t kept = 0;
    for (size_t i = 0; i < length;) {
        size_t cut = splice(text + i, text + length);
        if (cut > 0) {
            i += cut;
        } else {
            text[kept++] = text[i++];
        }
    }
    return kept;
}

/* The position behind a string or character literal that begins at `i`; an unterminated one ends with its line. */
static size_t literal_end(const char *text, size_t length, size_t i) {
    char quote = text[i++];
    while (i < length && text[i] != quote && text[i] != '\n') {
        i += text[i] == '\\' && i + 1 < length ? 2 : 1;
    }
    return i < length && text[i] == quote ? i + 1 : (i < length ? i : length);
}

static size_t comment_end(const char *text, size_t length, size_t i) {
    bool line = text[i + 1] == '/';
    for (i += 2; i < length; i++) {
        if (line && text[i] == '\n') {
            return i;
        }
        if (!line && text[i] == '*' && i + 1 < length && text[i + 1] == '/') {
            return i + 2;
        }
    }
    return length;
}

char *pel_source_clean(const pel_allocator *allocator, const char *source, size_t bytes, size_t *length) {
    char *text = pel_alloc(allocator, bytes + 1);
    if (!text) {
        return NULL;
    }
    memcpy(text, source, bytes);
    size_t total = remove_splices(text, bytes), kept = 0;
    for (size_t i = 0; i < total;) {
        size_t end;
        if (text[i] == '"' || text[i] == '\'') {
            end = literal_end(text, total, i);
            memmove(text + kept, text + i, end - i);
            kept += end - i;
        } else if (text[i] == '/' && i + 1 < total && (text[i + 1] == '/' || text[i + 1] == '*')) {
            end = comment_end(text, total, i);
            text[kept++] = ' ';
        } else {
            end = i + 1;
            text[kept++] = text[i];
        }
        i = end;
    }
    text[kept] = '\0';
    *length = kept;
    return text;
}

static bool starts_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || (c & 0x80) != 0;
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

void pel_tokens_begin(pel_tokens *tokens, const char *clean, size_t length) {
    *tokens = (pel_tokens){clean, clean + length, true};
}

bool pel_token_is(const pel_token *token, const char *text) {
    return token->length == strlen(text) && memcmp(token->text, text, token->length) == 0;
}

/* '#' or its digraph '%:' at `at`; its length. */
static size_t hash_at(const char *at, const char *end) {
    if (at < end && *at == '#') {
        return 1;
    }
    return end - at >= 2 && at[0] == '%' && at[1] == ':' ? 2 : 0;
}

static pel_token take(pel_tokens *tokens, pel_token_kind kind, size_t length) {
    pel_token token = {kind, tokens->at, length};
    tokens->at += length;
    tokens->line_start = kind == PEL_TOKEN_NEWLINE;
    return token;
}

pel_token pel_tokens_next(pel_tokens *tokens) {
    const char *end = tokens->end;
    while (tokens->at < end && strchr(" \t\r\v\f", *tokens->at) && *tokens->at != '\0') {
        tokens->at++;
    }
    const char *at = tokens->at;
    if (at == end) {
        return (pel_token){PEL_TOKEN_END, at, 0};
    }
    if (*at == '\n') {
        return take(tokens, PEL_TOKEN_NEWLINE, 1);
    }
    size_t length = 1, hash = hash_at(at, end);
    if (hash > 0) {
        size_t second = hash_at(at + hash, end);
        if (second > 0) {
            return take(tokens, PEL_TOKEN_PASTE, hash + second);
        }
        return take(tokens, tokens->line_start ? PEL_TOKEN_HASH : PEL_TOKEN_OTHER, hash);
    }
    if (*at == '"' || *at == '\'') {
        return take(tokens, PEL_TOKEN_STRING, literal_end(at, (size_t)(end - at), 0));
    }
    bool word = starts_word(*at), number = is_digit(*at);
    if (!word && !number) {
        return take(tokens, PEL_TOKEN_OTHER, 1);
    }
    while (at + length < end && (starts_word(at[length]) || is_digit(at[length]) || (number && at[length] == '.'))) {
        length++;
    }
    return take(tokens, word ? PEL_TOKEN_WORD : PEL_TOKEN_NUMBER, length);
}
