/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include "daemon/config_table.h"
#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct problem problem;

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    int err = config_parse("test.conf", text, strlen(text), &problem, &config);
    cr_assert_eq(err, 0, "%s", problem.text);
    return config;
}

/* The text is refused, and what is said about it holds each of the given pieces. */
static void assert_refused(const char *text, const char *piece)
{
    struct config *config = NULL;
    problem = (struct problem){0};
    int err = config_parse("test.conf", text, strlen(text), &problem, &config);
    cr_assert_eq(err, -EINVAL, "accepted: %s", text);
    cr_assert_null(config, "untouched on failure");
    cr_assert_eq(problem.err, -EINVAL);
    cr_assert(strstr(problem.text, piece) != NULL, "'%s' not in '%s'", piece, problem.text);
}

static const struct config_queue *queue_of(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->queues_count; i++) {
        if (strcmp(config->queues[i].name, name) == 0)
            return &config->queues[i];
    }
    return NULL;
}

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    cr_assert_not_null(file);
    cr_assert_eq(config_print(config, file), 0);
    fclose(file);
    return text;
}

Test(config, empty_text_gives_the_defaults)
{
    struct config *config = parse("");
    cr_assert_eq(config->daemon.socket_mode, 0660);
    cr_assert_eq(config->daemon.drain, UINT64_C(5000000000));
    cr_assert_eq(config->daemon.line_max, 1u << 20);
    cr_assert_eq(config->jobs.retry_cap, UINT64_C(600000000000));
    cr_assert_eq(config->log.level, CONFIG_LOG_INFO);
    cr_assert_str_eq(config->exec.env[0], "PATH");
    cr_assert_eq(config->queues_count, 1);
    cr_assert_str_eq(config->queues[0].name, "default");
    cr_assert(config->queues[0].concurrency >= 4);
    cr_assert_eq(config->daemon.socket[0], '/');
    cr_assert_eq(config->daemon.state_dir[0], '/');
    cr_assert_null(config->path);
    config_free(config);
}

Test(config, free_of_null_does_nothing)
{
    config_free(NULL);
}

Test(config, every_row_has_a_default_within_its_own_bounds)
{
    struct config config = {0};
    struct config_queue queue = {0};
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        char why[CONFIG_WHY_MAX] = "";
        void *base = strcmp(key->section, "queue") == 0 ? (void *)&queue : (void *)&config;
        cr_assert_eq(config_value_parse(key, key->default_text, base, why), 0, "%s: %s", key->name,
                     why);
        char *text = config_value_text(key, base);
        cr_assert_str_eq(text, key->default_text, "%s is not in its shortest form", key->name);
        free(text);
        config_value_destroy(key, base);
    }
}

Test(config, values_of_every_type_are_read)
{
    struct config *config = parse("[runtime]\nworkers = 3\n"
                                  "[daemon]\nsocket_mode=0600\nline_max = 2M\ndrain = 1.5s\n"
                                  "max_jobs = 7\n"
                                  "[exec]\nenv = A B_*  C\numask=027\nnice = -3\n"
                                  "ionice = idle\nlimits = nofile=64:128 cpu=1m\n"
                                  "memory_max = 1G\ntasks_max = 9\ntasks_max =\ncpu_quota=50%\n"
                                  "output_keep = tail\n"
                                  "[log]\nlevel = debug\n"
                                  "[queue video]\nconcurrency = auto\n");
    cr_assert_eq(config->runtime.workers, 3);
    cr_assert_eq(config->daemon.socket_mode, 0600);
    cr_assert_eq(config->daemon.line_max, 2u << 20);
    cr_assert_eq(config->daemon.drain, UINT64_C(1500000000));
    cr_assert_eq(config->daemon.max_jobs, 7);
    cr_assert_str_eq(config->exec.env[1], "B_*");
    cr_assert_str_eq(config->exec.env[2], "C");
    cr_assert_null(config->exec.env[3]);
    cr_assert_eq(config->exec.program.umask, 027);
    cr_assert_eq(config->exec.program.nice, -3);
    cr_assert_eq(config->exec.program.ionice, 3 << 13);
    cr_assert_eq(config->exec.program.limits[RLIMIT_NOFILE].rlim_max, 128);
    cr_assert_eq(config->exec.program.limits[RLIMIT_CPU].rlim_cur, 60);
    cr_assert_eq(config->exec.program.groups[PROGRAM_MEMORY_MAX], UINT64_C(1) << 30);
    cr_assert_eq(config->exec.program.groups[PROGRAM_TASKS_MAX], 0);
    cr_assert_eq(config->exec.program.groups[PROGRAM_CPU_QUOTA], 50000);
    cr_assert(config->exec.keeps_tail);
    cr_assert_eq(config->log.level, CONFIG_LOG_DEBUG);
    cr_assert(queue_of(config, "video")->concurrency >= 4);
    config_free(config);
}

