/* SPDX-License-Identifier: MIT */
/* methods_impl: the handlers behind the rows of methods.c, by file. */
#pragma once

#include "daemon/methods.h"

/* methods_job.c */
int method_job_submit(struct request *request, json_t **ret_result);
int method_job_submit_many(struct request *request, json_t **ret_result);
int method_job_cancel(struct request *request, json_t **ret_result);
int method_job_retry(struct request *request, json_t **ret_result);

/* methods_query.c */
int method_job_get(struct request *request, json_t **ret_result);
int method_job_list(struct request *request, json_t **ret_result);
int method_job_wait(struct request *request, json_t **ret_result);
int method_job_logs(struct request *request, json_t **ret_result);
int method_job_output(struct request *request, json_t **ret_result);

/* methods_explain.c */
int method_job_explain(struct request *request, json_t **ret_result);

/* methods_events.c */
int method_events_subscribe(struct request *request, json_t **ret_result);

/* methods_queue.c */
int method_queue_drain(struct request *request, json_t **ret_result);
int method_queue_list(struct request *request, json_t **ret_result);
int method_queue_pause(struct request *request, json_t **ret_result);
int method_queue_resume(struct request *request, json_t **ret_result);
int method_queue_set(struct request *request, json_t **ret_result);
int method_queue_purge(struct request *request, json_t **ret_result);

/* methods_daemon.c */
int method_hello(struct request *request, json_t **ret_result);
int method_ping(struct request *request, json_t **ret_result);
int method_daemon_drain(struct request *request, json_t **ret_result);
int method_daemon_reload(struct request *request, json_t **ret_result);
int method_daemon_backup(struct request *request, json_t **ret_result);

/* methods_stats.c */
int method_daemon_stats(struct request *request, json_t **ret_result);

/* Of the parameter `timeout`; WEFT_NO_DEADLINE without one. */
uint64_t request_deadline(const struct request *request);

/* 0 for an admin; else -EPERM, and the error says who may do `what` ("reload"). */
int request_needs_admin(struct request *request, const char *what);

/* The ids of a checked PARAM_INTS, malloc'ed.  Errors: -ENOMEM. */
int request_ids(const struct request *request, uint64_t **ret_ids, size_t *ret_count);

/* Bounds that the tables, hello and the handlers share. */
#define METHODS_IDS_MAX      65536
#define METHODS_LIST_DEFAULT 100
#define METHODS_LOGS_DEFAULT 65536
#define METHODS_LOGS_MAX     131072 /* as text with every byte escaped it stays under 1 MiB */
#define METHODS_JOBS_MAX     100000
#define METHODS_PROTOCOL     1
