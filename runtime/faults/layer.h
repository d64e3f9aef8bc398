/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the layer share. One lock (in state.c) guards script, counts and tables; nothing of OpenCL is called under
 * it. */
#ifndef PEL_FAULTS_LAYER_H
#define PEL_FAULTS_LAYER_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_layer.h>

#include "faults/calls.h"
#include "faults/faults.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEL_FAULTS_EVERY_CALL(X)                                                                                                 \
    PEL_FAULTS_CODE_CALLS(X)                                                                                                     \
    PEL_FAULTS_MAKE_CALLS(X) PEL_FAULTS_COMMAND_CALLS(X) PEL_FAULTS_RETAIN_CALLS(X) PEL_FAULTS_RELEASE_CALLS(X)                  \
        PEL_FAULTS_SPECIAL_CALLS(X)

typedef enum pel_faults_call {
#define CALL_NUMBER(name, ...) PEL_CALL_##name,
    PEL_FAULTS_EVERY_CALL(CALL_NUMBER)
#undef CALL_NUMBER
        PEL_FAULTS_CALL_COUNT
} pel_faults_call;

/* What kind of object a call is made on: from it the device is found. */
typedef enum pel_faults_scope {
    PEL_SCOPE_NONE,
    PEL_SCOPE_DEVICE,
    PEL_SCOPE_CONTEXT,
    PEL_SCOPE_QUEUE,
    PEL_SCOPE_MEM,
    PEL_SCOPE_PROGRAM,
    PEL_SCOPE_KERNEL,
    PEL_SCOPE_EVENT,
    PEL_SCOPE_SAMPLER
} pel_faults_scope;

/* ---- script.c: what shall happen ---- */

typedef enum pel_faults_kind {
    PEL_FAULT_NONE,
    PEL_FAULT_CODE,
    PEL_FAULT_RANDOM,
    PEL_FAULT_EVENT,
    PEL_FAULT_LATE,
    PEL_FAULT_NEVER,
    PEL_FAULT_FLIP,
    PEL_FAULT_SLOW,
    PEL_FAULT_DELAY,
    PEL_FAULT_VANISH
} pel_faults_kind;

typedef enum pel_faults_when { PEL_WHEN_RANGE, PEL_WHEN_EVERY, PEL_WHEN_CHANCE } pel_faults_when;

typedef struct pel_faults_rule {
    char pattern[64]; /* of call names; "any": all but retains and releases */
    char device[64];  /* a part of the device's name; "": any */
    pel_faults_when when;
    uint64_t first, last; /* RANGE: from first to last; EVERY: the first, and every last-th after it */
    double chance;        /* CHANCE: 0 to 1 */
    pel_faults_kind kind;
    cl_int code;   /* CODE, EVENT */
    double amount; /* LATE, DELAY: nanoseconds; SLOW: factor; FLIP: number of bits */
    uint64_t seen; /* matching calls so far */
} pel_faults_rule;

enum { PEL_FAULTS_RULES = 64 };

typedef struct pel_faults_script {
    pel_faults_rule rules[PEL_FAULTS_RULES];
    uint32_t count;
    uint64_t seed;
    char log[256], report[256]; /* paths; "": none; "-": stderr */
} pel_faults_script;

/* Reads a script, or the file that "@PATH" names. False: `why` says where and what. */
bool pel_faults_parse(const char *text, pel_faults_script *script, char *why, size_t why_bytes);
bool pel_faults_rule_names(const pel_faults_rule *rule, const char *call);
/* Whether the rule fires at its next matching call; counts that call. */
bool pel_faults_rule_fires(pel_faults_rule *rule, uint64_t *random);
const char *pel_faults_code_name(cl_int code); /* NULL: unknown */
uint64_t pel_faults_random(uint64_t *state);

/* ---- state.c: what is known while the program runs ---- */

extern const cl_icd_dispatch *pel_faults_target; /* what the wrappers call */

typedef struct pel_faults_fault {
    pel_faults_kind kind; /* NONE: nothing happens */
    cl_int code;          /* what to return instead of calling; CL_SUCCESS: call */
    double amount;
} pel_faults_fault;

/* Counts a call and says what befalls it. Delays have been waited for already. */
pel_faults_fault pel_faults_meet(pel_faults_call call, pel_faults_scope scope, const void *handle);
const char *pel_faults_call_name(uint32_t call);

/* Objects are counted by references; `change` is +1 or -1. */
void pel_faults_count_object(int change);

/* Events that are reported as failed. CL_SUCCESS: not one of them. */
void pel_faults_poison(cl_event event, cl_int code);
cl_int pel_faults_poison_of(cl_event event);
void pel_faults_cure(const void *object); /* the event, kernel or memory object is gone */

/* Memory objects, and which of them are a kernel's arguments. */
void pel_faults_note_mem(cl_mem mem);
void pel_faults_note_argument(cl_kernel kernel, cl_uint index, size_t bytes, const void *value);
uint32_t pel_faults_arguments(cl_kernel kernel, cl_mem *mems, uint32_t capacity);

bool pel_faults_vanished(pel_faults_scope scope, const void *handle);
uint64_t pel_faults_pick(uint64_t below); /* a number of the script's random stream */

/* ---- commands.c: what befalls a command ---- */

typedef struct pel_faults_command {
    pel_faults_fault fault;
    cl_command_queue queue;
    cl_event gate;    /* a user event that holds the command back */
    cl_event *waits;  /* the lengthened wait list; owned */
    cl_event *wanted; /* where the program wants the event; may be NULL */
    cl_int poison;    /* the event is to be reported with this code */
    bool replaced;    /* a marker is enqueued instead of the command */
    int64_t began;
} pel_faults_command;

void pel_faults_free_hung(void); /* commands that never complete fail now */
uint32_t pel_faults_pending(void);

/* Puts the commands' wrappers into the layer's table. */
void pel_faults_fill_commands(cl_icd_dispatch *table);

/* The control for tests, faults.h. Exported. */
__attribute__((visibility("default"))) pel_faults_get_control pel_faults_control_get;

#endif
