# SPDX-License-Identifier: BSD-3-Clause
# A parent project fetches pel as an archive, as it would a release: only what the library is made of, so that nothing else is needed to build it.
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
fresh_directory(archive archive)
step("archive" ${CMAKE_COMMAND} -E chdir ${source} ${CMAKE_COMMAND} -E tar czf ${archive}/pel.tar.gz CMakeLists.txt LICENSE cmake include runtime)
included(fetched FETCH ${archive}/pel.tar.gz)
