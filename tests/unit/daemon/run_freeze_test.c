/* SPDX-License-Identifier: MIT */
/* When a program is frozen and thawed, in a control group of this test's own. */
#include "run_support.h"

#include <fcntl.h>

static char base[256];

static bool make_base(void)
{
    static const char *const mounts[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0] && !base[0]; i++) {
        snprintf(base, sizeof base, "%s/cgroup.procs", mounts[i]);
        bool writable = access(base, W_OK) == 0;
        snprintf(base, sizeof base, "%s/weft-freeze-%d", mounts[i], (int)getpid());
        if (!writable || mkdir(base, 0755) < 0)
            base[0] = '\0';
    }
    if (!base[0])
        fputs("no group of version 2 may be made here: not tested\n", stderr);
    return base[0] != '\0';
}

struct frost {
    struct world *world;
    struct weft_scope scope;
    struct weft_event begun;
    struct run_freeze freeze;
    struct run_outcome outcome;
    const char *script;
    int rc;
};

static int frost_main(void *arg)
{
    struct frost *frost = arg;
    char folder[80];
    snprintf(folder, sizeof(folder), "DIR=%s", frost->world->folder);
    char *env[] = {folder, NULL}, *argv[] = {"/bin/sh", "-c", (char *)frost->script, NULL};
    struct job_spec spec = {.argv = argv, .env = env};
    struct run_request request = {.spec = &spec, .id = 3, .attempt = 1, .freeze = &frost->freeze};
    run_outcome_init(&frost->outcome);
    weft_scope_enter(&frost->scope, WEFT_NO_DEADLINE);
    weft_event_set(&frost->begun);
    frost->rc = run_exec(frost->world->runner, &request, &frost->outcome);
    weft_scope_leave(&frost->scope);
    run_outcome_destroy(&frost->outcome);
    return 0;
}

static bool stands_still(void)
{
    char path[320], text[128] = "";
    snprintf(path, sizeof path, "%s/job-3-1/cgroup.events", base);
    FILE *file = fopen(path, "re");
    if (file)
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
    if (file)
        fclose(file);
    return strstr(text, "frozen 1") != NULL;
}

static void await_stillness(const struct frost *frost)
{
    uint64_t deadline_ns = soon();
    while (!stands_still() || !atomic_load(&frost->freeze.done)) {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
}

static void begin(struct world *world, struct frost *frost, struct weft_group *group)
{
    cgroups_open_fd(open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &world->runner->cgroups);
    frost->world = world;
    weft_event_init(&frost->begun);
    weft_group_init(group);
    EXPECT_EQ(weft_group_spawn(group, "frost", frost_main, frost), 0);
    EXPECT_EQ(weft_event_wait(&frost->begun, soon()), 0);
}

/* It was wished before the program was there: nobody but its own start can see to it. */
static int start_frozen(struct world *world)
{
    struct weft_group group;
    struct frost frost = {.script = "until [ -e $DIR/go ]; do sleep 0.01; done"};
    atomic_store(&frost.freeze.wanted, true);
    begin(world, &frost, &group);
    await_stillness(&frost);
    FILE *go = fopen(in_folder(world, "go"), "we");
    EXPECT(go != NULL && fclose(go) == 0);
    atomic_store(&frost.freeze.wanted, false);
    runner_freeze(world->runner);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(frost.rc, 0);
    EXPECT(!atomic_load(&frost.freeze.done));
    EXPECT_EQ(rmdir(base), 0);
    return 0;
}

Test(run_freeze, who_starts_meanwhile_is_frozen_once_it_has)
{
    if (make_base())
        in_world(2, "", start_frozen);
}

/* Its grace is long: that it ends at all proves that it was thawed. */
static int cancel_frozen(struct world *world)
{
    struct weft_group group;
    struct frost frost = {.script = "trap 'echo 1 > $DIR/bye; exit' TERM; echo 1 > $DIR/ready\n"
                                    "while :; do sleep 0.01; done"};
    begin(world, &frost, &group);
    (void)await_number(world, "ready");
    atomic_store(&frost.freeze.wanted, true);
    runner_freeze(world->runner);
    await_stillness(&frost);
    weft_scope_cancel(&frost.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(frost.rc, -ECANCELED);
    EXPECT_EQ(number_in(world, "bye"), 1);
    EXPECT(!atomic_load(&frost.freeze.done));
    EXPECT_EQ(rmdir(base), 0);
    return 0;
}

Test(run_freeze, who_is_ended_is_thawed_for_its_grace)
{
    if (make_base())
        in_world(2, "[exec]\nkill_grace = 10m\n[daemon]\ngrace = 11m\n", cancel_frozen);
}
