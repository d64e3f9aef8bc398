/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order is pel's: first the device whose launch it is, whose result stays, then the other one into a copy. In place the bytes
 * from before are kept first. The kernel's binary is not remade as pel's cache does: a launch of one shape needs no variants.
 */
#include "replicate_hand.h"

#include "isolate_hand.h"

#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>
#include <stdlib.h>
#include <string.h>

struct pel_replicate_hand {
    pel_replicate_hand_desc desc;
    pel_isolate_hand *team;
    uint32_t *before, *again; /* what y held; the second result */
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel;
    cl_mem x, y;
};

static bool open_device(pel_replicate_hand *hand) {
    const pel_replicate_hand_desc *desc = &hand->desc;
    const size_t bytes = desc->items * sizeof(uint32_t);
    cl_device_id id = pel_opencl_device_id(desc->device);
    const char *source = desc->source;
    cl_int code = CL_SUCCESS;
    hand->context = id ? clCreateContext(NULL, 1, &id, NULL, NULL, &code) : NULL;
    hand->queue = hand->context ? clCreateCommandQueueWithProperties(hand->context, id, NULL, &code) : NULL;
    hand->program = hand->queue ? clCreateProgramWithSource(hand->context, 1, &source, NULL, &code) : NULL;
    hand->kernel = hand->program && clBuildProgram(hand->program, 1, &id, "", NULL, NULL) == CL_SUCCESS
                       ? clCreateKernel(hand->program, desc->entry, &code)
                       : NULL;
    if (!hand->kernel) {
        return false;
    }
    hand->x = clCreateBuffer(hand->context, CL_MEM_USE_HOST_PTR, bytes, desc->x, &code);
    hand->y = clCreateBuffer(hand->context, CL_MEM_USE_HOST_PTR, bytes, desc->device_first ? desc->y : hand->again, &code);
    return hand->x && hand->y && clSetKernelArg(hand->kernel, 0, sizeof(cl_mem), &hand->x) == CL_SUCCESS &&
           clSetKernelArg(hand->kernel, 1, sizeof(cl_mem), &hand->y) == CL_SUCCESS;
}

pel_replicate_hand *pel_replicate_hand_open(const pel_replicate_hand_desc *desc) {
    const size_t bytes = (desc->items * sizeof(uint32_t) + 4095) / 4096 * 4096;
    pel_replicate_hand *hand = calloc(1, sizeof *hand);
    if (!hand) {
        return NULL;
    }
    hand->desc = *desc;
    hand->before = aligned_alloc(4096, bytes);
    hand->again = aligned_alloc(4096, bytes);
    hand->team = pel_isolate_hand_open(desc->threads, desc->function, desc->items, true);
    if (!hand->before || !hand->again || !hand->team || !open_device(hand)) {
        pel_replicate_hand_close(hand);
        return NULL;
    }
    memset(hand->before, 0, bytes);
    memset(hand->again, 0, bytes);
    return hand;
}

static bool on_device(const pel_replicate_hand *hand) {
    const size_t items = hand->desc.items, group = hand->desc.group;
    return clEnqueueNDRangeKernel(hand->queue, hand->kernel, 1, NULL, &items, &group, 0, NULL, NULL) == CL_SUCCESS &&
           clFinish(hand->queue) == CL_SUCCESS;
}

static bool run_both(const pel_replicate_hand *hand) {
    const pel_replicate_hand_desc *desc = &hand->desc;
    const size_t bytes = desc->items * sizeof(uint32_t);
    bool fine = true;
    if (desc->keep) {
        memcpy(hand->before, desc->y, bytes);
    }
    if (desc->device_first) {
        fine = on_device(hand);
    } else {
        pel_isolate_hand_plain(hand->team, desc->x, desc->y, desc->items);
    }
    if (desc->keep) {
        memcpy(hand->again, hand->before, bytes);
    }
    if (desc->device_first) {
        pel_isolate_hand_plain(hand->team, desc->x, hand->again, desc->items);
    } else {
        fine = on_device(hand);
    }
    return fine && memcmp(desc->y, hand->again, bytes) == 0;
}

bool pel_replicate_hand_run(pel_replicate_hand *hand, pel_replicate_parts parts) {
    switch (parts) {
    case PEL_REPLICATE_BOTH:
        return run_both(hand);
    case PEL_REPLICATE_HOST:
        pel_isolate_hand_plain(hand->team, hand->desc.x, hand->desc.device_first ? hand->again : hand->desc.y, hand->desc.items);
        return true;
    case PEL_REPLICATE_DEVICE:
        return on_device(hand);
    }
    return false;
}

void pel_replicate_hand_close(pel_replicate_hand *hand) {
    if (!hand) {
        return;
    }
    pel_isolate_hand_close(hand->team);
    if (hand->y) {
        clReleaseMemObject(hand->y);
    }
    if (hand->x) {
        clReleaseMemObject(hand->x);
    }
    if (hand->kernel) {
        clReleaseKernel(hand->kernel);
    }
    if (hand->program) {
        clReleaseProgram(hand->program);
    }
    if (hand->queue) {
        clReleaseCommandQueue(hand->queue);
    }
    if (hand->context) {
        clReleaseContext(hand->context);
    }
    free(hand->before);
    free(hand->again);
    free(hand);
}

#else

pel_replicate_hand *pel_replicate_hand_open(const pel_replicate_hand_desc *desc) {
    (void)desc;
    return NULL;
}
void pel_replicate_hand_close(pel_replicate_hand *hand) { (void)hand; }
bool pel_replicate_hand_run(pel_replicate_hand *hand, pel_replicate_parts parts) {
    (void)parts;
    return hand != NULL;
}

#endif
