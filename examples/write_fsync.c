/* SPDX-License-Identifier: MIT */
/* Write a file in pieces, and return when it is on the disk: write_fsync FILE */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static int write_hello(struct weft_file *file)
{
    struct weft_writer writer;

    weft_writer_init_file(&writer, file);
    int r = weft_writer_write(&writer, "Hello", 5);
    if (r == 0)
        r = weft_writer_write(&writer, " ", 1);
    if (r == 0)
        r = weft_writer_write(&writer, "World", 5);
    int closed = weft_writer_close(&writer); /* sends what is left */
    if (r == 0)
        r = closed;
    return r < 0 ? r : weft_file_sync(file);
}

static int write_and_sync(void *arg)
{
    const char *path = arg;
    struct weft_file *file;
    int r = weft_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644, &file);
    if (r == 0) {
        r = write_hello(file);
        int closed = weft_file_close(file);
        if (r == 0)
            r = closed;
    }
    if (r < 0)
        fprintf(stderr, "%s: %s\n", path, strerror(-r));
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    return weft_run(NULL, write_and_sync, argv[1]) < 0;
}
