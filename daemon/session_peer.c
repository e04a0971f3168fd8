/* SPDX-License-Identifier: MIT */
/* session_peer: who is at the other end.  SO_PEERCRED is fixed by the kernel at connect. */
#include "daemon/session.h"

#include "daemon/accounts.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* SO_PEERCRED names only the primary group; the others are looked up. */
static int is_admin(uid_t uid, gid_t gid, const char *admin_group, bool *ret_is_admin)
{
    gid_t admins;
    *ret_is_admin = uid == 0 || uid == geteuid();
    if (*ret_is_admin || !admin_group[0])
        return 0;
    int rc = accounts_group(admin_group, &admins);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    *ret_is_admin = gid == admins;
    return *ret_is_admin ? 0 : accounts_is_member(uid, admins, ret_is_admin);
}

int session_peer_of(uid_t uid, gid_t gid, const char *admin_group, struct peer *ret_peer)
{
    struct peer peer = {.uid = uid, .gid = gid};
    int rc = is_admin(uid, gid, admin_group, &peer.admin);
    if (rc == 0)
        *ret_peer = peer;
    return rc;
}

int session_peer(int fd, const char *admin_group, struct peer *ret_peer)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return -errno;
    int rc = session_peer_of(peer.uid, peer.gid, admin_group, ret_peer);
    if (rc == 0)
        ret_peer->pid = peer.pid;
    return rc;
}
