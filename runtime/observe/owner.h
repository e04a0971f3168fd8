/* SPDX-License-Identifier: MIT */
/* What the kinds of waits (wait_describe) mean: who could end them. */
#ifndef RUNTIME_OBSERVE_OWNER_H
#define RUNTIME_OBSERVE_OWNER_H

#include "core/base.h"

struct fiber;

/** Whether only another fiber can end such a wait, and no kernel, clock or thread that the runtime
 * knows of.  Kinds that are not known are not. */
bool wait_is_internal(const char *kind);

/** The fiber that holds what such a wait is for, or NULL: nobody, or that kind has no owner.  Only
 * while some fiber is known to wait for it (O4). */
const struct fiber *wait_owner_of(const char *kind, const void *object);

#endif
