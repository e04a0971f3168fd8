/* SPDX-License-Identifier: MIT */
/* A parent that gives work to its children over one queue and takes their answers from another. */
#include <stdio.h>
#include <weft/weft.h>

enum { CHILDREN = 3, NUMBERS = 9 };

struct family {
    struct weft_queue *work;    /* of int */
    struct weft_queue *answers; /* of int */
};

/* A child ends when the work queue has been shut down and is empty (-EPIPE). */
static int child(void *arg)
{
    struct family *family = arg;
    int number;

    while (weft_queue_get(family->work, &number, WEFT_NO_DEADLINE) == 0) {
        int square = number * number;
        int r = weft_queue_put(family->answers, &square, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    return 0;
}

static int hand_out(struct family *family)
{
    int r = 0;

    for (int number = 1; number <= NUMBERS && r == 0; number++)
        r = weft_queue_put(family->work, &number, WEFT_NO_DEADLINE);
    weft_queue_shutdown(family->work, false);
    return r;
}

static int collect(struct family *family)
{
    int sum = 0, square, r;

    for (int i = 0; i < NUMBERS; i++) {
        r = weft_queue_get(family->answers, &square, weft_deadline_after(5 * WEFT_SECOND));
        if (r < 0)
            return r;
        sum += square;
    }
    printf("%d children squared %d numbers, the sum is %d\n", CHILDREN, NUMBERS, sum);
    return 0;
}

static int be_a_parent(struct family *family)
{
    struct weft_group children;

    weft_group_init(&children);
    int r = 0;
    for (int i = 0; i < CHILDREN && r == 0; i++)
        r = weft_group_spawn(&children, "child", child, family);
    if (r == 0)
        r = hand_out(family);
    if (r == 0)
        r = collect(family);
    if (r < 0)
        weft_group_cancel(&children);
    int joined = weft_group_join(&children);
    return r < 0 ? r : joined;
}

static int run(void *unused)
{
    struct family family = {NULL, NULL};

    (void)unused;
    int r = weft_queue_new(sizeof(int), 4, WEFT_QUEUE_FIFO, &family.work);
    if (r == 0)
        r = weft_queue_new(sizeof(int), 4, WEFT_QUEUE_FIFO, &family.answers);
    if (r == 0)
        r = be_a_parent(&family);
    weft_queue_free(family.answers);
    weft_queue_free(family.work);
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
