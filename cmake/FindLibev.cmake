# SPDX-License-Identifier: MIT
# Libev::Libev.  libev comes with neither a pkg-config file nor a CMake one.  Installed beside
# weftConfig.cmake, as who links libweft.a needs it too.
find_path(Libev_INCLUDE_DIR ev.h)
find_library(Libev_LIBRARY ev)
mark_as_advanced(Libev_INCLUDE_DIR Libev_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libev REQUIRED_VARS Libev_LIBRARY Libev_INCLUDE_DIR)

if(Libev_FOUND AND NOT TARGET Libev::Libev)
  add_library(Libev::Libev INTERFACE IMPORTED)
  target_include_directories(Libev::Libev SYSTEM INTERFACE ${Libev_INCLUDE_DIR})
  target_link_libraries(Libev::Libev INTERFACE ${Libev_LIBRARY} m)
endif()
