/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library and pel-device say to each other over a socket of packets (SOCK_SEQPACKET), one message a packet, memory
 * attached as a descriptor.
 *
 * Both ends are of one build on one machine, which the first word settles (pel_outside_words), so numbers travel as they lie in
 * memory. What must not be believed is the *content*: a driver may have written anywhere in the child. So everything is taken out
 * of a packet by a reader that knows its end, texts are bounded, and a reader that was asked for more than there is has failed,
 * once and for all. Rejected: a stream with frames (a broken length takes all that follows along), and rings in shared memory
 * (quicker by two system calls, but their state lies where the child can spoil it).
 */
#ifndef PEL_BACKEND_OUTSIDE_PROTOCOL_H
#define PEL_BACKEND_OUTSIDE_PROTOCOL_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEL_PACKET_BYTES = 65536, PEL_OUTSIDE_SOCKET = 3 }; /* the socket's number in the child */
enum { PEL_OUTSIDE_OTHER_VERSION = 3, PEL_OUTSIDE_ORPHAN = 4 }; /* how the child exits before it has said anything */

typedef enum pel_outside_kind {
    /* To the child. `id` names what it is about. */
    /* runtime flags, probe, log level; device list, name, platform, driver, identity, cache directory */
    PEL_OUTSIDE_OPEN = 1,
    PEL_OUTSIDE_MEM,           /* bytes; with the memory */
    PEL_OUTSIDE_VIEW,          /* parent's id, offset, bytes */
    PEL_OUTSIDE_MEM_DROP,      /* whether to zero it first */
    PEL_OUTSIDE_PROGRAM,       /* flags, digest, bytes of name, options, source; with memory that holds these */
    PEL_OUTSIDE_PROGRAM_DROP,
    PEL_OUTSIDE_KERNEL,        /* program's id, flags, parameters; entry, name */
    PEL_OUTSIDE_KERNEL_DROP,
    PEL_OUTSIDE_PREPARE,       /* program's id, kernel's or 0 */
    PEL_OUTSIDE_WORK,          /* pel_outside_work, its arguments, its transfers, its values */
    PEL_OUTSIDE_BYE,
    /* From the child */
    PEL_OUTSIDE_HELLO = 64,    /* status, whether memory is used in place; error */
    /* to PREPARE: status, error; items of the kernel's largest work-group or 0, whether its source demands one size */
    PEL_OUTSIDE_REPLY,
    PEL_OUTSIDE_DONE,          /* pel_outside_done, error; in the order of the works */
    PEL_OUTSIDE_COMPILING,     /* for the work of this number, before it begins to */
    PEL_OUTSIDE_LOG            /* level, text */
} pel_outside_kind;

typedef struct pel_outside_head {
    uint32_t kind, bytes;      /* of the whole packet */
    uint64_t id;
} pel_outside_head;

typedef struct pel_outside_work {
    uint64_t kernel;
    uint32_t kind, chunked, sensitive, group;
    uint32_t arg_count, in_count, out_count;
    uint32_t hint_count;       /* the last so many of the transfers out */
    double predicted_ns;
} pel_outside_work;

typedef struct pel_outside_arg {
    uint64_t mem, bytes;       /* VALUE: so many bytes follow behind the transfers */
    uint32_t kind, reserved;
} pel_outside_arg;

typedef struct pel_outside_transfer {
    uint64_t mem, offset, bytes, rows, pitch;
} pel_outside_transfer;

typedef struct pel_outside_done {
    uint32_t status, cold, pooled, hint_lost;
    int64_t began, launch_began, launch_ended, ended;
} pel_outside_done;

/* A message that is being made. */
typedef struct pel_packet {
    uint32_t bytes;
    bool failed;               /* it did not fit */
    _Alignas(16) unsigned char data[PEL_PACKET_BYTES];
} pel_packet;

void pel_packet_begin(pel_packet *packet, pel_outside_kind kind, uint64_t id);
void pel_packet_put(pel_packet *packet, const void *from, size_t bytes);
void pel_packet_put_u32(pel_packet *packet, uint32_t value);
void pel_packet_put_u64(pel_packet *packet, uint64_t value);
void pel_packet_put_text(pel_packet *packet, const char *text, size_t most); /* cut after `most` bytes; NULL: "" */
void pel_packet_put_error(pel_packet *packet, const pel_error *error);       /* NULL: none */

/* attached: a descriptor, or -1. Returns 0 or errno; EAGAIN when it would have to wait. */
int pel_packet_send(int socket, pel_packet *packet, int attached, bool wait);

/* A message that came: what is left to read of it. */
typedef struct pel_reader {
    pel_outside_head head;
    const unsigned char *at;
    size_t left;
    bool failed;
} pel_reader;

/* Receives into `packet`. 0: *reader is at the first word; EAGAIN: nothing there; EPIPE: the other side is gone; EPROTO: no
 * message of ours. *attached: -1: none. */
int pel_packet_receive(int socket, pel_packet *packet, pel_reader *reader, int *attached, bool wait);

const void *pel_reader_take(pel_reader *reader, size_t bytes);  /* NULL: not there */
bool pel_reader_get(pel_reader *reader, void *to, size_t bytes); /* zeros when not there */
uint32_t pel_reader_u32(pel_reader *reader);
uint64_t pel_reader_u64(pel_reader *reader);
const char *pel_reader_text(pel_reader *reader); /* ends with NUL within the packet; "" when not there */
/* The status, and its error when one was sent. An unknown status is a failed reader. */
pel_status pel_reader_error(pel_reader *reader, const pel_allocator *allocator, pel_error **error);

/* What both ends must have in common, as one word of text: the version and the layout of what travels. */
const char *pel_outside_words(char *buffer, size_t bytes);

#endif
