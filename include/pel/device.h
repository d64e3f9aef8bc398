/* SPDX-License-Identifier: BSD-3-Clause */
/* What executes: the host's cores, an OpenCL device, a simulated one. Read-only facts, fixed when the runtime is made. */
#ifndef PEL_DEVICE_H
#define PEL_DEVICE_H

#include <pel/export.h>
#include <pel/status.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_device pel_device;

typedef enum pel_device_kind { PEL_DEVICE_HOST = 1, PEL_DEVICE_OPENCL = 2, PEL_DEVICE_SIMULATED = 3 } pel_device_kind;

typedef enum pel_device_class {
    PEL_CLASS_HOST_CPU = 1,   /* runs on the host's cores (the host device, PoCL, Intel CPU) */
    PEL_CLASS_INTEGRATED = 2, /* own processors, the host's memory */
    PEL_CLASS_DISCRETE = 3,   /* own processors, own memory */
    PEL_CLASS_SOFTWARE = 4    /* an emulator (llvmpipe, Oclgrind): used only when asked for */
} pel_device_class;

#define PEL_CORE_LIMIT 4096

/* A set of logical processors by operating-system number (bit i of word i / 64). */
typedef struct pel_core_set {
    uint64_t bits[PEL_CORE_LIMIT / 64];
} pel_core_set;

typedef struct pel_device_info {
    const char *id;            /* "host", "opencl:0", "sim:gpu0": what a device list calls it */
    const char *name;          /* what the driver calls it */
    const char *vendor;
    const char *platform;      /* OpenCL platform name, "" for the host */
    const char *driver;        /* driver version */
    const char *identity;      /* "pci:0000:01:00.0", "uuid:...", or "name:..." */
    pel_device_kind kind;
    pel_device_class device_class;
    uint32_t compute_units;    /* as budgeted, not as the driver claims */
    uint32_t cores_count;      /* host cores that it occupies while it computes; 0 for a discrete device */
    pel_core_set cores;        /* which ones */
    int32_t numa_node;         /* nearest NUMA node by operating-system number, -1 unknown */
    uint64_t memory_bytes;     /* usable, as budgeted */
    uint64_t max_allocation_bytes;
    uint64_t max_work_group;
    uint64_t local_memory_bytes;
    uint32_t address_bits;
    uint32_t shares_host_memory; /* 1: host memory is used in place, nothing is copied */
    uint32_t supports_double;
    /* 1: a process of its own drives it, so that a crash of its driver costs what runs there and not the program */
    uint32_t outside;
} pel_device_info;

/* Facts about a device; belongs to the device's runtime. Any thread; never blocks; NULL for NULL. */
PEL_API const pel_device_info *pel_device_get_info(const pel_device *device);

/*
 * Declares what a device draws while it computes and while it does not, in watts, for plans whose aim is energy. busy 0: not
 * known. INVALID_ARGUMENT unless 0 <= idle <= busy, both finite. Any thread; takes the runtime's lock for a moment.
 */
PEL_API pel_status pel_device_set_power(const pel_device *device, double busy_watts, double idle_watts);

/* Where an energy comes from. Modelled: declared watts times the time that the device was busy and was not. */
typedef enum pel_energy_source { PEL_ENERGY_UNKNOWN = 0, PEL_ENERGY_MEASURED = 1, PEL_ENERGY_MODELLED = 2 } pel_energy_source;

typedef struct pel_device_energy {
    pel_energy_source source;
    double joules;             /* from an arbitrary origin: the difference of two readings is an energy; 0 while UNKNOWN */
    /* in words: which meter, or that it is modelled, or why it is not known. Constant text, never NULL */
    const char *how;
} pel_device_energy;

/*
 * Reads a device's meter: Linux powercap (intel-rapl) for the host and CPU devices, NVML for NVIDIA GPUs that are known by their
 * PCI address. A package's meter counts all that runs on it, other programs and idle cores too, devices on the same packages have
 * the same one, and it goes round every 262 kJ (some: 65 kJ): what lies between two readings further apart than that (20 or 5
 * minutes at 200 W) comes out too small. Without a readable meter the energy is modelled from pel_device_set_power, without that
 * it is UNKNOWN; devices of a simulation are never measured. The first call looks for the meters (NVML: milliseconds), later ones
 * take microseconds and the runtime's lock. Any thread. OUT_OF_MEMORY, INVALID_ARGUMENT for NULL, AFTER_FORK.
 */
PEL_API pel_status pel_device_get_energy(const pel_device *device, pel_device_energy *energy);

/* Bytes since the runtime was made. What was needed and not copied was there, or in host memory that the device shares. */
typedef struct pel_device_counters {
    uint64_t needed;           /* read by launches on this device */
    uint64_t to_device, to_host; /* copied; 0 for a device that works in host memory */
} pel_device_counters;

/* Any thread; zeros for NULL. Takes the runtime's lock for a moment. */
PEL_API void pel_device_get_counters(const pel_device *device, pel_device_counters *counters);

/*
 * Whether a device is used. One that fails three chunks in a row, disappears, or computes wrongly is quarantined: launches go
 * elsewhere, if there is anywhere else. When its time is over (1 s, doubled each time), the next launch has it tested with a
 * known answer first. A context that is gone is built anew once.
 */
typedef enum pel_device_state {
    PEL_DEVICE_WELL = 0,
    PEL_DEVICE_QUARANTINED = 1,
    PEL_DEVICE_TESTED = 2,     /* a known-answer test is under way; of a lost device, after its context has been built anew */
    PEL_DEVICE_RETIRED = 3,    /* gone for good */
    /* used, but it computed wrongly: where a launch is verified, all its chunks are, and when it is wrong again it is
     * quarantined */
    PEL_DEVICE_SUSPECT = 4
} pel_device_state;

typedef struct pel_device_health {
    pel_device_state state;
    uint32_t failures;         /* chunks that failed, since the runtime was made */
    uint32_t quarantines;
    uint32_t wrong_results;    /* since it last passed a test: found by comparing, or by such a test */
    int64_t since, until;      /* of a quarantine, in the runtime's time (pel_runtime_now) */
    uint32_t verified;         /* chunks of its that were compared and found right, since the runtime was made */
    uint32_t lies;             /* and found wrong */
    char reason[240];          /* why it is not well, or was not the last time; "" */
} pel_device_health;

/* Any thread; zeros for NULL. Takes the runtime's lock for a moment. */
PEL_API void pel_device_get_health(const pel_device *device, pel_device_health *health);

/* 1 when core `core` is in the set. */
static inline int pel_core_set_has(const pel_core_set *set, uint32_t core) {
    return core < PEL_CORE_LIMIT && (set->bits[core / 64] >> (core % 64) & 1u) != 0;
}

PEL_END_DECLS
#endif
