/* SPDX-License-Identifier: MIT */
/*
 * What the machine refuses, on purpose: a full disk, a read-only one, a folder where a file should
 * be, names that are not there, no more processes, no more threads.  Each is a documented -errno,
 * the runtime goes on, and however often it happens, nothing is left of it: descriptors, fibers,
 * stacks and memory are counted before and after (support/census.h).
 */
#include "support/test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "support/census.h"
#include "support/process.h"
#include "unit/dns/fake_dns.h"
#include "weft/dns.h"
#include "weft/file.h"
#include "weft/offload.h"
#include "weft/path.h"

enum { DISK = 256 * 1024 };

/* ---- disks ----------------------------------------------------------------------------------- */

static char disk[64]; /* a tmpfs of DISK bytes, in a mount namespace of this process alone */

static const char *on_disk(const char *name)
{
    static char names[2][128];
    static unsigned turn;
    char *path = names[turn++ % 2];
    snprintf(path, sizeof(names[0]), "%s/%s", disk, name);
    return path;
}

/* Returns: false where mounting is not allowed. */
static bool disk_mount(void)
{
    strcpy(disk, "/tmp/weft-disk-XXXXXX");
    EXPECT(mkdtemp(disk) != NULL);
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("weft-test", disk, "tmpfs", 0, "size=256k") == 0)
        return true;
    rmdir(disk);
    fprintf(stderr, "skipped: mounting is not allowed here\n");
    return false;
}

static void disk_unmount(void)
{
    EXPECT_EQ(umount(disk), 0);
    EXPECT_EQ(rmdir(disk), 0);
}

/* It still works where there is room. */
static void expect_file_works(const char *path)
{
    void *data;
    size_t size;
    EXPECT_EQ(weft_file_write_all(path, "fine", 4, 0600, 0), 0);
    EXPECT_EQ(weft_file_read_all(path, 10, &data, &size), 0);
    EXPECT(size == 4 && memcmp(data, "fine", 4) == 0);
    free(data);
    EXPECT_EQ(weft_path_remove(path), 0);
}

static void fill_disk(void)
{
    static char block[2 * DISK];
    struct weft_file *file;
    size_t written = 0;
    EXPECT_EQ(weft_file_open(on_disk("full"), O_RDWR | O_CREAT, 0600, &file), 0);
    EXPECT_EQ(weft_file_write(file, block, sizeof(block), &written), -ENOSPC);
    EXPECT_EQ(written, DISK);
    EXPECT_EQ(weft_file_pwrite(file, "x", 1, DISK, NULL), -ENOSPC);
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(weft_file_write_all(on_disk("b"), "x", 1, 0600, WEFT_WRITE_ATOMIC), -ENOSPC);
    EXPECT_EQ(weft_copy_file(on_disk("full"), on_disk("copy"), NULL, NULL), -ENOSPC);
    weft_path_remove(on_disk("copy"));
    weft_path_remove(on_disk("b"));
    EXPECT_EQ(weft_path_remove(on_disk("full")), 0);
    expect_file_works(on_disk("later"));
}

Test(host_errors, a_full_disk)
{
    if (!disk_mount())
        return;
    repeatedly(fill_disk);
    disk_unmount();
}

static void write_read_only(void)
{
    struct weft_file *file = NULL;
    EXPECT_EQ(weft_file_open(on_disk("new"), O_RDWR | O_CREAT, 0600, &file), -EROFS);
    EXPECT_EQ(weft_file_write_all(on_disk("new"), "x", 1, 0600, 0), -EROFS);
    EXPECT_EQ(weft_file_write_all(on_disk("new"), "x", 1, 0600, WEFT_WRITE_ATOMIC), -EROFS);
    EXPECT_EQ(weft_path_mkdir(on_disk("folder"), 0700), -EROFS);
    EXPECT_EQ(weft_path_remove(on_disk("old")), -EROFS);
    EXPECT_EQ(weft_path_rename(on_disk("old"), on_disk("new")), -EROFS);
    EXPECT(file == NULL);
    expect_file_works("/tmp/weft-host-errors-test");
}

