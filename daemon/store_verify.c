/* SPDX-License-Identifier: MIT */
/*
 * store_verify: see store_verify.h.
 *
 * I1  The database is opened with an exclusive lock and the index of its log in memory, so no file
 *     is made or written; nothing is folded back.  The folder's lock is shared: a weftd that runs
 *     keeps us out, and we keep one from starting.
 * I2  A fault of one row does not end the look at the others.
 * I3  What a state demands of a row follows from the table of edges (job.c): a state that is only
 *     reached from running has had an attempt.
 */
#include "daemon/store_verify.h"

#include "daemon/job.h"
#include "daemon/store_files.h"
#include "daemon/store_sqlite.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_FAULTS_MAX "20"

struct verify {
    FILE *to;
    struct sqlite_store *store;
    struct verify_key *keys; /* of live jobs */
    uint64_t *ids;           /* of all rows, in order */
    uint32_t *attempts;
    size_t count, capacity, key_count, key_capacity;
    uint64_t next_id;
    size_t live, settings, files, strays;
    int faults;
    bool no_memory;
};

struct verify_key {
    uid_t uid;
    char *key;
    uint64_t id;
};

__attribute__((format(printf, 2, 3))) static void fault(struct verify *verify, const char *format,
                                                        ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(verify->to, format, args);
    va_end(args);
    fputc('\n', verify->to);
    verify->faults++;
}

/* ---- one row --------------------------------------------------------------------------------- */

/* I3 */
static bool needs_attempt(enum job_state state)
{
    if (state == JOB_RUNNING)
        return true;
    for (size_t i = 0; i < job_edge_count; i++)
        if (job_edges[i].to == state && job_edges[i].from != JOB_RUNNING)
            return false;
    return true;
}

static const char *state_fault(const struct job_record *record)
{
    bool end = job_state_is_end(record->state);
    if (needs_attempt(record->state) && record->attempt == 0)
        return "and has had no attempt";
    if (needs_attempt(record->state) && record->started_at == 0)
        return "and has never started";
    if (end && record->finished_at == 0)
        return "and has no time of its end";
    if (!end && record->finished_at != 0)
        return "and has a time of its end";
    if (record->state == JOB_DELAYED && record->due_at == 0)
        return "and is not due at any time";
    if (record->state == JOB_WAITING && record->attempt > 0)
        return "and has had an attempt";
    return NULL;
}

static void check_state(struct verify *verify, const struct job_record *record)
{
    const char *what = state_fault(record);
    if (what)
        fault(verify, "job %" PRIu64 " is %s %s: restore a backup, or cancel it", record->id,
              job_state_name(record->state), what);
}

static void keep_key(struct verify *verify, const struct job_record *record, const char *key)
{
    if (verify->key_count == verify->key_capacity) {
        size_t capacity = verify->key_capacity ? 2 * verify->key_capacity : 64;
        struct verify_key *keys = realloc(verify->keys, capacity * sizeof(*keys));
        verify->no_memory = verify->no_memory || !keys;
        if (!keys)
            return;
        verify->keys = keys;
        verify->key_capacity = capacity;
    }
    char *copy = strdup(key);
    verify->no_memory = verify->no_memory || !copy;
    if (copy)
        verify->keys[verify->key_count++] = (struct verify_key){record->uid, copy, record->id};
}

static void check_needs(struct verify *verify, const struct job_record *record,
                        const struct job_spec *spec)
{
    for (size_t i = 0; i < spec->after_count; i++)
        if (spec->after[i] >= verify->next_id || spec->after[i] == record->id)
            fault(verify,
                  "job %" PRIu64 " waits for job %" PRIu64 ", which there never was: cancel it",
                  record->id, spec->after[i]);
}

