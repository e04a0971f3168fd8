/* SPDX-License-Identifier: MIT */
/*
 * config_read: one file's text over a config, by inih.
 *
 * I1  Whatever is wrong is an error that names file and line; nothing is passed over.
 * I2  A line is `[section]`, `key = value`, empty, or a comment that starts with # or ;.  There are
 *     no comments behind values and no continuation lines, as in systemd's files.
 * I3  An empty value sets the default.  The last of several values holds.
 *
 * inih reports neither the line of a key nor a section without keys, so the reader that feeds it
 * counts the lines and looks at section headings itself.  inih's settings are process-wide
 * variables; they are set once, always to the same values.
 */
#include "daemon/config_table.h"
#include "protocol/nearest.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <pthread.h>
#include <string.h>

#define LINE_SIZE   4096        /* longest line, with newline and NUL */
#define SPACE       " \t\r\v\f" /* what inih passes over in front of a heading */
#define HEADING_MAX 49          /* bytes between the brackets; inih drops what is behind them */
#define BOM         "\xef\xbb\xbf"

struct reader {
    struct config *config;
    const char *name; /* of the file, for errors */
    const char *rest; /* what inih has not seen yet */
    const char *end;
    unsigned line; /* the one that inih works on */
    int err;       /* first error; then reading stops */
    struct problem *problem;
};

/* The queue's name behind "queue ", or NULL if the section is no queue's. */
static const char *section_queue(const char *section)
{
    return strncmp(section, "queue ", 6) == 0 ? section + 6 + strspn(section + 6, " \t") : NULL;
}

static bool queue_name_is_good(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "_.-");
    return length > 0 && length <= QUEUE_NAME_MAX && name[length] == '\0';
}

static int refuse_section(struct reader *reader, const char *section)
{
    struct nearest nearest;
    nearest_init(&nearest, section);
    const char *candidate;
    for (size_t i = 0; (candidate = config_section_at(i)); i++)
        nearest_offer(&nearest, candidate);
    if (strcmp(section, "queue") == 0)
        return problem_set(reader->problem, -EINVAL, "%s:%u: [queue] needs a name: [queue NAME]",
                           reader->name, reader->line);
    if (!nearest.best)
        return problem_set(reader->problem, -EINVAL, "%s:%u: unknown section [%s]", reader->name,
                           reader->line, section);
    return problem_set(reader->problem, -EINVAL, "%s:%u: unknown section [%s] (did you mean [%s]?)",
                       reader->name, reader->line, section, nearest.best);
}

static int refuse_queue(struct reader *reader, const char *name)
{
    if (queue_name_is_good(name))
        return problem_set(reader->problem, -EINVAL, "%s:%u: section heading over %d bytes",
                           reader->name, reader->line, HEADING_MAX);
    return problem_set(reader->problem, -EINVAL,
                       "%s:%u: bad queue name '%s': 1 to %d letters, digits, '_', '.' or '-'",
                       reader->name, reader->line, name, QUEUE_NAME_MAX);
}

static int note_section(struct reader *reader, const char *section)
{
    const char *queue_name = section_queue(section);
    if (queue_name) {
        struct config_queue *queue;
        if (queue_name_is_good(queue_name) && strlen(section) <= HEADING_MAX)
            return config_queue_get(reader->config, queue_name, &queue);
        return refuse_queue(reader, queue_name);
    }
    const char *known;
    for (size_t i = 0; (known = config_section_at(i)); i++) {
        if (strcmp(known, section) == 0 && strcmp(known, "queue") != 0)
            return 0;
    }
    return refuse_section(reader, section);
}

/* Look at a line before inih does. */
static int note_line(struct reader *reader, const char *line)
{
    line += strspn(line, SPACE);
    if (*line != '[')
        return 0;
    const char *close = strchr(line, ']');
    if (!close || close[1 + strspn(close + 1, " \t\r\n")] != '\0')
        return problem_set(reader->problem, -EINVAL, "%s:%u: not a section heading: [NAME]",
                           reader->name, reader->line);
    char section[128];
    if ((size_t)(close - line) > sizeof section)
        return problem_set(reader->problem, -EINVAL, "%s:%u: unknown section", reader->name,
                           reader->line);
    memcpy(section, line + 1, (size_t)(close - line - 1));
    section[close - line - 1] = '\0';
    return note_section(reader, section);
}

