/* SPDX-License-Identifier: MIT */
/*
 * engine_ids: ids of jobs that are in memory only.
 *
 * An id is never given twice.  Those of stored jobs are in the store; of the others nothing is, so
 * the store keeps a mark, which is moved far ahead at once: a commit for every MARK_STEP ids.
 *
 * I41  The id of a job that is in memory only is below the mark, and the mark is committed before
 *      the job is accepted.  A start gives ids from the mark on; an orderly stop sets it back to the
 *      next id, so only a crash leaves a hole.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_STEP UINT64_C(65536)
#define MARK_NAME "ids" /* of the setting */

bool engine_ids_adopt(struct engine *engine, const char *name, const char *value)
{
    if (strcmp(name, MARK_NAME) != 0)
        return false;
    engine->id_mark = strtoull(value, NULL, 10); /* the store has checked its sum */
    engine_set_next_id(engine, engine->id_mark);
    return true;
}

bool engine_ids_suffice_locked(const struct engine *engine, size_t count)
{
    return engine->next_id + count <= engine->id_mark;
}

/* Nobody else writes the mark meanwhile. */
static int write_mark(struct engine *engine, uint64_t mark)
{
    char text[24];
    struct store_setting setting = {MARK_NAME, text};
    struct engine_op op = {.op = {.settings = &setting, .count = 1}};
    snprintf(text, sizeof(text), "%" PRIu64, mark);
    engine_push(engine, &op, STORE_SET);
    int rc = engine_await(engine, &op);
    if (rc < 0)
        return rc;
    engine_lock_shielded(engine);
    engine->id_mark = mark;
    engine_unlock(engine);
    return 0;
}

int engine_ids_mark(struct engine *engine, size_t count)
{
    int rc = weft_mutex_lock(&engine->marking);
    if (rc < 0)
        return rc;
    engine_lock_shielded(engine);
    uint64_t next = engine->next_id;
    bool suffice = engine_ids_suffice_locked(engine, count);
    bool stopped = engine->stopped;
    engine_unlock(engine);
    if (stopped)
        rc = -ESHUTDOWN;
    else if (!suffice)
        rc = write_mark(engine, next + count + MARK_STEP);
    weft_mutex_unlock(&engine->marking);
    return rc;
}

void engine_ids_stop(struct engine *engine)
{
    (void)weft_mutex_lock_shielded(&engine->marking);
    engine_lock_shielded(engine);
    uint64_t next = engine->next_id;
    bool ahead = engine->stopped && engine->id_mark > next && !engine_failed(engine);
    engine_unlock(engine);
    if (ahead)
        (void)write_mark(engine, next); /* else the ids up to the mark are left out */
    weft_mutex_unlock(&engine->marking);
}
