/* SPDX-License-Identifier: MIT */
/*
 * engine_key: a user's keys: at most one job that has not ended for each, nor one that ended within
 * [daemon] key_keep.
 *
 * A hash table of the live jobs that have a key; of ended ones the store knows it.  The key is the
 * user's, whatever the queue: it names a piece of work, and the queue only says where that is done.
 *
 * I34  A key is in the table from the moment its job is accepted or brought back, before that is
 *      committed, until its end is visible, or the commit was refused.  So of two submits at once
 *      one makes the job; the other waits for the commit (engine.keyed) before it names it.
 * I35  The chain's place is made before a job is accepted: joining cannot fail.
 * I51  A job that ended lately keeps its key.  Its end is committed before it leaves the table (I34),
 *      so of a submit either the table shows it, or the store's thread does, which looks for the key
 *      among ended jobs right before it inserts the row, and inserts none if there is one
 *      (store_op.existing): nothing can end in between, for it is all in that thread's order.  The
 *      job was accepted by then, and holds the key, so others wait (I34); it is dropped as if the
 *      commit had been refused, and its id is never seen.  So no submit pays for a look-up of its
 *      own, and no memory is needed for what has ended.  What is in memory only is not told the
 *      store: such a job's key is free when it has ended, and its submit meets live jobs only.
 *
 * Guarded by the engine's lock, but for engine_key_new().
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64 };

struct job_key {
    struct job_key *next, **link; /* in a bucket; link NULL: in none */
    struct job *job;
    uint64_t hash;
    uid_t uid;
    char text[];
};

/* FNV-1a: keys are short, and a user who makes them collide slows down lookups of his own. */
static uint64_t hash_of(uid_t uid, const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ uid;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash ^ (hash >> 32);
}

uint64_t engine_key_hash(uid_t uid, const char *text)
{
    uint64_t hash = text ? hash_of(uid, text) : 0;
    return text && hash == 0 ? 1 : hash;
}

int engine_key_new(const char *text, struct job *job)
{
    if (!text)
        return 0;
    size_t size = strlen(text) + 1;
    struct job_key *key = calloc(1, sizeof(*key) + size);
    if (!key)
        return -ENOMEM;
    memcpy(key->text, text, size);
    key->job = job;
    key->uid = job->record.uid;
    key->hash = hash_of(key->uid, text);
    job->key = key;
    return 0;
}

int engine_key_from_record(struct job *job)
{
    if (!strstr(job->record.spec, "\"key\":")) /* most have none, and need not be parsed */
        return 0;
    char *key;
    int rc = job_spec_text_key(job->record.spec, &key);
    if (rc < 0)
        return rc;
    rc = engine_key_new(key, job);
    free(key);
    return rc;
}

void engine_key_pass(struct job *from, struct job *to)
{
    to->key = from->key;
    from->key = NULL;
    if (to->key)
        to->key->job = to;
}

static void join(struct job_keys *keys, struct job_key *key)
{
    struct job_key **bucket = &keys->buckets[key->hash & (keys->size - 1)];
    key->next = *bucket;
    key->link = bucket;
    if (key->next)
        key->next->link = &key->next;
    *bucket = key;
}

int job_keys_reserve(struct job_keys *keys)
{
    size_t size = keys->size ? keys->size * 2 : BUCKETS_MIN;
    struct job_keys old = *keys;
    if (keys->count < keys->size)
        return 0;
    struct job_key **buckets = calloc(size, sizeof(struct job_key *));
    if (!buckets)
        return -ENOMEM;
    *keys = (struct job_keys){buckets, size, old.count};
    for (size_t i = 0; i < old.size; i++) {
        struct job_key *next;
        for (struct job_key *key = old.buckets[i]; key; key = next) {
            next = key->next;
            join(keys, key);
        }
    }
    free(old.buckets);
    return 0;
}

void job_keys_destroy(struct job_keys *keys)
{
    free(keys->buckets);
    *keys = (struct job_keys){0};
}

static struct job *find(const struct job_keys *keys, uid_t uid, const char *text, uint64_t hash)
{
    if (keys->count == 0)
        return NULL;
    for (struct job_key *key = keys->buckets[hash & (keys->size - 1)]; key; key = key->next)
        if (key->hash == hash && key->uid == uid && strcmp(key->text, text) == 0)
            return key->job;
    return NULL;
}

struct job *engine_key_holder_locked(struct engine *engine, const struct job *job)
{
    const struct job_key *key = job->key;
    return key ? find(&engine->keys, key->uid, key->text, key->hash) : NULL;
}

bool engine_key_pending_locked(struct engine *engine, const struct job *job)
{
    const struct job *holder = job ? engine_key_holder_locked(engine, job) : NULL;
    return holder && holder->record.state == JOB_NONE;
}

void engine_key_join_locked(struct engine *engine, struct job *job)
{
    if (!job->key)
        return;
    join(&engine->keys, job->key);
    engine->keys.count++;
}

void engine_key_leave_locked(struct engine *engine, struct job *job)
{
    struct job_key *key = job->key;
    if (!key || !key->link)
        return;
    *key->link = key->next;
    if (key->next)
        key->next->link = key->link;
    engine->keys.count--;
    free(key);
    job->key = NULL;
}
