/* SPDX-License-Identifier: MIT */
/* docs/job-states.md is made from the table of edges, by this program:
 *     WEFT_UPDATE_DOCS=1 build/release/tests/job_states_test */
#include "daemon/job.h"

#include "support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const meanings[JOB_STATE_COUNT] = {
    [JOB_WAITING] = "for the ends of the jobs in its `after`",
    [JOB_DELAYED] = "not before a point in time: the client's delay, or the wait before a retry",
    [JOB_QUEUED] = "waits for a slot of its queue",
    [JOB_RUNNING] = "an attempt is under way",
    [JOB_SUCCEEDED] = "exit status 0, or the handler returned a result",
    [JOB_FAILED] = ("it failed and no retries were asked for, or weftd (or the process of a "
                    "module's call) died and `on_crash` is `fail`"),
    [JOB_CANCELLED] = "by a client, or because a job in its `after` had to succeed and did not",
    [JOB_TIMED_OUT] = ("it ran longer than its timeout and no retries were asked for, or was "
                       "not done within its timeout_total"),
    [JOB_DEAD] = "its retries are spent, or weftd has died too often while it ran",
};

static void print_diagram(FILE *file)
{
    fprintf(file, "```mermaid\nstateDiagram-v2\n");
    for (size_t i = 0; i < job_edge_count; i++) {
        const struct job_edge *edge = &job_edges[i];
        const char *from = edge->from == JOB_NONE ? "[*]" : job_state_name(edge->from);
        fprintf(file, "    %s --> %s: %s\n", from, job_state_name(edge->to),
                job_cause_name(edge->cause));
    }
    for (int state = 0; state < JOB_STATE_COUNT; state++)
        if (job_state_is_end((enum job_state)state))
            fprintf(file, "    %s --> [*]\n", job_state_name((enum job_state)state));
    fprintf(file, "```\n");
}

static void print_meanings(FILE *file)
{
    fprintf(file, "| State | Meaning |\n|---|---|\n");
    for (int state = 0; state < JOB_STATE_COUNT; state++)
        if (meanings[state])
            fprintf(file, "| `%s`%s | %s |\n", job_state_name((enum job_state)state),
                    job_state_is_end((enum job_state)state) ? " (end)" : "", meanings[state]);
}

static char *make_page(void)
{
    char *page = NULL;
    size_t size;
    FILE *file = open_memstream(&page, &size);
    fprintf(file, "# The states of a job\n\nThis page is made from the table in `daemon/job.c` by "
                  "`job_states_test`, with\n`WEFT_UPDATE_DOCS=1` in its environment; the test "
                  "fails while it is out of date.\n\n");
    print_meanings(file);
    fprintf(file, "\nEvery move, with its cause:\n\n");
    print_diagram(file);
    fclose(file);
    return page;
}

static const char *page_path(char path[4096])
{
    const char *source = getenv("WEFT_SOURCE");
    snprintf(path, 4096, "%s/docs/job-states.md", source ? source : ".");
    return path;
}

static char *read_page(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file, "%s cannot be read", path);
    if (getdelim(&text, &size, '\0', file) < 0)
        cr_assert_fail("%s is empty", path);
    fclose(file);
    return text;
}

Test(job_states, the_page_in_docs_shows_the_table)
{
    char path[4096];
    char *page = make_page();
    page_path(path);
    if (getenv("WEFT_UPDATE_DOCS")) {
        FILE *file = fopen(path, "we");
        cr_assert_not_null(file, "%s cannot be written", path);
        fputs(page, file);
        fclose(file);
    }
    char *found = read_page(path);
    cr_assert_str_eq(found, page,
                     "docs/job-states.md is out of date: run this with WEFT_UPDATE_DOCS=1");
    free(found);
    free(page);
}

Test(job_states, every_state_that_a_job_can_be_in_has_a_meaning)
{
    for (size_t i = 0; i < job_edge_count; i++)
        cr_assert_not_null(meanings[job_edges[i].to]);
}
