/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pel-device: opens one device by the real backend and serves the library's requests, until it is told to end, its parent is
 * gone, or a driver kills it.
 *
 * The main thread reads. After a work of unknown or short duration it drives the backend itself (help), so that nobody has to be
 * woken; long works are left to the backend's thread, or messages would wait for them. Builds have a thread each, because they
 * take seconds while works run. Completions are sent by whoever completes. The parent is trusted: it could kill us. What is wrong
 * in its messages is answered as a defect. It ends by _exit: what drivers do in their destructors is no longer anybody's
 * business.
 */
#include "backend/outside/protocol.h"

#include "backend/backend.h"
#include "topology/topology.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT_NS 1e6 /* what a message may wait for */

enum { BUCKETS = 1024 };

/* What the library names by an id. */
typedef struct entry {
    struct entry *next;
    uint64_t id;
    enum { ENTRY_MEM, ENTRY_PROGRAM, ENTRY_KERNEL } kind;
    pel_error *failure;   /* it could not be made: the answer to all that use it */
    void *mapping;        /* of a mem, or of a program's texts */
    size_t mapped;
    pel_mem *mem;
    pel_program_image program;
    pel_kernel_image kernel;
    pel_param *params;
    char *texts;
} entry;

static pel_backend_env env = {.allocator = &pel_allocator_default, .clock = &pel_clock_monotonic};
static pel_logger logger;
static pel_backend_device *device;
static const pel_backend *backend;
static entry *table[BUCKETS]; /* the main thread's */
static atomic_uint outstanding;
static pthread_mutex_t send_lock = PTHREAD_MUTEX_INITIALIZER;
static pel_packet out; /* send_lock */

/* ---- answers ---- */

static pel_packet *begin_answer(pel_outside_kind kind, uint64_t id) {
    pthread_mutex_lock(&send_lock);
    pel_packet_begin(&out, kind, id);
    return &out;
}

static void end_answer(void) {
    if (pel_packet_send(PEL_OUTSIDE_SOCKET, &out, -1, true) != 0) {
        _exit(0); /* nobody listens any more */
    }
    pthread_mutex_unlock(&send_lock);
}

static void put_result(pel_packet *packet, pel_status status, const pel_error *error) {
    pel_packet_put_u32(packet, (uint32_t)status);
    pel_packet_put_error(packet, error);
}

static void send_log(void *user, pel_log_level level, const char *text) {
    (void)user;
    pel_packet *packet = begin_answer(PEL_OUTSIDE_LOG, 0);
    pel_packet_put_u32(packet, (uint32_t)level);
    pel_packet_put_text(packet, text, 4096);
    end_answer();
}

static pel_status defect(pel_error **error, const char *what) {
    return pel_fail(error, env.allocator, PEL_INTERNAL, NULL, "pel-device was asked for %s that it does not know", what);
}

/* ---- the table ---- */

static entry *find(uint64_t id, int kind) {
    for (entry *e = table[id % BUCKETS]; e; e = e->next) {
        if (e->id == id && (int)e->kind == kind) {
            return e;
        }
    }
    return NULL;
}

/* Out of memory is the end here: the library hears of it as of any other. */
static entry *add(uint64_t id, int kind) {
    entry *made = calloc(1, sizeof *made);
    if (!made) {
        _exit(1);
    }
    made->id = id;
    made->kind = kind == ENTRY_MEM ? ENTRY_MEM : kind == ENTRY_PROGRAM ? ENTRY_PROGRAM : ENTRY_KERNEL;
    made->next = table[id % BUCKETS];
    table[id % BUCKETS] = made;
    return made;
}