/* Of an ended job the spec is only shown: a handler that has gone since is no fault. */
static void check_spec(struct verify *verify, const struct job_record *record)
{
    struct job_spec *spec;
    struct rpc_error error = {0};
    bool live = !job_state_is_end(record->state);
    int rc = job_spec_from_text(record->spec, &spec, &error);
    if (rc == -ENOMEM)
        verify->no_memory = true;
    else if (rc < 0 && (live || error.code != RPC_NO_SUCH_HANDLER))
        fault(verify, "job %" PRIu64 " cannot be read: %s: it will fail when it is run", record->id,
              error.message);
    if (rc < 0)
        return;
    if (strcmp(spec->queue, record->queue) != 0)
        fault(verify, "job %" PRIu64 " is in queue %s and asked for %s: cancel and submit it again",
              record->id, record->queue, spec->queue);
    if (record->state == JOB_WAITING)
        check_needs(verify, record, spec);
    if (live && spec->key)
        keep_key(verify, record, spec->key);
    job_spec_free(spec);
}

static void keep_id(struct verify *verify, const struct job_record *record)
{
    if (verify->count == verify->capacity) {
        size_t capacity = verify->capacity ? 2 * verify->capacity : 1024;
        uint64_t *ids = realloc(verify->ids, capacity * sizeof(*ids));
        if (ids)
            verify->ids = ids;
        uint32_t *attempts = realloc(verify->attempts, capacity * sizeof(*attempts));
        if (attempts)
            verify->attempts = attempts;
        verify->no_memory = verify->no_memory || !ids || !attempts;
        if (!ids || !attempts)
            return;
        verify->capacity = capacity;
    }
    verify->ids[verify->count] = record->id;
    verify->attempts[verify->count++] = record->attempt;
}

static void check_row(void *arg, const struct job_record *record, const struct problem *problem)
{
    struct verify *verify = arg;
    if (!verify->no_memory)
        keep_id(verify, record);
    if (problem) {
        fault(verify, "%s", problem->text);
        return;
    }
    verify->live += !job_state_is_end(record->state);
    check_state(verify, record);
    check_spec(verify, record);
}

/* ---- over all rows --------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    const struct verify_key *one = a, *two = b;
    if (one->uid != two->uid)
        return one->uid < two->uid ? -1 : 1;
    return strcmp(one->key, two->key);
}

static void check_keys(struct verify *verify)
{
    const struct verify_key *keys = verify->keys;
    if (verify->key_count > 0)
        qsort(verify->keys, verify->key_count, sizeof(*verify->keys), compare_keys);
    for (size_t i = 1; i < verify->key_count; i++)
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            fault(verify, "jobs %" PRIu64 " and %" PRIu64 " live and have one key: cancel one",
                  keys[i - 1].id, keys[i].id);
}

static int see_setting(void *arg, const char *name, const char *value)
{
    struct verify *verify = arg;
    (void)name, (void)value;
    verify->settings++;
    return 0;
}

static void see_page_fault(void *arg, const char *text)
{
    if (strcmp(text, "ok") != 0)
        fault(arg, "weft.db: %s: restore a backup", text);
}

static void see_orphan(void *arg, const char *id)
{
    fault(arg, "weft.db: the spec of job %s is there, and the job is not: restore a backup", id);
}

static int check_database(struct verify *verify, struct problem *problem)
{
    struct sqlite_store *store = verify->store;
    int err = sqlite_query_each(store, "PRAGMA integrity_check(" PAGE_FAULTS_MAX ")",
                                see_page_fault, verify, problem);
    if (!err)
        err = sqlite_query_each(store,
                                "SELECT id FROM long_spec WHERE id NOT IN (SELECT id FROM job)",
                                see_orphan, verify, problem);
    if (!err)
        err = sqlite_rows_look(store, check_row, verify, problem);
    if (!err)
        err = sqlite_rows_settings(store, see_setting, verify, problem);
    if (!err)
        check_keys(verify);
    return err;
}

/* ---- output files ---------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *one = a, *two = b;
    return *one < *two ? -1 : *one > *two;
}

/* "17.2.out" */
static bool read_name(const char *name, uint64_t *ret_id, uint64_t *ret_attempt)
{
    char *end;
    if (!isdigit((unsigned char)name[0]))
        return false;
    *ret_id = strtoull(name, &end, 10);
    if (end[0] != '.' || !isdigit((unsigned char)end[1]))
        return false;
    *ret_attempt = strtoull(end + 1, &end, 10);
    return *end == '.';
}

