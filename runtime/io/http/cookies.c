/* SPDX-License-Identifier: MIT */
/*
 * The session's cookies.  libcurl has them, in the share; here they are listed, set and forgotten,
 * as lines of Netscape's format, which is what libcurl speaks:
 *
 *     [#HttpOnly_]DOMAIN  SUBDOMAINS  PATH  SECURE  EXPIRES  NAME  VALUE      (between tabs)
 *
 *   I1  libcurl is called by the driver alone (session_call); files are read and written off the
 *       worker, on the offload pool.
 *
 * For fibers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/http/session.h"
#include "io/http/text.h"
#include "weft/fiber.h"
#include "weft/offload.h"

#define HTTP_ONLY "#HttpOnly_"

enum { FIELDS = 7, FILE_LIMIT = 16 * 1024 * 1024 };

/* ---- what the driver does --------------------------------------------------------------- */

/* An easy handle that has the session's cookies.  NULL: no memory. */
static CURL *jar_open(struct weft_http_session *session)
{
    CURL *easy = curl_easy_init();

    if (easy && curl_easy_setopt(easy, CURLOPT_SHARE, session->share) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_COOKIEFILE, "") == CURLE_OK)
        return easy;
    curl_easy_cleanup(easy);
    return NULL;
}

/* `arg`: struct curl_slist **, for the lines. */
static int list_lines(struct weft_http_session *session, void *arg)
{
    CURL *easy = jar_open(session);
    if (!easy)
        return -ENOMEM;
    CURLcode code = curl_easy_getinfo(easy, CURLINFO_COOKIELIST, (struct curl_slist **)arg);
    curl_easy_cleanup(easy);
    return code == CURLE_OK ? 0 : -ENOMEM;
}

/* `arg`: a struct curl_slist *, of lines, or of libcurl's commands. */
static int add_lines(struct weft_http_session *session, void *arg)
{
    CURLcode code = CURLE_OK;
    CURL *easy = jar_open(session);
    if (!easy)
        return -ENOMEM;
    for (struct curl_slist *line = arg; line && code == CURLE_OK; line = line->next)
        code = curl_easy_setopt(easy, CURLOPT_COOKIELIST, line->data);
    curl_easy_cleanup(easy);
    return code == CURLE_OK ? 0 : -ENOMEM;
}

static int jar_call(struct weft_http_session *session,
                    int (*fn)(struct weft_http_session *session, void *arg), void *arg)
{
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    if (session->config.options.no_cookies)
        return -ENODATA;
    return session_call(session, fn, arg);
}

static int jar_add(struct weft_http_session *session, const char *line)
{
    struct curl_slist one = {.data = (char *)(uintptr_t)line};

    return jar_call(session, add_lines, &one);
}

int weft_http_cookies_clear(struct weft_http_session *session)
{
    return jar_add(session, "ALL");
}

/* ---- one cookie ------------------------------------------------------------------------- */

/* Cut a line in place.  Errors: -EBADMSG it is no cookie. */
static int parse(char *line, struct weft_http_cookie *ret_cookie)
{
    char *fields[FIELDS];
    bool http_only = strncmp(line, HTTP_ONLY, strlen(HTTP_ONLY)) == 0;

    if (http_only)
        line += strlen(HTTP_ONLY);
    for (int i = 0; i < FIELDS; i++) {
        fields[i] = i < FIELDS - 1 ? strsep(&line, "\t") : line;
        if (!fields[i])
            return -EBADMSG;
    }
    *ret_cookie = (struct weft_http_cookie){
        .name = fields[5],
        .value = fields[6],
        .domain = fields[0] + (fields[0][0] == '.'),
        .path = fields[2],
        .expires_s = strtoll(fields[4], NULL, 10),
        .subdomains = strcmp(fields[1], "TRUE") == 0,
        .secure = strcmp(fields[3], "TRUE") == 0,
        .http_only = http_only,
    };
    return 0;
}

static bool fits(const char *text)
{
    return text_is_value(text) && !strchr(text, '\t');
}

static int check(const struct weft_http_cookie *cookie)
{
    if (!text_is_token(cookie->name) || !fits(cookie->value) || strchr(cookie->value, ';'))
        return -EINVAL;
    if (!fits(cookie->domain) || !cookie->domain[0] || cookie->expires_s < 0)
        return -EINVAL;
    return cookie->path && (!fits(cookie->path) || cookie->path[0] != '/') ? -EINVAL : 0;
}

int weft_http_cookie_set(struct weft_http_session *session, const struct weft_http_cookie *cookie)
{
    char *line;
    int r = check(cookie);
    if (r < 0)
        return r;
    if (asprintf(&line, "%s%s%s\t%s\t%s\t%s\t%lld\t%s\t%s", cookie->http_only ? HTTP_ONLY : "",
                 cookie->subdomains ? "." : "", cookie->domain,
                 cookie->subdomains ? "TRUE" : "FALSE", cookie->path ? cookie->path : "/",
                 cookie->secure ? "TRUE" : "FALSE", (long long)cookie->expires_s, cookie->name,
                 cookie->value) < 0)
        return -ENOMEM;
    r = jar_add(session, line);
    free(line);
    return r;
}

