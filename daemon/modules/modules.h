/* SPDX-License-Identifier: MIT */
/*
 * The modules that come with weftd.  They are made of <weft/…> alone, as any module is, but linked
 * in rather than loaded: weftd is never without them, whatever is installed where.
 */
#pragma once

#include <weft/module.h>

#define MODULE_COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern const struct weft_module module_core; /* core.c */
extern const struct weft_module module_file; /* file.c */
extern const struct weft_module module_http; /* http.c */
