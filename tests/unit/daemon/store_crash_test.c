/* SPDX-License-Identifier: MIT */
/*
 * What was acknowledged is there: after SIGKILL at any moment, after any write or sync that
 * failed, and after a power cut that lost any part of what was not synced.
 */
#include "store_vfs.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* What is asked of a step does not depend on who watches the memory meanwhile; under a sanitizer,
 * where it takes ten times as long, fewer of them are enough. */
#ifdef WEFT_TEST_MINI
enum { KILLS = 5, CUTS = 40, STRIDE = 11 };
#else
enum { KILLS = 20, CUTS = 400, STRIDE = 1 };
#endif

/* ---- SIGKILL --------------------------------------------------------------------------------- */

enum { PUSHERS = 4, IDS_MAX = 1 << 20 };

#define ENDED_BIT (UINT64_C(1) << 63)

struct pusher {
    struct store *store;
    _Atomic uint64_t *next_id;
    int acks; /* a pipe: ids, with ENDED_BIT where the end was acknowledged */
};

static void report(int acks, uint64_t word)
{
    if (write(acks, &word, sizeof word) != sizeof word)
        _exit(1);
}

static void *push_for_ever(void *arg)
{
    struct pusher *pusher = arg;
    for (;;) {
        uint64_t id = atomic_fetch_add(pusher->next_id, 1);
        struct job_record record = record_make(id), ended = record_ended(id, JOB_SUCCEEDED);
        if (put_record(pusher->store, STORE_INSERT, &record) != 0)
            _exit(1);
        report(pusher->acks, id);
        if (id % 2 == 0)
            continue;
        if (put_record(pusher->store, STORE_UPDATE, &ended) != 0)
            _exit(1);
        report(pusher->acks, id | ENDED_BIT);
    }
    return NULL;
}

/* The life of a process that will be killed. */
static void live_and_be_killed(const char *folder, int acks)
{
    struct store_life life;
    static _Atomic uint64_t next_id;
    struct config_store config = test_config;
    struct problem problem;
    struct store *store;
    pthread_t thread;
    config.checkpoint = 64 << 10; /* many checkpoints: those are hit too */
    if (store_boot(&config, folder, NULL, &problem, &store) != 0)
        _exit(1);
    store_life(store, &life);
    next_id = life.next_id;
    struct pusher pusher = {store, &next_id, acks};
    for (int i = 0; i < PUSHERS - 1; i++)
        pthread_create(&thread, NULL, push_for_ever, &pusher);
    push_for_ever(&pusher);
}

static unsigned char inserted[IDS_MAX], finished[IDS_MAX];

static bool read_ack(int acks)
{
    uint64_t word;
    if (read(acks, &word, sizeof word) != sizeof word)
        return false;
    uint64_t id = word & ~ENDED_BIT;
    cr_assert_lt(id, (uint64_t)IDS_MAX);
    cr_assert(word & ENDED_BIT ? inserted[id] : !inserted[id], "id %llu was given twice",
              (unsigned long long)id);
    *(word & ENDED_BIT ? &finished[id] : &inserted[id]) = 1;
    return true;
}

static void run_and_kill(const char *folder)
{
    int acks[2], ended;
    cr_assert_eq(pipe(acks), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(acks[0]);
        live_and_be_killed(folder, acks[1]);
    }
    close(acks[1]);
    for (uint64_t left = random_below(150) + 1; left > 0; left--)
        cr_assert(read_ack(acks[0]), "the child ended by itself");
    for (uint64_t spin = random_below(300000); spin > 0; spin--)
        __asm__ volatile(""); /* anywhere between two acknowledgements */
    kill(pid, SIGKILL);
    while (read_ack(acks[0]))
        ; /* what it still managed to say */
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert(WIFSIGNALED(ended));
    close(acks[0]);
}

Test(store_crash, what_was_acknowledged_before_sigkill_is_there, .timeout = 120)
{
    char folder[64];
    unsigned count = 0;
    random_seed();
    folder_make(folder, false);
    for (int i = 0; i < KILLS; i++)
        run_and_kill(folder);
    struct store *store = boot(folder);
    for (uint64_t id = 1; id < IDS_MAX; id++) {
        if (!inserted[id])
            continue;
        struct job_record *found = get_record(store, id);
        struct job_record ended = record_ended(id, JOB_SUCCEEDED), live = record_make(id);
        cr_assert_not_null(found, "job %llu is gone", (unsigned long long)id);
        cr_assert(record_same(found, &ended) || (!finished[id] && record_same(found, &live)),
                  "job %llu", (unsigned long long)id);
        job_record_free(found);
        count++;
    }
    fprintf(stderr, "%d kills, %u jobs acknowledged\n", KILLS, count);
    store_free(store);
    folder_remove(folder);
}

/* ---- a disk that fails ----------------------------------------------------------------------- */

enum { STEP_JOBS = 30, STEPS = 12 };

/* What one life acknowledged: jobs 1 … inserted, of which those up to finished have ended. */
struct outcome {
    uint64_t inserted, finished;
};

