# SPDX-License-Identifier: MIT
# What is installed is hardened: docs/decisions/044-hardening.md says with what, at what cost, and
# tools/check-hardening.sh looks at the result.  A distribution that has flags of its own for this, and
# sets no build type that optimises, has its way.
include(CheckCSourceCompiles)

# A value of the compiler's or of CMAKE_C_FLAGS stays.
set(CMAKE_REQUIRED_FLAGS -O2)
check_c_source_compiles("
  #ifdef _FORTIFY_SOURCE
  #error it is there
  #endif
  int main(void) { return 0; }" WEFT_FORTIFY)
unset(CMAKE_REQUIRED_FLAGS)

set(optimised $<CONFIG:RelWithDebInfo,Release,MinSizeRel>)
set(fortify $<$<BOOL:${WEFT_FORTIFY}>:-D_FORTIFY_SOURCE=2>)
set(WEFT_HARDENED_CODE $<$<AND:$<COMPILE_LANGUAGE:C>,${optimised}>:-fstack-protector-strong;-fstack-clash-protection;${fortify}>)
# Canaries stand beside each variable whose address is taken, and every wait has one: a message through a
# channel would execute 4 in 100 instructions more.
set(WEFT_HARDENED_HOT $<${optimised}:-fno-stack-protector>)
# Tables of functions that a program needs are filled at its start, and read-only from then on.
set(WEFT_HARDENED_LINK -Wl,-z,relro -Wl,-z,now)

# weft_hardened(TARGET ...): libraries and programs that are installed.
function(weft_hardened)
  if(WEFT_SANITIZE OR WEFT_COVERAGE OR WEFT_FUZZ)
    return() # which have bounds and stacks of their own
  endif()
  foreach(target ${ARGN})
    target_compile_options(${target} PRIVATE ${WEFT_HARDENED_CODE})
    target_link_options(${target} PRIVATE ${WEFT_HARDENED_LINK})
  endforeach()
endfunction()
