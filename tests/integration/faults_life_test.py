#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""weftd's start and stop, and a module's process, while the Nth call of a kind fails.

  faults_life_test.py                  some calls of each kind, drawn by chance; the seed is printed,
                                       and WEFT_TEST_SEED replays it
  faults_life_test.py KIND [SUBJECT]   every call; SUBJECT is start, stop or module; ./dev faults
                                       [KIND] builds and runs it

weftd is started on a store with a job in each state that a start must deal with, as kill -9 has left
it, and with a module; it is stopped while a program runs.  What must hold, for each call that fails:
  S1  it answers, or ends with status 1 and says why: that is no fault of the configuration (78), so
      systemd starts it again; it ends by no signal, and in time
  S2  one that answers has all jobs, and stops with status 0
  S3  the next start, where nothing fails, has all jobs, and the store no fault (weftd --verify)
  S4  a stop ends with status 0, or with status 1 where the store has failed; no process is left
A module's process (module_host.h):
  S5  it ends with status 0 and a reply, or with EX_TEMPFAIL; by no signal, and in time
One end by a signal is not ours: jemalloc's, when it has no memory for a new thread's arena (its issue
2289; docs/decisions/003-jemalloc.md).
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.faults import Faults, asked_for  # noqa: E402
from support.weftd import Disconnected  # noqa: E402

SEED = int(os.environ.get('WEFT_TEST_SEED') or random.randrange(1 << 32))
FOLDER = '/dev/shm' if os.access('/dev/shm', os.W_OK) else '/tmp'
KINDS = ('alloc', 'map', 'epoll', 'fork', 'thread', 'sync', 'space', 'read', 'short', 'fd')
ENDING = ('sync', 'space')  # the store fails, and weftd ends
SAMPLES = 2  # of each kind and subject …
SECONDS = 3  # … for so long, all in all
REPLY, SIGNAL, REPLY_MAX = 3, 4, 1 << 20  # module_host.h
GREETER = os.path.join(support.BUILD, 'examples', 'module', 'greeter.so')
CONFIG = f'''
[daemon]
drain = 20ms
[exec]
kill_grace = 1s
[runtime]
workers = 2
[queue default]
concurrency = 4
[queue extra]
concurrency = 1
[modules]
load = {GREETER}
'''


class Fault(Exception):
    """What does not hold."""


class Subject:
    """Something that is started while calls fail."""

    def __init__(self, kind):
        self.kind = kind
        self.weftd = support.Weftd(CONFIG, FOLDER)
        self.faults = Faults(self.weftd.path('faults'))

    def attach(self, first):
        """The next program that self.env() starts has its FIRST call failing; 0: none."""
        self.faults.detach()
        self.faults.expect_fork(self.kind == 'fork')
        self.faults.arm(self.kind, first)

    def env(self):
        return {**self.weftd.env, **self.faults.env()}

    def is_jemalloc(self, status):
        """Whether its issue 2289 has ended the program: a mapping of its own has failed."""
        return self.kind == 'map' and status == -signal.SIGSEGV and \
            all('libjemalloc' in frame for frame in self.faults.raw()[1:3])

    def destroy(self):
        self.weftd.destroy()


