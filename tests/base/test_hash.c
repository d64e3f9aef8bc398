/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA-256 against the vectors of FIPS 180-4 and NIST's test suite; text fields cannot run together; the mix spreads. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void check(const void *data, size_t bytes, size_t repeat, size_t piece, const char *expected) {
    pel_sha256 sha;
    uint8_t digest[32];
    char hex[65];
    pel_sha256_init(&sha);
    for (size_t r = 0; r < repeat; r++) {
        for (size_t at = 0; at < bytes; at += piece) {
            pel_sha256_update(&sha, (const char *)data + at, bytes - at < piece ? bytes - at : piece);
        }
    }
    pel_sha256_final(&sha, digest);
    pel_sha256_hex(digest, hex);
    assert_string_equal(hex, expected);
}

static void test_vectors(void **state) {
    (void)state;
    static const struct {
        const char *text, *digest;
        size_t repeat;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 1},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 1},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", 1},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1", 1},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
         20000},
        {"\xbd", "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b", 1},
        {"\xc9\x8c\x8e\x55", "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504", 1},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        for (size_t piece = 1; piece <= 70; piece += 23) {
            check(vectors[i].text, strlen(vectors[i].text), vectors[i].repeat, piece, vectors[i].digest);
        }
    }
    static const unsigned char zeros[64];
    check(zeros, 55, 1, 55, "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7");
    check(zeros, 56, 1, 5, "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb");
    check(zeros, 64, 1, 64, "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
}

static void text_pair(const char *a, const char *b, uint8_t digest[32]) {
    pel_sha256 sha;
    pel_sha256_init(&sha);
    pel_sha256_text(&sha, a);
    pel_sha256_text(&sha, b);
    pel_sha256_final(&sha, digest);
}

static void test_texts_do_not_run_together(void **state) {
    (void)state;
    uint8_t one[32], two[32];
    text_pair("ab", "c", one);
    text_pair("a", "bc", two);
    assert_memory_not_equal(one, two, 32);
    text_pair("", "abc", two);
    assert_memory_not_equal(one, two, 32);
    text_pair("", "x", one);
    text_pair(NULL, "x", two);
    assert_memory_equal(one, two, 32);
}

static void test_mix(void **state) {
    (void)state;
    assert_true(pel_mix_u64(1, 2) != pel_mix_u64(2, 1));
    unsigned changed = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        changed += (unsigned)__builtin_popcountll(pel_mix_u64(12345, 678) ^ pel_mix_u64(12345, 678 ^ 1ull << bit));
        changed += (unsigned)__builtin_popcountll(pel_mix_u64(12345, 678) ^ pel_mix_u64(12345 ^ 1ull << bit, 678));
    }
    assert_in_range(changed, 128 * 28, 128 * 36); /* 32 of 64 on average */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_texts_do_not_run_together),
        cmocka_unit_test(test_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
