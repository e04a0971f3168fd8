/* SPDX-License-Identifier: MIT */
/* verb_queue: queues: listing, pausing, setting, purging.  The first word says which; each action is
 * a row of a table. */
#include "client/job_text.h"
#include "client/table.h"
#include "client/text.h"
#include "client/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct option_spec queue_options[] = {
    {"all", 'a', NULL, "pause, drain, resume: every queue"},
    {"freeze", 0, NULL, "pause: programs that run stand still too, until resume"},
    {"concurrency", 'c', "COUNT", "set: most jobs that run at once"},
    {"concurrency-user", 0, "COUNT", "set: of these, most of one user; 0: no limit"},
    {"rate", 'r', "RATE", "set: most starts: 10/s, 100/m, 5/h, none"},
    {"max-waiting", 0, "COUNT", "set: most jobs that wait; 0: no limit"},
    {"reset", 0, NULL, "set: what was set is the configuration's again"},
    {"state", 's', "STATE,...", "purge: only these: queued, delayed, waiting"},
    {0},
};

struct action {
    const char *name;
    const char *method;
    size_t names_min, names_max; /* queues */
    const char *options;         /* of queue_options, those that go with it: " all freeze " */
    int (*run)(struct command *command, const struct action *action);
};

/* ---- printing -------------------------------------------------------------------------------- */

static long long number(const json_t *queue, const char *member)
{
    return json_integer_value(json_object_get(queue, member));
}

/* Marked if an admin has set it. */
static const char *mark(const json_t *queue, const char *member)
{
    return json_object_get(json_object_get(queue, "set"), member) ? "*" : "";
}

static void add_limit(struct table *table, const json_t *queue)
{
    long long most = number(queue, "max_waiting");
    if (most > 0)
        table_add(table, "%lld%s", most, mark(queue, "max_waiting"));
    else
        table_add(table, "-%s", mark(queue, "max_waiting"));
}

static void add_slots(struct table *table, const json_t *queue)
{
    long long each = number(queue, "concurrency_user");
    char text[32] = "";
    if (each > 0)
        snprintf(text, sizeof text, " (%lld%s each)", each, mark(queue, "concurrency_user"));
    table_add(table, "%lld%s%s", number(queue, "concurrency"), mark(queue, "concurrency"), text);
}

static void add_queue(struct table *table, const json_t *queue)
{
    char text[128];
    const char *name = job_string(queue, "name"), *rate = job_string(queue, "rate");
    bool paused = json_is_true(json_object_get(queue, "paused"));
    bool frozen = json_is_true(json_object_get(queue, "frozen"));
    bool drained = json_is_true(json_object_get(queue, "drained"));
    bool gone = json_is_false(json_object_get(queue, "configured"));
    table_add(table, "%s", text_safe(name, strlen(name), text, 64));
    table_add(table, "%lld", number(queue, "running"));
    add_slots(table, queue);
    table_add(table, "%lld", number(queue, "queued"));
    table_add(table, "%lld", number(queue, "delayed"));
    table_add(table, "%lld", number(queue, "waiting"));
    add_limit(table, queue);
    table_add(table, "%s%s", text_safe(rate, strlen(rate), text, 32), mark(queue, "rate"));
    table_add(table, "%s%s%s%s",
              frozen    ? "frozen"
              : paused  ? "paused"
              : drained ? "drained"
                        : "open",
              paused || !drained ? mark(queue, "paused") : mark(queue, "drained"),
              paused && drained ? ", drained*" : "", gone ? ", not in the configuration" : "");
}

static int print_table(struct command *command, const json_t *queues)
{
    static const char *const names[] = {"QUEUE",   "RUNNING", "OF",   "QUEUED", "DELAYED",
                                        "WAITING", "MOST",    "RATE", "STATE"};
    struct table table;
    size_t i;
    json_t *queue;
    table_init(&table, "lrrrrrrrl");
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        table_add(&table, "%s", names[i]);
    json_array_foreach(queues, i, queue) add_queue(&table, queue);
    int err = table_print(&table, command->out, command_width(command));
    table_destroy(&table);
    return err ? command_explain(command, err, NULL) : COMMAND_OK;
}

static int print_queues(struct command *command, const json_t *queues)
{
    size_t i;
    json_t *queue;
    if (!command->json)
        return print_table(command, queues);
    json_array_foreach(queues, i, queue) command_print_json(command, queue);
    return COMMAND_OK;
}

/* ---- actions --------------------------------------------------------------------------------- */

/* What was asked for and is not so. */
static void print_unfrozen(struct command *command, const json_t *queues)
{
    size_t i;
    json_t *queue;
    json_array_foreach(queues, i, queue)
    {
        char text[128];
        const char *name = job_string(queue, "name");
        long long left = number(queue, "not_frozen_jobs");
        if (left > 0)
            fprintf(command->err, "weft: of %lld jobs that run in %s, %lld could not be frozen\n",
                    left + number(queue, "frozen_jobs"), text_safe(name, strlen(name), text, 64),
                    left);
    }
}

/* Takes over result. */
static int print_answer(struct command *command, json_t *result)
{
    const json_t *queues = json_object_get(result, "queues");
    int status = print_queues(command, queues);
    if (arguments_has(&command->arguments, "freeze"))
        print_unfrozen(command, queues);
    json_decref(result);
    return status;
}

static int list(struct command *command, const struct action *action)
{
    json_t *result;
    int status = command_ask(command, action->method, &result);
    return status ? status : print_answer(command, result);
}

/* Takes over params. */
static int ask(struct command *command, const char *method, json_t *params)
{
    json_t *result;
    int status = command_call(command, method, params, &result);
    return status ? status : print_answer(command, result);
}

