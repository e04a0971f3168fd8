/* SPDX-License-Identifier: MIT */
/* output_share: which file of a stream to hand out.  Private to output.c.  Blocks; any thread. */
#pragma once

#include "daemon/output.h"

/* output_share() of what is called `name` in the folder, but for `dropped`.  *share is set in any case;
 * its fd is the caller's. */
int output_share_at(int folder, const char *name, uint64_t offset, bool is_over,
                    struct output_share *share);
