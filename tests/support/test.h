#pragma once
#ifdef WEFT_TEST_MINI
#include "support/mini_criterion.h"
#else
#include <criterion/criterion.h>
#endif
