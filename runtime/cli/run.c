/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of `pel run`; see run.h for the steps. */
#include "cli/run.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOURCE_LIMIT = 64 << 20 };

enum {
    OPT_ENTRY,
    OPT_RANGE,
    OPT_LOCAL,
    OPT_OFFSET,
    OPT_ARG,
    OPT_DEVICES,
    OPT_SHARES,
    OPT_DEFINE,
    OPT_INCLUDE,
    OPT_OPTIONS,
    OPT_REPEAT,
    OPT_PLAN,
    OPT_LIST,
    OPT_JSON,
    OPT_QUIET
};

static const pel_cli_option options[] = {
    {'e', "entry", "NAME", "the kernel function; not needed when the file has only one"},
    {'r', "range", "N[xN[xN]]", "work-items in each dimension, fastest first (an image: WIDTHxHEIGHT)"},
    {'l', "local", "N[xN[xN]]", "work-group size; chosen by pel when not given"},
    {0, "offset", "N[xN[xN]]", "global offset"},
    {'a', "arg", "NAME=VALUE", "an argument, matched by the parameter's name; see below"},
    {'d', "devices", "LIST", "device list, as in PEL_DEVICES; 'pel info' shows the names"},
    {0, "shares", "LIST", "fixed shares instead of the planner's: opencl:0=0.3,opencl:1=0.7"},
    {'D', "define", "NAME[=V]", "a macro for the compiler"},
    {'I', "include", "DIR", "a directory for #include; the file's own is always searched"},
    {0, "options", "TEXT", "more options for the OpenCL compiler"},
    {0, "repeat", "N", "launch N times and print the median; the result is that of one launch"},
    {0, "plan", NULL, "print what would be done, and stop"},
    {0, "list", NULL, "print the kernels of the file and their parameters, and stop"},
    {0, "json", "FILE", "write plan and timings as JSON; '-' is standard output"},
    {'q', "quiet", NULL, "print nothing but errors"},
    {0, NULL, NULL, NULL},
};

static const char words_help[] =
    "Arguments:  --arg NAME=VALUE[:WORD]...\n"
    "  A number by value: r=2, gain=0.5, origin=1,2,3,4. A pointer: a file (.npy, .png,\n"
    "  else raw binary), or 'zeros', or 'null'.\n"
    "  Local memory: tmp=local:count=ELEMENTS or tmp=local:bytes=N.\n"
    "  read | write | rw         the file is read | written | read, and the result goes to save=FILE\n"
    "  elementwise[=NUM/DEN]     item i touches its own element (NUM elements for every DEN items)\n"
    "  block                     a row (2-D) or slab (3-D) of items touches the same row or slab of the array, and\n"
    "    :halo=N or halo=A,B     reads N more of them on both sides (A before, B after)\n"
    "    :pitch=BYTES or NAME    bytes of a row, or the argument that holds its elements\n"
    "  whole                     every item may touch everything\n"
    "  pergroup[=N][:op=OP]      work-group g writes elements [g*N, g*N+N); with OP (sum min max and or xor) they are\n"
    "                            folded into N\n"
    "  reduce=OP                 all items accumulate into one array with atomics\n"
    "  shape=N[xN[xN]]  like=NAME  type=TYPE  format=npy|png|raw    of the array; else from file, range and kernel\n"
    "  channels=N  bits=8|16     of images\n"
    "  A ':' in a file name is written '\\:'. Without a word about access a const pointer is read as a\n"
    "  whole, and a kernel that may write through an undeclared pointer stays on one device.\n\n"
    "Example:\n"
    "  pel run blur.cl --range 1920x1080 --arg in=photo.png:read:block:halo=2 --arg out=blurred.png:write:block --arg r=2";

static const pel_cli_usage usage = {
    "run", "FILE.cl --range N[xN[xN]] [--arg NAME=VALUE[:WORD]...] [options]",
    "Runs a kernel of an OpenCL C file on data from files, on all devices that help, and writes the results to files.", options,
    words_help};

typedef struct request {
    pel_run run;
    pel_signatures signatures;
    const char *entry, *json;
    bool list;
} request;

