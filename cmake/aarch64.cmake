# SPDX-License-Identifier: MIT
# Builds for aarch64 with Debian's cross compiler, and runs the tests in qemu's user mode:
#
#   cmake --preset aarch64      tools/aarch64-tree.sh makes $WEFT_AARCH64_TREE
#
# The tree has Debian's arm64 libraries and headers.  Nothing of this machine's is looked at.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)

if(NOT WEFT_AARCH64_TREE)
  set(WEFT_AARCH64_TREE $ENV{WEFT_AARCH64_TREE} CACHE PATH "what tools/aarch64-tree.sh prints")
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES WEFT_AARCH64_TREE)
set(CMAKE_SYSROOT ${WEFT_AARCH64_TREE})
foreach(what LIBRARY INCLUDE PACKAGE)
  set(CMAKE_FIND_ROOT_PATH_MODE_${what} ONLY)
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${WEFT_AARCH64_TREE})
set(ENV{PKG_CONFIG_LIBDIR}
  ${WEFT_AARCH64_TREE}/usr/lib/aarch64-linux-gnu/pkgconfig:${WEFT_AARCH64_TREE}/usr/share/pkgconfig)

# A processor with everything that qemu knows: the change of stacks is to meet it all.
find_program(WEFT_QEMU NAMES qemu-aarch64 qemu-aarch64-static NO_CMAKE_FIND_ROOT_PATH)
set(CMAKE_CROSSCOMPILING_EMULATOR ${WEFT_QEMU} -cpu max -L ${WEFT_AARCH64_TREE})
