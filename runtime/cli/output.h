/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output of the `pel` commands. Files appear whole or not at all: they are written beside their destination under another name,
 * flushed to the disk, checked, and renamed. A full disk or a read-only directory is an error that names the file and leaves
 * the old file alone. What is not a regular file (/dev/full, a pipe, "-" for stdout) is written directly. Tables align their
 * columns; JSON never holds NaN.
 */
#ifndef PEL_CLI_OUTPUT_H
#define PEL_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct pel_output {
    FILE *file;      /* write here */
    char *path;      /* where it will be; "-" is stdout */
    char *temporary; /* NULL: written directly */
    bool unnamed;    /* the temporary file has no name yet */
    const char *command;
} pel_output;

/*
 * False after an error message. `expected_bytes` is reserved on the disk at once when > 0, so that a full disk shows before the
 * work.
 */
bool pel_output_open(pel_output *output, const char *command, const char *path, uint64_t expected_bytes);

/* Makes the file appear; false after an error message, and then it did not. Either way the output is closed. */
bool pel_output_commit(pel_output *output);

/*
 * The two halves of a commit, for several files that shall appear together: finish writes everything to the disk under the
 * temporary name; publish renames, which hardly ever fails once finish has succeeded.
 */
bool pel_output_finish(pel_output *output);
bool pel_output_publish(pel_output *output);

/* Forgets the file. Safe after commit, and on a zeroed output. */
void pel_output_abandon(pel_output *output);

/* Whether `path` could be written now (nothing is left there); false after an error message. For use before a long run. */
bool pel_output_probe(const char *command, const char *path);

/* A number, or null when it is not finite. */
json_t *pel_json_real(double value);
/* {"key": null} for a NULL text, else the text with invalid UTF-8 replaced. */
json_t *pel_json_text(const char *text);
/* Writes a document, indented, with a final newline. Takes over the reference. */
bool pel_output_json(const char *command, const char *path, json_t *document);

/* Columns of text. Numbers look best right-aligned. */
typedef struct pel_table {
    size_t columns;
    const char *alignment; /* one letter a column: 'l' or 'r' */
    char **cells;          /* row by row; the first row is the heading */
    size_t count, capacity;
    bool failed;
} pel_table;

void pel_table_init(pel_table *table, const char *alignment);
void pel_table_cell(pel_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints what there is; two spaces between columns, a rule under the heading. False when memory ran out. */
bool pel_table_print(const pel_table *table, FILE *file, const char *indent);
void pel_table_free(pel_table *table);

/* "1.23 ms", "640 B", "1.5 GiB" into `text`, which is returned. */
const char *pel_format_time(char text[32], double nanoseconds);
const char *pel_format_bytes(char text[32], double bytes);

/* A line of progress on stderr, replaced by the next one; nothing when stderr is no terminal. NULL: wipes the line. */
void pel_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
