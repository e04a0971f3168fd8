/* SPDX-License-Identifier: MIT */
/* The handlers that come with weftd, called as jobs call them. */
#include "run_support.h"

#include "daemon/native.h"

#include <stdarg.h>
#include <sys/resource.h>

/* In the place of the C library's: as on a file system that has no files without a name. */
static atomic_bool names_only;

int open(const char *path, int flags, ...) /* NOLINT(cert-dcl50-cpp): its prototype */
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_TMPFILE) == O_TMPFILE && atomic_load(&names_only)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return openat(AT_FDCWD, path, flags, mode);
}

/* One call, from its arguments to what came of it. */
struct call {
    struct world *world;
    const char *name;
    json_t *args; /* taken */
    uint64_t timeout_ns;
    struct weft_scope scope;
    struct weft_event begun;
    int rc;
    struct run_outcome outcome;
};

static int run_call(void *arg)
{
    struct call *call = arg;
    struct job_spec spec = {.call = (char *)call->name, .args = call->args};
    struct run_request request = {.spec = &spec, .id = 3, .attempt = 2};
    EXPECT(call->args != NULL);
    run_outcome_init(&call->outcome);
    weft_scope_enter(&call->scope,
                     call->timeout_ns ? weft_deadline_after(call->timeout_ns) : WEFT_NO_DEADLINE);
    weft_event_set(&call->begun);
    call->rc = run_native(call->world->runner, &request, &call->outcome);
    weft_scope_leave(&call->scope);
    EXPECT((call->rc == 0) == (call->outcome.result != NULL));
    json_decref(call->args);
    return 0;
}

static void expect_result(struct world *world, const char *name, json_t *args, const char *result)
{
    struct call call = {.world = world, .name = name, .args = args};
    run_call(&call);
    if (call.outcome.error)
        fprintf(stderr, "%s: %s\n", name, call.outcome.error);
    EXPECT_EQ(call.rc, 0);
    EXPECT(call.outcome.error == NULL);
    if (strcmp(call.outcome.result, result) != 0)
        fprintf(stderr, "%s: %s\n", name, call.outcome.result);
    EXPECT(strcmp(call.outcome.result, result) == 0);
    run_outcome_destroy(&call.outcome);
}

static void expect_failure(struct world *world, const char *name, json_t *args, int rc,
                           const char *why)
{
    struct call call = {.world = world, .name = name, .args = args};
    run_call(&call);
    EXPECT_EQ(call.rc, rc);
    EXPECT(call.outcome.error != NULL);
    if (!strstr(call.outcome.error, why))
        fprintf(stderr, "%s: %s\n", name, call.outcome.error);
    EXPECT(strstr(call.outcome.error, why) != NULL);
    run_outcome_destroy(&call.outcome);
}

/* ---- core ------------------------------------------------------------------------------------ */

static int call_core(struct world *world)
{
    struct runner_stats stats;
    expect_result(world, "echo", json_pack("{s:[i,n,s]}", "a", 1, "\xc3\xa4"),
                  "{\"a\":[1,null,\"\xc3\xa4\"]}");
    expect_result(world, "echo", json_object(), "{}");
    expect_result(world, "sleep", json_pack("{s:f}", "seconds", 0.001), "{\"seconds\":0.001}");
    expect_result(world, "sleep", json_pack("{s:s}", "seconds", "2ms"), "{\"seconds\":0.002}");
    expect_failure(world, "no.such", json_object(), -ENOENT, "no handler \"no.such\"");
    runner_stats(world->runner, &stats);
    EXPECT_EQ(stats.calls, 5);
    return 0;
}

Test(modules, echo_and_sleep)
{
    in_world(1, "", call_core);
}

static int stop_sleep(struct world *world)
{
    struct call call = {.world = world, .name = "sleep", .timeout_ns = WEFT_MILLISECOND};
    call.args = json_pack("{s:i}", "seconds", 1000000);
    run_call(&call);
    EXPECT_EQ(call.rc, -ETIMEDOUT);
    run_outcome_destroy(&call.outcome);

    struct weft_group group;
    call = (struct call){.world = world, .name = "sleep"};
    call.args = json_pack("{s:i}", "seconds", 1000000);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "call", run_call, &call), 0);
    EXPECT_EQ(weft_event_wait(&call.begun, soon()), 0);
    weft_scope_cancel(&call.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.rc, -ECANCELED);
    run_outcome_destroy(&call.outcome);
    return 0;
}

