#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A weftd that is root, and two ordinary users: neither has anything to do with the other's jobs.
Root alone can be another user, so without root there is nothing to test."""

import contextlib
import fcntl
import grp
import json
import os
import pwd
import re
import resource
import socket
import struct
import sys
import termios
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

NO_SUCH_JOB = -32001
PERMISSION_DENIED = -32008
FEW = 100
ONE, TWO = 'daemon', 'bin'  # users of every Debian, without a password


@contextlib.contextmanager
def acting_as(name):
    """What is done inside is that user's: SO_PEERCRED tells the effective ids at connect(2)."""
    user = pwd.getpwnam(name)
    groups = os.getgroups()
    os.setgroups([user.pw_gid])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield user
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@unittest.skipUnless(os.geteuid() == 0, 'needs root')
class Users(support.WeftdTest):
    config = '[daemon]\nsocket_mode = 0666\n[queue held]\nconcurrency = 0\n'

    def setUp(self):
        super().setUp()
        os.chmod(self.weftd.folder, 0o755)
        self.one, self.two = (self.connect_as(name) for name in (ONE, TWO))

    def connect_as(self, name):
        with acting_as(name):
            connection = self.weftd.connect()
        self.addCleanup(connection.close)
        return connection

    def run_as(self, connection, script, **params):
        number = connection.call('job.submit', argv=['/bin/sh', '-c', script], **params)['id']
        connection.call('job.wait', ids=[number], timeout=support.DEADLINE)
        return number

    def test_a_job_runs_as_its_submitter(self):
        secret = self.weftd.path('secret')
        with open(secret, 'w', encoding='utf-8') as file:
            file.write('of root')
        os.chmod(secret, 0o600)
        for connection, name in ((self.one, ONE), (self.two, TWO)):
            user = pwd.getpwnam(name)
            self.assertEqual(connection.call('hello')['you'], {'uid': user.pw_uid, 'admin': False})
            number = self.run_as(connection, 'id -un; id -gn; id -Gn; echo $HOME; cat "$0"; '
                                 'exit 3'.replace('$0', secret))
            job = connection.call('job.get', id=number)
            self.assertEqual((job['state'], job['exit_code']), ('failed', 3))
            group = grp.getgrgid(user.pw_gid).gr_name
            self.assertEqual(connection.call('job.logs', id=number)['data'],
                             f'{name}\n{group}\n{group}\n{user.pw_dir}\n')
            self.assertIn('Permission denied',
                          connection.call('job.logs', id=number, stream='stderr')['data'])
        number = self.weftd.submit('id', '-u')
        self.weftd.wait(number)
        self.assertEqual(self.weftd.logs(number), b'0\n')

    def test_a_submitter_gets_no_more_by_a_job(self):
        """Priorities, limits and files are asked for with the submitter's rights, not with root's."""
        with open(self.weftd.path('secret'), 'w', encoding='utf-8') as file:
            os.fchmod(file.fileno(), 0o600)
        hard = resource.prlimit(self.weftd.process.pid, resource.RLIMIT_MEMLOCK)[1]
        refused = [({'nice': -20}, 'niceness -20: Permission denied'),
                   ({'ionice': 'realtime'}, 'realtime:4: Operation not permitted'),
                   ({'stdin_file': file.name}, f'{file.name}: Permission denied')]
        if hard != resource.RLIM_INFINITY:
            refused.append(({'limits': {'memlock': hard + 1}}, 'limit memlock='))
        for params, error in refused:
            job = self.one.call('job.get', id=self.run_as(self.one, 'true', **params))
            self.assertEqual(job['state'], 'failed', params)
            self.assertIn(error, job['error'])
        nice = min(os.nice(0) + 5, 19)  # a user may not go below what the tests are run with
        number = self.run_as(self.one, 'nice; ulimit -n; cat', nice=nice, limits={'nofile': 50},
                             stdin_file='/etc/hostname')
        with open('/etc/hostname', encoding='utf-8') as name:
            self.assertEqual(self.one.call('job.logs', id=number)['data'],
                             f'{nice}\n50\n' + name.read())

    def test_a_descriptor_of_output_opens_no_way_to_write(self):
        """Its mode has a write bit for root, whose file it is, and the submitter is not root."""
        number = self.run_as(self.one, 'echo mine; exec sleep 0')
        self.one.send('job.output', id=number)
        _, (fd,), _, _ = socket.recv_fds(self.one.socket, 1 << 16, 1)
        self.addCleanup(os.close, fd)
        with acting_as(ONE):
            for path in (f'/proc/self/fd/{fd}', os.readlink(f'/proc/self/fd/{fd}')):
                with self.assertRaises(PermissionError):
                    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
            for change in (lambda: os.ftruncate(fd, 0), lambda: os.fchmod(fd, 0o666)):
                with self.assertRaises(OSError):
                    change()
        self.assertEqual(os.pread(fd, 100, 0), b'mine\n')

    def test_neither_touches_the_others(self):
        number = self.run_as(self.one, 'echo mine')
        held = self.one.call('job.submit', argv=['true'], queue='held')['id']
        for method, params in (('job.get', {'id': number}), ('job.logs', {'id': number}),
                               ('job.output', {'id': number}), ('job.explain', {'id': held})):
            self.one.call(method, **params)
            self.assert_refused(lambda m=method, p=params: self.two.call(m, **p), NO_SUCH_JOB)
        self.assert_refused(lambda: self.two.call('job.wait', ids=[held]), NO_SUCH_JOB)
        for method in ('job.cancel', 'job.retry'):
            result = self.two.call(method, ids=[held, number])['results']
            self.assertEqual([one['error']['code'] for one in result], [NO_SUCH_JOB] * 2)
        self.assertEqual(self.two.call('job.list')['jobs'], [])
        self.assertEqual([job['id'] for job in self.one.call('job.list')['jobs']], [held, number])
        self.assertEqual([job['id'] for job in self.weftd.call('job.list')['jobs']],
                         [held, number])  # root's
        self.assertEqual(self.one.call('job.get', id=held)['state'], 'queued')
        secret = self.weftd.echo({'secret': True})
        self.weftd.wait(secret)
        for method in ('job.get', 'job.logs'):
            self.assert_refused(lambda m=method: self.one.call(m, id=secret), NO_SUCH_JOB,
                                str(secret))
        self.assert_refused(lambda: self.two.call('daemon.reload'), PERMISSION_DENIED)

    def test_the_token_of_http_speaks_for_its_user_alone(self):
        token = 'of-one-' + os.urandom(16).hex()
        path = self.weftd.path('token')
        with open(path, 'w', encoding='ascii') as file:
            os.chmod(path, 0o600)
            file.write(token)
        roots = self.weftd.submit('true')
        theirs = self.run_as(self.two, 'echo theirs')
        self.weftd.wait(roots)
        http = f'[http]\nlisten = 127.0.0.1:0\ntoken_file = {path}\n'
        self.weftd.configure(http)
        status, words = self.weftd.refused('--check')  # it would be root's
        self.assertEqual(status, 78)
        self.assertIn('http.user', words)
        self.weftd.configure(f'{self.config}{http}user = {ONE}\n')
        self.weftd.stop()
        self.weftd.start()
        self.weftd.await_log('HTTP on http://')
        port = int(re.findall(r'HTTP on http://127\.0\.0\.1:(\d+)/', self.weftd.log())[-1])

        def ask(method, target, body=None):
            with HttpConnection(('127.0.0.1', port), support.DEADLINE) as connection:
                return connection.call(method, target, body, headers=[
                    'Host: localhost', f'Authorization: Bearer {token}'])
        self.assertEqual(ask('GET', '/v1/jobs').json['jobs'], [])
        for number in (roots, theirs):
            for target in (f'/v1/jobs/{number}', f'/v1/jobs/{number}/logs'):
                self.assertEqual(ask('GET', target).status, 404)
        number = ask('POST', '/v1/jobs', {'argv': ['id', '-un']}).json['id']
        self.weftd.wait(number)
        self.assertEqual(self.weftd.logs(number), f'{ONE}\n'.encode())
        self.assertEqual(ask('POST', '/v1/jobs', {'call': 'echo'}).status, 403)
        with HttpConnection(('127.0.0.1', port), support.DEADLINE) as connection:
            connection.send('GET', '/v1/events?since=0', headers=[
                'Host: localhost', f'Authorization: Bearer {token}'])
            connection.head()
            self.assertIn(b'event: subscribed', connection.chunk())
            self.assertIn(f'"id":{number},'.encode(), connection.chunk())

    def test_files_are_nobodys_but_weftds(self):
        self.run_as(self.one, 'echo mine')
        with acting_as(TWO):
            with self.assertRaises(PermissionError):
                os.listdir(self.weftd.state)
        with acting_as(ONE):  # whose way to it is job.logs
            with self.assertRaises(PermissionError):
                os.listdir(self.weftd.state)

    def test_a_user_may_not_call_what_runs_as_root(self):
        self.assert_refused(lambda: self.one.call('job.submit', call='file.hash',
                                                  args={'path': '/etc/shadow'}),
                            PERMISSION_DENIED, 'only root may call', 'argv')
        self.assertEqual(self.weftd.wait(self.weftd.echo({'a': 1}))['result'], {'a': 1})

    def test_the_command_as_a_user(self):
        with acting_as(ONE) as user:
            def become():
                os.seteuid(0)
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
        done = self.weftd.weft('run', '--', 'id', '-un', preexec_fn=become)
        said = [line for line in done.stderr.splitlines()
                if not line.startswith('profiling:')]  # gcov, which may not write its files
        self.assertEqual((done.returncode, done.stdout, said), (0, f'{ONE}\n', []))


