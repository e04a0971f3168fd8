/* SPDX-License-Identifier: MIT */
/* server_identify: see server_identify.h. */
#include "daemon/server_identify.h"

#include <weft/offload.h>

struct search {
    const struct server_question *question;
    struct peer *peer;
};

static int search_main(void *arg)
{
    struct search *search = arg;
    const struct server_question *question = search->question;
    if (!question->is_tcp)
        return session_peer(question->fd, question->admin_group, search->peer);
    return session_peer_of(question->uid, question->gid, question->admin_group, search->peer);
}

/* The databases may block (LDAP, ...): they are asked on another thread, if at all. */
int server_identify(const struct server_question *question, struct peer *ret_peer)
{
    struct search search = {.question = question, .peer = ret_peer};
    if (!question->admin_group[0])
        return search_main(&search);
    int result, err = weft_offload(search_main, &search, &result);
    return err ? err : result;
}