Test(config, comments_blanks_crlf_and_bom_are_fine)
{
    struct config *config =
        parse("\xEF\xBB\xBF# one\r\n; two\r\n\r\n  [daemon]\r\n\tdrain\t=  2s  \r\n");
    cr_assert_eq(config->daemon.drain, UINT64_C(2000000000));
    config_free(config);
}

/* As inih reads it, which passes over more than blanks in front of it. */
Test(config, heading_is_checked_whatever_stands_in_front_of_it)
{
    assert_refused("\xEF\xBB\xBF[queue a/b]\nconcurrency = 1\n",
                   "test.conf:1: bad queue name 'a/b'");
    assert_refused("\xEF\xBB\xBF\xEF\xBB\xBF[nonsense]\n", "test.conf:1: unknown section");
    assert_refused("\v[nonsense]\n", "test.conf:1: unknown section [nonsense]");
    assert_refused("\n\f\r[queue a/b]\n", "test.conf:2: bad queue name 'a/b'");
    assert_refused("[queue            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
                   "test.conf:1: section heading over 49 bytes");
}

Test(config, words_are_separated_by_any_white_space)
{
    struct config *config = parse("[exec]\nenv = A\v,\fB\rC\n");
    cr_assert_str_eq(config->exec.env[0], "A");
    cr_assert_str_eq(config->exec.env[1], "B");
    cr_assert_str_eq(config->exec.env[2], "C");
    cr_assert_null(config->exec.env[3]);
    config_free(config);
}

Test(config, a_list_may_be_without_words)
{
    struct config *config = parse("[exec]\nenv = ,\n");
    char *text = print(config);
    struct config *again = parse(text);
    cr_assert_null(config->exec.env[0]);
    cr_assert_null(again->exec.env[0], "printed, it is the default");
    free(text);
    config_free(again);
    config_free(config);
}

Test(config, last_line_without_newline_counts)
{
    struct config *config = parse("[daemon]\ndrain = 2s");
    cr_assert_eq(config->daemon.drain, UINT64_C(2000000000));
    config_free(config);
}

Test(config, empty_value_sets_the_default_and_the_last_value_holds)
{
    struct config *config = parse("[daemon]\ndrain = 2s\ndrain =\nrecent = 1\nrecent = 2\n");
    cr_assert_eq(config->daemon.drain, UINT64_C(5000000000));
    cr_assert_eq(config->daemon.recent, 2);
    config_free(config);
}

Test(config, empty_concurrency_of_the_default_queue_is_auto)
{
    struct config *config = parse("[queue default]\nconcurrency =\n[queue q]\nconcurrency =\n");
    cr_assert(queue_of(config, "default")->concurrency >= 4);
    cr_assert_eq(queue_of(config, "q")->concurrency, 1);
    config_free(config);
}

Test(config, a_queue_has_a_switch_and_a_rate)
{
    struct config *config = parse("[queue a]\npaused = Yes\nrate = 100/min\nmax_waiting = 7\n"
                                  "[queue b]\npaused =\nrate =\n[queue c]\nrate = none\n");
    cr_assert(queue_of(config, "a")->paused);
    cr_assert_eq(queue_of(config, "a")->rate.count, 100);
    cr_assert_eq(queue_of(config, "a")->rate.per_ns, UINT64_C(60000000000));
    cr_assert_eq(queue_of(config, "a")->max_waiting, 7);
    cr_assert_not(queue_of(config, "b")->paused);
    cr_assert_eq(queue_of(config, "b")->rate.count, 0);
    cr_assert_eq(queue_of(config, "c")->rate.count, 0);
    char *text = print(config);
    cr_assert(strstr(text, "paused = yes\nrate = 100/m\nconcurrency_user = 0\nmax_waiting = 7\n") !=
                  NULL,
              "%s", text);
    free(text);
    config_free(config);
    assert_refused("[queue x]\npaused = perhaps\n", "must be yes or no");
    assert_refused("[queue x]\nrate = 10\n", "not a rate, such as 10/s");
    assert_refused("[queue x]\nrate = 2000000/s\n", "must be from 1/d to 1000000/s");
}

