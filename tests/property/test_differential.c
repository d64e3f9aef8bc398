/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random programs, run twice: by the library, split over devices as chance wills, and by plain loops over a mirror of the memory.
 * All arithmetic is on 32-bit numbers, so the two must agree in every bit. The programs mix launches of all declarations with
 * tasks, loops, copies, fills, reads and writes over owned, wrapped and overlapping memory: what they find are bytes that were
 * moved too late, too little or to the wrong place.
 *
 * Environment: PEL_TEST_SEED the first seed, PEL_TEST_SECONDS how long to go on (default: a fixed number of seeds),
 * PEL_TEST_DEVICES the device list of the real machine.
 */
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pel/pel.h>

enum { AREAS = 4, AREA = 9000, COMMANDS = 40, LIVE = 64 };
enum { USE_GROUPS = 1 }; /* bits of the flags; halos in bits 4 and 5, 6 and 7 */

static uint64_t random_state;
static uint64_t next_random(void) { return test_random(&random_state); }
static uint64_t below(uint64_t limit) {
    return next_random() % limit;
}

/* The kernels in OpenCL C; the host variants compute the same. `i` is the number of an item, without the offset. */
static const char source[] =
    "typedef size_t S;\n"
    "#define IDS const S x = get_global_id(0) - get_global_offset(0), y = get_global_id(1) - get_global_offset(1), \\\n"
    "    z = get_global_id(2) - get_global_offset(2), w = get_global_size(0), h = get_global_size(1), i = (z * h + y) * w + x;\n"
    "uint mix(uint v, uint value, uint flags) {\n"
    "    uint r = v * 2654435761u + value;\n"
    "    for (uint d = 0; d < 3; d++) {\n"
    "        r = r * 31u + (uint)get_global_id(d) + 7u * (uint)get_global_size(d) + 3u * (uint)get_global_offset(d);\n"
    "        if (flags & 1) r = r * 29u + (uint)get_group_id(d) + 5u * (uint)get_num_groups(d) + 11u * (uint)get_local_id(d)\n"
    "            + 13u * (uint)get_local_size(d);\n"
    "    }\n"
    "    return r + get_work_dim();\n"
    "}\n"
    "#define ARGS global const uint *in, global uint *out, uint value, uint flags, uint m\n"
    "kernel void element(ARGS) { IDS out[i] = mix(in[i], value, flags); }\n"
    "kernel void in_place(ARGS) { IDS out[i] = mix(out[i], value, flags) + (in == 0); }\n"
    "kernel void ratio(ARGS) { IDS for (uint k = 0; k < 3; k++) out[3 * i + k] = mix(in[i / 4], value + k, flags); }\n"
    "kernel void gather(ARGS) { IDS out[i] = mix(in[(i * 7 + value) % m], value, flags); }\n"
    "kernel void stencil(ARGS) { IDS\n"
    "    const S depth = get_global_size(2), lo = flags >> 4 & 3, hi = flags >> 6 & 3;\n"
    "    const uint top = get_work_dim() - 1;\n"
    "    const S unit = top == 2 ? w * h : top == 1 ? w : 1, units = top == 2 ? depth : top == 1 ? h : w, u = i / unit;\n"
    "    const S before = u >= lo ? i - lo * unit : i, after = u + hi < units ? i + hi * unit : i;\n"
    "    out[i] = mix(in[i] + 3u * in[before] + 5u * in[after], value, flags); }\n"
    "kernel void groups(ARGS) { IDS\n"
    "    if (get_local_id(0) == 0 && get_local_id(1) == 0 && get_local_id(2) == 0) {\n"
    "        const S g = (get_group_id(2) * get_num_groups(1) + get_group_id(1)) * get_num_groups(0) + get_group_id(0);\n"
    "        uint sum = 0;\n"
    "        for (S c = z; c < z + get_local_size(2); c++) for (S b = y; b < y + get_local_size(1); b++)\n"
    "            for (S a = x; a < x + get_local_size(0); a++) sum += in[(c * h + b) * w + a] * 3u + (uint)a + value;\n"
    "        out[2 * g] = sum; out[2 * g + 1] = sum * 7u + (uint)g;\n"
    "    } }\n"
    "kernel void bins(ARGS) { IDS atomic_add(&out[(in[i] + value) % m], (uint)i + 1u); }\n"
    "kernel void columns(ARGS) { IDS for (uint k = 0; k < m; k++) out[k * w + x] = mix(in[x], value + k, flags); }\n";

