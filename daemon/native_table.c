/* SPDX-License-Identifier: MIT */
/*
 * native_table: what modules say of their handlers, checked, copied, and found by name.
 *
 * I1  A module is added whole or not at all.
 * I2  Handlers have different names.
 * I3  The table only grows, before the first job; so who reads it takes no lock.  The modules that
 *     come with weftd are in it before anything else is (pthread_once).
 * I4  Structs of a module may be shorter or longer than ours: fields that it lacks are zero.
 *
 * A module is code that somebody chose to load: its table is checked for mistakes, not for malice.
 */
#include "daemon/native.h"

#include "daemon/job.h"
#include "daemon/modules/modules.h"
#include "daemon/problem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* I3 */
static struct {
    struct native_handler **handlers;
    size_t count;
    struct native_module *modules; /* the last one first */
} table;

static pthread_once_t built_in = PTHREAD_ONCE_INIT;
static struct problem built_in_problem; /* written by add_built_in() */

/* ---- checking -------------------------------------------------------------------------------- */

static bool name_is_good(const char *name)
{
    size_t length = name ? strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789_.-")
                         : 0;
    return length > 0 && length <= JOB_NAME_MAX && name[length] == '\0';
}

/* param_spec's types and bounds for a weft_param's; 0: there is no such type. */
static unsigned types_of(uint32_t type)
{
    switch (type) {
    case WEFT_PARAM_TEXT:
    case WEFT_PARAM_PATH:
        return PARAM_STRING;
    case WEFT_PARAM_INTEGER:
        return PARAM_INT;
    case WEFT_PARAM_NUMBER:
        return PARAM_NUMBER;
    case WEFT_PARAM_BOOLEAN:
        return PARAM_BOOL;
    case WEFT_PARAM_DURATION:
        return PARAM_DURATION;
    case WEFT_PARAM_SIZE:
        return PARAM_SIZE;
    case WEFT_PARAM_TEXTS:
        return PARAM_STRING_MAP;
    case WEFT_PARAM_ANY:
        return PARAM_ANY;
    default:
        return 0;
    }
}

static int check_table(const struct weft_module *module, const char *origin,
                       struct problem *problem)
{
    if (module->abi != WEFT_MODULE_ABI)
        return problem_set(problem, -EINVAL,
                           "%s: made for version %u of the module interface; "
                           "this weftd has version %d",
                           origin, module->abi, WEFT_MODULE_ABI);
    if (module->param_size < sizeof(void *) || module->handler_size < sizeof(void *))
        return problem_set(problem, -EINVAL, "%s: its structs cannot be so small", origin);
    if (!name_is_good(module->name))
        return problem_set(problem, -EINVAL,
                           "%s: the module's name must be 1 to %d letters, "
                           "digits, '_', '.' or '-'",
                           origin, JOB_NAME_MAX);
    if (!module->handlers || module->handlers_count == 0)
        return problem_set(problem, -EINVAL, "%s: module \"%s\" has no handlers", origin,
                           module->name);
    return 0;
}

/* ---- copying --------------------------------------------------------------------------------- */

/* I4: the index-th struct of an array of structs of their size, as one of ours. */
static void take_struct(void *own, size_t own_size, const void *array, size_t size, size_t index)
{
    memset(own, 0, own_size);
    memcpy(own, (const char *)array + index * size, size < own_size ? size : own_size);
}

static void module_free(struct native_module *module)
{
    if (!module)
        return;
    free(module->name);
    free(module->version);
    free(module->origin);
    free(module);
}

static void handler_free(struct native_handler *handler)
{
    if (!handler)
        return;
    for (size_t i = 0; handler->params && i < handler->params_count; i++)
        free((char *)handler->params[i].name);
    free(handler->params);
    free(handler->paths);
    free(handler->name);
    free(handler->summary);
    free(handler);
}

/* A copy of a text that may be NULL; *failed is set without memory. */
static char *copy_text(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;
    *failed |= text && !copy;
    return copy;
}

static int module_new(const struct weft_module *from, const char *origin, bool apart,
                      struct native_module **ret_module)
{
    struct native_module *module = calloc(1, sizeof(*module));
    bool failed = !module;
    if (module) {
        module->apart = apart;
        module->name = copy_text(from->name, &failed);
        module->version = copy_text(from->version, &failed);
        module->origin = copy_text(origin, &failed);
    }
    if (failed) {
        module_free(module);
        return -ENOMEM;
    }
    *ret_module = module;
    return 0;
}

static int take_param(const struct weft_param *from, struct native_handler *handler, size_t index)
{
    struct param_spec *spec = &handler->params[index];
    bool is_text = from->type == WEFT_PARAM_TEXT || from->type == WEFT_PARAM_PATH;
    bool failed = false;
    if (!from->name || !from->name[0] || types_of(from->type) == 0)
        return -EINVAL;
    *spec = (struct param_spec){
        .name = copy_text(from->name, &failed),
        .types = types_of(from->type),
        .required = from->required,
        .choices = from->choices,
    };
    if (is_text) {
        spec->length_min = from->min > 0 ? (size_t)from->min : 0;
        spec->length_max = from->max > 0 ? (size_t)from->max : 0;
    } else {
        spec->min = from->min;
        spec->max = from->max;
    }
    handler->paths[index] = from->type == WEFT_PARAM_PATH;
    return failed ? -ENOMEM : 0;
}

