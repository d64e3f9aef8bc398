# SPDX-License-Identifier: BSD-3-Clause
#
# pel_openmp_sources(TARGET SOURCE...): compiles those of the sources that are named *_openmp.c with OpenMP, and links its run-time library. Only those: OpenMP is a
# contestant of the benchmarks, never part of pel. Without OpenMP they are compiled plainly and PEL_HAVE_OPENMP is not defined.

function(pel_openmp_sources target)
  set(selected ${ARGN})
  list(FILTER selected INCLUDE REGEX "_openmp\\.c$")
  if(NOT selected)
    return()
  endif()
  if(PEL_SANITIZE MATCHES "thread")
    return() # OpenMP's run-time library is not instrumented: its synchronisation would be reported as races
  endif()
  find_package(OpenMP COMPONENTS C QUIET)
  if(NOT OpenMP_C_FOUND)
    return()
  endif()
  separate_arguments(openmp_flags NATIVE_COMMAND "${OpenMP_C_FLAGS}")
  set_property(SOURCE ${selected} APPEND PROPERTY COMPILE_OPTIONS ${openmp_flags} ${PEL_KERNEL_FLAGS})
  set_property(SOURCE ${selected} APPEND PROPERTY COMPILE_DEFINITIONS PEL_HAVE_OPENMP=1)
  target_link_libraries(${target} PUBLIC ${OpenMP_C_LIBRARIES})
endfunction()
