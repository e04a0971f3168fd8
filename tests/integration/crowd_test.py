#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many clients, greedy clients and clients that do not listen: the others are answered, and memory
stays bounded."""

import json
import os
import resource
import socket
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

BUSY = -32000


class Crowd(support.WeftdTest):
    CLIENTS = 200

    def test_two_hundred_connections_at_once(self):
        connections = [self.weftd.connect() for _ in range(self.CLIENTS)]
        submits = [connection.send('job.submit', call='echo', args={'client': at})
                   for at, connection in enumerate(connections)]
        numbers = [connection.reply(submit)['id']
                   for connection, submit in zip(connections, submits)]
        self.assertEqual(len(set(numbers)), self.CLIENTS)
        waits = [connection.send('job.wait', ids=[number])
                 for connection, number in zip(connections, numbers)]
        for at, (connection, wait) in enumerate(zip(connections, waits)):
            job = connection.reply(wait)['jobs'][0]
            self.assertEqual((job['id'], job['result']), (numbers[at], {'client': at}))
        support.wait_until(  # that of the start may be counted for a moment more
            lambda: self.weftd.stats()['server']['connections'] == self.CLIENTS + 1,
            'these, and our own')
        for connection in connections:
            connection.close()
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'the others are gone')

    def test_come_and_go(self):
        def visitor():
            for _ in range(support.scaled(200, 30)):
                with self.weftd.connect() as connection:
                    self.assertEqual(connection.call('ping'), 'pong')

        before = len(os.listdir(f'/proc/{self.weftd.pid}/fd'))
        self.in_threads([visitor] * 8)
        self.weftd.call('ping')
        support.wait_until(lambda: len(os.listdir(f'/proc/{self.weftd.pid}/fd')) <= before + 2,
                           'no descriptor is left')

    def test_five_thousand_pings_in_one_pipeline(self):
        count = support.scaled(5000, 1000)
        with self.weftd.connect() as connection:
            messages = connection.pipeline([('ping', {})] * count)
            self.assertEqual([message['result'] for message in messages], ['pong'] * count)
            self.assertEqual(len({message['id'] for message in messages}), count)
            self.assertEqual(connection.call('ping'), 'pong')
            self.assertEqual(connection.early, {})

    def test_pipelines_side_by_side(self):
        count = support.scaled(500, 100)

        def client(name):
            with self.weftd.connect() as connection:
                messages = connection.pipeline(
                    [('job.submit', {'call': 'echo', 'args': {'name': name, 'n': n}})
                     for n in range(count)])
                numbers = [support.result_of(message)['id'] for message in messages]
                jobs = connection.call('job.wait', ids=numbers)['jobs']
                self.assertEqual([job['result'] for job in jobs],
                                 [{'name': name, 'n': n} for n in range(count)])
                self.assertEqual(numbers, sorted(numbers), 'ids in the order of the requests')

        self.in_threads([lambda name=name: client(name) for name in range(8)])
        self.assertEqual(self.weftd.stats()['jobs']['succeeded'], 8 * count)


class Idle(support.WeftdTest):
    COUNT = 300 if support.SANITIZER else 10_000
    EACH = 16 << 10  # bytes; a sanitizer takes more, and is not asked
    config = f'[daemon]\nmax_connections = {COUNT + 10}\nmax_connections_user = {COUNT + 10}\n'

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < self.COUNT + 200:
            self.skipTest(f'{hard} descriptors a process are too few')
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        super().setUp()

    def resident(self):
        with open(f'/proc/{self.weftd.pid}/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def test_ten_thousand_that_are_silent_cost_memory_alone_and_little_of_it(self):
        self.weftd.call('ping')
        before, sockets = self.resident(), []
        for at in range(self.COUNT):
            sockets.append(socket.socket(socket.AF_UNIX))
            self.addCleanup(sockets[-1].close)
            sockets[-1].connect(self.weftd.socket)
            if at % 500 == 0:
                self.assertEqual(self.weftd.call('ping'), 'pong')
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == self.COUNT + 1,
                           'all are taken')
        number = self.weftd.echo()
        self.assertEqual(self.weftd.wait(number)['state'], 'succeeded')
        if not support.SANITIZER:
            self.assertLess((self.resident() - before) / self.COUNT, self.EACH)
        for one in sockets:
            one.close()
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'all are gone')


class Limits(support.WeftdTest):
    config = '[daemon]\nmax_connections = 12\nmax_connections_user = 10\nmax_jobs = 20\n'

    def test_one_connection_too_many_is_told(self):
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'only our own connection is there')
        connections = [self.weftd.connect() for _ in range(9)]
        for connection in connections:
            self.assertEqual(connection.call('ping'), 'pong')
        with self.weftd.connect() as eleventh:
            message = eleventh.read_message()
            self.assertIsNone(message['id'])
            self.assertEqual(self.assert_error(message, BUSY, 'daemon.max_connections_user').name, 'busy')
            self.assertTrue(eleventh.is_closed())
        connections.pop().close()

        def answered():
            with self.weftd.connect() as connection:
                try:
                    return connection.call('ping') == 'pong'
                except (support.Disconnected, KeyError, support.RpcError):
                    return False

        support.wait_until(answered, 'there is room again')
        for connection in connections:
            self.assertEqual(connection.call('ping'), 'pong')
            connection.close()

    def test_one_job_too_many_is_refused(self):
        delayed = [self.weftd.submit('true', delay='1h') for _ in range(20)]
        self.assert_refused(lambda: self.weftd.submit('true'), BUSY)
        results = self.weftd.call('job.submit_many', jobs=[{'call': 'echo'}] * 2)
        for one in results['results']:
            self.assert_error(one, BUSY)
        self.weftd.call('job.cancel', ids=delayed[:1])
        self.assertEqual(self.weftd.wait(self.weftd.echo({'n': 1}))['result'], {'n': 1})


class Deaf(support.WeftdTest):
    """Clients that write and never read."""

    config = '[daemon]\nwrite_timeout = 0s\n'
    MOST = 64 << 20  # bytes that weftd may grow by

    def rss(self):
        with open(f'/proc/{self.weftd.pid}/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def fill(self, connection, data, most):
        """Writes until weftd takes no more; returns how much that was."""
        connection.socket.settimeout(1)
        sent = 0
        try:
            while sent < most:
                sent += connection.socket.send(data)
        except TimeoutError:
            pass
        connection.socket.settimeout(support.DEADLINE)
        return sent

    def test_weftd_stops_taking(self):
        self.weftd.call('ping')
        before = self.rss()
        ping = b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n' * 1000
        deaf = [self.weftd.connect() for _ in range(support.scaled(5, 2))]
        for connection in deaf:
            self.assertLess(self.fill(connection, ping, 64 << 20), 8 << 20)
            self.assertEqual(self.weftd.call('ping'), 'pong', 'the others are answered')
        number = self.weftd.echo({'still': 'works'})
        self.assertEqual(self.weftd.wait(number)['result'], {'still': 'works'})
        if not support.SANITIZER:
            self.assertLess(self.rss() - before, self.MOST)
        # and when it listens at last, nothing was lost
        connection = deaf[0]
        connection.half_close()
        count = 0
        try:
            while True:
                self.assertEqual(connection.read_message()['result']['name'], 'weftd')
                count += 1
        except support.Disconnected:
            pass
        self.assertGreater(count, 128)
        for connection in deaf:
            connection.close()

    def test_large_replies_that_nobody_takes(self):
        count = support.scaled(1000, 200)
        jobs = [{'call': 'echo', 'args': {'text': 'z' * 1000, 'n': n}} for n in range(count)]
        numbers = self.weftd.submit_many(jobs)
        self.weftd.wait_all(numbers)
        with self.weftd.connect() as connection:
            for _ in range(20):  # each may be read after the next job has come
                connection.send('job.list', limit=count, before=numbers[-1] + 1)
            self.assertEqual(self.weftd.call('ping'), 'pong')
            self.assertEqual(self.weftd.wait(self.weftd.echo({'n': 1}))['result'], {'n': 1})
            first = json.loads(connection.read_line())['result']['jobs']
            self.assertEqual([job['result']['n'] for job in first],
                             list(range(count - 1, -1, -1)))
        self.assertEqual(self.weftd.call('ping'), 'pong')


class CutOff(support.WeftdTest):
    config = '[daemon]\nwrite_timeout = 500ms\n'

    def test_who_takes_nothing_is_cut_off(self):
        with self.weftd.connect() as connection:
            connection.socket.setblocking(False)
            ping = b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n' * 1000

            def is_cut():
                try:
                    connection.socket.send(ping)
                except BlockingIOError:
                    return False
                except OSError:
                    return True
                return False

            support.wait_until(is_cut, 'the connection is cut')
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'only our own connection is left')


class Slow(support.WeftdTest):
    """The socket holds a dozen of the replies and weftd has the others to write, for longer than the
    timeout; within it a reader that is held up for a second still takes some."""

    config = '[daemon]\nwrite_timeout = 2s\n'

    def test_who_reads_slowly_is_not_cut_off(self):
        number = self.weftd.echo({'text': 'x' * 8000})
        self.weftd.wait(number)
        with self.weftd.connect() as connection:
            count = 90
            for _ in range(count):
                connection.send('job.get', id=number)
            for _ in range(count):
                # a reply at a time, with another client's call between them
                self.assertEqual(connection.read_message()['result']['id'], number)
                self.assertEqual(self.weftd.call('ping'), 'pong')
                time.sleep(0.03)
            self.assertEqual(connection.call('ping'), 'pong')


class HalfOpen(support.WeftdTest):
    def test_clients_that_break_off(self):
        """In the middle of a line, of a wait and of a reply."""
        job = self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'})['id']
        for at in range(support.scaled(100, 30)):
            connection = self.weftd.connect()
            if at % 3 == 0:
                connection.write('{"jsonrpc":"2.0","id":1,"me')
            elif at % 3 == 1:
                connection.send('job.wait', ids=[job])
            else:
                for _ in range(50):
                    connection.send('hello')
            connection.close()
        self.assertEqual(self.weftd.call('ping'), 'pong')
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'all of them are gone')
        # A slot is given back when its reply is written, which we may have read a moment before.
        support.wait_until(lambda: self.weftd.stats()['server']['in_flight'] == 1,
                           'this call alone is under way')
        self.weftd.call('job.cancel', ids=[job])


if __name__ == '__main__':
    support.main()
