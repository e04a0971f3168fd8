#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Modules as shared objects: the template, trusted and in processes of their own; and that whatever
goes wrong in one costs an attempt and no more."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

MODULES = os.path.join(support.BUILD, 'tests', 'modules')
GREETER = os.path.join(support.BUILD, 'examples', 'module', 'greeter.so')
NO_SUCH_HANDLER = -32003
INVALID_PARAMS = -32602


def module(name):
    return os.path.join(MODULES, f'{name}.so')


class Template(support.WeftdTest):
    """The example, in weftd and apart from it."""

    config = f'[modules]\ntrusted = {GREETER}\nload = {module("trouble")}\n'

    def call(self, name, **args):
        return self.weftd.wait(self.weftd.call('job.submit', call=name, args=args)['id'])

    def test_the_template_runs_within_weftd(self):
        job = self.call('greet', who='Ada', language='de')
        self.assertEqual(job['result'], {'greeting': 'Guten Tag, Ada!'})
        self.assertEqual(self.call('countdown', **{'from': 3, 'pause': '1ms'})['result'],
                         {'counted': 3})

    def test_what_a_handler_refuses_is_not_tried_again(self):
        number = self.weftd.call('job.submit', call='greet', args={'who': 'nobody'}, retries=5)['id']
        job = self.weftd.wait(number)
        self.assertEqual((job['state'], job['attempt']), ('failed', 1))
        self.assertEqual(job['error'], 'nobody is there: No such process')

    def test_arguments_are_checked_at_the_submit(self):
        for name, args, param in (('greet', {}, 'args.who'),
                                  ('greet', {'who': 'x', 'language': 'fr'}, 'args.language'),
                                  ('trouble', {'kind': 'big'}, 'args.kind'),
                                  ('patient', {'note': 'relative'}, 'args.note')):
            with self.assertRaises(support.RpcError) as caught:
                self.weftd.call('job.submit', call=name, args=args)
            self.assertEqual(caught.exception.code, INVALID_PARAMS)
            self.assertEqual(caught.exception.data['param'], param)

    def test_hello_says_which_module_has_a_handler(self):
        hello = self.weftd.call('hello')
        self.assertIn('greet', hello['handlers'])
        modules = {one['name']: one for one in hello['modules']}
        self.assertEqual(modules['core']['handlers'], ['echo', 'sleep'])
        self.assertEqual(modules['greeter'], {'name': 'greeter', 'version': '1.0', 'apart': False,
                                              'handlers': ['greet', 'countdown']})
        self.assertEqual(modules['trouble'], {'name': 'trouble', 'apart': True,
                                              'handlers': ['trouble', 'patient', 'whoami', 'talkative']})

    def test_a_module_that_is_not_trusted_has_a_process_of_its_own(self):
        job = self.call('whoami')
        self.assertEqual(job['result']['job'], job['id'])
        self.assertNotEqual(job['result']['pid'], self.weftd.pid)
        self.assertNotIn('exit_code', job)

    def test_a_cancel_lets_the_handler_tidy_up(self):
        path = self.weftd.path('note')
        number = self.weftd.call('job.submit', call='patient', args={'note': path})['id']
        support.wait_until(lambda: support.read_lines(path) == ['began'], 'the call has begun')
        self.weftd.call('job.cancel', ids=[number])
        self.assertEqual(self.weftd.wait(number)['state'], 'cancelled')
        self.assertEqual(support.read_lines(path), ['began', 'ended'])

    def test_progress_within_weftd_and_from_a_process_of_its_own(self):
        number = self.weftd.call('job.submit', call='countdown', args={'from': 1000})['id']
        job = support.wait_until(lambda: self.weftd.get(number) if 'progress' in
                                 self.weftd.get(number) else None, 'it says how far it is')
        self.assertIn('left', job['progress']['text'])
        self.assertGreaterEqual(job['progress']['fraction'], 0)
        self.assertIn('left', self.weftd.weft('show', number).stdout)
        self.weftd.call('job.cancel', ids=[number])
        self.assertNotIn('progress', self.weftd.get(number))

        path = self.weftd.path('note')
        last = {'fraction': 1.0, 'text': 'the last word'}
        number = self.weftd.call('job.submit', call='talkative', args={'note': path})['id']
        support.wait_until(lambda: self.weftd.get(number).get('progress') == last,
                           'the last word of much is shown while the call goes on')
        self.weftd.call('job.cancel', ids=[number])

    def weft_on_terminal(self, *words):
        """weft with its standard output on a terminal of 60 columns, and the other end of that."""
        ours, its = pty.openpty()
        self.addCleanup(os.close, ours)
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 60, 0, 0))
        process = subprocess.Popen([support.WEFT, *map(str, words)], stdin=subprocess.DEVNULL,
                                   stdout=its, stderr=subprocess.PIPE,
                                   env={**self.weftd.env, 'WEFT_SOCKET': self.weftd.socket})
        os.close(its)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process, ours

    def read_terminal(self, terminal, until=None):
        """What comes until that has come, or until nobody has the other end."""
        text = b''
        while until is None or until not in text:
            self.assertTrue(select.select([terminal], [], [], support.DEADLINE)[0], text)
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # EIO: nobody
                piece = b''
            if not piece:
                self.assertIsNone(until, text)
                return text
            text += piece
        return text

    def test_a_bar_shows_on_a_terminal_how_far_a_job_is(self):
        number = self.weftd.call('job.submit', call='talkative',
                                 args={'note': self.weftd.path('note')})['id']
        (plain, plain_end), (shown, end) = [self.weft_on_terminal('wait', *words) for words in
                                            (('--json', number), (number,))]
        line = f'job {number}: [{"#" * 20}] 100 % the last word'.encode()
        self.read_terminal(end, until=line)
        self.weftd.call('job.cancel', ids=[number])
        rest = self.read_terminal(end)
        self.assertTrue(rest.endswith(b'\r\x1b[K'), rest)  # wiped
        self.assertEqual(shown.wait(support.DEADLINE), 1)
        self.assertEqual(shown.stderr.read(), f'weft: job {number} cancelled\n'.encode())
        self.assertEqual(json.loads(self.read_terminal(plain_end))['state'], 'cancelled')
        self.assertEqual(plain.wait(support.DEADLINE), 1)

    def test_a_call_that_is_waited_for_prints_its_result(self):
        said = self.weftd.weft('call', '--wait', 'countdown', '{"from": 2, "pause": "1ms"}')
        self.assertEqual((said.stdout, said.returncode), ('{"counted":2}\n', 0))
        said = self.weftd.weft('call', '--wait', '--timeout', '10ms', 'countdown', '{"from": 2}')
        self.assertEqual((said.stdout, said.returncode), ('', 124))
        self.assertIn('timed out', said.stderr)

    def test_the_last_word_before_a_crash_is_told(self):
        with self.weftd.connect() as connection:
            connection.call('events.subscribe')
            number = self.weftd.call('job.submit', call='talkative', on_crash='fail', args={
                'note': self.weftd.path('note'), 'crash': True})['id']
            words, record = [], {'state': ''}
            while record['state'] != 'failed':
                record = connection.read_message()['params']
                if record['cause'] == 'progress':
                    self.assertEqual((record['id'], record['state'], record['attempt']),
                                     (number, 'running', 1))
                    words.append(record['progress']['text'])
        self.assertEqual(words[-1], 'the last word')
        self.assertLess(len(words), 1000)


