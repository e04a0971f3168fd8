/* SPDX-License-Identifier: MIT */
/*
 * What modules_fuzz.c compares the handlers with: their tables read in another way than
 * native_table.c does, and files in memory.  Header only.
 */
#pragma once

#include "daemon/modules/modules.h"
#include "fuzz.h"
#include "protocol/params.h"
#include "protocol/units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- tables ------------------------------------------------------------------------------------------ */

static const struct weft_handler *model_handler(const char *name)
{
    static const struct weft_module *const modules[] = {&module_core, &module_file, &module_http};
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
        for (size_t k = 0; k < modules[i]->handlers_count; k++)
            if (strcmp(modules[i]->handlers[k].name, name) == 0)
                return &modules[i]->handlers[k];
    return NULL;
}

static bool in_bounds(const struct weft_param *param, long double value)
{
    bool bounded = param->min != 0 || param->max != 0;
    return !bounded || (value >= (long double)param->min && value <= (long double)param->max);
}

static bool is_choice(const struct weft_param *param, const char *text)
{
    bool found = param->choices == NULL;
    for (size_t i = 0; param->choices && param->choices[i]; i++)
        found |= strcmp(param->choices[i], text) == 0;
    return found;
}

static bool is_text(const struct weft_param *param, const json_t *value)
{
    size_t size = json_string_length(value);
    return json_is_string(value) && is_choice(param, json_string_value(value)) &&
           (param->min <= 0 || size >= (size_t)param->min) &&
           (param->max <= 0 || size <= (size_t)param->max);
}

static bool is_duration(const struct weft_param *param, const json_t *value)
{
    uint64_t ns;
    if (json_is_string(value))
        return units_parse_duration(json_string_value(value), &ns) == 0 &&
               in_bounds(param, (long double)ns);
    if (json_is_integer(value))
        return json_integer_value(value) >= 0 && json_integer_value(value) <= 18446744073LL &&
               in_bounds(param, (long double)json_integer_value(value) * 1e9L);
    return json_is_real(value) && units_seconds_to_ns(json_real_value(value), &ns) == 0 &&
           in_bounds(param, (long double)ns);
}

static bool is_size(const struct weft_param *param, const json_t *value)
{
    uint64_t bytes;
    if (json_is_string(value))
        return units_parse_size(json_string_value(value), &bytes) == 0 &&
               in_bounds(param, (long double)bytes);
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           in_bounds(param, (long double)json_integer_value(value));
}

static bool is_texts(const json_t *value)
{
    const char *name;
    json_t *text;
    bool good = json_is_object(value);
    json_object_foreach((json_t *)value, name, text)
    {
        good &= json_is_string(text);
    }
    return good;
}

static bool suits(const struct weft_param *param, const json_t *value)
{
    switch (param->type) {
    case WEFT_PARAM_TEXT:
        return is_text(param, value);
    case WEFT_PARAM_PATH:
        return is_text(param, value) && json_string_value(value)[0] == '/';
    case WEFT_PARAM_INTEGER:
        return json_is_integer(value) && in_bounds(param, (long double)json_integer_value(value));
    case WEFT_PARAM_NUMBER:
        return json_is_number(value) && in_bounds(param, json_number_value(value));
    case WEFT_PARAM_BOOLEAN:
        return json_is_boolean(value);
    case WEFT_PARAM_DURATION:
        return is_duration(param, value);
    case WEFT_PARAM_SIZE:
        return is_size(param, value);
    case WEFT_PARAM_TEXTS:
        return is_texts(value);
    default:
        return true;
    }
}

static const char *text_arg(const json_t *args, const char *name, const char *fallback)
{
    const char *text = json_string_value(json_object_get(args, name));
    return text ? text : fallback;
}

static bool is_folder_name(const char *path)
{
    return path[0] && path[strlen(path) - 1] == '/';
}

