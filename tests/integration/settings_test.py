#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The configuration as the running daemon takes it, and the figures that it shows."""

import os
import signal
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

BAD_CONFIG = -32012
NO_SUCH_QUEUE = -32002


class Reload(support.WeftdTest):
    config = '[queue work]\nconcurrency = 1\n[queue old]\n'

    def setUp(self):
        super().setUp()
        self.go = self.weftd.path('go')

    def work(self, count):
        return [self.weftd.shell('until [ -e "$0" ]; do sleep 0.01; done', self.go, queue='work')
                for _ in range(count)]

    def running(self):
        return self.weftd.stats()['jobs']['running']

    def end_work(self, numbers):
        with open(self.go, 'w', encoding='utf-8'):
            pass
        for job in self.weftd.wait_all(numbers):
            self.assertEqual((job['state'], job['attempt']), ('succeeded', 1))

    def hang_up(self, says):
        before = len(self.weftd.log())
        self.weftd.send_signal(signal.SIGHUP)
        self.weftd.await_log(says, after=before)
        return self.weftd.log()[before:]

    def test_sighup_takes_effect_at_once(self):
        numbers = self.work(6)
        support.wait_until(lambda: self.running() == 1, 'one runs')
        self.weftd.configure('[queue work]\nconcurrency = 4\n[queue fresh]\n')
        log = self.hang_up('reloaded')
        self.assertIn('3 changed', log)  # one value, one queue more, one less
        support.wait_until(lambda: self.running() == 4, 'four run')
        self.assertEqual(self.weftd.wait(self.weftd.echo({'n': 1}, queue='fresh'))['result'],
                         {'n': 1})
        self.assert_refused(lambda: self.weftd.echo(queue='old'), NO_SUCH_QUEUE, 'old')
        self.end_work(numbers)

    def test_a_bad_file_changes_nothing(self):
        numbers = self.work(2)
        self.weftd.configure('[queue work]\nconcurrency = 4\n[queue fresh]\n[exec]\nkil_grace = 1\n')
        log = self.hang_up('reload: ')
        where = f'{self.weftd.config_file}:5'
        self.assertIn(where, log)
        self.assertIn("did you mean 'kill_grace'", log)
        self.assertIn('stay', log)
        error = self.assert_refused(lambda: self.weftd.call('daemon.reload'), BAD_CONFIG, where,
                                    'kil_grace', 'kill_grace')
        self.assertEqual(error.name, 'bad_config')
        self.assert_refused(lambda: self.weftd.echo(queue='fresh'), NO_SUCH_QUEUE, 'fresh')
        self.assertEqual(self.weftd.wait(self.weftd.echo(queue='old'))['state'], 'succeeded')
        self.assertEqual(self.running(), 1)
        command = self.weftd.weft('reload')
        self.assertEqual(command.returncode, 1)
        self.assertIn(where, command.stderr)
        os.unlink(self.weftd.config_file)
        self.assert_refused(lambda: self.weftd.call('daemon.reload'), BAD_CONFIG,
                            self.weftd.config_file)
        self.end_work(numbers)

    def test_what_waits_for_a_restart_is_named(self):
        reload = lambda: self.weftd.call('daemon.reload')  # noqa: E731
        self.assertEqual(reload(), {'changed': 0, 'restart': []})
        self.weftd.configure(self.config + '[runtime]\nworkers = 3\n[daemon]\nsocket_mode = 0600\n'
                                           'max_in_flight = 5\n')
        report = reload()
        self.assertEqual(report['changed'], 1, 'what took effect')
        self.assertEqual(sorted(report['restart']), ['daemon.socket_mode', 'runtime.workers'])
        self.assertEqual(reload(), {'changed': 0, 'restart': report['restart']})
        command = self.weftd.weft('reload')
        self.assertEqual(command.returncode, 0, command)
        self.assertIn('runtime.workers', command.stdout + command.stderr)
        with self.weftd.connect() as connection:
            self.assertEqual(connection.call('hello')['limits']['in_flight'], 5)
        self.weftd.stop()
        self.weftd.start()
        self.assertEqual(len(self.weftd.stats()['workers']), 3)
        self.assertEqual(self.weftd.call('daemon.reload'), {'changed': 0, 'restart': []})

    def test_many_reloads_under_load(self):
        def submit():
            with self.weftd.connect() as connection:
                for n in range(support.scaled(200, 30)):
                    number = connection.call('job.submit', call='echo', args={'n': n})['id']
                    job = connection.call('job.wait', ids=[number])['jobs'][0]
                    self.assertEqual(job['result'], {'n': n})

        def reload():
            with self.weftd.connect() as connection:
                for n in range(support.scaled(50, 10)):
                    self.weftd.configure(f'[queue work]\nconcurrency = {n + 2}\n')
                    connection.call('daemon.reload')
                    self.weftd.send_signal(signal.SIGHUP)

        self.in_threads([submit, submit, reload])


