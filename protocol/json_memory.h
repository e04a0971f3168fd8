/* SPDX-License-Identifier: MIT */
/* What jansson does not do well where memory is short.  Text to values, above all: where its lexer lacks
 * memory, the text is wrong by what it says, or a string comes without some of its bytes, or it writes
 * behind the end of one. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* Have jansson allocate by this malloc, whose blocks free() takes.  Once, before there are threads or
 * JSON; in a program that does not call it json_memory_load() is json_loadb(). */
void json_memory_watch(void *(*allocate)(size_t));

/* json_loadb() with these flags.  Any thread.
 * Returns: 0.  Errors: -ENOMEM, -EINVAL the text is wrong, as `cause` says, which may be NULL. */
int json_memory_load(const char *text, size_t size, size_t flags, json_error_t *cause,
                     json_t **ret_value);

/* The value of a text that is known to be right; the caller's.  NULL: out of memory. */
json_t *json_memory_value(const char *text);

/* json_dumps(), which leaves out a name that it has no memory for.  The caller's, for free(); NULL: out
 * of memory, or a text is not UTF-8. */
char *json_memory_dumps(const json_t *value, size_t flags);

/* json_object_update_missing(), which leaves out what it has no memory for, and does not say so.
 * Errors: -ENOMEM; object has some of other's members then. */
int json_memory_update_missing(json_t *object, const json_t *other);

/* Put a value into a list, or an object; both are taken over.  One that is NULL makes it NULL: so a
 * chain of these ends in the whole, or in NULL, out of memory. */
json_t *json_memory_append(json_t *list, json_t *value);
json_t *json_memory_set(json_t *object, const char *name, json_t *value);

/* Why json_string() did not take this text: -ENOMEM, or -EILSEQ, it is not UTF-8. */
int json_memory_refusal(const char *text);

/* Why jansson did not write this value: -ENOMEM, or -EINVAL, a text or name in it is not UTF-8, or it
 * has no end. */
int json_memory_dump_refusal(const json_t *value);
