#!/usr/bin/python3
"""What deploy/*.md tell an operator to type or to write.

A block of sh is pasted into a shell as it stands, but for ports, folders and the words in capitals that stand for something of the operator's; one
that needs what a test does not have says so behind its language (```sh needs="docker"```) and is listed as not run. A block of yaml is settings:
roostd --check takes them; of ini, settings of the kernel. Every command of ours between backquotes in running text is run too, against a
daemon that serves: what it prints is not looked at here, but it is no wrong usage, and it does not fail. Sections, metrics and lines of the log that
are named are there, and queries are PromQL."""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import BUILD, DaemonTest, before_exec, wait_for  # noqa: E402
from test_readme import Shell  # noqa: E402
from test_rules import PROMTOOL  # noqa: E402

# Written from the tables, and held against them elsewhere.
GENERATED = {'CONFIGURATION.md', 'METRICS.md', 'MIGRATING.md', 'TRACING.md'}
PAGES = sorted('deploy/' + name for name in os.listdir(os.path.join(TOP, 'deploy')) if name.endswith('.md') and name not in GENERATED)
OURS = ('roostctl', 'roostd', 'roostload')
ENDLESS = 5  # seconds after which a command that goes on by itself has shown that it was understood
LANGUAGES = {'sh', 'yaml', 'ini', '', 'logrotate', 'haproxy'}
KEY = 'a-key-of-the-handbook-long-enough'
# Exit statuses that are answers, too: that it is not ready, that a machine holds less than it is asked to, that settings differ.
ANSWERS = {'ready': {1}, 'health': {1}, 'doctor': {3}, 'config diff': {3, 4}}


def read(page):
    with open(os.path.join(TOP, page), encoding='utf-8') as f:
        return f.read()


def blocks():
    """(page, language, what it needs or '', text) of each block."""
    for page in PAGES:
        for language, needs, text in re.findall(r'^ *```([a-z]*)(?: needs="([^"]+)")?\n(.*?)^ *```$', read(page), re.M | re.S):
            yield page, language, needs, text


def sections(page):
    """The sections of a page, as links name them."""
    text = re.sub(r'^ *```.*?^ *```$', '', read(page), flags=re.M | re.S)
    return [re.sub(r'[^\w\- ]', '', x.lower()).replace(' ', '-') for x in re.findall(r'^#+ (.*)$', text, re.M)]


def commands():
    """(page, command): those of ours between backquotes, each once."""
    seen = set()
    for page in PAGES:
        text = re.sub(r'^ *```.*?^ *```$', '', read(page), flags=re.M | re.S)
        for c in re.findall(r'`((?:%s) [^`]+)`' % '|'.join(OURS), text):
            c = re.sub(r'\s+', ' ', c)
            if c not in seen and '…' not in c and '...' not in c:
                seen.add(c)
                yield page, c


