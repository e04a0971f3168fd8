/* SPDX-License-Identifier: MIT */
/* verb_list: jobs, newest first, page by page.  A page is printed before the next is asked for, so
 * memory is bounded and `weft list --all | head` ends early.  It is one table all the same: one
 * heading, and columns as wide as the first page that has a job needs them. */
#include "client/job_text.h"
#include "client/table.h"
#include "client/text.h"
#include "client/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 50
#define PAGE_MAX      500
#define COMMAND_MAX   256

const struct option_spec list_options[] = {
    {"state", 's', "STATE,...", "only these: waiting delayed queued running failed ..."},
    {"queue", 'q', "NAME,...", "only these queues"},
    {"name", 'n', "NAME", "only of this name; with * at its end: of those that begin so"},
    {"tag", 't', "TAG", "only those that have it"},
    {"user", 'u', "USER", "only those of this user (for admins): a name or a number"},
    {"limit", 'l', "COUNT", "at most so many (default 50)"},
    {"before", 0, "ID", "only ids below this one"},
    {"all", 'a', NULL, "every job, however many"},
    {0},
};

struct listing {
    struct command *command;
    json_t *params; /* which jobs; and, of each page, from where on and how many */
    int64_t before; /* 0: from the newest */
    int64_t left;   /* jobs still wanted */
    struct table table;
};

/* ---- asking ---- */

/* A number is one, whatever users are called. */
static json_t *user_of(const char *text)
{
    char *end;
    long long uid = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' ? json_integer(uid) : json_string(text);
}

static int add_filters(struct listing *listing)
{
    static const struct {
        const char *option;
        json_t *(*value_of)(const char *text);
    } filters[] = {{"state", command_split},
                   {"queue", command_split},
                   {"name", json_string},
                   {"tag", json_string},
                   {"user", user_of}};
    int status = COMMAND_OK;
    for (size_t i = 0; !status && i < sizeof filters / sizeof filters[0]; i++) {
        const char *text = arguments_value(&listing->command->arguments, filters[i].option);
        if (text)
            status = command_put_made(listing->command, listing->params, filters[i].option, text,
                                      filters[i].value_of(text));
    }
    return status;
}

static int add_page(struct listing *listing)
{
    json_int_t limit = listing->left < PAGE_MAX ? listing->left : PAGE_MAX;
    int status = command_put(listing->command, listing->params, "limit", json_integer(limit));
    if (!status && listing->before > 0)
        status =
            command_put(listing->command, listing->params, "before", json_integer(listing->before));
    return status;
}

/* ---- printing ---- */

static void add_job(struct table *table, const json_t *job)
{
    char text[COMMAND_MAX], time[TEXT_SHORT_MAX];
    const char *name = job_string(job, "name"), *queue = job_string(job, "queue");
    table_add(table, "%lld", (long long)job_id(job));
    table_add(table, "%s", *name ? text_safe(name, strlen(name), text, 32) : "-");
    table_add(table, "%s", text_safe(queue, strlen(queue), text, 32));
    table_add(table, "%s", job_string(job, "state"));
    table_add(table, "%lld", json_integer_value(json_object_get(job, "attempt")));
    table_add(table, "%s", text_duration(job_age(job), time));
    table_add(table, "%s", text_duration(job_run_time(job), time));
    table_add(table, "%s", job_command(job, text, sizeof text));
}

static void add_heading(struct table *table)
{
    static const char *const names[] = {"ID",  "NAME", "QUEUE", "STATE",
                                        "TRY", "AGE",  "TIME",  "COMMAND"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        table_add(table, "%s", names[i]);
}

static int print_table(struct listing *listing)
{
    struct command *command = listing->command;
    int err = table_print(&listing->table, command->out, command_width(command));
    return err ? command_explain(command, err, NULL) : COMMAND_OK;
}

static int print_page(struct listing *listing, const json_t *jobs)
{
    size_t i;
    json_t *job;
    if (listing->command->json) {
        json_array_foreach(jobs, i, job) command_print_json(listing->command, job);
        return COMMAND_OK;
    }
    json_array_foreach(jobs, i, job) add_job(&listing->table, job);
    return json_array_size(jobs) > 0 ? print_table(listing) : COMMAND_OK;
}

/* ---- the whole ---- */

/* *ret_more: there is another page to ask for. */
static int list_page(struct listing *listing, bool *ret_more)
{
    json_t *result;
    int status = add_page(listing);
    if (!status)
        status = command_call(listing->command, "job.list", json_incref(listing->params), &result);
    if (status)
        return status;
    const json_t *jobs = json_object_get(result, "jobs");
    status = print_page(listing, jobs);
    listing->left -= (int64_t)json_array_size(jobs);
    listing->before = json_integer_value(json_object_get(result, "next"));
    *ret_more = listing->before > 0 && listing->left > 0;
    json_decref(result);
    return status;
}

static int read_options(struct listing *listing)
{
    struct command *command = listing->command;
    const char *before = arguments_value(&command->arguments, "before");
    int status = command_number(command, "limit", 1, INT64_MAX, &listing->left);
    if (!status && before)
        status = command_id(command, before, &listing->before);
    if (!status && arguments_has(&command->arguments, "all"))
        listing->left = INT64_MAX;
    return status;
}

static int list_pages(struct listing *listing)
{
    bool more = true;
    int status = COMMAND_OK;
    add_heading(&listing->table);
    while (!status && more && command_flush(listing->command))
        status = list_page(listing, &more);
    if (status || listing->command->json)
        return status;
    status = print_table(listing); /* the heading, if there was no job */
    if (!status && !more && listing->before > 0)
        fprintf(listing->command->err, "more: weft list --before %lld, or --all\n",
                (long long)listing->before);
    return status;
}

int verb_list(struct command *command)
{
    struct listing listing = {.command = command, .params = json_object(), .left = LIMIT_DEFAULT};
    table_init(&listing.table, "rlllrrrl");
    int status = read_options(&listing);
    if (!status)
        status = add_filters(&listing);
    if (!status)
        status = list_pages(&listing);
    table_destroy(&listing.table);
    json_decref(listing.params);
    return status;
}
