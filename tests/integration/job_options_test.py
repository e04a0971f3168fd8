#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a job may ask for, each with its whole effect: retries, delay, priority, queues, timeouts, and
what a program gets and leaves."""

import base64
import hashlib
import os
import pwd
import resource
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

TIMEOUT = -32009


def touch(path):
    with open(path, 'w', encoding='utf-8'):
        pass


class Retries(support.WeftdTest):
    BASE = 0.2
    config = '[jobs]\nretry_base = 200ms\nretry_cap = 300ms\n'
    script = 'echo "$WEFT_ATTEMPT $(date +%s.%N)" >> "$0"; echo "this is $WEFT_ATTEMPT"; '

    def setUp(self):
        super().setUp()
        self.notes = self.weftd.path('notes')

    def noted(self):
        """[(attempt, when), ...]"""
        return [(int(line.split()[0]), float(line.split()[1]))
                for line in support.read_lines(self.notes)]

    def test_each_failure_is_tried_again_later_and_then_it_is_dead(self):
        job = self.weftd.wait(self.weftd.shell(self.script + 'exit 3', self.notes, retries=3))
        self.assertEqual((job['state'], job['attempt'], job['exit_code']), ('dead', 4, 3))
        self.assertEqual(job['error'], 'exit status 3')
        noted = self.noted()
        self.assertEqual([attempt for attempt, _ in noted], [1, 2, 3, 4])
        gaps = [later[1] - earlier[1] for earlier, later in zip(noted, noted[1:])]
        for gap, least in zip(gaps, (0.5 * self.BASE, 0.5 * 0.3, 0.5 * 0.3), strict=True):
            self.assertGreaterEqual(gap, least, 'never before its time')
        self.assertEqual(self.weftd.logs(job['id']), b'this is 4\n', 'of the last attempt')
        self.assertEqual(self.weftd.stats()['totals']['retried'], 3)

    def test_a_later_success_is_a_success(self):
        job = self.weftd.wait(self.weftd.shell(
            self.script + '[ "$WEFT_ATTEMPT" = 3 ]', self.notes, retries=5))
        self.assertEqual((job['state'], job['attempt'], job['exit_code']), ('succeeded', 3, 0))
        self.assertNotIn('error', job)
        self.assertEqual(len(self.noted()), 3)

    def test_without_retries_a_failure_is_the_end(self):
        job = self.weftd.wait(self.weftd.shell(self.script + 'exit 1', self.notes))
        self.assertEqual((job['state'], job['attempt']), ('failed', 1))
        self.assertEqual(len(self.noted()), 1)

    def test_a_timeout_is_a_failure_too(self):
        job = self.weftd.wait(self.weftd.shell(self.script + 'exec sleep 3600', self.notes,
                                               retries=1, timeout='300ms'))
        self.assertEqual((job['state'], job['attempt'], job['error']), ('dead', 2, 'timed out'))
        self.assertLessEqual(len(self.noted()), 2)  # the time may be over before a note is made

    def test_calls_are_tried_again(self):
        path = self.weftd.path('late')
        number = self.weftd.call('job.submit', call='file.hash', args={'path': path},
                                 retries=1000)['id']
        self.weftd.await_state(number, 'delayed')
        with open(path + '.new', 'wb') as file:
            file.write(b'here')
        os.rename(path + '.new', path)
        job = self.weftd.wait(number)
        self.assertEqual(job['result'], {'hash': hashlib.sha256(b'here').hexdigest()})
        self.assertGreater(job['attempt'], 1)


class Backoff(support.WeftdTest):
    """Waits that are too long to be waited for; what counts is due_at."""

    config = '[jobs]\nretry_base = 100s\nretry_cap = 150s\n'

    def test_the_wait_is_told_and_survives_a_restart(self):
        number = self.weftd.shell('exit 9', retries=5)
        job = self.weftd.await_state(number, 'delayed')
        self.assertEqual((job['attempt'], job['exit_code'], job['error']), (1, 9, 'exit status 9'))
        self.assertGreaterEqual(job['due_at'] - job['started_at'], 50)
        self.assertLess(job['due_at'] - job['started_at'], 150 + support.DEADLINE)
        self.weftd.kill()
        self.weftd.start()
        self.assertEqual(self.weftd.get(number), job)
        self.assertEqual(self.weftd.call('job.cancel', ids=[number])['results'],
                         [{'id': number, 'state': 'cancelled'}])
        self.assertEqual(self.weftd.get(number)['attempt'], 1)


class Delay(support.WeftdTest):
    def test_never_before_its_time(self):
        numbers = self.weftd.submit_many(
            [{'call': 'echo', 'args': {'n': n}, 'delay': f'{n * 50}ms'} for n in range(1, 11)])
        jobs = self.weftd.wait_all(numbers)
        for n, job in enumerate(jobs, 1):
            self.assertEqual((job['state'], job['result']), ('succeeded', {'n': n}))
            self.assertGreaterEqual(job['started_at'] - job['submitted_at'], n * 0.05 - 1e-6)
        started = [job['started_at'] for job in jobs]
        self.assertEqual(started, sorted(started), 'in the order of their times')

    def test_a_start_time(self):
        past = self.weftd.wait(self.weftd.echo(start_at='2001-09-09T03:46:40+02:00'))
        self.assertEqual(past['state'], 'succeeded')
        soon = time.time() + 0.2
        job = self.weftd.wait(self.weftd.echo(start_at=soon))
        self.assertGreaterEqual(job['started_at'], soon - 1e-6, 'never before its time')
        later = int(self.weftd.weft('submit', '--at', '2200-01-01T00:30:00+00:30', '--',
                                    'true').stdout)
        number = int(self.weftd.weft('call', '--at', '7258118400', 'echo').stdout)
        self.weftd.kill()
        self.weftd.start()
        for one in (later, number):
            self.assertEqual((self.weftd.get(one)['state'], self.weftd.get(one)['due_at']),
                             ('delayed', 7258118400))
        self.assert_refused(lambda: self.weftd.echo(start_at=1, delay=1), -32602, 'give one',
                            param='start_at')
        self.weftd.call('job.cancel', ids=[later, number])

    def test_it_is_delayed_meanwhile(self):
        number = self.weftd.submit('true', delay='1h')
        job = self.weftd.get(number)
        self.assertEqual((job['state'], job['attempt']), ('delayed', 0))
        self.assertAlmostEqual(job['due_at'] - job['submitted_at'], 3600, delta=0.01)
        self.assertNotIn('started_at', job)
        self.assertEqual([one['id'] for one in self.weftd.list(state='delayed')], [number])
        self.assertEqual(self.weftd.stats()['jobs']['delayed'], 1)
        self.assertEqual(self.weftd.call('job.cancel', ids=[number])['results'][0]['state'],
                         'cancelled')
        self.assertEqual(self.weftd.stats()['jobs']['delayed'], 0)


class Queues(support.WeftdTest):
    config = ('[jobs]\nretry_base = 100ms\n'
              '[queue one]\nconcurrency = 1\naging = 0\n[queue three]\nconcurrency = 3\n'
              '[queue paused]\nconcurrency = 0\n[queue brief]\ntimeout = 200ms\n'
              'retries = 2\non_crash = fail\npriority = -4\ntimeout_total = 1h\n')

    def setUp(self):
        super().setUp()
        self.notes = self.weftd.path('notes')
        self.go = self.weftd.path('go')

    def held(self, queue, count):
        """Jobs that fill a queue until self.go is there."""
        numbers = [self.weftd.shell('until [ -e "$0" ]; do sleep 0.01; done', self.go, queue=queue)
                   for _ in range(count)]
        for number in numbers:
            self.weftd.await_state(number, 'running')
        return numbers

    def test_priority_order(self):
        self.held('one', 1)
        priorities = [0, 5, -3, 5, 0, 1_000_000, -1_000_000, 1, 0]
        numbers = [self.weftd.shell('echo "$1" >> "$0"', self.notes, f'{priority} {at}',
                                    queue='one', priority=priority)
                   for at, priority in enumerate(priorities)]
        touch(self.go)
        self.weftd.wait_all(numbers)
        expected = sorted(enumerate(priorities), key=lambda one: (-one[1], one[0]))
        self.assertEqual(support.read_lines(self.notes),
                         [f'{priority} {at}' for at, priority in expected],
                         'higher first, and in the order of their coming')

    def test_concurrency_is_reached_and_kept(self):
        script = ('echo "+$WEFT_JOB_ID" >> "$0"; until [ -e "$1" ]; do sleep 0.01; done; '
                  'echo "-$WEFT_JOB_ID" >> "$0"')
        numbers = [self.weftd.shell(script, self.notes, self.go, queue='three') for _ in range(30)]
        support.wait_until(lambda: len(support.read_lines(self.notes)) == 3, 'three have begun')
        stats = self.weftd.stats()['jobs']
        self.assertEqual((stats['running'], stats['queued']), (3, 27))
        self.assertEqual(len(self.weftd.list(queue='three', state='running')), 3)
        touch(self.go)
        self.weftd.wait_all(numbers)
        at_once, most = set(), 0
        for line in support.read_lines(self.notes):
            if line[0] == '+':
                at_once.add(line[1:])
            else:
                at_once.remove(line[1:])
            most = max(most, len(at_once))
        self.assertEqual((most, at_once), (3, set()))

    def test_queues_do_not_hold_each_other_up(self):
        self.held('one', 1)
        waiting = self.weftd.echo(queue='one')
        self.assertEqual(self.weftd.wait(self.weftd.echo())['state'], 'succeeded')
        self.assertEqual(self.weftd.wait(self.weftd.echo(queue='three'))['state'], 'succeeded')
        self.assertEqual(self.weftd.state_of(waiting), 'queued')
        touch(self.go)

    def test_a_queue_of_none_starts_nothing(self):
        number = self.weftd.echo(queue='paused')
        self.weftd.wait(self.weftd.echo())
        self.assertEqual(self.weftd.state_of(number), 'queued')
        self.assertEqual(self.weftd.call('job.cancel', ids=[number])['results'][0]['state'],
                         'cancelled')

    def test_what_a_queue_gives_its_jobs(self):
        job = self.weftd.wait(self.weftd.submit('sleep', '3600', queue='brief'))
        self.assertEqual((job['state'], job['attempt'], job['error']), ('dead', 3, 'timed out'))
        self.assertEqual((job['timeout'], job['retries'], job['on_crash'], job['priority'],
                          job['timeout_total']), ('200ms', 2, 'fail', -4, '1h'))
        job = self.weftd.wait(self.weftd.submit('sleep', '0.5', queue='brief', timeout='1h'))
        self.assertEqual(job['state'], 'succeeded', 'its own timeout counts')

    def test_list_by_state_queue_and_page(self):
        self.held('one', 1)
        queued = [self.weftd.echo(queue='one') for _ in range(5)]
        done = [self.weftd.echo() for _ in range(5)]
        self.weftd.wait_all(done)
        ids = [job['id'] for job in self.weftd.list(state='queued')]
        self.assertEqual(ids, queued[::-1])
        both = self.weftd.list(state=['queued', 'running'], queue='one')
        self.assertEqual([job['id'] for job in both][:5], queued[::-1])
        self.assertEqual(len(both), 6)
        named = self.weftd.submit('true', name='nightly-1', tags=['a', 'b'], queue='three')
        self.weftd.wait(named)
        for filters in ({'name': 'nightly-1'}, {'name': 'night*', 'tag': 'b'}, {'tag': 'a'},
                        {'queue': ['three', 'paused']}, {'name': '*', 'user': os.getuid()}):
            self.assertEqual([job['id'] for job in self.weftd.list(**filters)], [named], filters)
        self.assertEqual(self.weftd.list(name='night'), [])
        self.assertEqual(self.weftd.list(user=os.getuid() + 1), [])
        shown = self.weftd.weft('list', '--json', '-n', 'night*', '-t', 'a', '-q', 'one,three',
                                '-u', pwd.getpwuid(os.getuid()).pw_name)
        self.assertIn(f'"id":{named},', shown.stdout)
        self.assert_refused(lambda: self.weftd.list(user='nobody-of-that-name'), -32602,
                            'there is no user', param='user')
        self.weftd.call('job.cancel', ids=[named])
        page = self.weftd.call('job.list', limit=2, state='succeeded', before=named)
        self.assertEqual([job['id'] for job in page['jobs']], done[:2:-1])
        page = self.weftd.call('job.list', limit=2, state='succeeded', before=page['next'])
        self.assertEqual([job['id'] for job in page['jobs']], done[2:0:-1])
        touch(self.go)


class Timeouts(support.WeftdTest):
    config = '[exec]\nkill_grace = 200ms\n'

    def time_out(self, script):
        """The job and the output of a script that runs out of time after it has said "ready"."""
        timeout, output = 0.3, b''
        while not output.startswith(b'ready\n'):
            number = self.weftd.shell(script, timeout=timeout)
            job, output = self.weftd.wait(number), self.weftd.logs(number)
            self.assertGreaterEqual(job['finished_at'] - job['started_at'], timeout - 1e-6)
            timeout *= 2
        return job, output

    def test_a_program(self):
        job, output = self.time_out('echo ready; exec sleep 3600')
        self.assertEqual((job['state'], job['error'], job['signal']), ('timed_out', 'timed out', 15))
        self.assertNotIn('exit_code', job)
        self.assertEqual(output, b'ready\n')

    def test_the_time_of_the_whole(self):
        sleeper = self.weftd.submit('sleep', '3600')
        later = self.weftd.submit('true', after=[sleeper], timeout_total='1h')
        job = self.weftd.get(later)
        self.assertAlmostEqual(job['expires_at'] - job['submitted_at'], 3600, delta=1e-5)
        blocked = [self.weftd.submit('true', after=[sleeper], timeout_total='300ms')]
        blocked.append(int(self.weftd.weft('submit', '--retries', '9', '--timeout-total', '200ms',
                                           '--', 'sh', '-c', 'exit 3').stdout))
        waited = self.weftd.weft('wait', blocked[1])
        self.assertEqual(waited.returncode, 1)
        self.assertIn('timed out: its timeout_total is over', waited.stderr)
        shown = self.weftd.weft('run', '--timeout-total', '200ms', '--', 'sleep', '3600')
        self.assertEqual(shown.returncode, 124, shown.stderr)
        jobs = self.weftd.wait_all(blocked)
        self.assertEqual([(job['state'], job['timeout_total']) for job in jobs],
                         [('timed_out', '300ms'), ('timed_out', '200ms')])
        for job in jobs:
            self.assertNotIn('expires_at', job)
            self.assertGreaterEqual(job['finished_at'] - job['submitted_at'], 0.2 - 1e-6)
        self.weftd.call('job.cancel', ids=[later, sleeper])

    def test_a_program_that_does_not_listen(self):
        job, _ = self.time_out('trap "" TERM; echo ready; while :; do sleep 3600; done')
        self.assertEqual((job['state'], job['signal']), ('timed_out', 9))
        self.assertGreaterEqual(job['finished_at'] - job['started_at'], 0.3 + 0.2 - 1e-6)

    def test_a_program_that_cleans_up(self):
        self.weftd.configure('[exec]\nkill_grace = 10s\n')
        self.weftd.call('daemon.reload')
        job, output = self.time_out(
            'trap "echo cleaned; exit 4" TERM; echo ready; while :; do sleep 0.01; done')
        self.assertEqual((job['state'], job['exit_code']), ('timed_out', 4))
        self.assertEqual(output, b'ready\ncleaned\n')

    def test_a_call(self):
        job = self.weftd.wait(self.weftd.call(
            'job.submit', call='sleep', args={'seconds': '1h'}, timeout=0.1)['id'])
        self.assertEqual((job['state'], job['error']), ('timed_out', 'timed out'))
        self.assertNotIn('result', job)

    def test_in_time_is_in_time(self):
        job = self.weftd.wait(self.weftd.call(
            'job.submit', call='sleep', args={'seconds': 0.1}, timeout='1h')['id'])
        self.assertEqual((job['state'], job['result']), ('succeeded', {'seconds': 0.1}))


class WaitAndCancel(support.WeftdTest):
    config = '[queue one]\nconcurrency = 1\n[exec]\nkill_grace = 1s\n'

    def sleeper(self, **params):
        return self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'}, **params)['id']

    def cancel(self, *numbers):
        return self.weftd.call('job.cancel', ids=list(numbers))['results']

    def test_wait_with_a_timeout_leaves_the_job_alone(self):
        number = self.sleeper()
        self.assert_refused(lambda: self.weftd.call('job.wait', ids=[number], timeout='100ms'),
                            TIMEOUT)
        self.assert_refused(lambda: self.weftd.call('job.wait', ids=[number], timeout=0), TIMEOUT)
        self.weftd.await_state(number, 'running')
        self.assertEqual(self.cancel(number), [{'id': number, 'state': 'cancelled'}])

    def test_wait_answers_in_the_order_of_ids(self):
        numbers = [self.weftd.call('job.submit', call='sleep',
                                   args={'seconds': (5 - n) * 0.05})['id'] for n in range(5)]
        asked = [numbers[n] for n in (3, 0, 4, 1, 2, 0)]
        jobs = self.weftd.wait_all(asked)
        self.assertEqual([job['id'] for job in jobs], asked)
        self.assertEqual({job['state'] for job in jobs}, {'succeeded'})

    def test_many_wait_for_one(self):
        number = self.sleeper()
        connections = [self.weftd.connect() for _ in range(20)]
        waits = [connection.send('job.wait', ids=[number]) for connection in connections]
        self.cancel(number)
        for connection, wait in zip(connections, waits):
            self.assertEqual(connection.reply(wait)['jobs'][0]['state'], 'cancelled')
            connection.close()

    def test_cancel_is_idempotent(self):
        running, queued = self.sleeper(queue='one'), self.sleeper(queue='one')
        delayed, done = self.sleeper(delay='1h'), self.weftd.echo()
        self.weftd.wait(done)
        self.weftd.await_state(running, 'running')
        expected = [{'id': number, 'state': state} for number, state in (
            (queued, 'cancelled'), (delayed, 'cancelled'), (done, 'succeeded'),
            (running, 'cancelled'), (running, 'cancelled'))]
        for _ in range(3):
            self.assertEqual(self.cancel(queued, delayed, done, running, running), expected)
        for number in (queued, delayed):
            job = self.weftd.get(number)
            self.assertEqual((job['state'], job['attempt']), ('cancelled', 0))
            self.assertIn('finished_at', job)
        self.assertEqual(self.weftd.get(running)['attempt'], 1)
        self.assertEqual(self.weftd.stats()['jobs']['cancelled'], 3)

    def test_two_cancel_at_once(self):
        for _ in range(10):
            number = self.weftd.submit('sleep', '3600')
            with self.weftd.connect() as one, self.weftd.connect() as two:
                first = one.send('job.cancel', ids=[number])
                second = two.send('job.cancel', ids=[number])
                for connection, request in ((one, first), (two, second)):
                    self.assertEqual(connection.reply(request)['results'],
                                     [{'id': number, 'state': 'cancelled'}])

    def test_a_cancelled_job_is_not_retried(self):
        number = self.weftd.shell('exec sleep 3600', retries=10)
        self.weftd.await_state(number, 'running')
        self.assertEqual(self.cancel(number)[0]['state'], 'cancelled')
        self.assertEqual(self.weftd.stats()['jobs']['delayed'], 0)

    def test_cancel_in_the_middle_of_many(self):
        numbers = self.weftd.submit_many([{'argv': ['true']}] * support.scaled(200, 40))
        results = self.cancel(*numbers)
        self.assertEqual([one['id'] for one in results], numbers)
        for one, job in zip(results, self.weftd.get_all(numbers), strict=True):
            self.assertIn(one['state'], ('cancelled', 'succeeded'))
            self.assertEqual(job['state'], one['state'])


class Programs(support.WeftdTest):
    """What a program gets, and what is kept of it."""

    config = '[exec]\noutput_max = 64K\n'

    def output(self, *argv, stream='stdout', **params):
        number = self.weftd.submit(*argv, **params)
        job = self.weftd.wait(number)
        self.assertEqual(job['state'], 'succeeded', job)
        return self.weftd.logs(number, stream)

    def test_stdin(self):
        for text in ('', 'one line\n', 'no newline', 'ünïcode – \u2028 \\ "\n' * 3, 'x' * 60_000):
            self.assertEqual(self.output('cat', stdin=text), text.encode())
        self.assertEqual(self.output('cat'), b'', 'without one there is nothing to read')
        self.assertEqual(self.output('readlink', '/proc/self/fd/0'), b'/dev/null\n')
        large = 'y' * 500_000  # more than a pipe holds, and the program does not read it
        self.assertEqual(self.output('true', stdin=large), b'')
        self.assertEqual(self.output('wc', '-c', stdin=large).strip(), b'500000')

    def test_environment(self):
        self.weftd.stop()
        self.weftd.env.update(SECRET='secret', LC_TIME='C.UTF-8', TZ='UTC', EDITOR='ed')
        self.weftd.start()
        number = self.weftd.submit('env', '-0', env={'MINE': 'a=b\nc', 'TZ': 'Europe/Rome',
                                                    'WEFT_ATTEMPT': 'forged', 'EMPTY': ''})
        self.weftd.wait(number)
        lines = self.weftd.logs(number).decode().split('\0')[:-1]
        env = dict(line.split('=', 1) for line in lines)
        self.assertEqual(len(env), len(lines), 'a name twice')
        expected = {name: self.weftd.env[name] for name in (
            'PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'LC_TIME', 'TMPDIR')
            if name in self.weftd.env}
        expected.update(MINE='a=b\nc', TZ='Europe/Rome', EMPTY='', WEFT_JOB_ID=str(number),
                        WEFT_ATTEMPT='1', WEFT_SOCKET=self.weftd.socket,
                        WEFT_INSTANCE=self.weftd.call('hello')['instance'])
        self.assertEqual(env, expected)

    def test_cwd(self):
        self.assertEqual(self.output('pwd'), b'/\n')
        self.assertEqual(self.output('pwd', cwd=self.weftd.folder),
                         self.weftd.folder.encode() + b'\n')

    def test_argv_as_it_is(self):
        words = ['', ' ', '$HOME', '*', '"', "'", '\\', 'a\nb', 'ü', '-n', '--', 'x' * 50_000]
        self.assertEqual(self.output('printf', '%s|', *words),
                         ''.join(word + '|' for word in words).encode())

    def test_conditions(self):
        """umask, priorities and limits: of [exec], of the job, and what the kernel refuses."""
        script = 'umask; nice; ionice | cut -d: -f1; ulimit -Sn; ulimit -Hn; ulimit -Hc'
        self.weftd.configure(self.config + 'umask = 0077\nlimits = nofile=64:128 core=0\n')
        self.weftd.weft('reload')
        done = self.weftd.weft('run', '--umask', '27', '--nice', '19', '--ionice', 'idle', '--limit',
                               'nofile=32:64', '--', 'sh', '-c', script)
        self.assertEqual(done.stdout, '0027\n19\nidle\n32\n64\n0\n', done.stderr)
        number = self.weftd.submit('sh', '-c', 'umask; ulimit -Sn', limits={'cpu': '1h'})
        job = self.weftd.wait(number)
        self.assertEqual(self.weftd.logs(number), b'0077\n64\n')
        self.assertEqual(job['limits'], {'cpu': '1h'})
        job = self.weftd.wait(self.weftd.submit('true', limits={'nofile': 2**62}))
        self.assertEqual(job['state'], 'failed')
        self.assertRegex(job['error'], '^cannot set limit nofile=4611686018427387904: Operation not')
        self.assert_refused(lambda: self.weftd.echo(nice=1), -32602, 'argv', param='nice')

    def test_limits_of_its_control_group(self):
        """What is no limit holds anywhere; the rest is tests/unit/daemon/run_group_test.c's."""
        done = self.weftd.weft('run', '--memory-max', 'infinity', '--tasks-max', 'infinity',
                               '--cpu-quota', 'infinity', '--name', 'free', '--', 'echo', 'ran')
        self.assertEqual((done.returncode, done.stdout), (0, 'ran\n'), done.stderr)
        job = self.weftd.call('job.list', name='free')['jobs'][0]
        self.assertEqual([job[name] for name in ('memory_max', 'tasks_max', 'cpu_quota')],
                         ['infinity'] * 3)
        for option, value, error in (('memory_max', 100, 'size from 4K'),
                                     ('tasks_max', '5%', 'processes and threads'),
                                     ('cpu_quota', 0.5, 'percentage of one CPU')):
            self.assert_refused(lambda: self.weftd.submit('true', **{option: value}), -32602, error,
                                param=option)
        self.assert_refused(lambda: self.weftd.echo(cpu_quota=1), -32602, 'argv', param='cpu_quota')

    def test_a_file_as_input(self):
        path = self.weftd.path('input')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('from a file\n')
        done = self.weftd.weft('run', '--stdin-file', 'input', '--', 'cat', cwd=self.weftd.folder)
        self.assertEqual(done.stdout, 'from a file\n', done.stderr)
        os.remove(path)
        job = self.weftd.wait(self.weftd.submit('cat', stdin_file=path))
        self.assertEqual((job['state'], job['error']),
                         ('failed', f'cannot open its input {path}: No such file or directory'))

    def test_descriptors(self):
        """Nothing of weftd's is inherited."""
        listed = self.output('ls', '/proc/self/fd').split()
        self.assertEqual(listed, [b'0', b'1', b'2', b'3'])  # 3 is of ls itself

    def test_the_limit_on_descriptors(self):
        """weftd raises its own; a program gets what weftd was started with."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.weftd.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        try:
            self.weftd.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        own = resource.prlimit(self.weftd.process.pid, resource.RLIMIT_NOFILE)
        self.assertGreater(own[0], 300)
        self.assertEqual(self.output('sh', '-c', 'ulimit -Sn'), b'300\n')

    def test_streams_are_separate(self):
        number = self.weftd.shell('echo out; echo err >&2; echo out again; echo err again >&2')
        self.weftd.wait(number)
        self.assertEqual(self.weftd.logs(number), b'out\nout again\n')
        self.assertEqual(self.weftd.logs(number, 'stderr'), b'err\nerr again\n')

    def test_exit_status_and_signal(self):
        for status in (0, 1, 2, 127, 255):
            job = self.weftd.wait(self.weftd.shell(f'exit {status}'))
            self.assertEqual(job['exit_code'], status)
            self.assertEqual(job['state'], 'failed' if status else 'succeeded')
            self.assertNotIn('signal', job)
        for signal, name in ((9, 'SIGKILL'), (11, 'SIGSEGV'), (15, 'SIGTERM'), (1, 'SIGHUP')):
            job = self.weftd.wait(self.weftd.shell(f'kill -{signal} $$'))
            self.assertEqual((job['state'], job['signal']), ('failed', signal))
            self.assertIn(name, job['error'])
            self.assertNotIn('exit_code', job)

    def test_signals_are_as_in_a_shell(self):
        """Neither blocked nor ignored, whatever weftd does with its own."""
        text = self.output('grep', '-E', '^(SigBlk|SigIgn)', '/proc/self/status').decode()
        blocked, ignored = (int(line.split()[1], 16) for line in text.splitlines())
        self.assertEqual(blocked, 0)
        self.assertEqual(ignored & ~(3 << 31), 0, 'but 32 and 33, which are glibc\'s own')

    def test_binary_output(self):
        data = bytes(range(256)) * 4
        path = self.weftd.path('binary')
        with open(path, 'wb') as file:
            file.write(data)
        number = self.weftd.submit('cat', path)
        self.weftd.wait(number)
        piece = self.weftd.call('job.logs', id=number)
        self.assertEqual(piece, {'data': base64.b64encode(data).decode(), 'encoding': 'base64',
                                 'next': len(data), 'eof': True})

    def test_output_in_pieces(self):
        text = ''.join(f'{n} ü–𝄞\n' for n in range(500))
        number = self.weftd.submit('cat', stdin=text)
        self.weftd.wait(number)
        for limit in (1, 7, 1000):
            if limit == 1 and support.SANITIZER:
                continue
            self.assertEqual(self.weftd.logs(number, limit=limit), text.encode())
        data = text.encode()
        start = data.index(b'\n', 1000) + 1
        piece = self.weftd.call('job.logs', id=number, offset=start, limit=101)
        self.assertEqual(piece['encoding'], 'utf-8', 'a character that is cut is left for later')
        self.assertEqual(piece['data'].encode(), data[start:piece['next']])
        self.assertFalse(piece['eof'])
        end = self.weftd.call('job.logs', id=number, offset=len(data) + 1000)
        self.assertEqual((end['data'], end['eof']), ('', True))

    def test_output_while_it_runs(self):
        go = self.weftd.path('go')
        number = self.weftd.shell('echo first; until [ -e "$0" ]; do sleep 0.01; done; echo last',
                                  go)
        support.wait_until(lambda: self.weftd.logs(number) == b'first\n', 'the first line')
        piece = self.weftd.call('job.logs', id=number, offset=6)
        self.assertEqual((piece['data'], piece['next'], piece['eof']), ('', 6, False))
        touch(go)
        self.weftd.wait(number)
        piece = self.weftd.call('job.logs', id=number, offset=6)
        self.assertEqual((piece['data'], piece['eof']), ('last\n', True))

    def test_output_beyond_the_cap_is_dropped_and_the_program_goes_on(self):
        number = self.weftd.shell('head -c 1000000 /dev/zero | tr "\\0" x; echo end >&2')
        self.assertEqual(self.weftd.wait(number)['state'], 'succeeded')
        logs = self.weftd.logs(number)
        self.assertEqual(logs[:65536], b'x' * 65536)
        self.assertLess(len(logs), 66_000, 'at most the cap, and a word on the rest')
        self.assertEqual(self.weftd.logs(number, 'stderr'), b'end\n')

    def test_handlers_of_files(self):
        data = os.urandom(300_000)
        path, copy = self.weftd.path('data'), self.weftd.path('copy')
        with open(path, 'wb') as file:
            file.write(data)
        os.chmod(path, 0o640)
        for algorithm in ('sha256', 'sha512'):
            job = self.weftd.wait(self.weftd.call(
                'job.submit', call='file.hash', args={'path': path, 'algorithm': algorithm})['id'])
            self.assertEqual(job['result'], {'hash': hashlib.new(algorithm, data).hexdigest()})
        job = self.weftd.wait(self.weftd.call('job.submit', call='file.copy',
                                              args={'from': path, 'to': copy})['id'])
        self.assertEqual(job['result'], {'bytes': len(data)})
        with open(copy, 'rb') as file:
            self.assertEqual(file.read(), data)
        self.assertEqual(os.stat(copy).st_mode & 0o777, 0o640)
        self.assertEqual(sorted(name for name in os.listdir(self.weftd.folder)
                                if name.startswith('.')), [], 'nothing half-made is left')


if __name__ == '__main__':
    support.main()
