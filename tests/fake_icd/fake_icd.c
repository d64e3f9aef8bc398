/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver of invented devices, for discovery tests on machines without a GPU. It answers questions and executes nothing. Loaded
 * by the ICD loader through OCL_ICD_VENDORS (this library, an .icd file that names it, or a directory of such files). What it
 * shows is in the environment: PEL_FAKE_DEVICES   devices separated by ';', each "TYPE[:KEY=VALUE]..." with TYPE gpu, integrated,
 * cpu, accelerator or custom and keys name, pci (KHR, "0000:41:00.0"), amd ("41:00.0"), nv ("41:00.0", no domain), nvd
 * ("0001:41:00.0"), uuid (hex), mem ("8G"), units, version ("OpenCL 3.0"), and the words nocompiler, unavailable. Default: "gpu".
 *   PEL_FAKE_PLATFORM  the platform's name. Default: "Fake Platform".
 *   PEL_FAKE_MODE      crash, abort, exit, hang: what happens when the loader asks for platforms; guest: misbehave as LLVM does
 * (handlers, signal stack, environment, a thread). A copy of this library under a name that ends in -b.so reads
 * PEL_FAKE_DEVICES_B and so on instead: two drivers in one process.
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { MOST = 16, TABLE = 256 };

typedef void (*entry_point)(void);

struct _cl_platform_id {
    entry_point *dispatch;
};

struct _cl_device_id {
    entry_point *dispatch;
    cl_device_type type;
    bool unified, no_compiler, unavailable;
    char name[64], version[64];
    bool has_khr, has_amd, has_nv, has_nv_domain, has_uuid;
    unsigned domain, bus, slot, function;
    unsigned char uuid[16];
    cl_ulong memory;
    cl_uint units;
};

static entry_point dispatch[TABLE];
static struct _cl_platform_id platform = {dispatch};
static struct _cl_device_id devices[MOST];
static cl_uint device_count;
static char platform_name[64];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *setting(const char *name) {
    char full[64];
    Dl_info self;
    bool second = dladdr((void *)(size_t)&setting, &self) && strstr(self.dli_fname, "-b.so");
    snprintf(full, sizeof full, "%s%s", name, second ? "_B" : "");
    return getenv(full);
}

static cl_int give(size_t capacity, void *value, size_t *size, const void *from, size_t bytes) {
    if (size)
        *size = bytes;
    if (!value)
        return CL_SUCCESS;
    if (capacity < bytes)
        return CL_INVALID_VALUE;
    memcpy(value, from, bytes);
    return CL_SUCCESS;
}

static cl_int give_text(size_t capacity, void *value, size_t *size, const char *text) {
    return give(capacity, value, size, text, strlen(text) + 1);
}

static void set_type(struct _cl_device_id *device, const char *word) {
    device->type = CL_DEVICE_TYPE_GPU;
    if (strcmp(word, "integrated") == 0)
        device->unified = true;
    if (strcmp(word, "cpu") == 0)
        device->type = CL_DEVICE_TYPE_CPU;
    if (strcmp(word, "accelerator") == 0)
        device->type = CL_DEVICE_TYPE_ACCELERATOR;
    if (strcmp(word, "custom") == 0)
        device->type = CL_DEVICE_TYPE_CUSTOM;
}

static void set_key(struct _cl_device_id *device, const char *key, const char *value) {
    if (strcmp(key, "name") == 0)
        snprintf(device->name, sizeof device->name, "%s", value);
    if (strcmp(key, "version") == 0)
        snprintf(device->version, sizeof device->version, "%s", value);
    if (strcmp(key, "units") == 0)
        device->units = (cl_uint)strtoul(value, NULL, 10);
    if (strcmp(key, "nocompiler") == 0)
        device->no_compiler = true;
    if (strcmp(key, "unavailable") == 0)
        device->unavailable = true;
    if (strcmp(key, "mem") == 0) {
        char *unit;
        device->memory = strtoull(value, &unit, 10);
        device->memory <<= *unit == 'G' ? 30 : *unit == 'M' ? 20 : 0;
    }
    if (strcmp(key, "uuid") == 0) {
        device->has_uuid = true;
        for (size_t i = 0; i < 16 && value[2 * i] && value[2 * i + 1]; i++)
            sscanf(value + 2 * i, "%2hhx", &device->uuid[i]);
    }
    bool domain = strcmp(key, "pci") == 0 || strcmp(key, "nvd") == 0;
    if (domain)
        sscanf(value, "%x:%x:%x.%x", &device->domain, &device->bus, &device->slot, &device->function);
    if (strcmp(key, "amd") == 0 || strcmp(key, "nv") == 0)
        sscanf(value, "%x:%x.%x", &device->bus, &device->slot, &device->function);
    if (strcmp(key, "pci") == 0)
        device->has_khr = true;
    if (strcmp(key, "amd") == 0)
        device->has_amd = true;
    if (strncmp(key, "nv", 2) == 0)
        device->has_nv = true;
    if (strcmp(key, "nvd") == 0)
        device->has_nv_domain = true;
}

