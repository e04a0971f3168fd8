/* SPDX-License-Identifier: MIT */
/*
 * command: see command.h.
 *
 * I1  Usage is checked before weftd is looked for: a typing error needs no daemon to be found.
 * I2  Nothing is printed to out but what was asked for; every complaint goes to err.
 * I3  A reader of out that went away (`weft list | head`) is no error worth a message.
 */
#include "client/command.h"

#include "client/help.h"
#include "client/socket_path.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- failing ---- */

int command_fail(struct command *command, int status, const char *format, ...)
{
    va_list values;
    fflush(command->out); /* what was printed before comes before */
    fputs("weft: ", command->err);
    va_start(values, format);
    vfprintf(command->err, format, values);
    va_end(values);
    fputc('\n', command->err);
    return status;
}

int command_misuse(struct command *command, const char *format, ...)
{
    va_list values;
    fprintf(command->err, "weft %s: ", command->verb->name);
    va_start(values, format);
    vfprintf(command->err, format, values);
    va_end(values);
    fprintf(command->err, "\nusage: weft %s %s\nweft %s --help says more\n", command->verb->name,
            command->verb->usage, command->verb->name);
    return COMMAND_USAGE;
}

int command_explain(struct command *command, int err, const struct weft_client_error *error)
{
    if (err == -EREMOTEIO)
        return command_fail(command, COMMAND_FAILED, "%s", error->message);
    if (err == -ECONNRESET)
        return command_fail(command, COMMAND_UNREACHABLE,
                            "weftd closed the connection before it answered; whether it did what "
                            "was asked is not known (weft list shows)");
    if (err == -EBADMSG)
        return command_fail(command, COMMAND_UNREACHABLE,
                            "the other end of the socket does not speak weftd's protocol");
    if (err == -EINVAL)
        return command_fail(command, COMMAND_USAGE, "an argument is not UTF-8 text");
    return command_fail(command, COMMAND_FAILED, "%s",
                        err == -ENOMEM ? "out of memory" : strerrordesc_np(-err));
}

/* ---- talking to weftd ---- */

static int unreachable(struct command *command, const struct socket_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        command_fail(command, 0, "cannot reach weftd at %s: %s", paths->path[i],
                     strerrordesc_np(-paths->err[i]));
    /* A path that is there but closed says more than one that is not there. */
    size_t telling = paths->count - 1;
    for (size_t i = 0; i < paths->count; i++) {
        if (paths->err[i] != -ENOENT)
            telling = i;
    }
    return command_fail(command, COMMAND_UNREACHABLE, "%s",
                        socket_path_advice(paths->err[telling]));
}

int command_connect(struct command *command)
{
    struct socket_paths paths;
    if (command->client)
        return COMMAND_OK;
    socket_paths_find(arguments_value(&command->arguments, "socket"), &paths);
    return socket_paths_open(&paths, &command->client) ? unreachable(command, &paths) : COMMAND_OK;
}

int command_try(struct command *command, const char *method, json_t *params, json_t **ret_result,
                struct weft_client_error *error)
{
    if (!params)
        return -ENOMEM;
    int err = weft_client_call(command->client, method, params, ret_result, error);
    json_decref(params);
    return err;
}

int command_ask(struct command *command, const char *method, json_t **ret_result)
{
    struct weft_client_error error;
    int status = command_connect(command);
    if (status)
        return status;
    int err = weft_client_call(command->client, method, NULL, ret_result, &error);
    return err ? command_explain(command, err, &error) : COMMAND_OK;
}

int command_call(struct command *command, const char *method, json_t *params, json_t **ret_result)
{
    struct weft_client_error error;
    int status = command_connect(command);
    if (status) {
        json_decref(params);
        return status;
    }
    int err = command_try(command, method, params, ret_result, &error);
    return err ? command_explain(command, err, &error) : COMMAND_OK;
}

/* ---- printing ---- */

void command_print_json(struct command *command, const json_t *value)
{
    char *text = json_memory_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text) {
        fprintf(command->out, "%s\n", text);
    } else {
        command_explain(command, -ENOMEM, NULL);
        command->unprinted = true;
    }
    free(text);
}

