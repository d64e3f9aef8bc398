/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets: what was put is taken; what is cut, longer than told or random is refused and never read beyond its end. */
#include "backend/outside/protocol.h"
#include "base/alloc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static pel_packet packet;

static pel_error *make_error(const char *log) {
    pel_error *error = NULL;
    const pel_story story = {"opencl:0 (x)", "clThing", -5, "do this", log};
    pel_fail(&error, &pel_allocator_default, PEL_BUILD_FAILED, &story, "it does not build");
    return error;
}

static void put_all(const pel_error *error) {
    pel_packet_begin(&packet, PEL_OUTSIDE_REPLY, 42);
    pel_packet_put_u64(&packet, 7);
    pel_packet_put_text(&packet, "name", 100);
    pel_packet_put_text(&packet, NULL, 100);
    pel_packet_put_u32(&packet, (uint32_t)pel_error_status(error));
    pel_packet_put_error(&packet, error);
}

/* Reads `bytes` at `at` as what put_all has put. */
static bool take_all(const unsigned char *at, size_t bytes, pel_error **error) {
    pel_reader reader = {.at = at, .left = bytes};
    (void)pel_reader_get(&reader, &reader.head, sizeof reader.head);
    const uint64_t seven = pel_reader_u64(&reader);
    const char *name = pel_reader_text(&reader), *none = pel_reader_text(&reader);
    const pel_status status = pel_reader_error(&reader, &pel_allocator_default, error);
    return !reader.failed && seven == 7 && strcmp(name, "name") == 0 && *none == '\0' && status == pel_error_status(*error);
}

static void test_round_trip(void **state) {
    (void)state;
    pel_error *error = make_error("line 1: no"), *again = NULL;
    int ends[2], attached;
    pel_reader reader;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    put_all(error);
    assert_int_equal(pel_packet_send(ends[0], &packet, STDERR_FILENO, false), 0);
    memset(&packet, 0, sizeof packet);
    assert_int_equal(pel_packet_receive(ends[1], &packet, &reader, &attached, false), 0);
    assert_true(attached > STDERR_FILENO);
    close(attached);
    assert_int_equal(reader.head.kind, PEL_OUTSIDE_REPLY);
    assert_int_equal(reader.head.id, 42);
    assert_true(take_all(packet.data, reader.head.bytes, &again));
    assert_string_equal(pel_error_story(again), pel_error_story(error));
    assert_int_equal(pel_error_code(again), -5);
    assert_int_equal(pel_packet_receive(ends[1], &packet, &reader, &attached, false), EAGAIN);
    close(ends[0]);
    assert_int_equal(pel_packet_receive(ends[1], &packet, &reader, &attached, true), EPIPE);
    close(ends[1]);
    pel_error_destroy(again);
    pel_error_destroy(error);
}

static void test_too_much(void **state) {
    (void)state;
    char *log = malloc(1000000);
    memset(log, 'x', 999999);
    log[999999] = '\0';
    pel_error *error = make_error(log), *again = NULL;
    put_all(error);
    assert_false(packet.failed); /* cut */
    assert_true(take_all(packet.data, packet.bytes, &again));
    assert_non_null(strstr(pel_error_build_log(again), "[cut]"));
    pel_packet_begin(&packet, PEL_OUTSIDE_LOG, 0);
    pel_packet_put(&packet, log, 65000);
    assert_false(packet.failed);
    pel_packet_put_text(&packet, log, 10000);
    assert_true(packet.failed);
    assert_int_equal(pel_packet_send(-1, &packet, -1, false), EMSGSIZE);
    pel_error_destroy(again);
    pel_error_destroy(error);
    free(log);
}

/* Each length, and flipped bits: the sanitizers see a read beyond the block. */
static void test_cut_and_flipped(void **state) {
    (void)state;
    pel_error *error = make_error("log");
    uint32_t seed = 20261122;
    put_all(error);
    for (size_t bytes = 0; bytes < packet.bytes; bytes++) {
        unsigned char *copy = malloc(bytes + 1);
        pel_error *again = NULL;
        memcpy(copy, packet.data, bytes);
        assert_false(take_all(copy, bytes, &again));
        pel_error_destroy(again);
        free(copy);
    }
    for (int round = 0; round < 20000; round++) {
        unsigned char *copy = malloc(packet.bytes);
        pel_error *again = NULL;
        memcpy(copy, packet.data, packet.bytes);
        for (int k = 0; k < 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % packet.bytes] ^= (unsigned char)(1u << (seed >> 29));
        }
        (void)take_all(copy, packet.bytes, &again);
        pel_error_destroy(again);
        free(copy);
    }
    pel_error_destroy(error);
}

int main(void) {
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_too_much),
                                              cmocka_unit_test(test_cut_and_flipped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
