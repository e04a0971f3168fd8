/* SPDX-License-Identifier: MIT */
/* Write a file whole: write_file FILE TEXT */
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static int write_whole(void *arg)
{
    char **words = arg; /* FILE TEXT */
    int r = weft_file_write_all(words[0], words[1], strlen(words[1]), 0644, 0);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", words[0], strerror(-r));
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
        return 2;
    }
    return weft_run(NULL, write_whole, argv + 1) < 0;
}
