/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that writes checkpoints and notes all the time is killed at random moments. What is found afterwards is whole, and
 * not older than what had been acknowledged. `--kills N` (10000 by tests/fault/campaign; a sample in ctest), `--seed N`.
 */
#include <errno.h>
#include <pel/pel.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 20000, NOTES = 3 };

/* Shared with the parent: what pel has acknowledged. */
typedef struct acknowledged {
    _Atomic uint64_t step, notes;
    _Atomic bool ready;
} acknowledged;

typedef struct program {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_buffer *buffer;
    pel_checkpoint *checkpoint;
    uint32_t *memory;
} program;

static uint32_t value_of(uint64_t step, uint32_t i) {
    return (uint32_t)step * 2654435761u + i;
}

static bool start(program *p, const char *path) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_checkpoint_desc checkpoint = PEL_CHECKPOINT_DESC_INIT;
    pel_error *error = NULL;
    memset(p, 0, sizeof *p);
    desc.devices = "host";
    desc.host_workers = 1;
    desc.flags = PEL_RUNTIME_NO_CACHE;
    checkpoint.path = path;
    p->memory = malloc(N * sizeof *p->memory);
    bool well = p->memory && pel_runtime_create(&desc, &p->runtime, &error) == PEL_OK &&
                pel_queue_create(p->runtime, NULL, &p->queue, &error) == PEL_OK &&
                pel_buffer_wrap(p->runtime, p->memory, N * sizeof *p->memory, &p->buffer) == PEL_OK &&
                pel_checkpoint_open(p->runtime, &checkpoint, &p->checkpoint, &error) == PEL_OK;
    if (!well) {
        fprintf(stderr, "%s\n", error ? pel_error_message(error) : "no memory");
        pel_error_destroy(error);
    }
    return well;
}

static void stop(program *p) {
    pel_checkpoint_close(p->checkpoint);
    pel_queue_destroy(p->queue);
    pel_buffer_destroy(p->buffer);
    pel_runtime_destroy(p->runtime);
    free(p->memory);
}

/* Every other one while the program goes on. */
static bool write_one(program *p, const pel_checkpoint_item *item, uint64_t step) {
    if (step % 2 == 0) {
        return pel_checkpoint_write(p->checkpoint, p->queue, item, 1, step, NULL) == PEL_OK;
    }
    if (pel_checkpoint_begin(p->checkpoint, p->queue, item, 1, step, NULL) != PEL_OK || pel_queue_finish(p->queue) != PEL_OK) {
        return false;
    }
    memset(p->memory, 0xff, N * sizeof *p->memory); /* copied already */
    return pel_checkpoint_wait(p->checkpoint, NULL) == PEL_OK;
}

/* The program that will be killed: goes on from what it finds. */
static int compute(const char *path, acknowledged *told) {
    program p;
    pel_checkpoint_state state = {0};
    if (!start(&p, path)) {
        return 1;
    }
    const pel_checkpoint_item item = {"x", p.buffer};
    pel_status status = pel_checkpoint_read(p.checkpoint, p.queue, &item, 1, &state, NULL);
    if (status != PEL_OK && status != PEL_NOT_FOUND) {
        return 2;
    }
    told->ready = true;
    for (uint64_t step = state.step + 1;; step++) {
        for (uint32_t i = 0; i < N; i++) {
            p.memory[i] = value_of(step, i);
        }
        if (!write_one(&p, &item, step)) {
            return 3;
        }
        told->notes = 0;
        told->step = step;
        for (uint32_t i = 0; i < NOTES; i++) {
            pel_checkpoint_chunk chunk = {
                .task = step, .lo = i, .hi = i + 1, .item = "x", .buffer = p.buffer, .offset = i * 400, .bytes = 400};
            memset((unsigned char *)p.memory + chunk.offset, 0, 400);
            if (pel_checkpoint_note(p.checkpoint, p.queue, &chunk, NULL) != PEL_OK) {
                return 4;
            }
            told->notes = i + 1;
        }
    }
}

/* 0: whole and new enough. */
static int check(const char *path, const acknowledged *told, uint64_t *step) {
    program p;
    pel_checkpoint_state state = {0};
    pel_error *error = NULL;
    if (!start(&p, path)) {
        return 1;
    }
    const pel_checkpoint_item item = {"x", p.buffer};
    pel_status status = pel_checkpoint_read(p.checkpoint, p.queue, &item, 1, &state, &error);
    int failed = 0;
    if (status == PEL_NOT_FOUND) {
        failed = told->step != 0;
    } else if (status != PEL_OK) {
        failed = 1;
        fprintf(stderr, "%s\n", pel_error_message(error));
    } else {
        for (uint32_t i = 0; i < N; i++) {
            failed |= p.memory[i] != (i < state.chunks * 100 ? 0 : value_of(state.step, i));
        }
        failed |= state.step < told->step || (state.step == told->step && state.chunks < told->notes);
    }
    if (failed) {
        fprintf(stderr, "acknowledged step %llu + %llu, found step %llu + %llu\n", (unsigned long long)told->step,
                (unsigned long long)told->notes, (unsigned long long)state.step, (unsigned long long)state.chunks);
    }
    *step = state.step;
    pel_error_destroy(error);
    stop(&p);
    return failed;
}

int main(int argc, char **argv) {
    unsigned long kills = 25, seed = 1, done = 0, reading = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long number = strtoul(argv[i + 1], NULL, 10);
        *(strcmp(argv[i], "--seed") == 0 ? &seed : &kills) = number;
    }
    char directory[] = "/tmp/pel-kill-XXXXXX", path[64], command[96];
    if (!mkdtemp(directory)) {
        return 1;
    }
    (void)snprintf(path, sizeof path, "%s/c", directory);
    acknowledged *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED) {
        return 1;
    }
    int failed = 0;
    uint64_t step = 0;
    srandom((unsigned)seed);
    for (; done < kills && !failed; done++) {
        told->ready = false;
        pid_t child = fork();
        if (child == 0) {
            _exit(compute(path, told));
        }
        /* One in eight while it starts and reads; the others within some checkpoints. */
        for (int i = 0; done % 8 != 0 && !told->ready && i < 5000; i++) {
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        }
        long wait = random() % (done % 8 == 0 ? 20000000 : 5000000);
        nanosleep(&(struct timespec){0, wait}, NULL);
        (void)kill(child, SIGKILL);
        int status = 0;
        (void)waitpid(child, &status, 0);
        if (WIFEXITED(status)) {
            fprintf(stderr, "the program ended with %d\n", WEXITSTATUS(status));
            failed = 1;
        }
        uint64_t before = step;
        child = fork(); /* in a process of its own, like everything that makes a runtime */
        if (child == 0) {
            int wrong = check(path, told, &step);
            told->step = wrong ? told->step : step; /* what a later process builds on */
            told->notes = 0;
            _exit(wrong);
        }
        (void)waitpid(child, &status, 0);
        failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        step = told->step;
        reading += step == before;
    }
    printf("seed %lu: %lu kills, %llu checkpoints, %lu times before the next one was written: %s\n", seed, done,
           (unsigned long long)step, reading, failed ? "FAILED" : "always whole, nothing acknowledged was lost");
    (void)snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command) != 0 || failed;
}
