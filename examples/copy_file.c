/* SPDX-License-Identifier: MIT */
/* Copy a file, telling how far it is: copy_file SOURCE DESTINATION.  Ctrl-C stops it, and leaves no
 * half of a new file behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <weft/weft.h>

static int show_progress(void *unused, uint64_t copied, uint64_t size)
{
    (void)unused;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " bytes ", copied, size);
    return 0;
}

static int copy(void *arg)
{
    char **paths = arg; /* SOURCE DESTINATION */
    const struct weft_copy_options options = {.progress = show_progress};
    uint64_t copied;
    int r = weft_copy_file(paths[0], paths[1], &options, &copied);
    if (r < 0)
        fprintf(stderr, "%s to %s: %s\n", paths[0], paths[1], strerror(-r));
    else
        printf("%" PRIu64 " bytes copied\n", copied);
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SOURCE DESTINATION\n", argv[0]);
        return 2;
    }
    return weft_run(NULL, copy, argv + 1) < 0;
}
