#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program that writes more than is kept, of which the tail is kept: what each way to read it says."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

CAP = 64 << 10
INVALID_PARAMS = -32602
WHOLE = ''.join(f'{n}\n' for n in range(1, 100001))


class OutputTail(support.WeftdTest):
    config = f'[exec]\noutput_max = {CAP}\n'

    def bytes_kept(self, number):
        folder = self.weftd.path('state', 'output', '0', f'{number}.1.out')
        sizes = [os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder)]
        self.assertEqual(len(sizes), 8)
        return sum(sizes)

    def check_tail(self, number):
        """By job.logs, over HTTP, and by weft logs."""
        kept = self.bytes_kept(number)
        self.assertLessEqual(kept, CAP)
        self.assertGreater(kept, CAP * 7 // 8)
        gap = len(WHOLE) - kept
        piece = self.weftd.call('job.logs', id=number, limit='128K')
        self.assertEqual((piece['gap'], piece['next']), (gap, len(WHOLE)))
        self.assertEqual(piece['data'], WHOLE[gap:])
        piece = self.weftd.call('job.logs', id=number, offset=gap + 1, limit=20)
        self.assertEqual((piece['data'], piece.get('gap')), (WHOLE[gap + 1:gap + 21], None))
        with HttpConnection(self.weftd.socket, support.DEADLINE) as http:
            reply = http.call('GET', f'/v1/jobs/{number}/logs?offset=10')
        self.assertEqual(reply.headers['weft-gap'], str(gap - 10))
        self.assertEqual(reply.body.decode(), WHOLE[gap:])
        shown = self.weftd.weft('logs', str(number))
        self.assertEqual(shown.stdout, WHOLE[gap:])
        self.assertIn(f'{gap} bytes of stdout from offset 0 on were not kept', shown.stderr)

    def test_the_tail_is_kept_and_outlives_a_killed_weftd(self):
        job = ('--output-keep', 'tail', '--on-crash', 'fail')
        number = int(self.weftd.weft('submit', *job, '--', 'sh', '-c',
                                     'seq 100000; exec sleep 86399').stdout)
        support.wait_until(lambda: self.weftd.call(
            'job.logs', id=number, offset=len(WHOLE) - 7)['data'] == '100000\n', 'the last line')
        self.check_tail(number)
        self.weftd.kill()
        self.weftd.start()
        job = self.weftd.wait(number)
        self.assertEqual((job['state'], job['output_keep']), ('failed', 'tail'))
        self.check_tail(number)

    def test_a_reply_that_is_overtaken_ends_where_the_gap_is(self):
        """Nobody reads the socket meanwhile, so that the program is faster for sure."""
        go = self.weftd.path('go')
        number = self.weftd.shell('echo 0; until [ -e "$0" ]; do sleep 0.01; done; seq 1000000', go,
                                  output_keep='tail')
        whole = b''.join(b'%d\n' % n for n in range(1000001))
        with HttpConnection(self.weftd.socket, support.DEADLINE) as http:
            http.send('GET', f'/v1/jobs/{number}/logs?follow')
            raw = b''
            while not raw.endswith(b'\r\n0\n\r\n'):
                raw += http.socket.recv(65536)
            with open(go, 'w', encoding='utf-8'):
                pass
            self.weftd.wait(number)
            while piece := http.socket.recv(65536):
                raw += piece
        headers, _, rest = raw.partition(b'\r\n\r\n')
        self.assertTrue(headers.startswith(b'HTTP/1.1 200 '), headers)
        body = b''
        while rest:
            size, _, rest = rest.partition(b'\r\n')
            self.assertNotEqual(size, b'0', 'the reply has a proper end')
            body += rest[:int(size, 16)]
            rest = rest[int(size, 16) + 2:]
        self.assertTrue(whole.startswith(body))
        piece = self.weftd.call('job.logs', id=number, offset=len(body))
        self.assertGreater(piece['gap'], 0)

    def test_the_configuration_says_it_for_jobs_that_do_not(self):
        self.weftd.configure(self.config + 'output_keep = tail\n')
        self.weftd.weft('reload')
        tail, head = (self.weftd.submit('seq', '100000', **options)
                      for options in ({}, {'output_keep': 'head'}))
        self.weftd.wait(tail, head)
        self.assertTrue(WHOLE.encode().endswith(self.weftd.logs(tail)))
        self.assertEqual(self.weftd.logs(head), WHOLE[:CAP].encode())
        self.assert_refused(lambda: self.weftd.submit('true', output_keep='end'), INVALID_PARAMS,
                            'head', param='output_keep')
        self.assert_refused(lambda: self.weftd.echo(output_keep='tail'), INVALID_PARAMS, 'argv',
                            param='output_keep')
        refused = self.weftd.weft('run', '--output-keep', 'end', '--', 'true')
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('output_keep', refused.stderr)


if __name__ == '__main__':
    support.main()
