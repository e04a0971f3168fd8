#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every program of examples/ does what it says it shows, and wrong input is answered by a reason."""

import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'support'))
from programs import DEADLINE, SOURCE, Server, program, run  # noqa: E402

BROWSER = shutil.which('chromium-headless-shell') or shutil.which('chromium')


class ExampleTest(unittest.TestCase):
    def prints(self, expected, name, *arguments, **options):
        self.assertEqual(run(name, *arguments, **options), (0, expected, ''))


class Tasks(ExampleTest):
    """What asyncio's examples print, ours print."""

    def test_hello(self):
        self.prints('Hello async world!\n', 'hello')

    def test_sleep(self):
        self.prints('Started\nCompleted\n', 'sleep')

    def started_together(self, name):
        """In the order of their sleeps, unless a thread is held up for longer: then asked again."""
        started, completed = ['Task 1 started', 'Task 2 started'], ['Task 1 completed', 'Task 2 completed']
        for _ in range(20):
            status, out, err = run(name)
            self.assertEqual((status, err), (0, ''))
            lines = out.splitlines()
            self.assertEqual(sorted(lines), sorted(started + completed))
            if sorted(lines[:2]) == started and lines[2:] == completed:
                return
        self.fail(out)

    def test_two_sleepers(self):
        self.started_together('two_sleepers')

    def test_create_task(self):
        self.started_together('create_task')

    def test_run_forever_until_a_fiber_stops_it(self):
        status, out, err = run('run_forever', '3')
        self.assertEqual((status, err), (0, ''))
        lines = out.splitlines()
        self.assertEqual([line for line in lines if line.isdigit()], ['3', '2', '1'])
        self.assertEqual([line for line in lines if not line.isdigit()],
                         ['serving', 'no longer serving: Operation canceled', 'closed'])

    def test_run_forever_until_a_signal_stops_it(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen([program('run_forever')], stdout=subprocess.PIPE, text=True)
            try:
                self.assertEqual(process.stdout.readline(), 'serving\n')
                process.send_signal(number)
                out, _ = process.communicate(timeout=DEADLINE)
            finally:
                process.kill()
            self.assertEqual((process.returncode, out),
                             (0, 'no longer serving: Operation canceled\nclosed\n'))

    def test_gather_results(self):
        self.prints("['Task 1 completed', 'Task 2 completed']\n['Foo', 'Bar']\n", 'gather_results')

    def test_future_error(self):
        self.prints('the future failed: Connection refused\n', 'future_error')

    def test_wait_for(self):
        self.prints('Task took too long.\n', 'wait_for')

    def test_executor(self):
        self.prints('Slept for 3 seconds\n', 'executor')

    def test_log_from_fiber(self):
        self.prints('INFO operation: Info message\nINFO operation: Done\n', 'log_from_fiber')

    def test_chain(self):
        self.prints('starting coroutine1\nfinishing coroutine1\n'
                    'starting coroutine2 Coroutine 1 result\nfinishing coroutine2\n'
                    'starting coroutine3 Coroutine 2 result\nending coroutine3\n', 'chain')

    def test_producer_consumers(self):
        self.prints('1000 items, their sum is 500500\n', 'producer_consumers')

    def test_parent_children(self):
        self.prints('3 children squared 9 numbers, the sum is 285\n', 'parent_children')

    def test_queue_workers(self):
        status, out, err = run('queue_workers')
        self.assertEqual((status, err), (0, ''))
        lines = out.splitlines()
        urls = ['a.example/1', 'b.example/2', 'c.example/3']
        self.assertEqual(lines[:6], [f'{what}: {url}' for url in urls
                                     for what in ('Downloading file', 'Download complete')])
        self.assertEqual(sorted(lines[6:]),
                         sorted(f'Processing {what}: {url}' for url in urls
                                for what in ('file', 'complete')))

    def test_generators(self):
        self.prints('0\n1\n2\n0 2 4 6 8\n0\n1\n2\nclosed early after 1, and cleaned up\n',
                    'generators')

    def test_terminal_tasks(self):
        status, out, err = run('terminal_tasks',
                               stdin='start a 1000\nstart a 1\nstart b 1000\nlist\ncancel b\n'
                                     'cancel c\ncancel a\nstart d 0.01\nwait\nlist\nwhat?\nquit\n')
        self.assertEqual((status, err), (0, ''))
        lines = out.splitlines()
        lines[8:10] = sorted(lines[8:10])  # it may be done before its start is told
        self.assertEqual(lines, ['a: started', 'a runs already', 'b: started', 'a: running',
                                 'b: running', 'b: Operation canceled', 'there is no task c',
                                 'a: Operation canceled', 'd: done', 'd: started',
                                 'd: done', 'b: Operation canceled',
                                 'commands: start NAME SECONDS, list, cancel NAME, wait, quit'])

    def test_signals(self):
        process = subprocess.Popen([program('signals')], stdout=subprocess.PIPE, text=True)
        try:
            self.assertRegex(process.stdout.readline(), r'^waiting for SIGINT or SIGTERM')
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
        self.assertIn('got SIGTERM: stopping\n', out)
        self.assertTrue(out.endswith('all fibers have ended\n'), out)
        self.assertEqual(process.returncode, 0)


class Files(ExampleTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='weft-examples-')
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name, content=None):
        path = os.path.join(self.folder, name)
        if content is not None:
            with open(path, 'w', encoding='utf-8') as file:
                file.write(content)
        return path

    def content(self, name):
        with open(os.path.join(self.folder, name), encoding='utf-8') as file:
            return file.read()

    def refuses(self, expected, name, *arguments):
        status, out, err = run(name, *arguments)
        self.assertEqual((status, out), (1, ''))
        self.assertEqual(err, expected)

    def test_read_two_files(self):
        first, second = self.path('first', 'x' * 1000), self.path('second', 'y' * 20)
        self.prints(f'{first}: 1000 bytes\n{second}: 20 bytes\n', 'read_two_files', first, second)
        status, out, _ = run('read_two_files', first, self.path('none'))
        self.assertEqual((status, out), (1, f'{first}: 1000 bytes\n'
                                            f'{self.path("none")}: No such file or directory\n'))

    def test_read_file(self):
        text = 'one\ntwo\n\nfour, and no end of line'
        self.prints(text, 'read_file', self.path('text', text))
        self.prints('', 'read_file', self.path('empty', ''))
        self.refuses(f'{self.folder}: Is a directory\n', 'read_file', self.folder)
        self.refuses(f'{self.path("none")}: No such file or directory\n', 'read_file',
                     self.path('none'))
        self.assertEqual(run('read_file')[0], 2)

    def test_write_file(self):
        self.prints('', 'write_file', self.path('results.txt'), 'some data')
        self.assertEqual(self.content('results.txt'), 'some data')
        self.refuses(f'{self.folder}/no/file: No such file or directory\n', 'write_file',
                     self.path('no/file'), 'x')

    def test_copy_file(self):
        source = self.path('source.txt', ''.join(chr(33 + i % 90) for i in range(300000)))
        self.prints('300000 bytes copied\n', 'copy_file', source, self.path('destination.txt'))
        self.assertEqual(self.content('destination.txt'), self.content('source.txt'))
        self.refuses(f'{self.path("none")} to {self.path("x")}: No such file or directory\n',
                     'copy_file', self.path('none'), self.path('x'))
        self.assertFalse(os.path.exists(self.path('x')))

    def test_read_lines(self):
        lines = self.path('lines', 'first\nsecond\r\n\n' + 'x' * 100000 + '\nlast')
        self.prints('first\nsecond\n\nlast\n', 'read_lines', lines)

    def test_write_fsync(self):
        self.prints('', 'write_fsync', self.path('hello'))
        self.assertEqual(self.content('hello'), 'Hello World')
        if os.path.exists('/dev/full'):
            self.refuses('/dev/full: No space left on device\n', 'write_fsync', '/dev/full')


