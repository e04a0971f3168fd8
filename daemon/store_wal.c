/* SPDX-License-Identifier: MIT */
/*
 * store_wal: see store_wal.h.  The format is https://www.sqlite.org/fileformat2.html#walformat.
 *
 * I1  With synchronous=FULL the header is synced before the first frame, and each transaction
 *     before the next one is written.  So what a power cut can tear is the frames of one
 *     transaction, and it ends with at most one commit frame.
 * I2  Hence two commit frames of this generation (same salts) from the first bad frame on mean that
 *     a synced transaction was damaged, and so does a bad header with frames behind it.
 *     One bit of a commit frame's header can hide that it is one, and is looked for (was_commit).
 * I3  Frames with other salts are of an older generation, already in the database: the end.
 *
 * What it cannot see: damage in the last transaction looks like a torn one, and so does a file cut
 * short.
 */
#include "daemon/store_wal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER 32
#define FRAME  24 /* of a frame, before its page */

struct wal {
    FILE *file;
    size_t page_size;
    bool big_endian; /* words of the checksum */
    uint8_t salts[8];
    uint32_t sum[2];
};

static uint32_t load_be(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return be32toh(word);
}

static uint32_t load_word(const struct wal *wal, const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return wal->big_endian ? be32toh(word) : le32toh(word);
}

/* size is a multiple of 8 */
static void add_to_sum(struct wal *wal, const uint8_t *data, size_t size)
{
    uint32_t a = wal->sum[0], b = wal->sum[1];
    for (size_t i = 0; i < size; i += 8) {
        a += load_word(wal, data + i) + b;
        b += load_word(wal, data + i + 4) + a;
    }
    wal->sum[0] = a;
    wal->sum[1] = b;
}

static bool sum_is(const struct wal *wal, const uint8_t *at)
{
    return wal->sum[0] == load_be(at) && wal->sum[1] == load_be(at + 4);
}

/* Returns 1 good, 0 empty or cut short within the header, -EBADMSG. */
static int read_header(struct wal *wal)
{
    uint8_t header[HEADER];
    if (fread(header, HEADER, 1, wal->file) != 1)
        return 0;
    uint32_t magic = load_be(header);
    wal->big_endian = magic & 1;
    wal->page_size = load_be(header + 8);
    add_to_sum(wal, header, 24);
    bool good = (magic & ~1u) == 0x377f0682 && wal->page_size >= 512 && wal->page_size <= 65536 &&
                (wal->page_size & (wal->page_size - 1)) == 0 && sum_is(wal, header + 24);
    memcpy(wal->salts, header + 16, sizeof wal->salts);
    if (good)
        return 1;
    return fgetc(wal->file) == EOF ? 0 : -EBADMSG; /* I2 */
}

static bool frame_is_ours(const struct wal *wal, const uint8_t *frame)
{
    return memcmp(frame + 8, wal->salts, sizeof wal->salts) == 0;
}

static bool sum_goes_on(struct wal *wal, const uint8_t *frame)
{
    add_to_sum(wal, frame, 8);
    add_to_sum(wal, frame + FRAME, wal->page_size);
    return sum_is(wal, frame + 16);
}

static bool frame_is_good(struct wal *wal, const uint8_t *frame)
{
    return frame_is_ours(wal, frame) && load_be(frame) != 0 && sum_goes_on(wal, frame);
}

static bool is_commit(const struct wal *wal, const uint8_t *frame)
{
    return frame_is_ours(wal, frame) && load_be(frame + 4) != 0;
}

/* But for one bit: of the salts, which the checksum does not cover, or the only one of the size. */
static bool was_commit(const struct wal *before, uint8_t *frame)
{
    struct wal wal = *before;
    if (load_be(frame + 4) != 0)
        return sum_goes_on(&wal, frame);
    bool found = false;
    for (unsigned bit = 0; bit < 32 && !found; bit++) {
        frame[4 + bit / 8] = (uint8_t)(1u << bit % 8);
        wal = *before;
        found = sum_goes_on(&wal, frame);
        frame[4 + bit / 8] = 0;
    }
    return found;
}

static int read_frames(struct wal *wal, uint8_t *frame)
{
    bool bad = false;
    unsigned commits_behind = 0;
    while (fread(frame, FRAME + wal->page_size, 1, wal->file) == 1) {
        const struct wal before = *wal;
        bool first = !bad && !frame_is_good(wal, frame);
        bad = bad || first;
        if (bad && (is_commit(wal, frame) || (first && was_commit(&before, frame))))
            commits_behind++;
        if (commits_behind > 1)
            return -EBADMSG; /* I2 */
    }
    return ferror(wal->file) ? -EIO : 0;
}

static int check_file(FILE *file, char *ret_reason, size_t size)
{
    struct wal wal = {.file = file};
    int err = read_header(&wal);
    if (err == -EBADMSG)
        snprintf(ret_reason, size, "the header of its write-ahead log is bad");
    if (err <= 0)
        return err;
    uint8_t *frame = malloc(FRAME + wal.page_size);
    if (!frame)
        return -ENOMEM;
    err = read_frames(&wal, frame);
    if (err == -EBADMSG)
        snprintf(ret_reason, size, "its write-ahead log is damaged before its last transaction");
    free(frame);
    return err;
}

int store_wal_check(const char *path, char *ret_reason, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    FILE *file = fdopen(fd, "r");
    if (!file) {
        close(fd);
        return -ENOMEM;
    }
    int err = check_file(file, ret_reason, size);
    fclose(file);
    return err;
}