/* One digit of base64, or -1. */
static int digit_of(char c)
{
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Returns the size of what the text stands for, -1 if it is no base64; to may be NULL. */
static ssize_t model_decode(const char *text, unsigned char *to)
{
    size_t length = strlen(text), size = 0;
    if (length % 4)
        return -1;
    for (size_t i = 0; i < length; i += 4) {
        int padding =
            i + 4 == length ? (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=') : 0;
        unsigned bits = 0;
        for (int k = 0; k < 4; k++) {
            int digit = k >= 4 - padding ? 0 : digit_of(text[i + (size_t)k]);
            if (digit < 0)
                return -1;
            bits = bits << 6 | (unsigned)digit;
        }
        for (int k = 0; k < 3 - padding; k++, size++)
            if (to)
                to[size] = (unsigned char)(bits >> (16 - 8 * k));
    }
    return (ssize_t)size;
}

/* What the handlers say beside their tables. */
static bool own_check(const char *name, const json_t *args)
{
    bool good = !is_folder_name(text_arg(args, "path", "")) &&
                !is_folder_name(text_arg(args, "from", "")) &&
                !is_folder_name(text_arg(args, "to", ""));
    if (strcmp(name, "file.write") == 0 && strcmp(text_arg(args, "encoding", ""), "base64") == 0)
        good &= model_decode(text_arg(args, "data", ""), NULL) >= 0;
    return good;
}

/* args: any JSON. */
static bool model_accepts(const struct weft_handler *handler, const json_t *args)
{
    json_t *value;
    size_t known = 0;
    if (!json_is_object(args))
        return false;
    if (!handler->params)
        return true;
    for (size_t i = 0; i < handler->params_count; i++) {
        const struct weft_param *param = &handler->params[i];
        value = json_object_get(args, param->name);
        if (value ? !suits(param, value) : param->required)
            return false;
        known += value != NULL;
    }
    return known == json_object_size(args) && own_check(handler->name, args);
}

static bool is_clean(const char *text, const char *also)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f || strchr(also, *text))
            return *text == '\t' && !strchr(also, '\t');
    return true;
}

/* libcurl takes one slash to three for two. */
static bool is_http(const char *url)
{
    const char *rest = strchr(url, ':');
    size_t scheme = rest ? (size_t)(rest - url) : 0, slashes = rest ? strspn(rest + 1, "/") : 0;
    return ((scheme == 4 && strncasecmp(url, "http", 4) == 0) ||
            (scheme == 5 && strncasecmp(url, "https", 5) == 0)) &&
           slashes >= 1 && slashes <= 3;
}

/* Of arguments of http.fetch that were accepted: no line of the request can hold another. */
static bool model_is_fetchable(const json_t *args)
{
    const char *url = text_arg(args, "url", ""), *name;
    json_t *value, *headers = json_object_get(args, "headers");
    bool good = is_http(url);
    good &= is_clean(url, "\t") && is_clean(text_arg(args, "method", "GET"), " \t:/");
    good &= json_object_size(headers) <= 100;
    json_object_foreach(headers, name, value)
    {
        good &= name[0] && is_clean(name, " \t:") && is_clean(json_string_value(value), "");
        good &= strcasecmp(name, "Content-Length") != 0;
    }
    return good;
}

/* ---- files -------------------------------------------------------------------------------------------- */

enum { FILES_MAX = 32, FILE_PART_MAX = 128 * 1024 };

static struct files {
    char folder[64];
    char placed[128];
    int fd; /* of the folder */
    struct file {
        char name[48]; /* behind "/d/"; "" is free */
        unsigned char *data;
        size_t size;
    } list[FILES_MAX];
} files;

static const unsigned char first_content[] = "line one\r\nzwei \xc3\xa4\xe2\x82\xac\n\0\xff\nlast";

static const char *files_place(const char *path)
{
    snprintf(files.placed, sizeof files.placed, "%s/%s", files.folder, path + 3);
    return files.placed;
}

/* "sub//b" is "sub/b". */
static void plain_name(const char *path, char name[static 48])
{
    size_t size = 0;
    for (const char *at = path + 3; *at; at++)
        if (*at != '/' || (size > 0 && name[size - 1] != '/'))
            name[size++] = *at;
    name[size] = '\0';
}

