/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which devices a list means. Positive items choose in their order; negative ones take away from the result wherever they stand,
 * so `!gpu,all` and `all,!gpu` are one; only negative items start from the default. The default and the group words never choose
 * an emulator, nor one GPU twice because two platforms show it. A CPU device shares its cores with the host: by default the first
 * is chosen beside the host and the planner treats the two as alternatives; further ones only when asked for, since they could
 * add nothing. A negative item that matches nothing is fine (`!llvmpipe` on a machine without it); a positive one is an error,
 * because silently running elsewhere is what users of device lists fear most.
 */
#include "topology/devices.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "topology/core_set.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

typedef enum item_kind { ITEM_HOST, ITEM_OPENCL, ITEM_CPU, ITEM_GPU, ITEM_ACCELERATOR, ITEM_ALL, ITEM_ID, ITEM_NAME } item_kind;

static item_kind kind_of(const pel_device_item *item) {
    static const struct {
        const char *word;
        item_kind kind;
    } words[] = {{"host", ITEM_HOST}, {"opencl", ITEM_OPENCL},           {"cpu", ITEM_CPU},
                 {"gpu", ITEM_GPU},   {"accelerator", ITEM_ACCELERATOR}, {"all", ITEM_ALL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i].word) == item->length && strncasecmp(words[i].word, item->text, item->length) == 0)
            return words[i].kind;
    }
    if (item->length > 4 && strncasecmp(item->text, "sim:", 4) == 0)
        return ITEM_ID;
    return item->length > 7 && strncasecmp(item->text, "opencl:", 7) == 0 ? ITEM_ID : ITEM_NAME;
}

static pel_status bad_item(const pel_device_list *list, const char *item, size_t length, const char *what, pel_error **error) {
    return pel_fail(
        error, list->allocator, PEL_INVALID_ARGUMENT,
        &(pel_story){
            .advice =
                "write items like host, opencl:0, gpu, !llvmpipe, host@0, opencl:0@1-3+6, separated by ','; options as "
                "opencl:0[memory=64M;allocation=16M;staging=4M;own;outside]"},
        "%s: item \"%.*s\": %s", list->source, (int)(length < 200 ? length : 200), item, what);
}

/* "64M": a number of bytes, of K, M or G of them. */
static bool parse_bytes(const char *text, size_t length, uint64_t *bytes) {
    uint64_t value = 0, unit = 1;
    size_t at = 0;
    for (; at < length && isdigit((unsigned char)text[at]); at++) {
        if (!pel_mul_u64(value, 10, &value) || !pel_add_u64(value, (uint64_t)(text[at] - '0'), &value))
            return false;
    }
    if (at == 0 || at + 1 < length)
        return false;
    if (at < length) {
        const char *units = "kmg", *found = strchr(units, tolower((unsigned char)text[at]));
        if (!found || !*found)
            return false;
        unit = 1ull << (10 * (found - units + 1));
    }
    *bytes = value;
    return value > 0 && pel_mul_u64(value, unit, bytes);
}

static bool parse_option(const char *text, size_t length, pel_device_options *options) {
    static const char memory[] = "memory=", allocation[] = "allocation=", staging[] = "staging=";
    if (length == 3 && strncasecmp(text, "own", 3) == 0) {
        options->own = true;
        return true;
    }
    if (length == 7 && strncasecmp(text, "outside", 7) == 0) {
        options->outside = true;
        return true;
    }
    if (length > sizeof memory - 1 && strncasecmp(text, memory, sizeof memory - 1) == 0)
        return parse_bytes(text + sizeof memory - 1, length - (sizeof memory - 1), &options->memory);
    if (length > sizeof allocation - 1 && strncasecmp(text, allocation, sizeof allocation - 1) == 0)
        return parse_bytes(text + sizeof allocation - 1, length - (sizeof allocation - 1), &options->allocation);
    if (length > sizeof staging - 1 && strncasecmp(text, staging, sizeof staging - 1) == 0)
        return parse_bytes(text + sizeof staging - 1, length - (sizeof staging - 1), &options->staging) &&
               options->staging <= PEL_STAGING_MOST;
    return false;
}

/* Takes "[...]" off the end of an item. */
static bool take_options(const char *text, size_t *length, pel_device_options *options) {
    const char *open = memchr(text, '[', *length);
    if (!open)
        return true;
    const char *end = text + *length - 1, *at = open + 1;
    if (*end != ']')
        return false;
    *length = (size_t)(open - text);
    for (;;) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        stop = stop ? stop : end;
        if (!parse_option(at, (size_t)(stop - at), options))
            return false;
        if (stop == end)
            return true;
        at = stop + 1;
    }
}

