/* SPDX-License-Identifier: MIT */
/*
 * Native modules: shared objects whose functions weftd calls as jobs.
 *
 * A module exports one constant, `weft_module`, a table of handlers.  A handler is a function that
 * runs on a fiber: it may use everything under <weft/…>, reads top to bottom, and never blocks its
 * thread (weft_offload is for what must).
 *
 *     static int greet(struct weft_attempt *attempt)
 *     {
 *         weft_result_text(attempt, "hello", weft_arg_text(attempt, "who", "world"));
 *         return 0;
 *     }
 *
 *     static const struct weft_param greet_params[] = {{"who", WEFT_PARAM_TEXT}};
 *     static const struct weft_handler handlers[] = {
 *         {"greet", "say hello", greet_params, 1, greet},
 *     };
 *     WEFT_MODULE("greeter", "1.0", handlers);
 *
 * Results.  A handler that returns 0 or more has succeeded, and what it said by weft_result_…() is the
 * job's result; an object without members if it said nothing.  Any other return is a -errno, and
 * the attempt has failed; weft_attempt_fail() adds the words.  Failed attempts are tried again as the
 * job's `retries` say, but not after weft_attempt_refuse().
 *
 * Cancellation.  A cancel of the job, its timeout and a stop of weftd arrive by the scope that the
 * handler runs in: suspending calls return -ECANCELED or -ETIMEDOUT.  Undo what must not stay, and
 * return that error.  A long computation asks weft_check_cancel() now and then.
 *
 * Attempts.  A job may be run again after a crash or a failure, so a handler must be able to find
 * its own half-done work; weft_attempt_job() with weft_attempt_number() is unique to an attempt, and
 * attempts only count up.
 *
 * Threads.  weftd runs handlers on several threads at once, each call on a fiber that may go on on
 * another thread after any suspending call.  A struct weft_attempt belongs to its handler's fiber: of
 * the functions here one at a time may be called on it, by whatever fiber or thread.  Handlers that
 * share data of the module guard it themselves, with <weft/mutex.h>.
 *
 * Ownership.  What the functions here return is weftd's and good until the handler returns; what
 * they are given is copied.  Nothing of a call may be used once its handler has returned.
 *
 * Errors.  The weft_result_…() functions return 0 or -errno, which need not be looked at: a
 * call that could not say its result fails with that error, whatever its handler returns.
 *
 * Versions.  weftd loads modules of WEFT_MODULE_ABI as it knows it, and refuses others with a
 * sentence.  Within a version structs only grow at their ends: a module says how large it believes
 * them to be, weftd takes what it knows and sees zeroes in what an older module lacks, and the
 * functions keep their meaning.  A newer module that calls a function that an older weftd does not
 * have is refused when it is loaded, by the function's name.
 */
#ifndef WEFT_MODULE_H
#define WEFT_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_MODULE_ABI 1

/* One attempt of a job that calls a handler.  weftd's. */
struct weft_attempt;

/* ---- the table ------------------------------------------------------------------------------ */

/* What an argument may be in JSON. */
enum weft_param_type {
    WEFT_PARAM_TEXT = 1,    /* a string; min and max bound its bytes */
    WEFT_PARAM_PATH = 2,    /* a string that starts with "/": an absolute path */
    WEFT_PARAM_INTEGER = 3, /* min and max bound it */
    WEFT_PARAM_NUMBER = 4,  /* integer or real; min and max bound it */
    WEFT_PARAM_BOOLEAN = 5,
    WEFT_PARAM_DURATION = 6, /* seconds as a number, or "1.5s", "10m"; bounds in nanoseconds */
    WEFT_PARAM_SIZE = 7,     /* bytes as an integer, or "64K", "1M"; bounds in bytes */
    WEFT_PARAM_TEXTS = 8,    /* an object whose members are strings, as headers are */
    WEFT_PARAM_ANY = 9
};

/* An argument that a handler takes.  Arguments are checked when the job is submitted, and again
 * when it runs; a handler reads only what passed. */
struct weft_param {
    const char *name;
    uint32_t type; /* enum weft_param_type */
    bool required;
    int64_t min, max;           /* both 0: no bounds */
    const char *const *choices; /* the only texts there may be, NULL-terminated; NULL: any */
};

struct weft_handler {
    const char *name;    /* what a job's "call" names: letters, digits, '_', '-' and '.' */
    const char *summary; /* a line for people, "copy a file"; may be NULL */
    const struct weft_param *params; /* NULL: any object is accepted */
    size_t params_count;
    int (*run)(struct weft_attempt *attempt); /* see the top */
    /* What the table cannot say of arguments, which suit it; may be NULL.  Asked when the job is
     * submitted, where the module is trusted, and again before each run; on no attempt yet, so that
     * weft_arg_…() and weft_arg_refuse() are all there is to call.  It neither suspends nor looks at
     * what may change, as files do.  Returns 0, what weft_arg_refuse() returned, or -ENOMEM,
     * which is not the arguments' fault: the submit may be tried again, and so may the attempt. */
    int (*check)(struct weft_attempt *attempt);
};

/* All of it must stay as it is while the module is loaded. */
struct weft_module {
    uint32_t abi;          /* WEFT_MODULE_ABI */
    uint32_t param_size;   /* sizeof(struct weft_param) */
    uint32_t handler_size; /* sizeof(struct weft_handler) */
    const char *name;      /* as a handler's */
    const char *version;   /* the module's own; may be NULL */
    const struct weft_handler *handlers;
    size_t handlers_count;
};

