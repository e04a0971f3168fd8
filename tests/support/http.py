# SPDX-License-Identifier: MIT
"""HTTP on weftd's sockets, as it goes over the wire: bytes out, a parsed reply in.

A reply that is not whole is an AssertionError, a connection that ends where a reply should begin is
Disconnected.
"""

import json
import socket

from connection import Disconnected


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'{self.status} {self.headers} {self.body[:300]}'


class HttpConnection:
    """One connection.  Requests may be pipelined: send() as often as you like, then reply()."""

    def __init__(self, address, deadline):
        """address: the path of a Unix socket, or (host, port)."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(deadline)
        self.buffer = b''
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # -- out

    def write(self, data):
        self.socket.sendall(data)

    @staticmethod
    def text(method, path, body=None, headers=()):
        host = [] if any(line.lower().startswith('host:') for line in headers) else ['Host: weft']
        lines = [f'{method} {path} HTTP/1.1', *host, *headers]
        data = b'' if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            lines.append(f'Content-Length: {len(data)}')
        return '\r\n'.join(lines).encode() + b'\r\n\r\n' + data

    def send(self, *arguments, **options):
        self.write(self.text(*arguments, **options))

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    # -- in

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError as error:
            raise Disconnected(str(error)) from error
        if not data:
            raise Disconnected(f'the end, after {self.buffer[:300]}')
        self.buffer += data

    def _take(self, size):
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _line(self):
        while b'\r\n' not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b'\r\n')
        return line.decode('latin-1')

    def head(self):
        """Status and headers; the body is left to come."""
        version, status, _ = self._line().split(' ', 2)
        assert version == 'HTTP/1.1', version
        headers = {}
        while line := self._line():
            name, _, value = line.partition(':')
            headers[name.lower()] = value.strip()
        return int(status), headers

    def chunk(self):
        """The next chunk of a body that comes in chunks; b'' is the end."""
        size = int(self._line(), 16)
        data = self._take(size)
        assert self._line() == ''
        return data

    def body(self, headers):
        if headers.get('transfer-encoding') != 'chunked':
            return self._take(int(headers.get('content-length', 0)))
        data = b''
        while piece := self.chunk():
            data += piece
        return data

    def reply(self, is_head=False):
        status, headers = self.head()
        empty = is_head or status in (100, 204)
        return Reply(status, headers, b'' if empty else self.body(headers))

    def call(self, method, *arguments, **options):
        self.send(method, *arguments, **options)
        return self.reply(is_head=method == 'HEAD')

    def is_closed(self):
        """True if weftd closes the connection, and sends nothing more before."""
        try:
            self._more()
        except Disconnected:
            return not self.buffer
        return False
