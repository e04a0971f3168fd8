#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ended jobs are forgotten with their output, whatever else lives; what a crash leaves of output
without a job, the next start removes."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402


class Volatile(support.WeftdTest):
    config = '[daemon]\nrecent = 1\n'

    def test_a_job_that_is_not_durable_goes_with_its_output_when_it_leaves_memory(self):
        numbers = [self.weftd.shell('echo out; echo err >&2', durable=False) for _ in range(3)]
        support.wait_until(lambda: self.weftd.stats()['jobs']['succeeded'] == 3, 'all have ended')
        support.wait_until(
            lambda: len({name.split('.')[0] for _, _, names in
                         os.walk(os.path.join(self.weftd.state, 'output')) for name in names}) == 1,
            'the output of one is left')
        known = [one for one in numbers if one in [job['id'] for job in self.weftd.list()]]
        self.assertEqual(len(known), 1)
        self.assertEqual(self.weftd.logs(known[0]), b'out\n')


class Forgotten(support.WeftdTest):
    config = '[jobs]\nretain = 1s\n'

    def output(self, *names):
        return os.path.join(self.weftd.state, 'output', *names)

    def is_known(self, number):
        try:
            return bool(self.weftd.get(number))
        except support.RpcError as error:
            self.assertIn(f'no job {number}', str(error))
            return False

    def await_forgotten(self, numbers):
        support.wait_until(lambda: not any(map(self.is_known, numbers)), 'all are forgotten')

    def plant(self, *names):
        os.makedirs(os.path.dirname(self.output(*names)), exist_ok=True)
        with open(self.output(*names), 'w', encoding='utf-8') as file:
            file.write('left behind')

    def test_jobs_and_output_go_and_live_ones_stay(self):
        old = self.weftd.echo(delay='1h')  # older than all that is forgotten
        waiting = self.weftd.echo(after=[old])
        kept = int(self.weftd.weft('submit', '--keep', '1h', '--', 'echo', 'kept').stdout)
        numbers = [self.weftd.shell('echo out; echo err >&2; exit $0', status)
                   for status in (0, 3, 0)]
        self.weftd.wait_all([kept, *numbers])
        self.await_forgotten(numbers)
        support.wait_until(lambda: os.listdir(self.output('0')) == [f'{kept}.1.out'],
                           'their output is gone')
        self.assertEqual([job['id'] for job in self.weftd.list()], [kept, waiting, old])
        totals = self.weftd.stats()['totals']
        self.assertEqual((totals['kept'], totals['forgotten']), (1, len(numbers)))
        job = self.weftd.get(kept)
        self.assertEqual((job['state'], job['keep']), ('succeeded', '1h'))
        self.assertEqual(self.weftd.logs(kept), b'kept\n')
        self.assertIn('forgotten 3', self.weftd.weft('stats').stdout)
        self.assertEqual(self.weftd.weft('logs', numbers[0]).returncode, 1)
        self.crash_and_sweep(old, waiting, kept, numbers)

    def crash_and_sweep(self, old, waiting, kept, numbers):
        keeps = self.weftd.shell('echo kept; exec sleep 3600')
        support.wait_until(lambda: self.weftd.logs(keeps) == b'kept\n', 'its output')
        self.weftd.kill()
        self.plant('0', f'{numbers[0]}.1.out')
        self.plant('0', f'{numbers[1]}.7.err.dropped')
        self.plant('0', '900.1.out')  # no such id was given: it may be of a job to come
        self.plant('0', 'notes')
        self.plant('other', 'notes')
        self.weftd.start()
        support.wait_until(lambda: sorted(name for name in os.listdir(self.output('0'))
                                          if not name.startswith(f'{keeps}.')) ==
                           sorted([f'{kept}.1.out', '900.1.out', 'notes']),
                           'what has no job is gone')
        support.wait_until(lambda: self.weftd.logs(keeps) == b'kept\n', 'its second output')
        self.assertTrue(os.path.exists(self.output('other', 'notes')), 'it is not ours')
        self.assertEqual([job['id'] for job in self.weftd.list()], [keeps, kept, waiting, old])
        self.assertGreater(self.weftd.echo(), keeps, 'no id is given twice')
        self.weftd.call('job.cancel', ids=[keeps])


if __name__ == '__main__':
    support.main()
