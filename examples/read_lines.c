/* SPDX-License-Identifier: MIT */
/* Go through a file line by line: read_lines FILE */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static int print_lines(struct weft_reader *reader)
{
    const char *line;
    int r;

    while ((r = weft_reader_next_line(reader, &line, NULL)) != 0) {
        if (r == -EMSGSIZE) /* longer than the reader's limit: leave it out */
            r = weft_reader_skip_line(reader);
        else if (r > 0)
            puts(line);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_lines(void *arg)
{
    const char *path = arg;
    struct weft_file *file;
    struct weft_reader reader;
    int r = weft_file_open(path, O_RDONLY, 0, &file);
    if (r == 0) {
        weft_reader_init_file(&reader, file);
        r = print_lines(&reader);
        weft_reader_destroy(&reader);
        weft_file_free(file);
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
    return weft_run(NULL, read_lines, argv[1]) < 0;
}
