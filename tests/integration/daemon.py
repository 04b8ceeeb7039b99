"""Starts roostd on ephemeral ports and looks at it from outside."""

import ctypes
import glob
import json
import os
import re
import resource
import select
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from wsraw import Closed, Raw, WebSocket

BUILD = os.environ.get('TEST_BUILD') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../build/release')
ROOSTD, ROOSTCTL = os.path.join(BUILD, 'roostd'), os.path.join(BUILD, 'roostctl')
SAN = os.environ.get('TEST_SAN', '')
SLOW = 4 if SAN else 1  # sanitizers make everything slower
PR_SET_PDEATHSIG = 1


def before_exec(nofile=None, prepare=None):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the tests
    if prepare:
        prepare()
    if nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))


def wait_for(condition, seconds=60, what='the condition', every=0.02):
    """
    The first true value of condition(); AssertionError when it does not come in time. What the condition asks for
    may be away for a moment (the series of a process that is being replaced, a listener, who was to answer): that is
    waited for, too. However little is asked for, a machine that has other things to do gets a minute.
    """
    seconds = max(seconds, 60)
    end = time.monotonic() + seconds * SLOW
    while True:
        value, away = None, None
        try:
            value = condition()
        except (LookupError, ConnectionError, Closed) as e:
            away = e
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError('%s did not come about within %d s' % (what, seconds * SLOW)) from away
        time.sleep(every)


