/* SPDX-License-Identifier: BSD-3-Clause */
/* Discovery through the ICD loader: invented GPUs of the fake driver, PoCL where it is installed, and what is left behind in the
 * process. */
#include "base/error.h"
#include "topology/core_set.h"
#include "topology/guard.h"
#include "topology/scenario.h"
#include <pel/opencl.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void set_fake(const char *devices) {
    setenv("PEL_FAKE_DEVICES", devices, 1);
    setenv("OCL_ICD_VENDORS", scenario_environment("PEL_FAKE_ICD"), 1);
}

static void check_identity(const pel_topology *topology, const char *id, const char *identity) {
    const pel_topology_device *device = scenario_device(topology, id);
    CHECK(device);
    if (strcmp(device->info.identity, identity) == 0)
        return;
    fprintf(stderr, "%s is %s, not %s\n", id, device->info.identity, identity);
    exit(1);
}

/* ---- scenarios, each in a process of its own ---- */

static void no_driver(void) {
    pel_topology *topology = scenario_discover(NULL);
    CHECK(topology->device_count == 1 && topology->selection_count == 1 && !topology->opencl_present);
    CHECK(strcmp(topology->devices[0].info.id, "host") == 0);
    CHECK(topology->devices[0].info.compute_units == topology->budget_count && topology->budget_count > 0);
    CHECK(topology->devices[0].info.memory_bytes > 0);
    pel_topology_destroy(topology);
}

static void classes(void) {
    set_fake(
        "gpu:name=Big:mem=8G:pci=0000:41:00.0;integrated:name=Small:mem=1M;accelerator:name=Board;cpu:name=Other CPU:units=4096;"
        "custom:name=Codec;gpu:name=Old:version=OpenCL 1.1;gpu:nocompiler;gpu:unavailable");
    pel_topology *topology = scenario_discover(NULL);
    CHECK(topology->device_count == 9 && topology->opencl_present);
    const pel_topology_device *big = scenario_device(topology, "opencl:0"), *small = scenario_device(topology, "opencl:1");
    const pel_topology_device *board = scenario_device(topology, "opencl:2"), *cpu = scenario_device(topology, "opencl:3");
    CHECK(big->info.device_class == PEL_CLASS_DISCRETE && big->info.memory_bytes == (uint64_t)8 << 30 &&
          big->info.cores_count == 0);
    CHECK(big->info.max_allocation_bytes == (uint64_t)2 << 30 && !big->info.shares_host_memory && !big->host_coherent);
    CHECK(small->info.device_class == PEL_CLASS_INTEGRATED && small->info.shares_host_memory &&
          small->info.memory_bytes == 1 << 20);
    CHECK(board->info.device_class == PEL_CLASS_DISCRETE && board->selected);
    CHECK(cpu->info.device_class == PEL_CLASS_HOST_CPU && cpu->info.compute_units == topology->budget_count &&
          !cpu->host_coherent);
    CHECK(memcmp(&cpu->info.cores, &topology->budget_cores, sizeof cpu->info.cores) == 0);
    CHECK(big->selected && small->selected && cpu->selected && topology->selection_count == 5);
    for (int i = 4; i < 8; i++) {
        char id[32];
        snprintf(id, sizeof id, "opencl:%d", i);
        CHECK(!scenario_device(topology, id)->selected && *scenario_device(topology, id)->why_not);
    }
    CHECK(strstr(scenario_device(topology, "opencl:5")->why_not, "OpenCL 1.1"));
    pel_topology_destroy(topology);
}

static void identities(void) {
    set_fake("gpu:nvd=0000:41:00.0;gpu:nvd=0001:41:00.0;gpu:nv=42:00.0:uuid=00112233445566778899aabbccddeeff;gpu:nv=43:00.0;"
             "gpu:amd=44:02.1;gpu:uuid=ffffffffffffffffffffffffffffffff;gpu:name=Twin;gpu:name=Twin;gpu:pci=0002:01:00.0;"
             "gpu:pci=0002:01:00.0:uuid=01010101010101010101010101010101");
    pel_topology *topology = scenario_discover("gpu");
    check_identity(topology, "opencl:0", "pci:0000:41:00.0");
    check_identity(topology, "opencl:1", "pci:0001:41:00.0");
    check_identity(topology, "opencl:2", "uuid:00112233445566778899aabbccddeeff"); /* the domain is unknown, the UUID is not */
    check_identity(topology, "opencl:3", "pci:0000:43:00.0");
    check_identity(topology, "opencl:4", "pci:0000:44:02.1");
    check_identity(topology, "opencl:5", "uuid:ffffffffffffffffffffffffffffffff");
    check_identity(topology, "opencl:6", "name:Fake Platform/Twin");
    check_identity(topology, "opencl:7", "name:Fake Platform/Twin#1");
    check_identity(topology, "opencl:8", "pci:0002:01:00.0");
    check_identity(topology, "opencl:9", "uuid:01010101010101010101010101010101"); /* two parts of one card */
    CHECK(topology->selection_count == 10);
    pel_topology_destroy(topology);
}