@unittest.skipUnless(os.geteuid() == 0, 'needs root')
class Groups(support.WeftdTest):
    starts = False

    def test_a_group_sees_all(self):
        group = grp.getgrgid(pwd.getpwnam(TWO).pw_gid).gr_name
        self.weftd.configure(f'[daemon]\nsocket_mode = 0666\n[access]\nadmin_group = {group}\n')
        self.weftd.start()
        os.chmod(self.weftd.folder, 0o755)
        with acting_as(ONE), self.weftd.connect() as one:
            number = one.call('job.submit', argv=['id', '-un'])['id']
        with acting_as(TWO), self.weftd.connect() as two:
            self.assertTrue(two.call('hello')['you']['admin'])
            job = two.call('job.wait', ids=[number], timeout=support.DEADLINE)['jobs'][0]
            self.assertEqual(job['state'], 'succeeded')
            self.assertEqual(two.call('job.logs', id=number)['data'], f'{ONE}\n')
            two.call('daemon.reload')


class Few(support.Weftd):
    """A weftd that may have few descriptors, so few on their way too, like an ordinary user's."""

    def argv(self, *more):
        return ['setpriv', '--bounding-set', '-sys_resource,-sys_admin',
                'prlimit', f'--nofile={FEW}:{FEW}', *super().argv(*more)]


