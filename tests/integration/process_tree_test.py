#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""However a program hides its descendants, they are gone when its job has ended: after a cancel, a
timeout, its own end, and a stop of weftd.  Not later than the reply says so."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

# A program that starts one descendant in the way that $1 names, and goes on for as long as $2 says.
# Every process appends its pid to $0, and then waits for hours.
FAMILY = r'''
note='echo $$ >> "$0"; exec sleep 3600'
stubborn='trap "" TERM HUP INT; echo $$ >> "$0"; while :; do sleep 3600; done'
case $1 in
    child) sh -c "$note" "$0" & ;;
    background) (sh -c "$note" "$0" &) ;;
    setsid) setsid sh -c "$note" "$0" & ;;
    daemon) (setsid sh -c "cd /; $note" "$0" </dev/null >/dev/null 2>&1 &) ;;
    twice) (setsid sh -c '(setsid sh -c "$1" "$0" &) & wait' "$0" "$note" &) ;;
    stubborn) (setsid sh -c "$stubborn" "$0" &) ;;
    stopped) (setsid sh -c 'echo $$ >> "$0"; kill -STOP $$; sleep 3600' "$0" &) ;;
    bare) env -i setsid sh -c "$note" "$0" & ;;
    growing) (setsid sh -c 'trap "" TERM; echo $$ >> "$0"
                            while :; do setsid sleep 3600 & sleep 0.02; done' "$0" &) ;;
esac
until [ -s "$0" ]; do sleep 0.01; done
[ "$2" = stubborn ] && trap "" TERM
echo $$ >> "$0"
[ "$2" = ends ] && exit 7
while :; do sleep 3600; done
'''

WAYS = ('child', 'background', 'setsid', 'daemon', 'twice', 'stubborn', 'stopped', 'bare', 'growing')


class Tree(support.WeftdTest):
    config = ('[exec]\nkill_grace = 300ms\n[daemon]\ndrain = 100ms\n'
              '[queue default]\nconcurrency = 30\n')

    def setUp(self):
        super().setUp()
        self.bystander = self.start_family('daemon', 'stays', 'bystander')

    def tearDown(self):
        """Who belongs to another job was left alone all the time."""
        job, pids = self.bystander
        self.assertEqual(self.weftd.state_of(job), 'running')
        self.assertEqual([support.is_alive(pid) for pid in pids], [True, True])
        super().tearDown()
        self.assert_gone(pids)

    def start_family(self, way, end, name=None):
        """Returns the job and its pids, of which the first is the hidden one."""
        file = self.weftd.path(name or way)
        job = self.weftd.shell(FAMILY, file, way, end)
        pids = support.wait_until(lambda: self.pids(file), f'{way}: both have begun')
        return job, pids

    @staticmethod
    def pids(file):
        pids = [int(line) for line in support.read_lines(file)]
        return pids if len(pids) >= 2 else None

    def strangers(self):
        """Processes below weftd that are not the bystander's, by their descent."""
        parents = {pid: parent for pid, state, parent in support.processes() if state not in 'ZX'}
        found = []
        for pid in parents:
            line = [pid]
            while line[-1] in parents and line[-1] != self.weftd.pid:
                line.append(parents[line[-1]])
            if line[-1] == self.weftd.pid and pid != self.weftd.pid:
                if not set(line) & set(self.bystander[1]):
                    found.append(f'{pid} {support.Children.command(pid)}')
        return found

    def check_gone(self, pids):
        self.assert_gone(pids)
        self.assertEqual(self.strangers(), [])


