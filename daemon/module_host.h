/* SPDX-License-Identifier: MIT */
/*
 * module_host: modules in processes of their own.
 *
 * `weftd --module-host PATH MEMORY` is that process: it loads the module at PATH, gets one request
 * as JSON on its standard input, and leaves its reply as JSON in a file in memory, descriptor 3.
 * How far it is it says there too, and by descriptor 4 (module_progress.h).
 *
 *   {}                                    -> {"name", "version", "handlers": […]}
 *   {"call", "args", "job", "attempt"}    -> {"rc": 0, "result"} or {"rc", "error", "refused"}
 *   anything, of a module that is no good -> {"problem": "…"}
 *
 * A process without a reply has crashed.  One process serves one call, so that nothing of a call
 * that went wrong is left for the next.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

struct config_modules;
struct problem;

#define MODULE_HOST_OPTION "--module-host"
#define MODULE_REPLY_FD    3
#define MODULE_SIGNAL_FD   4
#define MODULE_REPLY_MAX   (1024 * 1024) /* bytes of a reply; the file cannot be made larger */

/* ---- the process ---- */

/* main() of the process.  argv: PATH, MEMORY.  Returns its exit status. */
int module_host_main(char *const *argv);

/* ---- who starts it ---- */

/* The file in memory for the reply.  Returns the descriptor.  Errors: memfd_create(2)'s. */
int module_reply_open(void);

/* What is in it; the caller owns the reference.  Errors: -ENODATA nothing, -EPROTO no JSON object,
 * -ENOMEM, pread(2)'s. */
int module_reply_read(int fd, json_t **ret_reply);

/**
 * Load what the configuration names: `trusted` into this process, `load` into one that is asked
 * what the module has and ends.  Before there are threads; blocks, 10 s at most for a module.
 * Errors: -EINVAL and others, with problem: file and reason.
 */
int modules_load(const struct config_modules *modules, struct problem *problem);

/* dlopen it and find its table.  Errors: -ENOENT, -EINVAL, with problem. */
struct weft_module;
int module_open(const char *path, const struct weft_module **ret_module, struct problem *problem);

/* ---- module_describe.c ---- */

/* A table as JSON; NULL: out of memory. */
json_t *module_describe(const struct weft_module *module);

/* And back: without functions.  It lives as long as the process.  At start, one thread.
 * Errors: -EPROTO, -ENOMEM. */
int module_from_description(json_t *description, const struct weft_module **ret_module);
