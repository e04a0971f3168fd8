#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where weftd must not start, it says why and leaves what it found as it was; where it only looks
bad, it starts."""

import hashlib
import os
import socket
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

FAILED = 1
USAGE = 2
CONFIG = 78


class WrongStart(support.WeftdTest):
    starts = False

    def refused(self, status, *words, weftd=None, more=()):
        """It ends by itself with that status, in one line that holds the words."""
        got, text = (weftd or self.weftd).refused(*more)
        self.assertEqual(got, status, text)
        for word in words:
            self.assertIn(word, text)
        return text



class Socket(WrongStart):
    def test_path_too_long(self):
        self.weftd.socket = self.weftd.path('x' * 120 + '.sock')
        text = self.refused(CONFIG, 'socket', '107', str(len(self.weftd.socket)), 'xxx')
        self.assertEqual(len(text.splitlines()), 1)

    def test_the_longest_path_that_fits(self):
        self.weftd.socket = self.weftd.path('').ljust(107, 'x')
        self.weftd.start()
        self.assertEqual(self.weftd.call('ping'), 'pong')

    def test_in_use_by_a_live_weftd(self):
        self.weftd.start()
        other = self.new_weftd()
        other.socket = self.weftd.socket
        self.refused(FAILED, self.weftd.socket, 'answers', str(self.weftd.pid), weftd=other)
        self.assertEqual(self.weftd.call('ping'), 'pong')
        with self.weftd.connect() as connection:
            self.assertEqual(connection.call('ping'), 'pong', 'new clients find it, too')

    def test_a_stale_file(self):
        stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stale.bind(self.weftd.socket)
        stale.close()
        self.assertTrue(os.path.exists(self.weftd.socket))
        self.weftd.start()
        number = self.weftd.echo({'fresh': True})
        self.assertEqual(self.weftd.wait(number)['result'], {'fresh': True})

    def test_the_stale_file_of_a_killed_weftd(self):
        self.weftd.start()
        self.weftd.kill()
        self.assertTrue(os.path.exists(self.weftd.socket))
        self.weftd.start()
        self.assertEqual(self.weftd.call('ping'), 'pong')

    def test_something_else_is_there(self):
        with open(self.weftd.socket, 'w', encoding='utf-8') as file:
            file.write('precious')
        self.refused(FAILED, self.weftd.socket, 'not a socket')
        self.assertEqual(support.read_lines(self.weftd.socket), ['precious'])

    def test_folder_missing(self):
        self.weftd.socket = self.weftd.path('run', 'weft.sock')
        self.weftd.start()  # the last folder is made
        self.weftd.stop()
        self.weftd.socket = self.weftd.path('no', 'such', 'weft.sock')
        self.refused(FAILED, self.weftd.path('no', 'such'), 'No such file')

    def test_mode_of_the_socket(self):
        self.weftd.configure('[daemon]\nsocket_mode = 0600\n')
        self.weftd.start()
        self.assertEqual(os.stat(self.weftd.socket).st_mode & 0o777, 0o600)

    def test_the_socket_of_another_is_not_removed_at_the_stop(self):
        self.weftd.start()
        os.unlink(self.weftd.socket)
        other = self.new_weftd()
        other.socket = self.weftd.socket
        other.start()
        self.weftd.stop()
        self.assertEqual(other.call('ping'), 'pong')
        with other.connect() as connection:
            self.assertEqual(connection.call('ping'), 'pong')


class State(WrongStart):
    def test_a_file_in_place_of_the_folder(self):
        with open(self.weftd.state, 'w', encoding='utf-8') as file:
            file.write('precious')
        self.refused(FAILED, self.weftd.state)
        self.assertEqual(support.read_lines(self.weftd.state), ['precious'])
        self.assertFalse(os.path.exists(self.weftd.socket))

    def test_a_folder_that_is_not_writable(self):
        self.weftd.state = '/proc/weft/state'
        self.refused(FAILED, '/proc/weft')
        self.weftd.state = '/sys/kernel'
        self.refused(FAILED, '/sys/kernel')
        if os.geteuid() != 0:
            self.weftd.state = self.weftd.path('locked')
            os.mkdir(self.weftd.state, 0o500)
            self.refused(FAILED, self.weftd.state, 'Permission denied')

    def test_in_use_by_a_live_weftd(self):
        self.weftd.start()
        other = self.new_weftd()
        other.state = self.weftd.state
        self.refused(FAILED, self.weftd.state, weftd=other)
        self.assertFalse(os.path.exists(other.socket))
        number = self.weftd.echo({'still': 'mine'})
        self.assertEqual(self.weftd.wait(number)['result'], {'still': 'mine'})

    def test_folders_above_are_made(self):
        self.weftd.state = self.weftd.path('a', 'b', 'c')
        self.weftd.start()
        self.assertEqual(os.stat(self.weftd.state).st_mode & 0o777, 0o700)


class Store(WrongStart):
    """A store that something has damaged: refused, and not a byte of it is touched."""

    JOBS = support.scaled(2000, 500)

    def digest(self):
        """The database and its log; not the lock, nor the index of the log, nor an empty log."""
        found = {}
        for name in os.listdir(self.weftd.state):
            path = os.path.join(self.weftd.state, name)
            if os.path.isfile(path) and os.path.getsize(path) and not name.endswith('-shm'):
                with open(path, 'rb') as file:
                    found[name] = hashlib.sha256(file.read()).hexdigest()
        found.pop('lock', None)
        return found

    def setUp(self):
        super().setUp()
        self.weftd.start()
        self.ids = self.weftd.submit_many(
            [{'call': 'echo', 'args': {'n': n, 'text': 'x' * 100}} for n in range(self.JOBS)])
        self.weftd.wait_all(self.ids)
        self.weftd.stop()
        self.file = max((os.path.join(self.weftd.state, name)
                         for name in os.listdir(self.weftd.state)
                         if os.path.isfile(os.path.join(self.weftd.state, name))),
                        key=os.path.getsize)
        with open(self.file, 'rb') as file:
            self.good = file.read()
        self.assertTrue(self.good.startswith(b'SQLite format 3\0'))

    def write(self, data):
        with open(self.file, 'wb') as file:
            file.write(data)

    def check_refused(self, data, *words):
        self.write(data)
        before = self.digest()
        text = self.refused(FAILED, self.weftd.state, *words)
        self.assertEqual(self.digest(), before, 'something was changed')
        self.assertFalse(os.path.exists(self.weftd.socket))
        return text

    def check_good_again(self):
        self.write(self.good)
        self.weftd.start()
        jobs = self.weftd.get_all(self.ids)
        self.assertEqual([job['result']['n'] for job in jobs], list(range(self.JOBS)))

    def test_another_file(self):
        self.check_refused(b'This is no database at all.\n' * 1000)
        self.check_good_again()

    def test_a_torn_header(self):
        self.check_refused(b'\0' * 100 + self.good[100:])
        self.check_good_again()

    def test_half_of_it(self):
        self.check_refused(self.good[:len(self.good) // 2 // 4096 * 4096])
        self.check_good_again()

    def test_overwritten_pages(self):
        middle = len(self.good) // 2 // 4096 * 4096
        self.check_refused(self.good[:middle] + b'\xa5' * 8192 + self.good[middle + 8192:])
        self.check_good_again()

    def test_its_log_is_kept_too(self):
        self.weftd.start()
        late = self.weftd.echo({'late': True})
        self.weftd.wait(late)
        self.weftd.kill()
        os.unlink(self.weftd.socket)
        with open(self.file, 'rb') as file:
            self.good = file.read()
        self.assertGreater(os.path.getsize(self.file + '-wal'), 0)
        self.check_refused(b'\0' * 100 + self.good[100:])
        self.check_good_again()
        self.assertEqual(self.weftd.get(late)['result'], {'late': True})

    def test_an_unknown_version(self):
        import sqlite3
        database = sqlite3.connect(self.file)
        version = database.execute('PRAGMA user_version').fetchone()[0]
        database.execute(f'PRAGMA user_version = {version + 1000}')
        database.commit()
        database.close()
        with open(self.file, 'rb') as file:
            self.check_refused(file.read(), str(version + 1000))
        self.check_good_again()


class Configuration(WrongStart):
    def wrong(self, text, line, *words):
        """Refused alike by --check, --print-config and a start."""
        self.weftd.configure(text)
        where = f'{self.weftd.config_file}:{line}:'
        for more in ((), ('--check',), ('--print-config',)):
            said = self.refused(CONFIG, where, *words, more=more)
            self.assertEqual(len(said.splitlines()), 1, said)
        self.assertFalse(os.path.exists(self.weftd.state))

    def test_each_mistake_is_found_by_file_and_line(self):
        self.wrong('[daemon]\n\ngrase = 3s\n', 3, 'grase', "did you mean 'grace'")
        self.wrong('[deamon]\ngrace = 3s\n', 1, 'deamon', 'did you mean [daemon]')
        self.wrong('# hello\n[daemon]\ngrace = soon\n', 3, 'grace', 'duration')
        self.wrong('[daemon]\nline_max = 3 miles\n', 2, 'line_max', 'size')
        self.wrong('[daemon]\nmax_in_flight = 0\n', 2, 'max_in_flight', 'from 1')
        self.wrong('[runtime]\nworkers = many\n', 2, 'workers', 'whole number')
        self.wrong('[queue a/b]\n', 1, 'a/b')
        self.wrong('[queue]\n', 1, 'name')
        self.wrong('[queue one]\nconcurency = 2\n', 2, 'concurency', "'concurrency'")
        self.wrong('[daemon]\nwhat is this\n', 2)
        self.wrong('grace = 3s\n', 1)
        self.wrong('[log]\nlevel = loud\n', 2, 'level', 'warning')

    def test_values_that_do_not_fit_each_other(self):
        self.weftd.configure('[daemon]\ngrace = 5s\ndrain = 5s\n')
        self.refused(CONFIG, 'daemon.grace', 'daemon.drain', self.weftd.config_file)
        self.weftd.configure('[exec]\ncwd = here\n')
        self.refused(CONFIG, 'exec.cwd', 'absolute', 'here')

    def test_a_file_that_is_not_there(self):
        os.unlink(self.weftd.config_file)
        self.refused(CONFIG, self.weftd.config_file, 'No such file')

    def test_usage(self):
        self.refused(USAGE, '--nonsense', more=['--nonsense'])
        self.refused(USAGE, 'unexpected', more=['start'])
        self.refused(USAGE, more=['--config'])


if __name__ == '__main__':
    support.main()
