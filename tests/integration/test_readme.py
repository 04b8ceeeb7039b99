#!/usr/bin/python3
"""The tour of README.md, block by block as a reader pastes it, against a real daemon.

The blocks are run as they stand, but for what must not be fixed in a test: the ports (8000 and 8001 are those of this daemon, 9000 and
9001 any) and the folders (build/release and /tmp)."""

import os
import re
import subprocess
import tempfile
import threading
import unittest

from daemon import BUILD, SLOW, DaemonTest, before_exec, wait_for

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../README.md')
DEMO = os.path.join(os.path.dirname(README), 'deploy/demo.yaml')  # what make run starts with
END = '-- end of block --'
WSCAT = 'npx wscat -c ws://localhost:8000/ws/lobby'


def tour():
    """(language, text) of each block."""
    with open(README, encoding='utf-8') as f:
        section = re.search(r'^## A five-minute tour\n(.*?)^## ', f.read(), re.M | re.S).group(1)
    return re.findall(r'^```(\w+)\n(.*?)^```$', section, re.M | re.S)


class Shell:
    """The reader's second terminal. Blocks share its variables and jobs."""

    def __init__(self, folder):
        env = {k: v for k, v in os.environ.items() if not k.startswith('ROOST')}
        self.p = subprocess.Popen(['bash'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
                                  env=env, preexec_fn=before_exec, text=True)
        self.out, self.lock = '', threading.Lock()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.p.stdout:
            with self.lock:
                self.out += line

    def text(self):
        with self.lock:
            return self.out

    def wait(self, pattern):
        try:
            return wait_for(lambda: re.search(pattern, self.text(), re.M), 20, pattern)
        except AssertionError as e:
            raise AssertionError('%s; the terminal shows:\n%s' % (e, self.text()))

    def paste(self, block):
        """Runs a block to its end: what the terminal shows from its start on, and the status of its last command."""
        before = len(self.text())
        self.p.stdin.write('%s\necho "%s" $?\n' % (block, END))
        self.p.stdin.flush()
        end = wait_for(lambda: re.compile(re.escape(END) + r' (\d+)\n').search(self.text(), before), 30, 'the end of:\n' + block)
        return self.text()[before:end.start()], int(end.group(1))

    def close(self):
        self.p.stdin.write('kill $(jobs -p) 2>/dev/null; wait\n')
        self.p.stdin.close()
        self.p.wait(20 * SLOW)
        self.reader.join(5)
        self.p.stdout.close()


class Tour(DaemonTest):
    def substitute(self, block, folder):
        ports = {'8000': self.d.client.rsplit(':', 1)[1], '8001': self.d.admin.rsplit(':', 1)[1], '9000': '0', '9001': '0'}
        block = re.sub(r'(?<=:)(8000|8001|9000|9001)\b', lambda m: ports[m.group(1)], block)
        return block.replace('/tmp/', folder + '/').replace('$PWD/build/release', os.path.abspath(BUILD))

    def test_block_by_block(self):
        self.d = self.start(workers=2, config=DEMO)
        with tempfile.TemporaryDirectory(prefix='roost-tour-') as folder:
            shell = Shell(folder)
            self.addCleanup(shell.close)
            shell.paste('export ROOSTCTL_ADMIN=http://' + self.d.admin)  # the default is port 8001
            self.follow(shell, folder)

    def follow(self, shell, folder):
        # What a reader would wait to see before going on, and what the block must have shown by then.
        after = {
            'roostctl tail': r'^roostctl: subscribed to lobby$',
            'roostctl publish': r'^lobby  hello from a shell$',
            'roostctl get': r'(?s)roost_deliveries_total.* \d+$.*turns',
            'kill -9': r'^worker1 ',
            '/roost.yaml --set': r'msg="?ready"?',
            'kill -HUP': r'demo_page',
        }
        done = set()
        for language, block in tour():
            if language == 'js':
                continue  # a client's source: tests/e2e runs it
            if language != 'sh':
                # The answer to the block before; an epoch is by chance.
                answer = re.sub(r'(epoch":")\w+', r'\1\\w+', re.escape(block.strip()))
                self.assertRegex(shell.text(), answer)
                continue
            if block.strip() == WSCAT:
                continue  # npx fetches it; npm's ws, which it is made of, is in e2e/ws.mjs
            shown, status = shell.paste(self.substitute(block, folder))
            self.assertEqual(status, 0, shown)
            self.assertNotRegex(shown, 'command not found|[Uu]sage', block)
            for key in [k for k in after if k in block]:
                shell.wait(after[key])
                done.add(key)
        self.assertEqual(done, set(after))
        self.assertIn('wait $!', block)  # the second daemon's end: its status is 0
        self.d.wait_log(r'msg="?(killed|exited)"? process=worker0')

    def test_the_first_command(self):
        self.assertEqual([b.strip() for _, b in tour()][1], WSCAT)


if __name__ == '__main__':
    unittest.main(verbosity=0)
