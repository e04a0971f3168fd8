/* SPDX-License-Identifier: MIT */
/*
 * libweft, while the Nth call of a kind fails: each allocation, mapping, descriptor, thread, write …
 *
 *   faults_runtime [KIND [SCENARIO [N]]]   every call of this kind, or of all; from the Nth on
 *   faults_runtime sample [SECONDS]        calls drawn by chance, for so long (3); the seed is
 *                                          printed, WEFT_TEST_SEED replays it
 *
 * A scenario is played in a runtime of its own, with the first call failing, then the second, until
 * it needs no more calls than that; and once more with all that follow failing, too.  Each time:
 *   F1  it is played through, or ends with an error that this kind may have (`errors_of`)
 *   F2  within the time (WATCH_S), without a crash: it runs in a process of its own
 *   F3  no descriptor, and nothing that the same failure leaves each time, of the heap, is
 *       left when the runtime has ended
 */
#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"
#include "support/faults.h"
#include "weft/weft.h"

enum {
    WATCH_S = 20,
    REPLAYS = 40,
    /* caches fill */ WARM = 3,
    SAMPLES = 4,
    VISITS = 5,
    ERRORS_MAX = 8
};

/* This call fails alone; or it and all that follow. */
enum mode { ONCE, FROM_THEN_ON, MODES };

static const struct scenario *const tables[] = {core_scenarios, io_scenarios, net_scenarios};

/* What may be reported; 0 ends.  A kind with none must be coped with. */
static const int errors_of[FAULTS_COUNT][ERRORS_MAX] = {
    [FAULTS_ALLOC] = {-ENOMEM, -EAGAIN}, /* no thread for want of memory: EAGAIN */
    [FAULTS_MAP] = {-ENOMEM, -EAGAIN},
    [FAULTS_EPOLL] = {-ENOMEM},
    [FAULTS_FORK] = {-EAGAIN},
    [FAULTS_THREAD] = {-EAGAIN},
    [FAULTS_SYNC] = {-EIO},
    [FAULTS_SPACE] = {-ENOSPC},
    [FAULTS_READ] = {-EIO},
    [FAULTS_FD] = {-EMFILE},
};

/* What a child found out; shared with its parent. */
struct finding {
    uint64_t first; /* the call that fails now, or 0 */
    uint64_t count; /* and how many from it on */
    enum faults_kind kind;
    uint64_t plays;
    int result;
    char what[200];
};

static struct finding *finding;
static sem_t alive; /* posted for each play */

/* ---- one play -------------------------------------------------------------------------------- */

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int play(const struct scenario *scenario)
{
    struct weft_options options;
    weft_options_init(&options);
    options.workers = 2;
    return weft_run(&options, scenario->play, NULL);
}

static bool is_allowed(enum faults_kind kind, int result)
{
    bool allowed = result == 0;
    for (int i = 0; !allowed && i < ERRORS_MAX && errors_of[kind][i]; i++)
        allowed = result == errors_of[kind][i];
    return allowed;
}

static int64_t blocks(void)
{
    return atomic_load(&faults_page->blocks);
}

/* Returns: the result; *ret_injected tells whether there was such a call. */
static int play_with(const struct scenario *scenario, enum faults_kind kind, uint64_t first,
                     uint64_t count, bool *ret_injected)
{
    faults_arm(kind, first, count);
    int result = play(scenario);
    *ret_injected = faults_disarm() > 0;
    finding->plays++;
    return result;
}

/* F3. */
static bool leaks(const struct scenario *scenario, enum faults_kind kind, uint64_t first,
                  uint64_t count, int64_t before)
{
    for (int i = 0; i < REPLAYS && blocks() > before; i++) {
        bool injected;
        before = blocks();
        play_with(scenario, kind, first, count, &injected);
    }
    return blocks() > before;
}

