/* SPDX-License-Identifier: MIT */
/* A module that ends its process as soon as it is loaded. */
#include <unistd.h>

__attribute__((constructor)) static void leave(void)
{
    _exit(3);
}
