/* SPDX-License-Identifier: MIT */
/* native_call: one call of a handler, as native.c makes it.  What handlers do with it:
 * <weft/module.h>. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <weft/module.h>

struct run_request;

struct weft_attempt {
    const struct run_request *request; /* whom to tell how far it is; NULL: nobody */
    uint64_t id;
    uint32_t attempt;
    const json_t *args; /* an object that passed the handler's table; NULL: none were given */
    char *args_text;    /* the same as text, once asked for */
    json_t *result;     /* NULL: nothing was said yet */
    char *error;        /* what weft_attempt_fail() said */
    int err;            /* the first error of a function that says the result, or 0 */
    bool refused;       /* another attempt cannot mend it */
    const char *param;  /* the argument at fault, the handler's text; NULL: none was named */
};

void native_call_destroy(struct weft_attempt *call);
