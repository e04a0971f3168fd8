/* SPDX-License-Identifier: MIT */
/* A module that crashes as soon as it is loaded. */
#include <signal.h>

__attribute__((constructor)) static void crash(void)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}
