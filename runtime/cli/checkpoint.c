/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel checkpoint inspect|verify PATH`: what lies in the generations of a checkpoint, and whether every byte of it is good. PATH
 * is what the program gave to pel_checkpoint_open, or one of the files. Needs no device and no runtime, so that it works on a
 * login node.
 */
#include "base/alloc.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "resilience/checkpoint_file.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const pel_cli_option options[] = {{0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "checkpoint", "inspect|verify PATH",
    "inspect shows the generations of a checkpoint: what they hold and when they were written. verify also reads every byte "
    "and checks it.",
    options, "The exit status of verify is 0 when at least one generation is whole, and 1 when none is."};

static const pel_checkpoint_env env = {&pel_allocator_default, &pel_file_io_system};

static pel_status count_record(void *user, const pel_checkpoint_record *record, const void *data) {
    uint64_t *bytes = user;
    (void)data;
    *bytes += record->bytes;
    return PEL_OK;
}

static void print_header(const pel_checkpoint_header *header) {
    char bytes[32], when[64] = "?";
    time_t seconds = (time_t)header->saved_at;
    struct tm calendar;
    if (gmtime_r(&seconds, &calendar) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &calendar);
    }
    printf("  generation %llu, step %llu, written %s, %u items, %s of data%s\n", (unsigned long long)header->generation,
           (unsigned long long)header->step, when, (unsigned)header->part_count,
           pel_format_bytes(bytes, (double)header->total_bytes), header->foreign ? ", in the other byte order" : "");
    for (uint32_t i = 0; i < header->part_count; i++) {
        printf("  %14llu bytes  ", (unsigned long long)header->parts[i].bytes);
        for (const char *at = header->parts[i].name; *at; at++) { /* a file may hold what a terminal would obey */
            putchar((unsigned char)*at < 0x20 || *at == 0x7f ? '?' : *at);
        }
        putchar('\n');
    }
}

static void print_journal(const char *path, const pel_checkpoint_header *header) {
    char journal[PATH_MAX], text[32];
    uint64_t bytes = 0, records = 0, end = 0;
    pel_error *error = NULL;
    if ((size_t)snprintf(journal, sizeof journal, "%s.log", path) >= sizeof journal) {
        return;
    }
    if (pel_checkpoint_journal_read(&env, journal, header->generation, header, count_record, &bytes, &records, &end, NULL,
                                    &error) != PEL_OK) {
        printf("  %s\n", pel_error_message(error));
    } else if (records > 0) {
        printf("  journal: %llu finished chunks, %s\n", (unsigned long long)records, pel_format_bytes(text, (double)bytes));
    }
    pel_error_destroy(error);
}

/* 1: whole (or, without verify, readable); 0: damaged; -1: not there. */
static int look_at(const char *path, bool verify) {
    pel_checkpoint_header header;
    pel_error *error = NULL;
    int file;
    pel_status status = pel_checkpoint_load_header(&env, path, &header, &file, &error);
    if (status == PEL_NOT_FOUND) {
        pel_error_destroy(error);
        return -1;
    }
    printf("%s\n", path);
    if (status == PEL_OK) {
        print_header(&header);
        if (verify) {
            status = pel_checkpoint_load_parts(&env, path, &header, file, &error);
            if (status == PEL_OK) {
                printf("  whole: %u blocks%s\n", (unsigned)header.blocks, header.compressed ? ", compressed" : "");
            }
        }
        print_journal(path, &header);
        (void)close(file);
        pel_checkpoint_free_header(&env, &header);
    }
    if (status != PEL_OK) {
        printf("  DAMAGED: %s\n", pel_error_message(error));
    }
    pel_error_destroy(error);
    return status == PEL_OK;
}

int pel_cmd_checkpoint(int argc, char **argv) {
    const char *value;
    int option = pel_cli_next(&usage, argc, argv, &value);
    if (option != PEL_CLI_END) {
        return option == PEL_CLI_HELP ? PEL_CLI_OK : PEL_CLI_USAGE;
    }
    char **operands = argv + pel_cli_operands();
    int count = argc - pel_cli_operands();
    bool verify = count > 0 && strcmp(operands[0], "verify") == 0;
    if (count != 2 || (!verify && strcmp(operands[0], "inspect") != 0)) {
        pel_cli_error("checkpoint", "say 'inspect PATH' or 'verify PATH'");
        return PEL_CLI_USAGE;
    }
    char path[PATH_MAX];
    int good = 0, seen = 0;
    static const char *const suffixes[] = {"", ".0", ".1"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if ((size_t)snprintf(path, sizeof path, "%s%s", operands[1], suffixes[i]) >= sizeof path) {
            pel_cli_error("checkpoint", "the path is too long");
            return PEL_CLI_USAGE;
        }
        int answer = look_at(path, verify);
        seen += answer >= 0;
        good += answer > 0;
    }
    if (seen == 0) {
        pel_cli_error("checkpoint", "there is no checkpoint %s", operands[1]);
    }
    return good > 0 ? PEL_CLI_OK : PEL_CLI_FAILED;
}