/* "": a free place.  NULL: there is none. */
static struct file *find_file(const char *name)
{
    for (size_t i = 0; i < FILES_MAX; i++)
        if (strcmp(files.list[i].name, name) == 0)
            return &files.list[i];
    return NULL;
}

static void set_file(const char *name, const void *data, size_t size, bool append)
{
    struct file *file = find_file(name);
    if (!file)
        HOLDS((file = find_file("")) != NULL);
    size_t before = append ? file->size : 0;
    strcpy(file->name, name);
    HOLDS((file->data = realloc(file->data, before + size + 1)) != NULL);
    if (size > 0)
        memcpy(file->data + before, data, size);
    file->size = before + size;
}

static bool is_file(const char *name)
{
    return name[0] && find_file(name);
}

/* May a file of this name be there? */
static bool is_place(const char *name)
{
    const char *slash = strchr(name, '/');
    if (!slash)
        return name[0] && strcmp(name, "sub") != 0;
    return strncmp(name, "sub/", 4) == 0 && name[4] && !strchr(name + 4, '/');
}

static void check_content(const struct file *file)
{
    struct stat status;
    unsigned char *data = malloc(file->size + 1);
    int fd = openat(files.fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    HOLDS(data && fd >= 0 && fstat(fd, &status) == 0);
    HOLDS((size_t)status.st_size == file->size);
    HOLDS(read(fd, data, file->size + 1) == (ssize_t)file->size);
    HOLDS(memcmp(data, file->data, file->size) == 0);
    free(data);
    close(fd);
}

/* How many entries there are, folders but "." and ".." included. */
static size_t count_entries(const char *name)
{
    size_t count = 0;
    DIR *folder = fdopendir(openat(files.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    HOLDS(folder != NULL);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2;
}

static void check_files(void)
{
    size_t count = 0;
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (!files.list[i].name[0])
            continue;
        check_content(&files.list[i]);
        count++;
    }
    HOLDS(count_entries(".") + count_entries("sub") == count + 1);
}

static void files_remove(void)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (files.list[i].name[0])
            unlinkat(files.fd, files.list[i].name, 0);
        free(files.list[i].data);
        files.list[i] = (struct file){0};
    }
}

static void remove_folder(void)
{
    unlinkat(files.fd, "sub", AT_REMOVEDIR);
    rmdir(files.folder);
}

