/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command-line options of the `pel` commands. Each command has one table of options; the parser (getopt_long underneath), the
 * help text and the completion come from it, so they cannot disagree. Numbers are read the same way in every locale, checked
 * for overflow, and each message names the command, the option and the text that was wrong.
 */
#ifndef PEL_CLI_OPTIONS_H
#define PEL_CLI_OPTIONS_H

#include <pel/runtime.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends a table of options: a row without name. `--help` is understood without being listed. */
typedef struct pel_cli_option {
    char letter;          /* one-letter form, or 0 */
    const char *name;     /* long form */
    const char *argument; /* what the help calls the argument; NULL: takes none */
    const char *help;     /* one sentence; may hold '\n' */
} pel_cli_option;

typedef struct pel_cli_usage {
    const char *command;  /* "run" */
    const char *synopsis; /* "FILE.cl [options]"; "" for none */
    const char *about;    /* a paragraph */
    const pel_cli_option *options;
    const char *footer; /* more text after the options, or NULL */
} pel_cli_usage;

enum { PEL_CLI_END = -1, PEL_CLI_HELP = -2, PEL_CLI_WRONG = -3 };

/*
 * The next option: its index in the table with *value set (NULL when it takes none); PEL_CLI_END when only operands are left
 * (from argv[pel_cli_operands()] on: options and operands may be mixed); PEL_CLI_HELP when --help was given (help was printed:
 * exit with 0); PEL_CLI_WRONG after an error message (exit with 2). State is per process, as getopt's: parse one command line
 * at a time.
 */
int pel_cli_next(const pel_cli_usage *usage, int argc, char **argv, const char **value);
int pel_cli_operands(void);

/* For a command without operands: true when there are none left, else an error message. */
bool pel_cli_no_operands(const pel_cli_usage *usage, int argc, char **argv);

/* One line on stderr: "pel: COMMAND: message". command NULL: "pel: message". */
void pel_cli_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* pel_runtime_desc.log of a command: each record is a warning on stderr. `command` is the command's name. */
void pel_cli_warn(void *command, pel_log_level level, const char *message);

/* The name nearest to `text` when it is near enough to be a slip, else NULL. names ends with NULL. */
const char *pel_cli_nearest(const char *text, const char *const *names);

/*
 * Numbers. `what` names the thing in the message ("--repeat"). The whole text must be the number; false after an error message.
 * Whole numbers may be hexadecimal (0x10). Real ones must be finite unless said otherwise.
 */
bool pel_cli_parse_u64(const char *command, const char *what, const char *text, uint64_t low, uint64_t high, uint64_t *out);
bool pel_cli_parse_real(const char *command, const char *what, const char *text, double low, double high, double *out);

/* "1920x1080": 1 to 3 numbers >= minimum into out[3] (absent ones 0), *count how many. The product must fit 64 bits. */
bool pel_cli_parse_extent(const char *command, const char *what, const char *text, uint64_t minimum, uint64_t out[3],
                          uint32_t *count);

/* The bare readers behind them, without message. */
bool pel_cli_read_u64(const char *text, uint64_t *out);
bool pel_cli_read_i64(const char *text, int64_t *out);
bool pel_cli_read_real(const char *text, double *out); /* accepts inf and nan */

#endif
