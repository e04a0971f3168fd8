/* SPDX-License-Identifier: MIT */
/* help: see help.h.  Every line comes from a table, so a verb without its help cannot be. */
#include "client/help.h"

#include "protocol/nearest.h"

#include <string.h>

const struct option_spec common_options[] = {
    {"json", 0, NULL, "print what weftd answered, one JSON value a line"},
    {"socket", 0, "PATH",
     "weftd's socket (default: $WEFT_SOCKET, else the user's, else the system's)"},
    {"help", 'h', NULL, "this help"},
    {0},
};

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < verbs_count; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

const char *verb_nearest(const char *name)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < verbs_count; i++)
        nearest_offer(&nearest, verbs[i].name);
    return nearest.best;
}

static void help_options(FILE *to, const struct option_spec *options)
{
    for (const struct option_spec *at = options; at && at->name; at++) {
        char left[64];
        snprintf(left, sizeof left, "%c%c%c --%s%s%s", at->letter ? '-' : ' ',
                 at->letter ? at->letter : ' ', at->letter ? ',' : ' ', at->name,
                 at->value ? " " : "", at->value ? at->value : "");
        fprintf(to, "  %-24s %s\n", left, at->help);
    }
}

void help_all(FILE *to)
{
    fputs("usage: weft VERB [options] ...\n\n"
          "Talk to weftd, the job daemon.\n\n",
          to);
    for (size_t i = 0; i < verbs_count; i++)
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\nOptions of every verb:\n", to);
    help_options(to, common_options);
    fputs("\nweft VERB --help says more.  weft --version says which version this is.\n"
          "Exit status: 0 done, 1 a job failed or weftd refused, 2 wrong usage, 3 no weftd.\n"
          "\nexample:\n  weft wait $(weft submit -- gzip -k notes.txt) && ls notes.txt.gz\n",
          to);
}

void help_verb(FILE *to, const struct verb *verb)
{
    fprintf(to, "usage: weft %s%s%s\n\n%s.\n", verb->name, *verb->usage ? " " : "", verb->usage,
            verb->summary);
    if (verb->details)
        fprintf(to, "%s", verb->details);
    fputs("\nOptions:\n", to);
    for (size_t i = 0; verb->options[i]; i++)
        help_options(to, verb->options[i]);
    fprintf(to, "\nexample:\n  %s\n", verb->example);
}