class Handbook(DaemonTest):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix='roost-handbook-'))
        self.d, self.clients = None, []
        self.write('key', KEY)
        self.write_settings()
        self.write('config.json', '{"token_hmac_secret_key": "%s"}' % KEY)

    def write_settings(self):
        self.write('roost.yaml', 'plain: true\nallow_anonymous_connect_without_token: true\ntoken_hmac_secret_key: %s\napi_key: %s\n'
                   'channel_without_namespace: {allow_subscribe_for_client: true, allow_subscribe_for_anonymous: true, presence: true, history_size: 10, '
                   'history_ttl: 60s}\n' % (KEY, KEY))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def daemon(self):
        """One that serves, with a client: the last one, or a new one where that has been drained or stopped."""
        if self.d is None or self.d.process.poll() is not None or self.d.http('GET', '/readyz').status != 200:
            if self.d:
                self.d.stop()
            self.d = self.start(workers=2, clean=False, config=os.path.join(self.folder, 'roost.yaml'),
                                pid_file=os.path.join(self.folder, 'pid'))
            self.clients = [self.d.ws('/ws/lobby')]
        return self.d

    def one_connection(self):
        """The id of a client's connection, for everything that is asked about one. A command before may have sent the client away."""
        def found():
            page = self.d.http('GET', '/debug/connections?worker=all&protocol=plain&state=open', fields=[('X-API-Key', KEY)]).body.decode()
            return re.search(r'"id":"(\d+:\d+)"', page)

        if not found():
            self.clients = [self.d.ws('/ws/lobby')]
        return wait_for(found, what='the client').group(1)

    def substitute(self, text):
        d = self.daemon()
        settings = os.path.join(self.folder, 'roost.yaml')
        words = {
            r'(?<=:)8000\b': lambda: d.client.rsplit(':', 1)[1], r'(?<=:)8001\b': lambda: d.admin.rsplit(':', 1)[1],
            r'(?<=centrifugo )FILE\b': lambda: os.path.join(self.folder, 'config.json'),
            r'(?<=--pid-file )FILE\b': lambda: os.path.join(self.folder, 'pid'), r'\bFILE\b': lambda: settings,
            r'(?:/etc/roost/|\b)roost\.yaml': lambda: settings, r'\bconfig\.json': lambda: os.path.join(self.folder, 'config.json'),
            r'unix:/run/roost/admin\.sock': lambda: 'http://' + d.admin, r'/tmp/': lambda: self.folder + '/',
            r'\bPATTERN\b': lambda: '*', r'\bCHANNEL\b': lambda: 'lobby', r'\bUSER\b': lambda: '42', r'\bCOMMAND\b': lambda: 'status',
            r'\b(?:W:)?(?:ID|N)\b': self.one_connection}
        return re.sub('|'.join(words), lambda m: next(by() for p, by in words.items() if re.compile(p).match(m.string, m.start())), text)

    def environment(self):
        self.write_settings()  # a command before may have written over them
        d = self.daemon()
        return {**{k: v for k, v in os.environ.items() if not k.startswith('ROOST')}, 'ROOSTCTL_ADMIN': 'http://' + d.admin, 'ROOSTCTL_KEY': KEY,
                'ROOST_CONFIG': os.path.join(self.folder, 'roost.yaml'), 'ROOST_LISTEN': '127.0.0.1:0', 'ROOST_ADMIN_LISTEN': '127.0.0.1:0',
                'PATH': os.path.abspath(BUILD) + ':' + os.environ['PATH']}

    def test_every_block_is_of_a_kind_that_is_looked_at(self):
        self.assertEqual([(page, language) for page, language, _, _ in blocks() if language not in LANGUAGES], [])

    def test_links_to_sections(self):
        for page in ['README.md'] + PAGES:
            for path, section in re.findall(r'\]\(([^)#:\s]*)#([^)]+)\)', read(page)):
                there = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
                with self.subTest(page=page, link='%s#%s' % (path, section)):
                    self.assertIn(section, sections(there))

    def test_contents(self):
        """The table of contents of the handbook has its sections, in their order."""
        text = read('deploy/README.md')
        listed = re.findall(r'\(#([^)]+)\)', text.split('\n## ')[0])
        self.assertEqual(listed, sections('deploy/README.md')[1:])

    def test_metrics_and_log_lines_are_there(self):
        known = set(re.findall(r'roost_\w+', read('deploy/METRICS.md')))
        sources = ''.join(read(os.path.relpath(path, TOP)) for path in glob.glob(TOP + '/src/**/*.c', recursive=True))
        sources = re.sub(r'"\s*"', '', sources)
        for page in PAGES:
            text = read(page)
            for name in set(re.findall(r'\broost_[a-z_]+_[a-z]+\b', text)):
                with self.subTest(page=page, metric=name):
                    self.assertIn(name, known)
            for message in set(re.findall(r'msg="([^"…]+)', text)):
                with self.subTest(page=page, message=message):
                    self.assertIn('"' + message.strip(), sources)

    def test_queries(self):
        """What Prometheus is to be asked is PromQL: promtool takes each query as a rule."""
        found = []
        for page in PAGES:
            text = re.sub(r'^ *```.*?^ *```$', '', read(page), flags=re.M | re.S)
            found += re.findall(r'`((?:[a-z_]+(?: by \([a-z, ]+\))? ?\(.*roost_[^`]*|roost_[a-z_]+\{[^`]*))`', text)
        path = self.write('queries.yml', json.dumps(
            {'groups': [{'name': 'handbook', 'rules': [{'record': 'handbook:query%d' % n, 'expr': q} for n, q in enumerate(found)]}]}))
        p = subprocess.run([PROMTOOL, 'check', 'rules', '--lint=none', path], capture_output=True, text=True, timeout=200)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        self.assertGreater(len(found), 3)

    def test_settings(self):
        checked = 0
        for page, language, needs, text in blocks():
            if language != 'yaml' or needs:
                continue
            text = re.sub(r'(?<=_file: )\S+', os.path.join(self.folder, 'key'), text).replace('/run/roost', self.folder)
            path = self.write('block.yaml', text)
            r = subprocess.run([os.path.join(BUILD, 'roostd'), '--check', '--config', path], capture_output=True, text=True, timeout=200,
                               env={k: v for k, v in os.environ.items() if not k.startswith('ROOST')})
            with self.subTest(page=page, block=text):
                self.assertEqual(r.returncode, 0, r.stderr)
            checked += 1
        self.assertGreater(checked, 3)

    def test_blocks_of_sh(self):
        for page, language, needs, text in blocks():
            if language != 'sh':
                continue
            if needs:
                print('not run, needs %s: %s of %s' % (needs, text.strip().split('\n')[0], page), flush=True)
                continue
            with self.subTest(page=page, block=text):
                text = self.substitute(text)
                shell = Shell(self.folder)
                try:
                    shell.paste('PATH=%s:$PATH' % os.path.abspath(BUILD))
                    shell.paste('export ROOSTCTL_ADMIN=http://%s ROOSTCTL_KEY=%s ROOST_API_KEY=%s' % (self.d.admin, KEY, KEY))
                    shown, status = shell.paste(text)
                    self.assertEqual(status, 0, shown)
                    self.assertNotRegex(shown, 'command not found|usage:')
                finally:
                    shell.close()

    def test_commands_in_text(self):
        done = 0
        for page, command in commands():
            with self.subTest(page=page, command=command):
                environment = self.environment()
                p = subprocess.run(['timeout', '-s', 'INT', '-k', '60', str(ENDLESS), 'bash', '-c', 'exec ' + self.substitute(command)], text=True,
                                   env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=before_exec, timeout=2000)
                good = {0, 124}.union(*(codes for c, codes in ANSWERS.items() if command.startswith('roostctl ' + c)))
                self.assertIn(p.returncode, good, p.stderr)
                done += 1
        self.assertGreater(done, 10)

    def test_kernel(self):
        for page, language, needs, text in blocks():
            for line in text.split('\n') if language == 'ini' and not needs else ():
                name, value = (x.strip() for x in line.split('#')[0].split('=')) if '=' in line else ('', '')
                with self.subTest(page=page, line=line):
                    self.assertRegex(value if name else '0', r'^\d+( \d+)*$')
                    if name and not name.startswith('net.netfilter'):  # those are there when connection tracking is
                        self.assertTrue(os.path.exists('/proc/sys/' + name.replace('.', '/')), name)

    def test_many_connections_lowers_nothing(self):
        """What a machine has more of already stays; what it has less of, or not at all, is set."""
        with tempfile.TemporaryDirectory() as proc:
            for name, value in (('fs/file-max', '9223372036854775807'), ('fs/nr_open', '1073741816'), ('net/ipv4/tcp_mem', '3082272\t4109696\t6164544'),
                                ('net/core/somaxconn', '4096')):
                os.makedirs(os.path.dirname(os.path.join(proc, 'sys', name)), exist_ok=True)
                with open(os.path.join(proc, 'sys', name), 'w') as f:
                    f.write(value + '\n')
            p = subprocess.run(['sh', os.path.join(TOP, 'deploy/many-connections.sh')], capture_output=True, text=True, env={**os.environ, 'PROC': proc})
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        wanted = dict(re.findall(r'^([\w.-]+) = (.*)$', p.stdout, re.M))
        self.assertFalse({'fs.file-max', 'fs.nr_open', 'net.ipv4.tcp_mem'} & set(wanted), wanted)
        self.assertEqual((wanted['net.core.somaxconn'], wanted['net.ipv4.tcp_max_syn_backlog']), ('65535', '65535'))
        self.assertIn('# fs.file-max = 9223372036854775807 already\n', p.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=0)
