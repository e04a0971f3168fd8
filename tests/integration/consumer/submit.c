/* SPDX-License-Identifier: MIT */
/* Of libweftclient: has weftd do a job, and prints what came of it. */
#include <stdio.h>
#include <string.h>
#include <weft/client.h>

static int report(const char *what, int err)
{
    fprintf(stderr, "%s: %s\n", what, strerror(-err));
    return 1;
}

int main(void)
{
    struct weft_client *client;
    struct weft_client_error error;
    json_t *result;
    json_t *job = json_pack("{s:[s]}", "argv", "true"), *which;
    int64_t id;
    int err = weft_client_open(NULL, &client);

    if (err < 0)
        return report("open", err);
    err = weft_client_submit(client, job, &id, &error);
    if (err < 0)
        return report("submit", err);
    which = json_pack("{s:[I]}", "ids", (json_int_t)id);
    err = weft_client_call(client, "job.wait", which, &result, &error);
    if (err < 0)
        return report("wait", err);
    json_dumpf(result, stdout, JSON_COMPACT);
    json_decref(result);
    json_decref(which);
    json_decref(job);
    weft_client_close(client);
    return 0;
}
