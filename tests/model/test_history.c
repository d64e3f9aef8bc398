/* SPDX-License-Identifier: BSD-3-Clause */
/* The history's bytes: what goes in comes out, whatever is not a history is refused, and merging does not depend on the order. */
#include "model/history.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state = 2026;

static uint64_t draw(uint64_t below) { return test_random(&random_state) % below; }

static pel_history_entry random_entry(uint64_t keys) {
    pel_history_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.state.key = (pel_model_key){draw(keys), draw(2)};
    entry.state.kernel = draw(5);
    entry.state.aspect = (pel_model_aspect)draw(5);
    entry.state.samples = draw(10);
    entry.state.count = (uint32_t)draw(PEL_MODEL_STATE_LIMIT + 1);
    for (uint32_t i = 0; i < entry.state.count; i++) {
        entry.state.values[i] = (double)draw(3);
    }
    entry.updated = draw(5);
    (void)snprintf(entry.kernel, sizeof entry.kernel, "kernel %u", (unsigned)draw(3));
    (void)snprintf(entry.device, sizeof entry.device, "%.*s", (int)draw(40), "a device of a long name, with a comma or two");
    return entry;
}

static void random_history(pel_history *history, uint32_t puts) {
    *history = (pel_history){.allocator = &pel_allocator_default};
    for (uint32_t i = 0; i < puts; i++) {
        pel_history_entry entry = random_entry(12);
        assert_int_equal(pel_history_put(history, &entry, NULL), PEL_OK);
    }
}

static void same(const pel_history *a, const pel_history *b) {
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        const pel_history_entry *x = a->entries[i], *y = b->entries[i];
        assert_true(x->state.key.kernel == y->state.key.kernel && x->state.key.device == y->state.key.device);
        assert_true(x->state.kernel == y->state.kernel && x->state.aspect == y->state.aspect);
        assert_true(x->state.samples == y->state.samples && x->state.count == y->state.count && x->updated == y->updated);
        assert_memory_equal(x->state.values, y->state.values, x->state.count * sizeof(double));
        assert_string_equal(x->kernel, y->kernel);
        assert_string_equal(x->device, y->device);
    }
}

static void comes_back(void **state) {
    (void)state;
    for (uint32_t trial = 0; trial < 300; trial++) {
        pel_history first, second = {.allocator = &pel_allocator_default};
        size_t bytes;
        random_history(&first, trial % 40);
        void *data = pel_history_encode(&first, &bytes);
        assert_non_null(data);
        assert_int_equal(pel_history_decode(&second, data, bytes, "test", NULL), PEL_OK);
        same(&first, &second);
        pel_free(&pel_allocator_default, data);
        pel_history_free(&first);
        pel_history_free(&second);
    }
}

static void merged(const pel_history *a, const pel_history *b, pel_history *out) {
    *out = (pel_history){.allocator = &pel_allocator_default};
    const pel_history *both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        for (uint32_t j = 0; j < both[i]->count; j++) {
            assert_int_equal(pel_history_put(out, both[i]->entries[j], NULL), PEL_OK);
        }
    }
}

static void merging_has_no_order(void **state) {
    (void)state;
    for (uint32_t trial = 0; trial < 300; trial++) {
        pel_history a, b, c, ab, ba, ab_c, bc, a_bc, aa;
        random_history(&a, 15);
        random_history(&b, 15);
        random_history(&c, 15);
        merged(&a, &b, &ab);
        merged(&b, &a, &ba);
        merged(&ab, &c, &ab_c);
        merged(&b, &c, &bc);
        merged(&a, &bc, &a_bc);
        merged(&a, &a, &aa);
        same(&ab, &ba);
        same(&ab_c, &a_bc);
        same(&aa, &a);
        for (uint32_t i = 0; i < ab.count; i++) { /* nothing is invented, nothing is lost */
            pel_history_entry *in_a = pel_history_find(&a, ab.entries[i]->state.key),
                              *in_b = pel_history_find(&b, ab.entries[i]->state.key);
            assert_true(in_a || in_b);
        }
        pel_history *all[] = {&a, &b, &c, &ab, &ba, &ab_c, &bc, &a_bc, &aa};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            pel_history_free(all[i]);
        }
    }
}

