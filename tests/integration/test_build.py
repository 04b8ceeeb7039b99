#!/usr/bin/python3
"""The Makefile on machines that lack something, seen in a small tree of its own; and how the programs are built."""

import glob
import importlib.machinery
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
import unittest

from daemon import BUILD, ROOSTD, SAN

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
COPIED = ('Makefile', 'README.md', 'LICENSE', 'deploy', 'tests/run', 'tests/e2e/package.json', 'tests/e2e/package-lock.json')
TREE = {
    'cmd/hello/main.c': '#include <stdio.h>\nint main(void)\n{\n    return puts("hello") == EOF;\n}\n',
    'src/base/none.c': 'extern int none;\nint none;\n',
    'tests/unit/base/test_one.c': '#include <stdio.h>\nint main(void)\n{\n    return puts("ok 1 - one") == EOF;\n}\n',
    'tests/integration/test_two.py': 'import unittest\nclass T(unittest.TestCase):\n    def test_tool(self):\n'
                                     '        open("build/tools/promtool").close()\n    def test_other(self):\n        pass\n'
                                     'unittest.main()\n',
    'tests/e2e/test_three.py': 'import unittest\nclass T(unittest.TestCase):\n    def test_npm(self):\n'
                               '        open("tests/e2e/node_modules/.installed").close()\nunittest.main()\n',
}
ALL_THERE = 'printf installed'
NOTHING_THERE = 'exit 1'
NO_NETWORK = 'echo "E: Failed to fetch http://deb.example/x  Temporary failure resolving" >&2; exit 100'