class Start(Subject):
    """weftd's."""

    # It runs when weftd is killed, and ends soon when it is run again.
    RUNNING = '[ -e "$0" ] || { : >"$0"; exec sleep 1000; }'

    def __init__(self, kind):
        super().__init__(kind)
        self.jobs = {}
        self.first_state = self.weftd.path('first')
        self.make_state()

    def make_state(self):
        """One job in each state."""
        self.weftd.start()
        done = self.weftd.echo()
        self.weftd.wait(done)
        self.weftd.call('queue.pause', queue='extra')
        queued = self.weftd.echo(queue='extra')
        delayed = self.weftd.echo(delay=100000)
        waiting = self.weftd.echo(after=[delayed])
        flag = self.weftd.path('flag')
        running = self.weftd.shell(self.RUNNING, flag)
        support.wait_until(lambda: os.path.exists(flag), 'the program runs')
        self.jobs = {done: 'succeeded', queued: 'queued', delayed: 'delayed', waiting: 'waiting',
                     running: ('queued', 'running', 'succeeded', 'failed')}
        self.weftd.kill()
        shutil.copytree(self.weftd.state, self.first_state)

    def check_jobs(self):
        for number, states in self.jobs.items():
            state = self.weftd.state_of(number)
            if state not in states:
                raise Fault(f'job {number} is {state}, not {states}')

    def start(self):
        """Until it answers or has ended; what fails here fails before that."""
        env, self.weftd.env = self.weftd.env, self.env()
        try:
            self.weftd.spawn()
        finally:
            self.weftd.env = env
        support.wait_until(self.answers_or_ended, 'weftd answers or ends', 20)

    def answers_or_ended(self):
        if self.weftd.process.poll() is not None:
            return 'ended'
        try:
            with self.weftd.connect() as connection:
                connection.send('ping')
                return 'answers' if connection.read_message().get('result') else None
        except (Disconnected, support.RpcError):
            return None

    def look_and_stop(self):
        """S2.  A commit that failed while it started may be told just now: as if it had not started."""
        try:
            self.check_jobs()
            self.weftd.stop()
        except (Disconnected, support.RpcError, AssertionError):
            if self.weftd.await_exit() == 0 or not self.store_failed():
                raise
            self.check_refusal()

    def store_failed(self):
        return self.kind in ENDING and 'the store failed' in self.weftd.log()

    def check_refusal(self):
        """S1."""
        status, log = self.weftd.process.returncode, self.weftd.log()
        self.weftd.check_text(log)
        if self.is_jemalloc(status):
            return
        if status != 1:
            raise Fault(f'weftd ended with {status}')
        if not re.search(r'^weftd: |^\S+ \S+ err', log, re.M):
            raise Fault('weftd ended without a word')

    def restore(self):
        shutil.rmtree(self.weftd.state, ignore_errors=True)
        shutil.copytree(self.first_state, self.weftd.state)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.weftd.log_file)

    def play(self, first):
        """Returns how many calls failed."""
        self.restore()
        self.attach(first)
        self.start()
        injected = self.faults.disarm()
        if support.wait_until(self.answers_or_ended, 'weftd answers or ends', 20) == 'answers':
            self.look_and_stop()
        else:
            self.check_refusal()
        if injected:
            self.check_afterwards()
        return injected

    def check_afterwards(self):
        """S3."""
        self.weftd.drop_connection()
        self.weftd.start()
        self.check_jobs()
        self.weftd.stop()
        done = support.run(self.weftd.argv('--verify'), cwd='/')
        if done.returncode != 0:
            raise Fault(f'weftd --verify: {done.stdout}{done.stderr}')

    def state(self):
        return f'status {self.weftd.process.poll()}, log: ' + self.weftd.log()[-1500:]

    def clean(self):
        if self.weftd.running:
            self.weftd.send_signal(signal.SIGKILL)
            self.weftd.process.wait()
        self.weftd.drop_connection()


class Stop(Start):
    """weftd's, while a program runs, which ends when it is told to."""

    RUNNING = ': >"$0"; exec sleep 1000'

    def play(self, first):
        """Returns how many calls failed."""
        self.restore()
        flag = self.weftd.path('flag')
        os.unlink(flag)
        self.faults.detach()
        self.faults.expect_fork(self.kind == 'fork')
        self.start()
        support.wait_until(lambda: os.path.exists(flag), 'the program runs')
        self.faults.arm(self.kind, first)
        self.weftd.send_signal()
        status = self.weftd.await_exit(20)
        injected = self.faults.disarm()
        self.weftd.check_text(self.weftd.log())
        if status != 0 and not (status == 1 and self.store_failed()):  # S4
            raise Fault(f'weftd ended with {status}')
        left = support.Children.adopted()
        if left:
            raise Fault(f'processes are left: {left}')
        if injected:
            self.check_afterwards()
        return injected


