/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What befalls commands: events that fail, commands that come late or never, slow devices, flipped bits.
 *
 * The problem: a late or hung command must really be late, so that its writes land when nobody expects them any more. So such a
 * command waits for a user event of ours, which a thread completes in time, or nobody. A failed command is the opposite: its work
 * is not done, a marker takes its place, and the marker's event is *reported* as failed. It is not made to fail, because waiting
 * for an event that has really failed never returns on PoCL before version 7, and the layer tests the program, not PoCL. A slow
 * device and a flipped bit need the end of the command: there the enqueue waits for it, as PoCL's basic device does anyway.
 * Rejected: handing out events of our own in place of the driver's, which every call with an event would have to translate.
 */
#include "faults/layer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define T (*pel_faults_target)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cl_event hung[256];
static uint32_t hung_count, pending;

static int64_t now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void sleep_ns(double nanoseconds) {
    struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1e9)};
    time.tv_nsec = (long)(nanoseconds - 1e9 * (double)time.tv_sec);
    while (nanosleep(&time, &time) != 0) {
    }
}

uint32_t pel_faults_pending(void) {
    pthread_mutex_lock(&lock);
    uint32_t count = pending;
    pthread_mutex_unlock(&lock);
    return count;
}

void pel_faults_free_hung(void) {
    cl_event freed[sizeof hung / sizeof *hung];
    pthread_mutex_lock(&lock);
    uint32_t count = hung_count;
    memcpy(freed, hung, sizeof freed);
    hung_count = 0;
    pthread_mutex_unlock(&lock);
    for (uint32_t i = 0; i < count; i++) {
        (void)T.clSetUserEventStatus(freed[i], CL_COMPLETE);
        (void)T.clReleaseEvent(freed[i]);
    }
}

/* ---- late and never ---- */

typedef struct gate {
    cl_event event;
    double nanoseconds;
} gate;

