/* SPDX-License-Identifier: MIT */
/*
 * output_tail: see output_tail.h.
 *
 * I4  readdir(3) promises nothing about names that come or go while it reads.  A segment whose name
 *     was seen was begun after those before it, so a listing that is begun then has these too, unless
 *     they are removed: a gap is told only if a second listing has it.
 */
#include "daemon/output_tail.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_SIZE = 24, TRIES = 8 };

#define SMALL_CAP ((uint64_t)32 << 10) /* below it: two segments, not of a few bytes each */

static void segment_name(char name[static NAME_SIZE], uint64_t first)
{
    snprintf(name, NAME_SIZE, "%" PRIu64, first);
}

ssize_t output_read_at(int fd, char *to, size_t size, uint64_t at)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, to + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

void output_seal(int fd)
{
    (void)fchmod(fd, S_IRUSR);
}

/* ---- writing --------------------------------------------------------------------------------- */

void output_tail_init(struct output_tail *tail, int folder, uint64_t cap)
{
    *tail = (struct output_tail){.folder = folder, .fd = -1};
    tail->most = cap >= SMALL_CAP ? OUTPUT_SEGMENTS : cap >= 2 ? 2 : 1;
    tail->size = cap / tail->most;
}

static int end_segment(struct output_tail *tail)
{
    if (tail->fd >= 0)
        output_seal(tail->fd);
    int rc = tail->fd >= 0 && close(tail->fd) < 0 ? -errno : 0;
    tail->fd = -1;
    return rc;
}

static int drop_oldest(struct output_tail *tail)
{
    char name[NAME_SIZE];
    segment_name(name, tail->first[0]);
    if (unlinkat(tail->folder, name, 0) < 0 && errno != ENOENT)
        return -errno;
    tail->count--;
    memmove(tail->first, tail->first + 1, tail->count * sizeof(*tail->first));
    return 0;
}

