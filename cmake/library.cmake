# SPDX-License-Identifier: MIT
# A library that is installed is there twice, as NAME (static, what weftd, tests and benchmarks link)
# and NAME-shared, of the same objects: docs/decisions/041-shared-library.md says what that costs.
# Sanitized and instrumented builds have the static ones alone, of code for programs, and install no
# library.
if(NOT WEFT_SANITIZE AND NOT WEFT_COVERAGE AND NOT WEFT_FUZZ)
  set(WEFT_LIBRARIES_INSTALLED TRUE)
endif()

# Until 1.0 a minor version may change what a program was compiled against.
set(WEFT_SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

# Code that may go into a shared object.  No call of ours is meant to be replaced by a program's, so
# the compiler may inline; thread-locals are at a fixed distance from the thread's pointer, as in a
# program, and not behind a call (they are a few words, which the C library has room for even when a
# library is loaded late).
function(weft_library_code name)
  if(NOT WEFT_LIBRARIES_INSTALLED)
    return()
  endif()
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${name} PRIVATE
    $<$<COMPILE_LANGUAGE:C>:-fno-semantic-interposition -ftls-model=initial-exec>)
endfunction()

# weft_library(NAME EXPORT-NAME [MAP]): the static library NAME exists; for users it is
# weft::EXPORT-NAME_static, and the shared one weft::EXPORT-NAME.
function(weft_library name export_name)
  weft_hardened(${name})
  set(maps ${PROJECT_SOURCE_DIR}/cmake/exports.map ${ARGN})
  list(GET maps -1 map)
  weft_library_code(${name})
  if(NOT WEFT_LIBRARIES_INSTALLED)
    return()
  endif()
  get_target_property(output_name ${name} OUTPUT_NAME)
  if(NOT output_name)
    set(output_name ${name})
  endif()
  add_library(${name}-shared SHARED $<TARGET_OBJECTS:${name}>)
  set_target_properties(${name}-shared PROPERTIES OUTPUT_NAME ${output_name} LINKER_LANGUAGE C
    VERSION ${PROJECT_VERSION} SOVERSION ${WEFT_SOVERSION} LINK_DEPENDS ${map}
    EXPORT_NAME ${export_name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${export_name}_static)
  # Bound to itself; complete; and never unloaded: it has handlers of signals, and threads.
  target_link_options(${name}-shared PRIVATE -Wl,--version-script=${map} -Wl,-Bsymbolic -Wl,-z,defs
    -Wl,-z,nodelete ${WEFT_HARDENED_LINK})
  set_property(GLOBAL APPEND PROPERTY WEFT_INSTALLED_LIBRARIES ${name} ${name}-shared)
endfunction()

# weft_shared_links(NAME ...): target_link_libraries of NAME-shared, where there is one.
function(weft_shared_links name)
  if(WEFT_LIBRARIES_INSTALLED)
    target_link_libraries(${name}-shared ${ARGN})
  endif()
endfunction()
