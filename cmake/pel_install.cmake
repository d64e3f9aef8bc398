# SPDX-License-Identifier: BSD-3-Clause
#
# What `cmake --install` puts where. The package is relocatable: neither pelConfig.cmake nor pel.pc names the prefix.
include(CMakePackageConfigHelpers)

set(pel_cmake_directory ${CMAKE_INSTALL_LIBDIR}/cmake/pel)

# Two export sets, so that a user of the shared library needs none of the dependencies' development files.
install(TARGETS pel_shared EXPORT pelTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS pel_static EXPORT pelStaticTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT pelTargets NAMESPACE pel:: DESTINATION ${pel_cmake_directory})
install(EXPORT pelStaticTargets NAMESPACE pel:: DESTINATION ${pel_cmake_directory})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pelConfig.cmake.in ${PROJECT_BINARY_DIR}/cmake/pelConfig.cmake
                              INSTALL_DESTINATION ${pel_cmake_directory} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break what the one before promised.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/pelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/pelConfig.cmake ${PROJECT_BINARY_DIR}/cmake/pelConfigVersion.cmake
        DESTINATION ${pel_cmake_directory})

file(RELATIVE_PATH pel_pc_includes ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_FULL_INCLUDEDIR})
set(pel_pc_opencl "")
if(PEL_OPENCL)
  set(pel_pc_opencl ", OpenCL")
endif()
set(pel_pc_zstd "")
if(PEL_ZSTD_FOUND)
  set(pel_pc_zstd ", libzstd")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/pel.pc.in ${PROJECT_BINARY_DIR}/cmake/pel.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cmake/pel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(pel_left_out_headers "")
if(NOT PEL_OPENCL)
  set(pel_left_out_headers PATTERN opencl.h EXCLUDE)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h ${pel_left_out_headers})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

if(TARGET pel_cli)
  install(TARGETS pel_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET pel_faults)
  # Loaded by name (OPENCL_LAYERS=libpel-faults.so), so it lies where the dynamic linker looks.
  install(TARGETS pel_faults LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES ${PROJECT_SOURCE_DIR}/runtime/faults/faults.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pel)
endif()
if(TARGET pel_probe)
  install(TARGETS pel_probe RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/pel)
endif()
if(TARGET pel_device)
  install(TARGETS pel_device RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/pel)
endif()
foreach(pel_man_section IN ITEMS 1 7)
  file(GLOB pel_man_pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.${pel_man_section})
  install(FILES ${pel_man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${pel_man_section})
endforeach()