class EchoServer(ExampleTest):
    def test_all_comes_back_and_then_the_end(self):
        with Server('echo_server') as server, server.connect() as client:
            data = os.urandom(100000)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(b''.join(iter(lambda: client.recv(65536), b'')), data)


class HttpServer(ExampleTest):
    def test_requests(self):
        with Server('http_server') as server:
            client = http.client.HTTPConnection('127.0.0.1', server.port, timeout=DEADLINE)
            body = bytes(random.randrange(256) for _ in range(5000))
            for method, path, data, status, answer in (
                    ('GET', '/', None, 200, b'Hello, world!\n'),
                    ('GET', '/?a=b', None, 200, b'Hello, world!\n'),
                    ('HEAD', '/', None, 200, b''),
                    ('POST', '/echo', body, 200, body),
                    ('POST', '/echo', iter([body, b'', body]), 200, body + body),
                    ('GET', '/count', None, 200, b'3\n'),
                    ('GET', '/page', None, 200, None),
                    ('GET', '/none', None, 404, None),
                    ('DELETE', '/', None, 405, None)):
                client.request(method, path, data)
                response = client.getresponse()
                got = response.read()
                self.assertEqual(response.status, status, (method, path))
                if answer is not None:
                    self.assertEqual(got, answer)
            self.assertEqual(client.sock.getpeername()[1], server.port, 'one connection served all')
            client.close()

    def answer(self, server, text):
        with server.connect() as connection:
            connection.sendall(text)
            return b''.join(iter(lambda: connection.recv(65536), b''))

    def test_wrong_requests_get_a_status_and_the_end(self):
        with Server('http_server') as server:
            for text, status in ((b'nonsense\r\n\r\n', b'400'),
                                 (b'GET /' + b'x' * 400 + b' HTTP/1.1\r\n\r\n', b'414'),
                                 (b'POST /echo HTTP/1.1\r\nContent-Length: 100000\r\n\r\n' +
                                  b'x' * 100000, b'413')):
                self.assertTrue(self.answer(server, text).startswith(b'HTTP/1.1 ' + status), status)
            pipelined = b'GET / HTTP/1.1\r\n\r\n' * 3 + b'GET / HTTP/1.0\r\n\r\n'
            self.assertEqual(self.answer(server, pipelined).count(b'Hello, world!'), 4)

    def test_open_connections_do_not_hold_up_the_stop(self):
        with Server('http_server') as server:
            idle = [server.connect() for _ in range(20)]
            idle[0].sendall(b'GET / HT')
            self.assertEqual(server.stop(), 0)
            for connection in idle:
                connection.close()

    @unittest.skipUnless(shutil.which('curl'), 'curl is not installed')
    def test_curl(self):
        with Server('http_server') as server:
            url = f'http://127.0.0.1:{server.port}'
            done = subprocess.run(['curl', '-sS', '-d', 'weft', f'{url}/echo', f'{url}/', '-w',
                                   '%{http_code} %{num_connects}\\n'], text=True,
                                  capture_output=True, timeout=DEADLINE, check=True)
            self.assertEqual(done.stdout, 'weft200 1\nthis server does not do that\n405 0\n')

    @unittest.skipUnless(BROWSER, 'chromium-headless-shell is not installed')
    def test_browser(self):
        """A page whose script asks the server twice at once, and what it made of the answers."""
        home = tempfile.mkdtemp(prefix='weft-browser-')
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        with Server('http_server') as server:
            url = f'http://127.0.0.1:{server.port}'
            for _ in range(3):
                with urllib.request.urlopen(f'{url}/', timeout=DEADLINE):
                    pass
            # The budget is of virtual time, which stands still while a request is under way.
            done = subprocess.run([BROWSER, '--headless', '--no-sandbox', '--disable-gpu',
                                   '--disable-dev-shm-usage', '--no-proxy-server',
                                   f'--user-data-dir={home}', '--virtual-time-budget=10000',
                                   '--dump-dom', f'{url}/page'], env={**os.environ, 'HOME': home},
                                  capture_output=True, text=True, timeout=DEADLINE, check=True)
            self.assertIn('<title>Weft</title>', done.stdout)
            self.assertIn('<p id="echo">sent by Weft</p>', done.stdout)
            self.assertIn('<p id="count">3\n</p>', done.stdout)

    @unittest.skipUnless(shutil.which('wrk'), 'wrk is not installed')
    def test_load(self):
        with Server('http_server') as server:
            done = subprocess.run(['wrk', '-c', '32', '-t', '2', '-d', '1',
                                   f'http://127.0.0.1:{server.port}/'],
                                  capture_output=True, text=True, timeout=DEADLINE, check=True)
            self.assertRegex(done.stdout, r'\d+ requests in')
            self.assertNotIn('Socket errors', done.stdout)
            self.assertNotIn('Non-2xx', done.stdout)