static void drop(uint64_t id, int kind, bool wipe) {
    entry **link = &table[id % BUCKETS];
    while (*link && ((*link)->id != id || (int)(*link)->kind != kind)) {
        link = &(*link)->next;
    }
    entry *gone = *link;
    if (!gone) {
        return;
    }
    *link = gone->next;
    if (kind == ENTRY_MEM && gone->mem) {
        pel_error *error = NULL;
        if (wipe && backend->mem_wipe && backend->mem_wipe(device, gone->mem, &error) != PEL_OK) {
            pel_log(env.logger, PEL_LOG_ERROR, "a sensitive buffer's memory could not be zeroed: %s", pel_error_message(error));
        }
        pel_error_destroy(error);
        backend->mem_destroy(device, gone->mem);
    } else if (kind == ENTRY_PROGRAM) {
        backend->program_forget(device, &gone->program);
    } else if (kind == ENTRY_KERNEL) {
        backend->kernel_forget(device, &gone->kernel);
    }
    if (gone->mapping) {
        munmap(gone->mapping, gone->mapped);
    }
    pel_error_destroy(gone->failure);
    free(gone->params);
    free(gone->texts);
    free(gone);
}

static void *map(int descriptor, uint64_t bytes) {
    void *mapping = descriptor >= 0 ? mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED;
    return mapping == MAP_FAILED ? NULL : mapping;
}

static void take_mem(pel_reader *reader, int descriptor) {
    entry *made = add(reader->head.id, ENTRY_MEM);
    const uint64_t bytes = pel_reader_u64(reader);
    made->mapping = map(descriptor, bytes);
    made->mapped = (size_t)bytes;
    if (made->mapping) {
        (void)backend->mem_create(device, made->mapping, bytes, &made->mem, &made->failure);
    } else {
        pel_fail(&made->failure, env.allocator, PEL_OUT_OF_MEMORY, &(pel_story){.call = "mmap", .code = errno},
                 "the shared memory cannot be mapped");
    }
}

static void take_view(pel_reader *reader) {
    entry *made = add(reader->head.id, ENTRY_MEM);
    entry *parent = find(pel_reader_u64(reader), ENTRY_MEM);
    const uint64_t offset = pel_reader_u64(reader), bytes = pel_reader_u64(reader);
    if (parent && parent->mem) {
        (void)backend->mem_view(device, parent->mem, offset, bytes, &made->mem, &made->failure);
    } else if (parent) {
        made->failure = pel_error_clone(parent->failure, env.allocator);
    } else {
        defect(&made->failure, "a part of memory");
    }
}

static void take_program(pel_reader *reader, int descriptor) {
    entry *made = add(reader->head.id, ENTRY_PROGRAM);
    pel_program_image *image = &made->program;
    image->id = reader->head.id;
    image->cacheable = pel_reader_u32(reader) != 0;
    image->plain_only = pel_reader_u32(reader) != 0;
    const bool source = pel_reader_u32(reader) != 0;
    const uint64_t name = pel_reader_u64(reader), options = pel_reader_u64(reader);
    image->source_bytes = (size_t)pel_reader_u64(reader);
    (void)pel_reader_get(reader, image->digest, sizeof image->digest);
    made->mapped = (size_t)(name + options) + image->source_bytes + 1;
    made->mapping = map(descriptor, made->mapped);
    if (!made->mapping) {
        _exit(1);
    }
    image->name = made->mapping;
    image->options = image->name + name;
    image->source = source ? image->options + options : NULL;
}

static void take_kernel(pel_reader *reader) {
    entry *made = add(reader->head.id, ENTRY_KERNEL);
    pel_kernel_image *image = &made->kernel;
    const entry *program = find(pel_reader_u64(reader), ENTRY_PROGRAM);
    image->id = reader->head.id;
    image->program = program ? &program->program : NULL;
    image->flags = pel_reader_u32(reader);
    image->param_count = pel_reader_u32(reader);
    image->scratch_bytes = pel_reader_u64(reader);
    (void)pel_reader_get(reader, &image->cost_hint, sizeof image->cost_hint);
    made->params = calloc(image->param_count + 1u, sizeof *made->params);
    for (uint32_t i = 0; made->params && i < image->param_count; i++) {
        (void)pel_reader_get(reader, &made->params[i], sizeof made->params[i]);
    }
    image->params = made->params;
    const bool entry_given = pel_reader_u32(reader) != 0;
    const char *word = pel_reader_text(reader), *name = pel_reader_text(reader);
    made->texts = malloc(strlen(word) + strlen(name) + 2);
    if (!made->texts || !made->params) {
        _exit(1);
    }
    memcpy(made->texts, word, strlen(word) + 1);
    memcpy(made->texts + strlen(word) + 1, name, strlen(name) + 1);
    image->entry = entry_given ? made->texts : NULL;
    image->name = made->texts + strlen(word) + 1;
}

