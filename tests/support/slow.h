/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PEL_TEST_SLOW: 1 where code runs many times slower than it does for users, because of a sanitizer or for want of optimisation.
 * Such builds look for races and wrong accesses, which a part of the cases shows as well; the release build tries all of them.
 */
#ifndef PEL_TEST_SUPPORT_SLOW_H
#define PEL_TEST_SUPPORT_SLOW_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define PEL_TEST_SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define PEL_TEST_SLOW 1
#endif
#endif
#ifndef PEL_TEST_SLOW
#define PEL_TEST_SLOW 0
#endif

#endif