enum kernel_id { ELEMENT, IN_PLACE, RATIO, GATHER, STENCIL, GROUPS, BINS, COLUMNS, KERNELS };

typedef struct item { /* one work-item of a host variant */
    const pel_span *span;
    uint64_t id[3], i;
} item;

static uint32_t mix(const item *it, uint32_t v, uint32_t value, uint32_t flags) {
    const pel_span *s = it->span;
    uint32_t r = v * 2654435761u + value;
    for (uint32_t d = 0; d < 3; d++) {
        r = r * 31u + (uint32_t)(it->id[d] + s->offset[d]) + 7u * (uint32_t)s->global[d] + 3u * (uint32_t)s->offset[d];
        if (flags & USE_GROUPS) {
            r = r * 29u + (uint32_t)(it->id[d] / s->local[d]) + 5u * (uint32_t)(s->global[d] / s->local[d]) +
                11u * (uint32_t)(it->id[d] % s->local[d]) + 13u * (uint32_t)s->local[d];
        }
    }
    return r + s->dims;
}

static void one_item(enum kernel_id kernel, const item *it, const uint32_t *in, uint32_t *out, uint32_t value, uint32_t flags,
                     uint32_t m) {
    const pel_span *s = it->span;
    uint64_t i = it->i, w = s->global[0], h = s->global[1], top = s->dims - 1;
    uint64_t unit = top == 2 ? w * h : top == 1 ? w : 1, u = i / unit, lo = flags >> 4 & 3, hi = flags >> 6 & 3;
    switch (kernel) {
    case ELEMENT:
        out[i] = mix(it, in[i], value, flags);
        break;
    case IN_PLACE:
        out[i] = mix(it, out[i], value, flags) + (in == NULL);
        break;
    case RATIO:
        for (uint32_t k = 0; k < 3; k++) {
            out[3 * i + k] = mix(it, in[i / 4], value + k, flags);
        }
        break;
    case GATHER:
        out[i] = mix(it, in[(i * 7 + value) % m], value, flags);
        break;
    case STENCIL:
        out[i] = mix(it, in[i] + 3u * in[u >= lo ? i - lo * unit : i] + 5u * in[u + hi < s->global[top] ? i + hi * unit : i],
                     value, flags);
        break;
    case GROUPS:
        if (it->id[0] % s->local[0] == 0 && it->id[1] % s->local[1] == 0 && it->id[2] % s->local[2] == 0) {
            uint64_t g = (it->id[2] / s->local[2] * (h / s->local[1]) + it->id[1] / s->local[1]) * (w / s->local[0]) +
                         it->id[0] / s->local[0];
            uint32_t sum = 0;
            for (uint64_t c = it->id[2]; c < it->id[2] + s->local[2]; c++) {
                for (uint64_t b = it->id[1]; b < it->id[1] + s->local[1]; b++) {
                    for (uint64_t a = it->id[0]; a < it->id[0] + s->local[0]; a++) {
                        sum += in[(c * h + b) * w + a] * 3u + (uint32_t)a + value;
                    }
                }
            }
            out[2 * g] = sum;
            out[2 * g + 1] = sum * 7u + (uint32_t)g;
        }
        break;
    case BINS:
        out[(in[i] + value) % m] += (uint32_t)i + 1u;
        break;
    default: /* COLUMNS */
        for (uint32_t k = 0; k < m; k++) {
            out[k * w + i] = mix(it, in[i], value + k, flags);
        }
    }
}

