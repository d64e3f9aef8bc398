/* SPDX-License-Identifier: BSD-3-Clause */
/* What a graph's plan tells: a copy with texts of its own, so that it can be read while replays go on, and after everything
 * else is gone. */
#include "queue/graph_plan.h"

#include "base/text.h"
#include <string.h>

struct pel_graph_plan {
    pel_allocator allocator;
    pel_graph_times times;
    pel_graph_place *places;
    uint32_t count;
    char *text;
};

static char *names_of(const pel_runtime *runtime, uint64_t devices) {
    pel_text text;
    pel_text_init(&text, &runtime->allocator);
    pel_text_append(&text, "");
    for (uint64_t rest = devices; rest != 0; rest &= rest - 1) {
        pel_text_append(&text, rest == devices ? "" : " + ");
        pel_text_append(&text, runtime->devices[__builtin_ctzll(rest)].facts->info.id);
    }
    return pel_text_take(&text);
}

static void say_us(pel_text *text, double ns) {
    pel_text_number(text, ns / 1e3, 1);
    pel_text_append(text, " us");
}

static void say_why(pel_text *text, const pel_graph_outlook *outlook) {
    if (outlook->slower) {
        pel_text_append(text, "command by command: the plan took ");
        say_us(text, outlook->seen_ns);
        pel_text_append(text, ", and without it they took ");
        say_us(text, outlook->in_order_seen_ns);
    } else if (outlook->kind == PEL_SCHEDULE_IN_ORDER) {
        pel_text_append(text, "command by command: no plan is predicted to be faster");
    } else {
        pel_text_append(text, outlook->kind == PEL_SCHEDULE_ALONE ? "planned as a whole, on one device"
                                                                  : "planned as a whole, by earliest finish time");
    }
}

static void say_place(pel_text *text, const pel_graph_place *place) {
    pel_text_format(text, "%6u  %-16s  %-16s  ", place->command, place->name[0] ? place->name : "-",
                    place->devices[0] ? place->devices : "beside");
    say_us(text, place->begin_ns);
    pel_text_append(text, " to ");
    say_us(text, place->end_ns);
    pel_text_append(text, ", rank ");
    say_us(text, place->rank_ns);
    if (place->actual_ns > 0) {
        pel_text_append(text, ", took ");
        say_us(text, place->actual_ns);
    }
    pel_text_append(text, "\n");
}

static char *words_of(const pel_graph_plan *plan, const pel_graph_outlook *outlook) {
    pel_text text;
    pel_text_init(&text, &plan->allocator);
    pel_text_format(&text, "graph of %u commands, ", plan->count);
    say_why(&text, outlook);
    pel_text_append(&text, "\npredicted ");
    say_us(&text, plan->times.predicted_ns);
    pel_text_append(&text, ", command by command ");
    say_us(&text, plan->times.in_order_ns);
    pel_text_append(&text, "; the latest replay took ");
    say_us(&text, plan->times.actual_ns);
    pel_text_append(&text, "\n");
    for (uint32_t i = 0; i < plan->count; i++) {
        say_place(&text, &plan->places[i]);
    }
    return pel_text_take(&text);
}

/* Under the lock. */
static pel_status copy(pel_graph_plan *plan, const pel_graph *graph) {
    const pel_graph_outlook *outlook = graph->outlook;
    const bool followed = outlook->kind != PEL_SCHEDULE_IN_ORDER && !outlook->slower;
    plan->times = (pel_graph_times){followed,           outlook->replays,         outlook->predicted_ns, outlook->in_order_ns,
                                    outlook->actual_ns, outlook->in_order_seen_ns};
    plan->places = pel_alloc_zero(&plan->allocator, graph->count, sizeof *plan->places);
    if (!plan->places) {
        return PEL_OUT_OF_MEMORY;
    }
    for (plan->count = 0; plan->count < graph->count; plan->count++) {
        const pel_graph_prospect *of = &outlook->commands[plan->count];
        const char *name = graph->commands[plan->count].command->name;
        pel_graph_place *place = &plan->places[plan->count];
        *place = (pel_graph_place){plan->count,
                                   of->turn,
                                   pel_strdup(&plan->allocator, name ? name : ""),
                                   names_of(graph->runtime, of->devices),
                                   of->begin_ns,
                                   of->end_ns,
                                   of->rank_ns,
                                   of->took_ns};
        if (!place->name || !place->devices) {
            plan->count++;
            return PEL_OUT_OF_MEMORY;
        }
    }
    plan->text = words_of(plan, outlook);
    return plan->text ? PEL_OK : PEL_OUT_OF_MEMORY;
}

pel_status pel_graph_get_plan(pel_graph *graph, pel_graph_plan **plan) {
    if (!graph || !plan) {
        return PEL_INVALID_ARGUMENT;
    }
    *plan = NULL;
    pel_status status = pel_runtime_check(graph->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pel_graph_plan *made = pel_alloc_zero(&graph->runtime->allocator, 1, sizeof *made);
    if (!made) {
        return PEL_OUT_OF_MEMORY;
    }
    made->allocator = graph->runtime->allocator;
    pthread_mutex_lock(&graph->guard);
    pthread_mutex_lock(&graph->runtime->lock);
    status = graph->outlook && graph->outlook->made ? copy(made, graph) : PEL_NOT_FOUND;
    pthread_mutex_unlock(&graph->runtime->lock);
    pthread_mutex_unlock(&graph->guard);
    if (status != PEL_OK) {
        pel_graph_plan_destroy(made);
        return status;
    }
    *plan = made;
    return PEL_OK;
}

uint32_t pel_graph_plan_size(const pel_graph_plan *plan) { return plan ? plan->count : 0; }

pel_status pel_graph_plan_get_place(const pel_graph_plan *plan, uint32_t command, pel_graph_place *place) {
    if (!place) {
        return PEL_INVALID_ARGUMENT;
    }
    if (!plan || command >= plan->count) {
        return PEL_NOT_FOUND;
    }
    *place = plan->places[command];
    return PEL_OK;
}

pel_status pel_graph_plan_get_times(const pel_graph_plan *plan, pel_graph_times *times) {
    if (!times) {
        return PEL_INVALID_ARGUMENT;
    }
    *times = plan ? plan->times : (pel_graph_times){0};
    return plan ? PEL_OK : PEL_NOT_FOUND;
}

const char *pel_graph_plan_text(const pel_graph_plan *plan) { return plan ? plan->text : ""; }

void pel_graph_plan_destroy(pel_graph_plan *plan) {
    if (!plan) {
        return;
    }
    const pel_allocator allocator = plan->allocator;
    for (uint32_t i = 0; i < plan->count; i++) {
        pel_free(&allocator, (char *)(uintptr_t)plan->places[i].name);
        pel_free(&allocator, (char *)(uintptr_t)plan->places[i].devices);
    }
    pel_free(&allocator, plan->places);
    pel_free(&allocator, plan->text);
    pel_free(&allocator, plan);
}