class Module(Subject):
    """The process of a module, as weftd starts it, in one call of its handler."""

    REQUEST = json.dumps({'call': 'greet', 'args': {'who': 'Ada'}, 'job': 1, 'attempt': 1})

    def __init__(self, kind):
        super().__init__(kind)
        self.said = ''

    def play(self, first):
        self.attach(first)
        reply, word = os.memfd_create('reply'), os.eventfd(0)
        try:
            status = self.run(reply, word)
            injected = self.faults.disarm()
            os.lseek(reply, 0, os.SEEK_SET)
            text = os.read(reply, REPLY_MAX).rstrip(b'\0').decode()
        finally:
            os.close(reply)
            os.close(word)
        self.check_reply(status, text, injected)
        return injected

    def run(self, reply, word):
        def give_descriptors():
            os.dup2(reply, 100)
            os.dup2(word, SIGNAL)
            os.dup2(100, REPLY)
            os.close(100)
        done = support.run([support.WEFTD, '--module-host', GREETER, '0'], input=self.REQUEST,
                           env=self.env(), timeout=20, close_fds=False,
                           preexec_fn=give_descriptors)  # nothing here has threads
        self.said = done.stdout + done.stderr
        self.weftd.check_text(self.said)
        return done.returncode

    def check_reply(self, status, text, injected):
        """S5."""
        if self.is_jemalloc(status):
            return
        if status not in (0, os.EX_TEMPFAIL):
            raise Fault(f'the process ended with {status}')
        if status == 0:
            answer = json.loads(text)
            if not injected and answer != {'rc': 0, 'result': {'greeting': 'Hello, Ada!'}}:
                raise Fault(f'it answers {text}')
            if 'result' not in answer and not answer.get('error', answer.get('problem')):
                raise Fault(f'it fails without a word: {text}')
        elif not injected:
            raise Fault(f'it ended with {status}, and nothing had failed')

    def state(self):
        return self.said

    def clean(self):
        pass


SUBJECTS = {'start': Start, 'stop': Stop, 'module': Module}


class Sweep:
    """One subject, and failures of one kind in it."""

    def __init__(self, name, kind, say):
        self.name, self.kind, self.say = name, kind, say
        self.subject = SUBJECTS[name](kind)
        self.injected = 0
        self.found = []

    def count(self):
        """How many such calls there are."""
        self.subject.play(0)
        return self.subject.faults.calls

    def try_call(self, first):
        """Returns whether there was such a call."""
        try:
            injected = self.subject.play(first)
        except (Fault, AssertionError, ValueError, Disconnected, support.RpcError) as error:
            injected = self.subject.faults.disarm()
            self.note(first, error)
            self.subject.clean()
        self.injected += injected > 0
        return injected > 0

    def note(self, first, what):
        self.say(f'-- {self.name} {self.kind}:{first}: {what}')
        for line in self.subject.faults.where([support.WEFTD]):
            self.say(f'     {line}')
        self.say('   ' + self.subject.state().replace('\n', '\n        '))
        self.found.append((self.name, self.kind, first, str(what)))

    def all(self):
        first = 1
        while self.try_call(first):
            first += 1
        return first - 1

    def some(self, dice, most):
        calls = self.count()
        for first in dice.sample(range(1, calls + 1), min(most, calls)):
            self.try_call(first)


class LifeTest(unittest.TestCase):
    """The short form."""

    def test_starts_and_stops_survive_or_say_why_not(self):
        dice = random.Random(SEED)
        plan = [(name, kind) for name in SUBJECTS for kind in KINDS]
        dice.shuffle(plan)
        end = time.monotonic() + SECONDS
        lines, found, injected = [], [], 0
        while plan and (time.monotonic() < end or injected == 0):
            sweep = Sweep(*plan.pop(), lines.append)
            try:
                sweep.some(dice, SAMPLES)
            finally:
                sweep.subject.destroy()
            injected += sweep.injected
            found += sweep.found
        print(f'WEFT_TEST_SEED={SEED}: {injected} calls failed')
        self.assertEqual(found, [], '\n'.join(lines))
        self.assertGreater(injected, 0)


def command(kinds, names):
    """The long form."""
    support._prepare()
    found = 0
    for name in names:
        for kind in kinds:
            began = time.monotonic()
            sweep = Sweep(name, kind, lambda line: print(line, flush=True))
            try:
                calls = sweep.all()
            finally:
                sweep.subject.destroy()
            found += len(sweep.found)
            print(f'{kind:8} {name:6} {calls:5} calls, {len(sweep.found)} found, '
                  f'{time.monotonic() - began:.1f} s', flush=True)
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    asked = asked_for(KINDS, SUBJECTS)
    if asked:
        command(*asked)
    support.main()
