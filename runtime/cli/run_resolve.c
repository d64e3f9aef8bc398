/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arguments meet the kernel: matched by name, files loaded as the type that the parameter wants, shapes of outputs found. The
 * rule is that data are never converted silently into something that a kernel would misread: a .npy file must have the
 * parameter's very type, an image with colours meets `float *` only when the user says how many values a pixel has. Every
 * refusal shows both sides.
 */
#include "base/checked.h"
#include "base/reduce.h"
#include "cli/image.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum file_format { FORMAT_RAW, FORMAT_NPY, FORMAT_PNG } file_format;

static file_format format_of(const pel_run_argument *a, const char *path) {
    const char *name = a->format ? a->format : strrchr(path, '.') ? strrchr(path, '.') + 1 : "raw";
    return strcasecmp(name, "npy") == 0 ? FORMAT_NPY : strcasecmp(name, "png") == 0 ? FORMAT_PNG : FORMAT_RAW;
}

static bool is_zeros(const pel_run_argument *a) {
    return strcmp(a->value, "zeros") == 0;
}

/* Cells that one item of the pointer's type takes in memory. */
static uint32_t memory_width(const pel_element *element) {
    return element->width == 3 ? 4 : element->width;
}

static uint64_t product(const uint64_t *numbers, uint32_t count) {
    uint64_t all = 1;
    for (uint32_t i = 0; i < count; i++)
        all *= numbers[i];
    return all;
}

uint64_t pel_run_groups(const pel_run *run) {
    uint64_t groups = 1;
    for (uint32_t i = 0; i < run->dims; i++)
        groups *= run->local[i] ? run->range[i] / run->local[i] : 0;
    return groups;
}

static bool match(pel_run *run, char message[PEL_MESSAGE_BYTES]) {
    const pel_signature *kernel = run->kernel;
    pel_run_argument *ordered = calloc(kernel->count + 1u, sizeof *ordered);
    const char **names = calloc(kernel->count + 1u, sizeof *names);
    bool good = (ordered && names) || pel_message(message, "out of memory");
    for (uint32_t i = 0; good && i < kernel->count; i++)
        names[i] = kernel->parameters[i].name;
    for (uint32_t i = 0; good && i < run->argument_count; i++) {
        pel_run_argument *a = &run->arguments[i];
        uint32_t at = 0;
        while (at < kernel->count && strcmp(kernel->parameters[at].name, a->name) != 0)
            at++;
        const char *nearest = at == kernel->count ? pel_cli_nearest(a->name, names) : NULL;
        if (nearest)
            good = pel_message(message, "kernel %s has no parameter '%s'; did you mean '%s'?", kernel->name, a->name, nearest);
        else if (at == kernel->count)
            good = pel_message(message, "kernel %s has no parameter '%s'", kernel->name, a->name);
        else if (ordered[at].text)
            good = pel_message(message, "argument %s is given twice", a->name);
        if (good) {
            ordered[at] = *a;
            ordered[at].parameter = &kernel->parameters[at];
            *a = (pel_run_argument){0};
        }
    }
    for (uint32_t i = 0, used = 0; good && i < kernel->count; i++) {
        if (ordered[i].text)
            continue;
        pel_message(message, "kernel %s still needs --arg %s=... for `%s`", kernel->name, names[i], kernel->parameters[i].text);
        for (uint32_t j = i + 1; j < kernel->count; j++)
            used += !ordered[j].text;
        if (used > 0) {
            size_t length = strlen(message);
            snprintf(message + length, PEL_MESSAGE_BYTES - length, ", and %u more; `pel run %.200s --list` shows all", used,
                     run->path);
        }
        good = false;
    }
    free(names);
    uint32_t old_count = run->argument_count;
    for (uint32_t i = 0; i < (good ? old_count : kernel->count) && ordered; i++)
        pel_run_argument_free(good ? &run->arguments[i] : &ordered[i]);
    if (!good) {
        free(ordered);
        return false;
    }
    free(run->arguments);
    run->arguments = ordered;
    run->argument_count = kernel->count;
    return true;
}

