/* SPDX-License-Identifier: MIT */
/*
 * verb_run: submit, follow, end as the job ended.
 *
 * I1  From before the submit on, SIGINT and SIGTERM and SIGHUP are read from a signalfd: none is
 *     lost, and none ends weft while its job would run on unnoticed.
 * I2  The first signal cancels the job, a second one leaves it to weftd, which goes on cancelling.
 */
#include "client/follow.h"
#include "client/job_request.h"
#include "client/job_text.h"
#include "client/verbs.h"

#include "protocol/error.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct running {
    struct command *command;
    sigset_t before; /* the mask to give back */
    int signals;     /* signalfd */
    int64_t id;
    int signal; /* the first that came, 0: none */
};

/* ---- signals ---- */

static int open_signals(struct running *running)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    running->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (running->signals < 0)
        return command_explain(running->command, -errno, NULL);
    pthread_sigmask(SIG_BLOCK, &set, &running->before);
    weft_client_interrupt_on(running->command->client, running->signals);
    return COMMAND_OK;
}

static int take_signal(struct running *running)
{
    struct signalfd_siginfo info;
    if (read(running->signals, &info, sizeof info) != sizeof info)
        return 0;
    return (int)info.ssi_signo;
}

/* What came and was not asked for has been dealt with: it must not strike when unblocked. */
static void close_signals(struct running *running)
{
    weft_client_interrupt_on(running->command->client, -1);
    while (take_signal(running))
        ;
    close(running->signals);
    pthread_sigmask(SIG_SETMASK, &running->before, NULL);
}

/* ---- the job ---- */

static int submit(struct running *running, json_t *job)
{
    json_t *result;
    struct weft_client_error error;
    struct command *command = running->command;
    int err = command_try(command, "job.submit", job, &result, &error);
    if (err == -EINTR)
        return command_fail(command, COMMAND_SIGNAL + take_signal(running),
                            "interrupted before weftd acknowledged the job; weft list shows "
                            "whether it was accepted");
    if (err)
        return command_explain(command, err, &error);
    running->id = json_integer_value(json_object_get(result, "id"));
    if (json_is_true(json_object_get(result, "existing")) && !command->json)
        command_fail(command, COMMAND_OK, "job %lld has this key already; this is what it does",
                     (long long)running->id);
    json_decref(result);
    return COMMAND_OK;
}

/* Ask for the end; returns 0 when the job is gone. */
static int cancel(struct running *running, struct weft_client_error *error)
{
    json_t *result = NULL;
    json_t *params = json_pack("{s:[I]}", "ids", (json_int_t)running->id);
    int err = command_try(running->command, "job.cancel", params, &result, error);
    json_decref(result);
    return err;
}

/* Follow to the end; a signal on the way cancels the job and follows what it still writes. */
static int follow_through(struct running *running, struct follow *follow, json_t **ret_job,
                          struct weft_client_error *error)
{
    int err = follow_job(follow, ret_job, error);
    if (err == -EPIPE) {
        running->signal = SIGPIPE;
        err = cancel(running, error);
        return err ? err : -EPIPE;
    }
    if (err != -EINTR)
        return err;
    running->signal = take_signal(running);
    err = cancel(running, error);
    return err ? err : follow_job(follow, ret_job, error);
}

static int finish(struct running *running, json_t *job)
{
    if (running->command->json)
        command_print_json(running->command, job);
    else if (!job_has_succeeded(job) && !running->signal)
        job_complain(running->command, job);
    /* What ended before the cancel came has its own status. */
    bool was_cancelled = strcmp(job_string(job, "state"), "cancelled") == 0;
    int status =
        running->signal && was_cancelled ? COMMAND_SIGNAL + running->signal : job_exit_status(job);
    json_decref(job);
    return status;
}

/* It did not come to an end that we saw. */
static int give_up(struct running *running, int err, const struct weft_client_error *error)
{
    struct command *command = running->command;
    if (err == -EPIPE)
        return COMMAND_SIGNAL + SIGPIPE;
    if (err == -EINTR)
        return command_fail(command, COMMAND_SIGNAL + running->signal,
                            "not waiting any more; weftd goes on cancelling job %lld",
                            (long long)running->id);
    bool is_stopping = err == -EREMOTEIO && error->code == RPC_SHUTTING_DOWN;
    if (err == -ECONNRESET || is_stopping)
        return command_fail(command, COMMAND_UNREACHABLE,
                            "weftd %s; job %lld is kept and runs again when weftd does",
                            is_stopping ? "is stopping" : "went away", (long long)running->id);
    return command_explain(command, err, error);
}

static int run(struct running *running, json_t *job)
{
    struct follow follow;
    struct weft_client_error error;
    int status = submit(running, job);
    if (status)
        return status;
    follow_init(&follow, running->command, running->id, NULL);
    int err = follow_through(running, &follow, &job, &error);
    follow_destroy(&follow);
    return err ? give_up(running, err, &error) : finish(running, job);
}

int verb_run(struct command *command)
{
    json_t *job;
    struct running running = {.command = command};
    int status = job_request_program(command, &job);
    if (status)
        return status;
    status = command_connect(command);
    if (!status)
        status = open_signals(&running);
    if (status) {
        json_decref(job);
        return status;
    }
    status = run(&running, job);
    close_signals(&running);
    return status;
}
