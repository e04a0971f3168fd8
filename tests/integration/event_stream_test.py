#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""events.subscribe over the socket: a job's life as it is told, a follower who does not keep up,
one who comes back, over a restart too, and the end of it all."""

import json
import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

KEPT = 100
INVALID_PARAMS = -32602


class Follower:
    """A connection with a subscription."""

    def __init__(self, weftd, **params):
        self.connection = weftd.connect()
        reply = self.connection.call('events.subscribe', **params)  # comes before any event
        self.epoch, self.last = reply['epoch'], reply['last']

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def read(self):
        message = self.connection.read_message()
        assert message['method'] == 'event' and 'id' not in message, message
        return message['params']

    def read_until(self, found):
        """All records, up to the one for which found(record) holds."""
        records = []
        while not records or not found(records[-1]):
            records.append(self.read())
        return records

    def read_to_end(self):
        records = []
        try:
            while True:
                records.append(self.read())
        except support.Disconnected:
            return records


def moves(records):
    return [(one['id'], one['cause'], one['state']) for one in records]


class Events(support.WeftdTest):
    config = f'[daemon]\nevents = {KEPT}\ndrain = 0\n[queue off]\nconcurrency = 0\n' \
             '[jobs]\nretry_base = 1ms\nretry_cap = 1ms\n'

    def check_numbers(self, records, since, last):
        """Each number is told of once, in order, as an event or in a gap; returns how many are
        lost."""
        lost = 0
        for record in records:
            gap = record.get('gap', {'from': record['seq'], 'to': record['seq']})
            self.assertEqual((gap['from'], gap['to']), (since + 1, record['seq']))
            lost += gap['to'] - since if 'gap' in record else 0
            since = record['seq']
        self.assertEqual(since, last)
        return lost

    def test_the_life_of_a_job(self):
        with Follower(self.weftd) as follower, Follower(self.weftd, queue='off') as other:
            number = self.weftd.submit('/bin/sh', '-c', 'exit 3', retries=1, name='nightly')
            self.weftd.wait(number)
            records = follower.read_until(lambda one: one['state'] == 'dead')
            self.assertEqual(moves(records), [
                (number, 'submit', 'queued'), (number, 'dispatch', 'running'),
                (number, 'failure', 'delayed'), (number, 'due', 'queued'),
                (number, 'dispatch', 'running'), (number, 'failure', 'dead')])
            self.check_numbers(records, follower.last, follower.last + 6)
            first, end = records[0], records[-1]
            self.assertNotIn('before', first)
            self.assertEqual((end['before'], end['attempt'], end['exit_code'], end['error']),
                             ('running', 2, 3, 'exit status 3'))
            self.assertEqual({(one['name'], one['queue']) for one in records},
                             {('nightly', 'default')})
            self.assertGreaterEqual(records[2]['due_at'], records[2]['time'])
            self.assertEqual(end['time'], self.weftd.get(number)['finished_at'])

            number = self.weftd.echo(queue='off')
            self.weftd.call('job.cancel', ids=[number])
            self.assertEqual(moves([other.read(), other.read()]),
                             [(number, 'submit', 'queued'), (number, 'cancel', 'cancelled')])

    def test_a_follower_who_does_not_read_is_told_what_it_has_lost(self):
        count = support.scaled(3000, least=800)
        with Follower(self.weftd) as slow, Follower(self.weftd) as quick:
            ids = self.weftd.submit_many([{'call': 'echo'}] * count)
            last = quick.last + 3 * len(ids)
            records = quick.read_until(lambda one: one['seq'] == last)
            self.check_numbers(records, quick.last, last)
            self.assertEqual(self.weftd.stats()['events'],
                             {'last': last, 'kept': KEPT, 'subscribers': 2})
            records = slow.read_until(lambda one: one['seq'] == last)
            lost = self.check_numbers(records, slow.last, last)
            self.assertGreater(lost, 0)
            self.assertGreaterEqual(len(records), KEPT)
        support.wait_until(lambda: self.weftd.stats()['events']['subscribers'] == 0,
                           'those who have left are forgotten')

    def test_who_comes_back_goes_on_where_it_was(self):
        numbers = [self.weftd.echo(queue='off') for _ in range(3)]
        with Follower(self.weftd, since=0) as follower:
            first = [follower.read(), follower.read()]
        with Follower(self.weftd, since=first[-1]['seq'], epoch=follower.epoch) as follower:
            second = follower.read()
        self.assertEqual([one['id'] for one in (*first, second)], numbers)
        self.weftd.submit_many([{'call': 'echo', 'queue': 'off'}] * KEPT)
        with Follower(self.weftd, since=1) as follower:
            self.assertEqual(follower.read(), {'seq': 3, 'gap': {'from': 2, 'to': 3}})
            self.assertEqual(follower.read()['seq'], 4)
        with self.weftd.connect() as connection:
            self.assert_refused(
                lambda: connection.call('events.subscribe', since=KEPT + 4), INVALID_PARAMS,
                'epoch', param='since')

    def test_a_stop_is_told_to_its_end_and_numbers_begin_anew(self):
        # with on_crash=fail a program begins when its start is on disk: a start alone, as it is
        # told, may be lost in a crash
        began = self.weftd.path('began')
        number = self.weftd.shell('touch "$0"; exec sleep 3600', began, on_crash='fail')
        support.wait_until(lambda: os.path.exists(began), 'the program runs')
        with Follower(self.weftd, since=0) as follower:
            follower.read_until(lambda one: one['state'] == 'running')
            self.weftd.stop()
            records = follower.read_to_end()
            self.assertEqual(moves(records), [(number, 'interrupt', 'queued')])
            last = records[-1]['seq']
        os.unlink(began)
        self.weftd.start()
        support.wait_until(lambda: os.path.exists(began), 'the program runs again')
        self.weftd.kill()
        self.weftd.start()
        with Follower(self.weftd, since=last, epoch=follower.epoch) as late:
            self.assertEqual(late.epoch, follower.epoch + 2)
            record = late.read()
            self.assertEqual(
                (record['seq'], record['cause'], record['state'], record['error']),
                (1, 'crash', 'failed', 'weftd died during attempt 1'))

    def test_the_command(self):
        number = self.weftd.echo()
        self.weftd.wait(number)
        shown = self.weftd.weft('events', '--json', '--since', 0, '--limit', 3, number)
        self.assertEqual((shown.returncode, shown.stderr), (0, ''))
        reply, *records = map(json.loads, shown.stdout.splitlines())
        self.assertEqual(reply, {'epoch': 1, 'last': 3})
        self.assertEqual([one['state'] for one in records], ['queued', 'running', 'succeeded'])
        shown = self.weftd.weft('events', '--since', 2, '--limit', 1)
        self.assertIn(f'job {number}: running -> succeeded (success, attempt 1)', shown.stdout)

    def test_a_half_closed_connection_is_told_on(self):
        with Follower(self.weftd) as follower:
            follower.connection.half_close()
            number = self.weftd.echo(queue='off')
            self.assertEqual(follower.read()['id'], number)
            self.weftd.stop(signal.SIGTERM)
            self.assertEqual(follower.read_to_end(), [])


if __name__ == '__main__':
    support.main()
