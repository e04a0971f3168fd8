#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is loaded of a folder, and what is said of modules that cannot be loaded."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from support import weftd as support  # noqa: E402

MODULES = os.path.join(support.BUILD, 'tests', 'modules')
GREETER = os.path.join(support.BUILD, 'examples', 'module', 'greeter.so')


def module(name):
    return os.path.join(MODULES, f'{name}.so')


class CannotLoad(unittest.TestCase):
    def refusals(self, *modules):
        """[(modules section, what must be said)], each through --check, whatever the trust."""
        weftd = support.Weftd()
        try:
            for section, said in modules:
                weftd.configure(f'[modules]\n{section}\n')
                status, text = weftd.refused('--check')
                self.assertEqual(status, 78, text)
                for piece in said:
                    self.assertIn(piece, text)
        finally:
            weftd.destroy()

    def test_each_reason_is_a_sentence_with_the_file(self):
        cases = []
        for key in ('load', 'trusted'):
            for name, reason in (('no_module', 'no symbol weft_module'),
                                 ('future', 'version 2 of the module interface'),
                                 ('unresolved', 'weft_attempt_of_a_later_version'),
                                 ('missing', 'No such file')):
                cases.append((f'{key} = {module(name)}', (module(name), reason)))
        cases.append((f'load = {module("crash_at_load")}', ('crash_at_load.so', 'signal 11')))
        cases.append((f'load = {module("exit_at_load")}',
                      ('exit_at_load.so', 'its process ended with exit status 3')))
        cases.append((f'load = {module("silent_at_load")}',
                      ('silent_at_load.so', 'did not say what it has')))
        cases.append((f'load = {GREETER} {GREETER}', ('handler "greet" is there already', GREETER)))
        cases.append((f'trusted = {GREETER}\nload = {GREETER}', ('is there already',)))
        cases.append(('load = greeter.so', ('greeter.so', 'absolute path')))
        self.refusals(*cases)

    def test_a_folder_stands_for_the_objects_in_it(self):
        weftd = support.Weftd()
        try:
            folder = weftd.path('modules')
            os.mkdir(folder)
            weftd.configure(f'[modules]\nload = {folder}\n')
            weftd.start()  # with none
            weftd.stop()
            os.symlink(GREETER, os.path.join(folder, '20-greeter.so'))
            os.symlink(module('trouble'), os.path.join(folder, '10-trouble.so'))
            for name in ('.hidden.so', 'readme.txt', '.so', 'greeter.so.bak'):
                os.symlink(module('no_module'), os.path.join(folder, name))
            weftd.start()
            names = [one['name'] for one in weftd.call('hello')['modules']]
            self.assertEqual(names[-2:], ['trouble', 'greeter'], 'in the order of their names')
            weftd.stop()
            os.symlink(module('no_module'), os.path.join(folder, '15-no.so'))
            status, text = weftd.refused('--check')
            self.assertEqual(status, 78, text)
            self.assertIn(os.path.join(folder, '15-no.so'), text)
        finally:
            weftd.destroy()

    def test_it_does_not_start_either(self):
        weftd = support.Weftd(f'[modules]\nload = {module("no_module")}\n')
        try:
            status, text = weftd.refused()
            self.assertEqual(status, 78)
            self.assertIn('no symbol weft_module', text)
        finally:
            weftd.destroy()


if __name__ == '__main__':
    support.main()
