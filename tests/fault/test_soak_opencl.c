/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long runs with faults, a sample of them in ctest, the whole by tests/fault/campaign.
 *
 * --seeds N [--first S]: N simulated machines with random devices, noise and faults, and random launches on them, each lived
 * twice: the traces must be identical to the nanosecond, and what ended well must be right. A seed that fails is printed as the
 * command that repeats it.
 * --seconds N: runtimes on the host and OpenCL come and go for so long while the fault layer fails, falsifies and delays
 * commands; all launches are verified, so all results must be right, or the launch an error. After each runtime no block of its
 * allocator and no OpenCL object may be left; descriptors and threads must be flat, and so must what the process has of the heap,
 * whosever it is. Resident pages may be a tenth more at the end: compilers inside drivers come and go with 100 MB.
 * --driver N: as many lives as the soak would have, of OpenCL objects alone and without faults: what drivers keep of each.
 */
#include "base/hash.h"
#include "fault/layer.h"
#include "resilience/checksum.h"
#include "support/counted.h"
#include "support/random.h"
#include "support/update.h"

#include <CL/cl.h>
#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <pel/pel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N = 4000, REAL = 20000 };

static bool begin(update_scene *s, const pel_runtime_desc *desc, const update_variant *variant, uint32_t count) {
    pel_error *error = NULL;
    const bool well = update_begin(s, desc, variant, count, &error) == PEL_OK;
    if (!well) {
        fprintf(stderr, "%s\n", pel_error_story(error));
    }
    pel_error_destroy(error);
    return well;
}

static void end(update_scene *s) {
    (void)update_end(s); /* of launches that failed, too */
    update_free(s);
}

/* The launch and its plan, into the hash. */
static pel_status launch(update_scene *l, const pel_launch_desc *desc, uint64_t *hash) {
    const pel_arg args[] = {pel_buf(l->x), pel_buf(l->y)};
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    pel_status status = pel_launch(l->queue, l->kernel, desc, args, 2, &event);
    if (status == PEL_OK) {
        status = pel_event_wait(event);
        if (pel_event_get_plan(event, &plan) == PEL_OK) {
            const char *text = pel_plan_text(plan);
            *hash = pel_checksum(text, strlen(text), *hash);
        }
        pel_plan_destroy(plan);
        pel_event_release(event);
    }
    const pel_status finished = pel_queue_finish(l->queue); /* what only a lost device has is missed here */
    *hash = pel_mix_u64(pel_mix_u64(*hash, (uint64_t)status), (uint64_t)pel_runtime_now(l->runtime));
    return status == PEL_OK ? finished : status;
}

/* ---- seeds ---- */

static void random_device(pel_simulated_device *d, uint64_t *random, int index, bool liar) {
    memset(d, 0, sizeof *d);
    snprintf(d->name, sizeof d->name, "d%d", index);
    d->start_ns = 1000 + (double)(test_random(random) % 20000);
    d->rate = 0.5 + 8 * test_uniform(random);
    d->noise = test_random(random) % 2 ? 0.2 * test_uniform(random) : 0;
    d->spike_chance = test_random(random) % 4 == 0 ? 0.05 : 0;
    d->spike_factor = 10;
    d->link_bytes_per_ns = test_random(random) % 2 ? 1 + 10 * test_uniform(random) : 0;
    d->link_latency_ns = d->link_bytes_per_ns > 0 ? 2000 : 0;
    const uint64_t at = 1 + test_random(random) % 6;
    switch (test_random(random) % 6) {
    case 0: d->fail_at = at; break;
    case 1: d->lost_at = at; break;
    case 2:
        d->hang_at = at;
        d->hang_ns = test_random(random) % 2 ? 3e9 : 0;
        break;
    case 3:
        d->fail_at = at;
        d->fail_until = at + 3;
        break;
    default: break;
    }
    d->wrong_every = liar ? 1 + test_random(random) % 4 : 0;
}

