/* SPDX-License-Identifier: MIT */
/*
 * cgroup: see cgroup.h.
 *
 * I1  A leaf is made before its process, which is born in it (clone3 with CLONE_INTO_CGROUP, or moves
 *     there before exec), and removed after its last process: so whoever descends from an attempt is
 *     in its leaf, or was let out by somebody with rights over both groups.
 * I2  weftd itself stays out of the group that it was given: there processes and leaves may not be
 *     side by side once a controller is on.
 * I3  The folder is locked (flock) while it is used: of two weftds in one group one has no leaves,
 *     and does not take the other's for left-overs.
 * I4  Controllers are turned on once, after I2, and each for itself: where one is refused the others
 *     are there all the same.
 */
#include "daemon/cgroup.h"

#include "daemon/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { PIDS_DEPTH = 8 };

#define LEAF_PREFIX "job-"
#define FOLDER      (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

/* ---- files of the kernel --------------------------------------------------------------------- */

static int write_file(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

/* Returns: bytes, ended by a NUL. */
static int read_file(int folder, const char *name, char *text, size_t size)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, size - 1);
    int rc = n < 0 ? -errno : (int)n;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return rc;
}

/* ---- the group that we were given ------------------------------------------------------------ */

static bool is_version_2(const char *mount)
{
    struct statfs about;
    return statfs(mount, &about) == 0 && about.f_type == CGROUP2_SUPER_MAGIC;
}

/* Our own group in version 2's hierarchy, from its root.  Errors: -ENOENT there is none. */
static int own_path(char *path, size_t size)
{
    char text[4096];
    int n = read_file(AT_FDCWD, "/proc/self/cgroup", text, sizeof text);
    if (n < 0)
        return n;
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return -ENOENT;
    line = strstr(line, "0::") + 3;
    int length = (int)strcspn(line, "\n");
    return snprintf(path, size, "%.*s", length, line) < (int)size ? 0 : -ENAMETOOLONG;
}

/* Returns a descriptor of it; ret_machine has one of the whole hierarchy's. */
static int open_own(int *ret_machine)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char own[PATH_MAX], path[PATH_MAX + 32];
    int rc = own_path(own, sizeof own);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        if (!is_version_2(mounts[i]))
            continue;
        snprintf(path, sizeof path, "%s%s", mounts[i], own);
        int fd = open(path, FOLDER);
        if (fd < 0)
            return -errno;
        *ret_machine = open(mounts[i], FOLDER);
        return fd;
    }
    return -ENOENT;
}

static bool is_delegated(int fd)
{
    static const char *const names[] = {"user.delegate", "trusted.delegate"};
    char value[8];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (fgetxattr(fd, names[i], value, sizeof value) == 1 && value[0] == '1')
            return true;
    return false;
}

/* I2 */
static int move_down(int fd)
{
    if (mkdirat(fd, "weftd", 0755) < 0 && errno != EEXIST)
        return -errno;
    return write_file(fd, "weftd/cgroup.procs", "0");
}

static int take(int fd, enum config_wish wish)
{
    if (wish == CONFIG_AUTO && !is_delegated(fd))
        return -ENOTSUP;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) /* I3 */
        return -errno;
    return move_down(fd);
}

/* ---- controllers ----------------------------------------------------------------------------- */

static const char *const controller_names[CGROUP_CONTROLLERS] = {"cpu", "memory", "pids"};

/* Whether a word of the folder's cgroup.controllers. */
static bool offers(int folder, const char *controller)
{
    char text[512], *rest = NULL;
    if (read_file(folder, "cgroup.controllers", text, sizeof text) <= 0)
        return false;
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        if (strcmp(word, controller) == 0)
            return true;
    return false;
}

/* I4.  machine -1: not known. */
static void turn_on(struct cgroups *cgroups, int machine)
{
    char text[16];
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        snprintf(text, sizeof text, "+%s", controller_names[i]);
        if (offers(cgroups->fd, controller_names[i]))
            cgroups->lacks[i] = write_file(cgroups->fd, "cgroup.subtree_control", text);
        else
            cgroups->lacks[i] =
                machine < 0 || offers(machine, controller_names[i]) ? -ENOENT : -ENOSYS;
    }
}

