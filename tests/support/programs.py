# SPDX-License-Identifier: MIT
"""The programs of examples/, run as a user would: what they print, how they end.

  run()      one that ends by itself
  Server     one that serves until it is told to stop: its first line tells the port

Nothing here sleeps for a guess; the deadlines are only reached by a failure.
"""

import os
import re
import signal
import socket
import subprocess
import sys

SOURCE = os.environ.get('WEFT_SOURCE') or os.path.realpath(
    os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.environ.get('WEFT_BUILD') or os.path.join(SOURCE, 'build', 'release')
DEADLINE = 120
REPORT = re.compile(r'ERROR: \w*Sanitizer|runtime error:|WARNING: ThreadSanitizer|CHECK failed')


def program(name):
    return os.path.join(BUILD, 'examples', name)


def run(name, *arguments, stdin='', cwd=None, env=None):
    """Returns (status, stdout, stderr) of an example; -N: signal N ended it."""
    done = subprocess.run([program(name), *arguments], input=stdin, capture_output=True, text=True,
                          timeout=DEADLINE, cwd=cwd, env={**os.environ, **(env or {})}, check=False)
    assert not REPORT.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr


class Server:
    """A server example on a free port of the loopback.  Use it in a with statement."""

    def __init__(self, name, *arguments):
        self.process = subprocess.Popen([program(name), '0', *arguments], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r':(\d+)', line)
        if not found:
            self.process.kill()
            raise AssertionError(f'{name} says {line!r}: {self.process.communicate()}')
        self.port = int(found.group(1))

    def connect(self):
        return socket.create_connection(('127.0.0.1', self.port), timeout=DEADLINE)

    def stop(self, number=signal.SIGINT):
        """Returns its status; it has told of no error."""
        self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=DEADLINE)
        assert not REPORT.search(stderr), stderr
        assert stderr == '', stderr
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            if kind:
                self.process.kill()
                sys.stderr.write(self.process.communicate()[1])
            else:
                assert self.stop() == 0