Test(config, queue_without_keys_exists)
{
    struct config *config = parse("[queue a]\n[queue b]\ntimeout = 5m\n[queue a]\n");
    cr_assert_eq(config->queues_count, 3);
    cr_assert_eq(queue_of(config, "a")->concurrency, 1);
    cr_assert_eq(queue_of(config, "b")->timeout, UINT64_C(300000000000));
    config_free(config);
}

Test(config, unknown_key_names_file_line_and_nearest)
{
    assert_refused("\n[queue x]\nconcurency = 3\n",
                   "test.conf:3: unknown key 'concurency' in [queue x] (did you mean "
                   "'concurrency'?)");
    assert_refused("[exec]\ndrain = 3s\n", "test.conf:2: unknown key 'drain' in [exec] (it belongs "
                                           "to [daemon])");
    assert_refused("[exec]\nzzzzzzzz = 3s\n", "test.conf:2: unknown key 'zzzzzzzz' in [exec]");
}

Test(config, unknown_section_names_the_nearest_even_if_it_has_no_keys)
{
    assert_refused("[deamon]\n", "test.conf:1: unknown section [deamon] (did you mean [daemon]?)");
    assert_refused("[nonsense]\n", "test.conf:1: unknown section [nonsense]");
    assert_refused("[queue]\n", "[queue] needs a name");
    assert_refused("[queue a/b]\n", "test.conf:1: bad queue name 'a/b'");
    assert_refused("[queue aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
                   "bad queue name");
}

Test(config, bad_values_say_what_was_expected)
{
    assert_refused("[daemon]\ndrain = soon\n",
                   "test.conf:2: bad value 'soon' for drain in [daemon]: not a duration");
    assert_refused("[daemon]\nsocket_mode = 0999\n", "octal");
    assert_refused("[daemon]\nsocket_mode = 07777\n", "from 0000 to 0777");
    assert_refused("[daemon]\nline_max = 1\n", "from 1K to 256M");
    assert_refused("[runtime]\nworkers = -1\n", "not a whole number");
    assert_refused("[runtime]\nworkers = 99999999999999999999999\n", "from 0 to 1024");
    assert_refused("[runtime]\nworkers = 2 ; two\n", "not a whole number");
    assert_refused("[log]\nlevel = warn\n", "error, warning, notice, info or debug");
    assert_refused("[log]\nlevel = debg\n", "did you mean 'debug'?");
    assert_refused("[queue x]\nconcurrency = some\n", "auto");
    assert_refused("[queue x]\npriority = high\n", "from -1000000 to 1000000");
    assert_refused("[queue x]\npriority = -1000001\n", "from -1000000 to 1000000");
    assert_refused("[queue x]\npriority = --1\n", "from -1000000 to 1000000");
    assert_refused("[queue x]\nretries = 1001\n", "from 0 to 1000");
    assert_refused("[queue x]\non_crash = Fail\n", "requeue or fail");
    assert_refused("[exec]\noutput_keep = both\n", "head or tail");
    assert_refused("[exec]\ncwd = relative\n", "absolute path");
    assert_refused("[exec]\numask = 9\n",
                   "test.conf:2: bad value '9' for umask in [exec]: is not an");
    assert_refused("[exec]\nnice = 20\n", "from -20 to 19");
    assert_refused("[exec]\nionice = 7\n", "best-effort");
    assert_refused("[exec]\nlimits = nofiles=1\n", "did you mean \"nofile\"?");
}

Test(config, what_is_no_line_of_the_format_is_refused)
{
    assert_refused("[daemon]\n\njunk\n", "test.conf:3: neither [section] nor key = value");
    assert_refused("[daemon\n", "test.conf:1: not a section heading");
    assert_refused("[daemon] x\n", "test.conf:1: not a section heading");
    assert_refused("drain = 5s\n", "test.conf:1: key 'drain' stands before any [section]");
    assert_refused("[daemon]\ndrain = 2s\n  and more\n", "test.conf:3: neither");
}

