/* SPDX-License-Identifier: MIT */
/* One producer and three consumers on a bounded channel.  The consumers end when the producer has
 * closed it and it is empty. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <weft/weft.h>

enum { ITEMS = 1000, CONSUMERS = 3 };

static struct weft_channel *channel;
static atomic_long sum;

static int produce(void *unused)
{
    int r = 0;

    (void)unused;
    for (long item = 1; item <= ITEMS && r == 0; item++)
        r = weft_channel_send(channel, &item, WEFT_NO_DEADLINE);
    weft_channel_close(channel);
    return r;
}

static int consume(void *unused)
{
    long item;
    int r;

    (void)unused;
    while ((r = weft_channel_recv(channel, &item, WEFT_NO_DEADLINE)) == 0)
        atomic_fetch_add(&sum, item);
    return r == -EPIPE ? 0 : r;
}

static int run(void *unused)
{
    struct weft_group group;
    int r = weft_channel_new(sizeof(long), 16, &channel);

    (void)unused;
    if (r < 0)
        return r;
    weft_group_init(&group);
    for (int i = 0; i < CONSUMERS && r == 0; i++)
        r = weft_group_spawn(&group, "consumer", consume, NULL);
    if (r == 0)
        r = weft_group_spawn(&group, "producer", produce, NULL);
    if (r < 0)
        weft_group_cancel(&group);
    int joined = weft_group_join(&group);
    weft_channel_free(channel);
    if (joined == 0)
        printf("%d items, their sum is %ld\n", ITEMS, atomic_load(&sum));
    return r < 0 ? r : joined;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
