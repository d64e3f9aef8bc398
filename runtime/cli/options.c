/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See options.h. The C locale is made for each real number: parsing is rare, and a process-wide setlocale would be a side
 * effect.
 */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_LIMIT = 48, HELP_COLUMN = 28, HELP_VALUE = 512 };

void pel_cli_error(const char *command, const char *format, ...) {
    va_list list;
    va_start(list, format);
    fflush(stdout);
    fputs("pel: ", stderr);
    if (command)
        fprintf(stderr, "%s: ", command);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
}

void pel_cli_warn(void *command, pel_log_level level, const char *message) {
    (void)level;
    pel_cli_error(command, "warning: %s", message);
}

static size_t edit_distance(const char *a, const char *b) {
    size_t row[40], length = strlen(b);
    if (length >= 40)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = above;
        }
    }
    return row[length];
}

const char *pel_cli_nearest(const char *text, const char *const *names) {
    const char *nearest = NULL;
    size_t best = strlen(text) / 3 + 2; /* one slip in short words, a few in long ones */
    for (; *names; names++) {
        size_t distance = edit_distance(text, *names);
        if (distance < best && distance < strlen(*names)) {
            best = distance;
            nearest = *names;
        }
    }
    return nearest;
}

static void print_option(const pel_cli_option *option) {
    char left[80];
    int width = option->letter ? snprintf(left, sizeof left, "  -%c, --%s", option->letter, option->name)
                               : snprintf(left, sizeof left, "      --%s", option->name);
    if (option->argument && width > 0 && (size_t)width < sizeof left)
        snprintf(left + width, sizeof left - (size_t)width, " %s", option->argument);
    bool fits = strlen(left) < HELP_COLUMN - 1;
    printf("%-*s%s", HELP_COLUMN, left, fits ? "" : "\n");
    if (!fits)
        printf("%*s", HELP_COLUMN, "");
    for (const char *c = option->help; *c; c++) {
        putchar(*c);
        if (*c == '\n')
            printf("%*s", HELP_COLUMN, "");
    }
    putchar('\n');
}

static void print_help(const pel_cli_usage *usage) {
    static const pel_cli_option help = {'h', "help", NULL, "print this text"};
    printf("Usage: pel %s %s\n\n%s\n\nOptions:\n", usage->command, *usage->synopsis ? usage->synopsis : "[options]",
           usage->about);
    for (const pel_cli_option *option = usage->options; option->name; option++)
        print_option(option);
    print_option(&help);
    if (usage->footer)
        printf("\n%s\n", usage->footer);
}

static int report_wrong(const pel_cli_usage *usage, char **argv, int found) {
    if (found == ':') {
        char letter[3] = {'-', (char)optopt, '\0'};
        pel_cli_error(usage->command, "%s needs a value; see 'pel help %s'", optopt < 256 ? letter : argv[optind - 1],
                      usage->command);
        return PEL_CLI_WRONG;
    }
    if (optopt > 0 && optopt < 256) {
        pel_cli_error(usage->command, "there is no option '-%c'; see 'pel help %s'", optopt, usage->command);
        return PEL_CLI_WRONG;
    }
    const char *names[OPTION_LIMIT + 2];
    size_t count = 0;
    for (const pel_cli_option *option = usage->options; option->name; option++)
        names[count++] = option->name;
    names[count++] = "help";
    names[count] = NULL;
    const char *text = argv[optind - 1];
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text + 2, "="), text + 2);
    const char *nearest = pel_cli_nearest(name, names);
    bool known = nearest && strcmp(nearest, name) == 0;
    if (known)
        pel_cli_error(usage->command, "--%s takes no value", name);
    else if (nearest)
        pel_cli_error(usage->command, "there is no option '--%s'; did you mean '--%s'?", name, nearest);
    else
        pel_cli_error(usage->command, "there is no option '--%s'; see 'pel help %s'", name, usage->command);
    return PEL_CLI_WRONG;
}

