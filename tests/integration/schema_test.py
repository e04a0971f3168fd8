#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/protocol.schema.json against weftd: the same methods, the same parameters, the same errors,
and what weftd answers in a short session is as the schema says, with no member that is not in it."""

import copy
import json
import os
import re
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print('skipped: python3-jsonschema is not installed (./dev setup test)')
    sys.exit(77)

with open(os.path.join(support.SOURCE, 'docs', 'protocol.schema.json'), encoding='utf-8') as file:
    SCHEMA = json.load(file)
DEFS = SCHEMA['$defs']
METHODS = sorted(name[:-len('.params')] for name in DEFS if name.endswith('.params'))
UNKNOWN = 'zzzzzzzzzzzzzzzzzzzzzzzzzzzz'  # near to no name
WHERE = 'docs/protocol.schema.json, $defs'


def source(name):
    with open(os.path.join(support.SOURCE, name), encoding='utf-8') as text:
        return text.read()


def closed(schema):
    """A copy that forbids members which are not in the schema.  A client passes over what it does
    not know; here it would be something that nobody wrote down."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {name: closed(value) for name, value in schema.items()}
    if schema.get('type') == 'object' and 'properties' in schema:
        copied.setdefault('additionalProperties', False)
    return copied


CLOSED = closed(copy.deepcopy(DEFS))


def validator(name):
    return Draft202012Validator({'$ref': f'#/$defs/{name}', '$defs': CLOSED})


class Words(unittest.TestCase):
    """What needs no weftd."""

    def test_the_schema_is_one(self):
        Draft202012Validator.check_schema(SCHEMA)
        for name in METHODS:
            self.assertIn(f'{name}.result', DEFS)
        used = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(SCHEMA)))
        self.assertLessEqual(used, set(DEFS))
        apart = {name for name in DEFS if name.endswith(('.params', '.result'))}
        self.assertEqual(set(DEFS) - used - apart, set(), 'definitions that nothing refers to')

    def test_errors_are_those_of_weftd(self):
        codes = dict(re.findall(r'(RPC_[A-Z_]+) = (-\d+)', source('protocol/error.h')))
        rows = re.findall(r'\{(RPC_[A-Z_]+),\s*"([a-z_]+)"', source('protocol/error.c'))
        there = sorted((int(codes[row]), name) for row, name in rows if row in codes)
        listed = sorted((one['properties']['code']['const'],
                         one['properties']['data']['properties']['name']['const'])
                        for one in DEFS['error']['oneOf'])
        self.assertGreater(len(there), 10)
        self.assertEqual(listed, there, f'{WHERE}["error"]')

    def test_states_and_causes_are_those_of_weftd(self):
        text = source('daemon/job.c')
        states = set(re.findall(r'\[JOB_[A-Z_]+\] = "([a-z_]+)"', text.split('cause_names[')[0]))
        causes = set(re.findall(r'\[JOB_BY_[A-Z_]+\] = "([a-z_]+)"', text))
        self.assertEqual(set(DEFS['state']['enum']), states - {'none'})
        self.assertEqual(set(DEFS['cause']['enum']), causes | {'progress'})  # which is no move