static void *open_later(void *argument) {
    gate g = *(gate *)argument;
    free(argument);
    sleep_ns(g.nanoseconds);
    (void)T.clSetUserEventStatus(g.event, CL_COMPLETE);
    (void)T.clReleaseEvent(g.event);
    pthread_mutex_lock(&lock);
    pending--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static bool start_timer(cl_event event, double nanoseconds) {
    pthread_t thread;
    gate *g = malloc(sizeof *g);
    if (!g) {
        return false;
    }
    *g = (gate){event, nanoseconds};
    pthread_mutex_lock(&lock);
    pending++;
    pthread_mutex_unlock(&lock);
    if (pthread_create(&thread, NULL, open_later, g) == 0) {
        (void)pthread_detach(thread);
        return true;
    }
    pthread_mutex_lock(&lock);
    pending--;
    pthread_mutex_unlock(&lock);
    free(g);
    return false;
}

/* Puts a user event in front of the command. A gate that cannot be made lets the command through. */
static void close_gate(pel_faults_command *command, cl_uint *wait_count, const cl_event **wait_list) {
    cl_context context = NULL;
    cl_int code = T.clGetCommandQueueInfo(command->queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    command->waits = calloc((size_t)*wait_count + 1, sizeof(cl_event));
    command->gate = code == CL_SUCCESS && command->waits ? T.clCreateUserEvent(context, &code) : NULL;
    if (!command->gate) {
        return;
    }
    if (*wait_count > 0) {
        memcpy(command->waits, *wait_list, *wait_count * sizeof(cl_event));
    }
    command->waits[*wait_count] = command->gate;
    *wait_list = command->waits;
    ++*wait_count;
}

/* The command is enqueued: time begins to run. A gate that nobody could open is opened at once. */
static void arm_gate(pel_faults_command *command, cl_int code) {
    bool kept = false;
    if (code == CL_SUCCESS && command->fault.kind == PEL_FAULT_LATE) {
        kept = start_timer(command->gate, command->fault.amount);
    } else if (code == CL_SUCCESS) {
        pthread_mutex_lock(&lock);
        kept = hung_count < sizeof hung / sizeof *hung;
        if (kept) {
            hung[hung_count++] = command->gate;
        }
        pthread_mutex_unlock(&lock);
    }
    if (!kept) {
        (void)T.clSetUserEventStatus(command->gate, CL_COMPLETE);
        (void)T.clReleaseEvent(command->gate);
    }
}

/* ---- any command ---- */

/* A command that waits for one that failed fails too. */
static bool waits_for_failure(cl_uint count, const cl_event *list) {
    for (cl_uint i = 0; list && i < count; i++) {
        if (pel_faults_poison_of(list[i]) != CL_SUCCESS) {
            return true;
        }
    }
    return false;
}

/* Before a command; may change the wait list. Not CL_SUCCESS: return that, nothing else is to be done. */
static cl_int begin_command(pel_faults_command *command, pel_faults_call call, cl_command_queue queue, bool blocking,
                            cl_uint *wait_count, const cl_event **wait_list, cl_event *event) {
    *command = (pel_faults_command){.fault = pel_faults_meet(call, PEL_SCOPE_QUEUE, queue), .queue = queue, .wanted = event};
    const pel_faults_fault *fault = &command->fault;
    if (fault->kind == PEL_FAULT_CODE || fault->kind == PEL_FAULT_VANISH) {
        return fault->code;
    }
    command->poison = fault->kind == PEL_FAULT_EVENT               ? fault->code
                      : waits_for_failure(*wait_count, *wait_list) ? CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
                                                                   : CL_SUCCESS;
    if (command->poison != CL_SUCCESS) {
        command->replaced = true;
        return blocking ? command->poison : CL_SUCCESS;
    }
    if (blocking && fault->kind == PEL_FAULT_LATE) {
        sleep_ns(fault->amount); /* the program waits here anyway; nobody would open a gate for it in time */
        command->fault.kind = PEL_FAULT_NONE;
    } else if (fault->kind == PEL_FAULT_LATE || fault->kind == PEL_FAULT_NEVER) {
        close_gate(command, wait_count, wait_list);
    } else if (fault->kind == PEL_FAULT_SLOW) {
        (void)T.clFinish(queue); /* what was enqueued before is not this command's time */
        command->began = now();
    }
    return CL_SUCCESS;
}

/* After it; returns what to return. */
static cl_int end_command(pel_faults_command *command, cl_int code) {
    if (code == CL_SUCCESS && command->wanted && *command->wanted) {
        pel_faults_count_object(1);
        pel_faults_cure(*command->wanted); /* a driver may have held on to one that was poisoned, and freed it since */
        if (command->poison != CL_SUCCESS) {
            pel_faults_poison(*command->wanted, command->poison);
        }
    }
    if (command->gate) {
        arm_gate(command, code);
    }
    free(command->waits);
    if (code == CL_SUCCESS && command->fault.kind == PEL_FAULT_SLOW) {
        (void)T.clFinish(command->queue);
        sleep_ns((command->fault.amount - 1) * (double)(now() - command->began));
    }
    return code;
}

#define WRAPPER(name, blocking, parameters, arguments, ...)                                                                      \
    static CL_API_ENTRY cl_int CL_API_CALL wrapped_##name parameters {                                                           \
        pel_faults_command command;                                                                                              \
        cl_int code =                                                                                                            \
            begin_command(&command, PEL_CALL_##name, queue, (blocking) != CL_FALSE, &wait_count, &wait_list, event);             \
        if (code != CL_SUCCESS) {                                                                                                \
            return code;                                                                                                         \
        }                                                                                                                        \
        return end_command(&command,                                                                                             \
                           command.replaced ? T.clEnqueueMarkerWithWaitList(queue, 0, NULL, event) : T.name arguments);          \
    }
PEL_FAULTS_COMMAND_CALLS(WRAPPER)

/* ---- flipped bits ---- */

/* The arguments' bytes before a launch, so that a bit is flipped in what the launch wrote and not elsewhere. */
typedef struct snapshot {
    cl_mem mems[64];
    unsigned char *bytes[64];
    size_t sizes[64];
    uint32_t count;
} snapshot;

static unsigned char *read_all(cl_command_queue queue, cl_mem mem, size_t size) {
    unsigned char *bytes = malloc(size);
    if (bytes && T.clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, size, bytes, 0, NULL, NULL) != CL_SUCCESS) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

static void take_snapshot(snapshot *s, cl_command_queue queue, cl_kernel kernel) {
    s->count = pel_faults_arguments(kernel, s->mems, 64);
    for (uint32_t i = 0; i < s->count; i++) {
        s->sizes[i] = 0;
        (void)T.clGetMemObjectInfo(s->mems[i], CL_MEM_SIZE, sizeof s->sizes[i], &s->sizes[i], NULL);
        s->bytes[i] = s->sizes[i] > 0 ? read_all(queue, s->mems[i], s->sizes[i]) : NULL;
    }
}

/* Rounded up: a script that asks for flips gets at least one. */
static uint64_t whole_flips(double bits) {
    const uint64_t whole = bits < 1e9 ? (uint64_t)(bits > 0 ? bits : 0) : 1000000000u;
    return whole + ((double)whole < bits && whole < 1000000000u);
}

/* Calls visit(user, mem, offset, byte now there) for each byte that the launch changed, until it says stop. */
static uint64_t count_changed(const snapshot *s, unsigned char *const after[64]) {
    uint64_t changed = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        for (size_t at = 0; s->bytes[i] && after[i] && at < s->sizes[i]; at++) {
            changed += s->bytes[i][at] != after[i][at];
        }
    }
    return changed;
}

static void flip_nth(const snapshot *s, unsigned char *const after[64], cl_command_queue queue, uint64_t nth) {
    for (uint32_t i = 0; i < s->count; i++) {
        for (size_t at = 0; s->bytes[i] && after[i] && at < s->sizes[i]; at++) {
            if (s->bytes[i][at] == after[i][at] || nth-- > 0) {
                continue;
            }
            unsigned char byte = (unsigned char)(after[i][at] ^ (1u << pel_faults_pick(8)));
            (void)T.clEnqueueWriteBuffer(queue, s->mems[i], CL_TRUE, at, 1, &byte, 0, NULL, NULL);
            return;
        }
    }
}

static void flip_results(snapshot *s, cl_command_queue queue, double bits) {
    unsigned char *after[64] = {NULL};
    (void)T.clFinish(queue);
    for (uint32_t i = 0; i < s->count; i++) {
        after[i] = s->bytes[i] ? read_all(queue, s->mems[i], s->sizes[i]) : NULL;
    }
    uint64_t changed = count_changed(s, after);
    for (uint64_t left = whole_flips(bits); left > 0 && changed > 0; left--) {
        flip_nth(s, after, queue, pel_faults_pick(changed));
    }
    for (uint32_t i = 0; i < s->count; i++) {
        free(after[i]);
    }
}

static void drop_snapshot(snapshot *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        free(s->bytes[i]);
    }
}

