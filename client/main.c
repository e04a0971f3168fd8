/* SPDX-License-Identifier: MIT */
/* weft: the command.  Everything is in command.c and the verbs; see weft --help. */
#include "client/command.h"

#include "protocol/json_memory.h"

#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed output is seen by command.c, which ends quietly */
    json_memory_watch(malloc);
    return command_main(argc, argv, stdin, stdout, stderr);
}
