#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""job.output: a job's output by descriptor, from its first byte to its end, and where none is passed;
and `weft logs` and `weft run`, which read so, also through a relay that passes no descriptors."""

import json
import os
import re
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

INVALID_REQUEST = -32600
CAP = 64 << 10
WHOLE = ''.join(f'{n}\n' for n in range(1, 100001))


def is_complete(fd):
    return not os.fstat(fd).st_mode & 0o200


class Relay:
    """Hands on the bytes between one client after the other and weftd, as `ssh -L` does: bytes alone."""

    def __init__(self, path, target):
        self.path, self.target = path, target
        self.requests = b''
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def hand_on(self, source, target, keep):
        while data := source.recv(1 << 16):
            if keep:
                self.requests += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            with near, socket.socket(socket.AF_UNIX) as far:
                far.connect(self.target)
                back = threading.Thread(target=self.hand_on, args=(far, near, False))
                back.start()
                self.hand_on(near, far, True)
                back.join()


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

    # To write as well: who only reads sees the end once the one who wrote a line closes it.
    OPEN = 'exec 3<>"$0"; '

    def fifo(self):
        path = self.weftd.path('go')
        os.mkfifo(path)
        return path

    def go_on(self, path):
        with open(path, 'w', encoding='utf-8') as fifo:
            fifo.write('\n')

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.weftd.pid}/fd'))

    def test_from_before_the_first_byte_to_the_end(self):
        go = self.fifo()
        number = self.weftd.shell(self.OPEN + 'read x <&3; echo one; read x <&3; '
                                  'head -c 70000 /dev/zero', go)
        self.weftd.await_state(number, 'running')
        self.assertEqual(self.ask(number), ({'attempt': 1, 'descriptor': False, 'eof': False}, None))
        self.go_on(go)
        result, fd = support.wait_until(
            lambda: (lambda answer: answer if answer[1] else None)(self.ask(number)), 'a file')
        self.assertEqual(result, {'attempt': 1, 'descriptor': True, 'begin': 0, 'eof': False})
        support.wait_until(lambda: os.pread(fd, 100, 0) == b'one\n', 'the first line')
        self.assertFalse(is_complete(fd))
        with self.assertRaises(OSError):
            os.write(fd, b'x')
        self.go_on(go)
        self.weftd.wait(number)
        self.assertTrue(is_complete(fd))
        self.assertEqual(os.fstat(fd).st_size, CAP)
        result, fd = self.ask(number, offset=CAP)
        self.assertEqual(result, {'attempt': 1, 'descriptor': False, 'eof': True,
                                  'dropped': 70004 - CAP})
        self.assertEqual(self.ask(number, stream='stderr')[0]['eof'], True)

    def test_the_tail_is_a_row_of_files(self):
        whole = WHOLE.encode()
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
        support.wait_until(lambda: self.descriptors() <= before, 'that connection is closed')
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

    def follow(self, number, socket_path=None):
        """What `weft logs -f` prints, begun before the job writes and ended with it."""
        env = {**self.weftd.env, 'WEFT_SOCKET': socket_path or self.weftd.socket}
        program = subprocess.Popen([support.WEFT, 'logs', '-f', str(number)], env=env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(program.kill)
        return program

    WRITER = (OPEN + 'head -c 40000 /dev/zero; printf "%s" "attempt $WEFT_ATTEMPT"; read x <&3; '
              'head -c 20000 /dev/zero; exit 3')

    def written(self, attempt):
        return bytes(40000) + b'attempt %d' % attempt + bytes(20000)

    def test_logs_follows_attempt_after_attempt(self):
        go = self.fifo()
        number = self.weftd.shell(self.WRITER, go, retries=1)
        whole = self.written(1) + self.written(2)
        with self.follow(number) as program:
            for size in (40009, 20000 + 40009):
                self.assertEqual(program.stdout.read(size), whole[:size])
                whole = whole[size:]
                self.go_on(go)
            out, err = program.communicate(timeout=support.DEADLINE)
        self.assertEqual(out, whole)
        self.assertEqual(err.decode(), f'weft: job {number}: attempt 2\n')
        self.assertEqual(program.returncode, 0)

    def test_where_no_descriptor_comes_through_logs_reads_pieces(self):
        go = self.fifo()
        relay = Relay(self.weftd.path('relay'), self.weftd.socket)
        self.addCleanup(relay.close)
        number = self.weftd.shell(self.WRITER, go)
        with self.follow(number, relay.path) as program:
            self.assertEqual(program.stdout.read(40009), self.written(1)[:40009])
            self.go_on(go)
            out, err = program.communicate(timeout=support.DEADLINE)
        self.assertEqual((out, err, program.returncode), (self.written(1)[40009:], b'', 0))
        methods = [json.loads(line)['method'] for line in relay.requests.splitlines()]
        self.assertNotIn('job.output', methods[methods.index('job.logs'):])

    def test_run_prints_both_streams_of_a_tail(self):
        done = self.weftd.weft('run', '--output-keep', 'tail', '--', 'sh', '-c',
                               'echo err >&2; seq 100000; exit 4')
        self.assertEqual(done.returncode, 4)
        expected, at = '', 0
        for size, offset in re.findall(r'(\d+) bytes of stdout from offset (\d+) on were not kept',
                                       done.stderr):
            expected += WHOLE[at:int(offset)]
            at = int(offset) + int(size)
        self.assertEqual(done.stdout, expected + WHOLE[at:])
        self.assertIn('err\n', done.stderr.splitlines(keepends=True))

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
