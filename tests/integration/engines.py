"""Servers of engines, real ones, each on a free port or a socket of its own, in folders that go with them."""

import os
import shutil
import signal
import subprocess
import tempfile

from daemon import before_exec, wait_for

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
FETCHED = os.path.join(TOP, 'build/tools/peers/usr')  # make build/tools/peers/.redis-server


def program(name):
    own = os.path.join(FETCHED, 'bin', name)
    found = own if os.path.exists(own) else shutil.which(name)
    if not found:
        raise AssertionError('%s is not installed, and was not fetched: make build/tools/peers/.redis-server' % name)
    return found


def environment():
    libraries = [os.path.join(FETCHED, 'lib', d) for d in ('x86_64-linux-gnu', 'aarch64-linux-gnu')]
    return {**os.environ, 'LD_LIBRARY_PATH': ':'.join(libraries)}


class Redis:
    """One redis-server behind a UNIX socket; it keeps nothing when it ends."""

    def __init__(self, *options):
        self.dir = tempfile.mkdtemp(prefix='roost-redis-')
        self.path = os.path.join(self.dir, 's')
        self.options = options
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([program('redis-server'), '--port', '0', '--unixsocket', self.path, '--save', '',
                                         '--dir', self.dir, '--loglevel', 'warning', *self.options],
                                        stdout=subprocess.DEVNULL, env=environment(), preexec_fn=before_exec)
        wait_for(self.answers, what='redis-server')

    def answers(self):
        return self.process.poll() is None and self.say('PING') == 'PONG'

    def say(self, *command):
        done = subprocess.run([program('redis-cli'), '-s', self.path, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env=environment(), timeout=30)
        return done.stdout.strip()

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        if sig == signal.SIGKILL:
            self.process.wait(10)
            if os.path.exists(self.path):
                os.unlink(self.path)

    def stop(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
