/* SPDX-License-Identifier: MIT */
/* The inside of weft_tls_context. */
#ifndef RUNTIME_IO_TLS_CONTEXT_H
#define RUNTIME_IO_TLS_CONTEXT_H

#include "core/spin.h"
#include "io/tls/bundle.h"

struct weft_tls_context {
    atomic_uint references;    /* acq_rel, as the bundle's */
    struct settings *settings; /* constant */
    struct spin lock;
    struct tls_bundle *bundle; /* guarded by lock; what the last reload read */
};

/** The bundle of this moment, with a reference for the caller.  Any thread. */
struct tls_bundle *context_bundle(struct weft_tls_context *context);

#endif
