/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events that the caller ends, and commands that the caller calls off.
 *
 * A user event is a node without a command: it has one predecessor, the caller, and successors like any other, so that waiting
 * for it costs what waiting for a command costs and nothing else needs to know. Ending it is a claim of its state, so that two
 * threads, or the last release, cannot do it twice.
 *
 * A cancelled command stays where it is in the graph: commands that overwrite what it would have written know only it, not what
 * it comes after, so it ends, without having run, when its turn comes. The rejected alternative, to end it at once, would have to
 * hand its predecessors to its successors.
 */
#include "queue/command.h"
#include "queue/verify.h"

static pel_status make(pel_runtime *runtime, pel_event *event) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pthread_mutex_lock(&runtime->lock);
    pel_node *node = pel_node_take(&dispatcher->pools, &dispatcher->self, PEL_NODE_COMMAND);
    if (node) {
        node->shared = true;
        node->stage = NULL;
        node->hazard.user = NULL;
        event->node = node;
        event->generation = pel_node_order(node);
    }
    pthread_mutex_unlock(&runtime->lock);
    return node ? PEL_OK : PEL_OUT_OF_MEMORY;
}

pel_status pel_event_create_user(pel_runtime *runtime, pel_event **event, pel_error **error) {
    if (!runtime || !event) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_event_create_user: the %s is NULL",
                        runtime ? "event" : "runtime");
    }
    *event = NULL;
    pel_status status = pel_runtime_check(runtime, error);
    if (status == PEL_OK) {
        status = pel_dispatcher_ensure(runtime, error);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_event *made = pel_event_new(runtime);
    if (!made || make(runtime, made) != PEL_OK) {
        pel_event_release(made);
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a user event");
    }
    made->user = true;
    pel_object_made(runtime, PEL_OBJECT_EVENT);
    *event = made;
    return PEL_OK;
}

static void end(pel_event *event, pel_status status) {
    pel_runtime *runtime = event->runtime;
    pel_node *node = event->node;
    pel_error *error = NULL;
    if (status != PEL_OK) {
        pel_fail(&error, &runtime->allocator, status, NULL, "user event: ended with %s", pel_status_name(status));
    }
    pthread_mutex_lock(&runtime->lock);
    /* before anybody learns of the end: who does may destroy the runtime, which waits for the lock */
    pel_object_gone(runtime, PEL_OBJECT_EVENT);
    pel_event_finish(event, status, error, NULL, pel_clock_now(runtime->clock));
    pel_node_end(runtime, node, "a user event", status != PEL_OK, error);
    pel_node_give(&runtime->dispatcher->pools, &runtime->dispatcher->self, node);
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true);
}

pel_status pel_event_set_status(pel_event *event, pel_status status) {
    if (!event || !event->user || (uint32_t)status > PEL_INTERNAL) {
        return PEL_INVALID_ARGUMENT;
    }
    if (pel_event_is_complete(event)) {
        return PEL_BUSY;
    }
    pel_status usable = pel_runtime_check(event->runtime, NULL);
    if (usable != PEL_OK) {
        return usable;
    }
    if (!pel_event_claim(event)) {
        return PEL_BUSY;
    }
    end(event, status);
    return PEL_OK;
}

pel_error *pel_event_cancelled(const pel_event *event, const char *name) {
    pel_error *error = NULL;
    pel_fail(&error, &event->allocator, PEL_CANCELLED, NULL, "%s was cancelled before it began", name ? name : "a command");
    return error;
}

/* A launch that runs and whose kernel polls a flag: it fails now, and ends when its works do. */
static bool cancel_running(pel_command *command) {
    bool polls = false;
    if (!command || command->kind != PEL_COMMAND_LAUNCH || command->status != PEL_OK ||
        (command->phase != PEL_PHASE_RUNNING && command->phase != PEL_PHASE_VERIFYING)) {
        return false;
    }
    for (uint32_t i = 0; i < command->bound.arg_count; i++) {
        polls = polls || command->bound.args[i].param == PEL_PARAM_KIND_CANCEL;
    }
    for (uint32_t i = 0; i < command->job_count && polls; i++) {
        pel_job_cancel(&command->jobs[i]);
    }
    if (polls) {
        pel_verify_cancel(command);
        pel_error *error = NULL;
        pel_fail(&error, &command->runtime->allocator, PEL_CANCELLED, NULL, "%s was cancelled while it ran",
                 command->name ? command->name : "a launch");
        pel_command_fail(command, PEL_CANCELLED, error);
    }
    return polls;
}

pel_status pel_event_cancel(pel_event *event) {
    if (!event) {
        return PEL_INVALID_ARGUMENT;
    }
    if (pel_event_is_complete(event)) {
        return PEL_BUSY;
    }
    if (event->user) {
        return pel_event_set_status(event, PEL_CANCELLED);
    }
    pel_runtime *runtime = event->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&runtime->lock);
    if (pel_event_is_complete(event)) {
        status = PEL_BUSY;
    } else if (event->is_node) { /* whoever runs it finds out */
        status = pel_event_cancel_task(event, runtime->dispatcher->fence) ? PEL_OK : PEL_BUSY;
    } else if (!pel_event_claim(event)) {
        status = cancel_running(event->command) ? PEL_OK : PEL_BUSY;
    } else if (event->command) {
        pel_command_fail(event->command, PEL_CANCELLED, pel_event_cancelled(event, event->command->name));
    }
    pthread_mutex_unlock(&runtime->lock);
    return status;
}
