/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What starting costs: each sample is a fresh process, because drivers keep what they did. The program runs itself with --sample
 * KIND, which prints nanoseconds; kinds are interleaved. Both caches, pel's and PoCL's, are folders of this run, so that "after
 * the first ever run" is just that.
 */
#include "harness.h"
#include "raw_startup.h"
#include <errno.h>
#include <ftw.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { SAMPLES = 31, QUICK_SAMPLES = 5, ITEMS = 65536 };

typedef enum kind { HWLOC, PEL_HOST, PLATFORMS, PEL_OPENCL, PEL_PROBED, RAW_KERNEL, PEL_KERNEL_KIND, RAW_SAVE, KINDS } kind;
static const char *const kind_names[KINDS] = {"hwloc",      "pel-host",   "platforms",  "pel-opencl",
                                              "pel-probed", "raw-kernel", "pel-kernel", "raw-save"};

/* ---- inside a sample ---- */

static pel_runtime *timed_runtime(const char *devices, uint32_t flags, double *ns) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.flags = flags;
    const double begin = pel_bench_now();
    const pel_status status = pel_runtime_create(&desc, &runtime, &error);
    *ns = pel_bench_now() - begin;
    if (status != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    return runtime;
}

/* Time until the kernel exists, and of its first launch; runtime and context are there already, as the context is in the raw
 * contestant. */
static bool pel_kernel_sample(double *ready_ns, double *launch_ns) {
    double ignored;
    pel_runtime *runtime = timed_runtime("opencl:0", 0, &ignored);
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_queue *queue = NULL;
    pel_case_binding binding;
    pel_case c;
    if (!runtime || pel_case_setup(pel_catalogue_find("triad"), ITEMS, 1, &c) != PEL_OK) {
        return false;
    }
    bool fine = pel_queue_create(runtime, NULL, &queue, NULL) == PEL_OK && pel_case_bind(runtime, &c, &binding) == PEL_OK &&
                pel_raw_touch_context(runtime);
    const double begin = pel_bench_now();
    fine = fine && pel_catalogue_create(runtime, c.kernel, false, &program, &kernel, NULL) == PEL_OK;
    const double ready = pel_bench_now();
    fine = fine && pel_launch(queue, kernel, &binding.launch, binding.args, c.arg_count, NULL) == PEL_OK &&
           pel_queue_finish(queue) == PEL_OK;
    *launch_ns = pel_bench_now() - ready;
    *ready_ns = ready - begin;
    pel_case_unbind(&binding);
    (void)pel_kernel_destroy(kernel);
    (void)pel_program_destroy(program);
    (void)pel_queue_destroy(queue);
    (void)pel_runtime_destroy(runtime);
    pel_case_teardown(&c);
    return fine;
}

static int take_sample(const char *name, const char *binary) {
    double first = -1.0, second = 0.0;
    bool fine = true;
    kind which = HWLOC;
    while (which < KINDS && strcmp(kind_names[which], name) != 0) {
        which++;
    }
    switch (which) {
    case HWLOC:
        first = pel_raw_hwloc_load();
        break;
    case PEL_HOST:
        fine = pel_runtime_destroy(timed_runtime("host", 0, &first)) == PEL_OK;
        break;
    case PLATFORMS:
        first = pel_raw_first_platform_call();
        break;
    case PEL_OPENCL:
    case PEL_PROBED:
        fine = pel_runtime_destroy(timed_runtime(NULL, which == PEL_PROBED ? PEL_RUNTIME_PROBE : 0, &first)) == PEL_OK;
        break;
    case RAW_KERNEL:
        fine = pel_raw_kernel_from_binary(binary, &first, &second);
        break;
    case PEL_KERNEL_KIND:
        fine = pel_kernel_sample(&first, &second);
        break;
    case RAW_SAVE:
        fine = pel_raw_save_binary(binary);
        first = 0.0;
        break;
    case KINDS:
        fine = false;
        break;
    }
    printf("%.0f %.0f\n", first, second);
    return fine && first >= 0.0 ? 0 : 1;
}

/* ---- the measuring program ---- */

