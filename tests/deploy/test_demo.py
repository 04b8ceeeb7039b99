#!/usr/bin/python3
"""The scene of make demo, with few clients: it comes to its end by itself, leaves a report and nothing that runs."""

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from prometheus import TOP

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import BUILD, wait_for  # noqa: E402

DEMO = [sys.executable, os.path.join(TOP, 'deploy/demo.py')]
ENV = {**os.environ, 'BUILD': os.path.relpath(BUILD, TOP)}


def session(sid):
    """Processes of it: whatever the demo has started is in its session, as nothing of it is a daemon of its own."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/stat' % pid) as f:
                state, _, _, of = f.read().rsplit(')', 1)[1].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == sid and state not in 'ZX':
            found.append(int(pid))
    return found


def end(sid):
    for pid in session(sid):
        os.kill(pid, signal.SIGKILL)


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='roost-test-')
        self.addCleanup(folder.cleanup)
        self.folder, self.report = folder.name, os.path.join(folder.name, 'report.html')

    def play(self, *args):
        p = subprocess.Popen([*DEMO, '--connections', '300', '--report', self.report, *args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                             env={**ENV, 'TMPDIR': self.folder})
        self.addCleanup(end, p.pid)
        self.addCleanup(p.stdout.close)
        return p

    def test_from_the_first_act_to_the_last(self):
        p = self.play()
        told, _ = p.communicate(timeout=500)
        self.assertEqual(p.returncode, 0, told)
        at = 0
        for words in ('Act 1 of 5', '301 clients are here', 'Act 2 of 5', ' deliveries in ', 'Act 3 of 5', r'worker1 \(process \d+\) is killed',
                      'Prometheus fires RoostProcessRestarted', 'Act 4 of 5', r'\$ roostctl drain --leave 60', 'drained: 60 clients stay',
                      'Act 5 of 5', 'exit status 0', 'The report of it all: ' + re.escape(self.report)):
            found = re.search(words, told[at:])
            self.assertTrue(found, '%s is not behind the others in:\n%s' % (words, told))
            at += 0 if words.startswith('Prometheus') else found.end()
        with open(self.report) as f:
            self.assertTrue('"ready_max":301,' in f.read())
        wait_for(lambda: not session(p.pid), what='the end of all that it has started')
        self.assertEqual(sorted(os.listdir(self.folder)), ['report.html', 'report.log'])

    def test_ctrl_c_on_a_terminal_leaves_nothing(self):
        pid, terminal = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs tests in the background has it ignored
            os.execve(sys.executable, [*DEMO, '--connections', '300', '--report', self.report],
                      {**ENV, 'TMPDIR': self.folder, 'COLUMNS': '100', 'LINES': '40'})
        self.addCleanup(os.close, terminal)
        self.addCleanup(end, pid)
        screen = b''
        while b'Act 1 of 5' not in screen:
            screen += os.read(terminal, 65536)
        os.write(terminal, b'\x03')
        try:
            while True:
                piece = os.read(terminal, 65536)
                if not piece:
                    break
                screen += piece
        except OSError:  # EIO: nobody has the terminal open any more
            pass
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1)
        self.assertIn(b'\x1b[?1049l', screen)
        self.assertIn(b'demo: interrupted', screen)
        wait_for(lambda: not session(pid), what='the end of all that it has started')
        self.assertLessEqual(set(os.listdir(self.folder)), {'report.html', 'report.log'})

    def test_what_cannot_be_played(self):
        p = self.play('--connections', '99')
        told, _ = p.communicate(timeout=300)
        self.assertEqual(p.returncode, 2, told)
        p = self.play('--connections', '10000000')
        told, _ = p.communicate(timeout=300)
        self.assertEqual(p.returncode, 1, told)
        self.assertRegex(told, r'descriptors .* make demo CONNECTIONS=\d+000')


if __name__ == '__main__':
    unittest.main()
