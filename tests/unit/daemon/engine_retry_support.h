/* SPDX-License-Identifier: MIT */
/* Short forms for the tests of the engine that retry jobs.  Header only. */
#pragma once

#include "engine_support.h"

/* Retry one; the error is in last_error. */
UNUSED static struct rpc_error last_error;
UNUSED static enum job_state retry_as(struct world *world, const struct peer *peer, uint64_t id)
{
    enum job_state state = JOB_NONE;
    struct rpc_error error = {0};
    last_error = (struct rpc_error){0};
    EXPECT_EQ(engine_retry(world->engine, peer, &id, 1, &state, &last_error, &error), 0);
    EXPECT_EQ(state == JOB_NONE, last_error.code != RPC_OK);
    EXPECT(state == JOB_NONE || state == JOB_QUEUED);
    return state;
}

UNUSED static enum job_state retry(struct world *world, uint64_t id)
{
    return retry_as(world, &me, id);
}