static void numa_from_sysfs(void) {
    char *root = scenario_directory();
    scenario_write(root, "sys/bus/pci/devices/0000:41:00.0/numa_node", "3\n");
    scenario_write(root, "sys/bus/pci/devices/0000:42:00.0/numa_node", "-1\n");
    set_fake("gpu:pci=0000:41:00.0;gpu:pci=0000:42:00.0;gpu:pci=0000:43:00.0");
    pel_topology_options options = {.devices = "gpu", .root = root};
    pel_topology *topology = NULL;
    CHECK(pel_topology_discover(&options, &topology, NULL) == PEL_OK);
    CHECK(scenario_device(topology, "opencl:0")->info.numa_node == 3);
    CHECK(scenario_device(topology, "opencl:1")->info.numa_node == -1);
    CHECK(scenario_device(topology, "opencl:2")->info.numa_node == -1);
    pel_topology_destroy(topology);
    scenario_remove(root);
}

/* One card through two platforms is one device; emulators come last and only by name. Settings: see the test. */
static void two_platforms(void) {
    pel_topology *topology = scenario_discover(NULL);
    CHECK(topology->device_count == 5);
    CHECK(strcmp(scenario_device(topology, "opencl:3")->info.name, "llvmpipe (LLVM 15)") == 0);
    CHECK(scenario_device(topology, "opencl:3")->info.device_class == PEL_CLASS_SOFTWARE);
    CHECK(!scenario_device(topology, "opencl:3")->selected && strstr(scenario_device(topology, "opencl:3")->why_not, "named"));
    int chosen = 0, same = 0;
    for (int i = 0; i < 3; i++) {
        char id[32];
        snprintf(id, sizeof id, "opencl:%d", i);
        const pel_topology_device *device = scenario_device(topology, id);
        chosen += device->selected;
        same += strstr(device->why_not, "the same device as opencl:") != NULL;
    }
    CHECK(chosen == 2 && same == 1); /* the card once, the CPU; the card's double not */
    pel_topology_destroy(topology);
    topology = scenario_discover("llvmpipe");
    CHECK(topology->selection_count == 1 && topology->devices[topology->selection[0]].info.device_class == PEL_CLASS_SOFTWARE);
    pel_topology_destroy(topology);
    topology = scenario_discover("all,!llvmpipe,!host");
    CHECK(topology->selection_count == 2);
    pel_topology_destroy(topology);
}

static void mine(int number) {
    (void)number;
}