/* The type behind the parameter; type= helps where the source does not tell, and must agree where it does. */
static bool find_element(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    char wanted[32], said[32];
    a->element = a->parameter->element;
    if (!a->type)
        return true;
    pel_element element;
    pel_element_find(a->type, strlen(a->type), &element);
    if (!a->element.cell) {
        a->element = element;
        return true;
    }
    bool image = a->mode != PEL_WRITE && format_of(a, a->value) == FORMAT_PNG;
    bool same = element.cell == a->element.cell && (element.width == a->element.width || image);
    return same || pel_message(message, "type=%s, but the kernel wants `%s`, %s", pel_element_name(&element, said),
                               a->parameter->text, pel_element_name(&a->element, wanted));
}

static bool resolve_value(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    const pel_element *element = &a->element;
    if (a->mode != 0 || a->pattern != PEL_RUN_UNDECLARED)
        return pel_message(message, "`%s` is a plain value; words about access do not apply", a->parameter->text);
    if (!element->cell)
        return pel_message(message, "the type '%s' of `%s` is not known here; say type=... when it is another name of a number",
                           a->parameter->type_name, a->parameter->text);
    const char *c = a->value;
    uint32_t count = 0;
    for (; count < element->width; count++) {
        char part[64];
        size_t length = strcspn(c, ",");
        if (length >= sizeof part)
            return pel_message(message, "'%s' is not a number", c);
        memcpy(part, c, length);
        part[length] = '\0';
        if (!pel_cell_parse(element->cell, part, a->value_bytes + count * element->cell->bytes, message))
            return false;
        c += length;
        if (!*c)
            break;
        c++;
    }
    if (*c || (count != 0 && count + 1 != element->width))
        return pel_message(message, "`%s` takes %u number%s separated by ',', or one for all", a->parameter->text, element->width,
                           element->width > 1 ? "s" : "");
    for (uint32_t i = 1; count == 0 && i < element->width; i++) /* one number for every component, as in OpenCL C */
        memcpy(a->value_bytes + i * element->cell->bytes, a->value_bytes, element->cell->bytes);
    a->value_size = pel_element_bytes(element);
    return true;
}

static bool resolve_local(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    uint64_t size = pel_element_bytes(&a->element);
    if (strcmp(a->value, "local") != 0)
        return pel_message(message, "`%s` is local memory: say %s=local:count=ELEMENTS (or bytes=N)", a->parameter->text,
                           a->name);
    if ((a->count == 0) == (a->bytes == 0))
        return pel_message(message, "local memory needs a size: count=ELEMENTS or bytes=N");
    if (a->count && size == 0)
        return pel_message(message, "the size of '%s' is not known here; say bytes=N", a->parameter->type_name);
    a->value_size = a->bytes;
    if (a->count && !pel_mul_u64(a->count, size, &a->value_size))
        return pel_message(message, "count=%llu does not fit 64 bits", (unsigned long long)a->count);
    return true;
}

static bool check_mode(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    const pel_parameter *parameter = a->parameter;
    if (parameter->read_only && a->mode != 0 && a->mode != PEL_READ)
        return pel_message(message, "the kernel declares `%s`, which it cannot write", parameter->text);
    if (a->mode == 0 && (parameter->read_only || strcmp(a->value, "null") == 0))
        a->mode = PEL_READ;
    if (a->mode == 0 && is_zeros(a))
        a->mode = PEL_READ_WRITE;
    if (a->mode == 0)
        return pel_message(message, "`%s` may be read or written; say which: %s=%s:read, :write, or :rw:save=FILE",
                           parameter->text, a->name, a->value);
    return true;
}

