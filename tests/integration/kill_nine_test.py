#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SIGKILL: what was acknowledged is there, what had finished stays finished, and no job is tried
beyond its limit.  Prints its seed; WEFT_TEST_SEED sets it."""

import json
import os
import random
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

SEED = int(os.environ.get('WEFT_TEST_SEED') or random.randrange(1 << 32))
NOTE = 'echo "$WEFT_JOB_ID $WEFT_ATTEMPT" >> "$0"'
ENDED = support.ENDS


class AtRandom(support.WeftdTest):
    """Clients submit and watch, weftd is killed, twenty times."""

    ROUNDS = support.scaled(20, 5)
    CLIENTS = 4
    CRASH_LIMIT = 3

    config = f'[jobs]\ncrash_limit = {CRASH_LIMIT}\n[queue default]\nconcurrency = 8\n'

    def setUp(self):
        print(f'seed {SEED} ', end='')
        self.random = random.Random(SEED)
        self.lock = threading.Lock()
        self.acknowledged = {}  # id: what was submitted
        self.finished = {}      # id: the job as a client has seen its end
        super().setUp()
        self.notes = self.weftd.path('notes')

    # -- clients

    def make_job(self, number):
        kind = number % 4
        if kind == 0:
            return {'argv': ['/bin/sh', '-c', NOTE, self.notes]}
        if kind == 1:
            return {'argv': ['/bin/sh', '-c', NOTE, self.notes], 'on_crash': 'fail'}
        if kind == 2:
            return {'call': 'sleep', 'args': {'seconds': 0.01 * (number % 5)}}
        return {'call': 'echo', 'args': {'number': number, 'text': 'x' * (number % 700)}}

    def acknowledge(self, numbers, jobs):
        with self.lock:
            for number, job in zip(numbers, jobs, strict=True):
                self.assertNotIn(number, self.acknowledged, 'an id was given twice')
                self.acknowledged[number] = job

    def client(self, number, submitting):
        """Submits until weftd is gone; watches some of its jobs to their end."""
        rand = random.Random(f'{SEED} {number}')
        try:
            with self.weftd.connect() as connection:
                while not submitting.is_set():
                    self.submit_some(connection, rand)
        except support.Disconnected:
            pass

    def submit_some(self, connection, rand):
        jobs = [self.make_job(rand.randrange(10_000)) for _ in range(rand.choice((1, 1, 3, 20)))]
        if len(jobs) == 1:
            numbers = [connection.call('job.submit', **jobs[0])['id']]
        else:
            results = connection.call('job.submit_many', jobs=jobs)['results']
            numbers = [one['id'] for one in results]
        self.acknowledge(numbers, jobs)
        if rand.random() < 0.3:
            self.watch(connection, numbers)

    def watch(self, connection, numbers):
        jobs = connection.call('job.wait', ids=numbers, timeout=support.DEADLINE)['jobs']
        with self.lock:
            for job in jobs:
                self.finished[job['id']] = job

    # -- one round

    def submit_and_kill(self, turn):
        """Kills after so many more acknowledgements, which is a point in no one's plan."""
        target = len(self.acknowledged) + self.random.randrange(1, 150)
        submitting = threading.Event()
        threads = [threading.Thread(target=self.client, args=((turn, number), submitting))
                   for number in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            support.wait_until(lambda: len(self.acknowledged) >= target, f'{target} submits')
            self.weftd.kill()
        finally:
            submitting.set()
            for thread in threads:
                thread.join()

    def note_counts(self):
        counts = {}
        for line in support.read_lines(self.notes):
            number, attempt = map(int, line.split())
            counts.setdefault(number, []).append(attempt)
        return counts

    def check_survivors(self):
        """Right after the restart."""
        numbers = sorted(self.acknowledged)
        for number, job in zip(numbers, self.weftd.get_all(numbers), strict=True):
            self.assertEqual(job['id'], number)
            asked = self.acknowledged[number]
            for member in ('argv', 'call', 'args'):
                self.assertEqual(job.get(member), asked.get(member))
            self.assertLessEqual(job['attempt'], self.CRASH_LIMIT + 1)
        for number, before in self.finished.items():
            self.assertEqual(self.weftd.get(number), before, 'an end has changed')

    def test_twenty_times(self):
        frozen = {}  # notes of jobs that were seen to have ended
        for turn in range(self.ROUNDS):
            self.submit_and_kill(turn)
            self.weftd.start()
            self.check_survivors()
            counts = self.note_counts()
            for number, lines in frozen.items():
                self.assertEqual(counts.get(number), lines, f'job {number} ran after its end')
            frozen = {number: counts.get(number) for number in self.finished}
        self.check_the_end()

    def nothing_is_live(self):
        by_state = self.weftd.stats()['jobs']
        return by_state['queued'] + by_state['running'] + by_state['delayed'] == 0

    def check_the_end(self):
        jobs = self.weftd.wait_all(sorted(self.acknowledged))
        counts = self.note_counts()
        for job in jobs:
            asked = self.acknowledged[job['id']]
            if asked.get('on_crash') == 'fail':
                self.check_at_most_once(job, counts.get(job['id'], []))
            else:
                self.check_requeued(job, asked, counts.get(job['id'], []))
        support.wait_until(self.nothing_is_live, 'those that nobody heard of have ended too')
        self.check_unacknowledged(jobs)

    def check_at_most_once(self, job, attempts):
        self.assertIn(job['state'], ('succeeded', 'failed'), job)
        self.assertEqual(job['attempt'], 1)
        self.assertLessEqual(len(attempts), 1, f'on_crash=fail and run twice: {job}')
        if job['state'] == 'succeeded':
            self.assertEqual(attempts, [1])
        else:
            self.assertIn('weftd died', job['error'])

    def check_requeued(self, job, asked, attempts):
        self.assertIn(job['state'], ('succeeded', 'dead'), job)
        self.assertLessEqual(job['attempt'], self.CRASH_LIMIT + 1)
        if job['state'] == 'dead':
            self.assertEqual(job['attempt'], self.CRASH_LIMIT + 1)
            self.assertIn('weftd died', job['error'])
            return
        self.assertNotIn('error', job)
        if asked.get('call') == 'echo':
            self.assertEqual(job['result'], asked['args'])
        if 'argv' in asked:
            self.assertEqual(max(attempts), job['attempt'])
            self.assertEqual(attempts, sorted(attempts), 'attempts only grow')

    def check_unacknowledged(self, jobs):
        """weftd may have taken what it could not tell any more; that, too, has ended well."""
        known = {job['id'] for job in jobs}
        others = [job['id'] for job in self.weftd.list() if job['id'] not in known]
        if others:
            self.assertTrue({job['state'] for job in self.weftd.wait_all(others)}
                            <= {'succeeded', 'failed', 'dead'})


class KillsWeftd(support.WeftdTest):
    """A job that takes weftd with it, each time it runs."""

    CRASH_LIMIT = 2
    config = f'[jobs]\ncrash_limit = {CRASH_LIMIT}\n'
    # waits until it may: so that its start is on disk, which for a program nobody waits for
    script = f'{NOTE}; until [ -e "$0.go" ]; do sleep 0.01; done; rm "$0.go"; kill -9 $PPID; sleep 60'

    def setUp(self):
        super().setUp()
        self.notes = self.weftd.path('notes')

    def let_it_kill(self, times):
        support.wait_until(lambda: len(support.read_lines(self.notes)) == times, 'it has begun')
        other = self.weftd.echo({'after': 'its start'})  # commits come in order
        with open(self.notes + '.go', 'w', encoding='utf-8'):
            pass
        self.assertEqual(self.weftd.await_exit(), -9)
        self.weftd.drop_connection()
        self.weftd.start()
        return other

    def test_it_is_declared_dead(self):
        job = self.weftd.shell(self.script, self.notes)
        others = [self.let_it_kill(times + 1) for times in range(self.CRASH_LIMIT + 1)]
        dead = self.weftd.get(job)
        self.assertEqual(dead['state'], 'dead')
        self.assertEqual(dead['attempt'], self.CRASH_LIMIT + 1)
        self.assertIn('weftd died during attempt 3', dead['error'])
        self.assertIn('too often', dead['error'])
        self.assertEqual(support.read_lines(self.notes),
                         [f'{job} {attempt + 1}' for attempt in range(self.CRASH_LIMIT + 1)])
        for other in self.weftd.wait_all(others):
            self.assertEqual(other['state'], 'succeeded')
        self.assertEqual(support.Children.adopted(), [], 'it left processes behind')
        self.weftd.kill()
        self.weftd.start()
        self.assertEqual(self.weftd.get(job), dead)

    def test_retries_do_not_save_it(self):
        job = self.weftd.shell(self.script, self.notes, retries=10)
        for times in range(self.CRASH_LIMIT + 1):
            self.let_it_kill(times + 1)
        self.assertEqual(self.weftd.get(job)['state'], 'dead')

    def test_on_crash_fail_runs_it_once(self):
        job = self.weftd.shell(self.script, self.notes, on_crash='fail')
        self.let_it_kill(1)
        failed = self.weftd.get(job)
        self.assertEqual((failed['state'], failed['attempt']), ('failed', 1))
        self.assertEqual(failed['error'], 'weftd died during attempt 1')
        self.assertEqual(support.read_lines(self.notes), [f'{job} 1'])

    def test_at_once_and_again_it_does_not_go_on_for_ever(self):
        """The same without waiting: a start that was not on disk yet counts as none."""
        job = self.weftd.shell(  # until it may: so that we are told its id
            f'until [ -e "$0.go" ]; do sleep 0.01; done; {NOTE}; kill -9 $PPID; sleep 60', self.notes)
        with open(self.notes + '.go', 'w', encoding='utf-8'):
            pass
        for _ in range(100):
            self.assertEqual(self.weftd.await_exit(), -9)
            self.weftd.drop_connection()
            self.weftd.spawn()
            support.wait_until(self.answers_or_ended, 'it answers or ends')
            if self.weftd.running and self.is_dead(job):
                break
        self.assertEqual(self.weftd.get(job)['attempt'], self.CRASH_LIMIT + 1)
        attempts = [int(line.split()[1]) for line in support.read_lines(self.notes)]
        self.assertEqual(attempts, sorted(attempts))
        self.assertEqual(max(attempts), self.CRASH_LIMIT + 1)

    def answers_or_ended(self):
        if not self.weftd.running:
            return True
        try:
            with self.weftd.connect() as connection:
                return connection.call('ping')
        except support.Disconnected:
            return False

    def is_dead(self, job):
        try:
            return self.weftd.get(job)['state'] == 'dead'
        except support.Disconnected:
            self.weftd.drop_connection()
            return False


class Interrupted(support.WeftdTest):
    """What was running when weftd died."""

    CRASH_LIMIT = 2
    config = f'[jobs]\ncrash_limit = {CRASH_LIMIT}\n[exec]\nkill_grace = 300ms\n[daemon]\ndrain = 100ms\n'

    def test_a_call_is_tried_again_and_then_dead(self):
        job = self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'})['id']
        for attempt in range(1, self.CRASH_LIMIT + 2):
            self.assertEqual(self.weftd.await_only_call(job)['attempt'], attempt)
            self.weftd.kill()
            self.weftd.start()
        dead = self.weftd.get(job)
        self.assertEqual((dead['state'], dead['attempt']), ('dead', self.CRASH_LIMIT + 1))

    def test_an_orderly_stop_counts_as_none(self):
        job = self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'})['id']
        for _ in range(self.CRASH_LIMIT + 2):
            self.assertEqual(self.weftd.await_state(job, 'running')['attempt'], 1)
            self.weftd.send_signal()
            self.weftd.await_log('stopping')
            self.weftd.send_signal(2)
            self.weftd.check_ended()
            self.weftd.start()

    def test_its_processes_are_gone_before_it_runs_again(self):
        notes = self.weftd.path('notes')
        script = (f'{NOTE}; setsid sleep 3600 & (setsid sh -c "trap \\"\\" TERM; '
                  f'sleep 3600; sleep 3600" &); exec sleep 3600')
        job = self.weftd.shell(script, notes)
        old = support.wait_until(lambda: self.family_of(job), 'all of its processes are there')
        self.weftd.echo()
        self.weftd.kill()
        self.weftd.start()
        self.assert_gone(old)
        self.weftd.await_state(job, 'running')
        support.wait_until(lambda: support.read_lines(notes) == [f'{job} 1', f'{job} 2'],
                           'the second attempt')
        self.assertEqual(self.weftd.call('job.cancel', ids=[job])['results'],
                         [{'id': job, 'state': 'cancelled'}])
        self.assertEqual(support.Children.adopted(), [])

    def family_of(self, job):
        family = list(self.processes_of(job, 1))
        return family if len(family) >= 4 else None

    def processes_of(self, job, attempt):
        """By what weftd puts into their environment."""
        marks = {f'WEFT_JOB_ID={job}'.encode(), f'WEFT_ATTEMPT={attempt}'.encode(),
                 f'WEFT_SOCKET={self.weftd.socket}'.encode()}
        for name in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{name}/environ', 'rb') as file:
                    environment = set(file.read().split(b'\0'))
                with open(f'/proc/{name}/comm', encoding='utf-8') as file:
                    command = file.read().strip()
            except OSError:
                continue
            if marks <= environment and command in ('sh', 'sleep', 'dash', 'setsid'):
                yield int(name)

    def test_output_of_a_killed_attempt_makes_place_for_the_next(self):
        go = self.weftd.path('go')
        job = self.weftd.shell('echo attempt $WEFT_ATTEMPT; until [ -e "$0" ]; do sleep 0.01; done',
                               go)
        support.wait_until(lambda: self.weftd.logs(job) == b'attempt 1\n', 'its output')
        self.weftd.echo()
        self.weftd.kill()
        self.weftd.start()
        support.wait_until(lambda: self.weftd.logs(job) == b'attempt 2\n', 'the second output')
        with open(go, 'w', encoding='utf-8'):
            pass
        self.assertEqual(self.weftd.wait(job)['state'], 'succeeded')
        self.assertEqual(self.weftd.logs(job), b'attempt 2\n')


class Client(support.WeftdTest):
    """The weft command acknowledges with the id that it prints."""

    def test_printed_ids_are_there(self):
        printed = []
        for _ in range(support.scaled(5, 2)):
            stop = threading.Event()

            def submit(stop=stop):
                while not stop.is_set():
                    result = self.weftd.weft('call', 'echo', json.dumps({'n': len(printed)}))
                    if result.returncode == 0:
                        printed.append(int(result.stdout))

            target = len(printed) + 5
            thread = threading.Thread(target=submit)
            thread.start()
            try:
                support.wait_until(lambda target=target: len(printed) >= target, 'some ids')
                self.weftd.kill()
            finally:
                stop.set()
                thread.join()
            self.weftd.start()
        self.assertEqual(len(printed), len(set(printed)))
        for number, job in enumerate(self.weftd.wait_all(printed)):
            self.assertEqual(job['result'], {'n': number})


if __name__ == '__main__':
    support.main()
