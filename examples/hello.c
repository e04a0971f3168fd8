/* SPDX-License-Identifier: MIT */
/* The smallest program: a runtime, one fiber, and the end of both. */
#include <stdio.h>
#include <weft/weft.h>

static int say_hello(void *unused)
{
    (void)unused;
    puts("Hello async world!");
    return 0;
}

int main(void)
{
    return weft_run(NULL, say_hello, NULL) < 0;
}