class Trouble(support.WeftdTest):
    """Each way for a call to go wrong costs an attempt; weftd is up throughout."""

    config = (f'[modules]\nload = {MODULES}/trouble.so\nmemory = 64M\n'
              '[exec]\nkill_grace = 100ms\n[jobs]\ncrash_limit = 2\nretry_base = 1ms\n')

    def setUp(self):
        super().setUp()
        self.pid = self.weftd.pid

    def tearDown(self):
        self.assertTrue(self.weftd.running, 'weftd is up')
        self.assertEqual(self.weftd.pid, self.pid)
        super().tearDown()

    def trouble(self, kind, until=None, **params):
        args = {'kind': kind} if until is None else {'kind': kind, 'until': until}
        return self.weftd.call('job.submit', call='trouble', args=args, **params)['id']

    def test_a_poisoned_call_is_dead_after_the_crash_limit(self):
        kinds = {'segfault': 'SIGSEGV', 'abort': 'SIGABRT', 'exit': 'without a result',
                 'deep': 'without a result'}
        if not support.SANITIZER:  # whose memory has no limit
            kinds['leak'] = 'SIGSEGV'
        numbers = {kind: self.trouble(kind) for kind in kinds}
        echo = self.weftd.echo({'a': 1})
        for kind, number in numbers.items():
            job = self.weftd.wait(number)
            self.assertEqual((kind, job['state'], job['attempt']), (kind, 'dead', 3))
            self.assertIn('the process of module trouble ended in this call', job['error'])
            self.assertIn(kinds[kind], job['error'])
            self.assertNotIn('signal', job)
        self.assertEqual(self.weftd.wait(echo)['state'], 'succeeded')

    def test_a_crash_costs_one_attempt(self):
        job = self.weftd.wait(self.trouble('segfault', until=2))
        self.assertEqual((job['state'], job['attempt'], job['result']),
                         ('succeeded', 2, {'attempt': 2}))

    def test_a_crash_fails_where_the_job_says_so(self):
        job = self.weftd.wait(self.trouble('abort', on_crash='fail'))
        self.assertEqual((job['state'], job['attempt']), ('failed', 1))

    def test_a_failure_is_no_crash(self):
        job = self.weftd.wait(self.trouble('fail', retries=1))
        self.assertEqual((job['state'], job['attempt']), ('dead', 2))
        self.assertEqual(job['error'], 'no luck: Input/output error')

    def test_a_result_that_is_no_json_fails_the_call(self):
        job = self.weftd.wait(self.trouble('nan'))
        self.assertEqual((job['state'], job['attempt']), ('failed', 1))
        self.assertIn('result cannot be written as JSON: Numerical argument out of domain',
                      job['error'])

    def test_an_endless_loop_is_killed_at_its_timeout(self):
        timeout = '3s' if support.SANITIZER else '300ms'  # its start is in it
        job = self.weftd.wait(self.trouble('loop', until=2, timeout=timeout, retries=20))
        self.assertEqual(job['state'], 'succeeded')
        self.assertGreaterEqual(job['attempt'], 2)  # more, if a start took the whole time


if __name__ == '__main__':
    support.main()
