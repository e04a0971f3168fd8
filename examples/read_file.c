/* SPDX-License-Identifier: MIT */
/* Read a file whole and print it: read_file FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { LIMIT = 64 << 20 };

static int read_whole(void *arg)
{
    const char *path = arg;
    void *data;
    size_t size;
    int r = weft_file_read_all(path, LIMIT, &data, &size);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-r));
        return r;
    }
    fwrite(data, 1, size, stdout);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    return weft_run(NULL, read_whole, argv[1]) < 0;
}