class Cancelled(Tree):
    def test_each_way(self):
        for way in WAYS:
            with self.subTest(way):
                job, pids = self.start_family(way, 'stays')
                self.assertEqual([support.is_alive(pid) for pid in pids], [True] * len(pids))
                reply = self.weftd.call('job.cancel', ids=[job])
                self.check_gone(pids)  # before anything else is asked
                self.assertEqual(reply['results'], [{'id': job, 'state': 'cancelled'}])
                self.assertEqual(self.weftd.state_of(job), 'cancelled')

    def test_all_at_once(self):
        families = [self.start_family(way, 'stubborn') for way in WAYS]
        jobs = [job for job, _ in families]
        reply = self.weftd.call('job.cancel', ids=jobs)
        self.check_gone([pid for _, pids in families for pid in pids])
        self.assertEqual(reply['results'], [{'id': job, 'state': 'cancelled'} for job in jobs])
        self.assertGreaterEqual(self.weftd.stats()['runs']['killed'], len(WAYS))

    def test_by_the_command(self):
        job, pids = self.start_family('setsid', 'stays')
        result = self.weftd.weft('cancel', job)
        self.check_gone(pids)
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(self.weftd.state_of(job), 'cancelled')


class TimedOut(Tree):
    def start(self, way):
        """Returns the job.  The clock starts with the program: long enough, unless somebody is held
        up, for the family to have begun."""
        file = self.weftd.path(way)
        job = self.weftd.shell(FAMILY, file, way, 'stays',
                               timeout='2s' if not support.SANITIZER else '8s')
        support.wait_until(lambda: self.pids(file) or self.weftd.state_of(job) == 'timed_out',
                           f'{way}: both have begun, or their time is over')
        return job

    def test_each_way(self):
        jobs = self.weftd.wait_all([self.start(way) for way in WAYS])
        self.check_gone([int(pid) for way in WAYS for pid in support.read_lines(self.weftd.path(way))])
        for job in jobs:
            self.assertEqual(job['state'], 'timed_out')
            self.assertEqual(job['error'], 'timed out')


class Ended(Tree):
    """The program ends by itself: then its job ends, with its status, and nobody stays.

    But for one way: who has left the session, wiped its environment and lost its parent is found
    by nothing but a control group (daemon/tree.c says so), which a job has where one is delegated to
    weftd (tests/unit/daemon/cgroup_test.c): not here.  It ends with weftd.
    """

    def test_each_way(self):
        for way in (way for way in WAYS if way != 'bare'):
            with self.subTest(way):
                job, pids = self.start_family(way, 'ends')
                ended = self.weftd.wait(job)
                self.check_gone(pids)
                self.assertEqual((ended['state'], ended['exit_code']), ('failed', 7))

    def test_who_is_found_by_nothing_ends_with_weftd(self):
        job, pids = self.start_family('bare', 'ends')
        self.assertEqual(self.weftd.wait(job)['state'], 'failed')
        hidden = [pid for pid in pids if support.is_alive(pid)]
        self.weftd.call('job.cancel', ids=[self.bystander[0]])
        self.weftd.stop()  # which sees to it that nobody is left
        self.assert_gone(pids)
        if hidden:
            self.assertIn('outlived their jobs', self.weftd.log())
        os.unlink(self.weftd.path('bystander'))
        self.weftd.start()
        self.bystander = self.start_family('daemon', 'stays', 'bystander')


class Stopped(support.WeftdTest):
    """weftd stops; that nobody is left, its handle checks."""

    config = Tree.config
    start_family = Tree.start_family
    pids = staticmethod(Tree.pids)

    def test_each_way(self):
        families = [self.start_family(way, 'stubborn') for way in WAYS]
        self.weftd.stop()
        self.assert_gone([pid for _, pids in families for pid in pids])
        for way in WAYS:
            os.unlink(self.weftd.path(way))
        self.weftd.start()
        again = support.wait_until(lambda: self.all_pids(), 'all run again')
        for job, _ in families:
            self.assertEqual(self.weftd.get(job)['attempt'], 1)
        self.weftd.stop()
        self.assert_gone(again)

    def all_pids(self):
        found = [self.pids(self.weftd.path(way)) for way in WAYS]
        return [pid for pids in found for pid in pids] if all(found) else None


if __name__ == '__main__':
    support.main()
