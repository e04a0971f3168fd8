/* SPDX-License-Identifier: MIT */
/*
 * Walking a stack by frame pointers.  On both processors a frame pointer points at the caller's
 * frame pointer, with the return address above it; a suspended context (core/switch.h, A2) has its
 * resume address where its stack pointer points, and its frame pointer above that.
 *
 *   I1  Every word that is read lies in [sp, control block) of one stack, which is mapped.
 *   I2  Frame pointers grow strictly, so the walk ends.
 *
 * The words may be another thread's to write, and may be what AddressSanitizer put a red zone
 * around: the reads are hidden from the sanitizers.
 */
#include "observe/frames.h"

#include "core/stack.h"

#define UNWATCHED __attribute__((no_sanitize("address"), no_sanitize("thread"), noinline))

struct bounds {
    uintptr_t low, high; /* of words that may be read */
};

static struct bounds bounds_of(const struct fiber *fiber, uintptr_t sp)
{
    uintptr_t bottom = (uintptr_t)stack_bottom(fiber) + STACK_GUARD_SIZE;

    return (struct bounds){.low = sp > bottom ? sp : bottom, .high = (uintptr_t)fiber};
}

/* Whether two words may be read there. */
static bool bounds_hold(const struct bounds *bounds, uintptr_t address)
{
    return address % sizeof(uintptr_t) == 0 && address >= bounds->low &&
           address <= bounds->high - 2 * sizeof(uintptr_t);
}

UNWATCHED static uintptr_t word_at(uintptr_t address)
{
    return *(const volatile uintptr_t *)address;
}

unsigned frames_walk(const struct fiber *fiber, const struct frames_start *start,
                     const void *ret_frames[WEFT_FRAMES_MAX])
{
    struct bounds bounds = bounds_of(fiber, start->sp);
    uintptr_t pc = start->pc + start->exact, fp = start->fp;
    unsigned count = 0;

    while (pc && count < WEFT_FRAMES_MAX) {
        ret_frames[count++] = (const void *)pc;
        if (!bounds_hold(&bounds, fp))
            break;
        pc = word_at(fp + sizeof(uintptr_t));
        bounds.low = fp + 1; /* I2 */
        fp = word_at(fp);
    }
    return count;
}

/* TSan does not see the switch write it. */
UNWATCHED static uintptr_t saved_sp(const struct fiber *fiber)
{
    return (uintptr_t) * (void *const volatile *)&fiber->context.sp;
}

bool frames_none_yet(const struct fiber *fiber)
{
    return saved_sp(fiber) == (uintptr_t)fiber - 2 * sizeof(void *); /* switch_prepare */
}

unsigned frames_suspended(const struct fiber *fiber, const void *ret_frames[WEFT_FRAMES_MAX])
{
    uintptr_t sp = saved_sp(fiber);
    struct bounds bounds = bounds_of(fiber, 0);
    struct frames_start start = {.pc = (uintptr_t)fiber->fn, .sp = sp, .exact = true};

    if (!bounds_hold(&bounds, sp))
        return 0;
    if (!frames_none_yet(fiber))
        start = (struct frames_start){
            .pc = word_at(sp), .fp = word_at(sp + sizeof(uintptr_t)), .sp = sp};
    return frames_walk(fiber, &start, ret_frames);
}

unsigned frames_own(const struct fiber *fiber, const void *ret_frames[WEFT_FRAMES_MAX])
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    struct frames_start start = {
        .pc = (uintptr_t)__builtin_return_address(0), .fp = word_at(frame), .sp = frame};

    if (stack_fiber_at(frame) != fiber)
        return 0;
    return frames_walk(fiber, &start, ret_frames);
}
