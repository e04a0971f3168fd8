#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""job.output: a job's output by descriptor, from its first byte to its end, and where none is passed."""

import json
import os
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

INVALID_REQUEST = -32600
CAP = 64 << 10


def is_complete(fd):
    return not os.fstat(fd).st_mode & 0o200


class OutputDescriptor(support.WeftdTest):
    config = f'[exec]\noutput_max = {CAP}\n'

    def ask(self, number, offset=0, stream='stdout'):
        """The result of job.output, and the descriptor that came with it or None."""
        with self.weftd.connect() as connection:
            connection.send('job.output', id=number, offset=offset, stream=stream)
            line, fds, flags, _ = socket.recv_fds(connection.socket, 1 << 16, 4)
        self.assertFalse(flags & socket.MSG_CTRUNC)
        self.assertTrue(line.endswith(b'\n'), line)
        result = json.loads(line)['result']
        self.assertEqual(len(fds), int(result['descriptor']), result)
        for fd in fds:
            self.addCleanup(os.close, fd)
        return result, fds[0] if fds else None

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.weftd.pid}/fd'))

    def test_from_before_the_first_byte_to_the_end(self):
        go = self.weftd.path('go')
        os.mkfifo(go)
        number = self.weftd.shell('read x <"$0"; echo one; read x <"$0"; head -c 70000 /dev/zero',
                                  go)
        self.weftd.await_state(number, 'running')
        self.assertEqual(self.ask(number), ({'attempt': 1, 'descriptor': False, 'eof': False}, None))
        with open(go, 'w', encoding='utf-8') as fifo:
            fifo.write('\n')
        result, fd = support.wait_until(
            lambda: (lambda answer: answer if answer[1] else None)(self.ask(number)), 'a file')
        self.assertEqual(result, {'attempt': 1, 'descriptor': True, 'begin': 0, 'eof': False})
        support.wait_until(lambda: os.pread(fd, 100, 0) == b'one\n', 'the first line')
        self.assertFalse(is_complete(fd))
        with self.assertRaises(OSError):
            os.write(fd, b'x')
        with open(go, 'w', encoding='utf-8') as fifo:
            fifo.write('\n')
        self.weftd.wait(number)
        self.assertTrue(is_complete(fd))
        self.assertEqual(os.fstat(fd).st_size, CAP)
        result, fd = self.ask(number, offset=CAP)
        self.assertEqual(result, {'attempt': 1, 'descriptor': False, 'eof': True,
                                  'dropped': 70004 - CAP})
        self.assertEqual(self.ask(number, stream='stderr')[0]['eof'], True)

    def test_the_tail_is_a_row_of_files(self):
        whole = ''.join(f'{n}\n' for n in range(1, 100001)).encode()
        number = self.weftd.submit('seq', '100000', output_keep='tail')
        self.weftd.wait(number)
        result, fd = self.ask(number)
        offset = result['gap']
        self.assertEqual(offset, result['begin'])
        self.assertLessEqual(len(whole) - offset, CAP)
        while fd is not None:
            self.assertTrue(is_complete(fd))
            data = os.pread(fd, CAP, offset - result['begin'])
            self.assertEqual(data, whole[offset:offset + len(data)])
            offset += len(data)
            result, fd = self.ask(number, offset)
            self.assertNotIn('gap', result)
        self.assertEqual((offset, result['eof']), (len(whole), True))

    def test_pipelined_replies_have_their_own_and_who_does_not_read_costs_one(self):
        numbers = [self.weftd.shell(f'echo {n}') for n in range(8)]
        self.weftd.wait_all(numbers)
        before = self.descriptors()
        with self.weftd.connect() as connection:
            ids = {connection.send('job.output', id=number): n
                   for n, number in enumerate(numbers)}
            while ids:
                data, fds, _, _ = socket.recv_fds(connection.socket, 1 << 16, 4)
                self.assertEqual(len(fds), 1)
                last = json.loads(data.splitlines()[-1])
                with os.fdopen(fds[0], 'rb') as file:
                    self.assertEqual(file.read(), f'{ids.pop(last["id"])}\n'.encode())
        with self.weftd.connect() as connection:
            connection.socket.setblocking(False)
            for _ in range(10000):
                try:
                    connection.socket.send(
                        connection.request('job.output', {'id': numbers[0]}).encode())
                except BlockingIOError:
                    break
            self.assertLessEqual(self.descriptors(), before + 4)  # the socket, one on its way
        support.wait_until(lambda: self.descriptors() <= before, 'all are closed')

    def test_a_batch_and_http_are_refused(self):
        number = self.weftd.shell('echo x')
        self.weftd.wait(number)
        request = {'jsonrpc': '2.0', 'id': 1, 'method': 'job.output', 'params': {'id': number}}
        with self.weftd.connect() as connection:
            reply = connection.exchange(json.dumps([request]))
            self.assert_error(reply[0], INVALID_REQUEST, 'batch')
        with HttpConnection(self.weftd.socket, support.DEADLINE) as http:
            self.assert_error(http.call('POST', '/v1/rpc', request).json, INVALID_REQUEST, 'HTTP')


if __name__ == '__main__':
    support.main()
