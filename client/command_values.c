/* SPDX-License-Identifier: MIT */
/* command_values: numbers, durations and ids on the command line (command.h).  What is wrong is
 * said with the word that was typed. */
#include "client/command.h"

#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"
#include "protocol/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Errors: -EINVAL not a whole number, -ERANGE. */
static int parse_number(const char *text, int64_t min, int64_t max, int64_t *ret_number)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || isspace((unsigned char)*text))
        return -EINVAL;
    if (errno || number < min || number > max)
        return -ERANGE;
    *ret_number = number;
    return 0;
}

int command_id(struct command *command, const char *word, int64_t *ret_id)
{
    if (parse_number(word, 1, JSONRPC_ID_LIMIT - 1, ret_id))
        return command_misuse(command, "'%s' is no job id", word);
    return COMMAND_OK;
}

int command_number(struct command *command, const char *option, int64_t min, int64_t max,
                   int64_t *ret_number)
{
    const char *text = arguments_value(&command->arguments, option);
    int err = text ? parse_number(text, min, max, ret_number) : 0;
    if (err == -EINVAL)
        return command_misuse(command, "--%s: '%s' is not a whole number", option, text);
    if (err)
        return command_misuse(command, "--%s: %s is not between %lld and %lld", option, text,
                              (long long)min, (long long)max);
    return COMMAND_OK;
}

int command_duration(struct command *command, const char *option, const char **ret_text)
{
    uint64_t ns;
    const char *text = arguments_value(&command->arguments, option);
    if (!text)
        return COMMAND_OK;
    if (units_parse_duration(text, &ns))
        return command_misuse(command, "--%s: '%s' is not a duration such as 90, 1.5s or 10m",
                              option, text);
    *ret_text = text;
    return COMMAND_OK;
}

json_t *command_split(const char *text)
{
    json_t *list = json_array();
    while (list && *text) {
        size_t size = strcspn(text, ",");
        if (json_array_append_new(list, json_stringn(text, size)) < 0) {
            json_decref(list);
            return NULL;
        }
        text += size + (text[size] == ',');
    }
    return list;
}

int command_put(struct command *command, json_t *object, const char *member, json_t *value)
{
    if (json_object_set_new(object, member, value) < 0)
        return command_explain(command, -ENOMEM, NULL);
    return COMMAND_OK;
}

int command_put_made(struct command *command, json_t *object, const char *member, const char *text,
                     json_t *value)
{
    if (!value && json_memory_refusal(text) == -EILSEQ)
        return command_misuse(command, "%s: not UTF-8 text", member);
    return command_put(command, object, member, value);
}

int command_put_text(struct command *command, json_t *object, const char *member, const char *text)
{
    return command_put_made(command, object, member, text, json_string(text));
}

struct ids {
    int64_t *list;
    size_t count, capacity;
};

static int add_id(struct command *command, struct ids *ids, const char *word)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity ? ids->capacity * 2 : 64;
        int64_t *list = realloc(ids->list, capacity * sizeof *list);
        if (!list)
            return command_explain(command, -ENOMEM, NULL);
        ids->list = list;
        ids->capacity = capacity;
    }
    int status = command_id(command, word, &ids->list[ids->count]);
    if (!status)
        ids->count++;
    return status;
}

static int read_ids(struct command *command, struct ids *ids)
{
    char word[32];
    int status = COMMAND_OK;
    while (!status && fscanf(command->in, "%31s", word) == 1)
        status = add_id(command, ids, word);
    return status;
}

static int collect_ids(struct command *command, struct ids *ids)
{
    const struct arguments *arguments = &command->arguments;
    if (arguments->words_count == 1 && strcmp(arguments->words[0], "-") == 0)
        return read_ids(command, ids);
    int status = COMMAND_OK;
    for (size_t i = 0; !status && i < arguments->words_count; i++)
        status = add_id(command, ids, arguments->words[i]);
    return status;
}

int command_ids(struct command *command, int64_t **ret_ids, size_t *ret_count)
{
    struct ids ids = {0};
    int status = collect_ids(command, &ids);
    if (status) {
        free(ids.list);
        return status;
    }
    *ret_ids = ids.list;
    *ret_count = ids.count;
    return COMMAND_OK;
}

json_t *command_id_list(const int64_t *ids, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if (json_array_append_new(list, json_integer(ids[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