/* 0: it did something wrong, said on stderr; else the hash of all that happened. */
static uint64_t live_seed(uint64_t seed) {
    static const pel_param params[] = {UPDATE_PARAMS};
    static const update_variant host_only = {NULL, params, 2, update_on_host};
    update_scene l;
    uint64_t random = seed, hash = 1;
    pel_simulated_device devices[4];
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    const uint32_t count = 1 + (uint32_t)(test_random(&random) % 4);
    const uint32_t liar = (uint32_t)(test_random(&random) % 8); /* one device lies at most, and none in half of the seeds */
    for (uint32_t i = 0; i < count; i++) {
        random_device(&devices[i], &random, (int)i, i == liar);
    }
    simulation.seed = seed + 1;
    simulation.devices = devices;
    simulation.device_count = count;
    desc.simulation = &simulation;
    if (!begin(&l, &desc, &host_only, N)) {
        return 0;
    }
    bool known = true, well = true;
    for (int k = 0; k < 5 && well; k++) {
        pel_launch_desc how = PEL_LAUNCH_DESC_INIT;
        const pel_verification verification = {.share = liar < count || test_random(&random) % 2 ? 1.0 : 0.4, .seed = seed};
        how.global[0] = N;
        how.protection = (pel_protection)(test_random(&random) % 4);
        for (uint32_t i = 0; i < count; i++) { /* a hang is found by isolation only */
            how.protection = devices[i].hang_at > 0 ? PEL_PROTECT_ISOLATE : how.protection;
        }
        how.deadline_ns = 1000000000;
        how.verification = liar < count || test_random(&random) % 2 ? &verification : NULL;
        update_expect(&l);
        const pel_status status = launch(&l, &how, &hash);
        known = known && status == PEL_OK;
        if (known && !update_is_right(&l)) {
            fprintf(stderr, "seed %" PRIu64 ", launch %d: OK, but the bytes are wrong\n", seed, k);
            well = false;
        }
        hash = pel_checksum(l.ys, N * sizeof(uint32_t), hash);
    }
    hash = pel_mix_u64(hash, (uint64_t)pel_runtime_now(l.runtime));
    end(&l);
    return well ? (hash != 0 ? hash : 1) : 0;
}

static void progress(const char *what, uint64_t done, uint64_t all) {
    static time_t last;
    if (isatty(2) && time(NULL) != last) {
        last = time(NULL);
        fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 "  ", what, done, all);
    }
}

static bool seeds(uint64_t first, uint64_t count) {
    uint64_t bad = 0, all = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        const uint64_t once = live_seed(seed), again = live_seed(seed);
        if (once == 0 || once != again) {
            bad++;
            printf("seed %" PRIu64 ": %s; again: tests/fault/test_soak_opencl --seeds 1 --first %" PRIu64 "\n", seed,
                   once == 0 ? "wrong" : "another trace when repeated", seed);
        }
        all = pel_mix_u64(all, once);
        progress("seeds", seed - first + 1, count);
    }
    printf("seeds: %" PRIu64 " from %" PRIu64 " on, each twice: %" PRIu64 " bad; hash of all traces %016" PRIx64 "\n", count,
           first, bad, all);
    return bad == 0;
}

/* ---- soak ---- */

static uint32_t entries(const char *path) {
    uint32_t count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder)) {
        count++;
    }
    if (folder) {
        closedir(folder);
    }
    return count;
}

typedef struct usage {
    uint64_t heap_kib, resident_kib;
    uint32_t descriptors, threads;
} usage;

