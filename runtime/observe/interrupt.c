/* SPDX-License-Identifier: MIT */
/*
 * Asking a thread where it is.
 *
 *   I1  There is one question at a time, in memory that is never freed.  Its state goes IDLE ->
 *       ASKED by the asker, ASKED -> ANSWERING -> ANSWERED by the handler, and back to IDLE by the
 *       asker, who may take an unanswered question back.
 *   I2  The handler answers only the thread that was asked, so a signal that comes late does not
 *       answer the next question for the wrong one.
 *   I3  The handler reads the fiber's stack only if the interrupted stack pointer is in it: then
 *       the fiber runs here and can not go away before the handler returns.
 *   I4  The handler runs on the thread's signal stack, needs no room on the fiber's, and changes
 *       no errno.
 *
 * A thread that has blocked the signal, or is in an uninterruptible call, does not answer.
 */
#include "observe/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <ucontext.h>

#include "core/handoff.h"
#include "core/hooks.h"
#include "core/runtime.h"
#include "core/stack.h"
#include "core/worker.h"
#include "observe/frames.h"
#include "weft/time.h"

enum { ANSWER_NS = 250000000, LOOK_AGAIN_NS = 20000 };

enum state { IDLE, ASKED, ANSWERING, ANSWERED };

static struct {
    pthread_mutex_t lock; /* held by the asker */
    atomic_uint state;    /* I1; what follows belongs to whom it says */
    pthread_t thread;
    const struct fiber *fiber;
    uint64_t id;
    struct frames frames;
} question = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t install_once = PTHREAD_ONCE_INIT;
static bool installed;

int hook_signal(void)
{
    return SIGRTMAX - 2;
}

static struct frames_start start_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (struct frames_start){.pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP],
                                 .fp = (uintptr_t)context->uc_mcontext.gregs[REG_RBP],
                                 .sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP],
                                 .exact = true};
#elif defined(__aarch64__)
    return (struct frames_start){.pc = context->uc_mcontext.pc,
                                 .fp = context->uc_mcontext.regs[29],
                                 .sp = context->uc_mcontext.sp,
                                 .link = context->uc_mcontext.regs[30],
                                 .exact = true};
#endif
}

/* Between ASKED and ANSWERED. */
static void answer(const ucontext_t *context)
{
    struct frames_start start = start_of(context);

    if (stack_fiber_at(start.sp) == question.fiber && /* I3 */
        atomic_load_explicit(&question.fiber->id, memory_order_relaxed) == question.id)
        frames_walk(question.fiber, &start, &question.frames);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    unsigned asked = ASKED;

    (void)signal, (void)info;
    if (!atomic_compare_exchange_strong_explicit(&question.state, &asked, ANSWERING,
                                                 memory_order_acquire, memory_order_relaxed))
        return;                                            /* taken back */
    if (!pthread_equal(question.thread, pthread_self())) { /* I2 */
        atomic_store_explicit(&question.state, ASKED, memory_order_release);
        return;
    }
    answer(context);
    atomic_store_explicit(&question.state, ANSWERED, memory_order_release);
}

/* Not where the program has a handler of its own. */
static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    struct sigaction before;

    if (sigaction(hook_signal(), NULL, &before) < 0 || before.sa_handler != SIG_DFL)
        return;
    sigfillset(&action.sa_mask);
    installed = sigaction(hook_signal(), &action, NULL) == 0;
}

/* Returns: false: it was answered meanwhile. */
static bool take_back(void)
{
    for (;;) {
        unsigned asked = ASKED;

        if (atomic_compare_exchange_strong_explicit(&question.state, &asked, IDLE,
                                                    memory_order_acquire, memory_order_acquire))
            return true;
        if (asked == ANSWERED)
            return false; /* else a handler has it for some instructions */
    }
}

/* Returns: whether there is an answer; else the question was taken back. */
static bool await_answer(void)
{
    uint64_t deadline = weft_deadline_after(ANSWER_NS);

    do {
        if (atomic_load_explicit(&question.state, memory_order_acquire) == ANSWERED)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_NS}, NULL);
    } while (weft_now_ns() < deadline);
    return !take_back();
}

/* Put the question to whoever runs the fiber, or ran it last.  Under the threads' lock none of them
 * leaves before the signal was sent.  Returns: whether there may be an answer. */
static bool send_question(struct worker *worker)
{
    struct threads *threads = &worker->runtime->threads;
    bool sent = false;

    pthread_mutex_lock(&threads->lock);
    question.thread = handoff_thread_of(worker, question.fiber)->id;
    if (!pthread_equal(question.thread, pthread_self())) {
        atomic_store_explicit(&question.state, ASKED, memory_order_release);
        sent = pthread_kill(question.thread, hook_signal()) == 0 || !take_back();
    }
    pthread_mutex_unlock(&threads->lock);
    return sent;
}

static void ask(struct worker *worker, const struct fiber *fiber, uint64_t id,
                struct frames *frames)
{
    question.fiber = fiber;
    question.id = id;
    question.frames.map = frames->map;
    question.frames.count = 0;
    if (!send_question(worker) || !await_answer())
        return;
    *frames = question.frames;
    atomic_store_explicit(&question.state, IDLE, memory_order_relaxed);
}

void interrupt_frames(struct worker *worker, const struct fiber *fiber, uint64_t id,
                      struct frames *frames)
{
    pthread_once(&install_once, install);
    if (!installed)
        return;
    pthread_mutex_lock(&question.lock);
    ask(worker, fiber, id, frames);
    pthread_mutex_unlock(&question.lock);
}
