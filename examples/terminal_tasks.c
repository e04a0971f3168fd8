/* SPDX-License-Identifier: MIT */
/*
 * A terminal program that starts tasks and watches them, by command:
 *
 *   start NAME SECONDS   list   cancel NAME   wait   quit
 *
 * Commands are read while the tasks run, and a task that ends says so at once.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { MAX_TASKS = 32 };

struct job {
    struct weft_task *task;
    char name[32];
    double seconds;
};

static struct job jobs[MAX_TASKS]; /* touched by the fiber that reads commands alone */

static int sleep_and_tell(void *arg)
{
    struct job *job = arg;
    int r = weft_sleep((uint64_t)(job->seconds * (double)WEFT_SECOND));

    printf("%s: %s\n", job->name, r == 0 ? "done" : strerror(-r));
    fflush(stdout);
    return r;
}

static struct job *find(const char *name)
{
    for (int i = 0; i < MAX_TASKS; i++)
        if (jobs[i].task && strcmp(jobs[i].name, name) == 0)
            return &jobs[i];
    return NULL;
}

/* A place nobody uses, or whose task has ended. */
static struct job *free_place(void)
{
    for (int i = 0; i < MAX_TASKS; i++) {
        if (jobs[i].task && !weft_task_done(jobs[i].task))
            continue;
        weft_task_free(jobs[i].task);
        jobs[i].task = NULL;
        return &jobs[i];
    }
    return NULL;
}

static void start(const char *name, double seconds)
{
    struct job *job = find(name);

    if (job && !weft_task_done(job->task)) {
        printf("%s runs already\n", name);
        return;
    }
    job = free_place();
    if (!job) {
        printf("no more than %d tasks\n", MAX_TASKS);
        return;
    }
    snprintf(job->name, sizeof job->name, "%s", name);
    job->seconds = seconds;
    int r = weft_task_new(job->name, sleep_and_tell, job, &job->task);
    printf("%s: %s\n", name, r == 0 ? "started" : strerror(-r));
}

static void list(void)
{
    int result;

    for (int i = 0; i < MAX_TASKS; i++) {
        if (!jobs[i].task)
            continue;
        int r = weft_task_result(jobs[i].task, &result);
        printf("%s: %s\n", jobs[i].name,
               r == -EAGAIN  ? "running"
               : result == 0 ? "done"
                             : strerror(-result));
    }
}

static void cancel(const char *name)
{
    struct job *job = find(name);

    if (!job) {
        printf("there is no task %s\n", name);
        return;
    }
    weft_task_cancel(job->task);
    weft_task_join(job->task, WEFT_NO_DEADLINE, NULL);
}

static int wait_for_all(void)
{
    struct weft_task *tasks[MAX_TASKS];

    for (int i = 0; i < MAX_TASKS; i++)
        tasks[i] = jobs[i].task;
    return weft_tasks_wait(tasks, MAX_TASKS, WEFT_WAIT_ALL, WEFT_NO_DEADLINE);
}

/* "start NAME SECONDS" */
static bool is_start(const char *line, char name[32], double *ret_seconds)
{
    char number[32], *end;

    if (sscanf(line, "start %31s %31s", name, number) != 2)
        return false;
    *ret_seconds = strtod(number, &end);
    return *end == '\0' && *ret_seconds >= 0 && *ret_seconds < 1e6;
}

/* Returns: 1 go on, 0 the user wants to leave. */
static int obey(const char *line)
{
    char name[32];
    double seconds;
    int r = 1;

    if (is_start(line, name, &seconds))
        start(name, seconds);
    else if (sscanf(line, "cancel %31s", name) == 1)
        cancel(name);
    else if (strcmp(line, "list") == 0)
        list();
    else if (strcmp(line, "wait") == 0)
        r = wait_for_all() < 0 ? 0 : 1;
    else if (strcmp(line, "quit") == 0)
        r = 0;
    else if (*line)
        printf("commands: start NAME SECONDS, list, cancel NAME, wait, quit\n");
    fflush(stdout);
    return r;
}

static int run(void *unused)
{
    WEFT_CLEANUP(stream) struct weft_stream *input = NULL;
    struct weft_reader reader;
    const char *line;

    (void)unused;
    int r = weft_terminal_stdin(&input);
    if (r < 0)
        return r;
    weft_reader_init(&reader, input);
    while ((r = weft_reader_next_line(&reader, &line, NULL)) > 0)
        if (obey(line) == 0)
            break;
    weft_reader_destroy(&reader);
    for (int i = 0; i < MAX_TASKS; i++)
        weft_task_free(jobs[i].task);
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
