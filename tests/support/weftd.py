# SPDX-License-Identifier: MIT
"""A weftd of one's own, for the scripts of tests/integration/.

  Weftd       starts $WEFT_BUILD/daemon/weftd on a temporary state folder and socket, waits until
              it answers, stops or kills it by its pid, and starts it again on the same folder.
  Connection  speaks its protocol (connection.py).
  WeftdTest   a test case that has one; main() runs a file of them.

I1  Nothing here sleeps for a guess: wait_until() asks again until a deadline, which only a failure
    ever reaches.
I2  This process adopts what weftd leaves behind (it is a subreaper), so "no child is left" sees
    also who wiped its environment and left every session.  It reaps them, as init would.
I3  A report of a sanitizer in weftd's log fails the test that stops weftd.
I4  Each stop that a test does not watch itself (the one at its end) must end with status 0.
I5  A test that a signal ends leaves no weftd and no folder (cleanup.py).

Numbers of jobs and clients go through scaled(): WEFT_TEST_SCALE, by default less in builds with a
sanitizer.  What a test asserts does not depend on it.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import cleanup  # noqa: E402
from cleanup import processes  # noqa: E402, F401
from connection import Connection, Disconnected, RpcError, result_of  # noqa: E402, F401

SOURCE = os.environ.get('WEFT_SOURCE') or os.path.realpath(
    os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.environ.get('WEFT_BUILD') or os.path.join(SOURCE, 'build', 'release')
WEFTD = os.path.join(BUILD, 'daemon', 'weftd')
WEFT = os.path.join(BUILD, 'client', 'weft')

ENDS = ('succeeded', 'failed', 'cancelled', 'timed_out', 'dead')

ADDR_NO_RANDOMIZE = 0x0040000

# What only a sanitizer, a failed CHECK or a crash of weftd prints.
REPORT = re.compile(r'ERROR: \w*Sanitizer|runtime error:|WARNING: ThreadSanitizer|CHECK failed|'
                    r'ASSERT|overflowed its')


def _sanitizer():
    """What WEFT_SANITIZE says in the build's cache: '', 'thread' or 'address,undefined'."""
    try:
        with open(os.path.join(BUILD, 'CMakeCache.txt'), encoding='utf-8') as cache:
            found = re.search(r'^WEFT_SANITIZE:\w+=(.*)$', cache.read(), re.M)
    except OSError:
        return ''
    return found.group(1).strip() if found else ''


SANITIZER = _sanitizer()
SCALE = float(os.environ.get('WEFT_TEST_SCALE') or (0.1 if SANITIZER else 1))
DEADLINE = 50  # well below CTest's limit for a program, so that what was waited for is told


def scaled(number, least=1):
    """So many of something: fewer where everything is slower."""
    return max(least, int(number * SCALE))


def wait_until(condition, what, deadline=DEADLINE):
    """Asks condition() until it is true, and returns what it returned."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'after {deadline} s still not: {what}')
        time.sleep(0.005)


# ---- processes ----------------------------------------------------------------------------------


def is_alive(pid):
    """True while there is such a process and it is not a zombie."""
    return any(state not in 'ZX' for other, state, _ in processes() if other == pid)


class Children:
    """Our own children: those that we started, and those that we adopted (I2)."""

    started = set()

    @classmethod
    def adopted(cls):
        """Pids of what weftd left to us and is alive; the dead ones are reaped."""
        alive = []
        for pid, state, parent in processes():
            if parent != os.getpid() or pid in cls.started:
                continue
            if state in 'ZX':
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
            else:
                alive.append(pid)
        return alive

    @staticmethod
    def command(pid):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                return file.read().replace(b'\0', b' ').decode(errors='replace').strip()
        except OSError:
            return '(gone)'


def popen(argv, **options):
    """As subprocess.Popen, for a child that is no orphan of weftd's."""
    process = subprocess.Popen(argv, **options)
    Children.started.add(process.pid)
    return process


