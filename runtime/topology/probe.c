/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver that crashes or hangs while it is discovered takes the process with it, and no handler of ours may catch that. So a
 * helper program discovers, builds and launches first. If it survives, all drivers are good (one child, 36 ms warm). If not,
 * drivers are added one by one to a growing set, each set tried in a child: the one whose arrival breaks the set is left out.
 * That finds crashing drivers and pairs that do not bear each other (two LLVMs), at one child a driver. Leaving out is possible
 * only because the loader reads its directory at the first OpenCL call of the process: once the host has used OpenCL itself, the
 * answer is advice only.
 *
 * The answer is remembered under a key of everything that may change it: the drivers' files, the linker's cache, the relevant
 * environment, the kernel driver's version. Good news lasts as long as the key; bad news for minutes. A damaged or foreign file
 * is no answer.
 */
#include "topology/probe.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "topology/helper.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int timeout_ms(pel_logger *logger) {
    const char *text = secure_getenv("PEL_PROBE_TIMEOUT_MS");
    if (!text || *text == '\0')
        return PEL_PROBE_TIMEOUT_MS;
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno == 0 && end > text && *end == '\0' && value > 0 && value <= 600000)
        return (int)value;
    pel_log(logger, PEL_LOG_WARNING, "PEL_PROBE_TIMEOUT_MS=%s is no number of milliseconds from 1 to 600000: %d are taken", text,
            PEL_PROBE_TIMEOUT_MS);
    return PEL_PROBE_TIMEOUT_MS;
}

static pel_status no_memory(const pel_allocator *allocator, pel_error **error) {
    return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the answer of pel-probe");
}

/* ---- the key ---- */

static void hash_number(pel_sha256 *sha, uint64_t number) {
    pel_sha256_update(sha, &number, sizeof number);
}

static void hash_file(pel_sha256 *sha, const char *path) {
    struct stat status;
    pel_sha256_text(sha, path);
    if (*path == '\0' || stat(path, &status) != 0)
        return;
    hash_number(sha, (uint64_t)status.st_dev);
    hash_number(sha, (uint64_t)status.st_ino);
    hash_number(sha, (uint64_t)status.st_size);
    hash_number(sha, (uint64_t)status.st_mtim.tv_sec);
    hash_number(sha, (uint64_t)status.st_mtim.tv_nsec);
}

