/* SPDX-License-Identifier: MIT */
/*
 * store_verify: is a state folder what weftd would leave?  For `weftd --verify`.
 *
 * Looks and changes nothing: not a file, not a byte, whether the store is whole or damaged.  Each
 * thing that it finds is a line: what, and what to do.  Blocks; any thread.
 */
#pragma once

#include "daemon/problem.h"

#include <stdio.h>

/**
 * Check the store in state_dir and the output files beside it, and print what was found to `to`.
 * Faults count; notes (what the next start puts right by itself) do not.  Modules must have been
 * loaded: handlers that jobs name are looked up.
 * Returns: the number of faults.
 * Errors:  -EBUSY a weftd uses the folder, -ENOENT there is no store, -ENOMEM, the system's; with
 *          problem.
 */
int store_verify(const char *state_dir, FILE *to, struct problem *problem);