static bool append_text(const char ***list, uint32_t *count, const char *text) {
    const char **longer = realloc(*list, (*count + 1u) * sizeof *longer);
    if (!longer) {
        pel_cli_error("run", "out of memory");
        return false;
    }
    *list = longer;
    longer[(*count)++] = text;
    return true;
}

static bool add_argument(pel_run *run, const char *text) {
    char message[PEL_MESSAGE_BYTES];
    pel_run_argument *longer = realloc(run->arguments, (run->argument_count + 1u) * sizeof *longer);
    if (!longer) {
        pel_cli_error("run", "out of memory");
        return false;
    }
    run->arguments = longer;
    if (!pel_run_read_argument(text, &longer[run->argument_count], message)) {
        pel_cli_error("run", "--arg: %s", message);
        return false;
    }
    run->argument_count++;
    return true;
}

static bool add_shares(pel_run *run, const char *text) {
    for (const char *c = text; *c;) {
        size_t length = strcspn(c, ",");
        char part[96];
        snprintf(part, sizeof part, "%.*s", (int)length, c);
        char *equals = strrchr(part, '=');
        pel_run_share *longer = realloc(run->shares, (run->share_count + 1u) * sizeof *longer);
        if (!longer || !equals || equals == part || (size_t)(equals - part) >= sizeof longer->device || length >= sizeof part) {
            pel_cli_error("run", "--shares: '%s' is not of the form DEVICE=NUMBER", part);
            run->shares = longer ? longer : run->shares;
            return false;
        }
        run->shares = longer;
        *equals = '\0';
        pel_run_share *share = &longer[run->share_count++];
        memcpy(share->device, part, (size_t)(equals - part) + 1);
        if (!pel_cli_parse_real("run", "--shares", equals + 1, 0, 1e12, &share->weight))
            return false;
        c += length + (c[length] == ',');
    }
    double sum = 0;
    for (uint32_t i = 0; i < run->share_count; i++)
        sum += run->shares[i].weight;
    if (!(sum > 0))
        pel_cli_error("run", "--shares: the shares add up to nothing");
    return sum > 0;
}

static bool take_option(request *r, int option, const char *value, uint32_t *local_dims, uint32_t *offset_dims) {
    pel_run *run = &r->run;
    switch (option) {
    case OPT_ENTRY:
        r->entry = value;
        return true;
    case OPT_RANGE:
        return pel_cli_parse_extent("run", "--range", value, 1, run->range, &run->dims);
    case OPT_LOCAL:
        return pel_cli_parse_extent("run", "--local", value, 1, run->local, local_dims);
    case OPT_OFFSET:
        return pel_cli_parse_extent("run", "--offset", value, 0, run->offset, offset_dims);
    case OPT_ARG:
        return add_argument(run, value);
    case OPT_DEVICES:
        run->devices = value;
        return true;
    case OPT_SHARES:
        return add_shares(run, value);
    case OPT_DEFINE:
        return append_text(&run->defines, &run->define_count, value);
    case OPT_INCLUDE:
        return append_text(&run->includes, &run->include_count, value);
    case OPT_OPTIONS:
        run->options = value;
        return true;
    case OPT_REPEAT:
        return pel_cli_parse_u64("run", "--repeat", value, 1, 1000000, &run->repeat);
    case OPT_PLAN:
        run->dry = true;
        return true;
    case OPT_LIST:
        r->list = true;
        return true;
    case OPT_JSON:
        r->json = value;
        return true;
    default:
        run->quiet = true;
        return true;
    }
}

/* Everything that the options alone can tell. */
static bool check_extents(const request *r, uint32_t local_dims, uint32_t offset_dims) {
    const pel_run *run = &r->run;
    if (r->list)
        return true;
    if (run->dims == 0) {
        pel_cli_error("run", "--range is missing: how many work-items? For an image: --range WIDTHxHEIGHT");
        return false;
    }
    if ((local_dims && local_dims != run->dims) || (offset_dims && offset_dims != run->dims)) {
        pel_cli_error("run", "%s has %u dimensions, --range has %u",
                      local_dims && local_dims != run->dims ? "--local" : "--offset",
                      local_dims && local_dims != run->dims ? local_dims : offset_dims, run->dims);
        return false;
    }
    for (uint32_t i = 0; i < run->dims; i++)
        if (run->local[i] && run->range[i] % run->local[i] != 0) {
            pel_cli_error("run", "--local %llu does not divide --range %llu in dimension %u", (unsigned long long)run->local[i],
                          (unsigned long long)run->range[i], i);
            return false;
        }
    return true;
}

