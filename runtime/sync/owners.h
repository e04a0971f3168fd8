/* SPDX-License-Identifier: MIT */
/* Who holds a primitive, for observe/: asked only while some fiber is known to wait for it, so that
 * it is still there.  Any thread.  NULL: nobody. */
#ifndef RUNTIME_SYNC_OWNERS_H
#define RUNTIME_SYNC_OWNERS_H

struct fiber;

const struct fiber *mutex_owner(const void *mutex);

#endif
