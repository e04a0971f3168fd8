/* SPDX-License-Identifier: MIT */
/* A module whose process ends well, but before it said what it has. */
#include <unistd.h>

__attribute__((constructor)) static void leave(void)
{
    _exit(0);
}
