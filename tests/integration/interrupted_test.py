#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A test that a signal ends takes its weftd, the jobs and its folder with it (support/cleanup.py),
as ./dev soak and ./dev oracle are ended by Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402


class Endless(support.WeftdTest):
    """What is interrupted: says what it has, and waits for a thread that does not end."""

    def test_it(self):
        file = self.weftd.path('pid')
        self.weftd.shell('setsid sleep 1000 & echo $! >"$0"; wait', file)
        pid = support.wait_until(lambda: support.read_lines(file), 'the job runs')[0]
        print('\nready', self.weftd.folder, self.weftd.pid, pid, flush=True)
        thread = threading.Thread(target=threading.Event().wait)
        thread.start()
        thread.join()


class Interrupted(unittest.TestCase):

    def check(self, number):
        process = support.popen([os.path.realpath(__file__), 'Endless'], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(process.kill)
        ready = next((line for line in process.stdout if line.startswith('ready')), None)
        self.assertIsNotNone(ready, 'it did not start')
        _, folder, *pids = ready.split()
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=support.DEADLINE)
        self.assertIn(f'interrupted by {number.name}', said)
        self.assertNotIn('Traceback', said)
        self.assertEqual(process.returncode, 128 + number)
        self.assertFalse(os.path.exists(folder))
        self.assertEqual([pid for pid in pids if support.is_alive(int(pid))], [])

    def test_by_ctrl_c(self):
        self.check(signal.SIGINT)

    def test_by_sigterm(self):
        self.check(signal.SIGTERM)


if __name__ == '__main__':
    if len(sys.argv) == 1:
        sys.argv.append('Interrupted')
    support.main()
