#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libweftclient with a real weftd, by examples/submit_jobs: it outlives weftd's death and restart, and
nothing that it submitted is there twice."""

import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

PROGRAM = os.path.join(support.BUILD, 'examples', 'submit_jobs')
JOBS = 400


class Library(support.WeftdTest):
    def start(self):
        program = subprocess.Popen(
            [PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=dict(os.environ, WEFT_SOCKET=self.weftd.socket))
        self.addCleanup(program.kill)
        return program

    def stop_weftd(self):
        """Not stop(), which takes our program for one that weftd has left."""
        self.weftd.send_signal()
        self.weftd.drop_connection()
        self.assertEqual(self.weftd.await_exit(), 0)

    def test_submits_go_on_over_kills_and_restarts(self):
        program = self.start()
        numbers = []

        def submit(count):
            """A few at a time, so that one is on its way whenever weftd dies."""
            for _ in range(count):
                program.stdin.write(json.dumps({'call': 'echo'}) + '\n')
            program.stdin.flush()

        for end in (self.weftd.kill, self.stop_weftd, self.weftd.kill, None):
            submit(JOBS // 4)
            numbers.append(int(program.stdout.readline()))
            if end:
                end()
                self.weftd.start()
        program.stdin.close()
        numbers += [int(line) for line in program.stdout]
        self.assertEqual(program.wait(support.DEADLINE), 0, program.stderr.read())
        self.assertEqual(len(set(numbers)), JOBS)
        self.weftd.wait_all(numbers)
        self.assertEqual(len(self.weftd.list()), JOBS)  # none twice, though they end at once

    def test_what_is_refused_is_said_and_the_rest_goes_on(self):
        program = self.start()
        out, err = program.communicate('{"argv": ["true"], "queue": "nowhere"}\n{"argv": 7\n'
                                       '{"argv": ["true"]}\n', timeout=support.DEADLINE)
        self.assertEqual(program.returncode, 1)
        self.assertIn('no_such_queue: there is no queue "nowhere"', err)
        self.assertEqual(self.weftd.wait(int(out))['state'], 'succeeded')


if __name__ == '__main__':
    support.main()
