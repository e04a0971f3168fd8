/* SPDX-License-Identifier: MIT */
/*
 * run_program: umask, priorities and limits of a program, from [exec] and from its job.
 *
 * I16 What a job asks for is set with its submitter's rights, what weftd gives with weftd's: where
 *     the two are not the same user, the child sets the one before and the other after it becomes
 *     the submitter, so nobody gets by a job what they could not get by setrlimit(2).
 * I17 A call in a process of its own gets what weftd itself has: [exec] is about programs.
 */
#include "daemon/run_impl.h"

#include "daemon/job.h"

#include <errno.h>
#include <string.h>

static bool is_set(const struct program_options *options, int resource)
{
    return options && options->limits_set >> resource & 1;
}

/* The options' own limits, or those of `under` where they have none. */
static size_t collect(const struct program_options *options, const struct program_options *under,
                      struct weft_process_limit *limits)
{
    size_t count = 0;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        const struct program_options *from = is_set(options, i) ? options : under;
        if (is_set(from, i))
            limits[count++] = (struct weft_process_limit){i, from->limits[i]};
    }
    return count;
}

/* What every program gets: [exec], and weftd's limit on descriptors as it was before weftd raised
 * its own. */
static void get_given(const struct run_attempt *attempt, struct program_options *given)
{
    const struct runner *runner = attempt->runner;
    *given = (struct program_options){0};
    if (!attempt->request->spec->call)
        *given = attempt->settings->program;
    for (size_t i = 0; i < runner->limits_count; i++) {
        int resource = runner->limits[i].resource;
        if (is_set(given, resource))
            continue;
        given->limits[resource] = runner->limits[i].limit;
        given->limits_set |= UINT32_C(1) << resource;
    }
}

/* One user: the job's options in place of the given ones. */
static void apply_merged(struct run_program *program, const struct program_options *given,
                         const struct program_options *asked, int own_nice,
                         struct weft_process_options *options)
{
    const struct program_options *nice = asked && asked->has_nice ? asked : given;
    options->limits = program->given;
    options->limits_count = collect(asked, given, program->given);
    options->nice = nice->has_nice ? nice->nice - own_nice : 0;
    options->ionice = asked && asked->ionice ? asked->ionice : given->ionice;
}

/* I16 */
static void apply_apart(struct run_program *program, const struct program_options *given,
                        const struct program_options *asked, int own_nice,
                        struct weft_process_options *options)
{
    int given_nice = given->has_nice ? given->nice : own_nice;
    options->limits = program->given;
    options->limits_count = collect(given, NULL, program->given);
    options->nice = given_nice - own_nice;
    options->ionice = given->ionice;
    if (!asked)
        return;
    options->user_limits = program->asked;
    options->user_limits_count = collect(asked, NULL, program->asked);
    options->user_nice = asked->has_nice ? asked->nice - given_nice : 0;
    options->user_ionice = asked->ionice;
}

void run_program_apply(struct run_program *program, const struct run_attempt *attempt,
                       bool other_user, struct weft_process_options *options)
{
    const struct job_spec *spec = attempt->request->spec;
    const struct program_options *asked = spec->program;
    struct program_options given;
    int own_nice = getpriority(PRIO_PROCESS, 0);
    get_given(attempt, &given);
    if (other_user)
        apply_apart(program, &given, asked, own_nice, options);
    else
        apply_merged(program, &given, asked, own_nice, options);
    if (asked && asked->has_umask)
        options->umask = asked->umask;
    else if (given.has_umask)
        options->umask = given.umask;
    options->stdin_path = spec->stdin_file;
    options->ret_fault_limit = &program->failed;
}

static void explain_priority(const struct run_attempt *attempt, int rc, struct run_outcome *outcome)
{
    const struct program_options *asked = attempt->request->spec->program;
    const struct program_options *given = &attempt->settings->program;
    char text[PROGRAM_TEXT_MAX];
    if (rc == -EACCES) /* setpriority's alone */
        run_outcome_fail(outcome,
                         "cannot set niceness %s: %s; only root may go below the niceness that a "
                         "program is given and RLIMIT_NICE",
                         program_nice_text(asked && asked->has_nice ? asked : given, text),
                         strerrordesc_np(-rc));
    else
        run_outcome_fail(outcome, "cannot set the I/O priority %s: %s",
                         program_ionice_text(asked && asked->ionice ? asked : given, text),
                         strerrordesc_np(-rc));
}

static void explain_limit(const struct weft_process_limit *limit, int rc,
                          struct run_outcome *outcome)
{
    char text[PROGRAM_TEXT_MAX];
    const char *hint = rc == -EPERM ? "; only root may raise a hard limit" : "";
    run_outcome_fail(outcome, "cannot set limit %s=%s: %s%s", program_limit_name(limit->resource),
                     program_limit_text(limit->resource, &limit->limit, text), strerrordesc_np(-rc),
                     hint);
}

bool run_program_explain(const struct run_program *program, const struct run_attempt *attempt,
                         enum weft_process_fault fault, int rc, struct run_outcome *outcome)
{
    if (fault == WEFT_PROCESS_FAULT_PRIORITY)
        explain_priority(attempt, rc, outcome);
    else if (fault == WEFT_PROCESS_FAULT_LIMIT && program->failed)
        explain_limit(program->failed, rc, outcome);
    else if (fault == WEFT_PROCESS_FAULT_STDIN)
        run_outcome_fail(outcome, "cannot open its input %s: %s",
                         attempt->request->spec->stdin_file, strerrordesc_np(-rc));
    else
        return false;
    return true;
}
