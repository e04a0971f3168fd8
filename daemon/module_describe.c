/* SPDX-License-Identifier: MIT */
/*
 * module_describe: a module's table as JSON and back, for weftd to know a module that it does not
 * load.
 *
 * I1  What was made from a description is never freed, as the table of a loaded module is not; all
 *     its texts are the description's, which is kept for that.
 * I2  The description is checked as native_add() checks a table: here only its form is.
 *
 * module_from_description() is for the start alone: one thread.  No I/O.
 */
#include "daemon/module_host.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weft/module.h>

/* ---- to JSON --------------------------------------------------------------------------------- */

/* As native_table.c: a struct of the module's size as one of ours. */
static void take_struct(void *own, size_t own_size, const void *array, size_t size, size_t index)
{
    memset(own, 0, own_size);
    memcpy(own, (const char *)array + index * size, size < own_size ? size : own_size);
}

/* NULL stays away: whoever reads it says what is missing. */
static json_t *with_text(json_t *json, const char *name, const char *text)
{
    return text ? json_memory_set(json, name, json_string(text)) : json;
}

static json_t *describe_choices(const char *const *choices)
{
    json_t *list = json_array();
    for (size_t i = 0; list && choices[i]; i++)
        list = json_memory_append(list, json_string(choices[i]));
    return list;
}

static json_t *describe_param(const struct weft_param *param)
{
    json_t *json = json_pack("{s:i, s:b, s:I, s:I}", "type", (int)param->type, "required",
                             (int)param->required, "min", (json_int_t)param->min, "max",
                             (json_int_t)param->max);
    json = with_text(json, "name", param->name);
    if (param->choices)
        json = json_memory_set(json, "choices", describe_choices(param->choices));
    return json;
}

static json_t *describe_params(const struct weft_module *module, const struct weft_handler *handler)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < handler->params_count; i++) {
        struct weft_param param;
        take_struct(&param, sizeof(param), handler->params, module->param_size, i);
        list = json_memory_append(list, describe_param(&param));
    }
    return list;
}

static json_t *describe_handler(const struct weft_module *module, size_t index)
{
    struct weft_handler handler;
    take_struct(&handler, sizeof(handler), module->handlers, module->handler_size, index);
    json_t *json = with_text(json_object(), "name", handler.name);
    json = with_text(json, "summary", handler.summary);
    if (handler.params)
        json = json_memory_set(json, "params", describe_params(module, &handler));
    return json;
}

json_t *module_describe(const struct weft_module *module)
{
    json_t *handlers = json_array();
    for (size_t i = 0; handlers && i < module->handlers_count; i++)
        handlers = json_memory_append(handlers, describe_handler(module, i));
    json_t *json = json_pack("{s:s, s:o}", "name", module->name, "handlers", handlers);
    return with_text(json, "version", module->version);
}

/* I1.  Only at start, by one thread. */
struct described {
    struct weft_module module;
    json_t *description;
    struct described *next;
};

static struct described *all;

/* ---- and back -------------------------------------------------------------------------------- */

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static int choices_from(const json_t *list, const char *const **ret_choices)
{
    size_t count = json_array_size(list);
    const char **choices = calloc(count + 1, sizeof(*choices));
    if (!choices)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        choices[i] = json_string_value(json_array_get(list, i)) ?: "";
    *ret_choices = choices;
    return 0;
}

static int param_from(const json_t *json, struct weft_param *param)
{
    const json_t *choices = json_object_get(json, "choices");
    param->name = text_of(json, "name");
    param->type = (uint32_t)json_integer_value(json_object_get(json, "type"));
    param->required = json_is_true(json_object_get(json, "required"));
    param->min = json_integer_value(json_object_get(json, "min"));
    param->max = json_integer_value(json_object_get(json, "max"));
    return choices ? choices_from(choices, &param->choices) : 0;
}

static int params_from(const json_t *list, struct weft_handler *handler)
{
    size_t count = json_array_size(list);
    struct weft_param *params = calloc(count + 1, sizeof(*params));
    int rc = params ? 0 : -ENOMEM;
    handler->params = params;
    handler->params_count = count;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = param_from(json_array_get(list, i), &params[i]);
    return rc;
}

static int handlers_from(const json_t *list, struct weft_handler *handlers)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const json_t *json = json_array_get(list, i);
        const json_t *params = json_object_get(json, "params");
        handlers[i].name = text_of(json, "name");
        handlers[i].summary = text_of(json, "summary");
        if (params)
            rc = params_from(params, &handlers[i]);
    }
    return rc;
}

int module_from_description(json_t *description, const struct weft_module **ret_module)
{
    const json_t *list = json_object_get(description, "handlers");
    struct described *described = calloc(1, sizeof(*described));
    struct weft_handler *handlers = calloc(json_array_size(list) + 1, sizeof(*handlers));
    if (!described || !handlers) {
        free(described);
        free(handlers);
        return -ENOMEM;
    }
    described->module = (struct weft_module){
        .abi = WEFT_MODULE_ABI,
        .param_size = sizeof(struct weft_param),
        .handler_size = sizeof(struct weft_handler),
        .name = text_of(description, "name"),
        .version = text_of(description, "version"),
        .handlers = handlers,
        .handlers_count = json_array_size(list),
    };
    described->description = json_incref(description);
    described->next = all;
    all = described;
    *ret_module = &described->module;
    return json_is_array(list) ? handlers_from(list, handlers) : -EPROTO;
}
