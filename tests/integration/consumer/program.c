/* SPDX-License-Identifier: MIT */
/* Of libweft: fibers on two workers, a file, and a process that calls back into this program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

static WEFT_POOL_FUNCTION(reverse)
{
    const char *text = input;

    for (size_t i = 0; i < size; i++) {
        int err = weft_pool_write(output, text + size - 1 - i, 1);
        if (err < 0)
            return err;
    }
    return 0;
}

static int add(void *sum)
{
    int err = weft_sleep(WEFT_MILLISECOND);

    if (err == 0)
        __atomic_fetch_add((int *)sum, 1, __ATOMIC_RELAXED);
    return err;
}

static int add_in_fibers(int *sum)
{
    struct weft_group group;

    weft_group_init(&group);
    for (int i = 0; i < 100; i++) {
        int err = weft_group_spawn(&group, "adder", add, sum);
        if (err < 0)
            return err;
    }
    return weft_group_join(&group);
}

static int reverse_in_process(void)
{
    struct weft_pool *pool;
    struct weft_pool_reply reply;
    int err = weft_pool_new(NULL, &pool);

    if (err < 0)
        return err;
    err = weft_pool_call(pool, reverse, "tfew", 4, WEFT_NO_DEADLINE, &reply, NULL);
    if (err == 0) {
        printf("%.*s", (int)reply.size, (const char *)reply.data);
        free(reply.data);
    }
    weft_pool_free(pool);
    return err;
}

static int run(void *unused)
{
    int sum = 0, err = add_in_fibers(&sum);

    (void)unused;
    if (err == 0)
        err = reverse_in_process();
    printf(" %d\n", sum);
    return err;
}

int main(void)
{
    struct weft_options options;
    int err;

    weft_options_init(&options);
    options.workers = 2;
    err = weft_run(&options, run, NULL);
    if (err < 0)
        fprintf(stderr, "%s\n", strerror(-err));
    return err < 0;
}