static usage usage_now(void) {
    const struct mallinfo2 info = mallinfo2();
    usage u = {.heap_kib = (info.uordblks + info.hblkhd) / 1024,
               .descriptors = entries("/proc/self/fd"),
               .threads = entries("/proc/self/task")};
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long size = 0, pages = 0;
    if (file) {
        u.resident_kib =
            fscanf(file, "%lu %lu", &size, &pages) == 2 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024 : 0;
        fclose(file);
    }
    return u;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One runtime: 30 launches under faults. False: something was wrong. */
static bool one_runtime(const pel_faults_control *faults, uint64_t round, uint64_t *launches, uint64_t *failed) {
    update_scene l;
    static const char *const lists[] = {"host,opencl:0", "host,opencl:0[own]", "opencl:0,host"};
    static const pel_verification all = {.share = 1, .flags = PEL_VERIFY_SAME_DEVICE};
    static counted memory;
    static const pel_allocator allocator = {counted_reallocate, &memory};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    uint64_t hash = 0;
    bool well = true;
    layer_script(faults, "%s", "");
    desc.devices = lists[round % 3];
    desc.history = "off";
    desc.allocator = &allocator;
    if (!begin(&l, &desc, NULL, REAL)) {
        return false;
    }
    layer_script(
        faults,
        "seed=%" PRIu64
        "; clEnqueueNDRangeKernel@2%%:CL_OUT_OF_RESOURCES; clEnqueueNDRangeKernel@2%%:event(CL_OUT_OF_RESOURCES); "
        "clEnqueueNDRangeKernel@2%%:flip; clEnqueueNDRangeKernel@2%%:late(3ms); clEnqueueWriteBuffer*@1%%:CL_OUT_OF_RESOURCES",
        round + 1);
    for (int k = 0; k < 30 && well; k++) {
        pel_launch_desc how = PEL_LAUNCH_DESC_INIT;
        how.global[0] = REAL;
        how.verification = &all;
        update_expect(&l);
        const pel_status status = launch(&l, &how, &hash);
        (*launches)++;
        if (status != PEL_OK) {
            (*failed)++;
            break; /* what the buffer holds is undefined; the next runtime begins anew */
        }
        if (!update_is_right(&l)) {
            fprintf(stderr, "soak, runtime %" PRIu64 ", launch %d: OK, but the bytes are wrong\n", round, k);
            well = false;
        }
    }
    layer_script(faults, "%s", "");
    end(&l);
    if (atomic_load(&memory.live) != 0 || faults->objects() != 0) {
        fprintf(stderr, "soak, runtime %" PRIu64 ": %ld blocks and %" PRId64 " OpenCL objects are left\n", round,
                atomic_load(&memory.live), faults->objects());
        return false;
    }
    return well;
}

/* Told ten times, and judged from the second on: drivers have caches that fill. */
static bool soak(const pel_faults_control *faults, double length) {
    const double began = seconds_now();
    uint64_t rounds = 0, launches = 0, failed = 0;
    usage first = {0}, last = {0};
    uint32_t told = 0;
    bool well = true;
    while (well && (rounds < 3 || seconds_now() - began < length)) {
        well = one_runtime(faults, rounds++, &launches, &failed);
        progress("soak, seconds", (uint64_t)(seconds_now() - began), (uint64_t)length);
        if (seconds_now() - began >= length * (told + 1) / 10 && told < 9) {
            told = (uint32_t)(10 * (seconds_now() - began) / length);
            last = usage_now();
            first = first.heap_kib == 0 && (told >= 2 || length < 100) ? last : first;
            if (length >= 100) {
                printf("%5.0f s, %6" PRIu64 " runtimes: heap %" PRIu64 " KiB, resident %" PRIu64
                       " KiB, %u descriptors, %u threads\n",
                       seconds_now() - began, rounds, last.heap_kib, last.resident_kib, last.descriptors - 2,
                       last.threads - 2); /* less . and .. */
                fflush(stdout);
            }
        }
    }
    last = usage_now();
    printf("soak: %.0f s, %" PRIu64 " runtimes, %" PRIu64 " launches, all verified, %" PRIu64
           " of them ended in an error, %s; after each runtime 0 blocks and 0 OpenCL objects left; heap in use %" PRIu64
           " KiB after a fifth, %" PRIu64 " in the end; resident %" PRIu64 " and %" PRIu64
           "; descriptors %u and %u; threads %u and %u\n",
           seconds_now() - began, rounds, launches, failed, well ? "all other results right" : "SOMETHING WAS WRONG",
           first.heap_kib, last.heap_kib, first.resident_kib, last.resident_kib, first.descriptors - 2, last.descriptors - 2,
           first.threads - 2, last.threads - 2);
    /* Drivers have caches that fill, and the allocator has pages in between: what is resident is judged less sharply. */
    const bool long_enough = length >= 300;
    const char *grew = last.descriptors > first.descriptors                                                 ? "descriptors"
                       : last.threads > first.threads                                                       ? "threads"
                       : long_enough && last.heap_kib > first.heap_kib + first.heap_kib / 20                ? "the heap"
                       : long_enough && last.resident_kib > first.resident_kib + first.resident_kib / 10    ? "resident memory"
                                                                                                            : NULL;
    if (grew) {
        printf("soak: %s grew\n", grew);
        return false;
    }
    return well;
}

/* ---- drivers alone ---- */

/* What the soak's runtimes make and use of OpenCL, and nothing else of theirs. */
static bool one_life_of_objects(void) {
    static uint32_t memory[2 * REAL];
    const char *text = update_source;
    const size_t bytes = REAL * sizeof(uint32_t), items = REAL;
    cl_platform_id platform;
    cl_device_id device;
    cl_int code = CL_SUCCESS;
    if (clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL) != CL_SUCCESS) {
        return false;
    }
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, NULL, &code);
    cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &code);
    code = clBuildProgram(program, 1, &device, "", NULL, NULL);
    cl_kernel kernel = clCreateKernel(program, "update", &code);
    cl_mem x = clCreateBuffer(context, CL_MEM_USE_HOST_PTR, bytes, memory, &code),
           y = clCreateBuffer(context, CL_MEM_USE_HOST_PTR, bytes, memory + REAL, &code);
    bool well = context && queue && program && kernel && x && y && clSetKernelArg(kernel, 0, sizeof(cl_mem), &x) == CL_SUCCESS &&
                clSetKernelArg(kernel, 1, sizeof(cl_mem), &y) == CL_SUCCESS;
    for (int k = 0; k < 60 && well; k++) {
        cl_event event = NULL;
        well = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, &event) == CL_SUCCESS &&
               clFinish(queue) == CL_SUCCESS && clReleaseEvent(event) == CL_SUCCESS;
    }
    return clReleaseMemObject(y) == CL_SUCCESS && clReleaseMemObject(x) == CL_SUCCESS && clReleaseKernel(kernel) == CL_SUCCESS &&
           clReleaseProgram(program) == CL_SUCCESS && clReleaseCommandQueue(queue) == CL_SUCCESS &&
           clReleaseContext(context) == CL_SUCCESS && well;
}

