#!/usr/bin/python3
"""The completion scripts in the shells themselves: bash and zsh on a terminal, where a key is pressed, and fish's own engine."""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'integration'))

from daemon import BUILD, ROOSTCTL, SLOW  # noqa: E402

PROGRAMS = {name: os.path.join(BUILD, name) for name in ('roostctl', 'roostd', 'roostload')}
# What is typed, and what it becomes: the only thing that it can be.
CASES = [('roostctl hea', 'roostctl health'), ('roostctl --adm', 'roostctl --admin'), ('roostctl status -o j', 'roostctl status -o json'),
         ('roostctl completion z', 'roostctl completion zsh'), ('roostctl help pub', 'roostctl help publish'),
         ('roostctl tail --r', 'roostctl tail --raw'), ('roostctl --key x config ch', 'roostctl --key x config check'),
         ('roostctl import cen', 'roostctl import centrifugo'), ('roostd --print', 'roostd --print-config'),
         ('roostload --protocol pro', 'roostload --protocol protobuf'), ('roostload bro', 'roostload broadcast'),
         ('roostctl import centrifugo FOLDER/ce', 'roostctl import centrifugo FOLDER/centrifugo.yaml'),
         ('roostctl config check FOLDER/ce', 'roostctl config check FOLDER/centrifugo.yaml'),
         ('roostd --config FOLDER/ce', 'roostd --config FOLDER/centrifugo.yaml')]


def script(name, shell):
    how = 'completion' if name == 'roostctl' else '--completion'
    return subprocess.run([PROGRAMS[name], how, shell], capture_output=True, text=True, check=True).stdout


class Terminal:
    """A shell on a terminal of its own. The programs are functions that print their arguments between marks."""

    def __init__(self, argv, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env)
        self.text = b''

    def until(self, pattern):
        end = time.monotonic() + 90 * SLOW
        while not re.search(pattern, self.text):
            if time.monotonic() > end or not self.read():
                raise AssertionError('/%s/ not in %r' % (pattern, self.text))
        found = re.search(pattern, self.text)
        self.text = self.text[found.end():]
        return found

    def read(self):
        if select.select([self.fd], [], [], 1)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            self.text += data
            return data != b''
        return True

    def line(self, text):
        os.write(self.fd, text.encode() + b'\n')

    def completed(self, typed):
        os.write(self.fd, typed.encode() + b'\t\n')
        return self.until(rb'<<([^<>]*)>>').group(1).decode().split('|')

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


class Completion(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix='roost-completion-')
        self.addCleanup(self.folder.cleanup)
        with open(os.path.join(self.folder.name, 'centrifugo.yaml'), 'w'):
            pass
        self.env = {'PATH': os.environ['PATH'], 'HOME': self.folder.name, 'TERM': 'dumb', 'LC_ALL': 'C.UTF-8'}

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def filled(self, text):
        return text.replace('FOLDER', self.folder.name)

    def on_a_terminal(self, argv, begin):
        t = Terminal(argv, self.env)
        self.addCleanup(t.close)
        for line in begin:
            t.line(line)
        for name in PROGRAMS:
            t.line("%s() { local IFS='|'; echo \"<\"\"<%s|$*>\"\">\"; }" % (name, name))
        t.line('echo rea""dy')
        t.until(rb'ready\r?\n')
        for typed, whole in CASES:
            self.assertEqual(t.completed(self.filled(typed)), self.filled(whole).split(' '), typed)
        for command in self.commands():
            begun = command[:-1]
            if [c for c in self.commands() if c.startswith(begun)] == [command]:
                self.assertEqual(t.completed('roostctl ' + begun), ['roostctl', command])

    @staticmethod
    def commands():
        text = subprocess.run([ROOSTCTL, 'help'], capture_output=True, text=True, check=True).stdout
        return re.findall(r'(?m)^  ([a-z]+) ', text)

    def test_bash(self):
        files = [self.write(name + '.bash', script(name, 'bash')) for name in PROGRAMS]
        self.on_a_terminal(['bash', '--norc', '--noprofile', '-i'], ['bind "set enable-bracketed-paste off"'] + ['source ' + f for f in files])

    def test_zsh(self):
        for name in PROGRAMS:
            self.write('_' + name, script(name, 'zsh'))
        self.on_a_terminal(['zsh', '-f', '-i'], ['unset zle_bracketed_paste', 'fpath=(%s $fpath)' % self.folder.name,
                                                 'autoload -Uz compinit && compinit -u -D'])

    def test_fish(self):
        files = [self.write(name + '.fish', script(name, 'fish')) for name in PROGRAMS]

        def offered(typed):
            p = subprocess.run(['fish', '--no-config', '-c', '; '.join('source ' + f for f in files) + '; complete -C $argv[1]', typed],
                               capture_output=True, text=True, env=self.env)
            self.assertEqual((p.returncode, p.stderr), (0, ''))
            return [line.split('\t')[0] for line in p.stdout.splitlines()]

        for typed, whole in CASES:
            self.assertEqual(offered(self.filled(typed)), [self.filled(whole).rsplit(' ', 1)[1]], typed)
        self.assertEqual(sorted(offered('roostctl ')), sorted(self.commands()))


if __name__ == '__main__':
    unittest.main()