class CommandLine(support.WeftdTest):
    starts = False

    def run_weftd(self, *arguments):
        result = support.run([support.WEFTD, *arguments], env=self.weftd.env, cwd='/')
        self.weftd.check_text(result.stderr)
        return result

    def test_check(self):
        result = self.run_weftd('--check', '--config', self.weftd.config_file)
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (0, f'{self.weftd.config_file}: good\n', ''))
        self.weftd.configure('[queue a]\nconcurency = 1\n')
        result = self.run_weftd('--check', '--config', self.weftd.config_file)
        self.assertEqual((result.returncode, result.stdout), (78, ''))
        self.assertIn(f'{self.weftd.config_file}:2: ', result.stderr)
        self.assertIn("'concurrency'", result.stderr)

    def printed(self, *arguments):
        result = self.run_weftd('--print-config', *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        first, rest = result.stdout.split('\n', 1)
        self.assertTrue(first.startswith('# '), first)
        return rest

    def round_trip(self, *arguments):
        printed = self.printed(*arguments)
        self.weftd.configure(printed)
        self.assertEqual(self.printed('--config', self.weftd.config_file), printed)
        return printed

    def test_what_is_printed_is_accepted_and_prints_the_same(self):
        self.round_trip()
        self.weftd.configure(
            '[runtime]\nworkers = 3\nstack_size = 64K\nhandoff = 0\n[daemon]\nsocket_mode = 0606\n'
            'drain = 1m30s\ngrace = 2h\nline_max = 3M\n[memory]\ndecay = 250ms\narenas = 2\n'
            '[queue a.b-c_D]\nconcurrency = 7\ntimeout = 1h30m\n[queue default]\naging = 0\n'
            '[exec]\nenv = PATH LC_*, HOME\ncwd = /tmp\noutput_max = 1.5K\n'
            '[jobs]\ncrash_limit = 0\nretry_base = 1.5s\n[log]\nlevel = debug\n')
        printed = self.round_trip('--config', self.weftd.config_file)
        lines = printed.splitlines()
        for line in ('workers = 3', 'socket_mode = 0606', 'drain = 1m30s', 'grace = 2h',
                     'line_max = 3M', 'decay = 250ms', 'timeout = 1h30m', '[queue a.b-c_D]',
                     'concurrency = 7', 'env = PATH LC_* HOME', 'level = debug'):
            self.assertIn(line, lines)

    def test_the_shipped_file_holds_the_defaults(self):
        shipped = os.path.join(support.SOURCE, 'conf', 'weftd.conf')
        defaults = self.printed('--config', '/dev/null')
        self.assertEqual(self.printed('--config', shipped), defaults)
        with open(shipped, encoding='utf-8') as file:
            text = file.read()
        import re
        self.weftd.configure(re.sub(r'^#(\w+ =)', r'\1', text, flags=re.M))
        self.assertEqual(self.printed('--config', self.weftd.config_file), defaults)

    def test_a_later_value_wins(self):
        folder = self.weftd.config_file + '.d'
        os.mkdir(folder)
        self.weftd.configure('[daemon]\nmax_jobs = 1\nsocket = /tmp/a.sock\n[queue q]\n')
        for name, text in (('20-b.conf', '[daemon]\nmax_jobs = 3\n'),
                           ('10-a.conf', '[daemon]\nmax_jobs = 2\n[queue r]\n'),
                           ('30-c.conf.bak', '[daemon]\nmax_jobs = 4\n')):
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
                file.write(text)
        lines = self.printed('--config', self.weftd.config_file, '--socket', '/tmp/b.sock',
                             '--state-dir', '/tmp/state').splitlines()
        for line in ('max_jobs = 3', 'socket = /tmp/b.sock', 'state_dir = /tmp/state',
                     '[queue q]', '[queue r]', '[queue default]'):
            self.assertIn(line, lines)
        self.assertNotIn('max_jobs = 4', lines)

    def test_help_and_version(self):
        result = self.run_weftd('--help')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        for option in ('--config', '--socket', '--state-dir', '--check', '--print-config'):
            self.assertIn(option, result.stdout)
        result = self.run_weftd('--version')
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r'^weftd \d+\.\d+\.\d+\n$')


