/* SPDX-License-Identifier: MIT */
/* session_peer: who is at the other end.  SO_PEERCRED is fixed by the kernel at connect. */
#include "daemon/session.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static bool group_id(const char *name, gid_t *ret_gid)
{
    struct group entry, *found = NULL;
    char buffer[16384];
    if (getgrnam_r(name, &entry, buffer, sizeof buffer, &found) || !found)
        return false;
    *ret_gid = found->gr_gid;
    return true;
}

/* By the group database: SO_PEERCRED names only the primary group. */
static bool user_is_in_group(uid_t uid, gid_t gid)
{
    struct passwd entry, *found = NULL;
    char buffer[16384];
    if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) || !found)
        return false;
    gid_t groups[256];
    int count = 256;
    if (getgrouplist(found->pw_name, found->pw_gid, groups, &count) < 0)
        count = 256; /* in more than that: the first ones decide */
    for (int i = 0; i < count; i++) {
        if (groups[i] == gid)
            return true;
    }
    return false;
}

static bool is_admin(uid_t uid, gid_t gid, const char *admin_group)
{
    gid_t admins;
    if (uid == 0 || uid == geteuid())
        return true;
    if (!admin_group[0] || !group_id(admin_group, &admins))
        return false;
    return gid == admins || user_is_in_group(uid, admins);
}

void session_peer_of(uid_t uid, gid_t gid, const char *admin_group, struct peer *ret_peer)
{
    *ret_peer = (struct peer){.uid = uid, .gid = gid, .admin = is_admin(uid, gid, admin_group)};
}

int session_peer(int fd, const char *admin_group, struct peer *ret_peer)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return -errno;
    *ret_peer = (struct peer){.uid = peer.uid,
                              .gid = peer.gid,
                              .pid = peer.pid,
                              .admin = is_admin(peer.uid, peer.gid, admin_group)};
    return 0;
}