/* Pinned memory is the device's as well as the host's, and what launches claim lies beside it. Only what the caller has asked
 * for: by itself a backend takes a small part. */
static uint64_t rings_of(const pel_device_options *options, const pel_topology_device *device) {
    const bool copies = options->own || !device->host_coherent;
    return copies && device->info.memory_bytes > 0 ? PEL_STAGING_SLOTS * options->staging : 0;
}

static uint64_t memory_of(const pel_device_options *options, const pel_topology_device *device) {
    const uint64_t all = device->info.memory_bytes;
    return options->memory != 0 && options->memory < all ? options->memory : all;
}

void pel_device_options_apply(const pel_device_options *options, pel_topology_device *device) {
    pel_device_info *info = &device->info;
    const uint64_t rings = rings_of(options, device), memory = memory_of(options, device);
    info->memory_bytes = memory > rings ? memory - rings : memory;
    const uint64_t most =
        options->allocation != 0 && options->allocation < info->memory_bytes ? options->allocation : info->memory_bytes;
    if ((options->memory != 0 || options->allocation != 0 || rings > 0) &&
        (most < info->max_allocation_bytes || info->max_allocation_bytes == 0))
        info->max_allocation_bytes = most;
    if (options->outside) {
        device->outside = true;
        info->outside = 1;
    }
    device->own_memory = device->own_memory || options->own;
    device->staging_bytes = options->staging;
    if (options->own || options->outside) { /* the host memory of a program is not mapped elsewhere */
        device->host_coherent = false;
        info->shares_host_memory = 0;
    }
}

static pel_status parse_item(pel_device_list *list, const char *text, size_t length, pel_device_item *item, pel_error **error) {
    const char *whole = text;
    size_t whole_length = length;
    if (!take_options(text, &length, &item->options)) {
        return bad_item(
            list, whole, whole_length,
            "what stands in [] is not memory=BYTES, allocation=BYTES, staging=BYTES (at most 256M), own or outside, with ';' "
            "between",
            error);
    }
    const bool narrowed = whole_length != length;
    if (length > 0 && *text == '!') {
        item->negative = true;
        text++;
        length--;
    }
    const char *at = memrchr(text, '@', length);
    if (at) {
        size_t tail = length - (size_t)(at - text) - 1;
        if (!pel_core_set_parse(at + 1, tail, '+', &item->cores)) {
            return bad_item(list, whole, whole_length, "what follows '@' is not a set of cores", error);
        }
        if (item->negative)
            return bad_item(list, whole, whole_length, "a device that is taken away has no cores", error);
        item->declared = true;
        length = (size_t)(at - text);
    }
    if (length == 0)
        return bad_item(list, whole, whole_length, "it names no device", error);
    item->text = text;
    item->length = length;
    if (narrowed && (item->negative || kind_of(item) == ITEM_HOST))
        return bad_item(list, whole, whole_length, "the host, and a device that is taken away, have no options", error);
    return PEL_OK;
}

pel_status pel_device_list_parse(const char *text, const char *source, const pel_allocator *allocator, pel_device_list *list,
                                 pel_error **error) {
    *list = (pel_device_list){.allocator = allocator, .source = source};
    if (!text)
        return PEL_OK;
    size_t commas = 1;
    for (const char *at = text; *at; at++)
        commas += *at == ',';
    list->text = pel_strdup(allocator, text);
    list->items = pel_alloc_zero(allocator, commas, sizeof *list->items);
    if (!list->text || !list->items)
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for %s", source);
    for (const char *at = list->text;;) {
        size_t length = strcspn(at, ",");
        const char *first = at, *last = at + length;
        while (first < last && isspace((unsigned char)*first))
            first++;
        while (last > first && isspace((unsigned char)last[-1]))
            last--;
        pel_status status = parse_item(list, first, (size_t)(last - first), &list->items[list->count], error);
        if (status)
            return status;
        list->count++;
        if (at[length] == '\0')
            return PEL_OK;
        at += length + 1;
    }
}

void pel_device_list_free(pel_device_list *list) {
    pel_free(list->allocator, list->items);
    pel_free(list->allocator, list->text);
    list->items = NULL;
    list->text = NULL;
    list->count = 0;
}

bool pel_device_list_wants_opencl(const pel_device_list *list) {
    bool positive = false, wants = false;
    for (uint32_t i = 0; i < list->count; i++) {
        item_kind kind = kind_of(&list->items[i]);
        if (list->items[i].negative) {
            if (kind == ITEM_OPENCL)
                return false;
        } else {
            positive = true;
            wants = wants || kind != ITEM_HOST;
        }
    }
    return wants || !positive;
}

