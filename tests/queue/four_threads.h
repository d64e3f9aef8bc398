/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes that four threads play at once, and whether all public functions have a part in one. */
#ifndef PEL_TESTS_FOUR_THREADS_H
#define PEL_TESTS_FOUR_THREADS_H

#include <stdbool.h>

enum { FOUR = 4 };

/* Plays it in each of four threads, all beginning together, `rounds` times. A failed expectation fails the test. */
void four_threads_play(const char *name, void (*scene)(int thread), int rounds);

/* What does not hold in a thread other than cmocka's is noted, and fails the test at the end of the scene. */
void four_threads_expect(bool holds, const char *what, int line);
#define EXPECT(condition) four_threads_expect(condition, #condition, __LINE__)

/* Fails the test for each function of runtime/pel.map that is (or is not) one of OpenCL's and is called nowhere in this file
 * below tests/. */
void four_threads_require_all(const char *source, bool opencl);

#endif
