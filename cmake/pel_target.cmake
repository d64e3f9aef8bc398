# SPDX-License-Identifier: BSD-3-Clause
#
# pel_target(NAME): the compile and link options of one of pel's own targets. A function over each target instead of directory-wide options, so
# that a parent project's targets and flags stay untouched; and instead of an interface library, which would end up in the exported package.

function(pel_target name)
  set_target_properties(${name} PROPERTIES
    C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON)
  target_compile_definitions(${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)
  if(PEL_OPENCL)
    target_compile_definitions(${name} PRIVATE PEL_HAVE_OPENCL=1 CL_TARGET_OPENCL_VERSION=300)
  endif()
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wconversion -Wshadow $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>)
  if(PEL_WERROR)
    target_compile_options(${name} PRIVATE -Werror)
  endif()
  if(PEL_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${PEL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${name} PRIVATE -fsanitize=${PEL_SANITIZE})
  elseif(PEL_COVERAGE)
    target_compile_options(${name} PRIVATE --coverage)
    target_link_options(${name} PRIVATE --coverage)
  elseif(PEL_HARDENING)
    # _FORTIFY_SOURCE needs an optimising build; a distribution's compiler may define it already.
    target_compile_options(${name} PRIVATE -fstack-protector-strong
                           "$<$<NOT:$<CONFIG:Debug>>:SHELL:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>")
    target_link_options(${name} PRIVATE -Wl,-z,relro,-z,now,-z,noexecstack)
  endif()
endfunction()

# Flags of loops that are measured: host variants of the catalogue and the plain OpenMP contestants get the same ones.
set(PEL_KERNEL_FLAGS $<$<NOT:$<CONFIG:Debug>>:-O3> -ffp-contract=fast -fno-math-errno -fno-trapping-math)
