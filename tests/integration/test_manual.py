#!/usr/bin/python3
"""Manual pages and completion scripts, which the programs write from their own tables: whole, and taken by groff and bash."""

import os
import re
import subprocess
import tempfile
import unittest

from daemon import BUILD

PROGRAM = {n: os.path.join(os.path.abspath(BUILD), n) for n in ('roostd', 'roostctl', 'roostload')}
PAGES = {'roostd': ['--reference=manual'], 'roost.yaml': ['--reference=manual-settings'], 'roostctl': ['manual'],
         'roostload': ['--manual']}
TABLES = {'roostd': '../../cmd/roostd/options.def', 'roostctl': '../../cmd/roostctl/commands.def',
          'roostload': '../../cmd/roostload/options.def', 'roost.yaml': '../../include/tbl/config.def'}
HERE = os.path.dirname(os.path.abspath(__file__))


def run(name, *args):
    return subprocess.run([PROGRAM[name], *args], capture_output=True, text=True)


def completion(name, shell):
    return run(name, *(['completion'] if name == 'roostctl' else ['--completion']), shell)


def rows(name):
    """What the table calls its rows."""
    with open(os.path.join(HERE, TABLES[name])) as f:
        text = f.read()
    if name == 'roost.yaml':
        return re.findall(r'^X\((\w+),', text, re.M)
    if name == 'roostload':
        return ['--' + x for x in re.findall(r'^X\(\w+, "([^"]+)"', text, re.M)]
    found = ['--' + x for x in re.findall(r'^(?:COMMAND_)?OPTION\([^"]*"([^"]+)"', text, re.M)]
    return found + re.findall(r'^COMMAND\((\w+)', text, re.M)


def complete(name, *words):
    """What bash offers behind these words; the last one is begun."""
    with tempfile.NamedTemporaryFile('w', suffix='.bash') as f:
        f.write(completion(name, 'bash').stdout)
        f.flush()
        script = 'source %s; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _%s; printf "%%s\\n" "${COMPREPLY[@]}"' % (f.name, name)
        return subprocess.run(['bash', '-c', script, 'bash', name, *words], capture_output=True, text=True, check=True).stdout.split()


class Manual(unittest.TestCase):
    def test_every_row_is_in_its_page_and_groff_takes_it(self):
        for page, args in PAGES.items():
            with self.subTest(page=page):
                p = run('roostd' if page == 'roost.yaml' else page, *args)
                self.assertEqual((p.returncode, p.stderr), (0, ''))
                shown = subprocess.run(['nroff', '-man', '-ww'], input=p.stdout, capture_output=True, text=True,
                                       env={**os.environ, 'GROFF_NO_SGR': '1'})
                self.assertEqual(shown.stderr, '')
                text = re.sub('.\b', '', shown.stdout)
                self.assertGreater(len(rows(page)), 5)
                for row in rows(page):
                    self.assertRegex(text, r'(?m)(^|\s|, )%s\b' % re.escape(row), page)

    def test_bash_completes_what_the_tables_have(self):
        self.assertEqual(complete('roostctl', 'hea'), ['health'])
        self.assertEqual(complete('roostctl', '--key', 'x', 'tail', '--r'), ['--raw'])
        self.assertEqual(complete('roostctl', 'completion', ''), ['bash', 'zsh', 'fish'])
        self.assertEqual(complete('roostctl', 'help', 'pub'), ['publish'])
        self.assertEqual(complete('roostd', '--reference', '=', 'met'), ['metrics'])
        self.assertEqual(complete('roostd', '--print'), ['--print-config'])
        self.assertEqual(complete('roostload', '--protocol', ''), ['json', 'protobuf'])
        self.assertEqual(complete('roostload', 'bro'), ['broadcast'])
        commands = [x for x in rows('roostctl') if x[0] != '-']
        self.assertEqual(sorted(complete('roostctl', '')), sorted(commands))
        for name in ('roostd', 'roostload'):
            self.assertEqual(set(rows(name)) - set(complete(name, '--')), set())

    def test_files_are_completed_where_an_option_takes_one(self):
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, 'roost.yaml'), 'w').close()
            self.assertEqual(complete('roostd', '--config', folder + '/ro'), [folder + '/roost.yaml'])
            self.assertEqual(complete('roostctl', 'import', 'centrifugo', folder + '/ro'), [folder + '/roost.yaml'])

    def test_each_shell_has_every_word(self):
        for name in PROGRAM:
            for shell in ('bash', 'zsh', 'fish'):
                p = completion(name, shell)
                self.assertEqual((p.returncode, p.stderr), (0, ''))
                for row in rows(name):
                    self.assertRegex(p.stdout, r'\b%s\b' % re.escape(row.strip('-')), (name, shell))

    def test_another_shell_is_refused_with_those_there_are(self):
        for name in PROGRAM:
            p = completion(name, 'tcsh')
            self.assertEqual((p.returncode, p.stdout), (2, ''), name)
            self.assertRegex(p.stderr, 'bash, zsh or fish')


if __name__ == '__main__':
    unittest.main()