bool pel_device_list_driver_cores(const pel_device_list *list, pel_core_set *cores) {
    bool any = false;
    memset(cores, 0, sizeof *cores);
    for (uint32_t i = 0; i < list->count; i++) {
        const pel_device_item *item = &list->items[i];
        if (!item->declared || kind_of(item) == ITEM_HOST)
            continue;
        pel_core_set_unite(cores, &item->cores);
        any = true;
    }
    return any;
}

static bool contains(const char *text, const char *part, size_t length) {
    for (size_t total = strlen(text); total >= length; total--, text++) {
        if (strncasecmp(text, part, length) == 0)
            return true;
    }
    return false;
}

static bool is_id(const pel_device_info *info, const pel_device_item *item) {
    return strlen(info->id) == item->length && strncasecmp(info->id, item->text, item->length) == 0;
}

/* Whether an item means a device, emulators and doubles included. */
static bool matches(const pel_device_item *item, const pel_device_table *table, uint32_t device) {
    const pel_device_info *info = &table->devices[device].info;
    pel_device_type type = table->candidates[device].type;
    switch (kind_of(item)) {
    case ITEM_HOST:
        return type == PEL_TYPE_HOST;
    case ITEM_OPENCL:
        return type != PEL_TYPE_HOST;
    case ITEM_CPU:
        return type == PEL_TYPE_HOST || type == PEL_TYPE_CPU;
    case ITEM_GPU:
        return type == PEL_TYPE_GPU;
    case ITEM_ACCELERATOR:
        return type == PEL_TYPE_ACCELERATOR;
    case ITEM_ALL:
        return true;
    case ITEM_ID:
        return is_id(info, item);
    case ITEM_NAME:
        return is_id(info, item) || (type != PEL_TYPE_HOST && (contains(info->name, item->text, item->length) ||
                                                               contains(info->platform, item->text, item->length)));
    }
    return false;
}

static bool names_it(const pel_device_item *item) {
    item_kind kind = kind_of(item);
    return kind == ITEM_NAME || kind == ITEM_ID;
}

static bool taken_away(const pel_device_list *list, const pel_device_table *table, uint32_t device) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].negative && matches(&list->items[i], table, device))
            return true;
    }
    return false;
}

static bool has_positive(const pel_device_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (!list->items[i].negative)
            return true;
    }
    return false;
}

/* "host (EPYC), opencl:0 (pthread)" for messages. */
static char *what_there_is(const pel_device_list *list, const pel_device_table *table) {
    pel_text text;
    pel_text_init(&text, list->allocator);
    for (uint32_t i = 0; i < table->count; i++) {
        const pel_device_info *info = &table->devices[i].info;
        pel_text_format(&text, "%s%s (%s%s%s)", i ? ", " : "", info->id, info->name, *info->platform ? ", " : "", info->platform);
    }
    return pel_text_take(&text);
}

static pel_status not_found(const pel_device_list *list, const pel_device_table *table, const pel_device_item *item,
                            const char *why, pel_error **error) {
    char *there = what_there_is(list, table);
    pel_status status = pel_fail(error, list->allocator, PEL_NOT_FOUND,
                                 &(pel_story){.advice = "`pel info` lists the devices, `pel doctor` says why one is missing"},
                                 "%s: \"%.*s\" %s; there is: %s", list->source, (int)(item->length < 200 ? item->length : 200),
                                 item->text, why, there ? there : "?");
    pel_free(list->allocator, there);
    return status;
}

typedef struct selection {
    const pel_device_list *list;
    const pel_device_table *table;
    pel_device_choice *choices;
    uint32_t count, capacity;
} selection;

static pel_status check_rings(const selection *chosen, uint32_t device, const pel_device_options *options, pel_error **error) {
    const pel_topology_device *facts = &chosen->table->devices[device];
    const uint64_t rings = rings_of(options, facts), memory = memory_of(options, facts);
    if (rings <= memory / 2)
        return PEL_OK;
    return pel_fail(error, chosen->list->allocator, PEL_INVALID_ARGUMENT,
                    &(pel_story){.device = facts->info.id, .advice = "pieces of a sixteenth of the memory are the largest"},
                    "%s: staging=%llu: %d such pieces take %llu of the %llu bytes of memory that %s may use, more than half",
                    chosen->list->source, (unsigned long long)options->staging, PEL_STAGING_SLOTS, (unsigned long long)rings,
                    (unsigned long long)memory, facts->info.id);
}