Test(config, first_of_several_errors_is_reported)
{
    assert_refused("[daemon]\ndrian = 1s\njunk\n[x]\n", "test.conf:2:");
    assert_refused("[daemon]\njunk\ndrian = 1s\n", "test.conf:2:");
}

Test(config, overlong_line_is_refused)
{
    char *text = malloc(6000);
    memset(text, 'x', 5999);
    text[5999] = '\0';
    assert_refused(text, "test.conf:1: line over");
    free(text);
}

Test(config, nul_byte_is_refused)
{
    struct config *config;
    cr_assert_eq(config_parse("test.conf", "[daemon]\n\0", 10, &problem, &config), -EINVAL);
    cr_assert(strstr(problem.text, "NUL") != NULL);
}

Test(config, grace_must_leave_room_for_drain_and_kill)
{
    assert_refused("[daemon]\ndrain = 10s\ngrace = 15s\n",
                   "daemon.grace (15s) must exceed daemon.drain + exec.kill_grace (15s)");
}

Test(config, a_retry_waits_no_longer_than_the_cap)
{
    assert_refused("[jobs]\nretry_base = 2s\nretry_cap = 1s\n",
                   "jobs.retry_cap is less than jobs.retry_base");
}

Test(config, overlong_socket_path_is_refused_by_its_own_error)
{
    char path[200] = "/";
    memset(path + 1, 's', 150);
    struct config_overrides overrides = {.socket = path};
    struct config *config;
    cr_assert_eq(config_load(NULL, &overrides, &problem, &config), -ENAMETOOLONG);
    cr_assert(strstr(problem.text, "107") != NULL, "%s", problem.text);
    path[107] = '\0';
    cr_assert_eq(config_load(NULL, &overrides, &problem, &config), 0, "%s", problem.text);
    config_free(config);
}

Test(config, overrides_win_and_become_absolute)
{
    struct config_overrides overrides = {.socket = "s.sock", .state_dir = "state"};
    struct config *config;
    char cwd[4096], expected[5000];
    cr_assert_not_null(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected, "%s/state", cwd);
    cr_assert_eq(chdir("/tmp"), 0);
    cr_assert_eq(config_load(NULL, &overrides, &problem, &config), 0, "%s", problem.text);
    cr_assert_str_eq(config->daemon.socket, "/tmp/s.sock");
    cr_assert_str_eq(config->daemon.state_dir, "/tmp/state");
    config_free(config);
}

Test(config, printed_config_parses_back_to_the_same)
{
    struct config *config = parse("[daemon]\nsocket=/tmp/x\nstate_dir=/tmp/y\ndrain=1ms\n"
                                  "[queue a]\nconcurrency=0\naging=0\npriority=-12\nretries=3\n"
                                  "on_crash=fail\ntimeout_total=2h\n[exec]\nenv=ONE\n");
    char *once = print(config);
    struct config *again = parse(once);
    char *twice = print(again);
    cr_assert_str_eq(once, twice);
    cr_assert_eq(again->queues_count, 2);
    cr_assert_eq(queue_of(again, "a")->concurrency, 0);
    cr_assert_eq(queue_of(again, "a")->priority, -12);
    cr_assert_eq(queue_of(again, "a")->retries, 3);
    cr_assert(queue_of(again, "a")->crash_fails);
    cr_assert_eq(queue_of(again, "a")->timeout_total, UINT64_C(7200000000000));
    free(once);
    free(twice);
    config_free(config);
    config_free(again);
}

Test(config, diff_separates_live_from_restart)
{
    struct config *running = parse("[queue a]\n[queue gone]\n");
    struct config *fresh = parse("[daemon]\nsocket=/tmp/other\ndrain=1s\n[runtime]\nworkers=7\n"
                                 "[queue a]\nconcurrency=9\n[queue new]\n");
    size_t changed = 99;
    struct config_pending pending;
    cr_assert_eq(config_diff(running, fresh, &changed, &pending), 0);
    cr_assert_eq(changed, 4, "drain, a's concurrency, gone, new: %zu", changed);
    cr_assert_eq(pending.count, 2);
    cr_assert_str_eq(pending.keys[0], "runtime.workers");
    cr_assert_str_eq(pending.keys[1], "daemon.socket");
    cr_assert_null(pending.keys[2]);
    config_pending_destroy(&pending);
    cr_assert_eq(config_diff(running, running, &changed, &pending), 0);
    cr_assert_eq(changed, 0);
    cr_assert_eq(pending.count, 0);
    config_pending_destroy(&pending);
    config_free(running);
    config_free(fresh);
}