/* A driver that misbehaves as LLVM does leaves no trace but its SIGFPE handler. */
static void guest(void) {
    set_fake("gpu");
    setenv("PEL_FAKE_MODE", "guest", 1);
    setenv("PEL_FAKE_CHANGED", "mine", 1);
    setenv("PEL_FAKE_REMOVED", "", 1);
    unsetenv("HWLOC_PLUGINS_PATH");
    struct sigaction before[65], after;
    stack_t stack_before, stack_after;
    sigset_t mask_before, mask_after;
    signal(SIGTERM, mine);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < 65; i++)
        memset(&before[i], 0, sizeof before[i]), (void)sigaction(i, NULL, &before[i]);
    sigaltstack(NULL, &stack_before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    pel_topology *topology = scenario_discover("all");
    for (int i = 1; i < 65; i++) {
        if (sigaction(i, NULL, &after) != 0)
            continue;
        CHECK((after.sa_handler == before[i].sa_handler) == (i != SIGFPE));
    }
    sigaltstack(NULL, &stack_after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    CHECK(stack_after.ss_sp == stack_before.ss_sp && stack_after.ss_flags == stack_before.ss_flags);
    for (int i = 1; i < 65; i++)
        CHECK(sigismember(&mask_before, i) == sigismember(&mask_after, i));
    CHECK(!getenv("HWLOC_PLUGINS_PATH") && !getenv("PEL_FAKE_ADDED"));
    CHECK(strcmp(getenv("PEL_FAKE_CHANGED"), "mine") == 0);
    CHECK(getenv("PEL_FAKE_REMOVED") && *getenv("PEL_FAKE_REMOVED") == '\0');
    pel_topology_destroy(topology);
}

/* A thread that a driver starts never runs the caller's handler for SIGTERM: it is blocked there. */
static void driver_threads_block_signals(void) {
    set_fake("gpu");
    setenv("PEL_FAKE_MODE", "guest", 1);
    pel_topology *topology = scenario_discover("all");
    unsigned others = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[300], line[256];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        CHECK(file);
        unsigned long long blocked = 0;
        char name[64] = "";
        while (fgets(line, sizeof line, file)) {
            (void)sscanf(line, "Name: %63s", name);
            (void)sscanf(line, "SigBlk: %llx", &blocked);
        }
        fclose(file);
        if (strcmp(name, "test_discover_o") != 0 && strcmp(name, "scenario") != 0 && strcmp(name, "exe") != 0)
            continue; /* a sanitizer's */
        others += (blocked >> (SIGTERM - 1) & 1) && !(blocked >> (SIGSEGV - 1) & 1);
    }
    closedir(tasks);
    CHECK(others >= 1);
    pel_topology_destroy(topology);
}

static void unchanged_without_opencl(void) {
    set_fake("gpu");
    setenv("PEL_FAKE_MODE", "abort", 1); /* a driver that is loaded at all kills this process */
    static const char *const lists[] = {"host", "host@0", "!opencl", "all,!opencl", " HOST "};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        cpu_set_t set;
        CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
        if (strchr(lists[i], '@') && !CPU_ISSET(0, &set))
            continue;
        pel_topology *topology = scenario_discover(lists[i]);
        CHECK(topology->device_count == 1 && topology->selection_count == 1);
        pel_topology_destroy(topology);
    }
    pel_topology_options options = {.ignore_opencl = true};
    pel_topology *topology = NULL;
    CHECK(pel_topology_discover(&options, &topology, NULL) == PEL_OK && topology->device_count == 1);
    pel_topology_destroy(topology);
}

static void wrong_lists(void) {
    static const struct {
        const char *list;
        pel_status status;
        const char *says;
    } rows[] = {{"opencl:7", PEL_NOT_FOUND, "opencl:0 (Fake Device"},
                {"nonsense", PEL_NOT_FOUND, "nonsense"},
                {"accelerator", PEL_NOT_FOUND, "there is: host"},
                {"opencl:0@0", PEL_INVALID_ARGUMENT, "processors of its own"},
                {"host@4095", PEL_INVALID_ARGUMENT, "the cores of this"},
                {"!host,!gpu", PEL_NO_DEVICE, "leaves no device"},
                {"", PEL_INVALID_ARGUMENT, "names no device"},
                {"host,", PEL_INVALID_ARGUMENT, "names no device"}};
    set_fake("gpu");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pel_topology_options options = {.devices = rows[i].list};
        pel_topology *topology = NULL;
        pel_error *error = NULL;
        CHECK(pel_topology_discover(&options, &topology, &error) == rows[i].status && !topology && error);
        if (!strstr(pel_error_message(error), rows[i].says)) {
            fprintf(stderr, "\"%s\" says: %s\n", rows[i].list, pel_error_message(error));
            exit(1);
        }
        pel_error_destroy(error);
    }
    setenv("PEL_DEVICES", "nonsense", 1);
    pel_topology *topology = scenario_discover("host"); /* explicit before environment */
    pel_topology_destroy(topology);
    pel_topology_options options = {0};
    pel_error *error = NULL;
    CHECK(pel_topology_discover(&options, &topology, &error) == PEL_NOT_FOUND);
    CHECK(strstr(pel_error_message(error), "PEL_DEVICES"));
    pel_error_destroy(error);
}

typedef struct failing {
    long left;
} failing;

static void *failing_reallocate(void *user, void *pointer, size_t bytes) {
    failing *state = user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return state->left-- > 0 ? realloc(pointer, bytes) : NULL;
}

