# SPDX-License-Identifier: BSD-3-Clause
#
# cmake -DTEXTS="a.cl;b.cl" -DOUTPUT=DIR -P embed_cl.cmake
# Writes DIR/kernels_cl.c and DIR/kernels_cl.h: each file NAME.cl as `const char pel_cl_NAME[]`. One literal a line: compilers limit the length of one.

set(source "#include \"kernels_cl.h\"\n")
set(header "#ifndef KERNELS_CL_H\n#define KERNELS_CL_H\n\n")
foreach(path IN LISTS TEXTS)
  get_filename_component(name "${path}" NAME_WE)
  file(READ "${path}" text)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REPLACE "?" "\\?" text "${text}")
  string(REPLACE "\t" "\\t" text "${text}")
  string(REPLACE "\r" "" text "${text}")
  string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
  string(APPEND source "\nconst char pel_cl_${name}[] =\n    \"${text}\";\n")
  string(APPEND header "extern const char pel_cl_${name}[];\n")
endforeach()
string(APPEND header "\n#endif\n")
file(WRITE "${OUTPUT}/kernels_cl.c" "${source}")
file(WRITE "${OUTPUT}/kernels_cl.h" "${header}")