/* Returns: whether there was such a call. */
static bool check_one(const struct scenario *scenario, enum faults_kind kind, uint64_t first,
                      uint64_t count)
{
    bool injected;
    int fds = count_fds();
    int64_t before = blocks();
    finding->first = first;
    finding->count = count;
    finding->result = play_with(scenario, kind, first, count, &injected);
    if (!is_allowed(kind, finding->result) && !(scenario->vague && finding->result < 0)) {
        snprintf(finding->what, sizeof(finding->what), "it says %s", strerror(-finding->result));
        _exit(1);
    }
    if (count_fds() != fds) {
        snprintf(finding->what, sizeof(finding->what), "%d descriptors before, %d after", fds,
                 count_fds());
        _exit(1);
    }
    if (leaks(scenario, kind, first, count, before)) {
        snprintf(finding->what, sizeof(finding->what),
                 "each time it leaves blocks of memory (it says %s)", strerror(-finding->result));
        _exit(1);
    }
    sem_post(&alive);
    return injected;
}

static bool check(const struct scenario *scenario, enum faults_kind kind, uint64_t first,
                  enum mode from)
{
    bool injected = from > ONCE || check_one(scenario, kind, first, 1);
    if (injected && kind != FAULTS_ACCEPT) /* who is never accepted waits */
        check_one(scenario, kind, first, UINT64_MAX);
    return injected;
}

/* ---- a process that plays -------------------------------------------------------------------- */

/* F2. */
static void *watch(void *unused)
{
    (void)unused;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += WATCH_S;
        if (sem_timedwait(&alive, &until) < 0 && errno == ETIMEDOUT) {
            snprintf(finding->what, sizeof(finding->what), "it hangs");
            abort();
        }
    }
}

static void begin_playing(const struct scenario *scenario)
{
    pthread_t thread;
    faults_fork_begin();
    sem_init(&alive, 0, 0);
    EXPECT_EQ(pthread_create(&thread, NULL, watch, NULL), 0);
    if (scenario->prepare)
        EXPECT_EQ(scenario->prepare(), 0);
    for (int i = 0; i < WARM; i++)
        EXPECT_EQ(play(scenario), 0);
}

/* Every call from `first` / MODES on, and of that one from the mode `first` % MODES on.  Exits with 0 when there are no more. */
static void sweep_main(const struct scenario *scenario, enum faults_kind kind, uint64_t first)
{
    begin_playing(scenario);
    enum mode from = (enum mode)(first % MODES);
    for (first /= MODES; check(scenario, kind, first, from); from = ONCE)
        first++;
    finding->first = first - 1;
    exit(0);
}

static uint64_t draw(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void sample_kind(const struct scenario *scenario, enum faults_kind kind, uint64_t *seed)
{
    bool injected;
    finding->kind = kind;
    play_with(scenario, kind, 0, 1, &injected);
    uint64_t calls = atomic_load(&faults_page->calls);
    for (int i = 0; i < SAMPLES && calls > 0; i++)
        check(scenario, kind, 1 + draw(seed) % calls, ONCE);
}

/* Some calls of any kind, and some allocations, of which there are most. */
static void sample_main(const struct scenario *scenario, enum faults_kind kind, uint64_t seed)
{
    begin_playing(scenario);
    sample_kind(scenario, FAULTS_ALLOC, &seed);
    sample_kind(scenario, kind, &seed);
    exit(0);
}

/* ---- the processes --------------------------------------------------------------------------- */

/* As addr2line says it. */
static void tell_where(void)
{
    char text[FAULTS_TEXT], command[1024], self[256] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    snprintf(text, sizeof(text), "%s", faults_page->text);
    const char *name = n > 0 ? strrchr(self, '/') + 1 : "";
    int told = 0;
    for (char *next = text, *line; told < 12 && (line = strsep(&next, "\n")) && *line; told++) {
        char *offset = strrchr(line, '+');
        if (offset && strncmp(line, name, strlen(name)) == 0) {
            snprintf(command, sizeof(command), "addr2line -fpse %s %#lx", self,
                     strtoul(offset + 1, NULL, 16) - 1);
            fflush(stdout);
            if (system(command) == 0)
                continue;
        }
        printf("%s\n", line);
    }
}

static enum mode mode_of(void)
{
    return finding->count == 1 ? ONCE : FROM_THEN_ON;
}

static void tell(const struct scenario *scenario, enum faults_kind kind, int status)
{
    printf("-- %s %s:%" PRIu64 "%s: %s", scenario->name, faults_kind_name(kind), finding->first,
           mode_of() == ONCE ? "" : " and on", finding->what);
    if (WIFSIGNALED(status))
        printf(" (signal %d)", WTERMSIG(status));
    printf("\n");
    tell_where();
}

/* Returns: whether the child found nothing. */
static bool in_child(void (*fn)(const struct scenario *, enum faults_kind, uint64_t),
                     const struct scenario *scenario, enum faults_kind kind, uint64_t argument)
{
    int status = 0;
    *finding = (struct finding){.plays = finding->plays, .kind = kind};
    faults_arm(FAULTS_NONE, 0, 0);
    fflush(stdout);
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0)
        fn(scenario, kind, argument);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    if (status != 0)
        tell(scenario, finding->kind, status);
    return status == 0;
}

