#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The crash oracle: clients submit jobs of all kinds while weftd is killed, at named failpoints
(daemon/failpoint.h) and at random.  After each death the store is verified, and after each start
what weftd says is compared with what it had said before.

  crash_oracle_test.py [SECONDS]     default 5; ./dev oracle [SECONDS] builds and runs it
  WEFT_TEST_SEED                     replays the plan: which jobs, which deaths

What must hold:
  O1  every acknowledged job is there, as it was submitted
  O2  an end that a client was shown, or an event told of, never changes
  O3  every event is an edge of docs/job-states.md, and begins where the one before it ended
  O4  no job is tried more often than its retries and crash_limit allow; on_crash=fail runs once; the
      attempts that a program saw only grow, and it sees none after its end
  O5  a job that waits for another's success runs after it or never
  O6  of one key one job lives or ended within key_keep, and the store has no fault (weftd --verify)
"""

import collections
import os
import random
import re
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import job_events  # noqa: E402
from support import weftd as support  # noqa: E402

SEED = int(os.environ.get('WEFT_TEST_SEED') or random.randrange(1 << 32))
SECONDS = float(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 5.0
NOTE = 'echo "$WEFT_JOB_ID $WEFT_ATTEMPT" >> "$0"'
CRASH_LIMIT = 3
KEY_KEEP = 0.2
RETRIES = 2
POINTS = ('write', 'commit', 'committed', 'folded', 'reply', 'replied', 'start', 'started',
          'spawned', 'exited', 'reap', 'reaped', 'ran', 'ended')


class Oracle(support.WeftdTest):
    CLIENTS = 4
    starts = False
    config = (f'[jobs]\ncrash_limit = {CRASH_LIMIT}\nretry_base = 1ms\nretry_cap = 5ms\n'
              '[queue default]\nconcurrency = 8\n[store]\ncheckpoint = 64K\n'
              f'[daemon]\nevents = 1000000\nkey_keep = {KEY_KEEP}s\n[exec]\nkill_grace = 1s\n')

    def setUp(self):
        print(f'WEFT_TEST_SEED={SEED} ', end='', flush=True)
        self.began = time.monotonic()
        self.random = random.Random(SEED)
        self.lock = threading.Lock()
        self.asked = {}     # id: what was submitted, and acknowledged
        self.finished = {}  # id: the job as a client has seen its end
        self.ends = {}      # id: the end that an event told of
        self.deaths = collections.Counter()
        self.wrong = []     # what threads found
        self.kinds = collections.Counter()
        self.count = collections.Counter()
        self.legal = job_events.edges()
        super().setUp()
        self.notes = self.weftd.path('notes')

    # -- clients

    def make_job(self, rand):
        program = ['/bin/sh', '-c', NOTE, self.notes]
        kind = rand.randrange(9)
        if kind == 0:
            return 'program', {'argv': program}
        if kind == 1:
            return 'on_crash fail', {'argv': program, 'on_crash': 'fail'}
        if kind == 2:
            return 'retried', {'argv': ['/bin/sh', '-c', NOTE + '; exit 3', self.notes],
                               'retries': RETRIES}
        if kind == 3:
            return 'sleep', {'call': 'sleep', 'args': {'seconds': rand.choice((0, 0.01, 0.03))}}
        if kind == 4:
            return 'keyed', {'call': 'sleep', 'args': {'seconds': 0.02},
                             'key': f'k{rand.randrange(5)}'}
        if kind == 5:
            return 'delayed', {'call': 'echo', 'delay': '20ms'}
        if kind == 6 and self.asked:
            with self.lock:
                first = rand.choice(list(self.asked)[-20:])
            return 'after', {'argv': program, 'after': [first]}
        return 'echo', {'call': 'echo', 'args': {'text': 'x' * rand.choice((0, 10, 3000))}}

    def client(self, name, stop):
        rand = random.Random(f'{SEED} {name}')
        try:
            with self.weftd.connect() as connection:
                while not stop.is_set():
                    self.submit_some(connection, rand)
        except support.Disconnected:
            pass
        except (AssertionError, support.RpcError) as error:  # on a thread, nobody would see it
            self.wrong.append(str(error))

    def submit_some(self, connection, rand):
        kinds, jobs = zip(*(self.make_job(rand) for _ in range(rand.choice((1, 1, 2, 10)))))
        if len(jobs) == 1:
            results = [connection.call('job.submit', **jobs[0])]
        else:
            results = connection.call('job.submit_many', jobs=jobs)['results']
        with self.lock:
            for result, kind, job in zip(results, kinds, jobs, strict=True):
                self.acknowledge(result, kind, job)
        if rand.random() < 0.3:
            done = connection.call('job.wait', ids=[one['id'] for one in results],
                                   timeout=support.DEADLINE)['jobs']
            with self.lock:
                for job in done:
                    self.finished[job['id']] = job

    def acknowledge(self, result, kind, job):
        number = result['id']
        if result.get('existing'):
            self.count['submits of a key that was there'] += 1
            before = self.asked.get(number)  # or somebody's whose acknowledgement is lost
            self.assertTrue(before is None or before.get('key') == job['key'], result)
            return
        self.assertNotIn(number, self.asked, 'an id was given twice')
        self.asked[number] = job
        self.kinds[kind] += 1

    # -- one life

    def plan(self):
        """Where it dies, or None: at random, after so many acknowledgements."""
        point = None
        if self.random.random() < 0.75:
            most = 4 if self.random.random() < 0.3 else 60
            point = f'{self.random.choice(POINTS)}:{self.random.randrange(1, most)}'
        return point, self.random.randrange(1, 80)

    def answers_or_died(self):
        if not self.weftd.running:
            return True
        try:
            with self.weftd.connect() as connection:
                return connection.call('ping') == 'pong'
        except support.Disconnected:
            return False

    def live_and_die(self, turn):
        point, target = self.plan()
        self.weftd.env.pop('WEFT_FAILPOINT', None)
        if point:
            self.weftd.env['WEFT_FAILPOINT'] = point
        self.weftd.spawn()
        support.wait_until(self.answers_or_died, f'it answers or dies ({point})')
        try:
            moves = job_events.Moves(self.weftd.connect(), self.legal)
        except support.Disconnected:
            moves = None  # it died before
        if moves:
            listener = threading.Thread(target=moves.read_to_end)
            listener.start()
            self.submit_until_death(turn, 150 if point else target)
            listener.join()
            self.assertEqual(moves.wrong + self.wrong, [])
            self.note_ends(moves.states)
            self.count['events'] += moves.count
        self.assertEqual(self.weftd.await_exit(), -9, self.weftd.log()[-2000:])
        self.weftd.drop_connection()
        struck = (point or 'random').partition(':')[0]
        self.deaths[struck] += 1

    def submit_until_death(self, turn, most):
        stop, before = threading.Event(), len(self.asked)
        threads = [threading.Thread(target=self.client, args=(f'{turn} {number}', stop))
                   for number in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            support.wait_until(lambda: not self.weftd.running or len(self.asked) >= before + most,
                               'it dies, or is to die')
            if self.weftd.running:
                self.weftd.send_signal(9)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def note_ends(self, states):
        for number, state in states.items():
            if state in support.ENDS:
                self.assertIn(self.ends.get(number, state), (state,), f'job {number} ended twice')
                self.ends[number] = state

    # -- checks

    def verify(self):
        result = support.run(self.weftd.argv('--verify'), env=self.weftd.env, cwd='/')
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.count['stores verified'] += 1

    def check(self):
        """Of a weftd that runs, right after its start: O1, O2, O4."""
        numbers = sorted(self.asked)
        counts = self.note_counts()
        for number, job in zip(numbers, self.weftd.get_all(numbers), strict=True):
            for member in ('argv', 'call', 'args', 'key', 'after'):
                if member != 'args' or member in self.asked[number]:
                    self.assertEqual(job.get(member), self.asked[number].get(member), job)
            if number in self.finished:
                self.assertEqual(job, self.finished[number], 'an end has changed')
            if number in self.ends:
                self.assertEqual(job['state'], self.ends[number], 'an end that was told has changed')
            self.check_attempts(job, counts.get(number, []))
        self.count['jobs compared after a start'] += len(numbers)

    def note_counts(self):
        counts = {}
        for line in support.read_lines(self.notes):
            number, attempt = map(int, line.split())
            counts.setdefault(number, []).append(attempt)
        return counts

    def check_attempts(self, job, seen):
        asked = self.asked[job['id']]
        retries = asked.get('retries', 0)
        self.assertLessEqual(job['attempt'], CRASH_LIMIT + 1 + retries, job)
        self.assertEqual(seen, sorted(seen), f'attempts only grow: {job}')
        if asked.get('on_crash') == 'fail':
            self.assertLessEqual(len(seen), 1, f'it ran twice: {job}')
        if job['state'] in support.ENDS and seen:
            self.assertLessEqual(max(seen), job['attempt'], f'it ran after its end: {job}')

    def check_the_end(self):
        numbers = sorted(self.asked)
        jobs = {job['id']: job for job in self.weftd.wait_all(numbers)}
        counts = self.note_counts()
        for number, job in jobs.items():
            self.check_attempts(job, counts.get(number, []))
            if 'after' in self.asked[number]:
                self.check_dependent(job, self.weftd.get(self.asked[number]['after'][0]))
            elif self.asked[number].get('retries'):
                self.assertEqual(job['state'], 'dead', job)
            elif self.asked[number].get('on_crash') == 'fail':
                self.assertIn(job['state'], ('succeeded', 'failed'), job)
            else:
                self.assertIn(job['state'], ('succeeded', 'dead'), job)
            if job['state'] == 'succeeded' and 'argv' in job:
                self.assertIn(job['attempt'], counts[number], f'it never ran: {job}')

    def check_keys(self):
        last = {}  # by key
        for job in reversed(self.weftd.list()):
            before = last.get(job.get('key'))
            if before:
                self.assertGreater(job['submitted_at'] + 1e-5, before['finished_at'] + KEY_KEEP,
                                   (before, job))
            if 'key' in job:
                last[job['key']] = job

    def check_dependent(self, job, first):
        if job['attempt'] > 0:
            self.assertEqual(first['state'], 'succeeded', (job, first))
            self.assertLessEqual(first['finished_at'], job['started_at'], (job, first))
        else:
            self.assertEqual(job['state'], 'cancelled', job)
            self.assertNotEqual(first['state'], 'succeeded', (job, first))

    def test_nothing_acknowledged_is_lost(self):
        end = time.monotonic() + SECONDS
        turn = 0
        while turn < 5 or time.monotonic() < end:
            self.live_and_die(turn)
            self.verify()
            turn += 1
            if turn % 3 == 0 or time.monotonic() > end:
                self.weftd.env.pop('WEFT_FAILPOINT', None)
                self.weftd.start()
                self.check()
                if time.monotonic() > end and turn >= 5:
                    break
                self.weftd.kill()
                self.verify()
        if not self.weftd.running:
            self.weftd.env.pop('WEFT_FAILPOINT', None)
            self.weftd.start()
            self.check()
        self.check_the_end()
        self.check_keys()
        self.check()
        self.summary()


    def summary(self):
        def listed(counts):
            return ', '.join(f'{name} {counts[name]}' for name in sorted(counts))

        self.count['ends seen by clients'] = len(self.finished)
        self.count['ends told by events'] = len(self.ends)
        print(f'\n{time.monotonic() - self.began:.0f} s, seed {SEED}: '
              f'{sum(self.deaths.values())} deaths, {len(self.asked)} jobs acknowledged')
        for what, counts in (('deaths', self.deaths), ('jobs', self.kinds), ('seen', self.count)):
            print(f'{what}: {listed(counts)}')


class Forgotten(support.WeftdTest):
    """Between the deletion of rows and that of their output."""

    starts = False
    config = '[jobs]\nretain = 1s\n'

    def test_output_whose_job_was_deleted_is_removed_by_the_next_start(self):
        self.weftd.env['WEFT_FAILPOINT'] = 'forgotten'
        self.weftd.start()
        job = self.weftd.shell('echo out')  # not waited for: weftd may be gone before we ask
        self.assertEqual(self.weftd.await_exit(), -9)
        self.weftd.drop_connection()
        folder = os.path.join(self.weftd.state, 'output', '0')
        self.assertEqual(os.listdir(folder), [f'{job}.1.out'])
        del self.weftd.env['WEFT_FAILPOINT']
        self.weftd.start()
        support.wait_until(lambda: not os.path.exists(folder), 'it is gone')
        with self.assertRaises(support.RpcError):
            self.weftd.get(job)
        self.assertGreater(self.weftd.echo(), job)


class Armed(support.WeftdTest):
    starts = False

    def test_a_failpoint_that_is_none_is_refused(self):
        for text in ('nowhere', 'commit:0', 'commit:x', ':3', ''):
            self.weftd.env['WEFT_FAILPOINT'] = text
            status, said = self.weftd.refused()
            self.assertEqual(status, 2)
            self.assertIn('there is no such failpoint', said)

    def test_the_oracle_uses_every_failpoint(self):
        with open(os.path.join(support.SOURCE, 'daemon', 'failpoint.c'), encoding='utf-8') as file:
            names = re.findall(r'\[FAILPOINT_\w+\] = "(\w+)"', file.read())
        self.assertEqual(sorted(names), sorted((*POINTS, 'forgotten')))  # that one: Forgotten


if __name__ == '__main__':
    support.main()
