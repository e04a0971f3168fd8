#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Jobs that have to do with other jobs: those that wait for others, and those that are there already;
over SIGKILL too."""

import json
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

NO_SUCH_JOB, INVALID_PARAMS = -32001, -32602


class Key(support.WeftdTest):
    def test_one_live_job_for_a_key(self):
        os.mkfifo(self.weftd.path('gate'))
        job = {'argv': ['cat', self.weftd.path('gate')], 'key': 'nightly'}
        with self.weftd.connect() as one, self.weftd.connect() as two:
            asked = [(to, to.send('job.submit', **job)) for to in (one, two) * 8]
            results = [to.reply(request) for to, request in asked]
        number = results[0]['id']
        self.assertEqual({result['id'] for result in results}, {number})
        self.assertEqual(sum('existing' not in result for result in results), 1)
        self.weftd.kill()
        self.weftd.start()
        again = self.weftd.call('job.submit_many', jobs=[job, {'call': 'echo', 'key': 'other'}])
        self.assertEqual(again['results'][0], {'id': number, 'existing': True})
        self.assertNotIn('existing', again['results'][1])
        self.assertEqual(self.weftd.weft('submit', '--key', 'nightly', '--', 'true').stdout,
                         f'{number}\n')
        with open(self.weftd.path('gate'), 'w', encoding='utf-8'):  # waits for the job to open it
            pass
        self.assertEqual(self.weftd.wait(number)['key'], 'nightly')
        self.check_ended(job, number)

    def check_ended(self, job, number):
        kept = {'id': number, 'existing': True}
        self.assertEqual(self.weftd.call('job.submit', **job), kept)
        self.weftd.kill()
        self.weftd.start()
        self.assertEqual(self.weftd.call('job.submit', **job), kept)
        self.weftd.configure('[daemon]\nkey_keep = 0s\n')
        self.weftd.call('daemon.reload')
        fresh = self.weftd.call('job.submit', argv=['true'], key='nightly')
        self.assertNotIn('existing', fresh)
        self.assertGreater(fresh['id'], number)


class After(support.WeftdTest):
    def gate(self, name):
        """A job that runs until open(name)."""
        os.mkfifo(self.weftd.path(name))
        return self.weftd.submit('cat', self.weftd.path(name))

    def open(self, name):
        with open(self.weftd.path(name), 'w', encoding='utf-8'):  # waits for the job to open it
            pass

    def weft(self, *arguments):
        result = self.weftd.weft(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_a_pipeline_survives_sigkill(self):
        first = self.gate('gate')
        fails = self.weftd.submit('false', after=[first])
        doomed = self.weftd.echo(after=[fails])
        always = self.weftd.echo(after={'ids': [doomed, first], 'when': 'end'})
        self.assertEqual(self.weftd.state_of(always), 'waiting')
        explained = self.weftd.call('job.explain', id=always)
        self.assertEqual((explained['why'], explained['waits_for'], explained['waits_for_count']),
                         ('dependencies', [doomed, first], 2))
        self.weftd.kill()
        self.weftd.start()
        self.assertEqual([self.weftd.state_of(number) for number in (fails, doomed, always)],
                         ['waiting'] * 3)
        self.open('gate')
        jobs = self.weftd.wait_all([first, fails, doomed, always])
        self.assertEqual([job['state'] for job in jobs],
                         ['succeeded', 'failed', 'cancelled', 'succeeded'])
        self.assertEqual(jobs[2]['error'], f'it was to run after job {fails}, which failed')
        self.assertGreaterEqual(jobs[1]['started_at'], jobs[0]['finished_at'])
        self.assertGreaterEqual(jobs[3]['started_at'], jobs[2]['finished_at'])
        self.assertEqual(jobs[2]['after'], [fails])
        self.assertNotIn('waiting', {job['state'] for job in self.weftd.list()})

    def test_the_command_line(self):
        first = self.gate('door')
        ok = int(self.weft('submit', '--after', str(first), '--', 'true'))
        either = int(self.weft('submit', '--after-any', f'{first},{ok}', '--', 'true'))
        self.assertEqual(json.loads(self.weft('show', '--json', str(either)))['after'],
                         {'ids': [first, ok], 'when': 'end'})
        self.assertIn(f'it waits for the end of jobs {first}, {ok}',
                      self.weft('explain', str(either)))
        self.open('door')
        self.assertEqual(self.weftd.wait(either)['state'], 'succeeded')
        misuse = self.weftd.weft('submit', '--after', '1', '--after-any', '2', '--', 'true')
        self.assertEqual(misuse.returncode, 2)

    def test_who_is_not_there_cannot_be_waited_for(self):
        self.assert_refused(lambda: self.weftd.echo(after=[4711]), NO_SUCH_JOB, '4711',
                            param='after')
        self.assert_refused(lambda: self.weftd.echo(after={'ids': [1], 'when': 'soon'}),
                            INVALID_PARAMS, 'end', param='after.when')


class NotDurable(support.WeftdTest):
    config = '[daemon]\ndrain = 0\n'

    def test_it_does_what_others_do_and_is_lost_with_weftd(self):
        with self.weftd.connect() as listener:
            listener.call('events.subscribe')
            made = self.weftd.call('job.submit', call='echo', args={'a': 1}, durable=False)
            self.assertEqual(made['durable'], False)
            event = listener.read_message()['params']
            self.assertEqual((event['id'], event['durable']), (made['id'], False))
        job = self.weftd.wait(made['id'])
        self.assertEqual((job['state'], job['result'], job['durable']),
                         ('succeeded', {'a': 1}, False))
        self.assertEqual(self.weftd.call('job.get', id=made['id']), job)
        number = int(self.weftd.weft('submit', '--no-durable', '--', 'sh', '-c',
                                     'echo out; sleep 3600').stdout)
        self.weftd.await_state(number, 'running')
        self.assertEqual([one['id'] for one in self.weftd.list()], [number, made['id']])
        self.assert_refused(lambda: self.weftd.echo(after=[number]), INVALID_PARAMS,
                            'not durable', param='after')
        kept = self.weftd.echo()
        self.weftd.wait(kept)
        self.weftd.kill()
        self.weftd.start()
        self.assertEqual([one['id'] for one in self.weftd.list()], [kept])
        again = self.weftd.call('job.submit', argv=['sleep', '3600'], durable=False)['id']
        self.assertGreater(again, kept)
        self.weftd.await_state(again, 'running')
        self.weftd.stop()
        with open(self.weftd.log_file, encoding='utf-8') as log:
            self.assertIn('1 jobs that are not durable had not ended, and are lost', log.read())
        self.weftd.start()
        self.assertEqual(self.weftd.echo(), again + 1)


if __name__ == '__main__':
    support.main()
