/* SPDX-License-Identifier: MIT */
/* What went wrong with a request: a code, a sentence for people and fields for programs.
 * Fixed size, so that it can live on a stack, be copied by assignment, and never leak. */
#pragma once

#include <stddef.h>

/* The first five are JSON-RPC 2.0's; -32000 and below are Weft's.  Never renumber: clients keep
 * them.  error.c has the one table of names and texts. */
enum rpc_code {
    RPC_OK = 0,
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_INTERNAL_ERROR = -32603,

    RPC_BUSY = -32000, /* too many in flight, or too many connections */
    RPC_NO_SUCH_JOB = -32001,
    RPC_NO_SUCH_QUEUE = -32002,
    RPC_NO_SUCH_HANDLER = -32003,
    RPC_LINE_TOO_LONG = -32004,
    RPC_TOO_DEEP = -32005,
    RPC_STORE_FAILED = -32006,
    RPC_SHUTTING_DOWN = -32007,
    RPC_PERMISSION_DENIED = -32008,
    RPC_TIMEOUT = -32009,
    RPC_NOT_SUPPORTED = -32010, /* known, but not in this version */
    RPC_CONFLICT = -32011,      /* the job's state, or its key, forbids it */
    RPC_BAD_CONFIG = -32012,    /* daemon.reload: the file is bad, nothing changed */
};

#define RPC_MESSAGE_MAX 384
#define RPC_PARAM_MAX   64

/* Functions that take a `struct rpc_error *error` fill it on failure and only then. */
struct rpc_error {
    int code;                      /* enum rpc_code; RPC_OK: no error */
    char message[RPC_MESSAGE_MAX]; /* what was wrong and what to do; valid UTF-8 */
    char param[RPC_PARAM_MAX];     /* data.param: the parameter at fault, or "" */
    char nearest[RPC_PARAM_MAX];   /* data.nearest: the valid name that was perhaps meant, or "" */
};

/* One row of the table. */
struct rpc_code_info {
    int code;
    const char *name; /* data.name: stable, for programs: "no_such_queue" */
    const char *text; /* the message where none is given */
};

/* Row of a code; a code outside the table gets internal_error's row.  Never NULL. */
const struct rpc_code_info *rpc_code_info(int code);

/* The whole table, for documentation and tests. */
const struct rpc_code_info *rpc_code_table(size_t *ret_count);

/* Fill error.  format NULL takes the table's text.  Over-long text is cut with "...", and bytes
 * that are not UTF-8 (a file name, say) become '?'.
 * Returns: -EINVAL always, so that a caller can `return rpc_error_set(...)`. */
int rpc_error_set(struct rpc_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, naming the parameter at fault and what was perhaps meant (both may be NULL). */
int rpc_error_set_param(struct rpc_error *error, int code, const char *param, const char *nearest,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));
