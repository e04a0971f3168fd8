/* SPDX-License-Identifier: MIT */
/* follow_impl: the two ways of following, and what they share. */
#pragma once

#include "client/follow.h"

/* Each as follow_job() and follow_once().  Files: also -EOPNOTSUPP, with the same follow the other
 * way goes on from there. */
int follow_files_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error);
int follow_files_once(struct follow *follow, struct weft_client_error *error);
int follow_pieces_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error);
int follow_pieces_once(struct follow *follow, struct weft_client_error *error);

/* Errors: as command_try(). */
int follow_read_job(struct follow *follow, json_t **ret_job, struct weft_client_error *error);

/* Say that another attempt's output begins, if one was before it; every stream is at its start. */
void follow_begin_attempt(struct follow *follow, int64_t attempt);

/* Bytes from where the stream has come to are gone; 0: none, nothing is said. */
void follow_tell_gap(struct follow *follow, const struct follow_stream *stream, int64_t gap);
/* The same of bytes behind the last one. */
void follow_tell_dropped(struct follow *follow, const struct follow_stream *stream,
                         int64_t dropped);

/* Errors: -EPIPE nobody reads it. */
int follow_flush(const struct follow_stream *stream);