bool cgroups_have(const struct cgroups *cgroups, enum cgroup_controller controller,
                  char why[static CGROUP_WHY_MAX])
{
    const char *name = controller_names[controller];
    int lack = cgroups->lacks[controller];
    if (cgroups->fd < 0)
        snprintf(why, CGROUP_WHY_MAX, "%s",
                 "jobs have no control groups of their own here; give weftd one to make them in "
                 "(Delegate=yes in its unit, exec.cgroups)");
    else if (lack == -ENOSYS)
        snprintf(why, CGROUP_WHY_MAX,
                 "this machine's control groups have no controller \"%s\": its kernel is without, "
                 "or version 1 of control groups has it",
                 name);
    else if (lack == -ENOENT)
        snprintf(why, CGROUP_WHY_MAX,
                 "weftd's control group has no controller \"%s\": delegate it (Delegate=yes in "
                 "weftd's unit)",
                 name);
    else if (lack < 0)
        snprintf(why, CGROUP_WHY_MAX,
                 "the controller \"%s\" could not be turned on in weftd's control group: %s", name,
                 strerrordesc_np(-lack));
    return cgroups->fd >= 0 && lack == 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

int cgroups_open(enum config_wish wish, struct problem *problem, struct cgroups *ret_cgroups)
{
    int machine = -1;
    *ret_cgroups = (struct cgroups){.fd = -1};
    if (wish == CONFIG_NO)
        return 0;
    int fd = open_own(&machine);
    int rc = fd < 0 ? fd : take(fd, wish);
    if (rc >= 0) {
        ret_cgroups->fd = fd;
        turn_on(ret_cgroups, machine);
    } else if (fd >= 0)
        close(fd);
    if (machine >= 0)
        close(machine);
    if (rc >= 0)
        return 0;
    if (wish == CONFIG_YES)
        return problem_set(problem, rc,
                           "exec.cgroups = yes: cannot make control groups below our "
                           "own: %s",
                           strerror(-rc));
    if (rc != -ENOTSUP && rc != -ENOENT)
        log_warning("jobs have no control groups of their own: %s", strerror(-rc));
    return 0;
}

void cgroups_open_fd(int fd, struct cgroups *ret_cgroups)
{
    *ret_cgroups = (struct cgroups){.fd = fd};
    turn_on(ret_cgroups, -1);
}

void cgroups_close(struct cgroups *cgroups)
{
    if (cgroups->fd >= 0)
        close(cgroups->fd);
    cgroups->fd = -1;
}

/* ---- leaves ---------------------------------------------------------------------------------- */

void cgroup_leaf_make(const struct cgroups *cgroups, uint64_t id, uint32_t attempt,
                      struct cgroup_leaf *ret_leaf)
{
    ret_leaf->fd = -1;
    if (cgroups->fd < 0)
        return;
    snprintf(ret_leaf->name, sizeof ret_leaf->name, LEAF_PREFIX "%" PRIu64 "-%" PRIu32, id,
             attempt);
    int rc = mkdirat(cgroups->fd, ret_leaf->name, 0755) < 0 ? -errno : 0;
    if (rc == 0 || rc == -EEXIST)
        ret_leaf->fd = openat(cgroups->fd, ret_leaf->name, FOLDER);
    if (ret_leaf->fd < 0)
        log_warning("job %" PRIu64 " has no control group of its own: %s", id,
                    strerror(rc && rc != -EEXIST ? -rc : errno));
}

int cgroup_leaf_set(const struct cgroup_leaf *leaf, const char *file, const char *text)
{
    return leaf->fd < 0 ? -ENOTSUP : write_file(leaf->fd, file, text);
}

/* The number behind a name at the beginning of a line; 0: it is not there. */
static uint64_t number_of(const char *text, const char *name)
{
    size_t size = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, size) == 0 && line[size] == ' ')
            return strtoull(line + size + 1, NULL, 10);
    }
    return 0;
}

void cgroup_leaf_memory_events(const struct cgroup_leaf *leaf,
                               struct cgroup_memory_events *ret_events)
{
    char text[512];
    *ret_events = (struct cgroup_memory_events){0};
    if (leaf->fd < 0 || read_file(leaf->fd, "memory.events", text, sizeof text) <= 0)
        return;
    ret_events->oom = number_of(text, "oom");
    ret_events->oom_kill = number_of(text, "oom_kill");
}

bool cgroup_leaf_is_empty(const struct cgroup_leaf *leaf)
{
    char text[256];
    if (leaf->fd < 0)
        return true;
    return read_file(leaf->fd, "cgroup.events", text, sizeof text) > 0 &&
           strstr(text, "populated 0") != NULL;
}