static pel_status host_variant(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    item it = {.span = span};
    (void)scratch;
    for (it.id[2] = span->lo[2]; it.id[2] < span->hi[2]; it.id[2]++) {
        for (it.id[1] = span->lo[1]; it.id[1] < span->hi[1]; it.id[1]++) {
            for (it.id[0] = span->lo[0]; it.id[0] < span->hi[0]; it.id[0]++) {
                it.i = (it.id[2] * span->global[1] + it.id[1]) * span->global[0] + it.id[0];
                one_item(*(const enum kernel_id *)user, &it, arguments[0], arguments[1], *(uint32_t *)arguments[2],
                         *(uint32_t *)arguments[3], *(uint32_t *)arguments[4]);
            }
        }
    }
    return PEL_OK;
}

static uint32_t column_access(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                              uint32_t capacity) {
    uint32_t rows = *(const uint32_t *)arguments[4];
    (void)user;
    for (uint64_t k = 0; k < rows && k < capacity; k++) {
        intervals[k] = (pel_interval){(k * span->global[0] + span->lo[0]) * 4, (k * span->global[0] + span->hi[0]) * 4};
    }
    return rows;
}

typedef struct world {
    pel_runtime *runtime;
    pel_queue *queues[2];
    pel_program *program;
    pel_buffer *buffers[AREAS];
    pel_buffer *overlap;      /* a wrap of the second half of area 0, when that is wrapped */
    uint32_t *wrapped[AREAS]; /* NULL: an owned buffer */
    uint32_t mirror[AREAS][AREA];
    uint32_t *reads[LIVE], *expected[LIVE], read_elements[LIVE], read_count;
    void *garbage[8 * COMMANDS];
    uint32_t garbage_count;
    uint64_t seed;
    bool opencl; /* few work-group sizes: each is compiled */
} world;

static void check(const world *w, pel_status status, pel_error *error, const char *what) {
    if (status != PEL_OK) {
        fail_msg("seed %llu: %s: %s", (unsigned long long)w->seed, what,
                 error ? pel_error_story(error) : pel_status_text(status));
    }
}
static void check_queue(const world *w, pel_queue *queue, pel_status status, const char *what) {
    check(w, status, status == PEL_OK ? NULL : pel_queue_error(queue), what);
}

static pel_queue *any_queue(world *w) {
    return w->queues[below(2)];
}

static void *keep(world *w, size_t bytes) {
    assert_true(w->garbage_count < sizeof w->garbage / sizeof w->garbage[0]);
    void *made = calloc(1, bytes);
    assert_non_null(made);
    return w->garbage[w->garbage_count++] = made;
}

/* An argument that holds `elements` of an area somewhere; *at is where. */
static pel_arg random_place(world *w, uint32_t area, uint64_t elements, uint64_t *at) {
    *at = below(4) == 0 ? 0 : below(2) ? below(AREA - elements + 1) : (below(AREA - elements + 1) & ~(uint64_t)31);
    if (area == 0 && w->overlap && *at >= AREA / 2 && below(2)) {
        return pel_buf_range(w->overlap, (*at - AREA / 2) * 4, elements * 4);
    }
    return *at == 0 && below(2) ? pel_buf(w->buffers[area]) : pel_buf_range(w->buffers[area], *at * 4, elements * 4);
}

static uint64_t divisor_of(uint64_t number, uint64_t most) {
    uint64_t d = 1 + below(most < number ? most : number);
    while (number % d != 0) {
        d--;
    }
    return d;
}

static void random_range(const world *w, enum kernel_id kernel, pel_launch_desc *desc, pel_span *whole) {
    static const uint64_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 31, 32, 61, 64, 97, 128, 251, 1021, 2503};
    uint64_t room = kernel == RATIO ? AREA / 3 : AREA / 2, most = w->opencl ? 8 : 16;
    *whole = (pel_span){
        .dims = kernel == COLUMNS ? 1 : 1 + (uint32_t)below(3), .global = {1, 1, 1}, .local = {1, 1, 1}, .hi = {1, 1, 1}};
    bool local = kernel == GROUPS || below(2);
    for (uint32_t d = 0; d < whole->dims; d++) {
        do {
            whole->global[d] = sizes[below(sizeof sizes / sizeof sizes[0])];
        } while (whole->global[d] > room);
        room /= whole->global[d];
        whole->hi[d] = desc->global[d] = whole->global[d];
        whole->local[d] = divisor_of(whole->global[d], most);
        desc->local[d] = local ? whole->local[d] : 0;
        whole->offset[d] = desc->offset[d] = below(3) == 0 ? whole->local[d] * below(100) : 0;
        whole->group_hi[d] = whole->global[d] / whole->local[d];
    }
}

