#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `cmake --install` puts into a prefix serves somebody else's project (consumer/): found by
find_package and by pkg-config, linked with the shared and with the static libraries, and run."""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

CONSUMER = os.path.join(support.SOURCE, 'tests', 'integration', 'consumer')
GREETER = os.path.join(support.SOURCE, 'examples', 'module', 'greeter.c')
SHARED = ['weft', 'weft-tls', 'weft-dns', 'weft-http', 'weftclient']


def output_of(*argv, **environment):
    """What a command prints; it must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=support.DEADLINE, check=False,
                          env={**os.environ, **environment})
    assert done.returncode == 0, f'{argv}: {done.returncode}\n{done.stdout}{done.stderr}'
    return done.stdout


def needed(path):
    """The shared objects that a program or library asks for."""
    return re.findall(r'NEEDED.*\[(.*)\]', output_of('readelf', '-d', path))


class Prefix(support.WeftdTest):
    """One installation, of which each test takes what it needs."""

    @classmethod
    def setUpClass(cls):
        cls.folder = support.cleanup.folder('weft-install-')
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = os.path.join(cls.folder, 'usr')
        for component in ('libraries', 'programs'):
            output_of('cmake', '--install', support.BUILD, '--prefix', cls.prefix,
                      '--component', component)
        package = output_of('find', cls.prefix, '-name', 'weft.pc').strip()
        cls.library = os.path.dirname(os.path.dirname(package))

    def path(self, *names):
        return os.path.join(self.prefix, *names)

    def so(self, name):
        return os.path.join(self.library, f'lib{name}.so')

    def run_consumer(self, program, **environment):
        return output_of(program, WEFT_SOCKET=self.weftd.socket, **environment)

    def check_consumers(self, where, kind, **environment):
        """The three programs in a folder do what they are for, and know libweft as they should."""
        self.assertEqual(self.run_consumer(os.path.join(where, f'program{kind}'), **environment),
                         'weft 100\n')
        self.assertEqual(self.run_consumer(os.path.join(where, f'components{kind}'), **environment),
                         '1 address\n')
        self.assertIn('"state":"succeeded"',
                      self.run_consumer(os.path.join(where, f'submit{kind}'), **environment))
        for name in ('program', 'components', 'submit'):
            of_weft = [so for so in needed(os.path.join(where, name + kind)) if 'libweft' in so]
            self.assertEqual(bool(of_weft), kind == '', of_weft)
            for so in of_weft:
                self.assertRegex(so, r'\.so\.0\.1$')

    def test_find_package(self):
        where = os.path.join(self.folder, 'by-cmake')
        output_of('cmake', '-G', 'Ninja', '-S', CONSUMER, '-B', where, f'-DGREETER={GREETER}',
                  f'-DCMAKE_PREFIX_PATH={self.prefix}')
        output_of('cmake', '--build', where)
        self.check_consumers(where, '')
        self.check_consumers(where, '_static')
        self.assertFalse([so for so in needed(os.path.join(where, 'libgreeter.so')) if 'weft' in so])

    def test_pkg_config(self):
        where = os.path.join(self.folder, 'by-pkg-config')
        os.mkdir(where)
        found = {'PKG_CONFIG_PATH': os.path.join(self.library, 'pkgconfig')}
        packages = {'program': ['weft'], 'submit': ['weftclient'],
                    'components': ['weft-tls', 'weft-dns', 'weft-http']}
        for name, wanted in packages.items():
            source = os.path.join(CONSUMER, f'{name}.c')
            cflags = output_of('pkg-config', '--cflags', *wanted, **found).split()
            shared = output_of('pkg-config', '--libs', *wanted, **found).split()
            static = output_of('pkg-config', '--static', '--libs', *wanted, **found).split()
            static = [re.sub(r'^-l(weft.*)', r'-l:lib\1.a', word) for word in static]
            for kind, libraries in (('', shared), ('_static', static)):
                output_of('cc', '-o', os.path.join(where, name + kind), source, *cflags, *libraries)
        self.check_consumers(where, '', LD_LIBRARY_PATH=self.library)
        self.check_consumers(where, '_static')
        output_of('cc', '-shared', '-fPIC', '-D_GNU_SOURCE', '-o', os.path.join(where, 'greeter.so'),
                  GREETER, *output_of('pkg-config', '--cflags', 'weft-module', **found).split())

    def test_every_public_header_is_there_as_it_is(self):
        """Each compiles alone in the sources (tools/check-headers.sh), which see no other headers."""
        for root in ('runtime', 'client', 'daemon'):
            source = os.path.join(support.SOURCE, root, 'include', 'weft')
            for name in os.listdir(source):
                output_of('cmp', os.path.join(source, name), self.path('include', 'weft', name))

    def test_shared_libraries_show_what_the_headers_declare(self):
        headers = os.listdir(self.path('include', 'weft'))
        declared = set(re.findall(r'\bweft_\w+', ''.join(
            open(self.path('include', 'weft', name), encoding='utf-8').read() for name in headers)))
        for name in SHARED:
            symbols = [line.split()[-1] for line in output_of(
                'nm', '-D', '--defined-only', '--with-symbol-versions', self.so(name)).splitlines()]
            public = {symbol.split('@')[0] for symbol in symbols if symbol.endswith('@@WEFT_0.1')}
            self.assertTrue(public, name)
            self.assertLessEqual(public, declared, name)
            rest = [symbol for symbol in symbols if not re.search('@@WEFT_(0.1|PRIVATE)$|^WEFT_', symbol)]
            self.assertEqual(rest, [], name)
            if name != 'weft':
                self.assertFalse([symbol for symbol in symbols if 'PRIVATE' in symbol], name)

    def test_libweft_can_be_loaded_late(self):
        """Its thread-locals fit into what the C library keeps for that."""
        self.assertGreater(int(output_of(sys.executable, '-c', f'''
import ctypes, threading
weft = ctypes.CDLL({self.so('weft')!r})
weft.weft_now_ns.restype = ctypes.c_uint64
print(weft.weft_now_ns())
''')), 0)

    def test_the_manual_names_every_verb_and_option(self):
        pages = {}
        for page in ('man1/weft.1', 'man8/weftd.8', 'man5/weftd.conf.5'):
            with open(self.path('share', 'man', page), encoding='utf-8') as source:
                pages[page] = source.read().replace(r'\-', '-').replace(r'\&', '')
        weft = self.path('bin', 'weft')
        verbs = re.findall(r'^  ([a-z]+) +[A-Z]', output_of(weft, '--help'), re.M)
        self.assertGreater(len(verbs), 10)
        for verb in verbs:
            for line in output_of(weft, verb, '--help').splitlines():
                option = re.match(r'  (-.,|   ) (--[a-z-]+)', line)
                if option or line.startswith('usage: '):
                    self.assertIn(option.group(2) if option else line[7:], pages['man1/weft.1'])
        for option in re.findall(r'^  (?:-.,|   ) (--[a-z-]+)', output_of(self.path('bin', 'weftd'), '--help'), re.M):
            self.assertIn(option, pages['man8/weftd.8'])
        keys = re.findall(r'^(\w+ *=)', output_of(self.path('bin', 'weftd'), '--print-config'), re.M)
        for key in keys:
            self.assertIn(key, pages['man5/weftd.conf.5'])

    def completions(self, *words):
        """What bash offers for the last word."""
        script = self.path('share', 'bash-completion', 'completions', 'weft')
        return output_of('bash', '-c', '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft\n'
                         'printf "%s\\n" "${COMPREPLY[@]}"', script, *words,
                         PATH=self.path('bin') + ':' + os.environ['PATH'],
                         WEFT_SOCKET=self.weftd.socket).split()

    def test_bash_completes(self):
        number = str(self.weftd.submit('true'))
        self.assertEqual(self.completions('weft', 'canc'), ['cancel'])
        self.assertEqual(self.completions('weft', 'wait', ''), [number])
        self.assertEqual(self.completions('weft', 'submit', '--time'), ['--timeout', '--timeout-total'])
        self.assertEqual(self.completions('weft', 'list', '--queue', 'de'), ['default'])
        self.assertEqual(self.completions('weft', 'queue', 'pa'), ['pause'])


if __name__ == '__main__':
    support.main()
