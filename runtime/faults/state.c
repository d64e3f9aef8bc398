/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the layer knows while the program runs: the script with its counts, references held, events that are reported as failed,
 * memory objects and the kernels that have them as arguments, vanished devices. And the control (faults.h), which a test uses to
 * change the script.
 *
 * One lock guards all of it. Nothing of OpenCL is called under it: a driver may call back into the program, and so into the
 * layer. Tables are hashed lists that grow by malloc; where memory is short an entry is left out, and that fault does not happen
 * (it is not counted as fired).
 */
#include "faults/faults.h"
#include "faults/layer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

const cl_icd_dispatch *pel_faults_target;

static const char *const names[] = {
#define CALL_NAME(name, ...) #name,
    PEL_FAULTS_EVERY_CALL(CALL_NAME)};

/* The codes stand at the end of each table's lines; what stands before differs by table. */
#define CODES_OF_CODE(name, scope, handle, parameters, arguments, ...) static const cl_int codes_##name[] = {__VA_ARGS__, 0};
#define CODES_OF_MAKE(name, type, object, scope, handle, parameters, arguments, ...)                                             \
    static const cl_int codes_##name[] = {__VA_ARGS__, 0};
#define CODES_OF_COMMAND(name, blocking, parameters, arguments, ...) static const cl_int codes_##name[] = {__VA_ARGS__, 0};
#define CODES_OF_COUNT(name, object, type, ...) static const cl_int codes_##name[] = {__VA_ARGS__, 0};
#define CODES_OF_SPECIAL(name, ...) static const cl_int codes_##name[] = {__VA_ARGS__, 0};
PEL_FAULTS_CODE_CALLS(CODES_OF_CODE)
PEL_FAULTS_MAKE_CALLS(CODES_OF_MAKE)
PEL_FAULTS_COMMAND_CALLS(CODES_OF_COMMAND)
PEL_FAULTS_RETAIN_CALLS(CODES_OF_COUNT)
PEL_FAULTS_RELEASE_CALLS(CODES_OF_COUNT)
PEL_FAULTS_SPECIAL_CALLS(CODES_OF_SPECIAL)

static const cl_int *const codes[] = {
#define CALL_CODES(name, ...) codes_##name,
    PEL_FAULTS_EVERY_CALL(CALL_CODES)};

const char *pel_faults_call_name(uint32_t call) {
    return call < PEL_FAULTS_CALL_COUNT ? names[call] : NULL;
}

static const cl_int *call_codes(uint32_t call, uint32_t *count) {
    *count = 0;
    if (call >= PEL_FAULTS_CALL_COUNT) {
        return NULL;
    }
    while (codes[call][*count] != 0) {
        ++*count;
    }
    return codes[call];
}

/* ---- the state ---- */

typedef struct entry {
    struct entry *next;
    const void *object;
    uint64_t index; /* EVENT: always 0; ARGUMENT: which; MEM: always 0 */
    enum { ENTRY_EVENT, ENTRY_MEM, ENTRY_ARGUMENT } kind;
    union {
        cl_int code;
        cl_mem mem;
    } value;
} entry;