/* ---- all of them ------------------------------------------------------------------------ */

static int to_array(const struct curl_slist *lines, struct weft_http_cookie **ret_cookies,
                    size_t *ret_count)
{
    size_t count = 0, used = 0, size = 0;
    for (const struct curl_slist *line = lines; line; line = line->next) {
        count++;
        size += strlen(line->data) + 1;
    }
    struct weft_http_cookie *cookies = malloc((count ? count : 1) * sizeof(*cookies) + size);
    if (!cookies)
        return -ENOMEM;
    char *text = (char *)(cookies + count);
    for (const struct curl_slist *line = lines; line; line = line->next) {
        size_t length = strlen(line->data) + 1;

        memcpy(text, line->data, length);
        if (parse(text, &cookies[used]) == 0)
            used++;
        text += length;
    }
    *ret_cookies = cookies;
    *ret_count = used;
    return 0;
}

int weft_http_cookies(struct weft_http_session *session, struct weft_http_cookie **ret_cookies,
                      size_t *ret_count)
{
    struct curl_slist *lines = NULL;
    int r = jar_call(session, list_lines, &lines);
    if (r < 0)
        return r;
    r = to_array(lines, ret_cookies, ret_count);
    curl_slist_free_all(lines);
    return r;
}

/* ---- files ------------------------------------------------------------------------------ */

struct cookie_file {
    const char *path;
    struct curl_slist *lines;
};

/* Whether a line of a file is a cookie and no comment; its end of line is cut off. */
static bool is_cookie_line(char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    return line[0] && (line[0] != '#' || strncmp(line, HTTP_ONLY, strlen(HTTP_ONLY)) == 0);
}

static int read_line(char *line, struct curl_slist **lines)
{
    struct weft_http_cookie cookie;
    struct curl_slist *longer;
    if (!is_cookie_line(line))
        return 0;
    longer = curl_slist_append(*lines, line);
    if (!longer)
        return -ENOMEM;
    *lines = longer;
    return parse(line, &cookie);
}

/* On a thread of the offload pool. */
static int read_file(void *arg)
{
    struct cookie_file *file = arg;
    char *line = NULL;
    size_t room = 0, total = 0;
    int r = 0;
    FILE *stream = fopen(file->path, "re");
    if (!stream)
        return -errno;
    while (r == 0 && total <= FILE_LIMIT && getline(&line, &room, stream) >= 0) {
        total += strlen(line);
        r = read_line(line, &file->lines);
    }
    if (r == 0 && total > FILE_LIMIT)
        r = -EMSGSIZE;
    if (r == 0 && !feof(stream))
        r = ferror(stream) ? -EIO : -ENOMEM;
    free(line);
    fclose(stream);
    return r;
}

int weft_http_cookies_load(struct weft_http_session *session, const char *path)
{
    struct cookie_file file = {.path = path};
    int result;
    int r = weft_offload(read_file, &file, &result);
    if (r == 0)
        r = result;
    if (r == 0)
        r = jar_call(session, add_lines, file.lines);
    curl_slist_free_all(file.lines);
    return r;
}

static int write_lines(FILE *stream, const struct curl_slist *lines)
{
    fputs("# Netscape HTTP Cookie File\n", stream);
    for (; lines; lines = lines->next)
        fprintf(stream, "%s\n", lines->data);
    if (fflush(stream) != 0 || ferror(stream))
        return errno > 0 ? -errno : -EIO;
    return fsync(fileno(stream)) < 0 ? -errno : 0;
}

static int write_temporary(const char *path, int fd, const struct cookie_file *file)
{
    FILE *stream = fdopen(fd, "w");
    if (!stream) {
        close(fd);
        return -ENOMEM;
    }
    int r = write_lines(stream, file->lines);
    if (fclose(stream) != 0 && r == 0)
        r = -EIO;
    if (r == 0 && rename(path, file->path) < 0)
        r = -errno;
    return r;
}

/* On a thread of the offload pool.  mkostemp makes it readable by its owner only. */
static int write_file(void *arg)
{
    const struct cookie_file *file = arg;
    char *path;
    if (asprintf(&path, "%s.XXXXXX", file->path) < 0)
        return -ENOMEM;
    int fd = mkostemp(path, O_CLOEXEC);
    int r = fd < 0 ? -errno : write_temporary(path, fd, file);
    if (r < 0 && fd >= 0)
        unlink(path);
    free(path);
    return r;
}

int weft_http_cookies_save(struct weft_http_session *session, const char *path)
{
    struct cookie_file file = {.path = path};
    int result;
    int r = jar_call(session, list_lines, &file.lines);
    if (r < 0)
        return r;
    r = weft_offload(write_file, &file, &result);
    curl_slist_free_all(file.lines);
    return r < 0 ? r : result;
}
