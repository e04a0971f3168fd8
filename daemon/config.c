/* SPDX-License-Identifier: MIT */
/*
 * config: files to a finished struct config, and how two of them differ.
 *
 * I1  A config is returned whole or not at all.
 * I2  Paths in a finished config are absolute: later changes of directory do not matter.
 * The rows are in config_table.c, the syntax in config_read.c, the values in config_value.c and
 * what depends on who runs us in config_finish.c.
 */
#include "daemon/config.h"

#include "daemon/config_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1 << 20)

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Up to size bytes.  Returns how many, or -errno. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, buffer + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int read_file(struct config *config, const char *path, struct problem *problem)
{
    __attribute__((cleanup(close_file))) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return problem_set(problem, -errno, "cannot open %s: %s", path, strerror(errno));
    char *text = malloc(FILE_SIZE_MAX);
    if (!text)
        return problem_set(problem, -ENOMEM, "%s: out of memory", path);
    ssize_t size = read_all(fd, text, FILE_SIZE_MAX);
    int err = 0;
    if (size < 0)
        err = problem_set(problem, (int)size, "cannot read %s: %s", path, strerror((int)-size));
    else if (size == FILE_SIZE_MAX)
        err = problem_set(problem, -EINVAL, "%s: over 1 MiB: not a configuration", path);
    else
        err = config_read_text(config, path, text, (size_t)size, problem);
    free(text);
    return err;
}

static int is_drop_in(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_drop_ins(struct config *config, const char *path, struct problem *problem)
{
    char folder[4096], file[4096 + 256 + 2];
    if (snprintf(folder, sizeof folder, "%s.d", path) >= (int)sizeof folder)
        return problem_set(problem, -ENAMETOOLONG, "%.200s…: path too long", path);
    struct dirent **entries;
    int count = scandir(folder, &entries, is_drop_in, by_name);
    if (count < 0 && errno == ENOENT)
        return 0;
    if (count < 0)
        return problem_set(problem, -errno, "cannot list %s: %s", folder, strerror(errno));
    int err = 0;
    for (int i = 0; i < count; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, entries[i]->d_name);
        if (!err)
            err = read_file(config, file, problem);
        free(entries[i]);
    }
    free(entries);
    return err;
}

static int read_files(struct config *config, const char *path, struct problem *problem)
{
    if (!path)
        return 0;
    config->path = realpath(path, NULL);
    if (!config->path)
        return problem_set(problem, -errno, "cannot open %s: %s", path, strerror(errno));
    int err = read_file(config, path, problem);
    return err ? err : read_drop_ins(config, path, problem);
}

int config_load(const char *path, const struct config_overrides *overrides, struct problem *problem,
                struct config **ret_config)
{
    struct config *config;
    int err = config_new_defaults(&config);
    if (err)
        return problem_set(problem, err, "configuration: out of memory");
    err = read_files(config, path, problem);
    if (!err)
        err = config_finish(config, overrides, problem);
    if (err) {
        config_free(config);
        return err;
    }
    *ret_config = config;
    return 0;
}

int config_parse(const char *name, const char *text, size_t size, struct problem *problem,
                 struct config **ret_config)
{
    struct config *config;
    int err = config_new_defaults(&config);
    if (err)
        return problem_set(problem, err, "configuration: out of memory");
    err = config_read_text(config, name, text, size, problem);
    if (!err)
        err = config_finish(config, NULL, problem);
    if (err) {
        config_free(config);
        return err;
    }
    *ret_config = config;
    return 0;
}

static int print_section(const char *section, const void *base, FILE *file)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->section, section) != 0)
            continue;
        char *text = config_value_text(key, base);
        if (!text)
            return -ENOMEM;
        int written = fprintf(file, "%s = %s\n", key->name, text);
        free(text);
        if (written < 0)
            return -EIO;
    }
    return 0;
}

static int print_queues(const struct config *config, FILE *file)
{
    for (size_t i = 0; i < config->queues_count; i++) {
        fprintf(file, "\n[queue %s]\n", config->queues[i].name);
        int err = print_section("queue", &config->queues[i], file);
        if (err)
            return err;
    }
    return 0;
}

int config_print(const struct config *config, FILE *file)
{
    fprintf(file, "# %s\n", config->path ? config->path : "embedded defaults");
    const char *section;
    for (size_t i = 0; (section = config_section_at(i)); i++) {
        if (strcmp(section, "queue") == 0)
            continue;
        fprintf(file, "\n[%s]\n", section);
        int err = print_section(section, config, file);
        if (err)
            return err;
    }
    int err = print_queues(config, file);
    return err ? err : ferror(file) ? -EIO : 0;
}