static void check_file(struct verify *verify, const char *folder, const char *name)
{
    uint64_t id, attempt;
    const uint64_t *found = NULL;
    if (!read_name(name, &id, &attempt))
        return;
    if (verify->count > 0)
        found = bsearch(&id, verify->ids, verify->count, sizeof(id), compare_ids);
    verify->files++;
    if (found && attempt <= verify->attempts[found - verify->ids])
        return;
    verify->strays++;
    fprintf(verify->to, "note: output/%s/%s belongs to no %s\n", folder, name,
            found ? "attempt that is known: the next one replaces it, or it goes after the job"
                  : "job: the next start removes it");
}

static void check_folder(struct verify *verify, int output, const char *folder)
{
    int fd = openat(output, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    if (!names) {
        if (fd >= 0)
            close(fd);
        if (errno != ENOTDIR)
            fault(verify, "output/%s cannot be read: %s", folder, strerror(errno));
        return;
    }
    while ((entry = readdir(names)))
        check_file(verify, folder, entry->d_name);
    closedir(names);
}

static void check_output(struct verify *verify, const char *state_dir)
{
    char *path = store_folder_path(state_dir, "output");
    DIR *folders = path ? opendir(path) : NULL;
    const struct dirent *entry;
    verify->no_memory = verify->no_memory || !path;
    free(path);
    while (folders && (entry = readdir(folders)))
        if (isdigit((unsigned char)entry->d_name[0]))
            check_folder(verify, dirfd(folders), entry->d_name);
    if (folders)
        closedir(folders);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void print_end(const struct verify *verify)
{
    fprintf(verify->to,
            "%zu jobs (%zu have not ended), %zu settings, %zu output files (%zu of no job): ",
            verify->count, verify->live, verify->settings, verify->files, verify->strays);
    if (verify->faults == 0)
        fputs("no fault\n", verify->to);
    else
        fprintf(verify->to, "%d fault%s\n", verify->faults, verify->faults == 1 ? "" : "s");
}

static int verify_open(struct verify *verify, const char *state_dir, struct problem *problem)
{
    struct store_life life = {0};
    int err = sqlite_rows_life(verify->store, problem, &life);
    verify->next_id = life.next_id;
    if (!err)
        err = check_database(verify, problem);
    if (!err)
        check_output(verify, state_dir);
    return err;
}

static void verify_destroy(struct verify *verify)
{
    for (size_t i = 0; i < verify->key_count; i++)
        free(verify->keys[i].key);
    free(verify->keys);
    free(verify->ids);
    free(verify->attempts);
}

static int verify_locked(const char *state_dir, FILE *to, struct problem *problem)
{
    struct verify verify = {.to = to};
    int err = store_sqlite_look(state_dir, problem, &verify.store);
    if (!err) {
        err = verify_open(&verify, state_dir, problem);
        store_sqlite_look_end(verify.store);
    }
    if (!err && verify.no_memory)
        err = problem_set(problem, -ENOMEM, "no memory");
    if (err == -EBADMSG) { /* so damaged that there is no more to see */
        fault(&verify, "%s", problem->text);
        err = 0;
    }
    if (!err)
        print_end(&verify);
    verify_destroy(&verify);
    return err ? err : verify.faults;
}

int store_verify(const char *state_dir, FILE *to, struct problem *problem)
{
    int lock = -1;
    int err = store_folder_share(state_dir, problem, &lock); /* I1 */
    if (err < 0 && err != -ENOENT)
        return err;
    int result = verify_locked(state_dir, to, problem);
    if (lock >= 0)
        close(lock);
    return result;
}
