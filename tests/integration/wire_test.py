#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The protocol as plain tools speak it, and its promises about lines, order and batches."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

# As README.md and docs/protocol.md have it, to the letter.
SOCAT = (r"""printf '{"jsonrpc":"2.0","id":1,"method":"job.submit","params":{"argv":["date"]}}\n' """
         r"""| socat - UNIX:$WEFT_SOCKET""")


class Tools(support.WeftdTest):
    def env(self):
        """In which socat waits for the end of the connection, not for half a second, when its own
        input has ended."""
        folder = self.weftd.path('bin')
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, 'socat'), 'w', encoding='utf-8') as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(f'#!/bin/sh\nexec {shutil.which("socat")} -t {support.DEADLINE} "$@"\n')
        return {**self.weftd.env, 'WEFT_SOCKET': self.weftd.socket, 'LC_ALL': 'C',
                'PATH': f'{folder}:{os.environ["PATH"]}'}

    def shell(self, script):
        return support.run(['/bin/sh', '-c', script], env=self.env())

    def first_line(self, script):
        """What a script that goes on for as long as weftd does says first."""
        process = support.popen(['/bin/sh', '-c', script], env=self.env(), stdout=subprocess.PIPE,
                                text=True, start_new_session=True)
        with process:
            line = process.stdout.readline()
            os.killpg(process.pid, signal.SIGKILL)
        return line

    @unittest.skipUnless(shutil.which('socat'), 'socat is not installed')
    def test_socat_as_it_stands(self):
        result = self.shell(SOCAT)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        reply = json.loads(result.stdout)
        self.assertEqual(result.stdout, json.dumps(reply, separators=(',', ':')) + '\n')
        number = reply['result']['id']
        self.assertEqual(reply, {'jsonrpc': '2.0', 'id': 1, 'result': {'id': number}})
        job = self.weftd.wait(number)
        self.assertEqual((job['state'], job['argv']), ('succeeded', ['date']))
        self.assertRegex(self.weftd.logs(job['id']).decode(), r'^\w{3} .*\d\d:\d\d:\d\d.*\d{4}\n$')

    @unittest.skipUnless(shutil.which('socat'), 'socat is not installed')
    def test_the_documented_lines_work_as_they_stand(self):
        for name in ('README.md', os.path.join('docs', 'protocol.md')):
            with open(os.path.join(support.SOURCE, name), encoding='utf-8') as file:
                text = file.read().replace('\\\n', '')
            lines = re.findall(r'^ *(?:\$ )?(printf .*socat.*)$', text, re.M)
            self.assertTrue(lines, name)
            for line in lines:
                with self.subTest(name):
                    if 'events.subscribe' in line:
                        self.assertIn('"result":{', self.first_line(line))
                        continue
                    result = self.shell(line)
                    self.assertEqual((result.returncode, result.stderr), (0, ''))
                    self.assertIn('"result":{"id":', result.stdout)

    @unittest.skipUnless(shutil.which('jq'), 'jq is not installed')
    def test_the_first_session_of_the_readme(self):
        with open(os.path.join(support.SOURCE, 'README.md'), encoding='utf-8') as file:
            session = re.search(r'^```console\n(.*?)^```', file.read(), re.M | re.S).group(1)
        session = session.replace('\\\n', '')
        session = re.sub(r'^.*socat.*\n.*\n', '', session, flags=re.M)  # see above
        script = '\n'.join(re.findall(r'^\$ (.*)$', session, re.M))
        self.weftd.echo()  # ids are no matter of an empty store
        env = {**self.weftd.env, 'WEFT_SOCKET': self.weftd.socket,
               'PATH': os.path.dirname(support.WEFT) + ':' + os.environ['PATH']}
        result = support.run(['/bin/sh', '-c', f'exec 2>&1\n{script}'], env=env)
        self.assertEqual(*(re.sub(r'\b\d+\b', 'N', text) for text in
                           (result.stdout, re.sub(r'^\$.*\n', '', session, flags=re.M))))

    def test_a_job_speaks_to_the_weftd_that_runs_it(self):
        job = self.weftd.submit(support.WEFT, 'call', 'echo', '{"from": "a job"}')
        self.assertEqual(self.weftd.wait(job)['state'], 'succeeded')
        inner = int(self.weftd.logs(job))
        self.assertEqual(self.weftd.wait(inner)['result'], {'from': 'a job'})