class Tree(unittest.TestCase):
    """A copy of what the Makefile needs, and a PATH that has this machine's commands but for those hidden or replaced."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='roost build-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.top, self.path = os.path.join(self.folder, 'a tree'), os.path.join(self.folder, 'bin')
        for name in COPIED:
            source, to = os.path.join(TOP, name), os.path.join(self.top, name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            (shutil.copytree if os.path.isdir(source) else shutil.copy2)(source, to)
        for name, text in TREE.items():
            self.write(os.path.join(self.top, name), text)
        os.makedirs(os.path.join(self.top, 'tests/lib'))
        os.makedirs(self.path)
        for folder in ('/usr/bin', '/bin'):
            for name in os.listdir(folder):
                if not os.path.lexists(os.path.join(self.path, name)):
                    os.symlink(os.path.join(folder, name), os.path.join(self.path, name))
        self.stub('sudo', None)
        self.stub('promtool', None)
        # Whether a package is missing is dpkg-query's to say, which tests replace, not this machine's commands'.
        for name in self.commands_of_packages():
            if not os.path.lexists(os.path.join(self.path, name)):
                self.stub(name, 'exit 1')

    def commands_of_packages(self):
        with open(os.path.join(self.top, 'Makefile')) as f:
            lists = re.search(r'^PACKAGES_.*?^TEST_PACKAGES', f.read(), re.M | re.S).group()
        return re.findall(r'\s([\w-]+):[\w.-]+', lists)

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, mode)

    def stub(self, name, script):
        """A command that does this; None: that is not there."""
        path = os.path.join(self.path, name)
        if os.path.lexists(path):
            os.unlink(path)
        if script is not None:
            self.write(path, '#!/bin/bash\n%s\n' % script, 0o755)

    def make(self, *args, status=0):
        env = {k: v for k, v in os.environ.items() if not k.startswith(('TEST_', 'MAKE', 'MFLAGS'))}
        p = subprocess.run(['make', 'CC=gcc', *args], cwd=self.top, env={**env, 'PATH': self.path}, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=250)
        self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        self.assertNotIn('command not found', p.stderr)
        # make's own line about the target that failed is no sentence of ours.
        return p.stdout, [x for x in p.stderr.splitlines() if not x.startswith('make')]


class Packages(Tree):
    def user(self):
        self.stub('id', 'echo 1000')

    def test_nothing_is_missing(self):
        self.stub('dpkg-query', ALL_THERE)
        self.stub('apt-get', 'exit 99')
        self.user()
        self.assertEqual(self.make('test-packages'), ('', []))

    def test_without_sudo(self):
        self.stub('dpkg-query', NOTHING_THERE)
        self.user()
        for target in ('run', 'test'):
            _, said = self.make(target, status=2)
            self.assertEqual(len(said), 1, said)
            self.assertIn('as root: apt-get update && apt-get install --no-install-recommends libc6-dev libev-dev', said[0])

    def test_sudo_that_wants_a_password(self):
        self.stub('dpkg-query', NOTHING_THERE)
        self.stub('sudo', 'echo "sudo: a password is required" >&2; exit 1')
        self.user()
        _, said = self.make('run', status=2)
        self.assertEqual(len(said), 1, said)
        self.assertIn('as root: apt-get', said[0])

    def test_with_sudo(self):
        self.stub('dpkg-query', '[ -e "%s/done" ] && printf installed' % self.folder)
        self.stub('sudo', '[ "$1" = -n ] && shift; [ "$1" = env ] || { "$@"; exit; }; touch "%s/done"' % self.folder)
        self.stub('apt-get', 'exit 0')
        self.user()
        out, said = self.make('build-packages')
        self.assertEqual(said, [])
        self.assertIn('installing: libc6-dev', out)
        self.assertEqual(self.make('build-packages'), ('', []))

    def test_without_network(self):
        self.stub('dpkg-query', NOTHING_THERE)
        self.stub('id', 'echo 0')
        self.stub('apt-get', NO_NETWORK)
        _, said = self.make('run', status=2)
        self.assertEqual(len(said), 1, said)
        self.assertIn('cannot be installed: libc6-dev', said[0])
        self.assertIn('Temporary failure resolving', said[0])

    def test_not_debian(self):
        self.stub('dpkg-query', None)
        self.stub('apt-get', None)
        self.assertEqual(self.make('build-packages'), ('', []))

    def test_make_alone_says_what_is_missing(self):
        self.write(os.path.join(self.top, 'hidden/yaml.h'), '#error not there\n')
        _, said = self.make('CPPFLAGS=-Ihidden', status=2)
        self.assertEqual(len(said), 1, said)
        self.assertIn('missing: libyaml-dev (', said[0])


class Downloads(Tree):
    def setUp(self):
        super().setUp()
        self.stub('dpkg-query', ALL_THERE)
        self.stub('id', 'echo 1000')
        self.stub('apt-get', NO_NETWORK)
        self.stub('apt-cache', 'exit 100')  # knows no package: nobody has fetched a list yet
        self.stub('npm', 'echo "npm error code ENOTFOUND" >&2; exit 1')

    def test_what_cannot_be_fetched_fails_alone(self):
        out, said = self.make('test', 'SUITE=unit integration e2e', status=2)
        self.assertEqual(len(said), 2, said)  # one sentence each
        self.assertTrue(any('prometheus cannot be fetched' in x for x in said), said)
        self.assertTrue(any('node packages cannot be fetched' in x for x in said), said)
        self.assertRegex(out, r'(?m)^  ok   unit/base/test_one ')
        self.assertRegex(out, r'(?m)^  FAIL integration/test_two\.py +1 passed, 1 failed')
        self.assertRegex(out, r'(?m)^  FAIL e2e/test_three\.py +0 passed, 1 failed')
        self.assertTrue(out.endswith('2 passed, 2 failed\n'), out)

    def test_units_fetch_nothing(self):
        self.stub('apt-get', 'touch "%s/asked"' % self.folder)
        self.stub('npm', 'touch "%s/asked"' % self.folder)
        out, said = self.make('unit')
        self.assertEqual(said, [])
        self.assertTrue(out.endswith('1 passed, 0 failed\n'), out)
        self.assertFalse(os.path.exists(self.folder + '/asked'))

    def test_a_package_that_cannot_be_fetched_fails_alone(self):
        self.stub('dpkg-query', 'case "$*" in *chromium*) exit 1;; *) printf installed;; esac')
        self.stub('id', 'echo 0')
        out, said = self.make('test', 'SUITE=unit e2e', status=2)
        self.assertEqual(len(said), 2, said)
        self.assertIn('cannot be installed: chromium', said[0])
        self.assertTrue(out.endswith('1 passed, 1 failed\n'), out)

    def test_a_debian_with_other_libraries_is_made_anew(self):
        calls = self.folder + '/calls'
        self.stub('id', 'echo 0')
        self.stub('debootstrap', 'echo "$*" >>"%s"; mkdir -p "${@: -1}"; touch "${@: -1}/of_$RANDOM"' % calls)

        def made(*args):
            self.make('build/tools/bookworm/.made', *args)
            with open(calls) as f:
                return f.read().splitlines()

        self.assertIn('libssl3', made()[0])
        self.assertEqual(len(made()), 1)
        for n in 2, 2:  # the second time it is there
            lines = made('BASE_LIBRARIES=libev4 libother1')
            self.assertEqual(len(lines), n)
            self.assertIn('--include=libev4,libother1 ', lines[1])
        self.assertEqual(len(os.listdir(self.top + '/build/tools/bookworm')), 2)  # nothing is left of the one before


class Install(Tree):
    def test_folders_with_blanks(self):
        self.make('install', 'DESTDIR=%s/it is' % self.folder, "PREFIX=/opt/ro'o st")
        top = "%s/it is/opt/ro'o st/" % self.folder
        self.assertEqual(subprocess.run([top + 'bin/hello'], capture_output=True).stdout, b'hello\n')
        self.assertTrue(os.path.exists(top + 'share/doc/roost/README.md'))
        with open(top + 'lib/systemd/system/roost.service') as f:
            unit = f.read()
        self.assertIn("ExecStart=/opt/ro'o\\x20st/bin/roostd", unit)
        self.assertNotIn('/usr/local', unit)

    def test_the_default_prefix(self):
        self.make('install', 'DESTDIR=%s/x' % self.folder)
        with open(self.folder + '/x/usr/local/lib/systemd/system/roost.service') as f, open(TOP + '/deploy/roost.service') as g:
            self.assertEqual(f.read(), g.read())
        self.assertTrue(os.path.exists(self.folder + '/x/usr/local/lib/systemd/system/roost.socket'))


class Hardening(unittest.TestCase):
    """What the programs are, not which flags were asked for: each test fails without its flag."""

    @staticmethod
    def run_tool(*args):
        return subprocess.run(args, capture_output=True, text=True, check=True).stdout

    def readelf(self, *args, of=ROOSTD):
        return self.run_tool('readelf', '-W', *args, of)

    def test_programs(self):
        for name in ('roostd', 'roostctl', 'roostload'):
            of = os.path.join(BUILD, name)
            self.assertRegex(self.readelf('-h', of=of), r'Type:\s+DYN', name)
            self.assertRegex(self.readelf('-d', of=of), r'FLAGS_1.* PIE\b', name)
            self.assertRegex(self.readelf('-d', of=of), r'BIND_NOW|Flags: NOW', name)
            self.assertNotRegex(self.readelf('-d', of=of), r'RPATH|RUNPATH|TEXTREL', name)
            self.assertRegex(self.readelf('-l', of=of), r'GNU_RELRO', name)
            self.assertRegex(self.readelf('-l', of=of), r'GNU_STACK.* RW ', name)
            self.assertNotRegex(self.readelf('-l', of=of), r'LOAD.* RWE ', name)
            symbols = self.readelf('-s', of=of)
            self.assertIn('__stack_chk_fail', symbols, name)
            self.assertEqual('__snprintf_chk' in symbols, not SAN, name)  # _FORTIFY_SOURCE

    def test_control_flow(self):
        """Every object of ours carries the note, and functions begin with endbr64 in the program itself. (The program
        as a whole has no note, because the C library's start files have none.)"""
        if platform.machine() != 'x86_64':
            return  # the flag is that processor's
        objects = glob.glob(os.path.join(BUILD, 'src/**/*.o'), recursive=True)
        self.assertGreater(len(objects), 100)
        notes = self.run_tool('readelf', '-W', '-n', *objects)
        self.assertEqual(len(re.findall(r'x86 feature: IBT, SHSTK', notes)), len(objects))
        code = self.run_tool('objdump', '-d', '--no-show-raw-insn', ROOSTD)
        for name in ('main', 'supervisor_run', 'reactor_turn', 'http_input', 'conn_deliver'):
            self.assertRegex(code, r'<%s>:\n +[0-9a-f]+:\s+endbr64' % name)

    def test_stack_clash(self):
        """A frame of several pages is touched page by page."""
        if platform.machine() != 'x86_64':
            return  # looks otherwise
        code = self.run_tool('objdump', '-d', '--no-show-raw-insn', ROOSTD)
        body = re.search(r'<config_load>:\n(.*?)\n\n', code, re.S).group(1)
        self.assertRegex(body, r'sub +\$0x1000,%rsp\n[^\n]*(orq|movq) +\$0x0,\(%rsp\)')


class Runner(unittest.TestCase):
    def test_what_a_sanitizer_reports(self):
        """All of it, but for the notice that a process was killed while it was looked through for leaks."""
        notice = '==12==Unable to get registers from thread 9.\n'
        found = '\n=================\n==13==ERROR: LeakSanitizer: detected memory leaks\n'
        loader = importlib.machinery.SourceFileLoader('run', os.path.join(TOP, 'tests/run'))
        run = importlib.util.module_from_spec(importlib.util.spec_from_loader('run', loader))
        loader.exec_module(run)
        with tempfile.TemporaryDirectory(prefix='roost-test-') as folder:
            for name, text in (('asan.12', notice), ('asan.13', found), ('ubsan.14', notice + notice), ('asan.15', notice + found),
                               ('other', found)):
                with open(os.path.join(folder, name), 'w') as f:
                    f.write(text)
            self.assertEqual(list(run.sanitizer_reports(folder)), [found, notice + found])


if __name__ == '__main__':
    unittest.main(verbosity=0)