int pel_cli_next(const pel_cli_usage *usage, int argc, char **argv, const char **value) {
    struct option longs[OPTION_LIMIT + 2];
    char letters[2 * OPTION_LIMIT + 4] = ":h";
    size_t count = 0, used = 2;
    memset(longs, 0, sizeof longs);
    for (const pel_cli_option *option = usage->options; option->name && count < OPTION_LIMIT; option++, count++) {
        longs[count] = (struct option){option->name, option->argument ? required_argument : no_argument, NULL, 256 + (int)count};
        if (option->letter) {
            letters[used++] = option->letter;
            if (option->argument)
                letters[used++] = ':';
        }
    }
    letters[used] = '\0';
    longs[count] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    opterr = 0;
    int found = getopt_long(argc, argv, letters, longs, NULL);
    *value = optarg;
    if (found == -1)
        return PEL_CLI_END;
    if (found == '?' || found == ':')
        return report_wrong(usage, argv, found);
    if (found == 'h' || found == HELP_VALUE) {
        print_help(usage);
        return PEL_CLI_HELP;
    }
    if (found >= 256)
        return found - 256;
    for (size_t i = 0; i < count; i++)
        if (usage->options[i].letter == found)
            return (int)i;
    return PEL_CLI_WRONG;
}

int pel_cli_operands(void) {
    return optind;
}

bool pel_cli_no_operands(const pel_cli_usage *usage, int argc, char **argv) {
    if (optind >= argc)
        return true;
    pel_cli_error(usage->command, "unexpected '%s'; see 'pel help %s'", argv[optind], usage->command);
    return false;
}

bool pel_cli_read_u64(const char *text, uint64_t *out) {
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, hexadecimal ? 16 : 10);
    if (errno || *end || (hexadecimal && end == text + 1))
        return false;
    *out = value;
    return true;
}

bool pel_cli_read_i64(const char *text, int64_t *out) {
    bool negative = text[0] == '-';
    uint64_t magnitude;
    if (!pel_cli_read_u64(text + (negative || text[0] == '+'), &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool pel_cli_read_real(const char *text, double *out) {
    if (!*text || strchr(" \t\n\v\f\r", *text))
        return false;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        return false;
    char *end;
    double value = strtod_l(text, &end, plain);
    freelocale(plain);
    if (end == text || *end)
        return false;
    *out = value;
    return true;
}

bool pel_cli_parse_u64(const char *command, const char *what, const char *text, uint64_t low, uint64_t high, uint64_t *out) {
    uint64_t value;
    if (!pel_cli_read_u64(text, &value)) {
        pel_cli_error(command, "%s: '%s' is not a whole number that fits", what, text);
        return false;
    }
    if (value < low || value > high) {
        pel_cli_error(command, "%s: %s is out of range: at least %llu, at most %llu", what, text, (unsigned long long)low,
                      (unsigned long long)high);
        return false;
    }
    *out = value;
    return true;
}

bool pel_cli_parse_real(const char *command, const char *what, const char *text, double low, double high, double *out) {
    double value;
    if (!pel_cli_read_real(text, &value)) {
        pel_cli_error(command, "%s: '%s' is not a number", what, text);
        return false;
    }
    if (!isfinite(value) || value < low || value > high) {
        pel_cli_error(command, "%s: %s is out of range: at least %g, at most %g", what, text, low, high);
        return false;
    }
    *out = value;
    return true;
}

bool pel_cli_parse_extent(const char *command, const char *what, const char *text, uint64_t minimum, uint64_t out[3],
                          uint32_t *count) {
    uint64_t product = 1;
    *count = 0;
    out[0] = out[1] = out[2] = 0;
    for (const char *part = text;; part++) {
        size_t length = strcspn(part, "xX");
        char number[24];
        if (*count == 3 || length == 0 || length >= sizeof number) {
            pel_cli_error(command, "%s: '%s' is not of the form N, NxN or NxNxN", what, text);
            return false;
        }
        memcpy(number, part, length);
        number[length] = '\0';
        if (!pel_cli_read_u64(number, &out[*count])) {
            pel_cli_error(command, "%s: '%s' in '%s' is not a whole number that fits", what, number, text);
            return false;
        }
        if (out[*count] < minimum) {
            pel_cli_error(command, "%s: '%s' holds %s; each number must be at least %llu", what, text, number,
                          (unsigned long long)minimum);
            return false;
        }
        if (__builtin_mul_overflow(product, out[*count] ? out[*count] : 1, &product)) {
            pel_cli_error(command, "%s: '%s' is more than 2^64 items", what, text);
            return false;
        }
        ++*count;
        part += length;
        if (!*part)
            return true;
    }
}
