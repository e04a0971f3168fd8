/* SPDX-License-Identifier: MIT */
/*
 * Standard input, output and error as streams, whatever they are: terminal, pipe, socket, file.
 *
 * The shell that started the program shares their open files with it, and with them O_NONBLOCK.
 * So these streams leave that flag alone: a terminal or pipe is opened anew, a socket is asked
 * call by call not to wait, and what can be neither is read and written off the worker.  The
 * stream has a descriptor of its own; 0, 1 and 2 stay open, and blocking, for everybody else.
 *
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_TERMINAL_H
#define WEFT_TERMINAL_H

#include "weft/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A stream of fd 0, to read.  Its end of file may pass, at a terminal (Ctrl-D): read again.
 * Besides weft_read's, its errors are -EIO: the program is in the background of its terminal, which
 * never stops it, or the terminal is gone.  Never suspends.
 * Ownership: the caller's, to be freed.  Each call makes another one.
 * Errors: -EBADF it is closed, -EMFILE, -ENOMEM.
 */
int weft_terminal_stdin(struct weft_stream **ret_stream);

/** A stream of fd 1, or 2, to write.  Never suspends.  Errors: as weft_terminal_stdin. */
int weft_terminal_stdout(struct weft_stream **ret_stream);
int weft_terminal_stderr(struct weft_stream **ret_stream);

/** As these, of any descriptor whose open file somebody shares.  fd stays the caller's. */
int weft_terminal_stream(int fd, struct weft_stream **ret_stream);

#ifdef __cplusplus
}
#endif
#endif
