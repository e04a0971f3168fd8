/* SPDX-License-Identifier: MIT */
/* The one include of every test: Criterion, or its stand-in where Criterion cannot run. */
#pragma once
#ifdef WEFT_TEST_MINI
#include "support/mini_criterion.h"
#else
#include <criterion/criterion.h>
#endif
