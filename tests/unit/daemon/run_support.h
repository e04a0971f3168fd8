/* SPDX-License-Identifier: MIT */
/* What the tests of runs share: a runner over a temporary folder, and attempts of shell scripts.
 * Header only. */
#pragma once

#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/run_impl.h"

#include "support/io.h"
#include "support/test.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define UNUSED __attribute__((unused)) /* a test file needs not all of these */

struct world {
    char folder[64];   /* temporary; programs find it as $DIR */
    char instance[33]; /* of this test's alone: tests run side by side */
    struct config *config;
    struct output_store *outputs;
    struct runner *runner;
    int (*body)(struct world *world);
};

/* One attempt, from what to run to what came of it. */
struct trial {
    struct world *world;
    uint64_t id;
    const char *const *argv; /* NULL: /bin/sh -c script */
    const char *script;
    const char *cwd;
    const char *variable; /* one more for the environment */
    uid_t uid;            /* the submitter */
    char *input;
    size_t input_size;
    const char *input_file;
    struct program_options *program;
    uint64_t timeout_ns;
    struct weft_scope scope;
    struct weft_event begun; /* scope is entered */
    int rc;
    struct run_outcome outcome;
};

/* ---- files ----------------------------------------------------------------------------------- */

/* Removes a folder with what is in it, by name: nothing but what tests put there. */
UNUSED static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    char inner[512];
    while (folder && (entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (unlink(inner) < 0)
            remove_tree(inner);
    }
    if (folder)
        closedir(folder);
    EXPECT_EQ(rmdir(path), 0);
}

UNUSED static const char *in_folder(const struct world *world, const char *name)
{
    static _Thread_local char paths[4][256]; /* good for four calls */
    static _Thread_local unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", world->folder, name);
    return path;
}

/* The number that a program has written into a file, with its newline; 0: not yet. */
UNUSED static long number_in(const struct world *world, const char *name)
{
    char text[32] = "";
    FILE *file = fopen(in_folder(world, name), "re");
    if (!file)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    return n > 0 && text[n - 1] == '\n' ? strtol(text, NULL, 10) : 0;
}