/* Every nth allocation fails: a clean OUT_OF_MEMORY, no leak; in the end it works. */
static void failing_allocations(void) {
    set_fake("gpu:name=A:uuid=ffffffffffffffffffffffffffffffff;cpu:name=B;gpu:name=C;gpu:name=llvmpipe;custom");
    failing state = {0};
    pel_allocator allocator = {failing_reallocate, &state};
    long n = 0;
    for (pel_status status = PEL_OUT_OF_MEMORY; status != PEL_OK; n++) {
        CHECK(n < 2000);
        state.left = n;
        pel_topology_options options = {.allocator = &allocator, .devices = "gpu,host,!C"};
        pel_topology *topology = NULL;
        pel_error *error = NULL;
        status = pel_topology_discover(&options, &topology, &error);
        CHECK(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
        state.left = 1000;
        if (status == PEL_OK)
            pel_topology_destroy(topology);
        pel_error_destroy(error);
    }
    printf("%ld allocations\n", n - 1);
}

/* ---- with PoCL ---- */

static const pel_topology_device *pocl_or_skip(const pel_topology *topology) {
    for (uint32_t i = 0; i < topology->device_count; i++) {
        if (strstr(topology->devices[i].info.platform, "Portable Computing Language"))
            return &topology->devices[i];
    }
    exit(77);
}

static void pocl(void) {
    unsetenv("HWLOC_PLUGINS_PATH");
    signal(SIGINT, mine);
    for (int round = 0; round < 100; round++) {
        pel_topology *topology = scenario_discover(NULL);
        const pel_topology_device *device = pocl_or_skip(topology);
        CHECK(device->selected && device->host_coherent && device->info.shares_host_memory &&
              device->info.device_class == PEL_CLASS_HOST_CPU);
        CHECK(device->info.compute_units <= topology->budget_count && device->info.cores_count == device->info.compute_units);
        CHECK(device->info.memory_bytes == topology->memory_available && device->info.address_bits == 64);
        pel_topology_destroy(topology);
    }
    struct sigaction action;
    CHECK(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == mine);
    CHECK(sigaction(SIGTERM, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(!getenv("HWLOC_PLUGINS_PATH"));
}

static void bind_to_one_core(void) {
    cpu_set_t set, one;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    CPU_ZERO(&one);
    for (size_t core = CPU_SETSIZE; core-- > 0;) {
        if (!CPU_ISSET(core, &set))
            continue;
        CPU_SET(core, &one);
        break;
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

static void pocl_on_one_core(void) {
    bind_to_one_core();
    pel_topology *topology = scenario_discover(NULL);
    const pel_topology_device *device = pocl_or_skip(topology);
    CHECK(topology->budget_count == 1 && device->info.compute_units == 1);
    CHECK(memcmp(&device->info.cores, &topology->budget_cores, sizeof device->info.cores) == 0);
    CHECK(topology->devices[0].info.compute_units == 1);
    pel_topology_destroy(topology);
}

/* How many threads but the first are bound to exactly `core`. */
static unsigned threads_bound_to(size_t core) {
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        cpu_set_t set;
        int id = atoi(entry->d_name);
        if (id <= 0 || id == getpid() || sched_getaffinity(id, sizeof set, &set) != 0)
            continue;
        count += CPU_COUNT(&set) == 1 && CPU_ISSET(core, &set);
    }
    closedir(tasks);
    return count;
}

static void skip_without_two_cores(void) {
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    if (!CPU_ISSET(0, &set) || !CPU_ISSET(1, &set))
        exit(77);
}

static void pocl_declared_core(void) {
    skip_without_two_cores();
    cpu_set_t before, after;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    pel_topology *topology = scenario_discover("host@0,pthread@1");
    CHECK(sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&before, &after));
    CHECK(threads_bound_to(1) >= 1);
    CHECK(topology->selection_count == 2);
    const pel_topology_device *host = &topology->devices[topology->selection[0]],
                              *device = &topology->devices[topology->selection[1]];
    CHECK(host->core_set_declared && host->info.compute_units == 1 && pel_core_set_has(&host->info.cores, 0) &&
          !pel_core_set_has(&host->info.cores, 1));
    CHECK(device->core_set_declared && device->cl_sub_device && device->info.compute_units == 1);
    CHECK(!pel_core_set_has(&device->info.cores, 0) && pel_core_set_has(&device->info.cores, 1));
    cl_uint units = 0;
    CHECK(clGetDeviceInfo(device->cl_device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL) == CL_SUCCESS &&
          units == 1);
    pel_topology_destroy(topology);
}

static void pocl_two_parts(void) {
    skip_without_two_cores();
    pel_topology *topology = scenario_discover("pthread@1,pthread@0,host");
    CHECK(topology->selection_count == 3);
    const pel_topology_device *first = &topology->devices[topology->selection[0]],
                              *second = &topology->devices[topology->selection[1]];
    size_t length = strlen(first->info.id);
    CHECK(strcmp(first->info.id + length - 2, "@1") == 0 && strcmp(second->info.id + length - 2, "@0") == 0);
    CHECK(first->cl_sub_device && second->cl_sub_device && first->cl_device != second->cl_device);
    CHECK(!pel_core_set_overlaps(&first->info.cores, &second->info.cores));
    pel_topology_destroy(topology);
    pel_topology_options options = {.devices = "host@0-1,pthread@1"};
    pel_error *error = NULL;
    CHECK(pel_topology_discover(&options, &topology, &error) == PEL_CONFLICT);
    CHECK(strstr(pel_error_message(error), "host and opencl:") && strstr(pel_error_message(error), "core 1"));
    pel_error_destroy(error);
    error = NULL;
    options.devices = "pthread@1,pthread";
    CHECK(pel_topology_discover(&options, &topology, &error) == PEL_CONFLICT);
    pel_error_destroy(error);
}

static void pocl_adopted(void) {
    pel_topology *topology = scenario_discover(NULL);
    cl_device_id device = pocl_or_skip(topology)->cl_device;
    CHECK(clRetainDevice(device) == CL_SUCCESS); /* a sub-device of the topology's, where the process may not use all cores */
    pel_topology_destroy(topology);
    cl_int code;
    cl_uint count = 0;
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    CHECK(code == CL_SUCCESS);
    void *contexts[] = {context, NULL};
    pel_topology_options options = {.cl_contexts = contexts, .cl_context_count = 1};
    CHECK(pel_topology_discover(&options, &topology, NULL) == PEL_OK);
    CHECK(pocl_or_skip(topology)->cl_context == context);
    CHECK(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL) == CL_SUCCESS && count == 2);
    pel_topology_destroy(topology);
    CHECK(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL) == CL_SUCCESS && count == 1);
    options.cl_context_count = 2;
    pel_error *error = NULL;
    CHECK(pel_topology_discover(&options, &topology, &error) == PEL_INVALID_ARGUMENT);
    CHECK(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL) == CL_SUCCESS && count == 1);
    pel_error_destroy(error);
    clReleaseContext(context);
    clReleaseDevice(device);
}

