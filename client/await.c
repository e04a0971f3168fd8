/* SPDX-License-Identifier: MIT */
/*
 * await: see await.h.
 *
 * I1  The bar is one line, which is wiped before anything else is printed, and on every way out.
 * I2  Between two looks a job.wait with a timeout waits, so the end is seen when it comes.
 * I3  What others wrote is shown with its control characters escaped, and cut to the line.
 */
#include "client/await.h"

#include "client/clock.h"
#include "client/job_text.h"
#include "client/text.h"

#include "protocol/error.h"

#include <errno.h>
#include <string.h>

#define LOOK_NS   UINT64_C(500000000) /* as often as weftd tells what handlers say */
#define BAR_CELLS 20
#define LINE_SIZE 1024

struct await {
    struct command *command;
    int64_t id;
    size_t columns; /* 0: nothing is shown */
    uint64_t deadline_ns;
    bool is_drawn;
};

bool await_is_shown(const struct command *command)
{
    return !command->json && command_width(command) > 0;
}

/* ---- the line -------------------------------------------------------------------------------- */

static void fill_bar(const json_t *fraction, char bar[static BAR_CELLS + 4])
{
    double part = json_number_value(fraction);
    size_t full = part <= 0 ? 0 : part >= 1 ? BAR_CELLS : (size_t)(part * BAR_CELLS);
    bar[0] = '\0';
    if (!fraction)
        return;
    bar[0] = '[';
    memset(bar + 1, '-', BAR_CELLS);
    memset(bar + 1, '#', full);
    strcpy(bar + 1 + BAR_CELLS, "] ");
}

const char *await_line(const json_t *job, size_t columns, char *text, size_t size)
{
    char said[512], bar[BAR_CELLS + 4];
    const json_t *progress = json_object_get(job, "progress");
    text[0] = '\0';
    if (!*job_progress(job, said, sizeof(said)))
        return text;
    fill_bar(json_object_get(progress, "fraction"), bar);
    snprintf(text, size, "job %lld: %s%s", (long long)job_id(job), bar, said);
    text[text_prefix(text, columns)] = '\0';
    return text;
}

/* I1 */
static void wipe(struct await *await)
{
    if (!await->is_drawn)
        return;
    fputs("\r\033[K", await->command->out);
    fflush(await->command->out);
    await->is_drawn = false;
}

static void draw(struct await *await, const json_t *job)
{
    char text[LINE_SIZE];
    wipe(await);
    if (!*await_line(job, await->columns - 1, text, sizeof(text)))
        return;
    fputs(text, await->command->out);
    fflush(await->command->out);
    await->is_drawn = true;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static json_t *wait_params(int64_t id, uint64_t timeout_ns)
{
    if (timeout_ns == AWAIT_FOR_EVER)
        return json_pack("{s:[I]}", "ids", (json_int_t)id);
    return json_pack("{s:[I], s:f}", "ids", (json_int_t)id, "timeout", (double)timeout_ns / 1e9);
}

/* Until the next look; AWAIT_FOR_EVER with no deadline and no looks. */
static uint64_t next_timeout(const struct await *await, bool *ret_is_last)
{
    uint64_t now = clock_now_ns(), left = await->deadline_ns > now ? await->deadline_ns - now : 0;
    *ret_is_last = await->columns == 0 || left <= LOOK_NS;
    if (!*ret_is_last)
        return LOOK_NS;
    return await->deadline_ns == AWAIT_FOR_EVER ? AWAIT_FOR_EVER : left;
}

/* Returns 0 with *ret_job NULL: it has not ended within that. */
static int wait_some(struct await *await, json_t **ret_job, struct weft_client_error *error)
{
    bool is_last;
    json_t *result, *params = wait_params(await->id, next_timeout(await, &is_last));
    int err = command_try(await->command, "job.wait", params, &result, error);
    *ret_job = NULL;
    if (err == -EREMOTEIO && error->code == RPC_TIMEOUT && !is_last)
        return 0;
    if (err)
        return err;
    *ret_job = json_incref(json_array_get(json_object_get(result, "jobs"), 0));
    json_decref(result);
    return *ret_job ? 0 : -EBADMSG;
}

static int look(struct await *await, struct weft_client_error *error)
{
    json_t *job, *params = json_pack("{s:I}", "id", (json_int_t)await->id);
    int err = command_try(await->command, "job.get", params, &job, error);
    if (err)
        return err;
    draw(await, job);
    json_decref(job);
    return 0;
}

int await_job(struct command *command, int64_t id, uint64_t timeout_ns, json_t **ret_job,
              struct weft_client_error *error)
{
    struct await await = {
        .command = command,
        .id = id,
        .columns = await_is_shown(command) ? command_width(command) : 0,
        .deadline_ns = AWAIT_FOR_EVER,
    };
    json_t *job = NULL;
    uint64_t now = clock_now_ns();
    if (timeout_ns < AWAIT_FOR_EVER - now)
        await.deadline_ns = now + timeout_ns;
    int err = 0;
    while (!err && !job) {
        err = wait_some(&await, &job, error);
        if (!err && !job)
            err = look(&await, error);
    }
    wipe(&await);
    if (!err)
        *ret_job = job;
    return err;
}

int await_explain(struct command *command, int err, const struct weft_client_error *error)
{
    if (err == -EREMOTEIO && error->code == RPC_SHUTTING_DOWN)
        return command_fail(command, COMMAND_UNREACHABLE,
                            "weftd is stopping; run it again when weftd is back");
    return command_explain(command, err, error);
}
