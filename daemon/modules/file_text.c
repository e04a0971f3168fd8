/* SPDX-License-Identifier: MIT */
/*
 * file.read, file.write, file.lines: what of a file goes through arguments and results, by the
 * runtime's files.
 *
 * I1  A file that is written whole is there whole or not at all: it takes the place of the old one
 *     by a rename, and is synced to disk before that.  Appending is in place, and an append that
 *     failed or was cancelled may be there in part.
 * I2  What a call reads stays under FILE_RESULT_MAX, whatever the file is; "eof" says whether more
 *     is there.
 */
#include "daemon/modules/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <weft/file.h>
#include <weft/reader.h>

/* A stop of the job is not the file's fault. */
static int say_failed(struct weft_attempt *attempt, int rc, const char *verb)
{
    if (rc == -ECANCELED || rc == -ETIMEDOUT)
        return rc;
    return weft_attempt_fail(attempt, rc, "cannot %s %s", verb, weft_arg_text(attempt, "path", ""));
}

/* A regular file; a FIFO would keep the call until somebody writes to it. */
static int open_to_read(struct weft_attempt *attempt, struct weft_file **ret_file)
{
    struct weft_file *file;
    struct stat status;
    int rc = weft_file_open(weft_arg_text(attempt, "path", ""), O_RDONLY | O_NOCTTY | O_NONBLOCK, 0,
                            &file);
    if (rc < 0)
        return rc;
    rc = weft_file_stat(file, &status);
    if (rc == 0 && !S_ISREG(status.st_mode))
        rc = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    if (rc < 0) {
        weft_file_free(file);
        return rc;
    }
    *ret_file = file;
    return 0;
}

/* ---- file.read ------------------------------------------------------------------------------- */

/* Behind the last offset that there can be is nothing, as behind the end; a read that reaches over it
 * would fail. */
static size_t up_to_last_offset(size_t size, off_t offset)
{
    uint64_t room = (uint64_t)(INT64_MAX - offset);
    return size < room ? size : (size_t)room;
}