/* I2 */
static int begin_segment(struct output_tail *tail)
{
    char name[NAME_SIZE];
    int rc = end_segment(tail);
    if (rc == 0 && tail->count == tail->most)
        rc = drop_oldest(tail);
    if (rc < 0)
        return rc;
    segment_name(name, tail->at);
    tail->fd = openat(tail->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (tail->fd < 0)
        return -errno;
    tail->first[tail->count++] = tail->at;
    tail->end = tail->at + tail->size;
    return 0;
}

/* Of a piece that is larger than all that is kept, the rest would go before anybody reads it. */
static int skip(struct output_tail *tail, uint64_t bytes)
{
    int rc = end_segment(tail);
    while (rc == 0 && tail->count > 0)
        rc = drop_oldest(tail);
    tail->at += bytes;
    tail->end = tail->at;
    return rc;
}

int output_tail_write(struct output_tail *tail, const char *data, size_t size)
{
    uint64_t kept = tail->size * tail->most;
    int rc = size > kept ? skip(tail, size - kept) : 0;
    if (size > kept) {
        data += size - kept;
        size = (size_t)kept;
    }
    while (rc == 0 && size > 0) {
        if (tail->fd < 0 || tail->at == tail->end)
            rc = begin_segment(tail);
        uint64_t room = tail->end - tail->at;
        ssize_t n = rc < 0 ? 0 : write(tail->fd, data, size < room ? size : (size_t)room);
        if (n < 0 && errno != EINTR)
            rc = -errno;
        if (n <= 0)
            continue;
        tail->at += (uint64_t)n;
        data += n;
        size -= (size_t)n;
    }
    return rc;
}

int output_tail_close(struct output_tail *tail)
{
    int rc = end_segment(tail);
    close(tail->folder);
    return rc;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static DIR *open_names(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !names)
        close(fd);
    return names;
}

/* Of more than there is room for, which a writer in a hurry can bring about, those in front. */
static void add(struct output_listing *listing, uint64_t first)
{
    size_t at = listing->count;
    while (at > 0 && listing->first[at - 1] > first)
        at--;
    if (at == OUTPUT_LISTED_MAX)
        return;
    if (listing->count < OUTPUT_LISTED_MAX)
        listing->count++;
    memmove(listing->first + at + 1, listing->first + at,
            (listing->count - at - 1) * sizeof(*listing->first));
    listing->first[at] = first;
}

int output_tail_list(int folder, struct output_listing *listing)
{
    DIR *names = open_names(folder);
    const struct dirent *entry;
    listing->count = 0;
    if (!names)
        return errno == ENOENT ? 0 : -errno; /* it was removed meanwhile */
    while ((entry = readdir(names)))
        if (isdigit((unsigned char)entry->d_name[0]))
            add(listing, strtoull(entry->d_name, NULL, 10));
    closedir(names);
    return 0;
}

int output_tail_remove(int parent, const char *name)
{
    int folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return errno == ENOENT ? 0 : -errno;
    DIR *names = open_names(folder);
    const struct dirent *entry;
    int rc = names ? 0 : -errno;
    while (names && (entry = readdir(names)))
        if (entry->d_name[0] != '.' && unlinkat(folder, entry->d_name, 0) < 0 && errno != ENOENT)
            rc = -errno;
    if (names)
        closedir(names);
    close(folder);
    if (rc == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = -errno;
    return rc;
}

int output_tail_open(int folder, uint64_t first)
{
    char name[NAME_SIZE];
    segment_name(name, first);
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct tail_reading {
    int folder;
    uint64_t offset;
    size_t limit;
    struct output_chunk *chunk;
    bool missed; /* a segment of the listing was gone when it was its turn */
};

static uint64_t position(const struct tail_reading *reading)
{
    return reading->offset + reading->chunk->gap + reading->chunk->size;
}

/* size bytes of the segment, from our position on. */
static int append(struct tail_reading *reading, int fd, uint64_t first, size_t size)
{
    struct output_chunk *chunk = reading->chunk;
    char *data = realloc(chunk->data, chunk->size + size);
    if (!data)
        return -ENOMEM;
    chunk->data = data;
    ssize_t n = output_read_at(fd, data + chunk->size, size, position(reading) - first);
    if (n < 0)
        return (int)n;
    chunk->size += (size_t)n;
    return 0;
}

/* What of the segment is behind our position, as far as the limit goes.  Returns 1: and there is
 * nothing more in it. */
static int take(struct tail_reading *reading, int fd, uint64_t first)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    uint64_t end = first + (uint64_t)status.st_size;
    uint64_t left = position(reading) < end ? end - position(reading) : 0;
    size_t room = reading->limit - reading->chunk->size;
    size_t size = left < room ? (size_t)left : room;
    int rc = size > 0 ? append(reading, fd, first, size) : 0;
    return rc < 0 ? rc : position(reading) >= end;
}

/* Returns 1: go on with the next one. */
static int take_segment(struct tail_reading *reading, uint64_t first)
{
    struct output_chunk *chunk = reading->chunk;
    if (first > position(reading) && chunk->size > 0)
        return 0; /* what is before a gap is one piece, what is behind it the next */
    int fd = output_tail_open(reading->folder, first);
    if (fd < 0 && fd != -ENOENT)
        return fd;
    reading->missed |= fd < 0;
    if (fd < 0)
        return 1;
    if (first > position(reading))
        chunk->gap = first - reading->offset;
    int rc = take(reading, fd, first);
    close(fd);
    return rc;
}

static int read_listed(struct tail_reading *reading, const struct output_listing *listing)
{
    int rc = 1;
    for (size_t i = 0; rc == 1 && i < listing->count; i++) {
        bool is_before = i + 1 < listing->count && listing->first[i + 1] <= position(reading);
        if (!is_before)
            rc = take_segment(reading, listing->first[i]);
    }
    reading->chunk->at_end = rc == 1 && !reading->missed;
    return rc < 0 ? rc : 0;
}

static int read_once(struct tail_reading *reading)
{
    struct output_listing listing;
    struct output_chunk *chunk = reading->chunk;
    free(chunk->data);
    *chunk = (struct output_chunk){0};
    reading->missed = false;
    int rc = output_tail_list(reading->folder, &listing);
    return rc < 0 ? rc : read_listed(reading, &listing);
}

int output_tail_read(int folder, uint64_t offset, size_t limit, struct output_chunk *chunk)
{
    struct tail_reading reading = {
        .folder = folder, .offset = offset, .limit = limit, .chunk = chunk};
    for (int i = 0, gaps = 0; i < TRIES; i++) {
        int rc = read_once(&reading);
        gaps += chunk->gap > 0;
        bool is_good = chunk->gap > 0 ? gaps > 1 : chunk->size > 0 || !reading.missed; /* I4 */
        if (rc < 0 || is_good)
            return rc;
    }
    return 0; /* whoever asks again finds a writer in less of a hurry */
}
