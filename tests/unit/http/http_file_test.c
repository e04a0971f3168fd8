/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/stat.h>

#include "support/web.h"
#include "weft/file.h"

static const struct weft_http_session_options defaults;
static char folder[] = "/tmp/weft-http-XXXXXX";

static const char *at(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* A file with so much of the pattern. */
static struct weft_file *make(const char *name, size_t size)
{
    struct weft_file *file;
    char *data = malloc(size + 1);
    EXPECT(data != NULL);
    for (size_t i = 0; i < size; i++)
        data[i] = pattern(i);
    EXPECT_EQ(weft_file_open(at(name), O_RDWR | O_CREAT | O_TRUNC, 0600, &file), 0);
    EXPECT_EQ(weft_file_write(file, data, size, NULL), 0);
    free(data);
    return file;
}

static void expect_pattern(const char *name, size_t size)
{
    void *data;
    size_t found;
    EXPECT_EQ(weft_file_read_all(at(name), SIZE_MAX, &data, &found), 0);
    EXPECT_EQ(found, size);
    for (size_t i = 0; i < size; i++)
        EXPECT_EQ(((char *)data)[i], pattern(i));
    free(data);
}

static void in_folder(void (*fn)(struct web *web))
{
    cr_assert(mkdtemp(folder) != NULL);
    on_web(&defaults, fn);
    cr_assert_eq(rmdir(folder), 0);
}

static void upload(struct web *web)
{
    enum { SIZE = 300000 };
    struct weft_file *file = make("up", SIZE);
    struct weft_http_request request = {.method = "PUT"};
    request.url = http_url(&web->server, "/redirect/307?/mirror");
    request.body = weft_http_file(file, "text/plain");
    EXPECT_EQ(weft_file_tell(file), SIZE);
    for (int i = 0; i < 2; i++) {
        struct weft_http_response *response = web_send(web, &request);
        EXPECT_EQ(web_read_pattern(response, SIZE), 0);
        weft_http_response_free(response);
    }
    EXPECT_EQ(weft_file_tell(file), SIZE); /* not moved */
    request.url = http_url(&web->server, "/echo");
    EXPECT_EQ(weft_file_truncate(file, 10), 0);
    char *text = web_fetch(web, &request);
    EXPECT(strstr(text, "\nContent-Length: 10\n") && strstr(text, "\nContent-Type: text/plain\n"));
    EXPECT(strstr(text, "\n\nabcdefghij"));
    free(text);
    EXPECT_EQ(weft_file_close(file), 0);
    unlink(at("up"));
}

Test(http_file, a_file_is_sent_from_its_beginning_and_again_after_a_redirect)
{
    in_folder(upload);
}

static void unusable(struct web *web)
{
    struct weft_http_request request = {.url = http_url(&web->server, "/echo")};
    struct weft_file *file;
    EXPECT_EQ(weft_file_open("/tmp", O_RDONLY | O_DIRECTORY, 0, &file), 0);
    request.body = weft_http_file(file, NULL);
    web_fails(web, &request, -EINVAL, "unusable body");
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(weft_file_open(at("write-only"), O_WRONLY | O_CREAT, 0600, &file), 0);
    EXPECT_EQ(weft_file_write(file, "abc", 3, NULL), 0);
    request.body = weft_http_file(file, NULL);
    web_fails(web, &request, -EBADF, "reading the request's body");
    EXPECT_EQ(weft_file_close(file), 0);
    unlink(at("write-only"));
    web_works(web);
}

Test(http_file, what_is_no_file_or_cannot_be_read_fails_the_request)
{
    in_folder(unusable);
}

static void parts(struct web *web)
{
    struct weft_file *file = make("part", 70000);
    struct weft_http_part parts[] = {{.name = "before", .data = "x", .size = 1},
                                     {.name = "f", .filename = "part", .file = file},
                                     {.name = "after", .data = "y", .size = 1}};
    char *text = web_fetch(
        web, &(struct weft_http_request){.url = http_url(&web->server, "/redirect/308?/echo"),
                                         .body = weft_http_multipart(parts, 3)});
    char *content = strstr(text, "application/octet-stream\r\n\r\n");
    EXPECT(content != NULL);
    content += strlen("application/octet-stream\r\n\r\n");
    for (size_t i = 0; i < 70000; i++)
        EXPECT_EQ(content[i], pattern(i));
    EXPECT(strncmp(content + 70000, "\r\n--", 4) == 0);
    EXPECT(strstr(content, "name=\"after\"\r\n\r\ny\r\n--"));
    free(text);
    EXPECT_EQ(weft_file_close(file), 0);
    unlink(at("part"));
}

Test(http_file, a_file_is_a_part_of_a_multipart_body)
{
    in_folder(parts);
}

static void download(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/chunked/200000");
    struct weft_file *file = make("down", 100);
    uint64_t size = 0;
    EXPECT_EQ(weft_file_seek(file, 0, SEEK_SET), 0);
    EXPECT_EQ(weft_http_response_to_file(response, file, 200000, &size), 0);
    EXPECT_EQ(size, 200000);
    EXPECT_EQ(weft_file_close(file), 0);
    weft_http_response_free(response);
    expect_pattern("down", 200000);
    response = web_get(web, "/bytes/1000");
    EXPECT_EQ(weft_http_response_save(response, at("down"), 1000, NULL), 0);
    weft_http_response_free(response);
    expect_pattern("down", 1000);
    unlink(at("down"));
}

Test(http_file, a_body_is_written_to_a_file)
{
    in_folder(download);
}

static void not_saved(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/bytes/1000");
    struct weft_file *file;
    uint64_t size = 99;
    EXPECT_EQ(weft_http_response_save(response, at("none/x"), 1000, &size), -ENOENT);
    EXPECT_EQ(size, 0);
    EXPECT_EQ(weft_http_response_save(response, at("x"), 999, &size), -EFBIG);
    EXPECT(access(at("x"), F_OK) < 0);
    weft_http_response_free(response);
    response = web_get(web, "/half");
    EXPECT_EQ(weft_http_response_save(response, at("x"), 1000, NULL), -ECONNRESET);
    EXPECT(access(at("x"), F_OK) < 0);
    weft_http_response_free(response);
    response = web_get(web, "/bytes/1000000");
    EXPECT_EQ(weft_file_open("/dev/full", O_WRONLY, 0, &file), 0);
    EXPECT_EQ(weft_http_response_to_file(response, file, UINT64_MAX, &size), -ENOSPC);
    EXPECT_EQ(weft_file_close(file), 0);
    weft_http_response_free(response);
    web_works(web);
}

Test(http_file, nothing_is_left_of_a_file_that_could_not_be_saved)
{
    in_folder(not_saved);
}

static void cancelled(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/stall/1000");
    struct weft_scope scope;
    weft_scope_enter(&scope, weft_deadline_after(50 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_http_response_save(response, at("x"), 100000, NULL), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT(access(at("x"), F_OK) < 0);
    weft_http_response_free(response);
    web_works(web);
}

Test(http_file, a_cancelled_download_leaves_no_file)
{
    in_folder(cancelled);
}
