/* SPDX-License-Identifier: MIT */
/* verbs: the table of what weft can do.  Help, parsing and dispatch all read it. */
#include "client/verbs.h"

#include "client/help.h"
#include "client/job_request.h"

#include <stdint.h>

#define ANY SIZE_MAX

const struct verb verbs[] = {
    {
        .name = "submit",
        .usage = "[options] -- PROGRAM ARG... | [options] --from FILE",
        .summary = "Run a program as a job; prints its id",
        .details = "The id is printed once the job is in the store: it is not lost any more.\n"
                   "With --from, each line of FILE is a job as job.submit takes it:\n"
                   "{\"argv\": [\"date\"]} or {\"call\": \"echo\", \"args\": {}}; ids are printed\n"
                   "in the order of the lines.\n",
        .example = "weft submit --name thumbs --retries 3 -- convert in.png -resize 128 out.png",
        .options = {job_options, program_options, from_options, common_options},
        .stops_at_word = true,
        .words_max = ANY,
        .run = verb_submit,
    },
    {
        .name = "call",
        .usage = "[options] HANDLER [JSON] | [options] --from FILE [HANDLER]",
        .summary = "Call a handler inside weftd as a job; prints its id",
        .details = "With --from, each line of FILE is the arguments of a call of HANDLER, or a\n"
                   "whole job if no HANDLER is given; ids are printed in the order of the lines.\n"
                   "With --wait the result is printed as JSON; on a terminal a bar shows how far\n"
                   "the call is, if it says so.\n",
        .example = "weft call file.hash '{\"path\": \"/etc/hostname\"}'",
        .options = {call_options, job_options, from_options, common_options},
        .words_max = 2,
        .run = verb_call,
    },
    {
        .name = "run",
        .usage = "[options] -- PROGRAM ARG...",
        .summary = "Run a program as a job, show its output, end with its status",
        .details =
            "Ctrl-C cancels the job; a second one stops waiting for it.  A signal that\n"
            "ended the program counts as 128 + its number, a timeout as 124.  With --key of a job\n"
            "that is there already nothing is run: output and status are that job's.\n",
        .example = "weft run --timeout 10m -- make -j4",
        .options = {job_options, program_options, common_options},
        .stops_at_word = true,
        .words_min = 1,
        .words_max = ANY,
        .run = verb_run,
    },
    {
        .name = "list",
        .usage = "[options]",
        .summary = "List jobs, newest first",
        .example = "weft list --state failed,dead --limit 20",
        .options = {list_options, common_options},
        .run = verb_list,
    },
    {
        .name = "show",
        .usage = "[options] ID...",
        .summary = "Show all there is to know about jobs",
        .example = "weft show 17",
        .options = {common_options},
        .words_min = 1,
        .words_max = ANY,
        .run = verb_show,
    },
    {
        .name = "explain",
        .usage = "[options] ID",
        .summary = "Say why a job is not running",
        .example = "weft explain 17",
        .options = {common_options},
        .words_min = 1,
        .words_max = 1,
        .run = verb_explain,
    },
    {
        .name = "logs",
        .usage = "[options] ID",
        .summary = "Print what a program wrote",
        .example = "weft logs --follow 17",
        .options = {logs_options, common_options},
        .words_min = 1,
        .words_max = 1,
        .run = verb_logs,
    },
    {
        .name = "wait",
        .usage = "[options] ID... | -",
        .summary = "Wait until jobs have ended; fails if one did not succeed",
        .details = "\"-\" reads the ids from standard input.  On a terminal a bar shows how far a\n"
                   "single job is, if it says so.\n",
        .example = "weft submit --from jobs.txt | weft wait --timeout 1h -",
        .options = {wait_options, common_options},
        .words_min = 1,
        .words_max = ANY,
        .run = verb_wait,
    },
    {
        .name = "cancel",
        .usage = "[options] ID... | -",
        .summary = "Cancel jobs, queued or running, and wait until they are gone",
        .details = "A job that had ended already stays as it is.  \"-\" reads the ids from\n"
                   "standard input.\n",
        .example = "weft cancel 17 18",
        .options = {common_options},
        .words_min = 1,
        .words_max = ANY,
        .run = verb_cancel,
    },
    {
        .name = "retry",
        .usage = "[options] ID... | -",
        .summary = "Queue jobs again that failed, timed out, died or were cancelled",
        .details =
            "The job keeps its id, and its retries are counted anew.  One that succeeded or\n"
            "has not ended is refused.  \"-\" reads the ids from standard input.\n",
        .example = "weft list --all --state failed,dead --json | jq .id | weft retry -",
        .options = {common_options},
        .words_min = 1,
        .words_max = ANY,
        .run = verb_retry,
    },
    {
        .name = "events",
        .usage = "[options] [ID...]",
        .summary = "Show what happens to jobs, as it happens",
        .details =
            "All jobs that you may see, or those named (\"-\" reads the ids from standard\n"
            "input), until it is interrupted or weftd stops.  With --json each line is an\n"
            "event, or a gap in place of events that are lost; the first line says the epoch.\n"
            "To go on later, give --since the seq of the last one, and --epoch.\n",
        .example = "weft events --json | jq 'select(.state == \"failed\").id'",
        .options = {events_options, common_options},
        .words_max = ANY,
        .run = verb_events,
    },
    {
        .name = "queue",
        .usage = "[list] | pause|drain|resume [NAME...|--all] | set NAME --OPTION... | purge NAME",
        .summary = "List, pause, drain, resume, set and purge queues",
        .details =
            "A paused queue starts nothing; what runs goes on.  A drained one takes no jobs, and\n"
            "runs those that it has.  Without a name it is the queue\n"
            "\"default\".  What is set here is kept over restarts and goes before the\n"
            "configuration until --reset; list marks it with *.  purge cancels the jobs that\n"
            "wait.  All but list are for admins.\n",
        .example = "weft queue set thumbs --concurrency 2 --rate 100/m",
        .options = {queue_options, common_options},
        .words_max = ANY,
        .run = verb_queue,
    },
    {
        .name = "stats",
        .usage = "[options]",
        .summary = "Show weftd's counters: workers, jobs, store, memory",
        .example = "weft stats --json | jq .store.commits",
        .options = {common_options},
        .run = verb_stats,
    },
    {
        .name = "backup",
        .usage = "[options] [NAME]",
        .summary = "Copy weftd's store while it is used; prints the path",
        .details = "The copy is made in the folder `backup` of weftd's state folder; without NAME\n"
                   "it is called by the time.  docs/operations.md says how it is restored.\n",
        .example = "weft backup before-upgrade.db",
        .options = {common_options},
        .words_max = 1,
        .run = verb_backup,
    },
    {
        .name = "drain",
        .usage = "[options]",
        .summary = "Start no more jobs, before weftd is stopped",
        .details =
            "Jobs are still accepted, and wait; those that run go on.  It holds until --undo,\n"
            "or until weftd is started anew.\n",
        .example = "weft drain --wait && systemctl restart weftd",
        .options = {drain_options, common_options},
        .run = verb_drain,
    },
    {
        .name = "reload",
        .usage = "[options]",
        .summary = "Make weftd read its configuration again",
        .details = "Says what changed and what needs a restart.  A bad file changes nothing.\n",
        .example = "weft reload --wait",
        .options = {reload_options, common_options},
        .run = verb_reload,
    },
    {
        .name = "ping",
        .usage = "[options]",
        .summary = "Ask whether weftd answers",
        .example = "weft ping && echo up",
        .options = {common_options},
        .run = verb_ping,
    },
};
const size_t verbs_count = sizeof verbs / sizeof verbs[0];
