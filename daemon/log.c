/* SPDX-License-Identifier: MIT */
/*
 * log: see log.h.  A bounded ring of fixed slots (D. Vyukov's bounded queue): many producers, one
 * consumer, which is the writer thread.
 *
 * I1  slot.turn == position: free for the producer that claims this position;
 *     slot.turn == position + 1: filled, the writer's;
 *     slot.turn == position + SLOTS: written out, free for the next round.
 * I2  A producer claims, copies and publishes; it takes no lock and makes at most one system call
 *     (waking the writer).
 * I3  Only the writer writes to stderr while it runs; before and after, whoever calls does.
 * I4  Every dropped line is counted, and said once: in front of the next line that fitted, or when
 *     the ring has run empty.
 */
#include "daemon/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLOTS     1024 /* a power of two */
#define TEXT_SIZE 480

struct entry {
    struct timespec time;
    enum config_log_level level;
    uint64_t lost_before; /* lines dropped since the line before */
    char text[TEXT_SIZE];
};

struct slot {
    atomic_size_t turn; /* I1; release by who hands over, acquire by who takes */
    struct entry entry;
};

static struct {
    struct slot slots[SLOTS];
    atomic_size_t claimed; /* next position of the producers */
    size_t written;        /* next position of the writer; writer only */
    atomic_uint_fast64_t lost, lost_unsaid;
    atomic_int level;
    atomic_bool running;  /* release by log_start/stop; acquire by log_line */
    atomic_bool stopping; /* writer: end once the ring is empty */
    bool journald;        /* set before the writer starts */
    sem_t lines;          /* posted once per line, and at the stop */
    pthread_t writer;
} ring = {.level = CONFIG_LOG_INFO};

/* ---- writing out ---- */

static void write_all(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t done = write(STDERR_FILENO, text, size);
        if (done >= 0) {
            text += done;
            size -= (size_t)done;
        } else if (errno == EAGAIN) { /* somebody made the shared terminal non-blocking */
            struct pollfd wait = {.fd = STDERR_FILENO, .events = POLLOUT};
            poll(&wait, 1, 1000);
        } else if (errno != EINTR) {
            return; /* nobody is left to be told */
        }
    }
}

static const char *level_name(enum config_log_level level)
{
    static const char *const names[] = {[CONFIG_LOG_ERROR] = "error",
                                        [CONFIG_LOG_WARNING] = "warning",
                                        [CONFIG_LOG_NOTICE] = "notice",
                                        [CONFIG_LOG_INFO] = "info",
                                        [CONFIG_LOG_DEBUG] = "debug"};
    return names[level];
}

static size_t format_prefix(const struct entry *entry, char *out, size_t size)
{
    if (ring.journald)
        return (size_t)snprintf(out, size, "<%d>", (int)entry->level);
    struct tm parts;
    char when[32];
    localtime_r(&entry->time.tv_sec, &parts);
    strftime(when, sizeof when, "%F %T", &parts);
    return (size_t)snprintf(out, size, "%s.%03ld %-7s ", when, entry->time.tv_nsec / 1000000,
                            level_name(entry->level));
}

/* Control bytes are shown, so that one call is one line whatever a client put into a name. */
static size_t escape(const char *text, char *out)
{
    char *at = out;
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '\n')
            at += sprintf(at, "\\n");
        else if (byte < 0x20 || byte == 0x7f)
            at += sprintf(at, "\\x%02x", byte);
        else
            *at++ = (char)byte;
    }
    return (size_t)(at - out);
}

static void write_entry(const struct entry *entry)
{
    char line[64 + 4 * TEXT_SIZE + 2];
    size_t size = format_prefix(entry, line, 64);
    size += escape(entry->text, line + size);
    line[size++] = '\n';
    write_all(line, size);
}

static void write_lost(uint64_t lost, struct timespec time)
{
    struct entry entry = {.level = CONFIG_LOG_WARNING, .time = time};
    snprintf(entry.text, sizeof entry.text, "%llu log lines were lost", (unsigned long long)lost);
    write_entry(&entry);
}

/* ---- the ring ---- */

static struct slot *slot_at(size_t position)
{
    return &ring.slots[position % SLOTS];
}

