/* SPDX-License-Identifier: MIT */
/* shake: off unless it is asked for, and the same again for the same seed. */
#include "support/test.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/shake.h"

enum { ROLLS = 64 };

/* What a process rolls whose first look at the setting this is; a '1' for each that is due. */
static void rolls_with(const char *setting, char ret_rolls[ROLLS + 1])
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        char rolls[ROLLS];

        if (setting)
            setenv("WEFT_SHAKE", setting, 1);
        else
            unsetenv("WEFT_SHAKE");
        for (int i = 0; i < ROLLS; i++) {
            shake(); /* rolls too */
            rolls[i] = shake_due() ? '1' : '0';
        }
        _exit(write(ends[1], rolls, sizeof(rolls)) == sizeof(rolls) ? 0 : 1);
    }
    close(ends[1]);
    cr_assert_eq(read(ends[0], ret_rolls, ROLLS), ROLLS);
    ret_rolls[ROLLS] = '\0';
    close(ends[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

static bool has_any(const char rolls[ROLLS + 1])
{
    return strchr(rolls, '1') != NULL;
}

Test(shake, is_off_unless_asked_for)
{
    char rolls[ROLLS + 1];

    rolls_with(NULL, rolls);
    cr_assert(!has_any(rolls));
    rolls_with("0", rolls);
    cr_assert(!has_any(rolls));
    rolls_with("nonsense:1", rolls);
    cr_assert(!has_any(rolls));
}

Test(shake, the_same_seed_rolls_the_same)
{
    char first[ROLLS + 1], again[ROLLS + 1], other[ROLLS + 1];

    rolls_with("64:7", first);
    rolls_with("64:7", again);
    rolls_with("64:8", other);
    cr_assert_str_eq(first, again);
#ifdef WITH_SHAKER
    cr_assert(has_any(first) && has_any(other));
    cr_assert_str_neq(first, other);
#else
    cr_assert(!has_any(first), "no build but a sanitizer's shakes");
#endif
}

Test(shake, without_a_seed_each_run_has_its_own)
{
    char first[ROLLS + 1], other[ROLLS + 1];

    rolls_with("64", first);
    rolls_with("64", other);
#ifdef WITH_SHAKER
    cr_assert_str_neq(first, other);
#else
    cr_assert_str_eq(first, other);
#endif
}