/* Params that name a queue: never none, which would mean the default one. */
static int name_queue(struct command *command, const char *name, json_t **ret_params)
{
    json_t *params = json_object();
    int status = command_put_text(command, params, "queue", name);
    if (status)
        json_decref(params);
    else
        *ret_params = params;
    return status;
}

/* Takes over params. */
static int ask_frozen(struct command *command, const struct action *action, json_t *params)
{
    int status = COMMAND_OK;
    if (arguments_has(&command->arguments, "freeze"))
        status = command_put(command, params, "freeze", json_true());
    if (!status)
        return ask(command, action->method, params);
    json_decref(params);
    return status;
}

static int ask_of(struct command *command, const struct action *action, const char *name)
{
    json_t *params;
    int status = name_queue(command, name, &params);
    return status ? status : ask_frozen(command, action, params);
}

static int pause_or_resume(struct command *command, const struct action *action)
{
    const struct arguments *arguments = &command->arguments;
    bool all = arguments_has(arguments, "all");
    if (all && arguments->words_count > 1)
        return command_misuse(command, "either --all or names of queues");
    if (all)
        return ask_frozen(command, action, json_pack("{s:b}", "all", 1));
    if (arguments->words_count < 2)
        return ask_frozen(command, action, json_object()); /* "default", as a job that names none */
    int status = COMMAND_OK;
    for (size_t i = 1; !status && i < arguments->words_count; i++)
        status = ask_of(command, action, arguments->words[i]);
    return status;
}

static int add_count(struct command *command, json_t *params, const char *option,
                     const char *member)
{
    int64_t count = -1;
    int status = command_number(command, option, 0, INT64_C(1) << 32, &count);
    if (!status && count >= 0)
        status = command_put(command, params, member, json_integer(count));
    return status;
}

static int add_settings(struct command *command, json_t *params)
{
    static const char *const members[] = {"concurrency", "concurrency_user", "rate",
                                          "max_waiting", "paused",           "drained"};
    const char *rate = arguments_value(&command->arguments, "rate");
    bool reset = arguments_has(&command->arguments, "reset");
    int status = COMMAND_OK;
    for (size_t i = 0; reset && !status && i < sizeof members / sizeof members[0]; i++)
        status = command_put(command, params, members[i], json_null());
    if (!status && rate)
        status = command_put_text(command, params, "rate", rate);
    if (!status)
        status = add_count(command, params, "concurrency", "concurrency");
    if (!status)
        status = add_count(command, params, "concurrency-user", "concurrency_user");
    if (!status)
        status = add_count(command, params, "max-waiting", "max_waiting");
    return status;
}

static int set(struct command *command, const struct action *action)
{
    json_t *params;
    int status = name_queue(command, command->arguments.words[1], &params);
    if (status)
        return status;
    status = add_settings(command, params);
    if (!status && json_object_size(params) == 1)
        status = command_misuse(command, "set what?");
    if (!status)
        return ask(command, action->method, params);
    json_decref(params);
    return status;
}

static void print_purged(FILE *to, long long count)
{
    fprintf(to, "%lld job%s cancelled\n", count, count == 1 ? "" : "s");
}

static int purge(struct command *command, const struct action *action)
{
    json_t *result, *params;
    const char *states = arguments_value(&command->arguments, "state");
    int status = name_queue(command, command->arguments.words[1], &params);
    if (status)
        return status;
    if (states)
        status = command_put_made(command, params, "state", states, command_split(states));
    if (!status)
        status = command_call(command, action->method, json_incref(params), &result);
    json_decref(params);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, result);
    else
        print_purged(command->out, number(result, "cancelled"));
    json_decref(result);
    return COMMAND_OK;
}

static const struct action actions[] = {
    {"list", "queue.list", 0, 0, "", list},
    {"pause", "queue.pause", 0, SIZE_MAX, " all freeze ", pause_or_resume},
    {"drain", "queue.drain", 0, SIZE_MAX, " all ", pause_or_resume},
    {"resume", "queue.resume", 0, SIZE_MAX, " all ", pause_or_resume},
    {"set", "queue.set", 1, 1, " concurrency concurrency-user rate max-waiting reset ", set},
    {"purge", "queue.purge", 1, 1, " state ", purge},
};

static bool is_of_queues(const struct option_spec *option)
{
    const struct option_spec *at = queue_options;
    while (at->name && at != option)
        at++;
    return at->name;
}

static int check_options(struct command *command, const struct action *action)
{
    const struct arguments *arguments = &command->arguments;
    for (size_t i = 0; i < arguments->given_count; i++) {
        const struct option_spec *option = arguments->given[i].option;
        char word[64];
        snprintf(word, sizeof word, " %s ", option->name);
        if (is_of_queues(option) && !strstr(action->options, word))
            return command_misuse(command, "--%s does not go with %s", option->name, action->name);
    }
    return COMMAND_OK;
}

static int run(struct command *command, const struct action *action, size_t names)
{
    int status = check_options(command, action);
    if (status)
        return status;
    if (names < action->names_min)
        return command_misuse(command, "%s which queue?", action->name);
    if (names > action->names_max)
        return command_misuse(command, "%s takes %s", action->name,
                              action->names_max ? "one queue" : "no queue");
    return action->run(command, action);
}

int verb_queue(struct command *command)
{
    const struct arguments *arguments = &command->arguments;
    const char *name = arguments->words_count > 0 ? arguments->words[0] : "list";
    size_t names = arguments->words_count > 0 ? arguments->words_count - 1 : 0;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, name) == 0)
            return run(command, &actions[i], names);
    }
    return command_misuse(command, "'%s' is none of list, pause, drain, resume, set and purge",
                          name);
}
