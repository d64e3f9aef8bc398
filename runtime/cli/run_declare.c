/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the words about access to the declaration that the library gets, with the checks that need the data: does the array hold
 * what the range touches, do rows line up. The library checks sizes again; here the message can name the file and say what
 * would fit.
 */
#include "base/checked.h"
#include "base/reduce.h"
#include "cli/options.h"
#include "cli/run.h"

#include <stdio.h>
#include <string.h>

static uint32_t item_dims(const pel_run_argument *a) {
    return a->array.dims - (a->channelled ? 1 : 0);
}

static const char *range_text(const pel_run *run, char text[80]) {
    int used = snprintf(text, 80, "%llu", (unsigned long long)run->range[0]);
    for (uint32_t i = 1; i < run->dims; i++)
        used += snprintf(text + used, 80 - (size_t)used, "x%llu", (unsigned long long)run->range[i]);
    return text;
}

static const char *what(const pel_run_argument *a) {
    return a->mode == PEL_WRITE ? "the output" : a->value;
}

static bool declare_elementwise(const pel_run *run, pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    char range[80], shape[160];
    uint64_t items = run->range[0];
    for (uint32_t i = 1; i < run->dims; i++)
        items *= run->range[i];
    unsigned __int128 needed = ((unsigned __int128)items * a->num + a->den - 1) / a->den;
    uint64_t present = a->array.bytes / a->item_bytes;
    if (needed > present)
        return pel_message(message, "%.200s holds %s; elementwise %llu/%llu over the range %s needs %llu elements of %llu bytes",
                           what(a), pel_array_describe(&a->array, a->channelled, shape), (unsigned long long)a->num,
                           (unsigned long long)a->den, range_text(run, range), (unsigned long long)needed,
                           (unsigned long long)a->item_bytes);
    uint32_t dims = item_dims(a);
    if (a->num == a->den && dims == run->dims)
        for (uint32_t i = 0; i + 1 < dims; i++)
            if (a->array.shape[dims - 1 - i] != run->range[i])
                return pel_message(message,
                                   "%.200s holds %s; its rows do not line up with the range %s, so elementwise cannot hold",
                                   what(a), pel_array_describe(&a->array, a->channelled, shape), range_text(run, range));
    a->declaration = (pel_param)PEL_PARAM_ELEMENTWISE(a->mode, a->item_bytes, a->num, a->den);
    return true;
}

/* pitch=NAME: an integer value argument that holds the elements of a unit. */
static bool pitch_argument(const pel_run *run, pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    for (uint32_t i = 0; i < run->argument_count; i++) {
        const pel_run_argument *other = &run->arguments[i];
        if (strcmp(other->name, a->pitch) != 0)
            continue;
        const pel_element *element = &other->parameter->element;
        if (other->parameter->space != PEL_SPACE_VALUE || !element->cell || element->width != 1 || element->cell->kind == 'f')
            return pel_message(message, "pitch=%s: `%s` is not a whole number by value", a->pitch, other->parameter->text);
        a->declaration.pitch_argument = 1 + (int32_t)i;
        return true;
    }
    return pel_message(message, "pitch=%s: neither bytes nor the name of an argument", a->pitch);
}

/* Width and height exchanged: the shape is the range backwards, which no kernel that works row by row wants. */
static bool turned(const pel_run *run, const pel_run_argument *a) {
    uint32_t dims = item_dims(a);
    bool same = true, backwards = dims == run->dims;
    for (uint32_t i = 0; backwards && i < dims; i++) {
        same = same && a->array.shape[dims - 1 - i] == run->range[i];
        backwards = a->array.shape[i] == run->range[i];
    }
    return backwards && !same;
}

static bool declare_block(const pel_run *run, pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    char range[80], shape[160];
    uint32_t dims = item_dims(a);
    a->declaration = (pel_param)PEL_PARAM_BLOCK(a->mode, a->item_bytes, 0, a->halo_lo, a->halo_hi);
    uint64_t pitch = a->item_bytes;
    if (a->pitch && !pel_cli_read_u64(a->pitch, &pitch))
        return pitch_argument(run, a, message);
    if (a->pitch && pitch == 0)
        return pel_message(message, "pitch=0: a unit has at least one byte");
    for (uint32_t i = 0; !a->pitch && i + 1 < run->dims;
         i++) /* a row as the array has it, when it has rows; else as the range has it */
        pitch *= dims == run->dims ? a->array.shape[dims - 1 - i] : run->range[i];
    uint64_t units = run->range[run->dims - 1], needed;
    if (!a->pitch && turned(run, a))
        return pel_message(
            message,
            "%.200s holds %s, the range is %s: the other way round. Both begin with the fastest dimension (an image's width; "
            "numpy shows shapes slowest first)",
            what(a), pel_array_describe(&a->array, a->channelled, shape), range_text(run, range));
    if (!pel_mul_u64(units, pitch, &needed) || needed > a->array.bytes)
        return pel_message(message, "%.200s holds %s, %llu bytes; block over the range %s needs %llu %s of %llu bytes", what(a),
                           pel_array_describe(&a->array, a->channelled, shape), (unsigned long long)a->array.bytes,
                           range_text(run, range), (unsigned long long)units,
                           run->dims == 1   ? "items"
                           : run->dims == 2 ? "rows"
                                            : "slabs",
                           (unsigned long long)pitch);
    a->declaration.pitch = pitch;
    return true;
}

