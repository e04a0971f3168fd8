/* SPDX-License-Identifier: MIT */
/* A shared object that is no module. */
int no_module(void);

int no_module(void)
{
    return 0;
}
