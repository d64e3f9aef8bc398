/* SPDX-License-Identifier: BSD-3-Clause */
/* Symbol visibility. Every public function carries PEL_API; everything else stays inside the library. */
#ifndef PEL_EXPORT_H
#define PEL_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define PEL_API __attribute__((visibility("default")))
#define PEL_MUST_CHECK __attribute__((warn_unused_result))
#else
#define PEL_API
#define PEL_MUST_CHECK
#endif

#ifdef __cplusplus
#define PEL_BEGIN_DECLS extern "C" {
#define PEL_END_DECLS }
#else
#define PEL_BEGIN_DECLS
#define PEL_END_DECLS
#endif

#endif
