/* SPDX-License-Identifier: MIT */
/* The configuration: any text is refused with a sentence, or gives a config that prints to a text
 * that parses to the same. */
#include "daemon/config.h"
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

static char *print(const struct config *config, size_t *ret_size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, ret_size);
    HOLDS(file != NULL);
    HOLDS(config_print(config, file) == 0);
    fclose(file);
    return text;
}

static void check_round_trip(const struct config *config)
{
    struct problem problem = {0};
    struct config *again;
    size_t size, size_again;
    char *text = print(config, &size);
    HOLDS(config_parse("printed", text, size, &problem, &again) == 0);
    char *text_again = print(again, &size_again);
    HOLDS(size == size_again && memcmp(text, text_again, size) == 0);
    size_t changed;
    struct config_pending pending;
    HOLDS(config_diff(config, again, &changed, &pending) == 0);
    HOLDS(changed == 0 && pending.count == 0);
    config_pending_destroy(&pending);
    free(text);
    free(text_again);
    config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problem problem = {0};
    struct config *config;
    int err = config_parse("fuzz", (const char *)data, size, &problem, &config);
    HOLDS((err != 0) == (problem.text[0] != '\0'));
    if (err)
        return 0;
    check_round_trip(config);
    config_free(config);
    return 0;
}
