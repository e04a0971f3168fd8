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

int run_env_merge(char *const *allowed, char *const *job, const char *const *last,
                  const char ***ret_env)
{
    const char *const *lists[] = {last, (const char *const *)job, (const char *const *)allowed};
    size_t count = 0, limits[3];
    for (int i = 0; i < 3; i++)
        limits[i] = list_count(lists[i]);
    const char **env = malloc((limits[0] + limits[1] + limits[2] + 1) * sizeof(*env));
    if (!env)
        return -ENOMEM;
    for (int i = 0; i < 3; i++) {
        /* a job's names are unique among themselves (JSON members): each is compared with the few
         * that win over it, not with its like */
        size_t winners = i == 2 ? count : limits[0];
        for (size_t j = 0; j < limits[i]; j++)
            if (i == 0 || !has_name(env, winners, lists[i][j]))
                env[count++] = lists[i][j];
    }
    env[count] = NULL;
    *ret_env = env;
    return 0;
}