/* PoCL without a cache directory shows no device at all; discovery goes on without it. */
static void pocl_without_cache(void) {
    pel_topology *topology = scenario_discover(NULL);
    CHECK(topology->device_count == 1 && topology->selection_count == 1);
    pel_topology_destroy(topology);
}

static const scenario scenarios[] = {{"no_driver", no_driver},
                                     {"classes", classes},
                                     {"identities", identities},
                                     {"numa_from_sysfs", numa_from_sysfs},
                                     {"two_platforms", two_platforms},
                                     {"guest", guest},
                                     {"driver_threads_block_signals", driver_threads_block_signals},
                                     {"unchanged_without_opencl", unchanged_without_opencl},
                                     {"wrong_lists", wrong_lists},
                                     {"failing_allocations", failing_allocations},
                                     {"pocl", pocl},
                                     {"pocl_on_one_core", pocl_on_one_core},
                                     {"pocl_declared_core", pocl_declared_core},
                                     {"pocl_two_parts", pocl_two_parts},
                                     {"pocl_adopted", pocl_adopted},
                                     {"pocl_without_cache", pocl_without_cache},
                                     {NULL, NULL}};

/* ---- the tests ---- */

static void expect(const char *name, const char *const *settings) {
    int code = scenario_run(name, settings);
    if (code == 77) {
        printf("%s: skipped\n", name);
        skip();
    }
    assert_int_equal(code, 0);
}

static void run_plain(void **state) {
    expect(*state, (const char *const[]){"PEL_DEVICES", "OCL_ICD_VENDORS", "RUSTICL_ENABLE", NULL});
}

