# SPDX-License-Identifier: MIT
# find_package(weft [VERSION] [COMPONENTS ...]) defines, as far as they are installed:
#
#   weft::weft                          the runtime, <weft/weft.h>
#   weft::tls  weft::dns  weft::http    TLS, names, an HTTP client for it
#   weft::client                        weftd's client, <weft/client.h>; needs no runtime
#   weft::module                        the headers of a module for weftd, which links nothing
#
# These are shared libraries; each but the last is there as weft::..._static, too, for which the
# -dev packages of what it uses must be installed.  Components are these names without weft::.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(PkgConfig)
pkg_check_modules(JANSSON QUIET IMPORTED_TARGET jansson)

# What static libraries are made with; where it is missing, linking these fails and says so.
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
find_package(Libev QUIET)
list(POP_BACK CMAKE_MODULE_PATH)
pkg_check_modules(URING QUIET IMPORTED_TARGET liburing)
pkg_check_modules(OPENSSL QUIET IMPORTED_TARGET openssl)
pkg_check_modules(CARES QUIET IMPORTED_TARGET libcares)
pkg_check_modules(CURL QUIET IMPORTED_TARGET libcurl)

include(${CMAKE_CURRENT_LIST_DIR}/weftTargets.cmake)

foreach(component ${weft_FIND_COMPONENTS})
  if(TARGET weft::${component})
    set(weft_${component}_FOUND TRUE)
  elseif(weft_FIND_REQUIRED_${component})
    set(weft_FOUND FALSE)
    set(weft_NOT_FOUND_MESSAGE "weft has no component '${component}': there are weft tls dns http client module")
  endif()
endforeach()
