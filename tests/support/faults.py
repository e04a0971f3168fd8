# SPDX-License-Identifier: MIT
"""The layer of faults (faults.h) from outside: a program that is started with it, and its page.

  Faults(path)     makes the page; its env starts a program that attaches to it
  arm, disarm      from then on, the first..first+count-1 call of a kind fails; how many did
  where()          the functions that led to the first failure, innermost first
  asked_for()      what a script of sweeps is to sweep, by its command line
"""

import functools
import mmap
import os
import shutil
import struct
import subprocess
import sys

from support.weftd import BUILD

LIBRARY = os.path.join(BUILD, 'tests', 'faults.so')
SIZE = 16384
PID, KIND, FIRST, COUNT, CALLS, INJECTED, BLOCKS, SAID, FORK_ASKED = range(9)
SEEN = 9
NAMES = 8 * (SEEN + 32)
TEXT = NAMES + 512


def asked_for(kinds, names):
    """(kinds, names) of KIND [NAME...], or None: the short form.  Ends where there is no layer, or no
    such name."""
    if not os.access(LIBRARY, os.R_OK):
        print(f'{LIBRARY} is not there: ./dev faults builds it, and no sanitizer goes with it')
        sys.exit(77)
    words = sys.argv[1:]
    if not words or words[0] not in (*kinds, 'all'):
        return None
    for name in words[1:]:
        if name not in names:
            sys.exit(f"'{name}' is none of {' '.join(names)}")
    return kinds if words[0] == 'all' else words[:1], words[1:] or list(names)


@functools.lru_cache(None)
def find_object(name):
    """Where an object of a backtrace lies."""
    if os.path.isabs(name):
        return name
    for folder in ('/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu'):
        if os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return shutil.which(name) or name


class Faults:
    """The page of one program, before, during and after its life."""

    def __init__(self, path):
        self.path = path
        with open(path, 'wb') as file:
            file.truncate(SIZE)
        with open(path, 'r+b') as file:
            self.page = mmap.mmap(file.fileno(), SIZE)
        self.kinds = []

    def env(self, library=LIBRARY):
        return {'WEFT_FAULTS': self.path, 'LD_PRELOAD': library}

    def word(self, index):
        return struct.unpack_from('<q', self.page, 8 * index)[0]

    def set(self, index, value):
        struct.pack_into('<q', self.page, 8 * index, value)

    def detach(self):
        """The program is gone: the next one may have the page."""
        self.set(KIND, 0)
        self.set(PID, 0)

    def expect_fork(self, wanted):
        """Before the program starts: whether `fork` may be armed."""
        self.set(FORK_ASKED, int(wanted))

    def number(self, kind):
        if not self.page[NAMES]:  # the program has not started: another one tells them
            subprocess.run(['/bin/true'], env=self.env(), check=True)
            self.detach()
        if not self.kinds:
            self.kinds = self.page[NAMES:TEXT].split(b'\0')[0].decode().split()
        return self.kinds.index(kind) + 1

    def arm(self, kind, first, count=1):
        number = self.number(kind)
        for index in (CALLS, INJECTED, SAID):
            self.set(index, 0)
        self.page[TEXT:TEXT + 1] = b'\0'
        self.set(FIRST, first)
        self.set(COUNT, count)
        self.set(KIND, number)

    def disarm(self):
        self.set(KIND, 0)
        return self.word(INJECTED)

    @property
    def calls(self):
        return self.word(CALLS)

    @property
    def blocks(self):
        return self.word(BLOCKS)

    def seen(self, kind):
        return self.word(SEEN + self.number(kind))

    def raw(self):
        return self.page[TEXT:SIZE].split(b'\0')[0].decode(errors='replace').split('\n')[:-1]

    def where(self, objects=(), frames=14):
        """Innermost first; objects: paths of what lies in a build folder."""
        paths = {os.path.basename(path): path for path in objects}
        lines = []
        for frame in self.raw()[:frames]:
            name, _, offset = frame.rpartition('+')
            lines.append(symbol(paths.get(name) or find_object(name), offset))
        return lines


@functools.lru_cache(None)
def symbol(path, offset):
    """FUNCTION FILE:LINE, or OBJECT+OFFSET."""
    at = hex(int(offset, 16) - 1)  # a return address is that of the next line
    done = subprocess.run(['addr2line', '-fpse', path, at], capture_output=True, text=True,
                          check=False)
    text = done.stdout.strip()
    if not text or text.startswith('??'):
        return f'{os.path.basename(path)}+{offset}'
    return text.replace(os.path.dirname(BUILD.rstrip('/')).rpartition('/build')[0] + '/', '')
