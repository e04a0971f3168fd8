/* SPDX-License-Identifier: MIT */
/*
 * The arguments of the handlers that come with weftd: what is accepted, and what then happens.
 *
 * Input: lines, each a call: the handler's name, a space, the JSON of its arguments.  A path that
 * begins with "/d/" stands for one in a folder of the target's own, where "sub" is a folder; nothing
 * else is ever written or read, and http.fetch is checked only.
 *
 *   A1  What a handler's table says holds: looked at in another way it gives the same verdict, with
 *       what the handlers' own checks add; for http.fetch, whose URLs libcurl judges, what is accepted
 *       can be no other header, line or scheme than it seems.
 *   A2  Asking changes nothing and gives the same answer again; a refusal names the handler and the
 *       argument, and can be said.
 *   A3  A submit gives the same verdict, and so does what the store keeps of it (a restart).
 *   A4  A call of accepted arguments ends with a result that is JSON, or an error in words.
 *   A5  echo gives back what it was given; the files are what a model says that they are, after each
 *       call, whether it succeeded or not, and no other file is left in the folder.
 */
#include "modules_model.h"
#include "on_fiber.h"
#include "protocol/jsonrpc.h"

#include "daemon/job.h"
#include "daemon/native.h"
#include "daemon/run.h"

#include <errno.h>

enum { CALLS_MAX = 12, TEXT_MAX = 8192 };

/* ---- A2, A3: checking ------------------------------------------------------------------------------ */

static void check_refusal(const char *name, const struct rpc_error *error)
{
    struct jsonrpc_text text = {0};
    struct jsonrpc_reply reply;
    HOLDS(error->code == RPC_INVALID_PARAMS);
    HOLDS(strncmp(error->message, name, strlen(name)) == 0);
    HOLDS(strncmp(error->param, "args", 4) == 0);
    HOLDS(jsonrpc_append_error(&text, NULL, error) == 0);
    HOLDS(jsonrpc_parse_reply(text.data, text.size, &reply) == 0);
    jsonrpc_reply_destroy(&reply);
    jsonrpc_text_destroy(&text);
}

/* Returns whether the job was accepted, and then what the store would give back. */
static bool submit(const char *name, json_t *args, struct job_spec **ret_spec)
{
    struct rpc_error error;
    struct job_spec *spec;
    char *text;
    json_t *params = json_pack("{s:s, s:O}", "call", name, "args", args);
    int rc = job_spec_from_json(params, &spec, &error);
    json_decref(params);
    if (rc)
        return false;
    HOLDS(job_spec_to_text(spec, &text) == 0);
    HOLDS(job_spec_from_text(text, ret_spec, &error) == 0);
    HOLDS(json_equal((*ret_spec)->args, args));
    job_spec_free(spec);
    free(text);
    return true;
}

static bool ask(const char *name, const json_t *args)
{
    struct rpc_error error = {0}, again = {0};
    json_t *before = json_deep_copy(args);
    int rc = native_check(name, args, &error);
    HOLDS(rc == 0 || rc == -EINVAL);
    HOLDS(native_check(name, args, &again) == rc && memcmp(&error, &again, sizeof error) == 0);
    HOLDS(json_equal(args, before));
    if (rc)
        check_refusal(name, &error);
    json_decref(before);
    return rc == 0;
}

/* ---- A4, A5: calling --------------------------------------------------------------------------------- */

/* One that would do nothing outside of our folder, and soon. */
static bool may_run(const char *name, const json_t *args)
{
    if (strcmp(name, "echo") == 0)
        return true;
    if (strncmp(name, "file.", 5) != 0)
        return false;
    const char *names[] = {"path", "from", "to"};
    for (size_t i = 0; i < 3; i++) {
        const char *path = params_string(args, names[i], "/d/a");
        if (strncmp(path, "/d/", 3) != 0 || strlen(path) > 40 ||
            path[strspn(path, "abcdefghijklmnopqrstuvwxyz/")])
            return false;
    }
    return true;
}

/* The same with the paths where they really are. */
static json_t *placed(const json_t *args)
{
    json_t *copy = json_deep_copy(args);
    const char *names[] = {"path", "from", "to"};
    for (size_t i = 0; i < 3; i++) {
        const char *path = params_string(args, names[i], NULL);
        if (path)
            json_object_set_new(copy, names[i], json_string(files_place(path)));
    }
    return copy;
}

static void call(const char *name, struct job_spec *spec)
{
    struct run_outcome outcome;
    json_t *args = json_incref(spec->args), *result = NULL;
    if (strcmp(name, "echo") != 0) {
        json_decref(spec->args);
        spec->args = placed(args);
    }
    struct run_request request = {.spec = spec, .id = 7, .attempt = 1};
    run_outcome_init(&outcome);
    int rc = native_run(&request, &outcome);
    HOLDS((rc == 0) == (outcome.result != NULL) && (rc != 0) == (outcome.error != NULL));
    if (rc == 0)
        HOLDS((result = json_loads(outcome.result, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)));
    if (strcmp(name, "echo") == 0)
        HOLDS(rc == 0 && json_equal(result, args));
    else
        files_expect(name + strlen("file."), args, rc, result);
    HOLDS(rc == 0 || outcome.error[0]);
    run_outcome_destroy(&outcome);
    json_decref(result);
    json_decref(args);
}

/* ---- the input ---------------------------------------------------------------------------------------- */

static void try(const char *name, json_t *args)
{
    struct rpc_error error;
    struct job_spec *spec;
    const struct weft_handler *handler = model_handler(name);
    if (!handler) {
        HOLDS(native_check(name, args, &error) == -EINVAL && error.code == RPC_NO_SUCH_HANDLER);
        return;
    }
    bool good = ask(name, args);
    if (strcmp(name, "http.fetch") != 0)
        HOLDS(good == model_accepts(handler, args));
    else if (good)
        HOLDS(model_accepts(handler, args) && model_is_fetchable(args));
    if (!json_is_object(args))
        return; /* a submit says so in its own words */
    HOLDS(submit(name, args, &spec) == good);
    if (!good)
        return;
    HOLDS(ask(name, spec->args));
    if (may_run(name, args))
        call(name, spec);
    job_spec_free(spec);
}

static void try_line(const char *line, size_t size)
{
    char name[32];
    struct rpc_error error;
    json_t *args;
    const char *space = memchr(line, ' ', size);
    size_t length = space ? (size_t)(space - line) : 0;
    if (length == 0 || length >= sizeof name || memchr(line, '\0', length))
        return;
    memcpy(name, line, length);
    name[length] = '\0';
    if (jsonrpc_parse_value(space + 1, size - length - 1, &args, &error))
        return;
    try(name, args);
    json_decref(args);
}

struct input {
    const char *text;
    size_t size;
};

static int run(void *arg)
{
    const struct input *input = arg;
    const char *line = input->text, *end = line + input->size;
    files_begin();
    for (int calls = 0; line < end && calls < CALLS_MAX; calls++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        try_line(line, (size_t)((newline ? newline : end) - line));
        line = newline ? newline + 1 : end;
    }
    files_end();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    /* Here, and before the runtime: what goes at exit goes in reverse, and the thread that has read
     * OpenSSL's configuration loses a block by it. */
    HOLDS(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL));
    if (size <= TEXT_MAX)
        on_fiber(run, &input);
    return 0;
}