/* PCI addresses hold ':' themselves, so a field runs to the next ':' that is followed by "word=" or a lone word. */
static char *next_field(char *at) {
    for (at = strchr(at, ':'); at; at = strchr(at + 1, ':')) {
        size_t length = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz");
        if (length >= 2 && (at[1 + length] == '=' || at[1 + length] == ':' || at[1 + length] == '\0'))
            return at;
    }
    return NULL;
}

static void add_device(char *text) {
    struct _cl_device_id *device = &devices[device_count];
    *device = (struct _cl_device_id){.dispatch = dispatch, .memory = (cl_ulong)4 << 30, .units = 16};
    snprintf(device->name, sizeof device->name, "Fake Device");
    snprintf(device->version, sizeof device->version, "OpenCL 3.0 fake");
    char *field = next_field(text);
    if (field)
        *field++ = '\0';
    set_type(device, text);
    while (field) {
        char *next = next_field(field), *value;
        if (next)
            *next++ = '\0';
        value = strchr(field, '=');
        if (value)
            *value++ = '\0';
        set_key(device, field, value ? value : "");
        field = next;
    }
    device_count++;
}

static void on_signal(int number) {
    (void)number;
}

static void *idle(void *started) {
    sem_post(started); /* from here on it has the signal mask that it inherited */
    for (;;)
        pause();
    return NULL;
}

static void be_a_bad_guest(void) {
    static char stack[64 << 10];
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGSEGV, SIGUSR2, SIGTERM, SIGFPE, SIGPIPE, SIGCHLD};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    static sem_t started;
    pthread_t thread;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], on_signal);
    sigaltstack(&alternate, NULL);
    setenv("HWLOC_PLUGINS_PATH", "/dev/null", 1);
    setenv("PEL_FAKE_ADDED", "1", 1);
    setenv("PEL_FAKE_CHANGED", "driver", 1);
    unsetenv("PEL_FAKE_REMOVED");
    sem_init(&started, 0, 0);
    if (pthread_create(&thread, NULL, idle, &started) != 0)
        return;
    pthread_detach(thread);
    while (sem_wait(&started) != 0)
        continue;
}

static void start(void) {
    const char *mode = setting("PEL_FAKE_MODE"), *list = setting("PEL_FAKE_DEVICES"), *name = setting("PEL_FAKE_PLATFORM");
    if (mode && strcmp(mode, "crash") == 0)
        raise(SIGSEGV);
    if (mode && strcmp(mode, "abort") == 0)
        abort();
    if (mode && strcmp(mode, "exit") == 0)
        _exit(3);
    for (; mode && strcmp(mode, "hang") == 0;)
        pause();
    if (mode && strcmp(mode, "guest") == 0)
        be_a_bad_guest();
    snprintf(platform_name, sizeof platform_name, "%s", name ? name : "Fake Platform");
    char copy[4096], *rest = copy;
    snprintf(copy, sizeof copy, "%s", list ? list : "gpu");
    for (char *item; (item = strsep(&rest, ";")) && device_count < MOST;) {
        if (*item)
            add_device(item);
    }
}