/* ---- builds ---- */

typedef struct build {
    uint64_t request;
    const pel_program_image *program;
    const pel_kernel_image *kernel;
    bool unknown;
} build;

static void *run_build(void *argument) {
    build *b = argument;
    pel_error *error = NULL;
    const pel_status status = b->unknown ? defect(&error, "a program") : backend->prepare(device, b->program, b->kernel, &error);
    bool fixed = false;
    const uint64_t group =
        status == PEL_OK && b->kernel && backend->largest_group ? backend->largest_group(device, b->kernel, &fixed) : 0;
    pel_packet *packet = begin_answer(PEL_OUTSIDE_REPLY, b->request);
    put_result(packet, status, error);
    pel_packet_put_u64(packet, group);
    pel_packet_put_u32(packet, fixed);
    end_answer();
    pel_error_destroy(error);
    free(b);
    return NULL;
}

static void take_prepare(pel_reader *reader) {
    const uint64_t program_id = pel_reader_u64(reader), kernel_id = pel_reader_u64(reader);
    const entry *program = find(program_id, ENTRY_PROGRAM), *kernel = kernel_id ? find(kernel_id, ENTRY_KERNEL) : NULL;
    build *b = calloc(1, sizeof *b);
    pthread_t thread;
    if (!b) {
        _exit(1);
    }
    *b = (build){reader->head.id, program ? &program->program : NULL, kernel ? &kernel->kernel : NULL,
                 !program || (kernel_id && !kernel)};
    if (pthread_create(&thread, NULL, run_build, b) == 0) {
        (void)pthread_detach(thread);
    } else {
        (void)run_build(b);
    }
}

/* ---- works ---- */

typedef struct served {
    pel_work work;
    uint64_t sequence;
    pel_work_arg *args;
    pel_transfer *transfers;
    unsigned char values[];
} served;

static void answer_work(pel_work *work) {
    served *self = (served *)work;
    const pel_outside_done done = {(uint32_t)work->status, work->cold,         work->pooled, work->hint_lost, work->began,
                                   work->launch_began,     work->launch_ended, work->ended};
    pel_packet *packet = begin_answer(PEL_OUTSIDE_DONE, self->sequence);
    pel_packet_put(packet, &done, sizeof done);
    put_result(packet, work->status, work->error);
    end_answer();
    atomic_fetch_sub(&outstanding, 1);
    pel_error_destroy(work->error);
    free(self->args);
    free(self->transfers);
    free(self);
}

static void answer_compiling(pel_work *work) {
    (void)begin_answer(PEL_OUTSIDE_COMPILING, ((served *)work)->sequence);
    end_answer();
}

/* The memory of an id; its failure is the work's. */
static pel_mem *mem_of(pel_work *work, uint64_t id) {
    const entry *e = find(id, ENTRY_MEM);
    if (e && e->mem) {
        return e->mem;
    }
    if (work->status == PEL_OK) {
        work->error = e ? pel_error_clone(e->failure, env.allocator) : NULL;
        work->status = e ? pel_error_status(e->failure) : defect(&work->error, "memory");
    }
    return NULL;
}

static void read_transfers(served *self, pel_reader *reader, pel_transfer *to, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        pel_outside_transfer sent;
        (void)pel_reader_get(reader, &sent, sizeof sent);
        to[i] = (pel_transfer){.mem = mem_of(&self->work, sent.mem),
                               .offset = sent.offset,
                               .bytes = sent.bytes,
                               .rows = sent.rows,
                               .pitch = sent.pitch};
    }
}