static void flip_bytes(unsigned char *bytes, size_t size, double bits) {
    for (uint64_t left = whole_flips(bits); left > 0 && size > 0; left--) {
        bytes[pel_faults_pick(size)] ^= (unsigned char)(1u << pel_faults_pick(8));
    }
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                                                      const size_t *offset, const size_t *global,
                                                                      const size_t *local, cl_uint wait_count,
                                                                      const cl_event *wait_list, cl_event *event) {
    pel_faults_command command;
    snapshot s = {.count = 0};
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueNDRangeKernel, queue, false, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        return code;
    }
    bool flip = command.fault.kind == PEL_FAULT_FLIP;
    if (flip) {
        take_snapshot(&s, queue, kernel);
    }
    code = command.replaced ? T.clEnqueueMarkerWithWaitList(queue, 0, NULL, event)
                            : T.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, wait_count, wait_list, event);
    if (flip && code == CL_SUCCESS) {
        flip_results(&s, queue, command.fault.amount);
    }
    drop_snapshot(&s);
    return end_command(&command, code);
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clEnqueueTask(cl_command_queue queue, cl_kernel kernel, cl_uint wait_count,
                                                             const cl_event *wait_list, cl_event *event) {
    pel_faults_command command;
    snapshot s = {.count = 0};
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueTask, queue, false, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        return code;
    }
    bool flip = command.fault.kind == PEL_FAULT_FLIP;
    if (flip) {
        take_snapshot(&s, queue, kernel);
    }
    code = command.replaced ? T.clEnqueueMarkerWithWaitList(queue, 0, NULL, event)
                            : T.clEnqueueTask(queue, kernel, wait_count, wait_list, event);
    if (flip && code == CL_SUCCESS) {
        flip_results(&s, queue, command.fault.amount);
    }
    drop_snapshot(&s);
    return end_command(&command, code);
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clEnqueueReadBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                                                   size_t offset, size_t size, void *to, cl_uint wait_count,
                                                                   const cl_event *wait_list, cl_event *event) {
    pel_faults_command command;
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueReadBuffer, queue, blocking, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        return code;
    }
    bool flip = command.fault.kind == PEL_FAULT_FLIP;
    code = command.replaced
               ? T.clEnqueueMarkerWithWaitList(queue, 0, NULL, event)
               : T.clEnqueueReadBuffer(queue, mem, flip ? CL_TRUE : blocking, offset, size, to, wait_count, wait_list, event);
    if (flip && code == CL_SUCCESS) {
        flip_bytes(to, size, command.fault.amount);
    }
    return end_command(&command, code);
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clEnqueueWriteBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                                                    size_t offset, size_t size, const void *from,
                                                                    cl_uint wait_count, const cl_event *wait_list,
                                                                    cl_event *event) {
    pel_faults_command command;
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueWriteBuffer, queue, blocking, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        return code;
    }
    unsigned char *changed = command.fault.kind == PEL_FAULT_FLIP ? malloc(size ? size : 1) : NULL;
    if (changed) {
        memcpy(changed, from, size);
        flip_bytes(changed, size, command.fault.amount);
        from = changed;
        blocking = CL_TRUE;
    }
    code = command.replaced ? T.clEnqueueMarkerWithWaitList(queue, 0, NULL, event)
                            : T.clEnqueueWriteBuffer(queue, mem, blocking, offset, size, from, wait_count, wait_list, event);
    free(changed);
    return end_command(&command, code);
}

