#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many jobs, and every single result right: by the protocol and by the weft command."""

import json
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

CALLS = support.scaled(10_000, 500)
PROGRAMS = support.scaled(500, 50)
LINE = 500  # jobs of one submit_many


class Calls(support.WeftdTest):
    """10,000 calls of echo over one pipelined connection."""

    @staticmethod
    def args(number):
        return {'number': number, 'text': f'say "{number}" – ünïcode\n', 'deep': [{'n': [number]}]}

    def submit(self):
        with self.weftd.connect() as connection:
            messages = connection.pipeline([
                ('job.submit_many',
                 {'jobs': [{'call': 'echo', 'args': self.args(n), 'name': f'echo-{n}'}
                           for n in range(at, min(at + LINE, CALLS))]})
                for at in range(0, CALLS, LINE)])
        ids = []
        for message in messages:
            results = support.result_of(message)['results']
            numbers = [one['id'] for one in results]
            self.assertEqual(numbers, sorted(numbers), 'in the order of the line')
            ids += numbers
        self.assertEqual(len(ids), CALLS)
        self.assertEqual(len(set(ids)), CALLS, 'an id was given twice')
        return ids

    def check(self, job, number, expected_id):
        self.assertEqual(job['id'], expected_id)
        self.assertEqual(job['state'], 'succeeded')
        self.assertEqual(job['name'], f'echo-{number}')
        self.assertEqual(job['call'], 'echo')
        self.assertEqual(job['args'], self.args(number))
        self.assertEqual(job['result'], self.args(number))
        self.assertEqual(job['attempt'], 1)
        self.assertEqual(job['queue'], 'default')
        self.assertLessEqual(job['submitted_at'], job['started_at'])
        self.assertLessEqual(job['started_at'], job['finished_at'])
        self.assertNotIn('error', job)

    def test_every_result_is_right(self):
        ids = self.submit()
        for number, job in enumerate(self.weftd.wait_all(ids)):
            self.check(job, number, ids[number])
        for number, job in enumerate(self.weftd.get_all(ids)):
            self.check(job, number, ids[number])
        listed = self.weftd.list()
        self.assertEqual([job['id'] for job in listed], sorted(ids, reverse=True))
        number_of = {number: at for at, number in enumerate(ids)}
        for job in listed:
            self.check(job, number_of[job['id']], job['id'])
        self.check_stats()
        self.check_command(ids, number_of)
        self.check_after_restart(ids)

    def check_stats(self):
        stats = self.weftd.stats()
        self.assertEqual(stats['jobs']['succeeded'], CALLS)
        self.assertEqual(stats['jobs']['queued'] + stats['jobs']['running'], 0)
        self.assertEqual(stats['totals']['submitted'], CALLS)
        self.assertEqual(stats['totals']['started'], CALLS)
        self.assertEqual(stats['runs']['calls'], CALLS)

    def check_command(self, ids, number_of):
        listed = self.weftd.weft('list', '--all', '--json')
        self.assertEqual((listed.returncode, listed.stderr), (0, ''))
        jobs = [json.loads(line) for line in listed.stdout.splitlines()]
        self.assertEqual([job['id'] for job in jobs], sorted(ids, reverse=True))
        for job in jobs:
            self.check(job, number_of[job['id']], job['id'])
        some = ids[::max(1, CALLS // 100)]
        shown = self.weftd.weft('show', '--json', *some)
        self.assertEqual((shown.returncode, shown.stderr), (0, ''))
        jobs = [json.loads(line) for line in shown.stdout.splitlines()]
        self.assertEqual([job['id'] for job in jobs], some)
        for job in jobs:
            self.check(job, number_of[job['id']], job['id'])
        self.check_table(ids)

    def check_table(self, ids):
        table = self.weftd.weft('list', '--limit', 20)
        self.assertEqual(table.returncode, 0)
        lines = table.stdout.splitlines()
        self.assertEqual(lines[0].split()[:4], ['ID', 'NAME', 'QUEUE', 'STATE'])
        rows = [line.split() for line in lines[1:]]
        expected = [[str(number), f'echo-{ids.index(number)}', 'default', 'succeeded', '1']
                    for number in sorted(ids, reverse=True)[:20]]
        self.assertEqual([row[:5] for row in rows], expected)

    def check_after_restart(self, ids):
        self.weftd.stop()
        self.weftd.start()
        for number, job in enumerate(self.weftd.get_all(ids)):
            self.check(job, number, ids[number])
        self.assertEqual(self.weftd.stats()['totals']['started'], 0, 'something ran again')


class Programs(support.WeftdTest):
    """500 programs, each with its own output on both streams, and its own exit status."""

    SCRIPT = 'printf "out %s\\nof it\\n" "$0"; echo "err $0" >&2; exit $(($0 % 3))'

    @classmethod
    def argv(cls, number):
        return ['/bin/sh', '-c', cls.SCRIPT, str(number)]

    @staticmethod
    def out(number):
        return f'out {number}\nof it\n'

    def check(self, job, number, expected_id):
        status = number % 3
        self.assertEqual(job['id'], expected_id)
        self.assertEqual(job['state'], 'failed' if status else 'succeeded', job)
        self.assertEqual(job['exit_code'], status)
        self.assertEqual(job['argv'], self.argv(number))
        self.assertEqual(job['attempt'], 1)
        self.assertEqual(job.get('error'), f'exit status {status}' if status else None)
        self.assertNotIn('signal', job)
        self.assertNotIn('result', job)

    def test_every_output_is_right(self):
        ids = self.weftd.submit_many([{'argv': self.argv(n)} for n in range(PROGRAMS)], 50)
        for number, job in enumerate(self.weftd.wait_all(ids)):
            self.check(job, number, ids[number])
        for number, job in enumerate(self.weftd.get_all(ids)):
            self.check(job, number, ids[number])
        self.check_logs(ids, 'stdout', self.out)
        self.check_logs(ids, 'stderr', lambda number: f'err {number}\n')
        stats = self.weftd.stats()
        failed = sum(1 for number in range(PROGRAMS) if number % 3)
        self.assertEqual(stats['jobs']['failed'], failed)
        self.assertEqual(stats['jobs']['succeeded'], PROGRAMS - failed)
        self.assertEqual(stats['runs']['programs'], PROGRAMS)
        self.assertEqual(stats['runs']['live'], 0)
        self.check_command(ids)

    def check_logs(self, ids, stream, expected):
        with self.weftd.connect() as connection:
            messages = connection.pipeline(
                [('job.logs', {'id': number, 'stream': stream}) for number in ids])
        for number, message in enumerate(messages):
            text = expected(number)
            self.assertEqual(support.result_of(message), {
                'data': text, 'encoding': 'utf-8', 'next': len(text), 'eof': True})

    def check_command(self, ids):
        listed = self.weftd.weft('list', '--all', '--json', '--state', 'failed')
        jobs = [json.loads(line) for line in listed.stdout.splitlines()]
        self.assertEqual([job['id'] for job in jobs],
                         sorted((ids[n] for n in range(PROGRAMS) if n % 3), reverse=True))
        shown = self.weftd.weft('show', '--json', *ids)
        self.assertEqual((shown.returncode, shown.stderr), (0, ''))
        for number, line in enumerate(shown.stdout.splitlines()):
            self.check(json.loads(line), number, ids[number])
        for number, expected_id in enumerate(ids):
            logs = self.weftd.weft('logs', expected_id)
            self.assertEqual((logs.returncode, logs.stdout, logs.stderr),
                             (0, self.out(number), ''))
        logs = self.weftd.weft('logs', '--stderr', ids[-1])
        self.assertEqual(logs.stdout, f'err {PROGRAMS - 1}\n')


class Both(support.WeftdTest):
    """Clients that submit, wait and ask at the same time do not get in each other's way."""

    def test_clients_side_by_side(self):
        def client(number):
            with self.weftd.connect() as connection:
                for turn in range(support.scaled(30, 5)):
                    word = f'{number}-{turn}'
                    call = connection.call('job.submit', call='echo', args={'word': word})
                    program = connection.call('job.submit', argv=['echo', word])
                    jobs = connection.call('job.wait', ids=[program['id'], call['id']])['jobs']
                    self.assertEqual([job['id'] for job in jobs], [program['id'], call['id']])
                    self.assertEqual(jobs[1]['result'], {'word': word})
                    logs = connection.call('job.logs', id=program['id'])
                    self.assertEqual(logs['data'], word + '\n')

        self.in_threads([lambda number=number: client(number) for number in range(8)])


if __name__ == '__main__':
    support.main()
