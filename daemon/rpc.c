/* SPDX-License-Identifier: MIT */
/*
 * rpc: see rpc.h.
 *
 * I1  Of one message at most max_in_flight requests run at once.
 * I2  A request starts when the one before it has had its turn: a submit once its jobs have ids,
 *     anything else at once.  So the submits of a batch get ids in their order.
 */
#include "daemon/rpc.h"

#include "daemon/engine.h"
#include "daemon/methods.h"
#include "daemon/session.h"
#include "weft/weft.h"

#include <errno.h>
#include <stdlib.h>

void rpc_call_run(struct rpc_call *call, const struct jsonrpc_message *message, size_t index,
                  const struct rpc_caller *caller, const struct engine_turn *turn)
{
    struct jsonrpc_request request;
    int err = jsonrpc_request_at(message, index, &request, &call->error);
    call->id = request.id;
    call->wanted = err || request.id;
    if (err)
        return;
    if (!methods_takes_turns(request.method))
        turn->done(turn->arg);
    struct request wanted = {.context = caller->context,
                             .peer = caller->peer,
                             .follow_up = call->follow_up,
                             .pass = call->pass,
                             .params = request.params,
                             .turn = turn};
    if (methods_call(&wanted, request.method, &call->result))
        call->error = wanted.error;
    call->changed = wanted.changed;
}

int rpc_append_error(struct jsonrpc_text *text, const json_t *id, const struct rpc_error *error,
                     struct session_totals *totals)
{
    atomic_fetch_add_explicit(&totals->errors, 1, memory_order_relaxed);
    return jsonrpc_append_error(text, id, error);
}

int rpc_call_append(const struct rpc_call *call, struct jsonrpc_text *text,
                    struct session_totals *totals)
{
    if (!call->wanted)
        return 0;
    if (call->changed && !call->result)
        return -ENOMEM;
    if (call->error.code != RPC_OK)
        return rpc_append_error(text, call->id, &call->error, totals);
    int err = jsonrpc_append_result(text, call->id, call->result);
    if (!err || call->changed)
        return err;
    struct rpc_error error;
    rpc_error_set(&error, RPC_INTERNAL_ERROR, "%s",
                  err == -EINVAL ? "the result holds text that is not UTF-8" : "out of memory");
    return rpc_append_error(text, call->id, &error, totals);
}

void rpc_call_destroy(struct rpc_call *call)
{
    json_decref(call->result);
}

/* ---- a whole message ----------------------------------------------------------------------- */

struct batch_item {
    struct batch *batch;
    bool turn_over; /* it has given back batch.turn (I2) */
    struct rpc_call call;
};

struct batch {
    const struct jsonrpc_message *message;
    const struct rpc_caller *caller;
    struct weft_semaphore slots; /* I1 */
    struct weft_semaphore turn;  /* I2; one permit */
    struct batch_item items[];   /* message->count */
};

/* engine_turn's `done`.  Once per item, however often it is called. */
static void end_turn(void *arg)
{
    struct batch_item *item = arg;
    if (!item->turn_over)
        weft_semaphore_release(&item->batch->turn);
    item->turn_over = true;
}

static int item_main(void *arg)
{
    struct batch_item *item = arg;
    struct batch *batch = item->batch;
    struct engine_turn turn = {.done = end_turn, .arg = item};
    rpc_call_run(&item->call, batch->message, (size_t)(item - batch->items), batch->caller, &turn);
    end_turn(item);
    weft_semaphore_release(&batch->slots);
    return 0;
}

/* Errors: the scope's. */
static int take_turn_and_slot(struct batch *batch)
{
    int err = weft_semaphore_acquire(&batch->turn, WEFT_NO_DEADLINE);
    if (err)
        return err;
    err = weft_semaphore_acquire(&batch->slots, WEFT_NO_DEADLINE);
    if (err)
        weft_semaphore_release(&batch->turn);
    return err;
}

/* What is not begun before a cancel is answered as such, in its place. */
static void item_skip(struct batch_item *item)
{
    item->call.wanted = true;
    rpc_error_set(&item->call.error, RPC_SHUTTING_DOWN, NULL);
}

static void run_items(struct batch *batch)
{
    struct weft_group group;
    weft_group_init(&group);
    for (size_t i = 0; i < batch->message->count; i++) {
        struct batch_item *item = &batch->items[i];
        item->batch = batch;
        if (take_turn_and_slot(batch))
            item_skip(item);
        else if (weft_group_spawn(&group, "request", item_main, item))
            item_main(item); /* no stack is left: here, then, one after another */
    }
    weft_group_join(&group); /* a cancel is in each item's error */
}

static int append_replies(const struct batch *batch, struct jsonrpc_text *text)
{
    int err = batch->message->is_batch ? jsonrpc_batch_open(text) : 0;
    for (size_t i = 0; !err && i < batch->message->count; i++)
        err = rpc_call_append(&batch->items[i].call, text, batch->caller->totals);
    return !err && batch->message->is_batch ? jsonrpc_batch_close(text) : err;
}

int rpc_answer(const struct jsonrpc_message *message, const struct rpc_caller *caller,
               struct jsonrpc_text *text)
{
    struct batch *batch = calloc(1, sizeof *batch + message->count * sizeof batch->items[0]);
    if (!batch)
        return -ENOMEM;
    batch->message = message;
    batch->caller = caller;
    weft_semaphore_init(&batch->slots, caller->max_in_flight, 0);
    weft_semaphore_init(&batch->turn, 1, 1);
    run_items(batch);
    int err = append_replies(batch, text);
    for (size_t i = 0; i < message->count; i++)
        rpc_call_destroy(&batch->items[i].call);
    free(batch);
    return err;
}