UNUSED static long await_number(const struct world *world, const char *name)
{
    uint64_t deadline_ns = soon();
    long number;
    while ((number = number_in(world, name)) == 0) {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
    return number;
}

/* ---- processes ------------------------------------------------------------------------------- */

UNUSED static void expect_gone(long pid)
{
    EXPECT(pid > 1);
    EXPECT_EQ(kill((pid_t)pid, 0), -1);
    EXPECT_EQ(errno, ESRCH);
}

/* No child is left, neither running nor dead. */
UNUSED static void expect_no_child(void)
{
    EXPECT_EQ(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    EXPECT_EQ(errno, ECHILD);
}

/* ---- trials ---------------------------------------------------------------------------------- */

UNUSED static int attempt_trial(struct trial *trial, struct job_spec *spec)
{
    struct run_request request = {.spec = spec, .id = trial->id, .attempt = 1, .uid = trial->uid};
    run_outcome_init(&trial->outcome);
    weft_scope_enter(&trial->scope,
                     trial->timeout_ns ? weft_deadline_after(trial->timeout_ns) : WEFT_NO_DEADLINE);
    weft_event_set(&trial->begun);
    trial->rc = run_exec(trial->world->runner, &request, &trial->outcome);
    weft_scope_leave(&trial->scope);
    return 0;
}

/* A fiber function. */
UNUSED static int run_trial(void *arg)
{
    struct trial *trial = arg;
    const char *shell[] = {"/bin/sh", "-c", trial->script, NULL};
    char folder[80];
    snprintf(folder, sizeof(folder), "DIR=%s", trial->world->folder);
    const char *env[] = {folder, trial->variable, NULL};
    struct job_spec spec = {
        .argv = (char **)(trial->argv ? trial->argv : shell),
        .env = (char **)env,
        .cwd = (char *)trial->cwd,
        .stdin_data = trial->input,
        .stdin_size = trial->input_size,
        .stdin_file = (char *)trial->input_file,
        .program = trial->program,
    };
    return attempt_trial(trial, &spec);
}

UNUSED static void expect_exit(const struct trial *trial, int exit_code)
{
    EXPECT_EQ(trial->rc, 0);
    EXPECT_EQ(trial->outcome.exit_code, exit_code);
    EXPECT_EQ(trial->outcome.term_signal, JOB_NO_EXIT);
}

UNUSED static void expect_error(const struct trial *trial, const char *text)
{
    EXPECT(trial->outcome.error != NULL);
    if (!strstr(trial->outcome.error, text))
        fprintf(stderr, "error: %s\n", trial->outcome.error);
    EXPECT(strstr(trial->outcome.error, text) != NULL);
}

/* The whole stream, with a NUL behind it; the caller frees it. */
UNUSED static char *output_of(const struct trial *trial, enum output_stream stream, size_t *size)
{
    struct output_chunk chunk;
    EXPECT_EQ(output_read(trial->world->outputs, trial->id, 1, stream, 0, 1 << 24, &chunk), 0);
    EXPECT(chunk.at_end);
    char *text = calloc(1, chunk.size + 1);
    EXPECT(text != NULL);
    if (chunk.size > 0)
        memcpy(text, chunk.data, chunk.size);
    free(chunk.data);
    if (size)
        *size = chunk.size;
    return text;
}

UNUSED static void expect_output(const struct trial *trial, enum output_stream stream,
                                 const char *expected)
{
    char *text = output_of(trial, stream, NULL);
    if (strcmp(text, expected) != 0)
        fprintf(stderr, "output: %s\n not: %s\n", text, expected);
    EXPECT(strcmp(text, expected) == 0);
    free(text);
}

/* Starts the trial on a fiber of the group. */
UNUSED static void begin_trial(struct weft_group *group, struct trial *trial)
{
    weft_event_init(&trial->begun);
    EXPECT_EQ(weft_group_spawn(group, "trial", run_trial, trial), 0);
    EXPECT_EQ(weft_event_wait(&trial->begun, soon()), 0);
}

/* ---- the world ------------------------------------------------------------------------------- */

static int world_main(void *arg)
{
    struct world *world = arg;
    struct problem problem;
    EXPECT_EQ(output_store_new(world->folder, &world->outputs), 0);
    EXPECT_EQ(runner_new(world->config, world->outputs, world->instance, &problem, &world->runner),
              0);
    EXPECT_EQ(world->body(world), 0);
    for (int i = 0; i < TREE_BUCKETS; i++)
        EXPECT(world->runner->roots.buckets[i] == NULL);
    runner_free(world->runner);
    output_store_free(world->outputs);
    return 0;
}

static void world_init(struct world *world, const char *config, int (*body)(struct world *world))
{
    struct problem problem;
    *world = (struct world){.folder = "/tmp/weft-run-XXXXXX", .body = body};
    EXPECT(mkdtemp(world->folder) != NULL);
    snprintf(world->instance, sizeof(world->instance), "%032x", (unsigned)getpid());
    if (config_parse("test", config, strlen(config), &problem, &world->config) < 0)
        fprintf(stderr, "%s\n", problem.text);
    EXPECT(world->config != NULL);
}

/* Anywhere on this machine. */
static void expect_nobody(const struct world *world)
{
    struct tree_pids all = {0};
    char mark[64];
    const char *marks[] = {mark};
    snprintf(mark, sizeof(mark), "WEFT_INSTANCE=%s", world->instance);
    EXPECT_EQ(tree_everybody(&all), 0);
    for (size_t i = 0; i < all.count; i++)
        EXPECT(tree_environ_has(all.pids[i], marks, 1) != 1);
    tree_pids_destroy(&all);
}

static void world_run(struct world *world, unsigned workers)
{
    on_fibers_counting_fds(workers, world_main, world);
    expect_no_child();
    config_free(world->config);
    remove_tree(world->folder);
}

/* Run body(world) on a fiber; afterwards no process and no descriptor is left. */
UNUSED static void in_world(unsigned workers, const char *config, int (*body)(struct world *world))
{
    struct world world;
    world_init(&world, config, body);
    world_run(&world, workers);
    expect_nobody(&world);
}
