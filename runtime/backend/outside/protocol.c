/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets: written and read piece by piece, every piece at a multiple of eight bytes, nothing beyond the end. */
#include "backend/outside/protocol.h"

#include "backend/backend.h"
#include <errno.h>
#include <pel/version.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROTOCOL = 4, MOST_TEXT = 4096, MOST_LOG = 40000 };

void pel_packet_begin(pel_packet *packet, pel_outside_kind kind, uint64_t id) {
    const pel_outside_head head = {.kind = (uint32_t)kind, .id = id};
    packet->bytes = 0;
    packet->failed = false;
    pel_packet_put(packet, &head, sizeof head);
}

void pel_packet_put(pel_packet *packet, const void *from, size_t bytes) {
    const size_t room = PEL_PACKET_BYTES - packet->bytes, padded = (bytes + 7) / 8 * 8;
    if (packet->failed || bytes > room || padded > room) {
        packet->failed = true;
        return;
    }
    if (bytes > 0) {
        memcpy(packet->data + packet->bytes, from, bytes);
        memset(packet->data + packet->bytes + bytes, 0, padded - bytes);
    }
    packet->bytes += (uint32_t)padded;
}

void pel_packet_put_u32(pel_packet *packet, uint32_t value) { pel_packet_put(packet, &value, sizeof value); }

void pel_packet_put_u64(pel_packet *packet, uint64_t value) { pel_packet_put(packet, &value, sizeof value); }

void pel_packet_put_text(pel_packet *packet, const char *text, size_t most) {
    static const char cut[] = "\n[cut]";
    char end[sizeof cut] = "";
    const size_t length = text ? strlen(text) : 0, kept = length > most ? most : length;
    if (kept < length) {
        memcpy(end, cut, sizeof cut);
    }
    pel_packet_put_u64(packet, kept + strlen(end) + 1);
    if (packet->failed || kept + sizeof cut + 8 > PEL_PACKET_BYTES - packet->bytes) {
        packet->failed = true;
        return;
    }
    memcpy(packet->data + packet->bytes, text ? text : "", kept);
    memcpy(packet->data + packet->bytes + kept, end, strlen(end) + 1);
    const size_t bytes = kept + strlen(end) + 1, padded = (bytes + 7) / 8 * 8;
    memset(packet->data + packet->bytes + bytes, 0, padded - bytes);
    packet->bytes += (uint32_t)padded;
}

void pel_packet_put_error(pel_packet *packet, const pel_error *error) {
    pel_packet_put_u32(packet, error != NULL);
    if (error) {
        const int64_t code = pel_error_code(error);
        pel_packet_put(packet, &code, sizeof code);
        pel_packet_put_text(packet, pel_error_message(error), MOST_TEXT);
        pel_packet_put_text(packet, pel_error_device(error), MOST_TEXT);
        pel_packet_put_text(packet, pel_error_call(error), MOST_TEXT);
        pel_packet_put_text(packet, pel_error_advice(error), MOST_TEXT);
        pel_packet_put_text(packet, pel_error_build_log(error), MOST_LOG);
    }
}

int pel_packet_send(int socket, pel_packet *packet, int attached, bool wait) {
    union {
        struct cmsghdr head;
        unsigned char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = packet->data, .iov_len = packet->bytes};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (packet->failed) {
        return EMSGSIZE;
    }
    memcpy(packet->data + offsetof(pel_outside_head, bytes), &packet->bytes, sizeof packet->bytes);
    if (attached >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control.room;
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &attached, sizeof attached);
    }
    for (;;) {
        const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
        if (sent >= 0) {
            return (size_t)sent == packet->bytes ? 0 : EPROTO;
        }
        if (errno != EINTR) {
            return errno == EWOULDBLOCK || errno == ENOBUFS ? EAGAIN : errno;
        }
    }
}