/* inih's source of lines; NULL ends its work. */
static char *next_line(char *buffer, int size, void *arg)
{
    struct reader *reader = arg;
    if (reader->err || reader->rest == reader->end)
        return NULL;
    reader->line++;
    size_t left = (size_t)(reader->end - reader->rest);
    const char *newline = memchr(reader->rest, '\n', left);
    size_t length = newline ? (size_t)(newline - reader->rest) + 1 : left;
    if (length >= (size_t)size) {
        reader->err = problem_set(reader->problem, -EINVAL, "%s:%u: line over %d bytes",
                                  reader->name, reader->line, size - 2);
        return NULL;
    }
    memcpy(buffer, reader->rest, length);
    buffer[length] = '\0';
    reader->rest += length;
    reader->err = note_line(reader, buffer);
    return reader->err ? NULL : buffer;
}

static int refuse_key(struct reader *reader, const char *heading, const char *section,
                      const char *name)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    const char *home = NULL;
    for (size_t i = 0; i < config_keys_count; i++) {
        if (strcmp(config_keys[i].section, section) == 0)
            nearest_offer(&nearest, config_keys[i].name);
        else if (strcmp(config_keys[i].name, name) == 0)
            home = config_keys[i].section;
    }
    const char *best = home ? home : nearest.best;
    const char *before = home ? " (it belongs to [" : best ? " (did you mean '" : "";
    const char *after = home ? "])" : best ? "'?)" : "";
    return problem_set(reader->problem, -EINVAL, "%s:%u: unknown key '%s' in [%s]%s%s%s",
                       reader->name, reader->line, name, heading, before, best ? best : "", after);
}

/* The queue "default" is wide, any other narrow. */
static const char *default_of(const struct config_key *key, const char *queue_name)
{
    bool wide = queue_name && strcmp(queue_name, "default") == 0;
    return wide && key->type == CONFIG_CONCURRENCY ? "auto" : key->default_text;
}

static int set_key(struct reader *reader, const char *heading, const char *name, const char *value)
{
    const char *queue_name = section_queue(heading);
    const char *section = queue_name ? "queue" : heading;
    if (!heading[0])
        return problem_set(reader->problem, -EINVAL, "%s:%u: key '%s' stands before any [section]",
                           reader->name, reader->line, name);
    const struct config_key *key = config_key_find(section, name);
    if (!key)
        return refuse_key(reader, heading, section, name);
    void *base = reader->config;
    if (queue_name) {
        struct config_queue *queue;
        int err = config_queue_get(reader->config, queue_name, &queue);
        if (err)
            return err;
        base = queue;
    }
    char why[CONFIG_WHY_MAX] = "";
    int err = config_value_parse(key, value[0] ? value : default_of(key, queue_name), base, why);
    if (err == -EINVAL)
        return problem_set(reader->problem, err, "%s:%u: bad value '%.60s' for %s in [%s]: %s",
                           reader->name, reader->line, value, name, heading, why);
    return err;
}

/* inih's way: non-zero is success. */
static int on_key(void *arg, const char *section, const char *name, const char *value)
{
    struct reader *reader = arg;
    if (!reader->err)
        reader->err = set_key(reader, section, name, value);
    return reader->err == 0;
}

static void set_up_inih(void)
{
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_initial_alloc = LINE_SIZE;
    ini_max_line = LINE_SIZE;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_stop_on_first_error = true;
}

/* Byte order marks.  inih would pass over one that we have not: what is behind it would be a heading
 * for inih and none for note_line(). */
static void skip_marks(struct reader *reader)
{
    size_t size = strlen(BOM);
    while ((size_t)(reader->end - reader->rest) >= size && memcmp(reader->rest, BOM, size) == 0)
        reader->rest += size;
}

int config_read_text(struct config *config, const char *name, const char *text, size_t size,
                     struct problem *problem)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_inih);
    if (memchr(text, '\0', size))
        return problem_set(problem, -EINVAL, "%s: not a text file: it holds a NUL byte", name);
    struct reader reader = {
        .config = config, .name = name, .rest = text, .end = text + size, .problem = problem};
    skip_marks(&reader);
    int result = ini_parse_stream(next_line, &reader, on_key, &reader);
    if (result == -2 || reader.err == -ENOMEM)
        return problem_set(problem, -ENOMEM, "%s: out of memory", name);
    if (!reader.err && result > 0)
        return problem_set(problem, -EINVAL, "%s:%d: neither [section] nor key = value", name,
                           result);
    return reader.err;
}
