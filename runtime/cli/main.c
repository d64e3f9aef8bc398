/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The `pel` program: finds the command in the list of commands.h and runs it. Everything that a command may leave undone at its
 * end is done here once: standard output is flushed and checked, so that `pel info > /dev/full` fails instead of losing its
 * text silently.
 */
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"

#include <errno.h>
#include <pel/version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct pel_command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} pel_command;

static const pel_command commands[] = {
#define PEL_COMMAND_ROW(name, help) {#name, help, pel_cmd_##name},
    PEL_COMMANDS(PEL_COMMAND_ROW)
#undef PEL_COMMAND_ROW
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const pel_command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_overview(FILE *file) {
    fprintf(file,
            "pel %s: runs one data-parallel kernel on all the processors of a machine.\n\n"
            "Usage: pel COMMAND [OPTIONS]\n\nCommands:\n",
            pel_version_string());
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(file, "  %-12s%s\n", commands[i].name, commands[i].help);
    fprintf(file, "  %-12s%s\n\n`pel help COMMAND` tells more about a command.\n", "help", "print this text, or a command's");
}

static int unknown_command(const char *name) {
    const char *names[COMMAND_COUNT + 2];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    names[COMMAND_COUNT] = "help";
    names[COMMAND_COUNT + 1] = NULL;
    const char *nearest = pel_cli_nearest(name, names);
    if (nearest)
        pel_cli_error(NULL, "there is no command '%s'; did you mean 'pel %s'?", name, nearest);
    else
        pel_cli_error(NULL, "there is no command '%s'; 'pel help' lists them", name);
    return PEL_CLI_USAGE;
}

static int run_help(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return PEL_CLI_OK;
    }
    const pel_command *command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    char name[32], option[] = "--help";
    snprintf(name, sizeof name, "%s", command->name);
    char *arguments[] = {name, option, NULL};
    return command->run(2, arguments);
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return PEL_CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return run_help(argc - 1, argv + 1);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("pel %s\n", pel_version_string());
        return PEL_CLI_OK;
    }
    const pel_command *command = find_command(name);
    return command ? command->run(argc - 1, argv + 1) : unknown_command(name);
}

int pel_cmd_version(int argc, char **argv) {
    static const pel_cli_option options[] = {{0, NULL, NULL, NULL}};
    static const pel_cli_usage usage = {"version", "", "Prints the version of pel.", options, NULL};
    const char *value;
    int option = pel_cli_next(&usage, argc, argv, &value);
    if (option == PEL_CLI_HELP)
        return PEL_CLI_OK;
    if (option != PEL_CLI_END || !pel_cli_no_operands(&usage, argc, argv))
        return PEL_CLI_USAGE;
    printf("pel %s\n", pel_version_string());
    return PEL_CLI_OK;
}

int pel_cmd_completion(int argc, char **argv) {
    static const pel_cli_option options[] = {{0, NULL, NULL, NULL}};
    static const pel_cli_usage usage = {
        "completion", "", "Prints a completion script for bash. Use it with: eval \"$(pel completion)\"", options, NULL};
    const char *value;
    int option = pel_cli_next(&usage, argc, argv, &value);
    if (option == PEL_CLI_HELP)
        return PEL_CLI_OK;
    if (option != PEL_CLI_END || !pel_cli_no_operands(&usage, argc, argv))
        return PEL_CLI_USAGE;
    printf(
        "_pel() {\n    local word=\"${COMP_WORDS[COMP_CWORD]}\" words\n    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        words=\"");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("%s ", commands[i].name);
    printf("help --version\"\n    elif [ \"${COMP_WORDS[1]}\" = help ]; then\n        words=\"");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("%s%s", i ? " " : "", commands[i].name);
    printf("\"\n    elif [ \"${word#-}\" != \"$word\" ]; then\n"
           "        words=\"$(\"${COMP_WORDS[0]}\" help \"${COMP_WORDS[1]}\" 2> /dev/null | grep -o -e '--[a-z][a-z-]*')\"\n"
           "    else\n        return\n    fi\n"
           "    while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen -W \"$words\" -- \"$word\")\n}\n"
           "complete -o default -F _pel pel\n");
    return PEL_CLI_OK;
}

/*
 * The helper that tries OpenCL drivers lies beside this program in a build tree and under libexec/ in an installed one. The
 * library knows only the prefix that it was configured for; a tree that was moved is found from here.
 */
static void find_probe(void) {
    static const char *const places[] = {"pel-probe", "../libexec/pel/pel-probe"};
    char own[4000], path[sizeof own + 32];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length <= 0 || getenv("PEL_PROBE"))
        return;
    own[length] = '\0';
    char *slash = strrchr(own, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%.*s/%s", (int)(slash - own), own, places[i]);
        if (access(path, X_OK) == 0) {
            setenv("PEL_PROBE", path, 0);
            return;
        }
    }
}

int main(int argc, char **argv) {
    find_probe();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error like any other, and is reported below */
    signal(SIGXFSZ, SIG_IGN); /* likewise a file-size limit */
    int status = dispatch(argc, argv);
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE) {
        pel_cli_error(NULL, "cannot write to standard output: %s", errno ? strerror(errno) : "an earlier write failed");
        return status ? status : PEL_CLI_FAILED;
    }
    return status;
}