def run(argv, text=True, timeout=DEADLINE, **options):
    """Runs a program to its end; stdout and stderr are captured."""
    options.setdefault('stdin', subprocess.DEVNULL)
    data = options.pop('input', None)
    if data is not None:
        options['stdin'] = subprocess.PIPE
    process = popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text, **options)
    try:
        out, err = process.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f'{argv} did not end: {out!r} {err!r}') from None
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


# ---- the daemon ---------------------------------------------------------------------------------


class Weftd:
    """One state folder, and the weftd that runs on it, if one does."""

    def __init__(self, config='', parent='/tmp'):
        self.folder = cleanup.folder('weft-', parent)
        self.state = os.path.join(self.folder, 'state')
        self.socket = os.path.join(self.folder, 'weft.sock')
        self.config_file = os.path.join(self.folder, 'weftd.conf')
        self.log_file = os.path.join(self.folder, 'weftd.log')
        self.process = None
        self.connection = None
        self.pass_fds = ()
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(('WEFT', 'NOTIFY_', 'LISTEN_', 'WATCHDOG_', 'LC_'))}
        self.configure(config)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def configure(self, config):
        with open(self.config_file, 'w', encoding='utf-8') as file:
            file.write(config)

    # -- starting

    def argv(self, *more):
        return [WEFTD, '--config', self.config_file, '--socket', self.socket,
                '--state-dir', self.state, *more]

    def spawn(self, *more):
        """Starts it and does not wait for anything."""
        with open(self.log_file, 'ab') as log:
            self.process = popen(self.argv(*more), stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, env=self.env, cwd='/', start_new_session=True,
                                 pass_fds=self.pass_fds)

    def start(self, *more):
        """Starts it, and returns when it answers."""
        self.spawn(*more)
        wait_until(self._answers, 'weftd answers')
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f'weftd ended with {self.process.returncode}:\n{self.log()}')
        try:
            with self.connect() as connection:
                return connection.call('ping') == 'pong'
        except Disconnected:
            return False

    def refused(self, *more):
        """Runs it where it must refuse to start; returns its status and what it said."""
        result = run(self.argv(*more), env=self.env, cwd='/')
        self.check_text(result.stderr)
        return result.returncode, result.stderr

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    # -- asking

    def connect(self):
        return Connection(self.socket, DEADLINE)

    def call(self, method, /, **params):
        """A call over a connection that is kept for such."""
        if self.connection is None:
            self.connection = self.connect()
        return self.connection.call(method, **params)

    def submit(self, *argv, **params):
        return self.call('job.submit', argv=list(argv), **params)['id']

    def shell(self, script, *words, **params):
        """Submits a program of sh; words are its $0, $1, ..."""
        return self.submit('/bin/sh', '-c', script, *map(str, words), **params)

    def echo(self, args=None, **params):
        return self.call('job.submit', call='echo', args=args or {}, **params)['id']

    def submit_many(self, jobs, piece=500):
        """Submits all, in lines of so many; returns their ids."""
        pieces = [jobs[at:at + piece] for at in range(0, len(jobs), piece)]
        with self.connect() as connection:
            messages = connection.pipeline(
                [('job.submit_many', {'jobs': jobs}) for jobs in pieces])
        return [one['id'] for message in messages for one in result_of(message)['results']]

    def get(self, number):
        return self.call('job.get', id=number)

    def get_all(self, numbers):
        with self.connect() as connection:
            messages = connection.pipeline([('job.get', {'id': number}) for number in numbers])
        return [result_of(message) for message in messages]

    def wait(self, *numbers):
        """Waits for their ends; returns the jobs, or the job if it is one."""
        jobs = self.call('job.wait', ids=list(numbers), timeout=DEADLINE)['jobs']
        return jobs if len(numbers) > 1 else jobs[0]

    def wait_all(self, numbers):
        return self.call('job.wait', ids=list(numbers), timeout=DEADLINE)['jobs']

    def state_of(self, number):
        return self.get(number)['state']

    def await_state(self, number, *states):
        def reached():
            job = self.get(number)
            return job if job['state'] in states else None
        return wait_until(reached, f'job {number} is {" or ".join(states)}')

    def await_only_call(self, number):
        """Until its handler runs, which is when its start is on disk (`running` is told before
        that); there must be no other call."""
        job = self.await_state(number, 'running')
        wait_until(lambda: self.stats()['runs']['calls'] == 1, f'the handler of job {number} runs')
        return job

    def list(self, **filters):
        """Every job, page by page, newest first."""
        jobs, before = [], None
        while True:
            page = self.call('job.list', limit=1000, before=before, **filters)
            jobs += page['jobs']
            before = page['next']
            if before is None:
                return jobs

    def logs(self, number, stream='stdout', limit='64K'):
        """All of a job's output, as bytes."""
        import base64
        data, offset = b'', 0
        while True:
            piece = self.call('job.logs', id=number, stream=stream, offset=offset, limit=limit)
            text = piece['data']
            data += base64.b64decode(text) if piece['encoding'] == 'base64' else text.encode()
            offset = piece['next']
            if piece['eof'] or not text:
                return data

    def stats(self):
        return self.call('daemon.stats')

    def weft(self, *arguments, text=True, **options):
        """Runs the command; WEFT_SOCKET names us."""
        env = {**self.env, 'WEFT_SOCKET': self.socket, 'COLUMNS': '200'}
        return run([WEFT, *map(str, arguments)], text=text, env=env, **options)

    # -- ending

    def log(self):
        try:
            with open(self.log_file, encoding='utf-8', errors='replace') as file:
                return file.read()
        except FileNotFoundError:
            return ''

    def inside(self):
        """Fibers and threads of one that runs, as gdb sees them."""
        if not self.running or shutil.which('gdb') is None:
            return ''
        argv = ['gdb', '-q', '-batch', '-p', str(self.pid), '-x',
                os.path.join(SOURCE, 'tools', 'gdb', 'weft.py'), '-ex', 'thread apply all bt 24',
                '-ex', 'weft bt all', '-ex', 'weft fibers']
        try:
            done = subprocess.run(argv, capture_output=True, text=True, errors='replace',
                                  timeout=40, check=False)
        except subprocess.TimeoutExpired:
            return 'gdb takes too long\n'
        return done.stdout[-30000:]

    def await_log(self, text, after=0):
        wait_until(lambda: text in self.log()[after:], f'the log says {text!r}')

    @staticmethod
    def check_text(text):
        found = REPORT.search(text)
        if found:
            raise AssertionError(f'weftd reports {found.group(0)!r}:\n{text[-20000:]}')

    def drop_connection(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def send_signal(self, number=signal.SIGTERM):
        os.kill(self.pid, number)

    def await_exit(self, deadline=DEADLINE):
        """Waits for the end, and returns the status."""
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'weftd still runs after {deadline} s:\n{self.log()}') from None

    def check_ended(self):
        """After an orderly end: status 0, no report, and nobody left."""
        status = self.await_exit()
        self.drop_connection()
        self.check_text(self.log())
        if status != 0:
            raise AssertionError(f'weftd ended with {status}:\n{self.log()[-20000:]}')
        left = Children.adopted()
        if left:
            raise AssertionError('processes are left: ' + ', '.join(
                f'{pid} ({Children.command(pid)})' for pid in left))

    def stop(self, number=signal.SIGTERM):
        """An orderly stop; returns how long it took."""
        began = time.monotonic()
        self.send_signal(number)
        self.await_exit()
        took = time.monotonic() - began
        self.check_ended()
        return took

    def kill(self):
        """SIGKILL; what it ran lives on, and is ours."""
        self.send_signal(signal.SIGKILL)
        self.await_exit()
        self.drop_connection()
        self.check_text(self.log())

    def destroy(self):
        """Leaves nothing behind, whatever happened before."""
        self.drop_connection()
        if self.running:
            self.send_signal(signal.SIGKILL)
            self.process.wait()
        for _ in range(1000):
            left = Children.adopted()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.005)
        shutil.rmtree(self.folder, ignore_errors=True)


