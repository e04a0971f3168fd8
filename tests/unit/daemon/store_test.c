/* SPDX-License-Identifier: MIT */
/* The store over a backend that does as it is told: batches, order, errors, the end. */
#include "daemon/store_backend.h"

#include "store_support.h"

enum { FAKE_OPS_MAX = 20000 };

/* What was asked of it, and when it shall fail.  Store thread only while the store runs. */
struct fake {
    unsigned begins, commits, rollbacks, idles, closes, calls_after_rollback;
    size_t rows_in_transaction, rows_most;
    unsigned begins_without_memory, applies_without_memory, commits_without_memory;
    int begin_err, apply_err, commit_err, read_err, idle_err;
    unsigned apply_countdown; /* the nth apply fails with apply_err; 0: never */
    uint64_t room;
    sem_t *hold; /* each commit waits here; NULL: none does */
    sem_t *held; /* and says so here */
};

static int fake_life(void *backend, struct problem *problem, struct store_life *ret_life)
{
    (void)backend, (void)problem;
    *ret_life = (struct store_life){.next_id = 5, .starts = 2, .instance = "0123"};
    return 0;
}

static int fake_recover(void *backend, int (*row)(void *arg, const struct job_record *record),
                        void *arg, struct problem *problem)
{
    (void)backend, (void)problem;
    struct job_record record = record_make(3);
    return row(arg, &record);
}

/* Whether memory is short, once more. */
static int lack_memory(unsigned *times, struct problem *problem)
{
    if (*times == 0)
        return 0;
    --*times;
    return problem_set(problem, -ENOMEM, "no memory");
}

static int fake_begin(void *backend, struct problem *problem)
{
    struct fake *fake = backend;
    fake->begins++;
    fake->rows_in_transaction = 0;
    if (lack_memory(&fake->begins_without_memory, problem))
        return -ENOMEM;
    fake->calls_after_rollback += fake->rollbacks;
    return fake->begin_err ? problem_set(problem, fake->begin_err, "begin broke") : 0;
}

static int fake_apply(void *backend, const struct store_op *op, struct problem *problem)
{
    struct fake *fake = backend;
    if (lack_memory(&fake->applies_without_memory, problem))
        return -ENOMEM;
    fake->rows_in_transaction += op->count;
    if (fake->apply_countdown && --fake->apply_countdown == 0)
        return problem_set(problem, fake->apply_err, "apply broke");
    return 0;
}

static int fake_commit(void *backend, struct problem *problem)
{
    struct fake *fake = backend;
    if (fake->hold) {
        sem_post(fake->held);
        sem_wait(fake->hold);
    }
    if (lack_memory(&fake->commits_without_memory, problem))
        return -ENOMEM;
    if (fake->commit_err)
        return problem_set(problem, fake->commit_err, "commit broke");
    fake->commits++;
    if (fake->rows_in_transaction > fake->rows_most)
        fake->rows_most = fake->rows_in_transaction;
    fake->rows_in_transaction = 0;
    return 0;
}

static void fake_rollback(void *backend)
{
    ((struct fake *)backend)->rollbacks++;
}

static int fake_read(void *backend, struct store_op *op, struct problem *problem)
{
    struct fake *fake = backend;
    fake->calls_after_rollback += fake->rollbacks;
    if (fake->read_err)
        return problem_set(problem, fake->read_err, "read broke");
    op->found = calloc(1, sizeof *op->found);
    op->found_count = 0;
    return 0;
}

static int fake_idle(void *backend, struct problem *problem)
{
    struct fake *fake = backend;
    fake->idles++;
    fake->calls_after_rollback += fake->rollbacks;
    return fake->idle_err ? problem_set(problem, fake->idle_err, "idle broke") : 0;
}

static uint64_t fake_room(void *backend)
{
    return ((struct fake *)backend)->room;
}

static uint64_t fake_file_bytes(void *backend)
{
    (void)backend;
    return 77;
}

static void fake_close(void *backend)
{
    ((struct fake *)backend)->closes++;
}

