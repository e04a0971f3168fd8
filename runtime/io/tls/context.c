/* SPDX-License-Identifier: MIT */
/*
 * TLS contexts: settings, and the bundle that was read by them last.
 *
 *   I1  A reload makes a whole new bundle and then swaps one pointer; a stream took its reference
 *       before or after, and keeps it to its end.  So a reload never changes a live connection.
 *   I2  Files are read on a plain thread: weft_offload's when the caller is a fiber.
 *
 * Any thread.
 */
#include "io/tls/context.h"

#include <errno.h>
#include <stdlib.h>

#include "weft/fiber.h"
#include "weft/offload.h"

struct reading {
    const struct settings *settings;
    struct weft_tls_why why;
    struct tls_bundle *bundle;
};

static int read_bundle(void *arg)
{
    struct reading *reading = arg;
    return bundle_new(reading->settings, &reading->why, &reading->bundle);
}

static int context_read(const struct settings *settings, struct weft_tls_why *why,
                        struct tls_bundle **ret_bundle)
{
    struct reading reading = {.settings = settings};
    int result = 0;
    int r = weft_on_fiber() ? weft_offload(read_bundle, &reading, &result) : read_bundle(&reading);
    if (r == 0)
        r = result;
    if (r == 0)
        *ret_bundle = reading.bundle;
    else if (why)
        *why = reading.why;
    return r;
}

static int context_create(struct settings *settings, struct weft_tls_why *why,
                          struct weft_tls_context **ret_context)
{
    struct weft_tls_context *context = calloc(1, sizeof(*context));
    if (!context)
        return -ENOMEM;
    int r = context_read(settings, why, &context->bundle);
    if (r < 0) {
        free(context);
        return r;
    }
    atomic_init(&context->references, 1);
    context->settings = settings;
    *ret_context = context;
    return 0;
}

int weft_tls_context_new(enum weft_tls_role role, const struct weft_tls_options *options,
                         struct weft_tls_why *why, struct weft_tls_context **ret_context)
{
    static const struct weft_tls_options defaults;
    struct weft_tls_why scratch = {0};
    struct settings *settings;
    int r = settings_new(role, options ? options : &defaults, why ? why : &scratch, &settings);
    if (r < 0)
        return r;
    r = context_create(settings, why, ret_context);
    if (r < 0)
        settings_free(settings);
    return r;
}

struct weft_tls_context *weft_tls_context_ref(struct weft_tls_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void weft_tls_context_unref(struct weft_tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    bundle_unref(context->bundle);
    settings_free(context->settings);
    free(context);
}

struct tls_bundle *context_bundle(struct weft_tls_context *context)
{
    spin_lock(&context->lock);
    struct tls_bundle *bundle = bundle_ref(context->bundle);
    spin_unlock(&context->lock);
    return bundle;
}

int weft_tls_context_reload(struct weft_tls_context *context, struct weft_tls_why *why)
{
    struct tls_bundle *fresh;
    int r = context_read(context->settings, why, &fresh);
    if (r < 0)
        return r;
    spin_lock(&context->lock);
    struct tls_bundle *stale = context->bundle;
    context->bundle = fresh;
    spin_unlock(&context->lock);
    bundle_unref(stale);
    return 0;
}
