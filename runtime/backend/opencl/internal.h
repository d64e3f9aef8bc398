/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The OpenCL backend's own structures, shared by the files of this folder.
 *
 * Locks, in the order in which they may be taken: device->save_lock, program->lock (a build, seconds), device->ready_lock (the
 * context), device->table_lock (look-ups), device->lock (the queue of work). Nothing of OpenCL is called under device->lock, and
 * nobody's complete() under any of them. The baton (device->running) makes one thread at a time the submitter: cl_kernel
 * arguments and the command queue need no lock of their own.
 */
#ifndef PEL_BACKEND_OPENCL_INTERNAL_H
#define PEL_BACKEND_OPENCL_INTERNAL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#ifndef CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#endif
#include <CL/cl.h>

#include "backend/backend.h"
#include "backend/opencl/prelude.h"
#include "backend/opencl/shape.h"
#include <pthread.h>
#include <stdatomic.h>

/* One program in one form. */
typedef struct pel_cl_form_state {
    cl_program program;      /* NULL: not built yet */
    pel_error *failure;      /* it does not build: the answer is remembered */
    uint64_t *variants;      /* what its binary or this process has compiled already; grows (baton) */
    uint32_t variant_count, variant_capacity;
    uint32_t saved_count;    /* so many of them are in the cached file */
    /* built from source, and no file holds it yet; so even forms that are never launched are kept (program->lock) */
    bool unsaved;
} pel_cl_form_state;

typedef struct pel_cl_program {
    struct pel_cl_program *next;
    uint64_t id;
    const pel_program_image *image;
    pthread_mutex_t lock;    /* held while a form is built */
    pel_cl_form_state forms[PEL_CL_FORMS];
} pel_cl_program;

/* What the checks before a launch need to know of one argument; from the driver where it tells. */
typedef struct pel_cl_arg_facts {
    uint64_t alignment;      /* of what a pointer points to; 0: unknown */
} pel_cl_arg_facts;

/* How a launch was enqueued last time: the same again needs no thought and no compiler. */
typedef struct pel_cl_habit {
    bool known, chunked;
    uint32_t group;
    pel_span span;
    pel_cl_form form;
    pel_cl_shape shape;
} pel_cl_habit;

/* What an argument was set to last; PEL_WORK_ARG_NULL: not remembered. */
typedef struct pel_cl_arg_set {
    uint64_t kind, bytes;
    union {                  /* compared as bytes: 0 behind what is used */
        uint64_t mem;        /* pel_cl_mem.id */
        unsigned char value[16];
    } u;
} pel_cl_arg_set;

#define PEL_CL_STEP_EVENTS 64u /* commands of one phase of a step; equals the events of a flight */

typedef struct pel_cl_kernel {
    struct pel_cl_kernel *next;
    uint64_t id;
    const pel_kernel_image *image;
    pel_cl_program *program;
    uint64_t entry_key;      /* hash of the entry's name, part of a variant's key */
    cl_kernel kernels[PEL_CL_FORMS];     /* (table_lock) NULL: not made yet */
    pel_cl_limits limits[PEL_CL_FORMS];
    uint64_t local_bytes[PEL_CL_FORMS];  /* static local memory */
    pel_cl_arg_facts *args;  /* param_count of them; NULL: unknown */
    pel_cl_habit habit;      /* (baton) */
    pel_cl_arg_set *set;     /* (baton) of the form `set_form`; param_count of them; NULL: no memory for it, or not yet */
    pel_cl_form set_form;
    /* (baton) the kernel with windows of its buffers, in a program of its own: window.c; NULL: not asked for yet */
    struct pel_cl_wrapping *wrapping;
} pel_cl_kernel;

/* Works that are on the command queue and not reported, oldest first: see train.c. */
enum { PEL_CL_TRAIN = 256, PEL_CL_RIDER_EVENTS = 64 };
typedef struct pel_cl_rider {
    pel_work *work;          /* its status says whether it could be enqueued */
    struct pel_cl_opening *opening; /* gate.c; NULL: it waits for nobody */
    uint32_t count, ended;   /* so many of the first have been seen to end well */
    uint32_t each;           /* of one launch; 0: not known */
    bool is_long;            /* expected to take so long that others are better enqueued meanwhile */
    cl_event events[PEL_CL_RIDER_EVENTS];
} pel_cl_rider;

#define PEL_CL_LONGEST_BESIDE_NS 5000000 /* what a prediction that is far too long may cost */
#define PEL_CL_BUCKETS 64u /* power of two; programs and kernels of one runtime are few */