static void make_folder(void)
{
    strcpy(files.folder,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/weft-fuzz-XXXXXX" : "/tmp/weft-fuzz-XXXXXX");
    HOLDS(mkdtemp(files.folder) != NULL);
    files.fd = open(files.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    HOLDS(files.fd >= 0 && mkdirat(files.fd, "sub", 0700) == 0);
    atexit(remove_folder);
}

static void files_begin(void)
{
    if (!files.folder[0])
        make_folder();
    int fd = openat(files.fd, "a", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    HOLDS(fd >= 0);
    HOLDS(write(fd, first_content, sizeof first_content - 1) == sizeof first_content - 1);
    close(fd);
    set_file("a", first_content, sizeof first_content - 1, false);
}

static void files_end(void)
{
    check_files();
    files_remove();
}

/* ---- what the handlers do to them --------------------------------------------------------------------- */

static void expect_write(const char *name, const json_t *args, int rc, const json_t *result)
{
    const char *text = text_arg(args, "data", "");
    unsigned char *data = malloc(strlen(text) + 1);
    size_t size = strlen(text);
    HOLDS(data != NULL);
    memcpy(data, text, size + 1);
    if (strcmp(text_arg(args, "encoding", ""), "base64") == 0)
        size = (size_t)model_decode(text, data);
    HOLDS((rc == 0) == is_place(name));
    if (rc == 0) {
        set_file(name, data, size, json_is_true(json_object_get(args, "append")));
        HOLDS(json_integer_value(json_object_get(result, "bytes")) == (json_int_t)size);
    }
    free(data);
}

static void expect_copy(const char *from, const json_t *args, int rc, const json_t *result)
{
    char to[48];
    plain_name(text_arg(args, "to", "/d/"), to);
    HOLDS((rc == 0) == (is_file(from) && is_place(to) && strcmp(from, to) != 0));
    if (rc)
        return;
    struct file *source = find_file(from);
    set_file(to, source->data, source->size, false);
    HOLDS(json_integer_value(json_object_get(result, "bytes")) == (json_int_t)source->size);
}

/* A piece may end up to three bytes early, in front of a character that it would cut. */
static void expect_read(const char *name, const json_t *args, int rc, const json_t *result)
{
    size_t limit = (size_t)params_size(args, "limit", FILE_PART_MAX);
    uint64_t offset = params_size(args, "offset", 0);
    HOLDS((rc == 0) == is_file(name));
    if (rc)
        return;
    const struct file *file = find_file(name);
    json_t *data = json_object_get(result, "data");
    size_t from = offset < file->size ? (size_t)offset : file->size, left = file->size - from;
    size_t size = json_string_length(data);
    unsigned char *bytes = malloc(size + 1);
    HOLDS(bytes != NULL);
    memcpy(bytes, json_string_value(data), size);
    if (strcmp(text_arg(result, "encoding", ""), "base64") == 0)
        size = (size_t)model_decode(json_string_value(data), bytes);
    bool eof = json_is_true(json_object_get(result, "eof"));
    HOLDS(eof == (left <= limit));
    HOLDS(eof ? size == left : size <= limit && size + 3 >= limit && size > 0);
    HOLDS(memcmp(bytes, file->data + from, size) == 0);
    free(bytes);
}

static size_t count_lines(const struct file *file)
{
    size_t count = 0;
    for (size_t i = 0; i < file->size; i++)
        count += file->data[i] == '\n';
    return count + (file->size > 0 && file->data[file->size - 1] != '\n');
}

/* A file of more than FILE_PART_MAX is not made by so small an input. */
static void expect_lines(const char *name, const json_t *args, int rc, const json_t *result)
{
    size_t limit = (size_t)params_int(args, "limit", 1000), i, at = 0;
    json_t *line;
    HOLDS((rc == 0) == is_file(name));
    if (rc)
        return;
    const struct file *file = find_file(name);
    size_t all = count_lines(file), count = all < limit ? all : limit;
    json_t *lines = json_object_get(result, "lines");
    HOLDS(json_array_size(lines) == count);
    HOLDS(json_is_true(json_object_get(result, "eof")) == (count == all));
    json_array_foreach(lines, i, line)
    {
        const unsigned char *end = memchr(file->data + at, '\n', file->size - at);
        size_t size = end ? (size_t)(end - file->data) - at : file->size - at, next = at + size + 1;
        if (end && size > 0 && file->data[at + size - 1] == '\r')
            size--;
        for (size_t k = 0; k < size && json_string_length(line) == size; k++)
            HOLDS(json_string_value(line)[k] == (char)file->data[at + k] ||
                  json_string_value(line)[k] == '?');
        HOLDS(json_string_length(line) == size);
        at = next;
    }
}

static void expect_hash(const char *name, const json_t *args, int rc, const json_t *result)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned size;
    HOLDS((rc == 0) == is_file(name));
    if (rc)
        return;
    const struct file *file = find_file(name);
    bool is_512 = strcmp(text_arg(args, "algorithm", ""), "sha512") == 0;
    HOLDS(EVP_Digest(file->data, file->size, digest, &size, is_512 ? EVP_sha512() : EVP_sha256(),
                     NULL));
    for (unsigned i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    HOLDS(strcmp(text_arg(result, "hash", ""), hex) == 0);
}

/* file.VERB was called with these arguments. */
static void files_expect(const char *verb, const json_t *args, int rc, const json_t *result)
{
    static const struct {
        const char *verb, *subject;
        void (*expect)(const char *name, const json_t *args, int rc, const json_t *result);
    } verbs[] = {
        {"write", "path", expect_write}, {"copy", "from", expect_copy},
        {"read", "path", expect_read},   {"lines", "path", expect_lines},
        {"hash", "path", expect_hash},
    };
    char name[48];
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].verb, verb) != 0)
            continue;
        plain_name(text_arg(args, verbs[i].subject, "/d/"), name);
        verbs[i].expect(name, args, rc, result);
    }
    check_files();
}