# ---- test cases ---------------------------------------------------------------------------------


class WeftdTest(unittest.TestCase):
    """A test case with a running weftd, which must stop in order at the end."""

    config = ''
    daemon = Weftd
    starts = True  # False: the test starts it itself
    maxDiff = 4000
    longMessage = True

    def setUp(self):
        self.daemons = []
        self.weftd = self.new_weftd(self.config)
        if self.starts:
            self.weftd.start()

    def new_weftd(self, config=''):
        weftd = self.daemon(config)
        self.daemons.append(weftd)
        self.addCleanup(weftd.destroy)
        return weftd

    def tearDown(self):
        for weftd in self.daemons:
            if weftd.running:
                weftd.stop()

    def assert_refused(self, call, code, *words, param=None, nearest=None):
        """call() ends with that error; its message holds the words.  Returns the error."""
        with self.assertRaises(RpcError) as caught:
            call()
        return self.check_error(caught.exception, code, *words, param=param, nearest=nearest)

    def assert_error(self, message, code, *words, param=None, nearest=None):
        """The same of a message as it came."""
        self.assertIn('error', message, message)
        return self.check_error(RpcError(message['error']), code, *words, param=param,
                                nearest=nearest)

    def check_error(self, error, code, *words, param=None, nearest=None):
        self.assertEqual(error.code, code, error)
        for word in words:
            self.assertIn(word, error.message)
        if param is not None:
            self.assertEqual(error.param, param, error)
        if nearest is not None:
            self.assertEqual(error.nearest, nearest, error)
        return error

    def assert_gone(self, pids):
        """None of these processes is there any more: now, not later."""
        left = [pid for pid in pids if is_alive(pid)]
        self.assertEqual(left, [], [Children.command(pid) for pid in left])

    def in_threads(self, functions):
        """Runs all at once; the first exception of one of them is raised here."""
        errors = []

        def guarded(function):
            try:
                function()
            except BaseException as error:  # pylint: disable=broad-except
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


