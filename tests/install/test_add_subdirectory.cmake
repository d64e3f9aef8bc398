# SPDX-License-Identifier: BSD-3-Clause
# A parent project includes pel with add_subdirectory.
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
included(subdirectory SUBDIRECTORY ${source})