/* ---- files ---- */

static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/weft-config-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static const char *path_in(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_in(name), "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

Test(config, drop_ins_follow_in_order_of_name, .init = make_folder, .fini = remove_folder)
{
    write_file("weftd.conf", "[daemon]\nrecent = 1\nmax_jobs = 1\n");
    cr_assert_eq(mkdir(path_in("weftd.conf.d"), 0700), 0);
    write_file("weftd.conf.d/20-b.conf", "[daemon]\nrecent = 3\n");
    write_file("weftd.conf.d/10-a.conf", "[daemon]\nrecent = 2\n[queue q]\n");
    write_file("weftd.conf.d/30-c.conf.off", "nonsense");
    write_file("weftd.conf.d/.conf", "nonsense");
    struct config *config;
    cr_assert_eq(config_load(path_in("weftd.conf"), NULL, &problem, &config), 0, "%s",
                 problem.text);
    cr_assert_eq(config->daemon.recent, 3);
    cr_assert_eq(config->daemon.max_jobs, 1);
    cr_assert_eq(config->queues_count, 2);
    cr_assert_str_eq(config->path, path_in("weftd.conf"));
    config_free(config);
}

Test(config, error_in_a_drop_in_names_that_file, .init = make_folder, .fini = remove_folder)
{
    write_file("weftd.conf", "");
    cr_assert_eq(mkdir(path_in("weftd.conf.d"), 0700), 0);
    write_file("weftd.conf.d/bad.conf", "[daemon]\ndrian = 2\n");
    struct config *config;
    cr_assert_eq(config_load(path_in("weftd.conf"), NULL, &problem, &config), -EINVAL);
    cr_assert(strstr(problem.text, "weftd.conf.d/bad.conf:2:") != NULL, "%s", problem.text);
}

Test(config, missing_file_and_folder_are_errors, .init = make_folder, .fini = remove_folder)
{
    struct config *config;
    cr_assert_eq(config_load(path_in("none.conf"), NULL, &problem, &config), -ENOENT);
    cr_assert(strstr(problem.text, "none.conf") != NULL);
    cr_assert_eq(config_load(folder, NULL, &problem, &config), -EISDIR);
}

/* ---- conf/weftd.conf ---- */

static char *shipped_file(void)
{
    const char *source = getenv("WEFT_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/conf/weftd.conf", source ? source : ".");
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    char *text = calloc(1, 65536);
    cr_assert(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

Test(config, shipped_file_documents_every_key_with_its_default)
{
    char *text = shipped_file();
    cr_assert_not_null(text, "conf/weftd.conf not found: run by ctest, or set WEFT_SOURCE");
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *value = key->type == CONFIG_CONCURRENCY ? "auto" : key->default_text;
        char heading[64], line[256];
        snprintf(heading, sizeof heading, "\n[%s%s]\n", key->section,
                 strcmp(key->section, "queue") == 0 ? " default" : "");
        snprintf(line, sizeof line, "\n#%s =%s%s\n", key->name, value[0] ? " " : "", value);
        const char *section = strstr(text, heading);
        cr_assert_not_null(section, "no %s", heading);
        const char *found = strstr(section, line);
        const char *next = strstr(section + 1, "\n[");
        cr_assert(found && (!next || found < next + 1), "not in %s: %s", heading, line);
    }
    free(text);
}

Test(config, shipped_file_says_the_same_with_and_without_its_comment_marks)
{
    char *text = shipped_file();
    cr_assert_not_null(text);
    for (char *at = text; (at = strstr(at, "\n#")); at += 2) {
        size_t name = strspn(at + 2, "abcdefghijklmnopqrstuvwxyz_");
        if (name > 0 && strncmp(at + 2 + name, " =", 2) == 0)
            memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
    struct config *file = parse(text);
    struct config *defaults = parse("");
    char *a = print(file), *b = print(defaults);
    cr_assert_str_eq(a, b);
    cr_assert(strstr(text, "\nlevel = info") != NULL, "the marks were taken off");
    free(a);
    free(b);
    free(text);
    config_free(file);
    config_free(defaults);
}
