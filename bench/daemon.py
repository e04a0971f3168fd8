#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`./dev bench daemon [--quick] [--large] [ROW...]`: weftd's rows, each beside a floor and, where
they are installed, the peers.

Every round runs each system of a row once, in turn, on folders of its own under --folder (which
decides whose fsync is measured); a figure is the median of the rounds.  Prints
row<TAB>system<TAB>median<TAB>unit; what cannot be run is said on stderr, with the reason.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness.place import install

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), '..'))
BATCH = 1024  # rows of a commit, and jobs of a job.submit_many


class Unavailable(Exception):
    """A system cannot be measured here; the text says why."""


def need(program):
    path = shutil.which(program)
    if not path:
        raise Unavailable(f'{program} is not installed (./dev setup bench)')
    return path


def until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f'bench: {what} does not come')
        time.sleep(0.002)


class Lines:
    """A socket with whole lines, and nothing between them and the kernel."""

    def __init__(self, path=None, port=None):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection(('127.0.0.1', port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile('rb', buffering=1 << 20)

    def ask(self, data, replies=1):
        self.socket.sendall(data)
        return [self.file.readline() for _ in range(replies)]

    def close(self):
        self.file.close()
        self.socket.close()


class Weftd:
    """Ours, on a folder of its own."""

    def __init__(self, options, concurrency=8):
        self.folder = tempfile.mkdtemp(prefix='weft-bench-', dir=options.folder)
        self.program = os.path.join(options.build_dir, 'daemon', 'weftd')
        self.config = os.path.join(self.folder, 'weftd.conf')
        with open(self.config, 'w', encoding='utf-8') as file:
            file.write(f'[queue default]\nconcurrency = {concurrency}\n[queue off]\npaused = yes\n'
                       '[daemon]\nline_max = 64M\nmax_jobs = 4000000\n[log]\nlevel = warning\n')
        self.socket = os.path.join(self.folder, 'weft.sock')
        self.process = None
        self.last = 0

    def start(self):
        """Returns the seconds until it answered."""
        began = time.monotonic()
        self.process = subprocess.Popen([self.program, '-c', self.config, '-s', self.socket, '-d',
                                         os.path.join(self.folder, 'state')])
        until(self.answers, 'weftd')
        return time.monotonic() - began

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit('bench: weftd has ended')
        try:
            lines = Lines(self.socket)
        except OSError:
            return False
        lines.close()
        return True

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait()

    def line(self, method, **params):
        self.last += 1
        message = {'jsonrpc': '2.0', 'id': self.last, 'method': method, 'params': params}
        return (json.dumps(message, separators=(',', ':')) + '\n').encode()

    def result(self, lines, method, **params):
        reply = json.loads(lines.ask(self.line(method, **params))[0])
        if 'error' in reply:
            raise SystemExit(f'bench: {method}: {reply["error"]}')
        return reply['result']

    def memory(self):
        """Resident bytes."""
        with open(f'/proc/{self.process.pid}/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def many(weftd, count, job):
    """Lines of job.submit_many, made before the clock runs."""
    return [weftd.line('job.submit_many', jobs=[job] * min(BATCH, count - at))
            for at in range(0, count, BATCH)]


def ids_of(replies):
    ids = []
    for reply in replies:
        message = json.loads(reply)
        if 'error' in message:
            raise SystemExit(f'bench: job.submit_many: {message["error"]}')
        ids += [one['id'] for one in message['result']['results']]
    return ids


# ---- durable submits ----------------------------------------------------------------------------


def weft_submits(options):
    """Jobs a second, acknowledged after fsync; lines of BATCH jobs, all on their way at once."""
    count = options.scale(100_000)
    with Weftd(options) as weftd:
        lines = Lines(weftd.socket)
        requests = many(weftd, count, {'call': 'echo', 'args': {'n': 1}, 'queue': 'off'})
        data = b''.join(requests)
        began = time.monotonic()
        replies = lines.ask(data, len(requests))
        took = time.monotonic() - began
        if len(ids_of(replies)) != count:
            raise SystemExit('bench: some were refused')
        lines.close()
        return count / took


def floor(options, kind, count, batch):
    folder = tempfile.mkdtemp(prefix='weft-bench-', dir=options.folder)
    try:
        done = subprocess.run([options.sqlite_floor, folder, kind, str(count), str(batch)],
                              capture_output=True, text=True, check=True)
        return float(done.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sqlite_submits(options):
    count = options.scale(100_000)
    return count / floor(options, 'submit', count, BATCH)


def redis_submits(options):
    """XADD with appendfsync always, 1,024 in a pipeline."""
    count = options.scale(100_000)
    entry = '{"call":"echo","args":{"n":1}}'
    words = ['XADD', 'jobs', '*', 'job', entry]
    command = f'*{len(words)}\r\n' + ''.join(f'${len(word)}\r\n{word}\r\n' for word in words)
    folder = tempfile.mkdtemp(prefix='weft-bench-', dir=options.folder)
    path = os.path.join(folder, 'redis.sock')
    server = subprocess.Popen([need('redis-server'), '--port', '0', '--unixsocket', path, '--dir',
                               folder, '--appendonly', 'yes', '--appendfsync', 'always', '--save',
                               ''], stdout=subprocess.DEVNULL)
    try:
        until(lambda: os.path.exists(path), 'redis-server')
        lines = Lines(path)
        pipeline = command.encode() * BATCH
        began = time.monotonic()
        for _ in range(count // BATCH):
            lines.ask(pipeline, 2 * BATCH)  # a length and an id each
        took = time.monotonic() - began
        lines.close()
        return count // BATCH * BATCH / took
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def beanstalkd_submits(options):
    """put with -f0: it syncs each."""
    count = options.scale(2_000)
    folder = tempfile.mkdtemp(prefix='weft-bench-', dir=options.folder)
    path = os.path.join(folder, 'beanstalkd.sock')
    server = subprocess.Popen([need('beanstalkd'), '-l', f'unix:{path}', '-b', folder, '-f0'])
    try:
        until(lambda: os.path.exists(path), 'beanstalkd')
        lines = Lines(path)
        body = b'{"call":"echo","args":{"n":1}}'
        put = b'put 0 0 60 %d\r\n%s\r\n' % (len(body), body)
        began = time.monotonic()
        lines.ask(put * count, count)
        took = time.monotonic() - began
        lines.close()
        return count / took
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def weft_submit_one(options):
    """Median of one submit at a time, ms."""
    with Weftd(options) as weftd:
        lines = Lines(weftd.socket)
        times = []
        for _ in range(options.scale(300)):
            line = weftd.line('job.submit', call='echo', queue='off')
            began = time.monotonic()
            lines.ask(line)
            times.append(time.monotonic() - began)
        lines.close()
        return statistics.median(times) * 1e3


def sqlite_submit_one(options):
    count = options.scale(300)
    return floor(options, 'submit', count, 1) / count * 1e3


# ---- whole lives --------------------------------------------------------------------------------


def run_jobs(options, job, count, concurrency):
    """Jobs a second, from the first byte of the submit until job.wait has the last end."""
    with Weftd(options, concurrency) as weftd:
        lines, waiter = Lines(weftd.socket), Lines(weftd.socket)
        requests = many(weftd, count, job)
        data = b''.join(requests)
        began = time.monotonic()
        ids = ids_of(lines.ask(data, len(requests)))
        waits = [weftd.line('job.wait', ids=ids[at:at + 2000]) for at in range(0, len(ids), 2000)]
        replies = waiter.ask(b''.join(waits), len(waits))
        took = time.monotonic() - began
        states = {job['state'] for reply in replies for job in json.loads(reply)['result']['jobs']}
        lines.close()
        waiter.close()
        if states != {'succeeded'}:
            raise SystemExit(f'bench: jobs ended as {states}')
        return count / took


def weft_native(options):
    return run_jobs(options, {'call': 'echo', 'args': {'n': 1}}, options.scale(50_000), 1024)


def sqlite_life(options):
    count = options.scale(50_000)
    return count / floor(options, 'life', count, BATCH)


def weft_calls(options):
    """Calls a second that the store does not see, a line each, all on their way at once: until each
    submit is answered; and until the last has ended.  So many ended ones are kept."""
    count = options.scale(10_000)
    with Weftd(options, 1024) as weftd:
        lines, waiter = Lines(weftd.socket), Lines(weftd.socket)
        data = b''.join(weftd.line('job.submit', call='echo', args={'n': 1}, durable=False)
                        for _ in range(count))
        began = time.monotonic()
        sender = threading.Thread(target=lines.socket.sendall, args=(data,))
        sender.start()
        replies = [lines.file.readline() for _ in range(count)]
        answered = time.monotonic() - began
        sender.join()
        ids = [json.loads(reply)['result']['id'] for reply in replies]
        waits = [weftd.line('job.wait', ids=ids[at:at + 2000]) for at in range(0, count, 2000)]
        jobs = [job for reply in waiter.ask(b''.join(waits), len(waits))
                for job in json.loads(reply)['result']['jobs']]
        if {job['state'] for job in jobs} != {'succeeded'}:
            raise SystemExit('bench: a call did not succeed')
        ended = max(job['finished_at'] for job in jobs) - min(job['submitted_at'] for job in jobs)
        lines.close()
        waiter.close()
        return {'calls': count / answered, 'calls_ended': count / ended}


def weft_programs(options):
    return run_jobs(options, {'argv': ['/bin/true']}, options.scale(3_000), 8)


def spawn_programs(options):
    """A posix_spawn each, eight at once, nothing kept."""
    count, live = options.scale(3_000), 0
    began = time.monotonic()
    for _ in range(count):
        if live == 8:
            os.wait()
            live -= 1
        os.posix_spawn('/bin/true', ['true'], {})
        live += 1
    for _ in range(live):
        os.wait()
    return count / (time.monotonic() - began)


def filter_programs(options, *argv):
    count = options.scale(3_000)
    began = time.monotonic()
    subprocess.run(argv, input='x\n' * count, text=True, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return count / (time.monotonic() - began)


def xargs_programs(options):
    return filter_programs(options, need('xargs'), '-P8', '-n1', '/bin/true')


def parallel_programs(options):
    return filter_programs(options, need('parallel'), '-j8', '/bin/true')


def ts_programs(options):
    """task-spooler: a client for each job, then until the last one is done."""
    program, count = need('tsp'), options.scale(500)
    folder = tempfile.mkdtemp(prefix='weft-bench-', dir=options.folder)
    env = {**os.environ, 'TS_SOCKET': os.path.join(folder, 'ts.sock'), 'TMPDIR': folder}
    try:
        subprocess.run([program, '-S', '8'], env=env, check=True)
        began = time.monotonic()
        for _ in range(count):
            subprocess.run([program, '-n', '/bin/true'], env=env, check=True,
                           stdout=subprocess.DEVNULL)
        subprocess.run([program, '-w'], env=env, check=False)
        return count / (time.monotonic() - began)
    finally:
        subprocess.run([program, '-K'], env=env, check=False)
        shutil.rmtree(folder, ignore_errors=True)


# ---- many queued jobs ---------------------------------------------------------------------------


def queued(options):
    """A start with so many queued jobs: seconds, bytes each, ms of a page of job.list."""
    count = 1_000_000 if options.large else options.scale(100_000)
    with Weftd(options) as weftd:
        empty = weftd.memory()
        lines = Lines(weftd.socket)
        for request in many(weftd, count, {'call': 'echo', 'args': {'n': 1}, 'queue': 'off'}):
            ids_of(lines.ask(request))
        lines.close()
        weftd.stop(signal.SIGKILL)
        seconds = weftd.start()
        lines = Lines(weftd.socket)
        each = (weftd.memory() - empty) / count
        times = []
        for _ in range(20):
            began = time.monotonic()
            weftd.result(lines, 'job.list', limit=100)
            times.append(time.monotonic() - began)
        lines.close()
        return {'recovery': seconds, 'queued_memory': each,
                'list_page': statistics.median(times) * 1e3}


def idle_memory(options):
    with Weftd(options) as weftd:
        return weftd.memory() / (1 << 20)


# row: (unit, {system: function}); a function may give several rows at once
ROWS = {
    'submits': ('jobs/s', {'floor (SQLite)': sqlite_submits, 'weft': weft_submits,
                           'redis': redis_submits, 'beanstalkd': beanstalkd_submits}),
    'submit_one': ('ms', {'floor (SQLite)': sqlite_submit_one, 'weft': weft_submit_one}),
    'native': ('jobs/s', {'floor (SQLite)': sqlite_life, 'weft': weft_native}),
    'calls': ('calls/s', {'weft': weft_calls}),
    'programs': ('jobs/s', {'floor (posix_spawn)': spawn_programs, 'weft': weft_programs,
                            'xargs': xargs_programs, 'parallel': parallel_programs,
                            'task-spooler': ts_programs}),
    'queued': ('', {'weft': queued}),
    'idle_memory': ('MiB', {'weft': idle_memory}),
}
UNITS = {'recovery': 's', 'queued_memory': 'B', 'list_page': 'ms'}


def measure(name, options):
    """{(row, unit, system): [figures]}, in interleaved rounds."""
    unit, systems = ROWS[name]
    figures, gone = {}, set()
    for _ in range(options.rounds):
        for system, function in systems.items():
            if system in gone:
                continue
            try:
                value = function(options)
            except Unavailable as why:
                print(f'bench: {name}, {system}: not run: {why}', file=sys.stderr)
                gone.add(system)
                continue
            parts = value if isinstance(value, dict) else {name: value}
            for row, figure in parts.items():
                figures.setdefault((row, UNITS.get(row, unit), system), []).append(figure)
    return figures


def build(options):
    subprocess.run(['cmake', '--build', options.build_dir, '--target', 'weftd', 'bench-sqlite-floor'],
                   check=True, stdout=sys.stderr)
    options.sqlite_floor = os.path.join(options.build_dir, 'bench', 'bench-sqlite-floor')


def parse():
    parser = argparse.ArgumentParser(prog='./dev bench daemon', description=__doc__.split('\n\n')[1])
    parser.add_argument('rows', nargs='*', metavar='ROW', help=', '.join(ROWS))
    parser.add_argument('--quick', action='store_true', help='one short round')
    parser.add_argument('--large', action='store_true', help='1,000,000 queued jobs')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--folder', default='/var/tmp', help='on the disk that is measured')
    parser.add_argument('--build-dir', default=os.path.join(ROOT, 'build', 'release'))
    options = parser.parse_args()
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f'no such row: {unknown[0]} (there are {", ".join(ROWS)})')
    options.rounds = 1 if options.quick else options.rounds
    options.scale = lambda number: max(BATCH // 4, number // 20) if options.quick else number
    return options


def main():
    options = parse()
    install()
    build(options)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f'bench: the load is {load:.1f}: these figures are of a busy machine', file=sys.stderr)
    for name in options.rows or ROWS:
        for (row, unit, system), values in measure(name, options).items():
            print(f'{row}\t{system}\t{statistics.median(values):.4g}\t{unit}', flush=True)


if __name__ == '__main__':
    main()
