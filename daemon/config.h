/* SPDX-License-Identifier: MIT */
/*
 * config: weftd.conf as one plain struct.
 *
 * One table in config.c has a row per key: section, name, type, offset, default as text, bounds,
 * live or restart.  Parsing, defaults, --print-config, the reload diff and the test that
 * conf/weftd.conf names every key all read that table.  A struct config is immutable once loaded;
 * a reload makes a new one.  Pure but for reading files; blocks: call by weft_offload from fibers.
 * Sizes are bytes, durations nanoseconds.
 */
#pragma once

#include "daemon/problem.h"
#include "daemon/program.h"
#include "protocol/units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum config_log_level {
    CONFIG_LOG_ERROR = 3,
    CONFIG_LOG_WARNING = 4,
    CONFIG_LOG_NOTICE = 5,
    CONFIG_LOG_INFO = 6,
    CONFIG_LOG_DEBUG = 7
}; /* as syslog's */

struct config_runtime {
    uint32_t workers;     /* 0: one per CPU of the affinity mask          (restart) */
    uint64_t stack_size;  /* 256K: of a job's or request's fiber          (restart) */
    uint32_t offload_max; /* 64: most offload threads                     (restart) */
    uint64_t handoff;     /* 10ms: a worker is taken from a handler that keeps it for so long;
                           * 0: never                                     (restart) */
};

struct config_daemon {
    char *socket; /* "": $XDG_RUNTIME_DIR/weft/weft.sock, root: /run/weft/weft.sock (restart) */
    uint32_t socket_mode;          /* 0660, octal                                  (restart) */
    char *socket_group;            /* "": weftd's own group                        (restart) */
    char *state_dir;               /* "": $XDG_STATE_HOME/weft, root: /var/lib/weft (restart) */
    uint64_t drain;                /* 5s: at stop, running jobs may end by themselves this long */
    uint64_t grace;                /* 20s: the whole stop; must exceed drain + exec.kill_grace */
    uint64_t max_jobs;             /* 2000000: live jobs in memory */
    uint64_t max_jobs_user;        /* 0: of these, most of one user; no limit */
    uint32_t recent;               /* 10000: ended jobs kept in memory */
    uint64_t key_keep;             /* 1h: how long a job that has ended keeps its key */
    uint32_t events;               /* 10000: events kept for those who listen */
    uint32_t max_connections;      /* 10000 */
    uint32_t max_connections_user; /* 1000 */
    uint32_t max_in_flight;        /* 128: requests of one connection at once */
    uint64_t line_max;             /* 1M */
    uint64_t partial_line_timeout; /* 30s */
    uint64_t idle_timeout;         /* 0: never */
    uint64_t write_timeout;        /* 60s: a client that reads nothing for so long is cut off */
};

struct config_http {
    char *listen;     /* "": no HTTP over TCP; else 127.0.0.1:PORT or [::1]:PORT (restart) */
    char *token_file; /* what each request over TCP has to carry */
    char *user;       /* for whom that speaks; "": weftd's own, if that is not root */
    uint32_t max_connections; /* 100: over TCP */
    uint64_t keep_alive;      /* 15s: a stream of events that is silent gets a comment */
};

#define CONFIG_HOST_MAX    48
#define CONFIG_DIGEST_SIZE 32

/* What is found by [http] when it is loaded.  The token itself is not kept. */
struct config_door {
    bool is_open; /* there is an http.listen; else the rest is nothing */
    char host[CONFIG_HOST_MAX];
    uint16_t port;
    unsigned char digest[CONFIG_DIGEST_SIZE]; /* SHA-256 of the token */
    uid_t uid;                                /* for whom the token speaks */
    gid_t gid;
};

struct config_store {
    uint64_t reserve;    /* 64M: submits are refused when less is free */
    uint64_t checkpoint; /* 16M: WAL size at which it is folded back */
    uint64_t wal_max;    /* 1G: submits are refused while the WAL is larger; 0: no limit */
    uint32_t batch_max;  /* 4096: most rows of one commit */
};

struct config_memory {
    uint64_t decay;  /* 10s: jemalloc dirty_decay_ms                 (restart) */
    uint32_t arenas; /* 0: jemalloc's choice                         (restart) */
};

#define QUEUE_NAME_MAX 40 /* inih cuts a section's name at 49 bytes */

