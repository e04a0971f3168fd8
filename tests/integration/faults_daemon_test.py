#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""weftd, while the Nth call of a kind fails: each allocation, mapping, descriptor, thread, write …

  faults_daemon_test.py                     some calls of each kind, drawn by chance; the seed is
                                            printed, and WEFT_TEST_SEED replays it
  faults_daemon_test.py KIND [SCENARIO...]  every call; ./dev faults [KIND] builds and runs it

Each scenario (support/faults_scenarios.py) is played with the first call failing, then the second,
until it needs no more calls than that.  weftd is told by a page that it shares with us
(support/faults.h), so it need not be started again for each.

What must hold, for each call that fails:
  F1  every request is answered, by its result or an error, or its connection ends
  F2  weftd lives, and answers a client that comes afterwards
  F3  every job that was acknowledged ends
  F4  no client is told that it was wrong, which it would not have been told without the failure
  F7  what is answered over HTTP is what was asked for
  F5  after the stop, with status 0, the store has no fault (weftd --verify)
But a store that fails (`sync`, `space`) is a documented end of weftd, with status 1: then what was
acknowledged is there after the next start (F6).
"""

import os
import random
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.faults import Faults, asked_for  # noqa: E402
from support.faults_scenarios import CONFIG, PATIENCE, SCENARIOS, Client  # noqa: E402
from support.weftd import Disconnected  # noqa: E402

SEED = int(os.environ.get('WEFT_TEST_SEED') or random.randrange(1 << 32))
FOLDER = '/dev/shm' if os.access('/dev/shm', os.W_OK) else '/tmp'  # thousands of commits
KINDS = ('alloc', 'map', 'epoll', 'accept', 'fork', 'thread', 'sync', 'space', 'read', 'short', 'fd')
ENDING = ('sync', 'space')  # the store has failed
SAMPLES = 5      # of a kind, in one scenario …
SECONDS = 4      # … for so long, all in all
ENOUGH = 20      # calls that failed, however long it takes
MOST_CALLS = 20000
# parse_error, invalid_request, method_not_found, invalid_params, no_such_queue, no_such_handler,
# line_too_long, too_deep
BLAME = (-32700, -32600, -32601, -32602, -32002, -32003, -32004, -32005)


class Fault(Exception):
    """What does not hold."""


class Sweep:
    """One weftd, and failures in it."""

    def __init__(self, kind=None, say=print):
        self.kind = kind
        self.say = say
        self.weftd = support.Weftd(CONFIG, FOLDER)
        self.faults = Faults(self.weftd.path('faults'))
        self.found = []
        self.warming = False
        self.deserved = set()  # (method, code) of refusals where nothing fails
        self.injected = 0
        self.ends = 0

    def start(self):
        self.faults.detach()
        self.faults.expect_fork(self.kind in ('fork', None))
        self.weftd.env.update(self.faults.env())
        self.weftd.start()
        return self

    def finish(self):
        """F5."""
        self.weftd.stop()
        done = support.run(self.weftd.argv('--verify'), cwd='/')
        if done.returncode != 0:
            raise Fault(f'weftd --verify: {done.stdout}{done.stderr}')

    def destroy(self):
        self.weftd.destroy()

    # -- one failure

    def client(self):
        try:
            return Client(self.weftd)
        except Disconnected as error:
            gone = self.gone(error, [])  # the last play's end, perhaps
            if not isinstance(gone, Ended):
                raise gone from None
        return Client(self.weftd)

    def play(self, name, first):
        """Returns how many failed; Fault, or what a Client raises: something does not hold."""
        client = self.client()
        try:
            self.faults.arm(self.kind, first)
            SCENARIOS[name](client)
        except Disconnected:
            pass
        finally:
            injected = self.faults.disarm()
            client.close()
        self.check_refusals(name, client)
        self.check_alive(client.jobs)
        return injected

    def check_refusals(self, name, client):
        """F4."""
        refused = [(method, error) for method, error in client.refused if error.code in BLAME]
        if self.warming:
            self.deserved.update((method, error.code) for method, error in refused)
        blamed = [one for one in refused if (one[0], one[1].code) not in self.deserved]
        if blamed:
            raise Fault(f'{name}: {blamed}')

    @staticmethod
    def cancel_others(connection, jobs):
        """What would not end, and what was taken although its acknowledgement was lost."""
        live = connection.call('job.list', state=['waiting', 'delayed', 'queued', 'running'])
        others = [job['id'] for job in live['jobs'] if job['id'] not in jobs]
        if others:
            connection.call('job.cancel', ids=others)
            connection.call('job.wait', ids=others, timeout=PATIENCE)

    def check_alive(self, jobs):
        try:
            with self.weftd.connect() as connection:
                connection.deadline = PATIENCE
                connection.call('ping')                                            # F2
                self.cancel_others(connection, jobs)
                if jobs:
                    connection.call('job.wait', ids=jobs, timeout=PATIENCE)        # F3
        except Disconnected as error:
            raise self.gone(error, jobs) from None
        except support.RpcError as error:
            if self.kind in ENDING and error.name in ('store_failed', 'shutting_down'):
                raise self.gone(error, jobs) from None
            raise

    def gone(self, error, jobs):
        """F6, where weftd may end; else a Fault."""
        if self.kind not in ENDING:
            return Fault(f'weftd is gone: {error}')
        status = self.weftd.await_exit()
        self.weftd.check_text(self.weftd.log())
        if status != 1 or 'the store failed' not in self.weftd.log():
            return Fault(f'weftd ended with {status}')
        self.weftd.drop_connection()
        self.start()
        self.ends += 1
        self.check_alive(jobs)
        return Ended()

    def fault_at(self, name, first):
        """Returns (how many failed, what does not hold or None)."""
        try:
            return self.play(name, first), None
        except Ended:
            return 1, None
        except (Fault, AssertionError, support.RpcError) as error:
            return max(1, self.faults.disarm()), f'{error}'

    # -- many

    def warm_up(self, name):
        """Twice without: caches fill, threads and rings are there.  Returns how many calls it takes."""
        self.warming = True
        self.deserved.clear()
        for _ in range(2):
            self.play(name, 0)
        self.warming = False
        return self.faults.calls

    def note(self, name, first, what):
        where = self.faults.where([support.WEFTD])
        status = self.weftd.process.poll()
        self.say(f'-- {name} {self.kind}:{first}: {what} (status {status})')
        for line in where:
            self.say(f'     {line}')
        if status is not None:
            self.say('   log: ' + self.weftd.log()[-1500:].replace('\n', '\n        '))
        self.found.append((name, first, what))

    def try_call(self, name, first):
        """Returns whether there was such a call."""
        injected, what = self.fault_at(name, first)
        self.injected += injected > 0
        if what:
            self.note(name, first, what)
            if self.weftd.running:
                self.weftd.kill()
            self.weftd.drop_connection()
            self.start()
        return injected > 0

    def sweep(self, name):
        self.warm_up(name)
        first = 1
        while first < MOST_CALLS and self.try_call(name, first):
            first += 1
        return first - 1

    def sample(self, dice, name):
        calls = self.warm_up(name)
        for first in sorted(dice.sample(range(1, calls + 1), min(SAMPLES, calls))):
            self.try_call(name, first)


class Ended(Exception):
    """weftd ended as documented, and is there again."""


class FaultsTest(unittest.TestCase):
    """The short form."""

    def setUp(self):
        self.lines = []
        self.sweep = Sweep(say=self.lines.append).start()
        self.addCleanup(self.sweep.destroy)
        self.daemons = [self.sweep.weftd]

    def test_calls_that_fail_are_answered_and_survived(self):
        dice = random.Random(SEED)
        plan = [(kind, name) for kind in KINDS for name in SCENARIOS]
        dice.shuffle(plan)
        plan.sort(key=lambda one: one[0] != 'alloc' and dice.random() < 0.7)  # most are those
        end = time.monotonic() + SECONDS
        while plan and (time.monotonic() < end or self.sweep.injected <= ENOUGH):
            self.sweep.kind, name = plan.pop(0)
            self.sweep.sample(dice, name)
        print(f'WEFT_TEST_SEED={SEED}: {self.sweep.injected} calls failed, {self.sweep.ends} ends of '
              'the store')
        self.assertEqual(self.sweep.found, [], '\n'.join(self.lines))
        self.assertGreater(self.sweep.injected, ENOUGH)
        self.sweep.finish()


def command(kinds, names):
    """The long form."""
    support._prepare()
    found = 0
    for kind in kinds:
        sweep = Sweep(kind).start()
        try:
            for name in names:
                began = time.monotonic()
                calls = sweep.sweep(name)
                print(f'{kind:8} {name:12} {calls:5} calls, {time.monotonic() - began:.1f} s',
                      flush=True)
            sweep.finish()
        finally:
            sweep.destroy()
        print(f'{kind}: {sweep.injected} calls failed, {sweep.ends} ends of the store, '
              f'{len(sweep.found)} found', flush=True)
        found += len(sweep.found)
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    asked = asked_for(KINDS, SCENARIOS)
    if asked:
        command(*asked)
    support.main()