@unittest.skipUnless(os.geteuid() == 0, 'needs root')
class TooManyOnTheirWay(support.WeftdTest):
    daemon = Few

    def test_replies_go_without_a_descriptor_when_the_kernel_has_too_many(self):
        number = self.weftd.shell('echo line')
        self.weftd.wait(number)
        ids, count = set(), 0
        with self.weftd.connect() as connection:
            for _ in range(4 * FEW):
                ids.add(connection.send('job.output', id=number))
            self.weftd.call('ping')  # and time for weftd to fill the socket
            support.wait_until(lambda: self.unread(connection) > FEW * 100, 'unread replies')
            received = b''
            while received.count(b'\n') < len(ids):
                data, fds, _, _ = socket.recv_fds(connection.socket, 1 << 16, 4)
                received += data
                count += len(fds)
                for fd in fds:
                    os.close(fd)
            replies = [json.loads(line) for line in received.splitlines()]
            self.assertEqual({reply['id'] for reply in replies}, ids)
            self.assertTrue(all(reply['result']['descriptor'] for reply in replies))
            self.assertGreater(count, FEW // 2)
            self.assertLess(count, len(ids))
            connection.send('job.output', id=number)  # when they have come through, it may again
            _, fds, _, _ = socket.recv_fds(connection.socket, 1 << 16, 4)
            self.assertEqual(len(fds), 1)
            os.close(fds[0])

    def unread(self, connection):
        return struct.unpack('i', fcntl.ioctl(connection.socket, termios.FIONREAD, bytes(4)))[0]


if __name__ == '__main__':
    support.main()
