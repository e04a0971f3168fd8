/* SPDX-License-Identifier: MIT */
/* run_native: a handler's call as a run.  What a handler is, and what it may do: native.h. */
#include "daemon/job.h"
#include "daemon/native.h"
#include "daemon/run_impl.h"

#include <errno.h>
#include <unistd.h>

int run_native(struct runner *runner, const struct run_request *request,
               struct run_outcome *ret_outcome)
{
    int rc = weft_check_cancel();
    if (rc < 0)
        return rc;
    if (geteuid() == 0 && request->uid != 0) { /* submit refuses it; this job came another way */
        run_outcome_fail(ret_outcome,
                         "handler \"%s\" would run as root, as weftd does: only root may call it",
                         request->spec->call);
        return -EPERM;
    }
    atomic_fetch_add(&runner->calls, 1);
    const struct native_handler *handler = native_find(request->spec->call);
    if (handler && handler->module->apart)
        return run_module(runner, handler, request, ret_outcome);
    return native_run(request, ret_outcome);
}