/* Takes the descriptors out; all but one are closed. */
static int take_attached(struct msghdr *message) {
    int taken = -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(head) + i * sizeof(int), sizeof descriptor);
            if (taken >= 0) {
                close(taken);
            }
            taken = descriptor;
        }
    }
    return taken;
}

int pel_packet_receive(int socket, pel_packet *packet, pel_reader *reader, int *attached, bool wait) {
    union {
        struct cmsghdr head;
        unsigned char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = packet->data, .iov_len = PEL_PACKET_BYTES};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    *attached = -1;
    const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    if (got < 0) {
        return errno == EWOULDBLOCK || errno == EINTR ? EAGAIN : errno == ECONNRESET ? EPIPE : errno;
    }
    *attached = take_attached(&message);
    *reader = (pel_reader){.at = packet->data, .left = (size_t)got};
    if (got == 0) {
        return EPIPE;
    }
    const bool whole =
        (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && pel_reader_get(reader, &reader->head, sizeof reader->head);
    return whole && reader->head.bytes == (size_t)got ? 0 : EPROTO;
}

const void *pel_reader_take(pel_reader *reader, size_t bytes) {
    const size_t padded = bytes + (8 - bytes % 8) % 8;
    if (reader->failed || padded < bytes || padded > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const void *at = reader->at;
    reader->at += padded;
    reader->left -= padded;
    return at;
}

bool pel_reader_get(pel_reader *reader, void *to, size_t bytes) {
    const void *at = pel_reader_take(reader, bytes);
    if (at) {
        memcpy(to, at, bytes);
    } else {
        memset(to, 0, bytes);
    }
    return at != NULL;
}

uint32_t pel_reader_u32(pel_reader *reader) {
    uint32_t value;
    (void)pel_reader_get(reader, &value, sizeof value);
    return value;
}

uint64_t pel_reader_u64(pel_reader *reader) {
    uint64_t value;
    (void)pel_reader_get(reader, &value, sizeof value);
    return value;
}

const char *pel_reader_text(pel_reader *reader) {
    const uint64_t bytes = pel_reader_u64(reader);
    const char *at = bytes > 0 && bytes <= PEL_PACKET_BYTES ? pel_reader_take(reader, (size_t)bytes) : NULL;
    if (!at || at[bytes - 1] != '\0') {
        reader->failed = true;
        return "";
    }
    return at;
}

static bool known(uint32_t status) {
    switch (status) {
#define PEL_STATUS_CASE(name, value, text) case value:
        PEL_STATUSES(PEL_STATUS_CASE)
#undef PEL_STATUS_CASE
        return true;
    default:
        return false;
    }
}

pel_status pel_reader_error(pel_reader *reader, const pel_allocator *allocator, pel_error **error) {
    const uint32_t word = pel_reader_u32(reader);
    const bool told = pel_reader_u32(reader) != 0;
    const pel_status status = known(word) ? (pel_status)word : PEL_INTERNAL;
    reader->failed = reader->failed || !known(word) || (told && word == PEL_OK);
    if (told) {
        pel_story story = {0};
        (void)pel_reader_get(reader, &story.code, sizeof story.code);
        const char *message = pel_reader_text(reader);
        story.device = pel_reader_text(reader);
        story.call = pel_reader_text(reader);
        story.advice = pel_reader_text(reader);
        story.build_log = pel_reader_text(reader);
        if (!reader->failed) {
            pel_fail(error, allocator, status, &story, "%s", message);
        }
    } else if (status != PEL_OK && !reader->failed) {
        pel_fail(error, allocator, status, NULL, "%s", pel_status_text(status));
    }
    return status;
}

const char *pel_outside_words(char *buffer, size_t bytes) {
    (void)snprintf(buffer, bytes, "%s/%d/%zu/%zu/%zu/%zu/%zu/%d", PEL_VERSION_STRING, PROTOCOL, sizeof(pel_outside_work),
                   sizeof(pel_outside_done), sizeof(pel_outside_arg), sizeof(pel_span), sizeof(pel_param), (int)sizeof(void *));
    return buffer;
}