static void read_args(served *self, pel_reader *reader, uint32_t count) {
    unsigned char *value = self->values;
    for (uint32_t i = 0; i < count; i++) {
        pel_outside_arg sent;
        pel_work_arg *arg = &self->args[i];
        (void)pel_reader_get(reader, &sent, sizeof sent);
        *arg = (pel_work_arg){.kind = (pel_work_arg_kind)sent.kind, .bytes = sent.bytes};
        if (sent.mem != 0) {
            arg->mem = mem_of(&self->work, sent.mem);
            arg->host = arg->mem ? arg->mem->host : NULL;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        pel_work_arg *arg = &self->args[i];
        if (arg->kind == PEL_WORK_ARG_VALUE) {
            const void *at = pel_reader_take(reader, (size_t)arg->bytes);
            if (!at) {
                return;
            }
            memcpy(value, at, (size_t)arg->bytes);
            arg->host = value;
            value += (arg->bytes + 15) / 16 * 16;
        }
    }
}

/* Returns whether it is short. */
static bool take_work(pel_reader *reader) {
    pel_outside_work sent;
    served *self = calloc(1, sizeof *self + 3 * reader->left); /* values at multiples of 16 */
    (void)pel_reader_get(reader, &sent, sizeof sent);
    if (!self || reader->failed || sent.arg_count > PEL_PACKET_BYTES || sent.in_count > PEL_PACKET_BYTES ||
        sent.out_count > PEL_PACKET_BYTES) {
        _exit(1);
    }
    pel_work *work = &self->work;
    const entry *kernel = sent.kernel ? find(sent.kernel, ENTRY_KERNEL) : NULL;
    self->sequence = reader->head.id;
    self->args = calloc(sent.arg_count + 1u, sizeof *self->args);
    self->transfers = calloc(sent.in_count + sent.out_count + 1u, sizeof *self->transfers);
    if (!self->args || !self->transfers) {
        _exit(1);
    }
    (void)pel_reader_get(reader, &work->span, sizeof work->span);
    work->kind = (pel_work_kind)sent.kind;
    work->complete = answer_work;
    work->compiling = answer_compiling;
    work->chunked = sent.chunked != 0;
    work->sensitive = sent.sensitive != 0;
    work->group = sent.group;
    work->predicted_ns = sent.predicted_ns;
    work->kernel = kernel ? &kernel->kernel : NULL;
    work->args = self->args;
    work->in = self->transfers;
    work->in_count = sent.in_count;
    work->out = self->transfers + sent.in_count;
    work->out_count = sent.out_count;
    work->hint_count = sent.hint_count <= sent.out_count ? sent.hint_count : 0;
    read_transfers(self, reader, self->transfers, sent.in_count + sent.out_count);
    read_args(self, reader, sent.arg_count);
    if (work->status == PEL_OK &&
        (reader->failed || (work->kind == PEL_WORK_LAUNCH && (!kernel || kernel->kernel.param_count != sent.arg_count)))) {
        work->status = defect(&work->error, "a kernel");
    }
    atomic_fetch_add(&outstanding, 1);
    if (work->status != PEL_OK) { /* in its turn: those before it answer first */
        while (atomic_load(&outstanding) > 1) {
            if (!backend->help(device)) {
                usleep(100);
            }
        }
        answer_work(work);
        return true;
    }
    backend->submit(device, work);
    return sent.predicted_ns <= SHORT_NS;
}

/* ---- the beginning and the end ---- */

/* The device that the library means, and no other. */
static pel_status open_device(pel_reader *reader, bool *in_place, pel_error **error) {
    env.runtime_flags = pel_reader_u32(reader);
    pel_logger_init(&logger, send_log, NULL, (pel_log_level)pel_reader_u32(reader));
    env.logger = &logger;
    const char *list = pel_reader_text(reader), *expected[4];
    for (size_t i = 0; i < 4; i++) {
        expected[i] = pel_reader_text(reader);
    }
    const char *cache = strdup(pel_reader_text(reader));
    pel_topology *topology = NULL;
    env.cache_directory = cache && *cache ? cache : NULL;
    if (reader->failed || !cache) {
        return defect(error, "a device");
    }
    const pel_topology_options options = {.allocator = env.allocator,
                                          .logger = &logger,
                                          .devices = list,
                                          .probe = (env.runtime_flags & PEL_RUNTIME_PROBE) != 0,
                                          .cache_directory = env.cache_directory};
    pel_status status = pel_topology_discover(&options, &topology, error);
    if (status != PEL_OK) {
        return status;
    }
    const pel_topology_device *facts = &topology->devices[topology->selection[0]];
    const char *found[4] = {facts->info.name, facts->info.platform, facts->info.driver, facts->info.identity};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(expected[i], found[i]) != 0) {
            return pel_fail(error, env.allocator, PEL_NOT_FOUND,
                            &(pel_story){.device = list,
                                         .advice = "see `pel info`; make the runtime again if drivers have changed meanwhile"},
                            "%s is \"%s\" in a process of its own, not \"%s\"", list, found[i], expected[i]);
        }
    }
    backend = pel_backend_for(facts->info.kind);
    *in_place = facts->host_coherent;
    return backend ? backend->open(&env, facts, &device, error) : defect(error, "a kind of device");
}