static pel_status add_choice(selection *chosen, uint32_t device, const pel_device_item *item, pel_error **error) {
    if (chosen->count == chosen->capacity) {
        uint32_t capacity = chosen->capacity ? 2 * chosen->capacity : 8;
        pel_device_choice *grown = pel_resize(chosen->list->allocator, chosen->choices, capacity * sizeof *grown);
        if (!grown)
            return pel_fail(error, chosen->list->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the list of devices");
        chosen->choices = grown;
        chosen->capacity = capacity;
    }
    pel_device_choice *choice = &chosen->choices[chosen->count++];
    memset(choice, 0, sizeof *choice);
    choice->device = device;
    if (item && chosen->table->candidates[device].type != PEL_TYPE_HOST)
        choice->options = item->options;
    if (item && item->declared) {
        choice->declared = true;
        choice->cores = item->cores;
    }
    return check_rings(chosen, device, &choice->options, error);
}

static bool already_chosen(const selection *chosen, uint32_t device) {
    for (uint32_t i = 0; i < chosen->count; i++) {
        if (chosen->choices[i].device == device)
            return true;
    }
    return false;
}

/* The same GPU through another platform counts as chosen too. */
static bool double_chosen(const selection *chosen, uint32_t device) {
    for (uint32_t i = 0; i < chosen->count; i++) {
        uint32_t other = chosen->choices[i].device;
        uint32_t a = chosen->table->candidates[device].same_as, b = chosen->table->candidates[other].same_as;
        if (other == device || a == other || b == device || (a != PEL_NO_DEVICE_INDEX && a == b))
            return true;
    }
    return false;
}

static const char *device_id(const selection *chosen, uint32_t choice) {
    return chosen->table->devices[chosen->choices[choice].device].info.id;
}

static pel_status format_conflict(const selection *chosen, uint32_t a, uint32_t b, pel_error **error) {
    const pel_allocator *allocator = chosen->list->allocator;
    pel_core_set both = chosen->choices[a].cores;
    pel_core_set_intersect(&both, &chosen->choices[b].cores);
    pel_text cores;
    pel_text_init(&cores, allocator);
    pel_core_set_format(&both, '+', &cores);
    pel_status status =
        pel_fail(error, allocator, PEL_CONFLICT,
                 &(pel_story){.advice = "give the devices disjoint core sets, or none: they are then used in turn"},
                 "%s: %s and %s both claim core %s", chosen->list->source, device_id(chosen, a), device_id(chosen, b),
                 cores.data ? cores.data : "?");
    pel_text_free(&cores);
    return status;
}

/* Core sets must be the caller's to give, mean something for the device, and not overlap. */
static pel_status check_core_sets(const selection *chosen, pel_error **error) {
    const pel_allocator *allocator = chosen->list->allocator;
    for (uint32_t i = 0; i < chosen->count; i++) {
        const pel_device_choice *choice = &chosen->choices[i];
        if (!choice->declared)
            continue;
        pel_device_class class = chosen->table->devices[choice->device].info.device_class;
        if (class == PEL_CLASS_DISCRETE || class == PEL_CLASS_INTEGRATED) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL,
                            "%s: %s has processors of its own; a core set is for devices that run on the host's cores",
                            chosen->list->source, device_id(chosen, i));
        }
        if (!pel_core_set_within(&choice->cores, chosen->table->budget_cores)) {
            pel_text cores;
            pel_text_init(&cores, allocator);
            pel_core_set_format(chosen->table->budget_cores, '+', &cores);
            pel_status status = pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "%s: %s: the cores of this process are %s",
                                         chosen->list->source, device_id(chosen, i), cores.data ? cores.data : "?");
            pel_text_free(&cores);
            return status;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (chosen->choices[j].declared && pel_core_set_overlaps(&chosen->choices[j].cores, &choice->cores)) {
                return format_conflict(chosen, j, i, error);
            }
        }
    }
    return PEL_OK;
}

static bool same_options(const pel_device_options *a, const pel_device_options *b) {
    return a->memory == b->memory && a->allocation == b->allocation && a->own == b->own && a->staging == b->staging &&
           a->outside == b->outside;
}