class Lines(support.WeftdTest):
    def setUp(self):
        super().setUp()
        self.connection = self.weftd.connect()
        self.addCleanup(self.connection.close)

    def pong(self, number):
        return {'jsonrpc': '2.0', 'id': number, 'result': 'pong'}

    def test_spelling_of_lines(self):
        ping = '{"jsonrpc":"2.0","id":%d,"method":"ping"}'
        self.connection.write('\n\r\n' + ping % 1 + '\r\n\n' + ' ' + ping % 2 + ' \n')
        replies = [self.connection.read_message() for _ in range(2)]
        self.assertEqual(sorted(reply['id'] for reply in replies), [1, 2])
        self.assertEqual({reply['result'] for reply in replies}, {'pong'})

    def test_a_line_in_single_bytes(self):
        for byte in '{"jsonrpc":"2.0","id":"by bytes","method":"ping"}\n':
            self.connection.write(byte)
        self.assertEqual(self.connection.read_message(), self.pong('by bytes'))

    def test_ids_come_back_as_they_were(self):
        for number in (0, -1, 2**53 - 1, '', 'ünï "quoted"\n', None):
            line = json.dumps({'jsonrpc': '2.0', 'id': number, 'method': 'ping'})
            self.assertEqual(self.connection.exchange(line), self.pong(number))

    def test_members_in_any_order(self):
        message = self.connection.exchange('{"params":{},"method":"ping","id":4,"jsonrpc":"2.0"}')
        self.assertEqual(message, self.pong(4))

    def test_a_notification_is_done_and_not_answered(self):
        self.connection.write('{"jsonrpc":"2.0","method":"job.submit","params":{"call":"echo"}}\n'
                              '{"jsonrpc":"2.0","method":"no.such"}\n'
                              '{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        self.assertEqual(self.connection.read_message(), self.pong(1))
        support.wait_until(lambda: len(self.weftd.list(state='succeeded')) == 1, 'it has run')
        self.connection.half_close()
        self.assertTrue(self.connection.is_closed())

    def test_a_batch_is_answered_by_one_array(self):
        batch = [{'jsonrpc': '2.0', 'id': n, 'method': 'job.submit',
                  'params': {'call': 'echo', 'args': {'n': n}}} for n in range(100)]
        batch.insert(50, {'jsonrpc': '2.0', 'method': 'ping'})  # not answered
        replies = self.connection.exchange(json.dumps(batch))
        self.assertEqual(sorted(reply['id'] for reply in replies), list(range(100)))
        for reply in replies:
            job = self.weftd.wait(reply['result']['id'])
            self.assertEqual(job['result'], {'n': reply['id']})
        silent = json.dumps([{'jsonrpc': '2.0', 'method': 'ping'}] * 3)
        self.connection.write(silent + '\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        self.assertEqual(self.connection.read_message(), self.pong(1))

    def test_who_waits_does_not_hold_up_the_others(self):
        job = self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'})['id']
        waiting = self.connection.send('job.wait', ids=[job])
        self.assertEqual(self.connection.call('ping'), 'pong')
        self.assertNotIn(waiting, self.connection.early)
        self.connection.call('job.cancel', ids=[job])
        self.assertEqual(self.connection.reply(waiting)['jobs'][0]['state'], 'cancelled')

    def test_more_waits_than_may_be_under_way(self):
        """max_in_flight is 128: weftd reads on when one is answered, and refuses nothing."""
        job = self.weftd.call('job.submit', call='sleep', args={'seconds': '1h'})['id']
        # What weftd does not read stays in the socket, which holds some 70 such lines: not many more.
        numbers = [self.connection.send('job.wait', ids=[job]) for _ in range(150)]
        self.weftd.call('job.cancel', ids=[job])
        for number in numbers:
            self.assertEqual(self.connection.reply(number)['jobs'][0]['state'], 'cancelled')

    def test_what_a_client_sent_before_it_left_is_carried_out(self):
        """More than may be under way at once, and nobody there to take a single reply."""
        with self.weftd.connect() as connection:
            for n in range(300):
                connection.send('job.submit', call='echo', args={'n': n})
        support.wait_until(lambda: len(self.weftd.list(state='succeeded')) == 300, 'all have run')
        self.assertEqual(sorted(job['result']['n'] for job in self.weftd.list()), list(range(300)))

    def test_hello(self):
        hello = self.connection.call('hello')
        self.assertEqual(hello['name'], 'weftd')
        self.assertEqual(hello['protocol'], 1)
        self.assertEqual(hello['pid'], self.weftd.pid)
        self.assertRegex(hello['version'], r'^\d+\.\d+\.\d+$')
        self.assertRegex(hello['instance'], r'^[0-9a-f]{32}$')
        self.assertEqual(hello['you'], {'uid': os.getuid(), 'admin': True})
        self.assertLessEqual({'echo', 'sleep', 'file.copy', 'file.hash'}, set(hello['handlers']))
        self.assertEqual(hello['limits']['line_max'], 1 << 20)
        self.assertEqual(hello['limits']['depth'], 32)
        self.assertEqual(hello['limits']['in_flight'], 128)
        for method in ('hello', 'ping', 'job.submit', 'job.submit_many', 'job.get', 'job.list',
                       'job.wait', 'job.cancel', 'job.logs', 'daemon.stats', 'daemon.reload'):
            self.assertIn(method, hello['methods'])
        self.weftd.stop()
        self.weftd.start()
        self.assertEqual(self.weftd.call('hello')['instance'], hello['instance'],
                         'the instance is the state folder\'s')


if __name__ == '__main__':
    support.main()
