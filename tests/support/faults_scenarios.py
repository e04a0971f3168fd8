# SPDX-License-Identifier: MIT
"""What clients do with weftd while calls fail in it (faults_daemon_test.py).

A scenario gets a Client and does what one client does over one connection.  Any of its requests may
be refused, or the connection may end; what it must not do is wait for ever.  Jobs that were
acknowledged are in client.jobs.
"""

import itertools
import json
import os
import re
import socket

from support.weftd import BUILD, ENDS, Connection, Disconnected, RpcError, result_of

PATIENCE = 10  # for one reply
NUMBERS = itertools.count()

CONFIG = f'''
[runtime]
workers = 2
[queue default]
concurrency = 4
[jobs]
retry_base = 1ms
[queue second]
concurrency = 2
[queue extra]
concurrency = 1
[modules]
load = {BUILD}/examples/module/greeter.so
'''


class Client:
    """A connection, and what was acknowledged over it."""

    def __init__(self, weftd):
        self.weftd = weftd
        self.jobs = []
        self.unending = []  # likewise, but they end only if they are cancelled
        self.refused = []  # (method, error)
        self.connection = Connection(weftd.socket, PATIENCE)

    def call(self, method, /, **params):
        """Its result, or None where it is refused: also by a reply that has no id, because weftd
        could not read the request."""
        try:
            number = self.connection.send(method, **params)
            while True:
                message = self.connection.read_message()
                if message.get('id', 0) in (number, None):
                    return result_of(message)
        except RpcError as error:
            self.refused.append((method, error))
            return None

    def submit(self, unending=False, **params):
        """One that is not durable need not outlive weftd."""
        result = self.call('job.submit', **params)
        if result and params.get('durable', True):
            (self.unending if unending else self.jobs).append(result['id'])
        return result and result['id']

    def wait(self, *numbers):
        """For those that were acknowledged."""
        numbers = [number for number in numbers if number]
        return self.call('job.wait', ids=numbers, timeout=PATIENCE) if numbers else None

    def close(self):
        self.connection.close()


def exchange_http(client, method, path, body=''):
    """One request on a connection of its own.  Returns status and body; 0: there is no whole answer."""
    head = f'{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n' \
           'Connection: close\r\n\r\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as web:
        web.settimeout(PATIENCE)
        try:
            web.connect(client.weftd.socket)
            web.sendall((head + body).encode())
            answer = b''
            while data := web.recv(65536):
                answer += data
        except TimeoutError:
            raise AssertionError('no answer over HTTP') from None
        except OSError:
            return 0, b''
    head, _, body = answer.partition(b'\r\n\r\n')
    length = re.search(rb'Content-Length: (\d+)', head)
    is_whole = len(body) == int(length[1]) if length else body.endswith(b'0\r\n\r\n')
    return (int(head.split()[1]), body) if is_whole else (0, b'')


def read_json(body):
    try:
        return json.loads(body)
    except ValueError as error:
        raise AssertionError(f'{error}: {body}') from None


def get_http(client, path):
    """F7: as exchange_http(), and nothing is wrong with this request."""
    status, body = exchange_http(client, 'GET', path)
    assert status != 400, f'{path}: {body}'
    return status, body


def list_http(client, query, suits):
    """F7: of the jobs that are asked for, and of no others."""
    status, body = get_http(client, f'/v1/jobs?{query}')
    jobs = read_json(body)['jobs'] if status == 200 else []
    others = [job for job in jobs if not suits(job)]
    assert not others, f'{query}: {others}'
    return jobs


def ask(client):
    client.call('ping')
    client.call('hello')
    client.call('daemon.stats')
    client.call('no.such.method')
    client.call('job.get', id=1 << 40)
    client.call('job.list', limit=5)


def call(client):
    number = client.submit(call='echo', args={'text': 'a' * 100}, name='echo', tags=['a', 'b'])
    client.wait(number)
    client.call('job.get', id=number or 1)


def program(client):
    number = client.submit(argv=['/bin/sh', '-c', 'echo out; echo err >&2'], env={'A': 'b'},
                           stdin='hello')
    client.wait(number)
    client.call('job.logs', id=number or 1, stream='stdout')
    status, body = get_http(client, f'/v1/jobs/{number or 1}/logs?stream=stderr')
    assert status != 200 or b'out' not in body, body


def failing(client):
    number = client.submit(argv=['/bin/false'], retries=1)
    client.wait(number or 1)
    client.call('job.retry', ids=[number or 1])
    client.wait(number or 1)
    client.call('job.explain', id=number or 1)
    client.submit(argv=['/no/such/program'])