static int take_params(const struct weft_module *module, const struct weft_handler *from,
                       struct native_handler *handler)
{
    if (!from->params)
        return from->params_count > 0 ? -EINVAL : 0;
    handler->params = calloc(from->params_count + 1, sizeof(*handler->params));
    handler->paths = calloc(from->params_count + 1, sizeof(*handler->paths));
    if (!handler->params || !handler->paths)
        return -ENOMEM;
    handler->params_count = from->params_count;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < from->params_count; i++) {
        struct weft_param param;
        take_struct(&param, sizeof(param), from->params, module->param_size, i);
        rc = take_param(&param, handler, i);
    }
    return rc;
}

static int handler_new(const struct weft_module *module, const struct weft_handler *from,
                       bool apart, struct native_handler **ret_handler)
{
    bool failed = false;
    if (!name_is_good(from->name) || (!from->run && !apart))
        return -EINVAL;
    struct native_handler *handler = calloc(1, sizeof(*handler));
    if (!handler)
        return -ENOMEM;
    handler->run = from->run;
    handler->check = from->check;
    handler->name = copy_text(from->name, &failed);
    handler->summary = copy_text(from->summary, &failed);
    int rc = failed ? -ENOMEM : take_params(module, from, handler);
    if (rc < 0) {
        handler_free(handler);
        return rc;
    }
    *ret_handler = handler;
    return 0;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static struct native_handler *find(const char *name)
{
    for (size_t i = 0; i < table.count; i++)
        if (strcmp(table.handlers[i]->name, name) == 0)
            return table.handlers[i];
    return NULL;
}

static int add_handler(const struct weft_module *module, size_t index,
                       const struct native_module *owner, struct problem *problem)
{
    struct weft_handler from;
    struct native_handler *handler;
    take_struct(&from, sizeof(from), module->handlers, module->handler_size, index);
    int rc = handler_new(module, &from, owner->apart, &handler);
    if (rc == -EINVAL)
        return problem_set(problem, rc,
                           "%s: handler %zu of module \"%s\" is malformed (its name, "
                           "its function, or a parameter)",
                           owner->origin, index + 1, owner->name);
    if (rc < 0)
        return problem_set(problem, rc, "%s: out of memory", owner->origin);
    const struct native_handler *other = find(handler->name);
    if (other) {
        problem_set(problem, -EEXIST, "%s: handler \"%s\" is there already, from %s", owner->origin,
                    handler->name, other->module->origin);
        handler_free(handler);
        return -EEXIST;
    }
    handler->module = owner;
    table.handlers[table.count++] = handler;
    return 0;
}

static int grow_table(size_t more)
{
    struct native_handler **handlers =
        reallocarray(table.handlers, table.count + more, sizeof(*handlers));
    if (!handlers)
        return -ENOMEM;
    table.handlers = handlers;
    return 0;
}

/* I1 */
static int add(const struct weft_module *module, const char *origin, bool apart,
               struct problem *problem)
{
    struct native_module *owner = NULL;
    size_t before = table.count;
    int rc = check_table(module, origin, problem);
    if (rc < 0)
        return rc;
    rc = grow_table(module->handlers_count);
    if (rc == 0)
        rc = module_new(module, origin, apart, &owner);
    if (rc < 0)
        return problem_set(problem, rc, "%s: out of memory", origin);
    owner->next = table.modules;
    table.modules = owner;
    for (size_t i = 0; rc == 0 && i < module->handlers_count; i++)
        rc = add_handler(module, i, owner, problem);
    if (rc == 0)
        return 0;
    table.modules = owner->next;
    while (table.count > before)
        handler_free(table.handlers[--table.count]);
    module_free(owner);
    return rc;
}

static void add_built_in(void)
{
    static const struct weft_module *const modules[] = {&module_core, &module_file, &module_http};
    for (size_t i = 0; !built_in_problem.err && i < sizeof(modules) / sizeof(modules[0]); i++)
        (void)add(modules[i], "weftd", false, &built_in_problem);
}

int native_add_built_in(struct problem *problem)
{
    pthread_once(&built_in, add_built_in);
    if (built_in_problem.err && problem)
        *problem = built_in_problem;
    return built_in_problem.err;
}

int native_add(const struct weft_module *module, const char *origin, struct problem *problem)
{
    int rc = native_add_built_in(problem);
    return rc ? rc : add(module, origin, false, problem);
}

int native_add_hosted(const struct weft_module *module, const char *path, struct problem *problem)
{
    int rc = native_add_built_in(problem);
    return rc ? rc : add(module, path, true, problem);
}

const struct native_handler *native_at(size_t index)
{
    pthread_once(&built_in, add_built_in);
    return index < table.count ? table.handlers[index] : NULL;
}

const struct native_handler *native_find(const char *name)
{
    pthread_once(&built_in, add_built_in);
    return find(name);
}