class Fetch(ExampleTest):
    def test_one_after_the_other(self):
        with Server('http_server') as server:
            url = f'http://127.0.0.1:{server.port}'
            self.prints('Hello, world!\nHello, world!\n2\n', 'fetch', url, f'{url}/',
                        f'{url}/count')
            status, out, err = run('fetch', f'{url}/none', f'{url}/count')
            self.assertEqual((status, out), (1, '2\n'))
            self.assertIn('404', err)
        status, out, err = run('fetch', f'{url}/')
        self.assertEqual((status, out), (1, ''))
        self.assertRegex(err, f'^{url}/: .*127.0.0.1')

    def test_as_completed(self):
        with Server('http_server') as server:
            url = f'http://127.0.0.1:{server.port}'
            status, out, err = run('fetch_as_completed', url, f'{url}/', f'{url}/?again')
            self.assertEqual((status, err), (0, ''))
            self.assertEqual(sorted(line for line in out.splitlines() if line),
                             sorted(f'{each}: Hello, world!' for each in
                                    (url, f'{url}/', f'{url}/?again')))


class ChatServer(ExampleTest):
    def test_what_one_says_all_others_read(self):
        with Server('chat_server') as server:
            anna, ben = server.connect(), server.connect()
            from_anna, from_ben = anna.makefile('rw'), ben.makefile('rw')

            def say(file, line):
                file.write(line + '\n')
                file.flush()
            say(from_anna, 'Anna')
            self.assertEqual(from_anna.readline(), '* welcome, Anna\n')
            say(from_ben, 'Ben')
            self.assertEqual(from_ben.readline(), '* welcome, Ben\n')
            self.assertEqual(from_anna.readline(), '* Ben has come\n')
            say(from_anna, 'hello')
            self.assertEqual(from_ben.readline(), 'Anna: hello\n')
            ben.shutdown(socket.SHUT_RDWR)
            ben.close()
            self.assertEqual(from_anna.readline(), '* Ben has left\n')
            anna.close()