static uint32_t random_shares(const world *w, pel_share *shares) {
    uint32_t count = pel_runtime_device_count(w->runtime);
    for (uint32_t i = 0; i < count; i++) {
        shares[i] = (pel_share){pel_runtime_device(w->runtime, i), (double)below(4)};
    }
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)below(i + 1);
        pel_share swap = shares[i];
        shares[i] = shares[j];
        shares[j] = swap;
    }
    shares[0].weight += 1;
    return count;
}

static pel_kernel *random_kernel(const world *w, enum kernel_id id, uint32_t dims, uint32_t flags, uint32_t m, pel_reduce_op op) {
    static const char *const names[] = {"element", "in_place", "ratio", "gather", "stencil", "groups", "bins", "columns"};
    static enum kernel_id ids[] = {ELEMENT, IN_PLACE, RATIO, GATHER, STENCIL, GROUPS, BINS, COLUMNS};
    uint64_t lo = flags >> 4 & 3, hi = flags >> 6 & 3;
    pel_param in = PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 1), out = PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1),
              value = PEL_PARAM_VALUE(uint32_t);
    const pel_param ratio_in = PEL_PARAM_ELEMENTWISE(PEL_READ, 4, 1, 4), ratio_out = PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 3, 1);
    const pel_param all = PEL_PARAM_WHOLE(PEL_READ), pointer = PEL_PARAM_POINTER(PEL_READ),
                    halo = PEL_PARAM_BLOCK(PEL_READ, 4, 0, lo, hi);
    const pel_param block = PEL_PARAM_BLOCK(PEL_WRITE, 4, 0, 0, 0), group = PEL_PARAM_PER_GROUP(op, PEL_U32, 4, 2);
    const pel_param reduce = PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, 4, m),
                    custom = PEL_PARAM_CUSTOM(PEL_WRITE, column_access, NULL);
    in = id == RATIO                ? ratio_in
         : id == GATHER             ? all
         : id == IN_PLACE           ? pointer
         : id == STENCIL            ? halo
         : id == GROUPS && below(2) ? all
                                    : in;
    out = id == RATIO     ? ratio_out
          : id == STENCIL ? block
          : id == GROUPS  ? group
          : id == BINS    ? reduce
          : id == COLUMNS ? custom
                          : out;
    if (id == IN_PLACE) {
        out.mode = PEL_READ_WRITE;
    }
    pel_param params[] = {in, out, value, value, value};
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    desc.entry = w->opencl ? names[id] : NULL;
    desc.name = names[id];
    desc.params = params;
    desc.param_count = 5;
    desc.host = host_variant;
    desc.user = &ids[id];
    desc.granularity = below(4) == 0 ? 1 + below(5) : 0;
    desc.flags =
        (below(5) == 0 ? PEL_KERNEL_IRREGULAR : 0) | (id == BINS ? 0 : PEL_KERNEL_CHUNK_SAFE); /* the atomics are of bins alone */
    desc.split_dimension = id != STENCIL && below(3) == 0 ? 1 + (uint32_t)below(dims) : 0;
    pel_status status = pel_kernel_create(w->program, &desc, &kernel, &error);
    check(w, status, error, names[id]);
    return kernel;
}

static void fold_groups(uint32_t *partial, uint64_t groups, pel_reduce_op op) {
    for (uint64_t c = 0; c < 2; c++) {
        for (uint64_t g = 1; g < groups; g++) {
            uint32_t a = partial[c], b = partial[2 * g + c];
            partial[c] = op == PEL_REDUCE_SUM   ? a + b
                         : op == PEL_REDUCE_MIN ? (a < b ? a : b)
                         : op == PEL_REDUCE_MAX ? (a > b ? a : b)
                                                : a ^ b;
        }
    }
}

