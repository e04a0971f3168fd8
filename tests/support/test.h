/* SPDX-License-Identifier: MIT */
/* The one include of every test: Criterion, or its stand-in under sanitizers. */
#pragma once
#ifdef WEFT_TEST_MINI
#include "support/mini_criterion.h"
#else
#include <criterion/criterion.h>
#endif

/** So many of something; fewer under ThreadSanitizer, where all takes about ten times as long.
 * What a test asserts does not depend on it. */
#ifdef __SANITIZE_THREAD__
#define TEST_COUNT(many, few) (few)
#else
#define TEST_COUNT(many, few) (many)
#endif
