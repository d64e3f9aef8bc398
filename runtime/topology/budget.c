/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The budget of this process: the smallest of affinity, cpuset and quota; memory from MemAvailable and the memory cgroups.
 *
 * hwloc knows affinity and cpusets but no quota, and drivers know neither: PoCL starts a thread per core of the machine in a
 * container that may use one. Limits are hierarchical, so every ancestor up to the mount counts. A fractional quota rounds down
 * (not below one core): a thread too many makes the kernel stop *all* threads for the rest of the 100 ms period, which costs more
 * than the fraction, and makes every time that a model sees worthless. All paths go below a root that tests replace by a recorded
 * tree; rejected: libcgroup (a daemon's library) and asking systemd (not in containers).
 */
#include "topology/budget.h"
#include "topology/core_set.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Reads a file line by line without allocating; the tail of a line that does not fit is dropped. */
typedef struct line_reader {
    int fd;
    size_t begin, end;
    char data[2 * PATH_MAX];
} line_reader;

static bool lines_open(line_reader *lines, const char *root, const char *path) {
    char full[2 * PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return false;
    lines->begin = lines->end = 0;
    do
        lines->fd = open(full, O_RDONLY | O_CLOEXEC);
    while (lines->fd < 0 && errno == EINTR);
    return lines->fd >= 0;
}

static bool lines_fill(line_reader *lines) {
    ssize_t count;
    do
        count = read(lines->fd, lines->data + lines->end, sizeof lines->data - 1 - lines->end);
    while (count < 0 && errno == EINTR);
    if (count <= 0)
        return false;
    lines->end += (size_t)count;
    return true;
}

static char *lines_next(line_reader *lines) {
    memmove(lines->data, lines->data + lines->begin, lines->end - lines->begin);
    lines->end -= lines->begin;
    lines->begin = 0;
    for (size_t scanned = 0;;) {
        char *newline = memchr(lines->data + scanned, '\n', lines->end - scanned);
        if (newline) {
            *newline = '\0';
            lines->begin = (size_t)(newline - lines->data) + 1;
            return lines->data;
        }
        scanned = lines->end;
        if (lines->end == sizeof lines->data - 1)
            scanned = lines->end = sizeof lines->data / 2; /* too long: drop the tail */
        if (!lines_fill(lines)) {
            if (lines->end == 0)
                return NULL;
            lines->data[lines->end] = '\0';
            lines->begin = lines->end;
            return lines->data;
        }
    }
}

static void lines_close(line_reader *lines) {
    close(lines->fd);
}

/* A decimal number; *at moves behind it. "max" and values beyond 64 bits are UINT64_MAX, negative numbers too (v1: -1 is "none").
 */
static bool parse_limit(const char **at, uint64_t *value) {
    while (**at == ' ' || **at == '\t')
        ++*at;
    if (strncmp(*at, "max", 3) == 0) {
        *at += 3;
        *value = UINT64_MAX;
        return true;
    }
    bool negative = **at == '-';
    if (negative)
        ++*at;
    if (**at < '0' || **at > '9')
        return false;
    uint64_t number = 0;
    bool beyond = negative;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(**at - '0'), &number))
            beyond = true;
    }
    *value = beyond ? UINT64_MAX : number;
    return true;
}

/* Where one controller's files for this process are. */
typedef struct control_group {
    char directory[2 * PATH_MAX]; /* below the root */
    size_t mount_length;          /* the part of it that is the mount point: the walk upwards ends there */
} control_group;

/* Whether `name` is an item of a comma-separated list. */
static bool list_has(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ','), at = at ? at + 1 : NULL) {
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0' || at[length] == ' '))
            return true;
    }
    return false;
}