static void take_open(pel_reader *reader) {
    pel_error *error = NULL;
    bool in_place = false;
    const pel_status status = device ? defect(&error, "a second device") : open_device(reader, &in_place, &error);
    pel_packet *packet = begin_answer(PEL_OUTSIDE_HELLO, 0);
    put_result(packet, status, error);
    pel_packet_put_u32(packet, in_place);
    end_answer();
    if (status != PEL_OK) {
        _exit(0);
    }
}

/* Returns whether works that are short are under way. */
static bool serve(pel_reader *reader, int attached, bool shorts) {
    if (!device && reader->head.kind != PEL_OUTSIDE_OPEN) {
        _exit(1);
    }
    switch (reader->head.kind) {
    case PEL_OUTSIDE_OPEN:
        take_open(reader);
        break;
    case PEL_OUTSIDE_MEM:
        take_mem(reader, attached);
        break;
    case PEL_OUTSIDE_VIEW:
        take_view(reader);
        break;
    case PEL_OUTSIDE_MEM_DROP:
        drop(reader->head.id, ENTRY_MEM, pel_reader_u32(reader) != 0);
        break;
    case PEL_OUTSIDE_PROGRAM:
        take_program(reader, attached);
        break;
    case PEL_OUTSIDE_PROGRAM_DROP:
        drop(reader->head.id, ENTRY_PROGRAM, false);
        break;
    case PEL_OUTSIDE_KERNEL:
        take_kernel(reader);
        break;
    case PEL_OUTSIDE_KERNEL_DROP:
        drop(reader->head.id, ENTRY_KERNEL, false);
        break;
    case PEL_OUTSIDE_PREPARE:
        take_prepare(reader);
        break;
    case PEL_OUTSIDE_WORK:
        shorts = take_work(reader);
        break;
    case PEL_OUTSIDE_BYE:
        backend->close(device); /* waits for works, saves binaries */
        _exit(0);
    default:
        _exit(1);
    }
    return shorts;
}

int main(int argc, char **argv) {
    static pel_packet in;
    char words[128];
    if (argc != 3 || strcmp(argv[1], pel_outside_words(words, sizeof words)) != 0) {
        return PEL_OUTSIDE_OTHER_VERSION;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (pid_t)strtol(argv[2], NULL, 10)) {
        return PEL_OUTSIDE_ORPHAN;
    }
    (void)fcntl(PEL_OUTSIDE_SOCKET, F_SETFD, FD_CLOEXEC); /* drivers start compilers */
    (void)syscall(SYS_close_range, PEL_OUTSIDE_SOCKET + 1, ~0u, 0); /* what the host forgot to close on exec */
    for (bool shorts = true;;) {
        pel_reader reader;
        int attached;
        const bool drive = device && shorts && atomic_load(&outstanding) > 0;
        const int code = pel_packet_receive(PEL_OUTSIDE_SOCKET, &in, &reader, &attached, !drive);
        if (code == 0) {
            shorts = serve(&reader, attached, shorts);
        } else if (code == EAGAIN) {
            shorts = !drive || backend->help(device); /* else somebody drives it already: sleep until there is a message */
        } else {
            _exit(0); /* the library is gone */
        }
        if (attached >= 0) {
            close(attached);
        }
    }
}
