/* SPDX-License-Identifier: MIT */
/* Two stacks that change places under register pressure, and are walked to their ends.  Compiled
 * by switch_test.sh in many ways, also for another processor: needs nothing but core/switch.h. */
#include "core/switch.h"

#include <execinfo.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { STACK_SIZE = 64 * 1024, STEPS = 1000, FRAMES_MAX = 50 };

static char stack[2][STACK_SIZE] __attribute__((aligned(64)));
static void *stack_pointer[2], *main_pointer;
static unsigned switches, ended;

static void fail(const char *what)
{
    puts(what);
    exit(1);
}

static struct carried carried_by(int self)
{
    return (struct carried){&stack[self], &stack_pointer[self], &stack[self][switches % STEPS]};
}

/* What arrives is what the other one sent along. */
static void hand_over(int self, void *to)
{
    struct carried got = switch_stacks(&stack_pointer[self], to, carried_by(self));
    struct carried expected = carried_by(!self); /* switches is as the other left it */

    if (ended == 0 && (got.a != expected.a || got.b != expected.b || got.c != expected.c))
        fail("a word was lost on the way");
}

/* More live values than callee-saved registers, of both kinds. */
static uint64_t work(int self, uint64_t a, double x, bool change)
{
    uint64_t b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5, g = a + 6;
    double y = x + 1, z = x + 2, u = x + 3, v = x + 4, w = x + 5;

    for (int i = 0; i < STEPS; i++) {
        a += b ^ c, b += c ^ d, c += d ^ e, d += e ^ f, e += f ^ g, f += g ^ a, g += a ^ b;
        x += y, y -= z * 0.25, z += u * 0.125, u -= v * 0.0625, v += w * 0.5, w -= x * 0.03125;
        if (change) {
            switches++;
            hand_over(self, stack_pointer[!self]);
        }
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ g ^ (uint64_t)(int64_t)(x + y + z + u + v + w);
}

static void walk_to_the_end(int self)
{
    void *frames[FRAMES_MAX];
    void **frame = __builtin_frame_address(0);
    int count = backtrace(frames, FRAMES_MAX);

    if (count < 2 || count == FRAMES_MAX)
        fail("the unwind tables do not lead to the stack's end");
    for (count = 0; frame; frame = *frame, count++)
        if ((char *)frame < stack[self] || (char *)frame >= stack[self + 1] || count > FRAMES_MAX)
            fail("the frame pointers do not lead to the stack's end");
}

_Noreturn static void run(int self)
{
    walk_to_the_end(self);
    uint64_t changed = work(self, (uint64_t)self, self, true);
    if (changed != work(self, (uint64_t)self, self, false))
        fail("a switch changed a value");
    void *next = ++ended < 2 ? stack_pointer[!self] : main_pointer;
    switch_stacks(&stack_pointer[self], next, carried_by(self));
    abort();
}

static void run_first(void *unused, void *unused_too, void *a, void *b, void *c)
{
    (void)unused, (void)unused_too;
    if (a != &switches || b != &ended || c != &main_pointer)
        fail("a new stack did not get what was sent along");
    run(0);
}

static void run_second(void *unused, void *unused_too, void *a, void *b, void *c)
{
    (void)unused, (void)unused_too;
    if (a != &stack[0] || b != &stack_pointer[0] || !c)
        fail("a new stack did not get what was sent along");
    run(1);
}

int main(void)
{
    stack_pointer[0] = switch_prepare(stack[0] + STACK_SIZE, run_first);
    stack_pointer[1] = switch_prepare(stack[1] + STACK_SIZE, run_second);
    switch_stacks(&main_pointer, stack_pointer[0],
                  (struct carried){&switches, &ended, &main_pointer});
    if (switches != 2 * STEPS || ended != 2)
        fail("not all steps were taken");
    return 0;
}