/* The process's path in a hierarchy, from /proc/self/cgroup ("4:memory:/a/b", v2: "0::/a/b"). controller NULL: v2. */
static bool own_path(const char *root, const char *controller, char *path, size_t capacity) {
    line_reader lines;
    if (!lines_open(&lines, root, "/proc/self/cgroup"))
        return false;
    bool found = false;
    for (char *line; !found && (line = lines_next(&lines));) {
        char *controllers = strchr(line, ':');
        char *where = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!where)
            continue;
        *controllers++ = '\0';
        *where++ = '\0';
        bool ours = controller ? list_has(controllers, controller) : *controllers == '\0';
        if (!ours || *where != '/' || strlen(where) >= capacity)
            continue;
        memcpy(path, where, strlen(where) + 1);
        found = true;
    }
    lines_close(&lines);
    return found;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from;) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' &&
            from[3] <= '7') {
            *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* Splits "id parent dev root mount options [tags] - type source superoptions". False: another file system. */
static bool is_cgroup_mount(char *line, const char *controller, char **mount_root, char **mount_point) {
    char *tail = strstr(line, " - ");
    if (!tail)
        return false;
    *tail = '\0';
    tail += 3;
    if (strncmp(tail, controller ? "cgroup " : "cgroup2 ", controller ? 7 : 8) != 0)
        return false;
    if (controller) {
        char *options = strrchr(tail, ' ');
        if (!options || !list_has(options + 1, controller))
            return false;
    }
    char *field = line;
    for (int skip = 0; skip < 3; skip++) {
        field = strchr(field, ' ');
        if (!field)
            return false;
        field++;
    }
    *mount_root = field;
    field = strchr(field, ' ');
    if (!field)
        return false;
    *field++ = '\0';
    *mount_point = field;
    field = strchr(field, ' ');
    if (field)
        *field = '\0';
    unescape(*mount_root);
    unescape(*mount_point);
    return true;
}

static bool find_group(const char *root, const char *controller, control_group *group) {
    char path[PATH_MAX];
    line_reader lines;
    if (!own_path(root, controller, path, sizeof path))
        return false;
    if (!lines_open(&lines, root, "/proc/self/mountinfo"))
        return false;
    bool found = false;
    for (char *line; !found && (line = lines_next(&lines));) {
        char *mount_root, *mount_point;
        if (!is_cgroup_mount(line, controller, &mount_root, &mount_point))
            continue;
        /* Inside a container without a cgroup namespace the path is the host's, and the mount shows the part below mount_root. */
        const char *relative = path;
        size_t length = strlen(mount_root);
        if (strcmp(mount_root, "/") != 0) {
            bool below = strncmp(path, mount_root, length) == 0 && (path[length] == '/' || path[length] == '\0');
            relative = below ? path + length : "";
        }
        if (strncmp(relative, "/..", 3) == 0 || strcmp(relative, "/") == 0)
            relative = "";
        int written = snprintf(group->directory, sizeof group->directory, "%s%s", mount_point, relative);
        if (written < 0 || (size_t)written >= sizeof group->directory)
            continue;
        group->mount_length = strlen(mount_point);
        found = true;
    }
    lines_close(&lines);
    return found;
}

/* Moves to the parent group; false at the mount point. */
static bool group_up(control_group *group) {
    char *slash = strrchr(group->directory, '/');
    if (strlen(group->directory) <= group->mount_length || !slash)
        return false;
    *slash = '\0';
    return true;
}

/* First line of a file of the group. */
static bool group_line(const char *root, const control_group *group, const char *file, char *line, size_t capacity) {
    char path[2 * PATH_MAX + 64];
    line_reader lines;
    (void)snprintf(path, sizeof path, "%s/%s", group->directory, file);
    if (!lines_open(&lines, root, path))
        return false;
    const char *text = lines_next(&lines);
    bool fits = text && strlen(text) < capacity;
    if (fits)
        memcpy(line, text, strlen(text) + 1);
    lines_close(&lines);
    return fits;
}

static bool group_number(const char *root, const control_group *group, const char *file, uint64_t *value) {
    char line[128];
    const char *at = line;
    return group_line(root, group, file, line, sizeof line) && parse_limit(&at, value);
}

/* The value of "key N" in a file; 0 when there is none. */
static uint64_t keyed_number(const char *root, const char *path, const char *key) {
    line_reader lines;
    uint64_t value = 0;
    if (!lines_open(&lines, root, path))
        return 0;
    size_t length = strlen(key);
    for (char *line; (line = lines_next(&lines));) {
        const char *at = line + length;
        if (strncmp(line, key, length) == 0 && (*at == ' ' || *at == '\t')) {
            if (!parse_limit(&at, &value))
                value = 0;
            break;
        }
    }
    lines_close(&lines);
    return value;
}

static void narrow_quota(pel_budget *budget, uint64_t quota, uint64_t period) {
    if (quota == UINT64_MAX || period == 0 || period == UINT64_MAX)
        return;
    unsigned __int128 millicores = (unsigned __int128)quota * 1000 / period;
    if (millicores < budget->quota_millicores)
        budget->quota_millicores = (uint64_t)millicores;
}

static void narrow_cores(pel_budget *budget, const char *line) {
    pel_core_set allowed;
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\n'))
        length--;
    if (length == 0 || !pel_core_set_parse(line, length, ',', &allowed))
        return;
    if (pel_core_set_overlaps(&budget->cores, &allowed))
        pel_core_set_intersect(&budget->cores, &allowed);
}

/* limit - use counts against us, but clean page cache (inactive_file) is given back on demand. */
static void narrow_memory(pel_budget *budget, const char *root, const control_group *group, uint64_t limit, const char *use_file,
                          const char *cache_key) {
    uint64_t used = 0;
    if (limit == UINT64_MAX || limit >= UINT64_C(1) << 62)
        return; /* v1 writes "none" as a number near 2^63 */
    if (limit < budget->memory_limit)
        budget->memory_limit = limit;
    if (!group_number(root, group, use_file, &used))
        used = 0;
    char path[2 * PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/memory.stat", group->directory);
    uint64_t cache = keyed_number(root, path, cache_key);
    used = cache < used ? used - cache : 0;
    uint64_t left = used < limit ? limit - used : 0;
    if (left < budget->memory_available)
        budget->memory_available = left;
}

static void read_v2(const char *root, pel_budget *budget) {
    control_group group;
    if (!find_group(root, NULL, &group))
        return;
    do {
        char line[4096];
        uint64_t quota, period, limit;
        if (group_line(root, &group, "cpu.max", line, sizeof line)) {
            const char *at = line;
            if (parse_limit(&at, &quota) && parse_limit(&at, &period))
                narrow_quota(budget, quota, period);
        }
        if (group_line(root, &group, "cpuset.cpus.effective", line, sizeof line))
            narrow_cores(budget, line);
        if (group_number(root, &group, "memory.max", &limit)) {
            narrow_memory(budget, root, &group, limit, "memory.current", "inactive_file");
        }
    } while (group_up(&group));
}

static void read_v1(const char *root, pel_budget *budget) {
    control_group group;
    if (find_group(root, "cpu", &group)) {
        do {
            uint64_t quota, period;
            if (group_number(root, &group, "cpu.cfs_quota_us", &quota) &&
                group_number(root, &group, "cpu.cfs_period_us", &period)) {
                narrow_quota(budget, quota, period);
            }
        } while (group_up(&group));
    }
    if (find_group(root, "cpuset", &group)) {
        char line[4096]; /* only our own group: a cpuset is always within its parent's */
        if (group_line(root, &group, "cpuset.effective_cpus", line, sizeof line) ||
            group_line(root, &group, "cpuset.cpus", line, sizeof line)) {
            narrow_cores(budget, line);
        }
    }
    if (find_group(root, "memory", &group)) {
        do {
            uint64_t limit;
            if (group_number(root, &group, "memory.limit_in_bytes", &limit)) {
                narrow_memory(budget, root, &group, limit, "memory.usage_in_bytes", "total_inactive_file");
            }
        } while (group_up(&group));
    }
}

static void read_affinity(pel_core_set *cores) {
    memset(cores, 0, sizeof *cores);
    /* The system call rather than the glibc wrapper: its fixed cpu_set_t ends at 1,024. */
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof cores->bits, cores->bits);
    if (bytes <= 0)
        memset(cores, 0, sizeof *cores);
    if (pel_core_set_count(cores) == 0)
        pel_core_set_add(cores, 0);
}

void pel_budget_read(const char *root, const pel_core_set *affinity, pel_budget *budget) {
    memset(budget, 0, sizeof *budget);
    budget->quota_millicores = budget->memory_limit = UINT64_MAX;
    if (affinity) {
        budget->cores = *affinity;
    } else {
        read_affinity(&budget->cores);
    }
    uint64_t available = keyed_number(root, "/proc/meminfo", "MemAvailable:");
    if (available == 0)
        available = keyed_number(root, "/proc/meminfo", "MemFree:");
    budget->memory_available = available ? available * 1024 : UINT64_MAX;
    read_v1(root, budget);
    read_v2(root, budget);
    budget->core_count = pel_core_set_count(&budget->cores);
    budget->usable = budget->core_count;
    uint64_t whole = budget->quota_millicores / 1000;
    if (whole < budget->usable)
        budget->usable = whole > 0 ? (uint32_t)whole : 1;
}
