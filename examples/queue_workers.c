/* SPDX-License-Identifier: MIT */
/* A producer and five workers on a queue: when all that was put is done, the workers, which would
 * wait for ever, are cancelled. */
#include <stdio.h>
#include <weft/weft.h>

enum { WORKERS = 5 };

static struct weft_queue *queue;

static int download(const char *url)
{
    printf("Downloading file: %s\n", url);
    int r = weft_sleep(30 * WEFT_MILLISECOND);
    if (r == 0)
        r = weft_queue_put(queue, &url, WEFT_NO_DEADLINE);
    if (r == 0)
        printf("Download complete: %s\n", url);
    return r;
}

static int process(void *unused)
{
    const char *url;
    int r;

    (void)unused;
    while ((r = weft_queue_get(queue, &url, WEFT_NO_DEADLINE)) == 0) {
        printf("Processing file: %s\n", url);
        r = weft_sleep(50 * WEFT_MILLISECOND);
        if (r < 0)
            break;
        printf("Processing complete: %s\n", url);
        weft_queue_task_done(queue);
    }
    return r;
}

static int download_and_process(struct weft_task **workers)
{
    static const char *const urls[] = {"a.example/1", "b.example/2", "c.example/3"};
    int r = 0;

    for (int i = 0; i < 3 && r == 0; i++)
        r = download(urls[i]);
    for (int i = 0; i < WORKERS && r == 0; i++)
        r = weft_task_new("worker", process, NULL, &workers[i]);
    return r < 0 ? r : weft_queue_join(queue, WEFT_NO_DEADLINE);
}

static int run(void *unused)
{
    struct weft_task *workers[WORKERS] = {NULL};

    (void)unused;
    int r = weft_queue_new(sizeof(const char *), 0, WEFT_QUEUE_FIFO, &queue);
    if (r < 0)
        return r;
    r = download_and_process(workers);
    for (int i = 0; i < WORKERS; i++)
        weft_task_free(workers[i]); /* cancels it, and waits until it has ended */
    weft_queue_free(queue);
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
