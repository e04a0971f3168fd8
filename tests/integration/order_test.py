#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pipelined submits of one connection get ids in the order they were sent."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'support'))
import weftd as support  # noqa: E402


class Order(support.WeftdTest):
    def results_of(self, requests):
        with self.weftd.connect() as connection:
            replies = connection.pipeline(requests)
        return [support.result_of(reply) for reply in replies]

    def test_pipelined_submits_keep_their_order(self):
        count = support.scaled(2000)
        results = self.results_of([('job.submit', {'call': 'echo', 'args': {'n': n}})
                               for n in range(count)])
        ids = [result['id'] for result in results]
        self.assertEqual(ids, sorted(ids))
        self.assertEqual(len(set(ids)), count)
        for job in self.weftd.wait_all(ids):
            self.assertEqual(job['result'], {'n': job['id'] - ids[0]})

    def test_submit_and_submit_many_take_turns_too(self):
        requests = []
        for n in range(support.scaled(200)):
            requests.append(('job.submit', {'call': 'echo', 'args': {'n': n}}))
            requests.append(('job.submit_many', {'jobs': [{'call': 'echo'}, {'call': 'echo'}]}))
            requests.append(('job.list', {'limit': 1}))
        ids = []
        for result in self.results_of(requests):
            if 'id' in result:
                ids.append(result['id'])
            ids += [one['id'] for one in result.get('results', [])]
        self.assertEqual(len(ids), len(requests))
        self.assertEqual(ids, sorted(ids))

    def test_a_refused_submit_does_not_hold_up_the_next(self):
        with self.weftd.connect() as connection:
            replies = connection.pipeline([('job.submit', {'call': 'echo', 'queue': 'nowhere'}),
                                           ('job.submit', {'argv': []}),
                                           ('job.submit', {'call': 'echo'})])
        self.assertIn('error', replies[0])
        self.assertIn('error', replies[1])
        self.assertIn('id', support.result_of(replies[2]))


if __name__ == '__main__':
    support.main()
