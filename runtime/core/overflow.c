/* SPDX-License-Identifier: MIT */
/*
 * A fault in a guard page is reported as "fiber NAME overflowed its N KiB stack", on the thread's
 * signal stack, and the process aborts.  Everything here is async-signal-safe.
 */
#include "core/overflow.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/stack.h"

enum { SIGNAL_STACK_SIZE = 64 * 1024 };

static struct sigaction previous_segv, previous_bus;
static pthread_once_t install_once = PTHREAD_ONCE_INIT;

static void append(char *line, size_t size, const char *text)
{
    size_t used = strlen(line);

    while (*text && used + 1 < size)
        line[used++] = *text++;
    line[used] = '\0';
}

static void append_number(char *line, size_t size, unsigned long number)
{
    char digits[24];
    char *end = digits + sizeof(digits);

    *--end = '\0';
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    append(line, size, end);
}

void overflow_report(const struct fiber *fiber)
{
    char line[256] = "weft: fiber ";
    ssize_t ignored;

    append(line, sizeof(line), fiber->name ? fiber->name : "(unnamed)");
    append(line, sizeof(line), " overflowed its ");
    append_number(line, sizeof(line), (1UL << stack_shift(fiber->stack_class)) / 1024);
    append(line, sizeof(line), " KiB stack\n");
    ignored = write(STDERR_FILENO, line, strlen(line));
    (void)ignored;
    abort();
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
    const struct sigaction *previous = signal == SIGSEGV ? &previous_segv : &previous_bus;

    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(signal, info, context);
        return;
    }
    if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
        previous->sa_handler(signal);
        return;
    }
    sigaction(signal, previous, NULL); /* the instruction faults again, by default now */
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    struct fiber *fiber = stack_fiber_at(address);

    if (fiber) {
        uintptr_t mask = ~(((uintptr_t)1 << stack_shift((unsigned)((address - stack_region.base) >>
                                                                   stack_region.arena_shift))) -
                           1);

        if (address - (address & mask) < STACK_GUARD_SIZE)
            overflow_report(fiber);
    }
    pass_on(signal, info, context);
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
}

void overflow_install(void)
{
    pthread_once(&install_once, install);
}

void *overflow_stack_new(void)
{
    stack_t stack = {.ss_size = SIGNAL_STACK_SIZE};

    stack.ss_sp = malloc(SIGNAL_STACK_SIZE);
    if (!stack.ss_sp)
        return NULL;
    sigaltstack(&stack, NULL);
    return stack.ss_sp;
}

void overflow_stack_free(void *stack)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    sigaltstack(&none, NULL);
    free(stack);
}
