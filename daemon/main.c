/* SPDX-License-Identifier: MIT */
/*
 * weftd: the command line, and what must be set before anything else runs.
 *
 * Exit status: 0 stopped in order, 1 failed at run time, 2 wrong usage, 78 bad configuration
 * (EX_CONFIG, which systemd shows by name, and after which it does not try again: nothing that may
 * pass by itself ends so).
 */
#include "daemon/config.h"
#include "daemon/failpoint.h"
#include "daemon/life.h"
#include "daemon/log.h"
#include "daemon/memory.h"
#include "daemon/module_host.h"
#include "daemon/notify.h"
#include "daemon/store_verify.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

enum action { RUN, CHECK, PRINT_CONFIG, VERIFY };

struct arguments {
    enum action action;
    struct life_options life;
};

static void print_help(FILE *file)
{
    fputs(
        "usage: weftd [OPTION...]\n"
        "Runs jobs that `weft` or any JSON-RPC client submits over a Unix socket.\n"
        "\n"
        "  -c, --config FILE     read FILE and FILE.d/*.conf (default: /etc/weft/weftd.conf as\n"
        "                        root, else ~/.config/weft/weftd.conf; none: built-in defaults)\n"
        "  -s, --socket PATH     listen there (over daemon.socket)\n"
        "  -d, --state-dir DIR   keep jobs and output there (over daemon.state_dir)\n"
        "      --check           check the configuration and exit\n"
        "      --print-config    print the configuration in force and exit\n"
        "      --verify          check the store and the output beside it, and exit: 0 no fault,\n"
        "                        1 faults, each on a line; weftd must not run on them\n"
        "      --version         print the version and exit\n"
        "  -h, --help            print this and exit\n"
        "\n"
        "Stays in the foreground.  SIGTERM and SIGINT stop it in order, a second one hurries,\n"
        "SIGHUP reloads the configuration.\n",
        file);
}

static void print_and_exit(void (*print)(FILE *file))
{
    print(stdout);
    exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void print_version(FILE *file)
{
    fputs("weftd " WEFT_VERSION "\n", file);
}

__attribute__((noreturn)) static void exit_with_usage(void)
{
    fputs("weftd --help lists the options\n", stderr);
    exit(EXIT_USAGE);
}

static void take_option(int option, struct arguments *arguments)
{
    switch (option) {
    case 'c':
        arguments->life.config_path = optarg;
        break;
    case 's':
        arguments->life.overrides.socket = optarg;
        break;
    case 'd':
        arguments->life.overrides.state_dir = optarg;
        break;
    case 'C':
        arguments->action = CHECK;
        break;
    case 'P':
        arguments->action = PRINT_CONFIG;
        break;
    case 'Y':
        arguments->action = VERIFY;
        break;
    case 'V':
        print_and_exit(print_version);
        break;
    case 'h':
        print_and_exit(print_help);
        break;
    default:
        exit_with_usage(); /* getopt has said what is wrong */
    }
}

static void parse_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 's'},
        {"state-dir", required_argument, NULL, 'd'},
        {"check", no_argument, NULL, 'C'},
        {"print-config", no_argument, NULL, 'P'},
        {"verify", no_argument, NULL, 'Y'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:s:d:h", options, NULL)) != -1)
        take_option(option, arguments);
    if (optind < argc) {
        fprintf(stderr, "weftd: unexpected argument: %s\n", argv[optind]);
        exit_with_usage();
    }
}

/* Of what could not be loaded. */
static int exit_status(int err)
{
    switch (-err) {
    case ENOMEM:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EIO:
    case ETIMEDOUT:
        return EXIT_FAILURE;
    default:
        return EX_CONFIG;
    }
}

static int load(const struct arguments *arguments, struct config **ret_config)
{
    char buffer[4096];
    struct problem problem = {0};
    int err = config_load(life_config_path(arguments->life.config_path, buffer),
                          &arguments->life.overrides, &problem, ret_config);
    if (err)
        fprintf(stderr, "weftd: %s\n", problem.text);
    return err;
}

static int load_modules(const struct config *config)
{
    struct problem problem = {0};
    int err = modules_load(&config->modules, &problem);
    if (err)
        fprintf(stderr, "weftd: %s\n", problem.text);
    return err;
}

