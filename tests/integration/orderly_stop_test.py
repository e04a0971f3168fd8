#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SIGTERM and SIGINT: weftd ends within its grace, with status 0, and leaves nobody behind; the next
one goes on where it stopped, and nothing that had finished runs again."""

import os
import signal
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

SHUTTING_DOWN = -32007
TROUBLE = os.path.join(support.BUILD, 'tests', 'modules', 'trouble.so')

# Append the id and the attempt, in one write; $0 is the file.
NOTE = 'echo "$WEFT_JOB_ID $WEFT_ATTEMPT" >> "$0"'


class Full(support.WeftdTest):
    """Stopped with sleeping fibers, running programs and a backlog."""

    SLEEPING = 200
    RUNNING = 20
    QUEUED = support.scaled(5000, 500)
    QUEUED_PROGRAMS = support.scaled(100, 20)
    GRACE = 20

    settings = f"""
[daemon]
drain = 500ms
grace = {GRACE}s
[exec]
kill_grace = 1s
[queue sleepers]
concurrency = 300
[queue programs]
concurrency = 30
[queue backlog]
concurrency = %d
"""
    config = settings % 0

    def setUp(self):
        super().setUp()
        self.notes = self.weftd.path('notes')
        self.started = self.weftd.path('started')

    def submit_all(self):
        self.done = self.weftd.submit_many(
            [self.program(NOTE) for _ in range(20)] + [self.echo(n) for n in range(20)])
        self.weftd.wait_all(self.done)
        self.sleeping = self.weftd.submit_many(
            [{'call': 'sleep', 'args': {'seconds': 3600}, 'queue': 'sleepers'}] * self.SLEEPING)
        # a third ends at once on SIGTERM, a third has a child that does not, a third ignores it
        note = NOTE.replace('$0', self.started)
        scripts = (f'{note}; exec sleep 3600', f'(trap "" TERM; sleep 3600) & {note}; wait',
                   f'trap "" TERM; {note}; while :; do sleep 3600; done')
        self.running = self.weftd.submit_many(
            [self.program(scripts[n % 3], queue='programs') for n in range(self.RUNNING)])
        self.queued = self.weftd.submit_many(
            [self.echo(n, queue='backlog') for n in range(self.QUEUED)] +
            [self.program(NOTE, queue='backlog') for _ in range(self.QUEUED_PROGRAMS)])
        self.delayed = self.weftd.submit_many([self.program(NOTE, delay='1h')] * 5)

    def program(self, script, **more):
        return {'argv': ['/bin/sh', '-c', script, self.notes], **more}

    @staticmethod
    def echo(number, **more):
        return {'call': 'echo', 'args': {'number': number}, **more}

    def noted(self):
        return support.read_lines(self.notes)

    def restart(self):
        self.assertLess(self.weftd.stop(), self.GRACE)
        self.assertFalse(os.path.exists(self.weftd.socket), 'the socket is left')
        os.unlink(self.started)
        self.weftd.configure(self.settings % 50)
        self.weftd.start()

    def await_all_running(self):
        def running():
            jobs = self.weftd.stats()['jobs']
            return jobs['running'] == self.SLEEPING + self.RUNNING
        support.wait_until(running, 'all sleepers and programs run')
        support.wait_until(lambda: len(support.read_lines(self.started)) == self.RUNNING,
                           'every program has begun')

    def check_stopped_jobs(self):
        """They were given back whole: the same attempt runs again."""
        for number in self.sleeping + self.running:
            job = self.weftd.get(number)
            self.assertIn(job['state'], ('queued', 'running'), job)
            self.assertEqual(job['attempt'], 1 if job['state'] == 'running' else 0, job)
            self.assertNotIn('error', job)
        for number in self.delayed:
            self.assertEqual(self.weftd.state_of(number), 'delayed')

    def check_backlog(self):
        jobs = self.weftd.wait_all(self.queued)
        self.assertEqual({job['state'] for job in jobs}, {'succeeded'})
        self.assertEqual({job['attempt'] for job in jobs}, {1})
        for number, job in enumerate(jobs[:self.QUEUED]):
            self.assertEqual(job['result'], {'number': number})

    def check_notes(self):
        """Each program that has ended ran once and no more."""
        expected = self.done[:20] + self.queued[self.QUEUED:]
        self.assertEqual(sorted(self.noted()), sorted(f'{number} 1' for number in expected))

    def test_stop_and_go_on(self):
        self.submit_all()
        before = self.weftd.get_all(self.done)
        self.await_all_running()
        self.assertEqual(self.weftd.stats()['jobs']['queued'], len(self.queued))
        self.restart()
        self.assertEqual(self.weftd.get_all(self.done), before, 'an end has changed')
        self.check_stopped_jobs()
        self.check_backlog()
        self.check_notes()
        self.check_second_stop(before)

    def check_second_stop(self, before):
        """With everything that is still there, and once more nothing runs twice."""
        self.await_all_running()
        ended = self.weftd.get_all(self.queued)
        self.restart()
        self.await_all_running()
        self.assertEqual(self.weftd.get_all(self.done), before)
        self.assertEqual(self.weftd.get_all(self.queued), ended)
        self.check_stopped_jobs()
        self.check_notes()
        self.assertEqual(self.weftd.stats()['totals']['started'], self.SLEEPING + self.RUNNING)


class Drain(support.WeftdTest):
    """What happens between the first signal and the end."""

    config = ('[daemon]\ndrain = 50m\ngrace = 1h\n[exec]\nkill_grace = 5m\n'
              f'[modules]\ntrusted = {TROUBLE}\n')

    def setUp(self):
        super().setUp()
        self.notes = self.weftd.path('notes')
        self.go = self.weftd.path('go')
        self.connection = self.weftd.connect()
        self.addCleanup(self.connection.close)

    def begin_stop(self, number=signal.SIGTERM):
        before = len(self.weftd.log())
        self.weftd.send_signal(number)
        self.weftd.await_log(f'{signal.Signals(number).name}: stopping', after=before)

    def running_program(self, script, **params):
        job = self.weftd.shell(f'{NOTE}; {script}', self.notes, **params)
        support.wait_until(lambda: support.read_lines(self.notes), 'the program has begun')
        return job

    def stop_in_a_hurry(self):
        """Not both at once: two of the same signal that nobody has taken yet are one."""
        self.begin_stop()
        self.weftd.send_signal(signal.SIGTERM)
        self.weftd.check_ended()

    def test_a_job_may_end_by_itself(self):
        job = self.running_program(f'until [ -e {self.go} ]; do sleep 0.01; done; echo done')
        waiting = self.connection.send('job.wait', ids=[job])
        self.begin_stop()
        with open(self.go, 'w', encoding='utf-8'):
            pass
        self.assertEqual(self.connection.reply(waiting)['jobs'][0]['state'], 'succeeded')
        self.weftd.check_ended()
        self.weftd.start()
        self.assertEqual(self.weftd.get(job)['state'], 'succeeded')
        self.assertEqual(self.weftd.logs(job), b'done\n')
        self.assertEqual(support.read_lines(self.notes), [f'{job} 1'])

    def test_nothing_new_is_taken_or_started(self):
        job = self.running_program(f'until [ -e {self.go} ]; do sleep 0.01; done')
        later = self.connection.call('job.submit', argv=['true'], delay='300ms')['id']
        self.begin_stop()
        for params in ({'argv': ['true']}, {'call': 'echo'}):
            self.assert_refused(lambda params=params: self.connection.call('job.submit', **params),
                                SHUTTING_DOWN)
        self.assert_refused(
            lambda: self.connection.call('job.submit_many', jobs=[{'call': 'echo'}]),
            SHUTTING_DOWN)
        self.assertEqual(self.connection.call('ping'), 'pong', 'who looks is still answered')
        self.assertEqual(self.connection.call('job.get', id=job)['state'], 'running')
        with open(self.go, 'w', encoding='utf-8'):
            pass
        self.weftd.check_ended()
        self.weftd.start()
        self.assertEqual(self.weftd.wait(later)['state'], 'succeeded')
        self.assertEqual(len(self.weftd.list()), 2)

    def test_a_second_signal_hurries(self):
        job = self.running_program('trap "" TERM; while :; do sleep 3600; done')
        call = self.weftd.call('job.submit', call='sleep', args={'seconds': '10h'})['id']
        self.weftd.await_state(call, 'running')
        began = time.monotonic()
        self.stop_in_a_hurry()
        self.assertLess(time.monotonic() - began, 5 * 60, 'it has waited for the grace')
        self.assertIn('hurrying', self.weftd.log())
        self.weftd.start()
        for number in (job, call):
            again = self.weftd.await_state(number, 'running')
            self.assertEqual(again['attempt'], 1, 'the attempt was given back')
        self.stop_in_a_hurry()

    def test_who_waits_is_told(self):
        job = self.running_program('exec sleep 3600')
        waiting = self.connection.send('job.wait', ids=[job])
        self.assertEqual(self.connection.call('ping'), 'pong')
        self.stop_in_a_hurry()
        self.assert_refused(lambda: self.connection.reply(waiting), SHUTTING_DOWN)
        self.assertTrue(self.connection.is_closed())

    def test_a_third_signal_leaves_at_once_and_recovery_cleans_up(self):
        endless = self.weftd.call('job.submit', call='trouble', args={'kind': 'loop'}, on_crash='fail')
        self.weftd.await_only_call(endless['id'])  # so that the stop cannot end before the third signal
        job = self.running_program('exec sleep 3600')
        self.begin_stop()
        # the second and the third find weftd stopped, so that hardly anything happens between them
        self.weftd.send_signal(signal.SIGSTOP)
        self.weftd.send_signal(signal.SIGTERM)
        self.weftd.send_signal(signal.SIGINT)
        self.weftd.send_signal(signal.SIGCONT)
        self.assertEqual(self.weftd.await_exit(), 1)
        self.weftd.drop_connection()
        self.assertIn('for the third time', self.weftd.log())
        self.weftd.start()
        again = self.weftd.await_state(job, 'running')
        support.wait_until(lambda: self.weftd.log().count(' ready on ') == 2,
                           'the log thread has written of both lives')
        # to recovery that was a crash, unless another worker gave it back between the two
        crashed = ' 1 to run again' in self.weftd.log()
        self.assertTrue(crashed or 'recovered: 1 queued' in self.weftd.log())
        self.assertEqual(again['attempt'], 2 if crashed else 1)
        self.assertEqual(support.Children.adopted(), [], 'the first attempt still runs')
        self.weftd.call('job.cancel', ids=[job])


class Endless(support.WeftdTest):
    """A trusted handler that never comes back, whatever it is told."""

    config = f"""
