#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What control groups do for jobs, in a group of this test's own: programs stand still while their
queue is frozen, and limits hold or are refused.  Without leave to make one, how it is without."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

# Counts in $0, in place of which each number comes whole; at SIGTERM it says so in $1.
COUNTS = r'''
trap 'echo bye > "$1"; exit 0' TERM
i=0
while [ ! -e "$0.end" ]; do i=$((i + 1)); echo $i > "$0.new"; mv "$0.new" "$0"; sleep 0.01; done
'''


# Where version 2 lets us make groups, if it does, and the one that we make.
MOUNT = next((mount for mount in ('/sys/fs/cgroup/unified', '/sys/fs/cgroup')
              if os.access(f'{mount}/cgroup.procs', os.W_OK)), None)
GROUP = f'{MOUNT}/weft-groups-{os.getpid()}'


class Counting(support.WeftdTest):
    def start_counting(self, name, **params):
        """Returns its id, once it counts."""
        number = self.weftd.shell(COUNTS, self.weftd.path(name), self.weftd.path(name + '.bye'),
                                  **params)
        support.wait_until(lambda: self.count(name), 'it counts')
        return number

    def count(self, name):
        lines = support.read_lines(self.weftd.path(name))
        return int(lines[0]) if lines else 0

    def said_bye(self, name):
        return support.read_lines(self.weftd.path(name + '.bye')) == ['bye']

    def assert_goes_on(self, name):
        before = self.count(name)
        support.wait_until(lambda: self.count(name) > before, f'{name} goes on')

    def let_end(self, *names):
        for name in names:
            with open(self.weftd.path(name + '.end'), 'w', encoding='utf-8'):
                pass

    def pause(self, **params):
        return self.weftd.call('queue.pause', **params)['queues'][0]


