/* SPDX-License-Identifier: MIT */
/* A module that calls what this weftd does not have. */
#include <weft/module.h>

int weft_attempt_of_a_later_version(struct weft_attempt *attempt);

static const struct weft_handler handlers[] = {
    {"later", .run = weft_attempt_of_a_later_version},
};

WEFT_MODULE("unresolved", NULL, handlers);