def many(client):
    jobs = [{'call': 'echo', 'args': {'n': n}} for n in range(20)]
    result = client.call('job.submit_many', jobs=jobs)
    for one in (result or {}).get('results', []):
        if 'id' in one:
            client.jobs.append(one['id'])
    client.call('job.submit_many', jobs=[{'argv': ['true']}, {'argv': []}], atomic=True)
    client.wait(*client.jobs)


def relations(client):
    first = client.submit(call='sleep', args={'seconds': 0.001}, key='first', queue='second')
    client.submit(call='sleep', args={'seconds': 0.001}, key='first')
    if first:
        client.submit(call='echo', args={}, after=[first])
        client.submit(call='echo', args={}, after={'ids': [first], 'end': 'any'})
    fleeting = client.submit(call='echo', args={}, delay=0.001, durable=False, priority=5)
    client.wait(*client.jobs, fleeting)


def cancel(client):
    client.submit(unending=True, argv=['/bin/sleep', '1000'])
    client.submit(unending=True, call='echo', args={}, delay=1000)
    if client.unending and client.call('job.cancel', ids=client.unending):
        client.wait(*client.unending)


def queues(client):
    client.call('queue.set', queue='extra', concurrency=3, rate='100/s')
    client.call('queue.pause', queue='extra')
    number = client.submit(unending=True, call='echo', args={}, queue='extra')
    client.call('job.explain', id=number or 1)
    client.call('queue.list')
    client.call('queue.purge', queue='extra')
    client.call('queue.resume', queue='extra')


def subscribe(client):
    if client.call('events.subscribe') is None:
        return
    other = Client(client.weftd)
    try:
        number = other.submit(call='echo', args={})
    finally:
        other.close()
        client.jobs += other.jobs
    if not number:
        return
    while True:  # until its end is told, or the connection ends
        message = client.connection.read_message()
        event = message.get('params', {})
        if event.get('gap'):  # what there was no memory for
            break
        if event.get('id') == number and event.get('state') in ENDS:
            break


def output(client):
    number = client.submit(argv=['/bin/echo', 'text'])
    client.wait(number)
    descriptors = []
    line = client.connection.request('job.output', {'id': number or 1, 'stream': 'stdout'})
    client.connection.write(line)
    data, descriptors, _, _ = socket.recv_fds(client.connection.socket, 65536, 4)
    for descriptor in descriptors:
        os.close(descriptor)
    if not data:
        raise Disconnected('end of stream')


def files(client):
    path = client.weftd.path('file')
    client.submit(call='file.write', args={'path': path, 'data': 'one\ntwo\n', 'fsync': True})
    client.wait(*client.jobs)
    for name, args in (('file.read', {'path': path}), ('file.lines', {'path': path, 'limit': 5}),
                       ('file.hash', {'path': path}), ('file.copy', {'from': path,
                                                                     'to': path + '.copy'})):
        client.wait(client.submit(call=name, args=args))


def module(client):
    """In a process of its own."""
    client.submit(call='greet', args={'who': 'Ada'})
    client.submit(call='greet', args={'whom': 'Ada'})
    client.wait(*client.jobs)


def fetch(client):
    """Nobody listens there: it fails, but not for what was asked."""
    number = client.submit(call='http.fetch', args={'url': 'http://127.0.0.1:1/', 'timeout': 5,
                                                    'headers': {'A': 'b'}}, retries=1)
    client.wait(number)
    client.call('job.retry', ids=[number or 1])
    client.wait(number)


def over_http(client):
    submit = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'job.submit',
                         'params': {'call': 'echo', 'args': {}}})
    status, answer = exchange_http(client, 'POST', '/v1/rpc', submit)
    if status == 200 and 'result' in read_json(answer):
        client.jobs.append(read_json(answer)['result']['id'])
    for path in ('/metrics', '/nowhere'):
        get_http(client, path)
    assert len(list_http(client, 'limit=3', lambda job: True)) <= 3
    list_http(client, 'state=dead', lambda job: job['state'] == 'dead')
    list_http(client, 'queue=second,extra&limit=5', lambda job: job['queue'] != 'default')


def manage(client):
    client.call('daemon.reload')
    client.call('daemon.backup', name=f'copy-{next(NUMBERS)}')


def malformed(client):
    client.connection.write('{"jsonrpc": "2.0", "id": 5, "method": \n')
    client.connection.read_message()
    client.connection.write(json.dumps(
        [{'jsonrpc': '2.0', 'id': n, 'method': 'ping'} for n in range(3)]) + '\n')
    client.connection.read_message()
    client.call('job.submit', argv=['a'], prioritty=3)


SCENARIOS = {function.__name__: function for function in (
    ask, call, program, failing, many, relations, cancel, queues, subscribe, output, files,
    module, fetch, over_http, manage, malformed)}
