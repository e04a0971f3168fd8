/* SPDX-License-Identifier: MIT */
/*
 * output: what programs wrote, in files.  The contract stands in output.h.
 *
 * I4  Names are relative to the folder's descriptor, which is open as long as the store: moving or
 *     mounting over the state folder cannot split it.
 * I5  Blocking calls run in the ..._main functions, on threads of the pool, and see no fiber.
 * I6  One fiber at a time uses a struct output.
 */
#include "daemon/output.h"

#include "daemon/output_share.h"
#include "daemon/output_tail.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weft/weft.h>

enum { NAME_SIZE = 96, PER_FOLDER = 1000 };

struct output_store {
    int folder; /* STATE/output */
};

struct output {
    const struct output_store *store;
    struct output_limit limit;
    int fd;                  /* of the head; -1: nothing was written yet */
    bool has_tail;           /* something was written */
    struct output_tail tail; /* instead of the head */
    struct output_summary summary;
    char folder[NAME_SIZE], name[NAME_SIZE], dropped_name[NAME_SIZE];
};

/* fn(arg) on a thread of the pool whatever the scope says; where that cannot be, here. */
static int offload_shielded(int (*fn)(void *), void *arg)
{
    struct weft_scope shield;
    int result = 0;
    weft_shield_enter(&shield);
    int rc = weft_offload(fn, arg, &result);
    weft_scope_leave(&shield);
    return rc < 0 ? fn(arg) : result;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void folder_name(char name[static NAME_SIZE], uint64_t id)
{
    snprintf(name, NAME_SIZE, "%" PRIu64, id / PER_FOLDER);
}

static void file_name(char name[static NAME_SIZE], uint64_t id, uint32_t attempt,
                      enum output_stream stream, const char *suffix)
{
    snprintf(name, NAME_SIZE, "%" PRIu64 "/%" PRIu64 ".%" PRIu32 ".%s%s", id / PER_FOLDER, id,
             attempt, stream == OUTPUT_STDOUT ? "out" : "err", suffix);
}

/* A file, or the folder of a tail. */
static int remove_in(int folder, const char *name)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return 0;
    return errno == EISDIR ? output_tail_remove(folder, name) : -errno;
}

