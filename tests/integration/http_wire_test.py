#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""HTTP on the Unix socket: the paths, the protocol as clients rightly and wrongly speak it, /metrics,
and what a stop does to it."""

import json
import os
import re
import select
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

LINE_MAX = 65536
KEPT = 100
RPC_SHUTTING_DOWN = -32007


def rpc(method, number=1, **params):
    message = {'jsonrpc': '2.0', 'method': method, 'params': params}
    return message if number is None else {**message, 'id': number}


class HttpCase(support.WeftdTest):
    def http(self):
        connection = HttpConnection(self.weftd.socket, support.DEADLINE)
        self.addCleanup(connection.socket.close)
        return connection

    def ask(self, *arguments, status=200, **options):
        """One request on a connection of its own."""
        with HttpConnection(self.weftd.socket, support.DEADLINE) as connection:
            reply = connection.call(*arguments, **options)
        self.assertEqual(reply.status, status, reply)
        return reply

    def assert_name(self, reply, name):
        self.assertEqual(reply.json['error']['data']['name'], name, reply)


class SharedCase(HttpCase):
    """Its tests share one weftd: they are many, and each takes milliseconds."""

    @classmethod
    def setUpClass(cls):
        cls.shared = support.Weftd(cls.config)
        cls.addClassCleanup(cls.shared.destroy)
        cls.shared.start()
        cls.addClassCleanup(cls.shared.stop)

    def setUp(self):
        self.weftd = self.shared
        self.daemons = [self.shared]

    def tearDown(self):
        pass


class Stream:
    """A connection that follows /v1/events."""

    def __init__(self, connection, path='/v1/events', headers=()):
        self.connection = connection
        self.text = ''
        connection.send('GET', path, headers=headers)
        status, self.headers = connection.head()
        assert status == 200, connection.body(self.headers)

    def read(self):
        """The next event: its fields, data parsed.  Comments are passed over."""
        while True:
            while '\n\n' not in self.text:
                self.text += self.connection.chunk().decode() or '!end\n\n'
            block, _, self.text = self.text.partition('\n\n')
            fields = dict(line.partition(': ')[::2] for line in block.split('\n'))
            if 'data' in fields:
                fields['data'] = json.loads(fields['data'])
            if '' not in fields:
                return fields

    def read_until(self, found):
        events = []
        while not events or not found(events[-1]):
            events.append(self.read())
        return events


class PathsTest(SharedCase):
    config = f'[daemon]\nline_max = {LINE_MAX}\nevents = {KEPT}\n[queue off]\nconcurrency = 0\n'

    # -- JSON-RPC

    def test_rpc_is_answered_as_lines_are(self):
        reply = self.ask('POST', '/v1/rpc', rpc('ping'))
        self.assertEqual(reply.json, {'jsonrpc': '2.0', 'id': 1, 'result': 'pong'})
        self.assertEqual(reply.headers['content-type'], 'application/json')
        refused = self.ask('POST', '/v1/rpc', rpc('job.get', id=4711)).json
        self.assert_error(refused, -32001)

    def test_batch_gets_ids_in_its_order_and_one_array(self):
        batch = [rpc('job.submit', number, call='echo') for number in range(20)]
        replies = self.ask('POST', '/v1/rpc', [*batch, rpc('ping', None)]).json
        by_id = {reply['id']: reply['result']['id'] for reply in replies}
        self.assertEqual(len(replies), 20)
        self.assertEqual([by_id[number] for number in range(20)], sorted(by_id.values()))
        self.weftd.wait_all(list(by_id.values()))  # other tests count what happens

    def test_notification_is_done_and_not_answered(self):
        before = len(self.weftd.list())
        reply = self.ask('POST', '/v1/rpc', rpc('job.submit', None, call='echo'), status=204)
        self.assertEqual(reply.body, b'')
        jobs = self.weftd.list()
        self.assertEqual(len(jobs), before + 1)
        self.weftd.wait(jobs[0]['id'])

    def test_what_is_no_message_is_400(self):
        for body in (b'{', b'', b'17', b'[]', b'[' * 40 + b']' * 40):
            reply = self.ask('POST', '/v1/rpc', body, status=400)
            self.assertIsNone(reply.json['id'], body)
            self.assertIn('error', reply.json, body)

    # -- jobs

    def test_job_from_its_submit_to_its_end(self):
        made = self.ask('POST', '/v1/jobs', {'argv': ['echo', 'hello'], 'name': 'first'}, status=201)
        number = made.json['id']
        self.assertEqual(made.headers['location'], f'/v1/jobs/{number}')
        self.weftd.wait(number)
        job = self.ask('GET', made.headers['location']).json
        self.assertEqual((job['name'], job['state']), ('first', 'succeeded'))
        self.assertEqual(self.ask('GET', f'/v1/jobs/{number}/logs').body, b'hello\n')
        self.assertEqual(self.ask('GET', f'/v1/jobs/{number}/explain').json['why'], 'ended')
        self.assert_name(self.ask('POST', f'/v1/jobs/{number}/retry', status=409), 'conflict')
        failed = self.weftd.shell('exit 3')
        self.weftd.wait(failed)
        self.assertEqual(self.ask('POST', f'/v1/jobs/{failed}/retry').json,
                         {'id': failed, 'state': 'queued'})
        self.assertEqual(self.weftd.wait(failed)['attempt'], 2)

    def test_delete_cancels(self):
        number = self.weftd.submit('sleep', '1000')
        self.weftd.await_state(number, 'running')
        self.assertEqual(self.ask('DELETE', f'/v1/jobs/{number}').json,
                         {'id': number, 'state': 'cancelled'})
        self.assert_name(self.ask('DELETE', '/v1/jobs/4711', status=404), 'no_such_job')

    def test_list_has_the_filters_of_job_list(self):
        good = [self.weftd.echo() for _ in range(3)]
        bad = self.weftd.shell('exit 1')
        self.weftd.wait(*good, bad)

        def ids(query):
            return [job['id'] for job in self.ask('GET', f'/v1/jobs?{query}').json['jobs']]
        self.assertEqual(ids('state=failed&limit=1'), [bad])
        self.assertEqual(ids('state=failed,succeeded&queue=default&limit=4'), [bad, *good[::-1]])
        self.assertEqual(ids('state=failed&state=succeeded&limit=4'), [bad, *good[::-1]])
        self.assertEqual(ids(f'limit=2&before={bad}'), [good[2], good[1]])
        self.assertEqual(self.ask('GET', '/v1/jobs?limit=1').json['next'], bad)

    def test_output_comes_as_it_is(self):
        number = self.weftd.shell('head -c 300000 /dev/zero | tr "\\0" "\\377"; printf "a\\0b" >&2')
        self.weftd.wait(number)
        logs = f'/v1/jobs/{number}/logs'
        self.assertEqual(self.ask('GET', logs).body, b'\xff' * 300000)
        self.assertEqual(self.ask('GET', logs + '?stream=stderr').body, b'a\0b')
        self.assertEqual(len(self.ask('GET', logs + '?offset=299999&limit=9').body), 1)
        self.assertEqual(len(self.ask('GET', logs + '?offset=7&limit=200000').body), 200000)
        self.assertEqual(self.ask('GET', logs + '?offset=400000').body, b'')
        self.assertEqual(self.ask('HEAD', logs).status, 200)

    def test_follow_sends_what_comes_until_the_job_ends(self):
        fifo = self.weftd.path('fifo')
        os.mkfifo(fifo)
        number = self.weftd.shell('echo one; read word < "$0"; echo "$word"', fifo)
        connection = self.http()
        connection.send('GET', f'/v1/jobs/{number}/logs?follow')
        status, headers = connection.head()
        self.assertEqual((status, headers['transfer-encoding']), (200, 'chunked'))
        self.assertEqual(connection.chunk(), b'one\n')
        with open(fifo, 'w', encoding='utf-8') as file:
            file.write('two\n')
        self.assertEqual(connection.body(headers), b'two\n')
        self.assertEqual(connection.call('GET', f'/v1/jobs/{number}').json['state'], 'succeeded')

    def test_follow_goes_on_with_the_next_attempt_from_its_start(self):
        folder = self.weftd.path('attempts')
        os.mkdir(folder)
        os.mkfifo(f'{folder}/1')
        os.mkfifo(f'{folder}/2')
        number = self.weftd.shell('echo "attempt $WEFT_ATTEMPT"; read word < "$0/$WEFT_ATTEMPT"; '
                                  'exit "$word"', folder, retries=1)
        connection = self.http()
        connection.send('GET', f'/v1/jobs/{number}/logs?follow=1')
        _, headers = connection.head()
        self.assertEqual(connection.chunk(), b'attempt 1\n')
        for attempt, status in ((1, 3), (2, 0)):
            with open(f'{folder}/{attempt}', 'w', encoding='utf-8') as file:
                file.write(f'{status}\n')
            if attempt == 1:
                self.assertEqual(connection.chunk(), b'attempt 2\n')
        self.assertEqual(connection.body(headers), b'')

    def test_follow_may_be_said_to_be_off(self):
        number = self.weftd.shell('echo one; exec sleep 3600')
        support.wait_until(lambda: self.weftd.logs(number) == b'one\n', 'its output')
        for off in ('0', 'false'):
            self.assertEqual(self.ask('GET', f'/v1/jobs/{number}/logs?follow={off}').body, b'one\n')
        self.assert_name(self.ask('GET', f'/v1/jobs/{number}/logs?follow=maybe', status=400),
                         'invalid_params')
        self.weftd.call('job.cancel', ids=[number])

    # -- events

    def test_events_of_a_job_and_going_on_from_one_of_them(self):
        stream = Stream(self.http(), '/v1/events?queue=default')
        self.assertEqual(stream.headers['content-type'], 'text/event-stream')
        first = stream.read()
        epoch, last = first['data']['epoch'], first['data']['last']
        self.assertEqual((first['event'], first['id']), ('subscribed', f'{epoch}-{last}'))
        other, number = self.weftd.echo(queue='off'), self.weftd.echo()
        events = stream.read_until(lambda one: one['data']['state'] == 'succeeded')
        self.assertEqual([(one['data']['id'], one['data']['cause']) for one in events],
                         [(number, 'submit'), (number, 'dispatch'), (number, 'success')])
        self.assertEqual([one['id'] for one in events],
                         [f"{epoch}-{one['data']['seq']}" for one in events])
        back = Stream(self.http(), f'/v1/events?ids={number},{other}&since=0',
                      [f"Last-Event-ID: {events[0]['id']}"])
        self.assertEqual([back.read()['event'], *back.read_until(
            lambda one: one['data']['state'] == 'succeeded')], ['subscribed', *events[1:]])
        self.weftd.call('job.cancel', ids=[other])
        self.assertEqual(back.read()['data']['cause'], 'cancel')

    def test_one_who_does_not_read_is_told_what_is_lost(self):
        slow = Stream(self.http())
        last = slow.read()['data']['last']
        ids = self.weftd.submit_many([{'call': 'echo'}] * support.scaled(3000, least=800))
        self.weftd.wait_all(ids)
        end = last + 3 * len(ids)
        support.wait_until(lambda: self.weftd.stats()['events']['subscribers'] == 1,
                           'those of other tests are gone')
        lost = 0
        for event in slow.read_until(lambda one: one['data']['seq'] >= end):
            gap = event['data'].get('gap', {'from': event['data']['seq'], 'to': event['data']['seq']})
            self.assertEqual((gap['from'], gap['to']), (last + 1, event['data']['seq']))
            self.assertEqual(event.get('event'), 'gap' if 'gap' in event['data'] else None)
            lost += gap['to'] - last if 'gap' in event['data'] else 0
            last = gap['to']
        self.assertEqual(last, end)
        self.assertGreater(lost, 0)

    def test_events_are_refused_as_the_method_refuses(self):
        for path, headers, name in (('?since=999999999', (), 'invalid_params'),
                                    ('?since=x', (), 'invalid_params'),
                                    ('?ids=1,x', (), 'invalid_params'),
                                    ('?id=1', (), 'invalid_params'),
                                    ('?queue=nope', (), 'no_such_queue'),
                                    ('', ['Last-Event-ID: x'], 'invalid_params')):
            with self.subTest(path=path):
                self.assert_name(self.ask('GET', '/v1/events' + path, headers=headers, status=400),
                                 name)
        self.assertEqual(self.ask('HEAD', '/v1/events').headers['content-type'],
                         'text/event-stream')
        support.wait_until(lambda: self.weftd.stats()['events']['subscribers'] == 0,
                           'nobody is left')

    # -- what is wrong

    def test_errors_have_their_status_and_name(self):
        for method, path, body, status, name in (
                ('GET', '/', None, 404, 'method_not_found'),
                ('GET', '/v1/jobs/', None, 404, 'method_not_found'),
                ('GET', '/v1/jobs/0', None, 404, 'method_not_found'),
                ('GET', '/v1/jobs/1x', None, 404, 'method_not_found'),
                ('GET', '/v1/jobs/99999999999999999999', None, 404, 'method_not_found'),
                ('GET', '/v1/jobs/4711', None, 404, 'no_such_job'),
                ('GET', '/v1/jobs/4711/logs', None, 404, 'no_such_job'),
                ('GET', '/v1/jobs?limit=0', None, 400, 'invalid_params'),
                ('GET', '/v1/jobs?limit=x', None, 400, 'invalid_params'),
                ('GET', '/v1/jobs?queue=nope', None, 400, 'no_such_queue'),
                ('GET', '/v1/jobs?queue=%ff', None, 400, 'invalid_params'),
                ('GET', '/v1/jobs/4711?x=1', None, 400, 'invalid_params'),
                ('POST', '/v1/jobs', b'{"argv":', 400, 'parse_error'),
                ('POST', '/v1/jobs', b'[]', 400, 'invalid_params'),
                ('POST', '/v1/jobs', {'argv': []}, 400, 'invalid_params'),
                ('POST', '/v1/jobs', {'call': 'nope'}, 400, 'no_such_handler')):
            with self.subTest(path=path, body=body):
                self.assert_name(self.ask(method, path, body, status=status), name)

    def test_wrong_method_is_told_the_right_ones(self):
        reply = self.ask('PUT', '/v1/jobs', b'', status=405)
        self.assertEqual(reply.headers['allow'], 'GET, HEAD, POST')
        self.assertEqual(self.ask('GET', '/v1/rpc', status=405).headers['allow'], 'POST')

    def test_misspelt_query_is_told_the_nearest(self):
        error = self.ask('GET', '/v1/jobs?limt=3', status=400).json['error']
        self.assertEqual(error['data'], {'name': 'invalid_params', 'param': 'limt',
                                         'nearest': 'limit'})

    # -- the protocol

    def test_connection_stays_and_pipelined_requests_are_answered_in_order(self):
        connection = self.http()
        connection.write(b''.join([
            connection.text('GET', '/v1/jobs?state=waiting'),
            connection.text('HEAD', '/v1/jobs?state=waiting'),
            connection.text('POST', '/v1/rpc', rpc('ping', 7)),
            connection.text('GET', '/nope'), connection.text('POST', '/v1/rpc', rpc('ping', 8))]))
        got = connection.reply()
        self.assertEqual(got.json, {'jobs': [], 'next': None})
        head = connection.reply(is_head=True)
        self.assertEqual((head.status, head.headers), (200, {**got.headers, **dates(head)}))
        self.assertEqual(connection.reply().json['id'], 7)
        self.assertEqual(connection.reply().status, 404)
        self.assertEqual(connection.reply().json['id'], 8)

    def test_request_is_answered_after_a_half_close(self):
        connection = self.http()
        connection.send('POST', '/v1/rpc', rpc('job.submit', call='echo'))
        connection.half_close()
        self.assertIn('id', connection.reply().json['result'])
        self.assertTrue(connection.is_closed())

    def test_half_a_request_and_the_end_is_no_request(self):
        before = len(self.weftd.list())
        for text in (b'G', b'POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"argv"'):
            connection = self.http()
            connection.write(text)
            connection.half_close()
            self.assertTrue(connection.is_closed())
        self.assertEqual(len(self.weftd.list()), before)

    def test_body_is_sent_after_the_continue_that_was_expected(self):
        connection = self.http()
        connection.write(b'POST /v1/rpc HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n'
                         b'Content-Length: 40\r\n\r\n')
        self.assertEqual(connection.reply().status, 100)
        connection.write(json.dumps(rpc('ping'), separators=(',', ':')).encode().ljust(40)[:40])
        self.assertEqual(connection.reply().status, 400)  # it is longer, and cut

    def test_large_body_is_refused_before_it_is_sent(self):
        connection = self.http()
        connection.write(b'POST /v1/rpc HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n'
                         b'Content-Length: %d\r\n\r\n' % (LINE_MAX + 1))
        reply = connection.reply()
        self.assertEqual((reply.status, reply.headers['connection']), (413, 'close'))
        self.assert_name(reply, 'line_too_long')
        self.assertTrue(connection.is_closed())

    def test_large_body_that_is_sent_all_the_same_is_refused(self):
        body = b' ' * (LINE_MAX + 1)
        self.assert_name(self.ask('POST', '/v1/rpc', body, status=413), 'line_too_long')
        self.assertEqual(self.ask('POST', '/v1/rpc', body[1:], status=400).json['id'], None)

    def test_large_body_in_chunks_is_refused_and_the_connection_stays(self):
        connection = self.http()
        connection.write(b'POST /v1/rpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
        for _ in range(LINE_MAX // 4096 + 1):
            connection.write(b'1000\r\n' + b'x' * 4096 + b'\r\n')
        connection.write(b'0\r\n\r\n')
        self.assert_name(connection.reply(), 'line_too_long')
        self.assertEqual(connection.call('POST', '/v1/rpc', rpc('ping')).json['result'], 'pong')

    def test_what_is_no_http_is_refused(self):
        for text, status in ((b'GET / X\r\n\r\n', 400), (b'NONSENSE / X/1\r\n\r\n', 400),
                             (b'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n', 400),
                             (b'GET / HTTP/9.9\r\nHost: x\r\n\r\n', 505),
                             (b'GET /' + b'x' * 70000 + b' HTTP/1.1\r\n\r\n', 414),
                             (b'GET / HTTP/1.1\r\nX: ' + b'y' * 70000 + b'\r\n\r\n', 431)):
            with self.subTest(text=text[:60]):
                connection = self.http()
                connection.write(text)
                self.assertEqual(connection.head()[0], status)

    def test_lines_are_spoken_beside_it(self):
        with self.weftd.connect() as lines:
            self.assertEqual(lines.call('ping'), 'pong')
            self.assert_error(lines.exchange('get / HTTP/1.1'), -32700)
            self.assert_error(lines.exchange('GET / HTTP/1.1'), -32700)

    def test_curl_does_it(self):
        def curl(*arguments):
            result = support.run(['curl', '-sSf', '--unix-socket', self.weftd.socket, *arguments])
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)
        number = curl('http://weft/v1/jobs', '-d', '{"call":"echo"}')['id']
        self.assertEqual(curl(f'http://weft/v1/jobs/{number}')['id'], number)
        self.weftd.wait(number)

    # -- figures

    def test_metrics_are_what_stats_say(self):
        done = self.weftd.echo()
        self.weftd.wait(done)
        reply = self.ask('GET', '/metrics')
        self.assertEqual(reply.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
        values, types = parse_metrics(reply.body.decode())
        stats = self.weftd.stats()
        self.assertEqual(values['weft_jobs_ended_total{state="succeeded"}'],
                         stats['jobs']['succeeded'])
        self.assertEqual(values['weft_jobs{state="running"}'], 0)
        self.assertEqual(values['weft_jobs_submitted_total'], stats['totals']['submitted'])
        self.assertGreater(values['weft_store_commits_total'], 0)
        self.assertGreater(values['weft_memory_rss_bytes'], 1 << 20)
        self.assertGreater(values['weft_worker_turns_total{worker="0"}'], 0)
        self.assertGreater(values['weft_requests_in_flight'], 0)  # this one
        names = {name.partition('{')[0] for name in values}
        self.assertEqual({name for name in names if name.endswith('_total')},
                         {name for name in types if types[name] == 'counter'})

    def test_every_figure_of_stats_is_in_the_metrics(self):
        # A label stands for the members that are listed by state or by worker.  The pid is none.
        stats = self.weftd.stats()
        values, _ = parse_metrics(self.ask('GET', '/metrics').body.decode())
        figures = 0
        for name, section in stats.items():
            if name == 'workers':
                figures += sum(len(worker) for worker in section)
            elif isinstance(section, dict):
                figures += sum(not isinstance(value, (str, type(None)))
                               for value in section.values())
            elif name not in ('version', 'pid'):
                figures += 1
        self.assertEqual(len(values), figures + 1)  # weft_info

    def test_requests_are_counted_as_those_of_lines_are(self):
        before = self.weftd.stats()['server']
        self.ask('GET', '/v1/jobs')
        self.ask('GET', '/v1/jobs/4711', status=404)
        self.ask('POST', '/v1/rpc', [rpc('ping', 1), rpc('pong', 2)])
        after = self.weftd.stats()['server']
        self.assertEqual(after['requests'] - before['requests'], 5)  # and this daemon.stats
        self.assertEqual(after['errors'] - before['errors'], 2)
        self.assertEqual(after['accepted'] - before['accepted'], 3)


def parse_metrics(text):
    """Prometheus' text format, strictly: {'name{label="value"}': number}, {'name': type}."""
    values, types, helped, last = {}, {}, set(), None
    for line in text.splitlines():
        if match := re.fullmatch(r'# HELP (\w+) \S.*', line):
            assert match[1] not in helped, line
            helped.add(match[1])
            continue
        if match := re.fullmatch(r'# TYPE (\w+) (counter|gauge)', line):
            last = match[1]
            assert last in helped and last not in types, line
            types[last] = match[2]
            continue
        match = re.fullmatch(r'(([a-z][a-z0-9_]*)(\{[a-z]+="[^"\\]*"\})?) (-?[0-9.e+-]+)', line)
        assert match and match[2] == last, line
        assert match[1] not in values, line
        values[match[1]] = float(match[4])
    return values, types