/* PEL_CLI_OK to go on, PEL_CLI_USAGE after an error; *done when help was printed. */
static int read_command_line(request *r, int argc, char **argv, bool *done) {
    const char *value;
    uint32_t local_dims = 0, offset_dims = 0;
    r->run.repeat = 1;
    for (int option; (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        *done = option == PEL_CLI_HELP;
        if (*done)
            return PEL_CLI_OK;
        if (option == PEL_CLI_WRONG || !take_option(r, option, value, &local_dims, &offset_dims))
            return PEL_CLI_USAGE;
    }
    int operand = pel_cli_operands();
    if (argc - operand != 1) {
        pel_cli_error(
            "run", operand == argc ? "which file? pel run FILE.cl ...; see 'pel help run'" : "more than one file: '%s' and '%s'",
            argv[operand], operand < argc ? argv[operand + 1] : "");
        return PEL_CLI_USAGE;
    }
    r->run.path = argv[operand];
    if (r->json && strcmp(r->json, "-") == 0)
        r->run.quiet = true;
    return check_extents(r, local_dims, offset_dims) ? PEL_CLI_OK : PEL_CLI_USAGE;
}

static bool read_source(pel_run *run) {
    FILE *file = fopen(run->path, "rbe");
    struct stat facts;
    if (!file || fstat(fileno(file), &facts) != 0 || S_ISDIR(facts.st_mode)) {
        pel_cli_error("run", "cannot read %s: %s", run->path, file ? "it is a directory" : strerror(errno));
        if (file)
            fclose(file);
        return false;
    }
    size_t room = S_ISREG(facts.st_mode) && facts.st_size < SOURCE_LIMIT ? (size_t)facts.st_size + 1 : SOURCE_LIMIT;
    run->source = malloc(room + 1);
    run->source_bytes = run->source ? fread(run->source, 1, room, file) : 0;
    bool failed = ferror(file) || !run->source;
    int code = errno;
    fclose(file);
    if (failed)
        pel_cli_error("run", "cannot read %s: %s", run->path, run->source ? strerror(code) : "out of memory");
    else if (run->source_bytes >= SOURCE_LIMIT)
        pel_cli_error("run", "%s is longer than %d MiB: not an OpenCL C source", run->path, SOURCE_LIMIT >> 20);
    else if (memchr(run->source, '\0', run->source_bytes))
        pel_cli_error("run", "%s holds zero bytes: not an OpenCL C source", run->path);
    else if (run->source_bytes == 0)
        pel_cli_error("run", "%s is empty", run->path);
    else {
        run->source[run->source_bytes] = '\0';
        return true;
    }
    return false;
}

/* The directory of the file comes first among the include paths, as every C programmer expects. The text lives in `room`. */
static bool add_own_directory(pel_run *run, char *room) {
    const char *slash = strrchr(run->path, '/');
    if (!slash)
        strcpy(room, ".");
    else
        snprintf(room, strlen(run->path) + 1, "%.*s", (int)(slash == run->path ? 1 : slash - run->path), run->path);
    if (!append_text(&run->includes, &run->include_count, room))
        return false;
    memmove(run->includes + 1, run->includes, (run->include_count - 1) * sizeof *run->includes);
    run->includes[0] = room;
    return true;
}

static void print_kernels(const pel_signatures *signatures) {
    for (uint32_t i = 0; i < signatures->count; i++) {
        const pel_signature *kernel = &signatures->kernels[i];
        printf("%s(", kernel->name);
        for (uint32_t j = 0; j < kernel->count; j++)
            printf("%s%s", j ? ", " : "", kernel->parameters[j].text);
        printf(")\n");
    }
}

static bool choose_kernel(request *r) {
    char names[512] = "";
    for (uint32_t i = 0, used = 0; i < r->signatures.count && used < sizeof names; i++)
        used += (uint32_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", r->signatures.kernels[i].name);
    if (r->signatures.count == 0) {
        pel_cli_error(
            "run",
            "%s has no kernel function that pel can find in its text (kernels made by macros or in #include files are not seen)",
            r->run.path);
        return false;
    }
    if (!r->entry && r->signatures.count > 1) {
        pel_cli_error("run", "%s has several kernels; choose one with --entry: %s", r->run.path, names);
        return false;
    }
    r->run.kernel = r->entry ? pel_signatures_find(&r->signatures, r->entry) : &r->signatures.kernels[0];
    if (!r->run.kernel) {
        pel_cli_error("run", "%s has no kernel '%s'; it has: %s", r->run.path, r->entry, names);
        return false;
    }
    if (r->run.kernel->ambiguous) {
        pel_cli_error(
            "run",
            "%s defines kernel %s several times, differently, under conditions that pel cannot evaluate; use -D or cut it down",
            r->run.path, r->run.kernel->name);
        return false;
    }
    return true;
}

/* Everything that touches a device, and what follows. */
static int compute(request *r) {
    pel_run *run = &r->run;
    if (!pel_run_execute(run))
        return PEL_CLI_FAILED;
    if (!run->quiet)
        pel_run_print(run);
    if (!run->dry && !pel_run_save(run))
        return PEL_CLI_FAILED;
    return !r->json || pel_run_write_json(run, r->json) ? PEL_CLI_OK : PEL_CLI_FAILED;
}

/*
 * A CPU driver runs the kernel in the process that launches it: one index too far, and the process is gone. So the work happens
 * in a child, forked before OpenCL is touched; its end by a signal becomes a sentence, and no file has been written by then.
 * Without a child (no memory) it runs here.
 */
static int compute_in_child(request *r) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (child <= 0)
        return compute(r);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    pel_cli_error("run",
                  "kernel %s ended the process by signal %d (%s). Most often it touches memory outside of its arrays: "
                  "do range and shapes fit? "
                  "Nothing was written",
                  r->run.kernel->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    return PEL_CLI_FAILED;
}

static int perform(request *r) {
    char message[PEL_MESSAGE_BYTES];
    pel_run *run = &r->run;
    if (!read_source(run))
        return PEL_CLI_FAILED;
    if (!pel_signatures_read(run->source, run->source_bytes, run->defines, run->define_count, &r->signatures, message)) {
        pel_cli_error("run", "%s %s", run->path, message);
        return PEL_CLI_FAILED;
    }
    if (r->list) {
        print_kernels(&r->signatures);
        return PEL_CLI_OK;
    }
    if (!choose_kernel(r))
        return PEL_CLI_FAILED;
    if (!pel_run_resolve(run, message)) {
        pel_cli_error("run", "%s", message);
        return PEL_CLI_FAILED;
    }
    if ((!run->dry && !pel_run_probe_outputs(run)) || (r->json && strcmp(r->json, "-") != 0 && !pel_output_probe("run", r->json)))
        return PEL_CLI_FAILED;
    return compute_in_child(r);
}

static void release(request *r) {
    pel_run *run = &r->run;
    for (uint32_t i = 0; i < run->argument_count; i++)
        pel_run_argument_free(&run->arguments[i]);
    for (uint32_t i = 0; i < run->device_count; i++) {
        free((void *)(uintptr_t)run->devices_used[i].id);
        free((void *)(uintptr_t)run->devices_used[i].name);
    }
    pel_signatures_free(&r->signatures);
    pel_plan_destroy(run->plan);
    free(run->arguments);
    free(run->source);
    free(run->shares);
    free(run->defines);
    free(run->includes);
    free(run->times_ns);
}

int pel_cmd_run(int argc, char **argv) {
    request r = {0};
    bool done = false;
    int status = read_command_line(&r, argc, argv, &done);
    char *directory = NULL;
    if (status == PEL_CLI_OK && !done) {
        directory = malloc(strlen(r.run.path) + 2);
        status = directory && add_own_directory(&r.run, directory) ? perform(&r) : PEL_CLI_FAILED;
    }
    release(&r);
    free(directory);
    return status;
}
