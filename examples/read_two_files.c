/* SPDX-License-Identifier: MIT */
/* Read two files at the same time: read_two_files FILE FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { LIMIT = 64 << 20 };

struct file_read {
    const char *path;
    void *data;
    size_t size;
};

static int read_file(void *arg)
{
    struct file_read *file = arg;
    return weft_file_read_all(file->path, LIMIT, &file->data, &file->size);
}

static int read_both(void *arg)
{
    struct file_read *files = arg;
    struct weft_call calls[] = {
        {.name = "read 1", .fn = read_file, .arg = &files[0]},
        {.name = "read 2", .fn = read_file, .arg = &files[1]},
    };

    weft_gather_all(calls,
                    2); /* each result is asked for below: one failure does not hide another */
    for (int i = 0; i < 2; i++)
        if (calls[i].result < 0)
            printf("%s: %s\n", files[i].path, strerror(-calls[i].result));
        else
            printf("%s: %zu bytes\n", files[i].path, files[i].size);
    return calls[0].result < 0 ? calls[0].result : calls[1].result;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE FILE\n", argv[0]);
        return 2;
    }
    struct file_read files[2] = {{.path = argv[1]}, {.path = argv[2]}};
    int r = weft_run(NULL, read_both, files);
    free(files[0].data);
    free(files[1].data);
    return r < 0;
}