enum { BUCKETS = 1024, DEVICES = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pel_faults_script script;
static bool needs_device; /* a rule names a device, or some device has vanished */
static uint64_t random_state, fired, times[PEL_FAULTS_CALL_COUNT];
static const char *last_call;
static int64_t objects;
static entry *table[BUCKETS];
static cl_device_id vanished[DEVICES];
static uint32_t vanished_count;
static bool all_vanished;

static entry **bucket_of(const void *object) {
    uint64_t hash = (uint64_t)(uintptr_t)object;
    return &table[pel_faults_random(&hash) % BUCKETS];
}

/* Needs the lock. */
static entry *find(const void *object, int kind, uint64_t index) {
    for (entry *e = *bucket_of(object); e; e = e->next) {
        if (e->object == object && (int)e->kind == kind && e->index == index) {
            return e;
        }
    }
    return NULL;
}

/* Needs the lock. */
static entry *put(const void *object, int kind, uint64_t index) {
    entry *e = find(object, kind, index);
    if (!e && (e = calloc(1, sizeof *e)) != NULL) {
        entry **bucket = bucket_of(object);
        *e = (entry){.next = *bucket, .object = object, .index = index};
        e->kind = kind == ENTRY_EVENT ? ENTRY_EVENT : kind == ENTRY_MEM ? ENTRY_MEM : ENTRY_ARGUMENT;
        *bucket = e;
    }
    return e;
}

void pel_faults_cure(const void *object) {
    pthread_mutex_lock(&lock);
    for (entry **link = bucket_of(object); *link;) {
        entry *e = *link;
        if (e->object == object) {
            *link = e->next;
            free(e);
        } else {
            link = &e->next;
        }
    }
    pthread_mutex_unlock(&lock);
}

void pel_faults_count_object(int change) {
    pthread_mutex_lock(&lock);
    objects += change;
    pthread_mutex_unlock(&lock);
}

static int64_t count_objects(void) {
    pthread_mutex_lock(&lock);
    int64_t count = objects;
    pthread_mutex_unlock(&lock);
    return count;
}

void pel_faults_poison(cl_event event, cl_int code) {
    pthread_mutex_lock(&lock);
    entry *e = put(event, ENTRY_EVENT, 0);
    if (e) {
        e->value.code = code;
    }
    pthread_mutex_unlock(&lock);
}

cl_int pel_faults_poison_of(cl_event event) {
    pthread_mutex_lock(&lock);
    const entry *e = find(event, ENTRY_EVENT, 0);
    cl_int code = e ? e->value.code : CL_SUCCESS;
    pthread_mutex_unlock(&lock);
    return code;
}

void pel_faults_note_mem(cl_mem mem) {
    pthread_mutex_lock(&lock);
    (void)put(mem, ENTRY_MEM, 0);
    pthread_mutex_unlock(&lock);
}

void pel_faults_note_argument(cl_kernel kernel, cl_uint index, size_t bytes, const void *value) {
    cl_mem mem = NULL;
    if (value && bytes == sizeof mem) {
        memcpy(&mem, value, sizeof mem);
    }
    pthread_mutex_lock(&lock);
    /* A value of eight bytes may look like a handle: only what is known to be a memory object counts. */
    if (mem && !find(mem, ENTRY_MEM, 0)) {
        mem = NULL;
    }
    entry *e = mem ? put(kernel, ENTRY_ARGUMENT, index) : find(kernel, ENTRY_ARGUMENT, index);
    if (e) {
        e->value.mem = mem;
    }
    pthread_mutex_unlock(&lock);
}

uint32_t pel_faults_arguments(cl_kernel kernel, cl_mem *mems, uint32_t capacity) {
    uint32_t count = 0;
    pthread_mutex_lock(&lock);
    for (const entry *e = *bucket_of(kernel); e && count < capacity; e = e->next) {
        if (e->object == kernel && e->kind == ENTRY_ARGUMENT && e->value.mem && find(e->value.mem, ENTRY_MEM, 0)) {
            mems[count++] = e->value.mem;
        }
    }
    pthread_mutex_unlock(&lock);
    return count;
}

uint64_t pel_faults_pick(uint64_t below) {
    pthread_mutex_lock(&lock);
    uint64_t number = below ? pel_faults_random(&random_state) % below : 0;
    pthread_mutex_unlock(&lock);
    return number;
}

/* ---- devices ---- */

/* The device of an object, where it has one; asked from the driver, without the lock. */
static cl_device_id device_of(pel_faults_scope scope, const void *handle) {
    cl_device_id device = NULL, several[2] = {NULL, NULL};
    cl_context context = NULL;
    cl_command_queue queue = NULL;
    const void *object = handle;
    void *thing;
    size_t bytes = 0;
    memcpy(&thing, &object, sizeof thing); /* handles are not const */
    if (!handle) {
        return NULL;
    }
    switch (scope) {
    case PEL_SCOPE_DEVICE:
        return thing;
    case PEL_SCOPE_QUEUE:
        queue = thing;
        break;
    case PEL_SCOPE_CONTEXT:
        context = thing;
        break;
    case PEL_SCOPE_MEM:
        (void)pel_faults_target->clGetMemObjectInfo(thing, CL_MEM_CONTEXT, sizeof context, &context, NULL);
        break;
    case PEL_SCOPE_PROGRAM:
        (void)pel_faults_target->clGetProgramInfo(thing, CL_PROGRAM_CONTEXT, sizeof context, &context, NULL);
        break;
    case PEL_SCOPE_KERNEL:
        (void)pel_faults_target->clGetKernelInfo(thing, CL_KERNEL_CONTEXT, sizeof context, &context, NULL);
        break;
    case PEL_SCOPE_EVENT:
        (void)pel_faults_target->clGetEventInfo(thing, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL);
        break;
    default:
        return NULL;
    }
    if (queue && pel_faults_target->clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL) == CL_SUCCESS) {
        return device;
    }
    if (context &&
        pel_faults_target->clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof several, several, &bytes) == CL_SUCCESS &&
        bytes == sizeof device) {
        return several[0]; /* a context of several devices belongs to none of them */
    }
    return NULL;
}

