/* SPDX-License-Identifier: MIT */
/* The clock: monotonic nanoseconds.  Defaults of weft/weft.h apply. */
#ifndef WEFT_TIME_H
#define WEFT_TIME_H

#include <stdint.h>

#define WEFT_NO_DEADLINE UINT64_MAX
#define WEFT_MICROSECOND UINT64_C(1000)
#define WEFT_MILLISECOND UINT64_C(1000000)
#define WEFT_SECOND      UINT64_C(1000000000)

#ifdef __cplusplus
extern "C" {
#endif

/** The monotonic clock now.  Context: any thread; never suspends. */
uint64_t weft_now_ns(void);

/** The deadline `timeout_ns` from now; saturates at WEFT_NO_DEADLINE.  Context: any thread. */
uint64_t weft_deadline_after(uint64_t timeout_ns);

/** Suspend for at least `duration_ns`.  Errors: -ECANCELED, -ETIMEDOUT from the scope. */
int weft_sleep(uint64_t duration_ns);

/** Suspend until the clock has reached `deadline_ns`.  Errors: as weft_sleep. */
int weft_sleep_until(uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif
#endif
