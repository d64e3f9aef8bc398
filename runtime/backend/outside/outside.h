/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The outside backend's own structures: the library's end of a device that a child process drives.
 *
 * One lock guards everything that submitters, helpers and the device's thread share; nothing waits under it, and nothing of the
 * caller's is called under it. The baton (running) makes one thread at a time the receiver: it alone reads packets, copies,
 * declares the child lost, and completes works.
 */
#ifndef PEL_BACKEND_OUTSIDE_OUTSIDE_H
#define PEL_BACKEND_OUTSIDE_OUTSIDE_H

#include "backend/backend.h"
#include "backend/outside/protocol.h"
#include "base/text.h"
#include <pthread.h>
#include <sys/types.h>

/* works that are with the child at once; beyond that nothing is gained (train.c) and each costs memory there */
enum { PEL_OUTSIDE_SENT = 64 };

/* What the child knows, by ascending ids, and of a kernel what it has said when it was built. */
typedef struct pel_outside_known {
    uint64_t id;
    uint64_t group;            /* items of the largest work-group; 0: not known */
    bool fixed;                /* the source demands one size */
} pel_outside_known;

typedef struct pel_outside_ids {
    pel_outside_known *known;
    size_t count, capacity;
} pel_outside_ids;

/* A message that found no room in the socket. */
typedef struct pel_outside_post {
    struct pel_outside_post *next;
    int attached;
    uint32_t bytes;
    unsigned char data[];
} pel_outside_post;

/* A caller of prepare that waits. On its stack. */
typedef struct pel_outside_request {
    struct pel_outside_request *next;
    uint64_t id;
    bool answered, fixed;
    uint64_t group;
    pel_status status;
    pel_error *error;
} pel_outside_request;

typedef struct pel_outside {
    pel_backend_device base;
    const pel_backend_env *env;
    char *label;               /* "opencl:0 (name), in a process of its own", for errors */
    pthread_t thread;
    int kick;                  /* an eventfd: ends the thread's sleep */

    pthread_mutex_t lock;      /* guards what follows */
    pthread_cond_t wake;       /* the thread: the baton is free */
    pthread_cond_t answered;   /* open and prepare */
    int socket;                /* -1: there is no child */
    pid_t child;               /* 0: there is none that is not reaped */
    bool opened, dying, lost, closing, running;
    bool in_place;             /* the child's device works in the shared memory itself */
    pel_error *loss;           /* lost: why */
    pel_work *head, *tail;     /* not sent */
    pel_work *sent_head, *sent_tail;
    uint32_t sent_count;
    bool alone;                /* the work that is with the child copies: nothing may follow it */
    int64_t last_ended;
    uint64_t next_id, next_sequence;
    pel_outside_post *posts, *last_post;
    pel_outside_request *requests;
    pel_outside_ids programs, kernels;
    pel_packet out;

    pel_packet in;             /* (baton) */
} pel_outside;

typedef struct pel_outside_mem {
    pel_mem base;
    uint64_t id;
    unsigned char *region;     /* byte 0 of it, in memory that both processes see */
    bool view;
    bool wiped;                /* it held what is sensitive */
} pel_outside_mem;

/* An error of this device that is not a lost child. */
pel_status pel_outside_refuse(const pel_outside *device, pel_error **error, pel_status status, const char *call, int code,
                              const char *advice, const char *format, ...) __attribute__((format(printf, 7, 8)));
pel_status pel_outside_lost_error(const pel_outside *device, pel_error **error); /* (lock) a copy of the loss */

/* proxy.c */
/* Sends device->out, or keeps it until there is room; takes `attached` over. Needs the lock. OUT_OF_MEMORY, TOO_LARGE,
 * DEVICE_LOST. */
pel_status pel_outside_post_out(pel_outside *device, int attached);
bool pel_outside_flush(pel_outside *device); /* (lock) false: there are still some */
void pel_outside_kick(const pel_outside *device); /* ends the thread's sleep */
bool pel_outside_has_work(const pel_outside *device); /* (lock) */
/* Sends, receives and completes something. Takes the baton; needs the lock and has it on return. */
void pel_outside_run_some(pel_outside *device);
bool pel_outside_take_log(const pel_outside *device, pel_reader *reader); /* false: it is no such message */
void pel_outside_submit(pel_backend_device *device, pel_work *work);
bool pel_outside_help(pel_backend_device *device);

/* work.c; all need the baton but pel_outside_send */
bool pel_outside_is_rider(const pel_work *work);
/* The work as a packet, to the child. (lock) 0, EAGAIN, or an error that is the work's: its status is set. */
int pel_outside_send(pel_outside *device, pel_work *work);
void pel_outside_copy(pel_work *work, bool in);
/* Takes the times and the status of a message about the oldest sent work; false: it is no such message. */
bool pel_outside_read_done(pel_outside *device, pel_work *work, pel_reader *reader, int64_t now);

/* memory.c */
pel_status pel_outside_mem_create(pel_backend_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error);
pel_status pel_outside_mem_view(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                                pel_error **error);
pel_status pel_outside_mem_wipe(pel_backend_device *device, pel_mem *mem, pel_error **error);
void pel_outside_mem_destroy(pel_backend_device *device, pel_mem *mem);
/* A descriptor of memory of `bytes` bytes whose size nobody can change any more, mapped; -1 with errno. The caller unmaps and
 * closes. */
int pel_outside_share(uint64_t bytes, void **mapping);

/* program.c */
pel_status pel_outside_prepare(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                               pel_error **error);
uint64_t pel_outside_largest_group(pel_backend_device *device, const pel_kernel_image *kernel, bool *fixed);
void pel_outside_kernel_forget(pel_backend_device *device, const pel_kernel_image *kernel);
void pel_outside_program_forget(pel_backend_device *device, const pel_program_image *program);
/* Tells the child of a kernel and its program, unless it knows. (lock) */
pel_status pel_outside_define(pel_outside *device, const pel_program_image *program, const pel_kernel_image *kernel,
                              pel_error **error);
bool pel_outside_answer(pel_outside *device, pel_reader *reader); /* (lock) a REPLY; false: to nobody's question */
void pel_outside_fail_requests(pel_outside *device);              /* (lock) */

/* child.c */
/* Starts pel-device; by the thread that ends last, because the child dies with it. (lock) */
pel_status pel_outside_start(pel_outside *device, pel_error **error);
pel_status pel_outside_introduce(pel_outside *device, pel_error **error); /* sends OPEN (lock) */
/* Kills the child if it is still ours, and waits for its end, two seconds at most. Appends to `how` what became of it; returns
 * its signal, else its exit status, else 0. */
int pel_outside_bury(pid_t child, bool kill_it, pel_text *how);

/* For tests: the process behind an open device; 0: none. */
pid_t pel_outside_process(pel_backend_device *device);

#endif