typedef struct pel_cl_device {
    pel_backend_device base;
    const pel_backend_env *env;
    cl_device_id id;
    char *label;             /* "opencl:0 (name)", for errors */
    bool is_pocl;
    uint64_t max_groups;     /* work-groups in one enqueue */

    pthread_mutex_t ready_lock;
    struct pel_cl_watch *watch; /* (ready_lock) made by the first adopted event; watch.c */
    cl_context context;      /* (ready_lock) made on first use */
    cl_command_queue queue;
    cl_command_queue upload, download; /* (baton) beside it, made by the first launch in steps */
    struct pel_cl_ring *rings[2]; /* (baton) for transfers to it and from it: staging.c; NULL: not made yet */
    uint64_t staging_bytes;  /* of a slot of theirs; 0: there are none */
    bool own_queue;          /* never the adopted one any more: a work failed in it */
    atomic_bool is_ready;    /* there are context and queue */
    atomic_uint forgotten;   /* kernels */
    uint64_t recent_id;      /* (baton) of the kernel that was asked for last; its record, if it had one, ... */
    unsigned recent_forgotten; /* ... when so many were forgotten */
    struct pel_cl_kernel *recent;
    char platform_version[256];
    cl_program scrub_program; /* (baton) made by the first launch that needs it; wipe.c */
    cl_kernel scrub;

    pthread_mutex_t save_lock;  /* held while binaries are written: no program goes meanwhile */
    pthread_mutex_t table_lock;
    pel_cl_program *programs[PEL_CL_BUCKETS];
    pel_cl_kernel *kernels[PEL_CL_BUCKETS];
    atomic_ullong mems_made; /* for pel_cl_mem.id */
    atomic_bool compiled;    /* a build took place: the driver's compiler is loaded */
    atomic_int rebases;      /* whether a pointer before its buffer works here: 0 not tried yet, 1 yes, -1 no */
    atomic_bool unsaved;     /* a form has variants that its cached file lacks */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    pel_work *head, *tail;
    atomic_uint queued;      /* so many launches and other works; written under the lock */
    bool running;            /* the baton */
    bool closing;
    bool watching;           /* the driver thread looks by itself, every tick */
    bool away;               /* not before the next end is due, because a waiter has the baton */
    bool touched;            /* somebody else did something since its last look: it leaves the device to them for another tick */
    bool submitted;          /* something came since the driver thread looked last */
    bool may_begin;          /* enqueueing does not run the kernel */
    bool sleeps_long;        /* the driver thread sleeps without an alarm for saving binaries */
    pel_cl_rider riders[PEL_CL_TRAIN]; /* (baton) a ring */
    uint64_t pace_of;        /* (baton, written under lock) kernel that last ran several times in one work; what each took */
    double pace_ns;
    uint32_t pace_pieces;    /* enqueues that each was */
    double usual_ns;         /* (baton) of late: a launch among many that follow each other; 0: unknown */
    bool guest;              /* (baton) who has it waits anyway */
    uint32_t vain_looks, looks_left_out; /* (baton) flight.c */
    uint32_t first_rider;
    uint32_t riding;         /* (baton) launches that the riders are */
    uint32_t long_riders;
    atomic_uint rider_count; /* written by who has the baton */
    int64_t last_report;     /* (baton) when the last of them was seen to have ended, of the runtime's clock */
    _Atomic int64_t due;     /* (baton writes) when the oldest should have ended, of the same clock; 0: not known */
    /* (baton) != 0: one of them failed then (CLOCK_MONOTONIC); nobody gets on before the queue is replaced */
    int64_t broken_at;
    struct pel_cl_telling *tellings; /* (baton) callbacks that were asked for, and a few that came */
    int64_t last_ended;      /* when the last work ended, CLOCK_MONOTONIC: idle since then */
    pthread_t driver;
} pel_cl_device;

typedef struct pel_cl_mem {
    pel_mem base;
    cl_mem cl;
    uint64_t id;             /* never used again, unlike addresses and handles */
} pel_cl_mem;