[daemon]
drain = 0
grace = 1s
[exec]
kill_grace = 100ms
[modules]
trusted = {TROUBLE}
"""

    def trouble(self, kind):
        return self.weftd.call('job.submit', call='trouble', args={'kind': kind})['id']

    def stop(self):
        self.weftd.send_signal(signal.SIGTERM)
        status = self.weftd.await_exit()
        self.weftd.drop_connection()
        return status

    def test_it_does_not_keep_weftd(self):
        job = self.trouble('loop')
        self.weftd.await_only_call(job)  # one that is told to stop before that would not even begin
        done = self.weftd.echo({'n': 1})
        self.weftd.wait(done)
        self.assertEqual(self.stop(), 1)
        self.assertIn('the grace is nearly over: killing what is left', self.weftd.log())
        self.assertIn('the grace is over, and 1 jobs do not end: leaving them', self.weftd.log())
        self.weftd.configure(self.config + '[queue default]\nconcurrency = 0\n')
        self.weftd.start()
        self.assertEqual(self.weftd.get(done)['result'], {'n': 1})
        self.assertEqual(self.weftd.get(job)['state'], 'queued')

    def test_nor_does_what_a_handler_has_left_behind(self):
        job = self.weftd.wait(self.trouble('left'))
        self.assertEqual(job['state'], 'succeeded')
        self.assertEqual(self.stop(), 1)
        self.weftd.start()
        self.assertEqual(self.weftd.get(job['id'])['state'], 'succeeded')


class Idle(support.WeftdTest):
    """Nothing to do, and yet to be stopped."""

    def test_sigint_stops_as_sigterm_does(self):
        self.weftd.stop(signal.SIGINT)
        self.assertIn('SIGINT: stopping', self.weftd.log())

    def test_idle_clients_do_not_hold_it_up(self):
        connections = [self.weftd.connect() for _ in range(50)]
        for connection in connections:
            self.assertEqual(connection.call('ping'), 'pong')
        for connection in connections[::2]:
            connection.write('{"half":')
        self.weftd.stop()
        for connection in connections[1::2]:
            self.assertTrue(connection.is_closed(), bytes(connection.buffer))
        for connection in connections:
            connection.close()

    def test_a_signal_right_after_ready_is_not_lost(self):
        self.weftd.stop()
        for _ in range(support.scaled(10, 3)):
            before = len(self.weftd.log())
            self.weftd.spawn()
            self.weftd.await_log('ready on', after=before)
            self.weftd.stop()


if __name__ == '__main__':
    support.main()
