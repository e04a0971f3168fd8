/* SPDX-License-Identifier: MIT */
/*
 * run_group: the limits of an attempt's control group, from [exec] and from its job.
 *
 * I18 What a job asks for holds or its attempt fails, and says why.  What [exec] gives, where no job
 *     asks, is given where it can be: weftd warns of the rest when it reads its configuration.
 * I19 A leaf is weftd's own, so the kernel refuses nothing of what weftd writes there: that another
 *     user's job does not get more than [exec] gives is seen to here (run_program.c, I16).
 * I20 Limits are set before the root is born into the leaf: nobody was ever there without.
 *
 * With memory_max go two settings.  What is bounded is not swapped out instead (memory.swap.max 0):
 * a job that grows over its limit is to end, not to grind.  And it ends whole (memory.oom.group):
 * which process the kernel would have picked is nothing that a job could count on.
 */
#include "daemon/run_impl.h"

#include "daemon/job.h"
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PERIOD_US UINT64_C(100000) /* of cpu.max: a thousandth of a percent of it is 1 us */

static const struct {
    enum cgroup_controller controller;
    const char *file;
} rows[PROGRAM_GROUPS] = {
    [PROGRAM_MEMORY_MAX] = {CGROUP_MEMORY, "memory.max"},
    [PROGRAM_TASKS_MAX] = {CGROUP_PIDS, "pids.max"},
    [PROGRAM_CPU_QUOTA] = {CGROUP_CPU, "cpu.max"},
};

static bool is_limit(uint64_t value)
{
    return value != 0 && value != PROGRAM_NO_LIMIT;
}

static int fail(struct run_outcome *outcome, enum program_group group, uint64_t value,
                const char *why, int rc)
{
    char text[PROGRAM_TEXT_MAX];
    run_outcome_fail(outcome, "cannot set %s=%s: %s", program_group_name(group),
                     program_group_text(group, value, text), why);
    return rc;
}

static int write_limit(const struct cgroup_leaf *leaf, enum program_group group, uint64_t value)
{
    char text[64];
    if (group == PROGRAM_CPU_QUOTA)
        snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, value, PERIOD_US);
    else
        snprintf(text, sizeof(text), "%" PRIu64, value);
    int rc = cgroup_leaf_set(leaf, rows[group].file, text);
    if (rc < 0 || group != PROGRAM_MEMORY_MAX)
        return rc;
    (void)cgroup_leaf_set(leaf, "memory.swap.max", "0");  /* not there: it cannot swap either */
    (void)cgroup_leaf_set(leaf, "memory.oom.group", "1"); /* not before Linux 4.19 */
    return 0;
}

/* I18 */
static int set_limit(struct run_attempt *attempt, enum program_group group, uint64_t value,
                     bool asked, struct run_outcome *outcome)
{
    char why[CGROUP_WHY_MAX];
    if (!cgroups_have(&attempt->runner->cgroups, rows[group].controller, why))
        return asked ? fail(outcome, group, value, why, -ENOTSUP) : 0;
    int rc = write_limit(&attempt->tree.leaf, group, value);
    if (rc < 0 && asked)
        return fail(outcome, group, value, strerrordesc_np(-rc), rc);
    if (rc < 0)
        log_warning("job %" PRIu64 " runs without exec.%s: %s", attempt->request->id,
                    program_group_name(group), strerrordesc_np(-rc));
    else if (group == PROGRAM_MEMORY_MAX)
        attempt->memory_max = value;
    return 0;
}

/* I19 */
static int check_right(enum program_group group, uint64_t asked, uint64_t given,
                       struct run_outcome *outcome)
{
    char text[PROGRAM_TEXT_MAX], why[2 * PROGRAM_TEXT_MAX];
    if (given == 0 || asked <= given)
        return 0;
    snprintf(why, sizeof(why), "only root may have more than the %s that every program is given",
             program_group_text(group, given, text));
    return fail(outcome, group, asked, why, -EPERM);
}

int run_group_apply(struct run_attempt *attempt, bool other_user, struct run_outcome *outcome)
{
    const struct job_spec *spec = attempt->request->spec;
    int rc = 0;
    if (spec->call)
        return 0; /* run_program.c, I17 */
    for (int i = 0; rc == 0 && i < PROGRAM_GROUPS; i++) {
        uint64_t given = attempt->settings->program.groups[i];
        uint64_t asked = spec->program ? spec->program->groups[i] : 0;
        uint64_t value = asked ? asked : given;
        if (other_user)
            rc = check_right(i, asked, given, outcome);
        if (rc == 0 && is_limit(value))
            rc = set_limit(attempt, i, value, asked != 0, outcome);
    }
    return rc;
}

/* At its own limit, or because somebody above had no memory. */
static void cause_of(const struct run_attempt *attempt, bool own, char *text, size_t size)
{
    char limit[PROGRAM_TEXT_MAX];
    if (!own)
        snprintf(text, size, "for want of memory: the machine or weftd had none left");
    else if (!attempt->memory_max)
        snprintf(text, size, "at its limit of memory");
    else
        snprintf(text, size, "at its limit of memory (memory_max %s)",
                 program_group_text(PROGRAM_MEMORY_MAX, attempt->memory_max, limit));
}

void run_group_explain(const struct run_attempt *attempt, struct run_outcome *outcome)
{
    struct cgroup_memory_events events;
    char cause[2 * PROGRAM_TEXT_MAX];
    if (!outcome->error)
        return;
    cgroup_leaf_memory_events(&attempt->tree.leaf, &events);
    if (events.oom_kill == 0)
        return;
    cause_of(attempt, events.oom > 0, cause, sizeof(cause));
    if (outcome->term_signal == SIGKILL)
        run_outcome_fail(outcome, "killed %s", cause);
    else
        run_outcome_fail(outcome, "%s; processes of it were killed %s", outcome->error, cause);
}

void run_group_check(const struct runner *runner, const struct program_options *given)
{
    char why[CGROUP_WHY_MAX], text[PROGRAM_TEXT_MAX];
    for (int i = 0; i < PROGRAM_GROUPS; i++)
        if (is_limit(given->groups[i]) && !cgroups_have(&runner->cgroups, rows[i].controller, why))
            log_warning("programs run without exec.%s = %s: %s", program_group_name(i),
                        program_group_text(i, given->groups[i], text), why);
}
