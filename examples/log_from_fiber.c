/* SPDX-License-Identifier: MIT */
/* Logging that never holds up a worker: fibers put their lines into a channel, and one fiber writes
 * them out on the thread pool, however slow the disk or the terminal is.  When the channel is full
 * a line is counted as lost rather than waited for. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <weft/weft.h>

struct line {
    char text[120];
};

static struct weft_channel *lines;
static atomic_uint lost;

static void log_info(const char *text)
{
    struct line line;

    snprintf(line.text, sizeof line.text, "INFO %s: %s\n", weft_fiber_name(), text);
    if (weft_channel_try_send(lines, &line) < 0)
        atomic_fetch_add(&lost, 1);
}

static int write_line(void *arg)
{
    struct line *line = arg;
    return fputs(line->text, stdout) < 0 ? -EIO : 0;
}

static int logger(void *unused)
{
    struct line line;

    (void)unused;
    while (weft_channel_recv(lines, &line, WEFT_NO_DEADLINE) == 0) {
        int r = weft_offload(write_line, &line, NULL);
        if (r < 0)
            return r;
    }
    return 0; /* closed, and all of it is written */
}

static int operation(void *unused)
{
    (void)unused;
    log_info("Info message");
    int r = weft_sleep(10 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    log_info("Done");
    return 0;
}

static int log_while_working(void)
{
    struct weft_group writer, workers;

    weft_group_init(&writer);
    int r = weft_group_spawn(&writer, "logger", logger, NULL);
    weft_group_init(&workers);
    if (r == 0)
        r = weft_group_spawn(&workers, "operation", operation, NULL);
    int worked = weft_group_join(&workers);
    weft_channel_close(lines);
    int written = weft_group_join(&writer);
    return r < 0 ? r : worked < 0 ? worked : written;
}

static int run(void *unused)
{
    (void)unused;
    int r = weft_channel_new(sizeof(struct line), 256, &lines);
    if (r < 0)
        return r;
    r = log_while_working();
    weft_channel_free(lines);
    if (atomic_load(&lost))
        fprintf(stderr, "%u lines were lost\n", atomic_load(&lost));
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
