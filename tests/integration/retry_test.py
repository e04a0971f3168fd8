#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ended jobs that get another chance, which survives SIGKILL; and why a job does not run.  Prints its
seed; WEFT_TEST_SEED sets it."""

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
NO_SUCH_JOB, NO_SUCH_QUEUE, CONFLICT = -32001, -32002, -32011
NOTE = 'echo "$WEFT_JOB_ID $WEFT_ATTEMPT" >> "$0"; '


def touch(path):
    with open(path, 'w', encoding='utf-8'):
        pass


class RetryTest(support.WeftdTest):
    def retry(self, *numbers):
        return self.weftd.call('job.retry', ids=list(numbers))['results']

    def explain(self, number):
        return self.weftd.call('job.explain', id=number)

    def cancel(self, *numbers):
        return self.weftd.call('job.cancel', ids=list(numbers))['results']

    def sleeper(self, **params):
        return self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'}, **params)['id']

    def reconfigure(self, config):
        self.weftd.configure(config)
        self.weftd.call('daemon.reload')


class Retry(RetryTest):
    config = '[jobs]\nretry_base = 1ms\nretry_cap = 1ms\n[queue off]\nconcurrency = 0\n'

    def setUp(self):
        super().setUp()
        self.go, self.notes = self.weftd.path('go'), self.weftd.path('notes')

    def test_the_same_job_runs_again(self):
        number = self.weftd.shell(NOTE + 'echo "this is $WEFT_ATTEMPT"; [ -e "$1" ]', self.notes,
                                  self.go, name='again')
        before = self.weftd.wait(number)
        self.assertEqual((before['state'], before['attempt']), ('failed', 1))
        touch(self.go)
        self.assertEqual(self.retry(number), [{'id': number, 'state': 'queued'}])
        job = self.weftd.wait(number)
        self.assertEqual((job['state'], job['attempt'], job['exit_code']), ('succeeded', 2, 0))
        self.assertEqual((job['name'], job['argv']), (before['name'], before['argv']))
        self.assertEqual(job['submitted_at'], before['submitted_at'])
        self.assertGreaterEqual(job['started_at'], before['finished_at'])
        self.assertNotIn('error', job)
        self.assertEqual(support.read_lines(self.notes), [f'{number} 1', f'{number} 2'])
        self.assertEqual(self.weftd.logs(number), b'this is 2\n')
        self.assertEqual(self.weftd.stats()['totals']['revived'], 1)

    def test_its_retries_are_counted_anew(self):
        number = self.weftd.shell(NOTE + 'exit 1', self.notes, retries=2)
        self.assertEqual(self.weftd.wait(number)['state'], 'dead')
        self.retry(number)
        job = self.weftd.wait(number)
        self.assertEqual((job['state'], job['attempt']), ('dead', 6))
        self.assertEqual(support.read_lines(self.notes),
                         [f'{number} {attempt}' for attempt in range(1, 7)])

    def test_each_id_is_answered_in_order(self):
        done, failed = self.weftd.echo(), self.weftd.shell('exit 1')
        running, queued = self.sleeper(), self.sleeper(queue='off')
        self.weftd.wait_all([done, failed])
        self.weftd.await_state(running, 'running')
        results = self.retry(done, failed, running, 999, queued, failed)
        self.assertEqual([one['id'] for one in results],
                         [done, failed, running, 999, queued, failed])
        self.assertEqual(results[1], {'id': failed, 'state': 'queued'})
        for at, code, words in ((0, CONFLICT, 'nothing to retry'), (2, CONFLICT, 'is running'),
                                (3, NO_SUCH_JOB, 'no job 999'), (4, CONFLICT, 'is queued'),
                                (5, CONFLICT, 'already')):
            self.assertEqual(results[at]['error']['code'], code)
            self.assertIn(words, results[at]['error']['message'])
        self.assertEqual(self.weftd.wait(failed)['attempt'], 2)
        self.cancel(running, queued)

    def test_a_cancelled_and_a_timed_out_job(self):
        cancelled, late = self.weftd.echo({'n': 1}, queue='off'), self.sleeper(timeout='50ms')
        self.cancel(cancelled)
        self.assertEqual(self.weftd.wait(late)['state'], 'timed_out')
        self.assertEqual([one['state'] for one in self.retry(cancelled, late)], ['queued'] * 2)
        self.assertEqual(self.weftd.wait(late)['attempt'], 2)
        job = self.weftd.get(cancelled)
        self.assertEqual((job['state'], job['attempt']), ('queued', 0))
        self.assertNotIn('finished_at', job)
        self.reconfigure(self.config.replace('concurrency = 0', 'concurrency = 1'))
        self.assertEqual(self.weftd.wait(cancelled)['result'], {'n': 1})

    def test_old_ids_are_found_among_newer_ones_after_a_restart(self):
        """After it, what has ended is in the store alone."""
        numbers = [self.weftd.echo(queue='off') for _ in range(60)]
        ended = numbers[::3]
        self.cancel(*ended)
        self.weftd.stop()
        self.weftd.start()
        self.assertEqual(self.weftd.stats()['totals']['recent'], 0)
        self.retry(*random.Random(SEED).sample(ended, len(ended)))
        self.assertEqual([job['id'] for job in self.weftd.list(state='queued')], numbers[::-1])
        self.assertEqual([job['id'] for job in self.weftd.list()], numbers[::-1])
        self.assertEqual(self.weftd.list(state='cancelled'), [])
        self.reconfigure(self.config.replace('concurrency = 0', 'concurrency = 5'))
        self.assertEqual({job['state'] for job in self.weftd.wait_all(numbers)}, {'succeeded'})
        self.assertEqual([job['id'] for job in self.weftd.list(state='succeeded')], numbers[::-1])

    def test_the_command(self):
        failed, done = self.weftd.shell('exit 1'), self.weftd.echo()
        self.weftd.wait_all([failed, done])
        result = self.weftd.weft('retry', failed)
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (0, f'{failed} queued\n', ''))
        self.weftd.wait(failed)
        result = self.weftd.weft('retry', '-', input=f'{failed}\n{done}\n')
        self.assertEqual((result.returncode, result.stdout), (1, f'{failed} queued\n'))
        self.assertIn(f'job {done} has succeeded', result.stderr)
        self.weftd.wait(failed)
        result = self.weftd.weft('retry', '--json', failed)
        self.assertEqual(json.loads(result.stdout), {'id': failed, 'state': 'queued'})


class Killed(RetryTest):
    """What job.retry has acknowledged is not lost by SIGKILL."""

    CRASH_LIMIT = 1
    ROUNDS = support.scaled(8, 3)
    JOBS = 60
    config = f'[jobs]\ncrash_limit = {CRASH_LIMIT}\n[queue off]\nconcurrency = 0\n'

    def test_it_is_queued_afterwards(self):
        number = self.weftd.echo({'n': 1}, queue='off')
        self.cancel(number)
        self.retry(number)
        before = self.weftd.get(number)
        self.weftd.kill()
        self.weftd.start()
        self.assertEqual(self.weftd.get(number), before)
        self.assertEqual(self.weftd.list(state='cancelled'), [])
        self.reconfigure(self.config.replace('concurrency = 0', 'concurrency = 1'))
        self.assertEqual(self.weftd.wait(number)['result'], {'n': 1})

    def crash(self, number, attempt):
        self.assertEqual(self.weftd.await_only_call(number)['attempt'], attempt)
        self.weftd.kill()
        self.weftd.start()

    def test_its_crashes_are_counted_anew(self):
        number = self.sleeper()
        for attempt in (1, 2):
            self.crash(number, attempt)
        self.assertEqual(self.weftd.get(number)['state'], 'dead')
        self.retry(number)
        for attempt in (3, 4):
            self.crash(number, attempt)
        job = self.weftd.get(number)
        self.assertEqual((job['state'], job['attempt']), ('dead', 4))

    def retry_until_killed(self, numbers, acknowledged, some):
        rand = random.Random(f'{SEED} {threading.get_ident()}')
        try:
            with self.weftd.connect() as connection:
                while True:
                    ids = rand.sample(numbers, 5)
                    results = connection.call('job.retry', ids=ids)['results']
                    acknowledged += [one['id'] for one in results if 'state' in one]
                    if acknowledged:
                        some.set()
                    connection.call('job.wait', ids=ids, timeout=support.DEADLINE)
        except support.Disconnected:
            pass

    def test_at_random(self):
        print(f'seed {SEED} ', end='')
        rand = random.Random(SEED)
        numbers = [self.weftd.shell('exit 1') for _ in range(self.JOBS)]
        self.weftd.wait_all(numbers)
        retries = dict.fromkeys(numbers, 0)
        for _ in range(self.ROUNDS):
            acknowledged, some = [], threading.Event()
            threads = [threading.Thread(target=self.retry_until_killed,
                                        args=(numbers, acknowledged, some)) for _ in range(3)]
            for thread in threads:
                thread.start()
            some.wait(support.DEADLINE)
            target = rand.randrange(1, 60)
            support.wait_until(lambda acknowledged=acknowledged, target=target:
                               len(acknowledged) >= target, f'{target} retries')
            self.weftd.kill()
            for thread in threads:
                thread.join()
            self.weftd.start()
            for number in acknowledged:
                retries[number] += 1
            for job in self.weftd.wait_all(numbers):
                self.assertIn(job['state'], ('failed', 'dead'))
                self.assertGreater(job['attempt'], retries[job['id']],
                                   'a retry that was acknowledged is lost')
        listed = self.weftd.list()
        self.assertLessEqual(set(numbers), {job['id'] for job in listed})
        self.assertEqual(len(listed), len({job['id'] for job in listed}))


class Explain(RetryTest):
    config = ('[jobs]\nretry_base = 100s\nretry_cap = 150s\n'
              '[queue one]\nconcurrency = 1\n[queue off]\nconcurrency = 0\n[queue old]\n')

    def check(self, number, state, why, *words):
        found = self.explain(number)
        self.assertEqual((found['id'], found['state'], found['why']), (number, state, why), found)
        for word in words:
            self.assertIn(word, found['reason'])
        return found

    def test_a_queue_that_is_full(self):
        running, first, second = (self.sleeper(queue='one') for _ in range(3))
        job = self.weftd.await_state(running, 'running')
        found = self.check(running, 'running', 'running', 'attempt 1 has been running since')
        self.assertEqual(found['started_at'], job['started_at'])
        self.assertNotIn('ahead', found)
        found = self.check(first, 'queued', 'queue_full', 'the one slot of queue "one"', 'the next')
        self.assertEqual(found['ahead'], 0)
        found = self.check(second, 'queued', 'queue_full', '1 job is ahead of it')
        self.assertEqual((found['ahead'], found['queue']), (1, {
            'name': 'one', 'configured': True, 'paused': False, 'running': 1, 'concurrency': 1,
            'queued': 2}))
        self.cancel(running)
        self.weftd.await_state(first, 'running')
        self.check(second, 'queued', 'queue_full', 'it is the next')
        self.cancel(first, second)

    def test_a_queue_that_is_off_or_left_the_configuration(self):
        off = self.sleeper(queue='off')
        self.check(off, 'queued', 'queue_off', 'starts nothing')
        self.cancel(off)
        number = self.weftd.shell('exit 1', queue='old')
        self.weftd.wait(number)
        self.assertTrue(self.check(number, 'failed', 'ended')['retryable'])
        self.reconfigure('[queue one]\n')
        found = self.check(number, 'failed', 'ended', 'queue "old" is not in the configuration')
        self.assertEqual((found['retryable'], found['queue']['configured']), (False, False))
        self.assertEqual(self.retry(number)[0]['error']['code'], NO_SUCH_QUEUE)
        self.weftd.stop()
        self.weftd.start()
        self.assertFalse(self.check(number, 'failed', 'ended')['retryable'])
        self.assertEqual(self.retry(number)[0]['error']['code'], NO_SUCH_QUEUE)

    def test_a_delay_and_a_backoff(self):
        delayed = self.sleeper(delay='1h')
        found = self.check(delayed, 'delayed', 'delay', 'its client asked for a delay')
        self.assertEqual(found['due_at'], self.weftd.get(delayed)['due_at'])
        failing = self.weftd.shell('exit 9', retries=5)
        self.weftd.await_state(failing, 'delayed')
        found = self.check(failing, 'delayed', 'backoff', 'attempt 1 failed: exit status 9',
                           'the next is due at')
        self.assertEqual((found['failures'], found['retries'], found['error']),
                         (1, 5, 'exit status 9'))

    def test_an_end(self):
        number, failed = self.weftd.echo(), self.weftd.shell('exit 3')
        self.weftd.wait_all([number, failed])
        for _ in range(2):  # from memory, then from the store
            found = self.check(number, 'succeeded', 'ended', 'there is nothing to retry')
            self.assertFalse(found['retryable'])
            found = self.check(failed, 'failed', 'ended',
                               'attempt 1 failed: exit status 3; it can be retried')
            self.assertEqual((found['exit_code'], found['retryable']), (3, True))
            self.weftd.stop()
            self.weftd.start()
        self.assert_refused(lambda: self.explain(999), NO_SUCH_JOB, '999')

    def test_the_command(self):
        number = self.weftd.shell('exit 3')
        self.weftd.wait(number)
        result = self.weftd.weft('explain', number)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (
            0, f'job {number} (failed): attempt 1 failed: exit status 3; it can be retried\n', ''))
        result = self.weftd.weft('explain', '--json', number)
        self.assertEqual(json.loads(result.stdout), self.explain(number))
        result = self.weftd.weft('explain', 999)
        self.assertEqual((result.returncode, result.stdout), (1, ''))
        self.assertIn('there is no job 999', result.stderr)


if __name__ == '__main__':
    support.main()
