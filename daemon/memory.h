/* SPDX-License-Identifier: MIT */
/*
 * memory: the allocator, as configured by [memory] and as shown by daemon.stats.
 *
 * weftd links jemalloc; tests and sanitizer builds do not, and then everything here says so.
 */
#pragma once

#include <jansson.h>

struct config_memory;
struct problem;

/* Set what jemalloc can still change: decay and the background thread.  Once, from main.
 * Returns 0, -EOPNOTSUPP without jemalloc, or jemalloc's error, with problem. */
int memory_configure(const struct config_memory *config, struct problem *problem);

/* The number of arenas can only be set before main(): if it must change, put it into MALLOC_CONF
 * and start this program again with the same arguments.  Returns if there is nothing to do (also
 * the second time round), or if that failed.  Once, from main, while nothing is open yet. */
void memory_restart_if_needed(const struct config_memory *config, char **argv);

/* {"allocator": "jemalloc", "version": …, "allocated": …, "resident": …, "rss": …, …}.  New
 * reference; NULL: out of memory.  Any thread. */
json_t *memory_json(void);