static void test_no_driver(void **state) {
    (void)state;
    char *empty = scenario_directory();
    char setting[512];
    snprintf(setting, sizeof setting, "OCL_ICD_VENDORS=%s", empty);
    expect("no_driver", (const char *const[]){"PEL_DEVICES", setting, NULL});
    expect("no_driver", (const char *const[]){"PEL_DEVICES=", "OCL_ICD_VENDORS=/proc/nowhere", NULL});
    scenario_remove(empty);
}

static void test_two_platforms(void **state) {
    (void)state;
    const char *library = scenario_environment("PEL_FAKE_ICD");
    char *directory = scenario_directory(), path[1024], text[1100], setting[1100];
    snprintf(path, sizeof path, "%s/fake-b.so", directory);
    assert_int_equal(symlink(library, path), 0);
    snprintf(text, sizeof text, "%s\n", library);
    scenario_write(directory, "a.icd", text);
    /* A copy, not a link: the loader would see one library. */
    char command[2400];
    snprintf(command, sizeof command, "rm '%s' && cp '%s' '%s'", path, library, path);
    assert_int_equal(system(command), 0);
    snprintf(text, sizeof text, "%s\n", path);
    scenario_write(directory, "b.icd", text);
    snprintf(setting, sizeof setting, "OCL_ICD_VENDORS=%s", directory);
    expect(
        "two_platforms",
        (const char *const[]){"PEL_DEVICES", setting,
                              "PEL_FAKE_DEVICES=gpu:name=llvmpipe (LLVM 15);gpu:name=Card:uuid=abababababababababababababababab",
                              "PEL_FAKE_DEVICES_B=gpu:name=Karte:uuid=abababababababababababababababab;cpu:name=Chip",
                              "PEL_FAKE_PLATFORM_B=Other", NULL});
    scenario_remove(directory);
}

static void run_pocl(void **state) {
    expect(*state, (const char *const[]){"PEL_DEVICES", "OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH", "RUSTICL_ENABLE", "POCL_DEVICES",
                                         "POCL_AFFINITY", NULL});
}

static void test_pocl_without_cache(void **state) {
    (void)state;
    expect("pocl_without_cache",
           (const char *const[]){"PEL_DEVICES", "OCL_ICD_VENDORS", "RUSTICL_ENABLE", "POCL_CACHE_DIR=/proc/nowhere",
                                 "HOME=/proc/nowhere", "XDG_CACHE_HOME", NULL});
}

/* Guards exclude each other: what one sees as the caller's state is never another's half-restored one. */
static void *enter_and_change(void *argument) {
    int *bad = argument;
    for (int i = 0; i < 200; i++) {
        pel_guard guard;
        if (pel_guard_enter(&guard, &pel_allocator_default) != PEL_OK)
            continue;
        if (getenv("PEL_GUARD_TEST"))
            ++*bad;
        setenv("PEL_GUARD_TEST", "inside", 1);
        pel_guard_leave(&guard);
    }
    return NULL;
}

static void test_guards_exclude_each_other(void **state) {
    (void)state;
    pthread_t threads[4];
    int bad[4] = {0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, enter_and_change, &bad[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(bad[i], 0);
    assert_null(getenv("PEL_GUARD_TEST"));
}

int main(int argc, char **argv) {
    scenario_main(argc, argv, scenarios);
    (void)scenario_environment("PEL_FAKE_ICD");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_driver),
        cmocka_unit_test_prestate(run_plain, "classes"),
        cmocka_unit_test_prestate(run_plain, "identities"),
        cmocka_unit_test_prestate(run_plain, "numa_from_sysfs"),
        cmocka_unit_test(test_two_platforms),
        cmocka_unit_test_prestate(run_plain, "guest"),
        cmocka_unit_test_prestate(run_plain, "driver_threads_block_signals"),
        cmocka_unit_test_prestate(run_plain, "unchanged_without_opencl"),
        cmocka_unit_test_prestate(run_plain, "wrong_lists"),
        cmocka_unit_test_prestate(run_plain, "failing_allocations"),
        cmocka_unit_test_prestate(run_pocl, "pocl"),
        cmocka_unit_test_prestate(run_pocl, "pocl_on_one_core"),
        cmocka_unit_test_prestate(run_pocl, "pocl_declared_core"),
        cmocka_unit_test_prestate(run_pocl, "pocl_two_parts"),
        cmocka_unit_test_prestate(run_pocl, "pocl_adopted"),
        cmocka_unit_test(test_pocl_without_cache),
        cmocka_unit_test(test_guards_exclude_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
