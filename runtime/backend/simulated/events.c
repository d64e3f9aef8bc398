/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes next, among thousands of devices.
 *
 * Each event changes a few devices, so none looks at all of them: the soonest end is on top of a heap of drivers, those with a
 * job that has not started are in a list, and devices with one core group are in a ring. Of equal ends that of the device that
 * was opened first comes first. The heap has room for every open driver, so that submission allocates nothing. Rejected: a heap
 * of works; a work's end moves when others disturb it, and with the drivers each moves in one place.
 */
#include "backend/simulated/internal.h"

static bool is_before(const pel_simulated_driver *a, const pel_simulated_driver *b) {
    return a->event < b->event || (a->event == b->event && a->number < b->number);
}

static void put(pel_machine *machine, pel_simulated_driver *driver, uint32_t at) {
    machine->events[at - 1] = driver;
    driver->at = at;
}

static void rise(pel_machine *machine, pel_simulated_driver *driver, uint32_t at) {
    for (; at > 1 && is_before(driver, machine->events[at / 2 - 1]); at /= 2) {
        put(machine, machine->events[at / 2 - 1], at);
    }
    put(machine, driver, at);
}

static void sink(pel_machine *machine, pel_simulated_driver *driver, uint32_t at) {
    for (uint32_t child; (child = 2 * at) <= machine->event_count; at = child) {
        if (child < machine->event_count && is_before(machine->events[child], machine->events[child - 1])) {
            child++;
        }
        if (!is_before(machine->events[child - 1], driver)) {
            break;
        }
        put(machine, machine->events[child - 1], at);
    }
    put(machine, driver, at);
}

static void take_out(pel_machine *machine, pel_simulated_driver *driver) {
    pel_simulated_driver *last = machine->events[--machine->event_count];
    const uint32_t at = driver->at;
    driver->at = 0;
    if (last != driver) {
        rise(machine, last, at);
        sink(machine, last, last->at);
    }
}

static int64_t soonest_of(const pel_simulated_driver *driver) {
    const pel_work *task = driver->tasks.first, *job = driver->running ? driver->jobs.first : NULL;
    int64_t soonest = task != NULL ? task->ended : PEL_SIMULATED_NEVER;
    return job != NULL && job->ended < soonest ? job->ended : soonest;
}

static void update_idle(pel_machine *machine, pel_simulated_driver *driver) {
    const bool idle = !driver->running && driver->jobs.first != NULL;
    if (idle == driver->idle) {
        return;
    }
    driver->idle = idle;
    if (idle) {
        driver->idle_before = NULL;
        driver->idle_next = machine->idle;
        if (machine->idle != NULL) {
            machine->idle->idle_before = driver;
        }
        machine->idle = driver;
        return;
    }
    *(driver->idle_before != NULL ? &driver->idle_before->idle_next : &machine->idle) = driver->idle_next;
    if (driver->idle_next != NULL) {
        driver->idle_next->idle_before = driver->idle_before;
    }
}

void pel_simulated_changed(pel_simulated_driver *driver) {
    pel_machine *machine = driver->machine;
    driver->event = soonest_of(driver);
    update_idle(machine, driver);
    if (driver->event == PEL_SIMULATED_NEVER) {
        if (driver->at != 0) {
            take_out(machine, driver);
        }
    } else if (driver->at == 0) {
        rise(machine, driver, ++machine->event_count);
    } else {
        rise(machine, driver, driver->at);
        sink(machine, driver, driver->at);
    }
}

pel_simulated_driver *pel_simulated_soonest(const pel_machine *machine) {
    return machine->event_count > 0 ? machine->events[0] : NULL;
}

bool pel_simulated_join(pel_machine *machine, pel_simulated_driver *driver) {
    if (machine->open == machine->event_room) {
        const uint32_t room = machine->event_room > 0 ? 2 * machine->event_room : 16;
        pel_simulated_driver **grown = pel_resize(&machine->allocator, machine->events, room * sizeof(pel_simulated_driver *));
        if (grown == NULL) {
            return false;
        }
        machine->events = grown;
        machine->event_room = room;
    }
    driver->number = machine->opened++;
    driver->event = PEL_SIMULATED_NEVER;
    driver->peer = driver;
    for (pel_simulated_driver *other = machine->drivers; driver->spec->core_group != 0 && other != NULL; other = other->next) {
        if (other->spec->core_group == driver->spec->core_group) {
            driver->peer = other->peer;
            other->peer = driver;
            break;
        }
    }
    driver->before = machine->last_driver;
    *(machine->last_driver != NULL ? &machine->last_driver->next : &machine->drivers) = driver;
    machine->last_driver = driver;
    machine->open++;
    machine->disturbed += driver->spec->contention > 0.0 ? 1u : 0u;
    return true;
}

void pel_simulated_leave(pel_machine *machine, pel_simulated_driver *driver) {
    pel_simulated_driver *last = driver;
    while (last->peer != driver) {
        last = last->peer;
    }
    last->peer = driver->peer;
    if (driver->at != 0) {
        take_out(machine, driver);
    }
    driver->jobs.first = driver->tasks.first = NULL; /* what hangs is left */
    machine->running -= driver->running ? 1u : 0u;
    driver->running = false;
    update_idle(machine, driver);
    *(driver->before != NULL ? &driver->before->next : &machine->drivers) = driver->next;
    *(driver->next != NULL ? &driver->next->before : &machine->last_driver) = driver->before;
    machine->open--;
    machine->disturbed -= driver->spec->contention > 0.0 ? 1u : 0u;
}