static int remove_file(const struct output_store *store, const char *name)
{
    return remove_in(store->folder, name);
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* Returns the descriptor. */
static int open_folder(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

int output_store_new(const char *state_dir, struct output_store **ret_store)
{
    char *path;
    if (asprintf(&path, "%s/output", state_dir) < 0)
        return -ENOMEM;
    int fd = open_folder(path);
    free(path);
    if (fd < 0)
        return fd;
    struct output_store *store = malloc(sizeof(*store));
    if (!store) {
        close(fd);
        return -ENOMEM;
    }
    store->folder = fd;
    *ret_store = store;
    return 0;
}

void output_store_free(struct output_store *store)
{
    if (!store)
        return;
    close(store->folder);
    free(store);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int forget_main(void *arg)
{
    struct output *output = arg;
    int rc = remove_file(output->store, output->name);
    int dropped_rc = remove_file(output->store, output->dropped_name);
    return rc < 0 ? rc : dropped_rc;
}

int output_open(struct output_store *store, uint64_t id, uint32_t attempt,
                enum output_stream stream, const struct output_limit *limit,
                struct output **ret_output)
{
    struct output *output = calloc(1, sizeof(*output));
    if (!output)
        return -ENOMEM;
    output->store = store;
    output->limit = *limit;
    output->fd = -1;
    folder_name(output->folder, id);
    file_name(output->name, id, attempt, stream, "");
    file_name(output->dropped_name, id, attempt, stream, ".dropped");
    output->summary.err = offload_shielded(forget_main, output);
    *ret_output = output;
    return 0;
}

/* The folder may be taken away between the two, when its last file is removed.  Returns the
 * descriptor. */
static int create(const struct output *output, const char *name,
                  int (*make)(int folder, const char *name))
{
    int rc = -ENOENT;
    for (int try = 0; try < 8 && rc == -ENOENT; try++) {
        rc = make(output->store->folder, name);
        if (rc == -ENOENT && mkdirat(output->store->folder, output->folder, 0700) < 0 &&
            errno != EEXIST)
            rc = -errno;
    }
    return rc;
}

static int make_file(int folder, const char *name)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static int make_folder(int folder, const char *name)
{
    if (mkdirat(folder, name, 0700) < 0)
        return -errno;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

struct piece {
    struct output *output;
    const char *data;
    size_t size;
};

/* Errors: the file's; what was written is counted either way. */
static int write_head_main(void *arg)
{
    struct piece *piece = arg;
    struct output *output = piece->output;
    if (output->fd < 0)
        output->fd = create(output, output->name, make_file);
    if (output->fd < 0)
        return output->fd;
    while (piece->size > 0) {
        ssize_t n = write(output->fd, piece->data, piece->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        piece->data += n;
        piece->size -= (size_t)n;
        output->summary.written += (uint64_t)n;
    }
    return 0;
}

/* The same for a tail. */
static int write_tail_main(void *arg)
{
    struct piece *piece = arg;
    struct output *output = piece->output;
    if (!output->has_tail) {
        int folder = create(output, output->name, make_folder);
        if (folder < 0)
            return folder;
        output_tail_init(&output->tail, folder, output->limit.cap);
        output->has_tail = true;
    }
    int rc = output_tail_write(&output->tail, piece->data, piece->size);
    piece->size -= (size_t)(output->tail.at - output->summary.written);
    output->summary.written = output->tail.at;
    return rc;
}

void output_write(struct output *output, const void *data, size_t size)
{
    struct output_summary *summary = &output->summary;
    bool tail = output->limit.keep == OUTPUT_KEEP_TAIL && output->limit.cap > 0;
    uint64_t room = tail ? size : output->limit.cap - summary->written;
    struct piece piece = {output, data, size < room ? size : (size_t)room};
    summary->dropped += size - piece.size;
    if (piece.size > 0 && summary->err == 0)
        summary->err = offload_shielded(tail ? write_tail_main : write_head_main, &piece);
    summary->dropped += piece.size; /* 0 unless there is an error */
}

/* Best effort: without it a reader is only not told. */
static void note_dropped(const struct output *output)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "%" PRIu64 "\n", output->summary.dropped);
    int fd = create(output, output->dropped_name, make_file);
    if (fd < 0)
        return;
    if (write(fd, text, (size_t)size) != size)
        (void)remove_file(output->store, output->dropped_name);
    close(fd);
}

static int close_main(void *arg)
{
    struct output *output = arg;
    if (output->summary.dropped > 0)
        note_dropped(output);
    int rc = output->has_tail ? output_tail_close(&output->tail) : 0;
    if (output->fd >= 0)
        output_seal(output->fd);
    if (output->fd >= 0 && close(output->fd) < 0)
        rc = -errno;
    if (output->summary.err == 0)
        output->summary.err = rc;
    return 0;
}

void output_close(struct output *output, struct output_summary *ret_summary)
{
    if (output->fd >= 0 || output->has_tail || output->summary.dropped > 0)
        (void)offload_shielded(close_main, output);
    *ret_summary = output->summary;
    free(output);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    const struct output_store *store;
    char name[NAME_SIZE], dropped_name[NAME_SIZE];
    uint64_t offset;
    size_t limit;
    struct output_chunk chunk;
};

/* No file: nothing was.  One that cannot be read is an error: what was cut must not pass for whole. */
static int read_dropped(const struct output_store *store, const char *name, uint64_t *ret_dropped)
{
    char text[32];
    int fd = openat(store->folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return -errno;
    ssize_t n = fd < 0 ? 0 : output_read_at(fd, text, sizeof(text) - 1, 0);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    *ret_dropped = strtoull(text, NULL, 10);
    return 0;
}

static int read_head(int fd, uint64_t end, struct reading *reading)
{
    struct output_chunk *chunk = &reading->chunk;
    uint64_t left = reading->offset < end ? end - reading->offset : 0;
    size_t size = left < reading->limit ? (size_t)left : reading->limit;
    ssize_t n = 0;
    if (size > 0) {
        chunk->data = malloc(size);
        n = chunk->data ? output_read_at(fd, chunk->data, size, reading->offset) : -ENOMEM;
    }
    chunk->size = n > 0 ? (size_t)n : 0;
    chunk->at_end = reading->offset + chunk->size >= end;
    return n < 0 ? (int)n : 0;
}

static int read_file(int fd, struct reading *reading)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    return S_ISDIR(status.st_mode)
               ? output_tail_read(fd, reading->offset, reading->limit, &reading->chunk)
               : read_head(fd, (uint64_t)status.st_size, reading);
}

static int read_main(void *arg)
{
    struct reading *reading = arg;
    int rc = 0;
    int fd = openat(reading->store->folder, reading->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return -errno;
    reading->chunk.at_end = true;
    if (fd >= 0) {
        rc = read_file(fd, reading);
        close(fd);
    }
    if (rc == 0 && reading->chunk.at_end)
        rc = read_dropped(reading->store, reading->dropped_name, &reading->chunk.dropped);
    return rc;
}

int output_read(struct output_store *store, uint64_t id, uint32_t attempt,
                enum output_stream stream, uint64_t offset, size_t limit,
                struct output_chunk *ret_chunk)
{
    struct reading reading = {.store = store, .offset = offset, .limit = limit};
    int result;
    if (offset > INT64_MAX - limit)
        reading.limit = 0; /* behind the end of any file */
    file_name(reading.name, id, attempt, stream, "");
    file_name(reading.dropped_name, id, attempt, stream, ".dropped");
    struct output_chunk *chunk = &reading.chunk;
    int rc = weft_offload(read_main, &reading, &result);
    rc = rc < 0 ? rc : result;
    if (rc < 0 || chunk->size == 0) {
        free(chunk->data);
        chunk->data = NULL;
    }
    chunk->next = offset + chunk->gap + chunk->size;
    if (rc == 0)
        *ret_chunk = *chunk;
    return rc;
}

/* ---- sharing --------------------------------------------------------------------------------- */

struct sharing {
    const struct output_store *store;
    char name[NAME_SIZE], dropped_name[NAME_SIZE];
    uint64_t offset;
    bool is_over;
    struct output_share share;
};

static int share_main(void *arg)
{
    struct sharing *sharing = arg;
    struct output_share *share = &sharing->share;
    int rc = output_share_at(sharing->store->folder, sharing->name, sharing->offset,
                             sharing->is_over, share);
    if (rc == 0 && share->at_end)
        rc = read_dropped(sharing->store, sharing->dropped_name, &share->dropped);
    return rc;
}

int output_share(struct output_store *store, uint64_t id, uint32_t attempt,
                 enum output_stream stream, uint64_t offset, bool is_over,
                 struct output_share *ret_share)
{
    struct sharing sharing = {.store = store, .offset = offset, .is_over = is_over, .share.fd = -1};
    int result;
    file_name(sharing.name, id, attempt, stream, "");
    file_name(sharing.dropped_name, id, attempt, stream, ".dropped");
    int rc = weft_offload(share_main, &sharing, &result);
    rc = rc < 0 ? rc : result;
    if (rc == 0)
        *ret_share = sharing.share;
    else if (sharing.share.fd >= 0)
        close(sharing.share.fd);
    return rc;
}

/* ---- removal --------------------------------------------------------------------------------- */

struct removal {
    const struct output_store *store;
    uint64_t id;
    uint32_t attempt;
};

static int remove_attempt(const struct removal *removal, uint32_t attempt)
{
    static const char *const suffixes[] = {"", ".dropped"};
    char name[NAME_SIZE];
    int rc = 0;
    for (int stream = 0; stream < OUTPUT_STREAM_COUNT; stream++) {
        for (int i = 0; i < 2; i++) {
            file_name(name, removal->id, attempt, (enum output_stream)stream, suffixes[i]);
            int r = remove_file(removal->store, name);
            rc = r < 0 ? r : rc;
        }
    }
    return rc;
}

static int remove_main(void *arg)
{
    const struct removal *removal = arg;
    char folder[NAME_SIZE];
    int rc = 0;
    for (uint32_t attempt = 1; attempt != 0 && attempt <= removal->attempt; attempt++) {
        int r = remove_attempt(removal, attempt);
        rc = r < 0 ? r : rc;
    }
    folder_name(folder, removal->id);
    (void)unlinkat(removal->store->folder, folder, AT_REMOVEDIR); /* once it is empty */
    return rc;
}

int output_remove(struct output_store *store, uint64_t id, uint32_t attempt)
{
    struct removal removal = {store, id, attempt};
    int result;
    int rc = weft_offload(remove_main, &removal, &result);
    return rc < 0 ? rc : result;
}

/* ---- looking for what has no job ------------------------------------------------------------- */

/* Numbers at the beginning of names; `dots`: those of files, else of folders. */
struct numbers {
    const struct output_store *store;
    const char *folder; /* under the store's, or "." */
    bool dots;
    uint64_t *all;
    size_t count, capacity;
};

static bool number_of(const char *name, bool dots, uint64_t *ret_number)
{
    char *end;
    if (!isdigit((unsigned char)name[0]))
        return false;
    errno = 0;
    *ret_number = strtoull(name, &end, 10);
    return errno == 0 && *end == (dots ? '.' : '\0');
}

static int add_number(struct numbers *numbers, uint64_t number)
{
    if (numbers->count > 0 && numbers->all[numbers->count - 1] == number)
        return 0; /* the files of a job are often neighbours */
    if (numbers->count == numbers->capacity) {
        size_t capacity = numbers->capacity ? 2 * numbers->capacity : 64;
        uint64_t *all = realloc(numbers->all, capacity * sizeof(*all));
        if (!all)
            return -ENOMEM;
        numbers->all = all;
        numbers->capacity = capacity;
    }
    numbers->all[numbers->count++] = number;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *one = a, *two = b;
    return *one < *two ? -1 : *one > *two;
}

static void sort_numbers(struct numbers *numbers)
{
    size_t kept = 0;
    if (numbers->count > 0)
        qsort(numbers->all, numbers->count, sizeof(*numbers->all), compare_numbers);
    for (size_t i = 0; i < numbers->count; i++)
        if (kept == 0 || numbers->all[kept - 1] != numbers->all[i])
            numbers->all[kept++] = numbers->all[i];
    numbers->count = kept;
}

static DIR *open_names(const struct output_store *store, const char *folder)
{
    int fd = openat(store->folder, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !names)
        close(fd);
    return names;
}

static int numbers_main(void *arg)
{
    struct numbers *numbers = arg;
    const struct dirent *entry;
    uint64_t number;
    int rc = 0;
    DIR *names = open_names(numbers->store, numbers->folder);
    if (!names)
        return errno == ENOENT ? 0 : -errno;
    while (rc == 0 && (entry = readdir(names)))
        if (number_of(entry->d_name, numbers->dots, &number))
            rc = add_number(numbers, number);
    closedir(names);
    sort_numbers(numbers);
    return rc;
}

static int read_numbers(struct numbers *numbers, uint64_t **ret_numbers, size_t *ret_count)
{
    int result;
    int rc = weft_offload(numbers_main, numbers, &result);
    rc = rc < 0 ? rc : result;
    if (rc < 0) {
        free(numbers->all);
        return rc;
    }
    *ret_numbers = numbers->all;
    *ret_count = numbers->count;
    return 0;
}

int output_folders(struct output_store *store, uint64_t **ret_folders, size_t *ret_count)
{
    struct numbers numbers = {.store = store, .folder = "."};
    return read_numbers(&numbers, ret_folders, ret_count);
}

int output_jobs(struct output_store *store, uint64_t folder, uint64_t **ret_ids, size_t *ret_count)
{
    char name[NAME_SIZE];
    struct numbers numbers = {.store = store, .folder = name, .dots = true};
    folder_name(name, folder * PER_FOLDER);
    return read_numbers(&numbers, ret_ids, ret_count);
}

struct removals {
    const struct output_store *store;
    const uint64_t *ids; /* in order */
    size_t count;
};

static int remove_all_main(void *arg)
{
    const struct removals *removals = arg;
    char folder[NAME_SIZE];
    const struct dirent *entry;
    uint64_t id;
    int rc = 0;
    folder_name(folder, removals->ids[0]);
    DIR *names = open_names(removals->store, folder);
    if (!names)
        return errno == ENOENT ? 0 : -errno;
    while ((entry = readdir(names))) {
        if (!number_of(entry->d_name, true, &id) ||
            !bsearch(&id, removals->ids, removals->count, sizeof(id), compare_numbers))
            continue;
        int r = remove_in(dirfd(names), entry->d_name);
        rc = r < 0 ? r : rc;
    }
    closedir(names);
    (void)unlinkat(removals->store->folder, folder, AT_REMOVEDIR); /* once it is empty */
    return rc;
}

int output_remove_all(struct output_store *store, const uint64_t *ids, size_t count)
{
    struct removals removals = {store, ids, count};
    int result = 0;
    int rc = count > 0 ? weft_offload(remove_all_main, &removals, &result) : 0;
    return rc < 0 ? rc : result;
}
