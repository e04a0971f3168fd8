#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client of weftd in one file: Python 3.11 and its standard library.  Copy it into your project.

    with Weft() as weft:
        job = weft.submit(argv=['ffmpeg', '-i', 'in.mov', 'out.mp4'], retries=2)
        print(weft.wait(job)[0]['state'])

What every call has in common:

- An error that weftd answers is a WeftError, with its code, message and data (docs/protocol.md).
- A connection that ends is a ConnectionLost.  Nothing is ever sent a second time by itself: if the
  reply to a submit was lost, the job may be there or not, and only you know whether a second one
  would hurt.  maybe_done says which it is.  The next call connects anew.
- A Weft is for one thread at a time; give each thread its own.  weftd does not mind.
- Calls wait as long as weftd takes.  wait() has a timeout of its own.
"""

import base64
import json
import os
import select
import socket
import sys
import warnings

PIECE = 256 << 10  # bytes of a line of submit_many; weftd takes 1 MiB unless it is told otherwise


class WeftError(Exception):
    """What weftd answered instead of a result."""

    def __init__(self, error):
        super().__init__(error['message'])
        self.code = error['code']  # -32001
        self.message = error['message']  # a sentence for people
        self.data = error.get('data', {})  # {'name': 'no_such_job'}, for programs

    @property
    def name(self):
        return self.data.get('name')


class ConnectionLost(Exception):
    """weftd is not there, or went away.

    maybe_done  False: weftd has seen nothing of it.  True: some request was sent and not answered,
                so nobody here knows whether it was carried out.
    results     of pipeline() and submit_many(): what was answered, in order, None where nothing was.
    """

    def __init__(self, reason, maybe_done, results=()):
        super().__init__(reason)
        self.maybe_done = maybe_done
        self.results = list(results)


def socket_paths():
    """Where `weft` looks for weftd.  A path that somebody named is the only one tried."""
    named = os.environ.get('WEFT_SOCKET')
    if named:
        return [named]
    runtime = os.environ.get('XDG_RUNTIME_DIR')
    if runtime:
        folders = [runtime]
    else:  # where a weftd without XDG_RUNTIME_DIR puts it
        folders = [f'/run/user/{os.geteuid()}']
        state, home = os.environ.get('XDG_STATE_HOME'), os.environ.get('HOME')
        if state or home:
            folders.append(state or os.path.join(home, '.local/state'))
    return [os.path.join(folder, 'weft/weft.sock') for folder in folders] + ['/run/weft/weft.sock']


class Weft:
    """A connection to weftd, made when it is first needed."""

    def __init__(self, socket_path=None):
        self.paths = [socket_path] if socket_path else socket_paths()
        self.last_id = 0
        self._socket = None
        self._received = bytearray()  # of a line that is not complete
        self._passed = None  # the file that came with the beginning of that line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """A later call connects anew."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._received.clear()
        if self._passed:
            self._passed.close()
        self._passed = None

    # ---- any method

    def call(self, method, /, **params):
        """One request; returns its result or raises WeftError."""
        result = self.pipeline([(method, params)])[0]
        if isinstance(result, WeftError):
            raise result
        return result

    def pipeline(self, requests):
        """Many requests [(method, params), ...] at once, without waiting for one after the other.

        Returns their results in order; a request that failed has its WeftError there.
        """
        if not requests:
            return []
        self._connect()
        first = self.last_id + 1
        self.last_id += len(requests)
        lines = [json.dumps({'jsonrpc': '2.0', 'id': first + at, 'method': method,
                             'params': params}).encode() + b'\n'
                 for at, (method, params) in enumerate(requests)]
        return self._exchange(b''.join(lines), first, [None] * len(lines))

    # ---- jobs

    def submit(self, argv=None, call=None, **options):
        """A program (argv) or a handler (call, args); returns the id.  It is on disk by then."""
        what = {'argv': argv, 'call': call}
        return self.call('job.submit', **{name: value for name, value in what.items()
                                          if value is not None}, **options)['id']

    def submit_many(self, jobs, atomic=False):
        """Many jobs, each the parameters of a submit; returns ids in order.

        A job that was refused has its WeftError there.  With atomic either all are accepted or none
        (then it raises); they must fit in one line.
        """
        pieces = [jobs] if atomic else list(_pieces(jobs))
        requests = [('job.submit_many', {'jobs': piece, 'atomic': atomic}) for piece in pieces]
        try:
            answers = self.pipeline(requests)
        except ConnectionLost as lost:
            known = _flatten(pieces, lost.results) if lost.results else [None] * len(jobs)
            raise ConnectionLost(str(lost), lost.maybe_done, known) from lost
        if atomic and isinstance(answers[0], WeftError):
            raise answers[0]
        return _flatten(pieces, answers)

    def get(self, number):
        return self.call('job.get', id=number)

    def wait(self, *ids, timeout=None):
        """The jobs, in order, once all have ended.  WeftError 'timeout' leaves them alone."""
        limit = {} if timeout is None else {'timeout': timeout}
        return self.call('job.wait', ids=list(ids), **limit)['jobs']

    def list(self, **filters):
        """Yields jobs, the newest first; asks for the next page when it gets there.

        state='running' or ['failed', 'dead'], queue='mail', limit=100 (of a page).
        """
        page = {'next': filters.pop('before', None)}
        while True:
            page = self.call('job.list', before=page['next'], **filters)
            yield from page['jobs']
            if page['next'] is None:
                return

    def cancel(self, *ids):
        """Ends jobs and all their processes; returns for each its end state or a WeftError."""
        return [WeftError(one['error']) if 'error' in one else one['state']
                for one in self.call('job.cancel', ids=list(ids))['results']]

    def logs(self, number, stream='stdout', look_again=0.2):
        """Yields pieces of the last attempt's output, as bytes, until the job has ended.

        Where there is nothing new it waits for the job's end, and looks again after so many seconds.
        What is not kept (exec.output_max) is left out, with a warning that says how much.
        """
        offset = 0
        while True:
            piece = self.call('job.logs', id=number, stream=stream, offset=offset)
            data, offset = piece['data'], piece['next']
            missing = piece.get('gap', 0) + (piece.get('dropped', 0) if piece['eof'] else 0)
            if missing:
                warnings.warn(f'job {number}: {missing} bytes of {stream} were not kept')
            if data:
                yield base64.b64decode(data) if piece['encoding'] == 'base64' else data.encode()
            if piece['eof']:
                return
            if not data:
                self._await_end(number, look_again)

    def output(self, number, stream='stdout', offset=0):
        """The file that holds offset, open for reading, and what job.output says of it.

        Returns (file, answer); file is None where there is nothing (yet), and also if no descriptor
        can come through: then answer['descriptor'] is true, and logs() does.  docs/protocol.md,
        job.output, says how to follow.  Close the file.
        """
        answer = self.call('job.output', id=number, stream=stream, offset=offset)
        return answer.pop('file', None), answer

    def _await_end(self, number, seconds):
        try:
            self.wait(number, timeout=seconds)
        except WeftError as error:
            if error.name != 'timeout':
                raise

    # ---- the connection

    def _connect(self):
        if self._socket is not None:
            return
        reasons = []
        for path in self.paths:
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                end.connect(path)
            except OSError as error:
                end.close()
                reasons.append(f'{path}: {error.strerror or error}')
                continue
            end.setblocking(False)
            self._socket = end
            return
        raise ConnectionLost('no weftd answers at ' + ', '.join(reasons), maybe_done=False)

    def _exchange(self, data, first, results):
        """Sends and reads at the same time: weftd takes no more while its replies are not read."""
        unsent, unanswered = memoryview(data), len(results)
        try:
            while unanswered:
                readable, writable, _ = select.select(
                    [self._socket], [self._socket] if unsent else [], [])
                if readable:  # first: what weftd said before it went away still counts
                    unanswered -= self._read_replies(first, results)
                if writable:
                    unsent = unsent[self._send(unsent[:PIECE]):]
        except OSError as error:
            self.close()
            maybe_done = len(unsent) < len(data)
            raise ConnectionLost(f'the connection to weftd was lost: {error}', maybe_done,
                                 results) from error
        except BaseException:  # Ctrl-C: replies under way would be taken for those to later requests
            self.close()
            raise
        return results

    def _send(self, data):
        try:
            return self._socket.send(data)
        except BlockingIOError:  # the room that select() saw was not enough
            return 0

    def _read_replies(self, first, results):
        """Puts the replies that came whole into results; returns how many."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 18, 1)
        if not data:
            raise ConnectionResetError('weftd closed it')
        *lines, rest = data.split(b'\n')
        files = [self._passed] + [None] * len(lines)  # of each line, and of the rest
        for descriptor in descriptors:  # of the last line, whole or begun
            files[-1 if rest else -2] = os.fdopen(descriptor, 'rb')
        self._passed = files.pop()
        if lines:
            lines[0] = bytes(self._received) + lines[0]
            self._received.clear()
        self._received += rest
        for line, file in zip(lines, files):
            reply = json.loads(line)
            if file:
                reply['result']['file'] = file
            if reply['id'] is None:  # no answer to a request: why weftd is about to close
                raise ConnectionAbortedError(reply['error']['message'])
            error = reply.get('error')
            results[reply['id'] - first] = WeftError(error) if error else reply['result']
        return len(lines)


def _pieces(jobs):
    """Cuts a list of jobs so that each piece fits in a line."""
    piece, size = [], 0
    for job in jobs:
        more = len(json.dumps(job)) + 2
        if piece and size + more > PIECE:
            yield piece
            piece, size = [], 0
        piece.append(job)
        size += more
    if piece:
        yield piece


def _flatten(pieces, answers):
    """The answers to pieces as one list, an entry for each job."""
    flat = []
    for piece, answer in zip(pieces, answers):
        if isinstance(answer, dict):
            flat += [WeftError(one['error']) if 'error' in one else one['id']
                     for one in answer['results']]
        else:  # the error of the whole line, or None
            flat += [answer] * len(piece)
    return flat


def demo():
    with Weft() as weft:
        job = weft.submit(argv=['sh', '-c', 'for n in 1 2 3; do echo "line $n"; done'])
        print('submitted', job)
        for piece in weft.logs(job):
            print(piece.decode(), end='')
        print('ended as', weft.wait(job)[0]['state'])
        ids = weft.submit_many([{'call': 'echo', 'args': {'n': n}} for n in range(1000)])
        print('sum of 1000 echoes:', sum(one['result']['n'] for one in weft.wait(*ids)))
        try:
            weft.submit(call='ecko')
        except WeftError as error:
            print(f'{error.name}: {error}')


USAGE = '''usage: weft_client.py [--help]

Shows what the module does: submits a program and 1,000 calls of `echo` to the weftd that WEFT_SOCKET
names, or else to the user's or the system's, and waits for them.  To use it, import it.
'''


def main(words):
    if words in (['--help'], ['-h']):
        print(USAGE, end='')
    elif words:
        print(f'weft_client.py: unknown word {words[0]!r}\n\n{USAGE}', end='', file=sys.stderr)
        sys.exit(2)
    else:
        demo()


if __name__ == '__main__':
    main(sys.argv[1:])