/* The symbol that weftd looks for. */
extern const struct weft_module weft_module;

/* A struct weft_module from an array of handlers, and weft_module itself so. */
#define WEFT_MODULE_INIT(module_name, module_version, table)                                       \
    {                                                                                              \
        WEFT_MODULE_ABI, sizeof(struct weft_param), sizeof(struct weft_handler), module_name,      \
            module_version, table, sizeof(table) / sizeof((table)[0])                              \
    }
#define WEFT_MODULE(module_name, module_version, table)                                            \
    const struct weft_module weft_module = WEFT_MODULE_INIT(module_name, module_version, table)

/* ---- the job -------------------------------------------------------------------------------- */

/** The job's id, and the number of this attempt, 1 and up.  Never suspends. */
uint64_t weft_attempt_job(const struct weft_attempt *attempt);
uint32_t weft_attempt_number(const struct weft_attempt *attempt);

/**
 * Say how far the call is: shown while it runs, in job.get and to those who follow events, and kept
 * no longer.  fraction: from 0 to 1; negative where that is not known.  format: words for people, 200
 * bytes of them are shown; NULL: none.  Say it as often as you like: of what comes within half a
 * second the last is shown.  Never suspends.
 */
void weft_attempt_progress(struct weft_attempt *attempt, double fraction, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- arguments.  None of these suspends. ---------------------------------------------------- */

/** All arguments as the text of a JSON object, and its length (ret_size may be NULL).
 * Returns: NULL without memory; the call has failed then, whatever the handler returns. */
const char *weft_args_json(struct weft_attempt *attempt, size_t *ret_size);

/** Was this argument given? */
bool weft_arg_has(const struct weft_attempt *attempt, const char *name);

/** An argument's value; `fallback` where it was not given, or is of another type. */
const char *weft_arg_text(const struct weft_attempt *attempt, const char *name,
                          const char *fallback);
int64_t weft_arg_integer(const struct weft_attempt *attempt, const char *name, int64_t fallback);
double weft_arg_number(const struct weft_attempt *attempt, const char *name, double fallback);
bool weft_arg_boolean(const struct weft_attempt *attempt, const char *name, bool fallback);
uint64_t weft_arg_duration_ns(const struct weft_attempt *attempt, const char *name,
                              uint64_t fallback);
uint64_t weft_arg_bytes(const struct weft_attempt *attempt, const char *name, uint64_t fallback);

/** The index-th member of an argument of WEFT_PARAM_TEXTS, from 0.
 * Returns: false behind the last; nothing is set then. */
bool weft_arg_text_at(const struct weft_attempt *attempt, const char *name, size_t index,
                      const char **ret_key, const char **ret_value);

/**
 * Say what is wrong with an argument: weft_arg_refuse(attempt, "size", "must be even") becomes
 * parameter "size" must be even.  From a handler's check, at submit: the job is refused, with
 * args.size as the parameter at fault.  Before a run, and in it: as weft_attempt_refuse().
 * Returns: -EINVAL.
 */
int weft_arg_refuse(struct weft_attempt *attempt, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- results.  None of these suspends. ------------------------------------------------------ */

/**
 * Set a member of the result, which is an object then.
 * Errors: -ENOMEM, -EILSEQ the text is no UTF-8, -EDOM the number is none (NaN, infinity).
 */
int weft_result_text(struct weft_attempt *attempt, const char *name, const char *text);
int weft_result_integer(struct weft_attempt *attempt, const char *name, int64_t value);
int weft_result_number(struct weft_attempt *attempt, const char *name, double value);
int weft_result_boolean(struct weft_attempt *attempt, const char *name, bool value);

/** Set "data" to bytes and "encoding" to how they are written there: "utf-8" if they are text
 * without NUL bytes, else "base64".  Errors: -ENOMEM. */
int weft_result_data(struct weft_attempt *attempt, const void *data, size_t size);

/** The same under a name of yours, instead of "data". */
int weft_result_bytes(struct weft_attempt *attempt, const char *name, const void *data,
                      size_t size);

/** Append a text to the list that is the member `name`, which is made by the first; NULL: make it
 * only.  What is no UTF-8 in it is written as '?'.  Errors: -ENOMEM, -EINVAL the member is there
 * already and is no list. */
int weft_result_append(struct weft_attempt *attempt, const char *name, const char *text);

/** Set the member `key` of the object that is the member `name`, as weft_result_append(). */
int weft_result_text_in(struct weft_attempt *attempt, const char *name, const char *key,
                        const char *text);

/** The whole result as JSON text of any kind, instead of members.  Errors: -EINVAL it is no JSON,
 * or nested deeper than 32; -ENOMEM. */
int weft_result_json(struct weft_attempt *attempt, const char *json, size_t size);

/**
 * Say why the call fails.  The text of the errno is appended: weft_attempt_fail(attempt, -ENOENT, "open
 * %s", path) becomes "open /x: No such file or directory".  The last one said counts.
 * Returns: err, so that `return weft_attempt_fail(…)` does it.
 */
int weft_attempt_fail(struct weft_attempt *attempt, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The same for what another attempt cannot mend: the job's retries are not used. */
int weft_attempt_refuse(struct weft_attempt *attempt, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