@unittest.skipUnless(MOUNT, 'no control group of version 2 may be made here')
class Grouped(Counting):
    config = '[exec]\ncgroups = yes\ntasks_max = 100\nkill_grace = 1m\n[daemon]\ngrace = 2m\n'
    starts = False

    def setUp(self):
        super().setUp()
        os.mkdir(GROUP)
        plain = self.weftd.argv
        self.weftd.argv = lambda *more: ['sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"',
                                         GROUP, *plain(*more)]
        self.weftd.start()

    def tearDown(self):
        super().tearDown()
        os.rmdir(f'{GROUP}/weftd')
        os.rmdir(GROUP)  # no leaf is left

    def stands_still(self, number):
        return 'frozen 1' in support.read_lines(f'{GROUP}/job-{number}-1/cgroup.events')

    def freeze(self, number, name):
        """Returns where its count stands."""
        queue = self.pause(freeze=True)
        self.assertEqual((queue['frozen'], queue['paused']), (True, True))
        support.wait_until(lambda: self.stands_still(number), f'{name} stands still')
        return self.count(name)

    def test_frozen_and_thawed(self):
        first, second = self.start_counting('first'), self.start_counting('second')
        count = self.freeze(first, 'first')
        queue = self.weftd.call('queue.list')['queues'][0]
        self.assertEqual((queue['frozen_jobs'], queue['not_frozen_jobs']), (2, 0))
        facts = self.weftd.call('job.explain', id=second)
        self.assertEqual((facts['why'], facts['state']), ('frozen', 'running'))
        self.assertIn('queue "default" has been frozen', facts['reason'])
        self.assertEqual(self.weftd.call('job.explain', id=self.weftd.submit('true'))['why'],
                         'queue_paused')
        self.assertEqual(self.count('first'), count)
        queue = self.pause(freeze=False)
        self.assertEqual((queue['frozen'], queue['paused']), (False, True))
        self.assert_goes_on('first')
        self.freeze(first, 'first')
        table = self.weftd.weft('queue')
        self.assertRegex(table.stdout, r'(?m)^default .* frozen\*')
        self.weftd.weft('queue', 'resume')
        self.assert_goes_on('second')
        self.let_end('first', 'second')
        self.assertEqual([job['state'] for job in self.weftd.wait_all([first, second])],
                         ['succeeded'] * 2)

    def test_a_cancelled_one_has_its_grace(self):
        number = self.start_counting('one')
        count = self.freeze(number, 'one')
        self.assertEqual(self.weftd.call('job.cancel', ids=[number])['results'][0]['state'],
                         'cancelled')
        self.assertTrue(self.said_bye('one'))
        self.assertLessEqual(self.count('one'), count + 1)  # SIGTERM was the first that it saw
        queue = self.weftd.call('queue.list')['queues'][0]
        self.assertEqual((queue['frozen_jobs'], queue['not_frozen_jobs']), (0, 0))

    def freeze_before(self, timeout):
        """Of a job with that timeout its id and its name; None: its time was over first."""
        name = f'late-{timeout}'
        number = self.weftd.shell(COUNTS, self.weftd.path(name), self.weftd.path(name + '.bye'),
                                  timeout=timeout)
        support.wait_until(lambda: self.count(name) or self.weftd.state_of(number) == 'timed_out',
                           'it counts, or its time is over')
        self.pause(freeze=True)
        if self.weftd.call('job.explain', id=number)['why'] == 'frozen':
            return number, name
        self.weftd.call('queue.resume')
        self.weftd.wait(number)
        return None

    def test_its_timeout_goes_on(self):
        timeout = 1
        while not (frozen := self.freeze_before(timeout)):
            timeout *= 2
        number, name = frozen
        self.assertEqual(self.weftd.wait(number)['state'], 'timed_out')
        self.assertTrue(self.said_bye(name))

    def test_a_stop_ends_it_and_nothing_is_frozen_afterwards(self):
        number = self.start_counting('one')
        self.freeze(number, 'one')
        self.weftd.configure(self.config + 'drain = 0s\n')
        self.weftd.weft('reload')
        self.weftd.stop()
        self.assertTrue(self.said_bye('one'))
        self.assertFalse(os.path.exists(f'{GROUP}/job-{number}-1'))
        os.remove(self.weftd.path('one'))
        self.weftd.start()
        queue = self.weftd.call('queue.list')['queues'][0]
        self.assertEqual((queue['paused'], queue['frozen']), (True, False))
        self.weftd.call('queue.resume')
        support.wait_until(lambda: self.count('one') > 1, 'it runs again')
        self.let_end('one')
        self.assertEqual(self.weftd.wait(number)['state'], 'succeeded')

    def test_limits(self):
        """Either the kernel has them, or the job that asks does not start; [exec] only warns."""
        with open(f'{GROUP}/cgroup.controllers', encoding='ascii') as file:
            controllers = file.read().split()
        script = 'cat "$0$(sed -n s/^0:://p /proc/self/cgroup)/$1"'
        for name, value, controller, file, expected in (
                ('memory_max', '64M', 'memory', 'memory.max', '67108864\n'),
                ('tasks_max', 50, 'pids', 'pids.max', '50\n'),
                ('cpu_quota', '150%', 'cpu', 'cpu.max', '150000 100000\n')):
            number = self.weftd.shell(script, MOUNT, file, **{name: value})
            job = self.weftd.wait(number)
            self.assertEqual(job[name], value)
            if controller in controllers:
                self.assertEqual(self.weftd.logs(number).decode(), expected)
            else:
                self.assertEqual(job['state'], 'failed')
                self.assertRegex(job['error'], f'^cannot set {name}={value}: .* no controller '
                                               f'"{controller}": ')
        warning = 'programs run without exec.tasks_max = 100'
        if 'pids' in controllers:
            self.assertNotIn(warning, self.weftd.log())
        else:
            self.weftd.await_log(warning)  # which is written by a thread of its own


class Ungrouped(Counting):
    config = '[exec]\ncgroups = no\n'

    def test_what_cannot_be_frozen_is_told(self):
        number = self.start_counting('free')
        done = self.weftd.weft('queue', 'pause', '--freeze')
        self.assertEqual((done.returncode, done.stderr),
                         (0, 'weft: of 1 jobs that run in default, 1 could not be frozen\n'))
        self.assert_goes_on('free')
        self.assertEqual(self.weftd.call('job.explain', id=number)['why'], 'running')
        self.let_end('free')
        self.assertEqual(self.weftd.wait(number)['state'], 'succeeded')
        done = self.weftd.weft('queue', 'resume', '--freeze')
        self.assertEqual(done.returncode, 2, done)

    def test_limits_are_refused(self):
        job = self.weftd.wait(self.weftd.submit('true', memory_max='64M'))
        self.assertEqual(job['state'], 'failed')
        self.assertRegex(job['error'], '^cannot set memory_max=64M: .*exec.cgroups')


if __name__ == '__main__':
    support.main()
