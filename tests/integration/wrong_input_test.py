#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wrong input: each is told clearly, and the connection and the daemon stay good."""

import json
import os
import select
import signal
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402
from support.http import HttpConnection  # noqa: E402

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
NO_SUCH_JOB = -32001
NO_SUCH_QUEUE = -32002
NO_SUCH_HANDLER = -32003
LINE_TOO_LONG = -32004
TOO_DEEP = -32005
TIMEOUT = -32009
NOT_SUPPORTED = -32010

NAMES = {
    PARSE_ERROR: 'parse_error', INVALID_REQUEST: 'invalid_request',
    METHOD_NOT_FOUND: 'method_not_found', INVALID_PARAMS: 'invalid_params',
    NO_SUCH_JOB: 'no_such_job', NO_SUCH_QUEUE: 'no_such_queue',
    NO_SUCH_HANDLER: 'no_such_handler', LINE_TOO_LONG: 'line_too_long', TOO_DEEP: 'too_deep',
    TIMEOUT: 'timeout', NOT_SUPPORTED: 'not_supported',
}


class WrongInput(support.WeftdTest):
    """One connection for the whole test; it must answer a ping after each mistake."""

    config = '[queue video]\nconcurrency = 2\n[exec]\nkill_grace = 1s\n'

    def setUp(self):
        super().setUp()
        self.connection = self.weftd.connect()
        self.addCleanup(self.connection.close)

    def tearDown(self):
        self.assertEqual(self.connection.call('ping'), 'pong')
        self.connection.close()
        super().tearDown()

    def check_error(self, error, code, *words, param=None, nearest=None):
        self.assertEqual(error.name, NAMES[code])
        return super().check_error(error, code, *words, param=param, nearest=nearest)

    def refused(self, method, params, code, *words, param=None, nearest=None):
        error = self.assert_refused(lambda: self.connection.call(method, **params), code, *words,
                                    param=param, nearest=nearest)
        self.assertEqual(self.connection.call('ping'), 'pong')
        return error

    def submit_refused(self, params, code, *words, param=None, nearest=None):
        return self.refused('job.submit', params, code, *words, param=param, nearest=nearest)

    def line_refused(self, line, code, *words, number=None):
        message = self.connection.exchange(line)
        self.assertEqual(message['id'], number)
        self.assertEqual(message['jsonrpc'], '2.0')
        self.assert_error(message, code, *words)
        self.assertEqual(self.connection.call('ping'), 'pong')