/* Any damaged byte, any cut, anything appended. */
static void damage_is_seen(void **state) {
    (void)state;
    pel_history history, again = {.allocator = &pel_allocator_default};
    size_t bytes;
    random_history(&history, 6);
    unsigned char *data = pel_history_encode(&history, &bytes);
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char old = data[i];
        data[i] ^= (unsigned char)(1u << draw(8));
        pel_error *error = NULL;
        pel_status status = pel_history_decode(&again, data, bytes, "it", &error);
        assert_true(i < 8 ? status == PEL_CORRUPT
                          : status == PEL_INVALID_ARGUMENT || (status == PEL_UNSUPPORTED && i < 16));
        assert_non_null(strstr(pel_error_message(error), "the history it cannot be used: "));
        assert_int_equal(again.count, 0);
        pel_error_destroy(error);
        data[i] = old;
    }
    for (size_t cut = 0; cut < bytes; cut++) {
        unsigned char *part = malloc(cut + 1); /* so that a read beyond it is seen */
        memcpy(part, data, cut);
        assert_int_equal(pel_history_decode(&again, part, cut, "it", NULL),
                         cut < 8 ? PEL_CORRUPT : PEL_INVALID_ARGUMENT);
        free(part);
    }
    unsigned char *longer = calloc(1, bytes + 1);
    memcpy(longer, data, bytes);
    assert_int_equal(pel_history_decode(&again, longer, bytes + 1, "it", NULL), PEL_INVALID_ARGUMENT);
    free(longer);
    pel_free(&pel_allocator_default, data);
    pel_history_free(&history);
}

static void shrinks_by_age(void **state) {
    (void)state;
    pel_history history = {.allocator = &pel_allocator_default};
    for (uint64_t i = 0; i < 100; i++) {
        pel_history_entry entry;
        memset(&entry, 0, sizeof entry);
        entry.state.key.kernel = i * 37 % 100;
        entry.updated = i;
        assert_int_equal(pel_history_put(&history, &entry, NULL), PEL_OK);
    }
    pel_history_shrink(&history, 10);
    assert_int_equal(history.count, 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_true(history.entries[i]->updated >= 90);
        assert_true(i == 0 || history.entries[i - 1]->state.key.kernel < history.entries[i]->state.key.kernel);
    }
    pel_history_free(&history);
}

static void name_it(void *user, pel_history_entry *entry) {
    (void)snprintf(entry->kernel, sizeof entry->kernel, "%s", (const char *)user);
}

static void takes_what_has_changed(void **state) {
    (void)state;
    char name[] = "k";
    pel_history history = {.allocator = &pel_allocator_default};
    pel_models *models = pel_models_create(&pel_allocator_default), *later = pel_models_create(&pel_allocator_default);
    bool changed = false;
    uint32_t skipped = 9;
    for (uint64_t kernel = 1; kernel < 4; kernel++) {
        for (int i = 0; i < 6; i++) {
            assert_int_equal(pel_models_observe(models, (pel_model_key){kernel, 7}, 100.0 + i, 5000.0 + 10.0 * i), PEL_OK);
        }
    }
    assert_int_equal(pel_history_take(&history, models, 50, name_it, name, &changed), PEL_OK);
    assert_true(changed && history.count == 3);
    assert_int_equal(pel_history_take(&history, models, 60, name_it, name, &changed), PEL_OK);
    assert_false(changed);
    assert_int_equal(pel_models_observe(models, (pel_model_key){2, 7}, 300.0, 9000.0), PEL_OK);
    assert_int_equal(pel_history_take(&history, models, 70, name_it, name, &changed), PEL_OK);
    assert_true(changed);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(history.entries[i]->updated, history.entries[i]->state.key.kernel == 2 ? 70 : 50);
        assert_string_equal(history.entries[i]->kernel, "k");
    }
    history.entries[0]->state.values[1] = -1.0; /* no model has that */
    assert_int_equal(pel_history_give(&history, later, &skipped), PEL_OK);
    assert_int_equal(skipped, 1);
    for (uint64_t kernel = 1; kernel < 4; kernel++) {
        pel_cost a = pel_models_predict(models, (pel_model_key){kernel, 7}),
                 b = pel_models_predict(later, (pel_model_key){kernel, 7});
        assert_true(kernel == 1 ? b.samples == 0 : a.unit_ns == b.unit_ns && a.samples == b.samples);
    }
    pel_models_destroy(models);
    pel_models_destroy(later);
    pel_history_free(&history);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back), cmocka_unit_test(merging_has_no_order),
                                       cmocka_unit_test(damage_is_seen), cmocka_unit_test(shrinks_by_age),
                                       cmocka_unit_test(takes_what_has_changed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
