/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random graphs of commands of all kinds against sequential execution: a plan is made from a seed alone (storm_plan.c), run
 * through the library (storm_run.c), and judged by an oracle (storm_oracle.c) that walks over it in program order and knows of
 * each byte what it holds and whether a failed command should have written it. What chance decides while it runs is only which
 * cancels come in time: the run notes that, and the oracle takes it from there.
 *
 * Memory as the plan sees it: two areas; a third buffer wraps a part of the first.
 */
#ifndef TESTS_QUEUE_STORM_H
#define TESTS_QUEUE_STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <pel/pel.h>

enum {
    STORM_OPS = 64,
    STORM_INNER = 96, /* children and recorded commands */
    STORM_QUEUES = 3,
    STORM_BUFFERS = 3,
    STORM_AREA = 576,
    STORM_PART = 120, /* where in the first area the third buffer begins */
    STORM_PART_BYTES = 336,
    STORM_SPACE = 2 * STORM_AREA,
    STORM_PITCH = 24,
    STORM_GRAPHS = 2,
    STORM_ACCESSES = 4,
    STORM_WAITS = 3,
    STORM_SHARES = 4
};

typedef enum storm_kind {
    /* commands */
    STORM_TASK,
    STORM_PARENT,
    STORM_LOOP,
    STORM_COPY,
    STORM_COPY_RECT,
    STORM_FILL,
    STORM_READ,
    STORM_WRITE,
    STORM_LAUNCH,
    STORM_MARKER,
    STORM_BARRIER,
    STORM_CALLBACK,
    STORM_REPLAY,
    STORM_MAP,
    /* what the submitting thread does besides */
    STORM_USER,
    STORM_FIRE,
    STORM_UNMAP,
    STORM_RECORD,
    STORM_REPLACE,
    STORM_CANCEL,
    STORM_WAIT,
    STORM_FINISH,
    STORM_RESET,
    STORM_KINDS
} storm_kind;

/* Rows of bytes in a buffer; one row: bytes in one piece. */
typedef struct storm_access {
    pel_access_mode mode;
    uint32_t buffer, offset, bytes, rows, pitch;
} storm_access;

/* Who ends a user event. */
typedef enum storm_ender { STORM_BY_THREAD, STORM_BY_TASK, STORM_BY_CALLBACK, STORM_BY_CANCEL } storm_ender;

struct storm;

typedef struct storm_op {
    storm_kind kind;
    uint32_t queue, number;
    storm_access accesses[STORM_ACCESSES]; /* of all but TASK and PARENT: the destination first */
    uint32_t access_count;
    uint32_t salt, waits[STORM_WAITS], wait_count; /* waits: ops of the same list */
    uint32_t target;       /* the op that is watched, waited for, cancelled, unmapped, ended or replayed; what is replaced */
    uint32_t first, count; /* among the inner ops */
    uint32_t fails, retries, grain;
    uint32_t pause; /* before it does anything: long enough that who does not wait for it is seen */
    int32_t priority;
    pel_status ends_as; /* of user events */
    storm_ender ender;
    bool named, wants_event, divided, waits_inside, guarded;

    /* the run */
    struct storm *storm;
    pel_event *event;
    pel_status said;         /* what the call returned: cancelling, waiting, mapping */
    bool cancelled, refused; /* refused: for want of memory; it has not happened */
    atomic_uint ran;         /* calls of a task, items of a loop or a launch */
    uint32_t result;
    unsigned char bytes[STORM_SPACE]; /* of READ and WRITE; all memory after a RESET */

    /* the oracle */
    pel_status status;
    uint32_t should_run, should_result; /* UINT32_MAX: any number */
} storm_op;

typedef struct storm_plan {
    uint64_t seed;
    storm_op ops[STORM_OPS], inner[STORM_INNER];
    uint32_t count, inner_count, queues, limit, weights[STORM_QUEUES], flags[STORM_QUEUES];
    uint32_t align; /* where launches that are divided begin, in bytes; 0: anywhere */
    bool wild;      /* rectangles of several pitches on the same memory */
    bool pauses;    /* some commands take their time */
} storm_plan;