class Lines(WrongInput):
    """Lines that are no requests."""

    def test_not_json(self):
        self.line_refused('hello', PARSE_ERROR, 'not valid JSON', 'byte')
        self.line_refused('{"jsonrpc":"2.0","id":1,"method":', PARSE_ERROR, 'not valid JSON')
        self.line_refused('{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', PARSE_ERROR,
                          'duplicate')
        self.line_refused(b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', PARSE_ERROR, '0xff')
        self.line_refused('{"jsonrpc":"2.0","id":1,"method":"job.submit","params":{"argv":'
                          r'["a\u0000b"]}}', PARSE_ERROR, r'\u0000')
        self.line_refused(b'\x00\x01\x02', PARSE_ERROR, 'not valid JSON')

    def test_json_that_is_no_request(self):
        for line in ('42', 'null', '"ping"', 'true', '{}', '[]'):
            self.line_refused(line, INVALID_REQUEST)
        self.line_refused('{"id":7,"method":"ping"}', INVALID_REQUEST, '"jsonrpc"', number=7)
        self.line_refused('{"jsonrpc":"1.0","id":7,"method":"ping"}', INVALID_REQUEST,
                          '"jsonrpc"', number=7)
        self.line_refused('{"jsonrpc":"2.0","id":7}', INVALID_REQUEST, '"method"', number=7)
        self.line_refused('{"jsonrpc":"2.0","id":7,"method":8}', INVALID_REQUEST, '"method"',
                          number=7)
        self.line_refused('{"jsonrpc":"2.0","id":7,"method":"ping","params":3}', INVALID_REQUEST,
                          '"params"', number=7)
        self.line_refused('{"jsonrpc":"2.0","id":7,"method":"ping","parms":{}}', INVALID_REQUEST,
                          'parms', number=7)
        self.line_refused('{"jsonrpc":"2.0","id":{},"method":"ping"}', INVALID_REQUEST, '"id"')
        self.line_refused('{"jsonrpc":"2.0","id":1.5,"method":"ping"}', INVALID_REQUEST, '"id"')
        self.line_refused('{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}',
                          INVALID_REQUEST, '"id"')

    def test_a_line_of_two_mebibytes(self):
        line = '{"jsonrpc":"2.0","id":1,"method":"job.submit","params":{"argv":["'
        self.line_refused(line + 'x' * (2 << 20) + '"]}}', LINE_TOO_LONG, '1M', 'daemon.line_max')
        # nothing of it was taken for a request, and a line just under the limit passes
        self.assertEqual(self.weftd.list(), [])
        text = 'y' * ((1 << 20) - 100)
        number = self.connection.call('job.submit', call='echo', args={'text': text[:-64]})['id']
        self.assertEqual(self.weftd.wait(number)['result'], {'text': text[:-64]})

    def test_a_long_line_among_short_ones_loses_none_of_them(self):
        ping = '{"jsonrpc":"2.0","id":"%s","method":"ping"}\n'
        self.connection.write(ping % 'before' + 'x' * (3 << 20) + '\n' + ping % 'after')
        messages = [self.connection.read_message() for _ in range(3)]
        by_id = {message['id']: message for message in messages}
        self.assertEqual(by_id['before']['result'], 'pong')
        self.assertEqual(by_id['after']['result'], 'pong')
        self.assert_error(by_id[None], LINE_TOO_LONG)

    def test_a_hundred_levels(self):
        deep = '[' * 100 + ']' * 100
        self.line_refused(deep, TOO_DEEP, '32')
        self.line_refused('{"jsonrpc":"2.0","id":1,"method":"job.submit","params":{"call":"echo",'
                          '"args":{"deep":%s}}}' % deep, TOO_DEEP, '32')
        self.line_refused('[' * 200_000, TOO_DEEP, '32')
        self.line_refused('{"a":' * 100 + '1' + '}' * 100, TOO_DEEP, '32')
        brackets = {'text': '[' * 100}  # in a string they are no levels
        number = self.connection.call('job.submit', call='echo', args=brackets)['id']
        self.assertEqual(self.weftd.wait(number)['result'], brackets)

    def test_batches(self):
        self.line_refused('[]', INVALID_REQUEST, 'empty')
        ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
        self.line_refused('[' + ','.join([ping] * 1025) + ']', INVALID_REQUEST, '1025', '1024')
        replies = self.connection.exchange('[%s, 3, {"jsonrpc":"2.0","id":2,"method":"pong"}]'
                                           % ping)
        self.assertEqual(len(replies), 3)
        by_id = {reply['id']: reply for reply in replies}
        self.assertEqual(by_id[1]['result'], 'pong')
        self.assert_error(by_id[None], INVALID_REQUEST)
        self.assert_error(by_id[2], METHOD_NOT_FOUND, 'pong', nearest='ping')


class HalfALine(support.WeftdTest):
    """A line that is begun, and then nothing."""

    config = '[daemon]\npartial_line_timeout = 300ms\n'
    half = '{"jsonrpc":"2.0","id":1,"met'

    def test_silence_ends_that_connection_alone(self):
        with self.weftd.connect() as other, self.weftd.connect() as connection:
            self.assertEqual(connection.call('ping'), 'pong')
            connection.write(self.half)
            message = connection.read_message()
            self.assertIsNone(message['id'])
            self.assert_error(message, TIMEOUT, '300ms', 'not complete')
            self.assertTrue(connection.is_closed())
            self.assertEqual(other.call('ping'), 'pong')
            number = other.call('job.submit', call='echo', args={'well': 'again'})['id']
            self.assertEqual(other.call('job.wait', ids=[number])['jobs'][0]['result'],
                             {'well': 'again'})

    def test_a_hundred_of_them(self):
        connections = [self.weftd.connect() for _ in range(support.scaled(100, 20))]
        for connection in connections:
            connection.write(self.half)
        self.assertEqual(self.weftd.call('ping'), 'pong')
        for connection in connections:
            self.assert_error(connection.read_message(), TIMEOUT, 'not complete')
            self.assertTrue(connection.is_closed())
            connection.close()
        support.wait_until(lambda: self.weftd.stats()['server']['connections'] == 1,
                           'only our own connection is left')


class EndOfInput(support.WeftdTest):
    """A line that is begun, and the end: whenever that comes."""

    def test_it_completes_a_line(self):
        with self.weftd.connect() as connection:
            connection.write('{"jsonrpc":"2.0","id":1,"method":"ping"}')
            connection.half_close()
            self.assertEqual(connection.read_message(),
                             {'jsonrpc': '2.0', 'id': 1, 'result': 'pong'})
            self.assertTrue(connection.is_closed())
        with self.weftd.connect() as connection:
            connection.write(HalfALine.half)
            connection.half_close()
            self.assert_error(connection.read_message(), PARSE_ERROR, 'not valid JSON')
            self.assertTrue(connection.is_closed())


class Idle(support.WeftdTest):
    """A connection without a request, where that is limited."""

    config = '[daemon]\nidle_timeout = 300ms\n'

    def stop_weftd(self):
        self.weftd.send_signal(signal.SIGSTOP)
        os.waitpid(self.weftd.pid, os.WUNTRACED)  # each of its threads stands still

    def ask(self, method, **params):
        """A connection, and the id of its request, which is there before weftd looks: however long
        we take to send it, we were not idle."""
        self.stop_weftd()
        connection = self.weftd.connect()
        self.addCleanup(connection.close)
        number = connection.send(method, **params)
        self.weftd.send_signal(signal.SIGCONT)
        return connection, number

    def test_it_is_told_and_closed(self):
        connection, ping = self.ask('ping')
        self.assertEqual(connection.reply(ping), 'pong')
        self.assert_error(connection.read_message(), TIMEOUT, '300ms')
        self.assertTrue(connection.is_closed())

    def after_a_sleep(self, connect, send, reply):
        """The reply to a request that comes while weftd does not run, and its time ends."""
        told = True
        while told:  # before weftd was stopped
            self.stop_weftd()
            connection = connect()
            self.addCleanup(connection.socket.close)
            sent = send(connection)
            self.weftd.send_signal(signal.SIGCONT)
            reply(connection, sent)
            self.stop_weftd()
            told = select.select([connection.socket], [], [], 0.4)[0]
            if told:
                self.weftd.send_signal(signal.SIGCONT)
        sent = send(connection)
        self.weftd.send_signal(signal.SIGCONT)
        return reply(connection, sent)

    def test_a_line_that_came_while_weftd_did_not_run_is_no_silence(self):
        said = self.after_a_sleep(self.weftd.connect, lambda connection: connection.send('ping'),
                                  lambda connection, number: connection.reply(number))
        self.assertEqual(said, 'pong')

    def test_nor_is_a_request_of_http(self):
        said = self.after_a_sleep(lambda: HttpConnection(self.weftd.socket, support.DEADLINE),
                                  lambda connection: connection.send('GET', '/v1/jobs'),
                                  lambda connection, _: connection.reply())
        self.assertEqual(said.status, 200)

    def test_who_waits_for_an_answer_is_not_idle(self):
        go = self.weftd.path('go')
        connection, submit = self.ask('job.submit', argv=[
            '/bin/sh', '-c', 'until [ -e "$0" ]; do sleep 0.01; done', go])
        number = connection.reply(submit)['id']
        connection, wait = self.ask('job.wait', ids=[number])
        with self.weftd.connect() as idle:  # came later, and its time is over
            self.assert_error(idle.read_message(), TIMEOUT, '300ms')
        with open(go, 'w', encoding='utf-8'):
            pass
        self.assertEqual(connection.reply(wait)['jobs'][0]['state'], 'succeeded')


class Requests(WrongInput):
    """Requests that name what is not there."""

    def test_unknown_method(self):
        self.refused('job.sumbit', {}, METHOD_NOT_FOUND, "'job.sumbit'", nearest='job.submit')
        self.refused('no.such.thing.at.all', {}, METHOD_NOT_FOUND, "'no.such.thing.at.all'")
        self.refused('x' * 10_000, {}, METHOD_NOT_FOUND, 'xxx')

    def test_unknown_parameter(self):
        self.submit_refused({'argv': ['date'], 'piority': 1}, INVALID_PARAMS, 'piority',
                            param='piority', nearest='priority')
        self.refused('job.get', {'id': 1, 'verbose': True}, INVALID_PARAMS, 'verbose',
                     param='verbose')
        self.refused('ping', {'hard': True}, INVALID_PARAMS, 'hard', param='hard')
        self.refused('job.cancel', {'id': 1}, INVALID_PARAMS, 'id', param='id', nearest='ids')
        self.assertEqual(self.weftd.list(), [])

    def test_missing_parameter(self):
        self.refused('job.get', {}, INVALID_PARAMS, 'id', param='id')
        self.refused('job.wait', {'timeout': 1}, INVALID_PARAMS, 'ids', param='ids')
        self.submit_refused({}, INVALID_PARAMS, 'argv', 'call', param='argv')
        self.submit_refused({'argv': ['date'], 'call': 'echo'}, INVALID_PARAMS, 'argv', 'call')

    def test_wrong_type(self):
        for params, name in (
                ({'argv': 'date'}, 'argv'), ({'argv': [1]}, 'argv[0]'), ({'argv': {}}, 'argv'),
                ({'argv': ['date'], 'priority': 'high'}, 'priority'),
                ({'argv': ['date'], 'priority': 1.5}, 'priority'),
                ({'argv': ['date'], 'retries': -1}, 'retries'),
                ({'argv': ['date'], 'retries': 1001}, 'retries'),
                ({'argv': ['date'], 'delay': 'soon'}, 'delay'),
                ({'argv': ['date'], 'timeout': -1}, 'timeout'),
                ({'argv': ['date'], 'env': ['A=b']}, 'env'),
                ({'argv': ['date'], 'env': {'A': 1}}, 'env.A'),
                ({'argv': ['date'], 'env': {'A=B': 'c'}}, 'env'),
                ({'argv': ['date'], 'cwd': 'here'}, 'cwd'),
                ({'argv': ['date'], 'cwd': 7}, 'cwd'),
                ({'argv': ['date'], 'stdin': 7}, 'stdin'),
                ({'argv': ['date'], 'tags': 'a'}, 'tags'),
                ({'argv': ['date'], 'name': ''}, 'name'),
                ({'argv': ['date'], 'on_crash': 'explode'}, 'on_crash'),
                ({'argv': ['date'], 'args': {}}, 'args'),
                ({'call': 'echo', 'args': []}, 'args'),
                ({'call': 'echo', 'stdin': 'x'}, 'stdin'),
                ({'call': 7}, 'call')):
            with self.subTest(params):
                self.submit_refused(params, INVALID_PARAMS, name, param=name)
        for method, params, name in (
                ('job.get', {'id': '17'}, 'id'), ('job.get', {'id': 0}, 'id'),
                ('job.get', {'id': -1}, 'id'), ('job.get', {'id': 1 << 53}, 'id'),
                ('job.get', {'id': 1.0}, 'id'),
                ('job.cancel', {'ids': 1}, 'ids'), ('job.cancel', {'ids': []}, 'ids'),
                ('job.cancel', {'ids': [1, 'x']}, 'ids[1]'),
                ('job.wait', {'ids': [1], 'timeout': 'x'}, 'timeout'),
                ('job.list', {'state': 'runing'}, 'state'),
                ('job.list', {'limit': 0}, 'limit'), ('job.list', {'limit': 1001}, 'limit'),
                ('job.logs', {'id': 1, 'stream': 'stdlog'}, 'stream'),
                ('job.logs', {'id': 1, 'limit': '1M'}, 'limit'),
                ('job.logs', {'id': 1, 'offset': -1}, 'offset'),
                ('job.submit_many', {'jobs': {}}, 'jobs'),
                ('job.submit_many', {'jobs': []}, 'jobs'),
                ('job.submit_many', {'jobs': [], 'atomic': 1}, None)):
            with self.subTest((method, params)):
                self.refused(method, params, INVALID_PARAMS, name or '', param=name)
        self.assertEqual(self.weftd.list(), [], 'nothing of all this was accepted')

    def test_parameters_by_position(self):
        message = self.connection.exchange('{"jsonrpc":"2.0","id":1,"method":"job.get",'
                                           '"params":[17]}')
        self.assert_error(message, INVALID_PARAMS, 'object')

    def test_empty_argv(self):
        self.submit_refused({'argv': []}, INVALID_PARAMS, 'argv', param='argv')
        self.submit_refused({'argv': ['']}, INVALID_PARAMS, 'argv', 'empty', param='argv')

    def test_unknown_handler(self):
        self.submit_refused({'call': 'ehco'}, NO_SUCH_HANDLER, 'ehco', nearest='echo')
        self.submit_refused({'call': 'file.hsah'}, NO_SUCH_HANDLER, 'file.hsah',
                            nearest='file.hash')
        self.submit_refused({'call': 'make.coffee.now'}, NO_SUCH_HANDLER, 'make.coffee.now')

    def test_wrong_arguments_of_a_handler(self):
        self.submit_refused({'call': 'sleep'}, INVALID_PARAMS, 'seconds')
        self.submit_refused({'call': 'sleep', 'args': {'second': 1}}, INVALID_PARAMS, 'second')
        self.submit_refused({'call': 'file.hash', 'args': {'path': 'here'}}, INVALID_PARAMS,
                            'path', 'absolute')
        self.submit_refused({'call': 'file.hash', 'args': {'path': '/a', 'algorithm': 'crc'}},
                            INVALID_PARAMS, 'algorithm')
        self.submit_refused({'call': 'file.copy', 'args': {'from': '/a'}}, INVALID_PARAMS, 'to')

    def test_a_queue_that_does_not_exist(self):
        self.submit_refused({'argv': ['date'], 'queue': 'vidoe'}, NO_SUCH_QUEUE, 'vidoe',
                            nearest='video')
        self.submit_refused({'argv': ['date'], 'queue': 'kitchen'}, NO_SUCH_QUEUE, 'kitchen')
        self.refused('job.list', {'queue': 'vidoe'}, NO_SUCH_QUEUE, 'vidoe', nearest='video')

    def test_an_id_that_does_not_exist(self):
        known = self.connection.call('job.submit', argv=['true'])['id']
        absent = known + 1000
        for method, params in (('job.get', {'id': absent}), ('job.logs', {'id': absent}),
                               ('job.wait', {'ids': [known, absent]})):
            self.refused(method, params, NO_SUCH_JOB, str(absent))
        self.weftd.wait(known)
        results = self.connection.call('job.cancel', ids=[absent, known])['results']
        self.assertEqual(results[1], {'id': known, 'state': 'succeeded'})
        self.assertEqual(results[0]['id'], absent)
        self.assert_error(results[0], NO_SUCH_JOB, str(absent))


class Many(WrongInput):
    """submit_many with bad jobs among good ones."""

    jobs = [{'call': 'echo', 'args': {'n': 0}}, {'argv': []}, {'call': 'echo', 'args': {'n': 2}},
            {'call': 'ehco'}, {'argv': ['true'], 'queue': 'none'}, 7]

    def test_each_is_answered_in_its_place(self):
        results = self.connection.call('job.submit_many', jobs=self.jobs)['results']
        self.assertEqual(len(results), len(self.jobs))
        self.assert_error(results[1], INVALID_PARAMS, param='argv')
        self.assert_error(results[3], NO_SUCH_HANDLER, 'ehco', nearest='echo')
        self.assert_error(results[4], NO_SUCH_QUEUE, 'none')
        self.assert_error(results[5], INVALID_PARAMS)
        for at in (0, 2):
            self.assertEqual(self.weftd.wait(results[at]['id'])['result'], {'n': at})
        self.assertEqual(len(self.weftd.list()), 2)

    def test_atomic_is_all_or_none(self):
        self.refused('job.submit_many', {'jobs': self.jobs, 'atomic': True}, INVALID_PARAMS,
                     'jobs[1]', param='jobs[1]')
        self.refused('job.submit_many', {'jobs': [self.jobs[0], self.jobs[4]], 'atomic': True},
                     NO_SUCH_QUEUE, 'jobs[1]', 'none', param='jobs[1]')
        self.assertEqual(self.weftd.list(), [])
        good = self.connection.call('job.submit_many', jobs=[self.jobs[0], self.jobs[2]],
                                    atomic=True)['results']
        self.assertEqual([job['result']['n'] for job in
                          self.weftd.wait_all([one['id'] for one in good])], [0, 2])


class Programs(WrongInput):
    """What can only be found when the program is started: the job fails, and says why."""

    def failed(self, *words, **params):
        number = self.connection.call('job.submit', **params)['id']
        job = self.weftd.wait(number)
        self.assertEqual(job['state'], 'failed', job)
        for word in words:
            self.assertIn(word, job['error'])
        self.assertNotIn('exit_code', job)
        self.assertNotIn('signal', job)
        self.assertEqual(self.connection.call('job.logs', id=number),
                         {'data': '', 'encoding': 'utf-8', 'next': 0, 'eof': True})
        return job

    def test_program_not_found(self):
        self.failed('program not found', 'no-such-program', argv=['no-such-program'])
        self.failed('program not found', '/no/such/program', argv=['/no/such/program', 'x'])

    def test_program_that_cannot_be_executed(self):
        path = self.weftd.path('plain')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('no program\n')
        self.failed(path, 'Permission denied', argv=[path])
        self.failed('/tmp', 'Permission denied', argv=['/tmp'])

    def test_cwd_missing(self):
        self.failed('/no/such/folder', 'No such file', argv=['true'], cwd='/no/such/folder')
        self.failed('/etc/passwd', 'Not a directory', argv=['true'], cwd='/etc/passwd')

    def test_interpreter_missing(self):
        path = self.weftd.path('script')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('#!/no/such/interpreter\n')
        os.chmod(path, 0o755)
        self.failed('script', argv=[path])

    def test_files_of_handlers(self):
        for call, args, words in (
                ('file.hash', {'path': '/no/such/file'}, ('/no/such/file', 'No such file')),
                ('file.hash', {'path': '/tmp'}, ('/tmp', 'directory')),
                ('file.copy', {'from': '/no/such/file', 'to': self.weftd.path('copy')},
                 ('/no/such/file', 'No such file')),
                ('file.copy', {'from': '/etc/passwd', 'to': '/no/such/folder/copy'},
                 ('/no/such/folder/copy', 'No such file'))):
            with self.subTest(args):
                self.failed(*words, call=call, args=args)


class Command(support.WeftdTest):
    """The same mistakes through the weft command: a sentence, and a status that is not 0."""

    def refused(self, *arguments, status=1, words=()):
        result = self.weftd.weft(*arguments)
        self.assertEqual((result.returncode, result.stdout), (status, ''), result)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_errors_reach_the_user(self):
        self.refused('show', 4711, words=['4711'])
        self.refused('call', 'ehco', words=['ehco', 'echo'])
        self.refused('submit', '--queue', 'none', '--', 'date', words=['none'])
        self.refused('sumbit', status=2, words=['sumbit', 'submit'])
        number = self.weftd.weft('submit', '--', '/no/such/program')
        self.assertEqual(number.returncode, 0)
        waited = self.weftd.weft('wait', number.stdout.strip())
        self.assertEqual(waited.returncode, 1)
        self.assertIn('/no/such/program', waited.stderr)
        json.loads(self.weftd.weft('show', '--json', number.stdout.strip()).stdout)

    def test_an_option_of_another_action_changes_nothing(self):
        self.weftd.call('queue.pause', all=True)
        job = self.weftd.echo()
        self.refused('queue', 'purge', 'default', '--all', status=2, words=['--all', 'purge'])
        self.refused('queue', 'resume', '--freeze', status=2, words=['--freeze', 'resume'])
        self.assertEqual(self.weftd.state_of(job), 'queued')

    def test_a_file_is_no_socket(self):
        self.refused('ping', '--socket', self.weftd.config_file, status=3, words=['not a socket'])


if __name__ == '__main__':
    support.main()