static bool relevant(const char *variable) {
    static const char *const prefixes[] = {"OCL_ICD_",    "OPENCL_", "POCL_",   "RUSTICL_",   "MESA_",
                                           "CUDA_",       "NVIDIA_", "HIP_",    "ROCR_",      "HSA_",
                                           "GPU_",        "ZE_",     "ONEAPI_", "CL_CONFIG_", "LD_LIBRARY_PATH=",
                                           "LD_PRELOAD=", "HOME=",   "PATH=",   "TMPDIR=",    "XDG_CACHE_HOME=",
                                           "PEL_FAKE_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

/* Order in the environment means nothing, so the variables' digests are added up. */
static void hash_environment(pel_sha256 *sha) {
    uint64_t sum[4] = {0};
    for (char **variable = environ; variable && *variable; variable++) {
        if (!relevant(*variable))
            continue;
        uint64_t digest[4];
        pel_sha256 one;
        pel_sha256_init(&one);
        pel_sha256_text(&one, *variable);
        pel_sha256_final(&one, (uint8_t *)digest);
        for (int i = 0; i < 4; i++)
            sum[i] += digest[i];
    }
    pel_sha256_update(sha, sum, sizeof sum);
}

static void hash_contents(pel_sha256 *sha, const char *path) {
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd >= 0)
        close(fd);
    hash_number(sha, (uint64_t)(count + 1));
    if (count > 0)
        pel_sha256_update(sha, text, (size_t)count);
}

static void make_key(const pel_icd_list *drivers, char key[65]) {
    pel_sha256 sha;
    uint8_t digest[32];
    char helper[PATH_MAX];
    struct utsname system;
    pel_sha256_init(&sha);
    pel_sha256_text(&sha, "pel-probe 1");
    hash_file(&sha, pel_helper_path(helper));
    hash_number(&sha, drivers->count);
    for (uint32_t i = 0; i < drivers->count; i++) {
        hash_file(&sha, drivers->icds[i].path);
        pel_sha256_text(&sha, drivers->icds[i].library);
        hash_file(&sha, drivers->icds[i].resolved);
    }
    hash_file(&sha, "/etc/ld.so.cache");
    hash_contents(&sha, "/proc/driver/nvidia/version");
    pel_sha256_text(&sha, uname(&system) == 0 ? system.release : "");
    hash_number(&sha, (uint64_t)geteuid());
    hash_environment(&sha);
    pel_sha256_final(&sha, digest);
    pel_sha256_hex(digest, key);
}

/* ---- findings, and their text form: "driver\tPATH\tREASON", "device\tID\tNAME\tREASON" ---- */

static pel_status add_finding(pel_probe_answer *answer, bool driver, const char *subject, const char *name, const char *reason,
                              pel_error **error) {
    const pel_allocator *allocator = answer->keep.allocator;
    pel_probe_finding *grown = pel_resize(allocator, answer->findings, ((size_t)answer->count + 1) * sizeof *grown);
    if (!grown)
        return no_memory(allocator, error);
    answer->findings = grown;
    grown[answer->count++] = (pel_probe_finding){driver, pel_keep_bytes(&answer->keep, subject, strlen(subject)),
                                                 pel_keep_bytes(&answer->keep, name, strlen(name)),
                                                 pel_keep_bytes(&answer->keep, reason, strlen(reason))};
    return answer->keep.failed ? no_memory(allocator, error) : PEL_OK;
}

/* Cuts a line at its tabs; returns how many fields (at most 4). */
static size_t cut(char *line, char *fields[4]) {
    size_t count = 0;
    while (line && count < 4) {
        fields[count++] = line;
        line = strchr(line, '\t');
        if (line)
            *line++ = '\0';
    }
    return count;
}

/* Reads findings from lines; `text` is changed. */
static pel_status read_findings(pel_probe_answer *answer, char *text, pel_error **error) {
    pel_status status = PEL_OK;
    for (char *line = text; line && *line && !status;) {
        char *next = strchr(line, '\n'), *fields[4];
        if (next)
            *next++ = '\0';
        size_t count = cut(line, fields);
        if (count == 3 && strcmp(fields[0], "driver") == 0)
            status = add_finding(answer, true, fields[1], "", fields[2], error);
        if (count == 4 && strcmp(fields[0], "device") == 0)
            status = add_finding(answer, false, fields[1], fields[2], fields[3], error);
        line = next;
    }
    return status;
}

static void forget_findings(pel_probe_answer *answer) {
    pel_free(answer->keep.allocator, answer->findings);
    answer->findings = NULL;
    answer->count = 0;
}

/* ---- the cache ---- */

static bool cache_path(const char *directory, const char *key, char path[PATH_MAX]) {
    int length = snprintf(path, PATH_MAX, "%s/probe-%.16s", directory, key);
    return length > 0 && length < PATH_MAX;
}

/* The file's text without its first and last line, or NULL. It must be ours, not writable by others, complete, and of this key.
 */
static char *load_cached(const pel_allocator *allocator, const char *path, const char *key) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    char *text = NULL, *body = NULL;
    bool ours = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 022) == 0;
    if (ours && status.st_size > 0 && status.st_size < 1 << 20)
        text = pel_alloc_zero(allocator, (size_t)status.st_size + 1, 1);
    ssize_t count = text ? read(fd, text, (size_t)status.st_size) : -1;
    close(fd);
    char first[96];
    int length = snprintf(first, sizeof first, "pel-probe 1 %s\n", key);
    if (count == status.st_size && length > 0 && strncmp(text, first, (size_t)length) == 0 && strlen(text) == (size_t)count &&
        count >= length + 5 && strcmp(text + count - 5, "done\n") == 0) {
        text[count - 5] = '\0';
        body = pel_strdup(allocator, text + length);
        time_t age = time(NULL) - status.st_mtime;
        bool bad_news = body && (strncmp(body, "driver\t", 7) == 0 || strstr(body, "\ndriver\t") != NULL);
        if (bad_news && (age < 0 || age > PEL_PROBE_BAD_NEWS_SECONDS)) {
            pel_free(allocator, body);
            body = NULL;
        }
    }
    pel_free(allocator, text);
    return body;
}

