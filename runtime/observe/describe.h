/* SPDX-License-Identifier: MIT */
/* Fibers in words, as dumps and reports have them. */
#ifndef RUNTIME_OBSERVE_DESCRIBE_H
#define RUNTIME_OBSERVE_DESCRIBE_H

#include <stdint.h>

#include "observe/text.h"
#include "weft/dump.h"

/** "writer [0.17]". */
void describe_fiber(struct text *text, const struct weft_fiber_info *info);

/** "waits 1.250 s for mutex 0x7f…, which 0.3 holds"; "is ready"; "runs on worker 1". */
void describe_state(struct text *text, const struct weft_fiber_info *info, uint64_t now_ns);

/** A line per frame, each after `indent`. */
void describe_frames(struct text *text, const struct weft_fiber_info *info, const char *indent);

#endif
