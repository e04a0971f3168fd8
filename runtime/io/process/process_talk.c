/* SPDX-License-Identifier: MIT */
/*
 * The conversation with a child: all of its input, all of its output, its end.
 *
 *   I1  Each pipe has a fiber of its own, so that none of them can hold up another: a child that
 *       writes before it reads, or reads nothing, blocks nobody.
 *   I2  What was read stays with the process until a call returns it, and how much of the input
 *       went out is remembered: a call that fails can be repeated.
 *   I3  One fiber at a time is in it (`talking`), and the fibers that it starts have ended when it
 *       leaves; so what is gathered needs no lock.
 *
 * For fibers.
 */
#include "io/process/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "weft/fiber.h"
#include "weft/group.h"
#include "weft/scope.h"
#include "weft/time.h"

enum { GATHER_MIN = 4096, GATHERED = 2 };

struct talk {
    struct weft_process *process;
    const char *input;
    size_t input_size;
    size_t limit; /* of each output */
};

/* One pipe to read. */
struct listening {
    struct talk *talk;
    struct weft_stream *stream;
    struct process_gathered *gathered;
};

/* ---- the pipes ---------------------------------------------------------------------------- */

/* Write what is left of the input, and close the pipe.  A reader that is gone has had enough. */
static int feed(void *arg)
{
    struct talk *talk = arg;
    struct weft_process *process = talk->process;
    size_t written = 0, left = talk->input_size - process->written;
    const char *rest = left > 0 ? talk->input + process->written : "";
    int r = weft_write(process->stdio[0], rest, left, &written);
    process->written += written;
    if (r == -EPIPE || r == -ECONNRESET)
        r = 0;
    if (r < 0)
        return r;
    process->written = talk->input_size;
    weft_process_close_stdin(process);
    return 0;
}

/* Room for more, up to one byte beyond the limit, by which it is noticed. */
static int make_room(struct process_gathered *gathered, size_t limit)
{
    size_t most = limit < SIZE_MAX - 1 ? limit + 1 : SIZE_MAX - 1;
    size_t capacity = gathered->capacity ? 2 * gathered->capacity : GATHER_MIN;
    if (gathered->size < gathered->capacity && gathered->size < most)
        return 0;
    if (gathered->size > limit)
        return -EMSGSIZE;
    if (capacity > most)
        capacity = most;
    char *data = realloc(gathered->data, capacity + 1);
    if (!data)
        return -ENOMEM;
    gathered->data = data;
    gathered->capacity = capacity;
    return 0;
}

static int listen_to_end(void *arg)
{
    struct listening *listening = arg;
    struct process_gathered *gathered = listening->gathered;
    for (;;) {
        int r = make_room(gathered, listening->talk->limit);
        if (r < 0)
            return r;
        ssize_t n = weft_read(listening->stream, gathered->data + gathered->size,
                              gathered->capacity - gathered->size);
        if (n <= 0)
            return (int)n;
        gathered->size += (size_t)n;
    }
}

/* I1 */
static int talk_all(struct talk *talk)
{
    struct weft_process *process = talk->process;
    struct listening listening[GATHERED];
    struct weft_group group;
    int r = 0;
    weft_group_init(&group);
    for (int i = 0; r == 0 && i < GATHERED; i++) {
        listening[i] = (struct listening){talk, process->stdio[1 + i], &process->gathered[i]};
        if (listening[i].stream)
            r = weft_group_spawn(&group, "process output", listen_to_end, &listening[i]);
    }
    if (r == 0 && process->stdio[0])
        r = weft_group_spawn(&group, "process input", feed, talk);
    if (r < 0)
        weft_group_cancel(&group);
    int joined = weft_group_join(&group);
    return r < 0 ? r : joined;
}

/* ---- the calls ---------------------------------------------------------------------------- */

/* I3 */
static int talk_enter(struct weft_process *process)
{
    pthread_mutex_lock(&process->lock);
    bool busy = process->talking;
    process->talking = true;
    pthread_mutex_unlock(&process->lock);
    return busy ? -EBUSY : 0;
}

static void talk_leave(struct weft_process *process)
{
    pthread_mutex_lock(&process->lock);
    process->talking = false;
    pthread_mutex_unlock(&process->lock);
}

/* So that handing it over cannot fail. */
static int finish_gathered(struct process_gathered *gathered)
{
    if (!gathered->data)
        gathered->data = malloc(1);
    if (!gathered->data)
        return -ENOMEM;
    gathered->data[gathered->size] = '\0';
    return 0;
}

static void hand_over(struct process_gathered *gathered, struct weft_process_output *ret_output)
{
    if (ret_output)
        *ret_output = (struct weft_process_output){gathered->data, gathered->size};
    else
        free(gathered->data);
    *gathered = (struct process_gathered){0};
}

/* Until its end, within the deadline. */
static int converse(struct talk *talk, uint64_t deadline_ns, struct weft_process_status *ret_status)
{
    struct weft_process *process = talk->process;
    struct weft_process_status status;
    struct weft_scope scope;
    weft_scope_enter(&scope, deadline_ns);
    int r = talk_all(talk);
    if (r == 0)
        r = weft_process_wait(process, WEFT_NO_DEADLINE, &status);
    weft_scope_leave(&scope);
    for (int i = 0; r == 0 && i < GATHERED; i++)
        r = finish_gathered(&process->gathered[i]);
    if (r == 0 && ret_status)
        *ret_status = status;
    return r;
}

int weft_process_communicate(struct weft_process *process, const void *input, size_t input_size,
                             size_t limit, uint64_t deadline_ns,
                             struct weft_process_output *ret_out,
                             struct weft_process_output *ret_err,
                             struct weft_process_status *ret_status)
{
    struct talk talk = {process, input, input_size, limit};
    int r = weft_check_cancel();
    if (r == 0)
        r = talk_enter(process);
    if (r < 0)
        return r;
    if (process->written > input_size || (!process->stdio[0] && process->written < input_size))
        r = -EINVAL;
    if (r == 0)
        r = converse(&talk, deadline_ns, ret_status);
    if (r == 0) {
        hand_over(&process->gathered[0], ret_out);
        hand_over(&process->gathered[1], ret_err);
    }
    talk_leave(process);
    return r;
}

int weft_process_run(const struct weft_process_options *options, const void *input,
                     size_t input_size, size_t limit, uint64_t deadline_ns,
                     struct weft_process_output *ret_out, struct weft_process_output *ret_err,
                     struct weft_process_status *ret_status)
{
    struct weft_process_options run = *options;
    struct weft_process *process;
    if (input_size > 0 && run.stdin_fd == WEFT_PROCESS_NULL)
        run.stdin_fd = WEFT_PROCESS_PIPE;
    if (ret_out && run.stdout_fd == WEFT_PROCESS_NULL)
        run.stdout_fd = WEFT_PROCESS_PIPE;
    if (ret_err && run.stderr_fd == WEFT_PROCESS_NULL)
        run.stderr_fd = WEFT_PROCESS_PIPE;
    int r = weft_process_spawn(&run, &process);
    if (r < 0)
        return r;
    r = weft_process_communicate(process, input, input_size, limit, deadline_ns, ret_out, ret_err,
                                 ret_status);
    if (r < 0)
        process_destroy(process, NULL);
    weft_process_free(process);
    return r;
}
