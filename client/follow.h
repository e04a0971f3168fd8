/* SPDX-License-Identifier: MIT */
/*
 * follow: print what a job writes until it has ended.  By the descriptors of its output
 * (follow_files.c); where none comes through, or pieces are wanted as weftd gives them (--json),
 * piece by piece (follow_pieces.c).  follow.c is what both do: begin, tell, choose.
 */
#pragma once

#include "client/command.h"

#define FOLLOW_STREAMS_MAX  2
#define FOLLOW_PAUSE_MIN_MS 20
#define FOLLOW_PAUSE_MAX_MS 500

struct follow_stream {
    const char *name; /* "stdout", "stderr" */
    FILE *to;
    int64_t offset; /* of the next byte to ask for */
    bool ended;     /* weftd said that no more will come */
    /* pieces */
    json_t *piece; /* read and not yet printed; NULL: none */
    /* files */
    int fd;            /* of the file that offset is in; -1: none */
    int64_t begin;     /* offset in the stream of its first byte */
    bool is_last;      /* the job has ended: nothing will be appended to it */
    uint32_t pause_ms; /* between two looks at what had nothing new */
    uint64_t look_ns;  /* monotonic: the next look; 0: now */
};

struct follow {
    struct command *command;
    int64_t id;
    int64_t attempt; /* the one whose output this is; 0: none has begun */
    struct follow_stream streams[FOLLOW_STREAMS_MAX];
    size_t streams_count;
    bool in_pieces;    /* no descriptor comes through */
    bool json;         /* print the pieces as weftd gave them */
    uint32_t pause_ms; /* pieces: until the next round, when there was nothing new */
    int64_t wait_id;   /* files: of the job.wait that is not answered; 0: none */
};

/* Both streams, or the one that is named. */
void follow_init(struct follow *follow, struct command *command, int64_t id, const char *only);
void follow_destroy(struct follow *follow);

/* Must be connected.  *ret_job: the job as it ended, a new reference.
 * Errors: -EREMOTEIO with error filled, -EPIPE nobody reads the output, and the connection's
 *         (-EINTR: an interrupt came; the call may be repeated to go on). */
int follow_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error);

/* What there is now, without waiting for more.  Errors: as above. */
int follow_once(struct follow *follow, struct weft_client_error *error);
