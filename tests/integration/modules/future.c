/* SPDX-License-Identifier: MIT */
/* A module made for an interface that is not there yet. */
#include <weft/module.h>

const struct weft_module weft_module = {WEFT_MODULE_ABI + 1, 1, 1, "future", "1", NULL, 0};
