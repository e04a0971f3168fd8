#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Queues while weftd runs: what is set survives SIGKILL and lies over the configuration, rates,
limits, purging, and the command."""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

INVALID_PARAMS, BUSY, NO_SUCH_QUEUE = -32602, -32000, -32002


class Queues(support.WeftdTest):
    config = '[queue q]\nconcurrency = 2\n[queue slow]\nconcurrency = 9\nrate = 1/h\n'

    def queues(self):
        return {queue['name']: queue for queue in self.weftd.call('queue.list')['queues']}

    def why(self, number):
        return self.weftd.call('job.explain', id=number)

    def test_a_pause_survives_and_lies_over_the_configuration(self):
        changed = self.weftd.call('queue.pause', queue='q')['queues']
        self.assertEqual([(queue['name'], queue['paused']) for queue in changed], [('q', True)])
        self.weftd.call('queue.set', queue='q', concurrency=5, rate='100/m', max_waiting=1)
        number = self.weftd.echo(queue='q')
        self.assertEqual(self.why(number)['why'], 'queue_paused')
        self.assert_refused(lambda: self.weftd.echo(queue='q'), BUSY,
                            '"q" has 1 jobs waiting and takes 1', param='queue')
        self.weftd.kill()
        self.weftd.configure('[queue q]\nconcurrency = 3\nmax_waiting = 7\n')
        self.weftd.start()
        for reload in (False, True):
            if reload:
                self.weftd.call('daemon.reload')
            queue = self.queues()['q']
            self.assertEqual(queue['set'], {'paused': True, 'concurrency': 5, 'rate': '100/m',
                                            'max_waiting': 1})
            self.assertEqual((queue['concurrency'], queue['queued']), (5, 1))
        changed = self.weftd.call('queue.set', queue='q', concurrency=None, rate=None,
                                  max_waiting=None)['queues'][0]
        self.assertEqual((changed['concurrency'], changed['rate'], changed['max_waiting']),
                         (3, 'none', 7))
        self.assertEqual(self.weftd.state_of(number), 'queued')
        self.weftd.call('queue.resume', all=True)
        self.assertEqual(self.weftd.wait(number)['state'], 'succeeded')
        self.weftd.stop()
        self.weftd.start()
        self.assertEqual(self.queues()['q']['set'], {})
        self.assertNotIn('slow', self.queues())

    def test_a_rate_a_purge_and_the_command(self):
        first, second = self.weftd.echo(queue='slow'), self.weftd.echo(queue='slow')
        self.assertEqual(self.weftd.wait(first)['state'], 'succeeded')
        explained = self.why(second)
        self.assertEqual(explained['why'], 'queue_rate')
        self.assertGreater(explained['queue']['next_start_at'], time.time() + 1800)
        self.assertIn('starts at most 1/h, the next at ', explained['reason'])

        jobs = [{'call': 'echo', 'queue': 'slow'}] * 700 + [
            {'call': 'echo', 'queue': 'slow', 'delay': '1h'}, {'call': 'echo', 'delay': '1h'}]
        numbers = self.weftd.submit_many(jobs)
        result = self.weftd.weft('queue', 'purge', 'slow', '--state', 'delayed')
        self.assertEqual((result.returncode, result.stdout), (0, '1 job cancelled\n'))
        self.assertEqual(self.weftd.call('queue.purge', queue='slow'),
                         {'queue': 'slow', 'cancelled': 701})
        states = [job['state'] for job in self.weftd.get_all([second, *numbers])]
        self.assertEqual(states, ['cancelled'] * 702 + ['delayed'])

        result = self.weftd.weft('queue', 'set', 'slow', '--rate', '500/s', '--json')
        self.assertEqual(json.loads(result.stdout)['set'], {'rate': '500/s'})
        numbers = self.weftd.submit_many([{'call': 'echo', 'queue': 'slow'}] * 50)
        self.assertEqual({job['state'] for job in self.weftd.wait_all(numbers)}, {'succeeded'})
        result = self.weftd.weft('queue')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r'(?m)^slow +0 +9 +0 +0 +0 +- +500/s\* +open$')
        result = self.weftd.weft('queue', 'pause', 'solw')
        self.assertEqual(result.returncode, 1)
        self.assertIn('did you mean "slow"?', result.stderr)
        self.assert_refused(lambda: self.weftd.call('queue.set', queue='slow', rate='often'),
                            INVALID_PARAMS, '"often" is not a rate', param='rate')
        self.assert_refused(lambda: self.weftd.call('queue.purge', queue='nowhere'),
                            NO_SUCH_QUEUE, 'no queue "nowhere"')

    def test_drains_of_weftd_and_of_a_queue(self):
        running = self.weftd.call('job.submit', argv=['sleep', '60'])['id']
        self.weftd.await_state(running, 'running')
        result = self.weftd.weft('drain')
        self.assertEqual((result.returncode, result.stdout),
                         (0, 'drained: 1 job still runs, no others are started\n'))
        waiting = self.weftd.echo()
        self.assertEqual(self.why(waiting)['why'], 'drained')
        self.assertTrue(self.weftd.call('daemon.stats')['drained'])
        result = self.weftd.weft('drain', '--timeout', '0.01')
        self.assertEqual(result.returncode, 1)
        self.assertIn('jobs still run', result.stderr)
        self.weftd.call('job.cancel', ids=[running])
        result = self.weftd.weft('drain', '--wait')
        self.assertEqual(result.stdout, 'drained: nothing runs, nothing is started\n')
        self.assertEqual(self.weftd.state_of(waiting), 'queued')
        self.assertEqual(self.weftd.weft('drain', '--undo').stdout, 'jobs are started again\n')
        self.assertEqual(self.weftd.wait(waiting)['state'], 'succeeded')

        result = self.weftd.weft('queue', 'drain', 'q')
        self.assertRegex(result.stdout, r'(?m)^q .* drained\*$')
        self.assert_refused(lambda: self.weftd.echo(queue='q'), BUSY, '"q" is drained',
                            param='queue')
        self.weftd.call('queue.resume', queue='q')
        self.assertEqual(self.weftd.wait(self.weftd.echo(queue='q'))['state'], 'succeeded')


if __name__ == '__main__':
    support.main()
