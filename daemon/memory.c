/* SPDX-License-Identifier: MIT */
/* memory: see memory.h.  mallctl is a weak reference: absent where jemalloc is not linked. */
#include "daemon/memory.h"

#include "daemon/config.h"
#include "daemon/problem.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size)
    __attribute__((weak));

static int set(const char *name, void *value, size_t size, struct problem *problem)
{
    int err = mallctl(name, NULL, NULL, value, size);
    return err ? problem_set(problem, -err, "jemalloc: %s: %s", name, strerror(err)) : 0;
}

/* The arenas that are there already; one that is not made yet refuses, and will take the
 * default. */
static void set_existing(ssize_t decay_ms)
{
    unsigned count = 0;
    size_t size = sizeof count;
    mallctl("arenas.narenas", &count, &size, NULL, 0);
    for (unsigned i = 0; i < count; i++) {
        char name[48];
        snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", i);
        mallctl(name, NULL, NULL, &decay_ms, sizeof decay_ms);
    }
}

int memory_configure(const struct config_memory *config, struct problem *problem)
{
    if (!mallctl)
        return problem_set(problem, -EOPNOTSUPP,
                           "not linked with jemalloc: [memory] has no effect");
    bool background = true;
    ssize_t decay_ms = (ssize_t)(config->decay / 1000000);
    int err = set("arenas.dirty_decay_ms", &decay_ms, sizeof decay_ms, problem);
    set_existing(decay_ms);
    if (!err)
        err = set("background_thread", &background, sizeof background, problem);
    return err;
}

void memory_restart_if_needed(const struct config_memory *config, char **argv)
{
    unsigned arenas = 0;
    size_t size = sizeof arenas;
    if (!config->arenas || !mallctl || mallctl("opt.narenas", &arenas, &size, NULL, 0) ||
        arenas == config->arenas || getenv("WEFTD_RESTARTED"))
        return;
    const char *before = getenv("MALLOC_CONF");
    char value[512];
    snprintf(value, sizeof value, "%s%snarenas:%" PRIu32, before ? before : "", before ? "," : "",
             config->arenas);
    setenv("MALLOC_CONF", value, 1);
    setenv("WEFTD_RESTARTED", "1", 1);
    execv("/proc/self/exe", argv);
}

/* From /proc/self/statm: "TOTAL RESIDENT …", in pages.  0 if that cannot be read. */
static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    char line[128];
    const char *read = fgets(line, sizeof line, file);
    fclose(file);
    const char *resident = read ? strchr(line, ' ') : NULL;
    return resident ? strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* mallctl's figures are of the last epoch: begin a new one. */
static void refresh(void)
{
    uint64_t epoch = 1;
    size_t size = sizeof epoch;
    mallctl("epoch", &epoch, &size, &epoch, size);
}

/* Takes json over.  4096 stands for all arenas (MALLCTL_ARENAS_ALL). */
static json_t *with_figures(json_t *json)
{
    static const struct {
        const char *name, *path;
    } figures[] = {
        {"allocated", "stats.allocated"}, {"cached", "stats.arenas.4096.tcache_bytes"},
        {"active", "stats.active"},       {"metadata", "stats.metadata"},
        {"resident", "stats.resident"},   {"mapped", "stats.mapped"},
        {"retained", "stats.retained"},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        size_t value = 0, size = sizeof value;
        if (mallctl(figures[i].path, &value, &size, NULL, 0) == 0)
            json = json_memory_set(json, figures[i].name, json_integer((json_int_t)value));
    }
    unsigned arenas = 0;
    size_t size = sizeof arenas;
    if (mallctl("arenas.narenas", &arenas, &size, NULL, 0) == 0)
        json = json_memory_set(json, "arenas", json_integer((json_int_t)arenas));
    return json;
}

json_t *memory_json(void)
{
    const char *version = NULL;
    size_t size = sizeof version;
    bool is_jemalloc = mallctl && mallctl("version", &version, &size, NULL, 0) == 0;
    json_t *json =
        json_pack("{s:s, s:s?, s:I}", "allocator", is_jemalloc ? "jemalloc" : "libc", "version",
                  is_jemalloc ? version : NULL, "rss", (json_int_t)resident_bytes());
    if (!is_jemalloc)
        return json;
    refresh();
    return with_figures(json);
}
