#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The soak: one weftd, and clients that for any length of time do all that it offers, at random
(tests/support/soak_acts.py).  Nobody is killed: that is the crash oracle's.  Rounds of load take
turns with quiet moments, in which everything has ended and what weftd uses can be compared.

  soak_test.py [MINUTES]     default: some seconds; ./dev soak [MINUTES] builds and runs it
  WEFT_TEST_SEED             replays the plan: which client does what, in which order

What must hold:
  S1  every job that was acknowledged ends as it was asked for, and its end is told of exactly once;
      every event is an edge of docs/job-states.md and none is missing; each act has its outcome
  S2  at each quiet moment descriptors, fibers, threads and connections are no more than at the first
      one, after the warm-up, and nothing is left of jobs: no process and no file.  A ring of io_uring,
      which a worker makes when it first needs one, is counted apart, as are threads that come and go
  S3  memory does not grow: what is allocated, and what is resident and weftd's own, at the quiet
      moments of the last third is at most ALLOWED above those of the second third.  The allowance
      does not depend on how long it runs, so the longer, the less of a leak is enough
  S4  what is kept on disk is bounded: the store and its log likewise, output of remembered jobs alone
  S5  weftd stops in order, with nobody left, and the store has no fault (weftd --verify)
"""

import collections
import os
import random
import re
import secrets
import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import gauges, job_events, soak_acts  # noqa: E402
from support import weftd as support  # noqa: E402

SEED = int(os.environ.get('WEFT_TEST_SEED') or random.randrange(1 << 32))
SECONDS = 60 * float(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1][0].isdigit() else 2.0
ROUND = min(20.0, max(0.5, SECONDS / 12))  # seconds of load between two quiet moments
REPORT = 300  # seconds between two lines about how it goes
SAMPLE = max(0.1, ROUND / 5)
ROUNDS = 3  # at least: each third of them has one
CLIENTS = 5
PAUSE = 0.02  # seconds between two acts of a client, on average: a load, and no flood
EVENTS, RECENT = 3000, support.scaled(300)
FILL = RECENT + 10 if support.SANITIZER else EVENTS // 3 + 10  # jobs: memory is compared, or not

# What must be at a quiet moment whatever was before, and what may not be more than at the first.
NOTHING = ('children', 'live jobs', 'kept jobs', 'output files')
NO_MORE = ('descriptors', 'threads', 'fibers', 'connections', 'subscribers')

# How much the later quiet moments may be above the earlier ones.
ALLOWED = {'used': 512 << 10, 'anonymous': 8 << 20, 'stacks': 128, 'database': 1 << 20,
           'log': 1 << 20}

MODULES = (os.path.join(support.BUILD, 'examples', 'module', 'greeter.so'),
           os.path.join(support.BUILD, 'tests', 'modules', 'trouble.so'))


class World:
    """What all clients share."""

    def __init__(self, weftd):
        self.weftd = weftd
        self.journal = soak_acts.Journal()
        self.folder = weftd.path('files')
        self.token = secrets.token_hex(32)
        self.port = None
        os.mkdir(self.folder)
        with open(weftd.path('token'), 'w', encoding='ascii',
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self.token + '\n')

    def settings(self, side=2):
        return f'''
[daemon]
events = {EVENTS}
recent = {RECENT}
key_keep = 500ms
line_max = {soak_acts.LINE_MAX}
[http]
listen = 127.0.0.1:0
token_file = {self.weftd.path("token")}
user = {"root" if os.geteuid() == 0 else ""}
[store]
checkpoint = 256K
[memory]
decay = 1s
[exec]
output_max = {soak_acts.OUTPUT_MAX}
kill_grace = 1s
[jobs]
retain = {soak_acts.RETAIN}s
retain_max = 500
retry_base = 1ms
retry_cap = 5ms
crash_limit = {soak_acts.CRASH_LIMIT}
[modules]
trusted = {MODULES[0]}
load = {MODULES[1]}
[queue default]
concurrency = 32
[queue apart]
concurrency = 2
[queue side]
concurrency = {side}
'''

    def started(self):
        self.weftd.await_log('HTTP on http://')
        self.port = int(re.findall(r'HTTP on http://127\.0\.0\.1:(\d+)/', self.weftd.log())[-1])


class Soak(support.WeftdTest):
    starts = False

    def setUp(self):
        print(f'WEFT_TEST_SEED={SEED} ', end='', flush=True)
        super().setUp()
        self.world = World(self.weftd)
        self.journal = self.world.journal
        self.gauges = gauges.Gauges()
        self.began = time.monotonic()
        self.jobs = 0  # that ended, up to the last quiet moment
        self.late = 0  # asked about when they were forgotten
        self.details = collections.Counter()
        self.weftd.configure(self.world.settings())
        self.weftd.start()
        self.world.started()
        self.workers = len(self.weftd.stats()['workers'])
        self.moves = job_events.Moves(self.weftd.connect(), job_events.edges())
        self.listener = threading.Thread(target=self.moves.read_to_end)
        self.listener.start()
        self.addCleanup(self.listener.join)

    # -- load

    def plans(self):
        """[(name, {act: how often})] of the clients."""
        acts = {**soak_acts.JOBS, **soak_acts.ASKING}
        if ROUND > 5:
            acts.update(soak_acts.LONG)
        return [*((f'client {at}', acts) for at in range(CLIENTS)),
                ('operator', soak_acts.OPERATING)]

    def client(self, name, acts, turn, stop):
        rand = random.Random(f'{SEED} {name} {turn}')
        try:
            with soak_acts.Client(self.world, f'{name} {turn}', rand) as client:
                while not stop.is_set():
                    client.act(rand.choices(list(acts), list(acts.values()))[0])
                    stop.wait(rand.expovariate(1 / PAUSE))
        except support.Disconnected as error:
            self.journal.note_wrong(f'{name}: {error}')

    def load(self, turn):
        stop, end = threading.Event(), time.monotonic() + ROUND
        threads = [threading.Thread(target=self.client, args=(name, acts, turn, stop))
                   for name, acts in self.plans()]
        for thread in threads:
            thread.start()
        while time.monotonic() < end and not self.wrong():
            self.gauges.add(gauges.read(self.weftd))
            stop.wait(SAMPLE)
        stop.set()
        for thread in threads:
            thread.join()

    def warm_up(self):
        """Each act is done: each client begins elsewhere."""

        def client(at, name, acts):
            with soak_acts.Client(self.world, name, random.Random(f'{SEED} {name}')) as one:
                for act in list(acts)[at::CLIENTS] if name != 'operator' else acts:
                    one.act(act)

        self.in_threads([lambda at=at, name=name, acts=acts: client(at, name, acts)
                         for at, (name, acts) in enumerate(self.plans())])

    # -- quiet moments

    def is_quiet(self):
        stats = self.weftd.stats()
        return (sum(stats['jobs'][state] for state in gauges.LIVE) == 0
                and stats['totals']['kept'] == 0 and stats['runs']['live'] == 0
                and stats['server']['connections'] == 2 and stats['server']['in_flight'] == 1
                and stats['events']['subscribers'] == 1
                and self.moves.seen == stats['events']['last'])

    def quiet(self):
        self.assertEqual(self.wrong(), [], '\n'.join(self.wrong()))
        support.wait_until(self.is_quiet, 'everything has ended and is forgotten')
        self.check_jobs()
        self.fill()
        first = self.gauges.quiet[0] if self.gauges.quiet else None
        try:
            reading = support.wait_until(lambda: self.comes_back(first), 'it is as it was before')
        except AssertionError:
            self.fail(f'too many: {self.excess}; threads and descriptors that are new: '
                      f'{gauges.details(self.weftd.pid) - self.details}')
        if not first:
            self.details = gauges.details(self.weftd.pid)
        self.cpu = gauges.cpu_seconds(self.weftd.pid)
        self.gauges.add_quiet(reading)

    def fill(self):
        """What weftd keeps of the past, events and ended jobs, is of the same jobs each time."""
        for at in range(0, FILL, 100):
            jobs = [{'call': 'echo', 'durable': False}] * min(100, FILL - at)
            self.weftd.submit_many(jobs)
            support.wait_until(self.is_quiet, 'they have ended')

    def comes_back(self, first):
        """The reading, if S2 holds."""
        reading = gauges.read(self.weftd)
        self.excess = {name: reading[name] for name in NOTHING if reading[name] > 0}
        if reading['rings'] > self.workers:
            self.excess['rings'] = reading['rings']
        if first:
            self.excess.update((name, (first[name], reading[name])) for name in NO_MORE
                               if reading[name] > first[name])
        return None if self.excess else reading

    def wrong(self):
        return self.journal.wrong + self.moves.wrong

    def check_jobs(self):
        """S1, of what this round has asked for."""
        with self.journal.lock:
            jobs, self.journal.jobs = self.journal.jobs, {}
            forgotten, self.journal.forgotten = self.journal.forgotten, []
        states, times = self.moves.states, self.moves.times
        for number, (kind, ends) in jobs.items():
            self.assertIn(states.get(number), ends, f'job {number}, {kind}')
        for number, state in states.items():  # those too whose acknowledgement nobody read
            self.assertIn(state, support.ENDS, f'job {number}')
        for number, when in forgotten:
            self.late += 1
            if jobs[number][0] == 'not durable':
                continue  # known while it is among the last that ended
            self.assertGreater(when, times[number] + soak_acts.RETAIN, f'{number} was to be kept')
        self.jobs += len(states)
        self.moves.states, self.moves.times = {}, {}

    # -- the end

    def growth(self, name):
        """From the second to the last third of the quiet moments, by their medians."""
        figures = self.gauges.of(name)
        third = len(figures) // 3
        return statistics.median(figures[-third:]) - statistics.median(figures[third:2 * third])

    def check_trend(self):
        """S3, S4."""
        for name, allowed in ALLOWED.items():
            if not (support.SANITIZER and name in gauges.HEAP):  # theirs keeps what is freed
                self.assertLessEqual(self.growth(name), allowed,
                                     f'{name} grows: {self.gauges.of(name)}')

    def finish(self):
        self.weftd.stop()
        self.listener.join()
        result = support.run(self.weftd.argv('--verify'), env=self.weftd.env, cwd='/')
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def summary(self):
        journal, took = self.journal, time.monotonic() - self.began
        print(f'\n{took:.0f} s, seed {SEED}: {self.jobs} jobs, {self.moves.count} events, '
              f'{len(self.gauges.quiet)} quiet moments; {self.late} were forgotten before somebody '
              f'asked; weftd and its children had {self.cpu:.1f} s of CPU')
        print(self.gauges.table())
        for what, counts in (('acts', journal.acts), ('jobs', journal.kinds),
                             ('refusals that had to come', journal.refused)):
            print(f'{what}: ' + ', '.join(f'{name} {counts[name]}' for name in sorted(counts)))
        for name in gauges.HEAP:
            figures = self.gauges.of(name)
            some = figures[::max(1, len(figures) // 12)]
            print(f'{name} over time: ' + ', '.join(gauges.shown(name, one) for one in some))
        if len(self.gauges.quiet) > ROUNDS:
            print('growth: ' + ', '.join(
                f'{name} {gauges.shown(name, self.growth(name))} of {gauges.shown(name, most)}'
                for name, most in ALLOWED.items()))

    def rounds(self):
        began = said = time.monotonic()
        turn = 0
        while turn < ROUNDS or time.monotonic() < began + SECONDS:
            turn += 1
            self.load(turn)
            self.quiet()
            if time.monotonic() > said + REPORT:
                said = time.monotonic()
                print(f'\n{(said - began) / 60:.0f} min: {self.jobs} jobs, ' + ', '.join(
                    f'{name} {gauges.shown(name, self.gauges.of(name)[-1])}' for name in ALLOWED),
                    end='', flush=True)

    def test_nothing_grows_and_nothing_is_lost(self):
        try:
            self.warm_up()
            self.quiet()
            self.rounds()
        finally:
            if self.gauges.quiet:
                self.summary()
        self.check_trend()
        self.finish()


if __name__ == '__main__':
    support.main()
