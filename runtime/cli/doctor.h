/* SPDX-License-Identifier: BSD-3-Clause */
/* What `pel doctor` finds, and the checks that look at files rather than at devices. */
#ifndef PEL_CLI_DOCTOR_H
#define PEL_CLI_DOCTOR_H

#include "topology/icd.h"
#include "topology/probe.h"
#include "topology/topology.h"

typedef enum pel_severity { PEL_FINE, PEL_NOTE, PEL_PROBLEM } pel_severity;

typedef struct pel_doctor_finding {
    pel_severity severity;
    char *what;   /* one sentence */
    char *advice; /* what to do; "" nothing */
} pel_doctor_finding;

typedef struct pel_doctor {
    const char *root; /* before the paths of the machine: "" or a recorded tree */
    pel_icd_list drivers;
    pel_probe_answer answer;      /* of pel-probe, afresh */
    const pel_topology *topology; /* NULL when discovery failed */
    pel_doctor_finding *findings;
    size_t count;
    bool failed; /* out of memory */
} pel_doctor;

/* Adds a finding; advice NULL: none. */
void pel_doctor_say(pel_doctor *doctor, pel_severity severity, const char *advice, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void pel_doctor_check_drivers(pel_doctor *doctor);  /* .icd files and their libraries */
void pel_doctor_check_graphics(pel_doctor *doctor); /* cards without driver, /dev/dri, /dev/nvidia*, containers */
void pel_doctor_check_pocl(pel_doctor *doctor);     /* its cache directory, its linker */
void pel_doctor_check_budget(pel_doctor *doctor);   /* affinity, quota, memory */

#endif