static unsigned sweep(const struct scenario *scenario, enum faults_kind kind, uint64_t first)
{
    unsigned found = 0;
    first *= MODES;
    while (!in_child(sweep_main, scenario, kind, first)) {
        found++;
        first = finding->first * MODES + mode_of() + 1;
        if (finding->first == 0) /* not even once without faults */
            break;
    }
    printf("%-8s %-12s %4" PRIu64 " calls, %u found\n", faults_kind_name(kind), scenario->name,
           finding->first, found);
    return found;
}

static bool is_named(const char *wanted, const char *name)
{
    return !wanted || strcmp(wanted, "all") == 0 || strcmp(wanted, name) == 0;
}

static unsigned sweep_all(const char *kind_name, const char *scenario_name, uint64_t first)
{
    unsigned found = 0;
    for (enum faults_kind kind = 1; kind < FAULTS_COUNT; kind++)
        for (size_t table = 0; table < sizeof(tables) / sizeof(tables[0]); table++)
            for (const struct scenario *s = tables[table]; s->name; s++)
                if (is_named(kind_name, faults_kind_name(kind)) && is_named(scenario_name, s->name))
                    found += sweep(s, kind, first);
    return found;
}

static const struct scenario *draw_scenario(uint64_t *seed)
{
    const struct scenario *all[100];
    size_t count = 0;
    for (size_t table = 0; table < sizeof(tables) / sizeof(tables[0]); table++)
        for (const struct scenario *s = tables[table]; s->name && count < 100; s++)
            all[count++] = s;
    return all[draw(seed) % count];
}

static unsigned sample_all(uint64_t seconds)
{
    uint64_t seed, end = weft_now_ns() + seconds * WEFT_SECOND;
    const char *given = getenv("WEFT_TEST_SEED");
    unsigned found = 0;
    if (!given && getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return 1;
    seed = given ? strtoull(given, NULL, 0) : seed;
    printf("WEFT_TEST_SEED=%" PRIu64 "\n", seed);
    for (int i = 0; found == 0 && (i < VISITS || weft_now_ns() < end); i++) {
        const struct scenario *scenario = draw_scenario(&seed);
        enum faults_kind kind = (enum faults_kind)(1 + draw(&seed) % (FAULTS_COUNT - 1));
        found += !in_child(sample_main, scenario, kind, draw(&seed));
    }
    return found;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    finding =
        mmap(NULL, sizeof(*finding), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(finding != MAP_FAILED);
    bool samples = argc > 1 && strcmp(argv[1], "sample") == 0;
    unsigned found = samples ? sample_all(argc > 2 ? strtoull(argv[2], NULL, 10) : 3)
                             : sweep_all(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL,
                                         argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    printf("%" PRIu64 " plays, %u found\n", finding->plays, found);
    return found > 0;
}