/* Listing a device again adds it only with another core set: two parts of one driver's device. */
static pel_status choose_again(selection *chosen, uint32_t device, const pel_device_item *item, pel_error **error) {
    for (uint32_t i = 0; i < chosen->count; i++) {
        const pel_device_choice *earlier = &chosen->choices[i];
        if (earlier->device != device)
            continue;
        const pel_device_options none = {0};
        const bool same_part =
            earlier->declared == item->declared && memcmp(&earlier->cores, &item->cores, sizeof item->cores) == 0;
        if (same_part && chosen->table->candidates[device].type != PEL_TYPE_HOST && !same_options(&item->options, &none) &&
            !same_options(&item->options, &earlier->options)) {
            return pel_fail(error, chosen->list->allocator, PEL_CONFLICT, NULL, "%s: %s is listed twice with different options",
                            chosen->list->source, chosen->table->devices[device].info.id);
        }
        if (same_part)
            return PEL_OK;
        if (!earlier->declared || !item->declared || chosen->table->candidates[device].type == PEL_TYPE_HOST) {
            return pel_fail(error, chosen->list->allocator, PEL_CONFLICT, NULL, "%s: %s is listed twice with different cores",
                            chosen->list->source, chosen->table->devices[device].info.id);
        }
    }
    return add_choice(chosen, device, item, error);
}

static pel_status apply_item(selection *chosen, const pel_device_item *item, pel_error **error) {
    const pel_device_table *table = chosen->table;
    const char *unusable = NULL;
    bool matched = false, emulator = false;
    for (uint32_t device = 0; device < table->count; device++) {
        const pel_candidate *candidate = &table->candidates[device];
        if (!matches(item, table, device))
            continue;
        if (candidate->unusable) {
            unusable = candidate->unusable;
            continue;
        }
        if (candidate->software && !names_it(item)) {
            emulator = true;
            continue;
        }
        matched = true;
        if (taken_away(chosen->list, table, device))
            continue;
        pel_status status = PEL_OK;
        if (already_chosen(chosen, device)) {
            if (names_it(item) || item->declared)
                status = choose_again(chosen, device, item, error);
        } else if (!double_chosen(chosen, device) || kind_of(item) == ITEM_ID) {
            status = add_choice(chosen, device, item, error);
        }
        if (status)
            return status;
    }
    if (matched)
        return PEL_OK;
    if (unusable)
        return not_found(chosen->list, table, item, unusable, error);
    return not_found(chosen->list, table, item, emulator ? "matches emulators only, which must be named" : "matches no device",
                     error);
}

static pel_status choose_default(selection *chosen, pel_error **error) {
    bool have_cpu = false;
    for (uint32_t device = 0; device < chosen->table->count; device++) {
        const pel_candidate *candidate = &chosen->table->candidates[device];
        if (candidate->unusable || candidate->software || candidate->type == PEL_TYPE_OTHER)
            continue;
        if (taken_away(chosen->list, chosen->table, device) || double_chosen(chosen, device))
            continue;
        if (candidate->type == PEL_TYPE_CPU && have_cpu)
            continue;
        have_cpu = have_cpu || candidate->type == PEL_TYPE_CPU;
        pel_status status = add_choice(chosen, device, NULL, error);
        if (status)
            return status;
    }
    return PEL_OK;
}

pel_status pel_device_list_select(const pel_device_list *list, const pel_device_table *table, pel_device_choice **choices,
                                  uint32_t *choice_count, pel_error **error) {
    selection chosen = {.list = list, .table = table};
    pel_status status = PEL_OK;
    if (!has_positive(list))
        status = choose_default(&chosen, error);
    for (uint32_t i = 0; !status && i < list->count; i++) {
        if (!list->items[i].negative)
            status = apply_item(&chosen, &list->items[i], error);
    }
    if (!status)
        status = check_core_sets(&chosen, error);
    if (!status && chosen.count == 0) {
        char *there = what_there_is(list, table);
        status =
            pel_fail(error, list->allocator, PEL_NO_DEVICE, &(pel_story){.advice = "`pel doctor` says why a device is missing"},
                     "%s leaves no device; there is: %s", list->source, there ? there : "?");
        pel_free(list->allocator, there);
    }
    if (status) {
        pel_free(list->allocator, chosen.choices);
        return status;
    }
    *choices = chosen.choices;
    *choice_count = chosen.count;
    return PEL_OK;
}

const char *pel_device_list_why_not(const pel_device_list *list, const pel_device_table *table, uint32_t device, pel_keep *keep) {
    const pel_candidate *candidate = &table->candidates[device];
    if (candidate->unusable)
        return candidate->unusable;
    if (taken_away(list, table, device))
        return pel_keep_format(keep, "taken away by %s", list->source);
    if (candidate->software)
        return "an emulator: used only when it is named in the device list";
    if (candidate->same_as != PEL_NO_DEVICE_INDEX) {
        return pel_keep_format(keep, "the same device as %s, seen through another platform",
                               table->devices[candidate->same_as].info.id);
    }
    if (has_positive(list))
        return pel_keep_format(keep, "not named in %s", list->source);
    if (candidate->type == PEL_TYPE_CPU)
        return "runs on the same cores as another CPU device that comes first; name it to use it";
    return "not used by default; name it to use it";
}
