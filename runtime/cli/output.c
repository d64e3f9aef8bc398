/* SPDX-License-Identifier: BSD-3-Clause */
/* See output.h. Temporary files lie in the destination's own directory, because rename works within one file system only. */
#include "cli/output.h"
#include "cli/options.h"
#include "cli/printable.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *reason(int code) {
    return code ? strerror(code) : "unknown error";
}

static bool refuse(pel_output *output, const char *what, int code) {
    pel_cli_error(output->command, "cannot %s %s: %s", what, output->path ? output->path : "the output", reason(code));
    pel_output_abandon(output);
    return false;
}

/* The mode that open(2) would have given: mkstemp gives 0600. */
static mode_t usual_mode(void) {
    mode_t mask = umask(022);
    umask(mask);
    return 0666 & ~mask;
}

/* A file without a name, in the directory of `path`: a killed process leaves nothing. -1 where the file system has none. */
static int open_unnamed(const char *path) {
    char *directory = strdup(path);
    char *slash = directory ? strrchr(directory, '/') : NULL;
    if (slash)
        slash[slash == directory] = '\0';
    bool nameable = access("/proc/self/fd", X_OK) == 0; /* through which name_temporary works */
    int descriptor = directory && nameable ? open(slash ? directory : ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) : -1;
    free(directory);
    return descriptor;
}

/* Gives the complete file a name beside its destination, from which it is renamed. */
static bool name_temporary(pel_output *output) {
    char source[64];
    char *name = output->temporary + strlen(output->temporary) - 6;
    unsigned number = (unsigned)getpid();
    snprintf(source, sizeof source, "/proc/self/fd/%d", fileno(output->file));
    for (int attempt = 0; attempt < 1000; attempt++, number++) {
        snprintf(name, 7, "%06x", number & 0xFFFFFFu);
        if (linkat(AT_FDCWD, source, AT_FDCWD, output->temporary, AT_SYMLINK_FOLLOW) == 0) {
            output->unnamed = false;
            return true;
        }
        if (errno != EEXIST)
            return false;
    }
    return false;
}

static bool open_temporary(pel_output *output, const struct stat *old, uint64_t expected_bytes) {
    size_t length = strlen(output->path);
    output->temporary = malloc(length + sizeof ".pel-XXXXXX");
    if (!output->temporary)
        return refuse(output, "write", ENOMEM);
    memcpy(output->temporary, output->path, length);
    memcpy(output->temporary + length, ".pel-XXXXXX", sizeof ".pel-XXXXXX");
    int descriptor = open_unnamed(output->path);
    output->unnamed = descriptor >= 0;
    if (!output->unnamed)
        descriptor = mkostemp(output->temporary, O_CLOEXEC);
    if (descriptor < 0) {
        int code = errno;
        free(output->temporary);
        output->temporary = NULL;
        return refuse(output, "write", code);
    }
    int code = 0;
    if (fchmod(descriptor, old ? old->st_mode & 07777 : usual_mode()) != 0)
        code = errno;
    if (code == 0 && expected_bytes > 0 && expected_bytes <= INT64_MAX) {
        code = posix_fallocate(descriptor, 0, (off_t)expected_bytes);
        if (code == EOPNOTSUPP || code == EINVAL || code == ENOSYS)
            code = 0; /* the file system cannot reserve; the writes will tell */
        if (code == 0 && ftruncate(descriptor, 0) != 0)
            code = errno;
    }
    output->file = code ? NULL : fdopen(descriptor, "wb");
    if (!output->file) {
        code = code ? code : errno;
        close(descriptor);
        return refuse(output, "write", code);
    }
    return true;
}

bool pel_output_open(pel_output *output, const char *command, const char *path, uint64_t expected_bytes) {
    *output = (pel_output){.command = command};
    output->path = strdup(path);
    if (!output->path)
        return refuse(output, "write", ENOMEM);
    if (strcmp(path, "-") == 0) {
        output->file = stdout;
        return true;
    }
    if (!*path) {
        pel_cli_error(command, "cannot write a file without a name");
        pel_output_abandon(output);
        return false;
    }
    struct stat old;
    bool exists = stat(path, &old) == 0;
    if (!exists && errno != ENOENT)
        return refuse(output, "write", errno);
    if (exists && S_ISDIR(old.st_mode))
        return refuse(output, "write", EISDIR);
    if (exists && S_ISREG(old.st_mode) && access(path, W_OK) != 0)
        return refuse(output, "write", errno);
    if (!exists || S_ISREG(old.st_mode)) {
        char *real = exists ? realpath(path, NULL) : NULL; /* a symbolic link stays one: its target is replaced */
        if (real) {
            free(output->path);
            output->path = real;
        }
        return open_temporary(output, exists ? &old : NULL, expected_bytes);
    }
    output->file = fopen(path, "wbe");
    return output->file ? true : refuse(output, "write", errno);
}

bool pel_output_finish(pel_output *output) {
    errno = 0;
    bool failed = fflush(output->file) != 0 || ferror(output->file);
    int code = errno;
    if (!failed && output->temporary && fsync(fileno(output->file)) != 0 && errno != EINVAL && errno != ENOSYS) {
        failed = true;
        code = errno;
    }
    if (!failed && output->unnamed && !name_temporary(output)) {
        failed = true;
        code = errno;
    }
    if (output->file != stdout) {
        if (fclose(output->file) != 0 && !failed) {
            failed = true;
            code = errno;
        }
        output->file = NULL;
    }
    return failed ? refuse(output, "write", code ? code : EIO) : true;
}