/* Best effort: a full disk or a read-only directory costs 40 ms at the next start, nothing else. */
static void save_cached(const pel_probe_answer *answer, const char *directory, const char *path, const char *key) {
    const pel_allocator *allocator = answer->keep.allocator;
    pel_text text;
    pel_text_init(&text, allocator);
    pel_text_format(&text, "pel-probe 1 %s\n", key);
    for (uint32_t i = 0; i < answer->count; i++) {
        const pel_probe_finding *finding = &answer->findings[i];
        if (finding->driver) {
            pel_text_format(&text, "driver\t%s\t%s\n", finding->subject, finding->reason);
        } else {
            pel_text_format(&text, "device\t%s\t%s\t%s\n", finding->subject, finding->name, finding->reason);
        }
    }
    pel_text_append(&text, "done\n");
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s/.probe-XXXXXX", directory);
    int fd = !text.failed && length > 0 && (size_t)length < sizeof temporary ? mkostemp(temporary, O_CLOEXEC) : -1;
    if (fd >= 0) {
        bool written = write(fd, text.data, text.length) == (ssize_t)text.length;
        written = close(fd) == 0 && written;
        if (!written || rename(temporary, path) != 0)
            (void)unlink(temporary);
    }
    pel_text_free(&text);
}

/* ---- asking ---- */

/* Writes one .icd file for a driver; the number keeps the loader's order. */
static bool write_icd(const char *directory, uint32_t number, const pel_icd *icd) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%03u.icd", directory, (unsigned)number);
    if (length < 0 || (size_t)length >= sizeof path)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    size_t bytes = strlen(icd->library);
    bool written = write(fd, icd->library, bytes) == (ssize_t)bytes && write(fd, "\n", 1) == 1;
    return close(fd) == 0 && written;
}

static char *new_directory(const pel_allocator *allocator) {
    const char *base = secure_getenv("TMPDIR");
    if (!base || *base != '/')
        base = "/tmp";
    pel_text text;
    pel_text_init(&text, allocator);
    pel_text_format(&text, "%s/pel-drivers-XXXXXX", base);
    char *path = pel_text_take(&text);
    if (path && !mkdtemp(path)) {
        pel_free(allocator, path);
        path = NULL;
    }
    return path;
}

void pel_probe_remove_directory(const pel_allocator *allocator, char *directory) {
    if (!directory)
        return;
    DIR *open_directory = opendir(directory);
    for (struct dirent *entry; open_directory && (entry = readdir(open_directory));) {
        (void)unlinkat(dirfd(open_directory), entry->d_name, 0);
    }
    if (open_directory)
        closedir(open_directory);
    (void)rmdir(directory);
    pel_free(allocator, directory);
}

/* Adds driver after driver to a set and keeps those with which the child survives. */
static pel_status try_one_by_one(const pel_icd_list *drivers, int timeout, pel_logger *logger, pel_probe_answer *answer,
                                 pel_error **error) {
    const pel_allocator *allocator = answer->keep.allocator;
    char *directory = new_directory(allocator);
    if (!directory) {
        pel_log(logger, PEL_LOG_WARNING, "an OpenCL driver fails, but no temporary directory can be made to find out which one");
        return PEL_OK;
    }
    pel_status status = PEL_OK;
    pel_text last; /* what the child said of the devices of the latest set that works */
    pel_text_init(&last, allocator);
    for (uint32_t i = 0; i < drivers->count && !status; i++) {
        const pel_icd *icd = &drivers->icds[i];
        pel_helper_run run;
        if (!write_icd(directory, i, icd))
            continue;
        status = pel_helper(allocator, NULL, NULL, directory, timeout, &run, error);
        if (status)
            break;
        if (run.end == PEL_HELPER_DONE) {
            pel_text_free(&last);
            last = run.output;
            continue;
        }
        pel_text reason;
        pel_text_init(&reason, allocator);
        pel_helper_describe(&run, &reason);
        status = reason.failed ? no_memory(allocator, error) : add_finding(answer, true, icd->path, "", reason.data, error);
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%03u.icd", directory, (unsigned)i) > 0)
            (void)unlink(path);
        pel_text_free(&reason);
        pel_text_free(&run.output);
    }
    if (!status && last.data)
        status = read_findings(answer, last.data, error);
    pel_text_free(&last);
    pel_probe_remove_directory(allocator, directory);
    return status;
}

