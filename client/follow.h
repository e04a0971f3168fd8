/* SPDX-License-Identifier: MIT */
/* follow: print what a job writes until it has ended. */
#pragma once

#include "client/command.h"

#define FOLLOW_STREAMS_MAX 2

struct follow_stream {
    const char *name; /* "stdout", "stderr" */
    FILE *to;
    int64_t offset; /* of the next byte to ask for */
    bool ended;     /* weftd said that no more will come */
    json_t *chunk;  /* read and not yet printed; NULL: none */
};

struct follow {
    struct command *command;
    int64_t id;
    int64_t attempt; /* the one whose output this is; 0: none has begun */
    struct follow_stream streams[FOLLOW_STREAMS_MAX];
    size_t streams_count;
    uint32_t pause_ms; /* until the next look, when there was nothing new */
    bool json;         /* print the chunks as weftd gave them */
};

/* Both streams, or the one that is named. */
void follow_init(struct follow *follow, struct command *command, int64_t id, const char *only);

/* Must be connected.  *ret_job: the job as it ended, a new reference.
 * Errors: -EREMOTEIO with error filled, -EPIPE nobody reads the output, and the connection's
 *         (-EINTR: an interrupt came; the call may be repeated to go on). */
int follow_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error);

/* What there is now, without waiting for more.  Errors: as above. */
int follow_once(struct follow *follow, struct weft_client_error *error);
