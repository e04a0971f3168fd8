/* SPDX-License-Identifier: MIT */
/*
 * job_match: whether a job has a name or a tag, by the stored text of its spec, without parsing it.
 * Lists look at very many jobs and show few.  Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What is looked for, as it stands in such a text; all NULL: everything matches. */
struct job_match {
    char *name; /* with its quotes; of a prefix without the last */
    size_t name_size;
    bool is_prefix;
    char *tag; /* with its quotes */
    size_t tag_size;
};

/* name, tag: NULL for any.  A name that ends in '*' stands for all that begin with what is before
 * it.  Errors: -ENOMEM, -EINVAL not UTF-8. */
int job_match_init(struct job_match *match, const char *name, const char *tag);
void job_match_destroy(struct job_match *match); /* zeroed is fine */

bool job_match_any(const struct job_match *match); /* nothing is looked for */

/* Costs a look at the beginning for a name, at the whole text for a tag. */
bool job_match_text(const struct job_match *match, const char *spec_text);