static bool check_reduction(const pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    if (a->op == PEL_REDUCE_NONE)
        return true;
    char name[32];
    pel_element_name(&a->element, name);
    if (a->element.width != 1 || !a->element.cell->scalar)
        return pel_message(message, "reductions are made of int, uint, long, ulong, float and double, not of %s", name);
    if (!pel_reduce_valid(a->op, (pel_scalar)a->element.cell->scalar))
        return pel_message(message, "and, or and xor need whole numbers, not %s", name);
    if (a->pattern == PEL_RUN_REDUCE && !pel_reduce_exact(a->op, (pel_scalar)a->element.cell->scalar))
        return pel_message(
            message, "a sum of %s depends on its order, so private copies cannot be folded exactly; use pergroup with op=sum",
            name);
    return true;
}

static bool declare_pergroup(const pel_run *run, pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    uint64_t groups = pel_run_groups(run), needed;
    if (groups == 0)
        return pel_message(message, "pergroup needs --local, which fixes the number of work-groups");
    if (!check_reduction(a, message))
        return false;
    if (!pel_mul_u64(groups, a->count, &needed) || !pel_mul_u64(needed, a->item_bytes, &needed) || needed > a->array.bytes)
        return pel_message(message, "%llu work-groups with %llu elements each do not fit its shape", (unsigned long long)groups,
                           (unsigned long long)a->count);
    pel_scalar scalar = a->element.cell->scalar ? (pel_scalar)a->element.cell->scalar : PEL_U32;
    a->declaration = (pel_param)PEL_PARAM_PER_GROUP(a->op, scalar, a->item_bytes, a->count);
    return true;
}

/* Elements that a kernel touches which takes one for each item, at its global id: as many as the offset leaves out, too. */
static uint64_t elements_by_item(const pel_run *run) {
    uint64_t all = 1;
    for (uint32_t i = 0; i < run->dims; i++) {
        uint64_t end;
        if (!pel_add_u64(run->offset[i], run->range[i], &end) || !pel_mul_u64(all, end, &all))
            return UINT64_MAX;
    }
    return all;
}

bool pel_run_is_short(const pel_run *run, const pel_run_argument *a) {
    return a->array.data && a->pattern == PEL_RUN_UNDECLARED && a->array.bytes / a->item_bytes < elements_by_item(run);
}

/*
 * Nothing is said about access, and there are fewer elements than items: a table, or a range that is too large for the file. The
 * second reads or writes whatever lies behind the array, and its result looks like any other. So `whole` must be said of tables;
 * constant memory is made for them and gets a line in the report only.
 */
static bool check_undeclared(const pel_run *run, const pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    char range[80], shape[160];
    if (!pel_run_is_short(run, a) || a->parameter->space == PEL_SPACE_CONSTANT)
        return true;
    return pel_message(message,
                       "%.200s holds %s, %llu elements; a kernel that takes one for each item of the range %s touches %llu. Cut "
                       "the range, or say %.100s=...:whole if the kernel does not index it by item (a table, a total)",
                       what(a), pel_array_describe(&a->array, a->channelled, shape),
                       (unsigned long long)(a->array.bytes / a->item_bytes), range_text(run, range),
                       (unsigned long long)elements_by_item(run), a->name);
}

bool pel_run_declare(pel_run *run, pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    switch (a->pattern) {
    case PEL_RUN_ELEMENTWISE:
        return declare_elementwise(run, a, message);
    case PEL_RUN_BLOCK:
        return declare_block(run, a, message);
    case PEL_RUN_PER_GROUP:
        return declare_pergroup(run, a, message);
    case PEL_RUN_REDUCE:
        if (!check_reduction(a, message))
            return false;
        a->declaration = (pel_param)PEL_PARAM_REDUCE_PRIVATE(a->op, (pel_scalar)a->element.cell->scalar, a->element.cell->bytes,
                                                             pel_array_cells(&a->array));
        return true;
    case PEL_RUN_WHOLE:
        /* a write that is not said to cover everything keeps the rest: zeros, or the file's contents */
        a->declaration = (pel_param)PEL_PARAM_WHOLE(a->mode == PEL_READ ? PEL_READ : PEL_READ_WRITE);
        return true;
    case PEL_RUN_UNDECLARED:
        if (!check_undeclared(run, a, message))
            return false;
        break;
    }
    a->declaration = (pel_param)PEL_PARAM_POINTER(a->mode == PEL_READ ? PEL_READ : PEL_READ_WRITE);
    return true;
}