def read_lines(path):
    """The whole lines of a file; a missing file has none."""
    try:
        with open(path, encoding='utf-8') as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


class _Result(unittest.TextTestResult):
    """Prints each test's time, and weftd's log when one fails."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        self.stream.write(f'{time.monotonic() - self.began:.1f} s ')
        super().addSuccess(test)

    def addError(self, test, err):
        super().addError(test, err)
        self._show(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._show(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._show(test, err)

    def _show(self, test, err):
        self.stream.write(self._exc_info_to_string(err, test))
        for weftd in getattr(test, 'daemons', []):
            status = weftd.process.poll() if weftd.process else 'never started'
            self.stream.write(f'--- {weftd.log_file}, status {status}, the end\n'
                              f'{weftd.log()[-6000:]}\n---\n')
            if time.monotonic() - self.began > DEADLINE / 2:  # something hangs
                self.stream.write(f'{weftd.inside()}---\n')
        self.stream.flush()


def _prepare():
    if not cleanup.become_subreaper():
        print('prctl(PR_SET_CHILD_SUBREAPER) is refused')
        sys.exit(77)
    cleanup.on_signals()
    if SANITIZER:  # gcc 12's do not start under every randomisation
        ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)
    os.environ.setdefault('ASAN_OPTIONS', 'detect_stack_use_after_return=1')
    os.environ.setdefault('UBSAN_OPTIONS', 'print_stacktrace=1:halt_on_error=1')
    os.environ.setdefault('TSAN_OPTIONS', 'halt_on_error=1:second_deadlock_stack=1')


def main():
    """Runs the tests of the calling file.  Exit status: 0, 1 if one failed, 77 cannot run here."""
    if not os.access(WEFTD, os.X_OK):
        print(f'{WEFTD} is not built')
        sys.exit(77)
    _prepare()
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=_Result)
    result = unittest.main(module='__main__', testRunner=runner, exit=False).result
    failing = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f'Tested: {result.testsRun} | Failing: {failing}')
    sys.exit(1 if failing else 0)