/* ---- maps, which answer with a pointer, and the old marker, which has no wait list ---- */

static cl_int end_map(pel_faults_command *command, cl_int code, cl_int *errcode_ret) {
    code = end_command(command, code);
    if (errcode_ret) {
        *errcode_ret = code;
    }
    return code;
}

static CL_API_ENTRY void *CL_API_CALL wrapped_clEnqueueMapBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                                                 cl_map_flags flags, size_t offset, size_t size,
                                                                 cl_uint wait_count, const cl_event *wait_list, cl_event *event,
                                                                 cl_int *errcode_ret) {
    pel_faults_command command;
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueMapBuffer, queue, blocking, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        if (errcode_ret) {
            *errcode_ret = code;
        }
        return NULL;
    }
    /* A map whose event fails is made all the same: the program will unmap what it was given. */
    void *mapped = T.clEnqueueMapBuffer(queue, mem, blocking, flags, offset, size, wait_count, wait_list, event, &code);
    return end_map(&command, code, errcode_ret) == CL_SUCCESS ? mapped : NULL;
}

static CL_API_ENTRY void *CL_API_CALL wrapped_clEnqueueMapImage(cl_command_queue queue, cl_mem image, cl_bool blocking,
                                                                cl_map_flags flags, const size_t *origin, const size_t *region,
                                                                size_t *row_pitch, size_t *slice_pitch, cl_uint wait_count,
                                                                const cl_event *wait_list, cl_event *event, cl_int *errcode_ret) {
    pel_faults_command command;
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueMapImage, queue, blocking, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        if (errcode_ret) {
            *errcode_ret = code;
        }
        return NULL;
    }
    void *mapped = T.clEnqueueMapImage(queue, image, blocking, flags, origin, region, row_pitch, slice_pitch, wait_count,
                                       wait_list, event, &code);
    return end_map(&command, code, errcode_ret) == CL_SUCCESS ? mapped : NULL;
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clEnqueueMarker(cl_command_queue queue, cl_event *event) {
    pel_faults_command command;
    cl_uint wait_count = 0;
    const cl_event *wait_list = NULL;
    cl_int code = begin_command(&command, PEL_CALL_clEnqueueMarker, queue, false, &wait_count, &wait_list, event);
    if (code != CL_SUCCESS) {
        return code;
    }
    return end_command(&command, wait_count > 0 ? T.clEnqueueMarkerWithWaitList(queue, wait_count, wait_list, event)
                                                : T.clEnqueueMarker(queue, event));
}

void pel_faults_fill_commands(cl_icd_dispatch *table) {
#define FILL(name, ...) table->name = wrapped_##name;
    PEL_FAULTS_COMMAND_CALLS(FILL)
    FILL(clEnqueueNDRangeKernel)
    FILL(clEnqueueTask)
    FILL(clEnqueueReadBuffer)
    FILL(clEnqueueWriteBuffer)
    FILL(clEnqueueMapBuffer)
    FILL(clEnqueueMapImage)
    FILL(clEnqueueMarker)
}
