/* SPDX-License-Identifier: MIT */
/* client_impl: what the library's own files share. */
#pragma once

#include <stdint.h>
#include <weft/client.h>

#define CLIENT_FOR_EVER UINT64_MAX

/* How long to go on asking anew; 0: not at all, or it cannot reconnect. */
uint64_t client_patience(const struct weft_client *client);

/* A new connection to where the last one was.  Everything that was under way on that is lost, also
 * when this fails.  Errors: as weft_client_open(). */
int client_reopen(struct weft_client *client);

/* Sleep, unless what weft_client_interrupt_on() named is there: -EINTR. */
int client_sleep(const struct weft_client *client, uint64_t ns);
