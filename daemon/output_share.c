/* SPDX-License-Identifier: MIT */
/*
 * output_share: see output_share.h.
 *
 * I1  What is handed out is an open file description of its own, of a regular file, for reading: it has
 *     nothing in common with the writer's, and leads to no other file.
 * I2  A complete file with nothing behind the offset is not handed out.  So who comes back from the end
 *     of one, which its mode shows (output.h, I4), gets another or none, never the same again.
 * I3  A gap is believed if a second listing has it (output_tail.c, I4).
 */
#include "daemon/output_share.h"

#include "daemon/output_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 8 };

/* What of the stream is wanted. */
struct wanted {
    uint64_t offset;
    bool is_over; /* the attempt is */
};

/* Takes fd over, whose first byte is byte `begin` of the stream.  `is_complete`: it is known to be. */
static int share_file(int fd, uint64_t begin, uint64_t offset, bool is_complete,
                      struct output_share *share)
{
    struct stat status;
    int rc = fstat(fd, &status) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(status.st_mode))
        rc = -EBADF; /* I1 */
    if (rc == 0) {
        is_complete |= !(status.st_mode & S_IWUSR);
        share->fd = !is_complete || offset < begin + (uint64_t)status.st_size ? fd : -1; /* I2 */
        share->begin = begin;
        share->gap = share->fd >= 0 && begin > offset ? begin - offset : 0;
    }
    if (share->fd < 0)
        close(fd);
    return rc;
}

/* The last one that begins at the offset or before it. */
static size_t find(const struct output_listing *listing, uint64_t offset)
{
    size_t i = 0;
    while (i + 1 < listing->count && listing->first[i + 1] <= offset)
        i++;
    return i;
}

/* Returns 1: a segment of the listing was gone when it was its turn. */
static int share_listed(int folder, const struct output_listing *listing,
                        const struct wanted *wanted, struct output_share *share)
{
    size_t i = find(listing, wanted->offset);
    for (; i < listing->count && share->fd < 0; i++) {
        bool is_complete = wanted->is_over || i + 1 < listing->count;
        int fd = output_tail_open(folder, listing->first[i]);
        int rc =
            fd < 0 ? fd : share_file(fd, listing->first[i], wanted->offset, is_complete, share);
        if (rc < 0)
            return rc == -ENOENT ? 1 : rc;
    }
    share->at_end = i == listing->count;
    return 0;
}

static int share_once(int folder, const struct wanted *wanted, struct output_share *share)
{
    struct output_listing listing;
    if (share->fd >= 0)
        close(share->fd);
    *share = (struct output_share){.fd = -1};
    int rc = output_tail_list(folder, &listing);
    return rc < 0 ? rc : share_listed(folder, &listing, wanted, share);
}

static int share_tail(int folder, const struct wanted *wanted, struct output_share *share)
{
    for (int i = 0, gaps = 0; i < TRIES; i++) {
        int rc = share_once(folder, wanted, share);
        gaps += share->gap > 0;
        if (rc < 0 || (rc == 0 && (share->gap == 0 || gaps > 1))) /* I3 */
            return rc;
    }
    return 0; /* whoever asks again finds a writer in less of a hurry */
}

int output_share_at(int folder, const char *name, uint64_t offset, bool is_over,
                    struct output_share *share)
{
    struct wanted wanted = {offset, is_over};
    struct stat status;
    *share = (struct output_share){.fd = -1, .at_end = true};
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(fd, &status) < 0 || !S_ISDIR(status.st_mode))
        return share_file(fd, 0, offset, is_over, share);
    int rc = share_tail(fd, &wanted, share);
    close(fd);
    return rc;
}