static int check(const struct config *config)
{
    int err = load_modules(config);
    if (err)
        return exit_status(err);
    printf("%s: good\n", config->path ? config->path : "built-in defaults");
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_config(const struct config *config)
{
    return config_print(config, stdout) || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int verify(const struct config *config)
{
    struct problem problem = {0};
    int err = load_modules(config);
    if (err)
        return exit_status(err);
    int faults = store_verify(config->daemon.state_dir, stdout, &problem);
    if (faults < 0)
        fprintf(stderr, "weftd: %s\n", problem.text);
    return faults || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int look_only(enum action action, const struct config *config)
{
    if (action == VERIFY)
        return verify(config);
    return action == CHECK ? check(config) : print_config(config);
}

/* The soft limit on descriptors is for programs that use select(): we do not, and those that we
 * start get it as it was. */
static void raise_descriptor_limit(const struct config *config, struct arguments *arguments)
{
    static struct rlimit before; /* the life refers to it as long as we run */
    rlim_t wanted = (rlim_t)config->daemon.max_connections + 1024;
    if (getrlimit(RLIMIT_NOFILE, &before) || before.rlim_cur >= wanted)
        return;
    arguments->life.program_fds = &before;
    struct rlimit limit = before;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted)
        log_warning("only %llu descriptors are allowed: daemon.max_connections cannot be reached "
                    "(LimitNOFILE=, ulimit -n)",
                    (unsigned long long)limit.rlim_cur);
}

/* Every thread inherits this, so it comes before the first one. */
static void set_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void set_memory(const struct config *config)
{
    struct problem problem;
    int err = memory_configure(&config->memory, &problem);
    if (err == -EOPNOTSUPP)
        log_debug("%s", problem.text);
    else if (err)
        log_warning("%s", problem.text);
}

/* A socket that was passed in has its own path: jobs must be told that one (WEFT_SOCKET). */
static int take_path_of(int fd, struct arguments *arguments, struct config *config)
{
    static struct sockaddr_un address; /* overrides refers to it as long as we run */
    socklen_t size = sizeof address - 1;
    if (getsockname(fd, (struct sockaddr *)&address, &size) || address.sun_path[0] != '/')
        return 0;
    char *path = strdup(address.sun_path);
    if (!path) {
        log_error("out of memory for the path of the socket");
        return -ENOMEM;
    }
    free(config->daemon.socket);
    config->daemon.socket = path;
    arguments->life.overrides.socket = address.sun_path;
    return 0;
}

static int inherit_socket(struct arguments *arguments, struct config *config)
{
    struct problem problem = {0};
    int found = notify_inherited_socket(&problem, &arguments->life.inherited_fd);
    if (found < 0)
        log_error("%s", problem.text);
    return found > 0 ? take_path_of(arguments->life.inherited_fd, arguments, config) : found;
}

/* Takes over config. */
static int run(struct arguments *arguments, struct config *config)
{
    if (inherit_socket(arguments, config)) {
        config_free(config);
        return EXIT_FAILURE;
    }
    set_signals();
    struct problem problem = {0};
    if (failpoint_arm(&problem)) {
        log_error("%s", problem.text);
        config_free(config);
        return EXIT_USAGE;
    }
    notify_watchdog_ns(); /* takes it out of the environment, before there are threads */
    json_object_seed(0);
    if (log_start(config->log.level))
        log_warning("no thread for the log: lines are written directly");
    set_memory(config);
    raise_descriptor_limit(config, arguments);
    int err = life_run(&arguments->life, config);
    log_notice("weftd stopped%s", err ? " after a failure" : "");
    log_stop();
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.life.inherited_fd = -1};
    struct config *config;
    json_memory_watch(malloc);
    if (argc > 1 && strcmp(argv[1], MODULE_HOST_OPTION) == 0)
        return module_host_main(argv + 2);
    prctl(PR_SET_NAME, "weftd"); /* after a restart for [memory] it would be "exe" */
    parse_arguments(argc, argv, &arguments);
    int err = load(&arguments, &config);
    if (err)
        return exit_status(err);
    if (arguments.action == RUN) {
        memory_restart_if_needed(&config->memory, argv);
        err = load_modules(config);
        if (err) {
            config_free(config);
            return exit_status(err);
        }
        return run(&arguments, config);
    }
    int status = look_only(arguments.action, config);
    config_free(config);
    return status;
}