bool pel_output_publish(pel_output *output) {
    if (output->temporary && rename(output->temporary, output->path) != 0)
        return refuse(output, "create", errno);
    free(output->temporary);
    output->temporary = NULL;
    pel_output_abandon(output);
    return true;
}

bool pel_output_commit(pel_output *output) {
    return pel_output_finish(output) && pel_output_publish(output);
}

void pel_output_abandon(pel_output *output) {
    if (output->file && output->file != stdout)
        fclose(output->file);
    if (output->temporary && !output->unnamed)
        unlink(output->temporary);
    free(output->temporary);
    free(output->path);
    *output = (pel_output){.command = output->command};
}

bool pel_output_probe(const char *command, const char *path) {
    pel_output output = {.command = command};
    struct stat old;
    if (stat(path, &old) == 0 && S_ISFIFO(old.st_mode)) { /* its reader would take the closing for the end of the output */
        output.path = strdup(path);
        if (access(path, W_OK) != 0)
            return refuse(&output, "write", errno);
        pel_output_abandon(&output);
        return true;
    }
    if (!pel_output_open(&output, command, path, 0))
        return false;
    pel_output_abandon(&output);
    return true;
}

json_t *pel_json_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *pel_json_text(const char *text) {
    if (!text)
        return json_null();
    json_t *json = json_string(text);
    if (json)
        return json;
    char *plain = strdup(text);
    if (!plain)
        return NULL;
    pel_make_printable(plain);
    json = json_string(plain);
    free(plain);
    return json;
}

bool pel_output_json(const char *command, const char *path, json_t *document) {
    if (!document) {
        pel_cli_error(command, "cannot write %s: out of memory", path);
        return false;
    }
    pel_output output;
    bool done = false;
    if (pel_output_open(&output, command, path, 0)) {
        /* 15 digits: what jansson prints by default, 17, shows 0.1 as 0.10000000000000001 */
        bool dumped =
            json_dumpf(document, output.file, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0 && fputc('\n', output.file) != EOF;
        if (dumped) {
            done = pel_output_commit(&output);
        } else {
            refuse(&output, "write", errno);
        }
    }
    json_decref(document);
    return done;
}

void pel_table_init(pel_table *table, const char *alignment) {
    *table = (pel_table){.columns = strlen(alignment), .alignment = alignment};
}

void pel_table_cell(pel_table *table, const char *format, ...) {
    if (table->count == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    va_list list;
    va_start(list, format);
    char *text = NULL;
    if (vasprintf(&text, format, list) < 0)
        table->failed = true;
    else
        table->cells[table->count++] = text;
    va_end(list);
}

/* Columns that a text takes on a terminal, near enough: UTF-8 continuation bytes take none. */
static size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static size_t column_width(const pel_table *table, size_t column) {
    size_t width = 0;
    for (size_t i = column; i < table->count; i += table->columns) {
        size_t own = text_width(table->cells[i]);
        width = own > width ? own : width;
    }
    return width;
}

static void print_row(const pel_table *table, FILE *file, const char *indent, size_t row) {
    fputs(indent, file);
    for (size_t c = 0; c < table->columns && row * table->columns + c < table->count; c++) {
        const char *cell = table->cells[row * table->columns + c];
        int padding = (int)(column_width(table, c) - text_width(cell));
        bool last = c + 1 == table->columns || row * table->columns + c + 1 == table->count;
        if (table->alignment[c] == 'r')
            fprintf(file, "%*s%s", padding, "", cell);
        else
            fprintf(file, "%s%*s", cell, last ? 0 : padding, "");
        fputs(last ? "\n" : "  ", file);
    }
}

bool pel_table_print(const pel_table *table, FILE *file, const char *indent) {
    for (size_t row = 0; row * table->columns < table->count; row++) {
        print_row(table, file, indent, row);
        if (row > 0)
            continue;
        size_t width = 0;
        for (size_t c = 0; c < table->columns; c++)
            width += column_width(table, c) + (c ? 2 : 0);
        fputs(indent, file);
        for (size_t i = 0; i < width; i++)
            fputc('-', file);
        fputc('\n', file);
    }
    return !table->failed;
}

void pel_table_free(pel_table *table) {
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (pel_table){0};
}

const char *pel_format_time(char text[32], double nanoseconds) {
    static const struct {
        double scale;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    size_t i = 0;
    while (i < 3 && !(fabs(nanoseconds) >= units[i].scale))
        i++;
    double value = nanoseconds / units[i].scale;
    snprintf(text, 32, "%.*f %s", fabs(value) < 10 ? 2 : fabs(value) < 100 ? 1 : 0, value, units[i].unit);
    return text;
}

const char *pel_format_bytes(char text[32], double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t i = 0;
    while (i < 6 && fabs(bytes) >= 1024) {
        bytes /= 1024;
        i++;
    }
    snprintf(text, 32, "%.*f %s", i == 0 || bytes >= 100 ? 0 : 1, bytes, units[i]);
    return text;
}

/* Whether the stream is a terminal that understands a carriage return. */
static bool is_terminal(FILE *file) {
    const char *terminal = getenv("TERM");
    return isatty(fileno(file)) && terminal && strcmp(terminal, "dumb") != 0;
}

void pel_progress(const char *format, ...) {
    if (!is_terminal(stderr))
        return;
    fputs("\r\033[K", stderr);
    if (format) {
        va_list list;
        va_start(list, format);
        vfprintf(stderr, format, list);
        va_end(list);
    }
    fflush(stderr);
}