static void random_launch(world *w) {
    static const pel_reduce_op ops[] = {PEL_REDUCE_NONE, PEL_REDUCE_SUM, PEL_REDUCE_MIN, PEL_REDUCE_MAX, PEL_REDUCE_XOR};
    enum kernel_id id = (enum kernel_id)below(KERNELS);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[16];
    pel_span whole;
    random_range(w, id, &desc, &whole);
    pel_reduce_op op = ops[below(5)];
    uint64_t items = whole.global[0] * whole.global[1] * whole.global[2], groups = whole.group_hi[0];
    groups *= (whole.dims > 1 ? whole.group_hi[1] : 1) * (whole.dims > 2 ? whole.group_hi[2] : 1);
    uint32_t value = (uint32_t)below(1000),
             flags = (desc.local[0] ? USE_GROUPS : 0) | (uint32_t)below(3) << 4 | (uint32_t)below(3) << 6;
    uint32_t m = id == BINS ? 10 : id == COLUMNS ? 1 + (uint32_t)below(AREA / 2 / items) : 1 + (uint32_t)below(AREA / 2);
    uint64_t reads = id == RATIO ? (items + 3) / 4 : id == GATHER ? m : items, at_in = 0, at_out = 0;
    uint64_t writes = id == RATIO ? 3 * items : id == GROUPS ? 2 * groups : id == BINS ? m : id == COLUMNS ? m * items : items;
    uint32_t from = (uint32_t)below(AREAS), to = (from + 1 + (uint32_t)below(AREAS - 1)) % AREAS;
    pel_arg args[] = {random_place(w, from, reads, &at_in), random_place(w, to, writes, &at_out), pel_u32(value), pel_u32(flags),
                      pel_u32(m)};
    if (id == IN_PLACE) {
        args[0] = pel_null();
    }
    if (below(4) != 0) {
        desc.share_count = random_shares(w, shares);
        desc.shares = shares;
    }
    pel_kernel *kernel = random_kernel(w, id, whole.dims, flags, m, op);
    pel_queue *queue = any_queue(w);
    pel_plan *plan = NULL;
    pel_status possible = desc.share_count > 0 ? pel_launch_plan(queue, kernel, &desc, args, 5, &plan) : PEL_OK;
    pel_plan_destroy(plan);
    if (possible == PEL_CONFLICT) { /* too few units, or shared elements: these shares would be refused */
        desc.share_count = 0;
    } else {
        check_queue(w, queue, possible, "plan");
    }
    check_queue(w, queue, pel_launch(queue, kernel, &desc, args, 5, NULL), "launch");
    pel_kernel_destroy(kernel);
    uint32_t *out = w->mirror[to] + at_out;
    void *plain[] = {id == IN_PLACE ? NULL : w->mirror[from] + at_in, out, &value, &flags, &m};
    host_variant(&whole, plain, NULL, &(enum kernel_id){id});
    if (id == GROUPS && op != PEL_REDUCE_NONE) { /* the partial results behind the folded ones mean nothing */
        uint32_t pattern = 0x5a5a5a5a;
        fold_groups(out, groups, op);
        for (uint64_t i = 2; i < writes; i++) {
            out[i] = pattern;
        }
        if (writes > 2) {
            check_queue(w, queue, pel_fill(queue, w->buffers[to], (at_out + 2) * 4, (writes - 2) * 4, &pattern, 4, NULL, NULL),
                        "fill");
        }
    }
}

typedef struct poke {
    uint32_t *data;
    uint64_t at, count;
} poke;

static pel_status poke_loop(uint64_t begin, uint64_t end, void *context) {
    const poke *p = context;
    for (uint64_t i = begin; i < end; i++) {
        p->data[p->at + i] = p->data[p->at + i] * 5u + (uint32_t)i;
    }
    return PEL_OK;
}
static pel_status poke_task(void *context) {
    return poke_loop(0, ((const poke *)context)->count, context);
}