def dates(reply):
    return {'date': reply.headers['date']}


class LimitsTest(HttpCase):
    config = '[daemon]\npartial_line_timeout = 300ms\nwrite_timeout = 300ms\ndrain = 0s\n'

    def drip(self, connection):
        """Sends a byte now and then until something comes back."""
        connection.write(b'GET / HTTP/1.1\r\n')
        deadline = time.monotonic() + support.DEADLINE
        while not select.select([connection.socket], [], [], 0.02)[0]:
            self.assertLess(time.monotonic(), deadline)
            connection.write(b'X')

    def test_silence_is_told_where_something_was_begun_and_ends_the_connection(self):
        begun = []
        for text in (b'G', b'GET / HTTP/1.1\r\nHost: x\r\n',
                     b'POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{'):
            begun.append(self.http())
            begun[-1].write(text)
        second, dripping = self.http(), self.http()
        self.assertEqual(second.call('GET', '/v1/jobs').status, 200)
        second.write(b'GET /v1')
        self.drip(dripping)
        for connection in (*begun, second, dripping):
            reply = connection.reply()
            self.assertEqual(reply.status, 408)
            self.assert_name(reply, 'timeout')
            self.assertTrue(connection.is_closed())

    def test_request_that_begins_right_behind_a_reply_is_timed_too(self):
        """Its first byte may come between any two looks at the socket."""
        connections = [self.http() for _ in range(support.scaled(400, 100))]
        for at, connection in enumerate(connections):
            self.assertEqual(connection.call('GET', '/v1/jobs').status, 200)
            end = time.perf_counter_ns() + at % 100 * 1000
            while time.perf_counter_ns() < end:
                pass
            connection.write(b'GET')
        for connection in connections:
            self.assertEqual(connection.reply().status, 408)

    def test_client_that_takes_nothing_is_cut_off(self):
        number = self.weftd.shell('head -c 4000000 /dev/zero')
        self.weftd.wait(number)
        self.http().send('GET', f'/v1/jobs/{number}/logs')
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'only the line is left')

    def test_stop_answers_what_is_under_way_and_ends_the_rest(self):
        number = self.weftd.submit('sleep', '1000')
        self.weftd.await_state(number, 'running')
        waiting, idle = self.http(), self.http()
        waiting.send('POST', '/v1/rpc', rpc('job.wait', ids=[number]))
        support.wait_until(lambda: self.weftd.stats()['server']['in_flight'] == 2,
                           'the wait is under way')
        self.assertEqual(idle.call('GET', '/v1/jobs').status, 200)
        stream = Stream(self.http())
        stream.read()
        self.weftd.send_signal(signal.SIGTERM)
        self.assertEqual(stream.read()['data']['cause'], 'interrupt')
        self.assertIn('!end', stream.read())
        self.assertTrue(stream.connection.is_closed())
        self.assertTrue(idle.is_closed())
        self.assert_error(waiting.reply().json, RPC_SHUTTING_DOWN)
        self.assertTrue(waiting.is_closed())
        self.weftd.check_ended()


if __name__ == '__main__':
    support.main()