/* errors.c */
const char *pel_cl_code_name(cl_int code);
pel_status pel_cl_status(cl_int code);
/* An error of this device: `call` failed with `code`. */
pel_status pel_cl_fail(const pel_cl_device *device, pel_error **error, cl_int code, const char *call, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* An error of this device that is not a failed call. */
pel_status pel_cl_refuse(const pel_cl_device *device, pel_error **error, pel_status status, const char *advice,
                         const char *format, ...) __attribute__((format(printf, 5, 6)));

/* device.c: makes the context and the queue if need be. Any thread. */
pel_status pel_cl_ready(pel_cl_device *device, pel_error **error);
pel_status pel_cl_renew_queue(pel_cl_device *device, pel_error **error);

/* As pthread_create, without the host's signals. */
int pel_cl_start_thread(pthread_t *thread, void *(*function)(void *), void *argument);

/* watch.c: ends `event` when the cl_event is complete. Both are retained until then. */
pel_status pel_cl_watch(pel_cl_device *device, cl_event opencl_event, pel_event *event, pel_error **error);
void pel_cl_watch_end(pel_cl_device *device);

/* memory.c */
/* A cl_mem of the caller's as ours, retained; its host memory is still to be told. */
pel_status pel_cl_mem_adopt(pel_cl_device *device, cl_mem cl, uint64_t bytes, pel_mem **mem, pel_error **error);
pel_status pel_cl_mem_create(pel_backend_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error);
pel_status pel_cl_mem_view(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                           pel_error **error);
void pel_cl_mem_destroy(pel_backend_device *device, pel_mem *mem);

/* wipe.c: zeroes an object; and local memory, by a kernel enqueued after the one that used it (needs the baton). */
pel_status pel_cl_mem_wipe(pel_backend_device *device, pel_mem *mem, pel_error **error);
pel_status pel_cl_scrub(pel_cl_device *device, cl_event *event, pel_error **error);
void pel_cl_scrub_end(pel_cl_device *device);
cl_int pel_cl_compile(pel_cl_device *device, cl_program program, const char *options); /* program.c */

/* transfer.c: one transfer, without waiting */
pel_status pel_cl_enqueue_transfer(const pel_cl_device *device, cl_command_queue queue, const pel_transfer *transfer, bool in,
                                   cl_event *event, pel_error **error);

/* program.c, kernel.c */
pel_status pel_cl_prepare(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                          pel_error **error);
void pel_cl_kernel_forget(pel_backend_device *device, const pel_kernel_image *kernel);
void pel_cl_program_forget(pel_backend_device *device, const pel_program_image *program);
void pel_cl_forget_all(pel_cl_device *device);
pel_status pel_cl_program_find(pel_cl_device *device, const pel_program_image *image, pel_cl_program **program,
                               pel_error **error);
/* Builds a form if it is not built; *built tells whether a compiler ran. */
pel_status pel_cl_form_build(pel_cl_device *device, pel_cl_program *program, pel_cl_form form, bool *built, pel_error **error);
/* Whether pel_cl_kernel_get would find it ready. */
bool pel_cl_kernel_is_made(pel_cl_device *device, const pel_kernel_image *image, pel_cl_form form);
/* The kernel in one form, ready to run; *built tells whether a compiler ran. Its cl_kernel may be used by the holder of the
 * baton only. */
pel_cl_kernel *pel_cl_kernel_known(pel_cl_device *device, uint64_t id); /* NULL: never launched nor prepared */
pel_cl_kernel *pel_cl_kernel_recent(pel_cl_device *device, uint64_t id); /* the same, of a work that lives; baton */
pel_status pel_cl_kernel_get(pel_cl_device *device, const pel_kernel_image *image, pel_cl_form form, pel_cl_kernel **kernel,
                             bool *built, pel_error **error);
/* Notes that a variant is about to be launched; true: it is new, so the driver will compile it. */
bool pel_cl_variant_is_new(pel_cl_device *device, pel_cl_program *program, pel_cl_form form, uint64_t key);
/* Writes the binaries of forms with new variants to the cache. Needs the baton, or that no work runs. */
void pel_cl_save_binaries(pel_cl_device *device);

/* cache.c */
typedef struct pel_cl_binary {
    unsigned char *data;     /* owned, with the runtime's allocator */
    size_t bytes;
    uint64_t *variants;      /* owned */
    uint32_t variant_count;
} pel_cl_binary;
/* False: not there or not to be trusted (logged). */
bool pel_cl_cache_load(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form, pel_cl_binary *binary);
bool pel_cl_cache_store(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form,
                        const pel_cl_binary *binary);
void pel_cl_cache_drop(const pel_cl_device *device, const pel_program_image *image, pel_cl_form form);
void pel_cl_binary_free(const pel_cl_device *device, pel_cl_binary *binary);

cl_context pel_cl_context_of(pel_backend_device *device);

/* launch.c: runs one work to its end and fills its results; does not call complete(). */
void pel_cl_run(pel_cl_device *device, pel_work *work);
/* Only a launch, and nothing to copy before or after it. */
bool pel_cl_rides(const pel_cl_device *device, const pel_work *work);
/* It, or another part of the same launch, was enqueued like this before: it compiles nothing and takes no time. Baton. */
bool pel_cl_is_usual(pel_cl_device *device, const pel_work *work);
/* Enqueues it and comes back; what went wrong is in work->status. `held`: what the caller will open, NULL: nothing; the first
 * begins with it, where it has no gate. */
void pel_cl_board(pel_cl_device *device, pel_work *work, pel_cl_rider *rider, struct pel_cl_opening *held, bool first);
/* > 0: it is under way; 0: it has ended, well or not: see work->status. */
int pel_cl_look(pel_cl_device *device, pel_cl_rider *rider);
/* Sleeps until the oldest of `count` may have ended. `around`: how many there are in the ring. */
void pel_cl_await(pel_cl_device *device);
void pel_cl_alight(pel_cl_device *device, pel_cl_rider *rider); /* releases its events; nothing of it runs any more */

/* Enqueues the launch of a step; its events, at most PEL_CL_STEP_EVENTS, are the caller's, also after a failure. */
pel_status pel_cl_enqueue_step(pel_cl_device *device, pel_work *step, bool *cold, cl_event *events, uint32_t *count,
                               pel_error **error);

/* gate.c; all but pel_cl_gates need the baton, or that no work runs */
/* What completes when the gate opens; released once its work is over. Its state: 0 closed, > 0 open (also NULL), < 0 what
 * waits for it never begins. */
pel_status pel_cl_gate(pel_cl_device *device, pel_gate *gate, struct pel_cl_opening **opening, pel_error **error);
/* One that its owner opens: what is enqueued behind it begins then. NULL: without. */
struct pel_cl_opening *pel_cl_hold(const pel_cl_device *device);
void pel_cl_opening_open(struct pel_cl_opening *opening);
struct pel_cl_opening *pel_cl_opening_retain(struct pel_cl_opening *opening); /* NULL: nothing, as the next */
void pel_cl_opening_release(struct pel_cl_opening *opening);
const cl_event *pel_cl_opening_event(const struct pel_cl_opening *opening);
int pel_cl_opening_state(const struct pel_cl_opening *opening);
pel_status pel_cl_opening_failed(const pel_cl_device *device, pel_error **error); /* and that as an error */
/* it is closed, or has been open for less than that */
bool pel_cl_gate_is_new(const pel_cl_device *device, const pel_work *work, int64_t limit_ns);
/* sleeps until it is open, or never will be */
void pel_cl_gate_await(const pel_work *work, const struct pel_cl_opening *opening);
/* its signal is raised with this event, if it has one */
void pel_cl_tell_end(pel_cl_device *device, pel_work *work, cl_event event);
void pel_cl_tell_no_more(pel_cl_device *device);
bool pel_cl_gates(const pel_backend_device *device);

/* steps.c: all steps of a work; nothing of it runs any more when it comes back. */
pel_status pel_cl_run_steps(pel_cl_device *device, pel_work *work);

/* window.c */
bool pel_cl_windows(pel_backend_device *device, const pel_kernel_image *image, const char **why);
uint64_t pel_cl_largest_group(pel_backend_device *device, const pel_kernel_image *image, bool *fixed);
pel_status pel_cl_windowed_get(pel_cl_device *device, pel_cl_kernel *kernel, pel_cl_form form, bool *built, pel_error **error);
cl_kernel pel_cl_windowed_kernel(const pel_cl_kernel *kernel, pel_cl_form form); /* these two after a successful get */
pel_cl_program *pel_cl_windowed_program(const pel_cl_kernel *kernel);
void pel_cl_windowed_forget(pel_cl_device *device, pel_cl_kernel *kernel);
pel_status pel_cl_windowed_arguments(const pel_cl_device *device, const pel_cl_kernel *kernel, pel_cl_form form,
                                     const pel_work_arg *args, pel_error **error);

static inline uint32_t pel_cl_times(const pel_work *work) { return work->times > 1 ? work->times : 1; }

/* train.c; all need the baton */
/* begins and reports what it can, and waits for one if it must and `waits`; false: nothing was there */
bool pel_cl_train_step(pel_cl_device *device, bool waits);
double pel_cl_expected_ns(const pel_cl_device *device, const pel_work *work); /* what it takes, behind others; 0: unknown */
/* the same without waiting and compiling; true: what is left can wait for more. `first`: the oldest that is queued */
bool pel_cl_train_begin(pel_cl_device *device, pel_work *first);
/* device.c; both need the baton */
pel_work *pel_cl_first_work(pel_cl_device *device); /* the oldest one that is queued; NULL: none */
void pel_cl_take_work(pel_cl_device *device);       /* takes it out */

#endif
