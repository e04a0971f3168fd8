# SPDX-License-Identifier: MIT
"""What the clients of the soak do, and what must come of each act.

  Journal   what all of them together have asked for and been told; guarded by its lock
  Client    one client: act() does one thing of JOBS, ASKING or OPERATING (the last for one client
            alone, who is the admin that others feel) and checks its outcome

I1  What an act begins it sees to its end, or leaves to weftd alone: no connection outlives it.
I2  Every job that was acknowledged is in the journal, with the ends that it may have.
I3  A client who finds a job forgotten notes when that was: whether it had been kept for `[jobs] retain`
    is checked when all ends are known (soak_test.py).
"""

import base64
import collections
import json
import os
import socket
import sqlite3
import threading
import time
import traceback

from support.http import HttpConnection
from support.weftd import DEADLINE, Disconnected, RpcError, result_of, wait_until

RETAIN = 0.6
OUTPUT_MAX = 64 << 10
LINE_MAX = 256 << 10
CRASH_LIMIT = 1
PARSE_ERROR, NO_METHOD, INVALID_PARAMS = -32700, -32601, -32602
NO_SUCH_JOB, TOO_LONG, BUSY, CONFLICT, BAD_CONFIG = -32001, -32004, -32000, -32011, -32012


class Journal:
    def __init__(self):
        self.lock = threading.Lock()
        self.jobs = {}        # id: (kind, ends that it may have); of this round
        self.forgotten = []   # (id, when it was not known any more); of this round
        self.acts = collections.Counter()
        self.kinds = collections.Counter()
        self.refused = collections.Counter()  # errors that had to come, by code
        self.wrong = []

    def note(self, number, kind, ends):
        with self.lock:
            self.kinds[kind] += 1
            self.jobs[number] = (kind, ends)

    def note_forgotten(self, number):
        with self.lock:
            self.forgotten.append((number, time.time()))

    def note_act(self, name):
        with self.lock:
            self.acts[name] += 1

    def note_refused(self, code):
        with self.lock:
            self.refused[code] += 1

    def note_wrong(self, text):
        with self.lock:
            self.wrong.append(text)


