/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools of blocks: nobody gets a block that another has, contents stay, and nothing is lost when there is no memory. */
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BLOCKS = 5000, CACHES = 3 };

static int left;
static size_t live;
static void *count_down(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        live -= pointer ? 1 : 0;
        free(pointer);
        return NULL;
    }
    live += left > 0 ? 1 : 0;
    return left-- > 0 ? malloc(bytes) : NULL;
}
static const pel_allocator meagre = {count_down, NULL};

/* The second word of a block says who has it; 0: nobody. */
static void *take(pel_pool *pool, pel_pool_cache *cache, uint64_t owner, size_t bytes) {
    uint64_t *block = pel_pool_take(pool, cache);
    if (block) {
        assert_int_equal((uintptr_t)block % bytes, 0);
        assert_int_equal(block[1], 0);
        block[1] = owner;
    }
    return block;
}

static void give(pel_pool *pool, pel_pool_cache *cache, uint64_t *block, uint64_t owner) {
    assert_int_equal(block[1], owner);
    block[1] = 0;
    pel_pool_give(pool, cache, block);
}

static void test_blocks_have_one_owner(void **state) {
    static void *had[BLOCKS];
    (void)state;
    left = 1000000;
    for (size_t bytes = 64; bytes <= 128; bytes *= 2) {
        pel_pool *pool = pel_pool_create(&meagre, bytes);
        pel_pool_cache caches[CACHES] = {{NULL, NULL}};
        uint64_t random = 1;
        uint32_t count = 0;
        assert_non_null(pool);
        for (int i = 0; i < 400000; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            pel_pool_cache *cache = &caches[(random >> 40) % CACHES];
            const bool grows = (i / 4000) % 2 == 0;
            if (count == 0 || (count < BLOCKS && ((random >> 50) % 4 == 0) != grows)) {
                had[count++] = take(pool, cache, 7, bytes);
                assert_non_null(had[count - 1]);
            } else {
                const uint32_t at = (uint32_t)((random >> 33) % count);
                give(pool, cache, had[at], 7);
                had[at] = had[--count];
            }
        }
        pel_pool_destroy(pool);
        assert_int_equal(live, 0);
    }
}

/* Who takes and who gives are different, as a submitter and a worker are: memory does not grow, and its order is kept. */
static void test_one_takes_another_gives(void **state) {
    (void)state;
    left = 1000000;
    pel_pool *pool = pel_pool_create(&meagre, 64);
    pel_pool_cache taker = {NULL, NULL}, giver = {NULL, NULL};
    for (int i = 0; i < 10 * PEL_POOL_CHAIN; i++) {
        give(pool, &giver, take(pool, &taker, 1, 64), 1);
    }
    const size_t before = live;
    for (int i = 0; i < 1000 * PEL_POOL_CHAIN; i++) {
        give(pool, &giver, take(pool, &taker, 1, 64), 1);
    }
    assert_int_equal(live, before);
    assert_true(pel_pool_ready(&taker) < PEL_POOL_CHAIN);
    pel_pool_destroy(pool);
    assert_int_equal(live, 0);
}

static void test_without_memory(void **state) {
    static void *had[BLOCKS];
    (void)state;
    for (int allocations = 0; allocations < 40; allocations++) {
        left = allocations;
        pel_pool *pool = pel_pool_create(&meagre, 64);
        pel_pool_cache taker = {NULL, NULL}, giver = {NULL, NULL};
        if (!pool) {
            continue;
        }
        for (int round = 0; round < 3; round++) { /* all that it could have, it can have again */
            uint32_t count = 0;
            while (count < BLOCKS && (had[count] = take(pool, &taker, 1, 64)) != NULL) {
                count++;
            }
            left = 0;
            for (uint32_t i = 0; i < count; i++) {
                give(pool, &giver, had[i], 1);
            }
            uint32_t again = 0;
            while (again < count && (had[again] = take(pool, &giver, 1, 64)) != NULL) {
                again++;
            }
            while (again < count && (had[again] = take(pool, &taker, 1, 64)) != NULL) {
                again++;
            }
            assert_int_equal(again, count);
            for (uint32_t i = 0; i < count; i++) {
                give(pool, &giver, had[i], 1);
            }
        }
        pel_pool_destroy(pool);
        assert_int_equal(live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_have_one_owner),
        cmocka_unit_test(test_one_takes_another_gives),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
