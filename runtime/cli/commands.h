/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of `pel`, in one list. A new command is one line here and one function `int pel_cmd_NAME(int argc, char **argv)`
 * in a file of its own: the dispatcher, `pel help`, the suggestion for a misspelt name and the shell completion come from the
 * list, and a test holds the man page to it. argv[0] is the command's name; options follow. The result is the exit status of
 * the program: one of pel_cli_status, or what the command documents besides. A command prints results on stdout, everything
 * else on stderr, and answers `--help` itself (see options.h). Rejected: registering commands at start-up, which needs
 * constructors and hides what there is.
 */
#ifndef PEL_CLI_COMMANDS_H
#define PEL_CLI_COMMANDS_H

/* X(name, one line of help). Lines are in the order of `pel help`. */
#define PEL_COMMANDS(X)                                             \
    X(info, "show the processors of this machine")                  \
    X(doctor, "say why a device is not there, and what to do")      \
    X(run, "run an OpenCL C file on data from files")               \
    X(bench, "measure and verify kernels on this machine")          \
    X(sim, "run a workload on a machine that does not exist")       \
    X(explain, "say why a kernel is divided as it is")              \
    X(history, "show and care for what pel has learned")            \
    X(checkpoint, "show or check the files of a checkpoint")        \
    X(version, "print the version")                                 \
    X(completion, "print a completion script for bash")

typedef enum pel_cli_status {
    PEL_CLI_OK = 0,
    PEL_CLI_FAILED = 1, /* the work failed: no device, a file cannot be read, a result is wrong */
    PEL_CLI_USAGE = 2   /* the command line is wrong */
} pel_cli_status;

#define PEL_COMMAND_PROTOTYPE(name, help) int pel_cmd_##name(int argc, char **argv);
PEL_COMMANDS(PEL_COMMAND_PROTOTYPE)
#undef PEL_COMMAND_PROTOTYPE

#endif
