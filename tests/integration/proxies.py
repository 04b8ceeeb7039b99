"""nginx and HAProxy in front of a daemon, with the configurations that deploy/ ships, on ports of their own.

Debian's programs: installed ones, or those that the Makefile has taken out of their packages."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from daemon import before_exec, wait_for
from engines import free_port

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
TOOLS = os.path.join(TOP, 'build/tools/peers')
LIBRARIES = os.path.join(TOOLS, 'usr/lib/x86_64-linux-gnu')


def program(name):
    path = shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/sbin:' + os.path.join(TOOLS, 'usr/sbin'))
    assert path, '%s is not there; make build/tools/peers/.%s fetches it' % (name, name)
    return path


def answers(address):
    try:
        socket.create_connection(address.rsplit(':', 1), 1).close()
        return True
    except OSError:
        return False


class Proxy:
    """A running program; change() writes its configuration anew, reload() has it read."""

    def __init__(self, replace):
        self.dir = tempfile.mkdtemp(prefix='roost-proxy-')
        os.chmod(self.dir, 0o755)
        self.log = open(os.path.join(self.dir, 'log'), 'w+b')
        self.process = None
        self.write(replace)

    def shipped(self, name, replace):
        with open(os.path.join(TOP, 'deploy', name)) as f:
            text = f.read()
        for old, new in replace:
            assert old in text, '%s is not in deploy/%s' % (old, name)
            text = text.replace(old, new)
        return text

    def put(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def run(self, argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        cwd=self.dir, preexec_fn=before_exec,
                                        env={**os.environ, 'LD_LIBRARY_PATH': LIBRARIES})
        wait_for(lambda: answers(self.address) or self.process.poll() is not None, what=argv[0])
        assert self.process.poll() is None, self.text()

    def text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode('utf-8', 'replace')

    def children(self):
        with open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)) as f:
            return sorted(int(x) for x in f.read().split())

    def reload(self):
        """Returns when new connections go to a new process."""
        before = set(self.children())
        asked = [0]

        def done():
            if set(self.children()) - before:
                return self.reloaded(before)
            if asked[0] % 50 == 0:  # HAProxy's master does not wake up for each signal
                self.process.send_signal(self.reload_signal)
            asked[0] += 1
            return False

        try:
            wait_for(done, what='the reload')
        except AssertionError as e:
            raise AssertionError('%s; its log:\n%s' % (e, self.text())) from None

    def reloaded(self, before):
        return answers(self.address)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nginx(Proxy):
    reload_signal = signal.SIGHUP

    def __init__(self, upstream, replace=(), worker_shutdown='10m', beside=''):
        """beside: another server of the port, before ours; %s is its address."""
        self.address, self.beside = '127.0.0.1:%d' % free_port(), beside
        self.upstream, self.shutdown = upstream, worker_shutdown
        super().__init__(replace)
        self.run([program('nginx'), '-p', self.dir, '-c', self.main, '-e', 'stderr'])

    def write(self, replace=()):
        site = self.put('site.conf', self.shipped('nginx.conf', [
            ('listen 80;', 'listen %s;' % self.address), ('listen [::]:80;', ''), ('127.0.0.1:8000', self.upstream), *replace]))
        temp = ' '.join('%s_temp_path %s/%s;' % (t, self.dir, t) for t in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        self.main = self.put('main.conf', '%s daemon off; worker_processes 1; worker_shutdown_timeout %s;\n'
                             'pid %s/pid; error_log stderr warn;\n'
                             'events { worker_connections 2000; }\nhttp { access_log off; %s %s include %s; }\n'
                             % ('user root;' if os.geteuid() == 0 else '', self.shutdown, self.dir, temp, self.beside.replace('%s', self.address), site))

    def reloaded(self, before):
        # The old worker says so in its title when it accepts no more.
        for pid in before:
            try:
                with open('/proc/%d/cmdline' % pid) as f:
                    if 'shutting down' not in f.read():
                        return False
            except FileNotFoundError:
                pass
        return answers(self.address)


class HAProxy(Proxy):
    reload_signal = signal.SIGUSR2

    def __init__(self, upstream, streams_upstream, replace=()):
        self.address, self.streams = '127.0.0.1:%d' % free_port(), '127.0.0.1:%d' % free_port()
        self.upstream, self.streams_upstream = upstream, streams_upstream
        super().__init__(replace)
        self.run([program('haproxy'), '-W', '-f', self.config])

    def write(self, replace=()):
        self.config = self.put('haproxy.cfg', self.shipped('haproxy.cfg', [
            ('maxconn 20000', 'maxconn 500'), ('bind :80\n', 'bind %s\n' % self.address), ('bind :8080', 'bind ' + self.streams),
            ('server roost1 127.0.0.1:8000', 'server roost1 ' + self.upstream),
            ('server roost1 127.0.0.1:8002', 'server roost1 ' + self.streams_upstream), *replace]))

    def reloaded(self, before):
        return len(re.findall(r'Loading success|New worker', self.text())) > 1 and answers(self.address)