static int add_pids(int folder, struct tree_pids *list)
{
    int fd = openat(folder, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    long pid;
    int rc = 0;
    if (!file) {
        if (fd >= 0)
            close(fd);
        return 0; /* it went meanwhile */
    }
    while (rc == 0 && fscanf(file, "%ld", &pid) == 1) /* NOLINT(cert-err34-c): the kernel's */
        rc = tree_pids_add(list, (pid_t)pid);
    fclose(file);
    return rc;
}

/* NULL: it cannot be read, or went meanwhile. */
static DIR *open_entries(int folder)
{
    int copy = openat(folder, ".", FOLDER);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries && copy >= 0)
        close(copy);
    return entries;
}

/* What to do with each group below a folder, the deepest first.  Errors: what `each` says. */
static int walk(int folder, int depth, int (*each)(int parent, const char *name, void *arg),
                void *arg)
{
    DIR *entries = open_entries(folder);
    struct dirent *entry;
    int rc = 0;
    if (!entries)
        return 0;
    while (rc == 0 && (entry = readdir(entries))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        int inner = depth > 0 ? openat(folder, entry->d_name, FOLDER) : -1;
        if (inner >= 0) {
            rc = walk(inner, depth - 1, each, arg);
            close(inner);
        }
        if (rc == 0)
            rc = each(folder, entry->d_name, arg);
    }
    closedir(entries);
    return rc;
}

static int add_group(int parent, const char *name, void *list)
{
    int fd = openat(parent, name, FOLDER);
    int rc = fd < 0 ? 0 : add_pids(fd, list);
    if (fd >= 0)
        close(fd);
    return rc;
}

int cgroup_leaf_pids(const struct cgroup_leaf *leaf, struct tree_pids *list)
{
    if (leaf->fd < 0)
        return 0;
    int rc = add_pids(leaf->fd, list);
    return rc < 0 ? rc : walk(leaf->fd, PIDS_DEPTH, add_group, list);
}

bool cgroup_leaf_has(const struct cgroup_leaf *leaf, pid_t pid)
{
    char path[64], text[4096], needle[sizeof leaf->name + 2];
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    if (read_file(AT_FDCWD, path, text, sizeof text) <= 0)
        return false;
    snprintf(needle, sizeof needle, "/%s", leaf->name);
    const char *found = strstr(text, needle);
    char next = found ? found[strlen(needle)] : '\0';
    return found && (next == '\n' || next == '/');
}

void cgroup_leaf_kill(const struct cgroup_leaf *leaf)
{
    if (leaf->fd >= 0)
        (void)write_file(leaf->fd, "cgroup.kill", "1"); /* who is left is found by a scan */
}

int cgroup_leaf_freeze(const struct cgroup_leaf *leaf, bool frozen)
{
    return cgroup_leaf_set(leaf, "cgroup.freeze", frozen ? "1" : "0");
}

static int remove_group(int parent, const char *name, void *arg)
{
    (void)arg;
    (void)unlinkat(parent, name, AT_REMOVEDIR);
    return 0;
}

void cgroup_leaf_remove(const struct cgroups *cgroups, struct cgroup_leaf *leaf)
{
    if (leaf->fd < 0)
        return;
    if (unlinkat(cgroups->fd, leaf->name, AT_REMOVEDIR) < 0 && errno == EBUSY) {
        (void)walk(leaf->fd, PIDS_DEPTH, remove_group, NULL);
        if (unlinkat(cgroups->fd, leaf->name, AT_REMOVEDIR) < 0)
            log_warning("cannot remove the control group %s: %s", leaf->name, strerror(errno));
    }
    close(leaf->fd);
    leaf->fd = -1;
}

/* ---- left-overs ------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Returns whether somebody was in it. */
static int end_leaf(const struct cgroups *cgroups, const char *name, uint64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    struct cgroup_leaf leaf = {.fd = openat(cgroups->fd, name, FOLDER)};
    snprintf(leaf.name, sizeof leaf.name, "%.47s", name);
    int found = !cgroup_leaf_is_empty(&leaf);
    for (cgroup_leaf_kill(&leaf); !cgroup_leaf_is_empty(&leaf) && now_ns() < deadline_ns;)
        nanosleep(&pause, NULL);
    cgroup_leaf_remove(cgroups, &leaf);
    return found;
}

int cgroups_kill_leftovers(const struct cgroups *cgroups, uint64_t within_ns)
{
    uint64_t deadline_ns = now_ns() + within_ns;
    DIR *entries = cgroups->fd < 0 ? NULL : open_entries(cgroups->fd);
    struct dirent *entry;
    int found = 0;
    if (!entries)
        return 0;
    while ((entry = readdir(entries)))
        if (strncmp(entry->d_name, LEAF_PREFIX, strlen(LEAF_PREFIX)) == 0)
            found += end_leaf(cgroups, entry->d_name, deadline_ns);
    closedir(entries);
    return found;
}
