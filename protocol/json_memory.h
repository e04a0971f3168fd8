/* SPDX-License-Identifier: MIT */
/* JSON text to values, and whether that lacked memory.  jansson does not always say so: where its
 * lexer lacks some, the text is wrong, or a string comes without some of its bytes.  A client would be
 * told to mend what is right, and what is stored would be taken for damaged, or be another. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* Have jansson allocate by this malloc, and watch what it refuses.  Once, before there are threads or
 * JSON; a program that does not call it is told what jansson says. */
void json_memory_watch(void *(*allocate)(size_t));

/* json_loadb() with these flags.  Any thread.
 * Returns: 0.  Errors: -ENOMEM (or another thread lacked memory just then), -EINVAL the text is wrong,
 * as `cause` says, which may be NULL. */
int json_memory_load(const char *text, size_t size, size_t flags, json_error_t *cause,
                     json_t **ret_value);
