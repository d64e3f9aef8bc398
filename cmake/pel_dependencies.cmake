# SPDX-License-Identifier: BSD-3-Clause
#
# What the library itself needs: threads, hwloc and, unless switched off, the OpenCL ICD loader.
#
# Sets PEL_DEPENDENCY_LIBRARIES (paths and plain names) and PEL_DEPENDENCY_INCLUDES. Imported targets are not used inside the build: they are local
# to this directory, and a parent project that links pel_static could not see them. The installed package names PEL_DEPENDENCY_TARGETS, which
# pelConfig.cmake finds again on the machine where it is used.

# What a message about something missing says, with Debian's name of the package.
function(pel_missing what package)
  message(FATAL_ERROR "pel needs ${what} (Debian: ${package}). `sh cmake/quickstart.sh` installs all that is needed.${ARGN}")
endfunction()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
  pel_missing("pkg-config" "pkg-config")
endif()
pkg_check_modules(PEL_HWLOC hwloc>=2.4)
if(NOT PEL_HWLOC_FOUND)
  pel_missing("hwloc 2.4 or newer" "libhwloc-dev")
endif()

set(PEL_DEPENDENCY_LIBRARIES ${PEL_HWLOC_LINK_LIBRARIES} -pthread m)
set(PEL_DEPENDENCY_INCLUDES ${PEL_HWLOC_INCLUDE_DIRS})
set(PEL_DEPENDENCY_TARGETS PkgConfig::PEL_HWLOC Threads::Threads m)
# Compressed checkpoints: only where zstd is.
pkg_check_modules(PEL_ZSTD QUIET libzstd)
if(NOT PEL_ZSTD_FOUND)
  set(PEL_ZSTD_FOUND 0) # a word for pelConfig.cmake
endif()
if(PEL_ZSTD_FOUND)
  list(APPEND PEL_DEPENDENCY_LIBRARIES ${PEL_ZSTD_LINK_LIBRARIES})
  list(APPEND PEL_DEPENDENCY_TARGETS PkgConfig::PEL_ZSTD)
  list(APPEND PEL_DEPENDENCY_INCLUDES ${PEL_ZSTD_INCLUDE_DIRS})
endif()
if(PEL_OPENCL)
  find_package(OpenCL)
  if(NOT OpenCL_FOUND)
    pel_missing("the OpenCL headers and loader" "opencl-headers ocl-icd-opencl-dev" " Without OpenCL: -DPEL_OPENCL=OFF")
  endif()
  list(APPEND PEL_DEPENDENCY_LIBRARIES ${OpenCL_LIBRARIES})
  list(APPEND PEL_DEPENDENCY_TARGETS OpenCL::OpenCL)
  list(APPEND PEL_DEPENDENCY_INCLUDES ${OpenCL_INCLUDE_DIRS})
endif()
