/* SPDX-License-Identifier: MIT */
/*
 * run_env: what a program finds in its environment.
 *
 * I1  Nothing of weftd's own environment gets in but what the allow-list names.
 * I2  Each name stands once: programs disagree about which of two counts.
 *
 * Pure; any thread.
 */
#include "daemon/run_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t name_length(const char *variable)
{
    return strcspn(variable, "=");
}

static bool same_name(const char *a, const char *b)
{
    size_t length = name_length(a);
    return length == name_length(b) && memcmp(a, b, length) == 0;
}

static bool has_name(const char *const *list, size_t count, const char *variable)
{
    for (size_t i = 0; i < count; i++)
        if (same_name(list[i], variable))
            return true;
    return false;
}

static size_t list_count(const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    return count;
}

/* ---- the allow-list -------------------------------------------------------------------------- */

static bool matches(const char *pattern, const char *variable)
{
    size_t length = strlen(pattern);
    if (length > 0 && pattern[length - 1] == '*')
        return strncmp(pattern, variable, length - 1) == 0;
    return length == name_length(variable) && memcmp(pattern, variable, length) == 0;
}

static bool is_allowed(char *const *names, const char *variable)
{
    if (!strchr(variable, '='))
        return false;
    for (; names && *names; names++)
        if (matches(*names, variable))
            return true;
    return false;
}

/* The pointers, their NULL, and the text behind them in one block. */
int run_env_allowed(char *const *names, char *const *from, char ***ret_env)
{
    size_t count = 0, bytes = 0;
    for (char *const *variable = from; variable && *variable; variable++) {
        if (!is_allowed(names, *variable))
            continue;
        count++;
        bytes += strlen(*variable) + 1;
    }
    char **env = malloc((count + 1) * sizeof(*env) + bytes);
    if (!env)
        return -ENOMEM;
    char *text = (char *)(env + count + 1);
    count = 0;
    for (char *const *variable = from; variable && *variable; variable++) {
        if (!is_allowed(names, *variable) || has_name((const char *const *)env, count, *variable))
            continue;
        env[count++] = text;
        text = stpcpy(text, *variable) + 1;
    }
    env[count] = NULL;
    *ret_env = env;
    return 0;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* A job's names are unique among themselves (JSON members), and may be many: each is compared with
 * the few that win over it, not with its like. */
static size_t winners_of(size_t list, size_t own, size_t count)
{
    static const size_t weftd = 0, job = 1;
    if (list == weftd)
        return 0;
    return list == job ? own : count;
}

int run_env_merge(const char *const *const lists[RUN_ENV_LISTS], const char ***ret_env)
{
    size_t room = 1, count = 0, own = list_count(lists[0]);
    for (size_t i = 0; i < RUN_ENV_LISTS; i++)
        room += list_count(lists[i]);
    const char **env = malloc(room * sizeof(*env));
    if (!env)
        return -ENOMEM;
    for (size_t i = 0; i < RUN_ENV_LISTS; i++) {
        size_t winners = winners_of(i, own, count);
        for (const char *const *variable = lists[i]; variable && *variable; variable++)
            if (!has_name(env, winners, *variable))
                env[count++] = *variable;
    }
    env[count] = NULL;
    *ret_env = env;
    return 0;
}
