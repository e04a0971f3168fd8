/* SPDX-License-Identifier: MIT */
/* job_text: see job_text.h. */
#include "client/job_text.h"

#include "client/command.h"
#include "client/text.h"
#include "protocol/json_memory.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t job_id(const json_t *job)
{
    return json_integer_value(json_object_get(job, "id"));
}

const char *job_string(const json_t *job, const char *member)
{
    const char *text = json_string_value(json_object_get(job, member));
    return text ? text : "";
}

bool job_has_succeeded(const json_t *job)
{
    return strcmp(job_string(job, "state"), "succeeded") == 0;
}

bool job_has_ended(const json_t *job)
{
    static const char *const live[] = {"waiting", "delayed", "queued", "running"};
    const char *state = job_string(job, "state");
    for (size_t i = 0; i < sizeof live / sizeof live[0]; i++) {
        if (strcmp(state, live[i]) == 0)
            return false;
    }
    return *state != '\0';
}

/* ---- what it runs ---- */

/* Words that a shell leaves as they are need no quotes. */
static bool is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%_+=:,./-";
    return *word && word[strspn(word, plain)] == '\0';
}

static void print_word(FILE *to, const char *word)
{
    if (is_plain(word)) {
        fputs(word, to);
        return;
    }
    fputc('\'', to);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", to);
        else
            fputc(*word, to);
    }
    fputc('\'', to);
}

static void print_command(FILE *to, const json_t *job)
{
    size_t i;
    json_t *word;
    const json_t *args = json_object_get(job, "args");
    json_array_foreach(json_object_get(job, "argv"), i, word)
    {
        if (i > 0)
            fputc(' ', to);
        print_word(to, json_is_string(word) ? json_string_value(word) : "?");
    }
    fputs(job_string(job, "call"), to);
    if (json_object_size(args) > 0) {
        fputc(' ', to);
        char *text = json_memory_dumps(args, JSON_COMPACT);
        fputs(text ? text : "(out of memory)", to);
        free(text);
    }
}

char *job_command(const json_t *job, char *buffer, size_t size)
{
    char *text = NULL;
    size_t text_size = 0;
    buffer[0] = '\0';
    FILE *to = open_memstream(&text, &text_size);
    if (!to)
        return buffer;
    print_command(to, job);
    if (fclose(to) == 0 && text) /* without memory for its last piece it is NULL */
        text_safe(text, text_size, buffer, size);
    free(text);
    return buffer;
}

/* ---- when ---- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double time_of(const json_t *job, const char *member, double fallback)
{
    const json_t *value = json_object_get(job, member);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

double job_age(const json_t *job)
{
    double at = time_of(job, "submitted_at", -1);
    double age = now() - at;
    return at < 0 ? -1 : age > 0 ? age : 0;
}

double job_run_time(const json_t *job)
{
    double started = time_of(job, "started_at", -1);
    double until = now();
    if (job_has_ended(job))
        until = time_of(job, "finished_at", started);
    else if (strcmp(job_string(job, "state"), "running") != 0)
        started = -1;
    return started < 0 || until < started ? -1 : until - started;
}

/* ---- how it ended ---- */

int job_exit_status(const json_t *job)
{
    const json_t *signal = json_object_get(job, "signal");
    const json_t *code = json_object_get(job, "exit_code");
    if (job_has_succeeded(job))
        return 0;
    if (strcmp(job_string(job, "state"), "timed_out") == 0)
        return 124; /* as timeout(1) */
    if (json_is_integer(signal))
        return COMMAND_SIGNAL + (int)json_integer_value(signal);
    if (json_integer_value(code) != 0)
        return (int)json_integer_value(code);
    return COMMAND_FAILED;
}

/* As a sentence has it. */
static const char *state_words(const char *state)
{
    if (strcmp(state, "timed_out") == 0)
        return "timed out";
    return strcmp(state, "dead") == 0 ? "is dead" : state;
}

void job_complain(struct command *command, const json_t *job)
{
    char reason[512];
    const char *error = job_string(job, "error");
    const char *state = state_words(job_string(job, "state"));
    bool has_reason = *error && strcmp(error, state) != 0;
    text_safe(error, strlen(error), reason, sizeof reason);
    command_fail(command, 0, "job %lld %s%s%s", (long long)job_id(job), state,
                 has_reason ? ": " : "", has_reason ? reason : "");
}

/* ---- how far it is ---- */

const char *job_progress(const json_t *job, char *text, size_t size)
{
    const json_t *progress = json_object_get(job, "progress");
    const json_t *fraction = json_object_get(progress, "fraction");
    const char *words = job_string(progress, "text");
    size_t used = 0;
    text[0] = '\0';
    if (fraction)
        used = (size_t)snprintf(text, size, "%.0f %%%s", 100 * json_number_value(fraction),
                                *words ? " " : "");
    if (*words && used < size)
        text_safe(words, strlen(words), text + used, size - used);
    return text;
}