static bool push(const struct entry *entry)
{
    size_t position = atomic_load_explicit(&ring.claimed, memory_order_relaxed);
    for (;;) {
        size_t turn = atomic_load_explicit(&slot_at(position)->turn, memory_order_acquire);
        if (turn < position)
            return false; /* the writer has not been here since the last round: full */
        if (turn > position)
            position = atomic_load_explicit(&ring.claimed, memory_order_relaxed);
        else if (atomic_compare_exchange_weak_explicit(&ring.claimed, &position, position + 1,
                                                       memory_order_relaxed, memory_order_relaxed))
            break;
    }
    struct slot *slot = slot_at(position);
    slot->entry = *entry;
    slot->entry.lost_before = atomic_exchange_explicit(&ring.lost_unsaid, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->turn, position + 1, memory_order_release);
    return true;
}

static bool pop(struct entry *ret_entry)
{
    struct slot *slot = slot_at(ring.written);
    if (atomic_load_explicit(&slot->turn, memory_order_acquire) != ring.written + 1)
        return false;
    *ret_entry = slot->entry;
    atomic_store_explicit(&slot->turn, ring.written + SLOTS, memory_order_release);
    ring.written++;
    return true;
}

static void drain(void)
{
    struct entry entry;
    while (pop(&entry)) {
        if (entry.lost_before)
            write_lost(entry.lost_before, entry.time);
        write_entry(&entry);
    }
    uint64_t lost = atomic_exchange_explicit(&ring.lost_unsaid, 0, memory_order_relaxed);
    if (!lost)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    write_lost(lost, now);
}

static void *writer_main(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&ring.stopping, memory_order_acquire)) {
        while (sem_wait(&ring.lines) && errno == EINTR)
            ;
        drain();
    }
    return NULL;
}

/* ---- life ---- */

/* JOURNAL_STREAM is DEVICE:INODE of the stream that goes to journald: is that our stderr? */
static bool stderr_is_journald(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    if (!stream || fstat(STDERR_FILENO, &status))
        return false;
    char ours[64];
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(ours, stream) == 0;
}

static int start_writer(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&ring.writer, NULL, writer_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!err)
        pthread_setname_np(ring.writer, "weft-log");
    return -err;
}

int log_start(enum config_log_level level)
{
    if (atomic_load(&ring.running))
        return -EALREADY;
    log_set_level(level);
    ring.journald = stderr_is_journald();
    ring.written = 0;
    atomic_store(&ring.claimed, 0);
    atomic_store(&ring.stopping, false);
    for (size_t i = 0; i < SLOTS; i++)
        atomic_store_explicit(&ring.slots[i].turn, i, memory_order_relaxed);
    sem_init(&ring.lines, 0, 0);
    int err = start_writer();
    if (!err)
        atomic_store_explicit(&ring.running, true, memory_order_release);
    return err;
}

void log_set_level(enum config_log_level level)
{
    atomic_store_explicit(&ring.level, (int)level, memory_order_relaxed);
}

void log_stop(void)
{
    if (!atomic_exchange(&ring.running, false))
        return;
    atomic_store_explicit(&ring.stopping, true, memory_order_release);
    sem_post(&ring.lines);
    pthread_join(ring.writer, NULL);
    drain(); /* lines of callers that saw `running` just before */
}

/* ---- callers ---- */

static void submit(const struct entry *entry)
{
    if (!atomic_load_explicit(&ring.running, memory_order_acquire)) {
        write_entry(entry);
        return;
    }
    if (push(entry)) {
        sem_post(&ring.lines);
        return;
    }
    atomic_fetch_add_explicit(&ring.lost, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&ring.lost_unsaid, 1, memory_order_relaxed);
}

void log_line(enum config_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&ring.level, memory_order_relaxed))
        return;
    int saved = errno;
    struct entry entry = {.level = level};
    clock_gettime(CLOCK_REALTIME, &entry.time);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(entry.text, sizeof entry.text, format, args);
    va_end(args);
    if (length >= (int)sizeof entry.text)
        memcpy(entry.text + sizeof entry.text - 4, "...", 4);
    submit(&entry);
    errno = saved;
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&ring.lost, memory_order_relaxed);
}