static void random_host_command(world *w) {
    uint64_t count = 1 + below(AREA / 2), at = below(AREA - count + 1), at_b = below(AREA - count + 1);
    uint32_t a = (uint32_t)below(AREAS), b = (a + 1 + (uint32_t)below(AREAS - 1)) % AREAS, pattern = (uint32_t)next_random();
    pel_queue *queue = any_queue(w);
    pel_access access = PEL_ACCESS(w->buffers[a], at * 4, count * 4, PEL_READ_WRITE);
    poke *p = keep(w, sizeof *p);
    *p = (poke){pel_buffer_data(w->buffers[a]), at, count};
    poke mirrored = {w->mirror[a], at, count};
    pel_status status = PEL_OK;
    switch (below(6)) {
    case 0:
        status = pel_task(queue, poke_task, p, &access, 1, NULL, NULL);
        poke_task(&mirrored);
        break;
    case 1:
        status = pel_loop(queue, count, below(100), poke_loop, p, &access, 1, NULL, NULL);
        poke_task(&mirrored);
        break;
    case 2:
        status = pel_copy(queue, w->buffers[a], at * 4, w->buffers[b], at_b * 4, count * 4, NULL, NULL);
        memcpy(w->mirror[a] + at, w->mirror[b] + at_b, count * 4);
        break;
    case 3:
        status = pel_fill(queue, w->buffers[a], at * 4, count * 4, &pattern, 4, NULL, NULL);
        for (uint64_t i = 0; i < count; i++) {
            w->mirror[a][at + i] = pattern;
        }
        break;
    case 4: {
        uint32_t *from = keep(w, count * 4);
        for (uint64_t i = 0; i < count; i++) {
            from[i] = w->mirror[a][at + i] = (uint32_t)next_random();
        }
        status = pel_write(queue, w->buffers[a], at * 4, count * 4, from, NULL, NULL);
        break;
    }
    default:
        if (w->read_count < LIVE) {
            uint32_t r = w->read_count++;
            w->reads[r] = keep(w, count * 4);
            w->expected[r] = keep(w, count * 4);
            w->read_elements[r] = (uint32_t)count;
            memcpy(w->expected[r], w->mirror[a] + at, count * 4);
            status = pel_read(queue, w->buffers[a], at * 4, count * 4, w->reads[r], NULL, NULL);
        }
    }
    check_queue(w, queue, status, "host command");
}

static void finish_and_compare(world *w) {
    for (int i = 0; i < 2; i++) {
        check_queue(w, w->queues[i], pel_queue_finish(w->queues[i]), "finish");
    }
    for (uint32_t a = 0; a < AREAS; a++) {
        check(w, pel_buffer_sync(w->buffers[a]), NULL, "sync");
        const uint32_t *data = pel_buffer_data(w->buffers[a]);
        for (uint32_t i = 0; i < AREA; i++) {
            if (data[i] != w->mirror[a][i]) {
                fail_msg("seed %llu: area %u element %u is %u instead of %u", (unsigned long long)w->seed, a, i, data[i],
                         w->mirror[a][i]);
            }
        }
    }
    for (uint32_t r = 0; r < w->read_count; r++) {
        if (memcmp(w->reads[r], w->expected[r], w->read_elements[r] * sizeof(uint32_t)) != 0) {
            fail_msg("seed %llu: read %u differs", (unsigned long long)w->seed, r);
        }
    }
}

static void one_program(pel_runtime *runtime, pel_program *program, bool opencl, uint64_t seed) {
    static world w;
    memset(&w, 0, sizeof w);
    w.runtime = runtime;
    w.program = program;
    w.opencl = opencl;
    w.seed = seed;
    for (int i = 0; i < 2; i++) {
        check(&w, pel_queue_create(runtime, NULL, &w.queues[i], NULL), NULL, "queue");
    }
    for (uint32_t a = 0; a < AREAS; a++) {
        if (below(2)) {
            check(&w, pel_buffer_create(runtime, sizeof w.mirror[a], &w.buffers[a], NULL), NULL, "buffer");
            continue;
        }
        w.wrapped[a] = malloc(sizeof w.mirror[a]);
        assert_non_null(w.wrapped[a]);
        for (uint32_t i = 0; i < AREA; i++) {
            w.wrapped[a][i] = w.mirror[a][i] = (uint32_t)next_random();
        }
        check(&w, pel_buffer_wrap(runtime, w.wrapped[a], sizeof w.mirror[a], &w.buffers[a]), NULL, "wrap");
    }
    for (uint32_t i = 0; i < COMMANDS; i++) {
        if (i == COMMANDS / 4 && w.wrapped[0]) {
            check(&w, pel_buffer_wrap(runtime, w.wrapped[0] + AREA / 2, sizeof w.mirror[0] / 2, &w.overlap), NULL,
                  "overlapping wrap");
        }
        if (below(3) == 0) {
            random_host_command(&w);
        } else {
            random_launch(&w);
        }
        if (below(12) == 0) {
            finish_and_compare(&w);
        }
    }
    finish_and_compare(&w);
    for (int i = 0; i < 2; i++) {
        check(&w, pel_queue_destroy(w.queues[i]), NULL, "queue");
    }
    pel_buffer_destroy(w.overlap);
    for (uint32_t a = 0; a < AREAS; a++) {
        pel_buffer_destroy(w.buffers[a]);
        free(w.wrapped[a]);
    }
    for (uint32_t i = 0; i < w.garbage_count; i++) {
        free(w.garbage[i]);
    }
}

