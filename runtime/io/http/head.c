/* SPDX-License-Identifier: MIT */
/*
 * Header blocks, line by line as libcurl hands them on, which has checked and bounded the lines.
 *
 *   I1  A field is one allocation: its name, a NUL, its value, a NUL; `name` points to its start.
 *
 * For the driver while a block is being made, and for the response's owner afterwards.
 */
#include "io/http/head.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* I1: the name is ours to free. */
static void field_free(struct weft_http_field *field)
{
    free((char *)(uintptr_t)field->name);
}

void head_destroy(struct http_head *head)
{
    for (size_t i = 0; i < head->count; i++)
        field_free(&head->fields[i]);
    free(head->fields);
    free(head->reason);
    *head = (struct http_head){0};
}

/* "HTTP/1.1" -> 11, "HTTP/2" -> 20; 0: neither. */
static unsigned parse_version(const char *line, size_t size)
{
    if (size < 6 || strncmp(line, "HTTP/", 5) != 0 || !isdigit((unsigned char)line[5]))
        return 0;
    unsigned version = (unsigned)(line[5] - '0') * 10;
    if (size >= 8 && line[6] == '.' && isdigit((unsigned char)line[7]))
        version += (unsigned)(line[7] - '0');
    return version;
}

int head_begin(struct http_head *head, const char *line, size_t size)
{
    unsigned version = parse_version(line, size);
    const char *space = memchr(line, ' ', size);
    const char *end = line + size;
    if (version == 0 || !space || end - space < 4)
        return -EPROTO;
    int status = 0;
    for (int i = 1; i <= 3; i++) {
        if (!isdigit((unsigned char)space[i]))
            return -EPROTO;
        status = status * 10 + (space[i] - '0');
    }
    const char *reason = space + 4 < end ? space + 5 : end;
    char *copy = strndup(reason, (size_t)(end - reason));
    if (!copy)
        return -ENOMEM;
    head_destroy(head);
    *head = (struct http_head){.status = status, .version = version, .reason = copy};
    return 0;
}

static int head_room(struct http_head *head)
{
    if (head->count < head->capacity)
        return 0;
    size_t capacity = head->capacity ? 2 * head->capacity : 16;
    struct weft_http_field *fields = reallocarray(head->fields, capacity, sizeof(*fields));
    if (!fields)
        return -ENOMEM;
    head->fields = fields;
    head->capacity = capacity;
    return 0;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cut blanks off both ends. */
static void trim(const char **start, size_t *size)
{
    while (*size > 0 && blank(**start)) {
        ++*start;
        --*size;
    }
    while (*size > 0 && blank((*start)[*size - 1]))
        --*size;
}

static int field_make(const char *name, size_t name_size, const char *value, size_t value_size,
                      struct weft_http_field *ret_field)
{
    char *text = malloc(name_size + value_size + 2);
    if (!text)
        return -ENOMEM;
    memcpy(text, name, name_size);
    text[name_size] = '\0';
    memcpy(text + name_size + 1, value, value_size);
    text[name_size + 1 + value_size] = '\0';
    *ret_field = (struct weft_http_field){text, text + name_size + 1};
    return 0;
}

/* An obsolete folded line: what it has is appended, behind one space. */
static int head_continue(struct http_head *head, const char *more, size_t size)
{
    if (head->count == 0)
        return -EPROTO;
    struct weft_http_field *last = &head->fields[head->count - 1];
    size_t name_size = strlen(last->name), value_size = strlen(last->value);
    struct weft_http_field field;
    trim(&more, &size);
    char *value = malloc(value_size + size + 2);
    if (!value)
        return -ENOMEM;
    memcpy(value, last->value, value_size);
    value[value_size] = ' ';
    memcpy(value + value_size + 1, more, size);
    int r = field_make(last->name, name_size, value, value_size + 1 + size, &field);
    free(value);
    if (r < 0)
        return r;
    field_free(last);
    *last = field;
    return 0;
}

int head_add(struct http_head *head, const char *line, size_t size)
{
    head->bytes += size;
    if (head->bytes > HEAD_LIMIT)
        return -EMSGSIZE;
    if (size > 0 && blank(line[0]))
        return head_continue(head, line, size);
    const char *colon = memchr(line, ':', size);
    if (!colon)
        return 0; /* no header; libcurl lets it pass, and so do we */
    const char *value = colon + 1;
    size_t value_size = size - (size_t)(value - line);
    const char *name = line;
    size_t name_size = (size_t)(colon - line);
    trim(&name, &name_size);
    trim(&value, &value_size);
    int r = head_room(head);
    if (r == 0)
        r = field_make(name, name_size, value, value_size, &head->fields[head->count]);
    if (r < 0)
        return r;
    head->count++;
    return 0;
}

const char *head_find(const struct http_head *head, const char *name, size_t index)
{
    for (size_t i = 0; i < head->count; i++) {
        if (strcasecmp(head->fields[i].name, name) == 0 && index-- == 0)
            return head->fields[i].value;
    }
    return NULL;
}
