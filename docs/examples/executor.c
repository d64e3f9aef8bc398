/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An executor of your own: pel's host tasks run on the threads of a pool that the program has anyway. The pool here is the
 * smallest that works: a list of jobs, a condition, two threads.
 */
#include "check.h"

#include <pthread.h>

typedef struct job {
    struct job *next;
    void (*work)(void *argument);
    void *argument;
} job;

typedef struct pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    job *first;
    int stop, ran;
} pool;

/* Called by pel from any thread: it only notes the job. */
static void submit(void *user, void (*work)(void *argument), void *argument) {
    pool *p = user;
    job *made = malloc(sizeof *made);
    if (!made)
        abort(); /* each work must be called in the end */
    pthread_mutex_lock(&p->lock);
    *made = (job){p->first, work, argument};
    p->first = made;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void *thread_main(void *user) {
    pool *p = user;
    pthread_mutex_lock(&p->lock);
    while (!p->stop || p->first) {
        job *now = p->first;
        if (!now) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        p->first = now->next;
        p->ran++;
        pthread_mutex_unlock(&p->lock);
        now->work(now->argument);
        free(now);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static pel_status square(void *context) {
    *(long *)context *= *(long *)context;
    return PEL_OK;
}

int main(void) {
    static long numbers[10000];
    pool p = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0};
    pel_executor executor = {submit, &p, 2, 0};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_queue *queue;
    pthread_t threads[2];
    long wrong = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, thread_main, &p);

    desc.devices = "host";
    desc.executor = &executor;
    check(pel_runtime_create(&desc, &runtime, &error), "runtime", &error);
    check(pel_queue_create(runtime, NULL, &queue, &error), "queue", &error);
    for (long i = 0; i < 10000; i++) {
        numbers[i] = i;
        check_queue(pel_task(queue, square, &numbers[i], NULL, 0, NULL, NULL), "task", queue);
    }
    check_queue(pel_queue_finish(queue), "finish", queue);
    check(pel_queue_destroy(queue), "destroy queue", NULL);
    check(pel_runtime_destroy(runtime), "destroy runtime", NULL); /* waits for what the pool was asked to do */

    pthread_mutex_lock(&p.lock);
    p.stop = 1;
    pthread_cond_broadcast(&p.changed);
    pthread_mutex_unlock(&p.lock);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (long i = 0; i < 10000; i++)
        wrong += numbers[i] != i * i;
    printf("10000 squares, %ld wrong; the pool was asked %d times\n", wrong, p.ran);
    return wrong != 0;
}
