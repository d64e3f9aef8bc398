/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open OpenCL device: a context and one in-order queue, made on first use, and a queue of work with a driver thread.
 *
 * The problem: enqueueing may block (PoCL's basic device runs the kernel inside it), waiting spins on some drivers, and yet an
 * empty launch should cost what the raw calls cost. So submission only appends; whoever takes the baton begins, awaits and
 * reports works (train.c): the driver thread, which sleeps while there is nothing, or a thread that waits anyway and offers
 * itself by help(), which saves waking the driver (PoCL: 56 us against 70-74 us for an empty kernel).
 *
 * The invariant: only who has the baton takes works from the queue, calls OpenCL for them and calls their complete(), so works
 * begin, and complete, in order; complete() is called with no lock held and may submit or free the work. Rejected: event
 * callbacks. They come on a driver's own thread, and on PoCL < 7 never for failed commands.
 */
#include "backend/opencl/internal.h"

#include "backend/backends.h"
#include "backend/opencl/staging.h"
#include "topology/guard.h"
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A tick is what an end may go unseen where nobody waits for it; the price is 5-10 us of a core each, for 2 ms after the last
 * use. */
enum { TICK_NS = 250000, SHORT_TICK_NS = 30000, WATCH_TICKS = 8, USUAL_SLOT = 1 << 20 };
/* Turns in a row of the driver thread's in which launches still came: then their submitter begins them as well. */
enum { TURNS = 2 };
#define SAVE_AFTER_IDLE_NS                                                                                                       \
    50000000 /* new binaries are written once the device has been idle so long: not between two launches of a loop */

/*
 * Threads that drivers and we start must not take the host's signals. Those that a fault of the thread itself raises stay open: a
 * kernel that divides by zero on PoCL's basic device runs on our thread, and PoCL's handler must see it.
 */
static void block_signals(sigset_t *before) {
    static const int own[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        sigdelset(&all, own[i]);
    }
    pthread_sigmask(SIG_BLOCK, &all, before);
}

static void restore_signals(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

/* ---- context ---- */

static pel_status make_queue(pel_cl_device *device, pel_error **error) {
    cl_int code = CL_SUCCESS;
    cl_command_queue adopted = device->base.facts->cl_queue;
    if (adopted && !device->own_queue) { /* the caller's, until something fails in it */
        code = clRetainCommandQueue(adopted);
        if (code != CL_SUCCESS) {
            return pel_cl_fail(device, error, code, "clRetainCommandQueue", "the adopted command queue cannot be used");
        }
        device->queue = adopted;
        return PEL_OK;
    }
    /* Not clCreateCommandQueueWithProperties: it never returns on Oclgrind 21.10. */
    device->queue = clCreateCommandQueue(device->context, device->id, 0, &code);
    if (!device->queue || code != CL_SUCCESS) {
        device->queue = NULL;
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateCommandQueue",
                           "no command queue");
    }
    return PEL_OK;
}

static pel_status make_context(pel_cl_device *device, pel_error **error) {
    cl_context adopted = device->base.facts->cl_context;
    cl_int code = CL_SUCCESS;
    if (adopted) {
        code = clRetainContext(adopted);
        if (code != CL_SUCCESS) {
            return pel_cl_fail(device, error, code, "clRetainContext", "the adopted context cannot be used");
        }
        device->context = adopted;
        return PEL_OK;
    }
    device->context = clCreateContext(NULL, 1, &device->id, NULL, NULL, &code);
    if (!device->context || code != CL_SUCCESS) {
        device->context = NULL;
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateContext", "no context");
    }
    return PEL_OK;
}

static void learn_facts(pel_cl_device *device) {
    if (clGetPlatformInfo(device->base.facts->cl_platform, CL_PLATFORM_VERSION, sizeof device->platform_version,
                          device->platform_version, NULL) != CL_SUCCESS) {
        device->platform_version[0] = '\0';
    }
}

pel_status pel_cl_ready(pel_cl_device *device, pel_error **error) {
    pel_status status = PEL_OK;
    pel_guard guard;

    if (atomic_load_explicit(&device->is_ready, memory_order_acquire)) {
        return PEL_OK;
    }
    pthread_mutex_lock(&device->ready_lock);
    if (!device->context) {
        status = pel_guard_enter(&guard, device->env->allocator);
        if (status == PEL_OK) {
            status = make_context(device, error);
            pel_guard_leave(&guard);
            learn_facts(device);
        } else {
            pel_cl_refuse(device, error, status, "free host memory", "no memory to start the device");
        }
    }
    if (status == PEL_OK && !device->queue) {
        status = make_queue(device, error);
    }
    atomic_store_explicit(&device->is_ready, status == PEL_OK, memory_order_release);
    pthread_mutex_unlock(&device->ready_lock);
    return status;
}

pel_status pel_cl_renew_queue(pel_cl_device *device, pel_error **error) {
    pthread_mutex_lock(&device->ready_lock);
    clReleaseCommandQueue(device->queue);
    device->own_queue = true;
    pel_status status = make_queue(device, error);
    atomic_store_explicit(&device->is_ready, status == PEL_OK, memory_order_release);
    pthread_mutex_unlock(&device->ready_lock);
    return status;
}

/* ---- the queue of work ---- */

/* Under the lock. */
static void count_queued(pel_cl_device *device, uint32_t more) {
    const uint32_t count = atomic_load_explicit(&device->queued, memory_order_relaxed);
    atomic_store_explicit(&device->queued, count + more, memory_order_relaxed);
}

/* None is one that came too late to be seen: who gives the baton back asks again. */
pel_work *pel_cl_first_work(pel_cl_device *device) {
    if (atomic_load_explicit(&device->queued, memory_order_relaxed) == 0) {
        return NULL;
    }
    pthread_mutex_lock(&device->lock);
    pel_work *work = device->head;
    pthread_mutex_unlock(&device->lock);
    return work;
}

void pel_cl_take_work(pel_cl_device *device) {
    pthread_mutex_lock(&device->lock);
    pel_work *work = device->head;
    device->head = work->next;
    device->tail = device->head ? device->tail : NULL;
    count_queued(device, -pel_cl_times(work));
    work->open = false;
    work->next = NULL;
    pthread_mutex_unlock(&device->lock);
}

static bool has_work(const pel_cl_device *device) {
    return device->head || atomic_load_explicit(&device->rider_count, memory_order_relaxed) > 0;
}

/* Needs the lock and takes the baton; the lock is held again on return. */
static void run_some(pel_cl_device *device, bool guest, bool waits) {
    device->running = true;
    pthread_mutex_unlock(&device->lock);
    device->guest = guest;
    (void)pel_cl_train_step(device, waits);
    pthread_mutex_lock(&device->lock);
    device->running = false;
}

static void sleep_until(pel_cl_device *device, int64_t time) {
    struct timespec until = {.tv_sec = time / 1000000000, .tv_nsec = time % 1000000000};
    (void)pthread_cond_timedwait(&device->wake, &device->lock, &until);
}

/*
 * Needs the lock. Where a waiter has the baton, which sees the end at once, the device is left alone until the end is due: on the
 * core of another device's part each look took 20 us and the caches from it, 4 to 10 % of divided launches of 2 to 3 ms (2 cores,
 * 2026-11).
 */
static int64_t tick_of(const pel_cl_device *device) {
    const int64_t due = device->running && !device->head ? atomic_load_explicit(&device->due, memory_order_relaxed) : 0,
                  left = due > 0 ? due - pel_clock_now(device->env->clock) : 0;
    return left < TICK_NS ? TICK_NS : left < PEL_CL_LONGEST_BESIDE_NS ? left : PEL_CL_LONGEST_BESIDE_NS;
}

/* Needs the lock, and gives it up meanwhile. */
static void watch(pel_cl_device *device, bool soon) {
    const int64_t tick = soon ? SHORT_TICK_NS : tick_of(device);
    device->watching = true;
    device->away = tick > TICK_NS;
    sleep_until(device, pel_clock_now(&pel_clock_monotonic) + tick);
    device->watching = device->away = false;
}

/* Sleeps until woken, or until it is time to save; returns whether it is. */
static bool wait_for_work(pel_cl_device *device) {
    if (!atomic_load(&device->unsaved) || device->running || device->head) {
        device->sleeps_long = true;
        pthread_cond_wait(&device->wake, &device->lock);
        device->sleeps_long = false;
        return false;
    }
    int64_t idle_at = device->last_ended + SAVE_AFTER_IDLE_NS;
    if (pel_clock_now(&pel_clock_monotonic) >= idle_at) {
        return true;
    }
    sleep_until(device, idle_at);
    return false;
}

/*
 * The device's own thread enqueues, and computes where enqueuing does (PoCL's basic). On another device's core it waited 2 to 4
 * ms for a turn.
 */
static void stay_on_cores(const pel_cl_device *device) {
    const pel_topology_device *facts = device->base.facts;
    if (facts->core_set_declared && facts->info.cores_count > 0) {
        (void)syscall(SYS_sched_setaffinity, 0, sizeof facts->info.cores.bits, facts->info.cores.bits);
    }
}

static void save(pel_cl_device *device) {
    device->running = true;
    pthread_mutex_unlock(&device->lock);
    pel_cl_save_binaries(device);
    pthread_mutex_lock(&device->lock);
    device->running = false;
}

/*
 * While the device is in use, the driver thread looks every tick and acts only where nobody did since the last one: to be woken
 * for each launch costs the submitter 5-10 us, and the core for which it then competes as much again. Where launches still come,
 * it only lends a hand, and leaves the baton: if it waited with it, the submitter could not enqueue meanwhile, and from then on
 * the two would take turns on one core (1,000 launches in a row: a sixth of all time was this thread's; 2 vCPUs, 2026-11). Nor
 * does it go on for as long as something comes while it works: one that took each launch as it came left none to grow (again()),
 * and kept its submitter from beginning any, for whole batches (a quarter of all time). What is left then, for the case that the
 * submitter does not come back, waits for a short tick.
 */
static void *drive(void *argument) {
    pel_cl_device *device = argument;
    unsigned ticks = 0, turns = 0;
    stay_on_cores(device);
    pthread_mutex_lock(&device->lock);
    for (;;) {
        if (has_work(device) && !device->running && !device->touched) {
            const bool streams = device->submitted && device->may_begin;
            device->submitted = false;
            run_some(device, false, !streams);
            turns = streams ? turns + 1 : 0;
            device->touched = device->touched || (streams && (!device->head || turns >= TURNS));
            ticks = WATCH_TICKS;
        } else if (device->closing && !device->running && !has_work(device)) {
            break;
        } else if (device->touched || ticks > 0) {
            ticks = device->touched ? WATCH_TICKS : ticks - 1;
            device->touched = false;
            watch(device, device->closing || (turns > 0 && device->head));
            turns = 0;
        } else {
            if (wait_for_work(device)) {
                save(device);
            }
            /* woken for a work: at once, unless it has begun: whoever waits for it comes first */
            device->touched = device->touched && !device->head;
        }
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

static void submit(pel_backend_device *base, pel_work *work) {
    pel_cl_device *device = (pel_cl_device *)base;
    work->next = NULL;
    work->open = device->is_pocl && device->may_begin && !work->gate && !work->row && pel_cl_rides(device, work);
    pthread_mutex_lock(&device->lock);
    if (device->tail) {
        device->tail->next = work;
    } else {
        device->head = work;
    }
    device->tail = work;
    count_queued(device, pel_cl_times(work));
    device->submitted = true;
    bool wake = !device->running && !work->soon; /* begin() follows, which wakes whoever is still needed */
    pthread_mutex_unlock(&device->lock);
    if (wake) {
        pthread_cond_signal(&device->wake);
    }
}

/*
 * What one more behind others takes: its device's pace, once that is known. A launch that is waited for takes ten times that, and
 * a thousand of them, so counted, are more than a device is given ahead: half of each batch waited for reports.
 */
static double one_more_ns(const pel_cl_device *device, const pel_work *work) {
    const double each = work->predicted_ns / pel_cl_times(work);
    return device->pace_of == work->kernel->id && device->pace_ns > 0 && device->pace_ns < each ? device->pace_ns : each;
}

/*
 * No more than there is room for events of all their pieces: who begins it must not wait for some of them first, as it does where
 * they are more than those of the kernel's last ones.
 */
static bool again(pel_backend_device *base, pel_work *work, uint32_t most) {
    pel_cl_device *device = (pel_cl_device *)base;
    pthread_mutex_lock(&device->lock);
    const uint32_t pieces = device->pace_of == work->kernel->id && device->pace_pieces > 0 ? device->pace_pieces : PEL_CL_PIECES;
    const bool taken = work->open && work == device->tail && pel_cl_times(work) < most &&
                       (pel_cl_times(work) + 1) * pieces <= PEL_CL_RIDER_EVENTS;
    if (taken) {
        work->predicted_ns += one_more_ns(device, work);
        work->times = pel_cl_times(work) + 1;
        count_queued(device, 1);
        device->submitted = true;
    }
    pthread_mutex_unlock(&device->lock);
    return taken;
}

/*
 * Where enqueuing computes (PoCL's basic), a guest would do so on whatever core it is: on another device's, whose part of the
 * same launch then waited for a turn until this one was over (2 cores, 2026-11: in 7 to 16 % of divided launches of 3 ms). The
 * device's own thread is woken at the begin. What is not divided the guest runs: that saves waking it.
 */
static bool would_be_in_the_way(const pel_cl_device *device) {
    const pel_topology_device *facts = device->base.facts;
    const bool matters = device->is_pocl && !device->may_begin && facts->core_set_declared && facts->info.cores_count > 0 &&
                         device->head && device->head->chunked;
    const int cpu = matters ? sched_getcpu() : -1;
    return cpu >= 0 && cpu < PEL_CORE_LIMIT && !pel_core_set_has(&facts->info.cores, (uint32_t)cpu);
}

static bool help(pel_backend_device *base) {
    pel_cl_device *device = (pel_cl_device *)base;
    bool wake = false;

    pthread_mutex_lock(&device->lock);
    const bool yields = !device->running && would_be_in_the_way(device);
    if (device->running || yields || !has_work(device) || (device->head && device->head->alone)) {
        /* a waiter must not hang with what is alone; a part is the other thread's now, not after a tick or two */
        wake = yields && device->watching;
        device->touched = device->touched && !yields;
        pthread_mutex_unlock(&device->lock);
        if (wake) {
            pthread_cond_signal(&device->wake);
        }
        return false;
    }
    run_some(device, true, true);
    wake = (!device->watching || device->away) &&
           (has_work(device) || device->closing || (device->sleeps_long && atomic_load(&device->unsaved)));
    device->touched = true;
    pthread_mutex_unlock(&device->lock);
    if (wake) {
        pthread_cond_signal(&device->wake);
    }
    return true;
}

/* What is left is the driver thread's, which was woken at the submission if it did not watch. */
static void begin(pel_backend_device *base) {
    pel_cl_device *device = (pel_cl_device *)base;
    pthread_mutex_lock(&device->lock);
    if (!device->may_begin || device->running || !device->head) { /* who has the baton sees to it */
        const bool waits = !device->running && device->head;
        pthread_mutex_unlock(&device->lock);
        if (waits) { /* not before the others have begun: who is woken may take the core from us for as long as it computes */
            pthread_cond_signal(&device->wake);
        }
        return;
    }
    pel_work *first = device->head;
    device->running = true;
    pthread_mutex_unlock(&device->lock);
    const bool can_wait = pel_cl_train_begin(device, first);
    pthread_mutex_lock(&device->lock);
    device->running = false;
    device->touched = !device->head || can_wait;
    bool wake = (device->head && !can_wait) || ((!device->watching || device->away) && (has_work(device) || device->closing));
    pthread_mutex_unlock(&device->lock);
    if (wake) {
        pthread_cond_signal(&device->wake);
    }
}

/* ---- open and close ---- */

int pel_cl_start_thread(pthread_t *thread, void *(*function)(void *), void *argument) {
    sigset_t before;
    block_signals(&before);
    int code = pthread_create(thread, NULL, function, argument);
    restore_signals(&before);
    return code;
}

static pel_status start_driver(pel_cl_device *device, pel_error **error) {
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int code = pthread_cond_init(&device->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (code == 0) {
        code = pel_cl_start_thread(&device->driver, drive, device);
        if (code != 0) {
            pthread_cond_destroy(&device->wake);
        }
    }
    if (code != 0) {
        pel_story story = {
            .device = device->label, .call = "pthread_create", .code = code, .advice = "raise the limit of threads"};
        return pel_fail(error, device->env->allocator, PEL_OUT_OF_MEMORY, &story, "no thread for a device: %s", strerror(code));
    }
    return PEL_OK;
}

static char *make_label(const pel_allocator *allocator, const pel_device_info *info) {
    size_t bytes = strlen(info->id) + strlen(info->name) + 4;
    char *label = pel_alloc(allocator, bytes);
    if (label) {
        memcpy(label, info->id, strlen(info->id) + 1);
        strcat(label, " (");
        strcat(label, info->name);
        strcat(label, ")");
    }
    return label;
}

static void release(pel_cl_device *device) {
    const pel_allocator *allocator = device->env->allocator;
    cl_command_queue queues[] = {device->queue, device->upload, device->download};
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        if (queues[i]) {
            clReleaseCommandQueue(queues[i]);
        }
    }
    if (device->context) {
        clReleaseContext(device->context);
    }
    pthread_mutex_destroy(&device->lock);
    pthread_mutex_destroy(&device->table_lock);
    pthread_mutex_destroy(&device->save_lock);
    pthread_mutex_destroy(&device->ready_lock);
    pel_free(allocator, device->label);
    pel_free(allocator, device);
}

/* 1 MiB: the copy of a piece takes 100 us, ten times what a command costs, and both directions' slots fit beside each other
 * into caches. The two rings of four are beside what launches claim of the device, so where the caller did not say how large they
 * are to be they take an eighth of its memory at most. */
static uint64_t staging_of(const pel_cl_device *device) {
    const pel_topology_device *facts = device->base.facts;
    if (facts->host_coherent || facts->info.shares_host_memory) {
        return 0;
    }
    if (facts->staging_bytes > 0 || device->is_pocl || facts->info.device_class != PEL_CLASS_DISCRETE) {
        return facts->staging_bytes;
    }
    const uint64_t most = facts->info.memory_bytes / 64;
    return most > 0 && most < USUAL_SLOT ? most : USUAL_SLOT;
}

static pel_status open_device(const pel_backend_env *env, const pel_topology_device *facts, pel_backend_device **opened,
                              pel_error **error) {
    pel_cl_device *device = pel_alloc_zero(env->allocator, 1, sizeof *device);
    *opened = NULL;
    if (!device) {
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for device %s", facts->info.id);
    }
    device->base = (pel_backend_device){.backend = &pel_backend_opencl, .facts = facts};
    device->env = env;
    device->id = facts->cl_device;
    /* PoCL numbers them in 32 bits: with more it divides by zero, aborts, or runs some twice and others never */
    device->max_groups = UINT32_MAX;
    device->is_pocl = strcmp(facts->info.platform, "Portable Computing Language") == 0;
    /* PoCL's basic device runs the kernel inside the enqueue, and so may other drivers that compute on the host's cores. */
    device->may_begin =
        device->is_pocl ? strncmp(facts->info.name, "basic", 5) != 0 : facts->info.device_class == PEL_CLASS_DISCRETE;
    device->staging_bytes = staging_of(device);
    pthread_mutex_init(&device->ready_lock, NULL);
    pthread_mutex_init(&device->save_lock, NULL);
    pthread_mutex_init(&device->table_lock, NULL);
    pthread_mutex_init(&device->lock, NULL);
    device->label = make_label(env->allocator, &facts->info);
    pel_status status = device->label
                            ? start_driver(device, error)
                            : pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for device %s", facts->info.id);
    if (status != PEL_OK) {
        release(device);
        return status;
    }
    *opened = &device->base;
    return PEL_OK;
}

static void close_device(pel_backend_device *base) {
    pel_cl_device *device = (pel_cl_device *)base;
    if (!device) {
        return;
    }
    pthread_mutex_lock(&device->lock);
    device->closing = true;
    pthread_mutex_unlock(&device->lock);
    pthread_cond_signal(&device->wake);
    pthread_join(device->driver, NULL);
    pthread_cond_destroy(&device->wake);
    pel_cl_rings_end(device);
    pel_cl_tell_no_more(device);
    pel_cl_watch_end(device);
    pel_cl_scrub_end(device);
    pel_cl_forget_all(device);
    release(device);
}

cl_context pel_cl_context_of(pel_backend_device *base) {
    pel_cl_device *device = (pel_cl_device *)base;
    return pel_cl_ready(device, NULL) == PEL_OK ? device->context : NULL;
}

const pel_backend pel_backend_opencl = {
    .name = "opencl",
    .chains = true,
    .rows = true,
    .open = open_device,
    .close = close_device,
    .mem_create = pel_cl_mem_create,
    .mem_view = pel_cl_mem_view,
    .mem_destroy = pel_cl_mem_destroy,
    .mem_wipe = pel_cl_mem_wipe,
    .prepare = pel_cl_prepare,
    .kernel_forget = pel_cl_kernel_forget,
    .program_forget = pel_cl_program_forget,
    .submit = submit,
    .help = help,
    .begin = begin,
    .again = again,
    .gates = pel_cl_gates,
    .windows = pel_cl_windows,
    .largest_group = pel_cl_largest_group,
};