class Stats(support.WeftdTest):
    config = '[runtime]\nworkers = 2\n'

    def test_shape(self):
        numbers = self.weftd.submit_many([{'call': 'echo'}] * 50 + [{'argv': ['true']}] * 5)
        self.weftd.wait_all(numbers)
        stats = self.weftd.stats()
        self.assertRegex(stats['version'], r'^\d+\.\d+\.\d+$')
        self.assertEqual(stats['pid'], self.weftd.pid)
        self.assertGreater(stats['uptime'], 0)
        self.assertEqual(len(stats['workers']), 2)
        for worker in stats['workers']:
            for name in ('turns', 'steals', 'stolen', 'parks', 'wakes', 'polls', 'spawned',
                         'handoffs'):
                self.assertIsInstance(worker[name], int)
                self.assertGreaterEqual(worker[name], 0)
        self.assertGreater(sum(worker['turns'] for worker in stats['workers']), 55)
        self.assertEqual(sum(worker['steals'] for worker in stats['workers']) > 0,
                         sum(worker['stolen'] for worker in stats['workers']) > 0)
        self.assertEqual(stats['jobs'], {
            'waiting': 0, 'delayed': 0, 'queued': 0, 'running': 0, 'succeeded': 55, 'failed': 0,
            'cancelled': 0, 'timed_out': 0, 'dead': 0})
        self.assertGreater(stats['store']['commits'], 0)
        self.assertGreaterEqual(stats['store']['writes'], 55)
        self.assertIs(stats['store']['failed'], False)
        self.assertEqual(stats['runs']['programs'], 5)
        self.assertEqual(stats['runs']['calls'], 50)
        self.assertEqual(stats['runs']['live'], 0)
        self.assertGreaterEqual(stats['server']['connections'], 1)
        self.assertEqual(stats['log'], {'lost': 0})
        self.assertGreater(stats['runtime']['fibers'], 0)
        support.wait_until(lambda: self.weftd.stats()['runtime']['without_worker'] == 0,
                           'nobody is held up for so long that another thread took over')
        self.assertGreaterEqual(stats['runtime']['spare_threads'], 0)

    def test_counters_only_grow(self):
        before = self.weftd.stats()
        self.weftd.wait_all(self.weftd.submit_many([{'call': 'echo'}] * 100))
        after = self.weftd.stats()
        self.assertGreater(after['uptime'], before['uptime'])
        self.assertGreater(after['store']['commits'], before['store']['commits'])
        for one, other in zip(before['workers'], after['workers'], strict=True):
            for name in ('turns', 'steals', 'stolen', 'parks', 'wakes', 'polls', 'spawned'):
                self.assertGreaterEqual(other[name], one[name])
        self.assertEqual(after['totals']['submitted'], 100)
        self.assertEqual(after['server']['requests'] > before['server']['requests'], True)

    def test_the_allocator_is_jemalloc(self):
        memory = self.weftd.stats()['memory']
        if support.SANITIZER:  # those bring their own
            self.assertEqual(memory['allocator'], 'libc')
            return
        self.assertEqual(memory['allocator'], 'jemalloc')
        self.assertRegex(memory['version'], r'^5\.')
        for name in ('allocated', 'cached', 'active', 'resident', 'mapped', 'rss', 'arenas'):
            self.assertGreater(memory[name], 0)
        self.assertLessEqual(memory['allocated'], memory['active'])
        self.assertLess(memory['cached'], memory['allocated'])
        self.assertLessEqual(memory['active'], memory['resident'])
        self.assertIn('jemalloc', self.weftd.weft('stats').stdout)
        self.weftd.stop()
        self.weftd.configure('[memory]\narenas = 3\n')
        self.weftd.start()
        self.assertEqual(self.weftd.stats()['pid'], self.weftd.pid, 'still the same process')
        self.assertEqual(self.weftd.stats()['memory']['arenas'] in (3, 4), True)


if __name__ == '__main__':
    support.main()
