/* SPDX-License-Identifier: MIT */
/* The one include of every test: Criterion, or its stand-in under sanitizers. */
#pragma once
#ifdef WEFT_TEST_MINI
#include "support/mini_criterion.h"
#else
#include <criterion/criterion.h>
#endif
