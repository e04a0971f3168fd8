/* SPDX-License-Identifier: MIT */
/*
 * Submits jobs to weftd from C, by libweftclient: each line of standard input is a job as job.submit
 * takes it, and its id is printed.  A weftd that is restarted meanwhile is waited for, for a minute.
 *
 * Try: printf '%s\n' '{"argv": ["date"]}' | build/release/examples/submit_jobs
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/client.h>

#define PATIENCE_NS (60 * UINT64_C(1000000000))

/* Returns whether it was accepted. */
static bool submit(struct weft_client *client, const json_t *job)
{
    struct weft_client_error error;
    int64_t id;
    int err = weft_client_submit(client, job, &id, &error);

    if (err == 0)
        printf("%" PRId64 "\n", id);
    else if (err == -EREMOTEIO)
        fprintf(stderr, "submit_jobs: %s: %s\n", weft_client_error_name(&error), error.message);
    else
        fprintf(stderr, "submit_jobs: weftd: %s\n", strerror(-err));
    fflush(stdout);
    return err == 0;
}

static bool submit_lines(struct weft_client *client, FILE *from)
{
    char *line = NULL;
    size_t capacity = 0;
    bool good = true;

    while (getline(&line, &capacity, from) > 0) {
        json_error_t where;
        json_t *job = json_loads(line, 0, &where);
        if (job)
            good &= submit(client, job);
        else
            fprintf(stderr, "submit_jobs: %s\n", where.text);
        good &= job != NULL;
        json_decref(job);
    }
    free(line);
    return good;
}

int main(void)
{
    struct weft_client *client;
    int err = weft_client_open(NULL, &client);

    if (err < 0) {
        fprintf(stderr, "submit_jobs: no weftd: %s\n", strerror(-err));
        return 1;
    }
    weft_client_set_patience(client, PATIENCE_NS);
    bool good = submit_lines(client, stdin);
    weft_client_close(client);
    return good ? 0 : 1;
}