def alive(pid):
    """Is there such a process (that is not merely waiting to be reaped)?"""
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def states(pid):
    """Of its threads, as /proc says it."""
    found = []
    for path in glob.glob('/proc/%d/task/*/stat' % pid):
        try:
            with open(path) as f:
                found.append(f.read().rsplit(')', 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def stand_still(pid):
    """SIGSTOP is on its way when kill(2) returns; when this returns the process does nothing any more."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(s in 'TtZX' for s in states(pid)), what='process %d to stand still' % pid, every=0.001)


def at_some_pace(scenario, paces=(1, 4, 12)):
    """
    For what is about time itself: scenario(pace), whose times are multiplied by it. A machine that was held up meanwhile
    gets another chance at a slower pace; a fault is one at every pace.
    """
    for pace in paces:
        try:
            return scenario(pace)
        except (AssertionError, Closed, OSError):
            if pace == paces[-1]:
                raise


def descriptors(pid):
    """What the open descriptors of a process lead to. One may be closed while they are looked at."""
    found = []
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found.append(os.readlink('/proc/%d/fd/%s' % (pid, fd)))
        except FileNotFoundError:
            pass
    return found


def readable(streams, seconds):
    """Those of these descriptors that have something to read, or have ended."""
    poll = select.poll()  # as select() takes none above 1023
    for fd in streams:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(seconds * 1000)]


class Daemon:
    """What it has logged when text(), find() or lines() is called is in their answers: no thread has to be waited for.

    hang_timeout is long: a test that stops a process, on a machine that is slow, is not to find it killed. None: the default."""

    def __init__(self, workers=2, env=None, config=None, args=(), ready=True, nofile=None, prepare=None, pass_fds=(),
                 program=ROOSTD, **settings):
        self.log, self.lock, self.clients = [], threading.Lock(), []
        merged = {'listen': '127.0.0.1:0', 'admin_listen': '127.0.0.1:0', 'workers': workers,
                  'drain_time': '100ms', 'close_timeout': '1s', 'hang_timeout': '10m', **settings}
        argv = [program, *args]
        if config:
            argv += ['--config', config]
        for name, value in merged.items():
            if value is not None:
                argv += ['--set', '%s=%s' % (name, value)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
                                        preexec_fn=lambda: before_exec(nofile, prepare), pass_fds=pass_fds)
        self.rests = {f.fileno(): b'' for f in (self.process.stderr, self.process.stdout)}  # lines without their end
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.client = self.admin = None
        if ready:
            try:
                self._await_ready()
            except BaseException:
                self.stop(signal.SIGKILL)
                raise

    def _await_ready(self):
        wait_for(lambda: self.find(r'msg="?ready"?\b') or self.process.poll() is not None, 60, 'readiness')
        assert self.process.poll() is None, 'the daemon ended at start:\n' + self.text()
        self.client = self._address('clients')
        self.admin = self._address('admin')

    def _take(self):
        """Some of what is there to read; False: nothing."""
        ready = readable(self.rests, 0)
        for fd in ready:
            data = os.read(fd, 65536)
            *lines, rest = (self.rests[fd] + data).split(b'\n')
            if not data:
                lines = [rest] if rest else []
                del self.rests[fd]
            else:
                self.rests[fd] = rest
            self.log += [x.decode('utf-8', 'replace') for x in lines]
        return bool(ready)

    def _read(self):
        """So that no pipe is ever full; who looks at the log takes what is there himself."""
        while True:
            with self.lock:
                streams = list(self.rests)
            if not streams:
                return
            readable(streams, 1)
            with self.lock:
                self._take()

    def _address(self, who):
        found = self.find(r'msg="?listening"? address=(\S+) for=' + who)
        return found.group(1) if found else None

    def text(self):
        with self.lock:
            while self._take():
                pass
            return '\n'.join(self.log)

    def find(self, pattern):
        return re.search(pattern, self.text())

    def lines(self, pattern):
        return [x for x in self.text().split('\n') if re.search(pattern, x)]

    def warnings(self):
        """Lines of that level."""
        return self.lines('level=warn')

    def wait_log(self, pattern, seconds=25):
        return wait_for(lambda: self.find(pattern), seconds, 'log line /%s/' % pattern)

    # asking it

    def http(self, method, target, body=None, fields=(), where='admin'):
        with Raw(self.admin if where == 'admin' else self.client) as c:
            return c.request(method, target, fields, body)

    def get_json(self, target):
        return json.loads(self.http('GET', target).body)

    def api(self, method, **request):
        r = self.http('POST', '/api/' + method, json.dumps(request))
        assert r.status == 200, r
        return json.loads(r.body)

    def publish(self, channel, data):
        answer = self.api('publish', channel=channel, data=data)
        assert answer.keys() == {'result'}, answer  # with a position where the channel has a history

    def metrics(self):
        """name{labels} -> value"""
        text = self.http('GET', '/metrics').body.decode()
        return {k: float(v) for k, v in (x.rsplit(' ', 1) for x in text.split('\n') if x and x[0] != '#')}

    def metric(self, name):
        """With labels: one series. Without: the family's sum."""
        series = [v for k, v in self.metrics().items() if k == name or k.startswith(name + '{')]
        if not series:
            raise KeyError(name)
        return sum(series)

    def wait_metric(self, name, value):
        """Until it has that value: much is counted behind the answer that a test has seen, and by another process."""
        seen = []
        try:
            return wait_for(lambda: seen.append(self.metric(name)) or seen[-1] == value, what='%s %s' % (name, value))
        except AssertionError as e:
            raise AssertionError('%s; it is %s' % (e, seen[-1:])) from None

    def everywhere(self, condition, what, times=30):
        """Until condition() is true of every worker, one of which the kernel picks each time. A reload is logged by the master when it
        has told the others of it."""
        wait_for(lambda: all(condition() for _ in range(times)), what=what)

    def ws(self, path, **kw):
        c = WebSocket(self.client, path, **kw)
        self.clients.append(c)
        assert c.response.status == 101, c.response
        return c

    def spread(self, path, per_worker=1, limit=400):
        """Clients of which every worker holds at least so many (the kernel spreads by chance)."""
        clients = []

        def counts():
            return [p['connections'] for p in self.processes() if p['name'].startswith('worker')]

        while len(clients) < limit:
            clients.append(self.ws(path(len(clients)) if callable(path) else path))
            if len(clients) >= len(counts()) * per_worker and min(counts()) >= per_worker:
                return clients
        raise AssertionError('a worker got no connection: %r' % counts())

    # its processes

    def processes(self):
        return self.get_json('/debug/processes')['processes']

    def pid_of(self, name):
        return {p['name']: p['pid'] for p in self.processes()}[name]

    def children(self):
        """From /proc: also when the admin listener cannot be asked."""
        with open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)) as f:
            return [int(x) for x in f.read().split()]

    def kill(self, name, sig=signal.SIGKILL):
        """Its pid. Who was killed does nothing any more; it may be listed for a moment still."""
        pid = wait_for(lambda: self.pid_of(name), what='a running ' + name)  # 0 would be our own process group
        if sig == signal.SIGSTOP:
            stand_still(pid)
            return pid
        os.kill(pid, sig)
        if sig == signal.SIGKILL:
            wait_for(lambda: not alive(pid), what='the end of ' + name, every=0.001)
        return pid

    def private_bytes(self):
        """Memory that all processes together have written and share with nobody: file pages become private too, when another
        daemon on this machine ends that has mapped the same programs."""
        total = 0
        for pid in [self.process.pid] + self.children():
            with open('/proc/%d/smaps_rollup' % pid) as f:
                total += sum(int(x.split()[1]) for x in f if x.startswith('Private_Dirty:')) * 1024
        return total

    # its end

    def stop(self, sig=signal.SIGTERM, seconds=30):
        """Signals the master and waits; its exit status. Nothing of it is left running."""
        pids = []
        if self.process.poll() is None:
            try:
                pids = self.children()
            except (FileNotFoundError, ProcessLookupError):
                pass
            self.process.send_signal(sig)
        try:
            status = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            for pid in pids + [self.process.pid]:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError('the daemon did not end within %d s:\n%s' % (seconds * SLOW, self.text()))
        try:
            wait_for(lambda: not any(alive(p) for p in pids), 10, 'the end of all processes')
        finally:
            for pid in pids:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self.text()
            with self.lock:
                self.rests.clear()
            self.reader.join()
            self.process.stderr.close()
            self.process.stdout.close()
        # UBSan reports on standard error, whatever log_path says.
        reports = self.lines(r'runtime error: |Sanitizer')
        assert not reports, 'a sanitizer reported:\n' + self.text()
        return status