static bool load_png(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    pel_image image;
    char text[96];
    if (!pel_image_read(a->value, &image, message))
        return false;
    pel_element *element = &a->element;
    if (!element->cell)
        element->cell = pel_cell_of('u', image.bits / 8);
    uint32_t channels = element->width > 1 ? element->width : a->channels ? a->channels : image.channels == 1 ? 1 : 0;
    bool good = true;
    if (element->width > 4)
        good = pel_message(message, "is %s; the kernel wants `%s`", pel_image_describe(&image, text), a->parameter->text);
    else if (channels == 0)
        good = pel_message(message,
                           "is %s; the kernel wants `%s`, one number an element. Say channels=1 for gray, channels=%u when the "
                           "kernel indexes the %u values of a pixel itself, or make the parameter %s4 *",
                           pel_image_describe(&image, text), a->parameter->text, image.channels, image.channels,
                           element->cell->name);
    bool narrow = a->type != NULL;
    good = good && pel_image_to_array(&image, element->cell, channels, narrow, &a->array, message);
    if (good && element->width == 3)
        good = pel_array_widen(&a->array, message);
    a->channelled = channels > 1;
    pel_image_free(&image);
    return good;
}

static bool load_npy(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    char text[160];
    const pel_element *element = &a->element;
    if (!pel_npy_read(a->value, &a->array, message))
        return false;
    uint64_t last = a->array.dims ? a->array.shape[a->array.dims - 1] : 1;
    if (element->cell && element->cell != a->array.cell)
        return pel_message(
            message, "holds %s (%s); the kernel wants `%s`. Convert the file (numpy: a.astype('%s')) or change the kernel",
            pel_array_describe(&a->array, a->channelled, text), a->array.cell->numpy, a->parameter->text, element->cell->numpy);
    if (element->cell && element->width > 1 && last != element->width && last != memory_width(element))
        return pel_message(message, "holds %s; the kernel wants `%s`, so the last dimension (numpy's order) must be %u, not %llu",
                           pel_array_describe(&a->array, a->channelled, text), a->parameter->text, element->width,
                           (unsigned long long)last);
    if (a->channels && last != a->channels)
        return pel_message(message, "holds %s; channels=%u needs a last dimension (numpy's order) of %u",
                           pel_array_describe(&a->array, a->channelled, text), a->channels, a->channels);
    a->channelled = (element->cell && element->width > 1) || a->channels > 1;
    if (!element->cell)
        a->element.cell = a->array.cell;
    return element->width != 3 || last == 4 || pel_array_widen(&a->array, message);
}

/* The shape of an array of `items` (fastest first) with `inner` cells each, slowest first. */
static uint32_t make_shape(const uint64_t *items, uint32_t dims, uint32_t inner, uint64_t shape[PEL_ARRAY_DIMS]) {
    uint32_t count = 0;
    for (uint32_t i = dims; i-- > 0;)
        shape[count++] = items[i];
    if (inner > 1)
        shape[count++] = inner;
    return count;
}

static uint32_t inner_cells(const pel_run_argument *a) {
    return a->element.width > 1 ? memory_width(&a->element) : a->channels ? a->channels : 1;
}

/* A file of a well-known kind would be taken for raw numbers, and the kernel would compute with its bytes. */
static bool foreign(const pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    static const char *const names[] = {"jpg", "jpeg", "gif", "bmp", "tif", "tiff", "webp", "pgm", "ppm", "npz", "csv", "txt",
                                        "h5",  "hdf5", "nc",  "fits", "mat", "zip",  "gz"};
    const char *dot = strrchr(a->value, '.');
    for (size_t i = 0; !a->format && dot && i < sizeof names / sizeof *names; i++)
        if (strcasecmp(dot + 1, names[i]) == 0)
            return !pel_message(
                message,
                "pel reads .npy, .png and raw numbers. Convert the file, or say format=raw if it holds plain numbers all the "
                "same");
    return false;
}

