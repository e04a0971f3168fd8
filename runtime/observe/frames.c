/* SPDX-License-Identifier: MIT */
/*
 * Walking a stack by frame pointers.  On both processors a frame pointer points at the caller's
 * frame pointer, with the return address above it; a suspended context (core/switch.h, A2) has its
 * resume address where its stack pointer points, and its frame pointer above that.
 *
 *   I1  Every word that is read lies in [sp, control block) of one stack, which is mapped.
 *   I2  Frame pointers grow strictly, so the walk ends.
 *   I3  The first frame of a fiber has neither frame pointer nor return address (switch.h, A5): a
 *       chain that leads there is whole, and nothing is guessed.
 *
 * The words may be another thread's to write, and may be what AddressSanitizer put a red zone
 * around: the reads are hidden from the sanitizers.
 */
#include "observe/frames.h"

#include "core/stack.h"
#include "observe/code.h"

enum { GUESS_WORDS = 512 };

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

/* A return address on aarch64 may be signed, in bits that no address has (pointer authentication; as
 * -mbranch-protection=standard of distributions has it). */
static uintptr_t without_signature(uintptr_t address)
{
#ifdef __aarch64__
    register uintptr_t link __asm__("x30") = address;

    __asm__("hint #7" : "+r"(link)); /* xpaclri: nothing where the processor has no signatures */
    return link;
#else
    return address;
#endif
}

static void add_frame(struct frames *frames, uintptr_t pc, bool guess)
{
    if (frames->count == WEFT_FRAMES_MAX)
        return;
    frames->guesses |= (uint64_t)guess << frames->count;
    frames->at[frames->count++] = (const void *)pc;
}

/* What could be return addresses in [from, to), some words at most. */
static void guess(struct frames *frames, uintptr_t from, uintptr_t to)
{
    from = (from + sizeof(uintptr_t) - 1) & ~(sizeof(uintptr_t) - 1);
    if (to > from + GUESS_WORDS * sizeof(uintptr_t))
        to = from + GUESS_WORDS * sizeof(uintptr_t);
    for (; from < to; from += sizeof(uintptr_t)) {
        uintptr_t word = without_signature(word_at(from));

        if (code_is_return(frames->map, word))
            add_frame(frames, word, true);
    }
}

void frames_walk(const struct fiber *fiber, const struct frames_start *start, struct frames *frames)
{
    struct bounds bounds = bounds_of(fiber, start->sp);
    uintptr_t fp = start->fp, link = without_signature(start->link), pc;
    bool whole = !fp && !start->exact; /* the chain led to the first frame of all (I3) */

    frames->count = 0;
    frames->guesses = 0;
    add_frame(frames, start->pc + start->exact, false);
    if (link && code_is_return(frames->map, link))
        add_frame(frames, link, true);
    if (start->exact && bounds_hold(&bounds, fp))
        guess(frames, bounds.low, fp); /* if a function without a frame was called last */
    while (bounds_hold(&bounds, fp) && frames->count < WEFT_FRAMES_MAX && !whole) {
        pc = without_signature(word_at(fp + sizeof(uintptr_t)));
        whole = pc == 0; /* I3 */
        if (!whole)
            add_frame(frames, pc, false);
        bounds.low = fp + 2 * sizeof(uintptr_t); /* I2 */
        fp = word_at(fp);
    }
    if (!whole)
        guess(frames, bounds.low, bounds.high);
}

/* TSan does not see the switch write it. */
UNWATCHED static uintptr_t saved_sp(const struct fiber *fiber)
{
    return (uintptr_t) * (void *const volatile *)&fiber->context.sp;
}

void frames_suspended(const struct fiber *fiber, struct frames *frames)
{
    uintptr_t sp = saved_sp(fiber);
    struct bounds bounds = bounds_of(fiber, 0);
    struct frames_start start = {.pc = (uintptr_t)fiber->fn, .sp = bounds.high, .exact = true};

    if (!bounds_hold(&bounds, sp))
        return;
    if (sp != (uintptr_t)fiber - 2 * sizeof(void *)) /* where switch_prepare leaves it */
        start = (struct frames_start){
            .pc = word_at(sp), .fp = word_at(sp + sizeof(uintptr_t)), .sp = sp};
    frames_walk(fiber, &start, frames);
}

void frames_own(const struct fiber *fiber, struct frames *frames)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    struct frames_start start = {
        .pc = (uintptr_t)__builtin_return_address(0), .fp = word_at(frame), .sp = frame};

    if (stack_fiber_at(frame) == fiber)
        frames_walk(fiber, &start, frames);
}