class KeyValueServer(ExampleTest):
    def test_the_protocol(self):
        with Server('kv_server') as server, server.connect() as client:
            wire = client.makefile('rwb')
            for request, reply in (
                    (b'PING\r\n', b'+PONG\r\n'),
                    (b'*1\r\n$4\r\nPING\r\n', b'+PONG\r\n'),
                    (b'*2\r\n$4\r\necho\r\n$3\r\na\r\n\r\n', b'$3\r\na\r\n\r\n'),
                    (b'set a 1\r\n', b'+OK\r\n'),
                    (b'get a\r\n', b'$1\r\n1\r\n'),
                    (b'get b\r\n', b'$-1\r\n'),
                    (b'incr a\r\n', b':2\r\n'),
                    (b'incrby a 40\r\n', b':42\r\n'),
                    (b'decr new\r\n', b':-1\r\n'),
                    (b'mset x 1 y 2\r\n', b'+OK\r\n'),
                    (b'mget x nothing y\r\n', b'*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n'),
                    (b'exists x y z\r\n', b':2\r\n'),
                    (b'del x y z\r\n', b':2\r\n'),
                    (b'dbsize\r\n', b':2\r\n'),
                    (b'set a 9223372036854775807\r\n', b'+OK\r\n'),
                    (b'incr a\r\n', b'-ERR increment or decrement would overflow\r\n'),
                    (b'set a text\r\n', b'+OK\r\n'),
                    (b'incr a\r\n', b'-ERR value is not an integer or out of range\r\n'),
                    (b'get\r\n', b"-ERR wrong number of arguments for 'get' command\r\n"),
                    (b'fly\r\n', b"-ERR unknown command 'fly'\r\n"),
                    (b'flushall\r\n', b'+OK\r\n'),
                    (b'dbsize\r\n', b':0\r\n')):
                wire.write(request)
                wire.flush()
                self.assertEqual(wire.read(len(reply)), reply, request)
            wire.write(b'*1\r\n$x\r\n')
            wire.flush()
            self.assertEqual(wire.read(), b'-ERR Protocol error\r\n')

    @unittest.skipUnless(shutil.which('redis-cli'), 'redis-tools is not installed')
    def test_redis_cli(self):
        with Server('kv_server') as server:
            def cli(*words):
                return subprocess.run(['redis-cli', '-p', str(server.port), *words], text=True,
                                      capture_output=True, timeout=DEADLINE, check=True).stdout
            self.assertEqual(cli('set', 'greeting', 'hello there'), 'OK\n')
            self.assertEqual(cli('get', 'greeting'), 'hello there\n')
            self.assertEqual(cli('incr', 'number'), '1\n')
            self.assertEqual(cli('mget', 'greeting', 'none'), 'hello there\n\n')

    @unittest.skipUnless(shutil.which('redis-benchmark'), 'redis-tools is not installed')
    def test_redis_benchmark(self):
        with Server('kv_server') as server:
            done = subprocess.run(['redis-benchmark', '-p', str(server.port), '-n', '5000', '-c', '20',
                                   '-P', '16', '-r', '100', '--csv', '-t', 'ping,set,get,incr,mset'],
                                  text=True, capture_output=True, timeout=DEADLINE, check=True)
            for test in ('PING_INLINE', 'PING_MBULK', 'SET', 'GET', 'INCR', 'MSET (10 keys)'):
                self.assertIn(f'"{test}",', done.stdout)
            self.assertNotIn('Error', done.stdout + done.stderr)


class All(unittest.TestCase):
    def test_each_example_is_tested(self):
        tests = ''
        for name in ('examples_test.py', 'tls_test.py', 'modules_load_test.py',
                     'client_library_test.py'):
            with open(os.path.join(SOURCE, 'tests', 'integration', name), encoding='utf-8') as file:
                tests += file.read()
        folder = os.path.join(SOURCE, 'examples')
        names = [name.removesuffix('.c') for name in sorted(os.listdir(folder))
                 if name.endswith('.c') or os.path.isdir(os.path.join(folder, name))]
        self.assertTrue(names)
        for name in names:
            self.assertTrue(f"'{name}'" in tests or f'"{name}"' in tests,
                            f'{name} is not tested')


if __name__ == '__main__':
    result = unittest.main(exit=False, verbosity=2).result
    failing = len(result.failures) + len(result.errors)
    print(f'Tested: {result.testsRun} | Failing: {failing} | Skipped: {len(result.skipped)}')
    sys.exit(1 if failing else 0)