static const struct store_backend_ops fake_ops = {
    .name = "fake",
    .life = fake_life,
    .recover = fake_recover,
    .begin = fake_begin,
    .apply = fake_apply,
    .commit = fake_commit,
    .rollback = fake_rollback,
    .read = fake_read,
    .idle = fake_idle,
    .room = fake_room,
    .file_bytes = fake_file_bytes,
    .close = fake_close,
};

static struct store *fake_open(struct fake *fake)
{
    struct store *store;
    if (!fake->room)
        fake->room = UINT64_MAX;
    cr_assert_eq(store_open_backend(&fake_ops, fake, &test_config, &store), 0);
    return store;
}

static struct store *fake_start(struct fake *fake)
{
    struct store *store = fake_open(fake);
    cr_assert_eq(store_start(store), 0);
    return store;
}

static int fake_insert(struct store *store, uint64_t id)
{
    struct job_record record = record_make(id);
    return put_record(store, STORE_INSERT, &record);
}

/* Many ops at once, noting the order of their ends.  Store thread only while the store runs. */
static struct store_op ops[FAKE_OPS_MAX];
static size_t ended[FAKE_OPS_MAX];
static size_t ended_count;

static void note_end(struct store_op *op)
{
    ended[ended_count++] = (size_t)(op - ops);
    memset(&op->next, 0xee, sizeof op->next); /* ours again: the store must not look */
}

static struct job_record some_record;
static const struct job_record *const some_row = &some_record;

static void prepare_ops(size_t count, enum store_kind kind)
{
    some_record = record_make(1);
    ended_count = 0;
    for (size_t i = 0; i < count; i++)
        ops[i] = (struct store_op){.kind = kind, .done = note_end, .rows = &some_row, .count = 1};
}

static void push_ops(struct store *store, size_t count)
{
    for (size_t i = 0; i < count; i++)
        store_push(store, &ops[i]);
}

