/* SPDX-License-Identifier: MIT */
/* A module with everything that can go wrong in one, for modules_load_test.py. */
#include <weft/module.h>
#include <weft/weft.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kinds[] = {"segfault", "abort", "exit", "loop", "leak",
                                    "deep",     "fail",  "left", "nan",  NULL};

static const struct weft_param trouble_params[] = {
    {"kind", WEFT_PARAM_TEXT, .required = true, .choices = kinds},
    {"until", WEFT_PARAM_INTEGER}, /* no trouble from this attempt on */
};

/* Memory that is used, until there is none; then what a program without a check does. */
static void leak(void)
{
    for (;;) {
        char *piece = malloc(1 << 20);
        memset(piece, 1, 1 << 20);
        __asm__ volatile("" ::"r"(piece) : "memory"); /* or the compiler may leave it all out */
    }
}

/* A reply past the interface, that nobody's stack would be enough for. */
static void reply_deep(void)
{
    enum { DEPTH = 200000, REPLY_FD = 3 };
    char *text = malloc(DEPTH + 1);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    dprintf(REPLY_FD, "{\"rc\":0,\"result\":%s", text);
    memset(text, ']', DEPTH);
    dprintf(REPLY_FD, "%s}", text);
    _exit(0);
}

static int loop(void *arg)
{
    (void)arg;
    for (volatile int forever = 1; forever;)
        ;
    return 0;
}

static void make_trouble(const char *kind)
{
    if (strcmp(kind, "segfault") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    } else if (strcmp(kind, "abort") == 0) {
        signal(SIGABRT, SIG_DFL);
        abort();
    } else if (strcmp(kind, "exit") == 0) {
        _exit(0);
    } else if (strcmp(kind, "leak") == 0) {
        leak();
    } else if (strcmp(kind, "deep") == 0) {
        reply_deep();
    }
    loop(NULL);
}

static int trouble(struct weft_attempt *attempt)
{
    const char *kind = weft_arg_text(attempt, "kind", "");
    int64_t until = weft_arg_integer(attempt, "until", INT64_MAX);
    if (weft_attempt_number(attempt) >= until)
        return weft_result_integer(attempt, "attempt", weft_attempt_number(attempt));
    if (strcmp(kind, "fail") == 0)
        return weft_attempt_fail(attempt, -EIO, "no luck");
    if (strcmp(kind, "left") == 0) /* the call ends, and what it started does not */
        return weft_runtime_spawn(weft_runtime_self(), "left", loop, NULL);
    if (strcmp(kind, "nan") == 0)
        return weft_result_number(attempt, "n", 0.0 / 0.0) ? 0 : -EPROTO;
    make_trouble(kind);
    return 0;
}

static const struct weft_param patient_params[] = {{"note", WEFT_PARAM_PATH, .required = true}};

static int note(struct weft_attempt *attempt, const char *text)
{
    FILE *file = fopen(weft_arg_text(attempt, "note", ""), "ae");
    if (!file)
        return -EIO;
    fputs(text, file);
    return fclose(file) ? -EIO : 0;
}

/* Sleeps until it is cancelled, and tidies up. */
static int patient(struct weft_attempt *attempt)
{
    int rc = note(attempt, "began\n");
    if (rc == 0)
        rc = weft_sleep(WEFT_NO_DEADLINE / 4);
    note(attempt, "ended\n");
    return rc;
}

/* Says much, the last of it after a note that it will, and is quiet until it is cancelled, or
 * crashes. */
static int talkative(struct weft_attempt *attempt)
{
    for (int i = 0; i < 100000; i++)
        weft_attempt_progress(attempt, i / 100000.0, "word %d", i);
    weft_attempt_progress(attempt, 1, "the last word");
    int rc = note(attempt, "said\n");
    if (rc == 0 && weft_arg_boolean(attempt, "crash", false))
        make_trouble("abort");
    return rc < 0 ? rc : weft_sleep(WEFT_NO_DEADLINE / 4);
}

static const struct weft_param talkative_params[] = {
    {"note", WEFT_PARAM_PATH, .required = true},
    {"crash", WEFT_PARAM_BOOLEAN},
};

static int whoami(struct weft_attempt *attempt)
{
    weft_result_integer(attempt, "pid", getpid());
    return weft_result_integer(attempt, "job", (int64_t)weft_attempt_job(attempt));
}

static const struct weft_handler handlers[] = {
    {"trouble", "make trouble", trouble_params, 2, trouble},
    {"patient", NULL, patient_params, 1, patient},
    {"whoami", .run = whoami},
    {"talkative", NULL, talkative_params, 2, talkative},
};

WEFT_MODULE("trouble", NULL, handlers);
