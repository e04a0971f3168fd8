/* SPDX-License-Identifier: MIT */
/*
 * Floor of every stackful runtime: change stacks, and nothing else.
 *
 * The switch is inline: the compiler saves what is live and the assembly keeps only the frame
 * pointer, the resume address and the stack pointer.  No queue, no scheduler, no error, no
 * cancellation.  The stack that is left resumes by `pop; jmp`, never by `ret`: the return predictor
 * would miss each time.  x86-64 needs -mno-red-zone, because the assembly pushes.
 *
 * yield:      two stacks take turns; ns per switch.
 * spawn_join: prepare a recycled stack, run an empty function on it, come back; ns per pair.
 * ping_pong:  a counter goes there and back between two stacks; ns per round trip.
 */
#include "peer.h"

#define STACK_SIZE (64 * 1024)

struct context {
    void *sp;
};

/* Saves the running stack in *from and goes on with to. */
static inline __attribute__((always_inline)) void context_switch(struct context *from,
                                                                 struct context *to)
{
#if defined(__x86_64__)
    register struct context *save __asm__("rdi") = from;
    register struct context *load __asm__("rsi") = to;
    __asm__ volatile("pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq (%%rsi), %%rsp\n\t"
                     "popq %%rax\n\t"
                     "jmpq *%%rax\n\t"
                     "1: popq %%rbp"
                     : "+r"(save), "+r"(load)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                       "memory", "cc");
#elif defined(__aarch64__)
    register struct context *save __asm__("x0") = from;
    register struct context *load __asm__("x1") = to;
    __asm__ volatile("adr x2, 1f\n\t"
                     "stp x29, x2, [sp, #-16]!\n\t"
                     "mov x3, sp\n\t"
                     "str x3, [x0]\n\t"
                     "ldr x3, [x1]\n\t"
                     "mov sp, x3\n\t"
                     "ldp x29, x2, [sp], #16\n\t"
                     "br x2\n\t"
                     "1:"
                     : "+r"(save), "+r"(load)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "memory", "cc");
#else
#error "context_switch is written for x86-64 and aarch64"
#endif
}

static struct context main_context, other_context;
static char *stack;
static uint64_t counter;

/* Lays out what the first switch pops, as context_switch left it. */
static void context_prepare(struct context *context, void (*entry)(void))
{
    void **top = (void **)(stack + STACK_SIZE);

#if defined(__x86_64__)
    top[-2] = NULL; /* the frame pointer, and 8 mod 16 at entry as after a call */
    top[-3] = (void *)entry;
    context->sp = top - 3;
#else
    top[-1] = (void *)entry;
    top[-2] = NULL;
    context->sp = top - 2;
#endif
}

static void other_loop(void)
{
    for (;;) {
        counter++;
        context_switch(&other_context, &main_context);
    }
}

static void other_once(void)
{
    counter++;
    context_switch(&other_context, &main_context);
    __builtin_unreachable();
}

static double round_trip_ns(void)
{
    const uint64_t rounds = 50000000, warm = 1000000;
    uint64_t start;

    stack = aligned_alloc(4096, STACK_SIZE);
    context_prepare(&other_context, other_loop);
    for (uint64_t i = 0; i < warm; i++)
        context_switch(&main_context, &other_context);
    start = peer_now_ns();
    for (uint64_t i = 0; i < rounds; i++)
        context_switch(&main_context, &other_context);
    peer_check(counter == warm + rounds, "switches");
    return peer_ns_per(start, rounds);
}

static double measure_yield(int workers)
{
    (void)workers;
    return round_trip_ns() / 2;
}

static double measure_ping_pong(int workers)
{
    (void)workers;
    return round_trip_ns();
}

static double measure_spawn_join(int workers)
{
    const uint64_t rounds = 50000000, warm = 1000000;
    uint64_t start = 0;

    (void)workers;
    stack = aligned_alloc(4096, STACK_SIZE);
    for (uint64_t i = 0; i < warm + rounds; i++) {
        if (i == warm)
            start = peer_now_ns();
        context_prepare(&other_context, other_once);
        context_switch(&main_context, &other_context);
    }
    peer_check(counter == warm + rounds, "starts");
    return peer_ns_per(start, rounds);
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {
        {"yield", measure_yield, "ns"},
        {"spawn_join", measure_spawn_join, "ns"},
        {"ping_pong", measure_ping_pong, "ns"},
    };

    return peer_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
