/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology/scenario.h"
#include "base/error.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void scenario_main(int argc, char **argv, const scenario *scenarios) {
    if (argc != 3 || strcmp(argv[1], "--scenario") != 0)
        return;
    for (; scenarios->name; scenarios++) {
        if (strcmp(scenarios->name, argv[2]) != 0)
            continue;
        scenarios->run();
        exit(0);
    }
    fprintf(stderr, "no scenario %s\n", argv[2]);
    exit(2);
}

static void apply(const char *const *settings) {
    for (; settings && *settings; settings++) {
        char name[128];
        size_t length = strcspn(*settings, "=");
        snprintf(name, sizeof name, "%.*s", (int)length, *settings);
        if ((*settings)[length] == '=') {
            setenv(name, *settings + length + 1, 1);
        } else {
            unsetenv(name);
        }
    }
}

int scenario_run(const char *name, const char *const *settings) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        apply(settings);
        execl("/proc/self/exe", "scenario", "--scenario", name, (char *)NULL);
        _exit(126);
    }
    int code = -1;
    if (child < 0 || waitpid(child, &code, 0) != child)
        return -1;
    return WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
}

const char *scenario_environment(const char *variable) {
    const char *value = getenv(variable);
    if (!value || access(value, R_OK) != 0) {
        printf("skipped: %s does not name a file\n", variable);
        exit(77);
    }
    return value;
}

char *scenario_directory(void) {
    const char *base = getenv("TMPDIR");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/pel-test-XXXXXX", base && *base ? base : "/tmp");
    CHECK(mkdtemp(path));
    char *copy = strdup(path);
    CHECK(copy);
    return copy;
}

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *place) {
    (void)status, (void)flag, (void)place;
    return remove(path);
}

void scenario_remove(char *directory) {
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(directory);
}

void scenario_write(const char *directory, const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (char *slash = strchr(path + strlen(directory) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    CHECK(file);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

pel_topology *scenario_discover(const char *devices) {
    pel_topology_options options = {.devices = devices};
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    if (pel_topology_discover(&options, &topology, &error) != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        exit(1);
    }
    return topology;
}

const pel_topology_device *scenario_device(const pel_topology *topology, const char *id) {
    for (uint32_t i = 0; i < topology->device_count; i++) {
        if (strcmp(topology->devices[i].info.id, id) == 0)
            return &topology->devices[i];
    }
    return NULL;
}