/* One byte more than asked for tells whether there is more.  Returns: bytes read, at most size. */
static ssize_t read_piece(struct weft_file *file, char *data, size_t size, off_t offset)
{
    size_t done = 0;
    size = up_to_last_offset(size, offset);
    while (done < size) {
        ssize_t n = weft_file_pread(file, data + done, size - done, offset + (off_t)done);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Whole characters only, where the piece ends within one; a text read in pieces stays text. */
static size_t without_cut_character(const char *data, size_t size)
{
    size_t tail = 0;
    while (tail < 3 && tail < size && ((unsigned char)data[size - 1 - tail] & 0xc0) == 0x80)
        tail++;
    if (tail == size)
        return size;
    unsigned char lead = (unsigned char)data[size - 1 - tail];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    size_t whole = size - 1 - tail;
    return length > tail + 1 && whole > 0 ? whole : size;
}

static int return_piece(struct weft_attempt *attempt, const char *data, size_t size, size_t limit)
{
    bool eof = size <= limit;
    size_t whole = eof ? size : without_cut_character(data, limit);
    weft_result_data(attempt, data, whole);
    return weft_result_boolean(attempt, "eof", eof);
}

int file_read_run(struct weft_attempt *attempt)
{
    size_t limit = (size_t)weft_arg_bytes(attempt, "limit", FILE_RESULT_MAX);
    off_t offset = (off_t)weft_arg_bytes(attempt, "offset", 0);
    struct weft_file *file;
    char *data = malloc(limit + 1);
    if (!data)
        return -ENOMEM;
    int rc = open_to_read(attempt, &file);
    if (rc == 0) {
        ssize_t size = read_piece(file, data, limit + 1, offset);
        rc = size < 0 ? (int)size : return_piece(attempt, data, (size_t)size, limit);
        weft_file_free(file);
    }
    free(data);
    return rc < 0 ? say_failed(attempt, rc, "read") : 0;
}

/* ---- file.write ------------------------------------------------------------------------------ */

static size_t padding_of(const char *text, size_t length)
{
    return length >= 2 ? (size_t)(text[length - 1] == '=') + (text[length - 2] == '=') : 0;
}

static bool is_base64(const char *text)
{
    size_t length = strlen(text);
    size_t digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                 "0123456789+/");
    return length % 4 == 0 && length <= INT_MAX / 2 && digits == length - padding_of(text, length);
}

int file_write_check(struct weft_attempt *attempt)
{
    bool is_text = strcmp(weft_arg_text(attempt, "encoding", "utf-8"), "utf-8") == 0;
    if (!is_text && !is_base64(weft_arg_text(attempt, "data", "")))
        return weft_arg_refuse(attempt, "data", "is not base64");
    return file_check(attempt);
}

/* Of what is_base64().  EVP_DecodeBlock counts the padding as bytes. */
static int decode(const char *text, void **ret_data, size_t *ret_size)
{
    size_t length = strlen(text), padding = padding_of(text, length);
    unsigned char *data = malloc(length / 4 * 3 + 1);
    if (!data)
        return -ENOMEM;
    int size = EVP_DecodeBlock(data, (const unsigned char *)text, (int)length);
    if (size < 0) {
        free(data);
        return -EINVAL;
    }
    *ret_data = data;
    *ret_size = (size_t)size - padding;
    return 0;
}

/* I1 */
static int write_data(struct weft_attempt *attempt, const void *data, size_t size)
{
    unsigned flags =
        weft_arg_boolean(attempt, "append", false) ? WEFT_WRITE_APPEND : WEFT_WRITE_ATOMIC;
    if (weft_arg_boolean(attempt, "fsync", false))
        flags |= WEFT_WRITE_SYNC;
    int rc = weft_file_write_all(weft_arg_text(attempt, "path", ""), data, size, 0666, flags);
    return rc < 0 ? say_failed(attempt, rc, "write")
                  : weft_result_integer(attempt, "bytes", (int64_t)size);
}

int file_write_run(struct weft_attempt *attempt)
{
    const char *text = weft_arg_text(attempt, "data", "");
    void *data;
    size_t size;
    if (strcmp(weft_arg_text(attempt, "encoding", "utf-8"), "utf-8") == 0)
        return write_data(attempt, text, strlen(text));
    int rc = decode(text, &data, &size);
    if (rc < 0)
        return rc;
    rc = write_data(attempt, data, size);
    free(data);
    return rc;
}

/* ---- file.lines ------------------------------------------------------------------------------ */

/* A NUL byte would end a text. */
static int append_line(struct weft_attempt *attempt, const char *line, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++)
        text[i] = line[i] ? line[i] : '?';
    text[size] = '\0';
    int rc = weft_result_append(attempt, "lines", text);
    free(text);
    return rc;
}

/* I2 */
static int read_lines(struct weft_attempt *attempt, struct weft_reader *reader, int64_t limit)
{
    size_t total = 0;
    const char *line;
    size_t size;
    int more = weft_reader_next_line(reader, &line, &size);
    weft_result_append(attempt, "lines", NULL);
    for (; more > 0; more = weft_reader_next_line(reader, &line, &size)) {
        if (limit-- == 0 || total + size > FILE_RESULT_MAX)
            break;
        total += size + 1;
        int rc = append_line(attempt, line, size);
        if (rc < 0)
            return rc;
    }
    return more < 0 ? more : weft_result_boolean(attempt, "eof", more == 0);
}

int file_lines_run(struct weft_attempt *attempt)
{
    struct weft_reader reader;
    struct weft_file *file;
    int rc = open_to_read(attempt, &file);
    if (rc < 0)
        return say_failed(attempt, rc, "read");
    weft_reader_init_file(&reader, file);
    weft_reader_set_limit(&reader, FILE_RESULT_MAX);
    rc = read_lines(attempt, &reader, weft_arg_integer(attempt, "limit", 1000));
    weft_reader_destroy(&reader);
    weft_file_free(file);
    if (rc == -EMSGSIZE)
        return weft_attempt_refuse(attempt, rc, "cannot read %s: a line is over %d bytes",
                                   weft_arg_text(attempt, "path", ""), FILE_RESULT_MAX);
    return rc < 0 ? say_failed(attempt, rc, "read") : 0;
}