static bool device_named(cl_device_id device, const char *part) {
    char name[256] = "";
    return device && pel_faults_target->clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name - 1, name, NULL) == CL_SUCCESS &&
           strcasestr(name, part) != NULL;
}

/* Needs the lock. */
static bool is_vanished(cl_device_id device) {
    bool gone = all_vanished;
    for (uint32_t i = 0; i < vanished_count && !gone; i++) {
        gone = device == vanished[i];
    }
    return gone;
}

bool pel_faults_vanished(pel_faults_scope scope, const void *handle) {
    pthread_mutex_lock(&lock);
    bool any = all_vanished || vanished_count > 0, gone = all_vanished && scope != PEL_SCOPE_NONE;
    pthread_mutex_unlock(&lock);
    if (!any || gone) {
        return gone;
    }
    cl_device_id device = device_of(scope, handle);
    pthread_mutex_lock(&lock);
    gone = device && is_vanished(device);
    pthread_mutex_unlock(&lock);
    return gone;
}

/* ---- meeting a call ---- */

static void note_fault(const char *call, uint64_t number, const pel_faults_rule *rule, cl_int code, const char *path) {
    static const char *const kinds[] = {"", "", "", "event", "late", "never", "flip", "slow", "delay", "vanish"};
    const char *name = pel_faults_code_name(code);
    FILE *file = strcmp(path, "-") == 0 ? stderr : fopen(path, "ae");
    if (!file) {
        return;
    }
    if (code != CL_SUCCESS && name) {
        (void)fprintf(file, "pel-faults: %s #%llu: %s %s\n", call, (unsigned long long)number, kinds[rule->kind], name);
    } else {
        (void)fprintf(file, "pel-faults: %s #%llu: %s %d\n", call, (unsigned long long)number, kinds[rule->kind], (int)code);
    }
    if (file != stderr) {
        (void)fclose(file);
    }
}

/* Needs the lock. */
static void vanish(const pel_faults_rule *rule, cl_device_id device) {
    needs_device = true;
    if (rule->device[0] == '\0' || !device) {
        all_vanished = true;
    } else if (!is_vanished(device) && vanished_count < DEVICES) {
        vanished[vanished_count++] = device;
    }
}

/* The code that a rule gives; needs the lock. */
static cl_int code_of(const pel_faults_rule *rule, pel_faults_call call) {
    uint32_t count;
    const cl_int *list = call_codes(call, &count);
    switch (rule->kind) {
    case PEL_FAULT_CODE:
    case PEL_FAULT_EVENT:
        return rule->code;
    case PEL_FAULT_RANDOM:
        return list[pel_faults_random(&random_state) % count];
    case PEL_FAULT_VANISH:
        return call == PEL_CALL_clGetDeviceIDs ? CL_DEVICE_NOT_FOUND : CL_DEVICE_NOT_AVAILABLE;
    default:
        return CL_SUCCESS;
    }
}

static bool names_device(const bool named[PEL_FAULTS_RULES], uint32_t rule) {
    return script.rules[rule].device[0] == '\0' || named[rule];
}