/* Insert and end jobs until the store fails or the work is done; 0: it is done. */
static int work(struct store *store, struct outcome *outcome)
{
    for (int step = 0; step < STEPS; step++) {
        int err = insert_range(store, outcome->inserted + 1, STEP_JOBS);
        if (err)
            return err;
        outcome->inserted += STEP_JOBS;
        struct job_record ended = record_ended(outcome->finished + 1, JOB_SUCCEEDED);
        err = put_record(store, STORE_UPDATE, &ended);
        if (err)
            return err;
        outcome->finished++;
    }
    return 0;
}

/* One life on a disk that fails after `steps`; returns 0 if it lived to its end. */
static int live_until_failure(const char *folder, long steps, int code, struct outcome *ret_outcome)
{
    struct config_store config = test_config;
    struct problem problem = {0};
    struct store *store;
    config.checkpoint = 32 << 10;
    *ret_outcome = (struct outcome){0};
    disk_fail_after(steps, code);
    int err = store_boot(&config, folder, NULL, &problem, &store);
    if (err) {
        cr_assert(problem.err == err && problem.text[0], "no reason given");
        return err;
    }
    err = work(store, ret_outcome);
    if (err) {
        disk_fail_after(-1, 0); /* well again, and still nothing may be acknowledged */
        cr_assert_eq(insert_range(store, 5000, 1), err);
        cr_assert_eq(store_error(store, &problem), err);
        cr_assert(problem.text[0]);
        disk.broken = true;
    }
    store_free(store);
    return err ? err : disk.broken ? -EIO : 0;
}

static void check_outcome(const char *folder, const struct outcome *outcome, long steps)
{
    disk_fail_after(-1, 0);
    struct store *store = boot(folder);
    for (uint64_t id = 1; id <= outcome->inserted; id++) {
        struct job_record *found = get_record(store, id);
        struct job_record ended = record_ended(id, JOB_SUCCEEDED), live = record_make(id);
        bool must_have_ended = id <= outcome->finished;
        cr_assert_not_null(found, "step %ld: job %llu is gone", steps, (unsigned long long)id);
        cr_assert(record_same(found, &ended) || (!must_have_ended && record_same(found, &live)),
                  "step %ld: job %llu", steps, (unsigned long long)id);
        job_record_free(found);
    }
    cr_assert_eq(insert_range(store, outcome->inserted + STEP_JOBS + 1, 1), 0);
    store_free(store);
    disk_forget(NULL);
}

static void fail_at_every_step(int code)
{
    char folder[64];
    random_seed();
    long first = (long)random_below(STRIDE), steps = first - STRIDE;
    int err;
    disk_install();
    do {
        struct outcome outcome;
        steps += STRIDE;
        folder_make(folder, true);
        err = live_until_failure(folder, steps, code, &outcome);
        check_outcome(folder, &outcome, steps);
        folder_remove(folder);
    } while (err);
    fprintf(stderr, "%ld writes and syncs failed in turn, %d apart\n", steps, STRIDE);
    cr_assert_gt(steps, 100);
}

Test(store_crash, any_write_or_sync_may_fail_with_eio, .timeout = 120)
{
    fail_at_every_step(SQLITE_IOERR_WRITE);
}

Test(store_crash, any_write_may_find_the_disk_full, .timeout = 120)
{
    fail_at_every_step(SQLITE_FULL);
}

Test(store_crash, a_power_cut_at_any_step_loses_nothing_that_was_acknowledged, .timeout = 120)
{
    char folder[64];
    long most = 150;
    unsigned acknowledged = 0;
    random_seed();
    disk_install();
    for (int round = 0; round < CUTS; round++) {
        struct outcome outcome;
        long steps = (long)random_below((uint64_t)most);
        folder_make(folder, true);
        if (live_until_failure(folder, steps, SQLITE_IOERR_WRITE, &outcome) == 0)
            most = steps;
        disk_cut_power();
        check_outcome(folder, &outcome, steps);
        folder_remove(folder);
        acknowledged += (unsigned)outcome.inserted;
    }
    fprintf(stderr, "%d power cuts, %u jobs acknowledged\n", CUTS, acknowledged);
    cr_assert_gt(acknowledged, (unsigned)CUTS * 5 / 2);
}

static atomic_bool sync_lacks_memory;

/* In place of libc's, for SQLite too. */
int fdatasync(int fd)
{
    if (!atomic_load(&sync_lacks_memory))
        return (int)syscall(SYS_fdatasync, fd);
    errno = ENOMEM;
    return -1;
}

/* It is not tried again, as a batch without memory is: what it was to sync may be lost already. */
Test(store_crash, a_sync_without_memory_is_a_failed_sync)
{
    char folder[64];
    struct problem problem;
    struct store *store = boot(folder_make(folder, true));
    cr_assert_eq(insert_range(store, 1, 1), 0);
    atomic_store(&sync_lacks_memory, true);
    cr_assert_eq(insert_range(store, 2, 1), -EIO);
    atomic_store(&sync_lacks_memory, false);
    cr_assert_eq(insert_range(store, 2, 1), -EIO);
    cr_assert_eq(store_error(store, &problem), -EIO);
    cr_assert_not_null(strstr(problem.text, "disk I/O error"), "%s", problem.text);
    store_free(store);
    folder_remove(folder);
}
