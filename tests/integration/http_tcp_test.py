#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""HTTP over TCP: the token, pages of browsers, the limits, a reload; and what a client of HTTP is told
where there is no room, on the Unix socket too."""

import json
import os
import re
import secrets
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

MOST = 3


class Tcp(support.WeftdTest):
    starts = False

    def setUp(self):
        super().setUp()
        self.token_file = self.weftd.path('token')
        self.token = self.new_token()
        self.weftd.configure(self.settings())
        self.weftd.start()
        self.weftd.await_log('HTTP on http://')  # which is written by a thread of its own
        self.port = int(re.findall(r'HTTP on http://127\.0\.0\.1:(\d+)/', self.weftd.log())[-1])

    def settings(self, listen='127.0.0.1:0', more='', most=100):
        # as root it must be said; who runs the test is an admin, as weftd's own user is
        return f'[http]\nlisten = {listen}\ntoken_file = {self.token_file}\nuser = ' \
               f'{"root" if os.geteuid() == 0 else ""}\nmax_connections = {most}\n{more}'

    def new_token(self):
        token = secrets.token_hex(32)
        with open(self.token_file, 'w', encoding='ascii',
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(token + '\n')
        return token

    def connect(self):
        connection = HttpConnection(('127.0.0.1', self.port), support.DEADLINE)
        self.addCleanup(connection.socket.close)
        return connection

    def headers(self, token=None, host='localhost', more=()):
        return [f'Host: {host}', f'Authorization: Bearer {token or self.token}', *more]

    def ask(self, method, path, body=None, status=200, headers=None):
        with self.connect() as connection:
            reply = connection.call(method, path, body,
                                    headers=self.headers() if headers is None else headers)
        self.assertEqual(reply.status, status, reply)
        return reply

    def await_connections(self, count):
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == count,
                           f'there are {count} connections')

    def test_who_has_the_token_is_served_and_nobody_else(self):
        hello = {'jsonrpc': '2.0', 'id': 1, 'method': 'hello'}
        you = self.ask('POST', '/v1/rpc', hello).json['result']['you']
        self.assertEqual(you, {'uid': os.geteuid(), 'admin': True})
        number = self.ask('POST', '/v1/jobs', {'argv': ['echo', 'x']}, 201).json['id']
        self.weftd.wait(number)
        self.assertEqual(self.ask('GET', f'/v1/jobs/{number}/logs').body, b'x\n')
        stream = self.connect()
        stream.send('GET', '/v1/events?since=0', headers=self.headers())
        self.assertEqual(stream.head()[0], 200)
        self.assertIn(b'event: subscribed', stream.chunk())
        stream.socket.close()

        refused = self.ask('GET', '/metrics', status=401, headers=['Host: localhost'])
        self.assertEqual((refused.headers['www-authenticate'], refused.headers['connection']),
                         ('Bearer', 'close'))
        self.ask('POST', '/v1/jobs', {'argv': ['x']}, 401, self.headers(self.token[:-1]))
        self.ask('POST', '/v1/jobs', {'argv': ['x']}, 401, self.headers(secrets.token_hex(32)))
        self.ask('GET', '/nope', status=401, headers=['Host: localhost'])
        for host in ('evil.example', f'evil.example:{self.port}'):
            self.ask('GET', '/v1/jobs', status=403, headers=self.headers(host=host))
        for origin in ('http://evil.example', 'null', 'http://localhost:1'):
            self.ask('POST', '/v1/jobs', {'argv': ['x']}, 403,
                     self.headers(more=[f'Origin: {origin}']))
        self.ask('GET', '/v1/jobs', headers=self.headers(more=['Origin: http://localhost']))
        self.assertEqual([job['id'] for job in self.weftd.list()], [number])  # none was made

        job = self.weftd.wait(self.weftd.call('job.submit', call='http.fetch', args={
            'url': f'http://127.0.0.1:{self.port}/v1/jobs/{number}', 'check': True,
            'headers': {'Authorization': f'Bearer {self.token}'}})['id'])
        self.assertEqual(json.loads(job['result']['body'])['id'], number)
        self.assertEqual(job['result']['headers']['content-type'], 'application/json')

        with self.connect() as connection:  # lines are not spoken here
            connection.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r\n\r\n')
            self.assertNotIn(b'pong', self.all_of(connection))
        with HttpConnection(self.weftd.socket, support.DEADLINE) as connection:
            self.assertEqual(connection.call('GET', '/v1/jobs', headers=['Origin: http://weft']
                                             ).status, 403)
        printed = support.run(self.weftd.argv('--print-config'), env=self.weftd.env, cwd='/').stdout
        self.assertIn(self.token_file, printed)
        self.assertNotIn(self.token, printed + self.weftd.log() + json.dumps(self.weftd.stats()))

    @staticmethod
    def all_of(connection):
        data = b''
        while piece := connection.socket.recv(1 << 16):
            data += piece
        return data

    def test_a_reload_takes_another_token_and_cuts_off_the_one_before(self):
        old = self.connect()
        self.assertEqual(old.call('GET', '/v1/jobs', headers=self.headers()).status, 200)
        self.weftd.call('daemon.reload')
        self.assertEqual(old.call('GET', '/v1/jobs', headers=self.headers()).status, 200)
        before, self.token = self.token, self.new_token()
        self.weftd.call('daemon.reload')
        self.assertTrue(old.is_closed())
        self.ask('GET', '/v1/jobs', status=401, headers=self.headers(before))
        self.ask('GET', '/v1/jobs')
        os.chmod(self.token_file, 0o644)
        self.assert_refused(lambda: self.weftd.call('daemon.reload'), -32012, 'open to others')
        self.ask('GET', '/v1/jobs')
        os.chmod(self.token_file, 0o600)
        self.weftd.configure('')
        self.assertEqual(self.weftd.call('daemon.reload')['restart'], ['http.listen'])
        self.ask('GET', '/v1/jobs')

        status, words = self.weftd_refuses(self.settings('0.0.0.0:0'))
        self.assertEqual(status, 78)
        self.assertIn('loopback', words)

    def weftd_refuses(self, config):
        self.weftd.configure(config)
        return self.weftd.refused('--check')

    def refused_in_http(self):
        """The reply; None: we were taken for a client that speaks lines, being slower than 100 ms."""
        with HttpConnection(self.weftd.socket, support.DEADLINE) as connection:
            try:
                connection.send('GET', '/v1/jobs')
            except ConnectionError:  # closed by then
                return None
            first = connection.socket.recv(1, socket.MSG_PEEK)
            return connection.reply() if first == b'H' else None

    def test_over_a_limit_http_is_told_so_in_http(self):
        self.weftd.configure(self.settings(most=MOST))
        self.weftd.call('daemon.reload')
        held = [self.connect() for _ in range(MOST)]
        for connection in held:
            self.assertEqual(connection.call('GET', '/v1/jobs', headers=self.headers()).status, 200)
        with self.connect() as connection:
            reply = connection.call('GET', '/v1/jobs', headers=self.headers())
        self.assertEqual((reply.status, reply.headers['retry-after']), (503, '1'))
        self.assertEqual(reply.json['error']['data']['name'], 'busy')
        self.assertIn('http.max_connections', reply.json['error']['message'])
        self.weftd.call('ping')  # TCP is nobody's on the Unix socket

        self.weftd.configure(self.settings(more='[daemon]\nmax_connections_user = 1\n', most=MOST))
        self.weftd.call('daemon.reload')
        reply = support.wait_until(self.refused_in_http, 'the first byte comes soon enough')
        self.assertEqual(reply.status, 503)
        self.assertIn('daemon.max_connections_user', reply.json['error']['message'])
        with self.weftd.connect() as connection:
            self.assert_error(connection.read_message(), -32000, 'max_connections_user')
        held[0].socket.close()
        self.await_connections(MOST)
        self.ask('GET', '/v1/jobs')


if __name__ == '__main__':
    support.main()
