/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Status codes and errors.
 *
 * A pel_status says what the caller can *do*; the story (which device, which call, which native code, what to
 * try, the build log) is in a pel_error. Functions that create something take an optional `pel_error **`: pass
 * NULL to do without, or the address of a NULL pointer; on failure it receives an error that the caller owns.
 */
#ifndef PEL_STATUS_H
#define PEL_STATUS_H

#include <pel/export.h>
#include <stdint.h>

PEL_BEGIN_DECLS

/* X(name, value, text). Values never change once released. */
#define PEL_STATUSES(X)                                                                         \
    X(OK, 0, "success")                                                                         \
    X(INVALID_ARGUMENT, 1, "invalid argument: the request is wrong; do not repeat it")          \
    X(OUT_OF_MEMORY, 2, "out of host memory")                                                   \
    X(DEVICE_MEMORY, 3, "out of device memory")                                                 \
    X(TOO_LARGE, 4, "a size or range does not fit")                                             \
    X(UNSUPPORTED, 5, "not supported by this build, device or kernel")                          \
    X(NOT_FOUND, 6, "no such thing")                                                            \
    X(NO_DEVICE, 7, "no usable device")                                                         \
    X(BUILD_FAILED, 8, "the program does not build; see the build log")                         \
    X(DEVICE_FAILED, 9, "a call to a device failed; another device may succeed")                \
    X(DEVICE_LOST, 10, "a device disappeared")                                                  \
    X(TIMED_OUT, 11, "a deadline passed")                                                       \
    X(TASK_FAILED, 12, "a host function returned a failure")                                    \
    X(DEPENDENCY_FAILED, 13, "a command that this one depends on failed")                       \
    X(CANCELLED, 14, "cancelled before it began")                                               \
    X(WOULD_DEADLOCK, 15, "waiting here could never end")                                       \
    X(CONFLICT, 16, "overlapping cores, devices or accesses")                                   \
    X(BUSY, 17, "still in use")                                                                 \
    X(IO, 18, "a file or system call failed")                                                   \
    X(CORRUPT, 19, "a file or binary is damaged or not ours")                                   \
    X(PERMISSION, 20, "not permitted")                                                          \
    X(AFTER_FORK, 21, "used in a child process after fork")                                     \
    X(MISMATCH, 22, "results differ where they must agree")                                     \
    X(INTERNAL, 23, "a defect in pel; please report it")

typedef enum pel_status {
#define PEL_STATUS_ENUM(name, value, text) PEL_##name = value,
    PEL_STATUSES(PEL_STATUS_ENUM)
#undef PEL_STATUS_ENUM
} pel_status;

/* Name of a status, "PEL_BUILD_FAILED"; "PEL_?" for an unknown value. Static; any thread. */
PEL_API const char *pel_status_name(pel_status status);

/* One line of text for a status. Static; any thread. */
PEL_API const char *pel_status_text(pel_status status);

/* A failure with its story. Immutable once handed out; may be read from any thread. */
typedef struct pel_error pel_error;

/*
 * Getters: any threads at once, until the error is destroyed; nothing changes it and it outlives its runtime. Returned strings
 * belong to the error and are never NULL ("" when there is nothing to say). NULL error: OK, "", 0.
 */
PEL_API pel_status pel_error_status(const pel_error *error);
PEL_API const char *pel_error_message(const pel_error *error);   /* what happened, naming the thing */
PEL_API const char *pel_error_device(const pel_error *error);    /* "opencl:0 (pthread-...)" */
PEL_API const char *pel_error_call(const pel_error *error);      /* "clEnqueueNDRangeKernel" */
PEL_API int64_t pel_error_code(const pel_error *error);          /* the native code: CL error or errno */
PEL_API const char *pel_error_advice(const pel_error *error);    /* what to do about it */
PEL_API const char *pel_error_build_log(const pel_error *error); /* compiler output */

/* The whole story as text, lines separated by '\n', owned by the error. Never NULL. */
PEL_API const char *pel_error_story(const pel_error *error);

/* Releases an error. Any thread, when no other reads it or its strings any more. NULL is allowed. */
PEL_API void pel_error_destroy(pel_error *error);

PEL_END_DECLS
#endif