Test(host_errors, a_read_only_disk)
{
    if (!disk_mount())
        return;
    int fd = open(on_disk("old"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    EXPECT(fd >= 0);
    close(fd);
    EXPECT_EQ(mount(NULL, disk, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    repeatedly(write_read_only);
    disk_unmount();
}

/* ---- paths ----------------------------------------------------------------------------------- */

static void open_wrong_paths(void)
{
    struct weft_file *file = NULL;
    void *data = NULL;
    size_t size;
    EXPECT_EQ(weft_file_open("/tmp", O_RDWR, 0, &file), -EISDIR);
    EXPECT_EQ(weft_file_open("/tmp", O_RDONLY, 0, &file), -EISDIR);
    EXPECT_EQ(weft_file_write_all("/tmp", "x", 1, 0600, 0), -EISDIR);
    EXPECT_EQ(weft_file_read_all("/tmp", 10, &data, &size), -EISDIR);
    EXPECT_EQ(weft_file_open("/tmp/weft-no-such-folder/a", O_RDONLY, 0, &file), -ENOENT);
    EXPECT_EQ(weft_file_open("/dev/null/a", O_RDONLY, 0, &file), -ENOTDIR);
    EXPECT(!file && !data);
    expect_file_works("/tmp/weft-host-errors-test");
}

Test(host_errors, a_folder_opened_as_a_file_and_paths_that_are_not_there)
{
    repeatedly(open_wrong_paths);
}

/* In a folder that this user may only read. */
static void write_to_read_only_folder(void)
{
    struct weft_file *file = NULL;
    EXPECT_EQ(weft_file_open(on_disk("new"), O_RDWR | O_CREAT, 0600, &file), -EACCES);
    EXPECT_EQ(weft_file_write_all(on_disk("new"), "x", 1, 0600, WEFT_WRITE_ATOMIC), -EACCES);
    EXPECT_EQ(weft_path_mkdir(on_disk("folder"), 0700), -EACCES);
    EXPECT(file == NULL);
}

Test(host_errors, a_read_only_folder)
{
    become_ordinary();
    strcpy(disk, "/tmp/weft-disk-XXXXXX");
    EXPECT(mkdtemp(disk) != NULL);
    EXPECT_EQ(chmod(disk, 0500), 0);
    repeatedly(write_to_read_only_folder);
    EXPECT_EQ(rmdir(disk), 0);
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct weft_resolver *resolver;

static void resolve_nothing(void)
{
    struct weft_address *addresses = NULL;
    struct weft_stream *stream = NULL;
    EXPECT_EQ(weft_resolver_resolve(resolver, "missing.test", NULL, AF_UNSPEC, soon(), &addresses),
              -ENOENT);
    EXPECT_EQ(weft_resolver_connect(resolver, "missing.test", 80, soon(), &stream), -ENOENT);
    EXPECT_EQ(weft_resolver_connect(resolver, "nodata.test", 80, soon(), &stream), -ENODATA);
    EXPECT_EQ(weft_resolver_connect(resolver, "servfail.test", 80, soon(), &stream), -EREMOTEIO);
    EXPECT(!addresses && !stream);
    EXPECT_EQ(weft_resolver_resolve(resolver, "good.test", NULL, AF_INET, soon(), &addresses), 1);
    weft_addresses_free(addresses);
}

Test(host_errors, a_name_that_does_not_resolve)
{
    struct weft_resolver_options options = {.search = "", .no_hosts_file = true};
    struct fake_dns dns;
    fake_dns_start(&dns);
    options.servers = dns.servers;
    EXPECT_EQ(weft_resolver_new(&options, &resolver), 0);
    repeatedly(resolve_nothing);
    weft_resolver_free(resolver);
    fake_dns_stop(&dns);
}

/* ---- processes and threads ------------------------------------------------------------------- */

static void be_refused_processes(void)
{
    static const char *const argv[] = {"true", NULL};
    struct weft_process_options options;
    struct weft_process *process = NULL;
    struct weft_process_status status;
    weft_process_options_init(&options);
    options.argv = argv;
    options.stdin_fd = options.stdout_fd = options.stderr_fd = WEFT_PROCESS_PIPE;
    forbid_processes(true);
    EXPECT_EQ(weft_process_spawn(&options, &process), -EAGAIN);
    EXPECT(process == NULL);
    forbid_processes(false);
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    EXPECT_EQ(weft_process_wait(process, soon(), &status), 0);
    weft_process_free(process);
}

Test(host_errors, a_fork_that_is_refused)
{
    become_ordinary();
    repeatedly(be_refused_processes);
}

static int count_call(void *arg)
{
    ++*(int *)arg;
    return 0;
}

static void be_refused_threads(void)
{
    struct weft_executor *executor;
    int calls = 0;
    EXPECT_EQ(weft_executor_new(2, "refused", &executor), 0);
    forbid_processes(true);
    EXPECT_EQ(weft_executor_run(executor, count_call, &calls, NULL), -EAGAIN);
    EXPECT_EQ(weft_executor_post(executor, count_call, &calls), -EAGAIN);
    forbid_processes(false);
    EXPECT_EQ(weft_executor_run(executor, count_call, &calls, NULL), 0);
    EXPECT_EQ(calls, 1);
    weft_executor_free(executor);
}

Test(host_errors, a_thread_that_is_refused)
{
    become_ordinary();
    repeatedly(be_refused_threads);
}
