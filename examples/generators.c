/* SPDX-License-Identifier: MIT */
/* Generators: a producer that waits between its items, an endless one, one that passes another's
 * items on, and one that is closed early and cleans up. */
#include <stdio.h>
#include <weft/weft.h>

/* 0, 1, 2, with a pause after each. */
static int count_to_three(struct weft_generator *generator, void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        int r = weft_generator_yield(generator, &i);
        if (r == 0)
            r = weft_sleep(20 * WEFT_MILLISECOND);
        if (r < 0)
            return r;
    }
    return 0;
}

/* 0, 2, 4 and so on: it ends when nobody wants more. */
static int even_numbers(struct weft_generator *generator, void *unused)
{
    int r = 0;

    (void)unused;
    for (int i = 0; r == 0; i += 2)
        r = weft_generator_yield(generator, &i);
    return r;
}

/* As "yield from". */
static int pass_on(struct weft_generator *generator, void *unused)
{
    WEFT_CLEANUP(generator) struct weft_generator *inner = NULL;
    int item;

    (void)unused;
    int r = weft_generator_new("inner", count_to_three, NULL, sizeof(int), &inner);
    while (r >= 0 && (r = weft_generator_next(inner, &item, WEFT_NO_DEADLINE)) > 0)
        r = weft_generator_yield(generator, &item);
    return r;
}

static int count_and_clean_up(struct weft_generator *generator, void *unused)
{
    int r = 0;

    (void)unused;
    for (int i = 0; r == 0; i++) {
        r = weft_generator_yield(generator, &i);
        if (r < 0)
            printf("closed early after %d, and cleaned up\n", i);
    }
    return r;
}

typedef int producer(struct weft_generator *generator, void *arg);

/* At most `most` items with `separator` between, quietly where that is NULL. */
static int print_items(producer *fn, int most, const char *separator)
{
    WEFT_CLEANUP(generator) struct weft_generator *generator = NULL;
    int item, r = weft_generator_new("numbers", fn, NULL, sizeof(int), &generator);

    if (r < 0)
        return r;
    for (int i = 0; i < most; i++) {
        r = weft_generator_next(generator, &item, WEFT_NO_DEADLINE);
        if (r <= 0)
            return r;
        if (separator)
            printf("%d%s", item, i + 1 < most ? separator : "\n");
    }
    return 0;
}

static int run(void *unused)
{
    (void)unused;
    int r = print_items(count_to_three, 3, "\n");
    if (r == 0)
        r = print_items(even_numbers, 5, " ");
    if (r == 0)
        r = print_items(pass_on, 3, "\n");
    if (r == 0)
        r = print_items(count_and_clean_up, 2, NULL);
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
