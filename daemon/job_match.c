/* SPDX-License-Identifier: MIT */
/*
 * job_match: see job_match.h.
 *
 * I1  What is looked for is written by the same encoder as the texts, so equal strings are equal
 *     bytes, and the text of a prefix is a prefix of the text.
 * I2  A text that the store has spoilt matches or does not; it is not read beyond its end.
 */
#include "daemon/job_match.h"

#include "daemon/job.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* text ends with a NUL, at size or behind it. */
static int encode(const char *text, size_t size, char **ret_text, size_t *ret_size)
{
    json_t *json = json_stringn(text, size);
    char *encoded = json ? json_memory_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    bool is_wrong = !json && json_memory_refusal(text) == -EILSEQ;
    json_decref(json);
    if (!encoded)
        return is_wrong ? -EINVAL : -ENOMEM;
    *ret_text = encoded;
    *ret_size = strlen(encoded);
    return 0;
}

int job_match_init(struct job_match *match, const char *name, const char *tag)
{
    struct job_match made = {0};
    size_t size = name ? strlen(name) : 0;
    made.is_prefix = size > 0 && name[size - 1] == '*';
    int rc = name ? encode(name, size - made.is_prefix, &made.name, &made.name_size) : 0;
    made.name_size -= made.is_prefix && rc == 0; /* its last quote */
    if (rc == 0 && tag)
        rc = encode(tag, strlen(tag), &made.tag, &made.tag_size);
    if (rc < 0) {
        job_match_destroy(&made);
        return rc;
    }
    *match = made;
    return 0;
}

void job_match_destroy(struct job_match *match)
{
    free(match->name);
    free(match->tag);
    *match = (struct job_match){0};
}

bool job_match_any(const struct job_match *match)
{
    return !match->name && !match->tag;
}

/* ---- a member of a text, which is compact ---------------------------------------------------- */

/* Behind the string that begins here. */
static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

/* Behind the value: where its object goes on, or ends. */
static const char *skip_value(const char *at)
{
    size_t depth = 0;
    while (*at) {
        if (*at == '"') {
            at = skip_string(at);
            continue;
        }
        if (depth == 0 && (*at == ',' || *at == '}' || *at == ']'))
            break;
        depth += (*at == '{' || *at == '[');
        depth -= (*at == '}' || *at == ']');
        at++;
    }
    return at;
}

/* The value of a member of the outermost object; key has its quotes.  NULL: there is none. */
static const char *find_member(const char *text, const char *key)
{
    size_t size = strlen(key);
    const char *at = *text == '{' ? text + 1 : "";
    while (*at == '"') {
        const char *end = skip_string(at);
        if (*end != ':')
            return NULL;
        if ((size_t)(end - at) == size && memcmp(at, key, size) == 0)
            return end + 1;
        at = skip_value(end + 1);
        at += *at == ',';
    }
    return NULL;
}

static bool list_has(const char *at, const char *item, size_t size)
{
    if (*at != '[')
        return false;
    at++;
    while (*at == '"') {
        const char *end = skip_string(at);
        if ((size_t)(end - at) == size && memcmp(at, item, size) == 0)
            return true;
        at = end + (*end == ',');
    }
    return false;
}

/* Most jobs have no tags, and the search for bytes is quick: within a string the quotes that stand
 * there would be escaped, so what is not found is no member either. */
static bool has_tag(const char *text, const char *tag, size_t size)
{
    if (!strstr(text, "\"tags\":["))
        return false;
    const char *tags = find_member(text, "\"tags\"");
    return tags && list_has(tags, tag, size);
}

static bool has_name(const struct job_match *match, const char *text)
{
    size_t size;
    const char *name = job_spec_text_name(text, &size);
    if (!name || (match->is_prefix ? size <= match->name_size : size != match->name_size))
        return false;
    return memcmp(name, match->name, match->name_size) == 0;
}

bool job_match_text(const struct job_match *match, const char *spec_text)
{
    if (match->name && !has_name(match, spec_text))
        return false;
    return !match->tag || has_tag(spec_text, match->tag, match->tag_size);
}