static pel_program *new_program(pel_runtime *runtime, bool opencl) {
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_program *program = NULL;
    pel_error *error = NULL;
    desc.source = opencl ? source : NULL;
    if (pel_program_create(runtime, &desc, &program, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    return program;
}

static uint64_t first_seed(void) {
    const char *text = getenv("PEL_TEST_SEED");
    return text ? strtoull(text, NULL, 10) : 1;
}

/* True while seeds remain, or, when a duration is asked for, time. */
static bool more(uint64_t done, uint64_t seeds, time_t began) {
    const char *text = getenv("PEL_TEST_SECONDS");
    return text ? time(NULL) - began < atol(text) : done < seeds;
}

static pel_runtime *random_machine(void) {
    pel_simulated_device devices[5];
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    memset(devices, 0, sizeof devices);
    simulation.seed = 1 + below(1000);
    simulation.device_count = 1 + (uint32_t)below(4);
    simulation.devices = devices;
    for (uint32_t i = 0; i < simulation.device_count; i++) {
        snprintf(devices[i].name, sizeof devices[i].name, "d%u", i);
        devices[i].start_ns = (double)below(10000);
        devices[i].rate = 0.5 + (double)below(100);
        devices[i].noise = (double)below(3) * 0.1;
        devices[i].link_bytes_per_ns = below(3) == 0 ? 0 : 1 + (double)below(10); /* 0: the host's memory */
        devices[i].link_latency_ns = (double)below(2000);
        devices[i].memory_bytes = below(3) == 0 ? 2 * AREAS * AREA * 4 : 0;
        devices[i].core_group = below(4) == 0 ? 1 + (uint32_t)below(2) : 0;
    }
    desc.simulation = &simulation;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    return runtime;
}

static void test_simulated_machines(void **state) {
    (void)state;
    time_t began = time(NULL);
    uint64_t seed = first_seed();
    for (uint64_t done = 0; more(done, 25, began); done++, seed++) {
        random_state = seed;
        pel_runtime *runtime = random_machine();
        pel_program *program = new_program(runtime, false);
        one_program(runtime, program, false, seed);
        pel_program_destroy(program);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    printf("simulated machines: seeds %llu to %llu\n", (unsigned long long)first_seed(), (unsigned long long)seed - 1);
}

/* One form of each kernel instead of one per work-group size: a driver that compiles takes 0.1 s for each. */
static void test_this_machine(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    bool opencl = false;
    setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 0);
    desc.devices = getenv("PEL_TEST_DEVICES");
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    for (uint32_t i = 0; i < pel_runtime_device_count(runtime); i++) {
        opencl = opencl || pel_device_get_info(pel_runtime_device(runtime, i))->kind == PEL_DEVICE_OPENCL;
    }
    pel_program *program = new_program(runtime, opencl);
    time_t began = time(NULL);
    uint64_t seed = first_seed();
    for (uint64_t done = 0; more(done, 4, began); done++, seed++) {
        random_state = seed;
        one_program(runtime, program, opencl, seed);
    }
    printf("this machine: seeds %llu to %llu\n", (unsigned long long)first_seed(), (unsigned long long)seed - 1);
    pel_program_destroy(program);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulated_machines),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
