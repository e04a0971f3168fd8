/* SPDX-License-Identifier: MIT */
/* verbs: the functions behind the rows of verbs.c, by file, and their options. */
#pragma once

#include "client/command.h"

/* verb_submit.c */
extern const struct option_spec from_options[];
extern const struct option_spec call_options[];
int verb_submit(struct command *command);
int verb_call(struct command *command);

/* verb_run.c */
int verb_run(struct command *command);

/* verb_list.c */
extern const struct option_spec list_options[];
int verb_list(struct command *command);

/* verb_show.c */
int verb_show(struct command *command);

/* verb_explain.c */
int verb_explain(struct command *command);

/* verb_logs.c */
extern const struct option_spec logs_options[];
int verb_logs(struct command *command);

/* verb_wait.c */
extern const struct option_spec wait_options[];
int verb_wait(struct command *command);
int verb_cancel(struct command *command);
int verb_retry(struct command *command);

/* verb_events.c */
extern const struct option_spec events_options[];
int verb_events(struct command *command);

/* verb_queue.c */
extern const struct option_spec queue_options[];
int verb_queue(struct command *command);

/* verb_stats.c */
int verb_stats(struct command *command);

/* verb_daemon.c */
extern const struct option_spec drain_options[];
int verb_drain(struct command *command);
extern const struct option_spec reload_options[];
int verb_reload(struct command *command);
int verb_backup(struct command *command);
int verb_ping(struct command *command);
