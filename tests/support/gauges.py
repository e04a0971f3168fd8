# SPDX-License-Identifier: MIT
"""What a weftd uses, read from outside (/proc) and from daemon.stats, over a long time.

  read()   everything at one moment, by name
  Gauges   many of these: first, last, least and most of each, as a table

What is read while nothing happens is comparable; what is read under load says how far it went.
"""

import collections
import os
import re
import time

from support.weftd import processes

# Threads that come and go with the work: blocking calls, stand-ins of stuck workers, jemalloc's, and
# the kernel's own for io_uring.
ELASTIC = ('weft-offload', 'weft-files', 'weft-spare', 'jemalloc_bg_thd', 'iou-wrk-')

NAMES = ('used', 'cached', 'active', 'anonymous', 'pss', 'rss', 'descriptors', 'rings', 'threads', 'elastic',
         'fibers', 'stacks', 'mappings', 'children', 'connections', 'subscribers', 'live jobs',
         'kept jobs', 'events kept', 'database', 'log', 'output files', 'output bytes', 'ping us')
BYTES = ('used', 'cached', 'active', 'anonymous', 'pss', 'rss', 'database', 'log', 'output bytes')
HEAP = ('used', 'anonymous')  # what an allocator of another kind makes incomparable
LIVE = ('waiting', 'delayed', 'queued', 'running')


def _text(path):
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read()
    except OSError:  # it has just gone
        return ''


def threads(pid):
    """{name: how many} of a process."""
    folder = f'/proc/{pid}/task'
    return collections.Counter(
        _text(f'{folder}/{number}/comm').strip() for number in os.listdir(folder))


def descriptors(pid):
    """{what it is: how many}, numbers left out."""
    counts = collections.Counter()
    for number in os.listdir(f'/proc/{pid}/fd'):
        try:
            target = os.readlink(f'/proc/{pid}/fd/{number}')
        except OSError:
            continue
        counts[re.sub(r':\[\d+\]', '', target)] += 1
    return counts


def details(pid):
    return threads(pid) + descriptors(pid)


def children(pid):
    return sum(1 for _, _, parent in processes() if parent == pid)


def cpu_seconds(pid):
    """Of weftd and the children that it has waited for."""
    fields = _text(f'/proc/{pid}/stat').rpartition(')')[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf('SC_CLK_TCK')


def _rollup(pid):
    found = dict(re.findall(r'^(\w+): +(\d+) kB$', _text(f'/proc/{pid}/smaps_rollup'), re.M))
    return {name: int(found.get(key, 0)) << 10
            for name, key in (('anonymous', 'Anonymous'), ('pss', 'Pss'), ('rss', 'Rss'))}


def _state_folder(folder):
    def size(name):
        try:
            return os.stat(os.path.join(folder, name)).st_size
        except FileNotFoundError:
            return 0

    files = total = 0
    for path, _, names in os.walk(os.path.join(folder, 'output')):
        files += len(names)
        total += sum(size(os.path.join(path, name)) for name in names)
    return {'database': size('weft.db'), 'log': size('weft.db-wal'), 'output files': files,
            'output bytes': total}


def read(weftd):
    """{name: figure}, and the names of NAMES alone."""
    began = time.monotonic()
    weftd.call('ping')
    ping = time.monotonic() - began
    stats = weftd.stats()
    memory = stats['memory']
    named = threads(weftd.pid)
    open_files = descriptors(weftd.pid)
    rings = open_files.pop('anon_inode:[io_uring]', 0)  # each worker makes one when it needs it
    elastic = sum(count for name, count in named.items() if name.startswith(ELASTIC))
    figures = {
        'ping us': int(ping * 1e6), 'elastic': elastic,
        'threads': sum(named.values()) - elastic,
        'descriptors': sum(open_files.values()), 'rings': rings, 'children': children(weftd.pid),
        'mappings': _text(f'/proc/{weftd.pid}/maps').count('\n'),
        'fibers': stats['runtime']['fibers'], 'stacks': stats['runtime']['stacks'],
        'connections': stats['server']['connections'],
        'subscribers': stats['events']['subscribers'], 'events kept': stats['events']['kept'],
        'live jobs': sum(stats['jobs'][state] for state in LIVE),
        'kept jobs': stats['totals']['kept'],
        'used': memory.get('allocated', 0) - memory.get('cached', 0),
        'cached': memory.get('cached', 0), 'active': memory.get('active', 0),
        **_rollup(weftd.pid), **_state_folder(weftd.state)}
    return {name: figures[name] for name in NAMES}


def shown(name, figure):
    return f'{figure / 1024:,.0f} K' if name in BYTES else f'{figure:,.0f}'


class Gauges:
    """Readings under load, and those at quiet moments: `quiet`, oldest first."""

    def __init__(self):
        self.least, self.most = {}, {}
        self.quiet = []

    def add(self, reading):
        for name, figure in reading.items():
            self.least[name] = min(self.least.get(name, figure), figure)
            self.most[name] = max(self.most.get(name, figure), figure)

    def add_quiet(self, reading):
        self.add(reading)
        self.quiet.append(reading)

    def of(self, name):
        """The figure at each quiet moment."""
        return [reading[name] for reading in self.quiet]

    def table(self):
        """Start and end are quiet moments; least and most are of all readings."""
        lines = [f'{"":14}{"start":>12}{"end":>12}{"least":>12}{"most":>12}']
        for name in NAMES:
            row = (self.quiet[0][name], self.quiet[-1][name], self.least[name], self.most[name])
            lines.append(f'{name:14}' + ''.join(f'{shown(name, one):>12}' for one in row))
        return '\n'.join(lines)