typedef struct storm {
    storm_plan plan;
    const struct storm_scene *scene;
    pel_queue *queues[STORM_QUEUES + 1]; /* the last ends user events and records */
    pel_buffer *buffers[STORM_BUFFERS];
    pel_mapping *mapping;
    pel_graph *graphs[STORM_GRAPHS];
    unsigned char memory[STORM_AREA];
    unsigned char *bases[STORM_BUFFERS];
    pel_status finished[STORM_QUEUES]; /* what the last finish of each queue said */
    uint32_t at;                       /* the op that the submitting thread is at */
    uint64_t random;                   /* which requests for memory fail */
    atomic_uint complaints;
} storm;

/* One form of the three kernels: writes; reads and writes; in place. */
typedef struct storm_kernels {
    pel_kernel *make, *from, *change;
} storm_kernels;

enum {
    STORM_SIMULATED = 1, /* one thread: tasks cannot wait; launches are divided by hand */
    STORM_OPENCL = 2,    /* kernels for OpenCL devices, too; launches are divided by hand */
    STORM_RESTLESS = 4,  /* the workers become more and fewer, and threads are lent, all the time */
    STORM_CELLS = 8,     /* mostly tasks of a few cells and nothing else, which have the shortest way */
    STORM_LEAN = 16      /* requests for memory fail now and then; one thread */
};

/* What all threads share. */
typedef struct storm_scene {
    pel_runtime *runtime;
    storm_kernels host, any; /* host functions; with OpenCL variants where there are such devices */
    uint32_t flags;
    struct counted *memory; /* of the runtime, when that is lean */
    pel_share shares[STORM_SHARES];
    uint32_t share_count; /* 0: launches are not divided by hand */
} storm_scene;

/* The plan. `steps`: of so many ops at most. */
void storm_plan_make(storm_plan *plan, uint64_t seed, uint32_t steps, uint32_t flags);
void storm_plan_print(const storm *s, FILE *file);

static inline bool storm_is_lean(const storm *s) {
    return (s->scene->flags & STORM_LEAN) != 0;
}
static inline bool storm_is_command(const storm_op *op) {
    return op->kind <= STORM_MAP;
}
static inline bool storm_reads(const storm_access *a) {
    return (a->mode & PEL_READ) != 0;
}
static inline bool storm_writes(const storm_access *a) {
    return (a->mode & PEL_WRITE) != 0;
}
static inline uint32_t storm_items(const storm_access *a) {
    return a->bytes * a->rows;
}

/* Where byte k of an access lies in its buffer, and in the memory of the plan. */
static inline uint32_t storm_place(const storm_access *a, uint32_t k) {
    return a->offset + k / a->bytes * a->pitch + k % a->bytes;
}
static inline uint32_t storm_base(uint32_t buffer) {
    return buffer == 0 ? 0 : buffer == 1 ? STORM_AREA : STORM_PART;
}
static inline uint32_t storm_address(const storm_access *a, uint32_t k) {
    return storm_base(a->buffer) + storm_place(a, k);
}

/*
 * What commands compute, for the run and the oracle alike; bases are where the buffers' bytes are. Tasks write what depends on
 * all that they read, everybody else item by item.
 */
uint32_t storm_hash(const storm_op *op, unsigned char *const *bases);
void storm_write_hash(const storm_access *a, uint32_t hash, unsigned char *const *bases, uint32_t begin, uint32_t end);
uint32_t storm_apply(const storm_op *op, unsigned char *const *bases); /* the hash */
unsigned char storm_item(const storm_op *op, uint32_t k, unsigned old, unsigned source);
void storm_apply_items(const storm_op *op, unsigned char *const *bases, uint32_t begin, uint32_t end);
uint32_t storm_pattern_bytes(const storm_op *op);

/* Runs the plan; then all that it submitted is over. */
void storm_run(storm *s, const storm_scene *scene);
void storm_end(storm *s);
void storm_complain(storm *s, const storm_op *op, const char *what, long is, long should);

/* A host variant of the kernels; user: how many buffers it has, then come the op and its salt. */
pel_status storm_run_span(const pel_span *span, void *const *arguments, void *scratch, void *user);

/* Compares what the run left with sequential execution. */
void storm_judge(storm *s);

/*
 * So many threads at once, each with random graphs of its own, and all on one shared counter that only the hazards protect,
 * through one shared queue. `usual`: graphs in all, where the environment does not say otherwise (test_storm.c). Fails the test.
 */
void storm_threads(pel_runtime *runtime, int count, uint64_t usual, uint32_t flags, struct counted *memory);

#endif
