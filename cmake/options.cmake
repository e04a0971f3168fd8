# SPDX-License-Identifier: MIT
# Compile options that every target of the project shares, and the packages they come from.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

find_package(Libev REQUIRED)

add_library(weft_options INTERFACE)
target_compile_definitions(weft_options INTERFACE _GNU_SOURCE WEFT_VERSION="${PROJECT_VERSION}")
# The C library declares the functions behind errno, <ctype.h> and pthread_self() to be const: called
# once, their results hold.  Not in a fiber, which goes on on another thread: the attribute becomes one
# that means nothing.  docs/decisions/043-compilers.md
target_compile_definitions(weft_options INTERFACE __const__=__unused__)
target_compile_options(weft_options INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -Wno-missing-field-initializers -fno-omit-frame-pointer>)
if(WEFT_SANITIZE)
  target_compile_options(weft_options INTERFACE -fsanitize=${WEFT_SANITIZE} -fno-sanitize-recover=all
    $<$<COMPILE_LANGUAGE:C>:-O1>)
  target_link_options(weft_options INTERFACE -fsanitize=${WEFT_SANITIZE})
  target_compile_definitions(weft_options INTERFACE WITH_SHAKER) # runtime/core/shake.h
endif()
if(WEFT_FUZZ)
  target_compile_options(weft_options INTERFACE $<$<COMPILE_LANGUAGE:C>:-fsanitize=fuzzer-no-link>)
endif()
if(WEFT_COVERAGE)
  # Many threads count.
  target_compile_options(weft_options INTERFACE --coverage -fprofile-update=atomic)
  add_library(weft-coverage STATIC tests/support/coverage.c)
  set_target_properties(weft-coverage PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(weft_options INTERFACE weft-coverage)
  target_link_options(weft_options INTERFACE --coverage
    -Wl,--wrap=_exit,--wrap=abort,--wrap=kill,--undefined=__wrap_abort)
endif()