Test(modules, sleep_ends_at_its_timeout_and_when_cancelled)
{
    in_world(2, "", stop_sleep);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void make_file(const struct world *world, const char *name, size_t size, mode_t mode)
{
    FILE *file = fopen(in_folder(world, name), "we");
    EXPECT(file != NULL);
    for (size_t i = 0; i < size; i++)
        EXPECT(putc((int)(i * 7 + i / 253) & 255, file) != EOF);
    EXPECT_EQ(fchmod(fileno(file), mode), 0);
    EXPECT_EQ(fclose(file), 0);
}

static json_t *paths(const struct world *world, const char *from, const char *to)
{
    json_t *args = json_object();
    json_object_set_new(args, "from", json_string(in_folder(world, from)));
    json_object_set_new(args, "to", json_string(in_folder(world, to)));
    return args;
}

static void expect_same(const struct world *world, const char *a, const char *b)
{
    struct stat first, second;
    FILE *files[2];
    int byte;
    EXPECT_EQ(stat(in_folder(world, a), &first), 0);
    EXPECT_EQ(stat(in_folder(world, b), &second), 0);
    EXPECT_EQ(first.st_size, second.st_size);
    EXPECT_EQ(first.st_mode, second.st_mode);
    EXPECT(first.st_ino != second.st_ino);
    files[0] = fopen(in_folder(world, a), "re");
    files[1] = fopen(in_folder(world, b), "re");
    while ((byte = getc(files[0])) != EOF)
        EXPECT_EQ(getc(files[1]), byte);
    fclose(files[0]);
    fclose(files[1]);
}

static int count_names(const struct world *world)
{
    DIR *folder = opendir(world->folder);
    int count = -2;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static int copy_files(struct world *world)
{
    int fd = open(world->folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    EXPECT(!atomic_load(&names_only) || fd == -1); /* ours is the one that is called */
    if (fd >= 0)
        close(fd);
    umask(022);
    make_file(world, "empty", 0, 0644);
    make_file(world, "small", 4096, 0755);
    make_file(world, "large", 9 * 1024 * 1024 + 1, 0600);
    expect_result(world, "file.copy", paths(world, "empty", "a"), "{\"bytes\":0}");
    expect_result(world, "file.copy", paths(world, "small", "b"), "{\"bytes\":4096}");
    expect_result(world, "file.copy", paths(world, "large", "c"), "{\"bytes\":9437185}");
    expect_same(world, "empty", "a");
    expect_same(world, "small", "b");
    expect_same(world, "large", "c");
    expect_result(world, "file.copy", paths(world, "small", "c"), "{\"bytes\":4096}");
    expect_same(world, "small", "c"); /* the one that was there is replaced */
    EXPECT_EQ(symlink("empty", in_folder(world, "link")), 0);
    expect_result(world, "file.copy", paths(world, "small", "link"), "{\"bytes\":4096}");
    expect_same(world, "small", "link");
    EXPECT_EQ(count_names(world), 8); /* with "output", and nothing hidden */
    return 0;
}

Test(modules, file_copy_makes_the_same_file)
{
    in_world(2, "", copy_files);
    atomic_store(&names_only, true);
    in_world(2, "", copy_files);
}

/* From a file system that has no size to tell, and between two. */
static int copy_across(struct world *world)
{
    json_t *args = json_pack("{s:s}", "from", "/proc/self/environ");
    char name[] = "/dev/shm/weft-copy-test-XXXXXX";
    json_object_set_new(args, "to", json_string(in_folder(world, "environ")));
    struct call call = {.world = world, .name = "file.copy", .args = args};
    struct stat status;
    run_call(&call);
    EXPECT_EQ(call.rc, 0);
    EXPECT_EQ(stat(in_folder(world, "environ"), &status), 0);
    EXPECT(status.st_size > 0);
    run_outcome_destroy(&call.outcome);

    make_file(world, "large", 5 * 1024 * 1024, 0600);
    EXPECT(mkdtemp(name) != NULL);
    char path[64];
    snprintf(path, sizeof(path), "%s/there", name);
    args = json_pack("{s:s}", "to", path);
    json_object_set_new(args, "from", json_string(in_folder(world, "large")));
    expect_result(world, "file.copy", args, "{\"bytes\":5242880}");
    args = json_pack("{s:s}", "from", path);
    json_object_set_new(args, "to", json_string(in_folder(world, "back")));
    expect_result(world, "file.copy", args, "{\"bytes\":5242880}");
    expect_same(world, "large", "back");
    EXPECT_EQ(unlink(path), 0);
    EXPECT_EQ(rmdir(name), 0);
    return 0;
}

Test(modules, file_copy_crosses_file_systems)
{
    in_world(2, "", copy_across);
}

static int fail_to_copy(struct world *world)
{
    make_file(world, "file", 10, 0644);
    make_file(world, "precious", 20, 0644);
    EXPECT_EQ(link(in_folder(world, "file"), in_folder(world, "hard")), 0);
    EXPECT_EQ(symlink("file", in_folder(world, "soft")), 0);
    EXPECT_EQ(mkfifo(in_folder(world, "fifo"), 0600), 0);
    expect_failure(world, "file.copy", paths(world, "none", "x"), -ENOENT, "/none: No such file");
    expect_failure(world, "file.copy", paths(world, "file", "none/x"), -ENOENT, "/none/x");
    expect_failure(world, "file.copy", paths(world, "file", "file"), -EINVAL, "are the same file");
    expect_failure(world, "file.copy", paths(world, "file", "hard"), -EINVAL, "are the same file");
    expect_failure(world, "file.copy", paths(world, "file", "soft"), -EINVAL, "are the same file");
    expect_failure(world, "file.copy", paths(world, "file", "output"), -EISDIR, "Is a directory");
    expect_failure(world, "file.copy", paths(world, "file", "output/"), -EINVAL, "not a folder");
    expect_failure(world, "file.copy", paths(world, "output", "x"), -EISDIR, "Is a directory");
    expect_failure(world, "file.copy", paths(world, "fifo", "x"), -EINVAL, "/fifo: Invalid");
    expect_failure(world, "file.copy", paths(world, "file", "file/x"), -ENOTDIR, "/file/x: Not");
    EXPECT_EQ(count_names(world), 6);
    return 0;
}

Test(modules, file_copy_says_why_it_failed_and_leaves_nothing)
{
    in_world(1, "", fail_to_copy);
    atomic_store(&names_only, true);
    in_world(1, "", fail_to_copy);
}

/* The disk is full, as it were, in the middle of it. */
static int copy_into_limit(struct world *world)
{
    struct rlimit limit, low = {1 << 20, RLIM_INFINITY};
    struct stat status;
    make_file(world, "large", 5 * 1024 * 1024, 0644);
    make_file(world, "precious", 20, 0644);
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low.rlim_max = limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
    expect_failure(world, "file.copy", paths(world, "large", "precious"), -EFBIG, "too large");
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_EQ(stat(in_folder(world, "precious"), &status), 0);
    EXPECT_EQ(status.st_size, 20);
    EXPECT_EQ(count_names(world), 3);
    return 0;
}

Test(modules, a_copy_that_fails_leaves_the_target_as_it_was)
{
    in_world(1, "", copy_into_limit);
    atomic_store(&names_only, true);
    in_world(1, "", copy_into_limit);
}

/* Wait until this process has opened the file so often. */
static void await_opened(const char *path, int times)
{
    uint64_t deadline_ns = soon();
    for (int opened = 0; opened < times;) {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_yield(), 0);
        opened = 0;
        for (int fd = 0; fd < 64; fd++) {
            char link[64], target[256];
            snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
            ssize_t size = readlink(link, target, sizeof(target) - 1);
            target[size < 0 ? 0 : size] = '\0';
            opened += strcmp(target, path) == 0;
        }
    }
}

/* A sparse file that would take far too long, cancelled while it is copied. */
static int cancel_copy(struct world *world)
{
    struct weft_group group;
    make_file(world, "precious", 20, 0644);
    make_file(world, "huge", 0, 0644);
    EXPECT_EQ(truncate(in_folder(world, "huge"), (off_t)1 << 40), 0);
    struct call calls[2] = {{.world = world, .name = "file.copy"},
                            {.world = world, .name = "file.hash"}};
    calls[0].args = paths(world, "huge", "precious");
    calls[1].args = json_object();
    json_object_set_new(calls[1].args, "path", json_string(in_folder(world, "huge")));
    weft_group_init(&group);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(weft_group_spawn(&group, "call", run_call, &calls[i]), 0);
        EXPECT_EQ(weft_event_wait(&calls[i].begun, soon()), 0);
    }
    await_opened(in_folder(world, "huge"), 2);
    for (int i = 0; i < 2; i++)
        weft_scope_cancel(&calls[i].scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(calls[i].rc, -ECANCELED);
        run_outcome_destroy(&calls[i].outcome);
    }
    struct stat status;
    EXPECT_EQ(stat(in_folder(world, "precious"), &status), 0);
    EXPECT_EQ(status.st_size, 20);
    EXPECT_EQ(count_names(world), 3);
    return 0;
}

Test(modules, a_cancelled_copy_leaves_the_target_as_it_was)
{
    in_world(2, "", cancel_copy);
    atomic_store(&names_only, true);
    in_world(2, "", cancel_copy);
}

static json_t *hash_of(const struct world *world, const char *name, const char *algorithm)
{
    json_t *args = json_object();
    json_object_set_new(args, "path", json_string(in_folder(world, name)));
    if (algorithm)
        json_object_set_new(args, "algorithm", json_string(algorithm));
    return args;
}

/* What coreutils say. */
static void expect_hash(struct world *world, const char *name, const char *algorithm)
{
    char command[300], line[200], expected[256];
    snprintf(command, sizeof(command), "%ssum %s", algorithm, in_folder(world, name));
    FILE *pipe = popen(command, "re");
    EXPECT(pipe != NULL);
    EXPECT(fgets(line, sizeof(line), pipe) != NULL);
    EXPECT_EQ(pclose(pipe), 0);
    *strchr(line, ' ') = '\0';
    snprintf(expected, sizeof(expected), "{\"hash\":\"%s\"}", line);
    expect_result(world, "file.hash", hash_of(world, name, algorithm), expected);
}

static int hash_files(struct world *world)
{
    make_file(world, "empty", 0, 0644);
    make_file(world, "odd", 131073, 0644);
    make_file(world, "large", 2 * 4 * 1024 * 1024 + 5, 0644);
    const char *names[] = {"empty", "odd", "large"};
    for (int i = 0; i < 3; i++) {
        expect_hash(world, names[i], "sha256");
        expect_hash(world, names[i], "sha512");
    }
    expect_result(
        world, "file.hash", hash_of(world, "empty", NULL),
        "{\"hash\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}");
    expect_failure(world, "file.hash", hash_of(world, "none", NULL), -ENOENT, "No such file");
    expect_failure(world, "file.hash", hash_of(world, "output", NULL), -EISDIR, "Is a directory");
    return 0;
}

Test(modules, file_hash_agrees_with_coreutils)
{
    in_world(2, "", hash_files);
}

/* ---- pieces of files ------------------------------------------------------------------------- */

static void put_text(const struct world *world, const char *name, const char *text, size_t size)
{
    FILE *file = fopen(in_folder(world, name), "we");
    EXPECT(file != NULL);
    EXPECT_EQ(fwrite(text, 1, size, file), size);
    EXPECT_EQ(fclose(file), 0);
}

/* Arguments: the path of a file, and what `more` says, which is taken. */
static json_t *args_for(const struct world *world, const char *name, json_t *more)
{
    json_t *args = json_pack("{s:s}", "path", in_folder(world, name));
    EXPECT_EQ(json_object_update(args, more), 0);
    json_decref(more);
    return args;
}

static int read_pieces(struct world *world)
{
    put_text(world, "text", "a\xc3\xa4\xc3\xa4z", 6);
    put_text(world, "bytes", "\0\1\377", 3);
    expect_result(world, "file.read", args_for(world, "text", json_object()),
                  "{\"data\":\"a\xc3\xa4\xc3\xa4z\",\"encoding\":\"utf-8\",\"eof\":true}");
    expect_result(world, "file.read",
                  args_for(world, "text", json_pack("{s:i,s:i}", "offset", 1, "limit", 3)),
                  "{\"data\":\"\xc3\xa4\",\"encoding\":\"utf-8\",\"eof\":false}");
    expect_result(world, "file.read",
                  args_for(world, "text", json_pack("{s:i,s:i}", "offset", 5, "limit", 1)),
                  "{\"data\":\"z\",\"encoding\":\"utf-8\",\"eof\":true}");
    expect_result(world, "file.read", args_for(world, "text", json_pack("{s:i}", "offset", 60)),
                  "{\"data\":\"\",\"encoding\":\"utf-8\",\"eof\":true}");
    expect_result(world, "file.read", args_for(world, "bytes", json_object()),
                  "{\"data\":\"AAH/\",\"encoding\":\"base64\",\"eof\":true}");
    put_text(world, "euro", "\xe2\x82\xac\xe2\x82\xac", 6);
    expect_result(world, "file.read", args_for(world, "euro", json_pack("{s:i}", "limit", 5)),
                  "{\"data\":\"\xe2\x82\xac\",\"encoding\":\"utf-8\",\"eof\":false}");
    expect_result(world, "file.read",
                  args_for(world, "euro", json_pack("{s:i,s:i}", "offset", 1, "limit", 2)),
                  "{\"data\":\"gqw=\",\"encoding\":\"base64\",\"eof\":false}");
    expect_failure(world, "file.read", args_for(world, "none", json_object()), -ENOENT,
                   "/none: No such file");
    EXPECT_EQ(mkfifo(in_folder(world, "fifo"), 0600), 0);
    expect_failure(world, "file.read", args_for(world, "fifo", json_object()), -EINVAL, "/fifo");
    expect_failure(world, "file.read", args_for(world, "output", json_object()), -EISDIR,
                   "Is a directory");
    return 0;
}

Test(modules, file_read_gives_text_or_base64)
{
    in_world(2, "", read_pieces);
}

static int write_pieces(struct world *world)
{
    json_t *more = json_pack("{s:s,s:b}", "data", "one\n", "append", 1);
    expect_result(world, "file.write", args_for(world, "file", json_incref(more)), "{\"bytes\":4}");
    expect_result(world, "file.write", args_for(world, "file", more), "{\"bytes\":4}");
    expect_result(world, "file.read", args_for(world, "file", json_object()),
                  "{\"data\":\"one\\none\\n\",\"encoding\":\"utf-8\",\"eof\":true}");
    more = json_pack("{s:s,s:s,s:b}", "data", "AAH/", "encoding", "base64", "fsync", 1);
    expect_result(world, "file.write", args_for(world, "file", more), "{\"bytes\":3}");
    more = json_pack("{s:s,s:s}", "data", "AA==", "encoding", "base64");
    expect_result(world, "file.write", args_for(world, "zero", more), "{\"bytes\":1}");
    expect_result(world, "file.read", args_for(world, "file", json_object()),
                  "{\"data\":\"AAH/\",\"encoding\":\"base64\",\"eof\":true}");
    const char *bad[] = {"AAH", "=AH/", "A AH", "A\nAH", "====", "\xc3\xa4\xc3\xa4"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        more = json_pack("{s:s,s:s}", "data", bad[i], "encoding", "base64");
        expect_failure(world, "file.write", args_for(world, "file", more), -EINVAL, "not base64");
    }
    more = json_pack("{s:s}", "data", "x");
    expect_failure(world, "file.write", args_for(world, "none/x", more), -ENOENT, "/none/x");
    EXPECT_EQ(count_names(world), 3); /* with "output", and nothing hidden */
    return 0;
}

Test(modules, file_write_replaces_or_appends)
{
    in_world(2, "", write_pieces);
}

static int read_some_lines(struct world *world)
{
    static char text[300000];
    put_text(world, "file", "one\r\n\ntw\0\xff\nlast", 15);
    put_text(world, "empty", "", 0);
    expect_result(world, "file.lines", args_for(world, "file", json_object()),
                  "{\"lines\":[\"one\",\"\",\"tw??\",\"last\"],\"eof\":true}");
    expect_result(world, "file.lines", args_for(world, "file", json_pack("{s:i}", "limit", 2)),
                  "{\"lines\":[\"one\",\"\"],\"eof\":false}");
    expect_result(world, "file.lines", args_for(world, "empty", json_object()),
                  "{\"lines\":[],\"eof\":true}");
    memset(text, 'x', sizeof(text));
    put_text(world, "long", text, sizeof(text));
    expect_failure(world, "file.lines", args_for(world, "long", json_object()), -EMSGSIZE,
                   "a line is over");
    return 0;
}

Test(modules, file_lines_gives_the_first_lines)
{
    in_world(2, "", read_some_lines);
}
