#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A restart under a socket that the service manager holds: whoever connects meanwhile waits, and no
request that was sent is without an answer."""

import os
import signal
import socket
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

SHUTTING_DOWN = -32007
PASS_IT = 'exec 3<&"$1"; shift; LISTEN_PID=$$; LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec "$@"'


class Held(support.Weftd):
    """Its socket is ours, as it is a socket unit's."""

    def __init__(self, config=''):
        super().__init__(config)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(1024)
        self.pass_fds = (self.listener.fileno(),)

    def argv(self, *more):
        return ['bash', '-c', PASS_IT, 'bash', str(self.listener.fileno()), *super().argv(*more)]

    def destroy(self):
        self.listener.close()
        super().destroy()


class Restart(support.WeftdTest):
    CLIENTS = support.scaled(40, 10)
    daemon = Held
    starts = False

    def ask_all(self):
        """Connections, each with a request that is sent: one for a job of its key, or over HTTP."""
        asked = []
        for number in range(self.CLIENTS):
            connection = self.weftd.connect()
            self.addCleanup(connection.close)
            if number % 4 == 3:
                connection.write(b'GET /v1/jobs HTTP/1.1\r\nHost: weft\r\n\r\n')
            else:
                connection.send('job.submit', call='echo', args={'n': number}, key=str(number))
            asked.append((number, connection))
        return asked

    def check_answers(self, asked, may_refuse):
        """Returns the jobs that were taken."""
        taken = {}
        for number, connection in asked:
            if number % 4 == 3:
                self.assertIn(b' 200 ', connection.read_line(), f'request {number}')
                continue
            message = connection.read_message()
            if may_refuse and 'error' in message:
                self.assert_error(message, SHUTTING_DOWN)
            else:
                taken[number] = support.result_of(message)['id']
        return taken

    def check_jobs(self, taken):
        for number, job in taken.items():
            self.assertEqual(self.weftd.wait(job)['result'], {'n': number})

    def test_who_connects_while_it_is_down(self):
        self.weftd.start()
        self.weftd.stop()
        asked = self.ask_all()
        self.weftd.start()
        taken = self.check_answers(asked, may_refuse=False)
        self.assertEqual(len(taken), len([number for number, _ in asked if number % 4 != 3]))
        self.check_jobs(taken)

    def test_who_is_about_to_be_accepted_when_it_stops(self):
        """They wait in the socket while weftd, which stands still, is told to stop."""
        for _ in range(support.scaled(3, 2)):
            self.weftd.start()
            self.weftd.send_signal(signal.SIGSTOP)
            asked = self.ask_all()
            self.weftd.send_signal()
            self.weftd.send_signal(signal.SIGCONT)
            self.weftd.check_ended()
            self.weftd.start()
            self.check_jobs(self.check_answers(asked, may_refuse=True))
            self.weftd.stop()

    def submit_until(self, over, taken):
        """A connection for each request: as long as it can be sent, there is an answer to it."""
        number = 0
        while not over.is_set():
            number += 1
            key = f'{threading.get_ident()} {number}'
            with self.weftd.connect() as connection:
                try:
                    connection.send('job.submit', call='echo', args={'n': key}, key=key)
                except support.Disconnected:
                    continue  # weftd was about to stop, and says so before anything is sent
                message = connection.read_message()
            if 'error' in message:
                self.assert_error(message, SHUTTING_DOWN)
            else:
                taken[key] = support.result_of(message)['id']

    def test_under_those_who_submit(self):
        over, taken = threading.Event(), {}

        def restart():
            try:
                for _ in range(support.scaled(3, 2)):
                    done = len(taken)
                    support.wait_until(lambda done=done: len(taken) > done + 20, 'some are taken')
                    self.weftd.stop()
                    self.weftd.start()
            finally:
                over.set()

        self.weftd.start()
        self.in_threads([restart] + [lambda: self.submit_until(over, taken)] * 4)
        self.check_jobs(taken)
        self.assertEqual(len(self.weftd.list()), len(taken), 'what was not taken is not there')


if __name__ == '__main__':
    support.main()
