/* SPDX-License-Identifier: MIT */
/* A context's options, checked and copied, so that a reload can read the same files again. */
#ifndef RUNTIME_IO_TLS_SETTINGS_H
#define RUNTIME_IO_TLS_SETTINGS_H

#include "weft/tls.h"

/* Constant once made. */
struct settings {
    enum weft_tls_role role;
    struct weft_tls_options options; /* all pointers lead into memory of this object's */
    unsigned char *alpn; /* as the wire has it: each with its length in front; or NULL */
    size_t alpn_size;
    size_t kept_count; /* of `kept` */
    char *kept[];      /* the copied texts, wiped when they go: keys and passwords are among them */
};

/** Any thread.  Errors: -EINVAL they do not go together (why tells), -ENOMEM. */
int settings_new(enum weft_tls_role role, const struct weft_tls_options *options,
                 struct weft_tls_why *why, struct settings **ret_settings);

/** NULL does nothing. */
void settings_free(struct settings *settings);

/** Whether any of the sources of trust is given. */
bool settings_have_ca(const struct weft_tls_options *options);

#endif
