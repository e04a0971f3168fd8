#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Backup, verify and restore, as docs/operations.md says."""

import os
import shutil
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402


class Backup(support.WeftdTest):
    config = '[queue off]\npaused = yes\n'

    def verify(self):
        result = support.run(self.weftd.argv('--verify'), env=self.weftd.env, cwd='/')
        self.weftd.check_text(result.stderr)
        return result.returncode, result.stdout + result.stderr

    def submit_until(self, stop, acknowledged):
        with self.weftd.connect() as connection:
            while not stop.is_set():
                acknowledged.append(connection.call('job.submit', call='echo')['id'])

    def backup_while_submitting(self, name):
        """Returns the path, and what had been acknowledged before it began."""
        stop, acknowledged = threading.Event(), []
        thread = threading.Thread(target=self.submit_until, args=(stop, acknowledged))
        thread.start()
        try:
            support.wait_until(lambda: len(acknowledged) > 50, 'some are submitted')
            before = list(acknowledged)
            made = self.weftd.weft('backup', name)
        finally:
            stop.set()
            thread.join()
        self.assertEqual((made.returncode, made.stderr), (0, ''))
        return made.stdout.strip(), before

    def test_a_backup_is_restored(self):
        done = self.weftd.shell('echo kept')
        self.weftd.wait(done)
        waits = self.weftd.echo(queue='off', key='mine')
        self.weftd.call('queue.pause', queue='default')
        path, before = self.backup_while_submitting('first.db')
        self.assertEqual(path, os.path.join(self.weftd.state, 'backup', 'first.db'))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.refusals()
        later = self.weftd.echo(queue='off')
        self.weftd.stop()
        self.damage()
        self.restore(path)
        self.assertEqual(self.verify()[0], 0, self.verify()[1])
        self.weftd.start()
        self.check_restored(done, waits, before, later)

    def refusals(self):
        again = self.weftd.weft('backup', 'first.db')
        self.assertEqual(again.returncode, 1)
        self.assertIn('File exists', again.stderr)
        self.assertEqual(self.weftd.weft('backup', '../../first.db').returncode, 1)
        status, said = self.verify()
        self.assertEqual(status, 1)
        self.assertIn('a weftd uses', said)

    def damage(self):
        self.assertEqual(self.verify()[0], 0)
        with open(os.path.join(self.weftd.state, 'weft.db'), 'r+b') as file:
            file.seek(0)
            file.write(b'not a store')
        status, said = self.verify()
        self.assertEqual(status, 1)
        self.assertIn('is damaged', said)

    def restore(self, path):
        """The steps of docs/operations.md."""
        for name in ('weft.db', 'weft.db-wal', 'weft.db-shm'):
            if os.path.exists(os.path.join(self.weftd.state, name)):
                os.rename(os.path.join(self.weftd.state, name), self.weftd.path(name + '.bad'))
        shutil.copyfile(path, os.path.join(self.weftd.state, 'weft.db'))

    def check_restored(self, done, waits, before, later):
        self.assertEqual(self.weftd.get(done)['state'], 'succeeded')
        self.assertEqual(self.weftd.logs(done), b'kept\n')
        self.assertEqual(self.weftd.get(waits)['state'], 'queued')
        for job in self.weftd.get_all(before):
            self.assertEqual(job['state'], 'queued')
        with self.assertRaises(support.RpcError):
            self.weftd.get(later)
        self.assertEqual(self.weftd.call('job.submit', call='echo', queue='off', key='mine'),
                         {'id': waits, 'existing': True})
        self.weftd.call('queue.resume', queue='default')
        self.assertEqual({job['state'] for job in self.weftd.wait_all(before)}, {'succeeded'})


if __name__ == '__main__':
    support.main()
