#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/weft_client.py does with a real weftd what it says."""

import fcntl
import os
import signal
import struct
import sys
import termios
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

sys.path.insert(0, os.path.join(support.SOURCE, 'examples'))
import weft_client  # noqa: E402
from weft_client import ConnectionLost, Weft, WeftError  # noqa: E402

CAP = 64 << 10


class CountingWeft(Weft):
    """Tells another thread how many replies it has read."""

    replies = 0

    def _read_replies(self, first, results):
        count = super()._read_replies(first, results)
        self.replies += count
        return count


class Client(support.WeftdTest):
    config = f'[exec]\noutput_max = {CAP}\n'

    def setUp(self):
        super().setUp()
        self.weft = CountingWeft(self.weftd.socket)
        self.addCleanup(self.weft.close)

    def background(self, call, /, *arguments, **options):
        """Starts a call on a thread; returns a function that joins it and gives what it ended with."""
        ended = []

        def body():
            try:
                ended.append(call(*arguments, **options))
            except Exception as error:  # what the test looks at
                ended.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()

        def join():
            thread.join(support.DEADLINE)
            self.assertTrue(ended, 'the call did not end')
            return ended[0]
        return join

    def freeze_weftd(self):
        """Returns when each of its threads stands still: kill() alone only asks for that."""
        def frozen():
            folder = f'/proc/{self.weftd.pid}/task'
            try:
                for thread in os.listdir(folder):
                    with open(f'{folder}/{thread}/stat', 'rb') as file:
                        if file.read().rpartition(b')')[2].split()[0] != b'T':
                            return False
            except OSError:  # that thread has just ended
                return False
            return True
        os.kill(self.weftd.pid, signal.SIGSTOP)
        support.wait_until(frozen, 'weftd stands still')

    def unread(self):
        """Bytes that weftd has not taken from the client's socket."""
        return struct.unpack('i', fcntl.ioctl(self.weft._socket, termios.TIOCOUTQ, bytes(4)))[0]

    def test_the_demo(self):
        env = {**self.weftd.env, 'WEFT_SOCKET': self.weftd.socket}
        result = support.run([sys.executable, weft_client.__file__], env=env)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertRegex(result.stdout,
                         r'^submitted \d+\nline 1\nline 2\nline 3\nended as succeeded\n'
                         r'sum of 1000 echoes: 499500\nno_such_handler: .*ecko.*\n$')

    def test_words_that_are_not_of_the_demo_submit_nothing(self):
        env = {**self.weftd.env, 'WEFT_SOCKET': self.weftd.socket}
        for word, status in (('--help', 0), ('-h', 0), ('--hlep', 2), ('demo', 2)):
            result = support.run([sys.executable, weft_client.__file__, word], env=env)
            self.assertEqual(result.returncode, status, word)
            self.assertIn('usage: weft_client.py', result.stderr if status else result.stdout)
        self.assertEqual(self.weftd.list(), [])

    def test_the_socket_is_found_as_weft_finds_it(self):
        saved = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(saved)))
        for name in ('WEFT_SOCKET', 'XDG_RUNTIME_DIR', 'XDG_STATE_HOME'):
            os.environ.pop(name, None)
        os.environ['HOME'] = '/home/a'
        self.assertEqual(weft_client.socket_paths(),
                         [f'/run/user/{os.geteuid()}/weft/weft.sock',
                          '/home/a/.local/state/weft/weft.sock', '/run/weft/weft.sock'])
        os.environ['XDG_RUNTIME_DIR'] = '/run/a'
        self.assertEqual(weft_client.socket_paths(),
                         ['/run/a/weft/weft.sock', '/run/weft/weft.sock'])
        os.environ['WEFT_SOCKET'] = self.weftd.socket
        with Weft() as weft:
            self.assertEqual(weft.call('ping'), 'pong')

    def test_submit_wait_get_list(self):
        ids = [self.weft.submit(call='echo', args={'n': n}, name=f'echo {n}') for n in range(7)]
        self.assertEqual([job['result']['n'] for job in self.weft.wait(*ids)], list(range(7)))
        self.assertEqual(self.weft.get(ids[3])['name'], 'echo 3')
        listed = [job['id'] for job in self.weft.list(state='succeeded', limit=2)]
        self.assertEqual(listed, ids[::-1])
        failed = self.weft.submit(argv=['sh', '-c', 'exit 3'])
        self.assertEqual(self.weft.wait(failed)[0]['exit_code'], 3)

    def test_output_is_a_file_and_what_is_not_kept_is_told(self):
        job = self.weft.submit(argv=['sh', '-c', 'echo line; head -c 70000 /dev/zero'])
        self.weft.wait(job)
        answers = self.weft.pipeline([('ping', {}), ('job.output', {'id': job}), ('ping', {}),
                                      ('job.output', {'id': job, 'stream': 'stderr'})])
        self.assertEqual((answers[0], answers[2], 'file' in answers[3]), ('pong', 'pong', False))
        with answers[1]['file'] as file:
            self.assertEqual(file.read(5), b'line\n')
        file, answer = self.weft.output(job)
        with file:
            self.assertEqual(len(file.read()), CAP)
        self.assertEqual((answer['descriptor'], answer['begin']), (True, 0))
        self.assertIsNone(self.weft.output(job, offset=CAP)[0])
        with self.assertWarnsRegex(UserWarning, f'{70005 - CAP} bytes of stdout were not kept'):
            self.assertEqual(len(b''.join(self.weft.logs(job))), CAP)

    def test_an_error_has_code_message_and_data(self):
        with self.assertRaises(WeftError) as caught:
            self.weft.submit(argv=['true'], piority=1)
        error = caught.exception
        self.assertEqual((error.code, error.name), (-32602, 'invalid_params'))
        self.assertEqual((error.data['param'], error.data['nearest']), ('piority', 'priority'))
        self.assertIn('did you mean', error.message)
        self.assertEqual(self.weft.call('ping'), 'pong', 'the connection stays good')

    def test_wait_has_a_timeout_and_cancel_ends_a_job(self):
        job = self.weft.submit(call='sleep', args={'seconds': '1h'})
        with self.assertRaises(WeftError) as caught:
            self.weft.wait(job, timeout=0)
        self.assertEqual(caught.exception.name, 'timeout')
        state, error = self.weft.cancel(job, job + 1000)
        self.assertEqual((state, error.name), ('cancelled', 'no_such_job'))

    def test_logs_follow_a_job_that_writes_as_it_goes(self):
        fifo = self.weftd.path('go')
        os.mkfifo(fifo)
        job = self.weft.submit(argv=['sh', '-c', r'printf "h\303\244\n"; cat "$0"; printf "\377"',
                                     fifo])
        pieces = self.weft.logs(job, look_again=0.01)
        self.assertEqual(next(pieces), 'hä\n'.encode())
        with open(fifo, 'w', encoding='utf-8') as go:
            go.write('on\n')
        self.assertEqual(b''.join(pieces), b'on\n\xff')

    def test_a_pipeline_of_submits_keeps_its_order(self):
        answers = self.weft.pipeline(
            [('job.submit', {'call': 'echo', 'args': {'n': n}}) for n in range(1000)])
        ids = [answer['id'] for answer in answers]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual([job['result']['n'] for job in self.weft.wait(*ids)], list(range(1000)))
        mixed = self.weft.pipeline([('ping', {}), ('no.such', {}), ('ping', {})])
        self.assertEqual([mixed[0], mixed[1].code, mixed[2]], ['pong', -32601, 'pong'])

    def test_submit_many_goes_in_pieces_and_says_which_was_refused(self):
        jobs = [{'call': 'echo', 'args': {'n': n, 'text': 'x' * 1000}} for n in range(1000)]
        jobs[500] = {'call': 'ecko'}
        self.assertGreater(len(list(weft_client._pieces(jobs))), 1)
        ids = self.weft.submit_many(jobs)
        self.assertEqual(ids.pop(500).name, 'no_such_handler')
        self.assertEqual([job['result']['n'] for job in self.weft.wait(*ids)],
                         [n for n in range(1000) if n != 500])
        with self.assertRaises(WeftError) as caught:
            self.weft.submit_many(jobs[499:502], atomic=True)
        self.assertEqual(caught.exception.data['param'], 'jobs[1]')
        self.assertEqual(len(list(self.weft.list(limit=1000))), 999)

    def test_a_lost_reply_is_reported_and_the_submit_not_sent_again(self):
        known = self.weft.submit(call='echo')
        self.freeze_weftd()
        join = self.background(self.weft.submit, call='echo')
        support.wait_until(lambda: self.unread() > 0, 'the submit is sent')
        self.weftd.kill()
        lost = join()
        self.assertIsInstance(lost, ConnectionLost)
        self.assertTrue(lost.maybe_done)
        self.weftd.start()
        self.assertEqual([job['id'] for job in self.weft.list()], [known],
                         'the same client connects anew; weftd never read the second submit')

    def test_what_was_answered_before_the_loss_is_kept(self):
        # the last request is the only one without an answer: its job does not end
        endless = self.weft.submit(call='sleep', args={'seconds': '1h'})
        requests = [('job.submit', {'call': 'echo', 'args': {'n': n}}) for n in range(100)]
        before = self.weft.replies
        join = self.background(self.weft.pipeline, requests + [('job.wait', {'ids': [endless]})])
        support.wait_until(lambda: self.weft.replies == before + 100, 'the submits are answered')
        self.weftd.kill()
        lost = join()
        self.assertIsInstance(lost, ConnectionLost)
        self.assertTrue(lost.maybe_done)
        self.assertIsNone(lost.results[100])
        self.weftd.start()
        for n, answer in enumerate(lost.results[:100]):
            self.assertEqual(self.weft.get(answer['id'])['args'], {'n': n})
        self.weft.cancel(endless)

    def test_without_a_weftd_nothing_was_done(self):
        self.weftd.stop()
        with self.assertRaises(ConnectionLost) as caught:
            self.weft.submit(argv=['true'])
        self.assertFalse(caught.exception.maybe_done)
        self.assertIn(self.weftd.socket, str(caught.exception))


if __name__ == '__main__':
    support.main()