static pel_status ask_helper(const pel_icd_list *drivers, int timeout, pel_logger *logger, pel_probe_answer *answer,
                             pel_error **error) {
    pel_helper_run run;
    pel_status status = pel_helper(answer->keep.allocator, NULL, NULL, NULL, timeout, &run, error);
    if (status)
        return status;
    answer->asked = run.end != PEL_HELPER_MISSING;
    if (run.end == PEL_HELPER_MISSING) {
        char helper[PATH_MAX];
        pel_log(logger, PEL_LOG_WARNING, "OpenCL drivers cannot be tried beforehand: %s cannot be run", pel_helper_path(helper));
    } else if (run.end == PEL_HELPER_DONE) {
        pel_log(logger, PEL_LOG_DEBUG, "pel-probe tried the OpenCL drivers in %lld us", (long long)(run.took_ns / 1000));
        status = run.output.data ? read_findings(answer, run.output.data, error) : PEL_OK;
    } else {
        status = try_one_by_one(drivers, timeout, logger, answer, error);
    }
    pel_text_free(&run.output);
    return status;
}

pel_status pel_probe_ask(const pel_icd_list *drivers, const pel_allocator *allocator, pel_logger *logger,
                         const char *cache_directory, bool refresh, pel_probe_answer *answer, pel_error **error) {
    memset(answer, 0, sizeof *answer);
    pel_keep_init(&answer->keep, allocator);
    if (drivers->count == 0)
        return PEL_OK;
    char key[65], path[PATH_MAX];
    make_key(drivers, key);
    const int timeout = timeout_ms(logger); /* before a remembered answer makes it idle: a wrong value is told each time */
    bool cached = cache_directory && cache_path(cache_directory, key, path);
    char *body = cached && !refresh ? load_cached(allocator, path, key) : NULL;
    if (body) {
        pel_status status = read_findings(answer, body, error);
        pel_free(allocator, body);
        answer->asked = answer->remembered = true;
        return status;
    }
    pel_status status = ask_helper(drivers, timeout, logger, answer, error);
    if (status) {
        forget_findings(answer);
    } else if (cached && answer->asked) {
        save_cached(answer, cache_directory, path, key);
    }
    return status;
}

void pel_probe_free(pel_probe_answer *answer) {
    forget_findings(answer);
    pel_keep_free(&answer->keep);
}

const char *pel_probe_driver_reason(const pel_probe_answer *answer, const char *icd_path) {
    for (uint32_t i = 0; i < answer->count; i++) {
        if (answer->findings[i].driver && strcmp(answer->findings[i].subject, icd_path) == 0)
            return answer->findings[i].reason;
    }
    return NULL;
}

pel_status pel_probe_make_directory(const pel_icd_list *drivers, const pel_probe_answer *answer, const pel_allocator *allocator,
                                    char **directory, pel_error **error) {
    bool any = false;
    *directory = NULL;
    for (uint32_t i = 0; i < drivers->count; i++)
        any = any || pel_probe_driver_reason(answer, drivers->icds[i].path);
    if (!any)
        return PEL_OK;
    char *made = new_directory(allocator);
    bool well = made != NULL;
    for (uint32_t i = 0; i < drivers->count && well; i++) {
        if (!pel_probe_driver_reason(answer, drivers->icds[i].path))
            well = write_icd(made, i, &drivers->icds[i]);
    }
    if (well) {
        *directory = made;
        return PEL_OK;
    }
    int code = errno;
    pel_probe_remove_directory(allocator, made);
    return pel_fail(error, allocator, PEL_IO,
                    &(pel_story){.call = "mkdtemp", .code = code, .advice = "make TMPDIR or /tmp writable"},
                    "cannot make a directory that leaves out a broken OpenCL driver");
}