static void assert_all_ended_in_order(size_t count)
{
    cr_assert_eq(ended_count, count, "%zu of %zu ended", ended_count, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(ended[i], i, "op %zu ended as number %zu", ended[i], i);
}

Test(store, life_is_what_the_backend_says)
{
    struct fake fake = {0};
    struct store_life life;
    struct store *store = fake_open(&fake);
    store_life(store, &life);
    cr_assert_eq(life.next_id, 5u);
    cr_assert_eq(life.starts, 2u);
    cr_assert_str_eq(life.instance, "0123");
    store_free(store);
    cr_assert_eq(fake.closes, 1u);
}

static int refuse_row(void *arg, const struct job_record *record)
{
    (void)arg;
    return record->id == 3 ? -E2BIG : 0;
}

Test(store, recover_returns_what_the_callback_returns)
{
    struct fake fake = {0};
    struct store *store = fake_open(&fake);
    cr_assert_eq(store_recover(store, refuse_row, NULL, NULL), -E2BIG);
    store_free(store);
}

Test(store, ops_end_in_the_order_of_arrival)
{
    struct fake fake = {0};
    struct store *store = fake_start(&fake);
    prepare_ops(FAKE_OPS_MAX, STORE_INSERT);
    for (size_t i = 0; i < FAKE_OPS_MAX; i += 3)
        ops[i].kind = i % 2 ? STORE_PING : STORE_GET;
    push_ops(store, FAKE_OPS_MAX);
    store_stop(store);
    assert_all_ended_in_order(FAKE_OPS_MAX);
    for (size_t i = 0; i < FAKE_OPS_MAX; i++) {
        cr_assert_eq(ops[i].err, 0);
        if (ops[i].kind == STORE_GET)
            free(ops[i].found);
    }
    store_free(store);
}

Test(store, what_arrives_during_a_commit_is_one_batch)
{
    sem_t hold, held;
    sem_init(&hold, 0, 0);
    sem_init(&held, 0, 0);
    struct fake fake = {.hold = &hold, .held = &held};
    struct store *store = fake_start(&fake);
    struct store_stats stats;
    prepare_ops(1001, STORE_INSERT);
    store_push(store, &ops[0]);
    sem_wait(&held); /* the first one is being committed */
    for (size_t i = 1; i < 1001; i++)
        store_push(store, &ops[i]);
    store_stats(store, &stats);
    cr_assert_eq(stats.pending, 1001u);
    sem_post(&hold);
    sem_post(&hold);
    store_stop(store);
    assert_all_ended_in_order(1001);
    cr_assert_eq(fake.commits, 2u, "%u commits", fake.commits);
    store_stats(store, &stats);
    cr_assert_eq(stats.commits, 2u);
    cr_assert_eq(stats.writes, 1001u);
    cr_assert_geq(stats.batch_max, 1000u);
    cr_assert_eq(stats.pending, 0u);
    cr_assert_eq(stats.file_bytes, 77u);
    cr_assert(stats.commit_max_ns <= stats.commit_ns && stats.commit_ns > 0);
    store_free(store);
}

Test(store, batch_is_bounded_by_rows_but_an_op_is_never_split)
{
    struct fake fake = {0};
    struct store *store = fake_open(&fake);
    struct config_store config = test_config;
    config.batch_max = 10;
    store_apply_config(store, &config);
    prepare_ops(100, STORE_UPDATE);
    const struct job_record *rows[25];
    for (size_t i = 0; i < 25; i++)
        rows[i] = &some_record;
    ops[50].rows = rows;
    ops[50].count = 25;
    push_ops(store, 100);
    cr_assert_eq(store_start(store), 0);
    store_stop(store);
    assert_all_ended_in_order(100);
    cr_assert_eq(fake.rows_most, 25u);
    cr_assert_eq(fake.commits, 5u + 1 + 5, "%u commits", fake.commits);
    store_free(store);
}

Test(store, batch_is_bounded_by_bytes)
{
    struct fake fake = {0};
    struct store *store = fake_open(&fake);
    char *megabyte = malloc(1 << 20);
    memset(megabyte, 'x', (1 << 20) - 1);
    megabyte[(1 << 20) - 1] = '\0';
    prepare_ops(64, STORE_INSERT);
    some_record.spec = megabyte;
    push_ops(store, 64);
    cr_assert_eq(store_start(store), 0);
    store_stop(store);
    assert_all_ended_in_order(64);
    cr_assert_geq(fake.commits, 8u);
    cr_assert_leq(fake.commits, 16u);
    store_free(store);
    free(megabyte);
}

Test(store, pings_and_reads_begin_no_transaction)
{
    struct fake fake = {0};
    struct store *store = fake_start(&fake);
    struct waited_op ping = {.op = {.kind = STORE_PING}};
    uint64_t id = 1;
    struct waited_op get = {.op = {.kind = STORE_GET, .ids = &id, .count = 1}};
    cr_assert_eq(op_run(store, &ping), 0);
    cr_assert_eq(op_run(store, &get), 0);
    free(get.op.found);
    store_stop(store);
    cr_assert_eq(fake.begins, 0u);
    store_free(store);
}

Test(store, housekeeping_also_happens_under_load)
{
    struct fake fake = {0};
    struct store *store = fake_open(&fake);
    struct config_store config = test_config;
    config.batch_max = 1;
    store_apply_config(store, &config);
    prepare_ops(320, STORE_UPDATE);
    push_ops(store, 320);
    cr_assert_eq(store_start(store), 0);
    store_stop(store);
    cr_assert_geq(fake.idles, 20u, "%u times in 320 batches", fake.idles);
    cr_assert_leq(fake.idles, 24u, "%u times in 320 batches", fake.idles);
    store_free(store);
}

static void count_failure(void *arg)
{
    ++*(unsigned *)arg;
}

/* The error of one kind of call must end everything, with its text, once. */
static void check_sticky(struct fake *fake, int err, const char *text)
{
    unsigned failures = 0;
    struct problem problem = {0};
    struct store_stats stats;
    uint64_t id = 1;
    struct waited_op get = {.op = {.kind = STORE_GET, .ids = &id, .count = 1}};
    struct waited_op ping = {.op = {.kind = STORE_PING}};
    struct store *store = fake_open(fake);
    store_on_failure(store, count_failure, &failures);
    prepare_ops(10, STORE_UPDATE);
    push_ops(store, 10);
    cr_assert_eq(store_start(store), 0);
    cr_assert_eq(fake_insert(store, 2), err);
    fake->begin_err = fake->apply_err = fake->commit_err = 0; /* it would work again */
    cr_assert_eq(fake_insert(store, 3), err);
    cr_assert_eq(op_run(store, &get), err);
    cr_assert_eq(op_run(store, &ping), err);
    cr_assert_eq(store_error(store, &problem), err);
    cr_assert_str_eq(problem.text, text);
    cr_assert_eq(problem.err, err);
    store_stats(store, &stats);
    cr_assert(stats.failed);
    cr_assert_eq(stats.commits, 0u);
    store_stop(store);
    cr_assert_eq(fake_insert(store, 4), err);
    assert_all_ended_in_order(10);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(ops[i].err, err);
    cr_assert_eq(failures, 1u);
    cr_assert_eq(fake->rollbacks, 1u);
    cr_assert_eq(fake->calls_after_rollback, 0u);
    store_free(store);
    cr_assert_eq(fake->closes, 1u);
}

Test(store, a_failed_begin_is_sticky)
{
    struct fake fake = {.begin_err = -EBUSY};
    check_sticky(&fake, -EBUSY, "begin broke");
}

Test(store, a_failed_apply_is_sticky_and_fails_the_whole_batch)
{
    struct fake fake = {.apply_err = -EBADMSG, .apply_countdown = 7};
    check_sticky(&fake, -EBADMSG, "apply broke");
}

Test(store, a_failed_commit_is_sticky)
{
    struct fake fake = {.commit_err = -ENOSPC};
    check_sticky(&fake, -ENOSPC, "commit broke");
}

Test(store, a_failed_read_is_sticky)
{
    struct fake fake = {.read_err = -EIO};
    struct store *store = fake_start(&fake);
    uint64_t id = 1;
    struct waited_op get = {.op = {.kind = STORE_GET, .ids = &id, .count = 1}};
    cr_assert_eq(fake_insert(store, 1), 0);
    cr_assert_eq(op_run(store, &get), -EIO);
    cr_assert_null(get.op.found);
    cr_assert_eq(fake_insert(store, 2), -EIO);
    store_free(store);
}

Test(store, a_read_without_memory_fails_alone)
{
    struct fake fake = {.read_err = -ENOMEM};
    struct store *store = fake_start(&fake);
    uint64_t id = 1;
    struct waited_op get = {.op = {.kind = STORE_GET, .ids = &id, .count = 1}};
    cr_assert_eq(op_run(store, &get), -ENOMEM);
    cr_assert_eq(store_error(store, NULL), 0);
    cr_assert_eq(fake_insert(store, 2), 0);
    store_free(store);
}

Test(store, a_batch_without_memory_is_tried_again)
{
    struct fake fake = {
        .begins_without_memory = 1, .applies_without_memory = 2, .commits_without_memory = 1};
    struct store *store = fake_start(&fake);
    cr_assert_eq(fake_insert(store, 1), 0);
    cr_assert_eq(store_error(store, NULL), 0);
    cr_assert_eq(fake.rollbacks, 4u);
    cr_assert_eq(fake.commits, 1u);
    cr_assert_eq(fake.rows_most, 1u);
    store_free(store);
}

Test(store, memory_that_stays_short_is_an_error_and_sticky)
{
    struct fake fake = {.commits_without_memory = 1000};
    struct store *store = fake_start(&fake);
    cr_assert_eq(fake_insert(store, 1), -ENOMEM);
    fake.commits_without_memory = 0;
    cr_assert_eq(fake_insert(store, 2), -ENOMEM);
    cr_assert_eq(fake.commits, 0u);
    store_free(store);
}

Test(store, housekeeping_without_memory_is_left_for_later)
{
    struct fake fake = {.idle_err = -ENOMEM};
    struct store *store = fake_start(&fake);
    cr_assert_eq(fake_insert(store, 1), 0);
    cr_assert_eq(fake_insert(store, 2), 0);
    store_stop(store); /* housekeeping comes behind the acknowledgement */
    cr_assert_gt(fake.idles, 0u);
    cr_assert_eq(store_error(store, NULL), 0);
    store_free(store);
}

Test(store, failed_housekeeping_is_sticky_but_what_was_committed_was_acknowledged)
{
    struct fake fake = {.idle_err = -EIO};
    struct store *store = fake_start(&fake);
    cr_assert_eq(fake_insert(store, 1), 0);
    struct waited_op ping = {.op = {.kind = STORE_PING}};
    while (op_run(store, &ping) == 0)
        ; /* until the first batch's housekeeping is over */
    cr_assert_eq(fake_insert(store, 2), -EIO);
    store_free(store);
}

Test(store, the_reserve_refuses_inserts_and_nothing_else)
{
    struct fake fake = {.room = 1000};
    struct store *store = fake_start(&fake);
    struct job_record record = record_make(1);
    cr_assert_eq(fake_insert(store, 1), 0);
    struct job_record big = record_make(2);
    char spec[1000];
    memset(spec, 'x', sizeof spec - 1);
    spec[sizeof spec - 1] = '\0';
    big.spec = spec;
    cr_assert_eq(put_record(store, STORE_INSERT, &big), -ENOSPC);
    cr_assert_eq(put_record(store, STORE_UPDATE, &record), 0);
    cr_assert_eq(store_error(store, NULL), 0);
    cr_assert_eq(fake_insert(store, 3), 0);
    store_stop(store);
    cr_assert_eq(fake.commits, 3u);
    store_free(store);
}

Test(store, what_is_pushed_before_the_start_is_done_after_it)
{
    struct fake fake = {0};
    struct store *store = fake_open(&fake);
    prepare_ops(3, STORE_INSERT);
    push_ops(store, 3);
    cr_assert_eq(ended_count, 0u);
    cr_assert_eq(store_start(store), 0);
    store_stop(store);
    assert_all_ended_in_order(3);
    store_free(store);
}

Test(store, what_is_pushed_to_a_store_that_never_starts_is_refused)
{
    struct fake fake = {0};
    struct store *store = fake_open(&fake);
    prepare_ops(3, STORE_INSERT);
    push_ops(store, 3);
    store_stop(store);
    assert_all_ended_in_order(3);
    cr_assert_eq(ops[2].err, -ESHUTDOWN);
    store_free(store);
}

Test(store, stop_completes_what_was_pushed_and_refuses_what_comes_later)
{
    struct fake fake = {0};
    struct store *store = fake_start(&fake);
    prepare_ops(5001, STORE_INSERT);
    push_ops(store, 5000);
    store_stop(store);
    store_stop(store);
    assert_all_ended_in_order(5000);
    cr_assert_eq(ops[4999].err, 0);
    store_push(store, &ops[5000]);
    cr_assert_eq(ended_count, 5001u);
    cr_assert_eq(ops[5000].err, -ESHUTDOWN);
    cr_assert_eq(store_error(store, NULL), 0);
    store_free(store);
    store_free(NULL);
}

/* ---- pushers against the end ----------------------------------------------------------------- */

struct racer {
    struct store *store;
    pthread_t thread;
    uint64_t pushed, done, refused;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct job_record record = record_make(1);
    for (;;) {
        racer->pushed++;
        int err = put_record(racer->store, STORE_UPDATE, &record);
        cr_assert(err == 0 || err == -ESHUTDOWN);
        if (err) {
            racer->refused++;
            return NULL;
        }
        racer->done++;
    }
}

Test(store, every_push_ends_once_while_the_store_stops)
{
    for (int round = 0; round < 30; round++) {
        struct fake fake = {0};
        struct store *store = fake_start(&fake);
        struct racer racers[4] = {0};
        struct store_stats stats;
        for (size_t i = 0; i < 4; i++) {
            racers[i].store = store;
            pthread_create(&racers[i].thread, NULL, race, &racers[i]);
        }
        do
            store_stats(store, &stats);
        while (stats.commits < 50);
        store_stop(store);
        uint64_t done = 0;
        for (size_t i = 0; i < 4; i++) {
            pthread_join(racers[i].thread, NULL);
            cr_assert_eq(racers[i].pushed, racers[i].done + racers[i].refused);
            done += racers[i].done;
        }
        store_stats(store, &stats);
        cr_assert_eq(stats.writes, done);
        cr_assert_eq(stats.pending, 0u);
        store_free(store);
    }
}