class Client:
    def __init__(self, world, name, rand):
        self.world = world  # weftd, journal, folder, token, port: as they are for all
        self.weftd = world.weftd
        self.journal = world.journal
        self.name = name
        self.rand = rand
        self.connection = None
        self.count = 0

    def act(self, name):
        try:
            getattr(self, name)()
            self.journal.note_act(name)
        except Exception:  # pylint: disable=broad-except
            self.journal.note_wrong(f'{self.name}, {name}: {traceback.format_exc(limit=-4)}')

    def __enter__(self):
        self.connection = self.weftd.connect()
        return self

    def __exit__(self, *_):
        self.connection.close()

    # -- the means

    def check(self, holds, *what):
        if not holds:
            raise AssertionError(' '.join(map(str, what)))

    def fresh(self):
        """A name that nobody had before."""
        self.count += 1
        return f'{self.name}-{self.count}'

    def path(self):
        return os.path.join(self.world.folder, self.fresh().replace(' ', '-'))

    def call(self, method, /, **params):
        return self.connection.call(method, **params)

    def refusal(self, code, method, /, **params):
        """That call must end so."""
        try:
            self.check(False, method, params, 'gave', self.call(method, **params))
        except RpcError as error:
            self.check(error.code == code, method, params, 'gave', error)
            self.journal.note_refused(code)

    def submit(self, kind, ends='succeeded', **params):
        result = self.call('job.submit', **params)
        self.journal.note(result['id'], kind, ends.split())
        return result['id']

    def shell(self, kind, script, *words, ends='succeeded', **params):
        return self.submit(kind, ends, argv=['/bin/sh', '-c', script, *map(str, words)], **params)

    def known(self, number, method, /, **params):
        """The result of a call about a job, or None if that is forgotten."""
        try:
            return self.call(method, **params)
        except RpcError as error:
            self.check(error.code == NO_SUCH_JOB, method, params, 'gave', error)
            self.journal.note_forgotten(number)
            return None

    def ended(self, number, **members):
        """Waits for its end; the members must be so.  None if it is forgotten by then."""
        found = self.known(number, 'job.wait', ids=[number], timeout=DEADLINE)
        job = found['jobs'][0] if found else None
        for name, value in members.items():
            self.check(job is None or job.get(name) == value, name, 'is not', value, 'of', job)
        return job

    def result(self, call, args, **params):
        """Of a call that must succeed, or None."""
        job = self.ended(self.submit(call, call=call, args=args, **params), state='succeeded')
        return job and job['result']

    def output(self, number, stream='stdout'):
        """(where it begins, the bytes from there on), or None if it is forgotten."""
        data, offset, begin = b'', 0, 0
        while True:
            piece = self.known(number, 'job.logs', id=number, stream=stream, offset=offset)
            if piece is None:
                return None
            text = piece['data']
            begin += piece.get('gap', 0)
            data += base64.b64decode(text) if piece['encoding'] == 'base64' else text.encode()
            offset = piece['next']
            if piece['eof']:
                return begin, data

    def check_output(self, number, wanted, stream='stdout'):
        found = self.output(number, stream)
        self.check(found in (None, (0, wanted)), 'output', stream, 'of', number, 'is', found)

    def await_running(self, number):
        wait_until(lambda: self.call('job.get', id=number)['state'] == 'running',
                   f'job {number} runs')

    def http(self, over_tcp=False):
        return HttpConnection(('127.0.0.1', self.world.port) if over_tcp else self.weftd.socket,
                              DEADLINE)

    # -- jobs

    def program(self):
        text = 'line of input\n' * self.rand.randrange(400)
        status = self.rand.choice((0, 0, 3))
        state = 'failed' if status else 'succeeded'
        number = self.shell('program', 'cat; echo trouble >&2; exit $0', status, ends=state,
                            stdin=text, name=self.fresh(), tags=['soak'], umask='0027', nice=1)
        self.ended(number, state=state, exit_code=status, attempt=1)
        self.check_output(number, text.encode())
        self.check_output(number, b'trouble\n', 'stderr')

    def much_output(self):
        whole = ''.join(f'{n}\n' for n in range(1, 20001)).encode()
        keep = self.rand.choice(('head', 'tail'))
        number = self.submit('much output', argv=['seq', '20000'], output_keep=keep)
        self.ended(number, state='succeeded')
        found = self.output(number)
        if found is None:
            return
        begin, data = found
        self.check(data == whole[begin:begin + len(data)], keep, 'is none of it')
        self.check(OUTPUT_MAX // 2 <= len(data) <= OUTPUT_MAX, keep, 'has', len(data), 'bytes')
        self.check((begin == 0) == (keep == 'head'), keep, 'begins at', begin)

    def calls(self):
        numbers = [self.submit('sleep', call='sleep', args={'seconds': self.rand.random() / 50})
                   for _ in range(self.rand.randrange(1, 8))]
        args = {'text': 'x' * self.rand.randrange(5000)}
        self.check(self.result('echo', args) in (None, args), 'echo says something else')
        for number in numbers:
            self.ended(number, state='succeeded')

    def files(self):
        path, text = self.path(), 'a line\n' * self.rand.randrange(1, 3000)
        self.result('file.write', {'path': path, 'data': text})
        lines = self.result('file.lines', {'path': path, 'limit': 3})
        self.check(lines is None or lines['lines'][0] == 'a line', lines)
        self.result('file.copy', {'from': path, 'to': path + '.copy'})
        first = self.result('file.hash', {'path': path})
        second = self.result('file.hash', {'path': path + '.copy'})
        self.check(None in (first, second) or first == second, first, second)
        read = self.result('file.read', {'path': path + '.copy'})
        self.check(read is None or read['data'] == text, 'another text')
        os.remove(path)
        os.remove(path + '.copy')
        self.ended(self.submit('file.read', 'failed', call='file.read', args={'path': path}),
                   state='failed')

    def fetch(self):
        url = f'http://127.0.0.1:{self.world.port}/metrics'
        args = {'url': url, 'headers': {'Authorization': f'Bearer {self.world.token}'}}
        path = self.path() if self.rand.random() < 0.5 else None
        if path:
            args['to'] = path
        result = self.result('http.fetch', args)
        self.check(result is None or result['status'] == 200, result)
        if path:
            os.remove(path)
        number = self.submit('http.fetch', 'failed', call='http.fetch',
                             args={'url': url, 'check': True})  # without the token
        self.ended(number, state='failed')

    def modules(self):
        self.check(self.result('greet', {'who': 'Ada'}) in (None, {'greeting': 'Hello, Ada!'}))
        self.result('countdown', {'from': 5, 'pause': '2ms'})
        apart = self.result('whoami', {})
        self.check(apart is None or apart['pid'] != self.weftd.pid, 'it runs within weftd')

    def crashes(self):
        kind = self.rand.choice(('segfault', 'abort', 'exit'))
        trouble = {'call': 'trouble', 'queue': 'apart'}
        number = self.submit('crash', 'dead', args={'kind': kind}, **trouble)
        once = self.submit('crash', 'failed', args={'kind': kind}, on_crash='fail', **trouble)
        again = self.submit('crash', args={'kind': kind, 'until': 2}, **trouble)
        self.ended(number, state='dead', attempt=CRASH_LIMIT + 1)
        self.ended(once, state='failed', attempt=1)
        self.ended(again, state='succeeded', result={'attempt': 2})

    def array(self):
        jobs = [{'call': 'echo', 'args': {'n': n}} for n in range(self.rand.randrange(2, 40))]
        self.refusal(INVALID_PARAMS, 'job.submit_many', jobs=[*jobs, {'call': 'sleep'}], atomic=True)
        results = self.call('job.submit_many', jobs=[*jobs, {'argv': []}])['results']
        self.check('error' in results.pop(), 'an empty argv was taken')
        for result in results:
            self.journal.note(result['id'], 'array', ['succeeded'])
        for n, result in enumerate(results):
            self.ended(result['id'], result={'n': n})

    def keyed(self):
        job = {'call': 'echo', 'delay': '1h', 'key': self.fresh()}  # it lives until it is cancelled
        number = self.submit('keyed', 'cancelled', **job)
        self.check(self.call('job.submit', **job) == {'id': number, 'existing': True}, number)
        self.call('job.cancel', ids=[number])
        self.ended(number, state='cancelled')

    def delayed(self):
        soon = self.submit('delayed', call='echo', delay='50ms')
        past = self.submit('delayed', call='echo', start_at='2020-01-01T00:00:00Z')
        never = self.submit('delayed', 'cancelled', call='echo', delay='1h')
        self.check(self.call('job.explain', id=never)['why'] == 'delay')
        self.call('job.cancel', ids=[never])
        for number, state in ((soon, 'succeeded'), (past, 'succeeded'), (never, 'cancelled')):
            self.ended(number, state=state)

    def gated(self, ends):
        """A program that exits with the status that is written to a fifo: (id, open end of that)."""
        path = self.path()
        os.mkfifo(path)
        gate = os.open(path, os.O_RDWR)  # which waits for nobody
        return self.shell('chain', 'read status <"$0"; rm "$0"; exit $status', path, ends=ends), gate

    def chain(self):
        first, gate = self.gated('succeeded')
        bad, bad_gate = self.gated('failed')
        both = self.submit('chain', call='echo', after=[first])
        any_end = self.submit('chain', argv=['true'], after={'ids': [first, bad], 'when': 'end'})
        doomed = self.submit('chain', 'cancelled', call='echo', after=[first, bad])
        too = self.submit('chain', 'cancelled', call='echo', after=[doomed])
        for end, status in ((gate, b'0\n'), (bad_gate, b'1\n')):
            os.write(end, status)
        for number, state in ((both, 'succeeded'), (any_end, 'succeeded'), (doomed, 'cancelled'),
                              (too, 'cancelled')):
            self.ended(number, state=state)
        os.close(gate)
        os.close(bad_gate)

    def retries(self):
        number = self.shell('retries', 'exit 3', ends='dead', retries=2)
        second = self.shell('retries', '[ "$WEFT_ATTEMPT" -ge 2 ]', retries=3)
        self.ended(second, state='succeeded', attempt=2)
        if not self.ended(number, state='dead', attempt=3):
            return
        revived = self.call('job.retry', ids=[number])['results'][0]
        if 'error' in revived:
            self.check(revived['error']['code'] == NO_SUCH_JOB, revived)
            self.journal.note_forgotten(number)
        else:
            self.ended(number, state='dead', attempt=6)

    def cancels(self):
        program = self.shell('cancelled', 'setsid sleep 1000 & exec sleep 1000', ends='cancelled')
        call = self.submit('cancelled', 'cancelled', call='sleep', args={'seconds': 1000})
        note = self.path()
        apart = self.submit('cancelled', 'cancelled', call='patient', args={'note': note})
        for number in (program, call):
            self.await_running(number)
        wait_until(lambda: os.path.exists(note), 'the call apart has begun')
        results = self.call('job.cancel', ids=[program, call, apart])['results']
        self.check([one.get('state') for one in results] == ['cancelled'] * 3, results)
        os.remove(note)

    def timeouts(self):
        one = self.submit('timeout', 'timed_out', argv=['sleep', '1000'], timeout='50ms')
        two = self.submit('timeout', 'dead', call='sleep', args={'seconds': 1000}, timeout='20ms',
                          retries=1)
        all_of_it = self.shell('timeout', 'exit 1', ends='timed_out', timeout_total='100ms',
                               retries=1000)
        self.ended(one, state='timed_out')
        self.ended(two, state='dead', attempt=2)
        self.ended(all_of_it, state='timed_out')

    def not_durable(self):
        args = {'n': self.rand.random()}
        result = self.call('job.submit', call='echo', args=args, durable=False)
        self.journal.note(result['id'], 'not durable', ['succeeded'])
        self.check(result['durable'] is False, result)
        number = self.shell('not durable', 'echo here', durable=False)
        self.ended(result['id'], result=args)
        self.ended(number, state='succeeded')

    # -- asking

    def listing(self):
        before, last = None, 1 << 53
        while True:
            filters = self.rand.choice(({}, {'state': ['succeeded', 'dead']}, {'queue': 'default'},
                                        {'tag': 'soak'}, {'name': '*'}))
            page = self.call('job.list', before=before, limit=self.rand.randrange(1, 200), **filters)
            for job in page['jobs']:
                self.check(job['id'] < last, 'job', job['id'], 'after', last)
                last = job['id']
            before = page['next']
            if before is None:
                return

    def questions(self):
        self.check(self.call('ping') == 'pong')
        self.check('job.submit' in self.call('hello')['methods'])
        self.check(self.call('queue.list')['queues'])
        self.refusal(NO_METHOD, 'job.submot')
        self.refusal(INVALID_PARAMS, 'job.submit', argv=['true'], piority=1)
        self.refusal(NO_SUCH_JOB, 'job.get', id=1 << 52)
        self.refusal(NO_SUCH_JOB, 'job.logs', id=1 << 52)
        with self.weftd.connect() as other:
            self.check(other.exchange('{"jsonrpc"')['error']['code'] == PARSE_ERROR)
            self.check(other.exchange('x' * (LINE_MAX + 10))['error']['code'] == TOO_LONG)
            batch = [json.loads(other.request('ping', None)) for _ in range(20)]
            self.check(len(other.exchange(json.dumps(batch))) == 20)

    def pipelines(self):
        with self.weftd.connect() as other:
            many = [('daemon.stats', {}), *[('ping', {})] * 300]
            self.check(all(map(result_of, other.pipeline(many))))

    def crowd(self):
        others = [self.weftd.connect() for _ in range(20)]
        for other in others:
            other.send('ping')
        for other in others:
            other.close()

    def follow(self):
        """One program's output, by each of the ways."""
        number = self.shell('followed', 'for n in 1 2 3 4 5; do echo $n; sleep 0.02; done')
        with self.http() as http:
            http.send('GET', f'/v1/jobs/{number}/logs?follow')
            by_descriptor = self.read_descriptor(number)
            try:
                reply = http.reply()
                self.check(reply.status == 404 or reply.body == b'1\n2\n3\n4\n5\n', reply)
            except Disconnected:  # weftd came to the rest of it when it was forgotten
                self.check(self.known(number, 'job.get', id=number) is None, 'not followed to the end')
        self.check(by_descriptor in (None, b'1\n2\n3\n4\n5\n'), by_descriptor)
        self.check_output(number, b'1\n2\n3\n4\n5\n')

    def read_descriptor(self, number):
        file = None
        try:
            with self.weftd.connect() as other:
                while True:
                    answer, passed = self.ask_descriptor(other, number)
                    if file is None:
                        file = passed
                    elif passed is not None:
                        os.close(passed)
                    if answer is None or answer['eof']:
                        return os.pread(file, 1 << 16, 0) if file is not None and answer else None
        finally:
            if file is not None:
                os.close(file)

    def ask_descriptor(self, other, number):
        """What job.output says, or None if the job is forgotten, and the descriptor that came."""
        other.send('job.output', id=number)
        line, passed, _, _ = socket.recv_fds(other.socket, 1 << 16, 1)
        try:
            return result_of(json.loads(line)), passed[0] if passed else None
        except RpcError as error:
            self.check(error.code == NO_SUCH_JOB, error)
            self.journal.note_forgotten(number)
            return None, None

    def subscription(self):
        with self.weftd.connect() as other:
            other.call('events.subscribe', queue='default')
            number = self.submit('told of', call='sleep', args={'seconds': 0.01})
            states = []
            while not states or states[-1] != 'succeeded':
                event = other.read_message()['params']
                if event.get('id') == number:
                    states.append(event['state'])
            self.check(states == ['queued', 'running', 'succeeded'], states)

    def slow_subscriber(self):
        """One who asks for all that is kept, reads little of it, and leaves."""
        with self.weftd.connect() as other:
            other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            other.call('events.subscribe', since=0)
            self.calls()
            other.read_message()

    def rest(self):
        """HTTP on the Unix socket, kept alive."""
        with self.http() as http:
            reply = http.call('POST', '/v1/jobs', {'call': 'sleep', 'args': {'seconds': 1000}})
            number = reply.json['id']
            self.journal.note(number, 'by HTTP', ['cancelled'])
            self.check(http.call('GET', f'/v1/jobs/{number}').json['id'] == number)
            self.check(http.call('GET', f'/v1/jobs/{number}/explain').status == 200)
            self.check(http.call('GET', '/v1/jobs?limit=5').json['jobs'])
            self.check(http.call('DELETE', f'/v1/jobs/{number}').json['state'] == 'cancelled')
            self.check(b'weft_' in http.call('GET', '/metrics').body)
            self.check(http.call('GET', '/v1/nothing').status == 404)
            ping = {'jsonrpc': '2.0', 'id': 1, 'method': 'ping'}
            self.check(http.call('POST', '/v1/rpc', ping).json['result'] == 'pong')

    def stream(self):
        """Server-sent events, which this client leaves in the middle."""
        with self.http() as http:
            http.send('GET', '/v1/events')
            self.check(http.head()[0] == 200)
            self.check(b'subscribed' in http.chunk())
            self.calls()
            self.check(b'"seq"' in http.chunk())

    def over_tcp(self):
        host = 'Host: localhost'
        ours = [host, f'Authorization: Bearer {self.world.token}']
        with self.http(over_tcp=True) as http:
            for path, headers, status in (('/metrics', ours, 200), ('/v1/jobs', ours, 200),
                                          ('/v1/jobs', [host], 401)):
                reply = http.call('GET', path, headers=headers)
                self.check(reply.status == status, path, 'gave', reply)

    def breaking_off(self):
        """In the middle of a line, a reply, a wait, a request of HTTP, a descriptor on its way."""
        number = self.shell('broken off', 'echo something')
        self.ended(number, state='succeeded')
        with self.weftd.connect() as one, self.weftd.connect() as two, self.http() as three:
            one.write('{"jsonrpc":"2.0","id":1,"me')
            for _ in range(50):
                two.send('hello')
            three.write(b'POST /v1/jobs HTTP/1.1\r\nHost: weft\r\nContent-Length: 100\r\n\r\n{"ca')
        with self.weftd.connect() as one, self.weftd.connect() as two, self.http() as three:
            one.send('job.output', id=number)
            one.send('job.output', id=number)
            two.send('job.wait', ids=[self.submit('broken off', call='sleep',
                                                  args={'seconds': 0.1})])
            three.send('GET', f'/v1/jobs/{number}/logs?follow')

    def kept(self):
        """For longer than others, and for as short as can be."""
        for keep in ('0', '6s'):
            self.ended(self.submit('kept', call='echo', keep=keep), state='succeeded')

    # -- operating

    def pause(self):
        self.call('queue.pause', queue='side', freeze=self.rand.random() < 0.5)
        numbers = [self.submit('purged', 'cancelled', call='echo', queue='side') for _ in range(5)]
        self.check(self.call('job.explain', id=numbers[0])['why'] == 'queue_paused')
        purged = self.call('queue.purge', queue='side')
        self.check(purged['cancelled'] == 5, purged)
        self.call('queue.resume', queue='side')
        self.ended(self.submit('resumed', call='echo', queue='side'), state='succeeded')

    def drain(self):
        self.call('queue.drain', queue='side')
        self.refusal(BUSY, 'job.submit', call='echo', queue='side')
        self.call('queue.resume', queue='side')
        self.call('daemon.drain')
        number = self.submit('drained', call='echo')
        why = self.call('job.explain', id=number)['why']
        self.call('daemon.drain', undo=True)
        self.check(why == 'drained', why)
        self.ended(number, state='succeeded')

    def setting(self):
        self.call('queue.set', queue='side', rate='100/s', concurrency=3, max_waiting=50)
        numbers = [self.submit('rated', call='echo', queue='side') for _ in range(10)]
        self.call('queue.set', queue='side', rate=None, concurrency=None, max_waiting=None)
        for number in numbers:
            self.ended(number, state='succeeded')

    def reload(self):
        self.weftd.configure(self.world.settings(side=self.rand.randrange(1, 5)))
        self.check(self.call('daemon.reload')['restart'] == [])
        self.weftd.configure(self.world.settings() + 'sid = 3\n')
        self.refusal(BAD_CONFIG, 'daemon.reload')
        self.weftd.configure(self.world.settings())
        self.call('daemon.reload')

    def backup(self):
        path = self.call('daemon.backup', name=self.fresh().replace(' ', '-') + '.db')['path']
        store = sqlite3.connect(path)
        try:
            self.check(store.execute('pragma quick_check').fetchall() == [('ok',)], path)
        finally:
            store.close()
        os.remove(path)


# By name, with how often.
JOBS = {'program': 6, 'much_output': 2, 'calls': 6, 'files': 4, 'fetch': 2, 'modules': 2,
        'crashes': 1, 'array': 4, 'keyed': 3, 'delayed': 3, 'chain': 3, 'retries': 2, 'cancels': 2,
        'timeouts': 2, 'not_durable': 4}
ASKING = {'listing': 3, 'questions': 3, 'pipelines': 1, 'crowd': 1, 'follow': 3, 'subscription': 3,
          'slow_subscriber': 2, 'rest': 3, 'stream': 2, 'over_tcp': 2, 'breaking_off': 3}
OPERATING = {'pause': 2, 'drain': 2, 'setting': 2, 'reload': 2, 'backup': 1}
LONG = {'kept': 1}  # would make each quiet moment come six seconds later
