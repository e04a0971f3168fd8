/* SPDX-License-Identifier: MIT */
/*
 * log: lines to stderr that never block a loop.
 *
 * Callers format into a bounded ring; one thread writes it out.  A full ring drops the line and
 * counts it; the next line that fits is preceded by "N lines were lost".  On journald
 * (JOURNAL_STREAM is stderr) each line starts with <N>; on a terminal with the time and level.
 * Errors are logged once, where they are handled; libraries below never log.
 */
#pragma once

#include "daemon/config.h"

/* Start the writer thread.  Before it, and after log_stop(), lines are written directly. */
int log_start(enum config_log_level level);
void log_set_level(enum config_log_level level); /* any thread */
void log_stop(void);                             /* write out what is there, join; blocks */

/* Any thread or fiber, never suspends or blocks, keeps errno.  No newline at the end; newlines
 * inside are shown as \n. */
void log_line(enum config_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(CONFIG_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(CONFIG_LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(CONFIG_LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(CONFIG_LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(CONFIG_LOG_DEBUG, __VA_ARGS__)

uint64_t log_lost(void); /* lines dropped so far */
