/* SPDX-License-Identifier: MIT */
/*
 * What C pays for starting /bin/true and waiting for it, one by one, with the same surroundings
 * for the child: /dev/null as its standard three, no other descriptor, a group of its own, default
 * signals.  `spawn`: posix_spawn.  `fork`: fork and execve.  us each; rows as in ../../process.c.
 */
#include "peer.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS       2000
#define ROUNDS_LARGE 100
#define WARM         20
#define LARGE        (256u << 20)

static char *const arguments[] = {"/bin/true", NULL};
static pid_t (*start_true)(void);

static pid_t start_by_spawn(void)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    pid_t pid;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    peer_check(posix_spawn(&pid, arguments[0], &actions, &attributes, arguments, environ) == 0,
               "posix_spawn");
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static pid_t start_by_fork(void)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setpgid(0, 0);
    for (int fd = 0; fd < 3; fd++)
        dup2(open("/dev/null", fd ? O_WRONLY : O_RDONLY), fd);
    close_range(3, ~0U, 0);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    execve(arguments[0], arguments, environ);
    _exit(127);
}

static double measure_rounds(uint64_t rounds)
{
    uint64_t start = 0;
    int status;

    for (uint64_t i = 0; i < WARM + rounds; i++) {
        if (i == WARM)
            start = peer_now_ns();
        pid_t pid = start_true();
        peer_check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "exit status");
    }
    return peer_ns_per(start, rounds) / 1000;
}

static double measure(int workers)
{
    (void)workers;
    return measure_rounds(ROUNDS);
}

static double measure_large(int workers)
{
    char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double value;

    peer_check(memory != MAP_FAILED && madvise(memory, LARGE, MADV_NOHUGEPAGE) == 0, "memory");
    memset(memory, 1, LARGE);
    (void)workers;
    value = measure_rounds(ROUNDS_LARGE);
    peer_check(memory[LARGE / 2] == 1, "memory is kept");
    munmap(memory, LARGE);
    return value;
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {{"process", measure, "us"},
                                           {"process_large", measure_large, "us"}};

    start_true = argc > 1 && strcmp(argv[1], "fork") == 0 ? start_by_fork : start_by_spawn;
    return peer_main(argc, argv, rows, 2);
}
