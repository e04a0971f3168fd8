# SPDX-License-Identifier: MIT
"""A client of weftd's protocol: calls, pipelines, and lines that are no requests at all.

I1  No call waits longer than the connection's deadline.
I2  A connection that ends is Disconnected, an error reply is RpcError; a test tells them apart.
"""

import json
import select
import socket


class RpcError(Exception):
    """An error reply."""

    def __init__(self, error):
        super().__init__(f'{error.get("code")} {error.get("message")} {error.get("data")}')
        self.code = error['code']
        self.message = error['message']
        self.data = error.get('data', {})
        self.name = self.data.get('name')
        self.param = self.data.get('param')
        self.nearest = self.data.get('nearest')


class Disconnected(Exception):
    """weftd closed the connection, or is gone."""


class Connection:
    """One connection.  Replies are found by their id, in whatever order they come."""

    def __init__(self, path, deadline):
        self.deadline = deadline
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(deadline)
        self.buffer = bytearray()
        self.searched = 0  # so much of the buffer holds no newline
        self.early = {}    # replies that nobody has asked for yet, by id
        self.last_id = 0
        try:
            self.socket.connect(path)
        except OSError as error:
            self.socket.close()
            raise Disconnected(str(error)) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    # -- bytes and lines

    def write(self, data):
        try:
            self.socket.sendall(data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise Disconnected(str(error)) from error

    def _receive(self):
        try:
            data = self.socket.recv(1 << 20)
        except TimeoutError:
            raise AssertionError(f'no reply for {self.deadline} s') from None
        except OSError as error:
            raise Disconnected(str(error)) from error
        if not data:
            raise Disconnected('end of stream')
        self.buffer += data

    def _take_line(self):
        end = self.buffer.find(b'\n', self.searched)
        if end < 0:
            self.searched = len(self.buffer)
            return None
        line = bytes(self.buffer[:end])
        del self.buffer[:end + 1]
        self.searched = 0
        return line

    def read_line(self):
        while True:
            line = self._take_line()
            if line is not None:
                return line
            self._receive()

    def read_message(self):
        return json.loads(self.read_line())

    def is_closed(self):
        """True if weftd closes the connection, and sends nothing more before."""
        try:
            self._receive()
        except Disconnected:
            return not self.buffer
        return False

    # -- requests

    def request(self, method, params):
        self.last_id += 1
        message = {'jsonrpc': '2.0', 'id': self.last_id, 'method': method}
        if params is not None:
            message['params'] = params
        return json.dumps(message, separators=(',', ':')) + '\n'

    def send(self, method, /, **params):
        """Sends a request without waiting; returns its id."""
        self.write(self.request(method, params))
        return self.last_id

    def reply(self, number):
        """The reply to that request: its result, or RpcError."""
        while number not in self.early:
            message = self.read_message()
            self.early[message['id']] = message
        return result_of(self.early.pop(number))

    def call(self, method, /, **params):
        return self.reply(self.send(method, **params))

    def exchange(self, line):
        """Sends one line as it is, and returns the message that comes back."""
        self.write(line + ('\n' if isinstance(line, str) else b'\n'))
        return self.read_message()

    def pipeline(self, requests):
        """Sends all of [(method, params), ...] while it reads; returns the messages in order."""
        data = memoryview(''.join(self.request(*one) for one in requests).encode())
        first = self.last_id - len(requests) + 1
        wanted = set(range(first, self.last_id + 1))
        self.socket.setblocking(False)
        try:
            while wanted:
                readable, writable, _ = select.select(
                    [self.socket], [self.socket] if data else [], [], self.deadline)
                if not readable and not writable:
                    raise AssertionError(f'{len(wanted)} replies are missing')
                if writable:
                    data = data[self.socket.send(data[:1 << 18]):]
                if readable:
                    self._receive()
                self._sort_replies(wanted)
        except OSError as error:
            raise Disconnected(str(error)) from error
        finally:
            self.socket.settimeout(self.deadline)
        return [self.early.pop(number) for number in range(first, self.last_id + 1)]

    def _sort_replies(self, wanted):
        while (line := self._take_line()) is not None:
            message = json.loads(line)
            if message['id'] not in wanted:
                raise AssertionError(f'a reply that nobody waits for: {line[:200]}')
            wanted.remove(message['id'])
            self.early[message['id']] = message


def result_of(message):
    if 'error' in message:
        raise RpcError(message['error'])
    return message['result']
