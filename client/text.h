/* SPDX-License-Identifier: MIT */
/* text: values as people read them, safe to show on a terminal.  Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_SHORT_MAX 32

/* "850ms", "12s", "3m20s", "2h5m", "3d4h"; "-" for a negative.  Returns buffer. */
char *text_duration(double seconds, char buffer[static TEXT_SHORT_MAX]);

/* "512 B", "1.5 MiB".  Returns buffer. */
char *text_bytes(uint64_t bytes, char buffer[static TEXT_SHORT_MAX]);

/* Local time, "2026-11-20 11:31:02".  Returns buffer. */
char *text_time(double seconds, char buffer[static TEXT_SHORT_MAX]);

/* text with each control character as an escape ("\n", "\x1b"): what others wrote must not steer
 * the terminal.  Cut to fit size, at a whole character, with "..." at the end.  Returns buffer. */
char *text_safe(const char *text, size_t text_size, char *buffer, size_t size);

/* Characters, not bytes, of UTF-8 text. */
size_t text_columns(const char *text);

/* Bytes of the first `columns` characters. */
size_t text_prefix(const char *text, size_t columns);

/* Decode base64 into data, which has room for size / 4 * 3 bytes and may be text itself.
 * Errors: -EINVAL. */
int text_from_base64(const char *text, size_t size, char *data, size_t *ret_size);
