/* SPDX-License-Identifier: MIT */
/* The inside of weft/stream.h.  A stream is its descriptor, which knows whether it is a socket:
 * struct weft_stream is never defined. */
#ifndef RUNTIME_IO_STREAM_H
#define RUNTIME_IO_STREAM_H

#include "io/descriptor.h"
#include "weft/stream.h"

/** A stream of a socket that is non-blocking already.  Owns `fd`, and closes it on failure. */
int stream_adopt_socket(int fd, struct weft_stream **ret_stream);

#endif