static bool driver_alone(uint64_t lives) {
    usage first = {0}, last = {0};
    bool well = true;
    for (uint64_t k = 0; k < lives && well; k++) {
        well = one_life_of_objects();
        progress("lives", k + 1, lives);
        if (k == lives / 5) {
            first = usage_now();
        }
    }
    last = usage_now();
    printf("driver alone: %" PRIu64 " lives%s; heap in use %" PRIu64 " KiB after a fifth, %" PRIu64
           " in the end; resident %" PRIu64 " and %" PRIu64 "\n",
           lives, well ? "" : ", the last FAILED", first.heap_kib, last.heap_kib, first.resident_kib, last.resident_kib);
    return well;
}

int main(int argc, char **argv) {
    uint64_t count = 150, first = 1, lives = 0;
    double length = 1;
    const bool sample = argc == 1;
    if (!sample) {
        count = 0;
        length = 0;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        const uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seeds") == 0) {
            count = value;
        } else if (strcmp(argv[i], "--first") == 0) {
            first = value;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            length = (double)value;
        } else if (strcmp(argv[i], "--driver") == 0) {
            lives = value;
        } else {
            fprintf(stderr, "%s [--seeds N [--first S]] [--seconds N] [--driver N]\n", argv[0]);
            return 2;
        }
    }
    bool well = count == 0 || seeds(first, count);
    fflush(stdout);
    if (lives > 0) {
        well = driver_alone(lives) && well;
    }
    if (length > 0) {
        const pel_faults_control *faults = layer_load();
        well = (!faults || soak(faults, length)) && well;
    }
    return well ? 0 : 1;
}