pel_faults_fault pel_faults_meet(pel_faults_call call, pel_faults_scope scope, const void *handle) {
    pel_faults_fault fault = {PEL_FAULT_NONE, CL_SUCCESS, 0};
    bool named[PEL_FAULTS_RULES] = {false};
    char log[sizeof script.log] = "";
    cl_device_id device = NULL;
    uint64_t number;
    pel_faults_rule noted = {.kind = PEL_FAULT_NONE};

    pthread_mutex_lock(&lock);
    number = ++times[call];
    bool ask = needs_device;
    uint32_t count = script.count;
    pthread_mutex_unlock(&lock);
    if (ask && scope != PEL_SCOPE_NONE) {
        device = device_of(scope, handle);
        for (uint32_t i = 0; i < count; i++) {
            named[i] = script.rules[i].device[0] != '\0' && device_named(device, script.rules[i].device);
        }
    }
    pthread_mutex_lock(&lock);
    if (scope != PEL_SCOPE_NONE && (device ? is_vanished(device) : all_vanished)) {
        fault = (pel_faults_fault){PEL_FAULT_VANISH, CL_DEVICE_NOT_AVAILABLE, 0};
    }
    for (uint32_t i = 0; i < script.count && fault.kind == PEL_FAULT_NONE; i++) {
        pel_faults_rule *rule = &script.rules[i];
        if (!pel_faults_rule_names(rule, names[call]) || !names_device(named, i) || !pel_faults_rule_fires(rule, &random_state)) {
            continue;
        }
        fault = (pel_faults_fault){rule->kind, code_of(rule, call), rule->amount};
        if (rule->kind == PEL_FAULT_RANDOM) {
            fault.kind = PEL_FAULT_CODE;
        } else if (rule->kind == PEL_FAULT_VANISH) {
            vanish(rule, device);
        }
        fired++;
        last_call = names[call];
        noted = *rule;
        memcpy(log, script.log, sizeof log);
    }
    pthread_mutex_unlock(&lock);
    if (log[0] != '\0') {
        note_fault(names[call], number, &noted, fault.code, log);
    }
    if (fault.kind == PEL_FAULT_DELAY) {
        struct timespec time = {.tv_sec = (time_t)(fault.amount / 1e9),
                                .tv_nsec = (long)(fault.amount - 1e9 * (double)(time_t)(fault.amount / 1e9))};
        (void)nanosleep(&time, NULL);
        fault.kind = PEL_FAULT_NONE;
    }
    return fault;
}

/* ---- control ---- */

static int control_set(const char *text, char *why, size_t why_bytes) {
    static pel_faults_script fresh; /* large; guarded by `setting` */
    static pthread_mutex_t setting = PTHREAD_MUTEX_INITIALIZER;
    char no_room[1];
    if (!why || why_bytes == 0) {
        why = no_room;
        why_bytes = sizeof no_room;
    }
    pthread_mutex_lock(&setting);
    bool well = pel_faults_parse(text, &fresh, why, why_bytes);
    if (well) {
        pel_faults_free_hung();
        pthread_mutex_lock(&lock);
        script = fresh;
        needs_device = false;
        for (uint32_t i = 0; i < script.count; i++) {
            needs_device = needs_device || script.rules[i].device[0] != '\0';
        }
        random_state = script.seed;
        fired = 0;
        last_call = NULL;
        vanished_count = 0;
        all_vanished = false;
        memset(times, 0, sizeof times);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_unlock(&setting);
    return well ? 0 : -1;
}

static uint64_t control_fired(void) {
    pthread_mutex_lock(&lock);
    uint64_t count = fired;
    pthread_mutex_unlock(&lock);
    return count;
}

static const char *control_last(void) {
    pthread_mutex_lock(&lock);
    const char *name = last_call;
    pthread_mutex_unlock(&lock);
    return name;
}

static uint32_t control_call_count(void) {
    return PEL_FAULTS_CALL_COUNT;
}

static uint64_t control_call_times(uint32_t call) {
    pthread_mutex_lock(&lock);
    uint64_t count = call < PEL_FAULTS_CALL_COUNT ? times[call] : 0;
    pthread_mutex_unlock(&lock);
    return count;
}

static const pel_faults_control control = {.version = PEL_FAULTS_CONTROL_VERSION,
                                           .set = control_set,
                                           .fired = control_fired,
                                           .last = control_last,
                                           .objects = count_objects,
                                           .pending = pel_faults_pending,
                                           .call_count = control_call_count,
                                           .call_name = pel_faults_call_name,
                                           .call_times = control_call_times,
                                           .call_codes = call_codes};

const pel_faults_control *pel_faults_control_get(uint32_t version) {
    return version == PEL_FAULTS_CONTROL_VERSION ? &control : NULL;
}

/* A summary for a user's continuous integration: what happened, and what was left over. */
static void write_report(void) __attribute__((destructor));

static void write_report(void) {
    FILE *file = script.report[0] == '\0' ? NULL : strcmp(script.report, "-") == 0 ? stderr : fopen(script.report, "we");
    if (!file) {
        return;
    }
    (void)fprintf(file, "pel-faults: %llu faults, %lld references to OpenCL objects left\n", (unsigned long long)fired,
                  (long long)objects);
    for (uint32_t call = 0; call < PEL_FAULTS_CALL_COUNT; call++) {
        if (times[call] > 0) {
            (void)fprintf(file, "%s %llu\n", names[call], (unsigned long long)times[call]);
        }
    }
    if (file != stderr) {
        (void)fclose(file);
    }
}
