/* SPDX-License-Identifier: MIT */
/* session_pass: see session_pass.h. */
#include "daemon/session_pass.h"

#include "weft/time.h"

#include <unistd.h>

/* request_pass's `begin` */
static int begin(void *arg)
{
    struct session_pass *pass = arg;
    int err = weft_semaphore_acquire(&pass->output->place, WEFT_NO_DEADLINE);
    pass->has_place = !err;
    return err;
}

void session_pass_init(struct session_pass *pass, struct session_output *output)
{
    *pass =
        (struct session_pass){.request = {.begin = begin, .arg = pass, .fd = -1}, .output = output};
}

int session_pass_take(struct session_pass *pass, bool has_reply)
{
    int fd = pass->request.fd;
    if (!pass->has_place || (fd >= 0 && has_reply))
        return fd;
    if (fd >= 0)
        close(fd);
    weft_semaphore_release(&pass->output->place);
    return -1;
}
