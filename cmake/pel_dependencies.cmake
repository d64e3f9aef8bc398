# SPDX-License-Identifier: BSD-3-Clause
#
# What the library itself needs: threads, hwloc and, unless switched off, the OpenCL ICD loader.
#
# Sets PEL_DEPENDENCY_LIBRARIES (paths and plain names) and PEL_DEPENDENCY_INCLUDES. Imported targets are not used inside the build: they are local
# to this directory, and a parent project that links pel_static could not see them. The installed package names PEL_DEPENDENCY_TARGETS, which
# pelConfig.cmake finds again on the machine where it is used.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PEL_HWLOC REQUIRED hwloc>=2.4)

set(PEL_DEPENDENCY_LIBRARIES ${PEL_HWLOC_LINK_LIBRARIES} -pthread m)
set(PEL_DEPENDENCY_INCLUDES ${PEL_HWLOC_INCLUDE_DIRS})
set(PEL_DEPENDENCY_TARGETS PkgConfig::PEL_HWLOC Threads::Threads m)
if(PEL_OPENCL)
  find_package(OpenCL REQUIRED)
  list(APPEND PEL_DEPENDENCY_LIBRARIES ${OpenCL_LIBRARIES})
  list(APPEND PEL_DEPENDENCY_TARGETS OpenCL::OpenCL)
  list(APPEND PEL_DEPENDENCY_INCLUDES ${OpenCL_INCLUDE_DIRS})
endif()
