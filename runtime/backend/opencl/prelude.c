/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: a chunk is an enqueue of its own, and the built-in id functions speak of the enqueue, not of the launch. The
 * prelude hides them behind macros of the same names. A macro of function form is not expanded again inside its own expansion,
 * but the argument may be any expression and the functions call one another, so each macro calls a helper function that was
 * defined before any macro: the helpers see the built-ins.
 *
 * The invariant: global id = group id x local size + local id + global offset, with sizes and numbers of the whole launch, in
 * user functions too. Whole sizes are read by get_global_id of a dimension with one item, never by get_global_offset: PoCL 3.1
 * returns only the low half of that. Dimensions are constants in every call of a built-in, and the choice is between values: of
 * `d < 2 ? get_global_id(d) : 0` LLVM makes a choice between addresses of PoCL's hidden variables, which PoCL 3.1 fails to
 * replace ("undefined symbol: _group_id_x", and the process aborts). Rejected: rewriting the calls in the source, which needs a
 * preprocessor of our own to be right.
 */
#include "backend/opencl/prelude.h"


#define EXACT "#pragma OPENCL FP_CONTRACT OFF\n"

#define HELPER(result) "static inline __attribute__((always_inline)) " result " "

/* Common to all forms; follows the helpers. Helper names are such that no program has them. */
#define MACROS                                                            \
    "#define get_work_dim() pel_prelude_work_dim()\n"                     \
    "#define get_global_id(d) pel_prelude_global_id(d)\n"                 \
    "#define get_global_size(d) pel_prelude_global_size(d)\n"             \
    "#define get_global_offset(d) pel_prelude_global_offset(d)\n"         \
    "#define get_group_id(d) pel_prelude_group_id(d)\n"                   \
    "#define get_num_groups(d) pel_prelude_num_groups(d)\n"               \
    "#if __OPENCL_C_VERSION__ >= 200\n"                                   \
    "#define get_global_linear_id() pel_prelude_global_linear_id()\n"     \
    "#endif\n"                                                            \
    "#line 1\n"

#define LINEAR                                                                                                         \
    HELPER("size_t")                                                                                                   \
    "pel_prelude_global_linear_id(void) {\n"                                                                           \
    " return ((pel_prelude_global_id(2) - pel_prelude_global_offset(2)) * pel_prelude_global_size(1)\n"                \
    "  + pel_prelude_global_id(1) - pel_prelude_global_offset(1)) * pel_prelude_global_size(0)\n"                      \
    "  + pel_prelude_global_id(0) - pel_prelude_global_offset(0); }\n"

/* Values of the three dimensions, then what the language says of others. */
#define CHOOSE                                                                                                         \
    HELPER("size_t") "pel_prelude_choose(uint d, size_t x, size_t y, size_t z, size_t other) {\n"                      \
    " return d == 0 ? x : d == 1 ? y : d == 2 ? z : other; }\n"

#define ANSWER(name, x, y, z, other)                                                                                   \
    HELPER("size_t") "pel_prelude_" name "(uint d) { return pel_prelude_choose(d, " x ", " y ", " z ", " other "); }\n"

#define LOW_HALF(x) "(" x " & (size_t)0xffffffffu)"
#define HIGH_HALF(x) "(" x " >> 32)"
#define GROUPS(size, d) "(" size " + get_local_size(" d ") - 1) / get_local_size(" d ")"

#define CHUNKED_1                                                                                                      \
    CHOOSE                                                                                                             \
    HELPER("uint") "pel_prelude_work_dim(void) { return 1; }\n"                                                        \
    ANSWER("global_id", "get_global_id(0)", "0", "0", "0")                                                             \
    ANSWER("global_size", "get_global_id(1)", "1", "1", "1")                                                           \
    ANSWER("global_offset", "get_global_id(2)", "0", "0", "0")                                                         \
    ANSWER("group_id", "(get_global_id(0) - get_global_id(2)) / get_local_size(0)", "0", "0", "0")                     \
    ANSWER("num_groups", GROUPS("get_global_id(1)", "0"), "1", "1", "1")                                               \
    LINEAR MACROS

#define CHUNKED_2                                                                                                      \
    CHOOSE                                                                                                             \
    HELPER("uint") "pel_prelude_work_dim(void) { return 2; }\n"                                                        \
    ANSWER("global_id", "get_global_id(0)", "get_global_id(1)", "0", "0")                                              \
    ANSWER("global_size", LOW_HALF("get_global_id(2)"), HIGH_HALF("get_global_id(2)"), "1", "1")                       \
    ANSWER("global_offset", "0", "0", "0", "0")                                                                        \
    ANSWER("group_id", "get_global_id(0) / get_local_size(0)", "get_global_id(1) / get_local_size(1)", "0", "0")       \
    ANSWER("num_groups", GROUPS(LOW_HALF("get_global_id(2)"), "0"), GROUPS(HIGH_HALF("get_global_id(2)"), "1"), "1",   \
           "1")                                                                                                        \
    LINEAR MACROS

#define CHUNKED_3                                                                                                      \
    CHOOSE                                                                                                             \
    HELPER("uint") "pel_prelude_work_dim(void) { return 3; }\n"                                                        \
    ANSWER("global_id", "get_global_id(0)", "get_global_id(1)", LOW_HALF("get_global_id(2)"), "0")                     \
    ANSWER("global_size", "get_global_size(0)", "get_global_size(1)", HIGH_HALF("get_global_id(2)"), "1")              \
    ANSWER("global_offset", "0", "0", "0", "0")                                                                        \
    ANSWER("group_id", "get_group_id(0)", "get_group_id(1)", LOW_HALF("get_global_id(2)") " / get_local_size(2)", "0") \
    ANSWER("num_groups", "get_num_groups(0)", "get_num_groups(1)", GROUPS(HIGH_HALF("get_global_id(2)"), "2"), "1")    \
    LINEAR MACROS

const char *pel_cl_prelude(pel_cl_form form, bool reproducible) {
    static const char *const texts[PEL_CL_FORMS][2] = {{"", EXACT "#line 1\n"},
                                                       {CHUNKED_1, EXACT CHUNKED_1},
                                                       {CHUNKED_2, EXACT CHUNKED_2},
                                                       {CHUNKED_3, EXACT CHUNKED_3}};
    return texts[form][reproducible ? 1 : 0];
}