class DaemonTest(unittest.TestCase):
    """start() registers the daemon's end, which must be a clean one."""

    maxDiff = 2000

    def start(self, clean=True, **kw):
        d = Daemon(**kw)
        self.addCleanup(self._end, d, clean)
        return d

    def _end(self, d, clean):
        status = d.stop()
        for c in d.clients:
            c.close()
        if clean:
            self.assertEqual(status, 0, d.text())
            crashes = d.lines(r'msg="(killed" .*signal=(4|6|7|8|11)\b|exited" .*status=[1-9])')
            self.assertEqual(crashes, [], d.text())

    def file(self, text, suffix='.yaml'):
        fd, path = tempfile.mkstemp(suffix=suffix, prefix='roost-test-')
        self.addCleanup(os.unlink, path)
        with os.fdopen(fd, 'w') as f:
            f.write(text)
        return path


class SharedDaemonTest(DaemonTest):
    """One daemon for all tests of the class, with the class's settings."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(**cls.settings)

    @classmethod
    def tearDownClass(cls):
        status = cls.d.stop()
        for c in cls.d.clients:
            c.close()
        assert status == 0, cls.d.text()
        assert not cls.d.find(r'msg="?(killed|exited)"? process=\S+ pid=\d+ (signal|status=[1-9])'), cls.d.text()


def run_roostd(*args, env=None, timeout=20, nofile=None):
    """For what ends by itself: (status, stdout, stderr)."""
    p = subprocess.run([ROOSTD, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       env={**os.environ, **(env or {})}, timeout=timeout * SLOW,
                       preexec_fn=lambda: before_exec(nofile))
    return p.returncode, p.stdout, p.stderr


def run_roostctl(d, *args, timeout=20, **kw):
    return subprocess.run([ROOSTCTL, '--admin', 'http://' + d.admin, *args], capture_output=True, text=True,
                          timeout=timeout * SLOW, **({'stdin': subprocess.DEVNULL} if 'input' not in kw else {}), **kw)