/* Runs one sample in a fresh process; false when it failed. */
static bool sample(kind which, const char *binary, double ns[2]) {
    int ends[2], status = 1;
    pid_t child;
    char text[64] = "";
    posix_spawn_file_actions_t actions;
    char *arguments[] = {(char *)"bench_startup", (char *)"--sample", (char *)kind_names[which], (char *)binary, NULL};
    if (pipe(ends) != 0) {
        return false;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    const int code = posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    const bool read = from && fgets(text, sizeof text, from) != NULL;
    if (from) {
        fclose(from);
    } else {
        close(ends[0]);
    }
    while (code == 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return code == 0 && read && WIFEXITED(status) && WEXITSTATUS(status) == 0 && sscanf(text, "%lf %lf", &ns[0], &ns[1]) == 2;
}

typedef struct series {
    bool works;
    uint32_t count;
    double first[SAMPLES], second[SAMPLES]; /* milliseconds */
} series;

static void measure(const pel_results *results, const char *binary, series all[KINDS]) {
    for (kind k = HWLOC; k < RAW_SAVE; k++) { /* a first run of each fills the caches and tells whether it works here */
        double ns[2];
        all[k].works = sample(k, binary, ns);
    }
    const int rounds = results->quick ? QUICK_SAMPLES : SAMPLES;
    for (int r = 0; r < rounds; r++) {
        for (kind k = HWLOC; k < RAW_SAVE; k++) {
            double ns[2];
            if (all[k].works && sample(k, binary, ns)) {
                all[k].first[all[k].count] = ns[0] * 1e-6;
                all[k].second[all[k].count++] = ns[1] * 1e-6;
            }
        }
    }
}

static void add_difference(pel_results *results, const char *row, const char *subject, const char *base_subject,
                           const series *pel, const series *base) {
    if (!pel_results_wants(results, row)) {
        return;
    }
    if (pel->count == 0 || base->count == 0) {
        pel_results_skip(results, row, "not possible here");
        return;
    }
    const double difference = pel_bench_median(pel->first, pel->count) - pel_bench_median(base->first, base->count);
    pel_results_add(results, row, "pel", "ms", pel->first, pel->count, NULL);
    pel_results_add(results, row, base_subject, "ms", base->first, base->count, NULL);
    pel_results_add_one(results, row, subject, "ms", difference, pel->count, NULL);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static int measure_all(pel_results *results, const char *folder) {
    static series all[KINDS];
    char binary[256], cache[256], pocl[256];
    double ignored[2];
    snprintf(binary, sizeof binary, "%s/triad.bin", folder);
    snprintf(cache, sizeof cache, "%s/pel", folder);
    snprintf(pocl, sizeof pocl, "%s/pocl", folder);
    if (mkdir(cache, 0700) != 0 || mkdir(pocl, 0700) != 0 || setenv("PEL_CACHE_DIR", cache, 1) != 0 ||
        setenv("POCL_CACHE_DIR", pocl, 1) != 0) {
        fprintf(stderr, "bench startup: cannot make folders in %s: %s\n", folder, strerror(errno));
        return 1;
    }
    (void)sample(RAW_SAVE, binary, ignored);
    measure(results, binary, all);
    add_difference(results, "host only", "over hwloc", "hwloc", &all[PEL_HOST], &all[HWLOC]);
    add_difference(results, "with OpenCL", "over clGetPlatformIDs", "clGetPlatformIDs", &all[PEL_OPENCL], &all[PLATFORMS]);
    add_difference(results, "with OpenCL, probed", "over clGetPlatformIDs", "clGetPlatformIDs", &all[PEL_PROBED],
                   &all[PLATFORMS]);
    add_difference(results, "catalogue kernel", "over raw binary", "raw binary", &all[PEL_KERNEL_KIND], &all[RAW_KERNEL]);
    if (pel_results_wants(results, "catalogue kernel") && all[PEL_KERNEL_KIND].count > 0) {
        pel_results_add(results, "catalogue kernel", "pel, first launch", "ms", all[PEL_KERNEL_KIND].second,
                        all[PEL_KERNEL_KIND].count, NULL);
        pel_results_add(results, "catalogue kernel", "raw, first launch", "ms", all[RAW_KERNEL].second, all[RAW_KERNEL].count,
                        NULL);
    }
    return 0;
}

int main(int argc, char **argv) {
    pel_results results;
    char folder[] = "/tmp/pel-startup-XXXXXX";
    if (argc == 4 && strcmp(argv[1], "--sample") == 0) {
        return take_sample(argv[2], argv[3]);
    }
    if (!pel_results_open(&results, "startup", argc, argv)) {
        return 2;
    }
    int status = mkdtemp(folder) ? measure_all(&results, folder) : 1;
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return pel_results_close(&results) || status;
}