static bool load_raw(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    uint64_t shape[PEL_ARRAY_DIMS], cells = 1;
    if (foreign(a, message))
        return false;
    uint32_t inner = inner_cells(a);
    if (!a->element.cell)
        return pel_message(message, "a raw file needs a type, and '%s' is not known here; say type=...", a->parameter->type_name);
    if (!pel_raw_read(a->value, a->element.cell, &a->array, message))
        return false;
    uint64_t present = pel_array_cells(&a->array), items[3] = {present / inner, 0, 0};
    uint32_t dims = a->shape_dims ? make_shape(a->shape, a->shape_dims, inner, shape) : make_shape(items, 1, inner, shape);
    for (uint32_t i = 0; i < dims; i++)
        if (!pel_mul_u64(cells, shape[i], &cells))
            return pel_message(message, "the shape does not fit 64 bits");
    if (cells != present)
        return pel_message(message, "holds %llu %s; its shape (with %u a pixel or vector) needs %llu",
                           (unsigned long long)present, a->element.cell->name, inner, (unsigned long long)cells);
    a->array.dims = dims;
    memcpy(a->array.shape, shape, dims * sizeof *shape);
    a->channelled = inner > 1;
    return true;
}

static bool load_file(pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    file_format format = format_of(a, a->value);
    bool good = format == FORMAT_PNG ? load_png(a, message) : format == FORMAT_NPY ? load_npy(a, message) : load_raw(a, message);
    if (!good) {
        pel_array_free(&a->array);
        return pel_message_prefix(message, "%.200s: ", a->value);
    }
    uint32_t dims = a->array.dims - (a->channelled ? 1 : 0);
    if (!a->shape_dims)
        return true;
    bool same = dims == a->shape_dims;
    for (uint32_t i = 0; same && i < dims; i++)
        same = a->array.shape[i] == a->shape[dims - 1 - i];
    char text[160];
    return same || pel_message(message, "%.200s holds %s, which is not the shape that was said", a->value,
                               pel_array_describe(&a->array, a->channelled, text));
}

static const pel_run_argument *find_argument(const pel_run *run, const char *name) {
    for (uint32_t i = 0; i < run->argument_count; i++)
        if (strcmp(run->arguments[i].name, name) == 0)
            return &run->arguments[i];
    return NULL;
}

/* Items (fastest first) of an argument without a file to read: shape=, like=, or what range and access imply. */
static bool find_items(const pel_run *run, const pel_run_argument *a, uint64_t items[3], uint32_t *dims,
                       char message[PEL_MESSAGE_BYTES]) {
    if (a->shape_dims) {
        *dims = a->shape_dims;
        memcpy(items, a->shape, sizeof a->shape);
        return true;
    }
    if (a->like) {
        const pel_run_argument *other = find_argument(run, a->like);
        if (!other || !other->array.data)
            return pel_message(message, "like=%s: no argument of that name that has a shape by now", a->like);
        *dims = other->array.dims - (other->channelled ? 1 : 0);
        if (*dims > 3)
            return pel_message(message, "like=%s: it has more than 3 dimensions; say shape=", a->like);
        for (uint32_t i = 0; i < *dims; i++)
            items[i] = other->array.shape[*dims - 1 - i];
        return true;
    }
    *dims = 1;
    if (a->pattern == PEL_RUN_REDUCE) {
        items[0] = a->count;
        return a->count > 0 || pel_message(message, "how many elements does the reduction have? Say shape=N");
    }
    if (a->pattern == PEL_RUN_PER_GROUP)
        return pel_mul_u64(pel_run_groups(run), a->count, &items[0]) || pel_message(message, "the size does not fit 64 bits");
    if (a->pattern == PEL_RUN_ELEMENTWISE && a->num != a->den) {
        unsigned __int128 all = (unsigned __int128)product(run->range, run->dims) * a->num;
        items[0] = (uint64_t)((all + a->den - 1) / a->den);
        return (all + a->den - 1) / a->den <= UINT64_MAX || pel_message(message, "the size does not fit 64 bits");
    }
    *dims = run->dims;
    memcpy(items, run->range, sizeof run->range);
    return true;
}