static cl_int CL_API_CALL get_platform_info(cl_platform_id which, cl_platform_info what, size_t capacity, void *value,
                                            size_t *size) {
    (void)which;
    switch (what) {
    case CL_PLATFORM_NAME:
        return give_text(capacity, value, size, platform_name);
    case CL_PLATFORM_VENDOR:
        return give_text(capacity, value, size, "pel tests");
    case CL_PLATFORM_VERSION:
        return give_text(capacity, value, size, "OpenCL 3.0 fake");
    case CL_PLATFORM_PROFILE:
        return give_text(capacity, value, size, "FULL_PROFILE");
    case CL_PLATFORM_EXTENSIONS:
        return give_text(capacity, value, size, "cl_khr_icd");
    case CL_PLATFORM_ICD_SUFFIX_KHR:
        return give_text(capacity, value, size, "FAKE");
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL get_device_ids(cl_platform_id which, cl_device_type type, cl_uint capacity, cl_device_id *out,
                                         cl_uint *count) {
    (void)which;
    cl_uint found = 0;
    for (cl_uint i = 0; i < device_count; i++) {
        if (type != CL_DEVICE_TYPE_ALL && (devices[i].type & type) == 0)
            continue;
        if (out && found < capacity)
            out[found] = &devices[i];
        found++;
    }
    if (count)
        *count = found;
    return found > 0 ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

static cl_int give_identity(const struct _cl_device_id *device, cl_device_info what, size_t capacity, void *value, size_t *size) {
    cl_uint khr[4] = {device->domain, device->bus, device->slot, device->function}, number;
    unsigned char amd[24] = {1, 0, 0, 0};
    amd[21] = (unsigned char)device->bus, amd[22] = (unsigned char)device->slot, amd[23] = (unsigned char)device->function;
    if (what == 0x410F && device->has_khr)
        return give(capacity, value, size, khr, sizeof khr);
    if (what == 0x4037 && device->has_amd)
        return give(capacity, value, size, amd, sizeof amd);
    if (what == 0x106A && device->has_uuid)
        return give(capacity, value, size, device->uuid, sizeof device->uuid);
    if (what == 0x4008 && device->has_nv)
        return give(capacity, value, size, &device->bus, sizeof device->bus);
    number = device->slot << 3 | device->function;
    if (what == 0x4009 && device->has_nv)
        return give(capacity, value, size, &number, sizeof number);
    if (what == 0x400A && device->has_nv_domain)
        return give(capacity, value, size, &device->domain, sizeof device->domain);
    return CL_INVALID_VALUE;
}

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info what, size_t capacity, void *value, size_t *size) {
    cl_bool yes = CL_TRUE;
    cl_uint bits = 64;
    cl_ulong number = 0;
    size_t group = 256;
    cl_platform_id owner = &platform;
    switch (what) {
    case CL_DEVICE_NAME:
        return give_text(capacity, value, size, device->name);
    case CL_DEVICE_VENDOR:
        return give_text(capacity, value, size, "pel tests");
    case CL_DEVICE_VERSION:
        return give_text(capacity, value, size, device->version);
    case CL_DRIVER_VERSION:
        return give_text(capacity, value, size, "1.0");
    case CL_DEVICE_EXTENSIONS:
        return give_text(capacity, value, size, "");
    case CL_DEVICE_PLATFORM:
        return give(capacity, value, size, &owner, sizeof owner);
    case CL_DEVICE_TYPE:
        return give(capacity, value, size, &device->type, sizeof device->type);
    case CL_DEVICE_AVAILABLE:
        yes = !device->unavailable;
        return give(capacity, value, size, &yes, sizeof yes);
    case CL_DEVICE_COMPILER_AVAILABLE:
        yes = !device->no_compiler;
        return give(capacity, value, size, &yes, sizeof yes);
    case CL_DEVICE_ENDIAN_LITTLE:
        return give(capacity, value, size, &yes, sizeof yes);
    case CL_DEVICE_HOST_UNIFIED_MEMORY:
        yes = device->unified;
        return give(capacity, value, size, &yes, sizeof yes);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        return give(capacity, value, size, &device->units, sizeof device->units);
    case CL_DEVICE_ADDRESS_BITS:
        return give(capacity, value, size, &bits, sizeof bits);
    case CL_DEVICE_GLOBAL_MEM_SIZE:
        return give(capacity, value, size, &device->memory, sizeof number);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        number = device->memory / 4;
        return give(capacity, value, size, &number, sizeof number);
    case CL_DEVICE_LOCAL_MEM_SIZE:
        number = 48 << 10;
        return give(capacity, value, size, &number, sizeof number);
    case CL_DEVICE_DOUBLE_FP_CONFIG:
        number = 63;
        return give(capacity, value, size, &number, sizeof number);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        return give(capacity, value, size, &group, sizeof group);
    default:
        return give_identity(device, what, capacity, value, size);
    }
}

/* Whatever else is called through the dispatch table. */
static cl_int refuse(void) {
    return CL_INVALID_OPERATION;
}

/* A context cannot be made: these devices are for looking at. */
static cl_context CL_API_CALL create_context(const cl_context_properties *properties, cl_uint count, const cl_device_id *list,
                                             void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user,
                                             cl_int *code) {
    (void)properties, (void)count, (void)list, (void)notify, (void)user;
    if (code)
        *code = CL_OUT_OF_RESOURCES;
    return NULL;
}

EXPORT cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint capacity, cl_platform_id *out, cl_uint *count);
EXPORT void *CL_API_CALL clGetExtensionFunctionAddress(const char *name);

cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint capacity, cl_platform_id *out, cl_uint *count) {
    pthread_once(&once, start);
    /* Order of cl_icd.h: clGetPlatformIDs, clGetPlatformInfo, clGetDeviceIDs, clGetDeviceInfo, clCreateContext, ... */
    for (size_t i = 0; i < TABLE; i++)
        dispatch[i] = (entry_point)refuse;
    dispatch[1] = (entry_point)get_platform_info;
    dispatch[2] = (entry_point)get_device_ids;
    dispatch[3] = (entry_point)get_device_info;
    dispatch[4] = (entry_point)create_context;
    if (count)
        *count = 1;
    if (out && capacity > 0)
        out[0] = &platform;
    return CL_SUCCESS;
}

void *CL_API_CALL clGetExtensionFunctionAddress(const char *name) {
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0)
        return (void *)(size_t)clIcdGetPlatformIDsKHR;
    if (strcmp(name, "clGetPlatformInfo") == 0)
        return (void *)(size_t)get_platform_info; /* ocl-icd asks for it before it looks at the table */
    return NULL;
}
