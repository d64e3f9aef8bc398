# SPDX-License-Identifier: BSD-3-Clause
# Installs the build, moves it elsewhere (the package must not know its prefix) and uses it through find_package and pkg-config.
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
fresh_directory(work installed)
step("install" ${CMAKE_COMMAND} --install ${binary} --prefix ${work}/first)
file(RENAME ${work}/first ${work}/moved)
set(prefix ${work}/moved)

step("configure" ${CMAKE_COMMAND} -G Ninja -S ${source}/tests/install/installed -B ${work}/build ${compilers} -DCONSUMER=${consumer}
     -DCMAKE_PREFIX_PATH=${prefix})
step("build" ${CMAKE_COMMAND} --build ${work}/build)
foreach(user IN ITEMS user_shared_c user_static_c user_shared_cxx)
  run_user(${work}/build/${user})
endforeach()

file(GLOB_RECURSE pc ${prefix}/*/pel.pc)
get_filename_component(pkgconfig ${pc} DIRECTORY)
get_filename_component(libraries ${pkgconfig} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pkgconfig})
find_program(pkg_config NAMES pkg-config pkgconf REQUIRED)
step("pkg-config" ${pkg_config} --cflags --libs pel)
separate_arguments(flags UNIX_COMMAND "${step_output}")
step("compile C with pkg-config" $ENV{PEL_CC} -std=c11 ${consumer}/user.c -o ${work}/user_pc ${flags} -Wl,-rpath,${libraries})
run_user(${work}/user_pc)
step("compile C++ with pkg-config" $ENV{PEL_CXX} -std=c++17 ${consumer}/user.cpp -o ${work}/user_pc_cxx ${flags} -Wl,-rpath,${libraries})
run_user(${work}/user_pc_cxx)

# A program elsewhere finds the helpers of a moved library.
if("$ENV{PEL_OPENCL}" STREQUAL "ON")
  file(WRITE ${work}/outside.c "#include <pel/pel.h>
#include <string.h>
int main(void) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = \"opencl:0[outside]\";
    if (pel_runtime_create(&desc, &runtime, &error))
        return strstr(pel_error_story(error), \"cannot be started\") != NULL;
    return pel_runtime_destroy(runtime) != PEL_OK;
}
")
  step("compile the program with a device outside" $ENV{PEL_CC} -std=c11 ${work}/outside.c -o ${work}/outside ${flags} -Wl,-rpath,${libraries})
  step("run it" ${work}/outside)
endif()

# The installed fault layer answers both of the ICD loaders' entries: ocl-icd 2.3.1 asks for the first, Khronos' of 2026 for the second.
if("$ENV{PEL_OPENCL}" STREQUAL "ON")
  file(WRITE ${work}/layer.c "#include <CL/cl_layer.h>
#include <dlfcn.h>
int main(int argc, char **argv) {
    static cl_icd_dispatch loaders;
    const cl_uint count = sizeof loaders / sizeof(void *);
    void *layer = dlopen(argc > 1 ? argv[1] : \"\", RTLD_NOW);
    pfn_clInitLayer old = layer ? (pfn_clInitLayer)dlsym(layer, \"clInitLayer\") : 0;
    typedef cl_int (*initializer)(cl_uint, const cl_icd_dispatch *, cl_uint *, const cl_icd_dispatch **, const cl_properties *);
    initializer young = layer ? (initializer)dlsym(layer, \"clInitLayerWithProperties\") : 0;
    const cl_icd_dispatch *table = 0;
    cl_uint length = 0;
    if (!old || !young)
        return 1;
    if (young(count, &loaders, &length, &table, 0) != CL_SUCCESS || length < count || !table || !table->clFinish)
        return 2;
    if (young(1, &loaders, &length, &table, 0) == CL_SUCCESS)
        return 3;
    length = 0;
    return old(count, &loaders, &length, &table) != CL_SUCCESS || length < count ? 4 : 0;
}
")
  file(GLOB_RECURSE layer ${prefix}/libpel-faults.so)
  step("compile a loader of layers" $ENV{PEL_CC} -std=c11 ${work}/layer.c -o ${work}/layer -ldl)
  step("load the installed layer" ${work}/layer ${layer})
endif()

# Static pel on shared dependencies. (`pkg-config --static` also asks for hwloc's own dependencies, whose development files few machines have.)
set(dependencies hwloc)
if("$ENV{PEL_OPENCL}" STREQUAL "ON")
  list(APPEND dependencies OpenCL)
endif()
step("pkg-config" ${pkg_config} --cflags --libs pel ${dependencies})
string(REPLACE " -lpel" " -l:libpel.a" static_flags " ${step_output}")
separate_arguments(flags UNIX_COMMAND "${static_flags}")
step("compile C with pkg-config and libpel.a" $ENV{PEL_CC} -std=c11 ${consumer}/user.c -o ${work}/user_pc_static ${flags} -pthread -lm)
run_user(${work}/user_pc_static)

step("pkg-config --static" ${pkg_config} --static --libs-only-l pel)
if(NOT step_output MATCHES "-lhwloc")
  message(FATAL_ERROR "pel.pc does not name hwloc for static linking: ${step_output}")
endif()

# The installed program, and what it was installed with.
if(EXISTS ${prefix}/bin/pel)
  step("installed program" ${prefix}/bin/pel --version)
endif()
file(GLOB_RECURSE headers RELATIVE ${prefix}/include ${prefix}/include/*)
foreach(header IN LISTS headers)
  if(NOT header MATCHES "^pel/[a-z]+\\.h$")
    message(FATAL_ERROR "installed though no public header: ${header}")
  endif()
endforeach()
step("soname" readelf -d ${libraries}/libpel.so)
if(NOT step_output MATCHES "SONAME[^\n]*libpel\\.so\\.[0-9]+\\]")
  message(FATAL_ERROR "libpel.so has no soname:\n${step_output}")
endif()
if(NOT step_output MATCHES "BIND_NOW|NOW" OR step_output MATCHES "(RPATH|RUNPATH)")
  message(FATAL_ERROR "the library is not bound at load, or carries a run path:\n${step_output}")
endif()