static bool make_array(const pel_run *run, pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    uint64_t items[3] = {0, 0, 0}, shape[PEL_ARRAY_DIMS];
    uint32_t dims = 0;
    if (!a->element.cell)
        return pel_message(message, "the type '%s' of `%s` is not known here; say type=...", a->parameter->type_name,
                           a->parameter->text);
    if (a->pattern == PEL_RUN_PER_GROUP && pel_run_groups(run) == 0)
        return pel_message(message, "pergroup needs --local, which fixes the number of work-groups");
    if (!find_items(run, a, items, &dims, message))
        return false;
    uint32_t inner = inner_cells(a);
    a->channelled = inner > 1;
    return pel_array_create(&a->array, a->element.cell, make_shape(items, dims, inner, shape), shape, message);
}

/* An output must be able to become its file before the kernel runs. */
static bool check_output(const pel_run_argument *a, char message[PEL_MESSAGE_BYTES]) {
    const char *path = a->mode == PEL_WRITE && !is_zeros(a) ? a->value : a->save;
    if (!path || format_of(a, path) != FORMAT_PNG)
        return true;
    pel_array like = a->array;
    if (a->element.width == 3)
        like.shape[like.dims - 1] = 3;
    return pel_image_fits(&like, message) || pel_message_prefix(message, "%.200s: ", path);
}

static bool resolve_buffer(pel_run *run, pel_run_argument *a, bool outputs, char message[PEL_MESSAGE_BYTES]) {
    if (strcmp(a->value, "null") == 0) {
        a->is_null = true;
        a->declaration = (pel_param)PEL_PARAM_POINTER(PEL_READ);
        return true;
    }
    bool made = a->mode == PEL_WRITE || is_zeros(a);
    if (made != outputs)
        return true;
    if (!(made ? make_array(run, a, message) : load_file(a, message)))
        return false;
    a->item_bytes = (uint64_t)a->element.cell->bytes * (a->channelled ? a->array.shape[a->array.dims - 1] : 1);
    if (a->mode == PEL_WRITE && a->pattern == PEL_RUN_REDUCE && a->element.cell->scalar)
        pel_reduce_identity(a->op, (pel_scalar)a->element.cell->scalar, a->array.data, pel_array_cells(&a->array));
    return pel_run_declare(run, a, message) && check_output(a, message);
}

static bool resolve_one(pel_run *run, pel_run_argument *a, bool outputs, char message[PEL_MESSAGE_BYTES]) {
    pel_parameter_space space = a->parameter->space;
    if (space == PEL_SPACE_OTHER)
        return pel_message(message,
                           "`%s` is not a number, a pointer to global, constant or local memory; pel run cannot supply it",
                           a->parameter->text);
    if (space == PEL_SPACE_GLOBAL || space == PEL_SPACE_CONSTANT)
        return (outputs || (find_element(a, message) && check_mode(a, message))) && resolve_buffer(run, a, outputs, message);
    if (outputs)
        return true;
    a->declaration = (pel_param){.kind = space == PEL_SPACE_LOCAL ? PEL_PARAM_KIND_LOCAL : PEL_PARAM_KIND_VALUE,
                                 .mode = space == PEL_SPACE_LOCAL ? PEL_READ_WRITE : PEL_READ,
                                 .scalar = PEL_U32};
    if (!find_element(a, message) || !(space == PEL_SPACE_LOCAL ? resolve_local(a, message) : resolve_value(a, message)))
        return false;
    a->declaration.bytes = space == PEL_SPACE_LOCAL ? 0 : a->value_size;
    return true;
}

bool pel_run_resolve(pel_run *run, char message[PEL_MESSAGE_BYTES]) {
    if (!match(run, message))
        return false;
    for (int outputs = 0; outputs < 2; outputs++) /* inputs first: like= refers to them */
        for (uint32_t i = 0; i < run->argument_count; i++)
            if (!resolve_one(run, &run->arguments[i], outputs == 1, message))
                return pel_message_prefix(message, "argument %.120s: ", run->arguments[i].name);
    return true;
}