struct config_queue { /* [queue NAME]; "default" is always there */
    char *name;
    uint32_t concurrency;      /* "auto": 4 x CPUs (default queue); others 1; 0 pauses */
    uint64_t timeout;          /* 0: none */
    uint64_t aging;            /* 60s: waiting that is worth one step of priority; 0: strict */
    bool paused;               /* no: starts nothing; jobs are accepted */
    struct units_rate rate;    /* none: most starts in a time, evenly spread */
    uint32_t concurrency_user; /* of the concurrency, most of one user; 0: no limit */
    uint64_t max_waiting;      /* 0: no limit; jobs that have not ended and do not run */
    /* For jobs that name none, as `timeout`. */
    int32_t priority;
    uint32_t retries;
    bool crash_fails;       /* on_crash = fail; else requeue */
    uint64_t timeout_total; /* 0: none */
};

enum config_wish { CONFIG_AUTO, CONFIG_YES, CONFIG_NO }; /* auto: if it is possible */

struct config_exec {
    char **env;          /* allow-list, NULL-terminated: PATH HOME LANG LC_* TZ USER TMPDIR … */
    char *cwd;           /* "/" */
    uint64_t output_max; /* 16M per stream and attempt */
    bool keeps_tail;     /* output_keep = tail; else head: of a stream that is longer */
    uint64_t kill_grace; /* 5s between SIGTERM and SIGKILL */
    enum config_wish cgroups;       /* auto: a control group for each attempt           (restart) */
    struct program_options program; /* umask, nice, ionice, limits, memory_max, tasks_max,
                                     * cpu_quota: none, what weftd has */
};

struct config_jobs {      /* [jobs]: what holds for every job */
    uint32_t crash_limit; /* 3 */
    uint64_t retry_base;  /* 1s */
    uint64_t retry_cap;   /* 10m */
    uint64_t retain;      /* 30d: ended jobs are forgotten after it; 0: never */
    uint64_t retain_max;  /* 1000000: most ended jobs that are kept; 0: no limit */
};

struct config_modules { /* [modules]: words are files, or folders of *.so */
    char **load;        /* each call in a process of its own                       (restart) */
    char **trusted;     /* within weftd                                            (restart) */
    uint64_t memory;    /* 1G: of such a process; 0: no limit */
};

struct config_access {
    char *admin_group; /* "": only root and weftd's own user */
};

struct config_log {
    enum config_log_level level; /* info */
};

struct config {
    char *path; /* the file it came from; NULL: embedded defaults */
    struct config_runtime runtime;
    struct config_daemon daemon;
    struct config_http http;
    struct config_door door; /* no keys: of http */
    struct config_store store;
    struct config_memory memory;
    struct config_exec exec;
    struct config_jobs jobs;
    struct config_modules modules;
    struct config_access access;
    struct config_log log;
    struct config_queue *queues; /* "default" first */
    size_t queues_count;
};

/* What the command line sets over the file; NULL: not given. */
struct config_overrides {
    const char *socket;
    const char *state_dir;
};

/**
 * Defaults, then path, then path.d/?*.conf in order of name, then overrides; then paths are made
 * absolute and cross-checks run.  path NULL: embedded defaults only.
 * Errors: -EINVAL "FILE:LINE: unknown key 'concurency' in [queue x] (did you mean 'concurrency'?)"
 *         and the like; -ENOENT and others of open; -ENAMETOOLONG socket path over 107 bytes.
 */
int config_load(const char *path, const struct config_overrides *overrides, struct problem *problem,
                struct config **ret_config);

/* The same from text, named `name` in errors: for tests and the fuzzer. */
int config_parse(const char *name, const char *text, size_t size, struct problem *problem,
                 struct config **ret_config);

void config_free(struct config *config); /* NULL is fine */

/* All keys with their values, in the form of the file; parses back to the same. */
int config_print(const struct config *config, FILE *file);

/* A key that differs and only takes effect by a restart. */
struct config_pending {
    char **keys; /* "daemon.socket", …; NULL-terminated */
    size_t count;
};

/* The digest of a token.  Pure.  Errors: -ENOMEM, and then it must not be compared. */
int config_token_digest(const char *token, size_t size,
                        unsigned char ret_digest[static CONFIG_DIGEST_SIZE]);

/* Compare; changed_live counts the keys that take effect now.  Errors: -ENOMEM. */
int config_diff(const struct config *running, const struct config *fresh, size_t *ret_changed_live,
                struct config_pending *ret_pending);
void config_pending_destroy(struct config_pending *pending);