size_t command_width(const struct command *command)
{
    struct winsize size;
    int fd = fileno(command->out);
    if (fd < 0 || !isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) < 0)
        return 0;
    return size.ws_col;
}

bool command_flush(struct command *command)
{
    return fflush(command->out) == 0 && !ferror(command->out);
}

static bool is_closed_pipe(FILE *file)
{
    struct pollfd pipe = {.fd = fileno(file), .events = POLLOUT};
    return pipe.fd >= 0 && poll(&pipe, 1, 0) == 1 && (pipe.revents & (POLLERR | POLLHUP));
}

static int finish_output(struct command *command, int status)
{
    if (command->unprinted && !status)
        status = COMMAND_FAILED;
    if (command_flush(command))
        return status;
    if (is_closed_pipe(command->out))
        return COMMAND_SIGNAL + SIGPIPE; /* I3 */
    return command_fail(command, status ? status : COMMAND_FAILED,
                        "the output could not be written");
}

/* ---- the whole ---- */

static int check_words(struct command *command)
{
    const struct verb *verb = command->verb;
    size_t count = command->arguments.words_count;
    if (count < verb->words_min)
        return command_misuse(command, "an argument is missing");
    if (count > verb->words_max)
        return command_misuse(command, "'%s' is one argument too many",
                              command->arguments.words[verb->words_max]);
    return COMMAND_OK;
}

static int run_verb(struct command *command)
{
    if (arguments_has(&command->arguments, "help")) {
        help_verb(command->out, command->verb);
        return COMMAND_OK;
    }
    int status = check_words(command);
    if (status)
        return status;
    command->json = arguments_has(&command->arguments, "json");
    status = command->verb->run(command);
    weft_client_close(command->client);
    return status;
}

static int parse_and_run(struct command *command, char **argv, size_t count)
{
    char error[ARGUMENTS_ERROR_MAX];
    int err = arguments_parse(&command->arguments, argv, count, command->verb->options,
                              command->verb->stops_at_word, error);
    if (err == -EINVAL)
        return command_misuse(command, "%s", error);
    if (err)
        return command_explain(command, err, NULL);
    int status = run_verb(command);
    arguments_destroy(&command->arguments);
    return status;
}

static int refuse_verb(struct command *command, const char *name)
{
    const char *nearest = verb_nearest(name);
    if (nearest)
        return command_fail(command, COMMAND_USAGE, "there is no verb '%s'; did you mean '%s'?",
                            name, nearest);
    return command_fail(command, COMMAND_USAGE,
                        "there is no verb '%s'; weft --help lists what there is", name);
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* `weft help [VERB]`, `weft --help`, `weft --version`: what needs no verb. */
static int run_plain(struct command *command, int argc, char **argv)
{
    if (argc < 2) {
        help_all(command->err);
        return COMMAND_USAGE;
    }
    bool is_help = is_one_of(argv[1], "--help", "-h") || strcmp(argv[1], "help") == 0;
    if (is_help && argc > 2) {
        command->verb = verb_find(argv[2]);
        if (!command->verb)
            return refuse_verb(command, argv[2]);
        help_verb(command->out, command->verb);
        return COMMAND_OK;
    }
    if (is_help)
        help_all(command->out);
    else if (is_one_of(argv[1], "--version", "version"))
        fprintf(command->out, "weft %s\n", WEFT_VERSION);
    else
        return refuse_verb(command, argv[1]);
    return COMMAND_OK;
}

/* `weft --json list` is `weft list --json`: the verb goes to the front. */
static void verb_to_front(int argc, char **argv)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-')
        at += strcmp(argv[at], "--socket") == 0 ? 2 : 1;
    if (at >= argc || !verb_find(argv[at]))
        return;
    char *verb = argv[at];
    memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof *argv);
    argv[1] = verb;
}

int command_main(int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
    struct command command = {.in = in, .out = out, .err = err};
    verb_to_front(argc, argv);
    command.verb = argc > 1 ? verb_find(argv[1]) : NULL;
    int status = command.verb ? parse_and_run(&command, argv + 2, (size_t)argc - 2)
                              : run_plain(&command, argc, argv);
    return finish_output(&command, status);
}