class Answers(support.WeftdTest):
    config = '[daemon]\nevents = 20\n[queue off]\nconcurrency = 0\n'

    def check(self, name, value):
        errors = [f'{"/".join(map(str, error.absolute_path))}: {error.message}'
                  for error in validator(name).iter_errors(value)]
        self.assertFalse(errors, f'{WHERE}["{name}"] does not fit {json.dumps(value)[:2000]}')
        return value

    def ask(self, method, params=None):
        """A call whose request and reply are both as the schema says; returns the result."""
        self.check(f'{method}.params', params or {})
        message = self.check('reply', self.exchange(method, params))
        self.assertNotIn('error', message)
        return self.check(f'{method}.result', message['result'])

    def refused(self, method, params=None):
        """The error, as the schema says."""
        return self.check('reply', self.exchange(method, params))['error']

    def exchange(self, method, params):
        with self.weftd.connect() as connection:
            return connection.exchange(connection.request(method, params).rstrip('\n'))

    # -- against the code

    def test_methods_are_those_of_weftd(self):
        there = self.ask('hello')['methods']
        self.assertEqual(METHODS, there, f'{WHERE}: METHOD.params for each method of weftd')

    def known_params(self, method):
        """The names that weftd's own table has, as it lists them to who gets one wrong."""
        message = self.refused(method, {UNKNOWN: 1})['message']
        if message.endswith('this method takes none'):
            return []
        listed = re.fullmatch(f'unknown parameter "{UNKNOWN}"; there are: (.*)', message)
        self.assertTrue(listed, message)
        self.assertNotIn('...', message, 'the list is cut: ask another way')
        return sorted(listed.group(1).split(', '))

    def test_parameters_are_those_of_weftd(self):
        for method in METHODS:
            params = sorted(DEFS[f'{method}.params'].get('properties', ()))
            self.assertEqual(params, self.known_params(method), f'{WHERE}["{method}.params"]')
            for name in params:  # whatever is wrong with such a value, it is not its name
                message = self.exchange(method, {name: [{}]}).get('error', {}).get('message', '')
                self.assertNotIn('unknown parameter', message)

    def test_required_parameters_are_those_of_weftd(self):
        for method in METHODS:
            for name in DEFS[f'{method}.params'].get('required', ()):
                error = self.refused(method, {})
                self.assertEqual((error['code'], error['data'].get('param')), (-32602, name))

    # -- a session

    def test_answers_are_as_it_says(self):
        with self.weftd.connect() as follower:
            self.check('reply', follower.exchange(
                follower.request('events.subscribe', {'since': 0, 'epoch': 7}).rstrip('\n')))
            done, killed, late, bad = self.jobs()
            self.ask('job.wait', {'ids': [done, killed, bad], 'timeout': '1m'})
            for number in (done, killed, late, bad):
                self.ask('job.get', {'id': number})
                self.ask('job.explain', {'id': number})
            self.ask('job.list', {'state': ['failed', 'succeeded'], 'limit': 1, 'before': None})
            self.ask('job.list', {'queue': 'off', 'state': 'delayed'})
            self.ask('job.logs', {'id': done})
            self.ask('job.logs', {'id': done, 'stream': 'stderr', 'limit': '1K', 'offset': 0})
            self.ask('job.output', {'id': done})
            self.ask('job.output', {'id': late, 'stream': 'stderr', 'offset': 0})
            self.ask('job.cancel', {'ids': [late, done, 999]})
            self.ask('job.retry', {'ids': [bad, done]})
            self.ask('job.wait', {'ids': [bad]})
            self.queues()
            for method in ('daemon.backup', 'daemon.stats', 'daemon.reload', 'ping'):
                self.ask(method)
            self.events(follower)

    def jobs(self):
        result = self.ask('job.submit', {
            'argv': ['/bin/sh', '-c', 'echo out; printf "\\377" >&2'], 'env': {'A': 'b'},
            'cwd': '/', 'stdin': 'text', 'queue': 'default', 'name': 'n', 'tags': ['t'],
            'priority': 1, 'delay': '1ms', 'timeout': 60, 'retries': 2, 'on_crash': 'fail'})
        results = self.ask('job.submit_many', {'atomic': False, 'jobs': [
            {'argv': ['/bin/sh', '-c', 'kill -9 $$']},
            {'call': 'echo', 'args': {'x': [1]}, 'queue': 'off', 'delay': '1h'},
            {'argv': []},
            {'argv': ['false']}]})['results']
        killed, late, refused, bad = results
        self.assertIn('error', refused)
        return result['id'], killed['id'], late['id'], bad['id']

    def queues(self):
        self.ask('queue.set', {'queue': 'off', 'rate': '1/h', 'concurrency': 1,
                               'max_waiting': None})
        numbers = [self.weftd.echo(queue='off') for _ in range(2)]
        self.ask('job.wait', {'ids': numbers[:1]})
        self.ask('job.explain', {'id': numbers[1]})
        self.ask('daemon.drain', {'wait': False})
        self.ask('daemon.drain', {'undo': True})
        self.ask('queue.drain', {'queue': 'off'})
        self.ask('queue.pause', {'queue': 'off'})
        self.ask('job.explain', {'id': numbers[1]})
        self.ask('queue.list')
        self.ask('queue.resume', {'all': True})
        self.ask('queue.purge', {'queue': 'off', 'state': 'queued'})
        self.ask('queue.purge', {'queue': 'off', 'state': ['delayed', 'waiting']})

    def events(self, follower):
        """Those that have come, and a gap for who comes late."""
        last = self.ask('daemon.stats')['events']['last']
        while self.check('notification', follower.read_message())['params']['seq'] < last:
            pass
        self.weftd.submit_many([{'call': 'echo'}] * 20)
        with self.weftd.connect() as late:
            late.call('events.subscribe', since=0)
            self.assertIn('gap', self.check('notification', late.read_message())['params'])

    def test_refusals_are_as_it_says(self):
        with self.weftd.connect() as connection:
            for line in ('nonsense', '[]', '[' * 40, '{"jsonrpc":"2.0","id":1,"method":"pong"}'):
                self.assertIn('error', self.check('reply', connection.exchange(line)))
        for method, params in (('job.get', {'id': 999}), ('job.get', {'ID': 1}), ('job.get', {}),
                               ('job.submit', {'argv': ['x'], 'queue': 'offf'}),
                               ('job.submit', {'call': 'ecco'}),
                               ('job.wait', {'ids': [self.weftd.echo(queue='off')],
                                             'timeout': 0})):
            self.refused(method, params)


if __name__ == '__main__':
    support.main()
