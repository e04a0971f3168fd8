/* SPDX-License-Identifier: MIT */
/*
 * greeter: a module for weftd; a template for yours.  docs/modules.md goes through it.
 *
 *     weft call greet '{"who": "you"}'
 *     weft call countdown '{"from": 3, "pause": "100ms"}'
 */
#include <weft/module.h>
#include <weft/weft.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- greet ----------------------------------------------------------------------------------- */

static const char *const languages[] = {"en", "de", NULL};

/* weftd checks arguments by this table: what greet() reads is there, and of its type. */
static const struct weft_param greet_params[] = {
    {"who", WEFT_PARAM_TEXT, .required = true, .min = 1, .max = 100},
    {"language", WEFT_PARAM_TEXT, .choices = languages},
};

static int greet(struct weft_attempt *attempt)
{
    char text[200];
    const char *who = weft_arg_text(attempt, "who", "");
    bool german = strcmp(weft_arg_text(attempt, "language", "en"), "de") == 0;
    if (strcmp(who, "nobody") == 0) /* no further attempt will find anybody */
        return weft_attempt_refuse(attempt, -ESRCH, "nobody is there");
    snprintf(text, sizeof(text), "%s, %s!", german ? "Guten Tag" : "Hello", who);
    return weft_result_text(attempt, "greeting", text);
}

/* ---- countdown ------------------------------------------------------------------------------- */

static const struct weft_param countdown_params[] = {
    {"from", WEFT_PARAM_INTEGER, .required = true, .min = 1, .max = 1000000},
    {"pause", WEFT_PARAM_DURATION},
};

/* A cancel, the job's timeout and a stop of weftd end the sleep with an error, which is all that a
 * handler has to care for. */
static int countdown(struct weft_attempt *attempt)
{
    int64_t from = weft_arg_integer(attempt, "from", 1);
    uint64_t pause_ns = weft_arg_duration_ns(attempt, "pause", WEFT_SECOND);
    for (int64_t left = from; left > 0; left--) {
        printf("%lld\n", (long long)left); /* into the job's output */
        weft_attempt_progress(attempt, 1 - (double)left / (double)from, "%lld left",
                              (long long)left);
        int rc = weft_sleep(pause_ns);
        if (rc < 0)
            return rc;
    }
    return weft_result_integer(attempt, "counted", from);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct weft_handler handlers[] = {
    {"greet", "greet somebody", greet_params, 2, greet},
    {"countdown", "count down to zero", countdown_params, 2, countdown},
};

WEFT_MODULE("greeter", "1.0", handlers);
