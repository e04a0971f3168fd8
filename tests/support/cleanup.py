# SPDX-License-Identifier: MIT
"""A test that a signal ends leaves nothing behind: no process, no folder.

  on_signals()  from here on SIGINT, SIGTERM and SIGHUP end it so, with a line that says it, and with
                128 + the signal
  folder()      a temporary folder that is removed then

I1  Whatever its threads are doing, its end is bounded by DEADLINE: nothing waits for them, and no
    exception passes through them.
I2  Who left its parent or its session is ended as well: this process becomes a subreaper.
I3  A child that only forked inherits the handler, not the duty: it ends as if there were none.
"""

import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time

DEADLINE = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_CHILD_SUBREAPER = 36

_folders = []
_owner = None  # pid


def folder(prefix, parent=None):
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    _folders.append(path)
    return path


def processes():
    """Yields (pid, state, parent) of every process."""
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open(f'/proc/{name}/stat', 'rb') as file:
                fields = file.read().rpartition(b')')[2].split()
        except OSError:
            continue
        yield int(name), fields[0].decode(), int(fields[1])


def become_subreaper():
    """False: refused."""
    return ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def end_children():
    """Kills and reaps until there are none, as each leaves us its own."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        children = [pid for pid, _, parent in processes() if parent == os.getpid()]
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except OSError:  # reaped by somebody else
                pass
        time.sleep(0.005)


def remove_folders():
    """Again and again, as other threads may write there."""
    end = time.monotonic() + DEADLINE
    for path in _folders:
        while os.path.exists(path) and time.monotonic() < end:
            shutil.rmtree(path, ignore_errors=True)


def _end(number, _frame):
    if os.getpid() != _owner:  # I3
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    become_subreaper()
    end_children()
    remove_folders()
    end_children()  # those of threads that went on
    # Not print(): the signal may have come in the midst of one.
    os.write(2, f'\n{os.path.basename(sys.argv[0])}: interrupted by {signal.Signals(number).name}; '
                'what it had started is ended\n'.encode())
    os._exit(128 + number)  # I1


def on_signals():
    global _owner
    _owner = os.getpid()
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, _end)
