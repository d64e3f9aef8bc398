/* SPDX-License-Identifier: BSD-3-Clause */
/* The results of `pel run` as files. All of them are written in full under temporary names before the first one appears. */
#include "cli/image.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *output_path(const pel_run_argument *a) {
    if (!a->parameter || (a->parameter->space != PEL_SPACE_GLOBAL && a->parameter->space != PEL_SPACE_CONSTANT) || a->is_null)
        return NULL;
    return a->mode == PEL_WRITE ? (strcmp(a->value, "zeros") == 0 ? NULL : a->value) : a->mode == PEL_READ_WRITE ? a->save : NULL;
}

/* What belongs into the file: folded partial results only once, 3-vectors without their padding. */
static bool prepare(pel_run_argument *a, pel_array *view) {
    char message[PEL_MESSAGE_BYTES];
    if (a->element.width == 3 && !pel_array_narrow(&a->array, message)) {
        pel_cli_error("run", "argument %s: %s", a->name, message);
        return false;
    }
    *view = a->array;
    if (a->pattern == PEL_RUN_PER_GROUP && a->op != PEL_REDUCE_NONE) {
        view->dims = 1;
        view->shape[0] = a->count;
        view->bytes = a->count * a->array.cell->bytes;
    }
    return true;
}

static bool write_array(const pel_run_argument *a, const char *path, const pel_array *view, pel_output *output) {
    const char *dot = strrchr(path, '.'), *format = a->format ? a->format : dot ? dot + 1 : "raw";
    uint64_t odd = 0;
    bool good;
    errno = 0;
    if (strcasecmp(format, "npy") == 0)
        good = pel_npy_write(output->file, view);
    else if (strcasecmp(format, "png") == 0)
        good = pel_image_write(output->file, view, a->bits, &odd);
    else
        good = fwrite(view->data, 1, view->bytes, output->file) == view->bytes;
    if (!good) {
        pel_cli_error("run", "cannot write %s: %s", path, errno ? strerror(errno) : "the encoder failed");
        return false;
    }
    if (odd > 0)
        pel_cli_error("run", "warning: %s: %" PRIu64 " values were not within 0 to 1 and were cut (not a number: 0)", path, odd);
    return pel_output_finish(output);
}

bool pel_run_probe_outputs(const pel_run *run) {
    for (uint32_t i = 0; i < run->argument_count; i++) {
        const char *path = output_path(&run->arguments[i]);
        for (uint32_t j = 0; path && j < i; j++) {
            const char *other = output_path(&run->arguments[j]);
            if (other && strcmp(other, path) == 0) {
                pel_cli_error("run", "arguments %s and %s would both be written to %s", run->arguments[j].name,
                              run->arguments[i].name, path);
                return false;
            }
        }
        if (path && !pel_output_probe("run", path))
            return false;
    }
    return true;
}

bool pel_run_save(pel_run *run) {
    pel_output *outputs = calloc(run->argument_count + 1u, sizeof *outputs);
    if (!outputs) {
        pel_cli_error("run", "cannot write the results: out of memory");
        return false;
    }
    bool good = true;
    for (uint32_t i = 0; good && i < run->argument_count; i++) {
        pel_run_argument *a = &run->arguments[i];
        const char *path = output_path(a);
        pel_array view;
        if (path)
            good = prepare(a, &view) && pel_output_open(&outputs[i], "run", path, 0) && write_array(a, path, &view, &outputs[i]);
    }
    for (uint32_t i = 0; good && i < run->argument_count; i++) {
        const char *path = output_path(&run->arguments[i]);
        good = !path || pel_output_publish(&outputs[i]);
        if (good && path && !run->quiet)
            printf("%s written\n", path);
        else if (good && !path && run->arguments[i].mode == PEL_READ_WRITE && run->arguments[i].array.data && !run->quiet)
            printf("The result in %s is not kept; save=FILE writes it\n", run->arguments[i].name);
    }
    for (uint32_t i = 0; i < run->argument_count; i++)
        pel_output_abandon(&outputs[i]);
    free(outputs);
    return good;
}
