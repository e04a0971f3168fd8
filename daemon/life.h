/* SPDX-License-Identifier: MIT */
/*
 * life: one life of weftd, from a loaded configuration to the exit status.
 *
 * Owns store, output folder, runner, engine and server; makes them in the order in which they
 * depend on each other and takes them down in the opposite one (README.md).
 */
#pragma once

#include "daemon/config.h"

#include <sys/resource.h>

/* Everything is borrowed for the call but config. */
struct life_options {
    const char *config_path; /* as given by --config; NULL: life_config_path() finds one */
    struct config_overrides overrides;
    int inherited_fd;                 /* -1: none */
    const struct rlimit *program_fds; /* for programs: weftd may have raised its own; or NULL */
};

/* The configuration file: `given`, else the one at the usual place if it is there (root:
 * /etc/weft/weftd.conf; others: $XDG_CONFIG_HOME/weft/weftd.conf, else ~/.config/weft/weftd.conf),
 * else NULL: embedded defaults.  The result is given, or lies in buffer. */
const char *life_config_path(const char *given, char buffer[static 4096]);

/**
 * Run until a signal or a failure of the store ends it.  Takes over config.
 * Context: main thread, with SIGTERM, SIGINT and SIGHUP blocked, before any thread but the log's.
 * Returns: 0 after an orderly stop; -errno otherwise, and what was wrong is logged.
 */
int life_run(const struct life_options *options, struct config *config);
